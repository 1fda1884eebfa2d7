//! BODYSTRUCTURE and BODY (RFC 3501 section 7.4.2), from the scanned structure.

use super::content::Parameters;
use super::scan::{Kind, Part, Structure};
use crate::protocol::imap::respond::{nstring, string};

/// What stands for a multipart without a part: the grammar wants at least one.
const NO_PARTS: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";

/// Writes the structure of the letter; `extended` adds the extension data that BODY leaves out.
///
/// Recurses no deeper than the scanner opened parts.
pub fn render(out: &mut Vec<u8>, structure: &Structure, extended: bool) {
    part(out, structure, 0, extended);
}

fn part(out: &mut Vec<u8>, structure: &Structure, place: usize, extended: bool) {
    let this = &structure.parts[place];
    out.push(b'(');
    match &this.kind {
        Kind::Multipart(children) => {
            children.iter().for_each(|&child| part(out, structure, child, extended));
            if children.is_empty() {
                out.extend_from_slice(NO_PARTS);
            }
            out.push(b' ');
            string(out, &this.content.subtype);
            if extended {
                out.push(b' ');
                parameters(out, &this.content.parameters);
                after_md5(out, this);
            }
        }
        Kind::Message(letter) => {
            basic(out, this, &this.content.media, &this.content.subtype);
            out.push(b' ');
            out.extend_from_slice(structure.parts[*letter].envelope.as_deref().unwrap_or(b"NIL"));
            out.push(b' ');
            part(out, structure, *letter, extended);
            lines(out, this, extended);
        }
        Kind::Leaf => leaf(out, this, extended),
    }
    out.push(b')');
}

fn leaf(out: &mut Vec<u8>, this: &Part, extended: bool) {
    let content = &this.content;
    if content.is("text", "*") {
        basic(out, this, &content.media, &content.subtype);
        return lines(out, this, extended);
    }
    // Under its own name a multipart or letter that was not opened would break the grammar.
    if content.is("multipart", "*") || content.is("message", "rfc822") || content.is("message", "global") {
        basic(out, this, b"application", b"octet-stream");
    } else {
        basic(out, this, &content.media, &content.subtype);
    }
    if extended {
        after_size(out, this);
    }
}

/// Type, parameters, id, description, encoding and size, which every part but a multipart has.
fn basic(out: &mut Vec<u8>, this: &Part, media: &[u8], subtype: &[u8]) {
    let content = &this.content;
    string(out, media);
    out.push(b' ');
    string(out, subtype);
    out.push(b' ');
    parameters(out, &content.parameters);
    out.push(b' ');
    nstring(out, content.id.as_deref());
    out.push(b' ');
    nstring(out, content.description.as_deref());
    out.push(b' ');
    string(out, &content.encoding);
    out.extend_from_slice(format!(" {}", this.body.end - this.body.start).as_bytes());
}

fn lines(out: &mut Vec<u8>, this: &Part, extended: bool) {
    out.extend_from_slice(format!(" {}", this.lines).as_bytes());
    if extended {
        after_size(out, this);
    }
}

fn after_size(out: &mut Vec<u8>, this: &Part) {
    out.push(b' ');
    nstring(out, this.content.md5.as_deref());
    after_md5(out, this);
}

/// Disposition, languages and location, which end the extension data of every part.
fn after_md5(out: &mut Vec<u8>, this: &Part) {
    let content = &this.content;
    out.push(b' ');
    match &content.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some((kind, list)) => {
            out.push(b'(');
            string(out, kind);
            out.push(b' ');
            parameters(out, list);
            out.push(b')');
        }
    }
    out.push(b' ');
    match &content.languages[..] {
        [] => out.extend_from_slice(b"NIL"),
        [one] => string(out, one),
        many => {
            out.push(b'(');
            for (at, language) in many.iter().enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, content.location.as_deref());
}

fn parameters(out: &mut Vec<u8>, list: &Parameters) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (at, (name, value)) in list.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::mime::scan::Scanner;

    fn shown(letter: &str, extended: bool) -> String {
        let mut scanner = Scanner::new();
        scanner.feed(letter.as_bytes());
        let mut out = Vec::new();
        render(&mut out, &scanner.finish(), extended);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_letter() {
        let letter = "Subject: x\r\n\r\nhello\r\nyou\r\n";
        let basic = "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 12 2";
        assert_eq!(shown(letter, false), format!("({basic})"));
        assert_eq!(shown(letter, true), format!("({basic} NIL NIL NIL NIL)"));
    }

    #[test]
    fn a_multipart_with_an_attachment_and_a_letter() {
        let letter = "Content-Type: multipart/mixed; boundary=b\r\nContent-Language: de, fr\r\n\r\n--b\r\n\
            Content-Type: image/png; name=\"a\"\r\nContent-Disposition: attachment; filename=a.png\r\n\
            Content-Transfer-Encoding: base64\r\nContent-ID: <i>\r\n\r\nAAAA\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\n";
        let image = "(\"image\" \"png\" (\"name\" \"a\") \"<i>\" NIL \"base64\" 4 NIL \
            (\"attachment\" (\"filename\" \"a.png\")) NIL NIL)";
        let inner = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 1 NIL NIL NIL NIL)";
        let forwarded = format!(
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 16 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) {inner} 3 \
             NIL NIL NIL NIL)"
        );
        let expected = format!("({image}{forwarded} \"mixed\" (\"boundary\" \"b\") NIL (\"de\" \"fr\") NIL)");
        assert_eq!(shown(letter, true), expected);
    }

    #[test]
    fn what_was_not_opened_keeps_the_grammar() {
        let no_parts = shown("Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n", false);
        assert_eq!(no_parts, format!("({} \"mixed\")", String::from_utf8_lossy(NO_PARTS)));
        let no_boundary = shown("Content-Type: multipart/mixed\r\n\r\nx\r\n", false);
        assert!(no_boundary.starts_with("(\"application\" \"octet-stream\" NIL"), "{no_boundary}");
        let encoded = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n";
        assert!(shown(encoded, false).starts_with("(\"application\" \"octet-stream\" NIL"));
    }
}

//! Letters that carry statements: readable text first, then each statement as a part of its own.
//!
//! ```text
//! Content-Type: multipart/mixed; boundary="…"
//!   text/plain
//!   application/vnd.onionskin.introduction   (base64)
//! ```
//!
//! Any mail program shows the text and keeps the parts. Only this plain form is read: parts of the outermost multipart,
//! in base64, a bounded number of bounded size. What is not of this form carries nothing. What the statements are worth
//! is left to `statement` and the node.

use crate::model::address::MailAddress;
use crate::model::header::fields;
use crate::model::time::UnixTime;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What the media type of a statement begins with.
pub const MEDIA_TYPE: &str = "application/vnd.onionskin.";
/// Longest letter that is looked through for statements, in bytes.
pub const LETTER_LEN_MAX: u64 = 256 * 1024;
/// Most statements that are taken from one letter.
pub const STATEMENTS_MAX: usize = 16;
/// Longest statement that is taken, in bytes.
const STATEMENT_LEN_MAX: usize = 64 * 1024;
/// Most parts of a letter that are looked at.
const PARTS_MAX: usize = 64;

/// A letter that the node writes for its person.
#[derive(Debug, Clone)]
pub struct Covering<'a> {
    /// From whom.
    pub from: &'a MailAddress,
    /// For whom.
    pub to: &'a MailAddress,
    /// Printable text on one line.
    pub subject: &'a str,
    /// The text, lines ending in LF.
    pub text: &'a str,
    /// The statements: kind and bytes.
    pub statements: &'a [(&'a str, &'a [u8])],
    /// When.
    pub now: UnixTime,
    /// For Message-ID and boundary.
    pub random: [u8; 16],
}

/// The whole letter, header and content, with CRLF.
pub fn letter(covering: &Covering<'_>) -> Vec<u8> {
    let name: String = covering.random.iter().map(|byte| format!("{byte:02x}")).collect();
    let boundary = format!("=_{name}");
    let subject: String = covering.subject.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!(
        "Date: {date}\nFrom: {from}\nTo: {to}\nSubject: {subject}\nMessage-ID: <{name}@{host}>\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed;\n\tboundary=\"{boundary}\"\nContent-Transfer-Encoding: 8bit\n\n\
         --{boundary}\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{words}\n",
        date = covering.now.to_the_minute().rfc5322(),
        from = covering.from.full(),
        to = covering.to.full(),
        host = covering.from.onion.host(),
        words = covering.text,
    );
    for (kind, bytes) in covering.statements {
        text.push_str(&format!(
            "--{boundary}\nContent-Type: {MEDIA_TYPE}{kind}\nContent-Transfer-Encoding: base64\n\
             Content-Disposition: attachment; filename=\"{kind}.cose\"\n\n"
        ));
        for line in STANDARD.encode(bytes).as_bytes().chunks(76) {
            text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            text.push('\n');
        }
    }
    text.push_str(&format!("--{boundary}--\n"));
    text.replace("\r\n", "\n").replace('\r', "").replace('\n', "\r\n").into_bytes()
}

/// A statement that a letter carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosed {
    /// The word behind [`MEDIA_TYPE`], in lower case.
    pub kind: String,
    /// Its bytes, as they came.
    pub bytes: Vec<u8>,
}

/// The statements in a letter (its header with the empty line, and its content).
pub fn enclosed(header: &[u8], content: &[u8]) -> Vec<Enclosed> {
    let Some(boundary) = boundary(header) else { return Vec::new() };
    let mut found = Vec::new();
    for part in parts(content, &boundary).take(PARTS_MAX) {
        if let Some(one) = statement(part) {
            found.push(one);
        }
        if found.len() == STATEMENTS_MAX {
            break;
        }
    }
    found
}

/// Whether a letter with this header may carry statements.
pub fn is_multipart(header: &[u8]) -> bool {
    boundary(header).is_some()
}

/// The boundary, if the letter is a multipart/mixed.
fn boundary(header: &[u8]) -> Option<String> {
    let found = fields(header).ok()?;
    let mut types = found.iter().filter(|field| field.is("Content-Type"));
    let (one, None) = (types.next()?, types.next()) else { return None };
    let value = String::from_utf8(one.unfolded()).ok()?;
    let mut words = value.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let boundary = words.find_map(|word| {
        let (name, value) = word.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    // RFC 2046 section 5.1.1.
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// What lies between the delimiter lines, the preamble left out.
fn parts<'a>(content: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut marks = Vec::new();
    for at in memchr::memmem::find_iter(content, &delimiter) {
        let begins_line = at == 0 || content[..at].ends_with(b"\n");
        if begins_line && marks.len() <= PARTS_MAX {
            marks.push((at, at + delimiter.len()));
        }
    }
    let ends: Vec<(usize, usize)> = marks.windows(2).map(|pair| (pair[0].1, pair[1].0)).collect();
    ends.into_iter().map(move |(from, to)| content.get(from..to).unwrap_or_default())
}

fn statement(part: &[u8]) -> Option<Enclosed> {
    // The rest of the delimiter's line.
    let part = &part[memchr::memchr(b'\n', part)? + 1..];
    let end = memchr::memmem::find(part, b"\r\n\r\n")? + 4;
    let (header, content) = part.split_at(end);
    let found = fields(header).ok()?;
    let value = |name: &str| {
        let field = found.iter().find(|field| field.is(name))?;
        String::from_utf8(field.unfolded()).ok().map(|value| value.trim().to_ascii_lowercase())
    };
    let media = value("Content-Type")?;
    let kind = media.split(';').next()?.trim().strip_prefix(MEDIA_TYPE)?.to_owned();
    if kind.is_empty()
        || kind.len() > 40
        || !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    {
        return None;
    }
    if value("Content-Transfer-Encoding")? != "base64" || content.len() > STATEMENT_LEN_MAX * 2 {
        return None;
    }
    let text: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(text).ok()?;
    (bytes.len() <= STATEMENT_LEN_MAX).then_some(Enclosed { kind, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    fn written(statements: &[(&str, &[u8])]) -> (Vec<u8>, Vec<u8>) {
        let address = MailAddress::parse(&format!("ann@{HOST}")).unwrap();
        let covering = Covering {
            from: &address,
            to: &address,
            subject: "Bob,\r\nmeet Carol",
            text: "Hello\nthere.\n",
            statements,
            now: UnixTime(1_767_262_830),
            random: [7; 16],
        };
        let bytes = letter(&covering);
        let end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4;
        (bytes[..end].to_vec(), bytes[end..].to_vec())
    }

    #[test]
    fn what_was_enclosed_is_found() {
        let long = vec![9; 5000];
        let (header, content) = written(&[("introduction", &long), ("card", b"x")]);
        let found = enclosed(&header, &content);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind.as_str(), &found[0].bytes), ("introduction", &long));
        assert_eq!((found[1].kind.as_str(), found[1].bytes.as_slice()), ("card", &b"x"[..]));
        let parsed =
            mail_parser::MessageParser::default().parse(&[header, content].concat()).unwrap().into_owned();
        assert_eq!(parsed.subject(), Some("Bob,meet Carol"));
        assert_eq!(parsed.body_text(0).as_deref(), Some("Hello\r\nthere.\r\n"));
        assert_eq!(parsed.attachment_count(), 2);
    }

    #[test]
    fn an_ordinary_letter_carries_nothing() {
        let header = b"From: a@b\r\nContent-Type: text/plain\r\n\r\n";
        assert!(
            enclosed(header, b"--x\r\nContent-Type: application/vnd.onionskin.card\r\n\r\neA==\r\n--x--")
                .is_empty()
        );
        let (header, _) = written(&[]);
        assert!(enclosed(&header, b"nothing").is_empty());
    }

    #[test]
    fn a_bomb_of_parts_is_bounded() {
        let (header, content) = written(&[("card", b"x")]);
        let many = content.repeat(5000);
        assert!(enclosed(&header, &many).len() <= STATEMENTS_MAX);
    }

    proptest! {
        #[test]
        fn any_content_is_read_without_panic(
            noise in "(--=_(07){16}|\r\n|Content-Type: application/vnd.onionskin.card|[ -~]){0,40}",
        ) {
            let (header, _) = written(&[]);
            let _ = enclosed(&header, noise.as_bytes());
        }
    }
}

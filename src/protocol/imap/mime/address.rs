//! Address lists of header fields (RFC 5322 section 3.4) as ENVELOPE shows them (RFC 3501 section 7.4.2).
//!
//! Forgiving: whatever stands there, something is shown. Linear in the length of the field; comments nest by count.

use crate::protocol::imap::respond::{nstring, string};

/// One entry of an address list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `name <route:local@host>`; encoded words in the name stay encoded.
    Mailbox {
        /// Display name, or the comment that stands for one.
        name: Option<Vec<u8>>,
        /// Source route of old.
        route: Option<Vec<u8>>,
        /// Before the `@`.
        local: Vec<u8>,
        /// After the `@`; empty if there is none.
        host: Vec<u8>,
    },
    /// A group begins.
    GroupStart(Vec<u8>),
    /// A group ends.
    GroupEnd,
}

/// Parses the unfolded value of a field such as To.
pub fn parse(value: &[u8]) -> Vec<Address> {
    let mut parser = Parser { rest: value, ..Parser::default() };
    while let Some((&byte, rest)) = parser.rest.split_first() {
        parser.rest = rest;
        parser.byte(byte);
    }
    parser.entry_ends();
    if parser.in_group {
        parser.found.push(Address::GroupEnd);
    }
    parser.found
}

/// Writes a list as ENVELOPE does: NIL if it is empty.
pub fn render(out: &mut Vec<u8>, addresses: &[Address]) {
    if addresses.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in addresses {
        match address {
            Address::Mailbox { name, route, local, host } => {
                out.push(b'(');
                nstring(out, name.as_deref());
                out.push(b' ');
                nstring(out, route.as_deref());
                out.push(b' ');
                string(out, local);
                out.push(b' ');
                string(out, host);
                out.push(b')');
            }
            Address::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                string(out, name);
                out.extend_from_slice(b" NIL)");
            }
            Address::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

/// What is known of the entry being read.
#[derive(Default)]
struct Parser<'a> {
    rest: &'a [u8],
    found: Vec<Address>,
    in_group: bool,
    /// Words outside angle brackets, quotes removed, one space between.
    phrase: Vec<u8>,
    /// The last `@` in the phrase that was not quoted.
    phrase_at: Option<usize>,
    /// A space was seen since the last word.
    gap: bool,
    comment: Option<Vec<u8>>,
    /// What stood in angle brackets.
    angle: Option<Angle>,
}

#[derive(Default)]
struct Angle {
    route: Option<Vec<u8>>,
    text: Vec<u8>,
    at: Option<usize>,
}

impl Parser<'_> {
    fn byte(&mut self, byte: u8) {
        match byte {
            b',' => self.entry_ends(),
            b';' => {
                self.entry_ends();
                if self.in_group {
                    self.in_group = false;
                    self.found.push(Address::GroupEnd);
                }
            }
            b':' if !self.in_group && self.angle.is_none() && self.phrase_at.is_none() => {
                self.found.push(Address::GroupStart(std::mem::take(&mut self.phrase)));
                self.in_group = true;
                self.forget_entry();
            }
            b'<' if self.angle.is_none() => self.angle = Some(self.angle_ends()),
            b'(' => {
                let comment = self.comment_ends();
                self.comment.get_or_insert(comment);
                self.gap = true;
            }
            b' ' | b'\t' => self.gap = true,
            b'"' => {
                self.bridge_gap();
                let mut phrase = std::mem::take(&mut self.phrase);
                self.quoted(&mut phrase);
                self.phrase = phrase;
            }
            _ => {
                self.bridge_gap();
                if byte == b'@' {
                    self.phrase_at = Some(self.phrase.len());
                }
                self.phrase.push(byte);
            }
        }
    }

    /// Puts one space where there was any between two words.
    fn bridge_gap(&mut self) {
        if std::mem::take(&mut self.gap) && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
    }

    /// Reads to the end of a quoted string; takes its text without the quotes.
    fn quoted(&mut self, into: &mut Vec<u8>) {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'"' => return,
                b'\\' => {
                    if let Some((&escaped, rest)) = rest.split_first() {
                        into.push(escaped);
                        self.rest = rest;
                    }
                }
                _ => into.push(byte),
            }
        }
    }

    /// Reads to the end of a comment; gives its text without inner parentheses.
    fn comment_ends(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 1_usize;
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    if let Some((&escaped, rest)) = rest.split_first() {
                        text.push(escaped);
                        self.rest = rest;
                    }
                }
                _ => text.push(byte),
            }
        }
        text.trim_ascii().to_vec()
    }

    /// Reads to the end of an address in angle brackets.
    fn angle_ends(&mut self) -> Angle {
        let mut angle = Angle::default();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'>' => break,
                b' ' | b'\t' => {}
                b'"' => self.quoted(&mut angle.text),
                b':' if angle.text.first() == Some(&b'@') => {
                    angle.route = Some(std::mem::take(&mut angle.text));
                    angle.at = None;
                }
                _ => {
                    if byte == b'@' {
                        angle.at = Some(angle.text.len());
                    }
                    angle.text.push(byte);
                }
            }
        }
        angle
    }

    fn entry_ends(&mut self) {
        let phrase = std::mem::take(&mut self.phrase);
        let comment = self.comment.take().filter(|comment| !comment.is_empty());
        if let Some(Angle { route, text, at }) = self.angle.take() {
            let (local, host) = split(&text, at);
            let name = Some(phrase).filter(|phrase| !phrase.is_empty()).or(comment);
            if !text.is_empty() || name.is_some() {
                self.found.push(Address::Mailbox { name, route, local, host });
            }
        } else if !phrase.is_empty() {
            let (local, host) = split(&phrase, self.phrase_at);
            let bare = |text: Vec<u8>| text.into_iter().filter(|&byte| byte != b' ').collect();
            let local = if self.phrase_at.is_some() { local.trim_ascii_end().to_vec() } else { local };
            self.found.push(Address::Mailbox { name: comment, route: None, local, host: bare(host) });
        }
        self.forget_entry();
    }

    fn forget_entry(&mut self) {
        self.phrase.clear();
        self.phrase_at = None;
        self.gap = false;
        self.comment = None;
        self.angle = None;
    }
}

/// Local part and host. A host must not be NIL, which would look like a group: it is empty if there is none.
fn split(text: &[u8], at: Option<usize>) -> (Vec<u8>, Vec<u8>) {
    match at {
        Some(at) => (text[..at].to_vec(), text[at + 1..].to_vec()),
        None => (text.to_vec(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let mut out = Vec::new();
        render(&mut out, &parse(value.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_of_every_shape_are_shown() {
        for (value, expected) in [
            ("a@b.c", r#"((NIL NIL "a" "b.c"))"#),
            ("Ann Lee  <ann@b>, <c@d>", r#"(("Ann Lee" NIL "ann" "b")(NIL NIL "c" "d"))"#),
            (r#""Lee, \"A\"" <a@b>"#, r#"(("Lee, \"A\"" NIL "a" "b"))"#),
            ("a@b (Ann (x) Lee)", r#"(("Ann x Lee" NIL "a" "b"))"#),
            ("<@x,@y:a@b>", r#"((NIL "@x,@y" "a" "b"))"#),
            (
                "Us: a@b, C <c@d>;, e@f",
                "((NIL NIL \"Us\" NIL)(NIL NIL \"a\" \"b\")\
                 (\"C\" NIL \"c\" \"d\")(NIL NIL NIL NIL)(NIL NIL \"e\" \"f\"))",
            ),
            ("undisclosed-recipients:;", r#"((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))"#),
            (r#""a@b"@c"#, r#"((NIL NIL "a@b" "c"))"#),
            ("=?utf-8?q?=C3=A9?= <a@b>", r#"(("=?utf-8?q?=C3=A9?=" NIL "a" "b"))"#),
            ("postmaster", r#"((NIL NIL "postmaster" ""))"#),
            ("", "NIL"),
            (" , ,;", "NIL"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn nonsense_ends() {
        for broken in ["<", "\"", "(((((", "a:<b", "\\", "<a@b", "x <a> <b> , "] {
            shown(broken);
        }
        shown(&"(".repeat(100_000));
        assert_eq!(parse("a,".repeat(10_000).as_bytes()).len(), 10_000);
    }
}

//! Paths of MAIL and RCPT (RFC 5321 section 4.1.2): read strictly, with quoting resolved.
//!
//! Source routes, address literals without a mailbox, and anything but printable ASCII and letters of UTF-8 (RFC 6531)
//! are refused. Whether the address is one of ours, and whether SMTPUTF8 was said, is decided elsewhere.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::letters;
use crate::protocol::smtp::limits::{DOMAIN_LEN_MAX, PATH_LEN_MAX};
use onion::OnionAddress;
use std::fmt;

/// Who a letter says it is from.
#[derive(Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a notice that must not be answered.
    Null,
    /// A mail address on an onion.
    Onion(MailAddress),
    /// Any other address: from a stock server, and good for nothing but showing. At most 254 bytes of
    /// printable ASCII and letters of UTF-8.
    Foreign(String),
}

impl ReversePath {
    /// The address without angle brackets; empty for `<>`. Never for a log.
    pub fn full(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Onion(address) => address.full(),
            Self::Foreign(address) => address.clone(),
        }
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "<>",
            Self::Onion(_) => "[redacted]@[redacted].onion",
            Self::Foreign(_) => "[redacted]",
        })
    }
}

/// A path as it was read. Its parts are printable ASCII and letters of UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Without quotes and backslashes; empty for `<>`.
    local: String,
    /// Absent for `<>` and `<postmaster>`.
    domain: Option<String>,
    /// What stood between the angle brackets.
    written: String,
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Path {
    /// Reads a path at the start of `text`, and gives what follows it.
    pub(super) fn parse(text: &str) -> Option<(Self, &str)> {
        let inner = text.strip_prefix('<')?;
        let end = closing(inner)?;
        let (written, rest) = (&inner[..end], &inner[end + 1..]);
        let known = |letter: char| letter == ' ' || letter.is_ascii_graphic() || letters::is_letter(letter);
        if written.len() + 2 > PATH_LEN_MAX || !written.chars().all(known) {
            return None;
        }
        let (local, domain) = split(written)?;
        Some((Self { local, domain: domain.map(str::to_owned), written: written.to_owned() }, rest))
    }

    /// Whether it needs no SMTPUTF8.
    pub(super) fn is_ascii(&self) -> bool {
        self.written.is_ascii()
    }

    pub(super) fn is_null(&self) -> bool {
        self.written.is_empty()
    }

    /// `<postmaster>`, the one address without a domain (RFC 5321 section 4.5.1).
    pub(super) fn is_postmaster(&self) -> bool {
        self.domain.is_none() && self.local.eq_ignore_ascii_case("postmaster")
    }

    /// The domain, if there is one.
    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The local part, if it is one that our addresses can have.
    pub(super) fn local(&self) -> Option<LocalPart> {
        LocalPart::parse(&self.local).ok()
    }

    /// The path as a mail address on an onion.
    pub(super) fn mail_address(&self) -> Option<MailAddress> {
        Some(MailAddress { local: self.local()?, onion: OnionAddress::parse(self.domain()?).ok()? })
    }

    /// The path as a reverse-path. `None` for an address without a domain.
    pub(super) fn into_reverse(self) -> Option<ReversePath> {
        if self.is_null() {
            return Some(ReversePath::Null);
        }
        self.domain()?;
        Some(self.mail_address().map_or(ReversePath::Foreign(self.written), ReversePath::Onion))
    }
}

/// Where the `>` that closes the path stands: not inside quotes.
fn closing(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Splits a mailbox into its local part, unquoted, and its domain.
fn split(written: &str) -> Option<(String, Option<&str>)> {
    if written.is_empty() || written.eq_ignore_ascii_case("postmaster") {
        return Some((written.to_owned(), None));
    }
    let (local, domain) = if let Some(quoted) = written.strip_prefix('"') {
        let (local, rest) = unquote(quoted)?;
        (local, rest.strip_prefix('@')?)
    } else {
        let (local, domain) = written.split_once('@')?;
        (local.split('.').all(is_atom).then(|| local.to_owned())?, domain)
    };
    (local.len() <= 64 && is_domain(domain)).then_some((local, Some(domain)))
}

/// Reads a quoted string whose opening quote is gone; gives its value and what follows the closing quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

fn is_atom(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|byte| {
            byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
        })
}

/// A host name, also one of UTF-8 (RFC 5890), or an address literal. The underscore is no letter of a host name, but is
/// found in the wild.
fn is_domain(domain: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte >= 0x80 || byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let literal = |inner: &str| {
        !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte))
    };
    domain.len() <= DOMAIN_LEN_MAX
        && match domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => literal(inner),
            None => domain.split('.').all(label),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    #[test]
    fn an_address_is_the_same_with_and_without_quotes() {
        let text = format!("<ann@{HOST}> SIZE=1");
        let (plain, rest) = Path::parse(&text).unwrap();
        assert_eq!(rest, " SIZE=1");
        let (quoted, _) = Path::parse(&format!("<\"a\\nn\"@{HOST}>")).unwrap();
        assert_eq!(plain.mail_address(), quoted.mail_address());
        assert!(plain.mail_address().is_some());
    }

    #[test]
    fn broken_paths_are_refused() {
        for bad in [
            "",
            "<",
            "ann@x.y",
            "<ann>",
            "<ann@>",
            "<@x.y>",
            "<a b@x.y>",
            "<\"a@x.y>",
            "<a@x..y>",
            "<a@x.y",
            "<a@b@c>",
            "<@r.s:a@x.y>",
            "<a@[]>",
            "<a@x y>",
            "<<a@x.y>>",
            "<.a@x.y>",
            "<a@x.y.>",
            "<\"a\"b@x.y>",
            "<a\"b\"@x.y>",
        ] {
            assert!(Path::parse(bad).is_none(), "{bad:?}");
        }
        assert!(Path::parse(&format!("<a@{}>", "x".repeat(254))).is_none());
        assert!(Path::parse(&format!("<{}@x.y>", "x".repeat(65))).is_none());
    }

    #[test]
    fn what_is_no_onion_stays_as_it_was_written() {
        let reverse = |text: &str| Path::parse(text).unwrap().0.into_reverse();
        assert_eq!(reverse("<>"), Some(ReversePath::Null));
        assert_eq!(reverse("<\"a >\"@x.y>"), Some(ReversePath::Foreign("\"a >\"@x.y".to_owned())));
        assert_eq!(reverse("<a@[127.0.0.1]>"), Some(ReversePath::Foreign("a@[127.0.0.1]".to_owned())));
        assert_eq!(reverse("<Postmaster>"), None);
        assert!(Path::parse("<Postmaster>").unwrap().0.is_postmaster());
    }

    #[test]
    fn letters_of_utf8_are_read_in_one_form_and_tricks_are_refused() {
        let read = |local: &str| Path::parse(&format!("<{local}@{HOST}>"))?.0.mail_address();
        assert_eq!(read("J\u{fc}rgen").unwrap().local.as_str(), "j\u{fc}rgen");
        assert_eq!(read("ju\u{308}rgen"), read("\"J\u{dc}RGEN\""));
        for trick in ["a\u{202e}b", "a\u{200d}b", "\"\u{2028}\"", "a\u{e0041}", "\u{3164}", "a\u{fe0f}"] {
            assert!(Path::parse(&format!("<{trick}@{HOST}>")).is_none(), "{trick:?}");
        }
        let foreign = "<\u{fc}@m\u{fc}ller.example>";
        assert!(matches!(Path::parse(foreign).unwrap().0.into_reverse(), Some(ReversePath::Foreign(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_panic(text in "[<>@a-c\"\\\\. \\[\\]é]{0,40}") {
            if let Some((path, rest)) = Path::parse(&text) {
                prop_assert_eq!(format!("<{}>{}", path.written, rest), text);
            }
        }
    }
}

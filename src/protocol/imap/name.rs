//! Mailbox names: UTF-8 inside, modified UTF-7 on the wire (RFC 3501 section 5.1.3), `/` between levels.
//!
//! Promises that a `MailboxName` is within the limits, has no empty level and spells INBOX one way. Whether the
//! mailbox exists is the store's affair.

use crate::protocol::imap::limits::{MAILBOX_LEVELS_MAX, MAILBOX_NAME_LEN_MAX};
use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What stands between the levels of a name.
pub const DELIMITER: char = '/';

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A mailbox name that could exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

/// Why a text is no mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not modified UTF-7 and not UTF-8.
    #[error("the mailbox name is not modified UTF-7")]
    Encoding,
    /// Too long or too many levels.
    #[error("the mailbox name is too long or has too many levels")]
    TooLong,
    /// An empty level, `.` or `..`, a control character or a wildcard.
    #[error("the mailbox name has an empty level or a character that is not allowed")]
    Form,
}

impl MailboxName {
    /// Reads a name as a client sends it. A `/` at the end (RFC 3501 section 6.3.3) is dropped.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        Self::new(&decode(wire).ok_or(NameError::Encoding)?)
    }

    /// Takes a UTF-8 name; `inbox` as the first level becomes `INBOX`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let name = name.strip_suffix(DELIMITER).unwrap_or(name);
        if name.len() > MAILBOX_NAME_LEN_MAX || name.split(DELIMITER).count() > MAILBOX_LEVELS_MAX {
            return Err(NameError::TooLong);
        }
        let level_ok = |level: &str| !matches!(level, "" | "." | "..");
        let forbidden = |c: char| c.is_control() || matches!(c, '*' | '%' | '\u{2028}' | '\u{2029}');
        if !name.split(DELIMITER).all(level_ok) || name.contains(forbidden) {
            return Err(NameError::Form);
        }
        let (first, rest) = name.split_at(name.find(DELIMITER).unwrap_or(name.len()));
        let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
        Ok(Self(format!("{first}{rest}")))
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in modified UTF-7.
    pub fn to_wire(&self) -> String {
        encode(&self.0)
    }

    /// The names of all levels above, outermost first.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices(DELIMITER).map(|(at, _)| &self.0[..at])
    }

    /// True if this is `parent` or lies under it.
    pub fn is_within(&self, parent: &str) -> bool {
        self.0.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(DELIMITER))
    }
}

/// Writes UTF-8 as modified UTF-7: printable ASCII as it is, `&` as `&-`, all else as `&<base64 of UTF-16>-`.
pub fn encode(text: &str) -> String {
    let mut wire = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_direct(first) {
            wire.push(first);
            if first == '&' {
                wire.push('-');
            }
            rest = &rest[first.len_utf8()..];
        } else {
            let end = rest.find(is_direct).unwrap_or(rest.len());
            let utf16: Vec<u8> = rest[..end].encode_utf16().flat_map(u16::to_be_bytes).collect();
            wire.push('&');
            wire.push_str(&BASE64.encode(utf16));
            wire.push('-');
            rest = &rest[end..];
        }
    }
    wire
}

/// Reads modified UTF-7. Bytes beyond ASCII are taken as UTF-8, which some programs send; anything else is `None`.
pub fn decode(wire: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(wire).ok()?;
    let mut text = String::with_capacity(rest.len());
    while let Some(shift) = rest.find('&') {
        text.push_str(&rest[..shift]);
        let (encoded, after) = rest[shift + 1..].split_once('-')?;
        if encoded.is_empty() {
            text.push('&');
        } else {
            let bytes = BASE64.decode(encoded).ok()?;
            if !bytes.len().is_multiple_of(2) {
                return None;
            }
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            for unit in char::decode_utf16(units) {
                text.push(unit.ok()?);
            }
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

fn is_direct(c: char) -> bool {
    matches!(c, ' '..='~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modified_utf7_is_that_of_the_rfc() {
        for (text, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Hi & Bye", "Hi &- Bye"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(text), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
        }
        for bad in ["&", "&A-", "&APw", "&====-", "&2D0-"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode("Entwürfe".as_bytes()).as_deref(), Some("Entwürfe"));
        assert_eq!(decode(&[0xff]), None);
    }

    #[test]
    fn inbox_has_one_spelling_and_bad_names_are_refused() {
        assert_eq!(MailboxName::new("inBox").unwrap().as_str(), "INBOX");
        assert_eq!(MailboxName::new("inbox/Sub/").unwrap().as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
        for bad in ["", "/", "/a", "a//b", "../b", "a/..", "a\u{0}", "a*", "%"] {
            assert_eq!(MailboxName::new(bad), Err(NameError::Form), "{bad:?}");
        }
        assert_eq!(MailboxName::new(&"a/".repeat(1000)), Err(NameError::TooLong));
        assert_eq!(MailboxName::new(&"a".repeat(256)), Err(NameError::TooLong));
    }

    #[test]
    fn parents_and_children_are_told_by_levels() {
        let name = MailboxName::new("a/bc/d").unwrap();
        assert_eq!(name.parents().collect::<Vec<_>>(), ["a", "a/bc"]);
        assert!(name.is_within("a") && name.is_within("a/bc/d") && !name.is_within("a/b"));
    }
}

//! `MailAddress`: `local@<56>.onion`, with the local part folded to lower case.
//!
//! Local parts are dot-atoms (RFC 5321 section 4.1.2, without quoting; RFC 6531): what a person can read out. One name
//! has one form (`letters`). The names of our own identities are ASCII (`policy::choose_name`).
//! `Debug` shows neither local part nor onion; the whole address is `MailAddress::full`. A local part may hold `/`
//! or begin with `-`: never use one as a file name or an argument.

use crate::model::letters;
use onion::{AddressError, OnionAddress};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest local part, in bytes (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_LEN_MAX: usize = 64;

/// The part before the `@`: a dot-atom in lower case and NFC, 1 to 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPart(String);

/// A mail address on an onion.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailAddress {
    /// Who at that onion, a tag included.
    pub local: LocalPart,
    /// Whose node.
    pub onion: OnionAddress,
}

/// Why a text is no mail address of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailAddressError {
    /// No `@`.
    #[error("a mail address has the form name@<56 characters>.onion")]
    NoAt,
    /// The local part is empty, too long, or has a character that is not allowed.
    #[error(
        "the part before the @ may have 1 to 64 of: letters, digits, single dots inside, and !#$%&'*+-/=?^_`{{|}}~"
    )]
    Local,
    /// The part after the `@` is no onion address.
    #[error("{0}")]
    Onion(#[from] AddressError),
}

impl LocalPart {
    /// Parses a dot-atom and folds it to lower case.
    pub fn parse(text: &str) -> Result<Self, MailAddressError> {
        let atom = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte >= 0x80 || is_atext(byte));
        // Composing a letter never makes it three times as long; what is longer need not be looked at.
        if text.len() > 3 * LOCAL_PART_LEN_MAX || !text.split('.').all(atom) {
            return Err(MailAddressError::Local);
        }
        let kept = if text.is_ascii() { Some(text.to_ascii_lowercase()) } else { letters::canonical(text) };
        kept.filter(|kept| kept.len() <= LOCAL_PART_LEN_MAX).map(Self).ok_or(MailAddressError::Local)
    }

    /// The text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it travels without SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// The local part without its `+tag`. A leading `+` is no tag.
    pub fn base(&self) -> &str {
        match self.0.find('+') {
            Some(at) if at > 0 => &self.0[..at],
            _ => &self.0,
        }
    }
}

/// RFC 5322 section 3.2.3, atext.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

impl MailAddress {
    /// Parses `local@<56>.onion`, without angle brackets or display name.
    pub fn parse(text: &str) -> Result<Self, MailAddressError> {
        let (local, host) = text.rsplit_once('@').ok_or(MailAddressError::NoAt)?;
        Ok(Self { local: LocalPart::parse(local)?, onion: OnionAddress::parse(host)? })
    }

    /// The whole address, for the wire and the screen; never for a log.
    pub fn full(&self) -> String {
        format!("{}@{}", self.local.0, self.onion.host())
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted]@{}", self.onion)
    }
}

impl TryFrom<String> for LocalPart {
    type Error = MailAddressError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<LocalPart> for String {
    fn from(local: LocalPart) -> Self {
        local.0
    }
}

impl TryFrom<String> for MailAddress {
    type Error = MailAddressError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<MailAddress> for String {
    fn from(address: MailAddress) -> Self {
        address.full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    #[test]
    fn an_address_is_folded_and_keeps_its_tag() {
        let address = MailAddress::parse(&format!("Ann.Lee+Shop@{}", HOST.to_uppercase())).unwrap();
        assert_eq!(address.full(), format!("ann.lee+shop@{HOST}"));
        assert_eq!(address.local.base(), "ann.lee");
        assert_eq!(LocalPart::parse("+x").unwrap().base(), "+x");
    }

    #[test]
    fn broken_local_parts_are_refused() {
        for bad in ["", ".", "a..b", ".a", "a.", "a b", "\"a\"", "a@b", "a\u{200d}é", "a\r", &"x".repeat(65)]
        {
            assert_eq!(LocalPart::parse(bad), Err(MailAddressError::Local), "{bad:?}");
        }
        assert_eq!(MailAddress::parse("nobody"), Err(MailAddressError::NoAt));
        assert!(matches!(MailAddress::parse("a@example.org"), Err(MailAddressError::Onion(_))));
    }

    #[test]
    fn a_log_never_shows_an_address() {
        let address = MailAddress::parse(&format!("ann@{HOST}")).unwrap();
        assert_eq!(format!("{address:?}"), "[redacted]@[redacted].onion");
    }
}

//! A letter's names and its envelope.

use crate::model::address::MailAddress;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The random name of one sending of a letter, 16 bytes: the same on every try, so that the reader's node takes it
/// once. Sent again on purpose, a letter has another id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LetterId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl LetterId {
    /// 32 lower-case hexadecimal digits, as on the wire.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The transaction identifier (RFC 1845) of the same letter, angle brackets included.
    pub fn transaction(&self) -> String {
        format!("<{}@onion>", self.to_hex())
    }

    /// Reads exactly 32 hexadecimal digits; anything else is `None`.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Debug for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The number under which the store keeps a letter; never re-used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LetterNo(pub u64);

/// The recipients of one letter: at least one, each once, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients(Vec<MailAddress>);

impl Recipients {
    /// Takes the addresses, dropping repetitions; `None` if there is none.
    pub fn new(addresses: impl IntoIterator<Item = MailAddress>) -> Option<Self> {
        let mut kept: Vec<MailAddress> = Vec::new();
        for address in addresses {
            if !kept.contains(&address) {
                kept.push(address);
            }
        }
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// The addresses, in order.
    pub fn as_slice(&self) -> &[MailAddress] {
        &self.0
    }
}

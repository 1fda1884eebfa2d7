//! Trust: who somebody is to us, decided from our own decisions and from what others signed.
//!
//! Tiers are computed when needed and never stored; what is stored are decisions and statements.

use serde::{Deserialize, Serialize};

/// Who somebody is to us, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// We want nothing of them.
    Blocked,
    /// We know nothing of them.
    Stranger,
    /// Somebody whom we trust introduced them.
    Introduced,
    /// We know them.
    Known,
    /// We know them, and believe whom they introduce.
    Trusted,
}

/// How an introducer or voucher checked that a key is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Face to face, by QR code or by reading addresses to each other.
    InPerson,
    /// By voice, with safety words.
    Voice,
    /// By mail only.
    Mail,
}

impl Method {
    /// The number in statements.
    pub fn number(self) -> u64 {
        match self {
            Self::InPerson => 1,
            Self::Voice => 2,
            Self::Mail => 3,
        }
    }

    /// Reads the number in statements; `None` for a method that this program does not know.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::InPerson, Self::Voice, Self::Mail].into_iter().find(|method| method.number() == number)
    }
}

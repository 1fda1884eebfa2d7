//! Trust: who somebody is to us, decided from our own decisions and from what others signed.
//!
//! * `view`: decisions and statements, indexed; `tier`: the tier of one address, and why
//! * `explain`: that reason in words; `graph`: the web as a picture (DOT, SVG)
//! * `alike`: addresses that look like one we know; `words`: safety words for a check by voice
//!
//! Tiers are computed when needed and never stored; what is stored are decisions and statements.

pub mod alike;
pub mod explain;
pub mod graph;
#[cfg(test)]
mod tests;
pub mod tier;
pub mod view;
pub mod words;

pub use tier::{Answer, Because, Path, tier_of};
pub use view::{Decided, Edge, EdgeKind, View};

use serde::{Deserialize, Serialize};
use std::time::Duration;

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

impl Tier {
    /// The word for it, as on the screen and in verdicts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Stranger => "stranger",
            Self::Introduced => "introduced",
            Self::Known => "known",
            Self::Trusted => "trusted",
        }
    }
}

/// How an introducer or voucher checked that a key is somebody's, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

    /// How long a check made this way counts, from the day it was made, whatever the statement claims.
    pub fn lasts(self) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        match self {
            Self::InPerson => DAY * 730,
            Self::Voice => DAY * 365,
            Self::Mail => DAY * 182,
        }
    }

    /// In words that follow "met" or stand alone.
    pub fn words(self) -> &'static str {
        match self {
            Self::InPerson => "checked in person",
            Self::Voice => "checked by voice",
            Self::Mail => "known by mail only",
        }
    }
}

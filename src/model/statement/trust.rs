//! What trust grows by: introductions and vouches.

use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::{check_text, method as method_field, onion as onion_field, statement};
use super::{SMALL_LEN_MAX, SignedBy, Standalone};
use crate::model::time::UnixTime;
use crate::model::trust::Method;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};

/// Longest introduction, in bytes: it carries a Card.
pub const INTRODUCTION_LEN_MAX: usize = 40 * 1024;
/// Longest note of an introduction, in bytes.
pub const NOTE_LEN_MAX: usize = 1000;

/// The author introduces one contact to another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// For whom it is.
    #[serde(with = "onion_field")]
    pub to: OnionAddress,
    /// Who is introduced.
    #[serde(with = "onion_field")]
    pub subject: OnionAddress,
    /// The subject's whole Card.
    #[serde(with = "serde_bytes")]
    pub card: Vec<u8>,
    /// How the author checked the subject's key.
    #[serde(with = "method_field")]
    pub method: Method,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
    /// What the author has to say, for people to read; may be empty.
    pub note: String,
}

/// The author has checked that a key is somebody's. Given to its subject, who alone shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// For whom the author vouches.
    #[serde(with = "onion_field")]
    pub subject: OnionAddress,
    /// How the author checked the subject's key.
    #[serde(with = "method_field")]
    pub method: Method,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
    /// Whether the subject may show it to others.
    pub show: bool,
}

impl Introduction {
    fn check_fields(&self) -> Result<(), StatementError> {
        if self.to == self.subject {
            return Err(StatementError::Form("it introduces somebody to themselves"));
        }
        check_text(&self.note, NOTE_LEN_MAX)
    }
}

impl Vouch {
    fn check_fields(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

statement!(
    Introduction,
    "introduction",
    SignedBy::Device(Certificate::STATEMENTS),
    INTRODUCTION_LEN_MAX,
    until
);
statement!(Vouch, "vouch", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX, until);
impl Standalone for Introduction {}
impl Standalone for Vouch {}

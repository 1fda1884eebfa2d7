//! The signed header of a sealed letter: who wrote it, for whom, and which letter it is.

use super::card::SUITE;
use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::statement;
use super::{LETTER_LEN_MAX, SignedBy, Standalone};
use crate::model::address::MailAddress;
use crate::model::letter::LetterId;
use crate::model::time::UnixTime;
use serde::{Deserialize, Serialize};

/// What the author of a sealed letter signs. It lies inside the seal, in front of the letter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterStatement {
    /// The reader's whole address: a letter that is sealed anew for somebody else is not for them.
    pub to: MailAddress,
    /// The letter's id: the same on every try.
    pub id: LetterId,
    /// How long the letter is, in bytes.
    pub length: u64,
    /// SHA-256 of the letter.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// The suite of the seal.
    pub suite: u64,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// Whether the author wishes a receipt.
    pub receipt: bool,
    /// A whole Delegation, if the letter is written on behalf of somebody else.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub behalf: Option<Vec<u8>>,
    /// There is nothing in the letter for a person: what it carries is for the reader's node, which files nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub errand: bool,
}

impl LetterStatement {
    fn check_fields(&self) -> Result<(), StatementError> {
        if self.suite != SUITE {
            return Err(StatementError::Version(self.suite));
        }
        Ok(())
    }
}

statement!(LetterStatement, "letter", SignedBy::Device(Certificate::LETTERS), LETTER_LEN_MAX);
impl Standalone for LetterStatement {}

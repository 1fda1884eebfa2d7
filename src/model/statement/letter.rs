//! The signed header of a sealed letter: who wrote it, for whom, and which letter it is.

use super::card::SUITE;
use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::statement;
use super::{LETTER_LEN_MAX, SignedBy, Standalone};
use crate::model::address::MailAddress;
use crate::model::letter::LetterId;
use crate::model::time::UnixTime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

/// Most vouches that one letter carries.
pub const VOUCHES_MAX: usize = 8;

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
    /// The author's whole Card.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub card: Option<Vec<u8>>,
    /// A whole Route from the author for the reader.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub route: Option<Vec<u8>>,
    /// Whole vouches for the author, at most 8.
    #[serde(default, deserialize_with = "at_least_one", skip_serializing_if = "Vec::is_empty")]
    pub vouches: Vec<ByteBuf>,
    /// A whole Delegation, if the letter is written on behalf of somebody else.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub behalf: Option<Vec<u8>>,
}

/// A list that is left out where it is empty.
fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ByteBuf>, D::Error> {
    let list = Vec::<ByteBuf>::deserialize(from)?;
    if list.is_empty() { Err(D::Error::custom("an empty list is left out")) } else { Ok(list) }
}

impl LetterStatement {
    fn check_fields(&self) -> Result<(), StatementError> {
        if self.suite != SUITE {
            return Err(StatementError::Version(self.suite));
        }
        if self.vouches.len() > VOUCHES_MAX {
            return Err(StatementError::Form("it carries too many vouches"));
        }
        Ok(())
    }
}

statement!(LetterStatement, "letter", SignedBy::Device(Certificate::LETTERS), LETTER_LEN_MAX);
impl Standalone for LetterStatement {}

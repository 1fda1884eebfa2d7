//! Small statements that go with letters: delegations, receipts, invites.

use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::{check_names, onion as onion_field, statement};
use super::{SMALL_LEN_MAX, SignedBy, Standalone};
use crate::model::address::LocalPart;
use crate::model::letter::LetterId;
use crate::model::time::UnixTime;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};

/// The author lets somebody write on their behalf.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Who may write.
    #[serde(with = "onion_field")]
    pub delegate: OnionAddress,
    /// In which of the author's names: 1 to 32 local parts.
    pub names: Vec<LocalPart>,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
}

/// The author of this statement, the reader of a letter, has kept the letter. Never receipted itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who wrote the letter.
    #[serde(with = "onion_field")]
    pub author: OnionAddress,
    /// The letter's id.
    pub id: LetterId,
    /// SHA-256 of the letter.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// When it was kept, rounded down to the hour.
    pub made: UnixTime,
}

/// The author of this statement takes up an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Who invited.
    #[serde(with = "onion_field")]
    pub inviter: OnionAddress,
    /// The secret of the invitation, good once.
    #[serde(with = "serde_bytes")]
    pub secret: [u8; 16],
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

impl Delegation {
    fn check_fields(&self) -> Result<(), StatementError> {
        check_names(&self.names)
    }
}

impl Receipt {
    fn check_fields(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

impl Invite {
    fn check_fields(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

statement!(Delegation, "delegation", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX, until);
statement!(Receipt, "receipt", SignedBy::Device(Certificate::LETTERS), SMALL_LEN_MAX);
statement!(Invite, "invite", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX);
impl Standalone for Delegation {}
impl Standalone for Receipt {}
impl Standalone for Invite {}

//! Certificates: an identity lets a device key sign for it.

use super::error::StatementError;
use super::fields::statement;
use super::{SMALL_LEN_MAX, SignedBy, Standalone};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};

/// The identity lets this device sign, for some purposes and until some time. It rides in the header of everything
/// that the device signs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The device's ed25519 public key.
    #[serde(with = "serde_bytes")]
    pub device: [u8; 32],
    /// What it may sign: the sum of [`Certificate::LETTERS`] and [`Certificate::STATEMENTS`]. Other bits mean nothing.
    pub scope: u64,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
}

impl Certificate {
    /// The scope of letters, and of receipts for them.
    pub const LETTERS: u64 = 1;
    /// The scope of all other statements.
    pub const STATEMENTS: u64 = 2;

    fn check_fields(&self) -> Result<(), StatementError> {
        OnionAddress::from_public_key(self.device).map(drop).map_err(|_| StatementError::Key)
    }
}

statement!(Certificate, "certificate", SignedBy::Identity, SMALL_LEN_MAX, until);
impl Standalone for Certificate {}

//! What only the recovery key can say: that an identity is no longer to be believed, and which one comes after it.

use super::error::StatementError;
use super::fields::{check_text, onion as onion_field, statement};
use super::{RecoverySigned, SMALL_LEN_MAX, SignedBy};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};

/// Longest reason of a revocation, in bytes.
pub const REASON_LEN_MAX: usize = 500;
/// The `since` of a revocation that was made beforehand, before anybody could know: 9999-12-31T23:59:59Z.
pub const SINCE_UNKNOWN: UnixTime = UnixTime(253_402_300_799);
/// Longest chain of successors.
pub const CHAIN_MAX: usize = 10;

/// The author's identity key is in wrong hands. Never expires, and beats everything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The public half of the recovery key, which signs.
    #[serde(with = "serde_bytes")]
    pub recovery: [u8; 32],
    /// Since when the identity key is in wrong hands, as far as its owner knows.
    pub since: UnixTime,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// Why, for people to read; may be empty.
    pub reason: String,
}

/// Another identity comes after the author's. Contacts follow once their user has checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// The public half of the recovery key, which signs.
    #[serde(with = "serde_bytes")]
    pub recovery: [u8; 32],
    /// The identity that comes after.
    #[serde(with = "onion_field")]
    pub new: OnionAddress,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

impl Revocation {
    /// Since when the key is in wrong hands; none if it was made before anybody could know.
    pub fn compromised(&self) -> Option<UnixTime> {
        (self.since < SINCE_UNKNOWN).then_some(self.since)
    }

    fn check_fields(&self) -> Result<(), StatementError> {
        check_text(&self.reason, REASON_LEN_MAX)
    }
}

impl Successor {
    fn check_fields(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

statement!(Revocation, "revocation", SignedBy::Recovery, SMALL_LEN_MAX);
statement!(Successor, "successor", SignedBy::Recovery, SMALL_LEN_MAX);

impl RecoverySigned for Revocation {
    fn recovery_key(&self) -> &[u8; 32] {
        &self.recovery
    }
}

impl RecoverySigned for Successor {
    fn recovery_key(&self) -> &[u8; 32] {
        &self.recovery
    }
}

/// Why a chain of successors leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It comes back to where it was.
    #[error("the chain of successors comes back to where it was")]
    Cycle,
    /// It is too long.
    #[error("the chain of successors has more than {CHAIN_MAX} links")]
    TooLong,
}

/// The identities after `first`, in order, as `next` gives the successor of each; empty if it has none.
pub fn successors(
    first: OnionAddress,
    next: impl Fn(&OnionAddress) -> Option<OnionAddress>,
) -> Result<Vec<OnionAddress>, ChainError> {
    let mut chain = Vec::new();
    let mut at = first;
    while let Some(then) = next(&at) {
        if then == first || chain.contains(&then) {
            return Err(ChainError::Cycle);
        }
        if chain.len() == CHAIN_MAX {
            return Err(ChainError::TooLong);
        }
        chain.push(then);
        at = then;
    }
    Ok(chain)
}

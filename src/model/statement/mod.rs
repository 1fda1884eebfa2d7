//! Statements: what one key says for others to check (COSE_Sign1, RFC 9052, over deterministic CBOR, RFC 8949).
//!
//! * `cbor`: the one form that bytes may have, checked before anything is decoded; `cose`: the wrapping
//! * `signed`: `Signed` (received) and `Verified` (checked); `sign`: who may sign what; `error`: why one is refused
//! * the kinds: `certificate` and `card` (the identity key signs), `recovery` (revocations, successors: the recovery
//!   key), and those that a device key signs: `route`, `letter` (`frame`: what stands with it in a seal), `trust`
//!   (introductions, vouches), `errands` (delegations, receipts, invites), `holding` (a drop's key signs custody)
//!
//! A new field goes to the end of its struct; the number of a field on the wire is its place.

pub mod card;
pub mod cbor;
pub mod certificate;
mod cose;
pub mod errands;
mod error;
mod fields;
pub mod frame;
pub mod holding;
pub mod letter;
pub mod recovery;
pub mod route;
mod sign;
mod signed;
#[cfg(test)]
mod tests;
pub mod trust;

pub use card::{Card, Prekey, Succession};
pub use certificate::Certificate;
pub use errands::{Delegation, Invite, Receipt};
pub use error::StatementError;
pub use holding::{Announcement, Custody, HolderPromise, HolderWish, Refusal};
pub use letter::LetterStatement;
pub use recovery::{Revocation, Successor};
pub use route::{Drop, Route};
pub use sign::{DeviceSigner, sign_as_device, sign_as_identity, sign_as_recovery};
pub use signed::{FUTURE_MAX, Peeked, Signed, UNKNOWN_LEN_MAX, Verified, peek, verify_unknown};
pub use trust::{Introduction, Vouch};

use crate::model::time::UnixTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest statement of any kind: the header of a letter, which carries others.
pub const LETTER_LEN_MAX: usize = 96 * 1024;
/// Longest statement of the kinds that carry little.
const SMALL_LEN_MAX: usize = 4 * 1024;

/// The words of all kinds that this program knows.
pub const KINDS: [&str; 16] = [
    Certificate::KIND,
    Card::KIND,
    Route::KIND,
    LetterStatement::KIND,
    Introduction::KIND,
    Vouch::KIND,
    Revocation::KIND,
    Successor::KIND,
    Delegation::KIND,
    Receipt::KIND,
    Invite::KIND,
    HolderWish::KIND,
    HolderPromise::KIND,
    Custody::KIND,
    Announcement::KIND,
    Refusal::KIND,
];

/// Which key signs a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// The identity key, which is the onion's.
    Identity,
    /// A device key that the identity certified for this scope (bits of [`Certificate::scope`]).
    Device(u64),
    /// The recovery key, to which every Card of the identity commits.
    Recovery,
}

/// One kind of statement. Its fields are encoded as a map, numbered from 0 in the order of the struct.
pub trait Statement: Serialize + DeserializeOwned {
    /// The word of the kind, in its media type and in the context of its signature.
    const KIND: &'static str;
    /// Which key signs it.
    const SIGNED_BY: SignedBy;
    /// Longest whole statement, in bytes.
    const LEN_MAX: usize;

    /// When it was made, rounded down to the hour.
    fn made(&self) -> UnixTime;

    /// The last second in which it holds; `None` if it never expires.
    fn until(&self) -> Option<UnixTime>;

    /// What must be true of the fields beyond their kinds.
    fn check(&self) -> Result<(), StatementError>;
}

/// A kind whose bytes alone prove who says it: signed by an identity key, or by a device with its certificate.
pub trait Standalone: Statement {}

/// A kind signed by a recovery key, which only means something beside a Card that commits to that key.
pub trait RecoverySigned: Statement {
    /// The public half of the recovery key.
    fn recovery_key(&self) -> &[u8; 32];
}

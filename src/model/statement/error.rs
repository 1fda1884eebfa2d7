//! Why a statement is refused.

use super::cbor::CborError;

/// Why a statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than its kind may be.
    #[error("the statement is too long: {len} bytes, and {max} are allowed")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// The bytes are not the one form that CBOR has for them.
    #[error("the statement is not deterministic CBOR: {0}")]
    NotDeterministic(#[from] CborError),
    /// The CBOR is sound, but not what a statement, or this kind of statement, consists of.
    #[error("the statement is malformed: {0}")]
    Form(&'static str),
    /// It is of another kind than the one asked for.
    #[error("the statement is of another kind")]
    Kind,
    /// A version or suite that this program does not know.
    #[error("the statement is of version or suite {0}, which this program does not know")]
    Version(u64),
    /// It demands that something be understood which this program does not know.
    #[error("the statement demands something that this program does not know")]
    Critical,
    /// A key in it is no usable ed25519 key.
    #[error("a key in the statement is not usable")]
    Key,
    /// The signature is not of the key that had to sign.
    #[error("the signature is wrong")]
    Signature,
    /// The device's certificate does not allow it to sign this.
    #[error("the device's certificate does not cover the statement: {0}")]
    Certificate(&'static str),
    /// The recovery key is not the one that the author's Card commits to.
    #[error("the recovery key is not the one that the author's Card names")]
    Commitment,
    /// Its time has run out.
    #[error("the statement has expired")]
    Expired,
    /// It says to have been made in the future.
    #[error("the statement is dated in the future")]
    Future,
}

impl StatementError {
    /// One word for the reason, as the test vectors have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too-long",
            Self::NotDeterministic(_) => "not-deterministic",
            Self::Form(_) => "form",
            Self::Kind => "kind",
            Self::Version(_) => "version",
            Self::Critical => "critical",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Certificate(_) => "certificate",
            Self::Commitment => "commitment",
            Self::Expired => "expired",
            Self::Future => "future",
        }
    }
}

//! `Signed` and `Verified`: a statement before and after its signature was checked, as types.
//!
//! The received bytes are kept, and it is they that are verified, never a re-encoding. What acts takes `Verified`.
//! A kept statement is verified again when it is read, at the time at which it *arrived*; whether it still holds is
//! then asked with [`Verified::is_expired`].

use super::certificate::Certificate;
use super::cose::Envelope;
use super::error::StatementError;
use super::{RecoverySigned, SignedBy, Standalone, Statement, cbor};
use crate::model::time::UnixTime;
use ed25519_dalek::{Signature, VerifyingKey};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// How far in the future of the agreed time a statement may be dated: a day, an hour for rounding, an hour for clocks.
pub const FUTURE_MAX: Duration = Duration::from_secs(26 * 3600);
/// Longest statement of a kind that this program does not know, in bytes.
pub const UNKNOWN_LEN_MAX: usize = 16 * 1024;

/// A statement as it was received: its form is right and its kind is `T`; nothing more is known of it.
pub struct Signed<T> {
    bytes: Vec<u8>,
    kind: PhantomData<fn() -> T>,
}

/// A statement that its author has signed, valid at the time it was checked for.
#[derive(Clone)]
pub struct Verified<T> {
    statement: T,
    author: OnionAddress,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

/// What can be said of a statement without knowing its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// The word of its kind.
    pub kind: String,
    /// Whose it says to be.
    pub author: OnionAddress,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

impl<T: Statement> Signed<T> {
    /// Takes received bytes whose form is right and whose kind is `T`.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, StatementError> {
        let bytes = bytes.into();
        check_len(&bytes, T::LEN_MAX)?;
        if Envelope::parse(&bytes)?.kind != T::KIND {
            return Err(StatementError::Kind);
        }
        Ok(Self { bytes, kind: PhantomData })
    }

    /// The received bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose it says to be, unproved.
    pub fn claimed_author(&self) -> OnionAddress {
        self.envelope().author
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope::parse(&self.bytes).expect("its form was checked when it was taken")
    }

    fn verified(self, statement: T, author: OnionAddress) -> Verified<T> {
        let digest = digest_of(&self.bytes);
        Verified { statement, author, bytes: self.bytes, digest }
    }
}

impl<T: Standalone> Signed<T> {
    /// Checks signature, certificate, fields and times. `at` is the agreed time; without one nothing is expired and
    /// nothing is in the future.
    pub fn verify(self, at: Option<UnixTime>) -> Result<Verified<T>, StatementError> {
        let envelope = self.envelope();
        let author = envelope.author;
        let certificate = match T::SIGNED_BY {
            SignedBy::Device(scope) => {
                let certificate = device_of(&envelope, scope, at)?;
                check_signature(&envelope, &certificate.device)?;
                Some(certificate)
            }
            SignedBy::Identity | SignedBy::Recovery => {
                no_certificate(&envelope)?;
                check_signature(&envelope, author.public_key())?;
                None
            }
        };
        let statement = decode::<T>(envelope.payload)?;
        check_times(&statement, at)?;
        if certificate.is_some_and(|certificate| statement.made() > certificate.until) {
            return Err(StatementError::Certificate("it had expired when the statement was made"));
        }
        Ok(self.verified(statement, author))
    }
}

impl<T: RecoverySigned> Signed<T> {
    /// Checks signature, fields and times, and that the recovery key is the one to which the author's Card commits
    /// (`commitment`, SHA-256 of that key). `at` as for [`Signed::verify`].
    pub fn verify_recovery(
        self,
        commitment: &[u8; 32],
        at: Option<UnixTime>,
    ) -> Result<Verified<T>, StatementError> {
        let envelope = self.envelope();
        let author = envelope.author;
        no_certificate(&envelope)?;
        let statement = decode::<T>(envelope.payload)?;
        if digest_of(statement.recovery_key()) != *commitment {
            return Err(StatementError::Commitment);
        }
        check_signature(&envelope, statement.recovery_key())?;
        check_times(&statement, at)?;
        Ok(self.verified(statement, author))
    }
}

/// Looks at a statement of any kind: its form is checked, its signature is not.
pub fn peek(bytes: &[u8]) -> Result<Peeked, StatementError> {
    check_len(bytes, super::LETTER_LEN_MAX)?;
    let envelope = Envelope::parse(bytes)?;
    Ok(Peeked { kind: envelope.kind.to_owned(), author: envelope.author, digest: digest_of(bytes) })
}

/// Checks the signature of a statement of a kind that this program does not know, so that it can be kept: by the
/// device if a certificate is there, else by the identity. Refuses the kinds that have a type of their own.
pub fn verify_unknown(bytes: &[u8], at: Option<UnixTime>) -> Result<Peeked, StatementError> {
    check_len(bytes, UNKNOWN_LEN_MAX)?;
    let envelope = Envelope::parse(bytes)?;
    if super::KINDS.contains(&envelope.kind) {
        return Err(StatementError::Kind);
    }
    if envelope.certificate.is_some() {
        let certificate = device_of(&envelope, Certificate::STATEMENTS, at)?;
        check_signature(&envelope, &certificate.device)?;
    } else {
        check_signature(&envelope, envelope.author.public_key())?;
    }
    Ok(Peeked { kind: envelope.kind.to_owned(), author: envelope.author, digest: digest_of(bytes) })
}

fn check_len(bytes: &[u8], max: usize) -> Result<(), StatementError> {
    if bytes.len() > max { Err(StatementError::TooLong { len: bytes.len(), max }) } else { Ok(()) }
}

fn no_certificate(envelope: &Envelope<'_>) -> Result<(), StatementError> {
    match envelope.certificate {
        None => Ok(()),
        Some(_) => Err(StatementError::Form("no device may sign this kind, and it has a certificate")),
    }
}

/// The certificate that rides in the header, if it is the author's own and covers `scope`.
fn device_of(
    envelope: &Envelope<'_>,
    scope: u64,
    at: Option<UnixTime>,
) -> Result<Certificate, StatementError> {
    let refuse = |why| Err(StatementError::Certificate(why));
    let Some(bytes) = envelope.certificate else { return refuse("there is none") };
    let certificate = match Signed::<Certificate>::parse(bytes).and_then(|signed| signed.verify(at)) {
        Ok(certificate) => certificate,
        Err(StatementError::Expired) => return refuse("it has expired"),
        Err(_) => return refuse("it is not valid"),
    };
    if certificate.author() != envelope.author {
        return refuse("another identity made it");
    }
    if certificate.scope & scope != scope {
        return refuse("its scope is another");
    }
    Ok(certificate.statement)
}

fn check_signature(envelope: &Envelope<'_>, key: &[u8; 32]) -> Result<(), StatementError> {
    // The proof that the key is a good one, neither weak nor of mixed order, is the one for onion addresses.
    OnionAddress::from_public_key(*key).map_err(|_| StatementError::Key)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| StatementError::Key)?;
    key.verify_strict(&envelope.signed_bytes(), &Signature::from_bytes(&envelope.signature))
        .map_err(|_| StatementError::Signature)
}

/// An author whose clock is ahead must not lose letters by it: what the future is refused for is only what ages.
fn check_times<T: Statement>(statement: &T, at: Option<UnixTime>) -> Result<(), StatementError> {
    let Some(at) = at else { return Ok(()) };
    if statement.until().is_some_and(|until| until < at) {
        return Err(StatementError::Expired);
    }
    let ages = statement.until().is_some() && T::KIND != Certificate::KIND;
    if ages && statement.made() > at.plus(FUTURE_MAX) {
        return Err(StatementError::Future);
    }
    Ok(())
}

/// Reads a payload, and makes sure that it is the one form of what was read: every pair that would be written is
/// there, byte for byte. Other pairs are of later versions; they are passed over unless their key is negative.
pub(super) fn decode<T: Statement>(payload: &[u8]) -> Result<T, StatementError> {
    let received = cbor::pairs(payload)?;
    if received.iter().any(|(key, _)| key[0] >> 5 == 1) {
        return Err(StatementError::Critical);
    }
    let statement: T = serde_cbor::from_slice(payload)
        .map_err(|_| StatementError::Form("a field is missing or not of its kind"))?;
    let written = cbor::encode(&statement);
    let written = cbor::pairs(&written).map_err(|_| StatementError::Form("a field is not of its kind"))?;
    if written.iter().any(|pair| received.binary_search(pair).is_err()) {
        return Err(StatementError::Form("a field is not in its one form"));
    }
    statement.check()?;
    Ok(statement)
}

pub(super) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl<T> Verified<T> {
    /// Whose statement it is: the identity that signed it, or for which a device or the recovery key signed it.
    pub fn author(&self) -> OnionAddress {
        self.author
    }

    /// The bytes as they were received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<T: Statement> Verified<T> {
    /// Whether its time has run out at the agreed time; never without one.
    pub fn is_expired(&self, at: Option<UnixTime>) -> bool {
        at.zip(self.statement.until()).is_some_and(|(at, until)| until < at)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.statement
    }
}

/// Two are equal if their bytes are.
impl<T> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Verified<T> {}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), kind: PhantomData }
    }
}

impl<T: Statement> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({}, {} bytes)", T::KIND, self.bytes.len())
    }
}

impl<T: Statement> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({}, {} bytes)", T::KIND, self.bytes.len())
    }
}

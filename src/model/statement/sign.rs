//! Signing: the identity key, a device key that it certified, or the recovery key, each for its own kinds.
//!
//! The same key and the same statement always give the same bytes (RFC 8032). What could not be verified afterwards
//! is refused before it is signed.

use super::certificate::Certificate;
use super::error::StatementError;
use super::signed::{Signed, Verified, decode};
use super::{RecoverySigned, SignedBy, Standalone, Statement, cbor, cose};
use ed25519_dalek::{Signer as _, SigningKey};
use onion::OnionAddress;
use std::fmt;

/// A device key with the certificate that the identity gave it. Not to be copied; wiped when dropped.
pub struct DeviceSigner {
    key: SigningKey,
    certificate: Verified<Certificate>,
}

impl DeviceSigner {
    /// Takes a device key and its certificate, which must be for this key.
    pub fn new(key: SigningKey, certificate: Verified<Certificate>) -> Result<Self, StatementError> {
        if key.verifying_key().to_bytes() != certificate.device {
            return Err(StatementError::Certificate("it is for another device"));
        }
        Ok(Self { key, certificate })
    }

    /// The identity for which it signs.
    pub fn onion(&self) -> OnionAddress {
        self.certificate.author()
    }

    /// The certificate.
    pub fn certificate(&self) -> &Verified<Certificate> {
        &self.certificate
    }
}

impl fmt::Debug for DeviceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSigner")
    }
}

/// Signs with the identity key: Cards and certificates alone.
pub fn sign_as_identity<T: Standalone>(
    key: &SigningKey,
    statement: &T,
) -> Result<Verified<T>, StatementError> {
    const { assert!(matches!(T::SIGNED_BY, SignedBy::Identity), "the identity key does not sign this kind") }
    signed(statement, &onion_of(key)?, None, key)?.verify(None)
}

/// Signs with a device key, whose certificate goes into the header: everything but Cards, certificates, revocations
/// and successors.
pub fn sign_as_device<T: Standalone>(
    signer: &DeviceSigner,
    statement: &T,
) -> Result<Verified<T>, StatementError> {
    const { assert!(matches!(T::SIGNED_BY, SignedBy::Device(_)), "a device key does not sign this kind") }
    signed(statement, &signer.onion(), Some(signer.certificate.bytes()), &signer.key)?.verify(None)
}

/// Signs with the recovery key of the identity `author`, whose public half the statement must name: revocations and
/// successors.
pub fn sign_as_recovery<T: RecoverySigned>(
    key: &SigningKey,
    author: &OnionAddress,
    statement: &T,
) -> Result<Verified<T>, StatementError> {
    let commitment = super::card::commitment(&key.verifying_key().to_bytes());
    signed(statement, author, None, key)?.verify_recovery(&commitment, None)
}

fn signed<T: Statement>(
    statement: &T,
    author: &OnionAddress,
    certificate: Option<&[u8]>,
    key: &SigningKey,
) -> Result<Signed<T>, StatementError> {
    let payload = cbor::encode(statement);
    decode::<T>(&payload)?;
    let sign = |message: &[u8]| key.sign(message).to_bytes();
    Signed::parse(cose::seal(T::KIND, author, certificate, &payload, sign))
}

fn onion_of(key: &SigningKey) -> Result<OnionAddress, StatementError> {
    OnionAddress::from_public_key(key.verifying_key().to_bytes()).map_err(|_| StatementError::Key)
}

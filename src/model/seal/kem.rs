//! The file key of a seal under a prekey: HPKE (RFC 9180) in base mode, as age's `mlkem768x25519` stanza has it.

use super::curve::is_low_order;
use super::header::{self, Stanza};
use super::prekey::{PublicPrekey, SecretPrekey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use std::convert::Infallible;
use zeroize::Zeroizing;

/// Length of a file key in bytes.
pub(super) const FILE_KEY_LEN: usize = 16;
/// Length of the encapsulated key in bytes.
pub(super) const ENCAPSULATED_LEN: usize = 1120;
/// Length of the encrypted file key in bytes: the key and a tag.
pub(super) const WRAPPED_LEN: usize = FILE_KEY_LEN + 16;
/// Randomness that one encapsulation takes: 32 bytes for ML-KEM, 32 for X25519.
pub(super) const RANDOMNESS_LEN: usize = 64;

const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";

/// A file key as its reader gets it.
pub(super) struct Wrapped {
    pub(super) encapsulated: [u8; ENCAPSULATED_LEN],
    pub(super) body: [u8; WRAPPED_LEN],
}

impl Wrapped {
    /// The stanza that hands it over.
    pub(super) fn stanza(&self) -> Stanza<'_> {
        Stanza { kind: header::KIND, argument: &self.encapsulated, body: &self.body }
    }
}

/// Wraps a file key. The same key, randomness and prekey give the same bytes; other keys want other randomness.
pub(super) fn wrap(
    file_key: &[u8; FILE_KEY_LEN],
    to: &PublicPrekey,
    randomness: &[u8; RANDOMNESS_LEN],
) -> Wrapped {
    let (encapsulated, mut context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        to.key(),
        INFO,
        &mut Drawn(randomness),
    )
    .expect("X-Wing encapsulates for every key that it has read");
    let body = context.seal(file_key, b"").expect("the first message of a context can be sealed");
    let mut wrapped = Wrapped { encapsulated: [0; ENCAPSULATED_LEN], body: [0; WRAPPED_LEN] };
    wrapped.encapsulated.copy_from_slice(&encapsulated.to_bytes());
    wrapped.body.copy_from_slice(&body);
    wrapped
}

/// The file key, or `None` if it was not wrapped for this prekey.
pub(super) fn unwrap(wrapped: &Wrapped, secret: &SecretPrekey) -> Option<Zeroizing<[u8; FILE_KEY_LEN]>> {
    // The halves of an encapsulation: 1088 bytes of ML-KEM-768, 32 of X25519. HPKE (section 7.1.4) refuses a zero
    // secret of the latter, and the crate leaves that to its caller.
    if wrapped.encapsulated.last_chunk().is_some_and(is_low_order) {
        return None;
    }
    let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(&wrapped.encapsulated).ok()?;
    let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        secret.key(),
        &encapsulated,
        INFO,
    )
    .ok()?;
    let opened = Zeroizing::new(context.open(&wrapped.body, b"").ok()?);
    let mut file_key = Zeroizing::new([0; FILE_KEY_LEN]);
    // The body has the length of a file key and its tag, so what was opened has the length of a file key.
    file_key.copy_from_slice(&opened);
    Some(file_key)
}

/// Randomness drawn before, handed out once.
struct Drawn<'a>(&'a [u8]);

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let (now, rest) = self.0.split_at_checked(out.len()).expect("X-Wing takes 64 bytes, once");
        out.copy_from_slice(now);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_key_comes_to_its_reader_and_to_nobody_else() {
        let (reader, other) = (SecretPrekey::from_seed(&[1; 32]), SecretPrekey::from_seed(&[2; 32]));
        let mut wrapped = wrap(&[3; 16], reader.public(), &[4; 64]);
        assert_eq!(unwrap(&wrapped, &reader).as_deref(), Some(&[3; 16]));
        assert!(unwrap(&wrapped, &other).is_none());
        wrapped.body[0] ^= 1;
        assert!(unwrap(&wrapped, &reader).is_none());
        wrapped.body[0] ^= 1;
        wrapped.encapsulated[1119] ^= 1;
        assert!(unwrap(&wrapped, &reader).is_none());
    }
}

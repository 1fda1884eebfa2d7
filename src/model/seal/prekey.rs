//! Prekeys: the X-Wing keys (ML-KEM-768 and X25519) that letters are sealed for, and their names.

use super::curve::is_low_order;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem, Serializable as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Length of a public prekey in bytes: 1184 of ML-KEM-768 and 32 of X25519.
pub const PREKEY_LEN: usize = 1216;
/// Where the X25519 half begins.
const X25519_AT: usize = 1184;

/// The name of a prekey: the first 8 bytes of the SHA-256 of its public half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrekeyId(pub [u8; 8]);

impl PrekeyId {
    /// The name of the prekey with these public bytes.
    fn of(public: &[u8; PREKEY_LEN]) -> Self {
        let digest = Sha256::digest(public);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }

    /// 16 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }

    /// Reads 16 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for PrekeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// Why bytes are no public prekey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrekeyError {
    /// There are more or fewer than [`PREKEY_LEN`].
    #[error("a prekey has 1216 bytes")]
    Length,
    /// One of its halves is no key of its kind.
    #[error("these bytes are no X-Wing key")]
    NoKey,
}

/// The half of a prekey that everybody may know.
#[derive(Clone)]
pub struct PublicPrekey {
    bytes: Box<[u8; PREKEY_LEN]>,
    key: Box<<XWing as Kem>::PublicKey>,
    id: PrekeyId,
}

impl PublicPrekey {
    /// Checks bytes that somebody says are a prekey: both halves must be keys that can make a secret.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PrekeyError> {
        let bytes: Box<[u8; PREKEY_LEN]> = Box::new(bytes.try_into().map_err(|_| PrekeyError::Length)?);
        let no_lattice = bytes[..X25519_AT].iter().all(|&byte| byte == 0);
        if no_lattice || bytes.last_chunk().is_some_and(is_low_order) {
            return Err(PrekeyError::NoKey);
        }
        let key = <XWing as Kem>::PublicKey::from_bytes(&bytes[..]).map_err(|_| PrekeyError::NoKey)?;
        Ok(Self { id: PrekeyId::of(&bytes), key: Box::new(key), bytes })
    }

    /// The bytes, as Cards carry them.
    pub fn as_bytes(&self) -> &[u8; PREKEY_LEN] {
        &self.bytes
    }

    /// Its name.
    pub fn id(&self) -> PrekeyId {
        self.id
    }

    pub(super) fn key(&self) -> &<XWing as Kem>::PublicKey {
        &self.key
    }
}

impl PartialEq for PublicPrekey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicPrekey {}

impl fmt::Debug for PublicPrekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicPrekey({:?})", self.id)
    }
}

/// The half that opens. Not `Clone`, never shown, and wiped when the last of those that share it is dropped.
pub struct SecretPrekey(Arc<SecretParts>);

struct SecretParts {
    seed: Zeroizing<[u8; 32]>,
    key: <XWing as Kem>::PrivateKey,
    public: PublicPrekey,
}

impl SecretPrekey {
    /// The key that grows from 32 random bytes (an age identity of the post-quantum kind is the same bytes).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = <XWing as Kem>::PrivateKey::from_bytes(seed).expect("any 32 bytes are a seed");
        let public = XWing::sk_to_pk(&key);
        let mut bytes = Box::new([0; PREKEY_LEN]);
        bytes.copy_from_slice(&public.to_bytes());
        let public = PublicPrekey { id: PrekeyId::of(&bytes), bytes, key: Box::new(public) };
        Self(Arc::new(SecretParts { seed: Zeroizing::new(*seed), key, public }))
    }

    /// The same key for one more user, without computing it again.
    pub fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// What it grew from, for keeping.
    pub fn seed(&self) -> &[u8; 32] {
        &self.0.seed
    }

    /// The public half.
    pub fn public(&self) -> &PublicPrekey {
        &self.0.public
    }

    /// The name of both halves.
    pub fn id(&self) -> PrekeyId {
        self.0.public.id
    }

    pub(super) fn key(&self) -> &<XWing as Kem>::PrivateKey {
        &self.0.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prekey_grows_from_its_seed_and_has_one_name() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        let public = PublicPrekey::from_bytes(secret.public().as_bytes()).unwrap();
        assert_eq!(&public, secret.public());
        assert_eq!(public.id(), secret.id());
        assert_eq!(PrekeyId::from_hex(&public.id().to_hex()), Some(public.id()));
        assert_eq!(PrekeyId::from_hex(&public.id().to_hex().to_uppercase()), Some(public.id()));
        assert_eq!(PrekeyId::from_hex("0123"), None);
        assert_ne!(SecretPrekey::from_seed(&[8; 32]).id(), public.id());
    }

    #[test]
    fn bytes_that_are_no_prekey_are_refused() {
        let good = *SecretPrekey::from_seed(&[7; 32]).public().as_bytes();
        let mut no_curve = good;
        no_curve[X25519_AT..].fill(0);
        let mut no_lattice = good;
        no_lattice[..X25519_AT].fill(0);
        // A coefficient of 4095, where ML-KEM counts below 3329.
        let mut beyond = good;
        beyond[..3].fill(0xff);
        for bytes in [no_curve, no_lattice, beyond, [0; PREKEY_LEN]] {
            assert_eq!(PublicPrekey::from_bytes(&bytes), Err(PrekeyError::NoKey));
        }
        assert_eq!(PublicPrekey::from_bytes(&good[1..]), Err(PrekeyError::Length));
        assert_eq!(PublicPrekey::from_bytes(&[]), Err(PrekeyError::Length));
    }
}

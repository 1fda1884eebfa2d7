//! Whom a file of age is for, as people give their keys: `age1…` (X25519) or `age1pq1…` (X-Wing, as prekeys are).
//!
//! Only sealing is here: the other half is with somebody who has the stock `age`. The X25519 stanza is that of
//! c2sp.org/age; it is older than quantum computers are feared to be, and what Debian 12's `age` opens.

use super::age_keys;
use super::curve::is_low_order;
use super::header::{self, Stanza};
use super::kem::{self, FILE_KEY_LEN, RANDOMNESS_LEN, WRAPPED_LEN};
use super::prekey::PublicPrekey;
use crate::model::aead::Cipher;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::Zeroizing;

const INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// A key that files of age are sealed for.
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// X25519: `age1…`, 62 characters.
    Classic([u8; 32]),
    /// X-Wing: `age1pq1…`, 1959 characters; opened by age 1.3 and later.
    PostQuantum(PublicPrekey),
}

/// Why a text is no [`Recipient`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// The half that must stay with its owner.
    #[error("this is a secret key: keep it to yourself, and give the one that begins with age1")]
    Secret,
    /// A key of ssh or of a plugin, or something else.
    #[error("a key of age begins with age1, or with age1pq1; other kinds are not known here")]
    Kind,
    /// The letters do not fit together.
    #[error("the key has a typing error (its checksum does not match), or is not whole")]
    Checksum,
    /// It is a point with which everybody has the same secret.
    #[error("this is no key: everybody would share its secret")]
    Weak,
}

impl Recipient {
    /// Reads a key as `age-keygen` shows it, white space around it ignored.
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        let begins = |with: &str| text.get(..with.len()).is_some_and(|has| has.eq_ignore_ascii_case(with));
        if begins("AGE-SECRET-KEY-") {
            return Err(RecipientError::Secret);
        }
        if begins("age1pq1") {
            return age_keys::parse_recipient(text).map(Self::PostQuantum).ok_or(RecipientError::Checksum);
        }
        // Plugins have a name and another 1 behind the first, which no key of ours has.
        if !begins("age1") || text[4..].contains('1') {
            return Err(RecipientError::Kind);
        }
        let key = age_keys::parse_classic(text).ok_or(RecipientError::Checksum)?;
        if is_low_order(&key) { Err(RecipientError::Weak) } else { Ok(Self::Classic(key)) }
    }

    /// What tells it from other keys.
    pub(super) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Classic(key) => Sha256::digest(key).into(),
            Self::PostQuantum(key) => Sha256::digest(key.as_bytes()).into(),
        }
    }

    /// The header of a file with this key, from randomness that no other file has.
    pub(super) fn head(&self, file_key: &[u8; FILE_KEY_LEN], randomness: &[u8; RANDOMNESS_LEN]) -> Vec<u8> {
        match self {
            Self::PostQuantum(key) => header::write(&kem::wrap(file_key, key, randomness).stanza(), file_key),
            Self::Classic(key) => {
                let mut secret = Zeroizing::new([0; 32]);
                secret.copy_from_slice(&randomness[..32]);
                let share = MontgomeryPoint::mul_base_clamped(*secret).0;
                let shared = Zeroizing::new(MontgomeryPoint(*key).mul_clamped(*secret).0);
                let body = wrap(file_key, &shared, (&share, key));
                header::write(&Stanza { kind: b"X25519", argument: &share, body: &body }, file_key)
            }
        }
    }
}

/// The file key under the secret that a share and a key have in common.
fn wrap(
    file_key: &[u8; FILE_KEY_LEN],
    shared: &[u8; 32],
    (share, to): (&[u8; 32], &[u8; 32]),
) -> [u8; WRAPPED_LEN] {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&[*share, *to].concat()), shared)
        .expand(INFO, &mut *key)
        .expect("32 bytes is a legal length for HKDF-SHA256");
    let mut body = [0; WRAPPED_LEN];
    body[..FILE_KEY_LEN].copy_from_slice(file_key);
    // The key is used this once.
    let tag = Cipher::new(&key).seal([0; 12], b"", &mut body[..FILE_KEY_LEN]);
    body[FILE_KEY_LEN..].copy_from_slice(&tag);
    body
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Classic(key) => age_keys::classic(key),
            Self::PostQuantum(key) => age_keys::recipient(key),
        })
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seal::SecretPrekey;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

    /// A key made by the stock `age-keygen`.
    const STOCK: &str = "age19lwvnjfr3e6fjdn432590d9swtqjzduhn9gpezatnutte430mg0qvtqwf9";
    const CCTV: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/age/cctv.json"));

    #[test]
    fn keys_are_read_as_age_writes_them_and_written_again() {
        assert_eq!(Recipient::parse(STOCK).unwrap().to_string(), STOCK);
        assert_eq!(Recipient::parse(&format!(" {}\n", STOCK.to_uppercase())).unwrap().to_string(), STOCK);
        let prekey = SecretPrekey::from_seed(&[7; 32]);
        let text = age_keys::recipient(prekey.public());
        assert_eq!(Recipient::parse(&text), Ok(Recipient::PostQuantum(prekey.public().clone())));
        assert_eq!(Recipient::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_key_is_refused_for_its_reason() {
        let secret = age_keys::identity(&SecretPrekey::from_seed(&[7; 32])).to_string();
        let hybrid = age_keys::recipient(SecretPrekey::from_seed(&[7; 32]).public());
        let typo = STOCK.replacen('z', "y", 1);
        for (text, error) in [
            ("", RecipientError::Kind),
            ("ssh-ed25519 AAAA", RecipientError::Kind),
            ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", RecipientError::Kind),
            ("\u{e4}ge1", RecipientError::Kind),
            ("age1", RecipientError::Checksum),
            (&STOCK[..61], RecipientError::Checksum),
            (&typo, RecipientError::Checksum),
            (&hybrid[..1958], RecipientError::Checksum),
            (&secret, RecipientError::Secret),
            (&secret.to_lowercase(), RecipientError::Secret),
            (&age_keys::classic(&[0; 32]), RecipientError::Weak),
        ] {
            assert_eq!(Recipient::parse(text), Err(error), "{text}");
        }
    }

    /// Of a public vector of age the file key is known, and it is wrapped as it is there.
    #[test]
    fn a_file_key_is_wrapped_as_the_public_vectors_have_it() {
        let all: serde_json::Value = serde_json::from_str(CCTV).unwrap();
        let vector = all.as_array().unwrap().iter().find(|vector| vector["name"] == "x25519").unwrap();
        let file = STANDARD.decode(vector["file"][0].as_str().unwrap()).unwrap();
        let text = String::from_utf8_lossy(&file).into_owned();
        let mut lines = text.lines().skip(1);
        let share = lines.next().unwrap().strip_prefix("-> X25519 ").unwrap();
        let share: [u8; 32] = STANDARD_NO_PAD.decode(share).unwrap().try_into().unwrap();
        let body = STANDARD_NO_PAD.decode(lines.next().unwrap()).unwrap();
        let file_key =
            data_encoding::HEXLOWER.decode(vector["file_key"].as_str().unwrap().as_bytes()).unwrap();
        let secret = age_keys::parse_classic_identity(vector["identity"].as_str().unwrap()).unwrap();
        let own = MontgomeryPoint::mul_base_clamped(secret).0;
        let shared = MontgomeryPoint(share).mul_clamped(secret).0;
        let wrapped = wrap(&file_key.try_into().unwrap(), &shared, (&share, &own));
        assert_eq!(wrapped.as_slice(), body);
    }
}

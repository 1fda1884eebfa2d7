//! `Verifier`: what is kept of a password (RFC 5802 section 3), enough to check it and useless for logging in.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// PBKDF2 rounds for app passwords: the least of RFC 7677. The passwords are random, so more would only cost every
/// connection of every mail program.
pub const ITERATIONS: u32 = 4096;

/// The four values of RFC 5802 that check a password by SCRAM-SHA-256 or PLAIN.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// The same in all verifiers of one user: SCRAM must name it before it knows which password is meant.
    #[serde(with = "serde_bytes")]
    pub salt: Vec<u8>,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// SHA-256 of the client key.
    #[serde(with = "serde_bytes")]
    pub stored_key: [u8; 32],
    /// Signs what the server says last.
    #[serde(with = "serde_bytes")]
    pub server_key: [u8; 32],
}

impl Verifier {
    /// What is to be kept of `password`; 16 random bytes are a good salt, [`ITERATIONS`] a good number.
    pub fn from_password(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password.as_bytes(), salt, iterations);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: sha256(&hmac(&*salted, &[b"Client Key"])),
            server_key: hmac(&*salted, &[b"Server Key"]),
        }
    }

    /// Whether `stored_key`, computed from a password or a proof, is this one; takes the same time either way.
    pub(super) fn has(&self, stored_key: &[u8; 32]) -> bool {
        self.stored_key.ct_eq(stored_key).into()
    }

    /// Stands in for a user who does not exist: always the same salt for the same name, and no password fits.
    pub(super) fn decoy(secret: &[u8; 32], user: &str) -> Self {
        let salt = hmac(secret, &[b"onionskin decoy salt\0", user.as_bytes()]);
        Self {
            salt: salt[..16].to_vec(),
            iterations: ITERATIONS,
            stored_key: hmac(secret, &[b"onionskin decoy key\0", user.as_bytes()]),
            server_key: [0; 32],
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// Hi() of RFC 5802: PBKDF2 with HMAC-SHA-256.
pub(super) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut *salted);
    salted
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

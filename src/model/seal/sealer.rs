//! The sealer: turns a plaintext into a sealed file, chunk by chunk and in any order.
//!
//! Sealing is deterministic: seed, prekey and the beginning of the plaintext give the file key, the encapsulation and
//! the nonce, so that an upload which was cut off goes on with the same bytes. Other plaintexts, other prekeys and
//! other seeds have unrelated keys.

use super::kem::{self, FILE_KEY_LEN, RANDOMNESS_LEN};
use super::prekey::PublicPrekey;
use super::recipient::Recipient;
use super::{CHUNK_LEN, HEADER_LEN, NONCE_LEN, chunk_nonce, header};
use crate::model::aead::Cipher;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const SALT: &[u8] = b"onionskin/1 seal";

/// Seals one letter for one prekey.
pub struct Sealer {
    head: Vec<u8>,
    cipher: Cipher,
}

impl Sealer {
    /// A sealer of the plaintext that begins with `prefix`.
    ///
    /// `prefix` must commit to the rest of the plaintext, as `inside::Layout::prefix` does: it holds the letter's
    /// length and SHA-256. `seed` must be secret; drawn at random for each letter it also keeps two seals of the
    /// same letter from looking alike.
    pub fn new(to: &PublicPrekey, seed: &[u8; 32], prefix: &[u8]) -> Self {
        let secrets = Secrets::derive(&Sha256::digest(to.as_bytes()).into(), seed, prefix);
        let wrapped = kem::wrap(&secrets.file_key, to, &secrets.randomness);
        let head = header::write(&wrapped.stanza(), &secrets.file_key);
        debug_assert_eq!(head.len(), HEADER_LEN);
        Self::with(head, &secrets)
    }

    /// A sealer of a plaintext of which nothing is known yet, for somebody's key of age. `seed` must be secret and
    /// random, and never be used for another plaintext.
    pub fn for_recipient(to: &Recipient, seed: &[u8; 32]) -> Self {
        let secrets = Secrets::derive(&to.digest(), seed, b"");
        Self::with(to.head(&secrets.file_key, &secrets.randomness), &secrets)
    }

    fn with(mut head: Vec<u8>, secrets: &Secrets) -> Self {
        head.extend_from_slice(&secrets.nonce);
        let key = header::payload_key(&secrets.file_key, &secrets.nonce);
        Self { head, cipher: Cipher::new(&key) }
    }

    /// The beginning of the file; the chunks follow. For a prekey it has `HEAD_LEN` bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Turns the plaintext of chunk `counter` into ciphertext and tag. Every chunk but the last has [`CHUNK_LEN`]
    /// bytes; the last has fewer or as many, and none only if it is also the first.
    pub fn seal_chunk(&self, counter: u64, last: bool, chunk: &mut Vec<u8>) {
        debug_assert!(chunk.len() == CHUNK_LEN || last && chunk.len() < CHUNK_LEN);
        let tag = self.cipher.seal(chunk_nonce(counter, last), b"", chunk);
        chunk.extend_from_slice(&tag);
    }
}

/// Everything in a seal that must not be guessed.
struct Secrets {
    file_key: Zeroizing<[u8; FILE_KEY_LEN]>,
    randomness: Zeroizing<[u8; RANDOMNESS_LEN]>,
    nonce: [u8; NONCE_LEN],
}

impl Secrets {
    /// HKDF-SHA256 of the seed, with what is sealed and for whom in the info: a seed used twice by mistake is still
    /// not a key used twice.
    fn derive(to: &[u8; 32], seed: &[u8; 32], prefix: &[u8]) -> Self {
        let mut secrets = Self {
            file_key: Zeroizing::new([0; FILE_KEY_LEN]),
            randomness: Zeroizing::new([0; RANDOMNESS_LEN]),
            nonce: [0; NONCE_LEN],
        };
        let prefix = Sha256::digest(prefix);
        let root = Hkdf::<Sha256>::new(Some(SALT), seed);
        let draw = |label: &[u8], out: &mut [u8]| {
            root.expand_multi_info(&[label, b"\0", to, &prefix], out)
                .expect("64 bytes is a legal length for HKDF-SHA256");
        };
        draw(b"file key", &mut *secrets.file_key);
        draw(b"encapsulation", &mut *secrets.randomness);
        draw(b"nonce", &mut secrets.nonce);
        secrets
    }
}

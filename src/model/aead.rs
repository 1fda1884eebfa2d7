//! The two ciphers of letters and of the store: ChaCha20-Poly1305 (RFC 8439) under a key used for one thing, and
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) where many nonces are drawn under one key.
//!
//! The work is ring's, which is about twice as fast as the portable crates; a test holds the results to theirs.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

/// Length of a tag in bytes.
pub(crate) const TAG_LEN: usize = 16;
/// Length of the nonce of [`ExtendedCipher`].
pub(crate) const EXTENDED_NONCE_LEN: usize = 24;

/// The tag does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

/// ChaCha20-Poly1305. No nonce may be used twice.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the length of this cipher");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `text` where it stands, and answers the tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.expect("a chunk or page is within the cipher's limits").as_ref());
        out
    }

    /// Decrypts `text` where it stands. After an error its bytes mean nothing.
    pub(crate) fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Forged> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = Tag::try_from(tag).map_err(|_| Forged)?;
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text, 0..);
        opened.map(drop).map_err(|_| Forged)
    }
}

/// XChaCha20-Poly1305: nonces of 24 bytes, which may be drawn at random.
pub(crate) struct ExtendedCipher(Zeroizing<[u8; 32]>);

impl ExtendedCipher {
    pub(crate) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Encrypts `text` where it stands, and answers the tag.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; EXTENDED_NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let (cipher, nonce) = self.cipher(nonce);
        cipher.seal(nonce, aad, text)
    }

    /// Decrypts `text` where it stands. After an error its bytes mean nothing.
    pub(crate) fn open(
        &self,
        nonce: &[u8; EXTENDED_NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Forged> {
        let (cipher, nonce) = self.cipher(nonce);
        cipher.open(nonce, aad, text, tag)
    }

    /// Section 2.3 of the draft: HChaCha20 of the first 16 bytes makes the key, the rest is the nonce.
    fn cipher(&self, nonce: &[u8; EXTENDED_NONCE_LEN]) -> (Cipher, [u8; 12]) {
        let (mut first, mut rest) = ([0; 16], [0; 12]);
        first.copy_from_slice(&nonce[..16]);
        rest[4..].copy_from_slice(&nonce[16..]);
        let key: Zeroizing<[u8; 32]> =
            Zeroizing::new(hchacha::<R20>(&(*self.0).into(), &first.into()).into());
        (Cipher::new(&key), rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::aead::{Aead as _, Payload};
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305};

    #[test]
    fn both_ciphers_are_the_standard_ones() {
        let (key, text, aad) = ([7; 32], b"four score and seven".as_slice(), b"name".as_slice());
        let payload = || Payload { msg: text, aad };
        let mut mine = text.to_vec();
        let tag = Cipher::new(&key).seal([9; 12], aad, &mut mine);
        mine.extend(tag);
        assert_eq!(mine, ChaCha20Poly1305::new(&key.into()).encrypt(&[9; 12].into(), payload()).unwrap());
        let nonce: [u8; 24] = std::array::from_fn(|n| n as u8);
        let mut mine = text.to_vec();
        let cipher = ExtendedCipher::new(Zeroizing::new(key));
        let tag = cipher.seal(&nonce, aad, &mut mine);
        assert_eq!(cipher.open(&nonce, aad, &mut mine.clone(), &[0; 16]), Err(Forged));
        assert_eq!(cipher.open(&nonce, b"other", &mut mine.clone(), &tag), Err(Forged));
        let mut opened = mine.clone();
        cipher.open(&nonce, aad, &mut opened, &tag).unwrap();
        assert_eq!(opened, text);
        mine.extend(tag);
        assert_eq!(mine, XChaCha20Poly1305::new(&key.into()).encrypt(&nonce.into(), payload()).unwrap());
    }
}

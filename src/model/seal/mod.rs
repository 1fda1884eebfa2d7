//! Sealed letters: an age v1 file with one post-quantum stanza, and what lies inside it.
//!
//! * `prekey`: the keys that letters are sealed for; `kem`: the file key under one (HPKE, RFC 9180, with X-Wing)
//! * `header`: the text at the head of the file, as c2sp.org/age has it, but with exactly one stanza
//! * `sealer`: the file from its plaintext, chunk by chunk in any order; `opener`: the plaintext from the file
//! * `recipient`, `stream`: files of age for somebody who has the stock program
//! * `age_keys`: keys as age writes them; `curve`: points that make no secret
//! * `inside`: header, letter and padding within the plaintext; `padding`: how long that is
//!
//! Streams hold one chunk of 64 KiB. What they give out has been checked; the file as a whole, and the letter against
//! its header, only once `finish` has said `Ok`.

pub mod age_keys;
mod curve;
mod header;
pub mod inside;
mod kem;
pub mod opener;
pub mod padding;
pub mod prekey;
pub mod recipient;
pub mod sealer;
pub mod stream;

pub use header::{HEADER_LEN, HeaderError};
pub use opener::{OpenError, Opener};
pub use padding::{padded_len, sealed_len, sealed_len_max};
pub use prekey::{PREKEY_LEN, PrekeyError, PrekeyId, PublicPrekey, SecretPrekey};
pub use recipient::{Recipient, RecipientError};
pub use sealer::Sealer;
pub use stream::SealStream;

use crate::model::aead::TAG_LEN;

/// Plaintext in one chunk of a seal, in bytes; only the last is shorter.
pub const CHUNK_LEN: usize = 64 * 1024;
/// The same, encrypted.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// Length of the payload's nonce, which stands between the header and the first chunk.
const NONCE_LEN: usize = 16;
/// Bytes before the first chunk: header and nonce.
pub const HEAD_LEN: usize = HEADER_LEN + NONCE_LEN;

/// Nonce of a chunk: 11 bytes of counter, and one that is 1 for the last chunk.
fn chunk_nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

//! What lies inside a seal: the length of the signed header (32 bits, big-endian), the header, the letter, zeros.
//!
//! `Layout` is the sender's side: which bytes make which chunk, so that a chunk can be made from the kept letter at
//! any time. `HeaderPart` and then `LetterPart` are the reader's: they take the plaintext as it is opened.
//! The header is opaque here; it says how long the letter is and what its SHA-256 is.

use super::{CHUNK_LEN, HEAD_LEN, SEALED_CHUNK_LEN, padded_len, sealed_len};
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// Longest header in bytes.
pub const HEADER_LEN_MAX: usize = 96 * 1024;
/// Bytes of the header's length.
const LENGTH_LEN: usize = 4;
/// Longest that stands before a letter.
pub(super) const PREFIX_LEN_MAX: u64 = (LENGTH_LEN + HEADER_LEN_MAX) as u64;

/// Why a plaintext is not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsideError {
    /// The header has no bytes, or more than [`HEADER_LEN_MAX`].
    #[error("the header inside the seal has a length that is not allowed")]
    HeaderLength,
    /// There are more or fewer bytes than the letter's length and its padding ask for.
    #[error("the sealed letter has another length than its header says")]
    Length,
    /// The letter's SHA-256 is another.
    #[error("the sealed letter is not the one that its header speaks of")]
    Digest,
    /// The padding is not zero.
    #[error("the padding of the sealed letter is not empty")]
    Padding,
}

/// Where everything lies in the plaintext of one seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: Vec<u8>,
    letter_len: u64,
    padded_len: u64,
}

/// What one chunk is made of, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkParts<'a> {
    /// Bytes of the prefix.
    pub prefix: &'a [u8],
    /// Which bytes of the letter.
    pub letter: Range<u64>,
    /// How many zeros.
    pub zeros: usize,
    /// Whether it is the last chunk.
    pub last: bool,
}

/// A place in a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// So many bytes into its head.
    Head(usize),
    /// So many bytes into a sealed chunk.
    Chunk(u64, usize),
    /// At its end.
    End,
}

impl Layout {
    /// The layout of a letter of `letter_len` bytes under `header`.
    pub fn new(header: &[u8], letter_len: u64) -> Result<Self, InsideError> {
        if header.is_empty() || header.len() > HEADER_LEN_MAX {
            return Err(InsideError::HeaderLength);
        }
        let length = u32::try_from(header.len()).map_err(|_| InsideError::HeaderLength)?;
        let prefix = [&length.to_be_bytes(), header].concat();
        let len = letter_len.checked_add(prefix.len() as u64).ok_or(InsideError::Length)?;
        let padded_len = padded_len(len);
        // False only where the padded length is beyond what 64 bits count.
        if padded_len < len || sealed_len(padded_len) == u64::MAX {
            return Err(InsideError::Length);
        }
        Ok(Self { prefix, letter_len, padded_len })
    }

    /// What stands before the letter. It commits to all that follows if the header does.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Length of the sealed file in bytes.
    pub fn sealed_len(&self) -> u64 {
        sealed_len(self.padded_len)
    }

    /// How many chunks there are; at least one.
    pub fn chunks(&self) -> u64 {
        self.padded_len.div_ceil(CHUNK_LEN as u64)
    }

    /// What makes chunk `counter`, or `None` if there is no such chunk.
    pub fn chunk(&self, counter: u64) -> Option<ChunkParts<'_>> {
        if counter >= self.chunks() {
            return None;
        }
        let start = counter * CHUNK_LEN as u64;
        let end = (start + CHUNK_LEN as u64).min(self.padded_len);
        let prefix_len = self.prefix.len() as u64;
        let letter_end = prefix_len + self.letter_len;
        let prefix = start.min(prefix_len) as usize..end.min(prefix_len) as usize;
        let letter = start.clamp(prefix_len, letter_end)..end.clamp(prefix_len, letter_end);
        Some(ChunkParts {
            prefix: &self.prefix[prefix],
            letter: letter.start - prefix_len..letter.end - prefix_len,
            zeros: (end - start.max(letter_end).min(end)) as usize,
            last: counter + 1 == self.chunks(),
        })
    }

    /// Where byte `offset` of the sealed file lies.
    pub fn place(&self, offset: u64) -> Place {
        match offset.checked_sub(HEAD_LEN as u64) {
            None => Place::Head(offset as usize),
            Some(_) if offset >= self.sealed_len() => Place::End,
            Some(rest) => {
                Place::Chunk(rest / SEALED_CHUNK_LEN as u64, (rest % SEALED_CHUNK_LEN as u64) as usize)
            }
        }
    }
}

/// Takes the header off the beginning of a plaintext.
#[derive(Debug, Default)]
pub struct HeaderPart {
    /// The length and the header, as far as they came.
    prefix: Vec<u8>,
}

impl HeaderPart {
    /// Takes plaintext. Once the header is whole: what is left of `plain`, which is for the [`LetterPart`].
    pub fn push<'a>(&mut self, plain: &'a [u8]) -> Result<Option<&'a [u8]>, InsideError> {
        let rest = self.take_up_to(LENGTH_LEN, plain);
        let Some(wanted) = self.wanted()? else { return Ok(None) };
        let rest = self.take_up_to(wanted, rest);
        Ok((self.prefix.len() == wanted).then_some(rest))
    }

    /// The header as far as it came; whole once `push` has answered `Some`.
    pub fn header(&self) -> &[u8] {
        self.prefix.get(LENGTH_LEN..).unwrap_or_default()
    }

    /// Goes on to the letter, of which the header says the length in bytes and the SHA-256.
    pub fn expect(self, length: u64, digest: [u8; 32]) -> Result<LetterPart, InsideError> {
        let len = length.checked_add(self.prefix.len() as u64).ok_or(InsideError::Length)?;
        let zeros = padded_len(len).checked_sub(len).ok_or(InsideError::Length)?;
        Ok(LetterPart { letter: length, zeros, hash: Sha256::new(), digest })
    }

    /// Length and header together, once the length is known.
    fn wanted(&self) -> Result<Option<usize>, InsideError> {
        let Some(length) = self.prefix.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > HEADER_LEN_MAX {
            return Err(InsideError::HeaderLength);
        }
        Ok(Some(LENGTH_LEN + length))
    }

    fn take_up_to<'a>(&mut self, len: usize, plain: &'a [u8]) -> &'a [u8] {
        let missing = len.saturating_sub(self.prefix.len());
        let (now, rest) = plain.split_at(missing.min(plain.len()));
        self.prefix.extend_from_slice(now);
        rest
    }
}

/// Takes the letter and its padding, and checks both.
#[derive(Debug)]
pub struct LetterPart {
    /// Bytes of the letter that are still to come.
    letter: u64,
    /// Zeros that are still to come.
    zeros: u64,
    hash: Sha256,
    digest: [u8; 32],
}

impl LetterPart {
    /// Takes plaintext; answers which of it belongs to the letter.
    pub fn push<'a>(&mut self, plain: &'a [u8]) -> Result<&'a [u8], InsideError> {
        let letter_len = usize::try_from(self.letter).map_or(plain.len(), |left| left.min(plain.len()));
        let (letter, zeros) = plain.split_at(letter_len);
        if zeros.len() as u64 > self.zeros {
            return Err(InsideError::Length);
        }
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(InsideError::Padding);
        }
        self.letter -= letter.len() as u64;
        self.zeros -= zeros.len() as u64;
        self.hash.update(letter);
        Ok(letter)
    }

    /// The plaintext has ended: `Ok` if the letter was the one expected, whole, and padded as it must be.
    pub fn finish(self) -> Result<(), InsideError> {
        if self.letter != 0 || self.zeros != 0 {
            return Err(InsideError::Length);
        }
        if self.hash.finalize()[..] == self.digest { Ok(()) } else { Err(InsideError::Digest) }
    }
}

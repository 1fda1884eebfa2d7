//! The opener: turns a sealed file into its plaintext as it comes in, and gives out no byte that it has not checked.

use super::header::{Header, HeaderError, HeaderReader, payload_key};
use super::kem::{self, FILE_KEY_LEN};
use super::prekey::SecretPrekey;
use super::{CHUNK_LEN, NONCE_LEN, SEALED_CHUNK_LEN, chunk_nonce};
use crate::model::aead::{Cipher, TAG_LEN};
use zeroize::Zeroizing;

/// Why a seal does not open. Whatever was given out before belongs to no letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its header is not that of a seal.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It was sealed for another prekey, or its wrapped key was changed.
    #[error("the letter is not sealed for this key")]
    OtherKey,
    /// The header was changed on its way.
    #[error("the header of the seal was changed")]
    HeaderForged,
    /// A chunk was changed, moved, added or left out.
    #[error("the sealed letter was changed")]
    Forged,
    /// The end is missing.
    #[error("the end of the sealed letter is missing")]
    CutOff,
}

/// Opens one seal. Holds one chunk; after an error it answers every call with the same error.
pub struct Opener {
    secret: SecretPrekey,
    state: State,
}

enum State {
    Header(HeaderReader),
    Nonce { file_key: Zeroizing<[u8; FILE_KEY_LEN]>, nonce: Vec<u8> },
    Payload(Box<Payload>),
    Failed(OpenError),
}

impl Opener {
    /// An opener of the seal for `secret` that is about to come.
    pub fn new(secret: SecretPrekey) -> Self {
        Self { secret, state: State::Header(HeaderReader::default()) }
    }

    /// Takes the next bytes of the file; answers the plaintext of the chunks that are complete and were checked.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plain = Vec::new();
        let taken = self.take(bytes, &mut plain);
        self.note(taken)?;
        Ok(plain)
    }

    /// The file has ended: the plaintext of the last chunk, if all was right.
    pub fn finish(mut self) -> Result<Vec<u8>, OpenError> {
        match &mut self.state {
            State::Header(_) | State::Nonce { .. } => Err(OpenError::CutOff),
            State::Payload(payload) => payload.last(),
            State::Failed(error) => Err(*error),
        }
    }

    fn take(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), OpenError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Header(reader) => {
                    let Some((header, used)) = reader.push(bytes)? else { return Ok(()) };
                    bytes = &bytes[used..];
                    let file_key = file_key(&header, &self.secret)?;
                    self.state = State::Nonce { file_key, nonce: Vec::with_capacity(NONCE_LEN) };
                }
                State::Nonce { file_key, nonce } => {
                    let (now, rest) = bytes.split_at(bytes.len().min(NONCE_LEN - nonce.len()));
                    nonce.extend_from_slice(now);
                    if nonce.len() < NONCE_LEN {
                        return Ok(());
                    }
                    bytes = rest;
                    let cipher = Cipher::new(&payload_key(file_key, nonce));
                    self.state = State::Payload(Box::new(Payload { cipher, counter: 0, held: Vec::new() }));
                }
                State::Payload(payload) => return payload.push(bytes, plain),
            }
        }
    }

    fn note<T>(&mut self, result: Result<T, OpenError>) -> Result<T, OpenError> {
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }
}

fn file_key(header: &Header, secret: &SecretPrekey) -> Result<Zeroizing<[u8; FILE_KEY_LEN]>, OpenError> {
    let file_key = kem::unwrap(&header.wrapped, secret).ok_or(OpenError::OtherKey)?;
    if header.is_made_with(&file_key) { Ok(file_key) } else { Err(OpenError::HeaderForged) }
}

/// The chunks of a file.
struct Payload {
    cipher: Cipher,
    counter: u64,
    /// A chunk as far as it came; a whole one waits for the byte after it, which says that it is not the last.
    held: Vec<u8>,
}

impl Payload {
    fn push(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), OpenError> {
        while !bytes.is_empty() {
            if self.held.is_empty() && bytes.len() > SEALED_CHUNK_LEN {
                // Whole chunks in one piece need not be held first.
                let (chunk, rest) = bytes.split_at(SEALED_CHUNK_LEN);
                let (text, tag) = chunk.split_at(CHUNK_LEN);
                let at = plain.len();
                plain.extend_from_slice(text);
                self.open(&mut plain[at..], tag, false)?;
                bytes = rest;
                continue;
            }
            if self.held.len() == SEALED_CHUNK_LEN {
                let chunk = self.held_chunk(false)?;
                if plain.is_empty() {
                    *plain = chunk
                } else {
                    plain.extend_from_slice(&chunk)
                }
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(SEALED_CHUNK_LEN - self.held.len()));
            if self.held.capacity() == 0 {
                self.held.reserve_exact(SEALED_CHUNK_LEN);
            }
            self.held.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn last(&mut self) -> Result<Vec<u8>, OpenError> {
        if self.held.len() < TAG_LEN {
            return Err(OpenError::CutOff);
        }
        // The last chunk is empty only where the whole plaintext is.
        if self.held.len() == TAG_LEN && self.counter > 0 {
            return Err(OpenError::Forged);
        }
        self.held_chunk(true)
    }

    /// Opens the chunk that is held.
    fn held_chunk(&mut self, last: bool) -> Result<Vec<u8>, OpenError> {
        let mut chunk = std::mem::take(&mut self.held);
        let tag = chunk.split_off(chunk.len() - TAG_LEN);
        self.open(&mut chunk, &tag, last)?;
        Ok(chunk)
    }

    fn open(&mut self, text: &mut [u8], tag: &[u8], last: bool) -> Result<(), OpenError> {
        self.cipher.open(chunk_nonce(self.counter, last), b"", text, tag).map_err(|_| OpenError::Forged)?;
        self.counter += 1;
        Ok(())
    }
}

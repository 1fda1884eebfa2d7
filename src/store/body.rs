//! Bodies: how a letter's bytes are encrypted, chunk by chunk, under a key of its own.
//!
//! A body is a STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) of ChaCha20-Poly1305 chunks of 64 KiB under a random
//! key, nonce = 11 bytes of counter and one that is 1 for the last chunk: a chunk that is changed, moved, missing or
//! added is noticed. To forget the key is to delete the letter. The nonce holds no place, so ciphertext can be copied
//! to another segment as it is.

use super::error::StoreError;
use super::segments::{Extent, Segment, Segments};
use crate::model::aead::{Cipher, TAG_LEN};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Plaintext in one chunk, in bytes; only the last is shorter. As in age, so that a sealed chunk costs the same.
pub(super) const CHUNK_LEN: usize = 64 * 1024;
const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Where the bytes of a letter lie and the key that opens them.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct BodyRef {
    #[serde(rename = "k", with = "serde_bytes")]
    pub(super) key: [u8; 32],
    /// Length of the plaintext in bytes.
    #[serde(rename = "n")]
    pub(super) len: u64,
    /// The ciphertext, in order.
    #[serde(rename = "x")]
    pub(super) extents: Vec<Extent>,
}

/// Encrypts chunks in order.
pub(super) struct ChunkSealer {
    cipher: Cipher,
    counter: u64,
}

impl ChunkSealer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Cipher::new(key), counter: 0 }
    }

    /// Turns the plaintext in `chunk` into ciphertext and tag.
    pub(super) fn seal(&mut self, chunk: &mut Vec<u8>, last: bool) {
        let nonce = chunk_nonce(self.counter, last);
        self.counter += 1;
        let tag = self.cipher.seal(nonce, b"", chunk);
        chunk.extend(tag);
    }
}

fn chunk_nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// A whole letter that the store has taken but that no transaction has named yet. Dropped, it is garbage and its
/// room is used again. Clones are the same letter.
#[derive(Clone)]
pub struct Body(Arc<BodyParts>);

struct BodyParts {
    key: Zeroizing<[u8; 32]>,
    len: u64,
    /// The chunks but for the last.
    extents: Vec<Extent>,
    _held: Vec<Arc<Segment>>,
    /// The last chunk, sealed. It is written by the transaction that names the letter, so that many small letters
    /// cost one write each and no thread of their own.
    last: Vec<u8>,
    last_place: Mutex<Option<(Extent, Arc<Segment>)>>,
}

impl Body {
    pub(super) fn new(
        key: Zeroizing<[u8; 32]>,
        len: u64,
        extents: Vec<Extent>,
        held: Vec<Arc<Segment>>,
        last: Vec<u8>,
    ) -> Self {
        Self(Arc::new(BodyParts { key, len, extents, _held: held, last, last_place: Mutex::new(None) }))
    }

    /// Length of the letter in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether the letter has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Writes the last chunk, if that is not done yet, and says where everything lies.
    pub(super) fn place(&self, segments: &Segments) -> Result<BodyRef, StoreError> {
        let mut place = self.0.last_place.lock().expect("no holder of this lock panics");
        let (last, _) = match &*place {
            Some(place) => place,
            None => place.insert(segments.append(&self.0.last)?),
        };
        let mut extents = self.0.extents.clone();
        push_extent(&mut extents, *last);
        Ok(BodyRef { key: *self.0.key, len: self.0.len, extents })
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len)
    }
}

/// Adds a run of ciphertext, lengthening the last one where it goes on there.
pub(super) fn push_extent(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) if last.continues(&next) => last.len += next.len,
        _ => extents.push(next),
    }
}

/// Reads and checks the chunks of one body.
pub(super) struct BodyReader {
    cipher: Cipher,
    len: u64,
    /// Each run with the place in the ciphertext where it begins, and its segment, held.
    runs: Vec<(u64, Extent, Arc<Segment>)>,
}

impl BodyReader {
    pub(super) fn new(body: &BodyRef, segments: &Segments) -> Result<Self, StoreError> {
        let mut runs = Vec::with_capacity(body.extents.len());
        let mut at = 0;
        for &extent in &body.extents {
            runs.push((at, extent, segments.hold(extent.segment)?));
            at += extent.len;
        }
        let chunks = body.len.div_ceil(CHUNK_LEN as u64).max(1);
        if at != body.len + chunks * TAG_LEN as u64 {
            return Err(StoreError::Damaged("a letter has another length than its record says"));
        }
        Ok(Self { cipher: Cipher::new(&body.key), len: body.len, runs })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Number of the chunk that holds byte `offset`.
    pub(super) fn chunk_of(offset: u64) -> u64 {
        offset / CHUNK_LEN as u64
    }

    /// The plaintext of chunk `no`, which must be one of this body.
    pub(super) fn chunk(&self, no: u64) -> Result<Vec<u8>, StoreError> {
        let last_no = self.len.saturating_sub(1) / CHUNK_LEN as u64;
        let last = no == last_no;
        let text_len = if last { (self.len - no * CHUNK_LEN as u64) as usize } else { CHUNK_LEN };
        let mut chunk = vec![0; text_len + TAG_LEN];
        self.ciphertext(no * SEALED_CHUNK_LEN as u64, &mut chunk)?;
        let tag = chunk.split_off(text_len);
        self.cipher.open(chunk_nonce(no, last), b"", &mut chunk, &tag).map_err(|_| DAMAGED)?;
        Ok(chunk)
    }

    fn ciphertext(&self, start: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let end = start + out.len() as u64;
        for (at, extent, segment) in &self.runs {
            let (from, to) = (start.max(*at), end.min(at + extent.len));
            if from < to {
                let part = &mut out[(from - start) as usize..(to - start) as usize];
                segment.read(extent.offset + (from - at), part)?;
            }
        }
        Ok(())
    }
}

const DAMAGED: StoreError = StoreError::Damaged("a letter does not pass its check");

impl Drop for BodyRef {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

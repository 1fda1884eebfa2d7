//! `LetterWriter` and `LetterReader`: letters as streams, with memory for one chunk.

use super::body::{Body, BodyReader, CHUNK_LEN, ChunkSealer, push_extent};
use super::error::StoreError;
use super::segments::{Extent, Segment};
use super::{Core, on_store};
use crate::model::aead::TAG_LEN;
use rand::Rng as _;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// What most letters fit into, so that many small ones under way do not each take a whole chunk of memory.
const SMALL_LEN: usize = 8 * 1024;

/// Takes a letter in pieces. Several may be under way at once. Dropped unfinished, it leaves nothing behind.
pub struct LetterWriter {
    core: Arc<Core>,
    key: Zeroizing<[u8; 32]>,
    /// `None` while a chunk is being written, and for good if the future that wrote it was dropped.
    filling: Option<Filling>,
    len: u64,
}

struct Filling {
    sealer: ChunkSealer,
    chunk: Vec<u8>,
    extents: Vec<Extent>,
    held: Vec<Arc<Segment>>,
}

impl LetterWriter {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        core.rng().fill_bytes(key.as_mut_slice());
        let filling = Filling {
            sealer: ChunkSealer::new(&key),
            chunk: Vec::new(),
            extents: Vec::new(),
            held: Vec::new(),
        };
        Self { core, key, filling: Some(filling), len: 0 }
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next bytes. After an error, or if this future is dropped, the letter cannot be finished.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), StoreError> {
        while !data.is_empty() {
            let mut filling = self.filling.take().ok_or(BROKEN)?;
            if filling.chunk.len() == CHUNK_LEN {
                let core = self.core.clone();
                filling = on_store(self.core.run, move || filling.put_chunk(&core)).await?;
            }
            let (now, later) = data.split_at(data.len().min(CHUNK_LEN - filling.chunk.len()));
            filling.reserve(now.len());
            filling.chunk.extend_from_slice(now);
            self.len += now.len() as u64;
            self.filling = Some(filling);
            data = later;
        }
        Ok(())
    }

    /// Ends the letter. It is durable only when a transaction that names it (`tx.letters().add`) has committed.
    pub async fn finish(mut self) -> Result<Body, StoreError> {
        let Filling { mut sealer, mut chunk, extents, held } = self.filling.take().ok_or(BROKEN)?;
        sealer.seal(&mut chunk, true);
        Ok(Body::new(std::mem::take(&mut self.key), self.len, extents, held, chunk))
    }
}

const BROKEN: StoreError = StoreError::Bug("a letter was written on after its writing failed");

impl Filling {
    /// Makes room without doubling past a chunk and its tag, which may not be moved again when it is sealed.
    fn reserve(&mut self, more: usize) {
        let len = self.chunk.len() + more;
        if len > self.chunk.capacity() {
            let room = if len <= SMALL_LEN { SMALL_LEN } else { CHUNK_LEN };
            self.chunk.reserve_exact(room + TAG_LEN - self.chunk.len());
        }
    }

    fn put_chunk(mut self, core: &Core) -> Result<Self, StoreError> {
        core.reserve.keep()?;
        self.sealer.seal(&mut self.chunk, false);
        let (extent, segment) = core.segments.append(&self.chunk)?;
        push_extent(&mut self.extents, extent);
        if !self.held.iter().any(|held| Arc::ptr_eq(held, &segment)) {
            self.held.push(segment);
        }
        self.chunk.clear();
        Ok(self)
    }
}

/// Reads one letter: the prefix of its record (our own header lines), then the body. Stays readable while it is held,
/// even if the letter is deleted meanwhile.
#[derive(Clone)]
pub struct LetterReader {
    core: Arc<Core>,
    parts: Arc<ReaderParts>,
}

struct ReaderParts {
    prefix: Vec<u8>,
    body: BodyReader,
    /// The chunk read last, so that reading on in small steps decrypts each chunk once.
    recent: Mutex<Option<(u64, Vec<u8>)>>,
}

impl LetterReader {
    pub(super) fn new(core: Arc<Core>, prefix: Vec<u8>, body: BodyReader) -> Self {
        Self { core, parts: Arc::new(ReaderParts { prefix, body, recent: Mutex::new(None) }) }
    }

    /// Length in bytes, prefix and body.
    pub fn len(&self) -> u64 {
        self.parts.len()
    }

    /// Whether the letter has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are the prefix: what the store's own copy has before the author's letter.
    pub fn prefix_len(&self) -> u64 {
        self.parts.prefix.len() as u64
    }

    /// Up to `len` bytes from `offset`; fewer only at the end. Nothing that fails its check is ever returned.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        if let Some(bytes) = self.parts.recent_part(offset, len) {
            return Ok(bytes);
        }
        let parts = self.parts.clone();
        on_store(self.core.run, move || parts.read_at(offset, len)).await
    }

    /// The same within a transaction, where nothing can be awaited. It blocks the thread.
    pub fn read_at_now(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.parts.read_at(offset, len)
    }
}

impl ReaderParts {
    fn len(&self) -> u64 {
        self.prefix.len() as u64 + self.body.len()
    }

    /// The bytes, if they all lie in the prefix or in the chunk read last.
    fn recent_part(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let end = offset.saturating_add(len as u64).min(self.len());
        let prefix_len = self.prefix.len() as u64;
        if end <= offset {
            return Some(Vec::new());
        }
        if end <= prefix_len {
            return Some(self.prefix[offset as usize..end as usize].to_vec());
        }
        let (start, end) = (offset.checked_sub(prefix_len)?, end - prefix_len);
        let recent = self.recent.lock().expect("no holder of this lock panics");
        let (no, chunk) = recent.as_ref()?;
        if BodyReader::chunk_of(start) != *no || BodyReader::chunk_of(end - 1) != *no {
            return None;
        }
        let base = no * CHUNK_LEN as u64;
        Some(chunk[(start - base) as usize..(end - base) as usize].to_vec())
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let end = offset.saturating_add(len as u64).min(self.len());
        let prefix_len = self.prefix.len() as u64;
        let mut out = Vec::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        if at < end && at < prefix_len {
            out.extend_from_slice(&self.prefix[at as usize..end.min(prefix_len) as usize]);
            at = prefix_len;
        }
        while at < end {
            let no = BodyReader::chunk_of(at - prefix_len);
            let base = no * CHUNK_LEN as u64;
            let mut recent = self.recent.lock().expect("no holder of this lock panics");
            if recent.as_ref().is_none_or(|(recent, _)| *recent != no) {
                *recent = Some((no, self.body.chunk(no)?));
            }
            let (_, chunk) = recent.as_ref().expect("filled above");
            let (from, to) = (at - prefix_len - base, (end - prefix_len - base).min(chunk.len() as u64));
            out.extend_from_slice(&chunk[from as usize..to as usize]);
            at += to - from;
        }
        Ok(out)
    }
}

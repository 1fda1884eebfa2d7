//! A letter made ready for one reader: its signed header, and any stretch of its sealed bytes.
//!
//! Nothing sealed is kept: the bytes are made from the letter in the store whenever they are wanted, and are the same
//! each time, so that an upload which broke off goes on where it stood. Memory is one chunk.

use crate::model::letter::LetterId;
use crate::model::queue::Entry;
use crate::model::seal::inside::{InsideError, Layout, Place};
use crate::model::seal::{CHUNK_LEN, HEAD_LEN, PrekeyError, PrekeyId, PublicPrekey, Sealer};
use crate::model::statement::card::SUITE;
use crate::model::statement::{Card, LetterStatement, Prekey, StatementError, frame, sign_as_device};
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::store::{LetterReader, StoreError};
use sha2::{Digest as _, Sha256};

/// Why a letter cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealingError {
    /// The letter cannot be read.
    #[error("the letter cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The reader's Card has no key that can be used.
    #[error("the other node's Card has no key that can be used: {0}")]
    Prekey(#[from] PrekeyError),
    /// All prekeys of the Card have run out.
    #[error("every key on the other node's Card has run out")]
    RunOut,
    /// The header cannot be made.
    #[error("the letter's header cannot be signed: {0}")]
    Statement(#[from] StatementError),
    /// The letter has an impossible length.
    #[error("the letter cannot be sealed: {0}")]
    Inside(#[from] InsideError),
}

/// A letter, sealed for one reader.
pub(super) struct SealedLetter {
    sealer: Sealer,
    layout: Layout,
    reader: LetterReader,
    /// Where in the reader the letter begins as it goes out.
    start: u64,
    /// The chunk made last.
    recent: Option<(u64, Vec<u8>)>,
    /// For which key.
    pub(super) prekey: PrekeyId,
    /// The name of these bytes: the first half of their SHA-256.
    pub(super) id: LetterId,
    /// SHA-256 of the sealed bytes.
    pub(super) sealed_digest: [u8; 32],
    /// SHA-256 of the letter.
    pub(super) digest: [u8; 32],
}

impl SealedLetter {
    /// Seals the letter of an entry for the reader with this Card. With it go `enclosures`: whole statements.
    pub(super) async fn make(
        desk: &Desk,
        card: &Card,
        entry: &Entry,
        (reader, start): (LetterReader, u64),
        enclosures: &[Vec<u8>],
        agreed: Option<UnixTime>,
    ) -> Result<Self, SealingError> {
        let prekey = card.prekey_at(agreed).ok_or(SealingError::RunOut)?;
        let length = reader.len() - start;
        let digest = digest_of(&reader, start).await?;
        let statement = LetterStatement {
            to: entry.to.clone(),
            id: entry.id,
            length,
            digest,
            suite: SUITE,
            made: entry.accepted.to_the_hour(),
            receipt: !entry.is_silent(),
            behalf: entry.behalf.as_ref().map(|leave| leave.to_vec()),
            errand: entry.errand,
        };
        let statement = sign_as_device(&desk.keyring.device(), &statement)?;
        let header = frame::encode(statement.bytes(), enclosures);
        let layout = Layout::new(&header, length)?;
        let sealer = seal_for(desk, prekey, layout.prefix())?;
        let (id, prekey) = (LetterId([0; 16]), prekey.id());
        let sealed_digest = [0; 32];
        let mut sealed =
            Self { sealer, layout, reader, start, recent: None, prekey, id, sealed_digest, digest };
        sealed.sealed_digest = sealed.sealed_digest().await?;
        sealed.recent = None;
        sealed.id = LetterId(*sealed.sealed_digest.first_chunk().expect("a digest has 32 bytes"));
        Ok(sealed)
    }

    /// How many sealed bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.layout.sealed_len()
    }

    /// Up to `max` sealed bytes from `at`; none only at the end.
    pub(super) async fn read_at(&mut self, at: u64, max: usize) -> Result<Vec<u8>, StoreError> {
        match self.layout.place(at) {
            Place::End => Ok(Vec::new()),
            Place::Head(from) => {
                let mut bytes = self.sealer.head()[from..].to_vec();
                bytes.truncate(max);
                // One write for a small letter.
                if bytes.len() < max && at + (bytes.len() as u64) == HEAD_LEN as u64 {
                    let chunk = self.chunk(0).await?;
                    bytes.extend_from_slice(&chunk[..chunk.len().min(max - bytes.len())]);
                }
                Ok(bytes)
            }
            Place::Chunk(counter, from) => {
                let chunk = self.chunk(counter).await?;
                Ok(chunk[from..chunk.len().min(from.saturating_add(max))].to_vec())
            }
        }
    }

    async fn chunk(&mut self, counter: u64) -> Result<&[u8], StoreError> {
        if self.recent.as_ref().is_none_or(|(known, _)| *known != counter) {
            let parts =
                self.layout.chunk(counter).ok_or(StoreError::Bug("a chunk beyond the end of a seal"))?;
            let mut chunk = Vec::with_capacity(CHUNK_LEN + 16);
            chunk.extend_from_slice(parts.prefix);
            let wanted = (parts.letter.end - parts.letter.start) as usize;
            let piece = self.reader.read_at(self.start + parts.letter.start, wanted).await?;
            if piece.len() != wanted {
                return Err(StoreError::Damaged("a letter is shorter than it was"));
            }
            chunk.extend_from_slice(&piece);
            chunk.resize(chunk.len() + parts.zeros, 0);
            self.sealer.seal_chunk(counter, parts.last, &mut chunk);
            self.recent = Some((counter, chunk));
        }
        Ok(self.recent.as_ref().map_or(&[], |(_, chunk)| chunk))
    }

    async fn sealed_digest(&mut self) -> Result<[u8; 32], StoreError> {
        let mut hash = Sha256::new();
        hash.update(self.sealer.head());
        for counter in 0..self.layout.chunks() {
            hash.update(self.chunk(counter).await?);
        }
        Ok(hash.finalize().into())
    }
}

fn seal_for(desk: &Desk, prekey: &Prekey, prefix: &[u8]) -> Result<Sealer, PrekeyError> {
    let public = PublicPrekey::from_bytes(&prekey.key)?;
    Ok(Sealer::new(&public, &desk.keyring.sealing_seed(prefix), prefix))
}

/// SHA-256 of a letter as it goes out.
pub(super) async fn digest_of(reader: &LetterReader, start: u64) -> Result<[u8; 32], StoreError> {
    let mut hash = Sha256::new();
    let mut at = start;
    loop {
        let piece = reader.read_at(at, CHUNK_LEN).await?;
        if piece.is_empty() {
            return Ok(hash.finalize().into());
        }
        hash.update(&piece);
        at += piece.len() as u64;
    }
}

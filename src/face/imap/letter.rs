//! One letter as FETCH and SEARCH read it: header, structure and bytes, each read once and only if needed.
//!
//! Works within a transaction of the store, where nothing is awaited; memory stays within the limits.

use crate::model::letter::LetterNo;
use crate::protocol::imap::limits::{CHUNK_LEN, HEADER_LOOK_MAX};
use crate::protocol::imap::mime::scan::{Scanner, Structure};
use crate::protocol::imap::mime::section::HeaderEnd;
use crate::store::{LetterReader, Rx, StoreError};
use std::ops::Range;
use std::sync::Arc;

/// Bytes looked at together to find a header's end; most headers are shorter.
const HEADER_STEP_LEN: usize = 4096;

/// A letter being read.
pub(super) struct Letter {
    no: LetterNo,
    reader: LetterReader,
    header_end: Option<u64>,
    header: Option<Vec<u8>>,
    structure: Option<Arc<Structure>>,
}

/// The structure found last: a client that fetches a long part in pieces asks for it again and again.
pub(super) type LastStructure = Option<(LetterNo, Arc<Structure>)>;

impl Letter {
    pub(super) fn open(rx: &Rx<'_>, no: LetterNo, last: &LastStructure) -> Result<Self, StoreError> {
        let reader = rx.letters().reader(no)?;
        let known = last.as_ref().filter(|(last, _)| *last == no).map(|(_, structure)| structure.clone());
        Ok(Self { no, reader, header_end: None, header: None, structure: known })
    }

    /// For reading on outside the transaction.
    pub(super) fn reader(&self) -> LetterReader {
        self.reader.clone()
    }

    pub(super) fn len(&self) -> u64 {
        self.reader.len()
    }

    /// Where the body begins: behind the first empty line, or at the end.
    pub(super) fn header_end(&mut self) -> Result<u64, StoreError> {
        if let Some(end) = self.header_end {
            return Ok(end);
        }
        let mut finder = HeaderEnd::default();
        let mut found = None;
        let mut at = 0;
        // Small steps: the body behind the header, although decrypted with it, need not be copied.
        while found.is_none() && at < self.len() {
            let piece = self.reader.read_at_now(at, HEADER_STEP_LEN)?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            found = finder.feed(&piece);
        }
        let end = found.unwrap_or(self.len());
        self.header_end = Some(end);
        Ok(end)
    }

    /// The header, as far as it is looked at.
    pub(super) fn header(&mut self) -> Result<&[u8], StoreError> {
        let header = match self.header.take() {
            Some(header) => header,
            None => {
                let end = self.header_end()?;
                self.look(0..end)?
            }
        };
        Ok(self.header.insert(header))
    }

    /// The beginning of a header at these bytes, as far as it is looked at.
    pub(super) fn look(&self, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(HEADER_LOOK_MAX);
        self.reader.read_at_now(range.start, len)
    }

    pub(super) fn structure(&mut self) -> Result<Arc<Structure>, StoreError> {
        if let Some(structure) = &self.structure {
            return Ok(structure.clone());
        }
        let mut scanner = Scanner::new();
        self.each_chunk(0..self.len(), |chunk| {
            scanner.feed(chunk);
            true
        })?;
        Ok(self.structure.insert(Arc::new(scanner.finish())).clone())
    }

    /// The structure, if it was needed, for whoever reads this letter next.
    pub(super) fn into_last_structure(self) -> LastStructure {
        self.structure.map(|structure| (self.no, structure))
    }

    /// Reads bytes in chunks until `visit` has enough.
    pub(super) fn each_chunk(
        &self,
        range: Range<u64>,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
            let chunk = self.reader.read_at_now(at, len)?;
            if chunk.is_empty() || !visit(&chunk) {
                return Ok(());
            }
            at += chunk.len() as u64;
        }
        Ok(())
    }
}

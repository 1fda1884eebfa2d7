//! Letters: which there are, how often each is used, and which parts of the segments are alive.
//!
//! A letter is used by messages and queue entries, each of which holds it once. When the last lets go, its key is
//! forgotten and its bytes are counted dead; a segment without live bytes is removed after the commit.

use crate::model::letter::LetterNo;
use crate::store::body::{Body, BodyReader, BodyRef};
use crate::store::error::StoreError;
use crate::store::letter_io::LetterReader;
use crate::store::rows::{Rows, Table, be_u32, be_u64};
use crate::store::tx::{Rx, Tx};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Longest prefix: our own trace lines and a Bcc line of as many recipients as a letter may have.
pub const PREFIX_LEN_MAX: usize = 256 * 1024;

const COUNTER: &str = "letter";

/// What is kept about a letter.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::store) struct LetterRecord {
    /// Stands before the body when the letter is read.
    #[serde(rename = "p", with = "serde_bytes")]
    pub(in crate::store) prefix: Vec<u8>,
    #[serde(rename = "b")]
    pub(in crate::store) body: BodyRef,
    /// How many messages and queue entries use it.
    #[serde(rename = "r")]
    pub(in crate::store) refs: u32,
}

impl LetterRecord {
    pub(in crate::store) fn size(&self) -> u64 {
        self.prefix.len() as u64 + self.body.len
    }
}

/// The live bytes of a segment, and where its last named byte ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct SegmentRecord {
    pub(in crate::store) live: u64,
    pub(in crate::store) end: u64,
}

impl SegmentRecord {
    pub(in crate::store) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() != 16 {
            return Err(StoreError::Damaged("a segment's record has another length"));
        }
        Ok(Self { live: be_u64(&bytes[..8])?, end: be_u64(&bytes[8..])? })
    }

    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.live) << 64 | u128::from(self.end)).to_be_bytes()
    }
}

/// Reads letters.
pub struct Letters<'a, 't> {
    rx: &'a Rx<'t>,
}

impl<'a, 't> Letters<'a, 't> {
    pub(in crate::store) fn new(rx: &'a Rx<'t>) -> Self {
        Self { rx }
    }

    /// Opens a letter; `NoLetter` if there is none.
    pub fn reader(&self, no: LetterNo) -> Result<LetterReader, StoreError> {
        let record = record(&self.rx.rows, no)?;
        let body = BodyReader::new(&record.body, &self.rx.core.segments)?;
        Ok(LetterReader::new(self.rx.core.clone(), record.prefix, body))
    }

    /// Length of a letter in bytes, prefix and body.
    pub fn size(&self, no: LetterNo) -> Result<u64, StoreError> {
        Ok(record(&self.rx.rows, no)?.size())
    }

    /// How many messages and queue entries use a letter; 0 if there is none of that number.
    pub fn refs(&self, no: LetterNo) -> Result<u32, StoreError> {
        match record(&self.rx.rows, no) {
            Ok(record) => Ok(record.refs),
            Err(StoreError::NoLetter(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// How many letters there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rx.rows.len(Table::Letters)
    }
}

/// Reads and changes letters.
pub struct LettersMut<'a, 't> {
    tx: &'a Tx<'t>,
}

impl<'a, 't> LettersMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> LettersMut<'a, 't> {
        LettersMut { tx }
    }

    /// Names a letter. `prefix` stands before the body when it is read. Unless this write also files the letter in a
    /// mailbox or queues it, it is forgotten again at the end of the write.
    pub fn add(&self, body: &Body, prefix: &[u8]) -> Result<LetterNo, StoreError> {
        if prefix.len() > PREFIX_LEN_MAX {
            return Err(StoreError::TooMany("bytes of our own before a letter"));
        }
        self.tx.letter_added.set(true);
        self.tx.core.reserve.keep()?;
        let body = body.place(&self.tx.core.segments)?;
        let no = LetterNo(self.tx.rows.next_number(COUNTER)?);
        self.count_live(no, &body)?;
        let record = LetterRecord { prefix: prefix.to_vec(), body, refs: 0 };
        self.put(no, &record)?;
        self.tx.fresh.borrow_mut().push(no);
        Ok(no)
    }

    /// Length of a letter in bytes, prefix and body.
    pub fn size(&self, no: LetterNo) -> Result<u64, StoreError> {
        Ok(record(&self.tx.rows, no)?.size())
    }

    /// What stands before the body: our own lines, and nothing of anybody else's.
    pub fn prefix(&self, no: LetterNo) -> Result<Vec<u8>, StoreError> {
        Ok(record(&self.tx.rows, no)?.prefix)
    }

    /// Uses a letter once more; answers its length. Messages and queue entries do so by themselves.
    pub fn hold(&self, no: LetterNo) -> Result<u64, StoreError> {
        let mut record = record(&self.tx.rows, no)?;
        record.refs += 1;
        self.put(no, &record)?;
        Ok(record.size())
    }

    /// Uses a letter once less. The last use forgets it.
    pub fn release(&self, no: LetterNo) -> Result<(), StoreError> {
        let mut record = record(&self.tx.rows, no)?;
        record.refs = record.refs.saturating_sub(1);
        if record.refs > 0 { self.put(no, &record) } else { self.forget(no, &record.body) }
    }

    /// Forgets what was added and not used.
    pub(in crate::store) fn forget_unused(&self) -> Result<(), StoreError> {
        for no in self.tx.fresh.take() {
            match record(&self.tx.rows, no) {
                Ok(record) if record.refs == 0 => self.forget(no, &record.body)?,
                Ok(_) | Err(StoreError::NoLetter(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives a letter another place. Its old place is counted dead.
    pub(in crate::store) fn relocate(&self, no: LetterNo, body: BodyRef) -> Result<(), StoreError> {
        let mut record = record(&self.tx.rows, no)?;
        self.count_dead(no, &record.body)?;
        self.count_live(no, &body)?;
        record.body = body;
        self.put(no, &record)
    }

    fn put(&self, no: LetterNo, record: &LetterRecord) -> Result<(), StoreError> {
        self.tx.rows.put_record(Table::Letters, &no.0.to_be_bytes(), record)
    }

    fn forget(&self, no: LetterNo, body: &BodyRef) -> Result<(), StoreError> {
        self.tx.rows.delete(Table::Letters, &no.0.to_be_bytes())?;
        self.count_dead(no, body)
    }

    fn count_live(&self, no: LetterNo, body: &BodyRef) -> Result<(), StoreError> {
        for extent in &body.extents {
            let mut segment = segment(&self.tx.rows, extent.segment)?.unwrap_or_default();
            segment.live += extent.len;
            segment.end = segment.end.max(extent.offset + extent.len);
            self.put_segment(extent.segment, segment)?;
            self.tx.rows.put(Table::Places, &place_key(extent.segment, no), b"")?;
        }
        Ok(())
    }

    fn count_dead(&self, no: LetterNo, body: &BodyRef) -> Result<(), StoreError> {
        for extent in &body.extents {
            let mut segment = segment(&self.tx.rows, extent.segment)?.unwrap_or_default();
            segment.live = segment.live.saturating_sub(extent.len);
            self.tx.rows.delete(Table::Places, &place_key(extent.segment, no))?;
            if segment.live > 0 {
                self.put_segment(extent.segment, segment)?;
            } else {
                self.tx.rows.delete(Table::Segments, &extent.segment.to_be_bytes())?;
                self.tx.emptied.borrow_mut().push(extent.segment);
            }
        }
        Ok(())
    }

    fn put_segment(&self, no: u32, segment: SegmentRecord) -> Result<(), StoreError> {
        self.tx.rows.put(Table::Segments, &no.to_be_bytes(), &segment.to_bytes())
    }
}

fn place_key(segment: u32, no: LetterNo) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&segment.to_be_bytes());
    key[4..].copy_from_slice(&no.0.to_be_bytes());
    key
}

pub(in crate::store) fn record(rows: &Rows<'_>, no: LetterNo) -> Result<LetterRecord, StoreError> {
    rows.get_record(Table::Letters, &no.0.to_be_bytes())?.ok_or(StoreError::NoLetter(no))
}

fn segment(rows: &Rows<'_>, no: u32) -> Result<Option<SegmentRecord>, StoreError> {
    rows.get(Table::Segments, &no.to_be_bytes())?.map(|bytes| SegmentRecord::parse(&bytes)).transpose()
}

/// Whether no letter has a part in a segment.
pub(in crate::store) fn is_dead(rows: &Rows<'_>, segment_no: u32) -> Result<bool, StoreError> {
    Ok(segment(rows, segment_no)?.is_none())
}

/// All segments in which some letter has a part.
pub(in crate::store) fn segments(rows: &Rows<'_>) -> Result<BTreeMap<u32, SegmentRecord>, StoreError> {
    let mut segments = BTreeMap::new();
    rows.scan_prefix(Table::Segments, b"", |key, value| {
        segments.insert(be_u32(key)?, SegmentRecord::parse(value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(segments)
}

/// Where the last named byte of each segment ends.
pub(in crate::store) fn named_ends(rows: &Rows<'_>) -> Result<BTreeMap<u32, u64>, StoreError> {
    Ok(segments(rows)?.into_iter().map(|(no, segment)| (no, segment.end)).collect())
}

/// The first `max` letters that have a part in a segment.
pub(in crate::store) fn letters_in(
    rows: &Rows<'_>,
    segment: u32,
    max: usize,
) -> Result<Vec<LetterNo>, StoreError> {
    let mut letters = Vec::new();
    rows.scan_prefix(Table::Places, &segment.to_be_bytes(), |key, _| {
        letters.push(LetterNo(be_u64(key.get(4..).unwrap_or_default())?));
        Ok(if letters.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(letters)
}

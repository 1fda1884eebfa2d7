//! The outgoing queue: one row per letter and recipient. What an entry says is the affair of `model::queue`.
//!
//! Each row holds its letter, and lets go of it when it is removed.

use crate::model::letter::LetterNo;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u64, decode, encode};
use crate::store::tx::Tx;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most entries. A full queue refuses (4xx); nothing is dropped to make room.
pub const ENTRIES_MAX: u64 = 100_000;

const COUNTER: &str = "queue";

/// Number of a queue entry, never used again; it grows in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueNo(pub u64);

/// Reads the queue.
#[derive(Clone, Copy)]
pub struct QueueTable<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> QueueTable<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> QueueTable<'a, 't> {
        QueueTable { rows }
    }

    /// One entry and its letter, if it is there.
    pub fn get<E: DeserializeOwned>(&self, no: QueueNo) -> Result<Option<(LetterNo, E)>, StoreError> {
        self.rows.get(Table::Queue, &no.0.to_be_bytes())?.map(|row| parse(&row)).transpose()
    }

    /// All entries, in the order of submission.
    pub fn list<E: DeserializeOwned>(&self) -> Result<Vec<(QueueNo, LetterNo, E)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Queue, b"", |key, row| {
            let (letter, entry) = parse(row)?;
            found.push((QueueNo(be_u64(key)?), letter, entry));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Whether any entry waits for this letter.
    pub fn has_letter(&self, letter: LetterNo) -> Result<bool, StoreError> {
        let mut found = false;
        self.rows.scan_prefix(Table::Queue, b"", |_, row| {
            found = letter_of(row)? == letter;
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// How many entries there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rows.len(Table::Queue)
    }
}

/// Reads and changes the queue. What [`QueueTable`] reads is here too.
pub struct QueueTableMut<'a, 't> {
    tx: &'a Tx<'t>,
    read: QueueTable<'a, 't>,
}

impl<'a, 't> std::ops::Deref for QueueTableMut<'a, 't> {
    type Target = QueueTable<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> QueueTableMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> QueueTableMut<'a, 't> {
        QueueTableMut { tx, read: QueueTable::new(&tx.rows) }
    }

    /// Queues a letter.
    pub fn push(&self, letter: LetterNo, entry: &impl Serialize) -> Result<QueueNo, StoreError> {
        if self.count()? >= ENTRIES_MAX {
            return Err(StoreError::TooMany("letters waiting to be sent"));
        }
        self.tx.letters().hold(letter)?;
        let no = QueueNo(self.tx.rows.next_number(COUNTER)?);
        self.put(no, letter, entry)?;
        Ok(no)
    }

    /// Writes another state of an entry; `NoEntry` if it is gone (cancelled, say).
    pub fn replace(&self, no: QueueNo, entry: &impl Serialize) -> Result<(), StoreError> {
        let row = self.tx.rows.get(Table::Queue, &no.0.to_be_bytes())?.ok_or(StoreError::NoEntry)?;
        self.put(no, letter_of(&row)?, entry)
    }

    /// Removes an entry and lets go of its letter; says whether it was there.
    pub fn remove(&self, no: QueueNo) -> Result<bool, StoreError> {
        let key = no.0.to_be_bytes();
        let Some(row) = self.tx.rows.get(Table::Queue, &key)? else { return Ok(false) };
        self.tx.rows.delete(Table::Queue, &key)?;
        self.tx.letters().release(letter_of(&row)?)?;
        Ok(true)
    }

    fn put(&self, no: QueueNo, letter: LetterNo, entry: &impl Serialize) -> Result<(), StoreError> {
        let mut row = letter.0.to_be_bytes().to_vec();
        row.extend(encode(entry)?);
        self.tx.rows.put(Table::Queue, &no.0.to_be_bytes(), &row)
    }
}

fn letter_of(row: &[u8]) -> Result<LetterNo, StoreError> {
    Ok(LetterNo(be_u64(row.get(..8).unwrap_or_default())?))
}

fn parse<E: DeserializeOwned>(row: &[u8]) -> Result<(LetterNo, E), StoreError> {
    Ok((letter_of(row)?, decode(&row[8..])?))
}

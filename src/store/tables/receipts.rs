//! Receipts for letters that were sent, by the digest of the letter, as they were received.

use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::ops::ControlFlow;

/// Most receipts for one letter: more than anybody writes to at once by hand.
pub const PER_LETTER_MAX: usize = 100;
/// Most letters that have receipts. Beyond it the oldest tenth goes: a receipt proves, and nothing depends on it.
pub const LETTERS_MAX: u64 = 50_000;

/// The receipts for one letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptsRecord {
    /// When the first arrived.
    pub first: UnixTime,
    /// As they were received, in the order of arrival.
    pub receipts: Vec<ByteBuf>,
}

/// Reads receipts.
#[derive(Clone, Copy)]
pub struct Receipts<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Receipts<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Receipts<'a, 't> {
        Receipts { rows }
    }

    /// The receipts for the letter with this digest (SHA-256); none is an empty list.
    pub fn of(&self, letter: &[u8; 32]) -> Result<Vec<ByteBuf>, StoreError> {
        let record: Option<ReceiptsRecord> = self.rows.get_record(Table::Receipts, letter)?;
        Ok(record.map(|record| record.receipts).unwrap_or_default())
    }

    /// How many letters have receipts.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rows.len(Table::Receipts)
    }
}

/// Reads and changes receipts. What [`Receipts`] reads is here too.
pub struct ReceiptsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Receipts<'a, 't>,
}

impl<'a, 't> std::ops::Deref for ReceiptsMut<'a, 't> {
    type Target = Receipts<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> ReceiptsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> ReceiptsMut<'a, 't> {
        ReceiptsMut { rows, read: Receipts::new(rows) }
    }

    /// Keeps a receipt that was verified. `false`: it was here before, or the letter has as many as are kept.
    pub fn add(&self, letter: &[u8; 32], receipt: &[u8], at: UnixTime) -> Result<bool, StoreError> {
        let record: Option<ReceiptsRecord> = self.rows.get_record(Table::Receipts, letter)?;
        if record.is_none() && self.count()? >= LETTERS_MAX {
            self.prune()?;
        }
        let mut record = record.unwrap_or(ReceiptsRecord { first: at, receipts: Vec::new() });
        if record.receipts.len() >= PER_LETTER_MAX || record.receipts.iter().any(|kept| kept == receipt) {
            return Ok(false);
        }
        record.receipts.push(ByteBuf::from(receipt));
        self.rows.put_record(Table::Receipts, letter, &record)?;
        Ok(true)
    }

    /// Removes the oldest tenth.
    fn prune(&self) -> Result<(), StoreError> {
        let mut all = Vec::new();
        self.rows.scan_prefix(Table::Receipts, b"", |key, value| {
            all.push((decode::<ReceiptsRecord>(value)?.first, key.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
        all.sort_unstable();
        for (_, key) in all.iter().take(all.len() / 10) {
            self.rows.delete(Table::Receipts, key)?;
        }
        Ok(())
    }
}

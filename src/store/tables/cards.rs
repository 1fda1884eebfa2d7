//! Cards of others: the newest that was taken of each, and what was refused, as evidence.
//!
//! What a Card says is the affair of `model::statement`; here it is the bytes that were received, with the numbers
//! that decide which of two is newer.

use super::Room;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most Cards of anybody. Strangers can bring new ones.
pub const OPEN_MAX: u64 = 20_000;
/// Most Cards in all: what is above [`OPEN_MAX`] is for those the person has decided about.
pub const CARDS_MAX: u64 = 25_000;

/// The Card of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRecord {
    /// The Card as it was received.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Its generation.
    pub generation: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// SHA-256 of its bytes.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// When the first Card of this identity was taken.
    pub first_seen: UnixTime,
    /// When this one was.
    pub updated: UnixTime,
    /// The last Card that was refused, if any was.
    #[serde(default)]
    pub refused: Option<RefusedCard>,
}

/// A Card that was refused: a fork, a rollback, another recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCard {
    /// The Card as it was received.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Why, one sentence.
    pub why: String,
    /// When.
    pub at: UnixTime,
}

/// Reads Cards.
#[derive(Clone, Copy)]
pub struct Cards<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Cards<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Cards<'a, 't> {
        Cards { rows }
    }

    /// The Card of an identity, if one was taken.
    pub fn get(&self, onion: &OnionAddress) -> Result<Option<CardRecord>, StoreError> {
        self.rows.get_record(Table::Cards, onion.public_key())
    }

    /// Those of whom a Card was refused, at most `max`.
    pub fn refused(&self, max: usize) -> Result<Vec<(OnionAddress, RefusedCard)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Cards, b"", |key, value| {
            if let Some(refused) = decode::<CardRecord>(value)?.refused {
                found.push((address(key)?, refused));
            }
            Ok(if found.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// How many Cards there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rows.len(Table::Cards)
    }
}

/// Reads and changes Cards. What [`Cards`] reads is here too.
pub struct CardsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Cards<'a, 't>,
}

impl<'a, 't> std::ops::Deref for CardsMut<'a, 't> {
    type Target = Cards<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> CardsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> CardsMut<'a, 't> {
        CardsMut { rows, read: Cards::new(rows) }
    }

    /// Keeps a Card in the place of the one before. `false`: there is no room for a new identity's.
    pub fn put(&self, onion: &OnionAddress, record: &CardRecord, room: Room) -> Result<bool, StoreError> {
        let max = if room == Room::Open { OPEN_MAX } else { CARDS_MAX };
        if self.get(onion)?.is_none() && self.count()? >= max {
            return Ok(false);
        }
        self.rows.put_record(Table::Cards, onion.public_key(), record)?;
        Ok(true)
    }

    /// Keeps a refused Card beside the one that stays, in the place of an earlier one; says whether there is a Card
    /// to stay.
    pub fn refuse(&self, onion: &OnionAddress, refused: RefusedCard) -> Result<bool, StoreError> {
        let Some(mut record) = self.get(onion)? else { return Ok(false) };
        record.refused = Some(refused);
        self.rows.put_record(Table::Cards, onion.public_key(), &record)?;
        Ok(true)
    }

    /// Forgets a Card; says whether it was there.
    pub fn remove(&self, onion: &OnionAddress) -> Result<bool, StoreError> {
        self.rows.delete(Table::Cards, onion.public_key())
    }
}

/// The address that a key of a table begins with.
pub(super) fn address(key: &[u8]) -> Result<OnionAddress, StoreError> {
    let key = key.first_chunk().ok_or(StoreError::Damaged("an address cannot be read"))?;
    Ok(OnionAddress::from_key_proved_before(*key))
}

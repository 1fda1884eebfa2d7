//! Letters seen before, by proved author and letter id, so that none is taken twice.
//!
//! A second table has the same keys by time, so that pruning reads only what it removes.

use crate::model::letter::LetterId;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u64};
use onion::OnionAddress;
use std::ops::ControlFlow;

/// Reads what was seen.
#[derive(Clone, Copy)]
pub struct Seen<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Seen<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Seen<'a, 't> {
        Seen { rows }
    }

    /// When this letter was first taken, if ever.
    pub fn first_seen(&self, author: &OnionAddress, id: &LetterId) -> Result<Option<UnixTime>, StoreError> {
        let at = self.rows.get(Table::Seen, &key(author, id))?;
        at.map(|at| be_u64(&at).map(UnixTime)).transpose()
    }

    /// Whether this letter was taken before.
    pub fn contains(&self, author: &OnionAddress, id: &LetterId) -> Result<bool, StoreError> {
        Ok(self.first_seen(author, id)?.is_some())
    }

    /// How many letters are remembered.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rows.len(Table::Seen)
    }
}

/// Reads and changes what was seen. What [`Seen`] reads is here too.
pub struct SeenMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Seen<'a, 't>,
}

impl<'a, 't> std::ops::Deref for SeenMut<'a, 't> {
    type Target = Seen<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> SeenMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> SeenMut<'a, 't> {
        SeenMut { rows, read: Seen::new(rows) }
    }

    /// Remembers a letter. `false`: it was remembered already, and the caller must not file it again.
    pub fn insert(&self, author: &OnionAddress, id: &LetterId, at: UnixTime) -> Result<bool, StoreError> {
        let key = key(author, id);
        if self.rows.get(Table::Seen, &key)?.is_some() {
            return Ok(false);
        }
        self.rows.put(Table::Seen, &key, &at.0.to_be_bytes())?;
        self.rows.put(Table::SeenByTime, &by_time(at.0, &key), b"")?;
        Ok(true)
    }

    /// Forgets at most `max` letters first seen before `before`, the oldest first; says how many. To be called only
    /// while the clock can be trusted.
    pub fn prune(&self, before: UnixTime, max: usize) -> Result<usize, StoreError> {
        let mut old = Vec::new();
        self.rows.scan(Table::SeenByTime, b"", Some(&before.0.to_be_bytes()), |key, _| {
            if old.len() < max {
                old.push(key.to_vec());
                return Ok(ControlFlow::Continue(()));
            }
            Ok(ControlFlow::Break(()))
        })?;
        for key in &old {
            self.rows.delete(Table::SeenByTime, key)?;
            self.rows.delete(Table::Seen, key.get(8..).unwrap_or_default())?;
        }
        Ok(old.len())
    }
}

/// Key of the table by time.
pub(in crate::store) fn by_time(at: u64, key: &[u8]) -> Vec<u8> {
    [&at.to_be_bytes(), key].concat()
}

fn key(author: &OnionAddress, id: &LetterId) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(author.public_key());
    key[32..].copy_from_slice(&id.0);
    key
}

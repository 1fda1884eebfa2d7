//! Small values by name: the identity's record, settings, the time agreed with the network.

use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads values.
#[derive(Clone, Copy)]
pub struct Meta<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Meta<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Meta<'a, 't> {
        Meta { rows }
    }

    /// The value of that name, if there is one.
    pub fn get<V: DeserializeOwned>(&self, name: &str) -> Result<Option<V>, StoreError> {
        self.rows.get_record(Table::Meta, &key(name))
    }
}

/// Reads and changes values. What [`Meta`] reads is here too.
pub struct MetaMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Meta<'a, 't>,
}

impl<'a, 't> std::ops::Deref for MetaMut<'a, 't> {
    type Target = Meta<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> MetaMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> MetaMut<'a, 't> {
        MetaMut { rows, read: Meta::new(rows) }
    }

    /// Sets a value.
    pub fn put(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        self.rows.put_record(Table::Meta, &key(name), value)
    }

    /// Removes a value; says whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        self.rows.delete(Table::Meta, &key(name))
    }
}

/// Values and the store's own counters share a table, under names that cannot meet.
fn key(name: &str) -> Vec<u8> {
    [b"value ", name.as_bytes()].concat()
}

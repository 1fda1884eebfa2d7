//! Guest readers: people without a node who read here by IMAP, each with one mailbox that is nobody else's.
//!
//! The mailbox has a number and no name, so it is in no list of the person's own mailboxes and no name leads to it.

use super::mailboxes::{self, MailboxName, MailboxNo, MailboxRecord, Mailboxes, SpecialUse};
use crate::model::guest::GUESTS_MAX;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use crate::store::tx::Tx;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// A guest reader. What is secret in it is for their onion and their login; what opens their letters is not here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// The local part of their address, in lower case.
    pub name: String,
    /// The key of age that their letters are sealed for, as age writes it.
    pub key: String,
    /// Room for their letters, in bytes.
    pub bytes: u64,
    /// Seed of their onion's key.
    pub seed: [u8; 32],
    /// The public keys with which their onion is found (client authorisation).
    pub clients: Vec<[u8; 32]>,
    /// What their password is checked with, as `protocol::sasl` writes it.
    #[serde(with = "serde_bytes")]
    pub verifier: Vec<u8>,
    /// Their mailbox.
    pub mailbox: MailboxNo,
    /// Since when.
    pub made: UnixTime,
}

impl std::fmt::Debug for GuestRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestRecord")
    }
}

/// Reads guest readers.
#[derive(Clone, Copy)]
pub struct Guests<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Guests<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Guests<'a, 't> {
        Guests { rows }
    }

    /// The one of that name, in lower case.
    pub fn get(&self, name: &str) -> Result<Option<GuestRecord>, StoreError> {
        self.rows.get_record(Table::Guests, name.as_bytes())
    }

    /// All, by name.
    pub fn list(&self) -> Result<Vec<GuestRecord>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Guests, b"", |_, value| {
            found.push(decode(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Their mailbox.
    pub fn mailbox(&self, guest: &GuestRecord) -> Result<MailboxRecord, StoreError> {
        Mailboxes::new(self.rows).get(guest.mailbox)
    }
}

/// Reads and changes guest readers. What [`Guests`] reads is here too.
pub struct GuestsMut<'a, 't> {
    tx: &'a Tx<'t>,
    read: Guests<'a, 't>,
}

impl<'a, 't> std::ops::Deref for GuestsMut<'a, 't> {
    type Target = Guests<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> GuestsMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> GuestsMut<'a, 't> {
        GuestsMut { tx, read: Guests::new(&tx.rows) }
    }

    /// Keeps a new one with an empty mailbox, whose number replaces the record's; answers it. `MailboxExists` if there
    /// is one of that name, `TooMany` beyond [`GUESTS_MAX`].
    pub fn add(&self, guest: &GuestRecord) -> Result<GuestRecord, StoreError> {
        if self.get(&guest.name)?.is_some() {
            return Err(StoreError::MailboxExists);
        }
        if self.tx.rows.len(Table::Guests)? >= GUESTS_MAX as u64 {
            return Err(StoreError::TooMany("guests who read here"));
        }
        let inbox = MailboxName::inbox();
        let mailbox = mailboxes::create_unnamed(&self.tx.rows, &inbox, Some(SpecialUse::Guest))?;
        let guest = GuestRecord { mailbox, ..guest.clone() };
        self.put(&guest)?;
        Ok(guest)
    }

    /// Replaces one that is there; its name and mailbox stay.
    pub fn put(&self, guest: &GuestRecord) -> Result<(), StoreError> {
        self.tx.rows.put_record(Table::Guests, guest.name.as_bytes(), guest)
    }

    /// Removes one with their mailbox and all that is in it; answers what that was.
    pub fn remove(&self, name: &str) -> Result<Option<MailboxRecord>, StoreError> {
        let Some(guest) = self.get(name)? else { return Ok(None) };
        let was = self.mailbox(&guest)?;
        self.tx.mailboxes().delete_unnamed(guest.mailbox)?;
        self.tx.rows.delete(Table::Guests, name.as_bytes())?;
        Ok(Some(was))
    }

    /// Refuses with `NoRoom` what does not fit into their mailbox beside what is there.
    pub fn check_room(&self, guest: &GuestRecord, more: u64) -> Result<(), StoreError> {
        let used = self.mailbox(guest)?.bytes;
        if used.saturating_add(more) > guest.bytes { Err(StoreError::NoRoom) } else { Ok(()) }
    }
}

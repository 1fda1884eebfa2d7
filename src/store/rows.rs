//! `Rows`: the tables of the database as ordered bytes, within one transaction.
//!
//! Every table maps byte keys (numbers big-endian, so that they sort) to byte values (mostly CBOR). The files of
//! the table families give them types. A table is opened once per transaction, when first used.

use super::error::StoreError;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::{Bound, ControlFlow};

/// The tables. Names in the file are those of `NAMES`, in this order; only append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Text: small values by name.
    Meta,
    /// Letter number: `LetterRecord`.
    Letters,
    /// Segment number: live bytes, end of what is named.
    Segments,
    /// Segment number, letter number: which letters have a part in a segment.
    Places,
    /// Mailbox number: `MailboxRecord`.
    Mailboxes,
    /// Mailbox name: mailbox number.
    MailboxNames,
    /// Mailbox name: the last UIDVALIDITY it had before it was removed or renamed.
    MailboxPast,
    /// Mailbox number, uid: `MessageRecord`.
    Messages,
    /// Queue number: letter and entry.
    Queue,
    /// Onion key, letter id: first seen.
    Seen,
    /// Time, onion key, letter id: the same by time, for pruning.
    SeenByTime,
    /// Onion key: `PeerRecord`.
    Peers,
    /// Credential number: `CredentialRecord`.
    Credentials,
    /// Hash of a Message-ID: mailbox and uid of the copy the node filed.
    SentIds,
    /// Onion key: `CardRecord`.
    Cards,
    /// Onion key: `ContactRecord`.
    Contacts,
    /// Decision number: `DecisionRecord`.
    Decisions,
    /// Subject, issuer, kind, start of the digest: `StatementRecord`.
    Statements,
    /// Issuer, subject, kind, start of the digest: what the statement is worth (`Worth`).
    Edges,
    /// Start of the hash of a secret: `InviteRecord`.
    Invites,
    /// Digest of a letter: `ReceiptsRecord`.
    Receipts,
    /// Name of a held mailbox: `BoxRecord`.
    HeldBoxes,
    /// Held mailbox, number: `HeldRecord`.
    HeldLetters,
    /// Held mailbox, letter id: number.
    HeldIds,
    /// Time, held mailbox, number: the same by the end of its time.
    HeldUntil,
    /// Held mailbox, epoch, name of a token: `SpentRecord`.
    Spent,
    /// Onion key: `WishRecord`.
    Wishes,
    /// Onion key: `HolderRecord`.
    Holders,
    /// Own mailbox at a holder, name of a token: the contact's onion key and the epoch.
    TokensGiven,
    /// Onion key: `GivenRecord`.
    RoutesGiven,
    /// Onion key: `RouteRecord`.
    Routes,
    /// Key of a drop: `ConductRecord`.
    Drops,
    /// Letter id, key of a drop: `RecallRecord`.
    Recalls,
    /// Local part of a guest reader: `GuestRecord`.
    Guests,
}

const NAMES: [&str; 34] = [
    "meta",
    "letters",
    "segments",
    "places",
    "mailboxes",
    "mailbox_names",
    "mailbox_past",
    "messages",
    "queue",
    "seen",
    "seen_by_time",
    "peers",
    "credentials",
    "sent_ids",
    "cards",
    "contacts",
    "decisions",
    "statements",
    "edges",
    "invites",
    "receipts",
    "held_boxes",
    "held_letters",
    "held_ids",
    "held_until",
    "spent",
    "wishes",
    "holders",
    "tokens_given",
    "routes_given",
    "routes",
    "drops",
    "recalls",
    "guests",
];

type Bytes = &'static [u8];

impl Table {
    fn definition(self) -> TableDefinition<'static, Bytes, Bytes> {
        TableDefinition::new(NAMES[self as usize])
    }
}

/// The tables within one transaction.
#[expect(clippy::large_enum_variant, reason = "one for each transaction, on the stack")]
pub(super) enum Rows<'t> {
    /// A snapshot.
    Read { txn: &'t ReadTransaction, open: [OnceCell<ReadOnlyTable<Bytes, Bytes>>; NAMES.len()] },
    /// A transaction that is not committed yet.
    Write {
        txn: &'t WriteTransaction,
        open: [OnceCell<RefCell<redb::Table<'t, Bytes, Bytes>>>; NAMES.len()],
        changes: Cell<u64>,
    },
}

impl<'t> Rows<'t> {
    pub(super) fn read(txn: &'t ReadTransaction) -> Self {
        Self::Read { txn, open: [const { OnceCell::new() }; NAMES.len()] }
    }

    pub(super) fn write(txn: &'t WriteTransaction) -> Self {
        Self::Write { txn, open: [const { OnceCell::new() }; NAMES.len()], changes: Cell::new(0) }
    }

    /// Makes all tables, so that snapshots find them.
    pub(super) fn create_all(txn: &WriteTransaction) -> Result<(), StoreError> {
        for name in NAMES {
            txn.open_table(TableDefinition::<Bytes, Bytes>::new(name)).map_err(StoreError::from_redb)?;
        }
        Ok(())
    }

    /// How often anything was put or deleted in this transaction.
    pub(super) fn changes(&self) -> u64 {
        match self {
            Self::Read { .. } => 0,
            Self::Write { changes, .. } => changes.get(),
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let copy = |guard: redb::AccessGuard<'_, Bytes>| guard.value().to_vec();
        let found = match self {
            Self::Read { .. } => self.snapshot(table)?.get(key).map(|found| found.map(copy)),
            Self::Write { .. } => {
                let table = self.writable(table)?;
                let table = table.try_borrow().map_err(|_| IN_USE)?;
                table.get(key).map(|found| found.map(copy))
            }
        };
        found.map_err(StoreError::from_redb)
    }

    /// Puts a value, replacing what the key had.
    pub(super) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.count_change();
        let table = self.writable(table)?;
        let mut table = table.try_borrow_mut().map_err(|_| IN_USE)?;
        table.insert(key, value).map_err(StoreError::from_redb)?;
        Ok(())
    }

    /// Deletes a key; says whether it was there.
    pub(super) fn delete(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.count_change();
        let table = self.writable(table)?;
        let mut table = table.try_borrow_mut().map_err(|_| IN_USE)?;
        Ok(table.remove(key).map_err(StoreError::from_redb)?.is_some())
    }

    /// Visits keys from `from` on, before `to` if there is one, in order, until `visit` breaks.
    /// `visit` must not change this table.
    pub(super) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let mut each = |range: redb::Range<'_, Bytes, Bytes>| {
            for row in range {
                let (key, value) = row.map_err(StoreError::from_redb)?;
                if visit(key.value(), value.value())?.is_break() {
                    break;
                }
            }
            Ok(())
        };
        match self {
            Self::Read { .. } => {
                each(self.snapshot(table)?.range::<&[u8]>(bounds).map_err(StoreError::from_redb)?)
            }
            Self::Write { .. } => {
                let table = self.writable(table)?;
                let table = table.try_borrow().map_err(|_| IN_USE)?;
                each(table.range::<&[u8]>(bounds).map_err(StoreError::from_redb)?)
            }
        }
    }

    /// How many keys a table has.
    pub(super) fn len(&self, table: Table) -> Result<u64, StoreError> {
        match self {
            Self::Read { .. } => self.snapshot(table)?.len(),
            Self::Write { .. } => self.writable(table)?.try_borrow().map_err(|_| IN_USE)?.len(),
        }
        .map_err(StoreError::from_redb)
    }

    /// Visits every key that begins with `prefix`.
    pub(super) fn scan_prefix(
        &self,
        table: Table,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        self.scan(table, prefix, prefix_end(prefix).as_deref(), visit)
    }

    /// A number that this counter has never given before; the first is 1.
    pub(super) fn next_number(&self, counter: &str) -> Result<u64, StoreError> {
        let next = self.number(counter)?.unwrap_or(0) + 1;
        self.put_number(counter, next)?;
        Ok(next)
    }

    /// The number a counter stands at.
    pub(super) fn number(&self, counter: &str) -> Result<Option<u64>, StoreError> {
        self.get(Table::Meta, counter.as_bytes())?.map(|value| be_u64(&value)).transpose()
    }

    /// Sets a counter.
    pub(super) fn put_number(&self, counter: &str, number: u64) -> Result<(), StoreError> {
        self.put(Table::Meta, counter.as_bytes(), &number.to_be_bytes())
    }

    /// The record of a key.
    pub(super) fn get_record<R: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<R>, StoreError> {
        self.get(table, key)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Puts a record as CBOR.
    pub(super) fn put_record(
        &self,
        table: Table,
        key: &[u8],
        record: &impl Serialize,
    ) -> Result<(), StoreError> {
        self.put(table, key, &encode(record)?)
    }

    fn count_change(&self) {
        if let Self::Write { changes, .. } = self {
            changes.set(changes.get() + 1);
        }
    }

    fn snapshot(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>, StoreError> {
        let Self::Read { txn, open } = self else { return Err(StoreError::Bug("no snapshot")) };
        let cell = &open[table as usize];
        if cell.get().is_none() {
            let opened = txn.open_table(table.definition()).map_err(StoreError::from_redb)?;
            let _ = cell.set(opened);
        }
        Ok(cell.get().expect("the cell was filled above"))
    }

    fn writable(&self, table: Table) -> Result<&RefCell<redb::Table<'t, Bytes, Bytes>>, StoreError> {
        let Self::Write { txn, open, .. } = self else {
            return Err(StoreError::Bug("a change within a snapshot"));
        };
        let cell = &open[table as usize];
        if cell.get().is_none() {
            let opened = txn.open_table(table.definition()).map_err(StoreError::from_redb)?;
            let _ = cell.set(RefCell::new(opened));
        }
        Ok(cell.get().expect("the cell was filled above"))
    }
}

const IN_USE: StoreError = StoreError::Bug("a table was changed while it was read");

/// A record as CBOR (RFC 8949), fields by name.
pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_cbor::to_vec(record).map_err(|_| StoreError::Bug("a record cannot be written as CBOR"))
}

/// The record in `bytes`. Fields it does not know are passed over, so that an older program reads a newer record.
pub(super) fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, StoreError> {
    serde_cbor::from_slice(bytes).map_err(|_| StoreError::Damaged("a record cannot be read"))
}

/// Eight bytes as a number.
pub(super) fn be_u64(bytes: &[u8]) -> Result<u64, StoreError> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| StoreError::Damaged("a number has another length"))?))
}

/// Four bytes as a number.
pub(super) fn be_u32(bytes: &[u8]) -> Result<u32, StoreError> {
    Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| StoreError::Damaged("a number has another length"))?))
}

/// The first key after all that begin with `prefix`, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

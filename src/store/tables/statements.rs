//! What people signed about each other: introductions, vouches, delegations, and kinds that this program does not
//! know (kept within a quota, never passed on).
//!
//! A statement is found by its subject. A second table, by issuer, says in few bytes what each is worth to
//! `model::trust`, so that the whole graph is read without opening a statement. Quotas keep any issuer, and strangers
//! as a whole, from filling the store.

use super::Room;
use super::cards::address;
use super::contacts::TRUST_COUNTER;
use crate::model::time::UnixTime;
use crate::model::trust::Method;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u64, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most statements of one issuer, of all kinds.
pub const PER_ISSUER_MAX: usize = 512;
/// Most statements of one issuer whose kind is not known.
pub const UNKNOWN_PER_ISSUER_MAX: usize = 8;
/// Most statements in all whose kind is not known.
pub const UNKNOWN_MAX: u64 = 1_000;
/// Most statements in all that anybody may bring.
pub const OPEN_MAX: u64 = 100_000;
/// Most statements in all: what is above [`OPEN_MAX`] is for issuers the person has decided about.
pub const STATEMENTS_MAX: u64 = 150_000;

const UNKNOWN_COUNTER: &str = "unknown_statements";

/// What a statement is, as the tables number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StatementKind {
    /// A kind that this program does not know.
    Unknown = 0,
    /// Somebody introduced the subject to us.
    Introduction = 1,
    /// Somebody vouched for the subject, who showed it.
    Vouch = 2,
    /// The issuer lets the subject write on their behalf.
    Delegation = 3,
}

impl StatementKind {
    fn from_byte(byte: u8) -> Result<Self, StoreError> {
        [Self::Unknown, Self::Introduction, Self::Vouch, Self::Delegation]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or(StoreError::Damaged("a statement is of a kind that never was"))
    }
}

/// The name of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementKey {
    /// Whom it is about (of an unknown kind: its issuer).
    pub subject: OnionAddress,
    /// Who signed it.
    pub issuer: OnionAddress,
    /// What it is.
    pub kind: StatementKind,
    /// First 8 bytes of the SHA-256 of its bytes.
    pub digest: [u8; 8],
}

/// What a statement is worth to the trust model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    /// How the key was checked; none for what carries no trust.
    pub method: Option<Method>,
    /// When it was made, as it says.
    pub made: UnixTime,
    /// When it ends, as it says.
    pub until: UnixTime,
    /// When it first arrived.
    pub received: UnixTime,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRecord {
    /// As it was received.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// When it first arrived.
    pub received: UnixTime,
    /// Who brought it, if that was proved.
    #[serde(default, with = "super::address::option")]
    pub author: Option<OnionAddress>,
}

/// What became of a statement that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is new, and kept.
    New,
    /// It was here before; its first arrival counts.
    Before,
    /// There is no room for it: a quota is used up.
    NoRoom,
}

/// Reads statements.
#[derive(Clone, Copy)]
pub struct Statements<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Statements<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Statements<'a, 't> {
        Statements { rows }
    }

    /// One statement, if it is here.
    pub fn get(&self, key: &StatementKey) -> Result<Option<StatementRecord>, StoreError> {
        self.rows.get_record(Table::Statements, &by_subject(key))
    }

    /// What was said about somebody, at most `max`.
    pub fn about(
        &self,
        subject: &OnionAddress,
        max: usize,
    ) -> Result<Vec<(StatementKey, StatementRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Statements, subject.public_key(), |key, value| {
            if found.len() >= max {
                return Ok(ControlFlow::Break(()));
            }
            found.push((parse(key, Order::SubjectFirst)?, decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// What was said about somebody in statements of one kind, at most `max`.
    pub fn of_kind_about(
        &self,
        subject: &OnionAddress,
        kind: StatementKind,
        max: usize,
    ) -> Result<Vec<(StatementKey, StatementRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Statements, subject.public_key(), |key, value| {
            if found.len() >= max {
                return Ok(ControlFlow::Break(()));
            }
            let key = parse(key, Order::SubjectFirst)?;
            if key.kind == kind {
                found.push((key, decode(value)?));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// What somebody said: at most [`PER_ISSUER_MAX`].
    pub fn of(&self, issuer: &OnionAddress) -> Result<Vec<(StatementKey, Worth)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Edges, issuer.public_key(), |key, value| {
            found.push((parse(key, Order::IssuerFirst)?, parse_worth(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Visits what every statement is worth.
    pub fn each(&self, mut visit: impl FnMut(StatementKey, Worth)) -> Result<(), StoreError> {
        self.rows.scan_prefix(Table::Edges, b"", |key, value| {
            visit(parse(key, Order::IssuerFirst)?, parse_worth(value)?);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// How many there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.rows.len(Table::Statements)
    }
}

/// Reads and changes statements. What [`Statements`] reads is here too.
pub struct StatementsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Statements<'a, 't>,
}

impl<'a, 't> std::ops::Deref for StatementsMut<'a, 't> {
    type Target = Statements<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> StatementsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> StatementsMut<'a, 't> {
        StatementsMut { rows, read: Statements::new(rows) }
    }

    /// Keeps a statement that was verified. `worth.received` must be the record's.
    pub fn insert(
        &self,
        key: &StatementKey,
        record: &StatementRecord,
        worth: &Worth,
        room: Room,
    ) -> Result<Kept, StoreError> {
        let by_subject = by_subject(key);
        if self.rows.get(Table::Statements, &by_subject)?.is_some() {
            return Ok(Kept::Before);
        }
        if !self.has_room(key, room)? {
            return Ok(Kept::NoRoom);
        }
        if key.kind == StatementKind::Unknown {
            self.rows.put_number(UNKNOWN_COUNTER, self.unknown()? + 1)?;
        }
        self.rows.put_record(Table::Statements, &by_subject, record)?;
        self.rows.put(Table::Edges, &by_issuer(key), &worth_bytes(worth))?;
        self.rows.next_number(TRUST_COUNTER)?;
        Ok(Kept::New)
    }

    /// Forgets a statement; says whether it was here. One that counts against a cap of its issuer must stay for a
    /// year after it arrived, or the cap would be open again.
    pub fn remove(&self, key: &StatementKey) -> Result<bool, StoreError> {
        if !self.rows.delete(Table::Statements, &by_subject(key))? {
            return Ok(false);
        }
        if key.kind == StatementKind::Unknown {
            self.rows.put_number(UNKNOWN_COUNTER, self.unknown()?.saturating_sub(1))?;
        }
        self.rows.delete(Table::Edges, &by_issuer(key))?;
        self.rows.next_number(TRUST_COUNTER)?;
        Ok(true)
    }

    fn unknown(&self) -> Result<u64, StoreError> {
        Ok(self.rows.number(UNKNOWN_COUNTER)?.unwrap_or(0))
    }

    fn has_room(&self, key: &StatementKey, room: Room) -> Result<bool, StoreError> {
        let max = if room == Room::Open { OPEN_MAX } else { STATEMENTS_MAX };
        if self.count()? >= max {
            return Ok(false);
        }
        let (mut all, mut unknown) = (0, 0);
        self.rows.scan_prefix(Table::Edges, key.issuer.public_key(), |key, _| {
            all += 1;
            unknown += usize::from(parse(key, Order::IssuerFirst)?.kind == StatementKind::Unknown);
            Ok(ControlFlow::Continue(()))
        })?;
        let known = key.kind != StatementKind::Unknown;
        Ok(all < PER_ISSUER_MAX
            && (known || unknown < UNKNOWN_PER_ISSUER_MAX && self.unknown()? < UNKNOWN_MAX))
    }
}

/// Which address a key begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    SubjectFirst,
    IssuerFirst,
}

const KEY_LEN: usize = 32 + 32 + 1 + 8;

fn by_subject(key: &StatementKey) -> [u8; KEY_LEN] {
    join(&key.subject, &key.issuer, key)
}

fn by_issuer(key: &StatementKey) -> [u8; KEY_LEN] {
    join(&key.issuer, &key.subject, key)
}

fn join(first: &OnionAddress, second: &OnionAddress, key: &StatementKey) -> [u8; KEY_LEN] {
    let mut joined = [0; KEY_LEN];
    joined[..32].copy_from_slice(first.public_key());
    joined[32..64].copy_from_slice(second.public_key());
    joined[64] = key.kind as u8;
    joined[65..].copy_from_slice(&key.digest);
    joined
}

fn parse(key: &[u8], order: Order) -> Result<StatementKey, StoreError> {
    let key: &[u8; KEY_LEN] =
        key.try_into().map_err(|_| StoreError::Damaged("the name of a statement has another length"))?;
    let (first, second) = (address(&key[..32])?, address(&key[32..64])?);
    let (subject, issuer) = if order == Order::SubjectFirst { (first, second) } else { (second, first) };
    let mut digest = [0; 8];
    digest.copy_from_slice(&key[65..]);
    Ok(StatementKey { subject, issuer, kind: StatementKind::from_byte(key[64])?, digest })
}

fn worth_bytes(worth: &Worth) -> Vec<u8> {
    let method = worth.method.map_or(0, |method| u8::try_from(method.number()).unwrap_or(0));
    let times = [worth.made, worth.until, worth.received].map(|time| time.0.to_be_bytes());
    [&[method][..], &times.concat()].concat()
}

fn parse_worth(bytes: &[u8]) -> Result<Worth, StoreError> {
    let (method, times) =
        bytes.split_at_checked(1).ok_or(StoreError::Damaged("a statement is worth nothing"))?;
    let time = |at: usize| be_u64(times.get(at * 8..at * 8 + 8).unwrap_or_default()).map(UnixTime);
    let method = Method::from_number(u64::from(method[0]));
    Ok(Worth { method, made: time(0)?, until: time(1)?, received: time(2)? })
}

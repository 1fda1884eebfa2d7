//! Invites that were given out: single use, by the start of the hash of their secret (never the secret).

use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most invites kept, used ones included. When it is full, those that are over go.
pub const INVITES_MAX: u64 = 1_000;
/// Longest label, in bytes.
pub const LABEL_LEN_MAX: usize = 200;

/// The name of an invite: the first 16 bytes of the SHA-256 of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub [u8; 16]);

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    /// When it was made.
    pub made: UnixTime,
    /// Until when it can be used.
    pub until: UnixTime,
    /// The tier that its use grants.
    pub tier: Tier,
    /// For whom it is, as the person wrote it down.
    pub label: String,
    /// Who used it.
    #[serde(default, with = "super::address::option")]
    pub used_by: Option<OnionAddress>,
    /// When.
    #[serde(default)]
    pub used_at: Option<UnixTime>,
}

/// What came of the use of an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Used {
    /// It is theirs now.
    Now(InviteRecord),
    /// They used it before.
    Before(InviteRecord),
    /// Somebody else did.
    Taken,
    /// It is over.
    Over,
    /// There is no such invite.
    Unknown,
}

/// Reads invites.
#[derive(Clone, Copy)]
pub struct Invites<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Invites<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Invites<'a, 't> {
        Invites { rows }
    }

    /// One invite.
    pub fn get(&self, id: &InviteId) -> Result<Option<InviteRecord>, StoreError> {
        self.rows.get_record(Table::Invites, &id.0)
    }

    /// All invites, those made last first.
    pub fn list(&self) -> Result<Vec<(InviteId, InviteRecord)>, StoreError> {
        let mut found: Vec<(InviteId, InviteRecord)> = Vec::new();
        self.rows.scan_prefix(Table::Invites, b"", |key, value| {
            let id = key
                .try_into()
                .map_err(|_| StoreError::Damaged("the name of an invite has another length"))?;
            found.push((InviteId(id), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        found.sort_by_key(|(_, record)| std::cmp::Reverse(record.made));
        Ok(found)
    }
}

/// Reads and changes invites. What [`Invites`] reads is here too.
pub struct InvitesMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Invites<'a, 't>,
}

impl<'a, 't> std::ops::Deref for InvitesMut<'a, 't> {
    type Target = Invites<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> InvitesMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> InvitesMut<'a, 't> {
        InvitesMut { rows, read: Invites::new(rows) }
    }

    /// Keeps a new invite. `TooMany` if there is no room even after those that are over at `record.made` went.
    pub fn add(&self, id: &InviteId, record: &InviteRecord) -> Result<(), StoreError> {
        if self.rows.len(Table::Invites)? >= INVITES_MAX {
            for (id, old) in self.list()? {
                if old.until < record.made {
                    self.remove(&id)?;
                }
            }
        }
        if self.rows.len(Table::Invites)? >= INVITES_MAX {
            return Err(StoreError::TooMany("invites"));
        }
        self.rows.put_record(Table::Invites, &id.0, record)
    }

    /// Somebody uses an invite. `agreed` is the time agreed with the network; without one nothing is over.
    pub fn use_up(
        &self,
        id: &InviteId,
        by: &OnionAddress,
        now: UnixTime,
        agreed: Option<UnixTime>,
    ) -> Result<Used, StoreError> {
        let Some(mut record) = self.get(id)? else { return Ok(Used::Unknown) };
        match record.used_by {
            Some(user) if user == *by => return Ok(Used::Before(record)),
            Some(_) => return Ok(Used::Taken),
            None if agreed.is_some_and(|agreed| record.until < agreed) => return Ok(Used::Over),
            None => {}
        }
        (record.used_by, record.used_at) = (Some(*by), Some(now));
        self.rows.put_record(Table::Invites, &id.0, &record)?;
        Ok(Used::Now(record))
    }

    /// Takes an invite back; says whether it was there.
    pub fn remove(&self, id: &InviteId) -> Result<bool, StoreError> {
        self.rows.delete(Table::Invites, &id.0)
    }
}

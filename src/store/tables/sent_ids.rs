//! Which message in Sent is the copy that the node filed for a Message-ID.
//!
//! A mail program that also files a copy gets the uid of the one that is there. The row goes with the message.

use super::mailboxes::MailboxNo;
use super::messages::Uid;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u32};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a Message-ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MessageIdHash(#[serde(with = "serde_bytes")] [u8; 32]);

impl MessageIdHash {
    /// Hashes a Message-ID, with its angle brackets, as it stands in the field.
    pub fn of(message_id: &[u8]) -> Self {
        Self(Sha256::digest(message_id.trim_ascii()).into())
    }
}

/// Reads the copies.
#[derive(Clone, Copy)]
pub struct SentIds<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> SentIds<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> SentIds<'a, 't> {
        SentIds { rows }
    }

    /// Where the copy is, if there is one still.
    pub fn find(&self, id: &MessageIdHash) -> Result<Option<(MailboxNo, Uid)>, StoreError> {
        let Some(place) = self.rows.get(Table::SentIds, &id.0)? else { return Ok(None) };
        let (mailbox, uid) = place.split_at_checked(4).unwrap_or_default();
        Ok(Some((MailboxNo(be_u32(mailbox)?), Uid(be_u32(uid)?))))
    }
}

/// Reads and changes the copies; only `messages` changes them.
pub struct SentIdsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: SentIds<'a, 't>,
}

impl<'a, 't> std::ops::Deref for SentIdsMut<'a, 't> {
    type Target = SentIds<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> SentIdsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> SentIdsMut<'a, 't> {
        SentIdsMut { rows, read: SentIds::new(rows) }
    }

    pub(super) fn file(&self, id: &MessageIdHash, mailbox: MailboxNo, uid: Uid) -> Result<(), StoreError> {
        let place = [mailbox.0.to_be_bytes(), uid.0.to_be_bytes()].concat();
        self.rows.put(Table::SentIds, &id.0, &place)
    }

    pub(super) fn forget(&self, id: &MessageIdHash, mailbox: MailboxNo, uid: Uid) -> Result<(), StoreError> {
        if self.find(id)? == Some((mailbox, uid)) {
            self.rows.delete(Table::SentIds, &id.0)?;
        }
        Ok(())
    }
}

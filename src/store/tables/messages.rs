//! Messages: which letter is in which mailbox, under which uid, with which flags (RFC 9051 section 2.3).
//!
//! Uids grow and are never given twice in a mailbox. Each message holds its letter; the copy in another mailbox holds
//! the same one. The counts in the mailbox's record are kept in step here and nowhere else.

use super::mailboxes::{self, MailboxNo, MailboxRecord, Mailboxes};
use super::sent_ids::MessageIdHash;
use crate::model::letter::LetterNo;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::index::{self, Brief};
use crate::store::rows::{Rows, Table, be_u32, decode};
use crate::store::tx::Tx;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

/// Most keywords on one message.
pub const KEYWORDS_MAX: usize = 64;

/// Number of a message in its mailbox; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

/// The flags of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Flags {
    /// Sum of the constants below.
    #[serde(rename = "s")]
    pub system: u8,
    /// Keywords, as the mail program wrote them.
    #[serde(rename = "k", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keywords: BTreeSet<String>,
}

impl Flags {
    /// `\Seen`
    pub const SEEN: u8 = 1;
    /// `\Answered`
    pub const ANSWERED: u8 = 2;
    /// `\Flagged`
    pub const FLAGGED: u8 = 4;
    /// `\Deleted`
    pub const DELETED: u8 = 8;
    /// `\Draft`
    pub const DRAFT: u8 = 16;

    /// System flags only.
    pub fn system(system: u8) -> Self {
        Self { system, keywords: BTreeSet::new() }
    }

    /// Whether all system flags in `system` are set.
    pub fn has(&self, system: u8) -> bool {
        self.system & system == system
    }
}

/// What STORE does to flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagChange {
    /// These and no others.
    Replace(Flags),
    /// These too.
    Add(Flags),
    /// These no longer.
    Remove(Flags),
}

impl FlagChange {
    fn apply(&self, flags: &mut Flags) {
        match self {
            Self::Replace(new) => *flags = new.clone(),
            Self::Add(new) => {
                flags.system |= new.system;
                flags.keywords.extend(new.keywords.iter().cloned());
            }
            Self::Remove(old) => {
                flags.system &= !old.system;
                flags.keywords.retain(|keyword| !old.keywords.contains(keyword));
            }
        }
    }
}

/// What is kept about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// The letter.
    #[serde(rename = "l")]
    pub letter: LetterNo,
    /// Its flags.
    #[serde(rename = "f")]
    pub flags: Flags,
    /// INTERNALDATE.
    #[serde(rename = "d")]
    pub internal_date: UnixTime,
    /// RFC822.SIZE: length of the letter in bytes.
    #[serde(rename = "z")]
    pub size: u64,
    /// The mailbox's modseq at the last change.
    #[serde(rename = "m")]
    pub modseq: u64,
    /// Set on the copy that the node filed in Sent.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub sent_id: Option<MessageIdHash>,
}

/// A message to be put into a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The letter, already added.
    pub letter: LetterNo,
    /// Its flags.
    pub flags: Flags,
    /// INTERNALDATE.
    pub internal_date: UnixTime,
    /// For the copy that the node files in Sent: its Message-ID, so that it is found (`sent_ids`).
    pub sent_id: Option<MessageIdHash>,
}

/// A mailbox as a mail program sees it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxView {
    /// Its record.
    pub mailbox: MailboxRecord,
    /// All messages, in the order of their uids.
    pub messages: Vec<(Uid, MessageRecord)>,
}

/// Reads messages.
#[derive(Clone, Copy)]
pub struct Messages<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Messages<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Messages<'a, 't> {
        Messages { rows }
    }

    /// One message, if it is there.
    pub fn get(&self, mailbox: MailboxNo, uid: Uid) -> Result<Option<MessageRecord>, StoreError> {
        self.rows.get_record(Table::Messages, &key(mailbox, uid))
    }

    /// The messages whose uids lie in `range`, in order.
    pub fn list(
        &self,
        mailbox: MailboxNo,
        range: impl RangeBounds<Uid>,
    ) -> Result<Vec<(Uid, MessageRecord)>, StoreError> {
        let mut found = Vec::new();
        let first = match range.start_bound() {
            Bound::Included(uid) => *uid,
            Bound::Excluded(uid) => Uid(uid.0.saturating_add(1)),
            Bound::Unbounded => Uid(0),
        };
        self.scan(mailbox, first, |uid, value| {
            if !range.contains(&uid) {
                return Ok(ControlFlow::Break(()));
            }
            found.push((uid, decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn scan(
        &self,
        mailbox: MailboxNo,
        first: Uid,
        mut visit: impl FnMut(Uid, &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let end = [(mailbox.0.saturating_add(1)).to_be_bytes(), [0; 4]].concat();
        self.rows.scan(Table::Messages, &key(mailbox, first), Some(&end), |key, value| {
            visit(Uid(be_u32(key.get(4..).unwrap_or_default())?), value)
        })
    }

    /// The uids and flags of all messages, in order.
    pub(in crate::store) fn briefs(&self, mailbox: MailboxNo) -> Result<Vec<Brief>, StoreError> {
        /// Of the record only what is wanted.
        #[derive(Deserialize)]
        struct Part {
            #[serde(rename = "f")]
            flags: Flags,
        }
        let (mut found, mut known) = (Vec::<Brief>::new(), BTreeMap::<Flags, Arc<Flags>>::new());
        self.scan(mailbox, Uid(0), |uid, value| {
            let Part { flags } = decode(value)?;
            let flags = match found.last() {
                Some(last) if *last.flags == flags => last.flags.clone(),
                _ => known.entry(flags).or_insert_with_key(|flags| Arc::new(flags.clone())).clone(),
            };
            found.push(Brief { uid, flags });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The mailbox and all its messages.
    pub fn view(&self, mailbox: MailboxNo) -> Result<MailboxView, StoreError> {
        let record = Mailboxes::new(self.rows).get(mailbox)?;
        Ok(MailboxView { mailbox: record, messages: self.list(mailbox, ..)? })
    }
}

/// Reads and changes messages. What [`Messages`] reads is here too.
pub struct MessagesMut<'a, 't> {
    tx: &'a Tx<'t>,
    read: Messages<'a, 't>,
}

impl<'a, 't> std::ops::Deref for MessagesMut<'a, 't> {
    type Target = Messages<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> MessagesMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> MessagesMut<'a, 't> {
        MessagesMut { tx, read: Messages::new(&tx.rows) }
    }

    /// Puts a letter into a mailbox, at the end; answers its uid.
    pub fn append(&self, mailbox: MailboxNo, message: &NewMessage) -> Result<Uid, StoreError> {
        let mut record = self.mailbox(mailbox)?;
        let before = record.modseq;
        mailboxes::bump(self.tx, &mut record);
        let uid = self.put_new(mailbox, &mut record, message)?;
        self.changed(mailbox, before, &record, [(uid, Some(message.flags.clone()))])?;
        Ok(uid)
    }

    /// Changes the flags of those messages that are there; answers what they are now. Those that already were so are
    /// left, with their modseq.
    pub fn set_flags(
        &self,
        mailbox: MailboxNo,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<(Uid, MessageRecord)>, StoreError> {
        let mut record = self.mailbox(mailbox)?;
        let before = record.modseq;
        let (mut modseq, mut changed) = (None, Vec::new());
        let mut now = Vec::with_capacity(uids.len());
        for &uid in uids {
            let Some(mut message) = self.get(mailbox, uid)? else { continue };
            let mut flags = message.flags.clone();
            change.apply(&mut flags);
            check_flags(&flags)?;
            if flags != message.flags {
                message.modseq = *modseq.get_or_insert_with(|| mailboxes::bump(self.tx, &mut record));
                record.unseen = (record.unseen + unseen(&flags)).saturating_sub(unseen(&message.flags));
                message.flags = flags;
                self.put(mailbox, uid, &message)?;
                changed.push((uid, Some(message.flags.clone())));
            }
            now.push((uid, message));
        }
        if modseq.is_some() {
            self.changed(mailbox, before, &record, changed)?;
        }
        Ok(now)
    }

    /// Removes those messages that are there, and answers which they were. The last use of a letter forgets it.
    pub fn expunge(&self, mailbox: MailboxNo, uids: &[Uid]) -> Result<Vec<Uid>, StoreError> {
        let mut record = self.mailbox(mailbox)?;
        let mut removed = Vec::with_capacity(uids.len());
        for &uid in uids {
            let Some(message) = self.get(mailbox, uid)? else { continue };
            self.tx.rows.delete(Table::Messages, &key(mailbox, uid))?;
            if let Some(id) = &message.sent_id {
                self.tx.sent_ids().forget(id, mailbox, uid)?;
            }
            self.tx.letters().release(message.letter)?;
            record.messages = record.messages.saturating_sub(1);
            record.unseen = record.unseen.saturating_sub(unseen(&message.flags));
            record.bytes = record.bytes.saturating_sub(message.size);
            removed.push(uid);
        }
        if !removed.is_empty() {
            let before = record.modseq;
            mailboxes::bump(self.tx, &mut record);
            self.changed(mailbox, before, &record, removed.iter().map(|&uid| (uid, None)))?;
        }
        Ok(removed)
    }

    /// Copies those messages that are there; answers old and new uid of each, in order.
    pub fn copy(&self, from: MailboxNo, uids: &[Uid], to: MailboxNo) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let mut record = self.mailbox(to)?;
        let (before, mut added) = (record.modseq, Vec::new());
        let mut copied = Vec::with_capacity(uids.len());
        mailboxes::bump(self.tx, &mut record);
        for &uid in uids {
            let Some(message) = self.get(from, uid)? else { continue };
            let message = NewMessage {
                letter: message.letter,
                flags: message.flags,
                internal_date: message.internal_date,
                sent_id: None,
            };
            let new = self.put_new(to, &mut record, &message)?;
            added.push((new, Some(message.flags)));
            copied.push((uid, new));
        }
        if !copied.is_empty() {
            self.changed(to, before, &record, added)?;
        }
        Ok(copied)
    }

    /// Moves those messages that are there (RFC 6851); answers old and new uid of each, in order.
    pub fn move_to(
        &self,
        from: MailboxNo,
        uids: &[Uid],
        to: MailboxNo,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let moved = self.copy(from, uids, to)?;
        let old: Vec<Uid> = moved.iter().map(|&(old, _)| old).collect();
        self.expunge(from, &old)?;
        Ok(moved)
    }

    /// Puts the record of a mailbox whose messages changed, and tells the index: what has which flags now, or is gone.
    fn changed(
        &self,
        no: MailboxNo,
        before: u64,
        record: &MailboxRecord,
        messages: impl IntoIterator<Item = (Uid, Option<Flags>)>,
    ) -> Result<(), StoreError> {
        mailboxes::put(&self.tx.rows, no, record)?;
        index::note(&mut self.tx.changes.borrow_mut(), no, (before, record.modseq), messages);
        Ok(())
    }

    fn mailbox(&self, no: MailboxNo) -> Result<MailboxRecord, StoreError> {
        Mailboxes::new(&self.tx.rows).get(no)
    }

    /// Puts a message at the end of the mailbox whose record the caller then puts.
    fn put_new(
        &self,
        mailbox: MailboxNo,
        record: &mut MailboxRecord,
        message: &NewMessage,
    ) -> Result<Uid, StoreError> {
        check_flags(&message.flags)?;
        let uid = record.uid_next;
        record.uid_next = Uid(uid.0.checked_add(1).ok_or(StoreError::TooMany("messages in one mailbox"))?);
        record.messages += 1;
        record.unseen += unseen(&message.flags);
        let size = self.tx.letters().hold(message.letter)?;
        record.bytes = record.bytes.saturating_add(size);
        if let Some(id) = &message.sent_id {
            self.tx.sent_ids().file(id, mailbox, uid)?;
        }
        let message = MessageRecord {
            letter: message.letter,
            flags: message.flags.clone(),
            internal_date: message.internal_date,
            size,
            modseq: record.modseq,
            sent_id: message.sent_id,
        };
        self.put(mailbox, uid, &message)?;
        Ok(uid)
    }

    fn put(&self, mailbox: MailboxNo, uid: Uid, message: &MessageRecord) -> Result<(), StoreError> {
        self.tx.rows.put_record(Table::Messages, &key(mailbox, uid), message)
    }
}

fn unseen(flags: &Flags) -> u32 {
    u32::from(!flags.has(Flags::SEEN))
}

fn check_flags(flags: &Flags) -> Result<(), StoreError> {
    match flags.keywords.len() {
        0..=KEYWORDS_MAX => Ok(()),
        _ => Err(StoreError::TooMany("keywords on one message")),
    }
}

fn key(mailbox: MailboxNo, uid: Uid) -> [u8; 8] {
    (u64::from(mailbox.0) << 32 | u64::from(uid.0)).to_be_bytes()
}

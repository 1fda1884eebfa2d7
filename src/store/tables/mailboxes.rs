//! Mailboxes: names, numbers, and what IMAP keeps for each (RFC 9051 section 2.3, RFC 6154 special use).
//!
//! A mailbox has a number for life and a name that can change. A pair of name and UIDVALIDITY never means two
//! different things. Names are UTF-8 with `/` between the levels; `INBOX` is the same in any case.

use super::messages::Uid;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u32};
use crate::store::tx::Tx;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Between the levels of a name.
pub const SEPARATOR: char = '/';
/// Longest name in bytes: what common mail programs show and their own file systems take.
pub const NAME_LEN_MAX: usize = 255;
/// Most levels in a name.
pub const DEPTH_MAX: usize = 16;
/// Most mailboxes: beyond it LIST itself would be slow.
pub const MAILBOXES_MAX: u64 = 10_000;
/// The name of the mailbox that every account has.
pub const INBOX: &str = "INBOX";

const COUNTER: &str = "mailbox";
pub(in crate::store) const UID_VALIDITY_COUNTER: &str = "uid_validity";

/// Number of a mailbox, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailboxNo(pub u32);

/// A name that was checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailboxName(String);

/// Why a text is no mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailboxNameError {
    /// Nothing between two separators, or nothing at all.
    #[error("a part of it is empty")]
    Empty,
    /// Longer than [`NAME_LEN_MAX`].
    #[error("longer than {NAME_LEN_MAX} bytes")]
    Length,
    /// More levels than [`DEPTH_MAX`].
    #[error("more than {DEPTH_MAX} levels")]
    Depth,
    /// A control character, a wildcard, or `#` at the beginning.
    #[error("it has a character that is not allowed")]
    Character,
}

impl MailboxName {
    /// Checks a name. One separator at the end is dropped (RFC 9051 section 6.3.4), and a first level `inbox` is
    /// written `INBOX`.
    pub fn parse(text: &str) -> Result<Self, MailboxNameError> {
        let text = text.strip_suffix(SEPARATOR).unwrap_or(text);
        let bad = |c: char| c.is_control() || c == '*' || c == '%';
        if text.len() > NAME_LEN_MAX {
            return Err(MailboxNameError::Length);
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err(MailboxNameError::Empty);
        }
        if text.split(SEPARATOR).count() > DEPTH_MAX {
            return Err(MailboxNameError::Depth);
        }
        if text.starts_with('#') || text.chars().any(bad) {
            return Err(MailboxNameError::Character);
        }
        let first = text.split(SEPARATOR).next().unwrap_or_default();
        if first.eq_ignore_ascii_case(INBOX) {
            return Ok(Self(format!("{INBOX}{}", &text[INBOX.len()..])));
        }
        Ok(Self(text.to_owned()))
    }

    /// `INBOX`.
    pub fn inbox() -> Self {
        Self(INBOX.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name one level up, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(SEPARATOR).map(|(parent, _)| Self(parent.to_owned()))
    }

    fn below(&self) -> String {
        format!("{}{SEPARATOR}", self.0)
    }
}

impl std::fmt::Debug for MailboxName {
    /// Names may tell what is in them, and stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[mailbox]")
    }
}

impl TryFrom<String> for MailboxName {
    type Error = MailboxNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<MailboxName> for String {
    fn from(name: MailboxName) -> Self {
        name.0
    }
}

/// What a mailbox is for. At most one mailbox has each, but for `Guest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialUse {
    /// Where letters arrive.
    Inbox,
    /// Copies of what was sent.
    Sent,
    /// What waits to be sent.
    Outbox,
    /// Letters being written.
    Drafts,
    /// Deleted letters.
    Trash,
    /// Unwanted letters.
    Junk,
    /// What was put away.
    Archive,
    /// Letters of strangers.
    Requests,
    /// Letters for somebody who reads here without a node. It has no name of its own, and is in no list of mailboxes.
    Guest,
}

impl SpecialUse {
    /// The attribute that LIST shows (RFC 6154), if there is one for it.
    pub fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Inbox | Self::Outbox | Self::Requests | Self::Guest => None,
            Self::Sent => Some("\\Sent"),
            Self::Drafts => Some("\\Drafts"),
            Self::Trash => Some("\\Trash"),
            Self::Junk => Some("\\Junk"),
            Self::Archive => Some("\\Archive"),
        }
    }

    /// Whether the node itself puts letters there, so that the mailbox cannot go.
    fn is_needed(self) -> bool {
        matches!(self, Self::Inbox | Self::Sent | Self::Outbox | Self::Junk | Self::Requests | Self::Guest)
    }
}

/// What is kept about a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRecord {
    /// Its name.
    pub name: MailboxName,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// What it is for.
    pub special: Option<SpecialUse>,
    /// Whether LSUB lists it.
    pub subscribed: bool,
    /// Grows with every change in the mailbox; each message has the value of its last change (RFC 7162).
    pub modseq: u64,
    /// Number of messages.
    pub messages: u32,
    /// Number of messages without `\Seen`.
    pub unseen: u32,
    /// Sum of the sizes of the messages.
    #[serde(default)]
    pub bytes: u64,
    /// The first uid that no session has been told of as `\Recent`.
    pub recent_from: Uid,
}

/// The mailboxes that every store has from the first.
pub(in crate::store) const DEFAULTS: [(&str, SpecialUse); 7] = [
    (INBOX, SpecialUse::Inbox),
    ("Sent", SpecialUse::Sent),
    ("Outbox", SpecialUse::Outbox),
    ("Drafts", SpecialUse::Drafts),
    ("Trash", SpecialUse::Trash),
    ("Junk", SpecialUse::Junk),
    ("Requests", SpecialUse::Requests),
];

/// Reads mailboxes.
#[derive(Clone, Copy)]
pub struct Mailboxes<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Mailboxes<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Mailboxes<'a, 't> {
        Mailboxes { rows }
    }

    /// The mailbox of that name.
    pub fn find(&self, name: &MailboxName) -> Result<Option<MailboxNo>, StoreError> {
        let no = self.rows.get(Table::MailboxNames, name.0.as_bytes())?;
        no.map(|no| be_u32(&no).map(MailboxNo)).transpose()
    }

    /// The mailbox for that use.
    pub fn special(&self, special: SpecialUse) -> Result<Option<MailboxNo>, StoreError> {
        let with = |(no, record): (MailboxNo, MailboxRecord)| (record.special == Some(special)).then_some(no);
        Ok(self.list()?.into_iter().find_map(with))
    }

    /// What is kept about a mailbox.
    pub fn get(&self, no: MailboxNo) -> Result<MailboxRecord, StoreError> {
        self.rows.get_record(Table::Mailboxes, &no.0.to_be_bytes())?.ok_or(StoreError::NoMailbox)
    }

    /// The person's own mailboxes, sorted by name.
    pub fn list(&self) -> Result<Vec<(MailboxNo, MailboxRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Mailboxes, b"", |key, value| {
            let record = crate::store::rows::decode::<MailboxRecord>(value)?;
            if record.special != Some(SpecialUse::Guest) {
                found.push((MailboxNo(be_u32(key)?), record));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        found.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        Ok(found)
    }

    fn below(&self, name: &MailboxName) -> Result<Vec<MailboxName>, StoreError> {
        let mut names = Vec::new();
        self.rows.scan_prefix(Table::MailboxNames, name.below().as_bytes(), |key, _| {
            let name = String::from_utf8(key.to_vec()).ok().and_then(|name| MailboxName::parse(&name).ok());
            names.push(name.ok_or(StoreError::Damaged("a mailbox name cannot be read"))?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }
}

/// Reads and changes mailboxes. What [`Mailboxes`] reads is here too.
pub struct MailboxesMut<'a, 't> {
    tx: &'a Tx<'t>,
    read: Mailboxes<'a, 't>,
}

impl<'a, 't> std::ops::Deref for MailboxesMut<'a, 't> {
    type Target = Mailboxes<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> MailboxesMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> MailboxesMut<'a, 't> {
        MailboxesMut { tx, read: Mailboxes::new(&tx.rows) }
    }

    /// Makes a mailbox, and those above it that are missing. It is subscribed to.
    pub fn create(&self, name: &MailboxName, special: Option<SpecialUse>) -> Result<MailboxNo, StoreError> {
        if self.find(name)?.is_some() {
            return Err(StoreError::MailboxExists);
        }
        if let Some(special) = special
            && self.special(special)?.is_some()
        {
            return Err(StoreError::MailboxInUse("another mailbox has that special use"));
        }
        self.create_parents(name)?;
        self.tx.mail_changed.set(true);
        create(&self.tx.rows, name, special)
    }

    fn create_parents(&self, name: &MailboxName) -> Result<(), StoreError> {
        match name.parent() {
            Some(parent) if self.find(&parent)?.is_none() => {
                self.create_parents(&parent)?;
                create(&self.tx.rows, &parent, None).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Removes a mailbox and its messages. Refused while others are below it, and for what the node needs.
    pub fn delete(&self, no: MailboxNo) -> Result<(), StoreError> {
        let record = self.get(no)?;
        if record.special.is_some_and(SpecialUse::is_needed) {
            return Err(StoreError::MailboxInUse("the node needs it"));
        }
        if !self.below(&record.name)?.is_empty() {
            return Err(StoreError::MailboxInUse("there are mailboxes below it"));
        }
        let all: Vec<Uid> = self.tx.messages().list(no, Uid(1)..)?.into_iter().map(|(uid, _)| uid).collect();
        self.tx.messages().expunge(no, &all)?;
        self.leave_name(&record)?;
        self.tx.rows.delete(Table::Mailboxes, &no.0.to_be_bytes())?;
        self.tx.mail_changed.set(true);
        Ok(())
    }

    /// Removes a guest reader's mailbox and its messages.
    pub(super) fn delete_unnamed(&self, no: MailboxNo) -> Result<(), StoreError> {
        let all: Vec<Uid> = self.tx.messages().list(no, Uid(1)..)?.into_iter().map(|(uid, _)| uid).collect();
        self.tx.messages().expunge(no, &all)?;
        self.tx.rows.delete(Table::Mailboxes, &no.0.to_be_bytes())?;
        self.tx.mail_changed.set(true);
        Ok(())
    }

    /// Renames a mailbox and those below it. `INBOX` stays: its messages move to the new mailbox (RFC 9051 section
    /// 6.3.6).
    pub fn rename(&self, no: MailboxNo, to: &MailboxName) -> Result<(), StoreError> {
        let record = self.get(no)?;
        if self.find(to)?.is_some() {
            return Err(StoreError::MailboxExists);
        }
        if record.special == Some(SpecialUse::Inbox) {
            return self.empty_inbox_into(no, to);
        }
        if record.special.is_some_and(SpecialUse::is_needed) {
            return Err(StoreError::MailboxInUse("the node needs it"));
        }
        if to.0.starts_with(&record.name.below()) {
            return Err(StoreError::MailboxInUse("it cannot go below itself"));
        }
        self.create_parents(to)?;
        for below in self.below(&record.name)? {
            let name = format!("{}{}", to.0, &below.0[record.name.0.len()..]);
            let child = self.find(&below)?.ok_or(StoreError::NoMailbox)?;
            self.give_name(child, self.get(child)?, MailboxName::parse(&name)?)?;
        }
        self.give_name(no, record, to.clone())?;
        self.tx.mail_changed.set(true);
        Ok(())
    }

    fn empty_inbox_into(&self, inbox: MailboxNo, to: &MailboxName) -> Result<(), StoreError> {
        let target = self.create(to, None)?;
        let all: Vec<Uid> =
            self.tx.messages().list(inbox, Uid(1)..)?.into_iter().map(|(uid, _)| uid).collect();
        self.tx.messages().move_to(inbox, &all, target).map(drop)
    }

    fn give_name(
        &self,
        no: MailboxNo,
        mut record: MailboxRecord,
        name: MailboxName,
    ) -> Result<(), StoreError> {
        self.leave_name(&record)?;
        // A name that meant another mailbox before needs a UIDVALIDITY that it never had.
        if self.tx.rows.get(Table::MailboxPast, name.0.as_bytes())?.is_some() {
            record.uid_validity = next_uid_validity(&self.tx.rows)?;
        }
        self.tx.rows.put(Table::MailboxNames, name.0.as_bytes(), &no.0.to_be_bytes())?;
        record.name = name;
        put(&self.tx.rows, no, &record)
    }

    fn leave_name(&self, record: &MailboxRecord) -> Result<(), StoreError> {
        let name = record.name.0.as_bytes();
        self.tx.rows.delete(Table::MailboxNames, name)?;
        self.tx.rows.put(Table::MailboxPast, name, &record.uid_validity.to_be_bytes())
    }

    /// Subscribes or unsubscribes.
    pub fn set_subscribed(&self, no: MailboxNo, subscribed: bool) -> Result<(), StoreError> {
        let mut record = self.get(no)?;
        record.subscribed = subscribed;
        put(&self.tx.rows, no, &record)
    }

    /// Takes the messages that no session has been told of as `\Recent`: those from the uid answered on. The next
    /// session does not get them again.
    pub fn claim_recent(&self, no: MailboxNo) -> Result<Uid, StoreError> {
        let mut record = self.get(no)?;
        let from = record.recent_from;
        if from != record.uid_next {
            record.recent_from = record.uid_next;
            put(&self.tx.rows, no, &record)?;
        }
        Ok(from)
    }
}

/// Sees to it that there is a mailbox for this use: the one that has this name, or a new one.
pub(in crate::store) fn ensure(
    rows: &Rows<'_>,
    name: &MailboxName,
    special: SpecialUse,
) -> Result<(), StoreError> {
    let read = Mailboxes::new(rows);
    if read.special(special)?.is_some() {
        return Ok(());
    }
    match read.find(name)? {
        Some(no) => put(rows, no, &MailboxRecord { special: Some(special), ..read.get(no)? }),
        None => create(rows, name, Some(special)).map(drop),
    }
}

/// Makes one mailbox, without asking.
pub(in crate::store) fn create(
    rows: &Rows<'_>,
    name: &MailboxName,
    special: Option<SpecialUse>,
) -> Result<MailboxNo, StoreError> {
    let no = create_unnamed(rows, name, special)?;
    rows.put(Table::MailboxNames, name.0.as_bytes(), &no.0.to_be_bytes())?;
    Ok(no)
}

/// The same for a mailbox that is found by its number alone; `name` is what its reader sees.
pub(super) fn create_unnamed(
    rows: &Rows<'_>,
    name: &MailboxName,
    special: Option<SpecialUse>,
) -> Result<MailboxNo, StoreError> {
    if rows.len(Table::Mailboxes)? >= MAILBOXES_MAX {
        return Err(StoreError::TooMany("mailboxes"));
    }
    let no = u32::try_from(rows.next_number(COUNTER)?).map_err(|_| StoreError::TooMany("mailboxes"))?;
    let no = MailboxNo(no);
    let record = MailboxRecord {
        name: name.clone(),
        uid_validity: next_uid_validity(rows)?,
        uid_next: Uid(1),
        special,
        subscribed: true,
        modseq: 1,
        messages: 0,
        unseen: 0,
        bytes: 0,
        recent_from: Uid(1),
    };
    put(rows, no, &record)?;
    Ok(no)
}

fn next_uid_validity(rows: &Rows<'_>) -> Result<u32, StoreError> {
    u32::try_from(rows.next_number(UID_VALIDITY_COUNTER)?)
        .map_err(|_| StoreError::TooMany("mailboxes made and removed"))
}

pub(in crate::store) fn put(
    rows: &Rows<'_>,
    no: MailboxNo,
    record: &MailboxRecord,
) -> Result<(), StoreError> {
    rows.put_record(Table::Mailboxes, &no.0.to_be_bytes(), record)
}

/// Notes that messages changed; answers the new modseq, which the messages get.
pub(super) fn bump(tx: &Tx<'_>, record: &mut MailboxRecord) -> u64 {
    tx.mail_changed.set(true);
    record.modseq += 1;
    record.modseq
}

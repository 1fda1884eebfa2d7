//! What the person decided about others, what they call them, and the log by which every decision can be undone.
//!
//! A tier is never stored as such: `model::trust` computes it from these decisions and from the statements. Every
//! change that can change a tier raises the *trust version*, by which what was computed from it is known to be old.

use super::cards::address;
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u64, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most contacts: each is made by the person's own act, or by a revocation of one.
pub const CONTACTS_MAX: u64 = 20_000;
/// Longest petname, in bytes.
pub const PETNAME_LEN_MAX: usize = 100;
/// Most decisions in the log; the oldest go first, and can then not be undone any more.
pub const DECISIONS_MAX: u64 = 10_000;

const DECISION_COUNTER: &str = "decision";
/// Counts the changes that can change a tier.
pub(super) const TRUST_COUNTER: &str = "trust";

/// Number of a decision in the log, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionNo(pub u64);

/// What is kept about somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactRecord {
    /// What the person decided.
    #[serde(default)]
    pub decision: Option<Decision>,
    /// What the person calls them.
    #[serde(default)]
    pub petname: Option<String>,
    /// Highest sequence number of our own Card that they have; 0 is none.
    #[serde(default)]
    pub card_given: u64,
    /// Their key was revoked.
    #[serde(default)]
    pub revoked: Option<RevokedRecord>,
    /// They moved to another identity.
    #[serde(default)]
    pub successor: Option<SuccessorRecord>,
    /// A question to the person about them that is not answered yet: asked when, one sentence.
    #[serde(default)]
    pub question: Option<(UnixTime, String)>,
}

/// A decision of the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who they are to us.
    pub tier: Tier,
    /// Since when.
    pub at: UnixTime,
    /// How it came about, a few words.
    pub why: String,
}

/// A revocation that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedRecord {
    /// The statement.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The compromise that it states.
    pub since: UnixTime,
    /// When it arrived.
    pub at: UnixTime,
}

/// A move to another identity that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessorRecord {
    /// The statement.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The new identity.
    #[serde(with = "super::address")]
    pub new: OnionAddress,
    /// When it arrived.
    pub at: UnixTime,
    /// The person checked it and moved the contact.
    #[serde(default)]
    pub followed: bool,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// When.
    pub at: UnixTime,
    /// About whom.
    #[serde(with = "super::address")]
    pub onion: OnionAddress,
    /// The decision before, if there was one.
    pub before: Option<Decision>,
    /// The decision after; none takes a decision back.
    pub after: Option<Decision>,
    /// What happened, a few words.
    pub why: String,
    /// It was undone.
    #[serde(default)]
    pub undone: bool,
    /// It undid another.
    #[serde(default)]
    pub undoes: Option<DecisionNo>,
}

/// What came of undoing a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// It is undone: the line as it was.
    Now(DecisionRecord),
    /// It had been undone before.
    Before,
    /// A later decision about the same person stands; that must be undone first.
    Superseded,
    /// There is no such line (any more).
    Unknown,
}

/// Reads contacts.
#[derive(Clone, Copy)]
pub struct Contacts<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Contacts<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Contacts<'a, 't> {
        Contacts { rows }
    }

    /// What is kept about somebody, if anything.
    pub fn get(&self, onion: &OnionAddress) -> Result<Option<ContactRecord>, StoreError> {
        self.rows.get_record(Table::Contacts, onion.public_key())
    }

    /// All contacts, in the order of their keys.
    pub fn list(&self) -> Result<Vec<(OnionAddress, ContactRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Contacts, b"", |key, value| {
            found.push((address(key)?, decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// A line of the log.
    pub fn decision(&self, no: DecisionNo) -> Result<Option<DecisionRecord>, StoreError> {
        self.rows.get_record(Table::Decisions, &no.0.to_be_bytes())
    }

    /// The log, the oldest first.
    pub fn decisions(&self) -> Result<Vec<(DecisionNo, DecisionRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Decisions, b"", |key, value| {
            found.push((DecisionNo(be_u64(key)?), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Grows with every change of a decision, a revocation or a statement.
    pub fn trust_version(&self) -> Result<u64, StoreError> {
        Ok(self.rows.number(TRUST_COUNTER)?.unwrap_or(0))
    }
}

/// Reads and changes contacts. What [`Contacts`] reads is here too.
pub struct ContactsMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Contacts<'a, 't>,
}

impl<'a, 't> std::ops::Deref for ContactsMut<'a, 't> {
    type Target = Contacts<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> ContactsMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> ContactsMut<'a, 't> {
        ContactsMut { rows, read: Contacts::new(rows) }
    }

    /// Changes what is kept about somebody (nothing, for a new contact). A decision is better changed by [`decide`],
    /// which logs it. `TooMany` if there is no room for a new contact.
    ///
    /// [`decide`]: ContactsMut::decide
    pub fn update<T>(
        &self,
        onion: &OnionAddress,
        change: impl FnOnce(&mut ContactRecord) -> T,
    ) -> Result<T, StoreError> {
        let known = self.get(onion)?;
        if known.is_none() && self.rows.len(Table::Contacts)? >= CONTACTS_MAX {
            return Err(StoreError::TooMany("contacts"));
        }
        let before = known.unwrap_or_default();
        let mut record = before.clone();
        let answer = change(&mut record);
        self.rows.put_record(Table::Contacts, onion.public_key(), &record)?;
        if (&before.decision, &before.revoked) != (&record.decision, &record.revoked) {
            self.rows.next_number(TRUST_COUNTER)?;
        }
        Ok(answer)
    }

    /// Decides about somebody, or takes a decision back, and logs it under the number answered. `why` says what
    /// happened. What was asked about them is answered by it.
    pub fn decide(
        &self,
        onion: &OnionAddress,
        after: Option<Decision>,
        at: UnixTime,
        why: &str,
    ) -> Result<DecisionNo, StoreError> {
        self.decide_and_log(onion, after, at, why.to_owned(), None)
    }

    fn decide_and_log(
        &self,
        onion: &OnionAddress,
        after: Option<Decision>,
        at: UnixTime,
        why: String,
        undoes: Option<DecisionNo>,
    ) -> Result<DecisionNo, StoreError> {
        let new = after.clone();
        let before = self.update(onion, |record| {
            record.question = None;
            std::mem::replace(&mut record.decision, new)
        })?;
        let no = self.rows.next_number(DECISION_COUNTER)?;
        let record = DecisionRecord { at, onion: *onion, before, after, why, undone: false, undoes };
        self.rows.put_record(Table::Decisions, &no.to_be_bytes(), &record)?;
        self.prune_log()?;
        Ok(DecisionNo(no))
    }

    /// Undoes a line of the log: what was decided before it is decided again. The undoing is a line of its own.
    pub fn undo(&self, no: DecisionNo, at: UnixTime) -> Result<Undone, StoreError> {
        let Some(mut record) = self.decision(no)? else { return Ok(Undone::Unknown) };
        if record.undone {
            return Ok(Undone::Before);
        }
        let stands = self.get(&record.onion)?.and_then(|contact| contact.decision);
        if stands != record.after {
            return Ok(Undone::Superseded);
        }
        record.undone = true;
        self.rows.put_record(Table::Decisions, &no.0.to_be_bytes(), &record)?;
        let why = format!("undid {}: {}", no.0, record.why);
        self.decide_and_log(&record.onion, record.before.clone(), at, why, Some(no))?;
        Ok(Undone::Now(record))
    }

    /// Forgets somebody; says whether they were a contact. The log stays.
    pub fn remove(&self, onion: &OnionAddress) -> Result<bool, StoreError> {
        self.rows.next_number(TRUST_COUNTER)?;
        self.rows.delete(Table::Contacts, onion.public_key())
    }

    fn prune_log(&self) -> Result<(), StoreError> {
        while self.rows.len(Table::Decisions)? > DECISIONS_MAX {
            let mut oldest = None;
            self.rows.scan_prefix(Table::Decisions, b"", |key, _| {
                oldest = Some(key.to_vec());
                Ok(ControlFlow::Break(()))
            })?;
            let Some(key) = oldest else { break };
            self.rows.delete(Table::Decisions, &key)?;
        }
        Ok(())
    }
}

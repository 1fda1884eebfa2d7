//! What follows from a revocation or a successor of somebody else, in the commit that takes it: letters that arrived
//! since the compromise go to Junk, and the person is told by a letter.

use crate::model::address::MailAddress;
use crate::model::statement::recovery::successors;
use crate::model::statement::{Revocation, Successor, Verified};
use crate::model::tidings::{self, Quarantined, Tidings};
use crate::model::time::UnixTime;
use crate::model::trace;
use crate::model::trust::Tier;
use crate::node::contacts::name_of;
use crate::node::desk::Folders;
use crate::store::contacts::{CONTACTS_MAX, ContactRecord, RevokedRecord, SuccessorRecord};
use crate::store::messages::NewMessage;
use crate::store::{Body, Flags, MailboxNo, StoreError, Tx, Uid};
use onion::OnionAddress;

/// Most letters of a folder that are looked at, the newest: a commit must end.
pub const LOOKED_AT_MAX: usize = 20_000;
/// Above this many contacts, only those about whom something was decided are noted as revoked or moved: keys and Cards
/// cost nothing, and must not use up the room.
const OPEN_MAX: usize = CONTACTS_MAX as usize / 2;

/// What it takes to tell the person something in a commit.
#[derive(Clone)]
pub struct Telling {
    pub(super) own: MailAddress,
    pub(super) folders: Folders,
    pub(super) now: UnixTime,
    /// [`tidings::END`]
    pub(super) end: Body,
}

/// What became of a statement of somebody's recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is new, or says more than what was known.
    Now(Quarantined),
    /// It was known, or an earlier compromise was.
    Before,
}

/// Takes a verified revocation of somebody else.
pub(super) fn revoke(
    tx: &Tx<'_>,
    telling: &Telling,
    revocation: &Verified<Revocation>,
) -> Result<Taken, StoreError> {
    let who = revocation.author();
    let Some(known) = room_for(tx, &who)? else { return Ok(Taken::Before) };
    // The earliest compromise that was ever stated counts.
    if known.revoked.as_ref().is_some_and(|before| before.since <= revocation.since) {
        return Ok(Taken::Before);
    }
    let revoked =
        RevokedRecord { bytes: revocation.bytes().to_vec(), since: revocation.since, at: telling.now };
    tx.contacts().update(&who, |contact| contact.revoked = Some(revoked))?;
    let quarantined = quarantine(tx, &telling.folders, &who, revocation.since)?;
    // Of strangers nobody need hear: keys are free, and so would be letters in INBOX.
    if known.decision.is_some() || quarantined.inbox > 0 {
        telling.tell(tx, &known, &who, revocation.digest(), |told| {
            tidings::revoked(told, revocation, &quarantined)
        })?;
    }
    Ok(Taken::Now(quarantined))
}

/// Takes a verified successor of somebody else. Nothing moves: the person is told.
pub(super) fn succeed(
    tx: &Tx<'_>,
    telling: &Telling,
    successor: &Verified<Successor>,
) -> Result<Taken, StoreError> {
    let who = successor.author();
    let Some(known) = room_for(tx, &who)? else { return Ok(Taken::Before) };
    if known.successor.is_some() || leads_nowhere(tx, &who, successor.new)? {
        return Ok(Taken::Before);
    }
    let record = SuccessorRecord {
        bytes: successor.bytes().to_vec(),
        new: successor.new,
        at: telling.now,
        followed: false,
    };
    tx.contacts().update(&who, |contact| contact.successor = Some(record))?;
    if known.decision.as_ref().is_some_and(|decision| decision.tier >= Tier::Known) {
        telling.tell(tx, &known, &who, successor.digest(), |told| tidings::moved(told, successor))?;
    }
    Ok(Taken::Now(Quarantined::default()))
}

/// What is known of somebody, unless there is no room to note something about them.
fn room_for(tx: &Tx<'_>, who: &OnionAddress) -> Result<Option<ContactRecord>, StoreError> {
    let known = tx.contacts().get(who)?;
    let has_room = known.is_some() || tx.contacts().list()?.len() < OPEN_MAX;
    Ok(has_room.then(|| known.unwrap_or_default()))
}

/// Whether the chain of successors would run in circles, or be too long.
fn leads_nowhere(tx: &Tx<'_>, old: &OnionAddress, new: OnionAddress) -> Result<bool, StoreError> {
    let failed = std::cell::Cell::new(None);
    let next = |who: &OnionAddress| {
        if who == old {
            return Some(new);
        }
        let found = tx.contacts().get(who).map_err(|error| failed.set(Some(error))).ok()??;
        found.successor.map(|successor| successor.new)
    };
    let found = successors(*old, next);
    match failed.take() {
        Some(error) => Err(error),
        None => Ok(found.is_err()),
    }
}

/// Moves the letters of a proved author that arrived at or after `since` from INBOX and Requests to Junk.
fn quarantine(
    tx: &Tx<'_>,
    folders: &Folders,
    author: &OnionAddress,
    since: UnixTime,
) -> Result<Quarantined, StoreError> {
    let (inbox, more_inbox) = move_from(tx, folders.inbox, folders.junk, author, since)?;
    let (requests, more_requests) = move_from(tx, folders.requests, folders.junk, author, since)?;
    Ok(Quarantined { inbox, requests, more: more_inbox || more_requests })
}

fn move_from(
    tx: &Tx<'_>,
    from: MailboxNo,
    junk: MailboxNo,
    author: &OnionAddress,
    since: UnixTime,
) -> Result<(usize, bool), StoreError> {
    let mut late = tx.messages().list(from, ..)?;
    late.retain(|(_, message)| message.internal_date >= since);
    let more = late.len() > LOOKED_AT_MAX;
    let mut theirs: Vec<Uid> = Vec::new();
    for (uid, message) in late.iter().rev().take(LOOKED_AT_MAX) {
        if trace::proved_author(&tx.letters().prefix(message.letter)?).as_ref() == Some(author) {
            theirs.push(*uid);
        }
    }
    theirs.reverse();
    if !theirs.is_empty() {
        tx.messages().move_to(from, &theirs, junk)?;
    }
    Ok((theirs.len(), more))
}

impl Telling {
    fn tell(
        &self,
        tx: &Tx<'_>,
        known: &ContactRecord,
        who: &OnionAddress,
        digest: [u8; 32],
        write: impl FnOnce(&Tidings<'_>) -> Vec<u8>,
    ) -> Result<(), StoreError> {
        let name = name_of(known.petname.as_deref(), who);
        let id = *digest.first_chunk().expect("a digest has 32 bytes");
        let start = write(&Tidings { own: &self.own, who, name: &name, now: self.now, id });
        let letter = tx.letters().add(&self.end, &start)?;
        let flags = Flags::default();
        let filed = NewMessage { letter, flags, internal_date: self.now, sent_id: None };
        tx.messages().append(self.folders.inbox, &filed).map(drop)
    }
}

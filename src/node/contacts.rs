//! Contacts: what the person decides about others, and who everybody is to us by that and by what others signed.
//!
//! Every decision is logged in its own commit and can be undone. Moving a letter is a decision too: only about its
//! proved author, only in the commit that moves it, and never down for somebody the person decided about.

use crate::model::time::UnixTime;
use crate::model::trace;
use crate::model::trust::{Answer, Decided, Edge, EdgeKind, Tier, View, tier_of};
use crate::node::desk::{Desk, Folders};
use crate::store::contacts::{ContactRecord, Contacts, Decision, DecisionNo, DecisionRecord, Undone};
use crate::store::statements::{StatementKind, Statements};
use crate::store::{MailboxNo, StoreError, Tx, Uid};
use onion::OnionAddress;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Why somebody is blocked whose letter was moved to Junk; moving it back to INBOX undoes that.
const MOVED_TO_JUNK: &str = "you moved a letter of theirs to Junk";
const MOVED_TO_INBOX: &str = "you moved a letter of theirs from Requests to INBOX";

/// What was indexed last.
#[derive(Default)]
pub struct Web(Mutex<Option<Indexed>>);

/// Decisions and statements, indexed, as of a trust version of the store.
#[derive(Clone)]
pub struct Indexed {
    pub(super) version: u64,
    pub(super) view: Arc<View>,
}

/// All decisions and statements, indexed. Reads the whole tables: better by [`Desk::web`], which keeps it.
pub(super) fn view_of(
    own: OnionAddress,
    contacts: &Contacts<'_, '_>,
    statements: &Statements<'_, '_>,
) -> Result<View, StoreError> {
    let (mut decisions, mut revoked) = (BTreeMap::new(), BTreeMap::new());
    for (who, contact) in contacts.list()? {
        if let Some(Decision { tier, at, why }) = contact.decision {
            decisions.insert(who, Decided { tier, at, why });
        }
        if let Some(learnt) = contact.revoked {
            revoked.insert(who, learnt.at);
        }
    }
    let mut edges = Vec::new();
    statements.each(|key, worth| {
        let kind = match key.kind {
            StatementKind::Introduction => EdgeKind::Introduction,
            StatementKind::Vouch => EdgeKind::Vouch,
            StatementKind::Delegation | StatementKind::Unknown => return,
        };
        if let Some(method) = worth.method {
            let (received, made, until) = (worth.received, worth.made, worth.until);
            edges.push(Edge {
                received,
                made,
                issuer: key.issuer,
                subject: key.subject,
                kind,
                method,
                until,
            });
        }
    })?;
    Ok(View::new(own, decisions, revoked, edges))
}

/// What the person calls somebody: the petname, or the ends of the address.
pub fn name_of(petname: Option<&str>, onion: &OnionAddress) -> String {
    let host = onion.host();
    match petname {
        Some(petname) => petname.to_owned(),
        // The last character before the suffix is the same in all addresses.
        None => format!("{}…{}", &host[..6], &host[host.len() - 12..]),
    }
}

impl Desk {
    /// All decisions and statements, indexed: what was indexed before, unless something has changed.
    pub async fn web(&self) -> Result<Arc<View>, StoreError> {
        Ok(self.indexed().await?.view)
    }

    /// The same, with what it is as of.
    pub(super) async fn indexed(&self) -> Result<Indexed, StoreError> {
        let own = self.identity.onion();
        let before = self.web.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = self
            .store
            .read(move |rx| {
                let version = rx.contacts().trust_version()?;
                if let Some(indexed) = before.filter(|indexed| indexed.version == version) {
                    return Ok(indexed);
                }
                let view = view_of(own, &rx.contacts(), &rx.statements())?;
                Ok(Indexed { version, view: Arc::new(view) })
            })
            .await?;
        let mut kept = self.web.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|indexed| indexed.version < found.version) {
            *kept = Some(found.clone());
        }
        Ok(found)
    }

    /// Who somebody is to us, and why.
    pub async fn standing(&self, who: &OnionAddress, agreed: Option<UnixTime>) -> Result<Answer, StoreError> {
        Ok(tier_of(&*self.web().await?, who, agreed))
    }

    /// All contacts.
    pub async fn contacts(&self) -> Result<BTreeMap<OnionAddress, ContactRecord>, StoreError> {
        self.store.read(|rx| Ok(rx.contacts().list()?.into_iter().collect())).await
    }

    /// Decides about somebody.
    pub async fn decide(
        &self,
        who: OnionAddress,
        tier: Tier,
        why: &'static str,
    ) -> Result<DecisionNo, StoreError> {
        let now = self.now();
        self.store.write(move |tx| decide(tx, &who, tier, now, why)).await
    }

    /// Undoes a decision: that of this number, or the last one that was neither undone nor an undoing itself.
    pub async fn undo(&self, no: Option<DecisionNo>) -> Result<Undone, StoreError> {
        let now = self.now();
        self.store
            .write(move |tx| {
                let last = || -> Result<Option<DecisionNo>, StoreError> {
                    let log = tx.contacts().decisions()?;
                    let open = |line: &DecisionRecord| !line.undone && line.undoes.is_none();
                    Ok(log.into_iter().rev().find(|(_, line)| open(line)).map(|(no, _)| no))
                };
                match no.map_or_else(last, |no| Ok(Some(no)))? {
                    Some(no) => tx.contacts().undo(no, now),
                    None => Ok(Undone::Unknown),
                }
            })
            .await
    }

    /// The log of decisions, the oldest first.
    pub async fn decisions(&self) -> Result<Vec<(DecisionNo, DecisionRecord)>, StoreError> {
        self.store.read(|rx| rx.contacts().decisions()).await
    }

    /// Gives somebody a petname, or takes it away. `false`: somebody else has it.
    pub async fn rename(&self, who: OnionAddress, petname: Option<String>) -> Result<bool, StoreError> {
        self.store
            .write(move |tx| {
                if let Some(petname) = &petname {
                    let taken = |(other, contact): &(OnionAddress, ContactRecord)| {
                        *other != who && contact.petname.as_ref().is_some_and(|name| same_name(name, petname))
                    };
                    if tx.contacts().list()?.iter().any(taken) {
                        return Ok(false);
                    }
                }
                let petname = petname.clone();
                tx.contacts().update(&who, |contact| contact.petname = petname)?;
                Ok(true)
            })
            .await
    }
}

/// Whether two petnames are one to people.
pub fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn decide(
    tx: &Tx<'_>,
    who: &OnionAddress,
    tier: Tier,
    now: UnixTime,
    why: &str,
) -> Result<DecisionNo, StoreError> {
    tx.contacts().decide(who, Some(Decision { tier, at: now, why: why.to_owned() }), now, why)
}

/// Where letters were moved, and when.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// From which folder.
    pub from: MailboxNo,
    /// To which.
    pub to: MailboxNo,
    /// The wall clock.
    pub at: UnixTime,
    /// Our own address, about which nothing is decided.
    pub own: OnionAddress,
}

/// Letters have been moved, and are now these in the folder `moved.to`: what follows for their proved authors. To be
/// called in the same commit.
pub fn letters_moved(tx: &Tx<'_>, folders: &Folders, moved: &Moved, uids: &[Uid]) -> Result<(), StoreError> {
    let change: fn(&Tx<'_>, &OnionAddress, UnixTime) -> Result<(), StoreError> = match (moved.from, moved.to)
    {
        (from, to) if from == folders.requests && to == folders.inbox => welcomed,
        (from, to) if from == folders.junk && to == folders.inbox => pardoned,
        (from, to) if from != to && to == folders.junk => rejected,
        _ => return Ok(()),
    };
    let mut authors = BTreeSet::new();
    for uid in uids {
        let Some(message) = tx.messages().get(moved.to, *uid)? else { continue };
        authors.extend(trace::proved_author(&tx.letters().prefix(message.letter)?));
    }
    authors.iter().filter(|author| **author != moved.own).try_for_each(|author| change(tx, author, moved.at))
}

/// From Requests to INBOX: a stranger becomes Known.
fn welcomed(tx: &Tx<'_>, author: &OnionAddress, now: UnixTime) -> Result<(), StoreError> {
    match tx.contacts().get(author)?.and_then(|contact| contact.decision) {
        Some(decision) if decision.tier >= Tier::Known => Ok(()),
        Some(decision) if decision.tier == Tier::Blocked && decision.why != MOVED_TO_JUNK => {
            ask(tx, author, now, "you moved a letter of theirs to INBOX, but blocked them before")
        }
        _ => decide(tx, author, Tier::Known, now, MOVED_TO_INBOX).map(drop),
    }
}

/// To Junk: a stranger, or somebody only introduced, is blocked. Of others it is asked.
fn rejected(tx: &Tx<'_>, author: &OnionAddress, now: UnixTime) -> Result<(), StoreError> {
    match tx.contacts().get(author)?.and_then(|contact| contact.decision) {
        Some(decision) if decision.tier >= Tier::Known => ask(
            tx,
            author,
            now,
            "you moved a letter of theirs to Junk; they stay what they are unless you say so",
        ),
        Some(decision) if decision.tier == Tier::Blocked => Ok(()),
        _ => decide(tx, author, Tier::Blocked, now, MOVED_TO_JUNK).map(drop),
    }
}

/// From Junk to INBOX: a block that came of moving a letter to Junk is undone; a question is dropped.
fn pardoned(tx: &Tx<'_>, author: &OnionAddress, now: UnixTime) -> Result<(), StoreError> {
    let Some(contact) = tx.contacts().get(author)? else { return Ok(()) };
    let blocked_by_move = contact.decision.as_ref().is_some_and(|decision| decision.why == MOVED_TO_JUNK);
    if !blocked_by_move {
        if contact.question.is_some() {
            tx.contacts().update(author, |contact| contact.question = None)?;
        }
        return Ok(());
    }
    let log = tx.contacts().decisions()?;
    let cause = log
        .into_iter()
        .rev()
        .find(|(_, line)| line.onion == *author && !line.undone && line.after == contact.decision);
    match cause {
        Some((no, _)) => tx.contacts().undo(no, now).map(drop),
        // The log did not reach back that far.
        None => {
            tx.contacts().decide(author, None, now, "you moved a letter of theirs back to INBOX").map(drop)
        }
    }
}

fn ask(tx: &Tx<'_>, who: &OnionAddress, now: UnixTime, question: &str) -> Result<(), StoreError> {
    tx.contacts().update(who, |contact| contact.question = Some((now, question.to_owned())))
}

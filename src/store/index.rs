//! `Index`: which messages a mailbox has, and with which flags, in memory. SELECT and every change ask for it.
//!
//! A listing is read from the database when it is first asked for, and then follows the commits. Promises that what
//! it gives for a mailbox's record is the listing of that record's modseq: a commit that it cannot follow makes it
//! forget. It is a copy: nothing depends on its being there. Bounded: the listings not used for longest go.

use super::error::StoreError;
use super::mailboxes::{MailboxNo, MailboxRecord};
use super::messages::{Flags, Uid};
use super::tx::Rx;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Messages in all listings that are kept, each 16 bytes: well within the goal for an idle node.
const KEPT_MESSAGES_MAX: usize = 400_000;

/// What a listing says of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Its uid.
    pub uid: Uid,
    /// Its flags; equal ones mostly share memory.
    pub flags: Arc<Flags>,
}

/// A mailbox and what is in it, at one moment.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Its record.
    pub mailbox: MailboxRecord,
    /// All messages, in the order of their uids.
    pub messages: Arc<Vec<Brief>>,
    /// The modseq since which messages were only added at the end.
    pub settled: u64,
}

/// What a transaction did to one mailbox.
#[derive(Debug)]
pub(super) struct Changed {
    /// The mailbox's modseq before and after.
    before: u64,
    after: u64,
    /// In order: the flags that a message has now, or `None` if it is gone.
    messages: Vec<(Uid, Option<Flags>)>,
}

/// What a transaction did to the mailboxes.
pub(super) type Changes = BTreeMap<MailboxNo, Changed>;

/// Adds to `changes` what was done to a mailbox in one step.
pub(super) fn note(
    changes: &mut Changes,
    no: MailboxNo,
    (before, after): (u64, u64),
    messages: impl IntoIterator<Item = (Uid, Option<Flags>)>,
) {
    let changed = changes.entry(no).or_insert(Changed { before, after, messages: Vec::new() });
    changed.after = after;
    changed.messages.extend(messages);
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Index(Mutex<State>);

#[derive(Default)]
struct State {
    kept: BTreeMap<MailboxNo, Kept>,
    /// Counts the uses.
    uses: u64,
}

struct Kept {
    modseq: u64,
    settled: u64,
    messages: Arc<Vec<Brief>>,
    used: u64,
}

impl Index {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// The listing that goes with this record, if it is kept.
    fn find(&self, no: MailboxNo, mailbox: &MailboxRecord) -> Option<Listing> {
        let mut state = self.state();
        state.uses += 1;
        let used = state.uses;
        let kept = state.kept.get_mut(&no).filter(|kept| kept.modseq == mailbox.modseq)?;
        kept.used = used;
        Some(Listing { mailbox: mailbox.clone(), messages: kept.messages.clone(), settled: kept.settled })
    }

    /// Keeps a listing, unless a later one is there.
    fn keep(&self, no: MailboxNo, listing: &Listing) {
        let modseq = listing.mailbox.modseq;
        let mut state = self.state();
        if state.kept.get(&no).is_some_and(|kept| kept.modseq >= modseq) {
            return;
        }
        let (messages, used) = (listing.messages.clone(), state.uses);
        state.kept.insert(no, Kept { modseq, settled: listing.settled, messages, used });
        state.fit();
    }

    /// Follows a commit that is durable. To be called by the one who commits, in the order of the commits.
    pub(super) fn follow(&self, changes: Changes) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.state();
        for (no, changed) in changes {
            let Some(kept) = state.kept.get_mut(&no) else { continue };
            if kept.modseq >= changed.after {
                continue;
            }
            if kept.modseq == changed.before {
                kept.follow(changed);
            } else {
                // It was read before a commit that came in between.
                state.kept.remove(&no);
            }
        }
        // An empty listing is read as fast, and may be that of a mailbox that is no more.
        state.kept.retain(|_, kept| !kept.messages.is_empty());
        state.fit();
    }
}

impl State {
    /// Keeps the limit.
    fn fit(&mut self) {
        while self.kept.values().map(|kept| kept.messages.len()).sum::<usize>() > KEPT_MESSAGES_MAX {
            let Some((&oldest, _)) = self.kept.iter().min_by_key(|(_, kept)| kept.used) else { return };
            self.kept.remove(&oldest);
        }
    }
}

impl Kept {
    fn follow(&mut self, changed: Changed) {
        let messages = Arc::make_mut(&mut self.messages);
        let (mut gone, mut only_added) = (Vec::new(), true);
        for (uid, flags) in changed.messages {
            match (flags, messages.last()) {
                (None, _) => gone.push(uid),
                (Some(flags), Some(last)) if uid > last.uid => {
                    let flags = if *last.flags == flags { last.flags.clone() } else { Arc::new(flags) };
                    messages.push(Brief { uid, flags });
                }
                (Some(flags), None) => messages.push(Brief { uid, flags: Arc::new(flags) }),
                (Some(flags), Some(_)) => {
                    only_added = false;
                    if let Ok(at) = messages.binary_search_by_key(&uid, |message| message.uid) {
                        messages[at].flags = Arc::new(flags);
                    }
                }
            }
        }
        if !gone.is_empty() {
            only_added = false;
            gone.sort();
            messages.retain(|message| gone.binary_search(&message.uid).is_err());
        }
        self.modseq = changed.after;
        if !only_added {
            self.settled = changed.after;
        }
    }
}

/// A mailbox and what is in it: from memory, or else from the database.
pub(super) fn listing(rx: &Rx<'_>, no: MailboxNo) -> Result<Listing, StoreError> {
    let mailbox = rx.mailboxes().get(no)?;
    if let Some(listing) = rx.core.index.find(no, &mailbox) {
        return Ok(listing);
    }
    let settled = mailbox.modseq;
    let listing = Listing { messages: Arc::new(rx.messages().briefs(no)?), mailbox, settled };
    rx.core.index.keep(no, &listing);
    Ok(listing)
}

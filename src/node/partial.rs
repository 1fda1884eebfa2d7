//! `Partials`: what came of large letters whose connection broke, kept for the author's next try (RFC 1845).
//!
//! Promises that a partial is offered only to the proved onion that brought it, under the same letter id, and that one
//! letter comes over one connection at a time: a second one ends the first, which may not know yet that it is dead.
//! Only memory knows them and no acknowledgement depends on them: a crash, the limits below or a full disk cost
//! another upload and nothing else. What is accepted is never touched here.

use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::node::parcel::Unfinished;
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Most partials at once. Each holds one chunk of memory (64 KiB); beyond it the one untouched for longest goes.
pub const PARTIALS_MAX: usize = 32;
/// Most of one onion: a node sends one letter at a time, and a new one while the old one waits.
pub const PARTIALS_PER_ONION_MAX: usize = 2;
/// Most bytes of all of them on the disk: four of the largest letters.
pub const PARTIAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long one is kept: six times the longest pause between two tries.
pub const PARTIAL_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// What is shorter is sooner sent again than kept, in bytes.
pub const PARTIAL_LEN_MIN: u64 = 64 * 1024;
/// How long a new connection waits for an older one with the same letter to let go of it.
const LET_GO_WAIT: Duration = Duration::from_secs(5);

/// Whose letter, and the key that it is sealed with, if it is: what came sealed is no beginning of one that does not.
type Name = (OnionAddress, LetterId, Option<PrekeyId>);

/// The shelf of unfinished letters of one identity.
#[derive(Default)]
pub struct Partials {
    state: Mutex<State>,
    /// Rung whenever a connection has let go of a letter.
    let_go: Notify,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<Name, Kept>,
    /// Letters that are coming in now, each with the bell that asks its connection to end.
    coming: BTreeMap<Name, Arc<Notify>>,
}

struct Kept {
    letter: Unfinished,
    since: Instant,
}

/// A letter that is coming in over this connection and no other. Dropped, it is let go.
pub struct Claim {
    partials: Arc<Partials>,
    name: Name,
    /// Rung when the same letter comes in over another connection: this one is dead then, or given up.
    pub(crate) unwanted: Arc<Notify>,
}

impl Partials {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this connection the one over which a letter comes, and gives what is here of it.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        from: OnionAddress,
        id: LetterId,
        sealed: Option<PrekeyId>,
    ) -> (Claim, Option<Unfinished>) {
        let name = (from, id, sealed);
        let until = Instant::now() + LET_GO_WAIT;
        loop {
            let let_go = self.let_go.notified();
            tokio::pin!(let_go);
            let_go.as_mut().enable();
            // It may be busy with its last step, and not let go in time; whatever comes of it, the letter is kept once.
            match self.take(name, Instant::now() >= until) {
                Ok(taken) => return taken,
                Err(older) => older.notify_one(),
            }
            let _late = timeout_at(until, let_go).await;
        }
    }

    /// Takes the letter, if nobody has it or `anyhow`; else gives the bell of who has it.
    fn take(self: &Arc<Self>, name: Name, anyhow: bool) -> Result<(Claim, Option<Unfinished>), Arc<Notify>> {
        let mut state = self.state();
        if let Some(older) = state.coming.get(&name)
            && !anyhow
        {
            return Err(older.clone());
        }
        state.forget_old();
        let unwanted = Arc::new(Notify::new());
        state.coming.insert(name, unwanted.clone());
        let letter = state.kept.remove(&name).map(|kept| kept.letter);
        Ok((Claim { partials: self.clone(), name, unwanted }, letter))
    }

    /// Forgets what is too old. To be called now and then.
    pub(crate) fn forget_old(&self) {
        self.state().forget_old();
    }

    /// Forgets everything: the disk is full, and what is accepted goes before what may be sent again.
    pub(crate) fn clear(&self) {
        self.state().kept.clear();
    }

    /// How many are kept, and their bytes.
    pub fn count(&self) -> (usize, u64) {
        let state = self.state();
        (state.kept.len(), state.bytes())
    }
}

impl Claim {
    /// Keeps what has come, within the limits, and lets the letter go.
    pub(crate) fn keep(self, letter: Unfinished) {
        let mut state = self.partials.state();
        // Somebody else took it over: what came here is the shorter part, or too late.
        if letter.len() >= PARTIAL_LEN_MIN && state.is_of(&self) {
            state.kept.insert(self.name, Kept { letter, since: Instant::now() });
            state.fit(self.name.0);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.partials.state();
        if state.is_of(self) {
            state.coming.remove(&self.name);
        }
        drop(state);
        self.partials.let_go.notify_waiters();
    }
}

impl State {
    /// Whether the letter of this claim has not been taken over.
    fn is_of(&self, claim: &Claim) -> bool {
        self.coming.get(&claim.name).is_some_and(|bell| Arc::ptr_eq(bell, &claim.unwanted))
    }

    fn bytes(&self) -> u64 {
        self.kept.values().map(|kept| kept.letter.len()).sum()
    }

    fn forget_old(&mut self) {
        let now = Instant::now();
        self.kept.retain(|_, kept| now.saturating_duration_since(kept.since) < PARTIAL_AGE_MAX);
    }

    /// Keeps the limits after one of `onion` was added; those untouched for longest go, its own first.
    fn fit(&mut self, onion: OnionAddress) {
        self.forget_old();
        while self.kept.keys().filter(|name| name.0 == onion).count() > PARTIALS_PER_ONION_MAX {
            self.drop_oldest(|name| name.0 == onion);
        }
        while self.kept.len() > PARTIALS_MAX || self.bytes() > PARTIAL_BYTES_MAX {
            self.drop_oldest(|_| true);
        }
    }

    fn drop_oldest(&mut self, of: impl Fn(&Name) -> bool) {
        let these = self.kept.iter().filter(|(name, _)| of(name));
        if let Some(name) = these.min_by_key(|(_, kept)| kept.since).map(|(name, _)| *name) {
            self.kept.remove(&name);
        }
    }
}

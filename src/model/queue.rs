//! What becomes of a letter that waits for one recipient: when it is tried, and what follows from a try.
//!
//! | state | left by |
//! |---|---|
//! | `Waiting { next, tries, last }` | `Done` (taken), `Return` (refused for good, or the last try failed), or `Keep` |
//!
//! "In flight" is no state: a crash during a try leaves `Waiting`, and the same `LetterId` makes the next try harmless.
//! Promises that nothing irreversible follows from a clock that the network does not confirm (docs/queue.md, agreed
//! time): deadlines count from the first *agreed* time after acceptance, in agreed time. Keeping entries is left to the
//! store.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::hold::{MailboxId, TOKEN_LEN, Token};
use crate::model::letter::{LetterId, LetterNo};
use crate::model::outcome::{Outcome, Reply};
use crate::model::policy::ECHO;
use crate::model::time::UnixTime;
use onion::OnionAddress;
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Pause after the first failed try; each further one doubles it.
pub const BACKOFF_MIN: Duration = Duration::from_secs(60);
/// Longest pause between tries: a peer that cannot announce itself (a stock MTA) waits at most this long.
pub const BACKOFF_MAX: Duration = Duration::from_secs(4 * 3600);
/// Every pause is drawn from ± this many percent around its length, so that peers cannot tell one author's letters by
/// their rhythm and a network that comes back is not hit all at once.
pub const JITTER_PERCENT: u64 = 25;
/// Pause when our own way into the network is down: its return wakes the queue anyway.
pub const NETWORK_RETRY: Duration = Duration::from_secs(30);
/// How long a letter is tried before it is returned.
pub const DEADLINE: Duration = Duration::from_secs(30 * 86_400);
/// How long a letter waits before its author is told that it does.
pub const NOTICE_AFTER: Duration = Duration::from_secs(4 * 3600);
/// How long an answer of the node's own (`echo@`) is tried; then it is dropped, since nobody here waits for it.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(86_400);
/// How much longer than [`DEADLINE`] a letter is tried whose last try broke off after the letter was out: the peer is
/// there and may have it, so the next try most likely tells.
pub const CONFIRM_GRACE: Duration = Duration::from_secs(86_400);

/// How long after the last holder's time is over a receipt may still come: then delivery is not confirmed.
pub const CONFIRM_WAIT: Duration = Duration::from_secs(14 * 86_400);
/// How long the receipt of a letter that its reader fetched may take; then the letter is offered again, and known.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(600);

/// One letter waiting for one recipient.
///
/// Fields that a later version adds are ignored by this one; what this one adds has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The letter in the store.
    pub letter: LetterNo,
    /// The name of this sending, the same on every try.
    pub id: LetterId,
    /// Which of the identity's names it is from.
    pub from: LocalPart,
    /// For whom.
    pub to: MailAddress,
    /// Size of the letter, in bytes.
    pub size: u64,
    /// When it was accepted, by a clock that may have been wrong: for people only.
    pub accepted: UnixTime,
    /// The first agreed time at or after acceptance: from here the deadline counts.
    #[serde(default)]
    pub started: Option<UnixTime>,
    /// Whether the author was told that it waits.
    #[serde(default)]
    pub delay_noticed: bool,
    /// The UID of its copy in Outbox.
    #[serde(default)]
    pub outbox: u32,
    /// An answer that the node wrote by itself: it leaves with the reverse path `<>`, is tried for
    /// [`ANSWER_DEADLINE`] only, and no report is written about it.
    #[serde(default)]
    pub answer: bool,
    /// A letter from this node to the reader's, with nothing in it for a person: it is in no folder, no report is
    /// written about it, and no receipt is wished.
    #[serde(default)]
    pub errand: bool,
    /// Drops that have it in their keeping, or to which it is on its way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custody: Vec<InCustody>,
    /// When its reader was last told, by holders, that it waits here: it is too large for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<UnixTime>,
    /// When its reader fetched it from here: it has it, and the receipt is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<UnixTime>,
    /// What the reader's node said after the letter had come to it by a holder: it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reply>,
    /// The whole delegation under which it is written in somebody else's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behalf: Option<serde_bytes::ByteBuf>,
    /// Where it stands.
    pub state: State,
}

/// A letter at a drop, or on its way there: which token pays for it, so that no other letter is ever paid with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InCustody {
    /// The key of the drop's onion.
    #[serde(with = "serde_bytes")]
    pub drop: [u8; 32],
    /// The reader's mailbox there.
    pub mailbox: MailboxId,
    /// The token.
    #[serde(with = "serde_bytes")]
    pub token: [u8; TOKEN_LEN],
    /// The name of the letter as it was sealed for this.
    pub letter: LetterId,
    /// The generation of the reader's Card that it was sealed for.
    pub generation: u64,
    /// When it was taken there; none while that is not known.
    pub taken: Option<UnixTime>,
    /// Until when it is kept there, unless it is collected before; none while it is not known to be there.
    pub kept_until: Option<UnixTime>,
}

impl InCustody {
    /// The token.
    pub fn token(&self) -> Option<Token> {
        Token::from_bytes(&self.token)
    }

    /// The drop.
    pub fn drop_onion(&self) -> Option<OnionAddress> {
        OnionAddress::from_public_key(self.drop).ok()
    }
}

impl std::fmt::Debug for InCustody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InCustody(until {:?})", self.kept_until)
    }
}

/// Where a letter stands. A variant that this version does not know makes the entry unreadable, not lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum State {
    /// To be tried.
    Waiting {
        /// Not before this, by the wall clock.
        next: UnixTime,
        /// Failed tries so far; a network that was down on our side does not count.
        tries: u32,
        /// How the last try ended.
        #[serde(default)]
        last: Option<LastTry>,
    },
}

/// How a try ended, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTry {
    /// When, by the wall clock.
    pub at: UnixTime,
    /// One line of plain text.
    pub text: String,
}

/// The wall clock, and whether the network agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock; may be wrong and may jump.
    pub now: UnixTime,
    /// The same, if it lies inside the live consensus; else none, and nothing expires.
    pub agreed: Option<UnixTime>,
}

/// What becomes of an entry after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It waits on. If `notice` is set, `entry` already says that the author was told: store both in one commit.
    Keep {
        /// The entry to store.
        entry: Box<Entry>,
        /// Whether the author is to be told now.
        notice: bool,
    },
    /// It is delivered; remove the entry.
    Done,
    /// It goes back to its author; write the notice and remove the entry in one commit.
    Return(Reason),
}

/// Why a letter goes back to its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The peer refused it for good.
    Refused(Reply),
    /// The deadline passed, and one more try after it failed too.
    Expired {
        /// How that try ended, for people.
        last: String,
    },
    /// Holders had it, their time is over, and no receipt came: it may have been delivered or not.
    Unconfirmed {
        /// Until when the last of them kept it.
        held_until: UnixTime,
    },
}

impl Entry {
    /// A letter that has just been accepted: due at once.
    pub fn new(
        letter: LetterNo,
        id: LetterId,
        from: LocalPart,
        to: MailAddress,
        size: u64,
        accepted: UnixTime,
        outbox: u32,
    ) -> Self {
        let state = State::Waiting { next: accepted, tries: 0, last: None };
        Self {
            letter,
            id,
            from,
            to,
            size,
            accepted,
            started: None,
            delay_noticed: false,
            outbox,
            answer: false,
            errand: false,
            custody: Vec::new(),
            announced: None,
            fetched: None,
            refused: None,
            behalf: None,
            state,
        }
    }

    /// An errand of the node's own, in no folder: due at `next`.
    pub fn errand(
        letter: LetterNo,
        id: LetterId,
        from: LocalPart,
        to: MailAddress,
        size: u64,
        next: UnixTime,
    ) -> Self {
        Self { errand: true, ..Self::new(letter, id, from, to, size, next, 0) }
    }

    /// An answer that the node wrote by itself, in no folder: due at once.
    pub fn answer(
        letter: LetterNo,
        id: LetterId,
        from: LocalPart,
        to: MailAddress,
        size: u64,
        now: UnixTime,
    ) -> Self {
        Self { answer: true, ..Self::new(letter, id, from, to, size, now, 0) }
    }

    /// Whether a try is due.
    ///
    /// A `next` farther ahead than any pause is the mark of a clock that jumped back, and is due.
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.wake(now) <= now
    }

    /// When the next try is due; `now` if it already is.
    fn wake(&self, now: UnixTime) -> UnixTime {
        let State::Waiting { next, .. } = &self.state;
        if *next > now.plus(longest_pause()) { now } else { (*next).max(now) }
    }

    /// Makes the next try due now, and the pauses after it short again: the peer has shown itself, or a person asked.
    pub fn hasten(&mut self, now: UnixTime) {
        let State::Waiting { next, tries, .. } = &mut self.state;
        (*next, *tries) = (now, 0);
    }

    /// Its reader has fetched it: it is not sent again before its receipt had time to come.
    pub fn fetch(&mut self, now: UnixTime) {
        let State::Waiting { next, last, .. } = &mut self.state;
        *next = now.plus(RECEIPT_WAIT);
        *last = Some(LastTry { at: now, text: "fetched; its receipt is on the way".to_owned() });
        self.fetched = Some(now);
    }

    /// Whether it is to be sent once its reader is reached: at once, but for what the reader has fetched a moment ago.
    pub fn is_wanted(&self, now: UnixTime) -> bool {
        self.fetched.is_none() || self.is_due(now)
    }

    /// Whether only a session with its reader can bring it: `echo@` answers at once, and of a letter with one id for
    /// several readers at an onion (`shared`, see [`shared_ids`]) no receipt that comes later tells for whom it is.
    pub fn needs_session(&self, shared: &BTreeSet<LetterId>) -> bool {
        self.answer || self.to.local.base() == ECHO || shared.contains(&self.id)
    }

    /// When the letter goes back if it is not delivered; none as long as the time was never agreed. Whoever has it in
    /// their keeping has it until the end, and then its receipt needs time to come back.
    pub fn deadline(&self) -> Option<UnixTime> {
        let length = if self.answer { ANSWER_DEADLINE } else { DEADLINE };
        let confirmed = self.held_until().map(|until| until.plus(CONFIRM_WAIT));
        self.started.map(|started| confirmed.unwrap_or(UnixTime(0)).max(started.plus(length)))
    }

    /// Until when somebody keeps it for its reader, at the longest; none if nobody does.
    pub fn held_until(&self) -> Option<UnixTime> {
        self.custody.iter().filter_map(|one| one.kept_until).max()
    }

    /// Whether no person waits to hear of it.
    pub fn is_silent(&self) -> bool {
        self.answer || self.errand
    }
}

/// The ids that several of these entries, for one onion, have.
pub fn shared_ids<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<LetterId> {
    let mut known = BTreeSet::new();
    entries.into_iter().map(|entry| entry.id).filter(|id| !known.insert(*id)).collect()
}

/// Decides what becomes of `entry` after a try that was begun at `begun` and has just ended, at `ended`, in `outcome`.
pub fn settle(entry: Entry, begun: Moment, outcome: Outcome, ended: Moment, rng: &mut impl Rng) -> Settled {
    let text = match &outcome {
        Outcome::Accepted => return Settled::Done,
        Outcome::Refused(reply) => return Settled::Return(Reason::Refused(reply.shown())),
        other => other.plain_text(),
    };
    let says_nothing = outcome == Outcome::NetworkDown;
    if !says_nothing && ended.agreed.is_some() && is_past_deadline(&entry, begun, &outcome) {
        return Settled::Return(match entry.held_until().or(entry.fetched) {
            Some(held_until) => Reason::Unconfirmed { held_until },
            None => Reason::Expired { last: text },
        });
    }
    let State::Waiting { tries, .. } = entry.state;
    let pause = if says_nothing { NETWORK_RETRY } else { backoff(tries) };
    let tries = if says_nothing { tries } else { tries.saturating_add(1) };
    let next = ended.now.plus(jittered(pause, rng));
    let last = Some(LastTry { at: ended.now, text });
    let started = entry.started.or(begun.agreed).or(ended.agreed);
    let mut entry = Entry { started, state: State::Waiting { next, tries, last }, ..entry };
    let waited = ended.agreed.zip(started).map_or(Duration::ZERO, |(agreed, started)| agreed.since(started));
    let tells = !entry.is_silent() && !entry.delay_noticed && entry.held_until().is_none();
    let notice = tells && !says_nothing && waited >= NOTICE_AFTER;
    entry.delay_noticed |= notice;
    Settled::Keep { entry: Box::new(entry), notice }
}

/// Whether a try that was begun at `begun` was the last one.
fn is_past_deadline(entry: &Entry, begun: Moment, outcome: &Outcome) -> bool {
    let grace = if *outcome == (Outcome::Lost { body_sent: true }) { CONFIRM_GRACE } else { Duration::ZERO };
    entry.deadline().zip(begun.agreed).is_some_and(|(deadline, begun)| begun >= deadline.plus(grace))
}

/// The pause after `tries` earlier failed tries, before jitter.
fn backoff(tries: u32) -> Duration {
    BACKOFF_MIN
        .saturating_mul(1u32.checked_shl(tries).filter(|factor| *factor != 0).unwrap_or(u32::MAX))
        .min(BACKOFF_MAX)
}

fn jittered(pause: Duration, rng: &mut impl Rng) -> Duration {
    let percent = rng.random_range(100 - JITTER_PERCENT..=100 + JITTER_PERCENT);
    Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(percent) / 100)
}

/// No pause is longer than this.
fn longest_pause() -> Duration {
    BACKOFF_MAX * u32::try_from(100 + JITTER_PERCENT).expect("a percentage fits") / 100
}

/// When to look at the queue again: the earliest next try, `now` if one is due; none if nothing waits.
pub fn next_wake<'a>(entries: impl IntoIterator<Item = &'a Entry>, now: UnixTime) -> Option<UnixTime> {
    entries.into_iter().map(|entry| entry.wake(now)).min()
}

/// A peer for whom something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuePeer {
    /// The peer.
    pub peer: OnionAddress,
    /// When it was last reached or last called us; none if never.
    pub last_seen: Option<UnixTime>,
    /// Since when its oldest letter is due.
    pub due_since: UnixTime,
}

/// Puts the peers into the order in which to dial them: the one seen last first, so that the absent never slow the
/// present; among equals, the one that has waited longest.
pub fn dial_order(peers: &mut [DuePeer]) {
    peers.sort_by_key(|due| (std::cmp::Reverse(due.last_seen), due.due_since, due.peer));
}

#[cfg(test)]
mod tests;

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
use crate::model::letter::{LetterId, LetterNo};
use crate::model::outcome::{Outcome, Reply};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};
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
    /// The whole delegation under which it is written in somebody else's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behalf: Option<serde_bytes::ByteBuf>,
    /// Where it stands.
    pub state: State,
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
        entry: Entry,
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
            behalf: None,
            state,
        }
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

    /// When the letter goes back if it is not delivered; none as long as the time was never agreed.
    pub fn deadline(&self) -> Option<UnixTime> {
        let length = if self.answer { ANSWER_DEADLINE } else { DEADLINE };
        self.started.map(|started| started.plus(length))
    }
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
        return Settled::Return(Reason::Expired { last: text });
    }
    let State::Waiting { tries, .. } = entry.state;
    let pause = if says_nothing { NETWORK_RETRY } else { backoff(tries) };
    let tries = if says_nothing { tries } else { tries.saturating_add(1) };
    let next = ended.now.plus(jittered(pause, rng));
    let last = Some(LastTry { at: ended.now, text });
    let started = entry.started.or(begun.agreed).or(ended.agreed);
    let mut entry = Entry { started, state: State::Waiting { next, tries, last }, ..entry };
    let waited = ended.agreed.zip(started).map_or(Duration::ZERO, |(agreed, started)| agreed.since(started));
    let notice = !entry.answer && !entry.delay_noticed && !says_nothing && waited >= NOTICE_AFTER;
    entry.delay_noticed |= notice;
    Settled::Keep { entry, notice }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const HOST: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";
    const START: UnixTime = UnixTime(1_767_262_830);

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    fn entry() -> Entry {
        let to = MailAddress::parse(&format!("bob@{PEER}")).unwrap();
        Entry::new(LetterNo(4), LetterId([5; 16]), LocalPart::parse("ann").unwrap(), to, 6, START, 8)
    }

    fn agreed(now: UnixTime) -> Moment {
        Moment { now, agreed: Some(now) }
    }

    fn frozen(now: UnixTime) -> Moment {
        Moment { now, agreed: None }
    }

    fn kept(settled: Settled) -> (Entry, bool) {
        match settled {
            Settled::Keep { entry, notice } => (entry, notice),
            other => panic!("kept, not {other:?}"),
        }
    }

    fn next_and_tries(entry: &Entry) -> (UnixTime, u32) {
        let State::Waiting { next, tries, .. } = entry.state;
        (next, tries)
    }

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, text: text.to_owned() }
    }

    #[test]
    fn what_is_taken_is_done_and_what_is_refused_for_good_goes_back_at_once() {
        let at = agreed(START);
        assert_eq!(settle(entry(), at, Outcome::Accepted, at, &mut rng()), Settled::Done);
        let refused = reply(550, "5.1.1 no such\r\nuser\u{1b}");
        assert_eq!(
            settle(entry(), frozen(START), Outcome::Refused(refused), frozen(START), &mut rng()),
            Settled::Return(Reason::Refused(reply(550, "5.1.1 no such user?")))
        );
    }

    #[test]
    fn pauses_double_from_a_minute_to_four_hours_within_their_jitter() {
        let (mut waiting, mut now, mut generator) = (entry(), START, rng());
        let mut pauses = Vec::new();
        for tries in 1..40 {
            waiting = kept(settle(waiting, frozen(now), Outcome::Absent, frozen(now), &mut generator)).0;
            let (next, counted) = next_and_tries(&waiting);
            assert_eq!(counted, tries);
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        let mut expected = 60;
        for pause in &pauses {
            assert!(
                (expected * 3 / 4..=expected * 5 / 4).contains(pause),
                "{pause} for {expected}: {pauses:?}"
            );
            expected = (expected * 2).min(4 * 3600);
        }
        let longest: Vec<_> = pauses.iter().skip(10).collect();
        assert!(longest.iter().min() < longest.iter().max(), "no two pauses are alike by design: {pauses:?}");
    }

    #[test]
    fn a_network_that_is_down_counts_for_nothing() {
        let mut waiting = entry();
        for hour in 0..1_000 {
            let at = agreed(START.plus(Duration::from_secs(hour * 3600)));
            let (after, notice) = kept(settle(waiting, at, Outcome::NetworkDown, at, &mut rng()));
            let (next, tries) = next_and_tries(&after);
            assert!(!notice && tries == 0 && next.since(at.now) <= NETWORK_RETRY * 2);
            waiting = after;
        }
    }

    #[test]
    fn a_letter_goes_back_only_after_a_try_that_began_past_the_deadline() {
        let started = Entry { started: Some(START), ..entry() };
        let end = START.plus(DEADLINE);
        let before = UnixTime(end.0 - 1);
        let after = |begun, outcome, ended| settle(started.clone(), begun, outcome, ended, &mut rng());
        kept(after(agreed(before), Outcome::Absent, agreed(end)));
        assert_eq!(
            after(agreed(end), Outcome::Absent, agreed(end)),
            Settled::Return(Reason::Expired { last: "the other node is not online".to_owned() })
        );
        for outcome in [
            Outcome::Deferred(reply(451, "later")),
            Outcome::PeerRefused,
            Outcome::Lost { body_sent: false },
            Outcome::Ours("disk".to_owned()),
        ] {
            assert!(matches!(
                after(agreed(end), outcome, agreed(end)),
                Settled::Return(Reason::Expired { .. })
            ));
        }
        kept(after(agreed(end), Outcome::NetworkDown, agreed(end)));
        // The peer may have the letter: the next try will tell, but not for ever.
        let unconfirmed = Outcome::Lost { body_sent: true };
        kept(after(agreed(end), unconfirmed.clone(), agreed(end)));
        let grace = agreed(end.plus(CONFIRM_GRACE));
        assert!(matches!(after(grace, unconfirmed, grace), Settled::Return(Reason::Expired { .. })));
        assert_eq!(after(agreed(end), Outcome::Accepted, agreed(end)), Settled::Done);
    }

    #[test]
    fn a_clock_that_the_network_does_not_confirm_ends_nothing() {
        let started = Entry { started: Some(START), ..entry() };
        let late = START.plus(DEADLINE * 10);
        for (begun, ended) in
            [(frozen(late), frozen(late)), (frozen(late), agreed(late)), (agreed(late), frozen(late))]
        {
            kept(settle(started.clone(), begun, Outcome::Absent, ended, &mut rng()));
        }
        // Never agreed at all: years of tries, no deadline and no notice.
        let (mut waiting, mut now) = (entry(), START);
        for _ in 0..5000 {
            let (after, notice) =
                kept(settle(waiting, frozen(now), Outcome::Absent, frozen(now), &mut rng()));
            assert!(!notice && after.started.is_none() && after.deadline().is_none());
            now = next_and_tries(&after).0;
            waiting = after;
        }
    }

    #[test]
    fn the_deadline_counts_from_the_first_agreed_time_after_acceptance() {
        // Accepted while the clock was a year behind.
        let wrong = Entry { accepted: UnixTime(START.0 - 31_536_000), ..entry() };
        let (after, notice) = kept(settle(wrong, agreed(START), Outcome::Absent, agreed(START), &mut rng()));
        assert_eq!(
            (after.started, after.deadline(), notice),
            (Some(START), Some(START.plus(DEADLINE)), false)
        );
        let later = agreed(START.plus(Duration::from_secs(60)));
        let (after, _) = kept(settle(after, later, Outcome::Absent, later, &mut rng()));
        assert_eq!(after.started, Some(START));
    }

    #[test]
    fn the_author_is_told_once_after_four_hours() {
        let started = Entry { started: Some(START), ..entry() };
        let late = agreed(START.plus(NOTICE_AFTER));
        let early = agreed(UnixTime(late.now.0 - 1));
        let (after, notice) = kept(settle(started, early, Outcome::Absent, early, &mut rng()));
        assert!(!notice && !after.delay_noticed);
        let (after, notice) = kept(settle(after, late, Outcome::Absent, frozen(late.now), &mut rng()));
        assert!(!notice, "a clock that is not agreed tells nobody anything");
        let (after, notice) = kept(settle(after, late, Outcome::Absent, late, &mut rng()));
        assert!(notice && after.delay_noticed);
        let (after, notice) = kept(settle(after, late, Outcome::Absent, late, &mut rng()));
        assert!(!notice && after.delay_noticed);
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_hold_a_letter() {
        let day = Duration::from_secs(86_400);
        let mut waiting =
            Entry { state: State::Waiting { next: START.plus(day * 30), tries: 9, last: None }, ..entry() };
        assert!(waiting.is_due(START), "the next try lies farther ahead than any pause");
        assert_eq!(next_wake([&waiting], START), Some(START));
        assert!(waiting.is_due(START.plus(day * 60)));
        let soon = START.plus(BACKOFF_MAX);
        waiting.state = State::Waiting { next: soon, tries: 9, last: None };
        assert!(!waiting.is_due(START));
        assert_eq!(next_wake([&waiting, &waiting], START), Some(soon));
        waiting.hasten(START);
        assert!(waiting.is_due(START));
        let (after, _) = kept(settle(waiting, frozen(START), Outcome::Absent, frozen(START), &mut rng()));
        assert!(next_and_tries(&after).0.since(START) < BACKOFF_MIN * 2, "pauses are short again");
        assert_eq!(next_wake([], START), None);
    }

    #[test]
    fn peers_seen_last_are_dialled_first() {
        let (one, two) = (OnionAddress::parse(HOST).unwrap(), OnionAddress::parse(PEER).unwrap());
        let due = |peer, seen: Option<u64>, since| DuePeer {
            peer,
            last_seen: seen.map(UnixTime),
            due_since: UnixTime(since),
        };
        let mut peers = [
            due(one, None, 1),
            due(two, Some(5), 9),
            due(one, Some(7), 9),
            due(two, None, 0),
            due(one, Some(7), 3),
        ];
        dial_order(&mut peers);
        let order: Vec<_> =
            peers.iter().map(|due| (due.last_seen.map(|seen| seen.0), due.due_since.0)).collect();
        assert_eq!(order, [(Some(7), 3), (Some(7), 9), (Some(5), 9), (None, 0), (None, 1)]);
    }

    /// An entry as a later version may write it: more fields, in the entry and in its state.
    #[derive(Serialize)]
    struct Later {
        letter: u64,
        id: LetterId,
        from: &'static str,
        to: String,
        size: u64,
        accepted: u64,
        holders: Vec<String>,
        state: LaterState,
    }

    #[derive(Serialize)]
    enum LaterState {
        Waiting { next: u64, tries: u32, route: u8 },
        Held { until: u64 },
    }

    #[test]
    fn an_entry_reads_back_from_cbor_and_from_a_later_version() {
        let told = Entry { delay_noticed: true, started: Some(START), ..entry() };
        let (told, _) = kept(settle(told, agreed(START), Outcome::Absent, agreed(START), &mut rng()));
        assert_eq!(serde_cbor::from_slice::<Entry>(&serde_cbor::to_vec(&told).unwrap()).unwrap(), told);
        let later = |state| Later {
            letter: 4,
            id: LetterId([5; 16]),
            from: "ann",
            to: format!("bob@{PEER}"),
            size: 6,
            accepted: START.0,
            holders: vec!["x".to_owned()],
            state,
        };
        let waiting = later(LaterState::Waiting { next: START.0, tries: 0, route: 1 });
        let read: Entry = serde_cbor::from_slice(&serde_cbor::to_vec(&waiting).unwrap()).unwrap();
        assert_eq!(read, Entry { outbox: 0, ..entry() });
        let held = serde_cbor::to_vec(&later(LaterState::Held { until: 1 })).unwrap();
        assert!(serde_cbor::from_slice::<Entry>(&held).is_err());
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Absent),
            Just(Outcome::PeerRefused),
            Just(Outcome::NetworkDown),
            any::<bool>().prop_map(|body_sent| Outcome::Lost { body_sent }),
            any::<String>().prop_map(Outcome::Ours),
            any::<String>().prop_map(|text| Outcome::Deferred(Reply { code: 451, text })),
        ]
    }

    proptest! {
        /// Any history of tries, clocks jumping 30 days either way: what goes back was past 30 agreed days, and what
        /// stays is due within the longest pause of whatever clock looks at it.
        #[test]
        fn no_history_of_clocks_returns_a_letter_early(
            steps in proptest::collection::vec(
                (any_outcome(), 0u64..200_000, -2_592_000i64..2_592_000, any::<bool>()),
                1..60,
            ),
            seed: u64,
        ) {
            let (mut waiting, mut truth, mut generator) = (entry(), START, StdRng::seed_from_u64(seed));
            let mut first_agreed = None;
            for (outcome, passed, wrong_by, agrees) in steps {
                truth = truth.plus(Duration::from_secs(passed));
                let at = if agrees { agreed(truth) } else { frozen(UnixTime(truth.0.saturating_add_signed(wrong_by))) };
                let since = at.agreed.zip(first_agreed).map(|(now, first): (UnixTime, UnixTime)| now.since(first));
                match settle(waiting, at, outcome.clone(), at, &mut generator) {
                    Settled::Keep { entry, .. } => waiting = entry,
                    Settled::Return(Reason::Expired { .. }) => {
                        prop_assert!(since.is_some_and(|since| since >= DEADLINE));
                        prop_assert!(outcome != Outcome::NetworkDown);
                        return Ok(());
                    }
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
                first_agreed = first_agreed.or(at.agreed);
                prop_assert_eq!(waiting.started, first_agreed);
                for looked in [at.now, UnixTime(at.now.0 - 2_592_000), at.now.plus(Duration::from_secs(2_592_000))] {
                    let wake = next_wake([&waiting], looked).unwrap();
                    prop_assert!(wake >= looked && wake.since(looked) <= longest_pause());
                    prop_assert_eq!(waiting.is_due(looked), wake == looked);
                }
            }
        }
    }
}

//! What settling decides: examples, and random histories of clocks.

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
        Settled::Keep { entry, notice } => (*entry, notice),
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
        assert!((expected * 3 / 4..=expected * 5 / 4).contains(pause), "{pause} for {expected}: {pauses:?}");
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
        assert!(matches!(after(agreed(end), outcome, agreed(end)), Settled::Return(Reason::Expired { .. })));
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
        let (after, notice) = kept(settle(waiting, frozen(now), Outcome::Absent, frozen(now), &mut rng()));
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
    assert_eq!((after.started, after.deadline(), notice), (Some(START), Some(START.plus(DEADLINE)), false));
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
    let order: Vec<_> = peers.iter().map(|due| (due.last_seen.map(|seen| seen.0), due.due_since.0)).collect();
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
                Settled::Keep { entry, .. } => waiting = *entry,
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

//! What statements can give, and what they can never give.

use super::tier::{Failing, Tried};
use super::view::{OTHERS_CAP, TRUSTED_CAP};
use super::*;
use crate::model::time::UnixTime;
use onion::OnionAddress;
use proptest::prelude::*;

const DAY: u64 = 86_400;
/// In the middle of a year of the caps.
const NOW: UnixTime = UnixTime(365 * DAY * 56 + 180 * DAY);
const ME: u32 = 0;

/// An address that no key has, but that a view takes for one.
pub(super) fn address(n: u32) -> OnionAddress {
    use sha2::{Digest as _, Sha256};
    OnionAddress::from_key_proved_before(Sha256::digest(n.to_be_bytes()).into())
}

fn edge(issuer: u32, subject: u32) -> Edge {
    let made = UnixTime(NOW.0 - DAY);
    Edge {
        received: made,
        made,
        issuer: address(issuer),
        subject: address(subject),
        kind: EdgeKind::Vouch,
        method: Method::InPerson,
        until: UnixTime(u64::MAX),
    }
}

fn introduction(issuer: u32, subject: u32) -> Edge {
    Edge { kind: EdgeKind::Introduction, ..edge(issuer, subject) }
}

fn view(decided: &[(u32, Tier)], edges: &[Edge]) -> View {
    revoked_view(decided, &[], edges)
}

fn revoked_view(decided: &[(u32, Tier)], revoked: &[u32], edges: &[Edge]) -> View {
    let decided = decided
        .iter()
        .map(|(who, tier)| (address(*who), Decided { tier: *tier, at: NOW, why: "decided".to_owned() }));
    let revoked = revoked.iter().map(|who| (address(*who), NOW));
    View::new(address(ME), decided.collect(), revoked.collect(), edges.to_vec())
}

fn tier(view: &View, target: u32) -> Tier {
    tier_of(view, &address(target), Some(NOW)).tier
}

const TRUSTED: [(u32, Tier); 2] = [(1, Tier::Trusted), (2, Tier::Trusted)];

#[test]
fn the_persons_own_decision_comes_before_all_statements() {
    let edges = [introduction(1, 5), introduction(1, 6)];
    let view = view(&[(1, Tier::Trusted), (5, Tier::Blocked), (7, Tier::Known)], &edges);
    assert_eq!(
        (tier(&view, 5), tier(&view, 6), tier(&view, 7)),
        (Tier::Blocked, Tier::Introduced, Tier::Known)
    );
    assert_eq!((tier(&view, ME), tier(&view, 99)), (Tier::Trusted, Tier::Stranger));
    let answer = tier_of(&view, &address(6), Some(NOW));
    assert_eq!(answer.because, Because::Introduction(edges[1]));
}

#[test]
fn one_vouch_is_not_enough_two_with_nobody_in_common_are() {
    assert_eq!(tier(&view(&TRUSTED, &[edge(1, 9)]), 9), Tier::Stranger);
    assert_eq!(tier(&view(&TRUSTED, &[edge(1, 9), edge(2, 9)]), 9), Tier::Introduced);
    // Through others: both named by the same Trusted contact, then each by its own.
    let same = [edge(1, 11), edge(1, 12), edge(11, 9), edge(12, 9)];
    assert_eq!(tier(&view(&TRUSTED, &same), 9), Tier::Stranger);
    let own = [edge(1, 11), edge(2, 12), edge(11, 9), edge(12, 9)];
    assert_eq!(tier(&view(&TRUSTED, &own), 9), Tier::Introduced);
    // One and the same in the middle is one path.
    let middle = [edge(1, 11), edge(2, 11), edge(11, 9)];
    assert_eq!(tier(&view(&TRUSTED, &middle), 9), Tier::Stranger);
    // The first speaker must give way: 11 stands by 1 or 2, 12 by 1 only.
    let crossed = [edge(1, 11), edge(2, 11), edge(1, 12), edge(11, 9), edge(12, 9)];
    assert_eq!(tier(&view(&TRUSTED, &crossed), 9), Tier::Introduced);
    // A Trusted contact that speaks itself cannot stand for another as well.
    let both = [edge(1, 9), edge(1, 11), edge(11, 9)];
    assert_eq!(tier(&view(&TRUSTED, &both), 9), Tier::Stranger);
    assert_eq!(tier(&view(&TRUSTED, &[both[0], edge(2, 11), both[2]]), 9), Tier::Introduced);
}

#[test]
fn the_answer_names_the_paths_and_what_was_of_no_use() {
    let paths = [edge(1, 11), edge(2, 12), edge(11, 9), edge(12, 9)];
    let answer = tier_of(&view(&TRUSTED, &paths), &address(9), Some(NOW));
    let Because::Paths(found) = &answer.because else { panic!("{answer:?}") };
    let mut found = found.clone();
    found.sort();
    let mut expected = [vec![paths[0], paths[2]], vec![paths[1], paths[3]]];
    expected.sort();
    assert_eq!(found, expected);
    let name =
        |who: &OnionAddress| (0..99).find(|n| address(*n) == *who).map_or("?".into(), |n| format!("P{n}"));
    let reason = explain::reason(&answer, &name);
    assert!(
        reason.contains("vouched for by P11 on") && reason.contains("who was vouched for by P1 on"),
        "{reason}"
    );
    assert!(reason.contains("checked in person") && reason.contains("P12"), "{reason}");

    let old = Edge { made: UnixTime(NOW.0 - 731 * DAY), ..introduction(1, 9) };
    let useless = [old, edge(2, 9), edge(50, 9), edge(51, 9)];
    let answer = tier_of(&view(&TRUSTED, &useless), &address(9), Some(NOW));
    let alone = Tried { path: vec![useless[1]], failing: Failing::Alone };
    assert_eq!(answer.tried, [alone, Tried { path: vec![old], failing: Failing::Aged }]);
    assert_eq!((answer.tier, answer.strangers), (Tier::Stranger, 2));
    assert_eq!(explain::lines(&answer, &name).len(), 4);
}

#[test]
fn a_statement_grows_old_by_how_it_was_checked_and_only_in_agreed_time() {
    for (method, days) in [(Method::InPerson, 730), (Method::Voice, 365), (Method::Mail, 182)] {
        for (age, expected) in [(days, Tier::Introduced), (days + 1, Tier::Stranger)] {
            let made = UnixTime(NOW.0 - age * DAY);
            let edge = Edge { method, made, received: made, ..introduction(1, 9) };
            let view = view(&TRUSTED, &[edge]);
            assert_eq!(tier(&view, 9), expected, "{method:?} after {age} days");
            assert_eq!(tier_of(&view, &address(9), None).tier, Tier::Introduced);
        }
    }
    let ended = Edge { until: UnixTime(NOW.0 - 1), ..introduction(1, 9) };
    let ahead = Edge { made: UnixTime(NOW.0 + 2 * DAY), ..introduction(1, 9) };
    assert_eq!(
        (tier(&view(&TRUSTED, &[ended]), 9), tier(&view(&TRUSTED, &[ahead]), 9)),
        (Tier::Stranger, Tier::Stranger)
    );
}

#[test]
fn the_blocked_and_the_revoked_speak_for_nobody() {
    let edges = [introduction(1, 9), edge(3, 9), edge(1, 3), edge(2, 9)];
    assert_eq!(tier(&view(&[(1, Tier::Blocked), (2, Tier::Trusted)], &edges), 9), Tier::Stranger);
    let revoked = revoked_view(&TRUSTED, &[1], &edges);
    assert_eq!((tier(&revoked, 9), tier(&revoked, 1)), (Tier::Stranger, Tier::Stranger));
    // In the middle, too.
    let paths = [edge(1, 3), edge(3, 9), edge(2, 9)];
    assert_eq!(tier(&view(&TRUSTED, &paths), 9), Tier::Introduced);
    assert_eq!(tier(&revoked_view(&TRUSTED, &[3], &paths), 9), Tier::Stranger);
    assert_eq!(tier(&view(&[TRUSTED[0], TRUSTED[1], (3, Tier::Blocked)], &paths), 9), Tier::Stranger);
    assert_eq!(tier(&revoked_view(&[(1, Tier::Blocked)], &[1], &[]), 1), Tier::Blocked);
}

#[test]
fn an_older_date_never_pushes_out_what_counted_before() {
    let mut edges: Vec<Edge> = (0..TRUSTED_CAP as u32).map(|n| introduction(1, 100 + n)).collect();
    let before = view(&TRUSTED, &edges);
    edges.extend((0..100).map(|n| Edge {
        made: UnixTime(NOW.0 - 300 * DAY),
        received: NOW,
        ..introduction(1, 200 + n)
    }));
    let after = view(&TRUSTED, &edges);
    for n in 0..TRUSTED_CAP as u32 {
        assert_eq!((tier(&before, 100 + n), tier(&after, 100 + n)), (Tier::Introduced, Tier::Introduced));
    }
    assert!((0..100).all(|n| tier(&after, 200 + n) == Tier::Stranger));
    let failing = tier_of(&after, &address(200), Some(NOW)).tried[0].failing;
    assert_eq!(failing, Failing::Capped);
    // Another year, another count.
    let next_year = Edge { received: UnixTime(NOW.0 + 200 * DAY), ..introduction(1, 999) };
    edges.push(next_year);
    assert_eq!(tier(&view(&TRUSTED, &edges), 999), Tier::Introduced);
}

#[test]
fn pictures_are_the_same_each_time_and_no_label_leaves_its_place() {
    let name = |who: &OnionAddress| match (0..99).find(|n| address(*n) == *who) {
        Some(5) => "\"];<script>alert('&')</script>\n\\\u{202e}".to_owned(),
        Some(n) => format!("P{n}"),
        None => "?".to_owned(),
    };
    let decided = [TRUSTED[0], TRUSTED[1], (5, Tier::Known), (6, Tier::Blocked)];
    let mut edges = vec![introduction(1, 9), edge(2, 9), edge(5, 9), edge(50, 51)];
    let picture = |edges: &[Edge]| graph::picture(&view(&decided, edges), Some(NOW), &name);
    let drawn = picture(&edges);
    assert_eq!((drawn.people.len(), drawn.words.len(), drawn.left_out), (5, 3, 0));
    edges.reverse();
    assert_eq!((drawn.svg(), drawn.dot()), (picture(&edges).svg(), picture(&edges).dot()));
    let (svg, dot) = (drawn.svg(), drawn.dot());
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;") && !svg.contains('\u{202e}'));
    assert_eq!(svg.matches("http").count(), 1, "the name space only");
    assert!(dot.contains(r#"label="\"];<script>alert('&')</script>\\""#), "{dot}");
    assert_eq!(svg.matches("<circle").count(), 6);
}

/// A world of honest people and, behind some Trusted contacts that turned bad, any number of Sybils.
#[derive(Debug, Clone)]
struct Attack {
    bad: u32,
    sybils: u32,
    words: Vec<(u32, u32, bool, u64)>,
}

fn attack() -> impl Strategy<Value = Attack> {
    (1u32..4, 10u32..300).prop_flat_map(|(bad, sybils)| {
        // From the bad contacts and from Sybils, about Sybils; any kind, any date of the last year.
        let word = (0..bad + sybils, 0..sybils, any::<bool>(), 0u64..170);
        let words = proptest::collection::vec(word, 0..1500);
        words.prop_map(move |words| Attack { bad, sybils, words })
    })
}

const BAD: u32 = 1_000;
const SYBIL: u32 = 10_000;

impl Attack {
    fn edges(&self) -> Vec<Edge> {
        let random = self.words.iter().map(|&(from, to, introduces, age)| {
            let issuer = if from < self.bad { BAD + from } else { SYBIL + from - self.bad };
            let kind = if introduces { EdgeKind::Introduction } else { EdgeKind::Vouch };
            let received = UnixTime(NOW.0 - age * DAY);
            Edge { kind, received, made: received, ..edge(issuer, SYBIL + to) }
        });
        // And the best that they can do: everybody bad names everybody, and they name each other.
        let eager = (0..self.bad).flat_map(|bad| (0..self.sybils).map(move |to| edge(BAD + bad, SYBIL + to)));
        let chain = (0..self.sybils).flat_map(|from| {
            (1..8).map(move |step| edge(SYBIL + from, SYBIL + (from * 5 + step) % self.sybils))
        });
        random.chain(eager).chain(chain).collect()
    }

    fn decided(&self) -> Vec<(u32, Tier)> {
        (0..self.bad)
            .map(|bad| (BAD + bad, Tier::Trusted))
            .chain([(1, Tier::Trusted), (2, Tier::Known)])
            .collect()
    }

    fn gained(&self, view: &View) -> usize {
        (0..self.sybils).filter(|n| tier(view, SYBIL + n) >= Tier::Introduced).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sybils_gain_at_most_the_caps_of_the_bad_edges(attack in attack()) {
        let view = view(&attack.decided(), &attack.edges());
        // All of it is of one year. Each bad contact introduces its cap; of those it names, each names its own cap, and
        // these need two such words.
        let named = attack.bad as usize * TRUSTED_CAP;
        let bound = named + named * OTHERS_CAP / 2;
        prop_assert!(attack.gained(&view) <= bound, "{} of {bound}", attack.gained(&view));
        // With one bad contact, only what it introduced itself.
        if attack.bad == 1 {
            prop_assert!(attack.gained(&view) <= TRUSTED_CAP);
        }
    }

    #[test]
    fn the_order_in_which_statements_come_is_of_no_matter(attack in attack(), seed in any::<u64>()) {
        let mut edges = attack.edges();
        let straight = view(&attack.decided(), &edges);
        edges.sort_by_key(|edge| edge.subject.public_key()[0] ^ edge.issuer.public_key()[1] ^ seed as u8);
        edges.extend(edges.clone().into_iter().take(5));
        let turned = view(&attack.decided(), &edges);
        for n in 0..attack.sybils {
            let of = address(SYBIL + n);
            prop_assert_eq!(tier_of(&straight, &of, Some(NOW)), tier_of(&turned, &of, Some(NOW)));
        }
    }

    #[test]
    fn a_decision_that_raises_somebody_lowers_nobody(
        attack in attack(), raised in any::<u32>(), high in any::<bool>()
    ) {
        let edges = attack.edges();
        let mut decided = attack.decided();
        let before = view(&decided, &edges);
        let to = if high { Tier::Trusted } else { Tier::Known };
        decided.push((SYBIL + raised % attack.sybils, to));
        let after = view(&decided, &edges);
        for n in 0..attack.sybils {
            prop_assert!(tier(&after, SYBIL + n) >= tier(&before, SYBIL + n));
        }
    }
}

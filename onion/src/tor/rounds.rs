//! Of several onions on one client: whose turn it is to be looked at, and what is to be repaired. Pure: no clock, no
//! network.
//!
//! Promises that so many onions cost hardly more looks than one, that what is unwell is looked at soon, and that the
//! client is not replaced for the trouble of one onion while it serves another well.

use super::health::{Finding, Health, LOOK_UNWELL, LOOK_WELL, Repair};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of each onion, by its number, and of the client. All times are of one monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    onions: BTreeMap<u64, Onion>,
    client: Health,
    /// When one that was well was looked at last: those take turns.
    turn: Duration,
    network_down: bool,
}

#[derive(Debug, Default)]
struct Onion {
    health: Health,
    /// Whether the last look found it well.
    well: bool,
    looked: Duration,
}

impl Onion {
    fn next_look(&self, turn: Duration) -> Duration {
        if self.well { turn + LOOK_WELL } else { self.looked + LOOK_UNWELL }
    }
}

/// What is to be started anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Anew {
    /// The services of these onions, of none perhaps.
    Services(Vec<u64>),
    /// The client, and with it all services.
    Client,
}

impl Rounds {
    /// From `now` on these are hosted, and no others.
    pub(super) fn follow(&mut self, hosted: &BTreeSet<u64>, now: Duration) {
        self.onions.retain(|number, _| hosted.contains(number));
        for number in hosted {
            self.onions.entry(*number).or_insert_with(|| Onion { looked: now, ..Onion::default() });
        }
    }

    /// Notes that a client begins its work at `now`.
    pub(super) fn client_started(&mut self, now: Duration) {
        self.client.client_started(now);
        for onion in self.onions.values_mut() {
            onion.health.client_started(now);
            (onion.well, onion.looked) = (false, now);
        }
    }

    /// Whether the last look found no way into the network.
    pub(super) fn network_down(&self) -> bool {
        self.network_down
    }

    /// Whether the next look at this one should take a fresh path, not an open circuit.
    pub(super) fn wants_fresh_path(&self, number: u64) -> bool {
        self.onions.get(&number).is_none_or(|onion| onion.health.wants_fresh_path())
    }

    /// When to look next; none while nothing is hosted.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.onions.values().map(|onion| onion.next_look(self.turn)).min()
    }

    /// What to look at now: whatever was found unwell a while ago, and of the others the one not looked at for longest.
    pub(super) fn due(&self, now: Duration) -> Vec<u64> {
        let due = self.onions.iter().filter(|(_, onion)| onion.next_look(self.turn) <= now);
        let (well, unwell): (Vec<_>, Vec<_>) = due.partition(|(_, onion)| onion.well);
        let turn = well.into_iter().min_by_key(|(_, onion)| onion.looked);
        unwell.into_iter().chain(turn).map(|(number, _)| *number).collect()
    }

    /// Takes in what was found at `now`.
    pub(super) fn found(&mut self, found: &[(u64, Finding)], now: Duration) -> Anew {
        self.network_down = found.iter().any(|(_, finding)| *finding == Finding::NetworkDown);
        let mut services = Vec::new();
        let mut client = false;
        for (number, finding) in found {
            let Some(onion) = self.onions.get_mut(number) else { continue };
            if onion.well {
                self.turn = now;
            }
            (onion.well, onion.looked) = (*finding == Finding::Well, now);
            // An outage is nobody's own trouble.
            if *finding == Finding::NetworkDown {
                continue;
            }
            let repair = onion.health.found(*finding, now).repair;
            if repair != Repair::Nothing {
                services.push(*number);
            }
            client |= repair == Repair::Client;
        }
        let network = if self.network_down { Finding::NetworkDown } else { Finding::Well };
        let outage = self.client.found(network, now).repair == Repair::Client;
        if outage || client && !self.onions.values().any(|onion| onion.well) {
            return Anew::Client;
        }
        Anew::Services(services)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// So many onions, all found well at 10 s.
    fn all_well(onions: u64) -> Rounds {
        let mut rounds = Rounds::default();
        rounds.follow(&(0..onions).collect(), secs(0));
        let found: Vec<_> = (0..onions).map(|number| (number, Finding::Well)).collect();
        assert_eq!(rounds.found(&found, secs(10)), Anew::Services(vec![]));
        rounds
    }

    /// Looks from `from` on whenever it is time, for so many looks; whether each onion is well, `finding` says.
    fn look(
        rounds: &mut Rounds,
        looks: usize,
        finding: impl Fn(u64) -> Finding,
    ) -> Vec<(u64, Vec<u64>, Anew)> {
        let mut story = Vec::new();
        for _ in 0..looks {
            let now = rounds.next_look().unwrap();
            let due = rounds.due(now);
            assert!(!due.is_empty(), "a look without anything to look at would never end");
            let found: Vec<_> = due.iter().map(|number| (*number, finding(*number))).collect();
            let anew = rounds.found(&found, now);
            story.push((now.as_secs(), due, anew));
        }
        story
    }

    #[test]
    fn onions_that_are_well_take_turns_and_the_first_looks_are_at_all() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.next_look(), None);
        rounds.follow(&BTreeSet::from([0, 1, 2]), secs(7));
        assert_eq!((rounds.next_look(), rounds.due(secs(12))), (Some(secs(12)), vec![0, 1, 2]));
        let story = look(&mut all_well(3), 5, |_| Finding::Well);
        let turns: Vec<_> = story.into_iter().map(|(second, due, _)| (second, due)).collect();
        assert_eq!(turns[1..], [(60, vec![1]), (90, vec![2]), (120, vec![0]), (150, vec![1])]);
    }

    #[test]
    fn one_onions_trouble_neither_replaces_the_client_nor_takes_the_others_turns() {
        let mut rounds = all_well(3);
        let broken = |number| if number == 1 { Finding::Unreachable } else { Finding::Well };
        let story = look(&mut rounds, 60, broken);
        assert!(story.iter().all(|(_, _, anew)| *anew != Anew::Client), "{story:?}");
        assert!(story.iter().any(|(_, _, anew)| *anew == Anew::Services(vec![1])));
        let looks_at = |number| story.iter().filter(|(_, due, _)| due.contains(&number)).count();
        assert!(looks_at(0) >= 3 && looks_at(2) >= 3 && looks_at(1) > 40, "{story:?}");
    }

    #[test]
    fn when_no_onion_is_well_the_client_is_replaced_in_the_end() {
        let story = look(&mut all_well(2), 12, |_| Finding::Unreachable);
        let anew: Vec<_> = story.into_iter().map(|(_, _, anew)| anew).collect();
        assert!(anew.contains(&Anew::Services(vec![0])), "first the services: {anew:?}");
        assert!(anew.contains(&Anew::Client), "{anew:?}");
    }

    #[test]
    fn an_outage_replaces_the_client_and_is_nobodys_own_trouble() {
        let mut rounds = all_well(4);
        let story = look(&mut rounds, 2, |_| Finding::NetworkDown);
        assert_eq!(story[0].2, Anew::Services(vec![]));
        assert_eq!(story[1], (story[0].0 + 5, story[0].1.clone(), Anew::Client));
        assert!(rounds.network_down());
        rounds.client_started(secs(60));
        assert_eq!(rounds.due(secs(65)), [0, 1, 2, 3], "on a new client every onion is looked at");
    }

    #[test]
    fn what_is_not_hosted_any_more_is_not_looked_at() {
        let mut rounds = all_well(3);
        rounds.follow(&BTreeSet::from([2]), secs(20));
        assert_eq!(rounds.due(secs(100)), [2]);
        assert_eq!(rounds.found(&[(0, Finding::Unreachable)], secs(100)), Anew::Services(vec![]));
    }
}

//! Decides from what was found when to look again and what to repair. Pure: no clock, no network.
//!
//! arti repairs most by itself, but backs off for minutes from guards that failed during an outage, does not notice
//! connections that died in silence, and its publishing has been seen to wedge. So the service is tested by dialling
//! it, and what stays broken is started anew: first the service, then the whole client.

use std::time::Duration;

/// Between looks while all is well. Two cells on an open circuit; bounds how long a silent death goes unnoticed.
pub(super) const LOOK_WELL: Duration = Duration::from_secs(30);
/// Between looks while something is wrong.
pub(super) const LOOK_UNWELL: Duration = Duration::from_secs(5);
/// Of the looks while all is well, every so many-th takes a fresh path: descriptor, introduction, rendezvous.
const FRESH_EVERY: u32 = 20;
/// A client gets this long before an outage replaces it: what it opened takes its time to end, and offline hours
/// should cost little. Bounds how late the end of an outage is noticed, since a new client tries all guards at once.
const CLIENT_AGE_MIN: Duration = Duration::from_secs(30);
/// A single failure can be one bad relay; this many in a row are an outage.
const NETWORK_DOWN_MAX: u32 = 2;
/// So many failed calls in a row, by different relays, and a published service counts as broken.
const UNREACHABLE_MAX: u32 = 3;
/// How long a service may take to publish itself before it is started anew; doubled after each such repair, because
/// on the public network publishing takes tens of seconds and must be able to end.
const PUBLISH_WAIT: Duration = Duration::from_secs(25);
/// The wait for publishing is doubled at most so many times.
const PUBLISH_DOUBLINGS_MAX: u32 = 3;
/// Every so many-th repair of a service replaces the whole client.
const CLIENT_EVERY: u32 = 2;
/// A wall clock that gains this much on the monotonic clock between two ticks has slept (or was set).
const SLEPT_MIN: Duration = Duration::from_secs(15);

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The own service answered over the network; or nothing is hosted and circuits can be built.
    Well,
    /// Circuits can be built, the service is not published yet.
    Unpublished,
    /// Circuits can be built, the service is published and does not answer.
    Unreachable,
    /// No circuit can be built.
    NetworkDown,
}

/// What is to be started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    Nothing,
    Service,
    Client,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) repair: Repair,
    pub(super) next_look: Duration,
}

/// What the looks so far add up to.
#[derive(Debug, Default)]
pub(super) struct Health {
    well: u32,
    unreachable: u32,
    network_down: u32,
    repairs: u32,
    /// When the client was started.
    client_since: Duration,
    /// Since when the service has been seen unpublished without a break.
    unpublished_since: Option<Duration>,
}

impl Health {
    /// Notes that a client begins its work at `now`.
    pub(super) fn client_started(&mut self, now: Duration) {
        self.client_since = now;
        self.unpublished_since = None;
    }

    /// Takes in a finding made at `now`, a time on any monotonic clock.
    pub(super) fn found(&mut self, finding: Finding, now: Duration) -> Plan {
        if finding == Finding::Well {
            let (well, client_since) = (self.well.wrapping_add(1), self.client_since);
            *self = Self { well, client_since, ..Self::default() };
            return Plan { repair: Repair::Nothing, next_look: LOOK_WELL };
        }
        self.well = 0;
        if finding != Finding::Unpublished {
            self.unpublished_since = None;
        }
        let repair = match finding {
            Finding::NetworkDown => {
                self.network_down += 1;
                let old = now.saturating_sub(self.client_since) >= CLIENT_AGE_MIN;
                if old && self.network_down >= NETWORK_DOWN_MAX { Repair::Client } else { Repair::Nothing }
            }
            Finding::Unreachable => {
                self.unreachable += 1;
                if self.unreachable >= UNREACHABLE_MAX { self.repair_service() } else { Repair::Nothing }
            }
            _ => {
                let since = *self.unpublished_since.get_or_insert(now);
                let wait = PUBLISH_WAIT * 2_u32.pow(self.repairs.min(PUBLISH_DOUBLINGS_MAX));
                if now.saturating_sub(since) > wait { self.repair_service() } else { Repair::Nothing }
            }
        };
        Plan { repair, next_look: LOOK_UNWELL }
    }

    fn repair_service(&mut self) -> Repair {
        self.unreachable = 0;
        self.unpublished_since = None;
        self.repairs += 1;
        if self.repairs.is_multiple_of(CLIENT_EVERY) { Repair::Client } else { Repair::Service }
    }

    /// Whether the next look should take a fresh path, not an open circuit.
    pub(super) fn wants_fresh_path(&self) -> bool {
        self.well.is_multiple_of(FRESH_EVERY)
    }
}

/// Whether the machine slept between two ticks, by how far both clocks moved.
pub(super) fn slept(wall: Duration, monotonic: Duration) -> bool {
    wall.saturating_sub(monotonic) >= SLEPT_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn repairs(health: &mut Health, findings: &[Finding]) -> Vec<Repair> {
        findings.iter().map(|finding| health.found(*finding, NOW).repair).collect()
    }

    #[test]
    fn one_failure_repairs_nothing_and_an_outage_replaces_an_old_client() {
        use Finding::{NetworkDown as Down, Well};
        use Repair::{Client, Nothing};
        let mut health = Health::default();
        let mut at = |second, finding| health.found(finding, Duration::from_secs(second)).repair;
        assert_eq!(
            [at(100, Down), at(105, Well), at(110, Down), at(115, Down)],
            [Nothing, Nothing, Nothing, Client]
        );
        health.client_started(Duration::from_secs(116));
        let mut at = |second, finding| health.found(finding, Duration::from_secs(second)).repair;
        assert_eq!(
            [at(116, Down), at(121, Down), at(145, Down), at(146, Down)],
            [Nothing, Nothing, Nothing, Client]
        );
    }

    #[test]
    fn a_service_that_does_not_answer_is_started_anew_then_the_client() {
        use Finding::Unreachable as Bad;
        use Repair::{Client, Nothing, Service};
        let found = repairs(&mut Health::default(), &[Bad; 6]);
        assert_eq!(found, [Nothing, Nothing, Service, Nothing, Nothing, Client]);
    }

    #[test]
    fn publishing_gets_its_time_and_more_after_each_repair() {
        let mut health = Health::default();
        let mut repairs = Vec::new();
        for second in 0..400 {
            let repair = health.found(Finding::Unpublished, Duration::from_secs(second)).repair;
            if repair != Repair::Nothing {
                repairs.push((second, repair));
            }
        }
        assert_eq!(
            repairs,
            [(26, Repair::Service), (78, Repair::Client), (180, Repair::Service), (382, Repair::Client)]
        );
    }

    #[test]
    fn a_service_that_was_well_for_long_gets_the_same_time() {
        let mut health = Health::default();
        let hours = Duration::from_secs(7200);
        health.found(Finding::Unpublished, NOW);
        health.found(Finding::Well, hours);
        assert_eq!(health.found(Finding::Unpublished, hours * 2).repair, Repair::Nothing);
    }

    #[test]
    fn the_first_look_and_every_twentieth_take_a_fresh_path() {
        let mut health = Health::default();
        let fresh: Vec<bool> = (0..41)
            .map(|_| {
                let fresh = health.wants_fresh_path();
                health.found(Finding::Well, NOW);
                fresh
            })
            .collect();
        assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 3);
        assert!(fresh[0] && fresh[20] && fresh[40]);
        health.found(Finding::Unreachable, NOW);
        assert!(health.wants_fresh_path(), "after a failure no open circuit is trusted");
    }

    #[test]
    fn only_a_wall_clock_that_ran_ahead_has_slept() {
        let second = Duration::from_secs(1);
        assert!(slept(20 * second, 5 * second));
        assert!(!slept(6 * second, 5 * second));
        assert!(!slept(5 * second, 60 * second));
    }
}

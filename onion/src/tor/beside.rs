//! The second client of a transport: hosts the onions beside the identity's own, tests them, and starts anew what
//! stays broken.
//!
//! It has guards, circuits and a folder of its own, so that no relay sees one of these onions and the identity's own
//! come from the same place. Among themselves they share its guards, and may share introduction points. Promises that
//! it runs only while something is hosted, and that one onion's trouble costs the others nothing.

use super::health::{Finding, Health, LOOK_UNWELL, LOOK_WELL, Repair};
use super::keeper::ANSWER_WAIT_MAX;
use super::opening::{STOP_WAIT_MAX, bootstrapped_client};
use super::service::{self, Hosting, Service};
use super::{Client, Shared, dial};
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tor_hsservice::status::State;

/// Onions tested at once, at most: each test may build circuits.
const LOOKS_AT_ONCE: usize = 4;

/// Which onions are to be hosted beside the own one.
#[derive(Default)]
pub(super) struct Wishes {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Default)]
struct Known {
    hostings: BTreeMap<u64, Arc<Hosting>>,
    next: u64,
}

/// A wish stands for as long as this is held.
pub(super) struct Wish {
    /// Weak, because the streams of a transport that has ended must end although a listener is held.
    wishes: Weak<Wishes>,
    number: u64,
}

impl Wishes {
    /// Adds a wish.
    pub(super) fn add(self: &Arc<Self>, hosting: Hosting) -> Wish {
        let mut known = self.known();
        let number = known.next;
        known.next += 1;
        known.hostings.insert(number, Arc::new(hosting));
        drop(known);
        self.changed.notify_one();
        Wish { wishes: Arc::downgrade(self), number }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_none(&self) -> bool {
        self.known().hostings.is_empty()
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        if let Some(wishes) = self.wishes.upgrade() {
            let ended = wishes.known().hostings.remove(&self.number);
            wishes.changed.notify_one();
            drop(ended);
        }
    }
}

/// Hosts whatever is wished for, for ever.
pub(super) async fn keep(shared: Arc<Shared>, wishes: Arc<Wishes>) {
    let (callers, started) = (JoinSet::new(), Instant::now());
    let (services, client_health) = (BTreeMap::new(), Health::default());
    let mut host = Host {
        shared,
        wishes,
        callers,
        services,
        client_health,
        network_down: false,
        turn: started,
        started,
    };
    loop {
        while host.wishes.are_none() {
            host.wishes.changed.notified().await;
        }
        let (client, lifetime) = bootstrapped_client(&host.shared, !host.network_down).await;
        host.shared.check.forget().await;
        let stopped = client.wait_for_stop();
        host.serve(client).await;
        drop(lifetime);
        // Else its successor could not write down which guards it chose.
        let _ = timeout(STOP_WAIT_MAX, stopped).await;
    }
}

struct Host {
    shared: Arc<Shared>,
    wishes: Arc<Wishes>,
    /// The tasks that answer callers; those of a service that has ended go on until their circuits close.
    callers: JoinSet<()>,
    /// By number of the wish.
    services: BTreeMap<u64, Kept>,
    client_health: Health,
    /// Whether the last look found no way into the network.
    network_down: bool,
    /// When one that was well was looked at last.
    turn: Instant,
    started: Instant,
}

/// One onion that is hosted.
struct Kept {
    hosting: Arc<Hosting>,
    /// The service and its name; none while it has to be launched.
    running: Option<(Service, String)>,
    health: Health,
    /// Whether the last look found it well.
    well: bool,
    looked: Instant,
}

impl Kept {
    /// Another client begins its work at `now`.
    fn client_started(&mut self, now: Duration) {
        self.health.client_started(now);
        (self.well, self.looked) = (false, Instant::now());
    }

    /// When it may be looked at, if one that was well was looked at last at `turn`: those take turns.
    fn next_look(&self, turn: Instant) -> Instant {
        if self.well { turn + LOOK_WELL } else { self.looked + LOOK_UNWELL }
    }
}

impl Host {
    /// Uses the client until it is to be replaced, or nothing is to be hosted any more.
    async fn serve(&mut self, client: Client) {
        let now = self.started.elapsed();
        self.client_health.client_started(now);
        self.services.values_mut().for_each(|kept| kept.client_started(now));
        loop {
            while self.callers.try_join_next().is_some() {}
            self.follow_wishes();
            if self.services.is_empty() {
                return;
            }
            self.launch(&client);
            let found = tokio::select! {
                biased;
                () = self.wishes.changed.notified() => continue,
                found = self.look(&client) => found,
            };
            if self.repair(found) == Repair::Client {
                break;
            }
        }
        self.services.values_mut().for_each(|kept| kept.running = None);
    }

    /// Ends what is not wished for any more, and takes up what is new.
    fn follow_wishes(&mut self) {
        let wishes = self.wishes.known();
        self.services.retain(|number, _| wishes.hostings.contains_key(number));
        for (number, hosting) in &wishes.hostings {
            self.services.entry(*number).or_insert_with(|| Kept {
                hosting: hosting.clone(),
                running: None,
                health: Health::default(),
                well: false,
                looked: Instant::now(),
            });
        }
    }

    /// Launches what does not run, each under a new random name.
    fn launch(&mut self, client: &Client) {
        let mut launched = false;
        for kept in self.services.values_mut().filter(|kept| kept.running.is_none()) {
            let name = service::random_nickname();
            match service::launch(client, &kept.hosting, &name, &mut self.callers) {
                Ok(service) => kept.running = Some((service, name)),
                // It is unwell, so the next look is soon, and after it the next try.
                Err(error) => tracing::warn!(%error, "an onion service could not be launched; trying again"),
            }
            launched = true;
        }
        if launched {
            let running = self.services.values().filter_map(|kept| kept.running.as_ref());
            let names: Vec<&str> = running.map(|(_, name)| name.as_str()).collect();
            service::purge(&self.shared.state_dir, &names);
        }
    }

    /// Waits until a look is due, and looks. Dropping it before it has ended changes nothing.
    async fn look(&self, client: &Client) -> Vec<(u64, Finding)> {
        let next = self.services.values().map(|kept| kept.next_look(self.turn)).min();
        sleep_until(next.expect("a client is only kept while something is hosted")).await;
        let due = self.due(Instant::now());
        // After an outage the cheaper question comes first.
        if self.network_down && !self.shared.check.alive(client).await {
            return due.into_iter().map(|number| (number, Finding::NetworkDown)).collect();
        }
        let looks = due.into_iter().map(async |number| (number, self.find(client, number).await));
        futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await
    }

    /// What is to be looked at: whatever was unwell a while ago, and of the others the one not looked at for longest.
    ///
    /// So many onions cost hardly more than one; what ails the client shows in any of them.
    fn due(&self, now: Instant) -> Vec<u64> {
        let unwell = |kept: &Kept| !kept.well && kept.next_look(self.turn) <= now;
        let mut due: Vec<u64> =
            self.services.iter().filter(|(_, kept)| unwell(kept)).map(|(n, _)| *n).collect();
        if self.turn + LOOK_WELL <= now {
            let well = self.services.iter().filter(|(_, kept)| kept.well);
            due.extend(well.min_by_key(|(_, kept)| kept.looked).map(|(number, _)| *number));
        }
        due
    }

    async fn find(&self, client: &Client, number: u64) -> Finding {
        let kept = &self.services[&number];
        let state = kept.running.as_ref().map(|(service, _)| service.status().state());
        // What was never published need not be looked for at the relays.
        if !matches!(state, None | Some(State::Bootstrapping | State::Shutdown)) {
            let (onion, fresh) = (kept.hosting.key.address(), kept.health.wants_fresh_path());
            let paths = &self.shared.paths;
            if dial::own_service_answers(client, paths, &onion, fresh, ANSWER_WAIT_MAX).await {
                return Finding::Well;
            }
        }
        if !self.shared.check.alive(client).await {
            Finding::NetworkDown
        } else if state.is_some_and(|state| state.is_fully_reachable()) {
            Finding::Unreachable
        } else {
            Finding::Unpublished
        }
    }

    /// Takes in what a look found. What is to be started anew is stopped; a client is replaced by the caller.
    fn repair(&mut self, found: Vec<(u64, Finding)>) -> Repair {
        let now = self.started.elapsed();
        let looked = Instant::now();
        self.network_down = found.iter().any(|(_, finding)| *finding == Finding::NetworkDown);
        let network = if self.network_down { Finding::NetworkDown } else { Finding::Well };
        let mut repair = self.client_health.found(network, now).repair;
        for (number, finding) in found {
            tracing::debug!(number, ?finding, "looked at a hosted onion");
            let Some(kept) = self.services.get_mut(&number) else { continue };
            if kept.well {
                self.turn = looked;
            }
            (kept.well, kept.looked) = (finding == Finding::Well, looked);
            // An outage is nobody's own trouble.
            if finding == Finding::NetworkDown {
                continue;
            }
            let wanted = kept.health.found(finding, now).repair;
            if wanted != Repair::Nothing {
                tracing::info!(number, ?finding, ?wanted, "a hosted onion does not recover; starting anew");
                kept.running = None;
            }
            if wanted == Repair::Client {
                repair = Repair::Client;
            }
        }
        let all_unwell = self.services.values().all(|kept| !kept.well);
        // While the client serves one of them well, it is not the client.
        if repair == Repair::Client && !self.network_down && !all_unwell { Repair::Nothing } else { repair }
    }
}

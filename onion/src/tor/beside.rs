//! The second client of a transport: hosts the onions beside the identity's own, tests them, and starts anew what
//! stays broken.
//!
//! It has guards, introduction points and a folder of its own, chosen without regard to the first client's: that both
//! use one relay is chance. It cannot hide that both come and go with this process, and among themselves its onions
//! share guards and may share introduction points. Promises that it runs only while something is hosted.

use super::health::Finding;
use super::keeper::ANSWER_WAIT_MAX;
use super::opening::{STOP_WAIT_MAX, bootstrapped_client};
use super::rounds::{Anew, Rounds};
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
    let (services, rounds) = (BTreeMap::new(), Rounds::default());
    let mut host = Host { shared, wishes, callers, services, rounds, started };
    loop {
        while host.wishes.are_none() {
            host.wishes.changed.notified().await;
        }
        let (client, lifetime) = bootstrapped_client(&host.shared, !host.rounds.network_down()).await;
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
    services: BTreeMap<u64, Hosted>,
    rounds: Rounds,
    started: Instant,
}

/// One onion that is hosted.
struct Hosted {
    hosting: Arc<Hosting>,
    /// The service and its name; none while it has to be launched.
    running: Option<(Service, String)>,
}

impl Host {
    /// Uses the client until it is to be replaced, or nothing is to be hosted any more.
    async fn serve(&mut self, client: Client) {
        self.rounds.client_started(self.started.elapsed());
        loop {
            while self.callers.try_join_next().is_some() {}
            self.follow_wishes();
            let Some(next_look) = self.rounds.next_look() else { return };
            self.launch(&client);
            // A look that is broken off is begun anew: it was not taken in yet.
            let found = tokio::select! {
                biased;
                () = self.wishes.changed.notified() => continue,
                found = self.look(&client, next_look) => found,
            };
            tracing::debug!(?found, "looked at hosted onions");
            match self.rounds.found(&found, self.started.elapsed()) {
                Anew::Client => break,
                Anew::Services(broken) => broken.iter().for_each(|number| self.stop(*number)),
            }
        }
        self.services.values_mut().for_each(|hosted| hosted.running = None);
    }

    /// Ends what is not wished for any more, and takes up what is new.
    fn follow_wishes(&mut self) {
        let wishes = self.wishes.known();
        self.services.retain(|number, _| wishes.hostings.contains_key(number));
        for (number, hosting) in &wishes.hostings {
            let hosted = || Hosted { hosting: hosting.clone(), running: None };
            self.services.entry(*number).or_insert_with(hosted);
        }
        self.rounds.follow(&self.services.keys().copied().collect(), self.started.elapsed());
    }

    /// Ends a service that does not recover; it is launched anew at once.
    fn stop(&mut self, number: u64) {
        tracing::info!(number, "a hosted onion does not recover; starting anew");
        if let Some(hosted) = self.services.get_mut(&number) {
            hosted.running = None;
        }
    }

    /// Launches what does not run, each under a new random name.
    fn launch(&mut self, client: &Client) {
        let mut launched = false;
        for hosted in self.services.values_mut().filter(|hosted| hosted.running.is_none()) {
            let name = service::random_nickname();
            match service::launch(client, &hosted.hosting, &name, &mut self.callers) {
                Ok(service) => hosted.running = Some((service, name)),
                // It is unwell, so the next look is soon, and after it the next try.
                Err(error) => tracing::warn!(%error, "an onion service could not be launched; trying again"),
            }
            launched = true;
        }
        if launched {
            let running = self.services.values().filter_map(|hosted| hosted.running.as_ref());
            let names: Vec<&str> = running.map(|(_, name)| name.as_str()).collect();
            service::purge(&self.shared.state_dir, &names);
        }
    }

    /// Waits until it is time for a look, and looks.
    async fn look(&self, client: &Client, at: Duration) -> Vec<(u64, Finding)> {
        sleep_until(self.started + at).await;
        let due = self.rounds.due(self.started.elapsed());
        // After an outage the cheaper question comes first.
        if self.rounds.network_down() && !self.shared.check.alive(client).await {
            return due.into_iter().map(|number| (number, Finding::NetworkDown)).collect();
        }
        let looks = due.into_iter().map(async |number| (number, self.find(client, number).await));
        futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await
    }

    async fn find(&self, client: &Client, number: u64) -> Finding {
        // What is due follows the services.
        let hosted = &self.services[&number];
        let state = hosted.running.as_ref().map(|(service, _)| service.status().state());
        // What was never published need not be looked for at the relays.
        if !matches!(state, None | Some(State::Bootstrapping | State::Shutdown)) {
            let (onion, fresh) = (hosted.hosting.key.address(), self.rounds.wants_fresh_path(number));
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
}

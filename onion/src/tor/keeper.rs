//! The task behind a transport: bootstraps, hosts and tests the own service, and starts anew what stays broken.
//!
//! It wakes, looks, does what `health` decides, and computes the next wake. Promises that `ready` holds a client
//! exactly while one can dial, and that the stage told is what was found last, not what arti believes.

use super::health::{Finding, Health, Repair, slept};
use super::opening::{self, NO_WAY_IN, STOP_WAIT_MAX};
use super::runtime::Lifetime;
use super::service::{self, Hosting, Service};
use super::{Client, Shared, dial};
use crate::{ListenError, Stage};
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the own service may take to answer; 0.3–0.7 s on an idle local network, seconds on the public one.
pub(super) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(12);
/// How often the clocks are compared, to notice that the machine slept.
const TICK: Duration = Duration::from_secs(5);
/// Doubtful dials cause at most one look in this time.
const DOUBT_PAUSE: Duration = Duration::from_secs(3);
/// After arti lost its introduction points it gets this long to replace them before somebody looks.
const RECOVER_PAUSE: Duration = Duration::from_secs(2);
/// With nothing hosted nobody depends on being reachable; only a doubtful dial causes a look.
const NOTHING_HOSTED: Duration = Duration::from_secs(24 * 3600);

const NOT_ANSWERING: &str = "the own address is published but does not answer yet";

/// Keeps one transport going, for ever.
pub(super) async fn keep(shared: Arc<Shared>, asked: mpsc::Receiver<Hosting>) {
    let (callers, health) = (JoinSet::new(), Health::default());
    let mut keeper = Keeper {
        shared,
        asked,
        hosting: None,
        callers,
        health,
        started: Instant::now(),
        network_down: false,
    };
    loop {
        let (client, lifetime) = keeper.bootstrapped_client().await;
        keeper.shared.check.forget().await;
        keeper.shared.ready.send_replace(Some(client.clone()));
        let stopped = client.wait_for_stop();
        keeper.serve(client).await;
        keeper.shared.ready.send_replace(None);
        drop(lifetime);
        // Else its successor could not write down which guards it chose.
        let _ = timeout(STOP_WAIT_MAX, stopped).await;
    }
}

struct Keeper {
    shared: Arc<Shared>,
    asked: mpsc::Receiver<Hosting>,
    hosting: Option<Hosting>,
    /// The tasks that answer callers; those of a service that was replaced go on until their circuits close.
    callers: JoinSet<()>,
    health: Health,
    started: Instant,
    /// Whether the last look found no way into the network: then arti's own belief is told to nobody.
    network_down: bool,
}

impl Keeper {
    /// A client that has a directory; meanwhile wishes to host are taken.
    async fn bootstrapped_client(&mut self) -> (Client, Lifetime) {
        let shared = self.shared.clone();
        let opened = opening::bootstrapped_client(&shared, !self.network_down);
        tokio::pin!(opened);
        loop {
            tokio::select! {
                biased;
                opened = &mut opened => return opened,
                Some(hosting) = self.asked.recv() => self.accept(hosting),
            }
        }
    }

    /// Tells a stage that arti believes in, unless a look has found otherwise.
    fn tell_belief(&self, stage: Stage, blocked: Option<&str>) {
        if !self.network_down {
            self.shared.tell(stage, blocked);
        }
    }

    /// Takes a wish to host, unless one is being served.
    fn accept(&mut self, mut hosting: Hosting) {
        let taken = self.hosting.as_ref().is_some_and(|current| !current.inbox.is_closed());
        let answer = hosting.answer.take();
        if !taken {
            self.hosting = Some(hosting);
        }
        if let Some(answer) = answer {
            // Nobody waits any more: then the inbox is closed too, and hosting ends at once.
            let _ = answer.send(if taken { Err(ListenError::InUse) } else { Ok(()) });
        }
    }

    /// Uses the client until it is to be replaced.
    async fn serve(&mut self, client: Client) {
        let mut served = Served::new(client);
        self.health.client_started(self.started.elapsed());
        if self.network_down {
            served.look_in(Duration::ZERO);
        }
        self.tell_belief(Stage::Dialling, None);
        let mut clocks = (SystemTime::now(), Instant::now());
        let mut tick = tokio::time::interval(TICK);
        loop {
            if self.hosting.is_some() && served.service.is_none() {
                self.launch(&mut served);
            }
            let next_look = served.next_look;
            let look = tokio::select! {
                biased;
                Some(hosting) = self.asked.recv() => { self.accept(hosting); false }
                () = listener_gone(self.hosting.as_ref()) => {
                    self.hosting = None;
                    served.service = None;
                    self.tell_belief(Stage::Dialling, None);
                    false
                }
                Some(_) = self.callers.join_next() => false,
                reachable = served.status_change() => {
                    if reachable || !self.network_down {
                        served.look_after_change(reachable);
                    }
                    false
                }
                () = self.shared.doubt.notified(), if !self.network_down => { served.look_in(DOUBT_PAUSE); false }
                () = sleep_until(next_look) => true,
                _ = tick.tick() => {
                    let now = (SystemTime::now(), Instant::now());
                    let wall = now.0.duration_since(clocks.0).unwrap_or_default();
                    let woke = slept(wall, now.1 - clocks.1);
                    clocks = now;
                    woke
                }
            };
            if look && self.look(&mut served).await == Repair::Client {
                return;
            }
        }
    }

    /// Launches what is hosted on `served`, under a new random name.
    fn launch(&mut self, served: &mut Served) {
        let Some(hosting) = &self.hosting else { return };
        let nickname = service::random_nickname();
        match service::launch(&served.client, hosting, &nickname, &mut self.callers) {
            Ok(service) => {
                service::purge(&self.shared.state_dir, &[&nickname]);
                served.hosts(service);
            }
            Err(error) => {
                tracing::warn!(%error, "the onion service could not be launched; trying again");
                self.shared.tell(Stage::Dialling, Some(&error.to_string()));
                // Dropping the wish would leave a listener that never hears; the next look tries again.
                served.service = None;
            }
        }
    }

    /// Looks once, tells what it found, and repairs the service if that is due; a client is replaced by the caller.
    async fn look(&mut self, served: &mut Served) -> Repair {
        let finding = self.find(served).await;
        self.network_down = finding == Finding::NetworkDown;
        let plan = self.health.found(finding, self.started.elapsed());
        let hosting = self.hosting.is_some();
        served.next_look = Instant::now()
            + if hosting || finding != Finding::Well { plan.next_look } else { NOTHING_HOSTED };
        tracing::debug!(?finding, ?plan, "looked");
        match finding {
            Finding::Well if hosting => self.shared.tell(Stage::Reachable, None),
            Finding::Well | Finding::Unpublished => self.shared.tell(Stage::Dialling, None),
            Finding::Unreachable => self.shared.tell(Stage::Dialling, Some(NOT_ANSWERING)),
            Finding::NetworkDown => self.shared.tell(Stage::Connecting, Some(NO_WAY_IN)),
        }
        if plan.repair != Repair::Nothing && finding != Finding::NetworkDown {
            tracing::info!(?finding, repair = ?plan.repair, "the onion service does not recover; starting anew");
        }
        if plan.repair == Repair::Service {
            served.service = None;
        }
        plan.repair
    }

    async fn find(&self, served: &mut Served) -> Finding {
        // After an outage the cheaper question comes first.
        if self.network_down && !self.shared.check.alive(&served.client).await {
            return Finding::NetworkDown;
        }
        if let (Some(hosting), Some(_)) = (&self.hosting, &served.service) {
            let own = hosting.key.address();
            let fresh = self.health.wants_fresh_path();
            let (client, paths) = (&served.client, &self.shared.paths);
            if dial::own_service_answers(client, paths, &own, fresh, ANSWER_WAIT_MAX).await {
                return Finding::Well;
            }
        }
        let alive = self.shared.check.alive(&served.client).await;
        match (alive, &self.hosting, &served.service) {
            (false, _, _) => Finding::NetworkDown,
            (true, None, _) => Finding::Well,
            (true, Some(_), Some(running)) if running.service.status().state().is_fully_reachable() => {
                Finding::Unreachable
            }
            (true, Some(_), _) => Finding::Unpublished,
        }
    }
}

/// A client in use and what it hosts.
struct Served {
    client: Client,
    service: Option<Running>,
    next_look: Instant,
}

struct Running {
    service: Service,
    /// Whether arti believes it reachable, whenever that may have changed.
    reachable: futures::stream::BoxStream<'static, bool>,
}

impl Served {
    fn new(client: Client) -> Self {
        let now = Instant::now();
        Self { client, service: None, next_look: now + NOTHING_HOSTED }
    }

    fn hosts(&mut self, service: Service) {
        let reachable = service.status_events().map(|status| status.state().is_fully_reachable()).boxed();
        self.service = Some(Running { service, reachable });
        // Only a bound: the look comes as soon as arti says that it has published.
        self.look_in(ANSWER_WAIT_MAX);
    }

    /// The next change of arti's belief; never, while nothing is hosted.
    async fn status_change(&mut self) -> bool {
        if let Some(running) = &mut self.service
            && let Some(reachable) = running.reachable.next().await
        {
            return reachable;
        }
        std::future::pending().await
    }

    fn look_after_change(&mut self, reachable: bool) {
        self.look_in(if reachable { Duration::ZERO } else { RECOVER_PAUSE });
    }

    /// Looks after `pause` at the latest.
    fn look_in(&mut self, pause: Duration) {
        self.next_look = self.next_look.min(Instant::now() + pause);
    }
}

async fn listener_gone(hosting: Option<&Hosting>) {
    match hosting {
        Some(hosting) => hosting.inbox.closed().await,
        None => std::future::pending().await,
    }
}

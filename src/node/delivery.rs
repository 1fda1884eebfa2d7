//! The task that keeps the queue moving: wake, look at everything, start what is due, compute the next wake.
//!
//! It stores nothing of its own: "in flight" lives only here, so a crash leaves every entry waiting. Each peer has at
//! most one session; sessions are bounded, and peers that were absent last time get at most half of the places, so
//! that however many are absent, those who are there are served.

use crate::model::queue::{self, DuePeer, Entry, State};
use crate::model::time::UnixTime;
use crate::node::Node;
use crate::node::orders::Asked;
use crate::node::session::{self, Ended, Work};
use onion::{OnionAddress, Stage};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};

/// Most sessions at once. Each holds a Tor circuit and about 100 KiB.
const SESSIONS_MAX: usize = 16;
/// Of these, most that may go to peers whose last dial found nobody.
const SESSIONS_STALE_MAX: usize = SESSIONS_MAX / 2;
/// Of these, most that may go to peers for whom nothing waits but answers of `echo@`: strangers, who could be slow on
/// purpose.
const SESSIONS_ANSWERING_MAX: usize = 2;
/// Longest sleep while something waits: a wall clock that was set is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Shortest pause, should something due not have been started after all.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// A queue longer than this takes a while to look through.
const LONG_QUEUE_LEN: usize = 256;
/// After a look at a long queue, so many times as long as it took is nothing looked at: letters that come meanwhile
/// share the next look, and however long the queue is, looking takes a tenth of one processor.
const LOOK_REST: u32 = 9;
/// Longest such rest.
const LOOK_REST_MAX: Duration = Duration::from_millis(250);
/// Pause with a peer after what became of a try could not be kept, or after its session failed inside this program:
/// the same letter is still due, and would be sent again and again.
const REST: Duration = Duration::from_secs(60);
/// How often a greeting is tried, and the pause between tries: within a minute of our coming up.
const GREETINGS_MAX: u32 = 3;
const GREETING_PAUSE: Duration = Duration::from_secs(15);

/// A session that is under way.
struct Live {
    /// Rung when more is due for this peer.
    more: Arc<Notify>,
    /// Rung when the peer asked for a fresh connection: end as soon as nothing is under way.
    end: Arc<Notify>,
    /// Start anew as soon as it has ended.
    again: bool,
    /// Set when the session is to say ETRN.
    greet: Arc<AtomicBool>,
    /// It was ever set.
    is_to_greet: bool,
}

/// A peer that is to be told that we are up.
struct Greeting {
    tries: u32,
    at: tokio::time::Instant,
}

/// The task's state, all of it forgotten at a crash.
pub(super) struct Delivery {
    node: Arc<Node>,
    sessions: JoinSet<Ended>,
    /// Whose session each task is: one that failed inside this program cannot say.
    peers: HashMap<task::Id, OnionAddress>,
    live: BTreeMap<OnionAddress, Live>,
    /// Deliver now, whatever the entries' next time.
    pushed: BTreeSet<OnionAddress>,
    greetings: BTreeMap<OnionAddress, Greeting>,
    /// Peers that have said they are up: a dial that fails all the same is soon followed by another.
    expected: BTreeMap<OnionAddress, Greeting>,
    /// Peers whose last dial found nobody.
    absent: BTreeSet<OnionAddress>,
    /// Peers that are let alone until then, because the outcome of the last try could not be kept.
    resting: BTreeMap<OnionAddress, tokio::time::Instant>,
    /// Peers for whom something is due and no place is free: the end of a session wakes us, no timer need.
    no_place: BTreeSet<OnionAddress>,
    /// Entries in the queue at the last look.
    queue_len: usize,
}

impl Delivery {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            sessions: JoinSet::new(),
            peers: HashMap::new(),
            live: BTreeMap::new(),
            pushed: BTreeSet::new(),
            greetings: BTreeMap::new(),
            expected: BTreeMap::new(),
            absent: BTreeSet::new(),
            resting: BTreeMap::new(),
            no_place: BTreeSet::new(),
            queue_len: 0,
        }
    }

    /// Runs until the task is dropped.
    pub(super) async fn run(mut self) {
        let mut bootstrap = self.node.transport.bootstrap();
        let mut stage = Stage::Starting;
        loop {
            let now_stage = bootstrap.borrow_and_update().stage;
            if stage < Stage::Dialling && now_stage >= Stage::Dialling {
                self.node.desk.orders.push_all();
            }
            stage = now_stage;
            let begun = tokio::time::Instant::now();
            let pause = self.run_once(stage).await;
            if self.queue_len > LONG_QUEUE_LEN {
                tokio::time::sleep((begun.elapsed() * LOOK_REST).min(LOOK_REST_MAX)).await;
            }
            tokio::select! {
                biased;
                Some(ended) = self.sessions.join_next_with_id() => self.ended(ended),
                () = self.node.desk.orders.asked() => {}
                Ok(()) = bootstrap.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while let Some(ended) = self.sessions.try_join_next_with_id() {
                self.ended(ended);
            }
        }
    }

    /// Looks at everything, starts what is due, and says how long nothing will be.
    async fn run_once(&mut self, stage: Stage) -> Duration {
        let asked = self.node.desk.orders.take();
        let entries = match self.node.desk.queue().await {
            Ok(entries) => entries,
            Err(error) => {
                self.node.desk.trouble.note("queue", format!("the queue cannot be read: {error}"));
                return SLEEP_MAX;
            }
        };
        self.queue_len = entries.len();
        let now = self.node.desk.now();
        let mut waiting: BTreeMap<OnionAddress, Vec<Entry>> = BTreeMap::new();
        for (_, entry) in entries {
            if !self.node.desk.hands.is_here(&entry.to.onion) {
                waiting.entry(entry.to.onion).or_default().push(entry);
            }
        }
        self.take_orders(asked, &waiting, now);
        if stage < Stage::Dialling {
            // Whatever is due, nobody can be dialled; the network's coming wakes us.
            return SLEEP_MAX;
        }
        self.start_due(&waiting, now).await;
        self.pause(&waiting, now)
    }

    fn take_orders(&mut self, asked: Asked, waiting: &BTreeMap<OnionAddress, Vec<Entry>>, now: UnixTime) {
        let at = tokio::time::Instant::now();
        let is_wanted = |peer: &OnionAddress| {
            waiting.get(peer).is_some_and(|entries| entries.iter().any(|entry| entry.is_wanted(now)))
        };
        for peer in asked.greet {
            self.greetings.insert(peer, Greeting { tries: 0, at });
        }
        for peer in asked.nudge {
            if owner_waits(waiting.get(&peer)) && is_wanted(&peer) && !self.live.contains_key(&peer) {
                self.pushed.insert(peer);
                self.absent.remove(&peer);
            }
        }
        // Our own network came back: that says nothing about who is there, so the absent keep to their half.
        let all = waiting.keys().filter(|_| asked.all).map(|peer| (*peer, false));
        for (peer, is_there) in asked.push.into_iter().map(|peer| (peer, true)).chain(all) {
            if is_there {
                // It came up anew: what Tor still has open to it may lead to a process that is gone.
                self.node.transport.leave_path(peer);
            }
            let waits = is_wanted(&peer);
            if let Some(live) = self.live.get_mut(&peer) {
                // The connection at hand may be one to a process that is gone: a fresh one follows it, now or when
                // there is something to send.
                live.again = waits;
                live.end.notify_one();
            }
            if waits {
                self.pushed.insert(peer);
                if is_there {
                    self.absent.remove(&peer);
                    self.expected.insert(peer, Greeting { tries: 0, at });
                }
            }
        }
    }

    /// Starts sessions with peers that have something due, those seen last first.
    async fn start_due(&mut self, waiting: &BTreeMap<OnionAddress, Vec<Entry>>, now: UnixTime) {
        self.no_place.clear();
        let at = tokio::time::Instant::now();
        self.resting.retain(|_, until| *until > at);
        let mut due: Vec<OnionAddress> = Vec::new();
        self.expected.retain(|peer, _| waiting.contains_key(peer));
        let again = self.expected.iter().filter(|(_, greeting)| greeting.tries > 0 && greeting.at <= at);
        self.pushed.extend(again.map(|(peer, _)| *peer));
        for (peer, entries) in waiting {
            if !self.pushed.contains(peer) && !entries.iter().any(|entry| entry.is_due(now)) {
                continue;
            }
            match self.live.get(peer) {
                Some(live) => live.more.notify_one(),
                None => due.push(*peer),
            }
        }
        for peer in self.greetings.iter().filter(|(_, greeting)| greeting.at <= at).map(|(peer, _)| *peer) {
            match self.live.get_mut(&peer) {
                // It began before the own onion could be reached: what the peer did since may have been in vain.
                Some(live) if !live.is_to_greet => {
                    live.is_to_greet = true;
                    live.greet.store(true, Ordering::Relaxed);
                    live.more.notify_one();
                }
                Some(_) => {}
                None => due.push(peer),
            }
        }
        due.sort();
        due.dedup();
        due.retain(|peer| !self.resting.contains_key(peer));
        if due.is_empty() {
            return;
        }
        let due = due.into_iter().map(|peer| (peer, due_since(waiting.get(&peer), now))).collect();
        let mut order = match self.node.desk.due_peers(due).await {
            Ok(order) => order,
            Err(error) => {
                self.node.desk.trouble.note("queue", format!("the peers cannot be read: {error}"));
                return;
            }
        };
        queue::dial_order(&mut order);
        let answers_only =
            |peer: &OnionAddress| !owner_waits(waiting.get(peer)) && waiting.contains_key(peer);
        order.sort_by_key(|due| answers_only(&due.peer));
        for DuePeer { peer, .. } in order {
            let answering = || self.live.keys().filter(|peer| answers_only(peer)).count();
            let full = self.sessions.len() >= SESSIONS_MAX
                || answers_only(&peer) && answering() >= SESSIONS_ANSWERING_MAX;
            if full || self.absent.contains(&peer) && self.stale_sessions() >= SESSIONS_STALE_MAX {
                self.no_place.insert(peer);
            } else {
                self.start(peer);
            }
        }
    }

    fn stale_sessions(&self) -> usize {
        self.live.keys().filter(|peer| self.absent.contains(peer)).count()
    }

    fn start(&mut self, peer: OnionAddress) {
        let (more, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let is_to_greet = self.greetings.contains_key(&peer);
        let greet = Arc::new(AtomicBool::new(is_to_greet));
        let live =
            Live { more: more.clone(), end: end.clone(), again: false, greet: greet.clone(), is_to_greet };
        self.live.insert(peer, live);
        let work = Work { peer, greet, pushed: self.pushed.remove(&peer), more, end };
        let task = self.sessions.spawn(session::run(self.node.clone(), work));
        self.peers.insert(task.id(), peer);
    }

    fn ended(&mut self, ended: Result<(task::Id, Ended), task::JoinError>) {
        let ended = match ended {
            Ok((id, ended)) => {
                self.peers.remove(&id);
                ended
            }
            Err(error) => {
                tracing::error!("a delivery session failed inside this program");
                let what = "a delivery failed inside this program, and is tried again; please report the log";
                self.node.desk.trouble.note("delivery", what.into());
                // Its entries were not settled. The others' sessions go on.
                let Some(peer) = self.peers.remove(&error.id()) else { return };
                Ended { peer, reached: false, greeted: false, kept: false }
            }
        };
        let Some(live) = self.live.remove(&ended.peer) else { return };
        if !ended.kept {
            self.resting.insert(ended.peer, tokio::time::Instant::now() + REST);
        }
        if live.again {
            self.pushed.insert(ended.peer);
        }
        if ended.reached {
            self.absent.remove(&ended.peer);
            self.expected.remove(&ended.peer);
        } else {
            self.absent.insert(ended.peer);
            try_again(&mut self.expected, &ended.peer);
        }
        if ended.greeted {
            self.greetings.remove(&ended.peer);
        } else if live.is_to_greet {
            try_again(&mut self.greetings, &ended.peer);
        }
    }

    /// How long there will be nothing to do. With nothing waiting: until asked.
    fn pause(&self, waiting: &BTreeMap<OnionAddress, Vec<Entry>>, now: UnixTime) -> Duration {
        let at = tokio::time::Instant::now();
        let is_free = |peer: &OnionAddress| {
            !self.live.contains_key(peer) && !self.no_place.contains(peer) && !self.resting.contains_key(peer)
        };
        let rested = self.resting.values().map(|until| until.saturating_duration_since(at)).min();
        let expected = self.expected.iter().filter(|(_, expected)| expected.tries > 0);
        let greetings = self.greetings.iter().chain(expected).filter(|(peer, _)| is_free(peer));
        let greeting = greetings.map(|(_, greeting)| greeting.at.saturating_duration_since(at)).min();
        let entries = waiting.iter().filter(|(peer, _)| is_free(peer)).flat_map(|(_, all)| all);
        let retry = queue::next_wake(entries, now).map(|next| next.since(now).min(SLEEP_MAX));
        let visit = self.node.desk.hands.has_visitors().then_some(SLEEP_MAX);
        [greeting, retry, rested, visit]
            .into_iter()
            .flatten()
            .min()
            .map_or(Duration::from_secs(3600), |pause| pause.max(PAUSE_MIN))
    }
}

/// One more try in a while, if there were not too many.
fn try_again(all: &mut BTreeMap<OnionAddress, Greeting>, peer: &OnionAddress) {
    let Some(greeting) = all.get_mut(peer) else { return };
    greeting.tries += 1;
    greeting.at = tokio::time::Instant::now() + GREETING_PAUSE;
    if greeting.tries >= GREETINGS_MAX {
        all.remove(peer);
    }
}

/// Whether a letter of the owner's is among these, not only answers of the node's own.
fn owner_waits(entries: Option<&Vec<Entry>>) -> bool {
    entries.into_iter().flatten().any(|entry| !entry.answer)
}

/// Since when the oldest of these entries has been due; now, if none is.
fn due_since(entries: Option<&Vec<Entry>>, now: UnixTime) -> UnixTime {
    let next = |entry: &Entry| {
        let State::Waiting { next, .. } = &entry.state;
        *next
    };
    entries.into_iter().flatten().map(next).min().unwrap_or(now).min(now)
}

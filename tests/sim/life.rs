//! One run: people live through the drawn turns, then all faults stop, and the mailboxes are read.
//!
//! Everything is done by one task, one thing after another, while the nodes live their own lives around it; so a seed
//! repeats its run. A power cut in the midst of a disk's operation is noticed within [`LOOK_EVERY`]: until then the
//! node answers that it cannot keep letters.

use crate::in_paused_time;
use crate::ledger::{self, Delay, Fate, Found, Ledger, Recipient, Submitted, Tally};
use crate::trace::Trace;
use crate::weather::{self, Turn};
use crate::world::{Answer, Conditions, NodeId, World, days, hours, minutes};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until, timeout};

/// How often it is looked whether a power cut has struck.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a mail program waits for an answer.
const PATIENCE: Duration = minutes(5);
/// After the last fault everything must be settled within this time: the longest pause between tries is 5 hours.
const SETTLE_MAX: Duration = hours(6);
/// The names of the people; further ones are numbered.
const NAMES: [&str; 8] = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"];
/// A name that nobody has.
const NOBODY: &str = "nobody";

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Of trouble; the peace after it is short.
    pub(crate) days: u64,
    /// Tell it line by line.
    pub(crate) told: bool,
}

/// What came of it.
pub(crate) struct Run {
    pub(crate) tally: Tally,
    pub(crate) faults: Vec<String>,
    pub(crate) trace: String,
    crashes: usize,
    dials: u64,
    cuts: u64,
    settled: Duration,
    pub(crate) delays: Vec<Delay>,
}

impl Run {
    /// All columns, in one line.
    pub(crate) fn columns(&self) -> String {
        let Tally { letters, delivered, returned, unconfirmed, lost, duplicated, refused, unanswered } =
            self.tally;
        format!(
            "letters={letters} delivered={delivered} returned={returned} unconfirmed={unconfirmed} lost={lost} \
             duplicated={duplicated} unanswered={unanswered} refused={refused} crashes={} dials={} cuts={} \
             settled={}s trace={}",
            self.crashes,
            self.dials,
            self.cuts,
            self.settled.as_secs(),
            self.trace
        )
    }

    /// Insists on what a script leads to.
    pub(crate) fn expecting(mut self, letters: usize, delivered: usize, returned: usize) -> Self {
        let counted = (self.tally.letters, self.tally.delivered, self.tally.returned);
        if counted != (letters, delivered, returned) {
            self.faults.push(format!("expected {:?}, counted {counted:?}", (letters, delivered, returned)));
        }
        self
    }
}

/// What ends by itself.
#[derive(Debug)]
pub(crate) enum End {
    Start(NodeId),
    Offline(NodeId),
    Partition,
    Weather,
    WrongClock(NodeId),
    NoTime,
    /// Evening, for one who has a laptop.
    Evening(NodeId),
    /// A machine is opened, or closed, by a schedule.
    Wake(NodeId),
    Sleep(NodeId),
}

/// Lives one run.
pub(crate) fn live(wish: &Wish) -> Run {
    in_paused_time(async {
        let mut life = Life::new(wish.seed, wish.told);
        for n in 0..wish.nodes {
            life.arrive(n).await;
        }
        life.trouble(days(wish.days)).await;
        life.peace().await;
        life.count().await
    })
}

/// The world, and what is known about it.
pub(crate) struct Life {
    pub(crate) world: World,
    seed: u64,
    pub(crate) rng: StdRng,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    /// Who knows whom; empty if all know all.
    pub(crate) friends: BTreeMap<NodeId, Vec<NodeId>>,
    /// Who is not to be started now.
    pub(crate) asleep: BTreeSet<NodeId>,
    /// Whose clock went wrong, since when and by how many seconds.
    clocks: BTreeMap<NodeId, Vec<(Instant, i64)>>,
    ends: BTreeMap<(Instant, u64), End>,
    next: u64,
    /// Whose power will go.
    doomed: BTreeSet<NodeId>,
    offline: BTreeSet<NodeId>,
    parted: bool,
    written: usize,
    crashes: usize,
    settled: Duration,
    faults: Vec<String>,
    /// The network's true time when the run began, and that instant.
    began: (Instant, u64),
}

impl Life {
    pub(crate) fn new(seed: u64, told: bool) -> Self {
        let world = World::new(seed, Conditions::tor());
        let true_time = world.network.true_time().duration_since(UNIX_EPOCH);
        let began = (Instant::now(), true_time.map_or(0, |time| time.as_secs()));
        Self {
            world,
            began,
            seed,
            rng: StdRng::seed_from_u64(seed),
            ledger: Ledger::default(),
            trace: Trace::new(told),
            friends: BTreeMap::new(),
            asleep: BTreeSet::new(),
            clocks: BTreeMap::new(),
            ends: BTreeMap::new(),
            next: 0,
            doomed: BTreeSet::new(),
            offline: BTreeSet::new(),
            parted: false,
            written: 0,
            crashes: 0,
            settled: Duration::ZERO,
            faults: Vec::new(),
        }
    }

    /// Person `n` comes; half of them with a laptop that sleeps at night.
    async fn arrive(&mut self, n: usize) {
        let id = self.join(n).await;
        if self.rng.random() {
            let first = hours(24).mul_f64(self.rng.random());
            self.later(first, End::Evening(id));
        }
    }

    /// Person `n` comes, with a node that is always on.
    pub(crate) async fn join(&mut self, n: usize) -> NodeId {
        let name = NAMES.get(n).map_or_else(|| format!("name{n}"), |name| (*name).to_owned());
        let id = self.world.add_started(&name).await;
        self.note_presence();
        id
    }

    /// Turn after turn, for so long.
    async fn trouble(&mut self, how_long: Duration) {
        let end = Instant::now() + how_long;
        loop {
            let at = Instant::now() + weather::pause(&mut self.rng);
            if at >= end {
                return self.wait_until(end).await;
            }
            self.wait_until(at).await;
            let people = self.people();
            let turn = weather::turn(&mut self.rng, people);
            self.take(turn).await;
            self.note_presence();
        }
    }

    pub(crate) fn people(&self) -> usize {
        self.world.everybody().count()
    }

    pub(crate) fn later(&mut self, after: Duration, end: End) {
        self.next += 1;
        self.ends.insert((Instant::now() + after, self.next), end);
    }

    /// Lets time pass, while what ends by itself ends and what is doomed falls.
    pub(crate) async fn wait_until(&mut self, until: Instant) {
        loop {
            self.fall().await;
            let due = self.ends.keys().next().copied().filter(|(at, _)| *at <= until);
            let mut at = due.map_or(until, |(at, _)| at);
            let now = Instant::now();
            if !self.doomed.is_empty() {
                at = at.min(now + LOOK_EVERY);
            }
            if now < at {
                sleep_until(at).await;
                continue;
            }
            match due.and_then(|key| self.ends.remove(&key)) {
                Some(end) => self.end(end).await,
                None => return,
            }
            self.note_presence();
        }
    }

    pub(crate) async fn take(&mut self, turn: Turn) {
        let is_up = |who: NodeId| self.world.is_running(who);
        match turn {
            Turn::Write { author, letters } if is_up(author) => self.write(author, letters).await,
            Turn::PowerCut { victim, operations, author } if is_up(victim) && is_up(author) => {
                self.trace.line(format_args!("{victim:?} will lose power at operation {operations}"));
                self.world.cut_power_at(victim, operations);
                self.doomed.insert(victim);
                self.write(author, 1).await;
                self.fall().await;
            }
            Turn::Crash { victim } if is_up(victim) => self.crash(victim).await,
            Turn::Stop { who, back } if is_up(who) => self.leave(who, back).await,
            Turn::Look { who } if is_up(who) && !self.doomed.contains(&who) => self.look(who).await,
            Turn::Offline { who, back } => self.go_offline(who, back),
            Turn::Partition { sides, back } => {
                self.trace.line(format_args!("partition {sides:?} for {back:?}"));
                let side = |left: bool| {
                    let ids = sides.iter().enumerate().filter(move |(_, side)| **side == left);
                    ids.map(|(n, _)| NodeId(n)).collect::<Vec<_>>()
                };
                self.world.partition(&[&side(true), &side(false)]);
                self.parted = true;
                self.later(back, End::Partition);
            }
            Turn::Network { conditions, name, back } => {
                self.trace.line(format_args!("the network is {name} for {back:?}"));
                self.world.network.set_conditions(*conditions);
                self.later(back, End::Weather);
            }
            Turn::Clock { who, wrong_secs, back } => {
                self.trace.line(format_args!("the clock of {who:?} is {wrong_secs} s wrong for {back:?}"));
                self.set_wrong_by(who, wrong_secs);
                self.later(back, End::WrongClock(who));
            }
            Turn::NoTime { back } => {
                self.trace.line(format_args!("no network time for {back:?}"));
                self.world.network.tell_time(false);
                self.later(back, End::NoTime);
            }
            Turn::CutStreams { who } => {
                self.trace.line(format_args!("the streams of {who:?} are cut"));
                self.world.network.cut_streams(self.world.onion(who));
            }
            Turn::Write { .. }
            | Turn::PowerCut { .. }
            | Turn::Crash { .. }
            | Turn::Stop { .. }
            | Turn::Look { .. } => {}
        }
    }

    fn set_wrong_by(&mut self, id: NodeId, secs: i64) {
        self.world.set_wrong_by(id, secs);
        self.clocks.entry(id).or_default().push((Instant::now(), secs));
    }

    async fn end(&mut self, end: End) {
        self.trace.line(format_args!("over: {end:?}"));
        match end {
            End::Start(id) if self.asleep.contains(&id) => {}
            End::Start(id) => self.start(id).await,
            End::Wake(id) => {
                self.asleep.remove(&id);
                self.start(id).await;
            }
            End::Sleep(id) => {
                self.asleep.insert(id);
                self.fall_asleep(id).await;
            }
            End::Offline(id) => {
                self.offline.remove(&id);
                self.world.set_present(id, true);
            }
            End::Partition => {
                self.parted = false;
                self.world.partition(&[]);
            }
            End::Weather => self.world.network.set_conditions(Conditions::tor()),
            End::WrongClock(id) => self.set_wrong_by(id, 0),
            End::NoTime => self.world.network.tell_time(true),
            End::Evening(id) => {
                self.later(hours(24), End::Evening(id));
                let night = weather::night(&mut self.rng);
                if self.rng.random() {
                    self.go_offline(id, night);
                } else if self.world.is_running(id) {
                    self.leave(id, night).await;
                }
            }
        }
    }

    async fn start(&mut self, id: NodeId) {
        if self.world.is_running(id) {
            return;
        }
        if let Err(error) = self.world.try_start(id).await {
            self.faults.push(format!("{id:?}: the store does not open: {error}"));
        }
    }

    async fn leave(&mut self, id: NodeId, back: Duration) {
        if self.doomed.contains(&id) {
            return self.crash(id).await;
        }
        self.trace.line(format_args!("{id:?} is stopped for {back:?}"));
        self.world.stop(id).await;
        self.later(back, End::Start(id));
    }

    /// A machine is closed until its schedule opens it again.
    pub(crate) async fn fall_asleep(&mut self, id: NodeId) {
        if self.doomed.contains(&id) {
            self.crash(id).await;
        } else if self.world.is_running(id) {
            self.world.stop(id).await;
        }
    }

    fn go_offline(&mut self, id: NodeId, back: Duration) {
        self.trace.line(format_args!("{id:?} is offline for {back:?}"));
        self.offline.insert(id);
        self.world.set_present(id, false);
        self.later(back, End::Offline(id));
    }

    /// Whoever has lost power by now crashes.
    async fn fall(&mut self) {
        let fallen: Vec<NodeId> =
            self.doomed.iter().copied().filter(|id| self.world.has_lost_power(*id)).collect();
        for id in fallen {
            self.crash(id).await;
        }
    }

    async fn crash(&mut self, id: NodeId) {
        let how = weather::after_crash(&mut self.rng);
        let back = weather::repair(&mut self.rng);
        self.trace.line(format_args!("{id:?} crashes ({how:?}) for {back:?}"));
        self.doomed.remove(&id);
        self.crashes += 1;
        self.world.crash(id, how).await;
        self.later(back, End::Start(id));
    }

    /// Tells the ledger who is there now.
    pub(crate) fn note_presence(&mut self) {
        let now = Instant::now();
        for id in self.world.everybody() {
            let there = self.world.is_running(id) && !self.offline.contains(&id) && !self.parted;
            self.ledger.is_there(id, there, now);
        }
    }

    /// A mail program hands in a few letters in one session.
    pub(crate) async fn write(&mut self, author: NodeId, letters: usize) {
        let address = self.world.address(author);
        let password = self.world.password(author).to_owned();
        let mut program = self.world.submission(author);
        let login = timeout(PATIENCE, program.log_in(&address, &password)).await.unwrap_or(Answer::Cut);
        if !login.is_taken() {
            self.trace.line(format_args!("{author:?} cannot log in: {login:?}"));
            return;
        }
        for _ in 0..letters {
            let recipients = self.choose_recipients(author);
            self.written += 1;
            let name = format!("{}-{}", self.seed, self.written);
            let content = self.content();
            let text = self.text(&name, &address, &recipients, &content);
            let to: Vec<&str> = recipients.iter().map(|recipient| recipient.address.as_str()).collect();
            let at = Instant::now();
            let sending = program.send(&address, &to, text.as_bytes());
            let answer = timeout(PATIENCE, sending).await.unwrap_or(Answer::Cut);
            self.trace.line(format_args!("{author:?} writes {name}, {} bytes: {answer:?}", text.len()));
            let fate = match answer {
                Answer::Taken(_) => Fate::Acknowledged,
                Answer::Refused(_) => Fate::Refused,
                Answer::Cut => Fate::Unanswered,
            };
            let digest = ledger::digest(content.as_bytes());
            self.ledger.submit(name, Submitted { author, at, fate, digest, recipients });
            if fate != Fate::Acknowledged {
                return;
            }
        }
    }

    /// One to three people; now and then oneself, now and then a name that does not exist.
    fn choose_recipients(&mut self, author: NodeId) -> Vec<Recipient> {
        let how_many = [1, 1, 1, 2, 3][self.rng.random_range(0..5)];
        let mut chosen = BTreeMap::new();
        for _ in 0..how_many {
            let reader = match self.friends.get(&author) {
                Some(friends) => friends[self.rng.random_range(0..friends.len())],
                None => NodeId(self.rng.random_range(0..self.people())),
            };
            let odd = self.rng.random_range(0..20);
            if reader == author && odd > 2 {
                continue;
            }
            let exists = reader == author || odd != 0;
            let address =
                if exists { self.world.address(reader) } else { self.world.address_as(reader, NOBODY) };
            chosen.insert(reader, Recipient { reader, address, exists });
        }
        if chosen.is_empty() {
            let next = NodeId((author.0 + 1) % self.people());
            let reader = self.friends.get(&author).map_or(next, |friends| friends[0]);
            chosen.insert(reader, Recipient { reader, address: self.world.address(reader), exists: true });
        }
        chosen.into_values().collect()
    }

    /// Lines of text, a few of which begin with a dot; mostly short, now and then several chunks of the store.
    fn content(&mut self) -> String {
        let long = if self.friends.is_empty() { 300_000 } else { 3_000 };
        let most = [300, 300, 300, 3_000, 3_000, 20_000, long / 3, long][self.rng.random_range(0..8)];
        let len = self.rng.random_range(most / 3..most);
        let mut text = String::with_capacity(len + 80);
        while text.len() < len {
            let dots = ["", "", ".", ".."][self.rng.random_range(0..4)];
            let _ =
                write!(text, "{dots}{:016x}{:032x}\r\n", self.rng.random::<u64>(), self.rng.random::<u128>());
        }
        text
    }

    fn text(&self, name: &str, author: &str, recipients: &[Recipient], content: &str) -> String {
        let to: Vec<&str> = recipients.iter().map(|recipient| recipient.address.as_str()).collect();
        format!(
            "From: {author}\r\nTo: {}\r\nSubject: {name}\r\nX-Letter: {name}\r\n\r\n{content}",
            to.join(",\r\n ")
        )
    }

    /// A letter of a script, from one to another.
    pub(crate) async fn write_to(&mut self, author: NodeId, reader: NodeId) {
        let recipient = Recipient { reader, address: self.world.address(reader), exists: true };
        self.written += 1;
        let name = format!("{}-{}", self.seed, self.written);
        let text =
            self.text(&name, &self.world.address(author), std::slice::from_ref(&recipient), "Hello.\r\n");
        let at = Instant::now();
        let answer = self.world.submit(author, &[&recipient.address], text.as_bytes()).await;
        self.trace.line(format_args!("{author:?} writes {name} to {reader:?}: {answer:?}"));
        let fate = if answer.is_taken() { Fate::Acknowledged } else { Fate::Refused };
        let digest = ledger::digest(b"Hello.\r\n");
        self.ledger.submit(name, Submitted { author, at, fate, digest, recipients: vec![recipient] });
    }

    /// Something that a script insists on.
    pub(crate) fn expect(&mut self, is_true: bool, what: &str) {
        if !is_true {
            self.faults.push(format!("not so: {what}"));
        }
    }

    /// Somebody stops the node, until a script starts it.
    pub(crate) async fn stop(&mut self, id: NodeId) {
        self.world.stop(id).await;
        self.note_presence();
    }

    /// Somebody starts the node again.
    pub(crate) async fn restart(&mut self, id: NodeId) {
        self.start(id).await;
        self.note_presence();
    }

    /// A reader looks into INBOX: what was shown once must still be there, unchanged.
    pub(crate) async fn look(&mut self, id: NodeId) {
        let inbox = self.world.mailbox(id, "INBOX").await;
        self.trace.line(format_args!("{id:?} looks: {} letters", inbox.len()));
        self.faults.extend(self.ledger.look(id, &inbox));
    }

    /// All faults stop; waits until nothing waits any more.
    pub(crate) async fn peace(&mut self) {
        self.trace.line(format_args!("peace"));
        self.ends.clear();
        self.parted = false;
        self.offline.clear();
        self.asleep.clear();
        self.world.network.set_conditions(weather::good());
        self.world.network.tell_time(true);
        self.world.partition(&[]);
        for id in std::mem::take(&mut self.doomed) {
            self.crash(id).await;
        }
        self.ends.clear();
        for id in self.world.everybody() {
            self.set_wrong_by(id, 0);
            self.world.set_present(id, true);
            self.start(id).await;
        }
        self.note_presence();
        let begun = Instant::now();
        while begun.elapsed() < SETTLE_MAX && self.waiting().await > 0 {
            self.wait_until(Instant::now() + Duration::from_secs(5)).await;
        }
        self.settled = begun.elapsed();
        let waiting = self.waiting().await;
        self.trace.line(format_args!("settled; {waiting} wait"));
        if waiting > 0 {
            self.faults.push(format!("{SETTLE_MAX:?} after the last fault {waiting} letters still wait"));
            let shown = self.who_waits().await;
            self.faults.extend(shown);
        }
    }

    /// Every machine loses its power once more, so that only what is durable counts; then the mailboxes are read.
    pub(crate) async fn count(mut self) -> Run {
        let mut found = Found::default();
        for id in self.world.everybody().collect::<Vec<_>>() {
            if self.world.is_running(id) {
                self.world.crash(id, crate::world::AfterCrash::Lost).await;
            }
            self.start(id).await;
            if self.world.is_running(id) {
                self.read_all(id, &mut found).await;
            }
        }
        let delays = self.ledger.delays(&found, self.began, &self.clocks);
        let (mut tally, faults) = self.ledger.judge(&found, Instant::now());
        tally.lost += self.faults.len();
        self.faults.extend(faults);
        let counters = self.world.network.counters();
        // Of the counters only those that a seed repeats: in which order tokio wakes those who watch one value is its
        // own affair, and whether a dial is told that the power is gone or is dropped before depends on it.
        let (dials, streams, cuts) = (counters.dials, counters.streams, counters.cuts);
        self.trace.line(format_args!("{tally:?} dials={dials} streams={streams} cuts={cuts}"));
        Run {
            tally,
            faults: self.faults,
            trace: self.trace.hash(),
            crashes: self.crashes,
            dials: counters.dials,
            cuts: counters.cuts,
            settled: self.settled,
            delays,
        }
    }

    async fn read_all(&mut self, id: NodeId, found: &mut Found) {
        for name in ["INBOX", "Requests", "Junk", "Sent", "Outbox", "Drafts", "Trash"] {
            let letters = self.world.mailbox(id, name).await;
            self.trace.line(format_args!("{id:?} has {} letters in {name}", letters.len()));
            letters.iter().for_each(|letter| self.trace.bytes(&letter.bytes));
            match name {
                "INBOX" => {
                    self.faults.extend(self.ledger.look(id, &letters));
                    found.read(id, &letters);
                    found.read_dates(id, &letters, &self.world.dates(id).await);
                }
                // They know each other; what yet came here would be one more copy, or the only one.
                "Requests" | "Junk" => found.read(id, &letters),
                "Sent" => found.read_sent(&letters),
                "Outbox" if !letters.is_empty() && self.world.queue(id).await.is_empty() => {
                    let stuck = letters.iter().map(|letter| letter.field("X-Letter")).collect::<Vec<_>>();
                    self.faults.push(format!("{id:?}: in Outbox, but not in the queue: {}", stuck.join(" ")));
                }
                _ => {}
            }
        }
    }
}

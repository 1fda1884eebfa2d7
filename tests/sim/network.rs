//! A network of people who are online by a schedule of their own and keep letters for each other. Some of those who
//! keep letters lie (`liars`); machines crash, clocks jump, the network splits. Then the faults stop, everybody stays
//! online, and every letter must be somewhere.
//!
//! In the first hours everybody is there: friends meet, ask each other to keep letters, and exchange a first letter,
//! which brings their Routes. What is written then is no part of the delays.

use crate::in_paused_time;
use crate::ledger::Delay;
use crate::liars::{self, Lie};
use crate::life::{End, Life, Run};
use crate::presence::{self, Habit};
use crate::weather::{self, Turn};
use crate::world::{NodeId, hours, minutes};
use onionskin::node::holders::Terms;
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How many people each knows: at least so many, of whom most are known to them because they were drawn, the others
/// because they drew them.
const FRIENDS: usize = 4;
/// Letters that a person writes on a day, in the mean.
const LETTERS_A_DAY: f64 = 1.0;
/// Faults that meet a person on a day, in the mean.
const FAULTS_A_DAY: f64 = 0.5;
/// Of the faults that meet everybody at once, so many a day.
const STORMS_A_DAY: f64 = 1.0;
/// Most holders that a person asks.
const ASKED_MAX: usize = 4;
/// How long the beginning may take.
const BEGINNING_MAX: Duration = hours(12);

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) days: u64,
    /// Honest holders of each person.
    pub(crate) holders: usize,
    /// Of a hundred people, how many lie as holders.
    pub(crate) liars: usize,
    pub(crate) hours_online: u64,
    pub(crate) told: bool,
}

/// What came of it.
pub(crate) struct Lived {
    pub(crate) run: Run,
    /// Of those who were to have so many honest holders, the share that has them.
    pub(crate) covered: f64,
    /// Promises that liars have made.
    pub(crate) lying: usize,
    /// All promises.
    pub(crate) promises: usize,
    /// Of the letters written while people come and go.
    pub(crate) delays: Vec<Delay>,
    /// When the faults stopped.
    pub(crate) end: Instant,
}

/// The network, and how its people live.
struct Network {
    life: Life,
    plan: Plan,
    habits: BTreeMap<NodeId, Habit>,
    liars: BTreeMap<NodeId, Lie>,
    /// Whom each has asked.
    holders: BTreeMap<NodeId, Vec<NodeId>>,
    midnight: Instant,
}

/// Lives one run.
pub(crate) fn live(plan: &Plan) -> Lived {
    in_paused_time(async {
        let mut network = Network::found(plan).await;
        network.begin().await;
        let begun = Instant::now();
        network.trouble().await;
        let end = Instant::now();
        network.life.peace().await;
        let (covered, lying, promises) = network.coverage();
        let run = network.life.count().await;
        let delays = run.delays.iter().copied().filter(|delay| delay.at >= begun && delay.at < end).collect();
        Lived { run, covered, lying, promises, delays, end }
    })
}

impl Network {
    /// Draws who there is, who knows whom, who lies, and who keeps letters for whom.
    async fn found(plan: &Plan) -> Self {
        let mut life = Life::new(plan.seed, plan.told);
        life.world.strangers = true;
        life.world.network.set_conditions(weather::good());
        let people: Vec<NodeId> = (0..plan.nodes).map(NodeId).collect();
        let online = hours(plan.hours_online);
        let habits = people.iter().map(|id| (*id, presence::habit(&mut life.rng, online))).collect();
        let friends = draw_friends(&mut life.rng, &people);
        let count = plan.nodes * plan.liars / 100;
        let mut drawn = people.clone();
        drawn.shuffle(&mut life.rng);
        let liars: BTreeMap<NodeId, Lie> =
            drawn.iter().take(count).copied().zip(liars::ALL.iter().copied().cycle()).collect();
        let holders = friends.iter().map(|(id, friends)| {
            let mut order = friends.clone();
            order.shuffle(&mut life.rng);
            (*id, asked(&order, &liars, plan.holders))
        });
        let holders = holders.collect();
        life.friends = friends;
        for (id, lie) in &liars {
            if let Some(between) = lie.between() {
                life.world.between_one.insert(*id, between);
            }
        }
        Self { life, plan: plan.clone(), habits, liars, holders, midnight: Instant::now() }
    }

    /// Everybody comes, meets their friends, finds holders, and writes to each friend once.
    async fn begin(&mut self) {
        for n in 0..self.plan.nodes {
            self.life.join(n).await;
        }
        for (id, friends) in self.life.friends.clone() {
            for friend in friends.into_iter().filter(|friend| id < *friend) {
                let done = self.life.world.befriend(id, friend).await;
                self.life.expect(done.is_ok(), "friends meet");
            }
        }
        self.ask_holders().await;
        for (id, friends) in self.life.friends.clone() {
            for friend in friends {
                self.life.write_to(id, friend).await;
            }
        }
        self.all_arrive().await;
        let honest = self.holders.iter().map(|(id, holders)| {
            let honest = holders.iter().copied().filter(|holder| !self.liars.contains_key(holder));
            (*id, honest.collect())
        });
        self.life.ledger.holders = Some(honest.collect());
        self.life.trace.line(format_args!("the beginning is over"));
    }

    async fn ask_holders(&mut self) {
        let mut open: Vec<(NodeId, NodeId)> = Vec::new();
        for (guest, holders) in &self.holders {
            for holder in holders {
                let onion = self.life.world.onion(*holder);
                let asked = self.life.world.node(*guest).desk.ask_holder(onion, Terms::default()).await;
                assert!(asked.is_ok(), "a friend can be asked: {asked:?}");
                open.push((*guest, *holder));
            }
        }
        let until = Instant::now() + BEGINNING_MAX;
        while !open.is_empty() && Instant::now() < until {
            self.life.wait_until(Instant::now() + minutes(1)).await;
            let mut waiting = Vec::new();
            for (guest, holder) in open {
                let onion = self.life.world.onion(guest);
                let granted = self.life.world.node(holder).desk.grant(onion, Terms::default()).await;
                waiting.extend(granted.is_err().then_some((guest, holder)));
            }
            open = waiting;
        }
        self.life.expect(open.is_empty(), "every holder who is asked hears of it");
        self.all_arrive().await;
    }

    /// Waits until nothing waits any more.
    async fn all_arrive(&mut self) {
        let until = Instant::now() + BEGINNING_MAX;
        while self.life.waiting().await > 0 && Instant::now() < until {
            self.life.wait_until(Instant::now() + minutes(1)).await;
        }
        let waiting = self.life.waiting().await;
        self.life.expect(waiting == 0, "with everybody there everything arrives");
    }

    /// Days in which people come and go, write, and meet with faults.
    async fn trouble(&mut self) {
        self.midnight = Instant::now();
        for id in self.life.world.everybody() {
            if self.habits[&id].machine != presence::Machine::AlwaysOn {
                self.life.asleep.insert(id);
                self.life.fall_asleep(id).await;
            }
        }
        self.life.world.network.set_conditions(onion::memory::Conditions::tor());
        for _ in 0..self.plan.days {
            self.plan_day();
            let end = self.midnight + hours(24);
            self.live_until(end).await;
            self.midnight = end;
        }
    }

    /// Draws who comes and goes on the day that begins.
    fn plan_day(&mut self) {
        let since = Instant::now().saturating_duration_since(self.midnight);
        for (id, habit) in &self.habits {
            for (at, long) in presence::spells(&mut self.life.rng, habit) {
                self.life.later(at.saturating_sub(since), End::Wake(*id));
                self.life.later((at + long).saturating_sub(since), End::Sleep(*id));
            }
        }
    }

    /// Letters and faults, at drawn times.
    async fn live_until(&mut self, end: Instant) {
        let people = self.plan.nodes as f64;
        let every = |count: f64| hours(24).div_f64(count);
        let (letter, fault) = (every(people * LETTERS_A_DAY), every(people * FAULTS_A_DAY));
        let rng = &mut self.life.rng;
        let mut next_letter = Instant::now() + letter.mul_f64(rng.random_range(0.0..2.0));
        let mut next_fault = Instant::now() + fault.mul_f64(rng.random_range(0.0..2.0));
        loop {
            let at = next_letter.min(next_fault);
            if at >= end {
                return self.life.wait_until(end).await;
            }
            self.life.wait_until(at).await;
            if at == next_letter {
                if let Some(author) = self.awake().choose(&mut self.life.rng).copied() {
                    self.life.write(author, 1).await;
                }
                next_letter = at + letter.mul_f64(self.life.rng.random_range(0.0..2.0));
            } else {
                self.fault().await;
                next_fault = at + fault.mul_f64(self.life.rng.random_range(0.0..2.0));
            }
            self.life.note_presence();
        }
    }

    fn awake(&self) -> Vec<NodeId> {
        self.life.world.everybody().filter(|id| self.life.world.is_running(*id)).collect()
    }

    /// Something goes wrong, and the liars see to their lies.
    async fn fault(&mut self) {
        for (id, lie) in self.liars.clone() {
            if self.life.world.is_running(id) {
                lie.see_to(&self.life.world.node(id)).await;
            }
        }
        let awake = self.awake();
        if awake.is_empty() {
            return;
        }
        let mut turn = weather::turn(&mut self.life.rng, awake.len());
        match &mut turn {
            Turn::Write { .. } => return,
            Turn::Partition { sides, .. } => {
                *sides = (0..self.plan.nodes).map(|_| self.life.rng.random()).collect();
            }
            Turn::PowerCut { victim, author, .. } => {
                *victim = awake[victim.0];
                *author = awake[author.0];
            }
            Turn::Crash { victim: who }
            | Turn::Stop { who, .. }
            | Turn::Offline { who, .. }
            | Turn::Look { who }
            | Turn::Clock { who, .. }
            | Turn::CutStreams { who } => *who = awake[who.0],
            Turn::Network { .. } | Turn::NoTime { .. } => {}
        }
        let meets_all = matches!(turn, Turn::Partition { .. } | Turn::Network { .. } | Turn::NoTime { .. });
        let rare = STORMS_A_DAY / (self.plan.nodes as f64 * FAULTS_A_DAY * 0.12);
        if meets_all && self.life.rng.random::<f64>() > rare {
            return;
        }
        self.life.take(turn).await;
    }

    /// The share of people who have the honest holders that they should have; promises of liars, and all.
    fn coverage(&self) -> (f64, usize, usize) {
        let lies = |holder: &&NodeId| self.liars.contains_key(*holder);
        let honest = |holders: &&Vec<NodeId>| {
            holders.iter().filter(|holder| !lies(holder)).count() >= self.plan.holders
        };
        let covered = self.holders.values().filter(honest).count();
        let lying = self.holders.values().flatten().filter(lies).count();
        let promises = self.holders.values().map(Vec::len).sum();
        (covered as f64 / self.plan.nodes as f64, lying, promises)
    }
}

/// Who knows whom: each draws some, and is known to whom they drew.
fn draw_friends(rng: &mut rand::rngs::StdRng, people: &[NodeId]) -> BTreeMap<NodeId, Vec<NodeId>> {
    let mut friends: BTreeMap<NodeId, BTreeSet<NodeId>> =
        people.iter().map(|id| (*id, BTreeSet::new())).collect();
    for id in people {
        let others: Vec<NodeId> = people.iter().copied().filter(|other| other != id).collect();
        for other in others.sample(rng, FRIENDS) {
            friends.entry(*id).or_default().insert(*other);
            friends.entry(*other).or_default().insert(*id);
        }
    }
    friends.into_iter().map(|(id, friends)| (id, friends.into_iter().collect())).collect()
}

/// Whom a person asks to keep letters: friends in the drawn order, until so many are honest. Nobody can tell who lies.
fn asked(friends: &[NodeId], liars: &BTreeMap<NodeId, Lie>, honest: usize) -> Vec<NodeId> {
    let mut asked = Vec::new();
    let mut found = 0;
    for friend in friends.iter().take(ASKED_MAX) {
        if found == honest {
            break;
        }
        asked.push(*friend);
        found += usize::from(!liars.contains_key(friend));
    }
    asked
}

//! A world of nodes over the memory network and simulated disks, in paused time, all drawn from one seed.
//!
//! Promises that everything between a mail program's words and the bytes on the disk is the real program, and that a
//! run repeats exactly on a current-thread runtime that starts paused. A crash loses what was not synced, as a power
//! cut does. What must be true is left to the tests; `world/programs.rs` plays the mail program and the stranger.

#![allow(dead_code, reason = "each test target uses its own part of the world")]

#[path = "world/forger.rs"]
mod forger;
#[path = "world/letters.rs"]
mod letters;
#[path = "world/programs.rs"]
mod programs;
#[path = "world/reader.rs"]
mod reader;

#[allow(unused_imports, reason = "each test target uses its own part of the world")]
pub(crate) use forger::{Forger, Sealed, card_reply, cose, cose_as, hello, inside};
pub(crate) use letters::{Letter, letter_of};
pub(crate) use onion::memory::{Conditions, MemoryNetwork};
pub(crate) use onionskin::store::disk::{AfterCrash, Fault, SimDisk};
pub(crate) use programs::{Answer, Smtp};
pub(crate) use reader::Imap;

use onion::{HostKey, OnionAddress, Stage, Transport};
use onionskin::face::control::Request;
use onionskin::face::ops::{Given, Office};
use onionskin::face::{drops, guests, imap, inbound, logins, submission};
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::identity::{Identity, RecoveryWords};
use onionskin::model::queue::Entry;
use onionskin::model::time::UnixTime;
use onionskin::model::trust::Tier;
use onionskin::node::clock::{Clock as _, TokioClock};
use onionskin::node::desk::Desk;
use onionskin::node::{Node, Tasks, session};
use onionskin::store::contacts::Decision;
use onionskin::store::disk::Disk;
use onionskin::store::vault::MasterKey;
use onionskin::store::{QueueNo, Run, SpecialUse, Store, StoreError, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long conversations may take to end at a graceful stop, as in the program itself.
const GRACE: Duration = Duration::from_secs(5);
/// How much a mail program's connection holds in flight, in bytes.
const LOOPBACK_LEN: usize = 64 * 1024;
/// Longest that a stranger's dial takes.
const DIAL_DEADLINE: Duration = Duration::from_secs(60);
/// How often a wish is looked at while it is waited for, at first; later every fiftieth part of the wait.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Everybody, and the network between them.
pub(crate) struct World {
    /// Its conditions, partitions and counters can be changed and read directly.
    pub(crate) network: MemoryNetwork,
    seed: u64,
    people: Vec<Person>,
    /// What stands between each node and the network, if anything.
    pub(crate) between: Option<Between>,
    /// The same for single nodes, in the place of `between`.
    pub(crate) between_one: BTreeMap<NodeId, Between>,
    /// Those who start know nobody; else they know everybody who is there at that time.
    pub(crate) strangers: bool,
}

/// Makes what a node has for its network of what it would have.
pub(crate) type Between = fn(Arc<dyn Transport>) -> Arc<dyn Transport>;

/// One person's node, by the order of `add`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// What a person has, whether or not the node runs.
struct Person {
    address: MailAddress,
    identity: Vec<u8>,
    password: String,
    disk: SimDisk,
    clock: Arc<TokioClock>,
    /// How often the store was opened: no seed is used twice with one key.
    opened: u32,
    living: Option<Living>,
}

/// A node that runs.
struct Living {
    node: Arc<Node>,
    tasks: Tasks,
    faces: Mutex<JoinSet<()>>,
    decoy: [u8; 32],
    down: watch::Sender<bool>,
    /// A mail program that stays connected, for looking into mailboxes.
    reader: tokio::sync::Mutex<Option<Imap<DuplexStream>>>,
}

impl World {
    /// An empty world. Make it inside the test's runtime: its time is tokio's.
    pub(crate) fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            network: MemoryNetwork::new(seed, conditions),
            seed,
            people: Vec::new(),
            between: None,
            between_one: BTreeMap::new(),
            strangers: false,
        }
    }

    /// A new person, `name@….onion`, with an empty mailbox. The node is not started.
    pub(crate) async fn add(&mut self, name: &str) -> NodeId {
        let id = NodeId(self.people.len());
        let now = UnixTime::from(self.network.true_time());
        let words = self.words(id);
        let local = LocalPart::parse(name).expect("a test gives a sound name");
        let identity = Identity::from_words(&words, local, now);
        self.people.push(Person {
            address: identity.address(),
            identity: identity.to_record().to_vec(),
            password: String::new(),
            disk: SimDisk::new(),
            clock: Arc::new(TokioClock::starting_at(now)),
            opened: 0,
            living: None,
        });
        let disk: Arc<dyn Disk> = Arc::new(self.person(id).disk.clone());
        let options = self.options(id);
        let store = Store::create(disk, &self.key(id), options, now).await.expect("a new disk takes a store");
        let desk = self.desk(id, store).await.expect("a new store has its folders");
        let minted = logins::mint(&desk, "mail program".into()).await.expect("a new disk takes a password");
        desk.store().clone().close().await.expect("a sound disk closes");
        self.person_mut(id).password = minted.password;
        id
    }

    /// A new person whose node runs.
    pub(crate) async fn add_started(&mut self, name: &str) -> NodeId {
        let id = self.add(name).await;
        self.start(id).await;
        id
    }

    /// Starts a node on what is on its disk.
    pub(crate) async fn start(&mut self, id: NodeId) {
        self.try_start(id).await.expect("the store opens");
    }

    /// The same, where the disk may fail.
    pub(crate) async fn try_start(&mut self, id: NodeId) -> Result<(), StoreError> {
        assert!(!self.is_running(id), "{id:?} runs already");
        let disk: Arc<dyn Disk> = Arc::new(self.person(id).disk.clone());
        let options = self.options(id);
        let store = Store::open(disk, &self.key(id), options).await?;
        let desk = self.desk(id, store).await?;
        if !self.strangers {
            self.acquaint(id, &desk).await?;
        }
        let decoy = logins::decoy(&desk).await?;
        let network: Arc<dyn Transport> = self.network.join(self.onion(id));
        let between = self.between_one.get(&id).copied().or(self.between);
        let node = Node::new(desk, between.map_or(network.clone(), |between| between(network)));
        let (down, is_down) = watch::channel(false);
        let mut faces = JoinSet::new();
        faces.spawn(inbound::host(node.clone(), is_down.clone()));
        faces.spawn(drops::host(node.clone(), is_down.clone()));
        faces.spawn(guests::host(node.clone(), decoy, is_down));
        let tasks = Tasks::start(&node);
        let faces = Mutex::new(faces);
        self.person_mut(id).living =
            Some(Living { node, tasks, faces, decoy, down, reader: Default::default() });
        Ok(())
    }

    /// Lets this person and all others know each other, so that letters come to INBOX.
    async fn acquaint(&self, id: NodeId, desk: &Arc<Desk>) -> Result<(), StoreError> {
        let others: Vec<NodeId> = self.everybody().filter(|other| *other != id).collect();
        know(desk, others.iter().map(|other| self.onion(*other)).collect()).await?;
        for other in others {
            if let Some(living) = &self.person(other).living {
                // A disk that failed takes nothing; its own test sees to that.
                let _ = know(&living.node.desk, vec![self.onion(id)]).await;
            }
        }
        Ok(())
    }

    /// Lets two whose nodes run know each other.
    pub(crate) async fn befriend(&self, one: NodeId, other: NodeId) -> Result<(), StoreError> {
        know(&self.living(one).node.desk, vec![self.onion(other)]).await?;
        know(&self.living(other).node.desk, vec![self.onion(one)]).await
    }

    /// Ends a node as a person does: conversations may finish, files are closed.
    pub(crate) async fn stop(&mut self, id: NodeId) {
        let living = self.person_mut(id).living.take().expect("a node that runs");
        let Living { node, tasks, faces, down, .. } = living;
        let mut faces = into_inner(faces);
        let _ = down.send(true);
        tasks.stop().await;
        let _ = tokio::time::timeout(GRACE, async { while faces.join_next().await.is_some() {} }).await;
        faces.shutdown().await;
        let store = node.desk.store().clone();
        drop(node);
        // A disk that failed has nothing more to close.
        let _ = store.close().await;
    }

    /// Keeps a node switched off for so long. (A day with the node running costs the test a second.)
    pub(crate) async fn sleep(&mut self, id: NodeId, time: Duration) {
        self.stop(id).await;
        pass(time).await;
        self.start(id).await;
    }

    /// The power goes: every task ends where it stands, streams are cut, and of what was not synced `how` decides.
    pub(crate) async fn crash(&mut self, id: NodeId, how: AfterCrash) {
        let onion = self.onion(id);
        let person = self.person_mut(id);
        let Living { node, tasks, faces, down, .. } = person.living.take().expect("a node that runs");
        let mut faces = into_inner(faces);
        // Nothing is awaited from here to the copy of the disk, and no aborted task runs again: whatever was
        // acknowledged was acknowledged before.
        faces.abort_all();
        let found = person.disk.after_crash(how);
        let lost = std::mem::replace(&mut person.disk, found);
        lost.fault_at(lost.operations(), Fault::Crash);
        self.network.vanish(onion);
        tasks.stop().await;
        faces.shutdown().await;
        drop((node, down));
        // What the dropped tasks owned, they let go of in turn.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// What a copy of a stopped node's directory holds.
    pub(crate) fn copy_of(&self, id: NodeId) -> SimDisk {
        assert!(!self.is_running(id), "{id:?} runs");
        self.disk(id).after_crash(AfterCrash::Kept)
    }

    /// Puts an older copy in the place of a stopped node's directory.
    pub(crate) fn put_back(&mut self, id: NodeId, copy: SimDisk) {
        assert!(!self.is_running(id), "{id:?} runs");
        self.person_mut(id).disk = copy;
    }

    /// Lets the power of a node's disk go in the midst of its `n`th operation from now. Then `crash` it.
    pub(crate) fn cut_power_at(&self, id: NodeId, n: u64) {
        let disk = self.disk(id);
        disk.fault_at(disk.operations() + n, Fault::Crash);
    }

    /// Whether that has happened.
    pub(crate) fn has_lost_power(&self, id: NodeId) -> bool {
        self.disk(id).has_crashed()
    }

    /// Whether the node runs.
    pub(crate) fn is_running(&self, id: NodeId) -> bool {
        self.person(id).living.is_some()
    }

    /// Everybody.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.people.len()).map(NodeId)
    }

    /// The running node itself.
    pub(crate) fn node(&self, id: NodeId) -> Arc<Node> {
        self.living(id).node.clone()
    }

    /// The recovery words that the person has on paper.
    pub(crate) fn words(&self, id: NodeId) -> RecoveryWords {
        RecoveryWords::from_entropy(self.draw(id, "words"))
    }

    /// `name@….onion`.
    pub(crate) fn address(&self, id: NodeId) -> String {
        self.person(id).address.full()
    }

    /// The same address under another local part.
    pub(crate) fn address_as(&self, id: NodeId, local: &str) -> String {
        format!("{local}@{}", self.onion(id).host())
    }

    /// The onion.
    pub(crate) fn onion(&self, id: NodeId) -> OnionAddress {
        self.person(id).address.onion
    }

    /// The disk as it is now; a crash replaces it.
    pub(crate) fn disk(&self, id: NodeId) -> &SimDisk {
        &self.person(id).disk
    }

    /// What stands in for `add`'s password at the node's faces.
    pub(crate) fn password(&self, id: NodeId) -> &str {
        &self.person(id).password
    }

    /// Makes a node's clock wrong by this many seconds, either way; the network's own time stays right.
    pub(crate) fn set_wrong_by(&self, id: NodeId, secs: i64) {
        self.person(id).clock.set_wrong_by(secs);
    }

    /// Takes a node off the network or puts it back, while it runs on.
    pub(crate) fn set_present(&self, id: NodeId, present: bool) {
        self.network.set_present(self.onion(id), present);
    }

    /// What a node's own clock says.
    pub(crate) fn now(&self, id: NodeId) -> UnixTime {
        self.person(id).clock.now()
    }

    /// Waits until a node's onion can be reached.
    pub(crate) async fn reachable(&self, id: NodeId) {
        let mut bootstrap = self.living(id).node.transport.bootstrap();
        bootstrap.wait_for(|now| now.stage == Stage::Reachable).await.expect("the network is there");
    }

    /// How often one node dialled another so far.
    pub(crate) fn dials(&self, from: NodeId, to: NodeId) -> u64 {
        self.network.counters_between(self.onion(from), self.onion(to)).dials
    }

    /// Splits the network into these groups (and the rest); an empty list heals it.
    pub(crate) fn partition(&self, groups: &[&[NodeId]]) {
        if groups.is_empty() {
            return self.network.heal();
        }
        let groups: Vec<Vec<OnionAddress>> =
            groups.iter().map(|group| group.iter().map(|id| self.onion(*id)).collect()).collect();
        self.network.partition(&groups);
    }

    /// Writes a letter whose subject is `text` and hands it in as a mail program does.
    pub(crate) async fn write(&self, from: NodeId, to: NodeId, text: &str) -> Answer {
        self.write_to(from, &self.address(to), text).await
    }

    /// The same to any address.
    pub(crate) async fn write_to(&self, from: NodeId, to: &str, text: &str) -> Answer {
        let letter = letter_of(&self.address(from), &[to], text);
        self.submit(from, &[to], letter.as_bytes()).await
    }

    /// Hands a letter in, in a session of its own.
    pub(crate) async fn submit(&self, from: NodeId, to: &[&str], letter: &[u8]) -> Answer {
        let mut program = self.submission(from);
        let address = self.address(from);
        match program.log_in(&address, self.password(from)).await {
            Answer::Taken(_) => program.send(&address, to, letter).await,
            other => other,
        }
    }

    /// A connection to the submission face, before its greeting. It can be driven while the world changes.
    pub(crate) fn submission(&self, id: NodeId) -> Smtp<DuplexStream> {
        let living = self.living(id);
        let (near, far) = tokio::io::duplex(LOOPBACK_LEN);
        let (desk, down) = (living.node.desk.clone(), living.down.subscribe());
        lock(&living.faces).spawn(submission::converse(desk, living.decoy, far, down));
        Smtp::new(near)
    }

    /// A connection to the IMAP face, before its greeting.
    pub(crate) fn imap(&self, id: NodeId) -> Imap<DuplexStream> {
        let living = self.living(id);
        let (near, far) = tokio::io::duplex(LOOPBACK_LEN);
        let (desk, down) = (living.node.desk.clone(), living.down.subscribe());
        lock(&living.faces).spawn(imap::converse(desk, living.decoy, far, down));
        Imap::new(near)
    }

    /// A mail program that has logged in over IMAP.
    pub(crate) async fn reader(&self, id: NodeId) -> Imap<DuplexStream> {
        let mut imap = self.imap(id);
        imap.log_in(&self.address(id), self.password(id)).await.taken();
        imap
    }

    /// Asks a running node what the command line asks it.
    ///
    /// # Panics
    /// If the node refuses.
    pub(crate) async fn command(&self, id: NodeId, request: Request) -> Value {
        match self.try_command(id, request).await {
            Ok(value) => value,
            Err(failure) => panic!("the node refuses: {failure}"),
        }
    }

    /// The same, where the node may refuse; what it says then.
    pub(crate) async fn try_command(&self, id: NodeId, request: Request) -> Result<Value, String> {
        let office = Office { desk: self.living(id).node.desk.clone(), protected: false, live: None };
        match office.perform(request, &mut tokio::io::empty()).await {
            Ok(Given::Value(value) | Given::Letter(value, _)) => Ok(value),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// A stream to a node's onion from somebody of whom nothing is known but the key made of `seed`.
    pub(crate) async fn call(&self, seed: u8, to: NodeId) -> Option<Smtp<onion::Stream>> {
        tokio::time::timeout(DIAL_DEADLINE, self.reachable(to)).await.ok()?;
        let stranger = self.network.join(HostKey::from_seed([seed; 32]).address());
        let stream = stranger.dial(self.onion(to), session::PORT, DIAL_DEADLINE).await.ok()?;
        Some(Smtp::new(stream))
    }

    /// The address of somebody who was there once and is gone.
    pub(crate) fn address_of_the_gone(&self, seed: u8) -> String {
        let onion = HostKey::from_seed([seed; 32]).address();
        drop(self.network.join(onion));
        format!("someone@{}", onion.host())
    }

    /// The address of the stranger who calls with this seed.
    pub(crate) fn stranger(&self, seed: u8) -> String {
        format!("stranger@{}", HostKey::from_seed([seed; 32]).address().host())
    }

    /// Everything in a mailbox, oldest first, as a mail program sees it over IMAP.
    pub(crate) async fn mailbox(&self, id: NodeId, name: &str) -> Vec<Letter> {
        let mut reader = self.living(id).reader.lock().await;
        if let Some(known) = &mut *reader
            && let Some(letters) = known.letters(name).await
        {
            return letters;
        }
        // The first look, or the connection had idled for too long.
        let letters = reader.insert(self.reader(id).await).letters(name).await;
        letters.expect("a connection just made stands")
    }

    /// When each letter in INBOX came, by the node's own clock, by uid.
    pub(crate) async fn dates(&self, id: NodeId) -> BTreeMap<u32, u64> {
        let desk = &self.living(id).node.desk;
        let read = desk.store().read(|rx| {
            let inbox = rx.mailboxes().special(SpecialUse::Inbox)?.ok_or(StoreError::NoMailbox)?;
            rx.messages().list(inbox, ..)
        });
        let messages = read.await.expect("INBOX reads");
        messages.into_iter().map(|(uid, message)| (uid.0, message.internal_date.0)).collect()
    }

    /// The subjects in a mailbox, oldest first.
    pub(crate) async fn subjects(&self, id: NodeId, name: &str) -> Vec<String> {
        self.mailbox(id, name).await.iter().map(Letter::subject).collect()
    }

    /// What waits to be delivered.
    pub(crate) async fn queue(&self, id: NodeId) -> Vec<(QueueNo, Entry)> {
        self.living(id).node.desk.queue().await.expect("the queue reads")
    }

    fn draw(&self, id: NodeId, what: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update((id.0 as u64).to_be_bytes());
        hash.update(what.as_bytes());
        hash.finalize().into()
    }

    fn key(&self, id: NodeId) -> MasterKey {
        MasterKey::generate(&mut StdRng::from_seed(self.draw(id, "key")))
    }

    fn options(&mut self, id: NodeId) -> StoreOptions {
        let person = self.person_mut(id);
        person.opened += 1;
        let opened = person.opened;
        StoreOptions { run: Run::Inline, seed: self.draw(id, &format!("store {opened}")) }
    }

    async fn desk(&self, id: NodeId, store: Store) -> Result<Arc<Desk>, StoreError> {
        let person = self.person(id);
        let identity = Identity::from_record(&person.identity).expect("a record just made reads");
        let seed = self.draw(id, &format!("desk {}", person.opened));
        let disk: Arc<dyn Disk> = Arc::new(person.disk.clone());
        Ok(Arc::new(Desk::new(identity, store, (disk, &self.key(id)), person.clock.clone(), seed).await?))
    }

    fn person(&self, id: NodeId) -> &Person {
        &self.people[id.0]
    }

    fn person_mut(&mut self, id: NodeId) -> &mut Person {
        &mut self.people[id.0]
    }

    fn living(&self, id: NodeId) -> &Living {
        self.person(id).living.as_ref().expect("a node that runs")
    }
}

/// Decides that these are known, where nothing was decided yet.
async fn know(desk: &Arc<Desk>, onions: Vec<OnionAddress>) -> Result<(), StoreError> {
    let now = desk.now();
    let unknown = desk
        .store()
        .read(move |rx| {
            let mut unknown = Vec::new();
            for onion in onions {
                if rx.contacts().get(&onion)?.and_then(|contact| contact.decision).is_none() {
                    unknown.push(onion);
                }
            }
            Ok(unknown)
        })
        .await?;
    if unknown.is_empty() {
        return Ok(());
    }
    desk.store()
        .write(move |tx| {
            for onion in &unknown {
                let decision = Decision { tier: Tier::Known, at: now, why: "an old friend".to_owned() };
                tx.contacts().decide(onion, Some(decision), now, "an old friend")?;
            }
            Ok(())
        })
        .await
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(shared: Mutex<T>) -> T {
    shared.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Lets time pass.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until something is true, and says how long it took.
///
/// # Panics
/// If it is not true within `limit`.
pub(crate) async fn within(limit: Duration, what: &str, is_true: impl AsyncFn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_true().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(LOOK_EVERY.max(begun.elapsed() / 50)).await;
    }
    begun.elapsed()
}

/// A world of people whose nodes run and who do not know each other.
pub(crate) async fn strangers<const N: usize>(seed: u64, names: [&str; N]) -> (World, [NodeId; N]) {
    let mut world = World::new(seed, Conditions::default());
    world.strangers = true;
    let mut people = [NodeId(0); N];
    for (place, name) in people.iter_mut().zip(names) {
        *place = world.add_started(name).await;
    }
    (world, people)
}

/// Waits until exactly one letter of this subject is in an inbox.
pub(crate) async fn arrived(world: &World, id: NodeId, subject: &str, limit: Duration) -> Duration {
    let what = format!("one letter {subject:?} in the inbox");
    within(limit, &what, async || {
        world.subjects(id, "INBOX").await.iter().filter(|found| *found == subject).count() == 1
    })
    .await
}

/// So many minutes.
pub(crate) const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// So many hours.
pub(crate) const fn hours(n: u64) -> Duration {
    minutes(60 * n)
}

/// So many days.
pub(crate) const fn days(n: u64) -> Duration {
    hours(24 * n)
}

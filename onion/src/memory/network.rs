//! `MemoryNetwork`: who is there, who may reach whom, what time it is, and every draw from the one seed.
//!
//! Promises that the same seed and the same calls in the same order give the same run, and that no lock is held
//! while a stream is cut or a program is woken into this module. Leaves the bytes to `wire` and the trait to
//! `transport`. Make it inside the runtime: its clock is tokio's, which tests pause.

use super::conditions::{Conditions, chance, duration};
use super::end::End;
use super::place::{Left, MemberId, Place, Service};
use super::tally::{Counters, Tally};
use super::transport::{Member, MemoryTransport};
use super::wire::{Wire, lock};
use crate::{
    Bootstrap, ClientKey, DialError, HOSTED_MAX, Inbound, ListenError, NetworkTime, OnionAddress, Stream,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// Streams that wait to be accepted at one service, at most; further dials wait until their deadline.
pub(crate) const BACKLOG_MAX: usize = 64;
/// A consensus is valid from an hour before the true time (as Tor's is when it has just been fetched)...
const VALID_BEFORE: Duration = Duration::from_secs(3600);
/// ... until two hours after it (Tor's consensus lives three hours).
const VALID_AFTER: Duration = Duration::from_secs(2 * 3600);
/// True time when the network is made, unless it is told another: 2025-06-15 15:06:40 UTC.
const EPOCH_SECS: u64 = 1_750_000_000;

/// A network of onion addresses in one process. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork {
    pub(super) core: Arc<Core>,
}

/// What all handles of one network share.
pub(super) struct Core {
    weather: Arc<Mutex<Conditions>>,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    places: BTreeMap<OnionAddress, Place>,
    /// Behind which identity's address each onion is served, or was last; for most their own.
    homes: BTreeMap<OnionAddress, OnionAddress>,
    /// Group of each address while the network is partitioned; the unnamed form a group of their own.
    groups: Option<BTreeMap<OnionAddress, usize>>,
    lines: BTreeMap<u64, Line>,
    tallies: BTreeMap<(OnionAddress, OnionAddress), Arc<Tally>>,
    next_id: u64,
    /// True time at `epoch.0` was `epoch.1`.
    epoch: (Instant, SystemTime),
    tells_time: bool,
}

/// A live stream as the network sees it.
struct Line {
    from: OnionAddress,
    to: OnionAddress,
    /// The identity's address behind `to`; `to` itself unless that is hosted beside it.
    home: OnionAddress,
    wire: Weak<Wire>,
}

/// What is drawn for one dial, before anything is known of its target.
pub(super) struct DialPlan {
    pub(super) time: Duration,
    pub(super) black_hole: bool,
    pub(super) fails: bool,
    pub(super) tally: Arc<Tally>,
    seed: u64,
}

/// A service found ready to take a stream.
pub(super) struct Door {
    home: OnionAddress,
    pub(super) incoming: mpsc::Sender<Inbound>,
    member: Weak<dyn Any + Send + Sync>,
}

impl MemoryNetwork {
    /// An empty network whose every draw comes from `seed`.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        let epoch = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECS));
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            places: BTreeMap::new(),
            homes: BTreeMap::new(),
            groups: None,
            lines: BTreeMap::new(),
            tallies: BTreeMap::new(),
            next_id: 0,
            epoch,
            tells_time: true,
        };
        Self { core: Arc::new(Core { weather: Arc::new(Mutex::new(conditions)), state: Mutex::new(state) }) }
    }

    /// Joins as a process of `address` and gives its view of the network.
    ///
    /// The address is present while a transport, a listener or a stream of it is held (and it has not been made
    /// absent). Several may join as one address, one of them may listen.
    pub fn join(&self, address: OnionAddress) -> Arc<MemoryTransport> {
        self.join_as(address, 0)
    }

    /// As [`MemoryNetwork::join`], on behalf of an operating-system process, which can vanish by itself.
    pub(crate) fn join_as(&self, address: OnionAddress, process: u64) -> Arc<MemoryTransport> {
        let id = self.core.enter(address, process);
        let keys = Mutex::default();
        Arc::new(MemoryTransport::new(Member { core: self.core.clone(), address, id, keys }))
    }

    /// What the network does to dials and streams now.
    pub fn conditions(&self) -> Conditions {
        lock(&self.core.weather).clone()
    }

    /// Changes what the network does from now on, also to live streams (but whether and where a stream will be
    /// cut was drawn when it was opened).
    pub fn set_conditions(&self, conditions: Conditions) {
        *lock(&self.core.weather) = conditions;
    }

    /// Takes an address off the network or puts it back, whether or not anybody has joined as it.
    ///
    /// Off it: its streams are cut, dials to it find it `Absent`, its own dials answer `NetworkDown`. What it
    /// serves is served again when it is back. All this holds for the onions hosted beside it too, which have no
    /// presence of their own.
    pub fn set_present(&self, address: OnionAddress, present: bool) {
        self.core.change(address, |place| place.connected = present);
    }

    /// The process of an address is gone at once, as after a kill: its streams are cut, its listeners end, and
    /// it is `Absent` until somebody joins as it again. What is left of the old transports stays outside.
    pub fn vanish(&self, address: OnionAddress) {
        let gone = self.core.change(address, |place| {
            place.members.clear();
            std::mem::take(&mut place.services)
        });
        drop(gone);
    }

    /// As [`MemoryNetwork::vanish`], of one operating-system process only.
    pub(crate) fn vanish_process(&self, address: OnionAddress, process: u64) {
        let gone = self.core.change(address, |place| {
            let (gone, left): (Vec<(MemberId, u64)>, _) =
                place.members.iter().partition(|member| member.1 == process);
            place.members = left;
            let ends = |service: &Service| gone.iter().any(|(id, _)| *id == service.owner);
            place.services.extract_if(.., |_, service| ends(service)).collect::<Vec<_>>()
        });
        drop(gone);
    }

    /// Splits the network: only addresses of the same group reach each other, those in no group are one more.
    ///
    /// Streams across are cut, dials across answer `Absent`. Replaces an earlier partition. An onion hosted beside an
    /// identity's own is where the identity is.
    pub fn partition(&self, groups: &[Vec<OnionAddress>]) {
        let groups = groups.iter().enumerate().flat_map(|(n, group)| group.iter().map(move |a| (*a, n)));
        let mut state = lock(&self.core.state);
        state.groups = Some(groups.collect());
        let across = state.lines_where(|state, line| !state.joined(line.from, line.home));
        drop(state);
        across.iter().for_each(|wire| wire.cut());
    }

    /// Ends the partition.
    pub fn heal(&self) {
        lock(&self.core.state).groups = None;
    }

    /// Cuts every live stream of an address, which stays present, and of the onions hosted beside it.
    pub fn cut_streams(&self, address: OnionAddress) {
        let of = |line: &Line| [line.from, line.to, line.home].contains(&address);
        let lines = lock(&self.core.state).lines_where(|_, line| of(line));
        lines.iter().for_each(|wire| wire.cut());
    }

    /// Streams open now.
    pub fn open_streams(&self) -> usize {
        lock(&self.core.state).lines.len()
    }

    /// The true time, as the network knows it: it advances with tokio's clock.
    pub fn true_time(&self) -> SystemTime {
        lock(&self.core.state).true_time(Instant::now())
    }

    /// Says what the true time is now. At first it is 2025-06-15 15:06:40 UTC.
    pub fn set_true_time(&self, now: SystemTime) {
        lock(&self.core.state).epoch = (Instant::now(), now);
    }

    /// Whether the network tells its time at all (it does at first).
    pub fn tell_time(&self, tells: bool) {
        lock(&self.core.state).tells_time = tells;
    }

    /// What happened so far on the whole network.
    pub fn counters(&self) -> Counters {
        let state = lock(&self.core.state);
        state.tallies.values().fold(Counters::default(), |sum, tally| sum + tally.read())
    }

    /// What happened so far when `from` dialled `to`.
    pub fn counters_between(&self, from: OnionAddress, to: OnionAddress) -> Counters {
        lock(&self.core.state).tallies.get(&(from, to)).map_or_else(Counters::default, |tally| tally.read())
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryNetwork")
    }
}

impl Core {
    fn enter(self: &Arc<Self>, address: OnionAddress, process: u64) -> MemberId {
        let mut state = lock(&self.state);
        let id = state.fresh_id();
        drop(state);
        self.change(address, |place| place.members.push((id, process)));
        id
    }

    /// A member lets go of the address.
    pub(super) fn leave(self: &Arc<Self>, address: OnionAddress, id: MemberId) {
        self.change(address, |place| place.members.retain(|member| member.0 != id));
    }

    /// Changes a place and does what follows from that: cuts its streams if it went away, publishes if it came.
    fn change<T>(self: &Arc<Self>, address: OnionAddress, change: impl FnOnce(&mut Place) -> T) -> T {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let true_time = state.true_time(now);
        let place = state.place(address);
        let was_up = place.is_up();
        let changed = change(place);
        let mut cut = Vec::new();
        match (was_up, place.is_up()) {
            (true, false) => {
                place.left = Some(Left { at: now, true_time });
                place.absences += 1;
                place.services.values_mut().for_each(|service| service.reachable = false);
                cut = state.lines_where(|_, line| line.from == address || line.home == address);
            }
            (false, true) => {
                place.left = None;
                let beside: Vec<_> =
                    place.services.keys().copied().filter(|onion| *onion != address).collect();
                self.publish(&mut state, address, address);
                beside.into_iter().for_each(|onion| self.publish(&mut state, address, onion));
            }
            _ => {}
        }
        state.place(address).show();
        drop(state);
        cut.iter().for_each(|wire| wire.cut());
        changed
    }

    /// Makes `onion`, if it is served at `home`, reachable, now or after the drawn time.
    fn publish(self: &Arc<Self>, state: &mut State, home: OnionAddress, onion: OnionAddress) {
        let wait = duration(&mut state.rng, &lock(&self.weather).publish);
        let Some(place) = state.places.get_mut(&home) else { return };
        let Some(service) = place.services.get_mut(&onion).filter(|_| place.connected) else { return };
        if wait.is_zero() {
            service.reachable = true;
            return place.show();
        }
        let (core, id, absences) = (Arc::downgrade(self), service.id, place.absences);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(core) = core.upgrade() {
                core.published(home, id, absences);
            }
        });
    }

    fn published(&self, home: OnionAddress, id: u64, absences: u64) {
        let mut state = lock(&self.state);
        let Some(place) = state.places.get_mut(&home).filter(|place| place.absences == absences) else {
            return;
        };
        if let Some(service) = place.services.values_mut().find(|service| service.id == id) {
            service.reachable = true;
            place.show();
        }
    }

    /// Serves `onion`, the member's own address or one beside it, on `port`; gives the service's number and the
    /// streams that arrive.
    pub(super) fn serve(
        self: &Arc<Self>,
        member: &Arc<Member>,
        onion: OnionAddress,
        port: u16,
        clients: Option<Vec<ClientKey>>,
    ) -> Result<(u64, mpsc::Receiver<Inbound>), ListenError> {
        let (incoming, streams) = mpsc::channel(BACKLOG_MAX);
        let mut state = lock(&self.state);
        let id = state.fresh_id();
        let in_use = state.is_served(onion);
        let place = state.place(member.address);
        if !place.members.iter().any(|(id, _)| *id == member.id) {
            return Err(ListenError::Ours("this process has vanished from the network".into()));
        }
        if in_use {
            return Err(ListenError::InUse);
        }
        if onion != member.address && place.hosted_by(member.id) >= HOSTED_MAX {
            return Err(ListenError::TooMany);
        }
        let (owner, weak) = (member.id, Arc::downgrade(member));
        let service = Service { id, port, clients, owner, incoming, member: weak, reachable: false };
        place.services.insert(onion, service);
        state.homes.insert(onion, member.address);
        self.publish(&mut state, member.address, onion);
        Ok((id, streams))
    }

    /// Ends a service at `home`, if it has not ended already.
    pub(super) fn unserve(&self, home: OnionAddress, id: u64) {
        let mut state = lock(&self.state);
        let Some(place) = state.places.get_mut(&home) else { return };
        let gone: Vec<_> = place.services.extract_if(.., |_, service| service.id == id).collect();
        place.show();
        drop(state);
        drop(gone);
    }

    /// Draws everything about one dial; always the same number of draws.
    pub(super) fn plan(&self, from: OnionAddress, to: OnionAddress) -> DialPlan {
        let mut state = lock(&self.state);
        let tally = state.tallies.entry((from, to)).or_default().clone();
        tally.dials.one();
        let conditions = lock(&self.weather);
        let rng = &mut state.rng;
        DialPlan {
            time: duration(rng, &conditions.dial),
            black_hole: chance(rng, conditions.black_hole),
            fails: chance(rng, conditions.dial_failure),
            seed: rng.random(),
            tally,
        }
    }

    /// Whether `to` swallows dials now.
    pub(super) fn is_ghost(&self, to: OnionAddress) -> bool {
        let ghost = lock(&self.weather).ghost;
        let state = lock(&self.state);
        state.places.get(&state.home(to)).is_some_and(|place| place.is_ghost(Instant::now(), ghost))
    }

    /// Whether this member may dial at all.
    pub(super) fn is_connected(&self, member: &Member) -> bool {
        lock(&self.state)
            .places
            .get(&member.address)
            .is_some_and(|place| place.connected && place.members.iter().any(|(id, _)| *id == member.id))
    }

    /// Looks for the service on `port` of `to`, as `from` sees it.
    pub(super) fn find(
        &self,
        from: OnionAddress,
        (to, port): (OnionAddress, u16),
        keys: &[ClientKey],
    ) -> Result<Door, DialError> {
        lock(&self.state).find(from, (to, port), keys)
    }

    /// Opens the stream that was planned, if its target is still there.
    pub(super) fn connect(
        self: &Arc<Self>,
        member: &Arc<Member>,
        (to, port): (OnionAddress, u16),
        plan: &DialPlan,
    ) -> Result<(Stream, Stream), DialError> {
        let from = member.address;
        let mut state = lock(&self.state);
        let door = state.find(from, (to, port), &member.keys())?;
        let server = door.member.upgrade().ok_or(DialError::Absent)?;
        let id = state.fresh_id();
        let forget = Forget { core: Arc::downgrade(self), id };
        let rng = StdRng::seed_from_u64(plan.seed);
        let wire = Arc::new(Wire::new(rng, self.weather.clone(), plan.tally.clone(), Box::new(forget)));
        state.lines.insert(id, Line { from, to, home: door.home, wire: Arc::downgrade(&wire) });
        drop(state);
        plan.tally.streams.one();
        let dialled = Stream::new(End::new(wire.clone(), 0, member.clone()));
        Ok((dialled, Stream::new(End::new(wire, 1, server))))
    }

    /// The bootstrap watch of an address.
    pub(super) fn bootstrap(&self, address: OnionAddress) -> watch::Receiver<Bootstrap> {
        lock(&self.state).place(address).bootstrap.subscribe()
    }

    /// What rings when `address` goes away.
    pub(super) fn departure(&self, address: OnionAddress) -> Arc<Notify> {
        lock(&self.state).place(address).departure.clone()
    }

    /// The newest consensus that `address` has, if it is still live.
    pub(super) fn network_time(&self, address: OnionAddress) -> Option<NetworkTime> {
        let state = lock(&self.state);
        let now = state.true_time(Instant::now());
        let place = state.places.get(&address).filter(|_| state.tells_time)?;
        let seen = if place.is_up() { now } else { place.left?.true_time };
        let (valid_after, valid_until) = (seen.checked_sub(VALID_BEFORE)?, seen.checked_add(VALID_AFTER)?);
        let time = NetworkTime { valid_after, valid_until };
        time.agrees_with(now).then_some(time)
    }
}

impl State {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn place(&mut self, address: OnionAddress) -> &mut Place {
        self.places.entry(address).or_insert_with(|| Place::new(address))
    }

    /// The identity's address behind an onion: another than its own only if it is hosted beside that, or was last.
    fn home(&self, onion: OnionAddress) -> OnionAddress {
        self.homes.get(&onion).copied().unwrap_or(onion)
    }

    fn is_served(&self, onion: OnionAddress) -> bool {
        self.places.get(&self.home(onion)).is_some_and(|place| place.services.contains_key(&onion))
    }

    fn true_time(&self, now: Instant) -> SystemTime {
        self.epoch.1 + now.saturating_duration_since(self.epoch.0)
    }

    /// Whether the partition, if any, lets the two reach each other.
    fn joined(&self, a: OnionAddress, b: OnionAddress) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.get(&a) == groups.get(&b))
    }

    fn find(
        &self,
        from: OnionAddress,
        (to, port): (OnionAddress, u16),
        keys: &[ClientKey],
    ) -> Result<Door, DialError> {
        let home = self.home(to);
        let place = self.places.get(&home).filter(|place| place.is_up() && self.joined(from, home));
        let place = place.ok_or(DialError::Absent)?;
        let Some(service) = place.services.get(&to) else {
            // Of an onion that is not hosted any more nothing is left to refuse.
            return Err(if home == to { DialError::Refused } else { DialError::Absent });
        };
        if !service.reachable {
            return Err(DialError::Absent);
        }
        let may_find = |clients: &Vec<ClientKey>| clients.iter().any(|client| keys.contains(client));
        if service.port != port || !service.clients.as_ref().is_none_or(may_find) {
            return Err(DialError::Refused);
        }
        Ok(Door { home, incoming: service.incoming.clone(), member: service.member.clone() })
    }

    fn lines_where(&self, wanted: impl Fn(&Self, &Line) -> bool) -> Vec<Arc<Wire>> {
        self.lines.values().filter(|line| wanted(self, line)).filter_map(|line| line.wire.upgrade()).collect()
    }
}

/// Strikes a stream off the list when both ends have let go.
struct Forget {
    core: Weak<Core>,
    id: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            lock(&core.state).lines.remove(&self.id);
        }
    }
}

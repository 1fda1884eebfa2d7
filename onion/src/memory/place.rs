//! `Place`: one identity's address on the memory network: the processes behind it, the onions they serve, what it
//! knows of time.
//!
//! Promises that the bootstrap watch always shows the place's true state. Pure bookkeeping without clock or
//! draws; leaves streams, timers and randomness to `network`.

use crate::{Bootstrap, ClientKey, Inbound, OnionAddress, Stage};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// What a person reads while the place is cut off.
const CUT_OFF: &str = "the memory network cannot be reached from here";

/// One joined process of an address, by number.
pub(super) type MemberId = u64;

/// The service of one onion.
pub(super) struct Service {
    pub(super) id: u64,
    pub(super) port: u16,
    /// Who may reach it; `None`: anybody.
    pub(super) clients: Option<Vec<ClientKey>>,
    pub(super) owner: MemberId,
    pub(super) incoming: mpsc::Sender<Inbound>,
    /// Keeps the owner joined while a stream of its service lives. Weak, for the service must not keep itself.
    pub(super) member: Weak<dyn Any + Send + Sync>,
    /// Published: others can reach it.
    pub(super) reachable: bool,
}

/// One address and who stands behind it.
pub(super) struct Place {
    own: OnionAddress,
    /// Joined processes: member number, and the number of the process it lives in.
    pub(super) members: Vec<(MemberId, u64)>,
    /// Whether the place has a network at all.
    pub(super) connected: bool,
    /// By onion: the service of the own address, and of those that are hosted beside it.
    pub(super) services: BTreeMap<OnionAddress, Service>,
    pub(super) bootstrap: watch::Sender<Bootstrap>,
    /// Rung when the place goes away. Dials wait for this and not for the watch, which wakes those who wait in an
    /// order of tokio's own drawing, so that no seed would repeat its run.
    pub(super) departure: Arc<Notify>,
    /// Since when it is away; none while it is up or if it never was.
    pub(super) left: Option<Left>,
    /// Counts absences, so that a publication begun before one is not finished after it.
    pub(super) absences: u64,
}

/// The moment at which a place went away.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) at: Instant,
    /// True time then: the newest consensus that the place has seen.
    pub(super) true_time: SystemTime,
}

impl Place {
    /// The place of an address as which nobody has joined.
    pub(super) fn new(own: OnionAddress) -> Self {
        let bootstrap = Bootstrap { stage: Stage::Connecting, blocked: Some(CUT_OFF.to_owned()) };
        Self {
            own,
            members: Vec::new(),
            connected: true,
            services: BTreeMap::new(),
            bootstrap: watch::Sender::new(bootstrap),
            departure: Arc::default(),
            left: None,
            absences: 0,
        }
    }

    /// Whether a process stands behind the address and has a network.
    pub(super) fn is_up(&self) -> bool {
        self.connected && !self.members.is_empty()
    }

    /// How many onions the member hosts beside the own address.
    pub(super) fn hosted_by(&self, member: MemberId) -> usize {
        let beside =
            |(onion, service): &(&OnionAddress, &Service)| **onion != self.own && service.owner == member;
        self.services.iter().filter(beside).count()
    }

    /// Whether the address swallows dials now, its descriptor being still up.
    pub(super) fn is_ghost(&self, now: Instant, ghost: Duration) -> bool {
        !self.is_up() && self.left.is_some_and(|left| now < left.at + ghost)
    }

    /// Shows the present state in the bootstrap watch.
    pub(super) fn show(&self) {
        let stage = match self.services.get(&self.own) {
            _ if !self.is_up() => Stage::Connecting,
            Some(service) if service.reachable => Stage::Reachable,
            _ => Stage::Dialling,
        };
        let blocked = (stage == Stage::Connecting).then(|| CUT_OFF.to_owned());
        let shown = Bootstrap { stage, blocked };
        if stage < Stage::Dialling {
            self.departure.notify_waiters();
        }
        self.bootstrap.send_if_modified(|current| {
            let changed = *current != shown;
            *current = shown;
            changed
        });
    }
}

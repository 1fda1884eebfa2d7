//! What others ask of the delivery task: look again, push to a peer that is up, greet a peer.
//!
//! A small board instead of a channel: asking twice is asking once, so it is bounded by the number of peers named.

use onion::OnionAddress;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Most peers named on the board at once; more are left to the ordinary retries.
const PEERS_MAX: usize = 4096;

/// The board.
#[derive(Debug, Default)]
pub struct Orders {
    asked: Mutex<Asked>,
    bell: Notify,
}

/// What was asked since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Deliver to these now, on a fresh connection: they are up.
    pub push: BTreeSet<OnionAddress>,
    /// Deliver to these now, unless that is being done: they have shown themselves.
    pub nudge: BTreeSet<OnionAddress>,
    /// Tell these that we are up (ETRN).
    pub greet: BTreeSet<OnionAddress>,
    /// Try everything now, whatever its next time.
    pub all: bool,
}

impl Orders {
    /// The queue has changed.
    pub fn look(&self) {
        self.bell.notify_one();
    }

    /// `peer` is up: deliver to it now, on a fresh connection.
    pub fn push(&self, peer: OnionAddress) {
        self.change(|asked| insert(&mut asked.push, peer));
    }

    /// `peer` has shown itself: deliver to it now, unless that is being done. (A push instead would make two peers
    /// that write to each other end each other's connections for ever.)
    pub fn nudge(&self, peer: OnionAddress) {
        self.change(|asked| insert(&mut asked.nudge, peer));
    }

    /// Tell `peer` that we are up.
    pub fn greet(&self, peer: OnionAddress) {
        self.change(|asked| insert(&mut asked.greet, peer));
    }

    /// Try everything now.
    pub fn push_all(&self) {
        self.change(|asked| asked.all = true);
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }

    /// Waits until something is asked.
    pub async fn asked(&self) {
        self.bell.notified().await;
    }

    /// Takes what was asked off the board.
    pub fn take(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn insert(peers: &mut BTreeSet<OnionAddress>, peer: OnionAddress) {
    if peers.len() < PEERS_MAX {
        peers.insert(peer);
    }
}

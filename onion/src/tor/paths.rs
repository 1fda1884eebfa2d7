//! Which circuits a dial to a peer may use: those of the peer's current path, and no others.
//!
//! A circuit to a peer that was killed stays open here until the relays between have noticed, which was seen to take
//! more than a minute; every stream opened on it meanwhile gets no answer. So a path that was in use and does not
//! answer is left for good, and so is one whose peer says that it came up anew. Promises bounded memory, and that
//! different peers never share a path.

use crate::OnionAddress;
use arti_client::isolation::IsolationHelper;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// So many peers are remembered; beyond them all paths are left at once, which costs a new circuit for each.
const PEERS_MAX: usize = 4096;

/// Streams share circuits only if they go to the same peer by the same path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    peer: [u8; 32],
    /// Counts the paths that were left.
    generation: u64,
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Path([redacted])")
    }
}

impl IsolationHelper for Path {
    fn compatible_same_type(&self, other: &Self) -> bool {
        self == other
    }

    fn join_same_type(&self, other: &Self) -> Option<Self> {
        (self == other).then_some(*self)
    }

    // The peer is fixed, so an old circuit links nothing that a new one would not.
    fn enables_long_lived_circuits(&self) -> bool {
        true
    }
}

/// The current path of each peer.
#[derive(Default)]
pub(super) struct Paths(Mutex<Known>);

#[derive(Default)]
struct Known {
    peers: HashMap<[u8; 32], Current>,
    /// The next new path's; never used twice, so that forgetting a peer cannot bring an old path back.
    next: u64,
}

#[derive(Clone, Copy)]
struct Current {
    generation: u64,
    /// A stream was opened on it, so an open circuit may be at hand.
    used: bool,
}

impl Paths {
    /// The path to `peer`, and whether it was used before.
    pub(super) fn to(&self, peer: &OnionAddress) -> (Path, bool) {
        let mut known = self.known();
        let peer = *peer.public_key();
        let current = match known.peers.get(&peer) {
            Some(current) => *current,
            None => known.begin(peer),
        };
        (Path { peer, generation: current.generation }, current.used)
    }

    /// A stream was opened on `path`.
    pub(super) fn used(&self, path: &Path) {
        let mut known = self.known();
        if let Some(current) = known.peers.get_mut(&path.peer)
            && current.generation == path.generation
        {
            current.used = true;
        }
    }

    /// Leaves the path to `peer`: the next dial takes a new one.
    pub(super) fn leave(&self, peer: &OnionAddress) {
        self.known().peers.remove(peer.public_key());
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn begin(&mut self, peer: [u8; 32]) -> Current {
        if self.peers.len() >= PEERS_MAX {
            self.peers.clear();
        }
        let current = Current { generation: self.next, used: false };
        self.next += 1;
        self.peers.insert(peer, current);
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostKey;
    use arti_client::IsolationToken;
    use arti_client::isolation::Isolation;

    fn address(seed: u8) -> OnionAddress {
        HostKey::from_seed([seed; 32]).address()
    }

    #[test]
    fn only_streams_to_the_same_peer_may_share_a_circuit() {
        let paths = Paths::default();
        let (one, other) = (paths.to(&address(1)).0, paths.to(&address(2)).0);
        assert!(one.compatible(&paths.to(&address(1)).0));
        assert!(one.join(&paths.to(&address(1)).0).is_some());
        assert!(!one.compatible(&other) && one.join(&other).is_none());
        // Nor with a stream that asked for no isolation, or for a fresh one.
        assert!(!one.compatible(&IsolationToken::no_isolation()));
        assert!(!one.compatible(&IsolationToken::new()));
    }

    #[test]
    fn a_path_that_was_left_is_never_taken_again() {
        let paths = Paths::default();
        let (old, used) = paths.to(&address(1));
        assert!(!used);
        paths.used(&old);
        assert!(paths.to(&address(1)) == (old, true));
        paths.leave(&address(1));
        let (new, used) = paths.to(&address(1));
        assert!(!used && !new.compatible(&old));
        // What was still under way on the old path says nothing about the new one.
        paths.used(&old);
        assert!(!paths.to(&address(1)).1);
    }

    #[test]
    fn the_peers_remembered_are_bounded() {
        let paths = Paths::default();
        let first = paths.to(&address(1)).0;
        for n in 0..PEERS_MAX as u32 {
            let mut peer = [0; 32];
            peer[..4].copy_from_slice(&n.to_be_bytes());
            paths.known().begin(peer);
        }
        assert!(paths.known().peers.len() <= PEERS_MAX);
        assert!(!paths.to(&address(1)).0.compatible(&first));
    }

    #[test]
    fn a_path_shows_no_key() {
        assert_eq!(format!("{:?}", Paths::default().to(&address(7)).0), "Path([redacted])");
    }
}

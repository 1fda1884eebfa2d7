//! What happened on the memory network, counted per dialling and dialled address.
//!
//! Promises numbers that only grow; leaves their reading (sums, differences) to tests. Atomic, so that a stream
//! counts its bytes without touching the network's lock.

use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers since the network was made, of one pair of addresses or of all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Dials begun.
    pub dials: u64,
    /// Dials that gave a stream.
    pub streams: u64,
    /// Dials answered `Absent`, black holes and drawn failures among them.
    pub absent: u64,
    /// Dials answered `Refused`.
    pub refused: u64,
    /// Dials answered `NetworkDown`.
    pub network_down: u64,
    /// Streams that were cut before both ends had let go.
    pub cuts: u64,
    /// Bytes sent by the dialling side (flushed, whether or not they arrived).
    pub bytes_out: u64,
    /// Bytes sent by the dialled side.
    pub bytes_back: u64,
    /// Bytes of both directions that were sent and will never be read.
    pub bytes_lost: u64,
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            dials: self.dials + other.dials,
            streams: self.streams + other.streams,
            absent: self.absent + other.absent,
            refused: self.refused + other.refused,
            network_down: self.network_down + other.network_down,
            cuts: self.cuts + other.cuts,
            bytes_out: self.bytes_out + other.bytes_out,
            bytes_back: self.bytes_back + other.bytes_back,
            bytes_lost: self.bytes_lost + other.bytes_lost,
        }
    }
}

/// The live side of [`Counters`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) dials: Count,
    pub(super) streams: Count,
    pub(super) absent: Count,
    pub(super) refused: Count,
    pub(super) network_down: Count,
    pub(super) cuts: Count,
    /// By side: what the dialling, then what the dialled side has sent.
    pub(super) bytes: [Count; 2],
    pub(super) bytes_lost: Count,
}

impl Tally {
    pub(super) fn read(&self) -> Counters {
        Counters {
            dials: self.dials.read(),
            streams: self.streams.read(),
            absent: self.absent.read(),
            refused: self.refused.read(),
            network_down: self.network_down.read(),
            cuts: self.cuts.read(),
            bytes_out: self.bytes[0].read(),
            bytes_back: self.bytes[1].read(),
            bytes_lost: self.bytes_lost.read(),
        }
    }
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, n: usize) {
        // A count orders nothing, so relaxed is enough.
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

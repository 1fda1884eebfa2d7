//! Where time comes from: the wall clock, and whether the network agrees with it.
//!
//! `Clock` is the one source of "now"; the simulation has its own, which follows tokio's paused time and can be made
//! to jump. What cannot be undone waits for *agreed* time: the wall clock as long as it lies inside the validity of
//! the live consensus (docs/queue.md, agreed time).

use crate::model::time::UnixTime;
use onion::Transport;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The wall clock now; may be wrong, and may jump either way.
    fn now(&self) -> UnixTime;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        SystemTime::now().into()
    }
}

/// A clock that follows tokio's time from a given start, so that paused time moves it, and that can be set wrong.
#[derive(Debug)]
pub struct TokioClock {
    base: UnixTime,
    started: tokio::time::Instant,
    wrong_by_secs: AtomicI64,
}

impl TokioClock {
    /// Starts at `base`, now.
    pub fn starting_at(base: UnixTime) -> Self {
        Self { base, started: tokio::time::Instant::now(), wrong_by_secs: AtomicI64::new(0) }
    }

    /// Makes the clock wrong by this many seconds, either way.
    pub fn set_wrong_by(&self, secs: i64) {
        self.wrong_by_secs.store(secs, Ordering::Relaxed);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixTime {
        let right = self.base.plus(self.started.elapsed());
        UnixTime(right.0.saturating_add_signed(self.wrong_by_secs.load(Ordering::Relaxed)))
    }
}

/// `now` if the network's live consensus agrees with it; `None` freezes every timer that cannot be undone.
pub fn agreed(now: UnixTime, transport: &dyn Transport) -> Option<UnixTime> {
    transport.network_time().filter(|time| time.agrees_with(now.system())).map(|_| now)
}

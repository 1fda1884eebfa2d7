//! Places for conversations: how many there may be at once on one port, and who goes when one more comes.
//!
//! Promises that callers who do nothing keep nobody out. When every place is taken, of those who have not shown who
//! they are (no proof, no login) the one that has been silent longest is told to go, and the newcomer has its place.
//! Only when all have shown it does the newcomer wait or is turned away; that is the port's choice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Files that the process may have open for each conversation place of one port: the ports are four, all drops together
/// being one, and the store, Tor and the commands need some too.
const FILES_PER_PLACE: u64 = 5;

/// The places of one port.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    heard: Instant,
    is_known: bool,
    go: Arc<Notify>,
}

/// One place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Inner>,
    number: u64,
    go: Arc<Notify>,
}

impl Places {
    /// So many, or fewer if the process may not have so many files open.
    pub(crate) fn new(wanted: usize) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let fitting = usize::try_from(files / FILES_PER_PLACE).unwrap_or(usize::MAX).max(1);
        Self::with(wanted.min(fitting))
    }

    /// So many.
    fn with(max: usize) -> Self {
        Self(Arc::new(Inner { max, taken: Mutex::default(), freed: Notify::new() }))
    }

    /// Takes a place, if need be of one who has not shown who it is. `None`: all have.
    pub(crate) fn try_enter(&self) -> Option<Place> {
        let mut taken = self.0.taken();
        if taken.seats.len() >= self.0.max {
            let unknown = taken.seats.iter().filter(|(_, seat)| !seat.is_known);
            let (&number, _) = unknown.min_by_key(|(_, seat)| seat.heard)?;
            if let Some(seat) = taken.seats.remove(&number) {
                seat.go.notify_one();
            }
        }
        let (number, go) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        taken.seats.insert(number, Seat { heard: Instant::now(), is_known: false, go: go.clone() });
        Some(Place { of: self.0.clone(), number, go })
    }

    /// The same, waiting until it is possible.
    pub(crate) async fn enter(&self) -> Place {
        loop {
            let freed = self.0.freed.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            freed.await;
        }
    }
}

impl Inner {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The one place of a stream that is no listener's.
    pub(crate) fn alone() -> Self {
        let places = Places::with(1);
        places.try_enter().expect("the first place of a listener is free")
    }

    /// The caller has said something.
    pub(crate) fn heard(&self) {
        if let Some(seat) = self.of.taken().seats.get_mut(&self.number) {
            seat.heard = Instant::now();
        }
    }

    /// The caller has shown who it is: it is told to go for nobody.
    pub(crate) fn known(&self) {
        if let Some(seat) = self.of.taken().seats.get_mut(&self.number) {
            seat.is_known = true;
        }
    }

    /// Waits until this caller must go.
    pub(crate) async fn told_to_go(&self) {
        self.go.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.of.taken().seats.remove(&self.number).is_some() {
            self.of.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{advance, timeout};

    async fn is_told(place: &Place) -> bool {
        timeout(Duration::from_millis(1), place.told_to_go()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_stranger_who_was_silent_longest_makes_room() {
        let places = Places::with(3);
        let [known, first, second] = [(); 3].map(|()| places.try_enter().unwrap());
        known.known();
        advance(Duration::from_secs(1)).await;
        first.heard();
        let newcomer = places.try_enter().unwrap();
        assert!(is_told(&second).await && !is_told(&first).await && !is_told(&known).await);
        drop(second);
        let _another = places.try_enter().unwrap();
        assert!(is_told(&first).await && !is_told(&newcomer).await && !is_told(&known).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_shown_who_it_is_keeps_its_place() {
        let places = Places::with(1);
        let known = places.enter().await;
        known.known();
        assert!(places.try_enter().is_none());
        assert!(timeout(Duration::from_secs(1), places.enter()).await.is_err());
        let waiting = places.enter();
        drop(known);
        drop(waiting.await);
        places.try_enter().unwrap();
    }
}

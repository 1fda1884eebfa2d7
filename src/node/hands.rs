//! `Hands`: which entries of the queue somebody has in hand at this moment: a session that sends them, or their reader
//! who is fetching them here; and which readers are here to fetch.
//!
//! Promises that a letter is not sent and fetched at once, and that a reader who is cut off and comes again has it in
//! the new conversation at once. Only memory knows it: after a crash nothing is in hand.

use crate::node::orders::Orders;
use crate::store::QueueNo;
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// After this long without fetching anything a reader is here no more: what waits is sent, and times out, as ever.
const VISIT_MAX: Duration = Duration::from_secs(600);

/// What is being done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// A session of ours brings it.
    Sending,
    /// Its reader fetches it.
    Fetching,
}

/// The entries in hand, and the visitors.
#[derive(Debug, Default)]
pub(crate) struct Hands(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each with the visit in which it is fetched; none if it is sent.
    held: BTreeMap<QueueNo, Option<u64>>,
    /// The newest visit of each reader, and when it last fetched something.
    visitors: BTreeMap<OnionAddress, (u64, Instant)>,
    visits: u64,
}

/// A reader is here to fetch what waits for it: meanwhile nothing is sent to it. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Visit {
    hands: Arc<Hands>,
    orders: Arc<Orders>,
    reader: OnionAddress,
    number: u64,
}

/// An entry in hand. Dropped, it is let go.
#[derive(Debug)]
pub(super) struct InHand {
    hands: Arc<Hands>,
    no: QueueNo,
    visit: Option<u64>,
}

impl Hands {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry to send it, unless somebody else has it.
    pub(super) fn send(self: &Arc<Self>, no: QueueNo) -> Option<InHand> {
        self.take(no, None)
    }

    fn take(self: &Arc<Self>, no: QueueNo, visit: Option<u64>) -> Option<InHand> {
        let mut state = self.state();
        if state.doing(no).is_some() {
            return None;
        }
        state.held.insert(no, visit);
        Some(InHand { hands: self.clone(), no, visit })
    }

    /// A reader has come to fetch; an earlier conversation of its is dead, or given up. When it is done, `orders` are
    /// looked at.
    pub(super) fn visit(self: &Arc<Self>, orders: &Arc<Orders>, reader: OnionAddress) -> Visit {
        let mut state = self.state();
        state.visits += 1;
        let number = state.visits;
        if let Some((before, _)) = state.visitors.insert(reader, (number, Instant::now())) {
            state.held.retain(|_, visit| *visit != Some(before));
        }
        Visit { hands: self.clone(), orders: orders.clone(), reader, number }
    }

    /// Whether this reader is here to fetch.
    pub(super) fn is_here(&self, reader: &OnionAddress) -> bool {
        self.state().visitors.get(reader).is_some_and(|(_, fetched)| fetched.elapsed() < VISIT_MAX)
    }

    /// Whether anybody is.
    pub(super) fn has_visitors(&self) -> bool {
        !self.state().visitors.is_empty()
    }

    /// What is being done with an entry.
    pub(super) fn doing(&self, no: QueueNo) -> Option<Doing> {
        self.state().doing(no)
    }
}

impl State {
    fn doing(&self, no: QueueNo) -> Option<Doing> {
        let goes_on = |number: &u64| {
            self.visitors.values().any(|(newest, fetched)| newest == number && fetched.elapsed() < VISIT_MAX)
        };
        match self.held.get(&no)? {
            None => Some(Doing::Sending),
            Some(visit) => goes_on(visit).then_some(Doing::Fetching),
        }
    }
}

impl Visit {
    /// Takes an entry to give it out, unless somebody else has it, or a newer conversation has come.
    pub(super) fn fetch(&self, no: QueueNo) -> Option<InHand> {
        if self.goes_on() { self.hands.take(no, Some(self.number)) } else { None }
    }

    /// Something is fetched; `false` if a newer conversation has come.
    pub(super) fn goes_on(&self) -> bool {
        match self.hands.state().visitors.get_mut(&self.reader) {
            Some((number, fetched)) if *number == self.number => {
                *fetched = Instant::now();
                true
            }
            _ => false,
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut state = self.hands.state();
        if state.held.get(&self.no) == Some(&self.visit) {
            state.held.remove(&self.no);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.hands.state();
        state.held.retain(|_, visit| *visit != Some(self.number));
        if state.visitors.get(&self.reader).is_some_and(|(number, _)| *number == self.number) {
            state.visitors.remove(&self.reader);
        }
        drop(state);
        // What was not fetched is to be sent.
        self.orders.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> OnionAddress {
        onion::HostKey::from_seed([1; 32]).address()
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_in_one_hand_at_a_time() {
        let (hands, orders) = (Arc::new(Hands::default()), Arc::new(Orders::default()));
        let visit = hands.visit(&orders, reader());
        let first = visit.fetch(QueueNo(1)).unwrap();
        assert!(hands.send(QueueNo(1)).is_none() && hands.send(QueueNo(2)).is_some());
        assert_eq!((hands.doing(QueueNo(1)), hands.doing(QueueNo(2))), (Some(Doing::Fetching), None));
        drop(first);
        assert!(hands.send(QueueNo(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_has_it_in_the_new_conversation_and_the_old_one_takes_nothing_away() {
        let (hands, orders) = (Arc::new(Hands::default()), Arc::new(Orders::default()));
        let old = hands.visit(&orders, reader());
        let in_old_hand = old.fetch(QueueNo(1)).unwrap();
        let new = hands.visit(&orders, reader());
        let in_new_hand = new.fetch(QueueNo(1)).unwrap();
        assert!(!old.goes_on() && old.fetch(QueueNo(2)).is_none());
        drop((in_old_hand, old));
        assert_eq!(hands.doing(QueueNo(1)), Some(Doing::Fetching));
        assert!(hands.is_here(&reader()));
        drop((in_new_hand, new));
        assert!(!hands.is_here(&reader()) && !hands.has_visitors() && hands.doing(QueueNo(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_fetches_nothing_is_here_no_more_after_a_while() {
        let (hands, orders) = (Arc::new(Hands::default()), Arc::new(Orders::default()));
        let visit = hands.visit(&orders, reader());
        tokio::time::sleep(VISIT_MAX / 2).await;
        assert!(visit.goes_on());
        tokio::time::sleep(VISIT_MAX / 2).await;
        assert!(hands.is_here(&reader()));
        let in_hand = visit.fetch(QueueNo(1)).unwrap();
        assert!(hands.send(QueueNo(1)).is_none());
        tokio::time::sleep(VISIT_MAX).await;
        assert!(!hands.is_here(&reader()));
        let sent = hands.send(QueueNo(1)).unwrap();
        drop(in_hand);
        assert_eq!(hands.doing(QueueNo(1)), Some(Doing::Sending), "it is another's now");
        drop(sent);
    }
}

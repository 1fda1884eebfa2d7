//! `Hands`: which entries of the queue somebody has in hand at this moment: a session that sends them, or their reader
//! who is fetching them here; and which readers are here to fetch.
//!
//! Promises that a letter is not sent and fetched at once. Only memory knows it: after a crash nothing is in hand.

use crate::node::orders::Orders;
use crate::store::QueueNo;
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is being done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// A session of ours brings it.
    Sending,
    /// Its reader fetches it.
    Fetching,
}

/// The entries in hand.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    held: Mutex<BTreeMap<QueueNo, Doing>>,
    /// Each with the number of its conversations.
    visitors: Mutex<BTreeMap<OnionAddress, usize>>,
}

/// A reader is here to fetch what waits for it: meanwhile nothing is sent to it. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Visit {
    hands: Arc<Hands>,
    orders: Arc<Orders>,
    reader: OnionAddress,
}

/// An entry in hand. Dropped, it is let go.
#[derive(Debug)]
pub(super) struct InHand {
    hands: Arc<Hands>,
    orders: Arc<Orders>,
    no: QueueNo,
}

impl Hands {
    fn held(&self) -> MutexGuard<'_, BTreeMap<QueueNo, Doing>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry, unless somebody else has it. When it is let go, `orders` are looked at.
    pub(super) fn take(self: &Arc<Self>, orders: &Arc<Orders>, no: QueueNo, doing: Doing) -> Option<InHand> {
        let mut held = self.held();
        if held.contains_key(&no) {
            return None;
        }
        held.insert(no, doing);
        Some(InHand { hands: self.clone(), orders: orders.clone(), no })
    }

    /// A reader has come to fetch. When it is done, `orders` are looked at.
    pub(super) fn visit(self: &Arc<Self>, orders: &Arc<Orders>, reader: OnionAddress) -> Visit {
        *self.visitors().entry(reader).or_default() += 1;
        Visit { hands: self.clone(), orders: orders.clone(), reader }
    }

    /// Whether this reader is here to fetch.
    pub(super) fn is_here(&self, reader: &OnionAddress) -> bool {
        self.visitors().contains_key(reader)
    }

    fn visitors(&self) -> MutexGuard<'_, BTreeMap<OnionAddress, usize>> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is being done with an entry.
    pub(super) fn doing(&self, no: QueueNo) -> Option<Doing> {
        self.held().get(&no).copied()
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let done = self.hands.held().remove(&self.no);
        if done == Some(Doing::Fetching) {
            // What was not fetched is to be sent.
            self.orders.look();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut visitors = self.hands.visitors();
        if let Some(conversations) = visitors.get_mut(&self.reader) {
            *conversations -= 1;
            if *conversations == 0 {
                visitors.remove(&self.reader);
            }
        }
        drop(visitors);
        self.orders.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_in_one_hand_at_a_time() {
        let (hands, orders) = (Arc::new(Hands::default()), Arc::new(Orders::default()));
        let first = hands.take(&orders, QueueNo(1), Doing::Fetching).unwrap();
        assert!(hands.take(&orders, QueueNo(1), Doing::Sending).is_none());
        assert!(hands.take(&orders, QueueNo(2), Doing::Sending).is_some());
        assert_eq!((hands.doing(QueueNo(1)), hands.doing(QueueNo(2))), (Some(Doing::Fetching), None));
        drop(first);
        assert!(hands.take(&orders, QueueNo(1), Doing::Sending).is_some());
    }
}

//! What is wrong at this moment, in plain words, for `status`: one sentence for each part of the node.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The troubles at hand, by the part of the node that has them.
#[derive(Debug, Default)]
pub struct Trouble {
    at_hand: Mutex<BTreeMap<&'static str, String>>,
    noted: Notify,
}

impl Trouble {
    /// `part` has this trouble now; it replaces what it had before.
    pub fn note(&self, part: &'static str, what: String) {
        if self.at_hand().insert(part, what.clone()).as_ref() != Some(&what) {
            tracing::warn!(part, "{what}");
            self.noted.notify_waiters();
        }
    }

    /// `part` is well again.
    pub fn clear(&self, part: &'static str) {
        self.at_hand().remove(part);
    }

    /// Waits until `part` has a trouble.
    pub async fn of(&self, part: &'static str) {
        loop {
            let noted = self.noted.notified();
            if self.at_hand().contains_key(part) {
                return;
            }
            noted.await;
        }
    }

    /// All sentences.
    pub fn sentences(&self) -> Vec<String> {
        self.at_hand().values().cloned().collect()
    }

    fn at_hand(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What is wrong at this moment, in plain words, for `status`: one sentence for each part of the node.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The troubles at hand, by the part of the node that has them.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<BTreeMap<&'static str, String>>);

impl Trouble {
    /// `part` has this trouble now; it replaces what it had before.
    pub fn note(&self, part: &'static str, what: String) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.insert(part, what.clone()).as_ref() != Some(&what) {
            tracing::warn!(part, "{what}");
        }
    }

    /// `part` is well again.
    pub fn clear(&self, part: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// All sentences.
    pub fn sentences(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

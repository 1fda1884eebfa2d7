//! What waits in the queues of a simulated network: how much, and for a person who looks for a fault, what.

use crate::life::Life;
use crate::world::NodeId;

impl Life {
    /// How many letters wait with those who are up.
    pub(crate) async fn waiting(&self) -> usize {
        let mut waiting = 0;
        for id in self.world.everybody().filter(|id| self.world.is_running(*id)) {
            waiting += self.world.queue(id).await.len();
        }
        waiting
    }

    /// What still waits, and how its last try ended: the first of it.
    pub(crate) async fn who_waits(&self) -> Vec<String> {
        let mut shown = Vec::new();
        for id in self.world.everybody().filter(|id| self.world.is_running(*id)) {
            for (no, entry) in self.world.queue(id).await {
                let (errand, fetched, kept) = (entry.errand, entry.fetched, entry.custody.len());
                let (to, state) = (self.who(&entry.to.onion), &entry.state);
                shown.push(format!(
                    "{no:?} from {id:?} to {to:?}: errand {errand}, fetched {fetched:?}, at {kept} drops, {state:?}"
                ));
            }
        }
        shown.truncate(12);
        shown
    }

    /// Whose onion it is.
    fn who(&self, onion: &onion::OnionAddress) -> Option<NodeId> {
        self.world.everybody().find(|id| self.world.onion(*id) == *onion)
    }
}

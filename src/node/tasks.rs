//! Every task of a node, by name. All end when `Tasks` is dropped.

use crate::node::Node;
use crate::node::delivery::Delivery;
use crate::node::{collect, housekeeping, presence, recall};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The tasks of a running node.
///
/// | task | does | bounded by |
/// |---|---|---|
/// | delivery | the queue; owns at most 16 sessions | `delivery::SESSIONS_MAX` |
/// | presence | greets the peers when the node becomes reachable | `presence::PEERS_MAX` |
/// | collecting | fetches what holders keep for us | `collect::LISTS_MAX` |
/// | housekeeping | gives room on the disk back | `housekeeping::STEP_BYTES` at a time |
/// | sleep | notices that the machine slept | one timer |
///
/// The faces run their own: one per listener and one per connection.
pub struct Tasks(JoinSet<()>);

impl Tasks {
    /// Starts them all.
    pub fn start(node: &Arc<Node>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(Delivery::new(node.clone()).run());
        tasks.spawn(presence::run(node.clone()));
        tasks.spawn(collect::run(node.clone()));
        tasks.spawn(recall::run(node.clone()));
        tasks.spawn(housekeeping::run(node.clone()));
        tasks.spawn(presence::watch_for_sleep(node.clone()));
        Self(tasks)
    }

    /// Waits for a task to end, which none does unless it is broken; gives what is known of it.
    pub async fn ended(&mut self) -> String {
        match self.0.join_next().await {
            Some(Err(error)) => format!("a task of the node failed: {error}"),
            _ => "a task of the node ended".to_owned(),
        }
    }

    /// Ends all of them and waits until they are gone.
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

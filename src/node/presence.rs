//! Coming up: a node whose onion has become reachable tells the peers it has exchanged mail with, by `ETRN`, so that
//! what waits for it arrives within a minute. The same after the machine slept.
//!
//! Who is told and when is drawn anew each time, so that the round is no signature of the identity.

use crate::node::Node;
use onion::Stage;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use std::sync::Arc;
use std::time::Duration;

/// Most peers told in one round, those seen last first. Others find us by their own retries.
const PEERS_MAX: usize = 256;
/// The round is spread over this time.
const SPREAD: Duration = Duration::from_secs(10);
/// How often the clocks are compared to notice that the machine slept.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The wall clock ran this much further than the running time: the machine slept.
const SLEPT_MIN: Duration = Duration::from_secs(30);

/// Greets the peers each time the node becomes reachable. Runs until dropped.
pub(super) async fn run(node: Arc<Node>) {
    let mut bootstrap = node.transport.bootstrap();
    loop {
        if bootstrap.wait_for(|now| now.stage == Stage::Reachable).await.is_err() {
            return;
        }
        greet_peers(&node).await;
        if bootstrap.wait_for(|now| now.stage != Stage::Reachable).await.is_err() {
            return;
        }
    }
}

/// Notices that the machine slept, and then greets the peers and tries everything. Runs until dropped.
pub(super) async fn watch_for_sleep(node: Arc<Node>) {
    loop {
        let (before, running) = (node.desk.now(), tokio::time::Instant::now());
        tokio::time::sleep(LOOK_EVERY).await;
        // A clock that was set back is no sleep. One that was set forward looks like one, and no harm is done.
        let wall = node.desk.now().since(before);
        if wall.saturating_sub(running.elapsed()) > SLEPT_MIN {
            tracing::info!("the machine slept; telling the peers that we are up");
            node.desk.orders.push_all();
            node.desk.collect_now.notify_one();
            greet_peers(&node).await;
        }
    }
}

async fn greet_peers(node: &Node) {
    let peers = match node.desk.recent_peers(PEERS_MAX).await {
        Ok(peers) => peers,
        Err(error) => {
            node.desk.trouble.note("presence", format!("the list of peers cannot be read: {error}"));
            return;
        }
    };
    if peers.is_empty() {
        return;
    }
    let mut rng = node.desk.rng();
    let mut order = peers;
    order.shuffle(&mut rng);
    let gap = SPREAD / u32::try_from(order.len()).unwrap_or(u32::MAX);
    for peer in order {
        node.desk.orders.greet(peer);
        tokio::time::sleep(gap.mul_f64(rng.random_range(0.5..1.5))).await;
    }
}

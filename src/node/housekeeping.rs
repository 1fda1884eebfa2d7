//! Room is given back: segments that hold mostly forgotten letters are compacted, a little at a time; unfinished
//! letters that nobody goes on with are forgotten, and so are letters held for others once their time is over.

use crate::node::Node;
use crate::store::Compacted;
use std::sync::Arc;
use std::time::Duration;

/// How often there is a look whether anything is to be done.
const EVERY: Duration = Duration::from_secs(600);
/// And while letters are refused because the disk is full: whoever deletes some waits for it to help.
const EVERY_WHEN_FULL: Duration = Duration::from_secs(10);
/// Most bytes copied in one step, so that letters never wait long behind it.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// Pause between steps.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub(super) async fn run(node: Arc<Node>) {
    loop {
        wait(&node).await;
        node.desk.partials.forget_old();
        node.desk.drop_partials.forget_old();
        renew_keys(&node).await;
        let_go(&node).await;
        loop {
            match node.desk.store().compact_step(STEP_BYTES).await {
                Ok(Compacted::Copied(_)) => tokio::time::sleep(PAUSE).await,
                Ok(Compacted::Idle) => break,
                Err(error) => {
                    node.desk.trouble.note("disk", format!("room on the disk cannot be given back: {error}"));
                    break;
                }
            }
        }
    }
}

/// What is held for others and over, at an agreed time only.
async fn let_go(node: &Node) {
    let Some(agreed) = node.moment().agreed else { return };
    if let Err(error) = node.desk.expire_held(agreed).await {
        node.desk.trouble.note("drops", format!("what is over cannot be let go: {error}"));
    }
}

/// New prekeys, Cards and certificates, when they are due.
async fn renew_keys(node: &Node) {
    let (desk, moment) = (&node.desk, node.moment());
    let renewed =
        desk.keyring.renew(&desk.identity, &desk.store, moment.now, moment.agreed, &mut desk.rng()).await;
    match renewed {
        Ok(()) => desk.trouble.clear("keys"),
        Err(error) => {
            desk.trouble.note("keys", format!("the keys for sealed letters cannot be renewed: {error}"))
        }
    }
}

/// Until it is time for a look.
async fn wait(node: &Node) {
    let soon = async {
        node.desk.trouble.of("disk").await;
        tokio::time::sleep(EVERY_WHEN_FULL).await;
    };
    // Either way it is time.
    let _elapsed = tokio::time::timeout(EVERY, soon).await;
}

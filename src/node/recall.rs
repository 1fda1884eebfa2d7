//! Calling back: letters that were cancelled, or sealed anew, are taken from the drops that have them.
//!
//! Promises that it is done at times of its own, never on the heels of a visit to a holder and never all at once:
//! whoever keeps letters for an author and for a reader must not learn from it whose letter it was.

use crate::model::hold::Token;
use crate::model::letter::LetterId;
use crate::node::Node;
use crate::node::line::Line;
use crate::node::session::{DIAL_DEADLINE, PORT};
use crate::store::routes::RecallRecord;
use onion::Stage;
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Between two rounds, and before the first; drawn anew each time.
const EVERY: Range<Duration> = Duration::from_secs(420)..Duration::from_secs(900);
/// Before each letter. Letters are left at drops as far apart.
const APART: Range<Duration> = Duration::from_secs(2)..Duration::from_secs(20);
/// Letters called back in one round.
const RECALLS_MAX: usize = 64;

/// Calls back now and then, and when something was cancelled. Runs until dropped.
pub(super) async fn run(node: Arc<Node>) {
    loop {
        let pause = node.desk.rng().random_range(EVERY);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = node.desk.recall_now.notified() => {}
        }
        if node.transport.bootstrap().borrow().stage >= Stage::Dialling {
            round(&node).await;
        }
    }
}

async fn round(node: &Arc<Node>) {
    let Ok(mut recalls) = node.desk.store.read(|rx| rx.routes().recalls()).await else { return };
    // Those that failed go last, and who is away is called once: they keep nobody else's where it is.
    recalls.sort_by_key(|recall| recall.tries);
    let mut absent = BTreeSet::new();
    for recall in recalls.into_iter().take(RECALLS_MAX) {
        let over = node.moment().agreed.is_some_and(|now| now > recall.until);
        if !over && absent.contains(&recall.drop) {
            continue;
        }
        let called = match over {
            true => Called::Back,
            false => {
                let pause = node.desk.rng().random_range(APART);
                tokio::time::sleep(pause).await;
                call_back(node, &recall).await
            }
        };
        if called == Called::Absent {
            absent.insert(recall.drop);
        }
        let noted = node.desk.store.write(move |tx| {
            // It may be bound again since, or gone.
            let Some(now) = tx.routes().recall_of(&recall.letter, &recall.drop)? else { return Ok(()) };
            if now != recall {
                return Ok(());
            }
            match called {
                Called::Back => tx.routes().remove_recall(&recall).map(drop),
                Called::Absent | Called::Not => {
                    let tries = recall.tries.saturating_add(1);
                    tx.routes().put_recall(&RecallRecord { tries, ..recall.clone() })
                }
            }
        });
        if noted.await.is_err() {
            return;
        }
    }
}

/// How it went to call a letter back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    /// It is gone, or never was there for this token.
    Back,
    Absent,
    Not,
}

async fn call_back(node: &Arc<Node>, recall: &RecallRecord) -> Called {
    let Some(token) = Token::from_bytes(&recall.token) else { return Called::Back };
    node.transport.leave_path(recall.drop);
    let Ok(stream) = node.transport.dial(recall.drop, PORT, DIAL_DEADLINE).await else {
        return Called::Absent;
    };
    let mut line = Line::anonymous(node, stream, recall.drop);
    let answer = line.recall(LetterId(recall.letter.0), token).await;
    line.quit().await;
    node.transport.leave_path(recall.drop);
    match answer {
        Ok(Ok(())) => Called::Back,
        // It may be on its way there at this moment: what is not there now is asked for once more, in another round.
        Ok(Err(reply)) if reply.code >= 500 && recall.tries > 0 => Called::Back,
        _ => Called::Not,
    }
}

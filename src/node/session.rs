//! One conversation with a peer: dial, prove who we are, greet it if asked, deliver everything that waits for it.
//!
//! Each letter is settled as soon as it is answered. The connection is kept a while for what comes next, and given up
//! at once when the peer asks for a fresh one or when it fails.

use crate::model::outcome::Outcome;
use crate::model::queue::{Entry, Moment};
use crate::node::Node;
use crate::node::dispatch::{self, Batch, Dispatched, failure_outcome};
use crate::node::hands::InHand;
use crate::node::line::Line;
use crate::node::settle::Tried;
use crate::node::{collect, deposit};
use crate::protocol::smtp::client::Failure;
use crate::store::QueueNo;
use onion::{DialError, OnionAddress};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Mail's port on every onion.
pub const PORT: u16 = 25;
/// Longest dial. Tor answers in seconds or, just after a peer died, not at all.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(60);
/// How long an idle connection is kept for the next letter: shorter than the server's own patience.
const KEEP: Duration = Duration::from_secs(30);

/// What a session is for.
pub(super) struct Work {
    pub(super) peer: OnionAddress,
    /// Say ETRN, now or as soon as this is set; [`Work::more`] is rung then.
    pub(super) greet: Arc<AtomicBool>,
    /// Deliver all that waits, whatever its next time.
    pub(super) pushed: bool,
    /// Rung when more is due.
    pub(super) more: Arc<Notify>,
    /// Rung when the connection should end.
    pub(super) end: Arc<Notify>,
}

/// How a session ended.
pub(super) struct Ended {
    pub(super) peer: OnionAddress,
    /// The peer answered.
    pub(super) reached: bool,
    /// The peer was told that we are up.
    pub(super) greeted: bool,
    /// What became of each try is kept; if not, the same entries are still due.
    pub(super) kept: bool,
}

/// The whole conversation.
pub(super) async fn run(node: Arc<Node>, work: Work) -> Ended {
    let mut ended = Ended { peer: work.peer, reached: false, greeted: false, kept: true };
    let begun = node.moment();
    ended.kept = give_back_refused(&node, work.peer, begun).await;
    let stream = match node.transport.dial(work.peer, PORT, DIAL_DEADLINE).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "no stream to a peer");
            let outcome = match error {
                DialError::Absent => Outcome::Absent,
                DialError::Refused => Outcome::PeerRefused,
                DialError::NetworkDown => Outcome::NetworkDown,
                DialError::Ours(text) => Outcome::Ours(text),
            };
            if matches!(outcome, Outcome::Absent | Outcome::PeerRefused) {
                match due(&node, &work, &BTreeSet::new()).await {
                    Some(due) => deposit::leave(&node, work.peer, due, &work.end).await,
                    None => ended.kept = false,
                }
            }
            ended.kept &= settle_due(&node, &work, begun, &BTreeSet::new(), &outcome).await;
            return ended;
        }
    };
    let mut line = Line::new(&node, stream, &work);
    let mut tried = BTreeSet::new();
    let result = converse(&node, &work, &mut line, &mut tried, &mut ended).await;
    if let Err(failure) = result {
        tracing::debug!(cause = %failure.cause, "a conversation with a peer broke off");
        // What was not tried on this connection shares its fate, so that a peer that breaks off is not dialled again
        // at once, and for ever.
        ended.kept &= settle_due(&node, &work, begun, &tried, &failure_outcome(&failure)).await;
    }
    ended
}

/// Greets and delivers until nothing is left and the connection has idled long enough.
async fn converse(
    node: &Arc<Node>,
    work: &Work,
    line: &mut Line,
    tried: &mut BTreeSet<QueueNo>,
    ended: &mut Ended,
) -> Result<(), Failure> {
    let mut everything = work.pushed;
    let mut ahead = VecDeque::new();
    let mut fetched = false;
    let mut idle_until = Instant::now() + KEEP;
    loop {
        while !line.hurried
            && let Some(batch) = next_batch(node, work.peer, everything, tried, &mut ahead).await
        {
            tried.extend(batch.entries.iter().map(|(no, _)| *no));
            let Some((batch, _in_hand)) = take_in_hand(node, batch) else { continue };
            let begun = node.moment();
            let Dispatched { tries, failure } = dispatch::deliver(node, line, batch).await;
            ended.reached |= line.client.peer().is_some();
            ended.kept &= node.settle(begun, tries).await;
            if let Some(failure) = failure {
                return Err(failure);
            }
            // Once a peer is reached, all that waits for it is due.
            everything = true;
            idle_until = Instant::now() + KEEP;
        }
        if !line.hurried && work.greet.load(Ordering::Relaxed) && !std::mem::replace(&mut fetched, true) {
            // What waits there for us comes the same way; and what that leads to goes before the peer is asked to call.
            collect::from_author(node, line, work.peer).await?;
            continue;
        }
        if !line.hurried && work.greet.swap(false, Ordering::Relaxed) {
            line.etrn().await?;
            ended.reached = true;
            ended.greeted = true;
            node.desk.met(work.peer).await;
            everything = true;
            continue;
        }
        if line.hurried {
            break;
        }
        tokio::select! {
            biased;
            () = work.end.notified() => break,
            () = work.more.notified() => {}
            closed = line.idle() => {
                closed?;
                return Ok(());
            }
            () = tokio::time::sleep_until(idle_until) => break,
        }
    }
    line.quit().await;
    Ok(())
}

/// The next letter for this peer that is due and was not tried on this connection. `ahead` is what was seen to wait
/// when the queue was last read; each entry is looked at once more, since it may have been cancelled.
async fn next_batch(
    node: &Node,
    peer: OnionAddress,
    all: bool,
    tried: &BTreeSet<QueueNo>,
    ahead: &mut VecDeque<(QueueNo, Entry)>,
) -> Option<Batch> {
    let now = node.desk.now();
    let is_offered = |no: QueueNo, entry: &Entry| {
        let hands = &node.desk.hands;
        (all && entry.is_wanted(now) || entry.is_due(now))
            && hands.doing(no).is_none()
            && !hands.is_here(&peer)
    };
    loop {
        if ahead.is_empty() {
            let mut due = node.desk.queue_for(peer).await.ok()?;
            due.retain(|(no, entry)| !tried.contains(no) && is_offered(*no, entry));
            ahead.extend(due);
        }
        let id = ahead.front()?.1.id;
        let (these, others): (VecDeque<_>, _) =
            std::mem::take(ahead).into_iter().partition(|(_, entry)| entry.id == id);
        *ahead = others;
        let mut still = node.desk.entries(these.into_iter().map(|(no, _)| no).collect()).await.ok()?;
        still.retain(|no, entry| is_offered(*no, entry));
        if !still.is_empty() {
            return Some(Batch { peer, entries: still.into_iter().collect() });
        }
    }
}

/// Takes the entries of a batch in hand; those that their reader is fetching meanwhile are left out.
fn take_in_hand(node: &Node, batch: Batch) -> Option<(Batch, Vec<InHand>)> {
    let take = |(no, entry)| {
        let in_hand = node.desk.hands.send(no)?;
        Some(((no, entry), in_hand))
    };
    let (entries, in_hand): (Vec<_>, Vec<_>) = batch.entries.into_iter().filter_map(take).unzip();
    (!entries.is_empty()).then_some((Batch { entries, ..batch }, in_hand))
}

/// Settles every entry that was due for this session and not tried.
async fn settle_due(
    node: &Node,
    work: &Work,
    begun: Moment,
    tried: &BTreeSet<QueueNo>,
    outcome: &Outcome,
) -> bool {
    let Some(due) = due(node, work, tried).await else { return false };
    let tries = due.into_iter().map(|(no, _)| Tried::new(no, outcome.clone())).collect();
    node.settle(begun, tries).await
}

/// The entries that are due for this session and were not tried; `None` if they cannot be read.
async fn due(node: &Node, work: &Work, tried: &BTreeSet<QueueNo>) -> Option<Vec<(QueueNo, Entry)>> {
    let now = node.desk.now();
    let mut waiting = node.desk.queue_for(work.peer).await.ok()?;
    waiting.retain(|(no, entry)| {
        !tried.contains(no)
            && (work.pushed && entry.is_wanted(now) || entry.is_due(now))
            // Its reader is fetching it at this moment.
            && node.desk.hands.doing(*no).is_none()
    });
    Some(waiting)
}

/// What the peer's node has refused after it had come there by a holder goes back, without being tried again.
async fn give_back_refused(node: &Node, peer: OnionAddress, begun: Moment) -> bool {
    let Ok(waiting) = node.desk.queue_for(peer).await else { return false };
    let refused = waiting
        .into_iter()
        .filter_map(|(no, entry)| Some(Tried::new(no, Outcome::Refused(entry.refused?))))
        .collect();
    node.settle(begun, refused).await
}

//! One conversation with a peer: dial, prove who we are, greet it if asked, deliver everything that waits for it.
//!
//! Each letter is settled as soon as it is answered. The connection is kept a while for what comes next, and given up
//! at once when the peer asks for a fresh one or when it fails.

use crate::model::header::{Cut, HeaderCutter};
use crate::model::letter::Recipients;
use crate::model::outcome::{self, Outcome};
use crate::model::queue::{Entry, Moment};
use crate::node::Node;
use crate::protocol::smtp::client::{self, Cause, Client, Failure, Outgoing, Prove, Step};
use crate::protocol::smtp::{Phase, Read, Reply, ReversePath, limits};
use crate::store::{LetterReader, QueueNo, StoreError};
use onion::{DialError, OnionAddress, Stream};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// Mail's port on every onion.
pub const PORT: u16 = 25;
/// Longest dial. Tor answers in seconds or, just after a peer died, not at all.
const DIAL_DEADLINE: Duration = Duration::from_secs(60);
/// How long an idle connection is kept for the next letter: shorter than the server's own patience.
const KEEP: Duration = Duration::from_secs(30);
/// Longest wait for one reply or one write once the peer has asked for a fresh connection.
const HURRIED_WAIT: Duration = Duration::from_secs(10);
/// How much of a letter is looked at once for the end of its header, in bytes: most headers are shorter.
const HEADER_PIECE_LEN: usize = 4096;
/// How long a peer that takes no more bytes is listened to.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);

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

/// What waits for one peer under one letter id: served by one transaction.
struct Batch {
    numbers: Vec<QueueNo>,
    first: Entry,
    recipients: Recipients,
}

/// The whole conversation.
pub(super) async fn run(node: Arc<Node>, work: Work) -> Ended {
    let mut ended = Ended { peer: work.peer, reached: false, greeted: false, kept: true };
    let begun = node.moment();
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
            ended.kept = settle_due(&node, &work, begun, &BTreeSet::new(), &outcome).await;
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
    let mut idle_until = Instant::now() + KEEP;
    loop {
        while !line.hurried
            && let Some(batch) = next_batch(node, work.peer, everything, tried, &mut ahead).await
        {
            tried.extend(batch.numbers.iter().copied());
            let begun = node.moment();
            let outcomes = deliver(node, line, &batch).await;
            ended.reached |= line.client.peer().is_some();
            match outcomes {
                Ok(outcomes) => {
                    ended.kept &= node.settle(begun, batch.numbers.into_iter().zip(outcomes).collect()).await;
                }
                Err(failure) => {
                    let outcome = failure_outcome(&failure);
                    let all = batch.numbers.into_iter().map(|no| (no, outcome.clone())).collect();
                    ended.kept &= node.settle(begun, all).await;
                    return Err(failure);
                }
            }
            // Once a peer is reached, all that waits for it is due.
            everything = true;
            idle_until = Instant::now() + KEEP;
        }
        if !line.hurried && work.greet.swap(false, Ordering::Relaxed) {
            line.client.etrn().map_err(|_| lost())?;
            line.until_answered(None).await?;
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
    loop {
        if ahead.is_empty() {
            let mut due = node.desk.queue_for(peer).await.ok()?;
            due.retain(|(no, entry)| !tried.contains(no) && (all || entry.is_due(now)));
            ahead.extend(due);
        }
        let id = ahead.front()?.1.id;
        let (these, others): (VecDeque<_>, _) =
            std::mem::take(ahead).into_iter().partition(|(_, entry)| entry.id == id);
        *ahead = others;
        let still = node.desk.entries(these.into_iter().map(|(no, _)| no).collect()).await.ok()?;
        let Some(first) = still.values().next().cloned() else { continue };
        let recipients = Recipients::new(still.values().map(|entry| entry.to.clone()))?;
        return Some(Batch { numbers: still.into_keys().collect(), first, recipients });
    }
}

/// Sends one letter; gives one outcome per queue entry.
async fn deliver(node: &Node, line: &mut Line, batch: &Batch) -> Result<Vec<Outcome>, Failure> {
    let (reader, prefix_len) = match node.desk.letter_to_send(batch.first.letter).await {
        Ok(found) => found,
        Err(error) => {
            let outcome = Outcome::Ours(format!("the letter cannot be read: {error}"));
            return Ok(batch.numbers.iter().map(|_| outcome.clone()).collect());
        }
    };
    let utf8_header = match has_utf8_header(&reader, prefix_len).await {
        Ok(found) => found,
        Err(error) => {
            let outcome = Outcome::Ours(format!("the letter cannot be read: {error}"));
            return Ok(batch.numbers.iter().map(|_| outcome.clone()).collect());
        }
    };
    let from = if batch.first.answer {
        ReversePath::Null // RFC 3834 section 3.3
    } else {
        ReversePath::Onion(node.desk.sender(&batch.first.from))
    };
    let outgoing = Outgoing {
        from,
        recipients: batch.recipients.clone(),
        id: batch.first.id,
        size: reader.len() - prefix_len,
        eight_bit: true,
        utf8_header,
        sealed: None,
        ask_card: None,
    };
    line.client.letter(outgoing).map_err(|_| lost())?;
    line.body = Some(Content { reader, start: prefix_len });
    let outcomes = line.until_answered(Some(())).await?;
    Ok(outcomes.into_iter().map(of_client).collect())
}

/// Whether the header that begins at `start` has UTF-8 beyond ASCII in it (RFC 6532). Bytes over 127 that are no UTF-8
/// are of the time before it: they travel as they always did, and no server is asked whether it minds.
async fn has_utf8_header(reader: &LetterReader, start: u64) -> Result<bool, StoreError> {
    let mut cutter = HeaderCutter::default();
    let mut at = start;
    loop {
        let piece = reader.read_at(at, HEADER_PIECE_LEN).await?;
        at += piece.len() as u64;
        // Submission took no longer header, and no broken one.
        let over = !matches!(cutter.push(&piece), Ok(Cut::More));
        if over || piece.is_empty() {
            let block = cutter.into_block();
            return Ok(!block.is_ascii() && std::str::from_utf8(&block).is_ok());
        }
    }
}

fn of_client(outcome: client::Outcome) -> Outcome {
    match outcome {
        client::Outcome::Accepted => Outcome::Accepted,
        client::Outcome::Deferred(reply) => Outcome::Deferred(said(&reply)),
        client::Outcome::Refused(reply) => Outcome::Refused(said(&reply)),
    }
}

fn said(reply: &Reply) -> outcome::Reply {
    let mut shown = reply.to_string();
    // The code stands by itself.
    let text = shown.split_off(shown.len().min(4));
    outcome::Reply { code: reply.code, text }
}

fn failure_outcome(failure: &Failure) -> Outcome {
    match &failure.cause {
        Cause::Unwelcome(reply) | Cause::ShutDown(reply) | Cause::AuthRefused(reply) => {
            Outcome::Deferred(said(reply))
        }
        Cause::Violation(violation) => {
            let text = format!("the other node broke the protocol: {violation}");
            Outcome::Deferred(outcome::Reply { code: 450, text })
        }
        Cause::Lost | Cause::Silent => Outcome::Lost { body_sent: failure.maybe_delivered },
    }
}

/// Settles every entry that was due for this session and not tried.
async fn settle_due(
    node: &Node,
    work: &Work,
    begun: Moment,
    tried: &BTreeSet<QueueNo>,
    outcome: &Outcome,
) -> bool {
    let now = node.desk.now();
    let Ok(waiting) = node.desk.queue_for(work.peer).await else { return false };
    let due = waiting
        .into_iter()
        .filter(|(no, entry)| !tried.contains(no) && (work.pushed || entry.is_due(now)))
        .map(|(no, _)| (no, outcome.clone()))
        .collect();
    node.settle(begun, due).await
}

fn lost() -> Failure {
    Failure { cause: Cause::Lost, maybe_delivered: false }
}

/// The letter that is being sent.
struct Content {
    reader: LetterReader,
    /// Where in it the letter begins as it goes out.
    start: u64,
}

/// The client machine and its stream.
struct Line {
    end: Arc<Notify>,
    node: Arc<Node>,
    /// The peer asked for a fresh connection: this one may lead to a process that is gone, so wait only briefly.
    hurried: bool,
    client: Client,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    buffer: Vec<u8>,
    body: Option<Content>,
    wait: Option<((u64, Phase, bool), Instant)>,
}

impl Line {
    fn new(node: &Arc<Node>, stream: Stream, work: &Work) -> Self {
        let own = node.desk.identity.onion();
        let signer = node.clone();
        let prove = Prove {
            own,
            cookie: node.desk.draw(),
            sign: Box::new(move |message| signer.desk.identity.sign_proof(message)),
        };
        let client = Client::new(client::Config { server: work.peer, hello: own.host(), prove: Some(prove) });
        let (reader, writer) = tokio::io::split(stream);
        Self {
            node: node.clone(),
            end: work.end.clone(),
            hurried: false,
            client,
            reader,
            writer,
            buffer: vec![0; 4096],
            body: None,
            wait: None,
        }
    }

    /// Works until the letter or ETRN in hand is answered.
    async fn until_answered(&mut self, letter: Option<()>) -> Result<Vec<client::Outcome>, Failure> {
        loop {
            match self.client.next() {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::WantBody { at, max } => self.give_body(at, max).await?,
                Step::Done { outcomes, .. } => return Ok(outcomes),
                Step::Card(_) => {}
                Step::Etrn(_) => return Ok(Vec::new()),
                Step::Failed(failure) => return Err(failure),
                Step::Idle if letter.is_none() => return Ok(Vec::new()),
                Step::Idle | Step::Close => return Err(lost()),
            }
        }
    }

    async fn give_body(&mut self, at: u64, max: usize) -> Result<(), Failure> {
        let Some(content) = &mut self.body else { return Err(lost()) };
        let piece = match content.reader.read_at(content.start + at, max).await {
            Ok(piece) => piece,
            Err(error) => {
                tracing::error!(%error, "a letter could not be read while it was sent");
                return Err(lost());
            }
        };
        self.client.body(&piece).map_err(|_| lost())
    }

    /// Writes, and listens meanwhile: a server that refuses in the middle of a letter may not read on.
    async fn send(&mut self, bytes: &[u8]) {
        self.node.desk.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let Self { end, hurried, client, reader, writer, buffer, .. } = self;
        let write = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let mut until = Instant::now() + if *hurried { HURRIED_WAIT } else { limits::SEND_WAIT };
        tokio::pin!(write);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = end.notified(), if !*hurried => {
                    *hurried = true;
                    until = Instant::now() + HURRIED_WAIT;
                }
                done = timeout_at(until, &mut write) => {
                    if !matches!(done, Ok(Ok(()))) {
                        hear_last_words(client, reader, buffer).await;
                    }
                    return;
                }
                got = reader.read(buffer), if open => open = feed(client, got, buffer),
            }
        }
    }

    async fn read(&mut self, read: Read) {
        let key = (read.turn, read.phase, self.hurried);
        let until = match self.wait {
            Some((known, until)) if known == key => until,
            _ if self.hurried => Instant::now() + read.phase.timeout().min(HURRIED_WAIT),
            _ => Instant::now() + read.phase.timeout(),
        };
        self.wait = Some((key, until));
        tokio::select! {
            biased;
            () = self.end.notified(), if !self.hurried => self.hurried = true,
            got = timeout_at(until, self.reader.read(&mut self.buffer)) => match got {
                Ok(got) => {
                    feed(&mut self.client, got, &self.buffer);
                }
                Err(_) => self.client.expire(),
            }
        }
    }

    /// Listens while nothing is to be done; ends when the peer closes.
    async fn idle(&mut self) -> Result<(), Failure> {
        loop {
            match self.client.next() {
                Step::Idle => {
                    let got = self.reader.read(&mut self.buffer).await;
                    feed(&mut self.client, got, &self.buffer);
                }
                Step::Failed(_) | Step::Close => return Ok(()),
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::WantBody { .. } | Step::Done { .. } | Step::Card(_) | Step::Etrn(_) => {
                    return Err(lost());
                }
            }
        }
    }

    /// Leaves politely; what goes wrong now concerns nobody.
    async fn quit(&mut self) {
        self.client.quit();
        loop {
            match self.client.next() {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::Idle => self.client.eof(),
                _ => break,
            }
        }
        let _ = timeout(Phase::Quit.timeout(), self.writer.shutdown()).await;
    }
}

/// After a failed write: what the peer said before it closed (a refusal, most likely) tells more than the failure.
async fn hear_last_words(client: &mut Client, reader: &mut ReadHalf<Stream>, buffer: &mut [u8]) {
    let until = Instant::now() + LAST_WORDS_WAIT;
    while let Ok(got) = timeout_at(until, reader.read(buffer)).await {
        if !feed(client, got, buffer) {
            return;
        }
    }
    client.eof();
}

/// Gives what was read to the machine; whether the stream is still open.
fn feed(client: &mut Client, got: io::Result<usize>, buffer: &[u8]) -> bool {
    match got {
        Ok(len) if len > 0 && client.feed(&buffer[..len]).is_ok() => true,
        _ => {
            client.eof();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_lost_after_the_body_is_told_apart() {
        let failure = Failure { cause: Cause::Lost, maybe_delivered: true };
        assert!(matches!(failure_outcome(&failure), Outcome::Lost { body_sent: true }));
        let failure =
            Failure { cause: Cause::ShutDown(Reply::new(421, 3, 2, "going down")), maybe_delivered: false };
        assert!(matches!(failure_outcome(&failure), Outcome::Deferred(outcome::Reply { code: 421, .. })));
    }
}

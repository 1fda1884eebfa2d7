//! One letter to one peer: sealed under its Card, or as it is to a server that was never seen with one.
//!
//! The first letter to an unknown onion asks for its Card in the same session. Promises that a peer of whom a Card is
//! pinned gets nothing but sealed letters, whatever it says it can do.

use crate::model::header::{Cut, HeaderCutter};
use crate::model::letter::Recipients;
use crate::model::outcome::{self, Outcome};
use crate::model::queue::Entry;
use crate::model::statement::{Card, Receipt, Signed};
use crate::node::Node;
use crate::node::line::{Answer, Content, Line};
use crate::node::sealing::{SealedLetter, SealingError};
use crate::node::settle::{Given, Tried};
use crate::node::vouches::AboutUs;
use crate::protocol::smtp::client::{self, CardAnswer, Cause, Failure, Outgoing};
use crate::protocol::smtp::{Reply, ReversePath};
use crate::store::{LetterReader, QueueNo, StoreError};
use onion::OnionAddress;

/// How much of a letter is looked at once for the end of its header, in bytes: most headers are shorter.
const HEADER_PIECE_LEN: usize = 4096;

/// What the author is told of a letter to an address whose owner revoked it.
const REVOKED: Reply = Reply::new(
    550,
    7,
    13,
    "The owner of this address revoked its key; nothing was sent. See: onionskin contacts",
);

/// What the author is told of a letter in the name of another for a server that takes no seals.
const UNPROVABLE: Reply = Reply::new(
    550,
    7,
    1,
    "What is written on behalf of others goes to Onionskin nodes only: elsewhere nothing would show the leave",
);

/// What waits for one peer under one letter id.
pub(super) struct Batch {
    pub(super) peer: OnionAddress,
    /// At least one.
    pub(super) entries: Vec<(QueueNo, Entry)>,
}

/// How it went: one try for each entry of the batch.
pub(super) struct Dispatched {
    pub(super) tries: Vec<Tried>,
    /// The session is over.
    pub(super) failure: Option<Failure>,
}

/// How a peer takes letters.
enum Way {
    Sealed,
    Plain,
    /// Not now.
    Closed(Outcome),
}

/// Sends one letter to all its recipients at one peer.
pub(super) async fn deliver(node: &Node, line: &mut Line, batch: Batch) -> Dispatched {
    let mut left = batch.entries;
    let mut tries = Vec::new();
    let result = match way(node, line, batch.peer).await {
        Ok(Way::Sealed) => one_by_one(node, line, &mut left, &mut tries).await,
        Ok(Way::Plain) => all_at_once(node, line, &mut left, &mut tries).await,
        Ok(Way::Closed(outcome)) => {
            tries.extend(left.drain(..).map(|(no, _)| Tried::new(no, outcome.clone())));
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    if let Err(failure) = &result {
        let outcome = failure_outcome(failure);
        tries.extend(left.into_iter().map(|(no, _)| Tried::new(no, outcome.clone())));
    }
    Dispatched { tries, failure: result.err() }
}

/// Finds out how the peer takes letters; asks for its Card if none is known.
async fn way(node: &Node, line: &mut Line, peer: OnionAddress) -> Result<Way, Failure> {
    match node.desk.is_revoked(peer).await {
        Ok(true) => return Ok(Way::Closed(Outcome::Refused(said(&REVOKED)))),
        Ok(false) => {}
        Err(error) => return Ok(Way::Closed(unreadable(&error))),
    }
    if line.card.is_some() {
        return Ok(Way::Sealed);
    }
    match node.desk.card_of(peer).await {
        Ok(None) => {}
        Ok(known) => {
            line.card = known;
            return Ok(Way::Sealed);
        }
        Err(error) => return Ok(Way::Closed(unreadable(&error))),
    }
    if !line.asked_card {
        let answer = line.card(None).await?;
        if let Err(error) = take(node, line, peer, Some(answer)).await {
            return Ok(Way::Closed(unreadable(&error)));
        }
    }
    let announced = line.client.peer().is_some_and(|peer| peer.card || peer.sealed);
    Ok(match (&line.card, announced) {
        (Some(_), _) => Way::Sealed,
        (None, false) => Way::Plain,
        (None, true) => {
            let text = "the other node gives no Card that holds; nothing was sent".to_owned();
            Way::Closed(Outcome::Deferred(outcome::Reply { code: 450, text }))
        }
    })
}

/// Pins what the peer answered.
async fn take(
    node: &Node,
    line: &mut Line,
    peer: OnionAddress,
    answer: Option<CardAnswer>,
) -> Result<(), StoreError> {
    if let Some(CardAnswer::Card(bytes)) = answer {
        line.card = node.desk.take_card(peer, bytes, node.moment().agreed).await?;
    }
    Ok(())
}

/// Sealed letters go to each recipient by itself, so that no seal is opened by another.
async fn one_by_one(
    node: &Node,
    line: &mut Line,
    left: &mut Vec<(QueueNo, Entry)>,
    tries: &mut Vec<Tried>,
) -> Result<(), Failure> {
    while let Some((no, entry)) = left.first() {
        let tried = sealed(node, line, *no, entry).await?;
        tries.push(tried);
        left.remove(0);
    }
    Ok(())
}

/// Seals and sends one letter. If the key was none of the peer's any more, it is sealed anew with the newest Card.
async fn sealed(node: &Node, line: &mut Line, no: QueueNo, entry: &Entry) -> Result<Tried, Failure> {
    let peer = entry.to.onion;
    for last in [false, true] {
        let Some(card) = line.card.clone() else { break };
        let beside = match node.beside(peer, entry).await {
            Ok(beside) => beside,
            Err(error) => return Ok(Tried::new(no, unreadable(&error))),
        };
        let letter = match node.seal(&card, entry, &beside.enclosures).await {
            Ok(letter) => letter,
            Err(error) => return Ok(Tried::new(no, sealing_outcome(&error))),
        };
        let digest = letter.digest;
        let outgoing = Outgoing {
            from: reverse_path(node, entry),
            recipients: Recipients::new([entry.to.clone()]).expect("it is one"),
            id: letter.id,
            size: letter.len(),
            eight_bit: true,
            utf8_header: false,
            sealed: Some(letter.prekey),
            token: None,
            ask_card: (!line.asked_card).then_some(card.sequence),
        };
        let Answer { outcomes, receipt, card: answer } =
            line.letter(outgoing, Content::Sealed(Box::new(letter))).await?;
        if let Err(error) = take(node, line, peer, answer).await {
            return Ok(Tried::new(no, unreadable(&error)));
        }
        let outcome = outcomes.into_iter().next();
        if matches!(&outcome, Some(client::Outcome::Deferred(reply)) if reply.is_stale_key()) && !last {
            if line.card.as_ref().is_none_or(|now| now.digest() == card.digest()) {
                let answer = line.card(None).await?;
                if let Err(error) = take(node, line, peer, Some(answer)).await {
                    return Ok(Tried::new(no, unreadable(&error)));
                }
            }
            continue;
        }
        let Some(outcome) = outcome else { break };
        let receipt = receipt.filter(|bytes| is_receipt(node, bytes, entry, &digest));
        let given = Given { digest, receipt, card: beside.card, route: beside.route };
        return Ok(Tried { no, outcome: of_client(outcome), given: Some(given) });
    }
    let text = "the other node does not take letters sealed under its own Card".to_owned();
    Ok(Tried::new(no, Outcome::Deferred(outcome::Reply { code: 450, text })))
}

/// What goes with a letter beside its text.
pub(super) struct Beside {
    /// Whole statements.
    pub(super) enclosures: Vec<Vec<u8>>,
    /// Our Card and vouches are among them: by this it is remembered.
    pub(super) card: Option<u64>,
    /// A Route is among them: its number.
    pub(super) route: Option<u64>,
}

impl Node {
    /// What is to go with this letter.
    pub(super) async fn beside(&self, peer: OnionAddress, entry: &Entry) -> Result<Beside, StoreError> {
        let AboutUs { mut enclosures, tag } = self.desk.about_us(peer).await;
        let card = (!enclosures.is_empty()).then_some(tag);
        let route = if entry.answer { None } else { self.desk.route_for(peer).await? };
        let sequence = route.as_ref().map(|route| route.sequence);
        enclosures.extend(route.map(|route| route.bytes));
        Ok(Beside { enclosures, card, route: sequence })
    }

    /// Seals the letter of an entry for the reader with this Card.
    pub(super) async fn seal(
        &self,
        card: &Card,
        entry: &Entry,
        enclosures: &[Vec<u8>],
    ) -> Result<SealedLetter, SealingError> {
        let kept = self.desk.letter_to_send(entry.letter).await?;
        SealedLetter::make(&self.desk, card, entry, kept, enclosures, self.moment().agreed).await
    }
}

/// Whether these bytes are the reader's receipt for this letter.
fn is_receipt(node: &Node, bytes: &[u8], entry: &Entry, digest: &[u8; 32]) -> bool {
    let read = Signed::<Receipt>::parse(bytes).and_then(|signed| signed.verify(node.moment().agreed));
    read.is_ok_and(|receipt| {
        receipt.author() == entry.to.onion
            && receipt.author == node.desk.identity.onion()
            && receipt.id == entry.id
            && receipt.digest == *digest
    })
}

/// Sends a letter as it is, to all recipients in one transaction.
async fn all_at_once(
    node: &Node,
    line: &mut Line,
    left: &mut Vec<(QueueNo, Entry)>,
    tries: &mut Vec<Tried>,
) -> Result<(), Failure> {
    let Some((_, first)) = left.first().cloned() else { return Ok(()) };
    if first.behalf.is_some() {
        let refused = Outcome::Refused(said(&UNPROVABLE));
        tries.extend(left.drain(..).map(|(no, _)| Tried::new(no, refused.clone())));
        return Ok(());
    }
    let found = plain(node, first.letter).await;
    let (reader, start, utf8_header) = match found {
        Ok(found) => found,
        Err(error) => {
            tries.extend(left.drain(..).map(|(no, _)| Tried::new(no, unreadable(&error))));
            return Ok(());
        }
    };
    let recipients = Recipients::new(left.iter().map(|(_, entry)| entry.to.clone()));
    let outgoing = Outgoing {
        from: reverse_path(node, &first),
        recipients: recipients.expect("a batch has an entry"),
        id: first.id,
        size: reader.len() - start,
        eight_bit: true,
        utf8_header,
        sealed: None,
        token: None,
        ask_card: None,
    };
    let Answer { outcomes, .. } = line.letter(outgoing, Content::Plain(reader, start)).await?;
    let outcomes = outcomes.into_iter().map(of_client);
    tries.extend(left.drain(..).zip(outcomes).map(|((no, _), outcome)| Tried::new(no, outcome)));
    Ok(())
}

async fn plain(
    node: &Node,
    letter: crate::model::letter::LetterNo,
) -> Result<(LetterReader, u64, bool), StoreError> {
    let (reader, start) = node.desk.letter_to_send(letter).await?;
    let utf8 = has_utf8_header(&reader, start).await?;
    Ok((reader, start, utf8))
}

fn reverse_path(node: &Node, entry: &Entry) -> ReversePath {
    if entry.answer {
        ReversePath::Null // RFC 3834 section 3.3
    } else {
        ReversePath::Onion(node.desk.sender(&entry.from))
    }
}

fn unreadable(error: &StoreError) -> Outcome {
    Outcome::Ours(format!("the letter cannot be read: {error}"))
}

fn sealing_outcome(error: &SealingError) -> Outcome {
    match error {
        SealingError::RunOut | SealingError::Prekey(_) => {
            Outcome::Deferred(outcome::Reply { code: 450, text: error.to_string() })
        }
        error => Outcome::Ours(error.to_string()),
    }
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

pub(super) fn failure_outcome(failure: &Failure) -> Outcome {
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

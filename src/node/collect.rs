//! Collecting: what holders keep for us is fetched, kept, and only then forgotten there. And what is to be called back
//! from drops is called back.
//!
//! Promises that nothing is dropped at a holder before it is here durably, that one letter which does not come, or is
//! not taken, holds up no other, and that a holder which lists without end or gives other bytes than it listed costs a
//! bounded time and nothing else.

use crate::model::letter::LetterId;
use crate::model::statement::{LetterStatement, Refusal, sign_as_device};
use crate::node::Node;
use crate::node::errands::Errand;
use crate::node::line::Line;
use crate::node::parcel::NotTaken;
use crate::node::receive;
use crate::node::session::{DIAL_DEADLINE, PORT};
use crate::protocol::smtp::client::Failure;
use crate::protocol::smtp::{HeldLetter, Reply, Take, limits};
use crate::store::StoreError;
use crate::store::holders::{HolderRecord, PromiseRecord};
use crate::store::routes::RecallRecord;
use ed25519_dalek::SigningKey;
use onion::{OnionAddress, Stage};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Between two rounds, while we are online; drawn anew each time.
const EVERY: std::ops::Range<Duration> = Duration::from_secs(420)..Duration::from_secs(900);
/// The first round after coming online is spread over this.
const SPREAD: Duration = Duration::from_secs(4);
/// Lists that are asked of one holder in one round: 10,000 letters.
const LISTS_MAX: usize = 100;
/// Letters called back in one round.
const RECALLS_MAX: usize = 64;

/// Collects when we come online, when asked, and now and then. Runs until dropped.
pub(super) async fn run(node: Arc<Node>) {
    let mut bootstrap = node.transport.bootstrap();
    loop {
        if bootstrap.wait_for(|now| now.stage >= Stage::Dialling).await.is_err() {
            return;
        }
        round(&node).await;
        let pause = node.desk.rng().random_range(EVERY);
        let online = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = node.desk.collect_now.notified() => {}
            }
        };
        tokio::select! {
            biased;
            gone = bootstrap.wait_for(|now| now.stage < Stage::Dialling) => if gone.is_err() { return },
            () = online => {}
        }
    }
}

/// Collects at every holder, and calls back what is to be called back.
async fn round(node: &Arc<Node>) {
    let holders = match node.desk.store.read(|rx| rx.holders().list()).await {
        Ok(holders) => holders,
        Err(error) => {
            node.desk.trouble.note("holders", format!("the list of holders cannot be read: {error}"));
            return;
        }
    };
    let mut rng = node.desk.rng();
    let mut visits = JoinSet::new();
    for (holder, record) in holders {
        let (node, wait) = (node.clone(), rng.random_range(Duration::ZERO..SPREAD));
        visits.spawn(async move {
            tokio::time::sleep(wait).await;
            visit(&node, holder, record).await;
        });
    }
    while visits.join_next().await.is_some() {}
    call_back(node).await;
}

/// What a visit brought.
#[derive(Default)]
struct Brought {
    garbage: u64,
    /// The names of the tokens that came back with letters.
    tokens: Vec<[u8; 16]>,
    /// Letters that did not come as they were listed.
    spoiled: u32,
}

/// Why a visit ended early.
enum Broken {
    NoNetwork,
    Absent,
    Session(Failure),
    Refused(Reply),
    Store(StoreError),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Session(failure)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Fetches everything that one holder has, and notes how it went.
async fn visit(node: &Arc<Node>, holder: OnionAddress, record: HolderRecord) {
    let Some(promise) = record.promise.clone() else { return };
    let mut brought = Brought::default();
    let ended = fetch(node, &record, &promise, &mut brought).await;
    let trouble = match &ended {
        Ok(()) if brought.spoiled > 0 => {
            Some(format!("{} letters did not come as it had listed them", brought.spoiled))
        }
        Ok(()) => None,
        Err(Broken::NoNetwork) => return,
        Err(Broken::Absent) => Some("it is not online".to_owned()),
        Err(Broken::Session(failure)) => Some(failure.cause.to_string()),
        Err(Broken::Refused(reply)) => Some(format!("it refused with {}", reply.code)),
        Err(Broken::Store(error)) => {
            node.desk.trouble.note("holders", format!("what holders keep cannot be taken: {error}"));
            return;
        }
    };
    let (now, mailbox) = (node.desk.now(), promise.mailbox);
    let noted = node.desk.store.write(move |tx| {
        for nonce in &brought.tokens {
            tx.holders().came_back(mailbox, nonce)?;
        }
        tx.holders().update(&holder, |record| {
            record.garbage = record.garbage.saturating_add(brought.garbage);
            match &trouble {
                None => (record.collected, record.failures) = (Some(now), 0),
                Some(_) => record.failures = record.failures.saturating_add(1),
            }
            record.trouble = trouble.clone();
        })
    });
    match noted.await {
        Ok(()) => node.desk.trouble.clear("holders"),
        Err(error) => node.desk.trouble.note("holders", format!("cannot write: {error}")),
    }
}

async fn fetch(
    node: &Arc<Node>,
    record: &HolderRecord,
    promise: &PromiseRecord,
    brought: &mut Brought,
) -> Result<(), Broken> {
    node.transport.leave_path(promise.drop);
    let stream = match node.transport.dial(promise.drop, PORT, DIAL_DEADLINE).await {
        Ok(stream) => stream,
        Err(onion::DialError::NetworkDown | onion::DialError::Ours(_)) => return Err(Broken::NoNetwork),
        Err(_) => return Err(Broken::Absent),
    };
    let key = SigningKey::from_bytes(&record.collector_seed);
    let mut line = Line::collecting(node, stream, promise.drop, key);
    let mut after = None;
    for _ in 0..LISTS_MAX {
        let list = line.held(after).await?.map_err(Broken::Refused)?;
        after = list.letters.last().map(|held| held.letter);
        let mut here = Vec::new();
        let mut fetched = Ok(());
        for held in &list.letters {
            match take(node, &mut line, promise.drop, held, brought).await {
                Ok(true) => {
                    brought.tokens.extend(held.token);
                    here.push(held.letter);
                }
                Ok(false) => {}
                Err(broken) => {
                    fetched = Err(broken);
                    break;
                }
            }
        }
        if !here.is_empty() && !matches!(fetched, Err(Broken::Session(_))) {
            line.drop_letters(&here).await?.map_err(Broken::Refused)?;
        }
        fetched?;
        if !list.more {
            break;
        }
    }
    line.quit().await;
    Ok(())
}

/// Fetches one letter; whether it need not be held any more.
async fn take(
    node: &Arc<Node>,
    line: &mut Line,
    drop: OnionAddress,
    held: &HeldLetter,
    brought: &mut Brought,
) -> Result<bool, Broken> {
    let (own, id) = (node.desk.identity.onion(), held.letter);
    if node.desk.store.read(move |rx| rx.seen().contains(&own, &id)).await? {
        return Ok(true);
    }
    if held.size > limits::sealed_size_max(crate::model::policy::LETTER_SIZE_MAX) {
        brought.spoiled += 1;
        return Ok(false);
    }
    let agreed = node.moment().agreed;
    let (claim, part) = node.desk.partials.claim(drop, id, Some(held.key)).await;
    let resumed = part.is_some();
    let Some(mut parcel) = receive::collected(&node.desk, id, &held.key, agreed, part) else {
        // No key for it is left, or ever was: nobody can say whose it is.
        brought.garbage += 1;
        return Ok(true);
    };
    let (mut at, mut hash) = (parcel.len(), Sha256::new());
    while at < held.size {
        let max = usize::try_from(held.size - at).unwrap_or(usize::MAX).min(limits::TAKE_LEN_MAX);
        let piece = match ask(line, Take { letter: id, offset: at, max }).await {
            Ok(piece) => piece,
            Err(failure) => {
                if let Some(begun) = parcel.suspend() {
                    claim.keep(begun);
                }
                return Err(failure.into());
            }
        };
        match piece {
            Ok(piece) if !piece.is_empty() => {
                at += piece.len() as u64;
                hash.update(&piece);
                parcel.write(&piece).await;
            }
            // It ends before its end, or is not there after all.
            _ => {
                brought.spoiled += 1;
                return Ok(false);
            }
        }
    }
    if !resumed && hash.finalize()[..16] != id.0 {
        brought.spoiled += 1;
        return Ok(false);
    }
    match parcel.collect().await {
        Ok(()) => Ok(true),
        // Our disk, our clock: another time.
        Err(NotTaken { reply, .. }) if reply.code < 500 => Ok(false),
        Err(NotTaken { reply, said_by: Some((author, statement)) }) => {
            refuse(node, author, &statement, &reply).await?;
            Ok(true)
        }
        // Of a letter that was taken in two pieces nobody knows which of them is wrong: once more, from its beginning.
        Err(_) if resumed => {
            brought.spoiled += 1;
            Ok(false)
        }
        Err(_) => {
            brought.garbage += 1;
            Ok(true)
        }
    }
}

async fn ask(line: &mut Line, take: Take) -> Result<Result<Vec<u8>, Reply>, Failure> {
    line.ask(take)?;
    line.taken().await
}

/// Tells the author of a letter that it is not taken, and why.
async fn refuse(
    node: &Node,
    author: OnionAddress,
    letter: &LetterStatement,
    reply: &Reply,
) -> Result<(), StoreError> {
    let shown = reply.to_string();
    let text: String = shown.chars().skip(4).filter(|c| !c.is_control()).take(400).collect();
    let refusal = Refusal {
        author,
        id: letter.id,
        digest: letter.digest,
        code: reply.code,
        text,
        made: node.desk.now().to_the_hour(),
    };
    let Ok(signed) = sign_as_device(&node.desk.keyring.device(), &refusal) else { return Ok(()) };
    let (errand, now) = (Errand::write(&node.desk, author, &signed).await?, node.desk.now());
    node.desk.store.write(move |tx| errand.file(tx, now)).await?;
    node.desk.orders.look();
    Ok(())
}

/// Calls letters back that were cancelled after a drop had taken them.
async fn call_back(node: &Arc<Node>) {
    let Ok(recalls) = node.desk.store.read(|rx| rx.routes().recalls()).await else { return };
    for recall in recalls.into_iter().take(RECALLS_MAX) {
        let over = node.moment().agreed.is_some_and(|now| now > recall.until);
        let done = over || call_one_back(node, &recall).await;
        let noted = node.desk.store.write(move |tx| match done {
            true => tx.routes().remove_recall(&recall).map(drop),
            false => {
                let tries = recall.tries.saturating_add(1);
                tx.routes().put_recall(&RecallRecord { tries, ..recall.clone() })
            }
        });
        if noted.await.is_err() {
            return;
        }
    }
}

/// Whether the drop has answered: that it is gone, or that it never was there for this token.
async fn call_one_back(node: &Arc<Node>, recall: &RecallRecord) -> bool {
    let Some(token) = crate::model::hold::Token::from_bytes(&recall.token) else { return true };
    node.transport.leave_path(recall.drop);
    let Ok(stream) = node.transport.dial(recall.drop, PORT, DIAL_DEADLINE).await else { return false };
    let mut line = Line::anonymous(node, stream, recall.drop);
    let answer = line.recall(LetterId(recall.letter.0), token).await;
    line.quit().await;
    node.transport.leave_path(recall.drop);
    match answer {
        Ok(Ok(())) => true,
        Ok(Err(reply)) => reply.code >= 500,
        Err(_) => false,
    }
}

//! Collecting: what holders keep for us is fetched, kept, and only then forgotten there.
//!
//! Promises that nothing is dropped at a holder before it is here durably, that one letter which does not come, or is
//! not taken, holds up no other, and that a holder which lists without end or gives other bytes than it listed costs a
//! bounded time and nothing else.

use crate::model::hold::MailboxId;
use crate::model::statement::{LetterStatement, Refusal, sign_as_device};
use crate::model::trust::Tier;
use crate::node::Node;
use crate::node::errands::Errand;
use crate::node::line::Line;
use crate::node::parcel::NotTaken;
use crate::node::session::{DIAL_DEADLINE, PORT};
use crate::node::{receive, routes};
use crate::protocol::smtp::client::Failure;
use crate::protocol::smtp::{HeldLetter, Reply, Take, limits};
use crate::store::StoreError;
use crate::store::holders::{CameWith, HolderRecord, PromiseRecord};
use ed25519_dalek::SigningKey;
use onion::{OnionAddress, Stage};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Between two rounds, while we are online; drawn anew each time.
const EVERY: std::ops::Range<Duration> = Duration::from_secs(420)..Duration::from_secs(900);
/// After a visit that failed, the next round is after so long, twice that after the next failure, and so on,
const AGAIN: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(16);
/// so often in a row.
const AGAIN_MAX: u32 = 5;
/// The first round after coming online is spread over this.
const SPREAD: Duration = Duration::from_secs(4);
/// Lists that are asked of one holder in one round: 10,000 letters.
const LISTS_MAX: usize = 100;
/// So long a visit fetches; what is left is for the next, which goes on where this one ended. Whoever gives a letter
/// byte by byte holds up nobody else for longer.
const VISIT_MAX: Duration = Duration::from_secs(900);

/// What the person is told when a holder is one of another identity of theirs.
const ANOTHER_S: &str = "another identity of yours that is unlocked has the same holder, who could tell from the times \
                         that both are yours: nothing is fetched there while both run. End one of them \
                         (onionskin holder list), or allow it: onionskin holder ask ADDRESS --shared";

/// Collects when we come online, when asked, and now and then. Runs until dropped.
pub(super) async fn run(node: Arc<Node>) {
    let mut bootstrap = node.transport.bootstrap();
    loop {
        if bootstrap.wait_for(|now| now.stage >= Stage::Dialling).await.is_err() {
            return;
        }
        let failing = round(&node).await;
        let pause = pause(failing, &mut node.desk.rng());
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

/// How long to the next round. Who has just become a holder, or was here a moment ago, is soon asked again.
fn pause(failing: Option<u32>, rng: &mut impl rand::Rng) -> Duration {
    let pause = rng.random_range(EVERY);
    match failing {
        Some(failures @ 0..AGAIN_MAX) => pause.min(rng.random_range(AGAIN) * (1 << failures)),
        _ => pause,
    }
}

/// Collects at every holder. Gives how often in a row it failed where it failed least, if it failed anywhere.
async fn round(node: &Arc<Node>) -> Option<u32> {
    let holders = match node.desk.store.read(|rx| rx.holders().list()).await {
        Ok(holders) => holders,
        Err(error) => {
            node.desk.trouble.note("holders", format!("the list of holders cannot be read: {error}"));
            return None;
        }
    };
    let mut rng = node.desk.rng();
    let mut visits = JoinSet::new();
    let mut another_s = false;
    for (holder, record) in holders {
        if record.promise.is_some() && !record.shared && !node.desk.neighbours.claim(holder) {
            another_s = true;
            continue;
        }
        let (node, wait) = (node.clone(), rng.random_range(Duration::ZERO..SPREAD));
        visits.spawn(async move {
            tokio::time::sleep(wait).await;
            visit(&node, holder, record).await;
        });
    }
    match another_s {
        true => node.desk.trouble.note("neighbours", ANOTHER_S.to_owned()),
        false => node.desk.trouble.clear("neighbours"),
    }
    while visits.join_next().await.is_some() {}
    let holders = node.desk.store.read(|rx| rx.holders().list()).await.ok()?;
    let asked = holders.into_iter().filter(|(_, record)| record.promise.is_some());
    asked.map(|(_, record)| record.failures).filter(|failures| *failures > 0).min()
}

/// What a visit brought.
#[derive(Default)]
struct Brought {
    garbage: u64,
    /// The names of all tokens that were listed: the holder has seen what they paid for.
    listed: BTreeSet<[u8; 16]>,
    /// The names of the tokens that came back, and with what.
    tokens: Vec<([u8; 16], CameWith)>,
    /// Letters that did not come as they were listed.
    spoiled: u32,
}

/// Why a visit ended early.
enum Broken {
    NoNetwork,
    Absent,
    /// It took [`VISIT_MAX`].
    Long,
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
        Err(Broken::Long) => Some("it had not given everything after a quarter of an hour".to_owned()),
        Err(Broken::Session(failure)) => Some(failure.cause.to_string()),
        Err(Broken::Refused(reply)) => Some(format!("it refused with {}", reply.code)),
        Err(Broken::Store(error)) => {
            node.desk.trouble.note("holders", format!("what holders keep cannot be taken: {error}"));
            return;
        }
    };
    let (now, mailbox) = (node.desk.now(), promise.mailbox);
    let noted = node.desk.store.write(move |tx| {
        for (nonce, with) in &brought.tokens {
            tx.holders().came_back(mailbox, nonce, *with)?;
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
    take_all(node, &mut line, Place::new(promise.drop, None), brought).await?;
    take_back(node, &mut line, promise.mailbox, &brought.listed).await?;
    line.quit().await;
    Ok(())
}

/// Takes back the tokens of contacts who are blocked, or whose key was revoked. Others, which nobody has, are named
/// among them, so that the holder does not learn how many each had used; and those of letters that it still lists, or
/// did a moment ago, are not named, or it would learn whose those are.
async fn take_back(
    node: &Arc<Node>,
    line: &mut Line,
    mailbox: MailboxId,
    listed: &BTreeSet<[u8; 16]>,
) -> Result<(), Broken> {
    /// Tokens are named in a multiple of this.
    const STEP: usize = routes::TOKENS as usize;
    let tokens = node.desk.store.read(move |rx| {
        let mut unwelcome = BTreeSet::new();
        for (contact, _) in rx.holders().all_given()? {
            let record = rx.contacts().get(&contact)?.unwrap_or_default();
            let blocked = record.decision.is_some_and(|decision| decision.tier == Tier::Blocked);
            if blocked || record.revoked.is_some() {
                unwelcome.insert(contact);
            }
        }
        if unwelcome.is_empty() { Ok(Vec::new()) } else { rx.holders().tokens_of(mailbox, &unwelcome) }
    });
    let mut epochs: BTreeMap<u32, Vec<[u8; 16]>> = BTreeMap::new();
    for (epoch, nonce) in tokens.await?.into_iter().filter(|(_, nonce)| !listed.contains(nonce)) {
        epochs.entry(epoch).or_default().push(nonce);
    }
    for (epoch, nonces) in epochs {
        let mut named = nonces.clone();
        named.resize_with(nonces.len().next_multiple_of(STEP), || node.desk.draw());
        named.shuffle(&mut node.desk.rng());
        line.revoke(epoch, &named).await?.map_err(Broken::Refused)?;
        node.desk.store.write(move |tx| tx.holders().revoked(mailbox, &nonces)).await?;
    }
    Ok(())
}

/// Fetches what waits for us with a peer whom the person knows, in a session in which we have said who we are. What is
/// refused, or not known there, comes another way; so does what others have: they are only told that we are there.
pub(super) async fn from_author(
    node: &Arc<Node>,
    line: &mut Line,
    peer: OnionAddress,
) -> Result<(), Failure> {
    let standing = node.desk.standing(&peer, node.moment().agreed).await;
    if !standing.is_ok_and(|answer| answer.tier >= Tier::Known) {
        return Ok(());
    }
    let place = Place::new(peer, Some(peer));
    match take_all(node, line, place, &mut Brought::default()).await {
        Err(Broken::Session(failure)) => Err(failure),
        Err(Broken::Store(error)) => {
            node.desk.trouble.note("store", format!("a letter cannot be taken: {error}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Where letters are fetched.
#[derive(Clone, Copy)]
struct Place {
    onion: OnionAddress,
    /// Who must have written them: a peer has only its own.
    author: Option<OnionAddress>,
    /// Until when.
    until: Instant,
}

impl Place {
    fn new(onion: OnionAddress, author: Option<OnionAddress>) -> Self {
        Self { onion, author, until: Instant::now() + VISIT_MAX }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.until
    }
}

/// Fetches everything that is listed.
async fn take_all(
    node: &Arc<Node>,
    line: &mut Line,
    place: Place,
    brought: &mut Brought,
) -> Result<(), Broken> {
    let mut after = None;
    for _ in 0..LISTS_MAX {
        let list = line.held(after).await?.map_err(Broken::Refused)?;
        after = list.letters.last().map(|held| held.letter);
        brought.listed.extend(list.letters.iter().filter_map(|held| held.token));
        let mut here = Vec::new();
        let mut fetched = Ok(());
        for held in &list.letters {
            match take(node, line, place, held, brought).await {
                Ok(Some(with)) => {
                    brought.tokens.extend(held.token.map(|nonce| (nonce, with)));
                    here.push(held.letter);
                }
                Ok(None) => {}
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
        if place.is_over() {
            return Err(Broken::Long);
        }
    }
    Ok(())
}

/// Fetches one letter; what it was, if it need not be held any more.
async fn take(
    node: &Arc<Node>,
    line: &mut Line,
    place: Place,
    held: &HeldLetter,
    brought: &mut Brought,
) -> Result<Option<CameWith>, Broken> {
    let (own, id) = (node.desk.identity.onion(), held.letter);
    if node.desk.store.read(move |rx| rx.seen().contains(&own, &id)).await? {
        return Ok(Some(CameWith::Known));
    }
    if held.size > limits::sealed_size_max(crate::model::policy::LETTER_SIZE_MAX) {
        brought.spoiled += 1;
        return Ok(None);
    }
    let agreed = node.moment().agreed;
    let (claim, part) = node.desk.partials.claim(place.onion, id, Some(held.key)).await;
    let named = (id, &held.key);
    let Some(mut parcel) = receive::collected(&node.desk, named, place.author, agreed, part) else {
        // No key for it is left, or ever was: nobody can say whose it is.
        brought.garbage += 1;
        return Ok(Some(CameWith::Noise));
    };
    let mut at = parcel.len();
    while at < held.size {
        let max = usize::try_from(held.size - at).unwrap_or(usize::MAX).min(limits::TAKE_LEN_MAX);
        let asked = match place.is_over() {
            true => Err(Broken::Long),
            false => ask(line, Take { letter: id, offset: at, max }).await.map_err(Broken::from),
        };
        let piece = match asked {
            Ok(piece) => piece,
            Err(broken) => {
                if let Some(begun) = parcel.suspend() {
                    claim.keep(begun);
                }
                return Err(broken);
            }
        };
        match piece {
            Ok(piece) if !piece.is_empty() => {
                at += piece.len() as u64;
                parcel.write(&piece).await;
                if parcel.is_put_off() {
                    return Ok(None);
                }
            }
            // It ends before its end, or is not there after all.
            _ => {
                brought.spoiled += 1;
                return Ok(None);
            }
        }
    }
    if !parcel.bears(id) {
        brought.spoiled += 1;
        return Ok(None);
    }
    match parcel.collect().await {
        Ok(author) => Ok(Some(author.map_or(CameWith::Known, CameWith::Letter))),
        // Our disk, our clock: another time.
        Err(NotTaken { reply, .. }) if reply.code < 500 => Ok(None),
        Err(NotTaken { reply, said_by: Some((author, statement)) }) => {
            refuse(node, author, &statement, &reply).await?;
            Ok(Some(CameWith::Letter(author)))
        }
        Err(_) => {
            brought.garbage += 1;
            Ok(Some(CameWith::Noise))
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

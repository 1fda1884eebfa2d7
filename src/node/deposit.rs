//! Leaving letters at drops, for readers who are not there.
//!
//! Promises that a token is bound to its letter, durably, before a drop sees it, so that no two letters ever show the
//! same one; that each letter comes on a circuit and a session of its own, saying nothing of its author; and that a
//! drop's word counts only if it is signed and names what was left.

use crate::model::hold;
use crate::model::letter::Recipients;
use crate::model::queue::{self, Entry, InCustody, Moment};
use crate::model::statement::{Announcement, Card, Custody, Signed, Verified, sign_as_device};
use crate::model::time::UnixTime;
use crate::model::verdict;
use crate::node::Node;
use crate::node::desk::Desk;
use crate::node::errands::Errand;
use crate::node::line::{Answer, Content, Line};
use crate::node::sealing::SealedLetter;
use crate::node::session::{DIAL_DEADLINE, PORT};
use crate::protocol::smtp::ReversePath;
use crate::protocol::smtp::client::{Outcome, Outgoing};
use crate::store::messages::FlagChange;
use crate::store::routes::RouteRecord;
use crate::store::{Flags, QueueNo, StoreError, Uid};
use onion::OnionAddress;
use rand::RngExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// So many drops get a letter.
const COPIES: usize = 2;
/// After this long without a receipt, one more gets it.
const DOUBT: Duration = Duration::from_secs(3 * 86_400);
/// Largest letter, in bytes, that is left with holders: with what the seal adds it fits into the class of tokens that
/// are given out. A larger one is announced to its reader, and waits here until both are there. A person may say less.
pub(crate) const HELD_SIZE_MAX: u64 = hold::class_size_max(hold::CLASS) * 7 / 8;
/// Under this name the store keeps what the person said.
const LIMIT: &str = "largest letter for holders";
/// After this long it is announced once more.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(7 * 86_400);
/// Nobody keeps a letter for longer, give or take a clock: what a drop says beyond that is not believed.
const KEPT_MAX: Duration = Duration::from_secs((hold::DAYS_MAX as u64 + 2) * 86_400);
/// Drops that are tried for one letter at one time.
const TRIES_MAX: usize = 4;
/// Pause between two letters that are left for one reader, drawn anew each time: else who serves the drop could take
/// what comes at once for one author's.
const PAUSE: std::ops::Range<Duration> = Duration::from_secs(2)..Duration::from_secs(20);

impl Desk {
    /// Largest letter that is left with holders, in bytes: at most [`HELD_SIZE_MAX`].
    pub(crate) async fn held_size_max(&self) -> Result<u64, StoreError> {
        let said: Option<u64> = self.store.read(|rx| rx.meta().get(LIMIT)).await?;
        Ok(said.unwrap_or(HELD_SIZE_MAX).min(HELD_SIZE_MAX))
    }

    /// Sets it.
    pub(crate) async fn set_held_size_max(&self, bytes: u64) -> Result<(), StoreError> {
        self.store.write(move |tx| tx.meta().put(LIMIT, &bytes)).await
    }
}

/// Leaves what is due for a reader who is absent where the reader's Route says. Ends early, between two letters, when
/// `end` is rung: the reader may be there now.
pub(super) async fn leave(node: &Arc<Node>, reader: OnionAddress, due: Vec<(QueueNo, Entry)>, end: &Notify) {
    let read = node
        .desk
        .store
        .read(move |rx| Ok((rx.routes().get(&reader)?, crate::node::cards::pinned(rx, &reader)?)));
    let (route, card) = match read.await {
        Ok((Some(route), Some(card))) => (route, card),
        Ok(_) => return,
        Err(error) => return node.desk.trouble.note("queue", format!("a Route cannot be read: {error}")),
    };
    match node.desk.is_revoked(reader).await {
        Ok(false) => {}
        // Whoever collects there may be the thief.
        Ok(true) => return,
        Err(error) => return node.desk.trouble.note("queue", format!("a contact cannot be read: {error}")),
    }
    let shared = match node.desk.queue_for(reader).await {
        Ok(waiting) => queue::shared_ids(waiting.iter().map(|(_, entry)| entry)),
        Err(error) => return node.desk.trouble.note("queue", format!("the queue cannot be read: {error}")),
    };
    let mut brought = false;
    for (no, entry) in due {
        let is_fetched = entry.fetched.is_some() || node.desk.hands.doing(no).is_some();
        if entry.needs_session(&shared) || is_fetched || wanted(&entry, &card, node.desk.now()) == 0 {
            continue;
        }
        match leave_one(node, (no, entry), &card, &route, brought.then_some(end)).await {
            Ok(Left::Brought) => brought = true,
            Ok(Left::Nothing) => {}
            Ok(Left::Ended) => return,
            Err(error) => {
                node.desk.trouble.note("queue", format!("a letter cannot be left with a holder: {error}"));
                return;
            }
        }
    }
}

/// How many more drops are to get the letter.
fn wanted(entry: &Entry, card: &Card, now: UnixTime) -> usize {
    let good = |one: &&InCustody| is_kept(one, card);
    let kept: Vec<&InCustody> = entry.custody.iter().filter(good).collect();
    let since = kept.iter().filter_map(|one| one.taken).min();
    let doubted = since.is_some_and(|since| now.since(since) >= DOUBT);
    (COPIES + usize::from(doubted)).saturating_sub(kept.len())
}

/// Whether a drop has or had it, in a form that its reader can open. What nobody collected there in all its time is not
/// left anew: the deadline would never come.
fn is_kept(one: &InCustody, card: &Card) -> bool {
    one.kept_until.is_some() && one.generation == card.generation
}

/// What became of one letter.
enum Left {
    /// It was brought to a drop, taken there or not.
    Brought,
    /// It was brought to none.
    Nothing,
    /// The pause before it was broken off.
    Ended,
}

/// Leaves one letter. `pause`: an earlier one was brought just now, so there is a pause, which this breaks off.
async fn leave_one(
    node: &Arc<Node>,
    (no, mut entry): (QueueNo, Entry),
    card: &Verified<Card>,
    route: &RouteRecord,
    mut pause: Option<&Notify>,
) -> Result<Left, StoreError> {
    let now = node.desk.now();
    if entry.size > node.desk.held_size_max().await? {
        if !route.drops.is_empty() {
            announce(node, no, &entry, now).await?;
        }
        return Ok(Left::Nothing);
    }
    let mut left = Left::Nothing;
    let drops = in_order(node, route).await?;
    let mut missing = wanted(&entry, card, now);
    for place in drops.into_iter().take(TRIES_MAX) {
        if missing == 0 {
            break;
        }
        let known = |one: &&InCustody| one.drop == *place.public_key() && is_kept(one, card);
        if entry.custody.iter().any(|one| known(&one)) {
            continue;
        }
        if let Some(end) = pause.take() {
            let pause = node.desk.rng().random_range(PAUSE);
            if tokio::time::timeout(pause, end.notified()).await.is_ok() {
                return Ok(Left::Ended);
            }
            match node.desk.entries(vec![no]).await?.remove(&no) {
                Some(still) => entry = still,
                None => return Ok(left),
            }
        }
        let beside = node.beside(entry.to.onion, &entry).await?;
        let Ok(letter) = node.seal(card, &entry, &beside.enclosures).await else { return Ok(left) };
        let Some(bound) = bind(node, no, &entry, place, &letter, card.generation).await? else { continue };
        let Some(still) = node.desk.entries(vec![no]).await?.remove(&no) else { return Ok(left) };
        entry = still;
        left = Left::Brought;
        let size = letter.len();
        let outcome = bring(node, place, &bound, letter).await;
        missing -= usize::from(took(node, no, &entry, &bound, size, outcome).await?);
        match node.desk.entries(vec![no]).await?.remove(&no) {
            Some(still) => entry = still,
            None => return Ok(left),
        }
    }
    if entry.errand && entry.custody.iter().any(|one| is_kept(one, card)) {
        // What it says is said again if it is asked for; nobody waits for it here.
        node.desk.store.write(move |tx| tx.queue().remove(no)).await?;
    }
    Ok(left)
}

/// Tells the reader, by an errand that goes by holders, that a letter waits here which is too large for them.
async fn announce(node: &Node, no: QueueNo, entry: &Entry, now: UnixTime) -> Result<(), StoreError> {
    if entry.announced.is_some_and(|at| now.since(at) < ANNOUNCE_AGAIN) {
        return Ok(());
    }
    let (reader, made) = (entry.to.onion, now.to_the_hour());
    let announcement = Announcement { reader, id: entry.id, size: entry.size, made };
    let Ok(signed) = sign_as_device(&node.desk.keyring.device(), &announcement) else { return Ok(()) };
    let errand = Errand::write(&node.desk, reader, &signed).await?;
    let told = node.desk.store.write(move |tx| {
        let Some((_, entry)) = tx.queue().get::<Entry>(no)? else { return Ok(()) };
        tx.queue().replace(no, &Entry { announced: Some(now), ..entry })?;
        errand.file(tx, now)
    });
    told.await?;
    node.desk.orders.look();
    Ok(())
}

/// The drops of a Route, those that failed least first.
async fn in_order(node: &Node, route: &RouteRecord) -> Result<Vec<OnionAddress>, StoreError> {
    let drops: Vec<OnionAddress> = route.drops.iter().map(|drop| drop.onion).collect();
    let read = move |rx: &crate::store::Rx<'_>| {
        let mut order = Vec::new();
        for (place, drop) in drops.iter().enumerate() {
            let conduct = rx.routes().conduct(drop)?;
            order.push((conduct.failures.saturating_add(conduct.unconfirmed), place, *drop));
        }
        Ok(order)
    };
    let mut order = node.desk.store.read(read).await?;
    order.sort();
    Ok(order.into_iter().map(|(_, _, drop)| drop).collect())
}

/// Binds a token to the letter: the one that was bound to it before, or a fresh one. `None`: there is none left.
async fn bind(
    node: &Node,
    no: QueueNo,
    entry: &Entry,
    place: OnionAddress,
    letter: &SealedLetter,
    generation: u64,
) -> Result<Option<InCustody>, StoreError> {
    let (reader, id, size) = (entry.to.onion, letter.id, letter.len());
    let Moment { now, agreed } = node.moment();
    node.desk
        .store
        .write(move |tx| {
            let Some((_, mut entry)) = tx.queue().get::<Entry>(no)? else { return Ok(None) };
            let here = |one: &InCustody| one.drop == *place.public_key();
            if let Some(bound) = entry.custody.iter().find(|one| here(one) && one.letter == id) {
                return Ok(Some(bound.clone()));
            }
            let route = tx.routes().get(&reader)?;
            let drop = route.as_ref().and_then(|route| route.drops.iter().find(|drop| drop.onion == place));
            let Some(drop) = drop else { return Ok(None) };
            let pays = |token: &hold::Token| size <= hold::class_size_max(token.class);
            // The very same was there, or may have been, and is to be called back: it is not, and its token stands.
            let recalled = tx.routes().recall_of(&id, &place)?;
            let again = recalled.as_ref().and_then(|recall| hold::Token::from_bytes(&recall.token));
            let Some(token) = again.or_else(|| drop.tokens(agreed).find(pays)) else { return Ok(None) };
            if let Some(recall) = recalled {
                tx.routes().remove_recall(&recall)?;
            }
            let bound = InCustody {
                drop: *place.public_key(),
                mailbox: drop.mailbox,
                token: token.to_bytes(),
                letter: id,
                generation,
                taken: None,
                kept_until: None,
            };
            tx.routes().strike(&reader, &token)?;
            // What was sealed otherwise is of no use any more. It may be there all the same.
            for one in entry.custody.iter().filter(|one| here(one)) {
                recall(tx, one, now)?;
            }
            entry.custody.retain(|one| !here(one));
            entry.custody.push(bound.clone());
            tx.queue().replace(no, &entry)?;
            Ok(Some(bound))
        })
        .await
}

/// How it went at one drop.
enum Brought {
    /// It has the letter, and says so in this statement.
    Taken(Verified<Custody>),
    /// It does not take it: another token, another drop.
    Refused,
    /// It has no room: the token stays good.
    Full,
    /// Nobody is there, or it does not behave.
    Failed,
    /// Our own network is down: says nothing about the drop.
    NoNetwork,
}

/// Brings a letter to a drop, on a circuit and in a session of its own.
async fn bring(node: &Arc<Node>, place: OnionAddress, bound: &InCustody, letter: SealedLetter) -> Brought {
    let Some(token) = bound.token() else { return Brought::Refused };
    node.transport.leave_path(place);
    let stream = match node.transport.dial(place, PORT, DIAL_DEADLINE).await {
        Ok(stream) => stream,
        Err(onion::DialError::NetworkDown | onion::DialError::Ours(_)) => return Brought::NoNetwork,
        Err(_) => return Brought::Failed,
    };
    let (digest, size) = (letter.sealed_digest, letter.len());
    let outgoing = Outgoing {
        from: ReversePath::Null,
        recipients: Recipients::new([bound.mailbox.address(place)]).expect("it is one"),
        id: letter.id,
        size,
        eight_bit: true,
        utf8_header: false,
        sealed: Some(letter.prekey),
        token: Some(token),
        ask_card: None,
    };
    let mut line = Line::anonymous(node, stream, place);
    let answer = line.letter(outgoing, Content::Sealed(Box::new(letter))).await;
    let Ok(Answer { outcomes, receipt, .. }) = answer else { return Brought::Failed };
    line.quit().await;
    // The next letter must not come the same way.
    node.transport.leave_path(place);
    match outcomes.into_iter().next() {
        Some(Outcome::Accepted) => {
            let read = receipt.and_then(|bytes| Signed::<Custody>::parse(bytes).ok()?.verify(None).ok());
            let last = node.desk.now().plus(KEPT_MAX);
            let holds = |custody: &Verified<Custody>| {
                let named = custody.author() == place && custody.digest == digest && custody.size == size;
                named && custody.kept_until <= last
            };
            read.filter(holds).map_or(Brought::Failed, Brought::Taken)
        }
        Some(Outcome::Refused(reply)) if reply.code == 552 => Brought::Full,
        Some(Outcome::Refused(_)) => Brought::Refused,
        _ => Brought::Failed,
    }
}

/// Keeps how it went; whether the drop has the letter.
async fn took(
    node: &Node,
    no: QueueNo,
    entry: &Entry,
    bound: &InCustody,
    size: u64,
    brought: Brought,
) -> Result<bool, StoreError> {
    let (bound, now, outbox) = (bound.clone(), node.desk.now(), node.desk.folders.outbox);
    let digest = match &brought {
        Brought::Taken(_) => {
            match node.desk.letter_to_send(entry.letter).await {
                Ok((reader, start)) => Some(crate::node::sealing::digest_of(&reader, start).await?),
                // It was cancelled meanwhile, and its copies deleted.
                Err(StoreError::NoLetter(_)) => None,
                Err(error) => return Err(error),
            }
        }
        _ => None,
    };
    tracing::debug!(size, taken = digest.is_some(), "a letter was brought to a drop");
    node.desk
        .store
        .write(move |tx| {
            let Some(drop) = bound.drop_onion() else { return Ok(false) };
            let Some((_, mut entry)) = tx.queue().get::<Entry>(no)? else {
                // It was cancelled, or confirmed, meanwhile: what may be there is called back.
                return recall(tx, &bound, now).map(|()| false);
            };
            match &brought {
                Brought::NoNetwork => return Ok(false),
                Brought::Taken(_) => tx.routes().note(&drop, |conduct| {
                    (conduct.took, conduct.failures) = (Some(now), 0);
                })?,
                Brought::Refused | Brought::Full | Brought::Failed => tx.routes().note(&drop, |conduct| {
                    conduct.failures = conduct.failures.saturating_add(1);
                })?,
            }
            if let Brought::Refused = brought {
                // The token is of no use: none of the letter is there.
                entry.custody.retain(|one| one.token != bound.token || one.kept_until.is_some());
            }
            if let (Brought::Taken(custody), Some(digest)) = (&brought, &digest) {
                for one in entry.custody.iter_mut().filter(|one| one.token == bound.token) {
                    (one.taken, one.kept_until) = (Some(now), Some(custody.kept_until));
                }
                tx.receipts().add(digest, custody.bytes(), now)?;
                let mut flags = Flags::default();
                flags.keywords.insert(verdict::HELD.to_owned());
                tx.messages().set_flags(outbox, &[Uid(entry.outbox)], &FlagChange::Add(flags))?;
            }
            tx.queue().replace(no, &entry)?;
            Ok(digest.is_some())
        })
        .await
}

/// Notes that a letter is to be called back from a drop, if it may be there.
pub(crate) fn recall(tx: &crate::store::Tx<'_>, one: &InCustody, now: UnixTime) -> Result<(), StoreError> {
    let (Some(drop), until) = (one.drop_onion(), one.kept_until.unwrap_or(now.plus(DOUBT))) else {
        return Ok(());
    };
    tx.routes().put_recall(&crate::store::routes::RecallRecord {
        letter: one.letter,
        drop,
        token: one.token,
        until,
        tries: 0,
    })
}

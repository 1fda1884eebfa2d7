//! After a try: the model decides what becomes of each entry, one commit carries it out.
//!
//! What the author must be told (it waits, it goes back) is written into the author's own INBOX in the same commit;
//! nothing of it ever goes to the network. An entry that was cancelled meanwhile is left alone.

use crate::model::header::HEADER_SIZE_MAX;
use crate::model::letter::LetterNo;
use crate::model::notice::{self, Delayed, Failed, Reported};
use crate::model::outcome::Outcome;
use crate::model::queue::{self, Entry, Moment, Reason, Settled, State};
use crate::model::time::UnixTime;
use crate::node::Node;
use crate::node::deposit;
use crate::node::desk::Desk;
use crate::store::messages::NewMessage;
use crate::store::{Body, Flags, MailboxNo, QueueNo, StoreError, Tx, Uid};
use std::collections::BTreeMap;

/// How one try ended.
pub(super) struct Tried {
    pub(super) no: QueueNo,
    pub(super) outcome: Outcome,
    /// What changed hands if it was delivered sealed.
    pub(super) given: Option<Given>,
}

/// What changed hands with a sealed letter.
#[derive(Clone)]
pub(super) struct Given {
    /// SHA-256 of the letter.
    pub(super) digest: [u8; 32],
    /// The reader's receipt, verified.
    pub(super) receipt: Option<Vec<u8>>,
    /// The peer has our Card and the vouches for us now (see `vouches`): the tag of both.
    pub(super) card: Option<u64>,
    /// The peer has our Route of this number now.
    pub(super) route: Option<u64>,
}

impl Tried {
    pub(super) fn new(no: QueueNo, outcome: Outcome) -> Self {
        Self { no, outcome, given: None }
    }
}

/// What the commit does with one entry.
#[derive(Clone)]
enum Deed {
    Keep(Box<Entry>),
    Delivered(Option<Given>),
    GivenBack {
        /// No receipt came in all the time that drops had it.
        unconfirmed: bool,
    },
}

/// One entry after the model has judged it.
struct Judged {
    no: QueueNo,
    entry: Entry,
    settled: Settled,
    given: Option<Given>,
}

impl Node {
    /// Settles tries that were begun at `begun` and have just ended.
    ///
    /// Gives whether that is kept; if not, the same entries are still due.
    pub(super) async fn settle(&self, begun: Moment, tries: Vec<Tried>) -> bool {
        if tries.is_empty() {
            return true;
        }
        let ended = self.moment();
        if let Err(error) = settle(&self.desk, begun, ended, tries).await {
            // Nothing is lost: the entries wait as they were, and the peer knows the letter's id.
            self.desk.trouble.note("queue", format!("the queue cannot be written: {error}"));
            false
        } else {
            self.desk.trouble.clear("queue");
            true
        }
    }
}

async fn settle(desk: &Desk, begun: Moment, ended: Moment, tries: Vec<Tried>) -> Result<(), StoreError> {
    let numbers: Vec<QueueNo> = tries.iter().map(|tried| tried.no).collect();
    let waiting = desk.entries(numbers).await?;
    let mut rng = desk.rng();
    let judged: Vec<Judged> = tries
        .into_iter()
        .filter_map(|Tried { no, outcome, given }| {
            let entry = waiting.get(&no)?.clone();
            let settled = queue::settle(entry.clone(), begun, outcome, ended, &mut rng);
            Some(Judged { no, entry, settled, given })
        })
        .collect();
    let notices = notices(desk, ended, &judged).await?;
    let deeds: Vec<(QueueNo, Entry, Deed)> = judged
        .into_iter()
        .map(|judged| {
            let deed = match judged.settled {
                Settled::Keep { entry, .. } => Deed::Keep(entry),
                Settled::Done => Deed::Delivered(judged.given),
                Settled::Return(reason) => {
                    Deed::GivenBack { unconfirmed: matches!(reason, Reason::Unconfirmed { .. }) }
                }
            };
            (judged.no, judged.entry, deed)
        })
        .collect();
    let (folders, now) = (desk.folders, ended.now);
    desk.store
        .write(move |tx| {
            let mut told = false;
            for (no, before, deed) in &deeds {
                told |= carry_out(tx, folders.outbox, *no, before, deed, now)?;
            }
            if told {
                for notice in &notices {
                    let letter = tx.letters().add(notice, b"")?;
                    tx.messages().append(
                        folders.inbox,
                        &NewMessage { letter, flags: Flags::default(), internal_date: now, sent_id: None },
                    )?;
                }
            }
            Ok(())
        })
        .await
}

/// Does one deed; whether the entry was still there.
fn carry_out(
    tx: &mut Tx<'_>,
    outbox: MailboxNo,
    no: QueueNo,
    before: &Entry,
    deed: &Deed,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let Some((_, now_there)) = tx.queue().get::<Entry>(no)? else { return Ok(false) };
    match deed {
        Deed::Keep(entry) => {
            // What holders and its reader did meanwhile stays.
            let Entry { custody, announced, fetched, refused, .. } = now_there.clone();
            let state = if fetched == before.fetched { entry.state.clone() } else { now_there.state };
            let entry = Entry { custody, announced, fetched, refused, state, ..(**entry).clone() };
            tx.queue().replace(no, &entry)?;
            return Ok(true);
        }
        Deed::Delivered(given) => {
            tx.queue().remove(no)?;
            note_given(tx, before, given.as_ref(), now)?;
            if let Some(Given { digest, receipt: Some(receipt), .. }) = given {
                tx.receipts().add(digest, receipt, now)?;
            }
        }
        Deed::GivenBack { unconfirmed } => {
            tx.queue().remove(no)?;
            for one in &now_there.custody {
                // Its author writes again, perhaps: the reader must not find this copy afterwards.
                deposit::recall(tx, one, now)?;
                if let Some(drop) = one.drop_onion().filter(|_| *unconfirmed && one.kept_until.is_some()) {
                    tx.routes().note(&drop, |conduct| {
                        conduct.unconfirmed = conduct.unconfirmed.saturating_add(1);
                    })?;
                }
            }
        }
    }
    if !tx.queue().has_letter(before.letter)? {
        tx.messages().expunge(outbox, &[Uid(before.outbox)])?;
    }
    Ok(true)
}

/// The reader of an entry has it, and with it what went beside the letter.
pub(super) fn note_given(
    tx: &Tx<'_>,
    entry: &Entry,
    given: Option<&Given>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let reader = entry.to.onion;
    // Who only asked for an echo is nobody that mail was exchanged with.
    if !entry.answer {
        tx.peers().update(&reader, |record| {
            record.last_seen = Some(now);
            record.last_sent = Some(now);
            record.card_given = given.and_then(|given| given.card).or(record.card_given);
        })?;
    }
    match given.and_then(|given| given.route) {
        Some(sequence) => tx.holders().confirm(&reader, sequence),
        None => Ok(()),
    }
}

/// What the author of one letter is to be told.
#[derive(Default)]
struct News<'a> {
    delayed: Vec<&'a Entry>,
    failed: Vec<(&'a Entry, &'a Reason)>,
}

/// The reports that are due, one per letter and kind.
async fn notices(desk: &Desk, ended: Moment, judged: &[Judged]) -> Result<Vec<Body>, StoreError> {
    let mut by_letter: BTreeMap<LetterNo, News<'_>> = BTreeMap::new();
    for one in judged {
        match &one.settled {
            Settled::Keep { entry, notice: true } => {
                by_letter.entry(entry.letter).or_default().delayed.push(entry)
            }
            // Nobody wrote it, so nobody is told.
            Settled::Return(_) if one.entry.is_silent() => {}
            Settled::Return(reason) => {
                by_letter.entry(one.entry.letter).or_default().failed.push((&one.entry, reason));
            }
            _ => {}
        }
    }
    let mut bodies = Vec::new();
    for (letter, News { delayed, failed }) in by_letter {
        let Some(entry) = delayed.first().copied().or(failed.first().map(|(entry, _)| *entry)) else {
            continue;
        };
        let header = header_of(desk, letter).await?;
        let own = desk.identity().onion();
        let author = desk.sender(&entry.from);
        let mut reported = Reported {
            own: &own,
            author: &author,
            header: &header,
            accepted: entry.accepted,
            now: ended.now,
            random: desk.draw(),
        };
        if !delayed.is_empty() {
            let delayed: Vec<Delayed<'_>> = delayed.iter().map(|entry| delay_of(entry)).collect();
            bodies.push(desk.store.letter(&notice::delay_notice(&reported, &delayed)).await?);
        }
        if !failed.is_empty() {
            let failed: Vec<Failed<'_>> =
                failed.iter().map(|(entry, reason)| Failed { to: &entry.to, reason }).collect();
            reported.random = desk.draw();
            bodies.push(desk.store.letter(&notice::failure_notice(&reported, &failed)).await?);
        }
    }
    Ok(bodies)
}

fn delay_of(entry: &Entry) -> Delayed<'_> {
    let State::Waiting { last, .. } = &entry.state;
    let last = last.as_ref().map_or("", |last| last.text.as_str());
    Delayed { to: &entry.to, last, until: entry.deadline() }
}

/// The header block of a letter as it goes out; what cannot be read any more is reported on without it.
async fn header_of(desk: &Desk, letter: LetterNo) -> Result<Vec<u8>, StoreError> {
    let (reader, prefix_len) = match desk.letter_to_send(letter).await {
        Ok(found) => found,
        Err(StoreError::Damaged(_) | StoreError::NoLetter(_)) => return Ok(b"\r\n".to_vec()),
        Err(error) => return Err(error),
    };
    let start = match reader.read_at(prefix_len, HEADER_SIZE_MAX).await {
        Ok(start) => start,
        Err(StoreError::Damaged(_)) => return Ok(b"\r\n".to_vec()),
        Err(error) => return Err(error),
    };
    let end = start.windows(4).position(|window| window == b"\r\n\r\n").map_or(start.len(), |at| at + 4);
    Ok(start[..end].to_vec())
}

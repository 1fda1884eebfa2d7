//! Giving: a peer that has proved its onion fetches here what waits for it (HELD, TAKE, DROP), sealed as it would have
//! been sent.
//!
//! Promises that a peer is shown nothing but what is written to it, that what it fetches is not sent to it meanwhile,
//! and that a letter of a person's waits on until its receipt has come.

use crate::model::letter::LetterId;
use crate::model::queue::{self, Entry};
use crate::node::Node;
use crate::node::hands::{Doing, InHand, Visit};
use crate::node::sealing::SealedLetter;
use crate::node::settle::{Given, note_given};
use crate::protocol::smtp::{HeldLetter, Reply, Take};
use crate::store::{QueueNo, StoreError};
use onion::OnionAddress;

/// Letters of one list. Each is ready to be fetched until the next list: some 40 KiB of memory, and a chunk of 64 KiB
/// more once it was begun.
const LETTERS_MAX: usize = 16;
/// Sealed bytes of one list, beyond the first letter: they are all made to name the letters.
const SEALED_MAX: u64 = 32 * 1024 * 1024;

const NOT_HERE: Reply = Reply::new(550, 1, 1, "No such letter waits here");
const ON_ITS_WAY: Reply = Reply::new(450, 4, 0, "The letter is on its way to you");

/// What one conversation has been shown.
#[derive(Default)]
pub(crate) struct Giving {
    shown: Vec<Shown>,
    /// The last letter of the list before.
    last: Option<(LetterId, QueueNo)>,
    /// While the reader fetches.
    visit: Option<Visit>,
}

impl Giving {
    /// The reader has fetched what it wants: what it left is sent to it.
    pub(crate) fn end_visit(&mut self) {
        self.visit = None;
    }
}

/// A letter that was shown.
struct Shown {
    no: QueueNo,
    letter: SealedLetter,
    given: Given,
    /// It is being fetched.
    in_hand: Option<InHand>,
}

impl Node {
    /// What waits for `reader`, from behind a letter of the list before, and whether there is more. A letter that is on
    /// its way is left out.
    pub(crate) async fn give_list(
        &self,
        giving: &mut Giving,
        reader: OnionAddress,
        after: Option<LetterId>,
    ) -> Result<(Vec<HeldLetter>, bool), Reply> {
        if giving.visit.is_none() {
            giving.visit = Some(self.desk.hands.visit(&self.desk.orders, reader));
        }
        let shown = giving.shown.iter().map(|shown| (shown.letter.id, shown.no)).chain(giving.last);
        let after = shown.into_iter().find(|(id, _)| Some(*id) == after).map(|(_, no)| no);
        let more = self.show(giving, reader, after).await.map_err(|error| self.desk.disk_reply(&error))?;
        giving.last = giving.shown.last().map(|shown| (shown.letter.id, shown.no)).or(giving.last);
        if giving.shown.is_empty() {
            giving.end_visit();
        }
        let letters = giving.shown.iter().map(|Shown { letter, .. }| HeldLetter {
            letter: letter.id,
            size: letter.len(),
            key: letter.prekey,
            token: None,
        });
        Ok((letters.collect(), more))
    }

    /// Makes the next letters ready; whether there are more.
    async fn show(
        &self,
        giving: &mut Giving,
        reader: OnionAddress,
        after: Option<QueueNo>,
    ) -> Result<bool, StoreError> {
        if self.desk.is_revoked(reader).await? {
            return Ok(false);
        }
        let Some(card) = self.desk.card_of(reader).await? else { return Ok(false) };
        // Sealing is work, and whoever asks again and again must not have all of it.
        let _one_at_a_time = self.desk.listing.lock().await;
        let mut before = std::mem::take(&mut giving.shown);
        let waiting = self.desk.queue_for(reader).await?;
        let shared = queue::shared_ids(waiting.iter().map(|(_, entry)| entry));
        let mut sealed = 0;
        for (no, entry) in waiting {
            let waits =
                after.is_none_or(|after| after < no) && entry.fetched.is_none() && entry.refused.is_none();
            let sent = self.desk.hands.doing(no) == Some(Doing::Sending);
            if !waits || sent || entry.needs_session(&shared) {
                continue;
            }
            if giving.shown.len() >= LETTERS_MAX || sealed > SEALED_MAX {
                return Ok(true);
            }
            if let Some(at) = before.iter().position(|shown| shown.no == no) {
                giving.shown.push(before.swap_remove(at));
                continue;
            }
            let beside = self.beside(reader, &entry).await?;
            // What cannot be sealed is settled when it is to be sent.
            let Ok(letter) = self.seal(&card, &entry, &beside.enclosures).await else { continue };
            sealed += letter.len();
            let given =
                Given { digest: letter.digest, receipt: None, card: beside.card, route: beside.route };
            giving.shown.push(Shown { no, letter, given, in_hand: None });
        }
        Ok(false)
    }

    /// A stretch of a letter that was shown.
    pub(crate) async fn give(&self, giving: &mut Giving, take: Take) -> Result<Vec<u8>, Reply> {
        let shown = giving.shown.iter_mut().find(|shown| shown.letter.id == take.letter).ok_or(NOT_HERE)?;
        if shown.in_hand.is_none() {
            let in_hand = giving.visit.as_ref().and_then(|visit| visit.fetch(shown.no));
            shown.in_hand = Some(in_hand.ok_or(ON_ITS_WAY)?);
        }
        if !giving.visit.as_ref().is_some_and(Visit::goes_on) {
            return Err(ON_ITS_WAY);
        }
        let still = self.desk.entries(vec![shown.no]).await.map_err(|error| self.desk.disk_reply(&error))?;
        if still.is_empty() {
            return Err(NOT_HERE);
        }
        let mut bytes = Vec::new();
        while bytes.len() < take.max {
            let (at, max) = (take.offset.saturating_add(bytes.len() as u64), take.max - bytes.len());
            let piece = shown.letter.read_at(at, max).await.map_err(|error| self.desk.disk_reply(&error))?;
            if piece.is_empty() {
                break;
            }
            bytes.extend(piece);
        }
        Ok(bytes)
    }

    /// The reader has these letters. What nobody waits for a receipt of is done.
    pub(crate) async fn given(&self, giving: &mut Giving, letters: &[LetterId]) -> Result<(), Reply> {
        let (has, others) = std::mem::take(&mut giving.shown)
            .into_iter()
            .partition(|shown| letters.contains(&shown.letter.id));
        giving.shown = others;
        let has: Vec<Shown> = has;
        if let Some(visit) = &giving.visit {
            visit.goes_on();
        }
        let (now, outcome): (_, Vec<_>) =
            (self.desk.now(), has.iter().map(|shown| (shown.no, shown.given.clone())).collect());
        let kept = self.desk.store.write(move |tx| {
            for (no, given) in &outcome {
                let Some((_, mut entry)) = tx.queue().get::<Entry>(*no)? else { continue };
                note_given(tx, &entry, Some(given), now)?;
                if entry.is_silent() {
                    tx.queue().remove(*no)?;
                } else {
                    entry.fetch(now);
                    tx.queue().replace(*no, &entry)?;
                }
            }
            Ok(())
        });
        kept.await.map_err(|error| self.desk.disk_reply(&error))
    }
}

//! What a reader's node says of a letter of ours that went by a holder: it has it, or it does not take it.
//!
//! Both come as errands: letters with nothing in them for a person. Promises that only the reader of a letter ends its
//! waiting, and that a refusal is told to the author like one that was said at once.

use crate::model::letter::LetterId;
use crate::model::outcome::Reply;
use crate::model::queue::{Entry, InCustody, State};
use crate::model::statement::{Receipt, Refusal, Verified};
use crate::node::affairs::Taking;
use crate::store::{QueueNo, StoreError, Tx, Uid};
use onion::OnionAddress;

/// The reader has the letter.
pub(super) fn receipt(at: &Taking<'_, '_>, receipt: &Verified<Receipt>) -> Result<(), StoreError> {
    let Some((no, entry)) = waiting(at.tx, &receipt.author(), &receipt.id)? else { return Ok(()) };
    let kept: Vec<&InCustody> = entry.custody.iter().filter(|one| one.kept_until.is_some()).collect();
    if let [only] = kept.as_slice()
        && let Some(drop) = only.drop_onion()
    {
        at.tx.routes().note(&drop, |conduct| conduct.unconfirmed = 0)?;
    }
    at.tx.receipts().add(&receipt.digest, receipt.bytes(), at.now)?;
    at.tx.queue().remove(no)?;
    if !at.tx.queue().has_letter(entry.letter)? {
        at.tx.messages().expunge(at.outbox, &[Uid(entry.outbox)])?;
    }
    at.tx.peers().update(&entry.to.onion, |record| record.last_sent = Some(at.now)).map(drop)
}

/// The reader does not take the letter: the next try, which is due now, gives it back.
pub(super) fn refusal(at: &Taking<'_, '_>, refusal: &Verified<Refusal>) -> Result<(), StoreError> {
    let Some((no, mut entry)) = waiting(at.tx, &refusal.author(), &refusal.id)? else { return Ok(()) };
    entry.refused = Some(Reply { code: refusal.code, text: refusal.text.clone() }.shown());
    let State::Waiting { next, .. } = &mut entry.state;
    *next = at.now;
    at.tx.queue().replace(no, &entry)
}

/// The entry of this letter to a reader, if it still waits.
fn waiting(
    tx: &Tx<'_>,
    reader: &OnionAddress,
    id: &LetterId,
) -> Result<Option<(QueueNo, Entry)>, StoreError> {
    let all = tx.queue().list::<Entry>()?;
    let found = all.into_iter().find(|(_, _, entry)| entry.to.onion == *reader && entry.id == *id);
    Ok(found.map(|(no, _, entry)| (no, entry)))
}

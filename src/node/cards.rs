//! Cards of others: fetched with no question asked, pinned, and never silently exchanged.
//!
//! Promises that a Card that does not follow the pinned one (a fork, a rollback, another recovery key) changes
//! nothing and is kept as evidence, and that the person is told.

use crate::model::statement::{Card, Signed, StatementError, Succession, Verified, card};
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::store::cards::{CardRecord, RefusedCard};
use crate::store::{Room, Rx, StoreError, Tx};
use onion::OnionAddress;

/// What became of a Card that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It is the one that is pinned now.
    Taken,
    /// It is, and was before.
    Known,
    /// It is older than the pinned one, which stays.
    Older,
    /// It contradicts the pinned one, which stays.
    Refused,
    /// There is no room for more people's Cards.
    NoRoom,
}

/// The Card of somebody, if one is pinned.
pub fn pinned(rx: &Rx<'_>, onion: &OnionAddress) -> Result<Option<Verified<Card>>, StoreError> {
    rx.cards().get(onion)?.map(|record| reread(&record)).transpose()
}

/// The same while writing.
pub fn pinned_in(tx: &Tx<'_>, onion: &OnionAddress) -> Result<Option<Verified<Card>>, StoreError> {
    tx.cards().get(onion)?.map(|record| reread(&record)).transpose()
}

fn reread(record: &CardRecord) -> Result<Verified<Card>, StoreError> {
    let damaged = |_| StoreError::Damaged("the Card of a contact no longer verifies");
    Signed::<Card>::parse(record.bytes.clone()).and_then(|signed| signed.verify(None)).map_err(damaged)
}

/// Reads a Card that somebody gave as theirs.
pub fn read(
    bytes: Vec<u8>,
    of: &OnionAddress,
    agreed: Option<UnixTime>,
) -> Result<Verified<Card>, StatementError> {
    let card = Signed::<Card>::parse(bytes)?.verify(agreed)?;
    if card.author() == *of { Ok(card) } else { Err(StatementError::Key) }
}

/// Pins a Card, or says why not. To be called inside the write that takes whatever it came with.
pub fn pin(tx: &Tx<'_>, new: &Verified<Card>, now: UnixTime) -> Result<Pinned, StoreError> {
    let onion = new.author();
    let before = tx.cards().get(&onion)?;
    let Some(record) = &before else { return put(tx, new, now, now) };
    let why = match card::succession(&reread(record)?, new) {
        Succession::Same => return Ok(Pinned::Known),
        Succession::Newer => return put(tx, new, record.first_seen, now),
        // Whoever passes on what they know may well know an older one.
        Succession::Older => return Ok(Pinned::Older),
        Succession::Fork => "there are two Cards of the same number: somebody else signs with this key",
        Succession::RecoveryChange => "it names another recovery key than the Cards before",
        Succession::Stranger => return Err(StoreError::Bug("a Card was compared with another identity's")),
    };
    refuse(tx, new, why, now)
}

/// The same for a Card that its owner gave: an older one from the owner is no oversight.
pub fn pin_given(tx: &Tx<'_>, new: &Verified<Card>, now: UnixTime) -> Result<Pinned, StoreError> {
    match pin(tx, new, now)? {
        Pinned::Older => refuse(tx, new, "it is older than the Card that is known", now),
        pinned => Ok(pinned),
    }
}

fn refuse(tx: &Tx<'_>, new: &Verified<Card>, why: &str, now: UnixTime) -> Result<Pinned, StoreError> {
    let refused = RefusedCard { bytes: new.bytes().to_vec(), why: why.to_owned(), at: now };
    tx.cards().refuse(&new.author(), refused)?;
    Ok(Pinned::Refused)
}

/// Which of two Cards speaks for their owner: the pinned one, unless the other truly follows it.
pub fn foremost(pinned: Option<Verified<Card>>, new: Option<&Verified<Card>>) -> Option<Verified<Card>> {
    match (pinned, new) {
        (Some(pinned), Some(new)) if card::succession(&pinned, new) != Succession::Newer => Some(pinned),
        (pinned, new) => new.cloned().or(pinned),
    }
}

fn put(tx: &Tx<'_>, new: &Verified<Card>, first_seen: UnixTime, now: UnixTime) -> Result<Pinned, StoreError> {
    let onion = new.author();
    let room = match tx.contacts().get(&onion)?.and_then(|contact| contact.decision) {
        Some(_) => Room::Reserved,
        None => Room::Open,
    };
    let refused = tx.cards().get(&onion)?.and_then(|record| record.refused);
    let record = CardRecord {
        bytes: new.bytes().to_vec(),
        generation: new.generation,
        sequence: new.sequence,
        digest: new.digest(),
        first_seen,
        updated: now,
        refused,
    };
    Ok(if tx.cards().put(&onion, &record, room)? { Pinned::Taken } else { Pinned::NoRoom })
}

impl Desk {
    /// The Card of a peer, if one is pinned.
    pub(super) async fn card_of(&self, peer: OnionAddress) -> Result<Option<Verified<Card>>, StoreError> {
        self.store.read(move |rx| pinned(rx, &peer)).await
    }

    /// Takes the Card that a peer gave as its own; gives the one that is pinned then.
    pub(super) async fn take_card(
        &self,
        peer: OnionAddress,
        bytes: Vec<u8>,
        agreed: Option<UnixTime>,
    ) -> Result<Option<Verified<Card>>, StoreError> {
        let card = match read(bytes, &peer, agreed) {
            Ok(card) => card,
            Err(error) => {
                tracing::debug!(%error, "a peer gave a Card that does not hold");
                return self.card_of(peer).await;
            }
        };
        let now = self.now();
        let (pinned, taken) = self
            .store
            .write(move |tx| {
                let pinned = pin_given(tx, &card, now)?;
                Ok((pinned, pinned_in(tx, &peer)?))
            })
            .await?;
        if pinned == Pinned::Refused {
            self.tell_of_refused_card();
        }
        Ok(taken)
    }

    /// Says in `status` that somebody's Card was refused.
    pub(super) fn tell_of_refused_card(&self) {
        let text =
            "a contact's Card contradicts the one that is known, and was refused; see: onionskin contacts";
        self.trouble.note("cards", text.into());
    }
}

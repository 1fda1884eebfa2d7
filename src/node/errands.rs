//! Errands: letters from this node to another with a statement and nothing for a person.
//!
//! They are in no folder, wish no receipt, and no report is written about them; otherwise they go the way of every
//! letter: sealed, by the queue, by holders.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::enclosure::{self, Covering};
use crate::model::letter::LetterId;
use crate::model::queue::Entry;
use crate::model::statement::{Standalone, Verified};
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::node::post::address_of;
use crate::store::{Body, StoreError, Tx};
use onion::OnionAddress;
use rand::RngExt as _;
use std::time::Duration;

/// Most errands that wait at once; beyond, the newest are not begun. What they say is said again when it is asked for.
const WAITING_MAX: usize = 10_000;
/// And with so many letters waiting for its reader, who could else fill the queue by asking.
const READER_MAX: usize = 256;
/// An errand sets out within this time, so that who sees two mailboxes cannot tell which letter it answers.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// An errand ready to be queued.
pub(super) struct Errand {
    body: Body,
    size: u64,
    from: LocalPart,
    to: MailAddress,
    id: LetterId,
    pause: Duration,
}

impl Errand {
    /// Writes the letter.
    pub(super) async fn write<T: Standalone>(
        desk: &Desk,
        to: OnionAddress,
        statement: &Verified<T>,
    ) -> Result<Self, StoreError> {
        let from = desk.identity.address();
        let to = desk.store.read(move |rx| address_of(rx, to)).await?;
        let letter = enclosure::letter(&Covering {
            from: &from,
            to: &to,
            subject: T::KIND,
            text: "This letter is for your node, which files it nowhere.\n",
            statements: &[(T::KIND, statement.bytes())],
            now: desk.now(),
            random: desk.draw(),
        });
        let (size, id) = (letter.len() as u64, LetterId(desk.draw()));
        let body = desk.store.letter(&letter).await?;
        let pause = desk.rng().random_range(Duration::ZERO..PAUSE_MAX);
        Ok(Self { body, size, from: from.local, to, id, pause })
    }

    /// The same without a pause: nobody else is there to see what it answers.
    pub(super) fn at_once(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }

    /// Queues it, in a commit of the caller's.
    pub(super) fn file(&self, tx: &Tx<'_>, now: UnixTime) -> Result<(), StoreError> {
        let waiting = tx.queue().count()?;
        if waiting >= WAITING_MAX as u64 || waiting >= READER_MAX as u64 && self.is_one_too_many(tx)? {
            return Ok(());
        }
        let letter = tx.letters().add(&self.body, b"")?;
        let next = now.plus(self.pause);
        let entry = Entry::errand(letter, self.id, self.from.clone(), self.to.clone(), self.size, next);
        tx.queue().push(letter, &entry).map(drop)
    }

    fn is_one_too_many(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let all = tx.queue().list::<Entry>()?;
        Ok(all.iter().filter(|(_, _, entry)| entry.to.onion == self.to.onion).count() >= READER_MAX)
    }
}

//! Letters of the node's own making that go out for its person: one copy in Sent, one in Outbox, an entry for each
//! reader, none of whom learns of the others.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::enclosure::{self, Covering};
use crate::model::letter::LetterId;
use crate::model::policy::NAMES_ALWAYS;
use crate::model::queue::Entry;
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::node::cards;
use crate::node::deposit;
use crate::node::desk::{Desk, Folders};
use crate::store::messages::NewMessage;
use crate::store::{Body, Flags, QueueNo, Rx, StoreError, Tx};
use onion::OnionAddress;
use std::collections::BTreeSet;

/// Most readers of one such letter.
pub(super) const READERS_MAX: usize = 10_000;

/// What such a letter says.
pub(super) struct Words<'a> {
    pub(super) subject: &'a str,
    pub(super) text: &'a str,
    /// The statement that it carries: kind and bytes.
    pub(super) statement: (&'a str, &'a [u8]),
}

/// A letter ready to be filed.
pub(super) struct Post {
    body: Body,
    size: u64,
    from: LocalPart,
    to: Vec<(MailAddress, LetterId)>,
}

impl Post {
    /// Writes the letter. With one reader it is addressed to them, with several to its author, as with Bcc.
    pub(super) async fn write(
        desk: &Desk,
        words: &Words<'_>,
        mut to: Vec<MailAddress>,
    ) -> Result<Self, StoreError> {
        to.truncate(READERS_MAX);
        let from = desk.identity.address();
        let letter = enclosure::letter(&Covering {
            from: &from,
            to: if let [only] = to.as_slice() { only } else { &from },
            subject: words.subject,
            text: words.text,
            statements: &[words.statement],
            now: desk.now(),
            random: desk.draw(),
        });
        let to = to.into_iter().map(|to| (to, LetterId(desk.draw()))).collect();
        Ok(Self { body: desk.store.letter(&letter).await?, size: letter.len() as u64, from: from.local, to })
    }

    /// How many readers it has.
    pub(super) fn readers(&self) -> usize {
        self.to.len()
    }

    /// Files and queues it, in a commit of the caller's.
    pub(super) fn file(&self, tx: &Tx<'_>, folders: &Folders, now: UnixTime) -> Result<(), StoreError> {
        if self.to.is_empty() {
            return Ok(());
        }
        let letter = tx.letters().add(&self.body, b"")?;
        let flags = Flags::system(Flags::SEEN);
        let filed = NewMessage { letter, flags, internal_date: now, sent_id: None };
        tx.messages().append(folders.sent, &filed)?;
        let outbox = tx.messages().append(folders.outbox, &filed)?;
        for (to, id) in &self.to {
            let entry = Entry::new(letter, *id, self.from.clone(), to.clone(), self.size, now, outbox.0);
            tx.queue().push(letter, &entry)?;
        }
        Ok(())
    }
}

/// Takes a letter out of the queue, and notes that it is to be called back where a holder has it.
pub(crate) fn cancel(tx: &Tx<'_>, no: QueueNo, entry: &Entry, now: UnixTime) -> Result<(), StoreError> {
    tx.queue().remove(no)?;
    entry.custody.iter().try_for_each(|one| deposit::recall(tx, one, now))
}

/// Where to write to somebody of whom only the onion is known for sure: the main name on their Card, or the name that
/// everybody answers to.
pub(super) fn address_of(rx: &Rx<'_>, onion: OnionAddress) -> Result<MailAddress, StoreError> {
    let named = cards::pinned(rx, &onion)?.and_then(|card| card.names.first().cloned());
    let local = named.unwrap_or_else(|| LocalPart::parse(NAMES_ALWAYS[0]).expect("postmaster is an atom"));
    Ok(MailAddress { local, onion })
}

impl Desk {
    /// Everybody whom news about our own key concerns: whom the person knows or trusts, then the peers with whom mail
    /// was exchanged. None who is blocked or revoked.
    pub(super) async fn acquaintances(&self) -> Result<Vec<MailAddress>, StoreError> {
        let own = self.identity.onion();
        let peers = self.recent_peers(READERS_MAX).await?;
        self.store
            .read(move |rx| {
                let mut known = Vec::new();
                let mut left_out = BTreeSet::from([own]);
                for (who, contact) in rx.contacts().list()? {
                    let tier = contact.decision.as_ref().map(|decision| decision.tier);
                    if contact.revoked.is_some() || tier == Some(Tier::Blocked) {
                        left_out.insert(who);
                    } else if let Some(tier) = tier.filter(|tier| *tier >= Tier::Known) {
                        known.push((std::cmp::Reverse(tier), who));
                    }
                }
                known.sort_by_key(|(tier, _)| *tier);
                let all = known.into_iter().map(|(_, who)| who).chain(peers);
                let mut readers = Vec::new();
                for who in all.filter(|who| left_out.insert(*who)).take(READERS_MAX) {
                    readers.push(address_of(rx, who)?);
                }
                Ok(readers)
            })
            .await
    }
}

//! Holding letters for guests: what a drop takes, gives out and forgets.
//!
//! Promises that nothing is acknowledged before it is durable, that nothing goes before its guest has it but by its
//! author's call or at the end of its time, and that what is kept of a letter is its sealed bytes, their length in the
//! steps of the seal, the guest's mailbox and a token that only the guest can tell from others.

use crate::model::hold::{self, MailboxId, Token, TokenKey};
use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::model::statement::{Custody, sign_as_identity};
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::node::holders;
use crate::node::parcel::{Kind, Parcel};
use crate::node::partial::Claim;
use crate::node::receive::Here;
use crate::protocol::smtp::server::{Bringer, Deposit, Sending};
use crate::protocol::smtp::{HeldLetter, Reply, Revoked, Take, limits};
use crate::store::held::{BoxRecord, SpentRecord, Taken};
use crate::store::{Body, StoreError};
use ed25519_dalek::SigningKey;
use onion::{HostKey, OnionAddress};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const NO_MAILBOX: Reply = Reply::new(550, 1, 1, "No such mailbox here");
const NO_TOKEN: Reply =
    Reply::new(550, 7, 1, "The token is not good for this, or was spent on something else");
const NO_ROOM: Reply = Reply::new(552, 2, 2, "The mailbox is full");
const TOO_LARGE: Reply = Reply::new(552, 3, 4, "The token does not pay for a letter of this size");
const NOT_YOURS: Reply = Reply::new(550, 7, 1, "Nothing is held here for this key");
const NOT_HERE: Reply = Reply::new(550, 1, 1, "No such letter is held");
const ANOTHER: Reply = Reply::new(554, 6, 0, "What came is not the letter that was named");

/// A mailbox as its collector sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collecting {
    mailbox: MailboxId,
    /// Its place among the collectors.
    collector: usize,
}

/// A letter on its way into a mailbox.
pub(super) struct Depositing {
    deposit: Deposit,
    kept_until: UnixTime,
    made: UnixTime,
    drop_seed: [u8; 32],
}

impl Depositing {
    /// Largest content, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.deposit.size
    }
}

impl Desk {
    /// The keys of the drops to be hosted, by their onions.
    pub(crate) async fn drops(&self) -> Result<BTreeMap<OnionAddress, HostKey>, StoreError> {
        let boxes = self.store.read(|rx| rx.held().mailboxes()).await?;
        Ok(boxes.into_iter().map(|(_, record)| (record.drop, HostKey::from_seed(record.drop_seed))).collect())
    }

    /// Whether a letter may be left at this drop.
    pub(crate) async fn may_deposit(
        &self,
        drop: OnionAddress,
        deposit: &Deposit,
        agreed: Option<UnixTime>,
    ) -> Result<(), Reply> {
        let record = self.mailbox(drop, deposit.mailbox).await?;
        if !is_good((&drop, deposit.mailbox), record.key, &deposit.token, agreed) {
            return Err(NO_TOKEN);
        }
        if deposit.size > hold::class_size_max(deposit.token.class) {
            return Err(TOO_LARGE);
        }
        let (mailbox, token, size) = (deposit.mailbox, deposit.token, deposit.size);
        let read = move |rx: &crate::store::Rx<'_>| {
            Ok((rx.held().spent(mailbox, &token)?, rx.held().has_room(mailbox, size)?))
        };
        let (spent, room) = self.store.read(read).await.map_err(|error| self.disk_reply(&error))?;
        match (spent, room) {
            (Some(spent), _) if spent.paid_for(&deposit.letter) => Ok(()),
            (Some(_), _) | (None, Taken::Spent) => Err(NO_TOKEN),
            (None, Taken::Now | Taken::Before(_)) => Ok(()),
            (None, Taken::NoBox) => Err(NO_MAILBOX),
            (None, Taken::Full) => Err(NO_ROOM),
        }
    }

    /// What is here of a letter that is announced at this drop, for a token that is good.
    pub(crate) async fn claim_deposit(
        &self,
        drop: OnionAddress,
        sending: &Sending,
        agreed: Option<UnixTime>,
    ) -> Option<(Claim, Option<Here>)> {
        let Bringer::Token(token) = sending.from else { return None };
        let mailbox = self.owner_of(drop, token, agreed).await.ok()?;
        let spent = self.store.read(move |rx| rx.held().spent(mailbox, &token)).await.ok()?;
        let (claim, part) = self.drop_partials.claim(drop, sending.letter, sending.sealed).await;
        let here = match spent {
            Some(spent) if spent.paid_for(&sending.letter) => Some(Here::All),
            Some(_) => None,
            None => part.filter(|part| part.len() <= sending.size).map(|part| Here::Part(Box::new(part))),
        };
        Some((claim, here))
    }

    /// Lets a letter come that may be left here, or the rest of it.
    pub(crate) async fn begin_deposit(
        self: &Arc<Self>,
        drop: OnionAddress,
        deposit: Deposit,
        here: Option<Here>,
        agreed: Option<UnixTime>,
    ) -> Result<Parcel, Reply> {
        let record = self.mailbox(drop, deposit.mailbox).await?;
        let made = agreed.unwrap_or(self.now()).to_the_hour();
        let kept_until = holders::kept_until(&record, made);
        let kind = Kind::Depositing(Depositing { deposit, kept_until, made, drop_seed: record.drop_seed });
        Ok(match here {
            None => Parcel::deposit(self.clone(), kind),
            Some(Here::Part(part)) => Parcel::resume(self.clone(), kind, *part),
            Some(Here::All) => Parcel::kept(self.clone(), kind),
        })
    }

    /// The mailbox for which somebody who proved this key may collect at this drop.
    pub(crate) async fn collecting(
        &self,
        drop: OnionAddress,
        who: OnionAddress,
    ) -> Result<Collecting, Reply> {
        let doors = self.store.read(|rx| rx.doors()).await.map_err(|error| self.disk_reply(&error))?;
        let (mailbox, collector) = doors.collecting(drop, who).ok_or(NOT_YOURS)?;
        Ok(Collecting { mailbox, collector })
    }

    /// What is held for a collector, from behind a letter.
    pub(crate) async fn held_letters(
        &self,
        at: Collecting,
        after: Option<LetterId>,
    ) -> Result<(Vec<HeldLetter>, bool), Reply> {
        let list = move |rx: &crate::store::Rx<'_>| {
            rx.held().list(at.mailbox, at.collector, after, limits::HELD_LETTERS_MAX)
        };
        let (letters, more) = self.store.read(list).await.map_err(|error| self.disk_reply(&error))?;
        let letters = letters.into_iter().map(|held| HeldLetter {
            letter: held.id,
            size: held.size,
            key: PrekeyId(held.prekey),
            token: Some(held.nonce),
        });
        Ok((letters.collect(), more))
    }

    /// A stretch of a held letter.
    pub(crate) async fn held_bytes(&self, at: Collecting, take: Take) -> Result<Vec<u8>, Reply> {
        let held = self.store.read(move |rx| rx.held().letter(at.mailbox, &take.letter)).await;
        let held = held.map_err(|error| self.disk_reply(&error))?.ok_or(NOT_HERE)?;
        let read = async { self.store.open_letter(held.letter).await?.read_at(take.offset, take.max).await };
        read.await.map_err(|error| self.disk_reply(&error))
    }

    /// A collector has these letters.
    pub(crate) async fn forget_held(&self, at: Collecting, letters: Vec<LetterId>) -> Result<(), Reply> {
        let done = self.store.write(move |tx| tx.held().confirm(at.mailbox, at.collector, &letters)).await;
        done.map_err(|error| self.disk_reply(&error))
    }

    /// A collector takes back tokens that its guest gave out.
    pub(crate) async fn revoke_tokens(&self, at: Collecting, revoked: Revoked) -> Result<(), Reply> {
        let now = self.now();
        let done =
            self.store.write(move |tx| tx.held().revoke(at.mailbox, revoked.epoch, &revoked.nonces, now));
        done.await.map_err(|error| self.disk_reply(&error))
    }

    /// Its author calls a letter back.
    pub(crate) async fn recall_held(
        &self,
        drop: OnionAddress,
        letter: LetterId,
        token: Token,
    ) -> Result<(), Reply> {
        let mailbox = self.owner_of(drop, token, None).await?;
        let done = self.store.write(move |tx| tx.held().recall(mailbox, &token, &letter)).await;
        if done.map_err(|error| self.disk_reply(&error))? { Ok(()) } else { Err(NO_TOKEN) }
    }

    async fn mailbox(&self, drop: OnionAddress, mailbox: MailboxId) -> Result<BoxRecord, Reply> {
        let found = self.store.read(move |rx| rx.held().mailbox(mailbox)).await;
        let found = found.map_err(|error| self.disk_reply(&error))?;
        found.filter(|record| record.drop == drop).ok_or(NO_MAILBOX)
    }

    /// The mailbox at this drop whose guest made the token.
    async fn owner_of(
        &self,
        drop: OnionAddress,
        token: Token,
        agreed: Option<UnixTime>,
    ) -> Result<MailboxId, Reply> {
        let doors = self.store.read(|rx| rx.doors()).await.map_err(|error| self.disk_reply(&error))?;
        let mut these = doors.at(&drop).iter().map(|door| (door.mailbox, door.key));
        let made = these.find(|(mailbox, key)| is_good((&drop, *mailbox), *key, &token, agreed));
        made.map(|(mailbox, _)| mailbox).ok_or(NO_TOKEN)
    }

    /// Lets go what is over, at an agreed time.
    pub(super) async fn expire_held(&self, agreed: UnixTime) -> Result<(), StoreError> {
        /// Letters, or names of tokens, in one commit.
        const STEP: usize = 500;
        let due = self.store.read(|rx| rx.held().next_over()).await?;
        if due.is_some_and(|due| due < agreed) {
            while self.store.write(move |tx| tx.held().expire(agreed, STEP)).await? == STEP {}
        }
        let before = hold::epoch_of(agreed).saturating_sub(1);
        while self.store.write(move |tx| tx.held().forget_spent(before, STEP)).await? == STEP {}
        let cleared = self.store.write(move |tx| {
            tx.holders().forget_tokens(before)?;
            holders::clear_away(tx)
        });
        if cleared.await? {
            self.drops_changed.notify_one();
        }
        Ok(())
    }
}

/// Whether the guest made this token, and it is of this epoch or the one before. Without an agreed time the epoch is
/// not asked.
fn is_good(
    (drop, mailbox): (&OnionAddress, MailboxId),
    key: [u8; 32],
    token: &Token,
    agreed: Option<UnixTime>,
) -> bool {
    /// How far the clock of a guest may be ahead.
    const AHEAD: Duration = Duration::from_secs(2 * 86_400);
    let timely =
        agreed.is_none_or(|now| now <= token.until() && token.epoch <= hold::epoch_of(now.plus(AHEAD)));
    timely && TokenKey::new(key).made(drop, mailbox, token)
}

/// The letter has come: keeps it, and gives the statement of custody.
pub(super) async fn keep(
    desk: &Desk,
    depositing: Depositing,
    hash: Sha256,
    body: Body,
) -> Result<Option<Vec<u8>>, Reply> {
    let digest: [u8; 32] = hash.finalize().into();
    let Depositing { deposit, kept_until, made, drop_seed } = depositing;
    let spent = SpentRecord { digest, size: deposit.size, kept_until, made };
    if spent.id() != deposit.letter {
        return Err(ANOTHER);
    }
    let record = spent.clone();
    let taken = desk
        .store
        .write(move |tx| tx.held().take(deposit.mailbox, &deposit.token, &record, deposit.key, &body));
    match taken.await.map_err(|error| desk.disk_reply(&error))? {
        Taken::Now => custody(&drop_seed, &spent),
        Taken::Before(before) => custody(&drop_seed, &before),
        Taken::Spent => Err(NO_TOKEN),
        Taken::NoBox => Err(NO_MAILBOX),
        Taken::Full => Err(NO_ROOM),
    }
}

/// The letter was kept at an earlier try, whose acknowledgement was lost: says so again.
pub(super) async fn keep_again(desk: &Desk, depositing: Depositing) -> Result<Option<Vec<u8>>, Reply> {
    let Deposit { mailbox, token, letter, .. } = depositing.deposit;
    let spent = desk.store.read(move |rx| rx.held().spent(mailbox, &token)).await;
    match spent.map_err(|error| desk.disk_reply(&error))? {
        Some(spent) if spent.paid_for(&letter) => custody(&depositing.drop_seed, &spent),
        _ => Err(NO_TOKEN),
    }
}

/// The drop's own word that it has the letter.
fn custody(drop_seed: &[u8; 32], spent: &SpentRecord) -> Result<Option<Vec<u8>>, Reply> {
    let custody = Custody {
        letter: spent.id(),
        digest: spent.digest,
        size: spent.size,
        kept_until: spent.kept_until,
        made: spent.made,
    };
    let signed = sign_as_identity(&SigningKey::from_bytes(drop_seed), &custody);
    signed.map(|custody| Some(custody.into_bytes())).map_err(|_| Reply::new(451, 3, 0, "internal error"))
}

//! Becoming a holder: who asks whom, who promises what, and the end of it. Each step is a letter with readable text and
//! the signed statement beside it.
//!
//! Promises that nothing is held for anybody by whom it was not asked and to whom it was not promised, and that what
//! was taken under a promise is kept as promised, whatever becomes of the promise.

use crate::model::address::MailAddress;
use crate::model::hold::{self, MailboxId};
use crate::model::statement::{
    HolderPromise, HolderWish, Signed, Standalone, StatementError, Verified, sign_as_device,
};
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::node::affairs::Taking;
use crate::node::desk::Desk;
use crate::node::post::{Post, Words, address_of};
use crate::store::held::{BoxRecord, Collector, WishRecord};
use crate::store::holders::{HolderRecord, PromiseRecord};
use crate::store::{StoreError, Tx};
use onion::{HostKey, OnionAddress};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most drops that a node hosts; guests beyond share them.
pub const DROPS_MAX: usize = 16;

/// After this long nothing of ours is left with a holder of whom we took leave, or who took leave of us.
const FORGOTTEN: Duration = Duration::from_secs(2 * 86_400 * hold::DAYS_MAX as u64);

/// Whose letters: one of the two directions in which people keep letters for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// They keep ours.
    Mine,
    /// We keep theirs.
    Theirs,
}

/// Why somebody cannot become a holder, or a guest.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The person has not said that they know them.
    #[error("you have not said that you know them")]
    NotKnown,
    /// Their key was revoked.
    #[error("their key was revoked")]
    Revoked,
    /// They have not asked.
    #[error("they have not asked you to keep letters for them")]
    NotAsked,
    /// Nothing is held for them, and they hold nothing; or not in the one direction that was named.
    #[error("there is nothing of the kind to end")]
    Nothing(Option<Whose>),
    /// The numbers are beyond what can be promised.
    #[error("it cannot be promised: {0}")]
    Terms(#[from] StatementError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What is wished or promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// At most so many bytes at a time.
    pub bytes: u64,
    /// For so many days each.
    pub days: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { bytes: hold::BYTES_DEFAULT, days: hold::DAYS_DEFAULT }
    }
}

impl Desk {
    /// Asks a contact to keep letters for us. What was promised before goes on until the answer comes.
    pub async fn ask_holder(&self, who: OnionAddress, terms: Terms) -> Result<(), HolderError> {
        let to = self.known(who).await?;
        let (known, now) = (self.store.read(move |rx| rx.holders().get(&who)).await?, self.now());
        let record = known.unwrap_or_else(|| HolderRecord {
            key: self.draw(),
            collector_seed: self.draw(),
            asked: now,
            promise: None,
            over: false,
            collected: None,
            failures: 0,
            garbage: 0,
            trouble: None,
            shared: false,
        });
        // After an end of ours the holder takes nothing more, until it promises anew.
        let ended = record.over;
        let promise = record.promise.map(|promise| PromiseRecord { over: promise.over || ended, ..promise });
        let record = HolderRecord { over: false, asked: now, promise, ..record };
        let wish = self.wish(who, &record, terms)?;
        let own = self.identity.address();
        let text = wish_text(&own, terms);
        let subject = format!("{} asks you to keep letters", own.local.as_str());
        let post = self.post(to, &subject, &text, &wish).await?;
        let folders = self.folders;
        let done = self.store.write(move |tx| {
            // Whom we do not need any more, or who never answered, makes room.
            for (other, known) in tx.holders().list()? {
                let answered = known.promise.as_ref().is_some_and(|promise| !promise.over);
                if other != who && (known.over || !answered) && now.since(known.asked) > FORGOTTEN {
                    tx.holders().remove(&other)?;
                }
            }
            tx.holders().put(&who, &record)?;
            post.file(tx, &folders, now)
        });
        done.await?;
        self.orders.look();
        Ok(())
    }

    /// Lets a holder be one that another unlocked identity of the same person has too.
    pub(crate) async fn share_holder(&self, who: OnionAddress) -> Result<(), StoreError> {
        self.store.write(move |tx| tx.holders().update(&who, |record| record.shared = true)).await
    }

    /// Promises a contact who asked for it to keep letters: no more than they asked for. Gives what is promised.
    pub async fn grant(&self, guest: OnionAddress, terms: Terms) -> Result<Terms, HolderError> {
        let to = self.known(guest).await?;
        let wish = self.store.read(move |rx| rx.held().wish(&guest)).await?.ok_or(HolderError::NotAsked)?;
        let wish = Signed::<HolderWish>::parse(wish.statement)?.verify(None)?;
        let terms = Terms { bytes: terms.bytes.min(wish.bytes), days: terms.days.min(wish.days) };
        let boxes = self.store.read(|rx| rx.held().mailboxes()).await?;
        let (mailbox, drop_seed) = self.place_for(&guest, &boxes);
        let now = self.now();
        let drop = HostKey::from_seed(drop_seed).address();
        let Terms { bytes, days } = terms;
        let made = now.to_the_hour();
        let promise = HolderPromise { guest, drop, mailbox, bytes, days, over: false, made };
        let promise = sign_as_device(&self.keyring.device(), &promise)?;
        let own = self.identity.address();
        let subject = format!("{} keeps letters for you", own.local.as_str());
        let post = self.post(to, &subject, &promise_text(&own, terms), &promise).await?;
        let collectors: Vec<Collector> = wish.collectors.iter().map(|key| Collector(*key)).collect();
        let (folders, key) = (self.folders, wish.key);
        let done = self.store.write(move |tx| {
            let known = tx.held().mailbox(mailbox)?;
            let (used, letters, revoked) =
                known.map_or((0, 0, 0), |known| (known.used, known.letters, known.revoked));
            let collectors = collectors.clone();
            let record = BoxRecord {
                guest,
                drop,
                drop_seed,
                key,
                collectors,
                bytes,
                days,
                used,
                letters,
                made: now,
                over: false,
                revoked,
            };
            tx.held().put_mailbox(mailbox, &record)?;
            tx.held().remove_wish(&guest)?;
            post.file(tx, &folders, now)
        });
        done.await?;
        self.orders.look();
        self.drops_changed.notify_one();
        Ok(terms)
    }

    /// Ends it, whichever of the two keeps letters for the other, or only in one direction. What is held stays until it
    /// is collected or over.
    pub async fn end_holding(&self, who: OnionAddress, only: Option<Whose>) -> Result<(), HolderError> {
        let (mine, theirs) = (only != Some(Whose::Theirs), only != Some(Whose::Mine));
        let read = move |rx: &crate::store::Rx<'_>| {
            let holder = rx.holders().get(&who)?.filter(|record| mine && !record.over);
            let guest = rx.held().of_guest(&who)?.filter(|(_, record)| theirs && !record.over);
            Ok((holder, guest, address_of(rx, who)?))
        };
        let (holder, guest, to) = self.store.read(read).await?;
        let (own, now, folders) = (self.identity.address(), self.now(), self.folders);
        let subject = format!("{} ends the keeping of letters", own.local.as_str());
        let mut posts = Vec::new();
        if let Some(record) = &holder {
            let terms = record
                .promise
                .as_ref()
                .map_or_else(Terms::default, |promise| Terms { bytes: promise.bytes, days: promise.days });
            let wish = HolderWish { over: true, ..self.wish_of(who, record, terms) };
            let wish = sign_as_device(&self.keyring.device(), &wish)?;
            posts.push(self.post(to.clone(), &subject, &guest_ends_text(&own), &wish).await?);
        }
        if let Some((mailbox, record)) = &guest {
            let promise = HolderPromise {
                guest: who,
                drop: record.drop,
                mailbox: *mailbox,
                bytes: record.bytes,
                days: record.days,
                over: true,
                made: now.to_the_hour(),
            };
            let promise = sign_as_device(&self.keyring.device(), &promise)?;
            posts.push(self.post(to, &subject, &holder_ends_text(&own), &promise).await?);
        }
        if posts.is_empty() {
            return Err(HolderError::Nothing(only));
        }
        let done = self.store.write(move |tx| {
            if mine {
                tx.holders().update(&who, |record| record.over = true)?;
            }
            if let Some((mailbox, record)) = tx.held().of_guest(&who)?.filter(|_| theirs) {
                tx.held().put_mailbox(mailbox, &BoxRecord { over: true, ..record })?;
            }
            posts.iter().try_for_each(|post| post.file(tx, &folders, now))
        });
        done.await?;
        self.orders.look();
        Ok(())
    }

    fn wish(
        &self,
        who: OnionAddress,
        record: &HolderRecord,
        terms: Terms,
    ) -> Result<Verified<HolderWish>, StatementError> {
        sign_as_device(&self.keyring.device(), &self.wish_of(who, record, terms))
    }

    fn wish_of(
        &self,
        holder: OnionAddress,
        record: &HolderRecord,
        Terms { bytes, days }: Terms,
    ) -> HolderWish {
        let collectors = vec![HostKey::from_seed(record.collector_seed).address()];
        HolderWish {
            holder,
            bytes,
            days,
            key: record.key,
            collectors,
            over: false,
            made: self.now().to_the_hour(),
        }
    }

    async fn post<T: Standalone>(
        &self,
        to: MailAddress,
        subject: &str,
        text: &str,
        statement: &Verified<T>,
    ) -> Result<Post, StoreError> {
        let words = Words { subject, text, statement: (T::KIND, statement.bytes()) };
        Post::write(self, &words, vec![to]).await
    }

    /// Where to write to somebody whom the person knows.
    async fn known(&self, who: OnionAddress) -> Result<MailAddress, HolderError> {
        let read = move |rx: &crate::store::Rx<'_>| {
            Ok((rx.contacts().get(&who)?.unwrap_or_default(), address_of(rx, who)?))
        };
        let (contact, address) = self.store.read(read).await?;
        if contact.revoked.is_some() {
            return Err(HolderError::Revoked);
        }
        match contact.decision {
            Some(decision) if decision.tier >= Tier::Known => Ok(address),
            _ => Err(HolderError::NotKnown),
        }
    }

    /// The mailbox of a guest and the key of its drop: those it has, or new ones; with many guests, a drop that has the
    /// fewest of them.
    fn place_for(&self, guest: &OnionAddress, boxes: &[(MailboxId, BoxRecord)]) -> (MailboxId, [u8; 32]) {
        if let Some((mailbox, record)) = boxes.iter().find(|(_, record)| record.guest == *guest) {
            return (*mailbox, record.drop_seed);
        }
        let mut drops: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for (_, record) in boxes {
            *drops.entry(record.drop_seed).or_default() += 1;
        }
        let emptiest = drops.iter().min_by_key(|(_, guests)| **guests).map(|(seed, _)| *seed);
        let seed = emptiest.filter(|_| drops.len() >= DROPS_MAX).unwrap_or_else(|| self.draw());
        (MailboxId(self.draw()), seed)
    }
}

/// Somebody asks us to hold, or wants it no more.
pub(super) fn take_wish(at: &Taking<'_, '_>, wish: &Verified<HolderWish>) -> Result<(), StoreError> {
    let guest = wish.author();
    if wish.over {
        at.tx.held().remove_wish(&guest)?;
        if let Some((mailbox, record)) = at.tx.held().of_guest(&guest)? {
            at.tx.held().put_mailbox(mailbox, &BoxRecord { over: true, ..record })?;
        }
        return Ok(());
    }
    if !at.knows(&guest)? {
        return Ok(());
    }
    let record = WishRecord { statement: wish.bytes().to_vec(), at: at.now };
    match at.tx.held().put_wish(&guest, &record) {
        // The letter is there to be read all the same.
        Err(StoreError::TooMany(_)) => Ok(()),
        done => done,
    }
}

/// Somebody promises to hold for us, or does so no more. It counts if we had asked.
pub(super) fn take_promise(at: &Taking<'_, '_>, promise: &Verified<HolderPromise>) -> Result<(), StoreError> {
    let holder = promise.author();
    let Some(record) = at.tx.holders().get(&holder)? else { return Ok(()) };
    let newer = record.promise.as_ref().is_none_or(|known| known.made <= promise.made);
    // One holder must not take the place of another's drop.
    let taken = |(other, known): &(OnionAddress, HolderRecord)| {
        *other != holder && known.promise.as_ref().is_some_and(|known| known.drop == promise.drop)
    };
    if !newer || at.tx.holders().list()?.iter().any(taken) {
        return Ok(());
    }
    let promise = PromiseRecord {
        drop: promise.drop,
        mailbox: promise.mailbox,
        bytes: promise.bytes,
        days: promise.days,
        over: promise.over,
        made: promise.made,
        statement: promise.bytes().to_vec(),
    };
    at.tx.holders().put(&holder, &HolderRecord { promise: Some(promise), ..record })
}

/// A mailbox's letters are kept until then if they are taken now.
pub(super) fn kept_until(record: &BoxRecord, now: UnixTime) -> UnixTime {
    now.plus(Duration::from_secs(u64::from(record.days) * 86_400))
}

/// Removes mailboxes that are over and empty; says whether there were any.
pub(super) fn clear_away(tx: &Tx<'_>) -> Result<bool, StoreError> {
    /// Names of tokens that go with one mailbox at a time.
    const STEP: usize = 2_000;
    let mut any = false;
    for (mailbox, record) in tx.held().mailboxes()? {
        any |= record.over && record.letters == 0 && tx.held().remove_mailbox(mailbox, STEP)?;
    }
    Ok(any)
}

/// What the holder sees and does not see.
const SEEN: &str = "A holder sees that letters come for you, when, how large they are (in steps), and\n\
     when you fetch them. It does not see who wrote them, nor anything that is in\n\
     them: each is sealed for you before it leaves its author.\n";

fn wish_text(own: &MailAddress, terms: Terms) -> String {
    format!(
        "{own} asks you to keep letters that come while {own}'s node is away:\n\
         at most {size} at a time, each for up to {days} days.\n\n\
         What it costs you: that much room on your disk, and Tor traffic for what comes\n\
         and goes, while your node is running anyway. You can end it at any time; what\n\
         you have taken by then should stay until it is fetched or its time is over.\n\n\
         What you see: that letters come for {own}, when, how large they are (in steps),\n\
         and when they are fetched. You do not see who wrote them, nor what is in them.\n\n\
         To say yes:\n\n    onionskin holder grant {address}\n\n\
         To keep less: add --bytes 64M --days 14. To say no, do nothing.\n",
        own = own.local.as_str(),
        address = own.full(),
        size = size(terms.bytes),
        days = terms.days,
    )
}

fn promise_text(own: &MailAddress, terms: Terms) -> String {
    format!(
        "{own} keeps letters for you from now on, while your node is away: at most\n\
         {size} at a time, each for {days} days.\n\n{SEEN}\n\
         You need not do anything. Your contacts learn with your next letter to each of\n\
         them where to leave what you are not there for. See: onionskin holder list\n",
        own = own.local.as_str(),
        size = size(terms.bytes),
        days = terms.days,
    )
}

fn guest_ends_text(own: &MailAddress) -> String {
    format!(
        "{} needs you no longer to keep letters. What is there is fetched still; then\n\
         the mailbox goes by itself. Thank you!\n",
        own.local.as_str()
    )
}

fn holder_ends_text(own: &MailAddress) -> String {
    format!(
        "{} takes no more letters for you. What was taken before stays until your node\n\
         has fetched it, or its time is over. See who else keeps letters for you:\n\n    onionskin holder list\n",
        own.local.as_str()
    )
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes / MIB {
        0..10_240 => format!("{} MiB", bytes / MIB),
        more => format!("{} GiB", more / 1024),
    }
}

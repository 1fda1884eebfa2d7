//! What this node holds for guests: mailboxes, the sealed letters in them, and the tokens that were spent.
//!
//! Promises that a letter, its token and the room it takes are one commit, that one token keeps one letter, and that a
//! letter goes only when each of its guest's devices has it, when its author calls it back, or when its time is over.

use crate::model::hold::{self, MailboxId, Token};
use crate::model::letter::{LetterId, LetterNo};
use crate::model::seal::PrekeyId;
use crate::model::time::UnixTime;
use crate::store::body::Body;
use crate::store::doors;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, be_u64, decode};
use crate::store::tx::Tx;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Most mailboxes held.
pub const BOXES_MAX: u64 = 4_096;
/// Most tokens of one mailbox that its guest takes back, in two epochs.
pub const REVOKED_MAX: u64 = 65_536;
/// Most wishes of others to be held for that wait for an answer.
pub const WISHES_MAX: u64 = 256;

const COUNTER: &str = "held";

/// A mailbox that is held.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxRecord {
    /// For whom.
    #[serde(with = "super::address")]
    pub guest: OnionAddress,
    /// The drop that serves it.
    #[serde(with = "super::address")]
    pub drop: OnionAddress,
    /// The seed of the drop's key.
    #[serde(with = "serde_bytes")]
    pub drop_seed: [u8; 32],
    /// The guest's key for tokens.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Who may collect.
    pub collectors: Vec<Collector>,
    /// At most so many bytes of letters at a time.
    pub bytes: u64,
    /// For so many days each.
    pub days: u32,
    /// The room that the letters which are there take, in bytes: [`hold::room`] of each.
    pub used: u64,
    /// How many are there.
    pub letters: u64,
    /// When it was promised.
    pub made: UnixTime,
    /// Nothing more is taken.
    pub over: bool,
    /// Tokens that its guest took back, of epochs that are not over.
    #[serde(default)]
    pub revoked: u64,
}

/// A collecting key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Collector(#[serde(with = "super::address")] pub OnionAddress);

impl std::fmt::Debug for BoxRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BoxRecord({} letters, {} of {} bytes)", self.letters, self.used, self.bytes)
    }
}

/// A letter that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    /// The sealed bytes in the store.
    pub letter: LetterNo,
    /// Their name.
    pub id: LetterId,
    /// For which prekey.
    #[serde(with = "serde_bytes")]
    pub prekey: [u8; 8],
    /// Length of the sealed bytes.
    pub size: u64,
    /// The name of the token that paid.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// When its time is over.
    pub kept_until: UnixTime,
    /// Which of the collectors have it, a bit each.
    pub confirmed: u8,
}

/// What a token was spent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentRecord {
    /// SHA-256 of the sealed letter.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// Its length.
    pub size: u64,
    /// Until when it was promised to be kept.
    pub kept_until: UnixTime,
    /// When it was taken, rounded down to the hour.
    pub made: UnixTime,
}

impl SpentRecord {
    /// That of a token that its guest took back: it pays for nothing.
    fn revoked(now: UnixTime) -> Self {
        Self { digest: [0; 32], size: 0, kept_until: now, made: now.to_the_hour() }
    }

    fn is_revoked(&self) -> bool {
        self.size == 0
    }

    /// Whether this letter was paid with it.
    pub fn paid_for(&self, letter: &LetterId) -> bool {
        !self.is_revoked() && self.id() == *letter
    }

    /// The name of the letter.
    pub fn id(&self) -> LetterId {
        LetterId(*self.digest.first_chunk().expect("a digest has 32 bytes"))
    }
}

/// A wish to be held for that waits for the person's answer: the whole statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRecord {
    /// The statement.
    #[serde(with = "serde_bytes")]
    pub statement: Vec<u8>,
    /// When it came.
    pub at: UnixTime,
}

/// Why a letter is not taken, or that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is held.
    Now,
    /// The token was spent on this very letter before; it may have been collected since.
    Before(SpentRecord),
    /// The token was spent on another letter.
    Spent,
    /// There is no such mailbox, or it takes nothing more.
    NoBox,
    /// There is no room in the mailbox.
    Full,
}

/// Reads what is held.
#[derive(Clone, Copy)]
pub struct Held<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Held<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Held<'a, 't> {
        Held { rows }
    }

    /// One mailbox.
    pub fn mailbox(&self, mailbox: MailboxId) -> Result<Option<BoxRecord>, StoreError> {
        self.rows.get_record(Table::HeldBoxes, &mailbox.0)
    }

    /// All mailboxes.
    pub fn mailboxes(&self) -> Result<Vec<(MailboxId, BoxRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::HeldBoxes, b"", |key, value| {
            found.push((mailbox_of(key)?, decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The mailbox of a guest.
    pub fn of_guest(&self, guest: &OnionAddress) -> Result<Option<(MailboxId, BoxRecord)>, StoreError> {
        Ok(self.mailboxes()?.into_iter().find(|(_, record)| record.guest == *guest))
    }

    /// Letters in a mailbox that `collector` (its place among them) does not have, the oldest first, from behind
    /// `after`: at most `max`, and whether there are more.
    pub fn list(
        &self,
        mailbox: MailboxId,
        collector: usize,
        after: Option<LetterId>,
        max: usize,
    ) -> Result<(Vec<HeldRecord>, bool), StoreError> {
        let behind = match after {
            Some(id) => self.number(mailbox, &id)?.map_or(0, |no| no + 1),
            None => 0,
        };
        let (mut found, mut more) = (Vec::new(), false);
        let (from, to) = (letter_key(mailbox, behind), letter_key(mailbox, u64::MAX));
        self.rows.scan(Table::HeldLetters, &from, Some(&to), |_, value| {
            let record: HeldRecord = decode(value)?;
            if record.confirmed & bit(collector) != 0 {
                return Ok(ControlFlow::Continue(()));
            }
            more = found.len() == max;
            if more {
                return Ok(ControlFlow::Break(()));
            }
            found.push(record);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, more))
    }

    /// One letter.
    pub fn letter(&self, mailbox: MailboxId, id: &LetterId) -> Result<Option<HeldRecord>, StoreError> {
        match self.number(mailbox, id)? {
            Some(no) => self.rows.get_record(Table::HeldLetters, &letter_key(mailbox, no)),
            None => Ok(None),
        }
    }

    /// What a token was spent on.
    pub fn spent(&self, mailbox: MailboxId, token: &Token) -> Result<Option<SpentRecord>, StoreError> {
        self.rows.get_record(Table::Spent, &token_key(mailbox, token.epoch, &token.nonce))
    }

    /// Whether a letter of so many bytes fits into the mailbox, and it takes any.
    pub fn has_room(&self, mailbox: MailboxId, size: u64) -> Result<Taken, StoreError> {
        Ok(match self.mailbox(mailbox)? {
            None => Taken::NoBox,
            Some(record) if record.over => Taken::NoBox,
            Some(record) if record.used.saturating_add(hold::room(size)) > record.bytes => Taken::Full,
            Some(_) => Taken::Now,
        })
    }

    /// Wishes that wait for an answer.
    pub fn wishes(&self) -> Result<Vec<(OnionAddress, WishRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Wishes, b"", |key, value| {
            let key = key.try_into().map_err(|_| StoreError::Damaged("a key has another length"))?;
            found.push((OnionAddress::from_key_proved_before(key), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The wish of one.
    pub fn wish(&self, guest: &OnionAddress) -> Result<Option<WishRecord>, StoreError> {
        self.rows.get_record(Table::Wishes, guest.public_key())
    }

    /// The earliest time at which something held is over.
    pub fn next_over(&self) -> Result<Option<UnixTime>, StoreError> {
        let mut first = None;
        self.rows.scan_prefix(Table::HeldUntil, b"", |key, _| {
            first = Some(UnixTime(be_u64(key.get(..8).unwrap_or_default())?));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    fn number(&self, mailbox: MailboxId, id: &LetterId) -> Result<Option<u64>, StoreError> {
        self.rows.get(Table::HeldIds, &id_key(mailbox, id))?.map(|no| be_u64(&no)).transpose()
    }
}

/// Reads and changes what is held. What [`Held`] reads is here too.
pub struct HeldMut<'a, 't> {
    tx: &'a Tx<'t>,
    read: Held<'a, 't>,
}

impl<'a, 't> std::ops::Deref for HeldMut<'a, 't> {
    type Target = Held<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> HeldMut<'a, 't> {
    pub(in crate::store) fn new(tx: &'a Tx<'t>) -> HeldMut<'a, 't> {
        HeldMut { tx, read: Held::new(&tx.rows) }
    }

    /// Keeps a wish until it is answered; a later one of the same guest replaces it. `TooMany` if others fill the room.
    pub fn put_wish(&self, guest: &OnionAddress, wish: &WishRecord) -> Result<(), StoreError> {
        if self.wish(guest)?.is_none() && self.tx.rows.len(Table::Wishes)? >= WISHES_MAX {
            return Err(StoreError::TooMany("wishes to be held for"));
        }
        self.tx.rows.put_record(Table::Wishes, guest.public_key(), wish)
    }

    /// Forgets a wish; says whether it was there.
    pub fn remove_wish(&self, guest: &OnionAddress) -> Result<bool, StoreError> {
        self.tx.rows.delete(Table::Wishes, guest.public_key())
    }

    /// Makes or changes a mailbox. `TooMany` if there are too many.
    pub fn put_mailbox(&self, mailbox: MailboxId, record: &BoxRecord) -> Result<(), StoreError> {
        if self.mailbox(mailbox)?.is_none() && self.tx.rows.len(Table::HeldBoxes)? >= BOXES_MAX {
            return Err(StoreError::TooMany("mailboxes held for others"));
        }
        self.tx.rows.next_number(doors::CHANGES)?;
        self.tx.rows.put_record(Table::HeldBoxes, &mailbox.0, record)
    }

    /// Removes a mailbox that is over and empty, with its spent tokens; says whether it did. Of the tokens at most
    /// `max` go at a time, and the mailbox with the last.
    pub fn remove_mailbox(&self, mailbox: MailboxId, max: usize) -> Result<bool, StoreError> {
        if !self.mailbox(mailbox)?.is_some_and(|record| record.over && record.letters == 0) {
            return Ok(false);
        }
        // Longer than any key, and behind all of them.
        let end = [&mailbox.0[..], &[0xff; 21]].concat();
        if self.remove_spent(&token_key(mailbox, 0, &[0; 16]), &end, max)?.0 == max {
            return Ok(false);
        }
        self.tx.rows.next_number(doors::CHANGES)?;
        self.tx.rows.delete(Table::HeldBoxes, &mailbox.0)
    }

    /// Takes a letter for this token, whose key was checked.
    pub fn take(
        &self,
        mailbox: MailboxId,
        token: &Token,
        spent: &SpentRecord,
        prekey: PrekeyId,
        body: &Body,
    ) -> Result<Taken, StoreError> {
        if let Some(before) = self.spent(mailbox, token)? {
            return Ok(if before.digest == spent.digest { Taken::Before(before) } else { Taken::Spent });
        }
        let room = self.has_room(mailbox, spent.size)?;
        if room != Taken::Now {
            return Ok(room);
        }
        self.tx.rows.put_record(Table::Spent, &token_key(mailbox, token.epoch, &token.nonce), spent)?;
        let id = spent.id();
        if self.letter(mailbox, &id)?.is_some() {
            // The same bytes were paid for with another token: they are there, once.
            return Ok(Taken::Now);
        }
        let letter = self.tx.letters().add(body, b"")?;
        self.tx.letters().hold(letter)?;
        let no = self.tx.rows.next_number(COUNTER)?;
        let (nonce, kept_until) = (token.nonce, spent.kept_until);
        let record =
            HeldRecord { letter, id, prekey: prekey.0, size: spent.size, nonce, kept_until, confirmed: 0 };
        self.tx.rows.put_record(Table::HeldLetters, &letter_key(mailbox, no), &record)?;
        self.tx.rows.put(Table::HeldIds, &id_key(mailbox, &id), &no.to_be_bytes())?;
        self.tx.rows.put(Table::HeldUntil, &until_key(kept_until, mailbox, no), b"")?;
        self.count(mailbox, |record| {
            record.used = record.used.saturating_add(hold::room(spent.size));
            record.letters += 1;
        })?;
        Ok(Taken::Now)
    }

    /// A collector has these letters; those that all collectors have go.
    pub fn confirm(&self, mailbox: MailboxId, collector: usize, ids: &[LetterId]) -> Result<(), StoreError> {
        let Some(owner) = self.mailbox(mailbox)? else { return Ok(()) };
        let all = (0..owner.collectors.len()).fold(0, |bits, place| bits | bit(place));
        for id in ids {
            let Some(no) = self.number(mailbox, id)? else { continue };
            let key = letter_key(mailbox, no);
            let Some(mut record) = self.tx.rows.get_record::<HeldRecord>(Table::HeldLetters, &key)? else {
                continue;
            };
            record.confirmed |= bit(collector);
            if record.confirmed & all == all {
                self.remove(mailbox, no, &record)?;
            } else {
                self.tx.rows.put_record(Table::HeldLetters, &key, &record)?;
            }
        }
        Ok(())
    }

    /// These tokens of an epoch pay for nothing any more; what was paid with them stays. `TooMany` beyond
    /// [`REVOKED_MAX`].
    pub fn revoke(
        &self,
        mailbox: MailboxId,
        epoch: u32,
        nonces: &[[u8; 16]],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut new = 0;
        for nonce in nonces {
            let key = token_key(mailbox, epoch, nonce);
            if self.tx.rows.get(Table::Spent, &key)?.is_none() {
                self.tx.rows.put_record(Table::Spent, &key, &SpentRecord::revoked(now))?;
                new += 1;
            }
        }
        let revoked = self.mailbox(mailbox)?.map_or(0, |record| record.revoked);
        if revoked + new > REVOKED_MAX {
            return Err(StoreError::TooMany("tokens taken back"));
        }
        self.count(mailbox, |record| record.revoked += new)
    }

    /// Its author calls a letter back, with the token spent on it. `false`: the token was not spent on it.
    pub fn recall(&self, mailbox: MailboxId, token: &Token, id: &LetterId) -> Result<bool, StoreError> {
        if !self.spent(mailbox, token)?.is_some_and(|spent| spent.paid_for(id)) {
            return Ok(false);
        }
        if let Some(no) = self.number(mailbox, id)?
            && let Some(record) = self.letter(mailbox, id)?
        {
            self.remove(mailbox, no, &record)?;
        }
        Ok(true)
    }

    /// Removes at most `max` letters whose time is over at this agreed time; says how many.
    pub fn expire(&self, agreed: UnixTime, max: usize) -> Result<usize, StoreError> {
        let mut over = Vec::new();
        self.tx.rows.scan(Table::HeldUntil, b"", Some(&agreed.0.to_be_bytes()), |key, _| {
            if over.len() == max {
                return Ok(ControlFlow::Break(()));
            }
            let (mailbox, no) = key.get(8..).unwrap_or_default().split_at_checked(8).unwrap_or_default();
            over.push((mailbox_of(mailbox)?, be_u64(no)?));
            Ok(ControlFlow::Continue(()))
        })?;
        for (mailbox, no) in &over {
            let key = letter_key(*mailbox, *no);
            if let Some(record) = self.tx.rows.get_record::<HeldRecord>(Table::HeldLetters, &key)? {
                self.remove(*mailbox, *no, &record)?;
            }
        }
        Ok(over.len())
    }

    /// Forgets at most `max` of the tokens spent in epochs before this one, in which none of them is taken any more;
    /// says how many.
    pub fn forget_spent(&self, before: u32, max: usize) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        for (mailbox, _) in self.mailboxes()? {
            let (from, to) = (token_key(mailbox, 0, &[0; 16]), token_key(mailbox, before, &[0; 16]));
            let (some, revoked) = self.remove_spent(&from, &to, max - forgotten)?;
            if revoked > 0 {
                self.count(mailbox, |record| record.revoked = record.revoked.saturating_sub(revoked))?;
            }
            forgotten += some;
            if forgotten == max {
                break;
            }
        }
        Ok(forgotten)
    }

    /// Removes at most `max`; says how many, and how many of them had been taken back.
    fn remove_spent(&self, from: &[u8], to: &[u8], max: usize) -> Result<(usize, u64), StoreError> {
        let (mut some, mut revoked) = (Vec::new(), 0);
        self.tx.rows.scan(Table::Spent, from, Some(to), |key, value| {
            if some.len() == max {
                return Ok(ControlFlow::Break(()));
            }
            some.push(key.to_vec());
            revoked += u64::from(decode::<SpentRecord>(value)?.is_revoked());
            Ok(ControlFlow::Continue(()))
        })?;
        some.iter().try_for_each(|key| self.tx.rows.delete(Table::Spent, key).map(drop))?;
        Ok((some.len(), revoked))
    }

    fn remove(&self, mailbox: MailboxId, no: u64, record: &HeldRecord) -> Result<(), StoreError> {
        self.tx.rows.delete(Table::HeldLetters, &letter_key(mailbox, no))?;
        self.tx.rows.delete(Table::HeldIds, &id_key(mailbox, &record.id))?;
        self.tx.rows.delete(Table::HeldUntil, &until_key(record.kept_until, mailbox, no))?;
        self.tx.letters().release(record.letter)?;
        self.count(mailbox, |owner| {
            owner.letters = owner.letters.saturating_sub(1);
            owner.used = match owner.letters {
                0 => 0,
                _ => owner.used.saturating_sub(hold::room(record.size)),
            };
        })
    }

    fn count(&self, mailbox: MailboxId, change: impl FnOnce(&mut BoxRecord)) -> Result<(), StoreError> {
        let Some(mut record) = self.mailbox(mailbox)? else { return Ok(()) };
        change(&mut record);
        self.tx.rows.put_record(Table::HeldBoxes, &mailbox.0, &record)
    }
}

fn bit(collector: usize) -> u8 {
    1u8.checked_shl(u32::try_from(collector).unwrap_or(u32::MAX)).unwrap_or(0)
}

fn mailbox_of(key: &[u8]) -> Result<MailboxId, StoreError> {
    key.try_into()
        .map(MailboxId)
        .map_err(|_| StoreError::Damaged("the name of a held mailbox has another length"))
}

fn letter_key(mailbox: MailboxId, no: u64) -> Vec<u8> {
    [&mailbox.0[..], &no.to_be_bytes()].concat()
}

fn id_key(mailbox: MailboxId, id: &LetterId) -> Vec<u8> {
    [&mailbox.0[..], &id.0].concat()
}

fn token_key(mailbox: MailboxId, epoch: u32, nonce: &[u8; 16]) -> Vec<u8> {
    [&mailbox.0[..], &epoch.to_be_bytes(), nonce].concat()
}

fn until_key(until: UnixTime, mailbox: MailboxId, no: u64) -> Vec<u8> {
    [&until.0.to_be_bytes()[..], &mailbox.0, &no.to_be_bytes()].concat()
}

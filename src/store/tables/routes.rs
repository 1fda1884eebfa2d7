//! Where others may be left letters: the Routes that contacts gave us, how the drops they name behaved, and letters
//! that are to be called back from there.

use crate::model::hold::{MailboxId, TOKEN_LEN, Token};
use crate::model::letter::LetterId;
use crate::model::statement::Route;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::ops::ControlFlow;

/// Most contacts of whom a Route is kept. When it is full, the Routes that were got first go.
pub const ROUTES_MAX: u64 = 20_000;
/// Most unspent tokens of one drop that are kept.
pub const TOKENS_KEPT_MAX: usize = 256;

/// A contact's Route, less the tokens that were spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Its number.
    pub sequence: u64,
    /// When it was got.
    pub got: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
    /// Its drops, the best first.
    pub drops: Vec<DropRecord>,
}

/// A drop of a Route.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRecord {
    /// Its onion.
    #[serde(with = "super::address")]
    pub onion: OnionAddress,
    /// The contact's mailbox there.
    pub mailbox: MailboxId,
    /// Unspent tokens.
    pub tokens: Vec<ByteBuf>,
}

impl DropRecord {
    /// The unspent tokens that are good at this time, if the time is agreed.
    pub fn tokens(&self, agreed: Option<UnixTime>) -> impl Iterator<Item = Token> {
        let tokens = self.tokens.iter().filter_map(|token| Token::from_bytes(token));
        tokens.filter(move |token| agreed.is_none_or(|now| now <= token.until()))
    }
}

impl std::fmt::Debug for DropRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DropRecord({} tokens)", self.tokens.len())
    }
}

/// How a drop behaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConductRecord {
    /// It took a letter then.
    pub took: Option<UnixTime>,
    /// Failures since it last took one.
    pub failures: u32,
    /// Letters that it took and that were never confirmed.
    #[serde(default)]
    pub unconfirmed: u32,
}

/// A letter to be called back from a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallRecord {
    /// The name of the sealed letter.
    pub letter: LetterId,
    /// The drop.
    #[serde(with = "super::address")]
    pub drop: OnionAddress,
    /// The token that was spent on it.
    #[serde(with = "serde_bytes")]
    pub token: [u8; TOKEN_LEN],
    /// By then the drop has let it go anyway.
    pub until: UnixTime,
    /// Tries that failed.
    #[serde(default)]
    pub tries: u32,
}

/// Reads Routes.
#[derive(Clone, Copy)]
pub struct Routes<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Routes<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Routes<'a, 't> {
        Routes { rows }
    }

    /// The Route to a contact.
    pub fn get(&self, contact: &OnionAddress) -> Result<Option<RouteRecord>, StoreError> {
        self.rows.get_record(Table::Routes, contact.public_key())
    }

    /// How a drop behaved.
    pub fn conduct(&self, drop: &OnionAddress) -> Result<ConductRecord, StoreError> {
        Ok(self.rows.get_record(Table::Drops, drop.public_key())?.unwrap_or_default())
    }

    /// How each drop behaved at which a letter was left, or was to be.
    pub fn conducts(&self) -> Result<Vec<ConductRecord>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Drops, b"", |_, value| {
            found.push(decode(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// All letters to be called back.
    pub fn recalls(&self) -> Result<Vec<RecallRecord>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Recalls, b"", |_, value| {
            found.push(decode(value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The one for this letter at this drop.
    pub fn recall_of(
        &self,
        letter: &LetterId,
        drop: &OnionAddress,
    ) -> Result<Option<RecallRecord>, StoreError> {
        self.rows.get(Table::Recalls, &recall_key(letter, drop))?.map(|row| decode(&row)).transpose()
    }
}

/// Reads and changes Routes. What [`Routes`] reads is here too.
pub struct RoutesMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Routes<'a, 't>,
}

impl<'a, 't> std::ops::Deref for RoutesMut<'a, 't> {
    type Target = Routes<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> RoutesMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> RoutesMut<'a, 't> {
        RoutesMut { rows, read: Routes::new(rows) }
    }

    /// Takes a contact's Route, which was verified; says whether it is newer than the one that was there. Unspent
    /// tokens for mailboxes that it still names are kept.
    pub fn take(&self, contact: &OnionAddress, route: &Route, now: UnixTime) -> Result<bool, StoreError> {
        let before = self.get(contact)?;
        if before.as_ref().is_some_and(|before| before.sequence >= route.sequence) {
            return Ok(false);
        }
        if before.is_none() && self.rows.len(Table::Routes)? >= ROUTES_MAX {
            self.prune()?;
        }
        let drops = route.drops.iter().map(|drop| {
            let mut tokens: Vec<ByteBuf> =
                drop.tokens.iter().map(|token| ByteBuf::from(token.to_bytes())).collect();
            let known = before.iter().flat_map(|before| &before.drops);
            let same = known.filter(|known| known.onion == drop.onion && known.mailbox == drop.mailbox);
            for token in same.flat_map(|known| &known.tokens) {
                if tokens.len() < TOKENS_KEPT_MAX && !tokens.contains(token) {
                    tokens.push(token.clone());
                }
            }
            DropRecord { onion: drop.onion, mailbox: drop.mailbox, tokens }
        });
        let record =
            RouteRecord { sequence: route.sequence, got: now, until: route.until, drops: drops.collect() };
        self.rows.put_record(Table::Routes, contact.public_key(), &record)?;
        Ok(true)
    }

    /// Strikes a token off: it is spent, or no good.
    pub fn strike(&self, contact: &OnionAddress, token: &Token) -> Result<(), StoreError> {
        let Some(mut record) = self.get(contact)? else { return Ok(()) };
        let bytes = token.to_bytes();
        for drop in &mut record.drops {
            drop.tokens.retain(|kept| kept[..] != bytes);
        }
        self.rows.put_record(Table::Routes, contact.public_key(), &record)
    }

    /// Notes how a drop behaved.
    pub fn note(
        &self,
        drop: &OnionAddress,
        change: impl FnOnce(&mut ConductRecord),
    ) -> Result<(), StoreError> {
        let mut record = self.conduct(drop)?;
        change(&mut record);
        self.rows.put_record(Table::Drops, drop.public_key(), &record)
    }

    /// Adds or changes a letter to be called back.
    pub fn put_recall(&self, recall: &RecallRecord) -> Result<(), StoreError> {
        self.rows.put_record(Table::Recalls, &recall_key(&recall.letter, &recall.drop), recall)
    }

    /// It was called back, or is over.
    pub fn remove_recall(&self, recall: &RecallRecord) -> Result<bool, StoreError> {
        self.rows.delete(Table::Recalls, &recall_key(&recall.letter, &recall.drop))
    }

    /// Removes the tenth that was got first.
    fn prune(&self) -> Result<(), StoreError> {
        let mut all = Vec::new();
        self.rows.scan_prefix(Table::Routes, b"", |key, value| {
            all.push((decode::<RouteRecord>(value)?.got, key.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
        all.sort_unstable();
        all.iter()
            .take(all.len() / 10)
            .try_for_each(|(_, key)| self.rows.delete(Table::Routes, key).map(drop))
    }
}

fn recall_key(letter: &LetterId, drop: &OnionAddress) -> Vec<u8> {
    [&letter.0[..], drop.public_key()].concat()
}

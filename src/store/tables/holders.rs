//! Who holds for us, and the tokens that we gave out for it.

use crate::model::hold::MailboxId;
use crate::model::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::rows::{Rows, Table, decode};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Most holders of one identity.
pub const HOLDERS_MAX: u64 = 16;

/// Somebody who was asked to hold for us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderRecord {
    /// Our key for tokens, which the holder has too.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// The seed of the key with which we collect.
    #[serde(with = "serde_bytes")]
    pub collector_seed: [u8; 32],
    /// When we asked.
    pub asked: UnixTime,
    /// What the holder promised, if it has.
    #[serde(default)]
    pub promise: Option<PromiseRecord>,
    /// We want it no more: nothing is given out for it, and what is there is collected still.
    #[serde(default)]
    pub over: bool,
    /// When we last collected there.
    #[serde(default)]
    pub collected: Option<UnixTime>,
    /// Tries to collect that failed since.
    #[serde(default)]
    pub failures: u32,
    /// Letters that came from there and were noise: no key could attribute them.
    #[serde(default)]
    pub garbage: u64,
    /// What went wrong there last, for people.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The person said that it may hold for another identity of theirs too.
    #[serde(default)]
    pub shared: bool,
}

/// What a holder promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseRecord {
    /// The drop's onion.
    #[serde(with = "super::address")]
    pub drop: OnionAddress,
    /// Our mailbox there.
    pub mailbox: MailboxId,
    /// At most so many bytes.
    pub bytes: u64,
    /// For so many days each.
    pub days: u32,
    /// Nothing more is taken there.
    pub over: bool,
    /// When it was made.
    pub made: UnixTime,
    /// The whole statement.
    #[serde(with = "serde_bytes")]
    pub statement: Vec<u8>,
}

impl std::fmt::Debug for HolderRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HolderRecord({:?})", self.promise)
    }
}

impl HolderRecord {
    /// What is promised, if letters may be sent there now.
    pub fn open(&self) -> Option<&PromiseRecord> {
        self.promise.as_ref().filter(|promise| !promise.over && !self.over)
    }
}

/// The Route that a contact was given last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRecord {
    /// Its number.
    pub sequence: u64,
    /// When, and in which epoch.
    pub at: UnixTime,
    /// The epoch of its tokens.
    pub epoch: u32,
    /// Which mailboxes it named.
    pub mailboxes: Vec<MailboxId>,
    /// Tokens given and not come back, in all its mailboxes.
    pub left: u32,
    /// The contact has it.
    pub confirmed: bool,
    /// What came with tokens of the contact's, in all, and was noise: no key could attribute it.
    #[serde(default)]
    pub noise: u64,
    /// Letters of others that came with them.
    #[serde(default)]
    pub others: u64,
}

/// What came with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameWith {
    /// A letter of this author's.
    Letter(OnionAddress),
    /// Something that no key can attribute.
    Noise,
    /// What was known from before.
    Known,
}

/// Reads who holds for us.
#[derive(Clone, Copy)]
pub struct Holders<'a, 't> {
    rows: &'a Rows<'t>,
}

impl<'a, 't> Holders<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> Holders<'a, 't> {
        Holders { rows }
    }

    /// One holder.
    pub fn get(&self, holder: &OnionAddress) -> Result<Option<HolderRecord>, StoreError> {
        self.rows.get_record(Table::Holders, holder.public_key())
    }

    /// All holders.
    pub fn list(&self) -> Result<Vec<(OnionAddress, HolderRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::Holders, b"", |key, value| {
            let key = key.try_into().map_err(|_| StoreError::Damaged("a key has another length"))?;
            found.push((OnionAddress::from_key_proved_before(key), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The Route that a contact was given last.
    pub fn given(&self, contact: &OnionAddress) -> Result<Option<GivenRecord>, StoreError> {
        self.rows.get_record(Table::RoutesGiven, contact.public_key())
    }

    /// All Routes that were given last.
    pub fn all_given(&self) -> Result<Vec<(OnionAddress, GivenRecord)>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::RoutesGiven, b"", |key, value| {
            let key = key.try_into().map_err(|_| StoreError::Damaged("a key has another length"))?;
            found.push((OnionAddress::from_key_proved_before(key), decode(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The tokens for a mailbox that were given to one of these and have not come back: epoch and name.
    pub fn tokens_of(
        &self,
        mailbox: MailboxId,
        contacts: &BTreeSet<OnionAddress>,
    ) -> Result<Vec<(u32, [u8; 16])>, StoreError> {
        let mut found = Vec::new();
        self.rows.scan_prefix(Table::TokensGiven, &mailbox.0, |key, value| {
            let (contact, rest) = value.split_at_checked(32).unwrap_or_default();
            let nonce = key.get(8..).and_then(|nonce| nonce.try_into().ok());
            if let (Ok(contact), Some(epoch), Some(nonce)) = (contact.try_into(), rest.first_chunk(), nonce)
                && contacts.contains(&OnionAddress::from_key_proved_before(contact))
            {
                found.push((u32::from_be_bytes(*epoch), nonce));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// To whom a token was given that has not come back.
    pub fn owner_of(&self, mailbox: MailboxId, nonce: &[u8; 16]) -> Result<Option<OnionAddress>, StoreError> {
        let owner = self.rows.get(Table::TokensGiven, &nonce_key(mailbox, nonce))?;
        let key = owner.as_deref().and_then(|value| value.first_chunk::<32>());
        Ok(key.map(|key| OnionAddress::from_key_proved_before(*key)))
    }
}

/// Reads and changes who holds for us. What [`Holders`] reads is here too.
pub struct HoldersMut<'a, 't> {
    rows: &'a Rows<'t>,
    read: Holders<'a, 't>,
}

impl<'a, 't> std::ops::Deref for HoldersMut<'a, 't> {
    type Target = Holders<'a, 't>;
    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a, 't> HoldersMut<'a, 't> {
    pub(in crate::store) fn new(rows: &'a Rows<'t>) -> HoldersMut<'a, 't> {
        HoldersMut { rows, read: Holders::new(rows) }
    }

    /// Adds or changes one. `TooMany` if there are too many.
    pub fn put(&self, holder: &OnionAddress, record: &HolderRecord) -> Result<(), StoreError> {
        if self.get(holder)?.is_none() && self.rows.len(Table::Holders)? >= HOLDERS_MAX {
            return Err(StoreError::TooMany("holders"));
        }
        self.rows.put_record(Table::Holders, holder.public_key(), record)
    }

    /// Changes one that is there.
    pub fn update(
        &self,
        holder: &OnionAddress,
        change: impl FnOnce(&mut HolderRecord),
    ) -> Result<(), StoreError> {
        let Some(mut record) = self.get(holder)? else { return Ok(()) };
        change(&mut record);
        self.rows.put_record(Table::Holders, holder.public_key(), &record)
    }

    /// Forgets one; says whether it was there.
    pub fn remove(&self, holder: &OnionAddress) -> Result<bool, StoreError> {
        self.rows.delete(Table::Holders, holder.public_key())
    }

    /// A Route goes to a contact with these tokens, by mailbox and name.
    pub fn give(
        &self,
        contact: &OnionAddress,
        given: &GivenRecord,
        tokens: &[(MailboxId, [u8; 16])],
    ) -> Result<(), StoreError> {
        self.rows.put_record(Table::RoutesGiven, contact.public_key(), given)?;
        for (mailbox, nonce) in tokens {
            let value = [&contact.public_key()[..], &given.epoch.to_be_bytes()].concat();
            self.rows.put(Table::TokensGiven, &nonce_key(*mailbox, nonce), &value)?;
        }
        Ok(())
    }

    /// A contact has the Route of this number.
    pub fn confirm(&self, contact: &OnionAddress, sequence: u64) -> Result<(), StoreError> {
        match self.given(contact)? {
            Some(given) if given.sequence == sequence && !given.confirmed => {
                let given = GivenRecord { confirmed: true, ..given };
                self.rows.put_record(Table::RoutesGiven, contact.public_key(), &given)
            }
            _ => Ok(()),
        }
    }

    /// A token came back: notes with the contact to whom it was given what it brought.
    pub fn came_back(&self, mailbox: MailboxId, nonce: &[u8; 16], with: CameWith) -> Result<(), StoreError> {
        let Some(contact) = self.owner_of(mailbox, nonce)? else { return Ok(()) };
        self.rows.delete(Table::TokensGiven, &nonce_key(mailbox, nonce))?;
        let Some(mut given) = self.given(&contact)? else { return Ok(()) };
        given.left = given.left.saturating_sub(1);
        match with {
            CameWith::Noise => given.noise = given.noise.saturating_add(1),
            CameWith::Letter(author) if author != contact => given.others = given.others.saturating_add(1),
            CameWith::Letter(_) | CameWith::Known => {}
        }
        self.rows.put_record(Table::RoutesGiven, contact.public_key(), &given)
    }

    /// Tokens for a mailbox were taken back, and its holder knows it.
    pub fn revoked(&self, mailbox: MailboxId, nonces: &[[u8; 16]]) -> Result<(), StoreError> {
        for nonce in nonces {
            self.came_back(mailbox, nonce, CameWith::Known)?;
        }
        Ok(())
    }

    /// Forgets the tokens given out in epochs before this one.
    pub fn forget_tokens(&self, before: u32) -> Result<(), StoreError> {
        let mut old = Vec::new();
        self.rows.scan_prefix(Table::TokensGiven, b"", |key, value| {
            let epoch =
                value.get(32..).and_then(|rest| rest.first_chunk().copied()).map_or(0, u32::from_be_bytes);
            if epoch < before {
                old.push(key.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        old.iter().try_for_each(|key| self.rows.delete(Table::TokensGiven, key).map(drop))
    }
}

fn nonce_key(mailbox: MailboxId, nonce: &[u8; 16]) -> Vec<u8> {
    [&mailbox.0[..], nonce].concat()
}

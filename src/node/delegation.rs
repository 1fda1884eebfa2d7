//! Writing in the name of others: who lets us, whom we let, and for how long.
//!
//! A delegation is a statement in the store like an introduction: kept at the delegate because it came by letter, and
//! at its author so that it can be listed. It cannot be taken back, so it is made for a time.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::statement::{Delegation, Signed, Statement as _, StatementError, Verified, sign_as_device};
use crate::model::tidings;
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::node::post::{Post, Words, address_of};
use crate::node::recovery::KeyError;
use crate::store::statements::{Kept, StatementKey, StatementKind, StatementRecord, Worth};
use crate::store::{Room, StoreError};
use onion::OnionAddress;
use std::time::Duration;

/// Longest time for which somebody is let write in our name, in days.
pub const DAYS_MAX: u32 = 366;
/// Most statements about ourselves that are looked through for delegations.
const ABOUT_US_MAX: usize = 10_000;

/// A delegation as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// In whose name.
    pub principal: OnionAddress,
    /// Who may write.
    pub delegate: OnionAddress,
    /// As these.
    pub names: Vec<LocalPart>,
    /// The last second in which it holds.
    pub until: UnixTime,
}

impl Desk {
    /// Lets somebody write under these names of ours for so many days, and tells them by a letter.
    pub async fn delegate(
        &self,
        to: OnionAddress,
        names: Vec<LocalPart>,
        days: u32,
    ) -> Result<Leave, KeyError> {
        if self.own_revocation().await?.is_some() {
            return Err(KeyError::Nothing(
                "the key of this identity is revoked: nobody may write in its name",
            ));
        }
        let (now, own) = (self.now(), self.identity.onion());
        let until = now.plus(Duration::from_secs(u64::from(days.min(DAYS_MAX)) * 86_400));
        let delegation = Delegation { delegate: to, names, made: now.to_the_hour(), until };
        let delegation = sign_as_device(&self.keyring.device(), &delegation)?;
        let (subject, text) = tidings::delegation_words(&own, &delegation);
        let statement = (Delegation::KIND, delegation.bytes());
        let words = Words { subject: &subject, text: &text, statement };
        let reader = self.store.read(move |rx| address_of(rx, to)).await?;
        let post = Post::write(self, &words, vec![reader]).await?;
        let leave = leave(&delegation);
        let folders = self.folders;
        let digest = *delegation.digest().first_chunk().expect("a digest has 32 bytes");
        let key = StatementKey { subject: to, issuer: own, kind: StatementKind::Delegation, digest };
        let bytes = delegation.into_bytes();
        let kept = self
            .store
            .write(move |tx| {
                let record = StatementRecord { bytes: bytes.clone(), received: now, author: Some(own) };
                let worth = Worth { method: None, made: now.to_the_hour(), until, received: now };
                let kept = tx.statements().insert(&key, &record, &worth, Room::Reserved)?;
                if kept != Kept::NoRoom {
                    post.file(tx, &folders, now)?;
                }
                Ok(kept)
            })
            .await?;
        if kept == Kept::NoRoom {
            return Err(KeyError::Nothing(
                "too many were made already; none can be made before some run out",
            ));
        }
        self.orders.look();
        Ok(leave)
    }

    /// All delegations that have not run out, those that others gave us first.
    pub async fn delegations(&self) -> Result<Vec<Leave>, StoreError> {
        let (own, now) = (self.identity.onion(), self.now());
        self.store
            .read(move |rx| {
                let mut all = rx.statements().about(&own, ABOUT_US_MAX)?;
                for (key, _) in rx.statements().of(&own)? {
                    all.extend(rx.statements().get(&key)?.map(|record| (key, record)));
                }
                all.retain(|(key, _)| key.kind == StatementKind::Delegation);
                let read = all.into_iter().filter_map(|(_, record)| reread(record.bytes).ok());
                Ok(read.filter(|one| one.until >= now).map(|one| leave(&one)).collect())
            })
            .await
    }

    /// The addresses of others in whose name we may write now.
    pub async fn others(&self) -> Result<Vec<MailAddress>, StoreError> {
        let own = self.identity.onion();
        let leaves = self.delegations().await?;
        let ours = leaves.into_iter().filter(|leave| leave.delegate == own);
        Ok(ours
            .flat_map(|Leave { principal, names, .. }| {
                names.into_iter().map(move |local| MailAddress { local, onion: principal })
            })
            .collect())
    }

    /// The delegation that lets us write as `from` now, the one that holds longest; none if nobody does, or the key of
    /// who did was revoked.
    pub(super) async fn leave_of(&self, from: &MailAddress) -> Result<Option<Vec<u8>>, StoreError> {
        let (own, now, from) = (self.identity.onion(), self.now(), from.clone());
        self.store
            .read(move |rx| {
                if rx.contacts().get(&from.onion)?.is_some_and(|contact| contact.revoked.is_some()) {
                    return Ok(None);
                }
                let mut best: Option<Verified<Delegation>> = None;
                for (key, _) in rx.statements().of(&from.onion)? {
                    if key.subject != own || key.kind != StatementKind::Delegation {
                        continue;
                    }
                    let Some(record) = rx.statements().get(&key)? else { continue };
                    let Ok(one) = reread(record.bytes) else { continue };
                    let covers = one.names.iter().any(|name| name.as_str() == from.local.base());
                    if covers && one.until >= now && best.as_ref().is_none_or(|best| best.until < one.until) {
                        best = Some(one);
                    }
                }
                Ok(best.map(Verified::into_bytes))
            })
            .await
    }
}

fn reread(bytes: Vec<u8>) -> Result<Verified<Delegation>, StatementError> {
    Signed::<Delegation>::parse(bytes)?.verify(None)
}

fn leave(delegation: &Verified<Delegation>) -> Leave {
    Leave {
        principal: delegation.author(),
        delegate: delegation.delegate,
        names: delegation.names.clone(),
        until: delegation.until,
    }
}

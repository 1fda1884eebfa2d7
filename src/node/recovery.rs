//! When keys go wrong: our own revocation and successor go out to everybody we know; those of others are taken in.
//!
//! Promises that only the recovery key to which the pinned Card commits is believed; that what arrived from a revoked
//! key since it went wrong is moved to Junk in the commit that takes the revocation, and the person told in the same;
//! and that nothing moves to a successor before the person has said so.

use crate::model::statement::card::commitment;
use crate::model::statement::recovery::{ChainError, successors};
use crate::model::statement::{RecoverySigned, Revocation, Signed, Statement as _, StatementError};
use crate::model::statement::{Successor, Verified};
use crate::model::tidings;
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::node::desk::Desk;
use crate::node::post::{Post, Words, address_of};
use crate::node::quarantine::{self, Taken, Telling};
use crate::store::StoreError;
use crate::store::contacts::{ContactRecord, Decision, DecisionNo};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};

/// Under this name the store keeps our own revocation.
const REVOKED: &str = "revoked";
/// Under this name the store keeps who comes after us.
const SUCCESSOR: &str = "successor";

/// Why something about keys is not done. The texts are for the person.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The statement is of another identity.
    #[error("these words or this certificate belong to another address: {}", .0.host())]
    OtherIdentity(OnionAddress),
    /// The statement does not verify.
    #[error("the statement does not hold: {0}")]
    Statement(#[from] StatementError),
    /// No Card of theirs is known, so their recovery key is not either.
    #[error("nothing is known of the owner of this address, so it cannot be checked who signed")]
    NoCard,
    /// There is nothing of the kind.
    #[error("{0}")]
    Nothing(&'static str),
    /// The new address is the old one.
    #[error("an address cannot come after itself")]
    Itself,
    /// Another was named before.
    #[error("another address was named as the one that comes after: {}; only one can be", .0.host())]
    NamedBefore(OnionAddress),
    /// The chain of successors leads nowhere.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The new identity is revoked itself.
    #[error("the key of the new address was revoked too")]
    SuccessorRevoked,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Our own statement, kept.
#[derive(Clone, Serialize, Deserialize)]
struct OwnRecord {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    since: UnixTime,
}

/// What became of a statement about our own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// To how many it goes.
    pub readers: usize,
    /// Since when our key is in wrong hands, as is said from now on.
    pub since: Option<UnixTime>,
}

/// Whom a contact moves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// From whom.
    pub old: OnionAddress,
    /// The identities after it, the last being the one that counts.
    pub chain: Vec<OnionAddress>,
    /// What was decided about them, and under which number the new decision is logged, once it is done.
    pub decided: Option<(Tier, DecisionNo)>,
}

impl Desk {
    /// Our own revocation, if we are revoked.
    pub async fn own_revocation(&self) -> Result<Option<Revocation>, StoreError> {
        let kept: Option<OwnRecord> = self.store.read(|rx| rx.meta().get(REVOKED)).await?;
        let Some(kept) = kept else { return Ok(None) };
        let read = Signed::<Revocation>::parse(kept.bytes)
            .and_then(|signed| signed.verify_recovery(&commitment(self.identity.recovery_key()), None));
        read.map(|read| Some(Revocation::clone(&read)))
            .map_err(|_| StoreError::Damaged("our own revocation no longer verifies"))
    }

    /// Revokes our own identity: from now on nothing else is sent, and everybody we know is told. Once more tells
    /// everybody once more; the earliest compromise counts.
    pub async fn revoke_self(&self, bytes: Vec<u8>) -> Result<Published, KeyError> {
        let mut revocation = self.own::<Revocation>(bytes)?;
        let kept: Option<OwnRecord> = self.store.read(|rx| rx.meta().get(REVOKED)).await?;
        if let Some(kept) = kept.filter(|kept| kept.since < revocation.since) {
            revocation = self.own::<Revocation>(kept.bytes)?;
        }
        let (subject, text) = tidings::revocation_words(&self.identity.onion(), &revocation, false);
        let statement = (Revocation::KIND, revocation.bytes());
        let words = Words { subject: &subject, text: &text, statement };
        let post = Post::write(self, &words, self.acquaintances().await?).await?;
        let published = Published { readers: post.readers(), since: revocation.compromised() };
        let kept = OwnRecord { bytes: revocation.bytes().to_vec(), since: revocation.since };
        let (folders, now) = (self.folders, self.now());
        self.store
            .write(move |tx| {
                tx.meta().put(REVOKED, &kept)?;
                post.file(tx, &folders, now)
            })
            .await?;
        self.orders.look();
        Ok(published)
    }

    /// Names the identity that comes after ours, to everybody we know.
    pub async fn succeed_self(&self, bytes: Vec<u8>) -> Result<Published, KeyError> {
        let mut successor = self.own::<Successor>(bytes)?;
        if successor.new == self.identity.onion() {
            return Err(KeyError::Itself);
        }
        let kept: Option<OwnRecord> = self.store.read(|rx| rx.meta().get(SUCCESSOR)).await?;
        if let Some(kept) = kept {
            let before = self.own::<Successor>(kept.bytes)?;
            if before.new != successor.new {
                return Err(KeyError::NamedBefore(before.new));
            }
            successor = before;
        }
        let (subject, text) = tidings::successor_words(&self.identity.address(), &successor.new);
        let words = Words { subject: &subject, text: &text, statement: (Successor::KIND, successor.bytes()) };
        let post = Post::write(self, &words, self.acquaintances().await?).await?;
        let published = Published { readers: post.readers(), since: None };
        let kept = OwnRecord { bytes: successor.bytes().to_vec(), since: successor.made };
        let (folders, now) = (self.folders, self.now());
        self.store
            .write(move |tx| {
                tx.meta().put(SUCCESSOR, &kept)?;
                post.file(tx, &folders, now)
            })
            .await?;
        self.orders.look();
        Ok(published)
    }

    /// Reads a statement of our own recovery key about ourselves.
    fn own<T: RecoverySigned>(&self, bytes: Vec<u8>) -> Result<Verified<T>, KeyError> {
        let signed = Signed::<T>::parse(bytes)?;
        if signed.claimed_author() != self.identity.onion() {
            return Err(KeyError::OtherIdentity(signed.claimed_author()));
        }
        Ok(signed.verify_recovery(&commitment(self.identity.recovery_key()), None)?)
    }

    /// Takes the revocation of somebody else in, as if it had come by letter; says about whom it is.
    pub async fn take_revocation(
        &self,
        bytes: Vec<u8>,
        agreed: Option<UnixTime>,
    ) -> Result<(OnionAddress, Taken), KeyError> {
        let signed = Signed::<Revocation>::parse(bytes)?;
        let who = signed.claimed_author();
        let card = self.card_of(who).await?.ok_or(KeyError::NoCard)?;
        let revocation = signed.verify_recovery(&card.recovery, agreed)?;
        let telling = self.telling().await?;
        let taken = self.store.write(move |tx| quarantine::revoke(tx, &telling, &revocation)).await?;
        Ok((who, taken))
    }

    /// What it takes to tell the person something.
    pub(super) async fn telling(&self) -> Result<Telling, StoreError> {
        let end = self.store.letter(tidings::END).await?;
        Ok(Telling { own: self.identity.address(), folders: self.folders, now: self.now(), end })
    }

    /// Passes the revocation of `who` on to these people and nobody else; says to how many.
    pub async fn pass_on(&self, who: OnionAddress, to: Vec<OnionAddress>) -> Result<usize, KeyError> {
        if self.own_revocation().await?.is_some() {
            return Err(KeyError::Nothing("the key of this identity is revoked: nobody would believe it"));
        }
        let found = self
            .store
            .read(move |rx| {
                let readers: Result<Vec<_>, _> = to.iter().map(|to| address_of(rx, *to)).collect();
                Ok((rx.contacts().get(&who)?.and_then(|contact| contact.revoked), readers?))
            })
            .await?;
        let (Some(revoked), readers) = found else {
            return Err(KeyError::Nothing("no revocation of theirs is known here"));
        };
        let card = self.card_of(who).await?.ok_or(KeyError::NoCard)?;
        let signed = Signed::<Revocation>::parse(revoked.bytes)?;
        let revocation = signed.verify_recovery(&card.recovery, None)?;
        let (subject, text) = tidings::revocation_words(&who, &revocation, true);
        let statement = (Revocation::KIND, revocation.bytes());
        let words = Words { subject: &subject, text: &text, statement };
        let (folders, now) = (self.folders, self.now());
        let mut posts = Vec::new();
        // Each has a letter to them alone.
        for reader in readers {
            posts.push(Post::write(self, &words, vec![reader]).await?);
        }
        let count = posts.len();
        self.store.write(move |tx| posts.iter().try_for_each(|post| post.file(tx, &folders, now))).await?;
        self.orders.look();
        Ok(count)
    }

    /// Where a contact has moved to, to be checked by the person.
    pub async fn successor_of(&self, old: OnionAddress) -> Result<Follow, KeyError> {
        let contacts = self.contacts().await?;
        let next = |who: &OnionAddress| {
            contacts.get(who).and_then(|contact| contact.successor.as_ref()).map(|found| found.new)
        };
        let chain = successors(old, next)?;
        let Some(new) = chain.last() else { return Err(KeyError::Nothing("they named no other address")) };
        if contacts.get(new).is_some_and(|contact| contact.revoked.is_some()) {
            return Err(KeyError::SuccessorRevoked);
        }
        Ok(Follow { old, chain, decided: None })
    }

    /// Moves a contact to `new`, which the person has checked: the new address is to us what the old one was, and has
    /// its petname; the old one stays known at most.
    pub async fn follow(&self, old: OnionAddress, new: OnionAddress) -> Result<Follow, KeyError> {
        let mut follow = self.successor_of(old).await?;
        if follow.chain.last() != Some(&new) {
            return Err(KeyError::Nothing("they have moved on since; look again"));
        }
        let now = self.now();
        let decided = self
            .store
            .write(move |tx| {
                let Some(before) = tx.contacts().get(&old)? else { return Ok(None) };
                let Some(decision) = &before.decision else { return Ok(None) };
                let tier = decision.tier;
                let why = format!("you followed them from {}", old.host());
                if tier == Tier::Trusted {
                    let known = Decision { tier: Tier::Known, at: now, why: "they moved".to_owned() };
                    tx.contacts().decide(&old, Some(known), now, "they moved, and you followed")?;
                }
                let after = Decision { tier, at: now, why: why.clone() };
                let no = tx.contacts().decide(&new, Some(after), now, &why)?;
                let change = |contact: &mut ContactRecord| {
                    if let Some(successor) = &mut contact.successor {
                        successor.followed = true;
                    }
                    contact.question = None;
                    contact.petname.take()
                };
                if let Some(petname) = tx.contacts().update(&old, change)? {
                    tx.contacts().update(&new, |contact| contact.petname = Some(petname))?;
                }
                Ok(Some((tier, no)))
            })
            .await?;
        if decided.is_none() {
            return Err(KeyError::Nothing("you have decided nothing about them that could move"));
        }
        follow.decided = decided;
        Ok(follow)
    }
}

//! Affairs: what a letter brings besides its text: introductions, vouches, revocations, invites.
//!
//! Only what a sealed letter carries counts, and each statement proves itself. Everything is taken in the commit that
//! keeps the letter. Promises that nothing is taken on anybody's word but the signer's.

use crate::model::enclosure::{self, Enclosed};
use crate::model::statement::{
    Announcement, Card, Delegation, HolderPromise, HolderWish, Introduction, Invite, Receipt, RecoverySigned,
    Refusal, Revocation, Signed, Standalone, Statement, Successor, Verified, Vouch, verify_unknown,
};
use crate::model::time::UnixTime;
use crate::model::trust::{Method, Tier};
use crate::node::quarantine::{self, Telling};
use crate::node::{cards, confirm, holders, vouches};
use crate::store::contacts::Decision;
use crate::store::invites::{InviteId, Used};
use crate::store::statements::{StatementKey, StatementKind, StatementRecord, Worth};
use crate::store::{MailboxNo, Room, StoreError, Tx};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};

/// One statement that a letter brought.
pub(super) enum Affair {
    /// Somebody introduces somebody.
    Introduction(Box<(Verified<Introduction>, Verified<Card>)>),
    /// Somebody vouches for us.
    Vouch(Verified<Vouch>),
    /// A key was revoked; to be checked against the Card that is pinned.
    Revocation(Vec<u8>),
    /// Somebody moves; to be checked likewise.
    Successor(Vec<u8>),
    /// Somebody takes up an invitation of ours.
    Invite(Verified<Invite>),
    /// Somebody lets us write in their name.
    Delegation(Verified<Delegation>),
    /// Somebody asks us to hold letters.
    Wish(Verified<HolderWish>),
    /// Somebody promises to hold letters for us.
    Promise(Verified<HolderPromise>),
    /// A letter for us waits with its author.
    Announcement(Verified<Announcement>),
    /// The reader of a letter of ours has it.
    Receipt(Verified<Receipt>),
    /// The reader of a letter of ours does not take it.
    Refusal(Verified<Refusal>),
    /// The author says something that a later program may understand.
    Unknown { bytes: Vec<u8>, digest: [u8; 32], author: OnionAddress },
}

/// What a letter of this author carries.
pub(super) fn carried(author: &OnionAddress, letter: &[u8], agreed: Option<UnixTime>) -> Vec<Affair> {
    let Some(end) = memchr::memmem::find(letter, b"\r\n\r\n") else { return Vec::new() };
    let (header, content) = letter.split_at(end + 4);
    let enclosed = enclosure::enclosed(header, content);
    enclosed.into_iter().filter_map(|one| affair(author, one, agreed)).collect()
}

/// Reads a statement that must be signed by the author of the letter.
fn by<T: Standalone>(author: &OnionAddress, bytes: Vec<u8>, agreed: Option<UnixTime>) -> Option<Verified<T>> {
    let read = Signed::<T>::parse(bytes).ok()?.verify(agreed).ok()?;
    (read.author() == *author).then_some(read)
}

fn affair(author: &OnionAddress, one: Enclosed, agreed: Option<UnixTime>) -> Option<Affair> {
    match one.kind.as_str() {
        Introduction::KIND => {
            let introduction = by::<Introduction>(author, one.bytes, agreed)?;
            let card = cards::read(introduction.card.clone(), &introduction.subject, agreed).ok()?;
            Some(Affair::Introduction(Box::new((introduction, card))))
        }
        Vouch::KIND => by(author, one.bytes, agreed).map(Affair::Vouch),
        Invite::KIND => by(author, one.bytes, agreed).map(Affair::Invite),
        Delegation::KIND => by(author, one.bytes, agreed).map(Affair::Delegation),
        HolderWish::KIND => by(author, one.bytes, agreed).map(Affair::Wish),
        HolderPromise::KIND => by(author, one.bytes, agreed).map(Affair::Promise),
        Announcement::KIND => by(author, one.bytes, agreed).map(Affair::Announcement),
        Receipt::KIND => by(author, one.bytes, agreed).map(Affair::Receipt),
        Refusal::KIND => by(author, one.bytes, agreed).map(Affair::Refusal),
        Revocation::KIND => Some(Affair::Revocation(one.bytes)),
        Successor::KIND => Some(Affair::Successor(one.bytes)),
        kind => {
            let peeked = verify_unknown(&one.bytes, agreed).ok()?;
            let (digest, claimed) = (peeked.digest, peeked.author);
            (peeked.kind == kind && claimed == *author).then_some(Affair::Unknown {
                bytes: one.bytes,
                digest,
                author: claimed,
            })
        }
    }
}

/// Where and when affairs are taken.
pub(super) struct Taking<'a, 't> {
    pub(super) tx: &'a Tx<'t>,
    pub(super) own: OnionAddress,
    /// Where what waits to be delivered is shown.
    pub(super) outbox: MailboxNo,
    pub(super) now: UnixTime,
    pub(super) agreed: Option<UnixTime>,
    /// For what the person must be told; it is there if [`must_be_told`] says so.
    pub(super) telling: Option<&'a Telling>,
}

/// Whether one of these says that a letter waits with its author.
pub(super) fn announces(affairs: &[Affair]) -> bool {
    affairs.iter().any(|affair| matches!(affair, Affair::Announcement(_)))
}

/// Whether the person may have to be told of one of these.
pub(super) fn must_be_told(affairs: &[Affair]) -> bool {
    affairs.iter().any(|affair| matches!(affair, Affair::Revocation(_) | Affair::Successor(_)))
}

impl Affair {
    /// Whether the recovery key says it, which may speak when the key of the letter's author may not any more.
    pub(super) fn is_of_recovery_key(&self) -> bool {
        matches!(self, Self::Revocation(_) | Self::Successor(_))
    }

    /// Takes it, if it concerns us. What is no good any more, or was never for us, changes nothing.
    pub(super) fn take(&self, at: &Taking<'_, '_>) -> Result<(), StoreError> {
        match self {
            Self::Introduction(both) if both.0.to == at.own && both.0.subject != at.own => {
                let (one, card) = &**both;
                cards::pin(at.tx, card, at.now)?;
                at.keep(one, one.subject, StatementKind::Introduction, Some(one.method), one.until)
            }
            Self::Vouch(one) if one.subject == at.own => vouches::keep(at, one),
            // A stranger's leave is worth nothing here, and must not fill the place of others.
            Self::Delegation(one) if one.delegate == at.own && at.knows(&one.author())? => {
                at.keep(one, at.own, StatementKind::Delegation, None, one.until)
            }
            Self::Invite(one) if one.inviter == at.own => at.use_invite(one),
            Self::Wish(one) if one.holder == at.own => holders::take_wish(at, one),
            Self::Promise(one) if one.guest == at.own => holders::take_promise(at, one),
            // Whom mail was exchanged with is told whenever we come up, and then brings it.
            Self::Announcement(one) if one.reader == at.own && at.knows(&one.author())? => {
                at.tx.peers().update(&one.author(), |record| record.last_received = Some(at.now)).map(drop)
            }
            Self::Receipt(one) if one.author == at.own => confirm::receipt(at, one),
            Self::Refusal(one) if one.author == at.own => confirm::refusal(at, one),
            Self::Revocation(bytes) => at.revoke(bytes),
            Self::Successor(bytes) => at.succeed(bytes),
            Self::Unknown { bytes, digest, author } => at.keep_unknown(bytes, digest, author),
            _ => Ok(()),
        }
    }
}

impl Taking<'_, '_> {
    /// Keeps a statement about somebody.
    pub(super) fn keep<T: Statement>(
        &self,
        one: &Verified<T>,
        subject: OnionAddress,
        kind: StatementKind,
        method: Option<Method>,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        let issuer = one.author();
        let digest = *one.digest().first_chunk().expect("a digest has 32 bytes");
        let key = StatementKey { subject, issuer, kind, digest };
        let record =
            StatementRecord { bytes: one.bytes().to_vec(), received: self.now, author: Some(issuer) };
        let worth = Worth { method, made: one.made(), until, received: self.now };
        // Beyond a quota it is not kept; its text is in the letter.
        self.tx.statements().insert(&key, &record, &worth, self.room(&issuer)?).map(drop)
    }

    /// Keeps a statement of a kind that this program does not know: within a quota, and for nobody else.
    fn keep_unknown(&self, bytes: &[u8], digest: &[u8; 32], author: &OnionAddress) -> Result<(), StoreError> {
        let digest = *digest.first_chunk().expect("a digest has 32 bytes");
        let key = StatementKey { subject: *author, issuer: *author, kind: StatementKind::Unknown, digest };
        let record = StatementRecord { bytes: bytes.to_vec(), received: self.now, author: Some(*author) };
        // When it was made and when it ends, nobody here can read.
        let worth = Worth { method: None, made: self.now, until: self.now, received: self.now };
        self.tx.statements().insert(&key, &record, &worth, self.room(author)?).map(drop)
    }

    /// Whether the person has decided that they know somebody.
    pub(super) fn knows(&self, who: &OnionAddress) -> Result<bool, StoreError> {
        let decided = self.tx.contacts().get(who)?.and_then(|contact| contact.decision);
        Ok(decided.is_some_and(|decision| decision.tier >= Tier::Known))
    }

    fn room(&self, issuer: &OnionAddress) -> Result<Room, StoreError> {
        let decided = self.tx.contacts().get(issuer)?.is_some_and(|contact| contact.decision.is_some());
        Ok(if decided { Room::Reserved } else { Room::Open })
    }

    fn use_invite(&self, invite: &Verified<Invite>) -> Result<(), StoreError> {
        let guest = invite.author();
        let Used::Now(record) =
            self.tx.invites().use_up(&invite_id(&invite.secret), &guest, self.now, self.agreed)?
        else {
            return Ok(());
        };
        // Never down, and never past a decision to block.
        let decided = self.tx.contacts().get(&guest)?.and_then(|contact| contact.decision);
        if decided.is_none_or(|decision| decision.tier != Tier::Blocked && decision.tier < record.tier) {
            let why = "they used an invitation of yours".to_owned();
            let decision = Decision { tier: record.tier, at: self.now, why: why.clone() };
            self.tx.contacts().decide(&guest, Some(decision), self.now, &why)?;
        }
        Ok(())
    }

    fn revoke(&self, bytes: &[u8]) -> Result<(), StoreError> {
        match (self.by_recovery::<Revocation>(bytes)?, self.telling) {
            (Some(one), Some(telling)) => quarantine::revoke(self.tx, telling, &one).map(drop),
            _ => Ok(()),
        }
    }

    fn succeed(&self, bytes: &[u8]) -> Result<(), StoreError> {
        match (self.by_recovery::<Successor>(bytes)?, self.telling) {
            (Some(one), Some(telling)) => quarantine::succeed(self.tx, telling, &one).map(drop),
            _ => Ok(()),
        }
    }

    /// A statement of the recovery key to which the author's pinned Card commits. Without such a Card nobody can tell.
    fn by_recovery<T: RecoverySigned>(&self, bytes: &[u8]) -> Result<Option<Verified<T>>, StoreError> {
        let Ok(signed) = Signed::<T>::parse(bytes) else { return Ok(None) };
        let author = signed.claimed_author();
        if author == self.own {
            return Ok(None);
        }
        let Some(card) = cards::pinned_in(self.tx, &author)? else { return Ok(None) };
        Ok(signed.verify_recovery(&card.recovery, self.agreed).ok())
    }
}

/// Under which name the store keeps the invitation with this secret.
pub(crate) fn invite_id(secret: &[u8; 16]) -> InviteId {
    let digest = Sha256::digest(secret);
    InviteId(*digest.first_chunk().expect("a digest has 32 bytes"))
}

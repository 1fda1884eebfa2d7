//! Invitations: given out once each, taken up by a letter that brings the secret back.
//!
//! What is kept of one is the hash of its secret. What its use grants is decided in the commit that keeps the guest's
//! letter (`affairs`).

use crate::model::enclosure::{self, Covering};
use crate::model::invitation::Invitation;
use crate::model::statement::{Invite, Statement as _, StatementError, sign_as_device};
use crate::model::trust::Tier;
use crate::node::affairs::invite_id;
use crate::node::desk::Desk;
use crate::node::introduce::wrapped;
use crate::node::submit::{self, Submitted};
use crate::protocol::smtp::Reply;
use crate::store::StoreError;
use crate::store::invites::{InviteId, InviteRecord};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// An invitation that was just made; its secret is nowhere else.
pub struct Made {
    /// To be passed on.
    pub invitation: Invitation,
    /// Under which name it is kept.
    pub id: InviteId,
    /// What is kept.
    pub record: InviteRecord,
}

/// Why an invitation cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is one's own.
    #[error("that is an invitation of your own")]
    Own,
    /// The person blocked who invites.
    #[error("you have blocked who invites you")]
    Blocked,
    /// The inviter's key was revoked.
    #[error("the key of who invites you was revoked by its owner")]
    Revoked,
    /// The statement cannot be made.
    #[error("it cannot be signed: {0}")]
    Statement(#[from] StatementError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The letter was not taken.
    #[error("{0}")]
    Letter(Reply),
}

/// Makes an invitation that holds for so many days and makes who uses it `tier`.
pub async fn invite(desk: &Desk, days: u32, tier: Tier, label: String) -> Result<Made, StoreError> {
    let own = desk.identity().address();
    let invitation = Invitation { inviter: own.onion, name: Some(own.local), secret: desk.draw() };
    let (id, made) = (invite_id(&invitation.secret), desk.now());
    let until = made.plus(DAY * days);
    let record = InviteRecord { made, until, tier, label, used_by: None, used_at: None };
    let kept = record.clone();
    desk.store().write(move |tx| tx.invites().add(&id, &kept)).await?;
    Ok(Made { invitation, id, record })
}

/// All invitations that are kept, those made last first.
pub async fn list(desk: &Desk) -> Result<Vec<(InviteId, InviteRecord)>, StoreError> {
    desk.store().read(|rx| rx.invites().list()).await
}

/// Takes an invitation back; whether it was there.
pub async fn withdraw(desk: &Desk, id: InviteId) -> Result<bool, StoreError> {
    desk.store().write(move |tx| tx.invites().remove(&id)).await
}

/// Takes an invitation up: a letter to who invites, who is known from then on.
pub async fn accept(desk: &Arc<Desk>, invitation: &Invitation, text: &str) -> Result<Submitted, AcceptError> {
    let inviter = invitation.inviter;
    if inviter == desk.identity().onion() {
        return Err(AcceptError::Own);
    }
    let contact = desk.store().read(move |rx| rx.contacts().get(&inviter)).await?.unwrap_or_default();
    if contact.revoked.is_some() {
        return Err(AcceptError::Revoked);
    }
    if contact.decision.is_some_and(|decision| decision.tier == Tier::Blocked) {
        return Err(AcceptError::Blocked);
    }
    let statement = Invite { inviter, secret: invitation.secret, made: desk.now().to_the_hour() };
    let signed = sign_as_device(&desk.keyring().device(), &statement)?;
    let (own, to) = (desk.identity().address(), invitation.address());
    let letter = enclosure::letter(&Covering {
        from: &own,
        to: &to,
        subject: &format!("{} takes up your invitation", own.local.as_str()),
        text: &wrapped(text.trim_end(), 0),
        statements: &[(Invite::KIND, signed.bytes())],
        now: desk.now(),
        random: desk.draw(),
    });
    submit::post(desk, &to, &letter, "you took up their invitation").await.map_err(AcceptError::Letter)
}

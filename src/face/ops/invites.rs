//! `invite` and `accept`: invitations made, listed, taken back, and taken up.

use super::Office;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::InviteAsk;
use crate::face::handed::refused;
use crate::model::invitation::Invitation;
use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::node::invites::{self, AcceptError};
use crate::store::invites::{InviteId, InviteRecord, LABEL_LEN_MAX};
use serde_json::{Value, json};

/// Longest life of an invitation, in days.
const DAYS_MAX: u32 = 365;
/// Longest text that goes with the answer to one, in bytes.
const TEXT_LEN_MAX: usize = 64 * 1024;
/// What is written if nothing is.
const TEXT: &str = "You invited me: here I am.";

impl Office {
    /// Does what is asked about invitations.
    pub(super) async fn invites(&self, ask: InviteAsk) -> Result<Value, Failure> {
        match ask {
            InviteAsk::Make { days, tier, label } => self.invite(days, tier, label).await,
            InviteAsk::List => {
                let (list, now) = (invites::list(&self.desk).await.map_err(store_failure)?, self.desk.now());
                Ok(list.iter().map(|(id, record)| row(id, record, now)).collect())
            }
            InviteAsk::Cancel { code } => self.cancel_invite(&code).await,
            InviteAsk::Accept { invitation, text } => self.accept(&invitation, text).await,
        }
    }

    async fn invite(&self, days: u32, tier: Tier, label: String) -> Result<Value, Failure> {
        if !(1..=DAYS_MAX).contains(&days) {
            let what = format!("an invitation holds for 1 to {DAYS_MAX} days");
            return Err(Failure::new(Exit::Usage, what));
        }
        if label.len() > LABEL_LEN_MAX {
            return Err(Failure::new(Exit::Usage, format_args!("a label has {LABEL_LEN_MAX} bytes at most")));
        }
        if !(Tier::Introduced..=Tier::Trusted).contains(&tier) {
            return Err(Failure::new(
                Exit::Usage,
                "an invitation makes somebody introduced, known or trusted",
            ));
        }
        let made = invites::invite(&self.desk, days, tier, label).await.map_err(|error| {
            store_failure(error).hint("take back some that nobody used: onionskin invite cancel CODE")
        })?;
        let mut row = row(&made.id, &made.record, self.desk.now());
        row["link"] = json!(made.invitation.link());
        row["words"] = json!(made.invitation.words().as_slice());
        Ok(row)
    }

    async fn cancel_invite(&self, wanted: &str) -> Result<Value, Failure> {
        let list = invites::list(&self.desk).await.map_err(store_failure)?;
        let wanted = wanted.trim().to_ascii_lowercase();
        let found = list.iter().find(|(id, _)| code(id) == wanted);
        let failed = || {
            Failure::new(Exit::NoInput, format_args!("there is no invitation with the code {wanted}"))
                .hint("see: onionskin invite list")
        };
        let (id, record) = found.ok_or_else(failed)?;
        if !invites::withdraw(&self.desk, *id).await.map_err(store_failure)? {
            return Err(failed());
        }
        Ok(json!({"cancelled": code(id), "was_used": record.used_by.is_some()}))
    }

    async fn accept(&self, invitation: &str, text: Option<String>) -> Result<Value, Failure> {
        let invitation = Invitation::parse(invitation).map_err(|error| {
            Failure::new(Exit::Data, error)
                .hint("copy the link again, as a whole, or all words in their order")
        })?;
        let text = text.unwrap_or_else(|| TEXT.to_owned());
        if text.len() > TEXT_LEN_MAX || text.contains('\0') {
            return Err(Failure::new(Exit::Data, "the text is too long, or has a NUL byte in it")
                .hint("send what is longer in a letter of its own: onionskin send"));
        }
        let sent = invites::accept(&self.desk, &invitation, &text).await.map_err(|error| match error {
            AcceptError::Own => Failure::new(Exit::Usage, error),
            AcceptError::Blocked => Failure::new(Exit::NoPermission, error).hint(format_args!(
                "if you want to know them: onionskin contacts know {}",
                invitation.inviter.host()
            )),
            AcceptError::Revoked => Failure::new(Exit::NoUser, error),
            AcceptError::Statement(error) => Failure::new(Exit::Software, error),
            AcceptError::Store(error) => store_failure(error),
            AcceptError::Letter(reply) => refused(reply),
        })?;
        Ok(json!({"address": invitation.address().full(), "queued": sent.queued}))
    }
}

/// By what an invitation is called in listings.
fn code(id: &InviteId) -> String {
    id.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn row(id: &InviteId, record: &InviteRecord, now: UnixTime) -> Value {
    let state = match record.used_by {
        Some(_) => "used",
        None if record.until < now => "over",
        None => "open",
    };
    json!({
        "code": code(id), "label": record.label, "tier": record.tier, "state": state,
        "made": record.made.rfc5322(), "until": record.until.rfc5322(),
        "used_by": record.used_by.map(|who| who.host()), "used_at": record.used_at.map(UnixTime::rfc5322),
    })
}

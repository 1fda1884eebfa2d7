//! `Standing`: who the author of a letter is to us at the moment it is filed.

use crate::model::time::UnixTime;
use crate::model::trust::Tier;
use crate::store::{StoreError, Tx};
use onion::OnionAddress;

/// Who an author is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) tier: Tier,
    /// Why, in words.
    pub(super) reason: String,
    /// The key was revoked by its owner.
    pub(super) revoked: bool,
}

impl Standing {
    /// Nothing proves who it is: never above a stranger.
    pub(super) fn unproved() -> Self {
        Self { tier: Tier::Stranger, reason: String::new(), revoked: false }
    }
}

/// The standing of a proved author.
pub(super) fn of(
    tx: &Tx<'_>,
    own: &OnionAddress,
    author: &OnionAddress,
    _now: UnixTime,
) -> Result<Standing, StoreError> {
    if author == own {
        return Ok(Standing { tier: Tier::Trusted, reason: "your own address".to_owned(), revoked: false });
    }
    let contact = tx.contacts().get(author)?.unwrap_or_default();
    if let Some(revoked) = &contact.revoked {
        let reason = format!("the owner revoked this key; compromised since {}", revoked.since.rfc5322());
        return Ok(Standing { tier: Tier::Blocked, reason, revoked: true });
    }
    Ok(match contact.decision {
        Some(decision) => Standing { tier: decision.tier, reason: decision.why, revoked: false },
        None => Standing {
            tier: Tier::Stranger,
            reason: "nobody you trust introduced them".to_owned(),
            revoked: false,
        },
    })
}

//! `Standing`: who the author of a letter is to us at the moment it is filed.

use crate::model::statement::recovery::SINCE_UNKNOWN;
use crate::model::time::UnixTime;
use crate::model::trust::{Tier, explain, tier_of};
use crate::node::contacts::{Indexed, name_of, view_of};
use crate::store::{StoreError, Tx};
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// The standing of a proved author. `web` is what was indexed before this commit.
pub(super) fn of(
    tx: &Tx<'_>,
    own: &OnionAddress,
    author: &OnionAddress,
    web: &Indexed,
    agreed: Option<UnixTime>,
) -> Result<Standing, StoreError> {
    if author == own {
        return Ok(Standing { tier: Tier::Trusted, reason: "your own address".to_owned(), revoked: false });
    }
    let contact = tx.contacts().get(author)?.unwrap_or_default();
    if let Some(revoked) = &contact.revoked {
        let since = match revoked.since < SINCE_UNKNOWN {
            true => format!("; compromised since {}", revoked.since.rfc5322()),
            false => String::new(),
        };
        let reason = format!("the owner revoked this key{since}");
        return Ok(Standing { tier: Tier::Blocked, reason, revoked: true });
    }
    Ok(match contact.decision {
        Some(decision) => Standing { tier: decision.tier, reason: decision.why, revoked: false },
        None => by_statements(tx, own, author, web, agreed)?,
    })
}

/// What the statements of others say, those of this commit included.
fn by_statements(
    tx: &Tx<'_>,
    own: &OnionAddress,
    author: &OnionAddress,
    web: &Indexed,
    agreed: Option<UnixTime>,
) -> Result<Standing, StoreError> {
    if tx.statements().about(author, 1)?.is_empty() {
        let reason = "nobody you trust has introduced them".to_owned();
        return Ok(Standing { tier: Tier::Stranger, reason, revoked: false });
    }
    let view = match web.version == tx.contacts().trust_version()? {
        true => web.view.clone(),
        false => Arc::new(view_of(*own, &tx.contacts(), &tx.statements())?),
    };
    let answer = tier_of(&view, author, agreed);
    let mut names = BTreeMap::new();
    for who in answer.named() {
        let petname = tx.contacts().get(&who)?.and_then(|contact| contact.petname);
        names.insert(who, name_of(petname.as_deref(), &who));
    }
    let reason = explain::reason(&answer, &|who| names.get(who).cloned().unwrap_or_default());
    Ok(Standing { tier: answer.tier, reason, revoked: false })
}

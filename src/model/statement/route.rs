//! Routes: where one contact may leave letters for the author. Never passed on.

use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::{onion as onion_field, statement};
use super::{SignedBy, Standalone};
use crate::model::hold::{MailboxId, Token};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Longest Route, in bytes.
pub const ROUTE_LEN_MAX: usize = 16 * 1024;
/// Most drops of one Route.
pub const DROPS_MAX: usize = 8;
/// Most tokens of one drop.
pub const TOKENS_MAX: usize = 128;

/// Where the reader of this statement may leave letters for its author.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The one contact for whom it is.
    #[serde(with = "onion_field")]
    pub reader: OnionAddress,
    /// Which Route for this contact; a greater number replaces.
    pub sequence: u64,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// The last second in which it holds.
    pub until: UnixTime,
    /// Drops, the best first; may be empty.
    pub drops: Vec<Drop>,
}

/// An onion that keeps letters, and what it takes for them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Drop {
    /// The drop's own onion, derived from no identity.
    pub onion: OnionAddress,
    /// The author's mailbox there.
    pub mailbox: MailboxId,
    /// Tokens, each good for one letter.
    pub tokens: Vec<Token>,
}

/// How a drop is written.
type Fields = (ByteBuf, MailboxId, Vec<ByteBuf>);

impl Route {
    fn check_fields(&self) -> Result<(), StatementError> {
        if self.drops.len() > DROPS_MAX || self.drops.iter().any(|drop| drop.tokens.len() > TOKENS_MAX) {
            return Err(StatementError::Form("it has too many drops or tokens"));
        }
        let distinct: std::collections::BTreeSet<_> = self.drops.iter().map(|drop| drop.onion).collect();
        if distinct.len() != self.drops.len() {
            return Err(StatementError::Form("it names a drop twice"));
        }
        Ok(())
    }
}

statement!(Route, "route", SignedBy::Device(Certificate::STATEMENTS), ROUTE_LEN_MAX, until);
impl Standalone for Route {}

impl TryFrom<Fields> for Drop {
    type Error = &'static str;
    fn try_from((onion, mailbox, tokens): Fields) -> Result<Self, Self::Error> {
        let key = onion.into_vec().try_into().map_err(|_| "not 32 bytes")?;
        let onion = OnionAddress::from_public_key(key).map_err(|_| "no usable key")?;
        let tokens = tokens.iter().map(|token| Token::from_bytes(token).ok_or("no token"));
        Ok(Self { onion, mailbox, tokens: tokens.collect::<Result<_, _>>()? })
    }
}

impl From<Drop> for Fields {
    fn from(drop: Drop) -> Self {
        let tokens = drop.tokens.iter().map(|token| ByteBuf::from(token.to_bytes())).collect();
        (ByteBuf::from(drop.onion.public_key().to_vec()), drop.mailbox, tokens)
    }
}

impl std::fmt::Debug for Drop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drop({} tokens)", self.tokens.len())
    }
}

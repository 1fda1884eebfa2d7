//! Cards: an identity says how to write to it. The same for everyone, and pinned by whoever has seen one.

use super::error::StatementError;
use super::fields::{check_names, statement};
use super::signed::{Verified, digest_of};
use super::{SignedBy, Standalone};
use crate::model::address::LocalPart;
use crate::model::seal::PrekeyId;
use crate::model::time::UnixTime;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The suite of keys and seals in use: X-Wing, HKDF-SHA256, ChaCha20-Poly1305, in an age v1 file.
pub const SUITE: u64 = 1;
/// Length of a public prekey of suite 1, in bytes.
pub const PREKEY_LEN: usize = 1216;
/// Most prekeys of one Card: the current one and 8 future ones.
pub const PREKEYS_MAX: usize = 9;
/// Longest Card, in bytes.
pub const CARD_LEN_MAX: usize = 32 * 1024;

/// How to write to an identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which life of the identity this is: one more each time it is made again from its words.
    pub generation: u64,
    /// Which Card of this generation.
    pub sequence: u64,
    /// SHA-256 of the Card before; only the first of a generation may be without.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub previous: Option<[u8; 32]>,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
    /// Local parts, the main one first: 1 to 32.
    pub names: Vec<LocalPart>,
    /// SHA-256 of the public half of the recovery key.
    #[serde(with = "serde_bytes")]
    pub recovery: [u8; 32],
    /// The suite of the prekeys.
    pub suite: u64,
    /// Prekeys, the current one first, then future ones in the order of their times: 1 to 9.
    pub prekeys: Vec<Prekey>,
    /// The prekey for those who know no newer Card than one whose prekeys have all run out.
    pub last_resort: Prekey,
    /// Longest letter that is taken, in bytes.
    pub size_max: u64,
}

/// A public key for which letters are sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(ByteBuf, u64, u64)", into = "(ByteBuf, u64, u64)")]
pub struct Prekey {
    /// The public half, 1216 bytes.
    pub key: Vec<u8>,
    /// The last second in which a letter may be sealed for it.
    pub seal_until: UnixTime,
    /// The last second for which its private half is kept.
    pub open_until: UnixTime,
}

/// What a newly seen Card is to the one that is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// The same Card.
    Same,
    /// A later Card of the same identity: pin it.
    Newer,
    /// An earlier Card: a rollback, unless it comes from somebody who simply has an old one.
    Older,
    /// Another Card of the same generation and sequence, or one that does not follow the pinned one although it says
    /// so: somebody else makes Cards with the identity key.
    Fork,
    /// Another recovery key: never taken without the person's own decision.
    RecoveryChange,
    /// The Card of another identity.
    Stranger,
}

/// The commitment to a recovery key that every Card carries: SHA-256 of its public half.
pub fn commitment(recovery_key: &[u8; 32]) -> [u8; 32] {
    digest_of(recovery_key)
}

/// What `new` is to the `pinned` Card. A greater generation beats; within one, a greater sequence does, and the next
/// in sequence must name the pinned one.
pub fn succession(pinned: &Verified<Card>, new: &Verified<Card>) -> Succession {
    if new.author() != pinned.author() {
        return Succession::Stranger;
    }
    if new.digest() == pinned.digest() {
        return Succession::Same;
    }
    if new.recovery != pinned.recovery {
        return Succession::RecoveryChange;
    }
    let place = |card: &Card| (card.generation, card.sequence);
    let is_next = new.generation == pinned.generation && pinned.sequence.checked_add(1) == Some(new.sequence);
    match place(new).cmp(&place(pinned)) {
        std::cmp::Ordering::Less => Succession::Older,
        std::cmp::Ordering::Equal => Succession::Fork,
        std::cmp::Ordering::Greater if is_next && new.previous != Some(pinned.digest()) => Succession::Fork,
        std::cmp::Ordering::Greater => Succession::Newer,
    }
}

impl Card {
    /// The prekey to seal a letter for at the agreed time: the first that may be used, or the last resort; `None` if
    /// all have run out. Without an agreed time the first.
    pub fn prekey_at(&self, at: Option<UnixTime>) -> Option<&Prekey> {
        let Some(at) = at else { return self.prekeys.first() };
        self.prekeys.iter().chain([&self.last_resort]).find(|prekey| prekey.seal_until >= at)
    }

    /// The prekey of this name.
    pub fn prekey(&self, id: PrekeyId) -> Option<&Prekey> {
        self.prekeys.iter().chain([&self.last_resort]).find(|prekey| prekey.id() == id)
    }

    fn check_fields(&self) -> Result<(), StatementError> {
        if self.suite != SUITE {
            return Err(StatementError::Version(self.suite));
        }
        check_names(&self.names)?;
        if self.sequence > 0 && self.previous.is_none() {
            return Err(StatementError::Form(
                "it is not the first Card of its generation, and names none before",
            ));
        }
        if self.prekeys.is_empty() || self.prekeys.len() > PREKEYS_MAX {
            return Err(StatementError::Form("it has no prekey, or too many"));
        }
        let mut all = self.prekeys.iter().chain([&self.last_resort]);
        if !all.all(|prekey| prekey.key.len() == PREKEY_LEN && prekey.open_until >= prekey.seal_until) {
            return Err(StatementError::Form("a prekey has the wrong length, or ends before it is used"));
        }
        if !self.prekeys.is_sorted_by(|one, next| one.seal_until < next.seal_until) {
            return Err(StatementError::Form("its prekeys are not in the order of their times"));
        }
        let keys: Vec<&[u8]> = self.prekeys.iter().chain([&self.last_resort]).map(|one| &*one.key).collect();
        if (1..keys.len()).any(|at| keys[..at].contains(&keys[at])) {
            return Err(StatementError::Form("it has a prekey twice"));
        }
        Ok(())
    }
}

statement!(Card, "card", SignedBy::Identity, CARD_LEN_MAX);
impl Standalone for Card {}

impl Prekey {
    /// The name of the key on the wire.
    pub fn id(&self) -> PrekeyId {
        let digest = digest_of(&self.key);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        PrekeyId(id)
    }
}

impl TryFrom<(ByteBuf, u64, u64)> for Prekey {
    type Error = &'static str;
    fn try_from((key, seal_until, open_until): (ByteBuf, u64, u64)) -> Result<Self, Self::Error> {
        if key.len() > PREKEY_LEN {
            return Err("too long for a prekey");
        }
        let (seal_until, open_until) = (UnixTime(seal_until), UnixTime(open_until));
        Ok(Self { key: key.into_vec(), seal_until, open_until })
    }
}

impl From<Prekey> for (ByteBuf, u64, u64) {
    fn from(prekey: Prekey) -> Self {
        (ByteBuf::from(prekey.key), prekey.seal_until.0, prekey.open_until.0)
    }
}

impl std::fmt::Debug for Prekey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prekey")
    }
}

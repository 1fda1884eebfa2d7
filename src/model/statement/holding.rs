//! What guest, holder and depositor sign: wishes, promises, custody; what a reader's node says of a held letter that it
//! does not take, and what an author's says of one that is too large to be held.

use super::certificate::Certificate;
use super::error::StatementError;
use super::fields::{check_text, onion as onion_field, statement};
use super::{SMALL_LEN_MAX, SignedBy, Standalone};
use crate::model::hold::{self, MailboxId};
use crate::model::letter::LetterId;
use crate::model::time::UnixTime;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most collecting keys of one mailbox: the devices of its guest.
pub const COLLECTORS_MAX: usize = 8;
/// Longest text of a refusal, in bytes.
pub const REFUSAL_TEXT_LEN_MAX: usize = 500;

/// The author asks the reader to keep letters while the author is away.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderWish {
    /// Who is asked.
    #[serde(with = "onion_field")]
    pub holder: OnionAddress,
    /// How many bytes of letters, sealed; fewer may be promised.
    pub bytes: u64,
    /// For how many days each; fewer may be promised.
    pub days: u32,
    /// The key of the tokens with which letters are left.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Who may collect: random ed25519 keys, one for each device of the author's. A letter goes once all have it.
    #[serde(with = "keys")]
    pub collectors: Vec<OnionAddress>,
    /// The author wishes it no more: what is held is still collected.
    pub over: bool,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

/// The author promises to keep letters for a guest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderPromise {
    /// For whom.
    #[serde(with = "onion_field")]
    pub guest: OnionAddress,
    /// The onion on which they are left and collected, derived from no identity.
    #[serde(with = "onion_field")]
    pub drop: OnionAddress,
    /// The mailbox on it.
    pub mailbox: MailboxId,
    /// At most so many bytes at a time.
    pub bytes: u64,
    /// For so many days each, unless they are collected before.
    pub days: u32,
    /// Nothing more is taken: what was taken before is kept as promised.
    pub over: bool,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

/// A drop has taken a letter into its keeping. Signed by the drop's own key, as the identity of its onion.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// The name of the sealed letter.
    pub letter: LetterId,
    /// SHA-256 of the sealed letter.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// Its length, sealed, in bytes.
    pub size: u64,
    /// It is kept until then, unless it is collected or called back before.
    pub kept_until: UnixTime,
    /// When it was taken, rounded down to the hour.
    pub made: UnixTime,
}

/// The author's node, the reader's of a letter, does not take the letter, which had come by a holder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Who wrote the letter.
    #[serde(with = "onion_field")]
    pub author: OnionAddress,
    /// The letter's id.
    pub id: LetterId,
    /// SHA-256 of the letter.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// An SMTP reply code of 500 to 599.
    pub code: u16,
    /// Its text.
    pub text: String,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

/// A letter for the reader waits with its author: too large for a holder, it comes when both are there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// For whom the letter is.
    #[serde(with = "onion_field")]
    pub reader: OnionAddress,
    /// The letter's id.
    pub id: LetterId,
    /// Its length, in bytes.
    pub size: u64,
    /// When it was made, rounded down to the hour.
    pub made: UnixTime,
}

impl Announcement {
    fn check_fields(&self) -> Result<(), StatementError> {
        Ok(())
    }
}

impl HolderWish {
    fn check_fields(&self) -> Result<(), StatementError> {
        check_terms(self.bytes, self.days)?;
        let distinct: std::collections::BTreeSet<_> = self.collectors.iter().collect();
        let fits =
            (1..=COLLECTORS_MAX).contains(&self.collectors.len()) && distinct.len() == self.collectors.len();
        if fits {
            Ok(())
        } else {
            Err(StatementError::Form("it has no collecting key, too many, or one twice"))
        }
    }
}

impl HolderPromise {
    fn check_fields(&self) -> Result<(), StatementError> {
        check_terms(self.bytes, self.days)
    }
}

impl Custody {
    fn check_fields(&self) -> Result<(), StatementError> {
        if self.digest[..16] != self.letter.0 {
            return Err(StatementError::Form("the letter's name is not the beginning of its digest"));
        }
        if self.kept_until < self.made {
            return Err(StatementError::Form("it ends before it was made"));
        }
        Ok(())
    }
}

impl Refusal {
    fn check_fields(&self) -> Result<(), StatementError> {
        if !(500..600).contains(&self.code) {
            return Err(StatementError::Form("its code is not one of a lasting refusal"));
        }
        check_text(&self.text, REFUSAL_TEXT_LEN_MAX)
    }
}

fn check_terms(bytes: u64, days: u32) -> Result<(), StatementError> {
    if (hold::BYTES_MIN..=hold::BYTES_MAX).contains(&bytes)
        && (hold::DAYS_MIN..=hold::DAYS_MAX).contains(&days)
    {
        Ok(())
    } else {
        Err(StatementError::Form("its bytes or days are fewer or more than can be promised"))
    }
}

/// Onions as an array of keys.
mod keys {
    use super::{ByteBuf, OnionAddress};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(keys: &[OnionAddress], to: S) -> Result<S::Ok, S::Error> {
        let keys: Vec<ByteBuf> = keys.iter().map(|key| ByteBuf::from(key.public_key().to_vec())).collect();
        keys.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<OnionAddress>, D::Error> {
        let keys = Vec::<ByteBuf>::deserialize(from)?;
        let onion = |key: ByteBuf| {
            let key = key.into_vec().try_into().map_err(|_| D::Error::custom("not 32 bytes"))?;
            OnionAddress::from_public_key(key).map_err(D::Error::custom)
        };
        keys.into_iter().map(onion).collect()
    }
}

statement!(HolderWish, "holder-wish", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX);
statement!(HolderPromise, "holder-promise", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX);
statement!(Custody, "custody", SignedBy::Identity, SMALL_LEN_MAX);
statement!(Refusal, "refusal", SignedBy::Device(Certificate::LETTERS), SMALL_LEN_MAX);
statement!(Announcement, "announcement", SignedBy::Device(Certificate::STATEMENTS), SMALL_LEN_MAX);
impl Standalone for Announcement {}
impl Standalone for HolderWish {}
impl Standalone for HolderPromise {}
impl Standalone for Custody {}
impl Standalone for Refusal {}

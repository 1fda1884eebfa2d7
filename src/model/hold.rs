//! Holding: what a holder, its guest and a depositor say to each other about a mailbox of sealed letters.
//!
//! A *holder* keeps sealed letters for a *guest*, in a mailbox that it serves on a *drop*: an onion derived from no
//! identity. Whoever leaves a letter pays with a *token* of the guest's, good once. Promises that a token tells its
//! holder nothing but that the guest gave it out: two tokens of one depositor look like two of different ones.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::time::UnixTime;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Fewest days for which a holder keeps a letter.
pub const DAYS_MIN: u32 = 7;
/// Days for which a holder keeps a letter, if nothing else is said.
pub const DAYS_DEFAULT: u32 = 30;
/// Most days for which a holder keeps a letter: a week less than a prekey can still be opened once nothing is sealed
/// for it any more, so that no letter outlives its key.
pub const DAYS_MAX: u32 = 38;
/// Bytes that a holder keeps for one guest, if nothing else is said.
pub const BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// Fewest bytes that a holder promises: the largest class of letters that tokens are given out for, four times.
pub const BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Most bytes that a holder promises one guest.
pub const BYTES_MAX: u64 = 1 << 40;
/// Length of the time in which tokens of one epoch are given out; they are taken in it and in the one that follows.
pub const EPOCH: Duration = Duration::from_secs(28 * 86_400);
/// What a letter takes beside its bytes: its rows in the holder's tables.
const ROWS_LEN: u64 = 1024;
/// The room that letters take is counted in steps of this.
const ROOM_STEP: u64 = 4 * 1024;
/// The class of the tokens that are given out: letters of up to 1 MiB, sealed. Larger ones are announced instead.
pub const CLASS: u8 = 2;
/// The largest class.
pub const CLASS_MAX: u8 = 6;
/// Length of a token in bytes.
pub const TOKEN_LEN: usize = 37;
/// What is authenticated begins with this.
const CONTEXT: &[u8] = b"onionskin/1 deposit token\0";

/// The random name of a mailbox on a drop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxId(#[serde(with = "serde_bytes")] pub [u8; 8]);

impl MailboxId {
    /// 16 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Reads 16 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// The name before the `@`: `m` and the digits.
    pub fn local_part(self) -> LocalPart {
        LocalPart::parse(&format!("m{}", self.to_hex())).expect("letters and digits make an atom")
    }

    /// The mailbox that this name means.
    pub fn from_local_part(local: &LocalPart) -> Option<Self> {
        Self::from_hex(local.as_str().strip_prefix(['m', 'M'])?)
    }

    /// The address on this drop.
    pub fn address(self, drop: OnionAddress) -> MailAddress {
        MailAddress { local: self.local_part(), onion: drop }
    }
}

impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxId([redacted])")
    }
}

/// The number of the epoch in which this moment lies.
pub fn epoch_of(now: UnixTime) -> u32 {
    u32::try_from(now.0 / EPOCH.as_secs()).unwrap_or(u32::MAX)
}

/// The last second in which tokens of this epoch are taken.
pub fn epoch_end(epoch: u32) -> UnixTime {
    UnixTime((u64::from(epoch) + 2).saturating_mul(EPOCH.as_secs()) - 1)
}

/// Largest letter, sealed, in bytes, that a token of this class pays for: four times the one of the class before.
pub const fn class_size_max(class: u8) -> u64 {
    let class = if class < CLASS_MAX { class } else { CLASS_MAX };
    (64 * 1024) << (2 * class as u32)
}

/// The room that a sealed letter of so many bytes takes of what was promised, in bytes: with its rows, in whole steps.
/// Without it letters of a few bytes each could fill a disk beyond every promise.
pub const fn room(size: u64) -> u64 {
    match size.saturating_add(ROWS_LEN).checked_next_multiple_of(ROOM_STEP) {
        Some(room) => room,
        None => u64::MAX,
    }
}

/// What pays for one letter: random, and authenticated by the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Random, the token's name.
    pub nonce: [u8; 16],
    /// When it was given out.
    pub epoch: u32,
    /// How large the letter may be: [`class_size_max`].
    pub class: u8,
    /// By the guest's key for this mailbox.
    pub mac: [u8; 16],
}

impl Token {
    /// nonce ‖ epoch, big-endian ‖ class ‖ mac.
    pub fn to_bytes(self) -> [u8; TOKEN_LEN] {
        let mut bytes = [0; TOKEN_LEN];
        bytes[..16].copy_from_slice(&self.nonce);
        bytes[16..20].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[20] = self.class;
        bytes[21..].copy_from_slice(&self.mac);
        bytes
    }

    /// Reads exactly [`TOKEN_LEN`] bytes; whether it is good only the key tells.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TOKEN_LEN] = bytes.try_into().ok()?;
        let (nonce, rest) = bytes.split_first_chunk::<16>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (class, mac) = rest.split_first()?;
        let mac = mac.try_into().ok()?;
        let class = *class;
        (class <= CLASS_MAX).then_some(Self { nonce: *nonce, epoch: u32::from_be_bytes(*epoch), class, mac })
    }

    /// 74 lower-case hexadecimal digits, as on the wire.
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.to_bytes())
    }

    /// Reads 74 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 2 * TOKEN_LEN)
            .then(|| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok())
            .flatten()
            .and_then(|bytes| Self::from_bytes(&bytes))
    }

    /// The last second in which it is taken.
    pub fn until(&self) -> UnixTime {
        epoch_end(self.epoch)
    }
}

/// Worth a letter to whoever has it, so it is not shown.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(epoch {}, class {})", self.epoch, self.class)
    }
}

/// The guest's key for the tokens of one mailbox, which its holder has too. Wiped when dropped.
#[derive(Clone)]
pub struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    /// Takes 32 random bytes.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The bytes, to be told to the holder and kept.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Makes a token for this mailbox.
    pub fn token(
        &self,
        drop: &OnionAddress,
        mailbox: MailboxId,
        nonce: [u8; 16],
        epoch: u32,
        class: u8,
    ) -> Token {
        let class = class.min(CLASS_MAX);
        let full = self.mac(drop, mailbox, &nonce, epoch, class).finalize().into_bytes();
        let mac = *full.first_chunk().expect("a SHA-256 has more than 16 bytes");
        Token { nonce, epoch, class, mac }
    }

    /// Whether a token is one of these, in constant time. Whether it is spent, or past its epoch, is not asked.
    pub fn made(&self, drop: &OnionAddress, mailbox: MailboxId, token: &Token) -> bool {
        let mac = self.mac(drop, mailbox, &token.nonce, token.epoch, token.class);
        mac.verify_truncated_left(&token.mac).is_ok()
    }

    fn mac(
        &self,
        drop: &OnionAddress,
        mailbox: MailboxId,
        nonce: &[u8; 16],
        epoch: u32,
        class: u8,
    ) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("HMAC takes keys of any length");
        mac.update(CONTEXT);
        mac.update(drop.public_key());
        mac.update(&mailbox.0);
        mac.update(&epoch.to_be_bytes());
        mac.update(&[class]);
        mac.update(nonce);
        mac
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drop_onion() -> OnionAddress {
        OnionAddress::parse("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion").unwrap()
    }

    fn other_onion() -> OnionAddress {
        OnionAddress::parse("duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion").unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_mailbox_on_its_drop_and_nowhere_else() {
        let (key, mailbox) = (TokenKey::new([7; 32]), MailboxId([1; 8]));
        let token = key.token(&drop_onion(), mailbox, [9; 16], 730, CLASS);
        assert!(key.made(&drop_onion(), mailbox, &token));
        assert!(!key.made(&other_onion(), mailbox, &token));
        assert!(!key.made(&drop_onion(), MailboxId([2; 8]), &token));
        assert!(!TokenKey::new([8; 32]).made(&drop_onion(), mailbox, &token));
        for changed in
            [Token { epoch: 731, ..token }, Token { class: 3, ..token }, Token { nonce: [8; 16], ..token }]
        {
            assert!(!key.made(&drop_onion(), mailbox, &changed));
        }
    }

    #[test]
    fn classes_grow_fourfold_from_64_kib_and_the_usual_one_is_a_mebibyte() {
        assert_eq!(class_size_max(0), 64 << 10);
        assert_eq!(class_size_max(CLASS), 1 << 20);
        assert_eq!(class_size_max(CLASS_MAX), 256 << 20);
        assert_eq!(class_size_max(255), class_size_max(CLASS_MAX));
    }

    #[test]
    fn the_smallest_letter_takes_a_step_of_room_and_each_takes_its_rows() {
        assert_eq!([0, 1, 3072].map(room), [4096; 3]);
        assert_eq!([3073, 4096, 7168].map(room), [8192; 3]);
        assert_eq!(room(1 << 20), (1 << 20) + 4096);
        assert_eq!(room(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_token_is_taken_until_the_epoch_after_its_own_has_ended() {
        let now = UnixTime(1_767_262_830);
        let epoch = epoch_of(now);
        let begin = u64::from(epoch) * EPOCH.as_secs();
        assert!((begin..begin + EPOCH.as_secs()).contains(&now.0));
        assert_eq!(epoch_end(epoch).0, begin + 2 * EPOCH.as_secs() - 1);
    }

    #[test]
    fn a_mailbox_has_a_name_in_letters_and_digits() {
        let mailbox = MailboxId([0xab, 0, 1, 2, 3, 4, 5, 0xff]);
        let local = mailbox.local_part();
        assert_eq!(local.as_str(), "mab000102030405ff");
        assert_eq!(MailboxId::from_local_part(&local), Some(mailbox));
        for other in ["ab000102030405ff", "mab0001020304", "mab000102030405ff00", "postmaster", "m"] {
            assert_eq!(MailboxId::from_local_part(&LocalPart::parse(other).unwrap()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn tokens_come_back_as_they_were_written(nonce: [u8; 16], epoch: u32, class in 0..=CLASS_MAX, mac: [u8; 16]) {
            let token = Token { nonce, epoch, class, mac };
            prop_assert_eq!(Token::from_bytes(&token.to_bytes()), Some(token));
            prop_assert_eq!(Token::from_hex(&token.to_hex()), Some(token));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}", bytes: Vec<u8>) {
            let _ = (Token::from_hex(&text), MailboxId::from_hex(&text), Token::from_bytes(&bytes));
        }
    }
}

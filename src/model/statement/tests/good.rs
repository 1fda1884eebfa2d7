//! People, keys and one good statement of every kind, all from fixed seeds.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::hold::{self, MailboxId, TokenKey};
use crate::model::letter::LetterId;
use crate::model::statement::*;
use crate::model::time::UnixTime;
use crate::model::trust::Method;
use ed25519_dalek::SigningKey;
use onion::OnionAddress;
use sha2::{Digest as _, Sha512};

/// 2026-03-01T12:00:00Z, an hour.
pub(super) const MADE: UnixTime = UnixTime(1_772_366_400);
/// A quarter of an hour later: when it is judged.
pub(super) const NOW: UnixTime = UnixTime(MADE.0 + 900);
const DAY: u64 = 86_400;
pub(super) const UNTIL: UnixTime = UnixTime(MADE.0 + 365 * DAY);

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(super) fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

pub(super) fn onion(seed: u8) -> OnionAddress {
    OnionAddress::from_public_key(public(seed)).unwrap()
}

/// Ann's device (seed 11) and her recovery key (seed 21); she is seed 1, Bob is 2, Cem is 3.
pub(super) fn certificate() -> Certificate {
    let scope = Certificate::LETTERS + Certificate::STATEMENTS;
    Certificate { device: public(11), scope, made: MADE, until: UNTIL }
}

pub(super) fn device_with(certificate: &Certificate) -> DeviceSigner {
    DeviceSigner::new(key(11), sign_as_identity(&key(1), certificate).unwrap()).unwrap()
}

pub(super) fn device() -> DeviceSigner {
    device_with(&certificate())
}

pub(super) fn commitment() -> [u8; 32] {
    card::commitment(&public(21))
}

/// Bytes that look like a public prekey: nobody seals for it here.
pub(super) fn prekey(number: u8) -> Prekey {
    let block = |at: u8| Sha512::digest([b'p', number, at]).to_vec();
    let key = (0..19).flat_map(block).collect();
    let seal_until = UnixTime(MADE.0 + 7 * DAY * (1 + u64::from(number)));
    Prekey { key, seal_until, open_until: UnixTime(seal_until.0 + 45 * DAY) }
}

pub(super) fn names(words: &[&str]) -> Vec<LocalPart> {
    words.iter().map(|word| LocalPart::parse(word).unwrap()).collect()
}

pub(super) fn card() -> Card {
    Card {
        generation: 1,
        sequence: 0,
        previous: None,
        made: MADE,
        names: names(&["ann", "ann.lee"]),
        recovery: commitment(),
        suite: card::SUITE,
        prekeys: vec![prekey(0), prekey(1)],
        last_resort: prekey(51),
        size_max: 50 << 20,
    }
}

pub(super) fn signed_card() -> Verified<Card> {
    sign_as_identity(&key(1), &card()).unwrap()
}

pub(super) fn route() -> Route {
    let key = TokenKey::new([6; 32]);
    let token = |nonce| key.token(&onion(4), MailboxId([5; 8]), nonce, 730, hold::CLASS);
    let drops = vec![Drop {
        onion: onion(4),
        mailbox: MailboxId([5; 8]),
        tokens: vec![token([7; 16]), token([8; 16])],
    }];
    Route { reader: onion(2), sequence: 3, made: MADE, until: UNTIL, drops }
}

pub(super) fn vouch() -> Vouch {
    Vouch { subject: onion(2), method: Method::InPerson, made: MADE, until: UNTIL, show: true }
}

pub(super) fn delegation() -> Delegation {
    Delegation { delegate: onion(2), names: names(&["shop"]), made: MADE, until: UNTIL }
}

pub(super) fn letter() -> LetterStatement {
    LetterStatement {
        to: MailAddress::parse(&format!("bob@{}", onion(2).host())).unwrap(),
        id: LetterId([5; 16]),
        length: 1234,
        digest: [6; 32],
        suite: card::SUITE,
        made: MADE,
        receipt: true,
        behalf: None,
        errand: false,
    }
}

pub(super) fn introduction() -> Introduction {
    Introduction {
        to: onion(2),
        subject: onion(3),
        card: signed_card().into_bytes(),
        method: Method::Voice,
        made: MADE,
        until: UNTIL,
        note: "Cem from the choir.\nZürich".into(),
    }
}

pub(super) fn revocation() -> Revocation {
    let since = UnixTime(MADE.0 - 3 * DAY + 77);
    Revocation { recovery: public(21), since, made: MADE, reason: "the laptop was stolen".into() }
}

pub(super) fn successor() -> Successor {
    Successor { recovery: public(21), new: onion(9), made: MADE }
}

pub(super) fn receipt() -> Receipt {
    Receipt { author: onion(2), id: LetterId([5; 16]), digest: [6; 32], made: MADE }
}

pub(super) fn invite() -> Invite {
    Invite { inviter: onion(2), secret: [3; 16], made: MADE }
}

pub(super) fn wish() -> HolderWish {
    HolderWish {
        holder: onion(2),
        bytes: hold::BYTES_DEFAULT,
        days: hold::DAYS_DEFAULT,
        key: [6; 32],
        collectors: vec![onion(7)],
        over: false,
        made: MADE,
    }
}

pub(super) fn promise() -> HolderPromise {
    let (bytes, days) = (hold::BYTES_DEFAULT, hold::DAYS_DEFAULT);
    HolderPromise {
        guest: onion(2),
        drop: onion(4),
        mailbox: MailboxId([5; 8]),
        bytes,
        days,
        over: false,
        made: MADE,
    }
}

pub(super) fn custody() -> Custody {
    let kept_until = UnixTime(MADE.0 + 30 * DAY);
    Custody { letter: LetterId([6; 16]), digest: [6; 32], size: 4096, kept_until, made: MADE }
}

pub(super) fn refusal() -> Refusal {
    let text = "5.2.2 no room".to_owned();
    Refusal { author: onion(2), id: LetterId([5; 16]), digest: [6; 32], code: 552, text, made: MADE }
}

pub(super) fn announcement() -> Announcement {
    Announcement { reader: onion(2), id: LetterId([5; 16]), size: 50 << 20, made: MADE }
}

/// Every kind once: its word and the whole statement.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let by = device();
    let ann = key(1);
    let recovery = key(21);
    vec![
        ("certificate", sign_as_identity(&ann, &certificate()).unwrap().into_bytes()),
        ("card", signed_card().into_bytes()),
        ("route", sign_as_device(&by, &route()).unwrap().into_bytes()),
        ("letter", sign_as_device(&by, &letter()).unwrap().into_bytes()),
        ("introduction", sign_as_device(&by, &introduction()).unwrap().into_bytes()),
        ("vouch", sign_as_device(&by, &vouch()).unwrap().into_bytes()),
        ("revocation", sign_as_recovery(&recovery, &onion(1), &revocation()).unwrap().into_bytes()),
        ("successor", sign_as_recovery(&recovery, &onion(1), &successor()).unwrap().into_bytes()),
        ("delegation", sign_as_device(&by, &delegation()).unwrap().into_bytes()),
        ("receipt", sign_as_device(&by, &receipt()).unwrap().into_bytes()),
        ("invite", sign_as_device(&by, &invite()).unwrap().into_bytes()),
        ("holder-wish", sign_as_device(&by, &wish()).unwrap().into_bytes()),
        ("holder-promise", sign_as_device(&by, &promise()).unwrap().into_bytes()),
        ("custody", sign_as_identity(&ann, &custody()).unwrap().into_bytes()),
        ("announcement", sign_as_device(&by, &announcement()).unwrap().into_bytes()),
        ("refusal", sign_as_device(&by, &refusal()).unwrap().into_bytes()),
    ]
}

/// Takes bytes for a statement of the kind with this word.
pub(super) fn judge(kind: &str, bytes: &[u8], at: Option<UnixTime>) -> Result<OnionAddress, StatementError> {
    fn plain<T: Standalone>(bytes: &[u8], at: Option<UnixTime>) -> Result<OnionAddress, StatementError> {
        Signed::<T>::parse(bytes)?.verify(at).map(|statement| statement.author())
    }
    fn recovery<T: RecoverySigned>(
        bytes: &[u8],
        at: Option<UnixTime>,
    ) -> Result<OnionAddress, StatementError> {
        Signed::<T>::parse(bytes)?.verify_recovery(&commitment(), at).map(|statement| statement.author())
    }
    match kind {
        "certificate" => plain::<Certificate>(bytes, at),
        "card" => plain::<Card>(bytes, at),
        "route" => plain::<Route>(bytes, at),
        "letter" => plain::<LetterStatement>(bytes, at),
        "introduction" => plain::<Introduction>(bytes, at),
        "vouch" => plain::<Vouch>(bytes, at),
        "revocation" => recovery::<Revocation>(bytes, at),
        "successor" => recovery::<Successor>(bytes, at),
        "delegation" => plain::<Delegation>(bytes, at),
        "receipt" => plain::<Receipt>(bytes, at),
        "invite" => plain::<Invite>(bytes, at),
        "holder-wish" => plain::<HolderWish>(bytes, at),
        "holder-promise" => plain::<HolderPromise>(bytes, at),
        "custody" => plain::<Custody>(bytes, at),
        "announcement" => plain::<Announcement>(bytes, at),
        "refusal" => plain::<Refusal>(bytes, at),
        _ => verify_unknown(bytes, at).map(|peeked| peeked.author),
    }
}

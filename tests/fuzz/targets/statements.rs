//! Statements: their CBOR, their wrapping, and the fields of those that anybody may send, signed by whoever sends them.

use super::class;
use crate::corpus::onion;
use crate::engine::{Target, sum};
use ed25519_dalek::{Signer as _, SigningKey};
use onionskin::model::statement::card::{self, Card, PREKEYS_MAX};
use onionskin::model::statement::cbor::{self, Reader};
use onionskin::model::statement::recovery::{Revocation, Successor};
use onionskin::model::statement::route::{DROPS_MAX, Route, TOKENS_MAX};
use onionskin::model::statement::{
    Certificate, Delegation, Introduction, Invite, KINDS, LetterStatement, Receipt, RecoverySigned, Signed,
    SignedBy, Standalone, Statement, StatementError, Verified, Vouch, peek, verify_unknown,
};
use onionskin::model::time::UnixTime;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_cbor::Value;
use std::collections::HashSet;
use std::sync::OnceLock;

pub(super) fn targets() -> Vec<Target> {
    let target =
        |name, seeds, run, brief| Target { name, seeds, words: WORDS, run, brief, len_max: 16 * 1024 };
    vec![
        target("cbor", whole_and_payloads, encoding, 8000),
        target("statement", whole, statement, 3000),
        target("card", payloads::<Card>, card, 1000),
        target("route", payloads::<Route>, route, 1000),
        target("invite", payloads::<Invite>, invite, 1000),
        target("introduction", payloads::<Introduction>, introduction, 1000),
        target("letter-header", payloads::<LetterStatement>, letter, 1000),
    ]
}

/// Heads of items, labels, keys of fields.
const WORDS: &[&str] = &[
    "\u{0}",
    "\u{1}",
    "\u{2}",
    "\u{10}",
    "\u{18}",
    "\u{18}\u{18}",
    "\u{19}\u{0}\u{0}",
    "\u{1a}i\u{24}*@",
    "\u{1b}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}",
    "\u{20}",
    "'",
    "@",
    "A\u{0}",
    "X \u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
    "`",
    "cann",
    "dshop",
    "x\u{20}",
    "application/vnd.onionskin.",
    "onionskin/1 ",
    "Signature1",
];

/// 2026-03-01T12:15:00Z, a quarter of an hour after the vectors were made.
const NOW: Option<UnixTime> = Some(UnixTime(1_772_367_300));

/// A vector: its kind, what it expects, its bytes.
type Vector = (String, String, Vec<u8>);

/// Every vector.
fn vectors() -> &'static [Vector] {
    static VECTORS: OnceLock<Vec<Vector>> = OnceLock::new();
    VECTORS.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/statements.json");
        let file = std::fs::read(path).expect("the vectors are there");
        let file: serde_json::Value = serde_json::from_slice(&file).expect("they are JSON");
        let vectors = file["vectors"].as_array().expect("they are a list").iter();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal");
        vectors.map(|one| (text(&one["kind"]), text(&one["expect"]), bytes(&text(&one["bytes"])))).collect()
    })
}

fn whole() -> Vec<Vec<u8>> {
    vectors().iter().map(|(_, _, bytes)| bytes.clone()).collect()
}

fn payload_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let _ = (reader.item().ok()?, reader.bytes().ok()?, reader.item().ok()?);
    reader.bytes().ok().map(<[u8]>::to_vec)
}

fn payloads<T: Statement>() -> Vec<Vec<u8>> {
    let of_kind = vectors().iter().filter(|(kind, ..)| kind == T::KIND);
    let mut payloads: Vec<Vec<u8>> = of_kind.filter_map(|(_, _, bytes)| payload_of(bytes)).collect();
    payloads.sort();
    payloads.dedup();
    payloads
}

fn whole_and_payloads() -> Vec<Vec<u8>> {
    let payloads = vectors().iter().filter_map(|(_, _, bytes)| payload_of(bytes));
    payloads.chain(whole()).filter(|bytes| bytes.len() < 600).collect()
}

/// What passes the strict reader is the one encoding of what another reader finds in it.
fn encoding(input: &[u8], _: &mut StdRng) -> u64 {
    if let Err(error) = cbor::check(input) {
        assert!(cbor::pairs(input).is_err());
        return sum(format!("{error:?}"));
    }
    let value: Value = serde_cbor::from_slice(input).expect("what is strict is CBOR");
    let mut shape = Vec::new();
    assert_eq!(write(&value, &mut shape), input, "another encoding of the same value passed");
    assert!(!shape.contains(&UNUSED), "a float, null or tag passed");
    if let Ok(pairs) = cbor::pairs(input) {
        let joined: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(joined < input.len());
    }
    sum(shape)
}

/// What `write` calls a value that is not in use.
const UNUSED: u32 = 107;

/// The deterministic encoding, worked out a second time; `shape` gets the kinds of the items.
fn write(value: &Value, shape: &mut Vec<u32>) -> Vec<u8> {
    let with = |major: u8, number: u64, rest: &[u8]| {
        let len = [24, 1 << 8, 1 << 16, 1 << 32].iter().filter(|bound| number >= **bound).count();
        let bytes = number.to_be_bytes();
        match len {
            0 => [&[major << 5 | bytes[7]], rest].concat(),
            _ => [&[major << 5 | (23 + len as u8)], &bytes[8 - (1 << (len - 1))..], rest].concat(),
        }
    };
    let number = |number: i128| u64::try_from(number).expect("a number of CBOR");
    let (kind, written) = match value {
        Value::Bool(value) => (100, vec![0xf4 + u8::from(*value)]),
        Value::Integer(value @ 0..) => (101, with(0, number(*value), &[])),
        Value::Integer(value) => (102, with(1, number(-1 - value), &[])),
        Value::Bytes(bytes) => (103, with(2, bytes.len() as u64, bytes)),
        Value::Text(text) => (104, with(3, text.len() as u64, text.as_bytes())),
        Value::Array(items) => {
            let written: Vec<Vec<u8>> = items.iter().map(|item| write(item, shape)).collect();
            (105, with(4, items.len() as u64, &written.concat()))
        }
        Value::Map(pairs) => {
            let mut written: Vec<_> =
                pairs.iter().map(|(key, value)| (write(key, shape), write(value, shape))).collect();
            written.sort();
            let joined: Vec<u8> =
                written.into_iter().flat_map(|(key, value)| [key, value].concat()).collect();
            (106, with(5, pairs.len() as u64, &joined))
        }
        _ => (UNUSED, vec![0xf6]),
    };
    shape.extend([kind, class(written.len())]);
    written
}

/// The reason, without figures.
fn shown(error: &StatementError) -> String {
    match error {
        StatementError::TooLong { .. } => error.word().to_owned(),
        error => format!("{error:?}"),
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Takes bytes as a kind with the agreed time and without one.
fn judge<T: Standalone>(input: &[u8]) -> [Result<Verified<T>, StatementError>; 2] {
    [NOW, None].map(|at| Signed::<T>::parse(input)?.verify(at))
}

fn judge_recovery<T: RecoverySigned>(input: &[u8]) -> [Result<Verified<T>, StatementError>; 2] {
    let commitment = card::commitment(&key(21).verifying_key().to_bytes());
    [NOW, None].map(|at| Signed::<T>::parse(input)?.verify_recovery(&commitment, at))
}

/// Nobody can make a statement out of others: what is taken was among the vectors.
fn statement(input: &[u8], _: &mut StdRng) -> u64 {
    static SIGNED: OnceLock<HashSet<Vec<u8>>> = OnceLock::new();
    let signed = SIGNED.get_or_init(|| whole().into_iter().collect());
    fn words<T: Statement>(kind: &str, answers: [Result<Verified<T>, StatementError>; 2]) -> Vec<String> {
        assert_eq!(kind, T::KIND);
        let word =
            |answer: Result<_, StatementError>| answer.map_or_else(|error| shown(&error), |_| "good".into());
        answers.map(word).to_vec()
    }
    let peeked = peek(input);
    let kind = peeked.as_ref().map_or("", |peeked| peeked.kind.as_str());
    let answers = match kind {
        "certificate" => words(kind, judge::<Certificate>(input)),
        "card" => words(kind, judge::<Card>(input)),
        "route" => words(kind, judge::<Route>(input)),
        "letter" => words(kind, judge::<LetterStatement>(input)),
        "introduction" => words(kind, judge::<Introduction>(input)),
        "vouch" => words(kind, judge::<Vouch>(input)),
        "revocation" => words(kind, judge_recovery::<Revocation>(input)),
        "successor" => words(kind, judge_recovery::<Successor>(input)),
        "delegation" => words(kind, judge::<Delegation>(input)),
        "receipt" => words(kind, judge::<Receipt>(input)),
        "invite" => words(kind, judge::<Invite>(input)),
        _ => {
            let answer = [NOW, None].map(|at| verify_unknown(input, at));
            answer.map(|answer| answer.map_or_else(|error| shown(&error), |_| "good".into())).to_vec()
        }
    };
    if answers.iter().any(|answer| answer == "good") {
        assert!(signed.contains(input), "nobody signed this {kind}");
    } else if KINDS.contains(&kind) {
        assert!(verify_unknown(input, None).is_err());
    }
    sum((kind, answers))
}

/// The payload as the author of the vectors would sign it: by the key and with the certificate that its kind wants.
fn signed<T: Standalone>(payload: &[u8]) -> Vec<u8> {
    let bytes = |bytes: &[u8]| serde_cbor::to_vec(&Value::Bytes(bytes.to_vec())).expect("bytes are CBOR");
    let text = |text: &str| serde_cbor::to_vec(&Value::Text(text.to_owned())).expect("a text is CBOR");
    let identity = bytes(onion(1).public_key());
    let typ = text(&format!("application/vnd.onionskin.{}", T::KIND));
    let mut protected =
        [&[0xa4, 0x01, 0x27, 0x04], &identity[..], &[0x10], &typ, &[0x3a, 0, 1, 0x11, 0x70, 0x01]].concat();
    let signer = match T::SIGNED_BY {
        SignedBy::Device(_) => {
            let certificate =
                vectors().iter().find(|(kind, expect, _)| kind == "certificate" && expect == "good");
            let certificate = &certificate.expect("there is a good certificate").2;
            protected[0] = 0xa5;
            protected.extend([&[0x3a, 0, 1, 0x11, 0x71], &bytes(certificate)[..]].concat());
            key(11)
        }
        SignedBy::Identity | SignedBy::Recovery => key(1),
    };
    let context = bytes(format!("onionskin/1 {}\0", T::KIND).as_bytes());
    let (protected, payload) = (bytes(&protected), bytes(payload));
    let message = [&[0x84], &text("Signature1")[..], &protected, &context, &payload].concat();
    let signature = bytes(&signer.sign(&message).to_bytes());
    [&[0x84], &protected[..], &[0xa0], &payload, &signature].concat()
}

/// Takes the input for a payload that somebody really signed, half of the time after its encoding was made right;
/// what is read must be what was written.
fn fields<T: Standalone>(input: &[u8], rng: &mut StdRng, look: impl Fn(&Verified<T>) -> u64) -> u64 {
    let mut payload = input.to_vec();
    if rng.random_bool(0.5)
        && let Ok(value) = serde_cbor::from_slice(input)
    {
        payload = write(&value, &mut Vec::new());
    }
    let payload = &payload;
    let [at_time, without] = judge::<T>(&signed::<T>(payload));
    assert!(without.is_ok() || at_time.is_err(), "a time let more through than none");
    match without {
        Ok(statement) => {
            let written = cbor::encode(&*statement);
            let received = cbor::pairs(payload).expect("it was taken");
            let written = cbor::pairs(&written).expect("it was written");
            assert!(written.iter().all(|pair| received.contains(pair)), "another form of a field passed");
            assert!(received.iter().all(|(key, _)| key[0] >> 5 == 0), "a critical field was passed over");
            assert!(statement.author() == onion(1) && statement.made().0 % 3600 == 0);
            assert!(statement.until().is_none_or(|until| until >= statement.made()));
            let later = received.len() > written.len();
            sum((at_time.err().map(|error| shown(&error)), later, look(&statement)))
        }
        Err(error) => {
            assert_ne!(error, StatementError::Signature, "it is signed");
            sum(shown(&error))
        }
    }
}

fn card(input: &[u8], rng: &mut StdRng) -> u64 {
    fields::<Card>(input, rng, |card| {
        assert!((1..=PREKEYS_MAX).contains(&card.prekeys.len()) && !card.names.is_empty());
        let now = card.prekey_at(NOW).map(card::Prekey::id);
        assert!(now.is_none_or(|id| card.prekey(id).is_some()));
        assert_eq!(card::succession(card, card), card::Succession::Same);
        let first = vectors().iter().find(|(kind, expect, _)| kind == "card" && expect == "good");
        let [first, _] = judge::<Card>(&first.expect("there is a good card").2);
        let first = first.expect("it is good");
        let (there, back) = (card::succession(&first, card), card::succession(card, &first));
        let newer = [there, back].iter().filter(|one| **one == card::Succession::Newer).count();
        assert!(newer < 2, "each of two Cards is newer than the other");
        sum((card.prekeys.len(), class(card.names.len()), now.is_some(), format!("{there:?} {back:?}")))
    })
}

fn route(input: &[u8], rng: &mut StdRng) -> u64 {
    fields::<Route>(input, rng, |route| {
        assert!(route.drops.len() <= DROPS_MAX);
        assert!(route.drops.iter().all(|drop| drop.tokens.len() <= TOKENS_MAX));
        sum((route.drops.len(), route.drops.iter().map(|drop| class(drop.tokens.len())).max()))
    })
}

fn invite(input: &[u8], rng: &mut StdRng) -> u64 {
    fields::<Invite>(input, rng, |invite| u64::from(invite.inviter == onion(2)))
}

fn introduction(input: &[u8], rng: &mut StdRng) -> u64 {
    fields::<Introduction>(input, rng, |introduction| {
        assert!(introduction.to != introduction.subject && introduction.note.len() <= 1000);
        sum((class(introduction.note.len()), introduction.method, class(introduction.card.len())))
    })
}

fn letter(input: &[u8], rng: &mut StdRng) -> u64 {
    fields::<LetterStatement>(input, rng, |letter| {
        sum((letter.behalf.is_some(), class(letter.to.full().len())))
    })
}

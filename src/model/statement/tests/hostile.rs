//! Statements of every kind, good and then spoiled.

use super::good::{self, *};
use crate::model::statement::*;
use crate::model::time::UnixTime;
use ed25519_dalek::Signer as _;
use proptest::prelude::*;

/// A statement with any payload and any kind, signed by the identity key of Ann, without a certificate.
fn by_identity(kind: &str, payload: &[u8]) -> Vec<u8> {
    cose::seal(kind, &onion(1), None, payload, |message| key(1).sign(message).to_bytes())
}

/// The same by her device.
fn by_device(kind: &str, payload: &[u8]) -> Vec<u8> {
    let device = device();
    cose::seal(kind, &onion(1), Some(device.certificate().bytes()), payload, |message| {
        key(11).sign(message).to_bytes()
    })
}

#[test]
fn a_good_statement_of_every_kind_is_taken_with_and_without_a_time() {
    let all = good::all();
    assert_eq!(all.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), KINDS);
    for (kind, bytes) in all {
        assert_eq!(judge(kind, &bytes, Some(NOW)), Ok(onion(1)), "{kind}");
        assert_eq!(judge(kind, &bytes, None), Ok(onion(1)), "{kind}");
        let peeked = peek(&bytes).unwrap();
        assert_eq!((peeked.kind.as_str(), peeked.author), (kind, onion(1)));
        assert_eq!(verify_unknown(&bytes, None), Err(StatementError::Kind), "{kind}");
    }
}

#[test]
fn what_was_signed_is_what_is_read() {
    let signed = sign_as_device(&device(), &letter()).unwrap();
    let read = Signed::<LetterStatement>::parse(signed.bytes()).unwrap().verify(Some(NOW)).unwrap();
    assert!(*read == letter() && read.digest() == signed.digest() && read == signed);
    let signed = sign_as_device(&device(), &good::introduction()).unwrap();
    let card = Signed::<Card>::parse(signed.card.clone()).unwrap().verify(Some(NOW)).unwrap();
    assert!(*card == good::card());
}

#[test]
fn a_statement_of_one_kind_is_never_taken_for_another() {
    for (kind, bytes) in good::all() {
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            let answer = judge(other, &bytes, Some(NOW));
            assert!(
                matches!(answer, Err(StatementError::Kind | StatementError::TooLong { .. })),
                "{kind} as {other}: {answer:?}"
            );
            // The word alone changed: the signature is over the context of the first kind.
            let envelope = cose::Envelope::parse(&bytes).unwrap();
            let renamed =
                cose::seal(other, &onion(1), envelope.certificate, envelope.payload, |_| envelope.signature);
            assert!(judge(other, &renamed, Some(NOW)).is_err(), "{kind} renamed to {other}");
        }
    }
}

#[test]
fn each_key_signs_only_its_own_kinds() {
    let vouch_payload = cbor::encode(&vouch());
    assert_eq!(
        judge("vouch", &by_identity("vouch", &vouch_payload), Some(NOW)),
        Err(StatementError::Certificate("there is none"))
    );
    let card_payload = cbor::encode(&good::card());
    assert!(matches!(
        judge("card", &by_device("card", &card_payload), Some(NOW)),
        Err(StatementError::Form(_))
    ));
    // A stolen identity or device key can neither revoke nor succeed, whatever recovery key it names.
    for recovery in [public(21), public(1), public(11)] {
        let stolen = cbor::encode(&Revocation { recovery, ..revocation() });
        assert!(judge("revocation", &by_identity("revocation", &stolen), Some(NOW)).is_err());
        assert!(judge("revocation", &by_device("revocation", &stolen), Some(NOW)).is_err());
    }
    let own = sign_as_recovery(&key(22), &onion(1), &Revocation { recovery: public(22), ..revocation() });
    assert_eq!(judge("revocation", own.unwrap().bytes(), Some(NOW)), Err(StatementError::Commitment));
    assert!(sign_as_recovery(&key(22), &onion(1), &revocation()).is_err(), "it names another recovery key");
}

#[test]
fn a_certificate_covers_its_own_device_scope_and_time_only() {
    let refused = |certificate: &Certificate, at| {
        let signed = sign_as_device(&device_with(certificate), &vouch()).unwrap();
        judge("vouch", signed.bytes(), at)
    };
    let short = Certificate { until: UnixTime(MADE.0 + 10), ..certificate() };
    assert_eq!(refused(&short, Some(NOW)), Err(StatementError::Certificate("it has expired")));
    assert_eq!(refused(&short, None), Ok(onion(1)), "without a time nothing expires");
    let letters_only = Certificate { scope: Certificate::LETTERS, ..certificate() };
    let payload = cbor::encode(&vouch());
    let with = |certificate: &[u8]| {
        cose::seal("vouch", &onion(1), Some(certificate), &payload, |message| {
            key(11).sign(message).to_bytes()
        })
    };
    for (by, certificate, why) in [
        (1, letters_only, "its scope is another"),
        (2, certificate(), "another identity made it"),
        (
            1,
            Certificate { until: UnixTime(MADE.0 - 3600), made: UnixTime(MADE.0 - 7200), ..certificate() },
            "it had expired when the statement was made",
        ),
    ] {
        let signed = with(sign_as_identity(&key(by), &certificate).unwrap().bytes());
        assert_eq!(judge("vouch", &signed, None), Err(StatementError::Certificate(why)));
    }
    let other = Certificate { device: public(12), ..certificate() };
    let signed = with(sign_as_identity(&key(1), &other).unwrap().bytes());
    assert_eq!(judge("vouch", &signed, None), Err(StatementError::Signature));
    let mut forged = sign_as_identity(&key(1), &certificate()).unwrap().into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(judge("vouch", &with(&forged), None), Err(StatementError::Certificate("it is not valid")));
    assert_eq!(
        judge("vouch", &with(&by_device("receipt", &cbor::encode(&receipt()))), None),
        Err(StatementError::Certificate("it is not valid"))
    );
}

#[test]
fn a_wrong_time_refuses_and_no_time_refuses_nothing() {
    let day_later = MADE.plus(FUTURE_MAX);
    for (kind, bytes) in good::all() {
        assert_eq!(
            judge(kind, &bytes, Some(UnixTime(MADE.0 - FUTURE_MAX.as_secs()))),
            Ok(onion(1)),
            "{kind}"
        );
        let early = judge(kind, &bytes, Some(UnixTime(MADE.0 - FUTURE_MAX.as_secs() - 1)));
        match kind {
            "route" | "introduction" | "vouch" | "delegation" => {
                assert_eq!(early, Err(StatementError::Future), "{kind}")
            }
            _ => {
                assert_eq!(early, Ok(onion(1)), "{kind}: an author whose clock is ahead loses nothing by it")
            }
        }
        assert_eq!(judge(kind, &bytes, Some(day_later)), Ok(onion(1)), "{kind}");
        assert_eq!(judge(kind, &bytes, Some(UNTIL)), Ok(onion(1)), "{kind}");
        let late = judge(kind, &bytes, Some(UnixTime(UNTIL.0 + 1)));
        match kind {
            "card" | "custody" | "revocation" | "successor" => {
                assert_eq!(late, Ok(onion(1)), "{kind} never expires")
            }
            "certificate" => assert_eq!(late, Err(StatementError::Expired)),
            _ => assert_eq!(late, Err(StatementError::Certificate("it has expired")), "{kind}"),
        }
    }
    let kept = sign_as_device(&device(), &vouch()).unwrap();
    assert!(!kept.is_expired(None) && !kept.is_expired(Some(UNTIL)));
    assert!(kept.is_expired(Some(UnixTime(UNTIL.0 + 1))));
}

#[test]
fn unknown_fields_are_passed_over_unless_they_are_critical() {
    let mut payload = cbor::encode(&vouch());
    payload[0] += 1;
    let mut later = payload.clone();
    later.extend([0x18, 0x64, 0x01]);
    assert_eq!(judge("vouch", &by_device("vouch", &later), Some(NOW)), Ok(onion(1)));
    payload.extend([0x20, 0x01]);
    assert_eq!(judge("vouch", &by_device("vouch", &payload), Some(NOW)), Err(StatementError::Critical));
}

#[test]
fn a_field_has_one_form_only() {
    let refused = |payload: Vec<u8>| {
        let answer = judge("receipt", &by_device("receipt", &payload), Some(NOW));
        assert!(matches!(answer, Err(StatementError::Form(_))), "{answer:?}");
    };
    let good = cbor::encode(&receipt());
    assert_eq!(judge("receipt", &by_device("receipt", &good), Some(NOW)), Ok(onion(1)));
    // The same fields as an array; by name; the id as an array of numbers; a field left out; one of another kind.
    let pairs = cbor::pairs(&good).unwrap();
    let join = |head: u8, items: Vec<&[u8]>| [vec![head], items.concat()].concat();
    refused(join(0x84, pairs.iter().map(|pair| pair.1).collect()));
    let names = [&b"\x62id"[..], b"\x64made", b"\x66author", b"\x66digest"];
    let values = [pairs[1].1, pairs[3].1, pairs[0].1, pairs[2].1];
    refused(join(0xa4, names.into_iter().zip(values).flat_map(|(key, value)| [key, value]).collect()));
    let numbers = [vec![0x90], vec![5; 16]].concat();
    refused(join(0xa4, vec![&[0], pairs[0].1, &[1], &numbers, &[2], pairs[2].1, &[3], pairs[3].1]));
    refused(join(0xa3, vec![&[0], pairs[0].1, &[1], pairs[1].1, &[2], pairs[2].1]));
    refused(join(0xa4, vec![&[0], pairs[0].1, &[1], pairs[1].1, &[2], pairs[2].1, &[3], &[0x61, b'1']]));
    // A name that would be folded, and a time that is no hour.
    let fold = cbor::encode(&delegation());
    let at = fold.windows(4).position(|window| window == b"shop").unwrap();
    let mut capital = fold.clone();
    capital[at] = b'S';
    assert!(judge("delegation", &by_device("delegation", &fold), Some(NOW)).is_ok());
    assert!(judge("delegation", &by_device("delegation", &capital), Some(NOW)).is_err());
    assert!(sign_as_device(&device(), &Receipt { made: NOW, ..receipt() }).is_err());
}

#[test]
fn a_statement_of_an_unknown_kind_is_only_kept_if_it_is_signed() {
    let bytes = by_device("list-event", &[0xa1, 0x20, 0x01]);
    assert_eq!(verify_unknown(&bytes, Some(NOW)).unwrap().kind, "list-event");
    assert_eq!(verify_unknown(&by_identity("x1", &[0xa0]), Some(NOW)).unwrap().author, onion(1));
    let mut forged = bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(verify_unknown(&forged, Some(NOW)), Err(StatementError::Signature));
    for kind in ["", "Card", "a b", "1x", "-x", &"x".repeat(33)] {
        assert!(matches!(peek(&by_identity(kind, &[0xa0])), Err(StatementError::Form(_))), "{kind}");
    }
    let long = by_identity("x1", &[&[0xa1, 0, 0x59, 0x40, 0][..], &[0; 0x4000]].concat());
    assert!(matches!(verify_unknown(&long, None), Err(StatementError::TooLong { .. })));
}

#[test]
fn a_log_shows_nothing_of_a_statement() {
    let signed = sign_as_device(&device(), &introduction()).unwrap();
    let shown = format!("{signed:?} {:?} {:?} {:?}", *signed, device(), prekey(0));
    assert!(!shown.contains("choir") && !shown.contains(&onion(2).host()), "{shown}");
}

/// The good statements, made once.
fn once() -> Vec<(&'static str, Vec<u8>)> {
    static ALL: std::sync::OnceLock<Vec<(&str, Vec<u8>)>> = std::sync::OnceLock::new();
    ALL.get_or_init(good::all).clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_change_to_a_good_statement_is_refused(
        which in 0_usize..11,
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let (kind, mut bytes) = once().swap_remove(which);
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(judge(kind, &bytes, Some(NOW)).is_err(), "{kind} at {at}");
    }

    #[test]
    fn any_cut_or_extended_statement_is_refused(
        which in 0_usize..11,
        at in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..4),
    ) {
        let (kind, bytes) = once().swap_remove(which);
        prop_assert!(judge(kind, &bytes[..at.index(bytes.len())], Some(NOW)).is_err());
        prop_assert!(judge(kind, &[bytes.clone(), more].concat(), Some(NOW)).is_err());
    }

    #[test]
    fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(peek(&bytes).is_err());
    }
}

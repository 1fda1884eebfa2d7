//! Statements with one thing wrong each, and some that only look wrong.

use super::good::*;
use super::vectors::Vector;
use crate::model::statement::*;
use crate::model::time::UnixTime;
use ed25519_dalek::Signer as _;
use std::collections::BTreeMap;

const CRIT: &[u8] = &[0x02];
const KID: &[u8] = &[0x04];
const TYP: &[u8] = &[0x10];
const VERSION: &[u8] = &[0x3a, 0x00, 0x01, 0x11, 0x70];
const CERTIFICATE: &[u8] = &[0x3a, 0x00, 0x01, 0x11, 0x71];
/// The identity of the curve: any signature of one form is valid under it for any message, unless it is refused.
const SMALL_ORDER: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 1;
    key
};
/// The base point plus the point of order 2, which is the negative of its y.
const MIXED_ORDER: [u8; 32] = {
    let mut key = [0x99; 32];
    key[0] = 0x95;
    key
};

/// Keys and values, as encoded.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A statement that is being put together, each part of which can be wrong.
#[derive(Clone)]
struct Draft {
    protected: BTreeMap<Vec<u8>, Vec<u8>>,
    unprotected: Vec<u8>,
    payload: Vec<u8>,
    context: String,
    signer: u8,
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::put_bytes(&mut out, bytes);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::put_text(&mut out, text);
    out
}

impl Draft {
    fn new(kind: &str, payload: Vec<u8>, signer: u8) -> Self {
        let protected = BTreeMap::from([
            (vec![0x01], vec![0x27]),
            (KID.to_vec(), bytes(&public(1))),
            (TYP.to_vec(), text(&format!("application/vnd.onionskin.{kind}"))),
            (VERSION.to_vec(), vec![0x01]),
        ]);
        Self { protected, unprotected: vec![0xa0], payload, context: format!("onionskin/1 {kind}\0"), signer }
    }

    /// Signed by Ann's device.
    fn device(kind: &str, payload: Vec<u8>) -> Self {
        Self::new(kind, payload, 11).label(CERTIFICATE, bytes(device().certificate().bytes()))
    }

    fn vouch() -> Self {
        Self::device("vouch", cbor::encode(&vouch()))
    }

    fn label(mut self, label: &[u8], value: Vec<u8>) -> Self {
        self.protected.insert(label.to_vec(), value);
        self
    }

    fn without(mut self, label: &[u8]) -> Self {
        self.protected.remove(label);
        self
    }

    fn protected_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        cbor::put_head(&mut out, 5, self.protected.len() as u64);
        self.protected.iter().for_each(|(label, value)| out.extend([label.as_slice(), value].concat()));
        out
    }

    fn signature(&self, protected: &[u8]) -> [u8; 64] {
        let parts =
            [text("Signature1"), bytes(protected), bytes(self.context.as_bytes()), bytes(&self.payload)];
        key(self.signer).sign(&[vec![0x84], parts.concat()].concat()).to_bytes()
    }

    fn build(&self) -> Vec<u8> {
        let protected = self.protected_bytes();
        let signature = self.signature(&protected);
        let parts = [bytes(&protected), self.unprotected.clone(), bytes(&self.payload), bytes(&signature)];
        [vec![0x84], parts.concat()].concat()
    }
}

/// The payload of the good vouch with its pairs changed.
fn vouch_with(change: impl FnOnce(&mut Pairs)) -> Draft {
    let good = cbor::encode(&vouch());
    let pairs = cbor::pairs(&good).unwrap();
    let mut pairs = pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    change(&mut pairs);
    let mut payload = Vec::new();
    cbor::put_head(&mut payload, 5, pairs.len() as u64);
    pairs.iter().for_each(|(key, value)| payload.extend([key.as_slice(), value].concat()));
    Draft::device("vouch", payload)
}

fn vector(name: &str, expect: &str, bytes: &[u8], note: &str) -> Vector {
    Vector::new(name, "vouch", expect, bytes, note)
}

pub(super) fn all() -> Vec<Vector> {
    assert_eq!(Draft::vouch().build(), sign_as_device(&device(), &vouch()).unwrap().bytes(), "a good draft");
    [signatures(), times(), encodings(), headers(), payloads(), certificates(), kinds()].concat()
}

fn signatures() -> Vec<Vector> {
    let mut flipped = Draft::vouch().build();
    *flipped.last_mut().unwrap() ^= 1;
    let mut altered = Draft::vouch().build();
    let at = altered.len() - 67;
    altered[at] ^= 1;
    let other = Draft { signer: 12, ..Draft::vouch() };
    let context = Draft { context: "onionskin/1 route\0".into(), ..Draft::vouch() };
    let bare = Draft { context: String::new(), ..Draft::vouch() };
    let by_identity = Draft { signer: 1, ..Draft::vouch() };
    let weak = Draft::vouch().label(KID, bytes(&SMALL_ORDER));
    let mixed = Draft::vouch().label(KID, bytes(&MIXED_ORDER));
    let short = Draft::vouch().label(KID, bytes(&public(1)[..31]));
    let stranger = Draft::vouch().label(KID, bytes(&public(2)));
    // s = 0 and R = the identity: what plain verification under the identity's key takes for every message.
    let mut anything = weak.build();
    let signature = anything.len() - 64;
    anything[signature..].fill(0);
    anything[signature] = 1;
    vec![
        vector("signature-flipped", "signature", &flipped, "one bit of the signature is another"),
        vector("payload-altered", "signature", &altered, "show is false, but true was signed"),
        vector("signature-of-another", "signature", &other.build(), "another key signed"),
        vector("signature-of-the-identity", "signature", &by_identity.build(), "the device had to sign"),
        vector("context-of-another-kind", "signature", &context.build(), "signed in the context of a route"),
        vector("context-missing", "signature", &bare.build(), "signed with no external data"),
        vector("key-small-order", "key", &weak.build(), "the identity's key is a point of small order"),
        vector(
            "key-small-order-for-anything",
            "key",
            &anything,
            "the signature that such a key gives to all",
        ),
        vector("key-mixed-order", "key", &mixed.build(), "the identity's key is a point of mixed order"),
        vector("key-short", "key", &short.build(), "the identity's key has 31 bytes"),
        vector(
            "author-of-another",
            "certificate",
            &stranger.build(),
            "the certificate is another identity's",
        ),
    ]
}

fn times() -> Vec<Vector> {
    let short = Vouch { until: UnixTime(MADE.0 + 60), ..vouch() };
    let short = sign_as_device(&device(), &short).unwrap();
    let early = |seconds: u64| Some(UnixTime(MADE.0 - seconds));
    let good = Draft::vouch().build();
    let ahead = sign_as_device(&device(), &Vouch { made: UnixTime(MADE.0 + 97_200), ..vouch() }).unwrap();
    vec![
        vector("future", "future", ahead.bytes(), "dated almost 27 hours ahead"),
        vector("future-without-a-time", "good", ahead.bytes(), "without an agreed time nothing is ahead")
            .at(None),
        vector("expired", "expired", short.bytes(), "until was 14 minutes ago"),
        vector("expires-now", "good", short.bytes(), "until is this second").at(Some(UnixTime(MADE.0 + 60))),
        vector("expired-without-a-time", "good", short.bytes(), "without an agreed time nothing expires")
            .at(None),
        vector("future-certificate", "future", &good, "it and its certificate are dated 27 hours ahead")
            .at(early(97_200)),
        vector("almost-future", "good", &good, "dated exactly 26 hours ahead").at(early(93_600)),
        Vector::new("card-future", "card", "good", signed_card().bytes(), "dated ahead, and it has no end")
            .at(early(93_601)),
    ]
}

fn encodings() -> Vec<Vector> {
    let good = Draft::vouch().build();
    let behind = [good.as_slice(), &[0]].concat();
    let tagged = [&[0xd2], good.as_slice()].concat();
    let endless = [&[0x9f], &good[1..], &[0xff]].concat();
    let mut long_head = good.clone();
    long_head.splice(0..1, [0x98, 0x04]);
    let spoil = |name, note, change: &dyn Fn(&mut Pairs)| {
        vector(name, "not-deterministic", &vouch_with(change).build(), note)
    };
    let mut endless_map = cbor::encode(&vouch());
    endless_map[0] = 0xbf;
    endless_map.push(0xff);
    let mut payload_behind = cbor::encode(&vouch());
    payload_behind.push(0);
    let nested = [vec![0x81; 9], vec![0]].concat();
    let many = [vec![0x99, 0x0f, 0xff], vec![0; 4095]].concat();
    let many = Draft::device("route", [vec![0xa1, 0x18, 0x64], many].concat());
    vec![
        vector("trailing-byte", "not-deterministic", &behind, "a byte follows"),
        vector("tagged", "not-deterministic", &tagged, "the tag of COSE_Sign1 is not in use"),
        vector("indefinite-array", "not-deterministic", &endless, "an array without a length"),
        vector("long-head", "not-deterministic", &long_head, "the length 4 in two bytes"),
        vector("empty", "not-deterministic", &[], "nothing"),
        vector("cut", "not-deterministic", &good[..good.len() - 1], "the last byte is missing"),
        spoil("payload-long-number", "the number 1 in two bytes", &|pairs| pairs[1].1 = vec![0x18, 0x01]),
        spoil("payload-long-length", "the length 32 in three bytes", &|pairs| {
            pairs[0].1.splice(0..2, [0x59, 0x00, 0x20]);
        }),
        spoil("payload-unsorted", "two keys are swapped", &|pairs| pairs.swap(0, 1)),
        spoil("payload-key-twice", "a key is there twice", &|pairs| pairs.insert(1, pairs[1].clone())),
        spoil("payload-float", "a time as a float", &|pairs| pairs[3].1 = vec![0xfa, 0x4e, 0xd3, 0x48, 0x56]),
        spoil("payload-null", "a field is null", &|pairs| pairs[4].1 = vec![0xf6]),
        spoil("payload-tag", "a time with the tag for times", &|pairs| pairs[3].1.insert(0, 0xc1)),
        spoil("payload-bad-text", "a text that is not UTF-8", &|pairs| {
            pairs.push((vec![5], vec![0x61, 0xff]))
        }),
        spoil("payload-deep", "arrays nested nine deep", &|pairs| pairs.push((vec![5], nested.clone()))),
        Vector::new("payload-many", "route", "not-deterministic", &many.build(), "more than 4096 items"),
        vector(
            "payload-indefinite",
            "not-deterministic",
            &Draft::device("vouch", endless_map).build(),
            "a map without a length",
        ),
        vector(
            "payload-trailing",
            "not-deterministic",
            &Draft::device("vouch", payload_behind).build(),
            "a byte follows the payload's map",
        ),
    ]
}

fn headers() -> Vec<Vector> {
    let draft = Draft::vouch;
    let unprotected = Draft { unprotected: vec![0xa1, 0x04, 0x41, 0x00], ..draft() };
    let three = [vec![0x83], bytes(&draft().protected_bytes()), vec![0xa0], bytes(&draft().payload)].concat();
    let unknown = text("x");
    let case = |name, expect, draft: Draft, note| vector(name, expect, &draft.build(), note);
    vec![
        vector("three-parts", "form", &three, "no signature at all"),
        case("unprotected-header", "form", unprotected, "an unprotected header that is not empty"),
        case(
            "crit-unknown",
            "critical",
            draft().label(CRIT, vec![0x81, 0x18, 0x63]),
            "an unknown critical label",
        ),
        case(
            "crit-known",
            "good",
            draft().label(CRIT, [&[0x81], VERSION].concat()),
            "a known critical label",
        ),
        case("crit-empty", "form", draft().label(CRIT, vec![0x80]), "an empty list of critical labels"),
        case(
            "label-unknown",
            "good",
            draft().label(&[0x18, 0x63], unknown),
            "an unknown label is passed over",
        ),
        case("algorithm", "form", draft().label(&[0x01], vec![0x26]), "the algorithm says ES256"),
        case("algorithm-missing", "form", draft().without(&[0x01]), "no algorithm"),
        case("author-missing", "form", draft().without(KID), "no identity"),
        case("type-missing", "form", draft().without(TYP), "no type"),
        case(
            "type-foreign",
            "form",
            draft().label(TYP, text("application/cbor")),
            "a type of somebody else's",
        ),
        case("version-missing", "form", draft().without(VERSION), "no version"),
        case("version-2", "version", draft().label(VERSION, vec![0x02]), "a version of the future"),
    ]
}

fn payloads() -> Vec<Vector> {
    let case = |name, expect, note, change: &dyn Fn(&mut Pairs)| {
        vector(name, expect, &vouch_with(change).build(), note)
    };
    let array = cbor::pairs(&cbor::encode(&vouch())).unwrap().iter().fold(vec![0x85], |mut array, pair| {
        array.extend(pair.1);
        array
    });
    let capital = cbor::encode(&delegation());
    let at = capital.windows(4).position(|window| window == b"shop").unwrap();
    let capital = [&capital[..at], b"S", &capital[at + 1..]].concat();
    vec![
        case("field-unknown", "good", "an unknown field is passed over", &|pairs| {
            pairs.push((vec![0x18, 0x64], vec![0x01]));
        }),
        case("field-critical", "critical", "an unknown field with a negative key", &|pairs| {
            pairs.push((vec![0x20], vec![0x01]));
        }),
        case("field-missing", "form", "show is missing", &|pairs| drop(pairs.pop())),
        case("field-by-name", "form", "a key is a text", &|pairs| pairs[4].0 = text("show")),
        case("field-of-another-kind", "form", "show is a number", &|pairs| pairs[4].1 = vec![0x01]),
        case("method-unknown", "form", "a method that nobody knows", &|pairs| pairs[1].1 = vec![0x09]),
        case("subject-small-order", "form", "the subject's key is a point of small order", &|pairs| {
            pairs[0].1 = bytes(&SMALL_ORDER);
        }),
        case("subject-as-numbers", "form", "the subject's key as an array of numbers", &|pairs| {
            pairs[0].1 = [vec![0x98, 0x20], vec![0x01; 32]].concat();
        }),
        case("made-to-the-second", "form", "made is not rounded to the hour", &|pairs| {
            pairs[2].1 = vec![0x1a, 0x69, 0xa4, 0x2c, 0x41];
        }),
        case("until-before-made", "form", "it ends before it was made", &|pairs| pairs[3].1 = vec![0x01]),
        case("oversized", "too-long", "more than 4 KiB", &|pairs| {
            pairs.push((vec![0x05], bytes(&[0; 4096])));
        }),
        vector(
            "payload-array",
            "form",
            &Draft::device("vouch", array).build(),
            "an array in place of the map",
        ),
        Vector::new(
            "name-not-folded",
            "delegation",
            "form",
            &Draft::device("delegation", capital).build(),
            "a local part with a capital",
        ),
    ]
}

fn certificates() -> Vec<Vector> {
    let ann = key(1);
    let signed = |certificate: &Certificate| sign_as_identity(&ann, certificate).unwrap().into_bytes();
    let case = |name, expect, bytes_of: &[u8], note| {
        vector(name, expect, &Draft::vouch().label(CERTIFICATE, bytes(bytes_of)).build(), note)
    };
    let expired = signed(&Certificate { until: UnixTime(MADE.0 + 60), ..certificate() });
    let past = Certificate { made: UnixTime(MADE.0 - 7200), until: UnixTime(MADE.0 - 3600), ..certificate() };
    let letters = signed(&Certificate { scope: Certificate::LETTERS, ..certificate() });
    let other = signed(&Certificate { device: public(12), ..certificate() });
    let bobs = sign_as_identity(&key(2), &certificate()).unwrap().into_bytes();
    let mut forged = signed(&certificate());
    *forged.last_mut().unwrap() ^= 1;
    let by_itself = Draft::new("certificate", cbor::encode(&certificate()), 11).build();
    let weak = cbor::encode(&Certificate { device: SMALL_ORDER, ..certificate() });
    let weak = Draft::new("certificate", weak, 1).build();
    let card = Draft::new("card", cbor::encode(&card()), 1);
    let card = card.label(CERTIFICATE, bytes(&signed(&certificate())));
    let missing = Draft::vouch().without(CERTIFICATE);
    vec![
        case(
            "certificate-expired",
            "certificate",
            &expired,
            "the device's certificate expired 14 minutes ago",
        ),
        case("certificate-past", "certificate", &signed(&past), "made after the certificate had run out")
            .at(None),
        case("certificate-of-another-identity", "certificate", &bobs, "Bob certified the device, not Ann"),
        case("certificate-for-letters", "certificate", &letters, "the device may only sign letters"),
        case("certificate-for-another-device", "signature", &other, "another device is certified"),
        case("certificate-forged", "certificate", &forged, "its signature is wrong"),
        case("certificate-by-the-device", "certificate", &by_itself, "the device certified itself"),
        case("certificate-that-is-none", "certificate", &Draft::vouch().build(), "a vouch in its place"),
        case("certificate-small-order", "certificate", &weak, "the device's key is a point of small order"),
        vector("certificate-missing", "certificate", &missing.build(), "a device signed without one"),
        Vector::new("device-key-small-order", "certificate", "key", &weak, "a certificate for such a key"),
        Vector::new("card-with-certificate", "card", "form", &card.build(), "a Card is never a device's"),
    ]
}

fn kinds() -> Vec<Vector> {
    let good = Draft::vouch().build();
    let renamed = Draft::vouch().label(TYP, text("application/vnd.onionskin.route"));
    let revocation = revocation();
    let stolen = Draft::new("revocation", cbor::encode(&revocation), 1);
    let own =
        sign_as_recovery(&key(22), &onion(1), &Revocation { recovery: public(22), ..revocation.clone() });
    let device = Draft::device("revocation", cbor::encode(&revocation));
    let later = Draft::device("later", vec![0xa1, 0x20, 0xf5]);
    let mut forged = later.build();
    *forged.last_mut().unwrap() ^= 1;
    let suite = Card { suite: 2, ..card() };
    let order = Card { prekeys: vec![prekey(1), prekey(0)], ..card() };
    let short = Prekey { key: vec![7; 1215], ..prekey(51) };
    let short = Card { last_resort: short, ..card() };
    let by_ann = |card: &Card| Draft::new("card", cbor::encode(card), 1).build();
    vec![
        Vector::new("kind-of-another", "route", "kind", &good, "a vouch where a route is wanted"),
        Vector::new(
            "kind-renamed",
            "route",
            "signature",
            &renamed.build(),
            "a vouch that says it is a route",
        ),
        Vector::new("revocation-by-the-identity", "revocation", "signature", &stolen.build(), "not its key"),
        Vector::new("revocation-by-a-device", "revocation", "form", &device.build(), "not its key"),
        Vector::new(
            "revocation-by-another-recovery-key",
            "revocation",
            "commitment",
            own.unwrap().bytes(),
            "signed well, by a key that no Card names",
        ),
        Vector::new(
            "unknown-kind",
            "later",
            "good",
            &later.build(),
            "signed well: may be kept, never passed on",
        ),
        Vector::new("unknown-kind-forged", "later", "signature", &forged, "not even kept"),
        Vector::new("card-suite", "card", "version", &by_ann(&suite), "a suite of the future"),
        Vector::new("card-prekey-order", "card", "form", &by_ann(&order), "prekeys in the wrong order"),
        Vector::new("card-prekey-short", "card", "form", &by_ann(&short), "a prekey of 1215 bytes"),
    ]
}

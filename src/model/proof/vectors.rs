//! `tests/vectors/letter.json`: whole sealed letters, and the same saved by their reader, made here from fixed seeds,
//! byte for byte, and judged as it says.
//!
//! With `ONIONSKIN_WRITE_VECTORS=1` in the environment the file is written anew.

use super::{ProofError, prove};
use crate::model::address::{LocalPart, MailAddress};
use crate::model::letter::LetterId;
use crate::model::seal::inside::{HeaderPart, InsideError, Layout};
use crate::model::seal::{Opener, PublicPrekey, Sealer, SecretPrekey, age_keys};
use crate::model::statement::*;
use crate::model::time::UnixTime;
use crate::model::trace::{Arrival, Proof, screen, trace_lines, with_canonical_author};
use crate::model::trust::Tier;
use crate::model::verdict::{self, Proved, Verdict};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use onion::OnionAddress;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::time::Duration;

/// 2026-03-01T12:00:00Z, an hour.
const MADE: UnixTime = UnixTime(1_772_366_400);
/// When the letters come.
const AT: UnixTime = UnixTime(MADE.0 + 1500);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const TEXT: &str = "Dear Bob,\r\n\r\nthis letter is as a second reader finds it.\r\n.\r\nAnn\r\n";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    about: Vec<String>,
    /// Seconds since 1970: the agreed time.
    at: u64,
    author: String,
    reader: String,
    /// What the reader opens them with.
    identity: String,
    prekey_id: String,
    sealed: Vec<Sealed>,
    saved: Vec<Saved>,
}

/// A sealed letter, and what must become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sealed {
    name: String,
    /// "good", or the word of what is wrong.
    expect: String,
    /// Base64.
    sealed: String,
    /// What MAIL says in LETTER.
    transfer_id: String,
    /// What a good one shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shows: Option<Shows>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shows {
    to: String,
    id: String,
    length: u64,
    digest: String,
    made: u64,
    receipt: bool,
    /// The words of the kinds of what is enclosed.
    enclosed: Vec<String>,
    letter: String,
}

/// A letter in its reader's mailbox, and what it proves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Saved {
    name: String,
    /// "good", or the word of what is wrong.
    expect: String,
    /// Base64.
    letter: String,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

fn address(local: &str, seed: u8) -> MailAddress {
    let onion = OnionAddress::from_public_key(public(seed)).unwrap();
    MailAddress { local: LocalPart::parse(local).unwrap(), onion }
}

fn prekey(seed: u8) -> SecretPrekey {
    SecretPrekey::from_seed(&[seed; 32])
}

fn device(author: u8) -> DeviceSigner {
    let (made, until) = (MADE, MADE.plus(YEAR));
    let certificate = Certificate { device: public(author + 10), scope: 3, made, until };
    DeviceSigner::new(key(author + 10), sign_as_identity(&key(author), &certificate).unwrap()).unwrap()
}

fn card() -> Verified<Card> {
    let published = |seed: u8, until: u64| Prekey {
        key: prekey(seed).public().as_bytes().to_vec(),
        seal_until: UnixTime(MADE.0 + until),
        open_until: UnixTime(MADE.0 + until).plus(Duration::from_secs(45 * 86_400)),
    };
    let card = Card {
        generation: 1,
        sequence: 0,
        previous: None,
        made: MADE,
        names: vec![LocalPart::parse("ann").unwrap()],
        recovery: card::commitment(&public(21)),
        suite: card::SUITE,
        prekeys: vec![published(31, 7 * 86_400)],
        last_resort: published(32, 365 * 86_400),
        size_max: 64 << 20,
    };
    sign_as_identity(&key(1), &card).unwrap()
}

fn letter(from: &str, more: &str) -> String {
    let (from, to) = (address(from, 1).full(), address("bob", 2).full());
    format!("{more}From: Ann <{from}>\r\nTo: {to}\r\nSubject: a whole letter\r\n\r\n{TEXT}")
}

fn statement(to: &MailAddress, letter: &str) -> LetterStatement {
    LetterStatement {
        to: to.clone(),
        id: LetterId([5; 16]),
        length: letter.len() as u64,
        digest: Sha256::digest(letter).into(),
        suite: card::SUITE,
        made: MADE,
        receipt: true,
        behalf: None,
        errand: false,
    }
}

fn signed(author: u8, letter: &str) -> Vec<u8> {
    sign_as_device(&device(author), &statement(&address("bob", 2), letter)).unwrap().into_bytes()
}

fn seal(to: &PublicPrekey, frame: &[u8], letter: &str) -> Vec<u8> {
    let layout = Layout::new(frame, letter.len() as u64).unwrap();
    let sealer = Sealer::new(to, &[51; 32], layout.prefix());
    let parts = layout.chunk(0).unwrap();
    assert!(parts.last);
    let mut chunk = [layout.prefix(), letter.as_bytes()].concat();
    chunk.resize(chunk.len() + parts.zeros, 0);
    sealer.seal_chunk(0, true, &mut chunk);
    [sealer.head(), &chunk].concat()
}

fn vector(name: &str, expect: &str, sealed: &[u8]) -> Sealed {
    let transfer: [u8; 16] = Sha256::digest(sealed)[..16].try_into().unwrap();
    Sealed {
        name: name.to_owned(),
        expect: expect.to_owned(),
        sealed: BASE64.encode(sealed),
        transfer_id: LetterId(transfer).to_hex(),
        shows: None,
    }
}

fn sealed_letters() -> Vec<Sealed> {
    let (letter, to) = (letter("ann", ""), prekey(41));
    let to = to.public();
    let header = signed(1, &letter);
    let whole = frame::encode(&header, &[card().into_bytes()]);
    let good = seal(to, &whole, &letter);
    let fields = statement(&address("bob", 2), &letter);
    let shows = Shows {
        to: fields.to.full(),
        id: fields.id.to_hex(),
        length: fields.length,
        digest: HEXLOWER.encode(&fields.digest),
        made: fields.made.0,
        receipt: fields.receipt,
        enclosed: vec!["card".to_owned()],
        letter: letter.clone(),
    };
    let mut forged = header.clone();
    *forged.last_mut().unwrap() ^= 1;
    let forged = frame::encode(&forged, &[]);
    let elsewhere = sign_as_device(&device(1), &statement(&address("bea", 2), &letter)).unwrap();
    let elsewhere = frame::encode(elsewhere.bytes(), &[]);
    let mut changed = good.clone();
    changed[3000] ^= 1;
    let alone = frame::encode(&header, &[]);
    let other = letter.replace("Dear Bob", "Dear Ben");
    let many = frame::encode(&header, &vec![Vec::new(); frame::ENCLOSURES_MAX + 1]);
    vec![
        Sealed { shows: Some(shows), ..vector("with the author's Card", "good", &good) },
        vector("the signature is another", "statement", &seal(to, &forged, &letter)),
        vector("signed for another name", "reader", &seal(to, &elsewhere, &letter)),
        vector("another letter than was signed", "digest", &seal(to, &alone, &other)),
        vector("a longer letter than was signed", "length", &seal(to, &alone, &letter.repeat(20))),
        vector("no frame but a bare statement", "frame", &seal(to, &header, &letter)),
        vector("too many enclosures", "frame", &seal(to, &many, &letter)),
        vector("sealed for somebody else", "seal", &seal(prekey(42).public(), &alone, &letter)),
        vector("a byte of the file changed", "seal", &changed),
        vector("the end is missing", "seal", &good[..good.len() - 1]),
    ]
}

/// A letter as the node of Bob keeps it, whose Card of Ann has one name.
fn kept(author: u8, letter: &str, above: Option<&[u8]>) -> Vec<u8> {
    let (own, bob) = (address("bob", 2).onion, address("bob", 2));
    let author = OnionAddress::from_public_key(public(author)).unwrap();
    let (block, content) = letter.split_at(letter.find("\r\n\r\n").unwrap() + 4);
    let screened = screen(block.as_bytes(), &own).unwrap();
    let names = [LocalPart::parse("ann").unwrap()];
    let header = with_canonical_author(screened.header, &screened.authors, &author, &names);
    let arrival = Arrival {
        own: &own,
        proved: Some(&author),
        signed: Some(&author),
        proof: Proof::Pass,
        return_path: Some(&address("ann", 1)),
        recipient: Some(&bob),
        id: Some(LetterId([29; 16])),
        utf8: false,
        at: AT,
    };
    let verdict = Verdict {
        tier: Tier::Known,
        proved: Proved::Sealed(&author),
        canonical: Some(&address("ann", 1)),
        behalf: None,
        reason: "you wrote to them",
    };
    let signed = above.map_or_else(|| signed(1, letter), <[u8]>::to_vec);
    let mut all = trace_lines(&arrival);
    all.extend(verdict.line().into_bytes());
    all.extend(verdict::bytes_field(verdict::SIGNED, &signed).into_bytes());
    if header != block.as_bytes() {
        all.extend(verdict::bytes_field(verdict::ORIGINAL, block.as_bytes()).into_bytes());
    }
    [all, header, content.as_bytes().to_vec()].concat()
}

fn saved_letters() -> Vec<Saved> {
    let plain = letter("ann", "");
    let strange = letter("bank", "X-Onionskin-Verdict: trusted\r\nReturn-Path: <x@example.org>\r\n");
    let replaced = |kept: &[u8], old: &str, new: &str| {
        let text = String::from_utf8(kept.to_vec()).unwrap();
        assert!(text.contains(old));
        text.replacen(old, new, 1).into_bytes()
    };
    let good = kept(1, &plain, None);
    let changed = kept(1, &strange, None);
    let unix = String::from_utf8(good.clone()).unwrap().replace("\r\n", "\n").into_bytes();
    let (eve, other) = (signed(3, &plain), signed(1, &strange));
    let all: [(&str, &str, Vec<u8>); 10] = [
        ("as it was kept", "good", good.clone()),
        ("with the line ends of another system", "good", unix),
        ("the header was changed on arrival", "good", changed.clone()),
        ("the text altered", "altered", replaced(&good, "Dear Bob", "Dear Ben")),
        ("the header altered", "altered", replaced(&good, "a whole", "a small")),
        ("the shown header altered", "header-altered", replaced(&changed, "a whole", "a small")),
        ("text added", "length", [good.clone(), b"PS\r\n".to_vec()].concat()),
        ("the signed header of another letter", "length", kept(1, &plain, Some(&other))),
        ("signed by somebody who is not in From", "author", kept(3, &plain, Some(&eve))),
        ("not sealed", "unsealed", plain.into_bytes()),
    ];
    let saved = |(name, expect, letter): (&str, &str, Vec<u8>)| Saved {
        name: name.into(),
        expect: expect.into(),
        letter: BASE64.encode(letter),
    };
    all.into_iter().map(saved).collect()
}

fn file() -> File {
    let about = [
        "Whole letters of Onionskin, as docs/protocol.md describes them: sealed, and as their reader keeps them.",
        "Ed25519 seeds are one byte 32 times: Ann's identity 1, her device 11, her recovery key 21; Bob's identity 2; \
         Eve's identity 3, her device 13.",
        "Seeds of prekeys: Ann's 31 and 32, Bob's 41; the sealing seed is 51.",
    ];
    File {
        about: about.map(str::to_owned).to_vec(),
        at: AT.0,
        author: address("ann", 1).full(),
        reader: address("bob", 2).full(),
        identity: age_keys::identity(&prekey(41)).to_string(),
        prekey_id: prekey(41).id().to_hex(),
        sealed: sealed_letters(),
        saved: saved_letters(),
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/letter.json")
}

fn read() -> File {
    serde_json::from_slice(&std::fs::read(path()).expect("the vectors are there")).expect("they are JSON")
}

#[test]
fn the_vectors_are_made_again_byte_for_byte() {
    let made = file();
    if std::env::var_os("ONIONSKIN_WRITE_VECTORS").is_some() {
        std::fs::write(path(), serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    assert_eq!(made, read());
}

/// Opens a whole letter; the word of what is wrong with it.
fn open(file: &[u8], reader: &MailAddress) -> Result<Shows, &'static str> {
    let mut opener = Opener::new(prekey(41));
    let mut plain = opener.push(file).map_err(|_| "seal")?;
    plain.extend(opener.finish().map_err(|_| "seal")?);
    let mut part = HeaderPart::default();
    let rest = part.push(&plain).map_err(|_| "length")?.ok_or("length")?;
    let (statement, enclosures) = frame::decode(part.header()).map_err(|_| "frame")?;
    let signed = Signed::<LetterStatement>::parse(statement).and_then(|signed| signed.verify(Some(AT)));
    let statement = signed.map_err(|_| "statement")?;
    if statement.to != *reader {
        return Err("reader");
    }
    let word = |error| match error {
        InsideError::Digest => "digest",
        InsideError::Padding => "padding",
        InsideError::HeaderLength | InsideError::Length => "length",
    };
    let mut part = part.expect(statement.length, statement.digest).map_err(word)?;
    let letter = part.push(rest).map_err(word)?.to_vec();
    part.finish().map_err(word)?;
    Ok(Shows {
        to: statement.to.full(),
        id: statement.id.to_hex(),
        length: statement.length,
        digest: HEXLOWER.encode(&statement.digest),
        made: statement.made.0,
        receipt: statement.receipt,
        enclosed: enclosures.iter().map(|bytes| peek(bytes).unwrap().kind).collect(),
        letter: String::from_utf8(letter).unwrap(),
    })
}

#[test]
fn the_sealed_letters_are_judged_as_they_say() {
    let all = read();
    for vector in all.sealed {
        let opened = open(&BASE64.decode(&vector.sealed).unwrap(), &MailAddress::parse(&all.reader).unwrap());
        match &opened {
            Ok(shows) => assert_eq!((vector.expect.as_str(), Some(shows)), ("good", vector.shows.as_ref())),
            Err(word) => assert_eq!(*word, vector.expect, "{}", vector.name),
        }
    }
}

#[test]
fn the_saved_letters_are_judged_as_they_say() {
    for vector in read().saved {
        let word = match prove(&BASE64.decode(&vector.letter).unwrap()) {
            Ok(proven) => {
                assert_eq!(proven.author.public_key(), &public(1));
                assert_eq!(proven.received, Some(AT.to_the_minute()));
                "good"
            }
            Err(ProofError::Unsealed) => "unsealed",
            Err(ProofError::Header(_) | ProofError::Line(_)) => "malformed",
            Err(ProofError::Statement(_)) => "statement",
            Err(ProofError::Length { .. }) => "length",
            Err(ProofError::Altered) => "altered",
            Err(ProofError::HeaderAltered) => "header-altered",
            Err(ProofError::OtherAuthor { .. }) => "author",
        };
        assert_eq!(word, vector.expect, "{}", vector.name);
    }
}

//! Seals held to vectors: the public ones of age, and our own, which another implementation can be held to.

use super::inside::{HeaderPart, InsideError, Layout};
use super::kem::{self, FILE_KEY_LEN};
use super::*;
use crate::model::aead::Cipher;
use crate::model::letter::LetterId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

const CCTV: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/age/cctv.json"));
const OWN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/seals.json"));

/// A part of a file: base64, or one byte many times.
#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Base64(String),
    Run(u8, usize),
}

fn bytes(pieces: &[Piece]) -> Vec<u8> {
    let of = |piece: &Piece| match piece {
        Piece::Base64(text) => BASE64.decode(text).unwrap(),
        Piece::Run(byte, times) => vec![*byte; *times],
    };
    pieces.iter().flat_map(of).collect()
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

/// Opens a file; also what was given out before an error.
fn open(secret: &SecretPrekey, file: &[u8], step: usize) -> (Vec<u8>, Result<(), OpenError>) {
    let mut opener = Opener::new(SecretPrekey::from_seed(secret.seed()));
    let mut plain = Vec::new();
    for piece in file.chunks(step) {
        match opener.push(piece) {
            Ok(more) => plain.extend(more),
            Err(error) => return (plain, Err(error)),
        }
    }
    let last = opener.finish().map(|more| plain.extend(more));
    (plain, last)
}

#[derive(Deserialize)]
struct Public {
    name: String,
    expect: String,
    payload: Option<String>,
    identity: Option<String>,
    file_key: String,
    file: Vec<Piece>,
}

impl Public {
    fn hash_is(&self, plain: &[u8]) -> bool {
        self.payload.as_ref().is_none_or(|hash| *hash == HEXLOWER.encode(&Sha256::digest(plain)))
    }
}

/// A secret for which no vector was made.
fn nobody() -> SecretPrekey {
    SecretPrekey::from_seed(&[9; 32])
}

/// What is allowed in age and never in a seal: other stanzas beside ours.
const WITH_OTHER_STANZAS: [&str; 3] = ["hybrid_and_x25519", "hybrid_grease", "hybrid_multiple_recipients"];

#[test]
fn the_public_vectors_with_a_post_quantum_stanza_do_as_they_should() {
    let all: Vec<Public> = serde_json::from_str(CCTV).unwrap();
    let hybrid: Vec<&Public> = all.iter().filter(|vector| vector.name.starts_with("hybrid")).collect();
    assert_eq!(hybrid.len(), 18);
    let mut opened = 0;
    for vector in hybrid {
        let file = bytes(&vector.file);
        let secret = vector.identity.as_deref().and_then(age_keys::parse_identity).unwrap_or_else(nobody);
        let (plain, end) = open(&secret, &file, 500);
        let name = &vector.name;
        if WITH_OTHER_STANZAS.contains(&name.as_str()) {
            let refused = [HeaderError::ForeignStanza, HeaderError::Several].map(|error| Err(error.into()));
            assert!(refused.contains(&end), "{name}: {end:?}");
            continue;
        }
        match vector.expect.as_str() {
            "success" => {
                assert!(end.is_ok() && vector.hash_is(&plain), "{name}: {end:?}");
                opened += 1;
            }
            "no match" => {
                let no_match = [OpenError::OtherKey, OpenError::Header(HeaderError::ForeignStanza)];
                assert!(no_match.map(Err).contains(&end), "{name}: {end:?}");
            }
            "header failure" => {
                assert!(matches!(end, Err(OpenError::Header(_) | OpenError::OtherKey)), "{name}: {end:?}");
            }
            other => panic!("{name} expects {other}"),
        }
        assert!(plain.is_empty() || end.is_ok(), "{name}");
    }
    assert!(opened >= 1);
}

/// What the public vectors count as given out: each chunk that is right as a middle one (if it is whole) or as the
/// last, up to the first that is neither. Ours gives out no chunk before it knows which of them it is.
fn generous(file_key: &[u8; FILE_KEY_LEN], payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let Some((nonce, chunks)) = payload.split_at_checked(NONCE_LEN) else { return plain };
    let cipher = Cipher::new(&header::payload_key(file_key, nonce));
    for (no, chunk) in chunks.chunks(SEALED_CHUNK_LEN).enumerate().filter(|(_, chunk)| chunk.len() >= TAG_LEN)
    {
        let (text, tag) = chunk.split_at(chunk.len() - TAG_LEN);
        let as_one = |last| {
            let mut text = text.to_vec();
            cipher.open(chunk_nonce(no as u64, last), b"", &mut text, tag).ok().map(|()| text)
        };
        let whole = text.len() == CHUNK_LEN;
        let (middle, last) = (whole.then(|| as_one(false)).flatten(), as_one(true));
        let ends = middle.is_none();
        plain.extend(middle.or(last).unwrap_or_default());
        if ends {
            break;
        }
    }
    plain
}

/// The public vectors of payloads have a stanza of X25519. Here each file key is wrapped anew for a prekey, and the
/// payload stays what it was.
#[test]
fn the_public_vectors_of_payloads_do_as_they_should_under_our_stanza() {
    let all: Vec<Public> = serde_json::from_str(CCTV).unwrap();
    let secret = SecretPrekey::from_seed(&[7; 32]);
    let (mut opened, mut refused) = (0, 0);
    for vector in all.iter().filter(|vector| vector.name.starts_with("stream_")) {
        let file_key: [u8; FILE_KEY_LEN] = hex(&vector.file_key);
        let old = bytes(&vector.file);
        let mac_at = old.windows(5).position(|part| part == b"\n--- ").unwrap() + 1;
        let end_at = mac_at + old[mac_at..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let mut file = header::write(&kem::wrap(&file_key, secret.public(), &[5; 64]).stanza(), &file_key);
        file.extend(&old[end_at..]);
        for step in [file.len(), 4099] {
            let (plain, end) = open(&secret, &file, step);
            let name = &vector.name;
            match vector.expect.as_str() {
                "success" => assert!(end.is_ok(), "{name}: {end:?}"),
                "payload failure" => {
                    assert!(matches!(end, Err(OpenError::Forged | OpenError::CutOff)), "{name}: {end:?}");
                }
                // age counts the nonce to the header.
                "header failure" => assert_eq!(end, Err(OpenError::CutOff), "{name}"),
                other => panic!("{name} expects {other}"),
            }
            let all = generous(&file_key, &old[end_at..]);
            assert!(vector.hash_is(&all), "{name}");
            assert!(all.starts_with(&plain), "{name}: other bytes were given out");
            if step != file.len() || end.is_ok() {
                assert!(all.len() - plain.len() <= CHUNK_LEN, "{name}: bytes were held back");
            }
        }
        if vector.expect == "success" { opened += 1 } else { refused += 1 }
    }
    assert_eq!((opened, refused), (8, 20));
}

#[test]
fn the_public_vectors_with_other_kinds_of_keys_are_refused_by_their_header() {
    let all: Vec<Public> = serde_json::from_str(CCTV).unwrap();
    let mut foreign = 0;
    let mut seen = 0;
    for vector in all.iter().filter(|vector| !vector.name.starts_with("hybrid")) {
        let (plain, end) = open(&nobody(), &bytes(&vector.file), 100);
        let empty = vector.name == "empty" && end == Err(OpenError::CutOff);
        assert!(plain.is_empty() && (empty || matches!(end, Err(OpenError::Header(_)))), "{}", vector.name);
        foreign += u32::from(end == Err(HeaderError::ForeignStanza.into()));
        seen += 1;
    }
    assert!(seen > 80 && foreign > 70, "{foreign} of {seen}");
}

#[derive(Deserialize)]
struct Own {
    sealed: Vec<Sealed>,
    foreign: Vec<Foreign>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Sealed {
    prekey_seed: String,
    prekey: String,
    prekey_id: String,
    recipient: String,
    identity: String,
    seal_seed: String,
    header: String,
    letter: Vec<Piece>,
    sealed_len: u64,
    letter_id: String,
    sealed_sha256: String,
    head: String,
    #[serde(default)]
    sealed: Option<String>,
}

#[derive(Deserialize)]
struct Foreign {
    prekey_seed: String,
    file: String,
    plain: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    plain: Vec<Piece>,
    length: u64,
    digest: String,
    error: String,
}

fn own() -> Own {
    serde_json::from_str(OWN).unwrap()
}

fn seal(secret: &SecretPrekey, seed: &[u8; 32], header: &[u8], letter: &[u8]) -> Vec<u8> {
    let layout = Layout::new(header, letter.len() as u64).unwrap();
    let sealer = Sealer::new(secret.public(), seed, layout.prefix());
    let mut file = sealer.head().to_vec();
    for no in 0..layout.chunks() {
        let parts = layout.chunk(no).unwrap();
        let mut chunk = parts.prefix.to_vec();
        chunk.extend(&letter[parts.letter.start as usize..parts.letter.end as usize]);
        chunk.resize(chunk.len() + parts.zeros, 0);
        sealer.seal_chunk(no, parts.last, &mut chunk);
        file.extend(chunk);
    }
    file
}

/// The header and the letter in a plaintext.
fn take(plain: &[u8], length: u64, digest: [u8; 32]) -> Result<(Vec<u8>, Vec<u8>), InsideError> {
    let mut part = HeaderPart::default();
    let rest = part.push(plain)?.ok_or(InsideError::Length)?;
    let header = part.header().to_vec();
    let mut part = part.expect(length, digest)?;
    let letter = part.push(rest)?.to_vec();
    part.finish().map(|()| (header, letter))
}

#[test]
fn our_vectors_are_sealed_byte_for_byte_and_open() {
    let all = own().sealed;
    assert!(all.len() >= 4);
    for vector in all {
        let secret = SecretPrekey::from_seed(&hex(&vector.prekey_seed));
        assert_eq!(BASE64.encode(secret.public().as_bytes()), vector.prekey);
        assert_eq!(secret.id().to_hex(), vector.prekey_id);
        assert_eq!(age_keys::recipient(secret.public()), vector.recipient);
        assert_eq!(*age_keys::identity(&secret), vector.identity);
        let (header, letter) = (BASE64.decode(&vector.header).unwrap(), bytes(&vector.letter));
        let file = seal(&secret, &hex(&vector.seal_seed), &header, &letter);
        assert_eq!(file.len() as u64, vector.sealed_len);
        assert_eq!(BASE64.encode(&file[..HEAD_LEN]), vector.head);
        let digest: [u8; 32] = Sha256::digest(&file).into();
        assert_eq!(HEXLOWER.encode(&digest), vector.sealed_sha256);
        assert_eq!(LetterId(*digest.first_chunk().unwrap()).to_hex(), vector.letter_id);
        assert!(vector.sealed.is_none_or(|sealed| sealed == BASE64.encode(&file)));
        let (plain, end) = open(&secret, &file, 10_000);
        assert_eq!(end, Ok(()));
        let taken = take(&plain, letter.len() as u64, Sha256::digest(&letter).into());
        assert!(taken == Ok((header, letter)));
    }
}

#[test]
fn files_of_another_implementation_open() {
    let all = own().foreign;
    assert!(all.len() >= 2);
    for vector in all {
        let secret = SecretPrekey::from_seed(&hex(&vector.prekey_seed));
        let file = BASE64.decode(&vector.file).unwrap();
        assert_eq!(open(&secret, &file, 100), (BASE64.decode(&vector.plain).unwrap(), Ok(())));
    }
}

#[test]
fn our_vectors_of_bad_plaintexts_are_refused() {
    let all = own().refused;
    assert!(all.len() >= 6);
    for vector in all {
        let plain = bytes(&vector.plain);
        let found = take(&plain, vector.length, hex(&vector.digest)).map(|_| "nothing wrong").unwrap_or_else(
            |error| match error {
                InsideError::HeaderLength => "header length",
                InsideError::Length => "length",
                InsideError::Digest => "digest",
                InsideError::Padding => "padding",
            },
        );
        assert_eq!(found, vector.error, "{}", vector.name);
    }
}

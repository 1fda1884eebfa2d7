//! Seals and opens letters without a node, for trying other programs of the age format against ours, and for measuring.
//!
//! `seal keys SEED` prints recipient and identity of the prekey that grows from 64 hexadecimal digits; `seal seal
//! SEED RECIPIENT` seals standard input under an empty-worded header, and `seal open IDENTITY` opens it again;
//! `seal plain IDENTITY` opens any age file for one post-quantum key. `seal raw SEED KEY` seals standard input as it
//! is, which need be no letter, for a prekey in hexadecimal digits. `seal speed` measures and prints JSON.
//! Run it with `cargo run --release --no-default-features --example seal -- speed`.

use ed25519_dalek::{Signer as _, SigningKey};
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem as _};
use onionskin::model::seal::inside::{HeaderPart, Layout};
use onionskin::model::seal::{CHUNK_LEN, Opener, PublicPrekey, Sealer, SecretPrekey, age_keys};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

/// Stands for a signed header.
const HEADER: &[u8] = b"header";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["keys", seed] => {
            let secret = SecretPrekey::from_seed(&seed_of(seed)?);
            println!("{}\n{}", age_keys::recipient(secret.public()), *age_keys::identity(&secret));
            Ok(())
        }
        ["seal", seed, recipient] => {
            let to = age_keys::parse_recipient(recipient).ok_or("no recipient of the post-quantum kind")?;
            put(&seal(&to, &seed_of(seed)?, HEADER, &standard_input()?)?)
        }
        ["raw", seed, key] => {
            let key = data_encoding::HEXLOWER_PERMISSIVE.decode(key.as_bytes())?;
            put(&seal_raw(&PublicPrekey::from_bytes(&key)?, &seed_of(seed)?, &standard_input()?))
        }
        ["plain", identity] => put(&open(identity, &standard_input()?)?),
        ["open", identity] => put(&letter_in(&open(identity, &standard_input()?)?)?),
        ["speed"] => speed(),
        _ => {
            let words =
                "keys SEED | seal SEED RECIPIENT | open IDENTITY | plain IDENTITY | raw SEED KEY | speed";
            Err(format!("usage: seal {words}").into())
        }
    }
}

fn seed_of(digits: &str) -> Result<[u8; 32], Box<dyn Error>> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes())?;
    bytes.try_into().map_err(|_| "a seed has 64 hexadecimal digits".into())
}

fn standard_input() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn put(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    Ok(std::io::stdout().write_all(bytes)?)
}

/// Seals a letter as a node does, chunk by chunk.
fn seal(to: &PublicPrekey, seed: &[u8; 32], header: &[u8], letter: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let layout = Layout::new(header, letter.len() as u64)?;
    let sealer = Sealer::new(to, seed, layout.prefix());
    let mut file = Vec::with_capacity(layout.sealed_len() as usize);
    file.extend_from_slice(sealer.head());
    let mut chunk = Vec::new();
    for no in 0..layout.chunks() {
        let parts = layout.chunk(no).ok_or("there is such a chunk")?;
        chunk.clear();
        chunk.extend_from_slice(parts.prefix);
        chunk.extend_from_slice(&letter[parts.letter.start as usize..parts.letter.end as usize]);
        chunk.resize(chunk.len() + parts.zeros, 0);
        sealer.seal_chunk(no, parts.last, &mut chunk);
        file.extend_from_slice(&chunk);
    }
    Ok(file)
}

/// Seals any plaintext, in whole chunks and a last one, with no header, no length and no padding.
fn seal_raw(to: &PublicPrekey, seed: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let sealer = Sealer::new(to, seed, plain);
    let mut file = sealer.head().to_vec();
    let chunks = plain.len().div_ceil(CHUNK_LEN).max(1);
    for no in 0..chunks {
        let mut chunk = plain[no * CHUNK_LEN..plain.len().min((no + 1) * CHUNK_LEN)].to_vec();
        sealer.seal_chunk(no as u64, no + 1 == chunks, &mut chunk);
        file.extend_from_slice(&chunk);
    }
    file
}

fn open(identity: &str, file: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let secret = age_keys::parse_identity(identity).ok_or("no identity of the post-quantum kind")?;
    open_with(secret, file)
}

fn open_with(secret: SecretPrekey, file: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut opener = Opener::new(secret);
    let mut plain = Vec::new();
    for piece in file.chunks(64 * 1024) {
        plain.extend(opener.push(piece)?);
    }
    plain.extend(opener.finish()?);
    Ok(plain)
}

/// The letter under our header, up to its padding.
fn letter_in(plain: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut part = HeaderPart::default();
    let rest = part.push(plain)?.ok_or("the header is cut off")?;
    let letter = rest.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    Ok(rest[..letter].to_vec())
}

/// The shortest of many runs, in seconds: what else the machine does only adds.
fn shortest(work: impl FnMut()) -> f64 {
    shortest_of(work, || {}).0
}

/// The same for two that are to be compared: they take turns, so that what else the machine does hits both alike.
fn shortest_of(mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let (begun, mut best) = (Instant::now(), (f64::MAX, f64::MAX));
    while begun.elapsed() < Duration::from_secs(4) {
        let run = Instant::now();
        one();
        best.0 = best.0.min(run.elapsed().as_secs_f64());
        let run = Instant::now();
        other();
        best.1 = best.1.min(run.elapsed().as_secs_f64());
    }
    best
}

/// A long letter beside the bare cipher, and a short one beside its operations with keys.
fn speed() -> Result<(), Box<dyn Error>> {
    let secret = SecretPrekey::from_seed(&[7; 32]);
    let to = secret.public().clone();
    let signer = SigningKey::from_bytes(&[8; 32]);
    let verifier = signer.verifying_key();

    let long = vec![b'x'; 10_000_000];
    let sealed = seal(&to, &[1; 32], HEADER, &long)?;
    let key =
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[9; 32]).map_err(|_| "a key of 32 bytes")?);
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let whole: Vec<Vec<u8>> = long
        .chunks(64 * 1024)
        .map(|chunk| {
            let mut chunk = chunk.to_vec();
            key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut chunk).map(|()| chunk)
        })
        .collect::<Result<_, _>>()
        .map_err(|_| "a chunk can be sealed")?;
    // The bytes come from somewhere, so the bare cipher too works on a copy of each chunk.
    let mut room = vec![0; 64 * 1024 + 16];
    let mut spare = room.clone();
    let layout = Layout::new(HEADER, long.len() as u64)?;
    let mut chunk = Vec::with_capacity(70_000);
    let (aead_seal, seal_long) = shortest_of(
        || {
            for text in long.chunks(64 * 1024) {
                spare[..text.len()].copy_from_slice(text);
                let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut spare[..text.len()]);
                black_box(tag.is_ok());
            }
        },
        || {
            let sealer = Sealer::new(&to, &[1; 32], layout.prefix());
            for no in 0..layout.chunks() {
                let Some(parts) = layout.chunk(no) else { break };
                chunk.clear();
                chunk.extend_from_slice(parts.prefix);
                chunk.extend_from_slice(&long[parts.letter.start as usize..parts.letter.end as usize]);
                chunk.resize(chunk.len() + parts.zeros, 0);
                sealer.seal_chunk(no, parts.last, &mut chunk);
                black_box(&chunk);
            }
        },
    );
    let (aead_open, open_long) = shortest_of(
        || {
            for chunk in &whole {
                room[..chunk.len()].copy_from_slice(chunk);
                black_box(key.open_in_place(nonce(), Aad::empty(), &mut room[..chunk.len()]).is_ok());
            }
        },
        || {
            let mut opener = Opener::new(secret.share());
            for piece in sealed.chunks(64 * 1024) {
                black_box(opener.push(piece).is_ok());
            }
            black_box(opener.finish().is_ok());
        },
    );
    let hash = shortest(|| {
        black_box(Sha256::digest(&long));
    });

    let short = vec![b'x'; 4096];
    let header = vec![b'h'; 600];
    let sign = shortest(|| {
        black_box(signer.sign(&header));
    });
    let signature = signer.sign(&header);
    let verify = shortest(|| {
        black_box(verifier.verify_strict(&header, &signature).is_ok());
    });
    let mut rng = StdRng::seed_from_u64(1);
    let public = <XWing as hpke::Kem>::PublicKey::from_bytes(to.as_bytes()).map_err(|_| "a key")?;
    let private = <XWing as hpke::Kem>::PrivateKey::from_bytes(&[7; 32]).map_err(|_| "a key")?;
    let encapsulate = shortest(|| {
        black_box(XWing::encap_with_rng(&public, None, &mut rng).is_ok());
    });
    let (_, encapsulated) = XWing::encap_with_rng(&public, None, &mut rng).map_err(|_| "a key")?;
    let decapsulate = shortest(|| {
        black_box(XWing::decap(&private, None, &encapsulated).is_ok());
    });
    let seal_short = shortest(|| {
        black_box(signer.sign(&header));
        black_box(seal(&to, &[1; 32], &header, &short).is_ok());
    });
    let sealed = seal(&to, &[1; 32], &header, &short)?;
    let open_short = shortest(|| {
        black_box(open_with(secret.share(), &sealed).is_ok());
        black_box(verifier.verify_strict(&header, &signature).is_ok());
    });
    let padded = layout.sealed_len() as f64 / long.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "bytes": long.len(), "padded": padded,
            "aead_seal": aead_seal, "aead_open": aead_open, "seal": seal_long, "open": open_long, "sha256": hash,
            "sign": sign, "verify": verify, "encapsulate": encapsulate, "decapsulate": decapsulate,
            "seal_4k": seal_short, "open_4k": open_short,
        })
    );
    Ok(())
}

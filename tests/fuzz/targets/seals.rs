//! Seals: the header of the file, its chunks, and what lies inside.
//!
//! For `seal-stream` the input is a list of changes (what to do, and where) made to a file of three chunks.

use super::{class, pieces};
use crate::engine::{Target, sum};
use onionskin::model::seal::inside::{HEADER_LEN_MAX, HeaderPart, InsideError, Layout};
use onionskin::model::seal::{
    CHUNK_LEN, HEAD_LEN, HEADER_LEN, HeaderError, OpenError, Opener, SEALED_CHUNK_LEN, Sealer, SecretPrekey,
    padded_len,
};
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "seal-header", seeds: files, words: WORDS, run: header, brief: 3000, len_max: 4096 },
        Target { name: "seal-stream", seeds: changes, words: &[], run: stream, brief: 400, len_max: 60 },
        Target {
            name: "seal-inside",
            seeds: insides,
            words: &[],
            run: inside,
            brief: 8000,
            len_max: 16 * 1024,
        },
    ]
}

const WORDS: &[&str] = &[
    "age-encryption.org/v1\n",
    "-> mlkem768x25519 ",
    "-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n",
    "-> grease\n",
    "\n",
    "--- ",
    "---",
    "=",
    "\r\n",
    " ",
];

fn secret() -> SecretPrekey {
    SecretPrekey::from_seed(&[7; 32])
}

/// A seal of this plaintext.
fn seal(plain: &[u8]) -> Vec<u8> {
    let sealer = Sealer::new(secret().public(), &[1; 32], plain);
    let mut file = sealer.head().to_vec();
    let count = plain.chunks(CHUNK_LEN).count().max(1);
    for no in 0..count {
        let mut chunk = plain[no * CHUNK_LEN..plain.len().min((no + 1) * CHUNK_LEN)].to_vec();
        sealer.seal_chunk(no as u64, no + 1 == count, &mut chunk);
        file.extend(chunk);
    }
    file
}

/// The small file that headers are changed in.
fn small() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| seal(b"a letter"))
}

fn files() -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(&small()[..HEADER_LEN]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let twice = [lines[0], lines[1], lines[2], lines[1], lines[2], lines[3], ""].join("\n");
    vec![
        small().to_vec(),
        small()[..HEADER_LEN].to_vec(),
        twice.into_bytes(),
        text.replace('\n', "\r\n").into_bytes(),
    ]
}

/// Opens a file that comes in these pieces.
fn open(parts: &[&[u8]]) -> (Vec<u8>, Result<(), OpenError>) {
    let mut opener = Opener::new(secret());
    let mut plain = Vec::new();
    for part in parts {
        match opener.push(part) {
            Ok(more) => plain.extend(more),
            Err(error) => {
                assert_eq!(opener.push(b"x"), Err(error), "an error is final");
                return (plain, Err(error));
            }
        }
    }
    let end = opener.finish().map(|more| plain.extend(more));
    (plain, end)
}

/// Only the one good header gets as far as the chunks, however it is split.
fn header(input: &[u8], rng: &mut StdRng) -> u64 {
    let (whole, split) = (open(&[input]), open(&pieces(input, usize::MAX, rng)));
    assert_eq!(whole, split, "what is opened depends on how the bytes were split");
    let (plain, end) = whole;
    let good = input.starts_with(&small()[..HEADER_LEN]);
    match end {
        Ok(()) => assert!(input == small() && plain == b"a letter"),
        Err(OpenError::Forged) => assert!(good),
        Err(OpenError::CutOff) => {}
        Err(_) => assert!(!good),
    }
    let kind = match end {
        Err(OpenError::Header(HeaderError::Malformed)) => {
            input.iter().filter(|&&byte| byte == b'\n').count() + 10
        }
        _ => 0,
    };
    sum((format!("{end:?}"), kind.min(14), class(input.len())))
}

const LONG_LEN: usize = 2 * CHUNK_LEN + 100;

fn long() -> &'static (Vec<u8>, Vec<u8>) {
    static FILE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let plain: Vec<u8> = (0..LONG_LEN).map(|at| (at % 253) as u8).collect();
        let file = seal(&plain);
        (plain, file)
    })
}

fn changes() -> Vec<Vec<u8>> {
    let second = (HEAD_LEN + SEALED_CHUNK_LEN) as u32;
    let change = |what: u8, place: u32| [&[what][..], &place.to_be_bytes()[1..]].concat();
    let mut changes: Vec<Vec<u8>> = (0..6).map(|what| change(what, second)).collect();
    changes.push(Vec::new());
    changes.push([change(3, 0), change(3, 1)].concat());
    changes
}

/// What a changed file gives out is the beginning of the plaintext, and only the file as it was opens to its end.
fn stream(input: &[u8], rng: &mut StdRng) -> u64 {
    let (plain, file) = long();
    let mut changed = file.clone();
    for change in input.chunks_exact(4) {
        let place = u32::from_be_bytes([0, change[1], change[2], change[3]]) as usize % (changed.len() + 1);
        make(&mut changed, change[0], place);
    }
    let (found, end) = open(&pieces(&changed, usize::MAX, rng));
    assert!(plain.starts_with(&found), "bytes were given out that were never sealed");
    assert!(found.len() % CHUNK_LEN == 0 || end.is_ok());
    assert_eq!(end.is_ok(), changed == *file);
    sum((format!("{end:?}"), found.len()))
}

/// Changes a file at a place: a bit, its end, a chunk doubled or left out, a byte more or less.
fn make(file: &mut Vec<u8>, what: u8, place: usize) {
    let chunk = HEAD_LEN + place.saturating_sub(HEAD_LEN) / SEALED_CHUNK_LEN * SEALED_CHUNK_LEN;
    let end = (chunk + SEALED_CHUNK_LEN).min(file.len());
    match what % 6 {
        0 if place < file.len() => file[place] ^= 1 << (what >> 5),
        1 => file.truncate(place),
        2 if chunk < end && file.len() < 4 * SEALED_CHUNK_LEN => {
            let copy = file[chunk..end].to_vec();
            file.splice(chunk..chunk, copy);
        }
        3 if chunk < end => drop(file.drain(chunk..end)),
        4 => file.insert(place, what),
        5 if place < file.len() => drop(file.remove(place)),
        _ => {}
    }
}

fn insides() -> Vec<Vec<u8>> {
    let made = |header: &[u8], letter: &[u8]| {
        let layout = Layout::new(header, letter.len() as u64).expect("a small header");
        let mut plain = [layout.prefix(), letter].concat();
        plain.resize(padded_len(plain.len() as u64) as usize, 0);
        // First the length that is expected.
        [&(letter.len() as u16).to_be_bytes()[..], &plain].concat()
    };
    vec![
        made(b"header", b"letter"),
        made(b"h", b""),
        made(&[7; 3000], &[8; 2000]),
        Vec::new(),
        vec![0, 0, 0, 1, 128, 0],
    ]
}

/// The header and the letter that came, or what is wrong. The digest expected is that of the bytes in the letter's
/// place, so that lengths and padding alone decide.
fn inside(input: &[u8], rng: &mut StdRng) -> u64 {
    let Some((length, plain)) = input.split_first_chunk::<2>() else { return 0 };
    let length = u64::from(u16::from_be_bytes(*length));
    let whole = take(&[plain], length, plain);
    // Which of two faults is named may depend on the split; that there is one may not.
    let split = take(&pieces(plain, usize::MAX, rng), length, plain);
    assert_eq!(whole.is_ok(), split.is_ok(), "what is accepted depends on how the bytes were split");
    if let Ok((header, letter)) = &whole {
        assert!(split.as_ref() == Ok(&(header.clone(), letter.clone())));
        let (before, len) = (4 + header.len(), letter.len() as u64);
        assert!(len == length && !header.is_empty() && header.len() <= HEADER_LEN_MAX);
        assert_eq!(plain.len() as u64, padded_len(before as u64 + len));
        assert!(
            plain[before..].starts_with(letter)
                && plain[before + letter.len()..].iter().all(|&byte| byte == 0)
        );
        let again = Layout::new(header, length).expect("what was taken can be made");
        assert!(plain.starts_with(again.prefix()));
    }
    let shape = whole.map(|(header, letter)| (class(header.len()), class(letter.len())));
    sum((format!("{shape:?}"), class(plain.len())))
}

fn take(parts: &[&[u8]], length: u64, plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>), InsideError> {
    let mut parts = parts.iter();
    let mut header_part = HeaderPart::default();
    let rest = loop {
        let part = parts.next().ok_or(InsideError::Length)?;
        if let Some(rest) = header_part.push(part)? {
            break rest;
        }
    };
    let header = header_part.header().to_vec();
    let begin = (4 + header.len()).min(plain.len());
    let end = (begin + length as usize).min(plain.len());
    let mut letter_part = header_part.expect(length, Sha256::digest(&plain[begin..end]).into())?;
    let mut letter = letter_part.push(rest)?.to_vec();
    for part in parts {
        letter.extend(letter_part.push(part)?);
    }
    letter_part.finish().map(|()| (header, letter))
}

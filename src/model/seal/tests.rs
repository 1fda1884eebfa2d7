//! Seals as wholes: made, opened, cut, changed and mixed up.

use super::inside::{ChunkParts, HeaderPart, InsideError, Layout, Place};
use super::*;
use sha2::{Digest as _, Sha256};

fn reader() -> SecretPrekey {
    SecretPrekey::from_seed(&[7; 32])
}

/// A letter that repeats itself nowhere near a chunk's length.
fn letter(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// The file whose plaintext is exactly `plain`.
fn seal(secret: &SecretPrekey, plain: &[u8]) -> Vec<u8> {
    let sealer = Sealer::new(secret.public(), &[1; 32], plain);
    let mut file = sealer.head().to_vec();
    let count = plain.len().div_ceil(CHUNK_LEN).max(1);
    for no in 0..count {
        let mut chunk = plain[no * CHUNK_LEN..plain.len().min((no + 1) * CHUNK_LEN)].to_vec();
        sealer.seal_chunk(no as u64, no + 1 == count, &mut chunk);
        file.extend(chunk);
    }
    file
}

/// One chunk's plaintext, as a node would make it.
fn fill(parts: &ChunkParts<'_>, letter: &[u8]) -> Vec<u8> {
    let mut chunk = parts.prefix.to_vec();
    chunk.extend(&letter[parts.letter.start as usize..parts.letter.end as usize]);
    chunk.resize(chunk.len() + parts.zeros, 0);
    chunk
}

fn open_in(secret: &SecretPrekey, file: &[u8], step: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(SecretPrekey::from_seed(secret.seed()));
    let mut plain = Vec::new();
    for piece in file.chunks(step) {
        plain.extend(opener.push(piece)?);
    }
    plain.extend(opener.finish()?);
    Ok(plain)
}

fn open(file: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_in(&reader(), file, file.len().max(1))
}

#[test]
fn a_plaintext_of_any_length_comes_back_in_pieces_of_any_length() {
    let secret = reader();
    for len in [0, 1, 15, 16, 17, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 3 * CHUNK_LEN + 5] {
        let plain = letter(len);
        let file = seal(&secret, &plain);
        assert_eq!(file.len() as u64, sealed_len(len as u64));
        for step in [file.len(), 1000, 65_536, SEALED_CHUNK_LEN, SEALED_CHUNK_LEN + 1, 200_000] {
            assert!(open_in(&secret, &file, step) == Ok(plain.clone()), "{len} bytes by {step}");
        }
    }
    let plain = letter(300);
    assert_eq!(open_in(&secret, &seal(&secret, &plain), 1), Ok(plain));
}

#[test]
fn an_opener_gives_out_each_chunk_as_soon_as_it_is_checked_and_holds_one() {
    let secret = reader();
    let file = seal(&secret, &letter(5 * CHUNK_LEN));
    let mut opener = Opener::new(secret);
    let (mut given, mut came) = (0, 0);
    for piece in file.chunks(777) {
        came += piece.len();
        given += opener.push(piece).unwrap().len();
        let chunks = came.saturating_sub(HEAD_LEN + 1) / SEALED_CHUNK_LEN;
        assert_eq!(given, chunks * CHUNK_LEN, "after {came} bytes");
    }
}

#[test]
fn every_cut_is_noticed() {
    let secret = reader();
    let file = seal(&secret, &letter(CHUNK_LEN + 40));
    for len in (0..file.len()).step_by(509).chain([
        HEADER_LEN,
        HEAD_LEN,
        HEAD_LEN + 15,
        HEAD_LEN + 16,
        HEAD_LEN + SEALED_CHUNK_LEN,
        HEAD_LEN + SEALED_CHUNK_LEN + 16,
        file.len() - 1,
    ]) {
        let error = open(&file[..len]).unwrap_err();
        assert!(matches!(error, OpenError::CutOff | OpenError::Forged), "{len}: {error}");
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    let secret = reader();
    let file = seal(&secret, &letter(400));
    for at in (0..HEADER_LEN).step_by(13).chain(HEADER_LEN..file.len()) {
        let mut file = file.clone();
        file[at] ^= 1 << (at % 8);
        assert!(open(&file).is_err(), "byte {at}");
    }
}

#[test]
fn chunks_that_are_moved_repeated_left_out_or_added_are_noticed() {
    let secret = reader();
    let file = seal(&secret, &letter(3 * CHUNK_LEN + 9));
    let (head, body) = file.split_at(HEAD_LEN);
    let chunks: Vec<&[u8]> = body.chunks(SEALED_CHUNK_LEN).collect();
    let made = |order: &[usize]| {
        let mut file = head.to_vec();
        order.iter().for_each(|&no| file.extend(chunks[no]));
        open(&file).map(|plain| plain.len())
    };
    assert_eq!(made(&[0, 1, 2, 3]), Ok(3 * CHUNK_LEN + 9));
    for order in
        [&[1, 0, 2, 3][..], &[0, 1, 1, 2, 3], &[0, 2, 3], &[1, 2, 3], &[3], &[0, 1, 2, 3, 3], &[0, 1, 2]]
    {
        assert_eq!(made(order), Err(OpenError::Forged), "{order:?}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert_eq!(open(&longer), Err(OpenError::Forged));
}

#[test]
fn an_empty_last_chunk_is_allowed_only_alone() {
    let secret = reader();
    let plain = letter(CHUNK_LEN);
    let sealer = Sealer::new(secret.public(), &[1; 32], &plain);
    let mut file = sealer.head().to_vec();
    let (mut first, mut last) = (plain, Vec::new());
    sealer.seal_chunk(0, false, &mut first);
    sealer.seal_chunk(1, true, &mut last);
    file.extend([first, last].concat());
    assert_eq!(open(&file), Err(OpenError::Forged));
    assert_eq!(open(&seal(&secret, b"")), Ok(Vec::new()));
}

#[test]
fn only_its_reader_opens_a_seal_and_an_error_is_final() {
    let secret = reader();
    let file = seal(&secret, &letter(400));
    let other = SecretPrekey::from_seed(&[8; 32]);
    let mut opener = Opener::new(other);
    assert_eq!(opener.push(&file), Err(OpenError::OtherKey));
    assert_eq!(opener.push(&file), Err(OpenError::OtherKey));
    assert_eq!(opener.finish(), Err(OpenError::OtherKey));
    // Head and payload of two seals do not go together.
    let mixed = [&file[..HEAD_LEN], &seal(&secret, &letter(401))[HEAD_LEN..]].concat();
    assert_eq!(open(&mixed), Err(OpenError::Forged));
    // The MAC covers what the wrapped key does not: a header with another reader's MAC line.
    let mut forged = file.clone();
    forged[HEADER_LEN - 44..HEADER_LEN].copy_from_slice(&seal(&secret, b"x")[HEADER_LEN - 44..HEADER_LEN]);
    assert_eq!(open(&forged), Err(OpenError::HeaderForged));
}

#[test]
fn sealing_again_gives_the_same_bytes_and_anything_else_gives_other_keys() {
    let (secret, other) = (reader(), SecretPrekey::from_seed(&[8; 32]));
    let head = |to: &SecretPrekey, seed, prefix: &[u8]| {
        Sealer::new(to.public(), &[seed; 32], prefix).head().to_vec()
    };
    assert_eq!(head(&secret, 1, b"a"), head(&secret, 1, b"a"));
    let heads =
        [head(&secret, 1, b"a"), head(&secret, 2, b"a"), head(&secret, 1, b"b"), head(&other, 1, b"a")];
    for (at, one) in heads.iter().enumerate() {
        for two in &heads[at + 1..] {
            assert_ne!(one[HEADER_LEN..], two[HEADER_LEN..], "one nonce for two files");
            assert_ne!(one[40..200], two[40..200], "one encapsulation for two files");
        }
    }
}

/// Seals chunk by chunk from the last to the first, and opens.
fn through(header: &[u8], letter: &[u8]) -> Vec<u8> {
    let secret = reader();
    let layout = Layout::new(header, letter.len() as u64).unwrap();
    let sealer = Sealer::new(secret.public(), &[1; 32], layout.prefix());
    let mut chunks: Vec<Vec<u8>> = (0..layout.chunks())
        .rev()
        .map(|no| {
            let parts = layout.chunk(no).unwrap();
            let mut chunk = fill(&parts, letter);
            sealer.seal_chunk(no, parts.last, &mut chunk);
            chunk
        })
        .collect();
    assert_eq!(layout.chunk(layout.chunks()), None);
    chunks.reverse();
    let file = [sealer.head(), &chunks.concat()].concat();
    assert_eq!(file.len() as u64, layout.sealed_len());
    open(&file).unwrap()
}

/// What the reader's side makes of a plaintext that comes in pieces.
fn read_inside(
    plain: &[u8],
    step: usize,
    length: u64,
    digest: [u8; 32],
) -> Result<(Vec<u8>, Vec<u8>), InsideError> {
    let mut pieces = plain.chunks(step);
    let mut part = HeaderPart::default();
    let rest = loop {
        let Some(piece) = pieces.next() else { return Err(InsideError::Length) };
        if let Some(rest) = part.push(piece)? {
            break rest;
        }
    };
    let header = part.header().to_vec();
    let mut part = part.expect(length, digest)?;
    let mut letter = part.push(rest)?.to_vec();
    for piece in pieces {
        letter.extend(part.push(piece)?);
    }
    part.finish().map(|()| (header, letter))
}

#[test]
fn header_and_letter_come_back_and_the_length_is_hidden() {
    for (header_len, letter_len) in
        [(1, 0), (200, 3000), (3000, 1092), (3000, 1093), (98_304, 1), (70_000, 200_000), (500, 65_032)]
    {
        let (header, letter) = (vec![b'h'; header_len], letter(letter_len));
        let plain = through(&header, &letter);
        assert_eq!(plain.len() as u64, padded_len((4 + header_len + letter_len) as u64));
        let digest = Sha256::digest(&letter).into();
        for step in [1000, 65_536, plain.len()] {
            let read = read_inside(&plain, step, letter_len as u64, digest);
            assert!(read == Ok((header.clone(), letter.clone())), "{header_len} and {letter_len} by {step}");
        }
    }
    assert_eq!(through(b"h", &letter(10)).len(), through(b"h", &letter(4000)).len());
}

#[test]
fn a_plaintext_that_is_not_what_its_header_says_is_refused() {
    let text = letter(3000);
    let digest: [u8; 32] = Sha256::digest(&text).into();
    let plain = through(b"head", &text);
    let read = |plain: &[u8], length, digest| {
        let found = read_inside(plain, 500, length, digest).map(|_| ());
        assert_eq!(found, read_inside(plain, plain.len().max(1), length, digest).map(|_| ()));
        found
    };
    assert_eq!(read(&plain, 3000, digest), Ok(()));
    assert_eq!(read(&plain, 3000, [0; 32]), Err(InsideError::Digest));
    assert_eq!(read(&plain, 2999, digest), Err(InsideError::Padding));
    assert_eq!(read(&plain, 3001, digest), Err(InsideError::Digest));
    assert_eq!(read(&plain, 5000, digest), Err(InsideError::Length));
    assert_eq!(read(&plain, u64::MAX, digest), Err(InsideError::Length));
    assert_eq!(read(&plain[..plain.len() - 1], 3000, digest), Err(InsideError::Length));
    assert_eq!(read(&[&plain[..], &[0]].concat(), 3000, digest), Err(InsideError::Length));
    assert_eq!(read(&[&plain[..], &[0; 4096]].concat(), 3000, digest), Err(InsideError::Length));
    assert_eq!(read(&plain[..3008], 3000, digest), Err(InsideError::Length));
    let mut padded = plain.clone();
    padded[4000] = 1;
    assert_eq!(read(&padded, 3000, digest), Err(InsideError::Padding));
}

#[test]
fn a_header_of_no_or_too_much_length_is_refused_before_it_is_taken() {
    for length in [0, 98_305, u32::MAX] {
        let mut part = HeaderPart::default();
        assert_eq!(part.push(&length.to_be_bytes()[..3]), Ok(None));
        assert_eq!(part.push(&length.to_be_bytes()[3..]), Err(InsideError::HeaderLength));
    }
    assert_eq!(Layout::new(b"", 1), Err(InsideError::HeaderLength));
    assert_eq!(Layout::new(&[0; 98_305], 1), Err(InsideError::HeaderLength));
    assert_eq!(Layout::new(b"h", u64::MAX), Err(InsideError::Length));
    assert_eq!(Layout::new(b"h", u64::MAX - 10), Err(InsideError::Length));
}

#[test]
fn every_byte_of_a_sealed_file_has_its_place() {
    let layout = Layout::new(b"head", 100_000).unwrap();
    assert_eq!(layout.place(0), Place::Head(0));
    assert_eq!(layout.place(HEAD_LEN as u64 - 1), Place::Head(HEAD_LEN - 1));
    assert_eq!(layout.place(HEAD_LEN as u64), Place::Chunk(0, 0));
    assert_eq!(layout.place((HEAD_LEN + SEALED_CHUNK_LEN) as u64 - 1), Place::Chunk(0, SEALED_CHUNK_LEN - 1));
    assert_eq!(layout.place((HEAD_LEN + SEALED_CHUNK_LEN) as u64 + 3), Place::Chunk(1, 3));
    assert_eq!(layout.place(layout.sealed_len()), Place::End);
    assert_eq!(layout.place(u64::MAX), Place::End);
}

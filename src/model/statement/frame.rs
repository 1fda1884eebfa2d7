//! The header part of a seal: the author's signed header, and whole statements that go with it.
//!
//! ```text
//! frame = [ letter: bstr, * enclosure: bstr ]     deterministic CBOR
//! ```
//!
//! Enclosures (the author's Card, a Route for the reader, vouches for the author) prove themselves, so the header's
//! signature does not cover them, and they may differ from try to try.

use super::cbor::{Item, Reader};
use super::error::StatementError;
use super::{LETTER_LEN_MAX, cbor};
use serde_bytes::ByteBuf;

/// Most vouches that go with one letter.
pub const VOUCHES_MAX: usize = 8;
/// Most enclosures: a Card, a Route, and the vouches.
pub const ENCLOSURES_MAX: usize = 2 + VOUCHES_MAX;

/// Puts a frame together.
pub fn encode(letter: &[u8], enclosures: &[Vec<u8>]) -> Vec<u8> {
    let all = std::iter::once(letter).chain(enclosures.iter().map(Vec::as_slice));
    cbor::encode(&all.map(ByteBuf::from).collect::<Vec<_>>())
}

/// Takes a frame apart: the signed header, and the enclosures. Nothing in them is checked.
pub fn decode(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), StatementError> {
    if bytes.len() > LETTER_LEN_MAX {
        return Err(StatementError::TooLong { len: bytes.len(), max: LETTER_LEN_MAX });
    }
    let mut reader = Reader::new(bytes);
    let count = match reader.item()? {
        Item::Array(0) => return Err(StatementError::Form("the header part is empty")),
        Item::Array(count) if count <= 1 + ENCLOSURES_MAX => count,
        Item::Array(_) => return Err(StatementError::Form("too many statements are enclosed")),
        _ => return Err(StatementError::Form("the header part is no list of statements")),
    };
    let letter = reader.bytes()?.to_vec();
    let enclosures = (1..count).map(|_| reader.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok((letter, enclosures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_apart_as_it_was_put_together() {
        let enclosures = vec![vec![1; 300], Vec::new()];
        let bytes = encode(b"header", &enclosures);
        assert_eq!(decode(&bytes), Ok((b"header".to_vec(), enclosures)));
        assert_eq!(bytes[..8], [0x83, 0x46, b'h', b'e', b'a', b'd', b'e', b'r']);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [&b""[..], b"\x80", b"\x81\x61a", b"\x9f\xff", b"\x81\x41", b"\xa0", b"\x81\x58\x01a"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
        assert!(decode(&encode(b"x", &vec![Vec::new(); ENCLOSURES_MAX + 1])).is_err());
    }
}

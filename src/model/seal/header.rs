//! The text at the head of a seal: the header of an age v1 file (c2sp.org/age) with exactly one stanza.
//!
//! One stanza, one kind of key and canonical base64 leave no choice: a header has exactly `HEADER_LEN` bytes, and one
//! that strays is refused at the line where it does. Nothing of a hostile one is kept beyond the length of a good one.

use super::kem::{ENCAPSULATED_LEN, FILE_KEY_LEN, WRAPPED_LEN, Wrapped};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of the header in bytes, with the line of its MAC.
pub const HEADER_LEN: usize = VERSION.len()
    + 1
    + STANZA.len()
    + ENCAPSULATED_TEXT_LEN
    + 1
    + KEY_TEXT_LEN
    + 1
    + END.len()
    + 1
    + KEY_TEXT_LEN
    + 1;

const VERSION: &[u8] = b"age-encryption.org/v1";
const ANY_VERSION: &[u8] = b"age-encryption.org/";
pub(super) const KIND: &[u8] = b"mlkem768x25519";
const STANZA: &[u8] = b"-> mlkem768x25519 ";
const END: &[u8] = b"---";
const MAC_LEN: usize = 32;
/// 1120 bytes as base64.
const ENCAPSULATED_TEXT_LEN: usize = 1494;
/// 32 bytes as base64: the wrapped file key, and the MAC.
const KEY_TEXT_LEN: usize = 43;
/// Longest line that any good header has.
const LINE_LEN_MAX: usize = STANZA.len() + ENCAPSULATED_TEXT_LEN;

/// Why bytes are no header of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes do not begin as an age file does.
    #[error("not a sealed letter")]
    NotAge,
    /// An age file of another version than 1.
    #[error("the letter is sealed in a version of the format that is not known here")]
    Version,
    /// The key is wrapped in a way that seals do not use.
    #[error("the letter is sealed for another kind of key")]
    ForeignStanza,
    /// More than one stanza: the letter would have other readers too.
    #[error("the letter is sealed for more than one key")]
    Several,
    /// A line is not what the format says.
    #[error("the header of the seal is malformed")]
    Malformed,
}

/// A header that was read whole. Its MAC is not checked before the file key is known.
pub(super) struct Header {
    pub(super) wrapped: Wrapped,
    /// Everything that the MAC covers.
    covered: Vec<u8>,
    mac: [u8; MAC_LEN],
}

impl Header {
    /// Whether the one who wrote the header knew the file key.
    pub(super) fn is_made_with(&self, file_key: &[u8; FILE_KEY_LEN]) -> bool {
        hmac(file_key, &self.covered).verify_slice(&self.mac).is_ok()
    }
}

/// Takes a header in pieces.
#[derive(Default)]
pub(super) struct HeaderReader {
    /// The lines before this one, with their ends, and this one as far as it came.
    text: Vec<u8>,
    line_at: usize,
    lines: usize,
    encapsulated: Vec<u8>,
    body: Vec<u8>,
}

impl HeaderReader {
    /// Takes bytes up to the end of the header. Once it is whole: the header, and how many of these bytes it took.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let room = LINE_LEN_MAX + 1 - (self.text.len() - self.line_at);
            let end = memchr::memchr(b'\n', &rest[..room.min(rest.len())]);
            let taken = end.unwrap_or_else(|| room.min(rest.len()));
            self.text.extend_from_slice(&rest[..taken]);
            used += taken;
            if end.is_some() {
                used += 1;
                if let Some(header) = self.line()? {
                    return Ok(Some((header, used)));
                }
            } else if taken == room {
                // Longer than any good line, so judging it says what is wrong.
                return self.line().and(Err(HeaderError::Malformed));
            }
        }
        Ok(None)
    }

    /// Judges the line that has come to its end.
    fn line(&mut self) -> Result<Option<Header>, HeaderError> {
        let line = &self.text[self.line_at..];
        match self.lines {
            0 if line == VERSION => {}
            0 if line.starts_with(ANY_VERSION) => return Err(HeaderError::Version),
            0 => return Err(HeaderError::NotAge),
            1 => self.encapsulated = decode(arguments(line)?, ENCAPSULATED_LEN)?,
            2 => self.body = decode(line, WRAPPED_LEN)?,
            _ if line.starts_with(b"-> ") => return Err(HeaderError::Several),
            _ => return self.end().map(Some),
        }
        self.text.push(b'\n');
        self.line_at = self.text.len();
        self.lines += 1;
        Ok(None)
    }

    fn end(&mut self) -> Result<Header, HeaderError> {
        let line = &self.text[self.line_at..];
        let mac = line.strip_prefix(END).and_then(|rest| rest.strip_prefix(b" "));
        let mac = decode(mac.ok_or(HeaderError::Malformed)?, MAC_LEN)?;
        let mut header = Header {
            wrapped: Wrapped { encapsulated: [0; ENCAPSULATED_LEN], body: [0; WRAPPED_LEN] },
            covered: std::mem::take(&mut self.text),
            mac: [0; MAC_LEN],
        };
        header.wrapped.encapsulated.copy_from_slice(&self.encapsulated);
        header.wrapped.body.copy_from_slice(&self.body);
        header.mac.copy_from_slice(&mac);
        header.covered.truncate(self.line_at + END.len());
        Ok(header)
    }
}

/// The only argument of a stanza of our kind.
fn arguments(line: &[u8]) -> Result<&[u8], HeaderError> {
    let words = line.strip_prefix(b"-> ").ok_or(HeaderError::Malformed)?;
    let mut words = words.split(|&byte| byte == b' ');
    let kind = words.next().unwrap_or_default();
    if kind.is_empty() || !kind.iter().all(u8::is_ascii_graphic) {
        return Err(HeaderError::Malformed);
    }
    if kind != KIND {
        return Err(HeaderError::ForeignStanza);
    }
    match (words.next(), words.next()) {
        (Some(argument), None) => Ok(argument),
        _ => Err(HeaderError::Malformed),
    }
}

/// Exactly `len` bytes from their canonical base64, without padding.
fn decode(text: &[u8], len: usize) -> Result<Vec<u8>, HeaderError> {
    let bytes = BASE64.decode(text).map_err(|_| HeaderError::Malformed)?;
    if bytes.len() == len { Ok(bytes) } else { Err(HeaderError::Malformed) }
}

/// The lines that hand a wrapped file key to one reader.
pub(super) struct Stanza<'a> {
    pub(super) kind: &'static [u8],
    /// Its only argument, before it is written in base64.
    pub(super) argument: &'a [u8],
    pub(super) body: &'a [u8; WRAPPED_LEN],
}

/// The header that hands `file_key`, wrapped, to its reader.
pub(super) fn write(stanza: &Stanza<'_>, file_key: &[u8; FILE_KEY_LEN]) -> Vec<u8> {
    let mut text = Vec::with_capacity(HEADER_LEN);
    text.extend_from_slice(VERSION);
    text.push(b'\n');
    text.extend_from_slice(b"-> ");
    text.extend_from_slice(stanza.kind);
    text.push(b' ');
    text.extend_from_slice(BASE64.encode(stanza.argument).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(BASE64.encode(stanza.body).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(END);
    let mac = hmac(file_key, &text).finalize().into_bytes();
    text.push(b' ');
    text.extend_from_slice(BASE64.encode(mac).as_bytes());
    text.push(b'\n');
    text
}

fn hmac(file_key: &[u8; FILE_KEY_LEN], covered: &[u8]) -> Hmac<Sha256> {
    let mut key = Zeroizing::new([0; 32]);
    derive(file_key, &[], b"header", &mut key);
    let mut hmac = Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes keys of any length");
    hmac.update(covered);
    hmac
}

/// The key of a payload (HKDF-SHA256).
pub(super) fn payload_key(file_key: &[u8; FILE_KEY_LEN], nonce: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    derive(file_key, nonce, b"payload", &mut key);
    key
}

fn derive(file_key: &[u8; FILE_KEY_LEN], salt: &[u8], info: &[u8], key: &mut [u8; 32]) {
    Hkdf::<Sha256>::new(Some(salt), file_key)
        .expand(info, key)
        .expect("32 bytes is a legal length for HKDF-SHA256");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Vec<u8> {
        write(&Wrapped { encapsulated: [1; ENCAPSULATED_LEN], body: [2; WRAPPED_LEN] }.stanza(), &[3; 16])
    }

    /// Reads `text` in pieces of `step` bytes.
    fn read(text: &[u8], step: usize) -> Result<Option<(Header, usize)>, HeaderError> {
        let mut reader = HeaderReader::default();
        for (at, piece) in text.chunks(step).enumerate() {
            if let Some((header, used)) = reader.push(piece)? {
                return Ok(Some((header, at * step + used)));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_header_is_read_as_it_was_written_in_pieces_of_any_length() {
        let mut text = good();
        assert_eq!(text.len(), HEADER_LEN);
        text.extend(b"payload\n");
        for step in [1, 2, 7, 100, 5000] {
            let (header, used) = read(&text, step).ok().flatten().unwrap();
            assert_eq!(used, HEADER_LEN);
            assert_eq!(header.wrapped.encapsulated, [1; ENCAPSULATED_LEN]);
            assert_eq!(header.wrapped.body, [2; WRAPPED_LEN]);
            assert!(header.is_made_with(&[3; 16]) && !header.is_made_with(&[4; 16]));
        }
        assert!(matches!(read(&text[..HEADER_LEN - 1], 50), Ok(None)));
    }

    #[test]
    fn what_strays_is_refused_at_its_line() {
        use HeaderError::*;
        let good = String::from_utf8(good()).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let (encapsulated, body, mac) = (&lines[1][18..], lines[2], &lines[3][4..]);
        let with = |line: usize, text: &str| {
            let mut lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            lines[line] = text.to_owned();
            lines.join("\n") + "\n"
        };
        let stanza = |rest: &str| with(1, &format!("-> {rest}"));
        let cases = [
            (String::from("From: a@b\n"), NotAge),
            ("\n".repeat(9), NotAge),
            ("x".repeat(9000), NotAge),
            (with(0, "age-encryption.org/v2"), Version),
            (with(0, "age-encryption.org/v1\r"), Version),
            (with(0, " age-encryption.org/v1"), NotAge),
            (stanza("X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc"), ForeignStanza),
            (stanza(&format!("mlkem768x25519- {encapsulated}")), ForeignStanza),
            (stanza(&"y".repeat(9000)), ForeignStanza),
            (stanza(&format!("mlkem768x25519  {encapsulated}")), Malformed),
            (stanza(&format!("mlkem768x25519 {encapsulated} ")), Malformed),
            (stanza(&format!("mlkem768x25519 {encapsulated} more")), Malformed),
            (stanza(&format!("mlkem768x25519 {encapsulated}==")), Malformed),
            (stanza(&format!("mlkem768x25519 {}", &encapsulated[..1490])), Malformed),
            // The last letter holds four bits that must be zero.
            (stanza(&format!("mlkem768x25519 {}R", &encapsulated[..1493])), Malformed),
            (stanza("mlkem768x25519"), Malformed),
            (stanza(" mlkem768x25519"), Malformed),
            (with(1, "mlkem768x25519"), Malformed),
            (with(2, &body[..42]), Malformed),
            (with(2, &format!("{}B", &body[..42])), Malformed),
            (with(2, &format!("{body}=")), Malformed),
            (with(2, &format!("{body}\r")), Malformed),
            (with(2, &"A".repeat(64)), Malformed),
            (with(2, ""), Malformed),
            (with(3, &format!("-> X25519 abc\nabc\n--- {mac}")), Several),
            (with(3, &format!("---{mac}")), Malformed),
            (with(3, &format!("---  {mac}")), Malformed),
            (with(3, &format!("--- {mac} ")), Malformed),
            (with(3, &format!("--- {}", &mac[..42])), Malformed),
            (with(3, "---"), Malformed),
            (with(3, &format!("\n--- {mac}")), Malformed),
        ];
        for (text, error) in cases {
            for step in [1, 64, 10_000] {
                let read = read(text.as_bytes(), step).map(|found| found.is_some());
                assert_eq!(read, Err(error), "{text}");
            }
        }
    }
}

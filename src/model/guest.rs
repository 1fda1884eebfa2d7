//! What is kept of a letter for a *guest reader*: somebody without a node, who reads by IMAP and has a key of age.
//!
//! The letter as it arrived, with our own lines above it, becomes a file of age, and that the only attachment of a
//! small letter that is the same for all but for its time and its length. Promises that nothing of the letter is outside the
//! file: no author, no subject, no date of its own.

use crate::model::address::MailAddress;
use crate::model::seal::{Recipient, SealStream};
use crate::model::time::UnixTime;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;

/// Readers that one identity can have: each has an onion of its own.
pub const GUESTS_MAX: usize = 16;
/// Least room for one, in bytes: a letter of usual size fits.
pub const BYTES_MIN: u64 = 1 << 20;
/// Most room for one, in bytes: 64 GiB.
pub const BYTES_MAX: u64 = 1 << 36;
/// Room for one if nothing is said, in bytes.
pub const BYTES_DEFAULT: u64 = 64 << 20;

/// Name of the attachment.
pub const ATTACHMENT: &str = "letter.eml.age";
/// The subject of all of them.
pub const SUBJECT: &str = "A letter";
/// IMAP keyword of a letter by somebody whom the holder has blocked (in the registry of IANA).
pub const JUNK: &str = "$Junk";
/// Bytes that one line of base64 holds.
const LINE_BYTES: usize = 57;
/// The text of the letter stands between its parts and tells them apart: base64 has no dash.
const BOUNDARY: &str = "----=_sealed";

/// A letter for a guest reader, on its way into the store. Memory is one chunk of the file.
pub struct SealedLetter {
    stream: SealStream,
    /// Bytes of the file that do not fill a line yet.
    rest: Vec<u8>,
    /// The lines above the attachment, until they are given out.
    head: Vec<u8>,
}

/// What is outside the seal.
#[derive(Debug, Clone, Copy)]
pub struct Outside<'a> {
    /// The reader.
    pub to: &'a MailAddress,
    /// When it arrived; shown to the minute.
    pub at: UnixTime,
    /// Random, for the Message-ID.
    pub id: [u8; 16],
}

impl SealedLetter {
    /// A letter for the holder of this key. `seed` must be secret and random, and never be used twice.
    pub fn new(key: &Recipient, seed: &[u8; 32], outside: &Outside<'_>) -> Self {
        Self { stream: SealStream::new(key, seed), rest: Vec::new(), head: head(outside) }
    }

    /// Takes a piece of what is sealed; gives what is to be kept, maybe nothing.
    pub fn push(&mut self, plain: &[u8]) -> Vec<u8> {
        self.stream.push(plain, &mut self.rest);
        let mut out = std::mem::take(&mut self.head);
        let whole = self.rest.len() / LINE_BYTES * LINE_BYTES;
        write_lines(&self.rest[..whole], &mut out);
        self.rest.drain(..whole);
        out
    }

    /// Gives what is still to be kept.
    pub fn finish(mut self) -> Vec<u8> {
        self.stream.finish(&mut self.rest);
        let mut out = self.head;
        write_lines(&self.rest, &mut out);
        out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        out
    }
}

/// What a letter of `len` bytes takes of a guest's room, at least.
pub fn kept_len(len: u64) -> u64 {
    len.div_ceil(LINE_BYTES as u64).saturating_mul(78)
}

fn write_lines(bytes: &[u8], out: &mut Vec<u8>) {
    for line in bytes.chunks(LINE_BYTES) {
        out.extend_from_slice(BASE64.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// The letter up to the first line of the attachment.
fn head(outside: &Outside<'_>) -> Vec<u8> {
    let to = outside.to.full();
    format!(
        "Date: {date}\r\n\
         From: <{to}>\r\n\
         To: <{to}>\r\n\
         Subject: {SUBJECT}\r\n\
         Message-ID: <{id}@{host}>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\
         \r\n\
         --{BOUNDARY}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         \r\n\
         A letter for you is attached. It is sealed with your age key. To read it, save the\r\n\
         attachment and open it on your own machine:\r\n\
         \r\n\
         age -d -i key.txt {ATTACHMENT} > letter.eml\r\n\
         \r\n\
         --{BOUNDARY}\r\n\
         Content-Type: application/octet-stream; name=\"{ATTACHMENT}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{ATTACHMENT}\"\r\n\
         \r\n",
        date = outside.at.to_the_minute().rfc5322(),
        id = HEXLOWER.encode(&outside.id),
        host = outside.to.onion.host(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seal::{Opener, SecretPrekey};
    use mail_parser::MimeHeaders as _;
    use onion::HostKey;

    fn kept(plain: &[u8], step: usize, secret: &SecretPrekey) -> Vec<u8> {
        let onion = HostKey::from_seed([5; 32]).address();
        let to = MailAddress::parse(&format!("gil@{}", onion.host())).unwrap();
        let key = Recipient::PostQuantum(secret.public().clone());
        let outside = Outside { to: &to, at: UnixTime(1_750_000_017), id: [1; 16] };
        let mut letter = SealedLetter::new(&key, &[3; 32], &outside);
        let mut kept: Vec<u8> = plain.chunks(step).flat_map(|piece| letter.push(piece)).collect();
        kept.extend(letter.finish());
        kept
    }

    #[test]
    fn a_letter_of_any_length_is_an_attachment_that_its_reader_opens() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        for len in [0, 1, 5000, 65_536, 65_537, 300_000] {
            let plain: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let whole = kept(&plain, 1000, &secret);
            assert!(whole == kept(&plain, 70_000, &secret), "however it came");
            let text = std::str::from_utf8(&whole).unwrap();
            assert!(text.lines().all(|line| line.len() <= 200 && line.is_ascii()));
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "line ends are those of mail");
            let parsed = mail_parser::MessageParser::default().parse(&whole).unwrap();
            assert_eq!(parsed.subject(), Some(SUBJECT));
            assert_eq!(parsed.attachment_count(), 1);
            let attached = parsed.attachment(0).unwrap();
            assert_eq!(attached.attachment_name(), Some(ATTACHMENT));
            let mut opener = Opener::new(secret.share());
            let mut opened = opener.push(attached.contents()).unwrap();
            opened.extend(opener.finish().unwrap());
            assert!(opened == plain, "{len} bytes");
            assert!(kept_len(len as u64) <= whole.len() as u64);
            assert!(kept_len(len as u64) + 4096 > whole.len() as u64);
        }
    }

    #[test]
    fn two_letters_of_one_length_look_alike_outside() {
        let secret = SecretPrekey::from_seed(&[7; 32]);
        let outside = |plain: &[u8]| {
            let whole = String::from_utf8(kept(plain, 100, &secret)).unwrap();
            let (head, rest) = whole.split_once("Content-Disposition").unwrap();
            (head.to_owned(), rest.len())
        };
        let (ann, bob) = (outside(b"Subject: one\r\n\r\nby Ann"), outside(b"Subject: two\r\n\r\nby Bob"));
        assert_eq!(ann, bob);
        assert!(ann.0.contains("Sun, 15 Jun 2025 15:06:00 +0000"), "no seconds are told");
    }
}

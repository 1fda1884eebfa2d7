//! The text of a letter as SEARCH sees it: decoded, in UTF-8, in lower case, a window at a time.
//!
//! A body of any length is searched in bounded memory; each window starts with the end of the one before, so that a
//! match across the border is found.

use super::content::Content;
use super::header::{decoded, to_utf8};
use super::scan::{Kind, Structure};
use crate::protocol::imap::limits::SEARCH_WINDOW_LEN;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

/// Turns the raw body of a text part into searchable windows.
#[derive(Debug)]
pub struct TextWindows {
    encoding: Encoding,
    charset: Vec<u8>,
    /// Raw bytes that wait for the rest of their line or of their base64 group.
    waiting: Vec<u8>,
    /// End of the last window.
    tail: String,
    /// Characters of the tail.
    overlap: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

impl TextWindows {
    /// For a part with this content; matches of up to `overlap` characters are found across windows.
    pub fn new(content: &Content, overlap: usize) -> Self {
        let encoding = match &content.encoding.to_ascii_lowercase()[..] {
            b"base64" => Encoding::Base64,
            b"quoted-printable" => Encoding::QuotedPrintable,
            _ => Encoding::Identity,
        };
        let charset = content.parameter("charset").unwrap_or(b"us-ascii").to_vec();
        Self { encoding, charset, waiting: Vec::new(), tail: String::new(), overlap }
    }

    /// The next raw bytes; `last` if no more will come. Gives the text that is complete, after the end of the text
    /// before it.
    pub fn feed(&mut self, raw: &[u8], last: bool) -> String {
        self.waiting.extend(raw.iter().filter(|byte| self.encoding != Encoding::Base64 || is_base64(**byte)));
        let ready = match self.encoding {
            _ if last => self.waiting.len(),
            Encoding::Base64 => self.waiting.len() - self.waiting.len() % 4,
            _ => match self.waiting.iter().rposition(|&byte| byte == b'\n') {
                Some(at) => at + 1,
                // A line longer than a window is cut, which costs at most one broken character.
                None if self.waiting.len() > SEARCH_WINDOW_LEN => self.waiting.len(),
                None => 0,
            },
        };
        let raw: Vec<u8> = self.waiting.drain(..ready).collect();
        let bytes = match self.encoding {
            Encoding::Identity => None,
            Encoding::Base64 => base64_decode(&raw),
            Encoding::QuotedPrintable => quoted_printable_decode(&raw),
        };
        let text = to_utf8(&self.charset, bytes.as_deref().unwrap_or(&raw)).to_lowercase();
        let window = std::mem::take(&mut self.tail) + &text;
        let cut = window.char_indices().rev().nth(self.overlap.saturating_sub(1)).map_or(0, |(at, _)| at);
        self.tail = window[cut..].to_owned();
        window
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// What the MIME headers of the parts, and the envelopes of letters inside, say to a reader: names of files,
/// descriptions, subjects. In lower case.
pub fn part_headers(structure: &Structure) -> String {
    let mut text = Vec::new();
    for (place, part) in structure.parts.iter().enumerate() {
        let content = &part.content;
        let disposition = content.disposition.iter().flat_map(|(_, list)| list);
        for (name, value) in content.parameters.iter().chain(disposition) {
            if !name.eq_ignore_ascii_case(b"boundary") {
                text.extend_from_slice(value);
                text.push(b'\n');
            }
        }
        let envelope = part.envelope.as_ref().filter(|_| place > 0);
        for more in content.description.iter().chain(envelope) {
            text.extend_from_slice(more);
            text.push(b'\n');
        }
    }
    decoded(&text).to_lowercase()
}

/// The parts that hold text to search, by their place.
pub fn text_parts(structure: &Structure) -> impl Iterator<Item = usize> {
    let is_text = |place: &usize| {
        let part = &structure.parts[*place];
        part.kind == Kind::Leaf && part.content.is("text", "*")
    };
    (0..structure.parts.len()).filter(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(header: &str) -> Content {
        Content::of_header(header.as_bytes(), false)
    }

    fn finds(header: &str, raw: &[u8], needle: &str) -> bool {
        (1..40).all(|chunk| {
            let mut windows = TextWindows::new(&content(header), needle.chars().count());
            let mut found = raw.chunks(chunk).any(|chunk| windows.feed(chunk, false).contains(needle));
            found |= windows.feed(b"", true).contains(needle);
            found
        })
    }

    #[test]
    fn text_is_found_in_every_encoding_across_windows() {
        let latin =
            "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n";
        assert!(finds(latin, b"Gr=FC=DFe aus\r\nK=F6l=\r\nn am Rhein\r\n", "grüße aus\r\n"));
        let base64 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n";
        assert!(finds(base64, b"SGVsbG8g\r\nd29ybGQ=\r\n", "hello world"));
        assert!(finds("", b"one TWO three\r\nfour", "two three\r\nfo"));
        assert!(!finds("", b"one", "two"));
    }
}

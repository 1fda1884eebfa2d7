//! Replies as a client reads them: strict in form, bounded in length, harmless in content.

use crate::protocol::smtp::input::{Input, LineError};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::{Enhanced, Reply};

/// How a server broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reply line beyond [`limits::REPLY_LINE_LEN_MAX`].
    #[error("a reply line is too long")]
    LineTooLong,
    /// A reply line that does not end in CRLF.
    #[error("a reply line does not end in CRLF")]
    LineEnd,
    /// A line that is no reply, or lines of one reply with different codes.
    #[error("a reply is malformed")]
    Form,
    /// More lines than [`limits::REPLY_LINES_MAX`], or, where that was asked for, than [`limits::CARD_LINES_MAX`] of a
    /// Card or [`limits::HELD_LINES_MAX`] of a list.
    #[error("a reply has too many lines")]
    TooManyLines,
    /// More octets than were asked for.
    #[error("there are more octets than were asked for")]
    TooMuch,
    /// A reply that nothing was asked for, or with a code that cannot be its answer.
    #[error("a reply comes out of turn")]
    OutOfTurn,
}

/// What a reply may bring beside words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freight {
    Nothing,
    Card,
    Receipt,
    Held,
}

impl Freight {
    fn lines_max(self) -> usize {
        match self {
            Self::Card => limits::CARD_LINES_MAX,
            Self::Held => limits::HELD_LINES_MAX,
            Self::Nothing | Self::Receipt => limits::REPLY_LINES_MAX,
        }
    }

    /// Of a refusal only words are kept.
    fn text_len_max(self, code: u16) -> usize {
        match self {
            Self::Card if code == 250 => limits::CARD_TEXT_LEN_MAX,
            Self::Receipt if code == 250 => limits::RECEIPT_TEXT_LEN_MAX,
            Self::Held if code == 250 => limits::HELD_TEXT_LEN_MAX,
            _ => limits::REPLY_TEXT_LEN_MAX,
        }
    }
}

/// A reply whose last line has not come yet.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    begun: Option<Reply>,
    lines: usize,
}

impl ReplyReader {
    /// Cuts the next whole reply from the input. `None`: more bytes are needed.
    pub(super) fn next(&mut self, input: &mut Input, freight: Freight) -> Result<Option<Reply>, Violation> {
        loop {
            let line = input.line(limits::REPLY_LINE_LEN_MAX).map_err(|error| match error {
                LineError::TooLong => Violation::LineTooLong,
                LineError::LineEnd => Violation::LineEnd,
            })?;
            let Some(line) = line else { return Ok(None) };
            if self.add(&line, freight)? {
                self.lines = 0;
                return Ok(self.begun.take());
            }
        }
    }

    /// Takes one line; whether it was the last.
    fn add(&mut self, line: &[u8], freight: Freight) -> Result<bool, Violation> {
        self.lines += 1;
        if self.lines > freight.lines_max() {
            return Err(Violation::TooManyLines);
        }
        let code = code(line).ok_or(Violation::Form)?;
        let (last, text) = match line.get(3) {
            None => (true, &b""[..]),
            Some(b' ') => (true, &line[4..]),
            Some(b'-') => (false, &line[4..]),
            Some(_) => return Err(Violation::Form),
        };
        let text: String = text.iter().map(|&byte| printable(byte)).collect();
        let (enhanced, text) = split_enhanced(code, &text);
        match &mut self.begun {
            None => self.begun = Some(Reply { code, enhanced, text: text.to_owned().into() }),
            Some(reply) if reply.code != code => return Err(Violation::Form),
            Some(reply) => {
                if reply.text.len() + text.len() < freight.text_len_max(code) {
                    let whole = reply.text.to_mut();
                    whole.push('\n');
                    whole.push_str(text);
                }
            }
        }
        Ok(last)
    }
}

/// RFC 5321 section 4.2: 2 to 5, 0 to 5, 0 to 9.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    let fits = (b'2'..=b'5').contains(&digits[0]) && (b'0'..=b'5').contains(&digits[1]);
    (fits && digits[2].is_ascii_digit())
        .then(|| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn printable(byte: u8) -> char {
    if byte == b' ' || byte.is_ascii_graphic() { byte as char } else { '?' }
}

/// Takes an enhanced code off the text, if there is one and it agrees with the code (RFC 2034).
fn split_enhanced(code: u16, text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut numbers = word.split('.').map(|part| {
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u16>().ok() } else { None }
    });
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Some(class)), Some(Some(subject)), Some(Some(detail)), None)
            if class == code / 100 && matches!(class, 2 | 4 | 5) =>
        {
            (Some(Enhanced(class as u8, subject, detail)), rest)
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, Violation> {
        read_with(bytes, Freight::Nothing)
    }

    fn read_with(bytes: &[u8], freight: Freight) -> Result<Option<Reply>, Violation> {
        let mut input = Input::default();
        input.push(bytes);
        ReplyReader::default().next(&mut input, freight)
    }

    #[test]
    fn only_where_freight_is_expected_is_there_room_for_it() {
        let wire = |code: u16, lines: usize| {
            let line = format!("{code}-{}\r\n", "x".repeat(480));
            format!("{}{code} x\r\n", line.repeat(lines)).into_bytes()
        };
        let text_len =
            |code, lines, freight| read_with(&wire(code, lines), freight).unwrap().unwrap().text.len();
        assert!(text_len(250, 90, Freight::Card) > 480 * 90);
        assert!(text_len(250, 1000, Freight::Card) <= limits::CARD_TEXT_LEN_MAX);
        assert!(text_len(250, 12, Freight::Receipt) > 480 * 12);
        assert!(text_len(250, 90, Freight::Receipt) <= limits::RECEIPT_TEXT_LEN_MAX);
        for (code, freight) in [(550, Freight::Card), (450, Freight::Receipt), (250, Freight::Nothing)] {
            assert!(text_len(code, 90, freight) <= limits::REPLY_TEXT_LEN_MAX, "{code} {freight:?}");
        }
        assert_eq!(read_with(&wire(250, 1024), Freight::Card), Err(Violation::TooManyLines));
        assert_eq!(read_with(&wire(250, 100), Freight::Receipt), Err(Violation::TooManyLines));
    }

    #[test]
    fn replies_are_read_with_and_without_enhanced_codes() {
        let reply = read(b"550-5.1.1 no\r\n550 5.1.1 body\xe9\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.enhanced), (550, Some(Enhanced(5, 1, 1))));
        assert_eq!(reply.text, "no\nbody?");
        assert_eq!(read(b"250\r\n"), Ok(Some(Reply::bare(250, ""))));
        assert_eq!(read(b"250 4.0.0 x\r\n"), Ok(Some(Reply::bare(250, "4.0.0 x"))));
        assert_eq!(read(b"220 10.1.2.3 x\r\n"), Ok(Some(Reply::bare(220, "10.1.2.3 x"))));
        assert_eq!(read(b"250-a\r\n250"), Ok(None));
    }

    #[test]
    fn hostile_replies_are_refused() {
        for (bytes, want) in [
            (&b"250 a\n"[..], Violation::LineEnd),
            (b"250 a\rb\r\n", Violation::LineEnd),
            (b"250-a\r\n550 b\r\n", Violation::Form),
            (b"hello\r\n", Violation::Form),
            (b"150 a\r\n", Violation::Form),
            (b"690 a\r\n", Violation::Form),
            (b"2500 a\r\n", Violation::Form),
            (b"25\r\n", Violation::Form),
            (b"\r\n", Violation::Form),
        ] {
            assert_eq!(read(bytes), Err(want), "{bytes:?}");
        }
        assert_eq!(read(&[b'2'; 5000]), Err(Violation::LineTooLong));
        assert_eq!(read(&b"250-x\r\n".repeat(200)), Err(Violation::TooManyLines));
        let long = [b"250-".to_vec(), vec![b'x'; 2000], b"\r\n".to_vec()].concat().repeat(90);
        let reply = read(&[long, b"250 y\r\n".to_vec()].concat()).unwrap().unwrap();
        assert!(reply.text.len() <= limits::REPLY_TEXT_LEN_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}

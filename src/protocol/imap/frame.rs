//! From the bytes of a connection to lines and literals, with a limit on each.
//!
//! Collects one command at a time: its lines and its small literals. A literal that is a letter is not collected but
//! handed out in pieces. Memory is bounded by the limits, whatever is announced or sent.

use crate::protocol::imap::limits::CHUNK_LEN;

/// How much one command may hold.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Bytes in one line.
    pub line: usize,
    /// Bytes in lines and literals together.
    pub command: usize,
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Nothing yet: more bytes are needed.
    Starved,
    /// A line that ends a command: everything since the last command, without the last line end.
    Command(Vec<u8>),
    /// A line that announces a literal. What stands before the announcement is in `Framer::collected`.
    Literal(Announcement),
    /// A piece of a literal that is handed out, never empty.
    Piece(Vec<u8>),
    /// The literal that is handed out is complete.
    PieceEnd,
    /// A line or a command that is too long.
    TooLong,
}

/// `{123}`, or `{123+}` if the client does not wait (RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// Bytes announced; saturates.
    pub len: u64,
    /// The bytes follow at once.
    pub non_sync: bool,
}

/// Takes bytes, gives frames.
#[derive(Debug)]
pub struct Framer {
    input: Vec<u8>,
    /// Where in `input` the bytes start that are not used yet: many short commands in one read cost no moving.
    start: usize,
    /// How many of those are known to hold no line end.
    scanned: usize,
    command: Vec<u8>,
    literal: Literal,
}

#[derive(Debug, Clone, Copy)]
enum Literal {
    None,
    /// Goes into the command.
    Collect(u64),
    /// Goes out in pieces.
    HandOut(u64),
}

impl Framer {
    /// An empty framer.
    pub fn new() -> Self {
        Self { input: Vec::new(), start: 0, scanned: 0, command: Vec::new(), literal: Literal::None }
    }

    /// Takes bytes as they came. The caller feeds at most `READ_LEN` at once, and only when starved.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.start);
        self.start = 0;
        self.input.extend_from_slice(bytes);
    }

    fn waiting(&self) -> &[u8] {
        &self.input[self.start..]
    }

    fn take(&mut self, len: usize) -> &[u8] {
        self.start += len;
        &self.input[self.start - len..self.start]
    }

    /// What stands before the literal just announced: lines, literals and their announcements.
    pub fn collected(&self) -> &[u8] {
        &self.command
    }

    /// Takes the announced literal into the command.
    pub fn collect_literal(&mut self, announcement: Announcement) {
        let Announcement { len, .. } = announcement;
        self.command.extend_from_slice(format!("{{{len}}}\r\n").as_bytes());
        self.literal = Literal::Collect(len);
    }

    /// Hands the announced literal out in pieces; the lines before it are dropped.
    pub fn hand_out_literal(&mut self, announcement: Announcement) {
        self.command = Vec::new();
        self.literal = Literal::HandOut(announcement.len);
    }

    /// Drops the command whose literal was announced.
    pub fn drop_command(&mut self) {
        self.command = Vec::new();
    }

    /// The next frame.
    pub fn next(&mut self, limits: FrameLimits) -> Frame {
        match self.literal {
            Literal::HandOut(left) => self.piece(left),
            Literal::Collect(left) => {
                let taken = self.waiting().len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if self.command.len() + taken > limits.command {
                    return Frame::TooLong;
                }
                self.start += taken;
                self.command.extend_from_slice(&self.input[self.start - taken..self.start]);
                let left = left - taken as u64;
                if left > 0 {
                    self.literal = Literal::Collect(left);
                    return Frame::Starved;
                }
                self.literal = Literal::None;
                self.line(limits)
            }
            Literal::None => self.line(limits),
        }
    }

    fn piece(&mut self, left: u64) -> Frame {
        if left == 0 {
            self.literal = Literal::None;
            return Frame::PieceEnd;
        }
        let len = self.waiting().len().min(CHUNK_LEN).min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return Frame::Starved;
        }
        self.literal = Literal::HandOut(left - len as u64);
        Frame::Piece(self.take(len).to_vec())
    }

    fn line(&mut self, limits: FrameLimits) -> Frame {
        let Some(at) = memchr::memchr(b'\n', &self.waiting()[self.scanned..]) else {
            self.scanned = self.waiting().len();
            let too_long = self.scanned > limits.line || self.command.len() + self.scanned > limits.command;
            return if too_long { Frame::TooLong } else { Frame::Starved };
        };
        let end = self.scanned + at;
        if end > limits.line || self.command.len() + end > limits.command {
            return Frame::TooLong;
        }
        self.scanned = 0;
        let mut line = self.take(end + 1).to_vec();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match announcement(&line) {
            Some((start, announcement)) => {
                self.command.extend_from_slice(&line[..start]);
                Frame::Literal(announcement)
            }
            None => {
                self.command.extend_from_slice(&line);
                Frame::Command(std::mem::take(&mut self.command))
            }
        }
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

/// The announcement at the end of a line, and where it starts.
fn announcement(line: &[u8]) -> Option<(usize, Announcement)> {
    let inside = line.strip_suffix(b"}")?;
    let (digits_end, non_sync) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, true),
        None => (inside, false),
    };
    let start = digits_end.iter().rposition(|byte| !byte.is_ascii_digit())?;
    let digits = &digits_end[start + 1..];
    if digits_end[start] != b'{' || digits.is_empty() {
        return None;
    }
    let len = digits
        .iter()
        .fold(0_u64, |len, digit| len.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some((start, Announcement { len, non_sync }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { line: 32, command: 64 };

    #[test]
    fn lines_and_literals_make_commands_however_they_are_cut() {
        let wire = b"a LOGIN {3}\r\nx\ny {2+}\r\nhi\r\nb NOOP\n";
        for cut in 1..wire.len() {
            let mut framer = Framer::new();
            let mut commands = Vec::new();
            for part in wire.chunks(cut) {
                framer.feed(part);
                loop {
                    match framer.next(LIMITS) {
                        Frame::Starved => break,
                        Frame::Command(command) => commands.push(command),
                        Frame::Literal(announcement) => framer.collect_literal(announcement),
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(commands, [&b"a LOGIN {3}\r\nx\ny {2}\r\nhi"[..], b"b NOOP"], "cut at {cut}");
        }
    }

    #[test]
    fn a_letter_is_handed_out() {
        let mut framer = Framer::new();
        framer.feed(b"a APPEND x {5}\r\nhe");
        let Frame::Literal(announcement) = framer.next(LIMITS) else { panic!("a literal") };
        assert_eq!((framer.collected(), announcement.len), (&b"a APPEND x "[..], 5));
        framer.hand_out_literal(announcement);
        assert_eq!(framer.next(LIMITS), Frame::Piece(b"he".to_vec()));
        assert_eq!(framer.next(LIMITS), Frame::Starved);
        framer.feed(b"llo\r\n");
        assert_eq!(framer.next(LIMITS), Frame::Piece(b"llo".to_vec()));
        assert_eq!(framer.next(LIMITS), Frame::PieceEnd);
        assert_eq!(framer.next(LIMITS), Frame::Command(vec![]));
    }

    #[test]
    fn nothing_grows_past_its_limit() {
        let mut framer = Framer::new();
        framer.feed(&[b'x'; 33]);
        assert_eq!(framer.next(LIMITS), Frame::TooLong);
        let mut framer = Framer::new();
        framer.feed(b"a X {60}\r\n");
        let Frame::Literal(announcement) = framer.next(LIMITS) else { panic!("a literal") };
        framer.collect_literal(announcement);
        framer.feed(&[b'x'; 60]);
        assert_eq!(framer.next(LIMITS), Frame::TooLong);
    }

    #[test]
    fn announcements_saturate() {
        let len = |line: &[u8]| announcement(line).map(|(_, announcement)| announcement.len);
        assert_eq!(len(b"a {99999999999999999999999}"), Some(u64::MAX));
        assert_eq!(len(b"{12+}"), Some(12));
        for none in [&b"a {}"[..], b"a 12}", b"a {1-}", b"a {x1}", b"{1} ", b"12}"] {
            assert_eq!(len(none), None);
        }
    }
}

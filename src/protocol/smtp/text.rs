//! Bodies: text by DATA (RFC 5321 section 4.5.2) both ways, and the line-end rule that chunks (BDAT) must keep too.
//!
//! Promises that a body ends at CRLF `.` CRLF and nowhere else, and that no CR or LF stands alone in it.

use crate::protocol::smtp::limits::TEXT_LINE_LEN_MAX;

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// A CR or LF that is not part of a CRLF.
    #[error("a line does not end in CRLF")]
    LineEnd,
    /// A NUL byte.
    #[error("there is a NUL byte")]
    Nul,
    /// A line longer than [`TEXT_LINE_LEN_MAX`], by DATA.
    #[error("a line is longer than 998 characters")]
    LongLine,
}

/// Where the reader of a DATA text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Line,
    Cr,
    Dot,
    DotCr,
}

/// Reads a DATA text: takes the dots away and finds the end.
#[derive(Debug)]
pub(super) struct Text {
    at: At,
    line_len: usize,
    /// Faults that leave the end of the text findable.
    long_line: bool,
    nul: bool,
}

/// What a stretch of input held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    /// All of it was text.
    Text,
    /// The text ended after this many bytes of the input.
    End(usize),
    /// A line end is broken: the text can have no certain end.
    Broken,
}

impl Text {
    pub(super) fn new() -> Self {
        Self { at: At::LineStart, line_len: 0, long_line: false, nul: false }
    }

    /// What was found wrong so far, other than a broken line end.
    pub(super) fn fault(&self) -> Option<Fault> {
        match (self.nul, self.long_line) {
            (true, _) => Some(Fault::Nul),
            (_, true) => Some(Fault::LongLine),
            _ => None,
        }
    }

    /// Reads `input` on, appending the content to `out`.
    pub(super) fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Stretch {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match (self.at, byte) {
                (At::Cr | At::DotCr, b'\n') => {
                    let ended = self.at == At::DotCr;
                    self.at = At::LineStart;
                    self.line_len = 0;
                    if ended {
                        return Stretch::End(at + 1);
                    }
                    out.extend_from_slice(b"\r\n");
                    at += 1;
                }
                (At::Cr | At::DotCr, _) | (_, b'\n') => return Stretch::Broken,
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    at += 1;
                }
                (_, b'\r') => {
                    self.at = At::Cr;
                    at += 1;
                }
                (At::LineStart, b'.') => {
                    self.at = At::Dot;
                    self.line_len = 1;
                    at += 1;
                }
                _ => at += self.run(&input[at..], out),
            }
        }
        Stretch::Text
    }

    /// Copies what stands before the next CR or LF, and says how much that was.
    fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let len = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        self.at = At::Line;
        self.line_len = self.line_len.saturating_add(len);
        self.long_line |= self.line_len.saturating_add(2) > TEXT_LINE_LEN_MAX;
        self.nul |= memchr::memchr(0, &input[..len]).is_some();
        out.extend_from_slice(&input[..len]);
        len
    }
}

/// Checks the line ends of a body that comes in chunks, or that is about to be sent.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    after_cr: bool,
}

impl LineEnds {
    /// Goes on in a body whose first bytes were checked elsewhere; `after_cr`: the last of them was a CR.
    pub(super) fn behind(after_cr: bool) -> Self {
        Self { after_cr }
    }

    /// Looks at the next stretch.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").ok_or(Fault::LineEnd)?;
        }
        while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
            match (rest[at], rest.get(at + 1)) {
                (0, _) => return Err(Fault::Nul),
                (b'\r', Some(b'\n')) => rest = &rest[at + 2..],
                (b'\r', None) => {
                    self.after_cr = true;
                    return Ok(());
                }
                _ => return Err(Fault::LineEnd),
            }
        }
        Ok(())
    }

    /// The body is over.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.after_cr { Err(Fault::LineEnd) } else { Ok(()) }
    }
}

/// Writes a DATA text: doubles the dots. The content must have passed [`LineEnds`].
#[derive(Debug)]
pub(super) struct Stuffing {
    line_start: bool,
}

impl Stuffing {
    pub(super) fn new() -> Self {
        Self { line_start: true }
    }

    /// Appends the next stretch.
    pub(super) fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        for line in content.split_inclusive(|&byte| byte == b'\n') {
            if self.line_start && line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
            self.line_start = line.ends_with(b"\n");
        }
    }

    /// Appends the end; a last line without CRLF is given one, because a text of lines cannot end otherwise.
    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.line_start { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `wire` in pieces of `step` bytes; the content, what ended it, and what was left over.
    fn read(wire: &[u8], step: usize) -> (Vec<u8>, Stretch, Vec<u8>, Option<Fault>) {
        let mut text = Text::new();
        let mut content = Vec::new();
        let mut at = 0;
        for piece in wire.chunks(step) {
            match text.read(piece, &mut content) {
                Stretch::Text => at += piece.len(),
                Stretch::End(len) => {
                    return (content, Stretch::End(0), wire[at + len..].to_vec(), text.fault());
                }
                Stretch::Broken => return (content, Stretch::Broken, Vec::new(), text.fault()),
            }
        }
        (content, Stretch::Text, Vec::new(), text.fault())
    }

    #[test]
    fn a_text_ends_only_at_crlf_dot_crlf() {
        for (wire, content, rest) in [
            (&b".\r\nX"[..], &b""[..], &b"X"[..]),
            (b"a\r\n.\r\n", b"a\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n", b""),
            (b"..a\r\n.b\r\n.\r\n.\r\n", b".a\r\nb\r\n", b".\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n", b""),
        ] {
            for step in 1..6 {
                let want = (content.to_vec(), Stretch::End(0), rest.to_vec(), None);
                assert_eq!(read(wire, step), want, "{wire:?}");
            }
        }
    }

    #[test]
    fn every_other_end_is_broken_or_no_end() {
        for wire in [
            &b"a\n.\n"[..],
            b"a\n.\r\n",
            b"a\r\n.\n",
            b"a\r.\r",
            b"a\r.\r\n",
            b"a\r\n.\rx",
            b"a\r\n.\r\r\n",
            b"\n",
            b"\r\r\n",
            b"a\r\n\n.\r\n",
            b".\n",
        ] {
            for step in 1..6 {
                assert_eq!(read(wire, step).1, Stretch::Broken, "{wire:?} by {step}");
            }
        }
        for wire in [&b"a\r\n.\r"[..], b"a\r\n. \r\n", b"a\r\n.\0\r\n", b"a.\r\n", b"a\r\n..\r\n"] {
            assert_eq!(read(wire, 1).1, Stretch::Text, "{wire:?}");
        }
    }

    #[test]
    fn a_line_may_have_998_characters_and_no_nul() {
        let wire = |len| [vec![b'x'; len], b"\r\n.\r\n".to_vec()].concat();
        for step in [1, 7, 4096] {
            assert_eq!(read(&wire(998), step).3, None);
            assert_eq!(read(&wire(999), step).3, Some(Fault::LongLine));
            assert_eq!(read(b"a\0b\r\n.\r\n", step).3, Some(Fault::Nul));
        }
    }

    #[test]
    fn line_ends_are_checked_across_stretches() {
        let check = |pieces: &[&[u8]]| {
            let mut ends = LineEnds::default();
            pieces.iter().try_for_each(|piece| ends.check(piece)).and_then(|()| ends.finish())
        };
        assert_eq!(check(&[b"a\r", b"\nb", b"\r\n"]), Ok(()));
        assert_eq!(check(&[b"a\r", b"", b"\n"]), Ok(()));
        assert_eq!(check(&[b"no line end"]), Ok(()));
        for broken in [&[&b"a\r"[..], b"b"][..], &[b"a\n"], &[b"\r\r\n"], &[b"a\r"], &[b"a\r\n", b"\n"]] {
            assert_eq!(check(broken), Err(Fault::LineEnd), "{broken:?}");
        }
        assert_eq!(check(&[b"a\0"]), Err(Fault::Nul));
    }

    /// Bytes rich in dots and line ends, all of them CRLF.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let piece = proptest::sample::select(vec![&b".\r\n"[..], b"\r\n", b".", b"..", b"x\xff"]);
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_stuffed_is_read_back(content in lines(), step in 1usize..9, out in 1usize..9) {
            let mut stuffing = Stuffing::new();
            let mut wire = Vec::new();
            content.chunks(out).for_each(|piece| stuffing.write(piece, &mut wire));
            stuffing.finish(&mut wire);
            wire.extend_from_slice(b"QUIT\r\n");
            let mut want = content.clone();
            if !content.is_empty() && !content.ends_with(b"\r\n") {
                want.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(read(&wire, step), (want, Stretch::End(0), b"QUIT\r\n".to_vec(), None));
        }
    }
}

//! The MIME parts of a letter as offsets, from one pass over its bytes in chunks of any size.
//!
//! Keeps no body: a letter of any length is read in bounded memory. Nesting deeper than `MIME_DEPTH_MAX` and parts
//! beyond `MIME_PARTS_MAX` are not opened. The parts are a flat list, so nothing recurses when it is dropped.

use super::content::Content;
use super::envelope;
use crate::protocol::imap::limits::{
    BOUNDARY_LEN_MAX, HEADER_LOOK_MAX, MIME_DEPTH_MAX, MIME_PARTS_MAX, STRUCTURE_LEN_MAX,
};
use std::ops::Range;

/// Bytes of a line that are kept to compare it with boundaries.
const LINE_KEEP: usize = BOUNDARY_LEN_MAX + 128;

/// Where a letter's parts lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The letter itself first; then its parts in the order in which they begin.
    pub parts: Vec<Part>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header with the empty line that ends it.
    pub header: Range<u64>,
    /// Its body, as it stands.
    pub body: Range<u64>,
    /// Lines of the body.
    pub lines: u64,
    /// Its MIME fields.
    pub content: Content,
    /// What is in it.
    pub kind: Kind,
    /// ENVELOPE of its header, if it is a letter or one within a letter.
    pub envelope: Option<Vec<u8>>,
}

/// What is in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that is opened.
    Leaf,
    /// Parts, by their place in `Structure::parts`; possibly none.
    Multipart(Vec<usize>),
    /// A letter, by its place.
    Message(usize),
}

/// Takes a letter's bytes in order, gives its structure.
#[derive(Debug)]
pub struct Scanner {
    parts: Vec<Part>,
    /// Open parts, outermost first.
    open: Vec<Open>,
    in_header: bool,
    /// The header being read, as far as it is looked at.
    header: Vec<u8>,
    /// Length of `header` when the current line began.
    header_at_line: usize,
    /// Offset at which the current line began.
    line_start: u64,
    /// The first bytes of a line that began in an earlier chunk, and how long that line is so far.
    line: Vec<u8>,
    line_len: u64,
    last_byte: u8,
    /// The line before the current one: length of its end (0, 1 or 2 bytes), and whether it had any text.
    previous_end: u64,
    previous_has_text: bool,
    newlines: u64,
    /// Bytes still allowed for envelopes and MIME fields.
    budget: usize,
}

#[derive(Debug)]
struct Open {
    part: usize,
    /// What separates its parts; none if it is no multipart, or its last part has ended.
    boundary: Option<Vec<u8>>,
    /// Its parts are letters unless they say otherwise.
    is_digest: bool,
    is_letter: bool,
    is_in_digest: bool,
    /// Line ends counted when its body began.
    newlines_before: u64,
}

impl Scanner {
    /// At the start of a letter.
    pub fn new() -> Self {
        let mut scanner = Self {
            parts: Vec::new(),
            open: Vec::new(),
            in_header: true,
            header: Vec::new(),
            header_at_line: 0,
            line_start: 0,
            line: Vec::new(),
            line_len: 0,
            last_byte: 0,
            previous_end: 0,
            previous_has_text: false,
            newlines: 0,
            budget: STRUCTURE_LEN_MAX,
        };
        scanner.open_part(0, true);
        scanner
    }

    /// The next bytes of the letter.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (piece, after) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            rest = after;
            if self.in_header {
                let room = HEADER_LOOK_MAX.saturating_sub(self.header.len());
                self.header.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if end.is_some() && self.line_len == 0 {
                self.line_len = piece.len() as u64;
                let before_last = if piece.len() > 1 { piece[piece.len() - 2] } else { 0 };
                self.end_line(&piece[..piece.len().min(LINE_KEEP)], true, before_last == b'\r');
                continue;
            }
            let room = LINE_KEEP - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            self.line_len += piece.len() as u64;
            if end.is_some() {
                let before_last = if piece.len() > 1 { piece[piece.len() - 2] } else { self.last_byte };
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, true, before_last == b'\r');
            } else {
                self.last_byte = piece[piece.len() - 1];
            }
        }
    }

    /// The letter is complete.
    pub fn finish(mut self) -> Structure {
        if self.line_len > 0 {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, false, false);
        }
        let end = self.line_start;
        let unended = u64::from(self.previous_end == 0 && self.previous_has_text);
        let newlines = self.newlines;
        while let Some(open) = self.open.pop() {
            self.close_part(open, end, newlines + unended);
        }
        Structure { parts: self.parts }
    }

    /// A line of `line_len` bytes is complete; `line` is its beginning.
    fn end_line(&mut self, line: &[u8], ended: bool, crlf: bool) {
        let end_len = u64::from(ended) + u64::from(crlf);
        let text_len = self.line_len - end_len;
        let text = &line[..line.len().min(usize::try_from(text_len).unwrap_or(usize::MAX))];
        let after = self.line_start + self.line_len;
        if !(text.starts_with(b"--") && self.boundary_line(text, after)) {
            self.newlines += u64::from(ended);
            if self.in_header && text_len == 0 && ended {
                self.end_header(after);
            }
        }
        (self.previous_end, self.previous_has_text) = (end_len, text_len > 0);
        self.header_at_line = self.header.len();
        self.line_start = after;
        self.line_len = 0;
        self.last_byte = 0;
    }

    /// Ends and begins parts if the line is a boundary of an open multipart; `after` is where the next line starts.
    fn boundary_line(&mut self, text: &[u8], after: u64) -> bool {
        let text = text[2..].trim_ascii_end();
        let found = self.open.iter().enumerate().rev().find_map(|(at, open)| {
            let rest = text.strip_prefix(open.boundary.as_deref()?)?;
            (rest.is_empty() || rest == b"--").then_some((at, !rest.is_empty()))
        });
        let Some((at, is_last)) = found else { return false };
        if !is_last && self.parts.len() >= MIME_PARTS_MAX {
            return false;
        }
        self.header.truncate(self.header_at_line);
        let mut end = self.line_start - self.previous_end;
        // The line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
        let newlines = self.newlines - u64::from(self.previous_end > 0 && !self.previous_has_text);
        for open in self.open.split_off(at + 1).into_iter().rev() {
            // An empty body ends behind its header, even if the line end there belongs to the boundary.
            end = self.close_part(open, end, newlines);
        }
        self.newlines += 1;
        self.in_header = false;
        if is_last {
            self.open[at].boundary = None;
        } else {
            let multipart = self.open[at].part;
            let place = self.open_part(after, false);
            if let Kind::Multipart(children) = &mut self.parts[multipart].kind {
                children.push(place);
            }
        }
        true
    }

    /// Begins a part at `start`; it has a header first.
    fn open_part(&mut self, start: u64, is_letter: bool) -> usize {
        let place = self.parts.len();
        self.parts.push(Part {
            header: start..start,
            body: start..start,
            lines: 0,
            content: Content::default(),
            kind: Kind::Leaf,
            envelope: None,
        });
        let is_in_digest = self.open.last().is_some_and(|above| above.is_digest);
        self.open.push(Open {
            part: place,
            boundary: None,
            is_digest: false,
            is_letter,
            is_in_digest,
            newlines_before: self.newlines,
        });
        self.in_header = true;
        self.header.clear();
        self.header_at_line = 0;
        place
    }

    /// The header of the innermost part ends before `body_start`.
    fn end_header(&mut self, body_start: u64) {
        self.in_header = false;
        let Some(mut open) = self.open.pop() else { return };
        self.read_header(&open, body_start);
        let may_open = self.open.len() + 1 < MIME_DEPTH_MAX;
        let content = &self.parts[open.part].content;
        let is_message = content.is("message", "rfc822") || content.is("message", "global");
        let is_message = is_message && content.is_identity() && self.parts.len() < MIME_PARTS_MAX;
        open.boundary = content.boundary().map(<[u8]>::to_vec).filter(|_| may_open);
        open.is_digest = content.is("multipart", "digest");
        open.newlines_before = self.newlines;
        let place = open.part;
        if open.boundary.is_some() {
            self.parts[place].kind = Kind::Multipart(Vec::new());
        }
        self.open.push(open);
        if is_message && may_open {
            self.parts[place].kind = Kind::Message(self.open_part(body_start, true));
        }
    }

    /// Takes the MIME fields, and the envelope of a letter, from the header just read.
    fn read_header(&mut self, open: &Open, body_start: u64) {
        let header = std::mem::take(&mut self.header);
        let part = &mut self.parts[open.part];
        let content = Content::of_header(&header, open.is_in_digest);
        if content.weight() <= self.budget {
            self.budget -= content.weight();
            part.content = content;
        }
        if open.is_letter {
            let mut envelope = envelope::render(&header);
            if envelope.len() > self.budget {
                envelope = envelope::render(b"");
            }
            self.budget = self.budget.saturating_sub(envelope.len());
            part.envelope = Some(envelope);
        }
        part.header.end = body_start;
        part.body = body_start..body_start;
    }

    /// Ends a part at `end`, but not before its body began; gives its end. `newlines` are the line ends before it.
    fn close_part(&mut self, mut open: Open, end: u64, newlines: u64) -> u64 {
        if self.in_header {
            // The innermost part ends within its header.
            self.in_header = false;
            open.newlines_before = newlines;
            self.read_header(&open, end.max(self.parts[open.part].header.start));
        }
        let part = &mut self.parts[open.part];
        part.body.end = end.max(part.body.start);
        part.lines = if part.body.is_empty() { 0 } else { newlines.saturating_sub(open.newlines_before) };
        part.body.end
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

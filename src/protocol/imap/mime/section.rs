//! Which bytes of a letter a section means (RFC 3501 section 6.4.5).

use super::scan::{Kind, Structure};
use crate::protocol::imap::command::{Partial, Section, SectionText};
use std::ops::Range;

/// Where a section's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These bytes of the letter.
    Range(Range<u64>),
    /// Chosen fields of the header at these bytes.
    Fields(Range<u64>),
}

/// The bytes that a section means; `None` if the letter has no such part.
pub fn locate(structure: &Structure, section: &Section) -> Option<Source> {
    let place = walk(structure, &section.path)?;
    let part = &structure.parts[place];
    let is_letter = section.path.is_empty();
    // HEADER and TEXT with part numbers mean the letter inside that part.
    let letter = match part.kind {
        _ if is_letter => Some(part),
        Kind::Message(inner) => Some(&structure.parts[inner]),
        _ => None,
    };
    Some(match &section.text {
        SectionText::Whole if is_letter => Source::Range(0..part.body.end),
        SectionText::Whole => Source::Range(part.body.clone()),
        SectionText::Mime => Source::Range(part.header.clone()),
        SectionText::Header => Source::Range(letter?.header.clone()),
        SectionText::Fields(_) | SectionText::FieldsNot(_) => Source::Fields(letter?.header.clone()),
        SectionText::Text => Source::Range(letter?.body.clone()),
    })
}

/// The part that the numbers lead to.
fn walk(structure: &Structure, path: &[u32]) -> Option<usize> {
    let mut place = 0;
    for (level, &number) in path.iter().enumerate() {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let inner = match structure.parts[place].kind {
            // The numbers go on inside the letter.
            Kind::Message(letter) if level > 0 => letter,
            _ => place,
        };
        place = match &structure.parts[inner].kind {
            Kind::Multipart(children) => *children.get(index)?,
            // A letter that is no multipart has one part, number 1: its body.
            _ if index == 0 && (level == 0 || inner != place) => inner,
            _ => return None,
        };
    }
    Some(place)
}

/// The bytes of `range` that a partial fetch wants; empty if it starts behind the end.
pub fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { start, count }) = partial else { return range };
    let from = range.start.saturating_add(start).min(range.end);
    from..from.saturating_add(count).min(range.end)
}

/// Finds where a header ends, from the first chunks of a letter.
#[derive(Debug, Default)]
pub struct HeaderEnd {
    seen: u64,
    /// Bytes since the last line end.
    line_len: u64,
    last: u8,
}

impl HeaderEnd {
    /// The next bytes; the offset behind the empty line once it has come.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<u64> {
        let mut from = 0;
        while let Some(len) = memchr::memchr(b'\n', &chunk[from..]) {
            self.take(&chunk[from..from + len]);
            from += len + 1;
            if self.line_len == 0 || self.line_len == 1 && self.last == b'\r' {
                return Some(self.seen + from as u64);
            }
            self.line_len = 0;
        }
        self.take(&chunk[from..]);
        self.seen += chunk.len() as u64;
        None
    }

    fn take(&mut self, line_part: &[u8]) {
        self.line_len += line_part.len() as u64;
        self.last = line_part.last().copied().unwrap_or(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::mime::scan::Scanner;

    const LETTER: &str = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\none\r\n--o\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntwo\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n\
        Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nthree\r\n--i--\r\n\r\n--o--\r\n";

    fn found(letter: &str, path: &[u32], text: SectionText) -> Option<String> {
        let mut scanner = Scanner::new();
        scanner.feed(letter.as_bytes());
        match locate(&scanner.finish(), &Section { path: path.to_vec(), text })? {
            Source::Range(range) | Source::Fields(range) => {
                Some(letter[range.start as usize..range.end as usize].to_owned())
            }
        }
    }

    #[test]
    fn part_numbers_lead_where_the_rfc_says() {
        let whole = |path: &[u32]| found(LETTER, path, SectionText::Whole);
        assert_eq!(whole(&[]).as_deref(), Some(LETTER));
        assert_eq!(whole(&[1]).as_deref(), Some("one"));
        assert_eq!(whole(&[2]).as_deref(), Some("Subject: inner\r\n\r\ntwo"));
        assert_eq!(whole(&[2, 1]).as_deref(), Some("two"));
        assert_eq!(whole(&[3, 1]).as_deref(), Some("three"));
        for none in [&[4][..], &[1, 1], &[2, 2], &[2, 1, 1], &[3, 2]] {
            assert_eq!(whole(none), None, "{none:?}");
        }
        assert_eq!(found(LETTER, &[2], SectionText::Header).as_deref(), Some("Subject: inner\r\n\r\n"));
        assert_eq!(found(LETTER, &[2], SectionText::Text).as_deref(), Some("two"));
        assert_eq!(
            found(LETTER, &[2], SectionText::Mime).as_deref(),
            Some("Content-Type: message/rfc822\r\n\r\n")
        );
        assert_eq!(found(LETTER, &[1], SectionText::Header), None);
        assert!(found(LETTER, &[], SectionText::Text).unwrap().starts_with("--o\r\n"));
    }

    #[test]
    fn a_plain_letter_has_part_one() {
        let letter = "Subject: x\r\n\r\nbody\r\n";
        assert_eq!(found(letter, &[1], SectionText::Whole).as_deref(), Some("body\r\n"));
        assert_eq!(found(letter, &[1, 1], SectionText::Whole), None);
        assert_eq!(found(letter, &[2], SectionText::Whole), None);
        let forwarded = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx";
        assert_eq!(found(forwarded, &[1], SectionText::Whole).as_deref(), Some("Subject: in\r\n\r\nx"));
        assert_eq!(found(forwarded, &[1, 1], SectionText::Whole).as_deref(), Some("x"));
    }

    #[test]
    fn partial_fetches_never_leave_the_section() {
        let cut = |start, count| cut(10..20, Some(Partial { start, count }));
        assert_eq!(cut(0, 5), 10..15);
        assert_eq!(cut(8, 5), 18..20);
        assert_eq!(cut(10, 1), 20..20);
        assert!(cut(u64::MAX, u64::MAX).is_empty());
    }

    #[test]
    fn the_end_of_a_header_is_found_across_chunks() {
        let mut end = HeaderEnd::default();
        assert_eq!(end.feed(b"A: b\r\n\r"), None);
        assert_eq!(end.feed(b"\nbody"), Some(8));
        assert_eq!(HeaderEnd::default().feed(b"\nx"), Some(1));
        assert_eq!(HeaderEnd::default().feed(b"A: b\n\r\r\nC: d\n\n"), Some(14));
    }
}

//! The header block of a letter: cut from a stream, checked, and split into its fields without changing a byte.
//!
//! Promises that a [`Field`] has a name of printable ASCII and holds no NUL and no bare CR or LF, so that what is
//! removed by name here cannot show up again under another reading elsewhere. What fields mean is left to
//! `mailbox`, `prepare` and `trace`.

/// Largest header block, in bytes. Postfix takes 100 KiB; a hundred recipients with long names need about 20 KiB.
pub const HEADER_SIZE_MAX: usize = 256 * 1024;
/// Most fields in one block: real letters stay below 200; beyond this only somebody's memory is being tested.
pub const FIELDS_MAX: usize = 4096;

/// Why bytes are no header block. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More than [`HEADER_SIZE_MAX`] bytes without an empty line.
    #[error("the letter's header is larger than {} KiB", HEADER_SIZE_MAX / 1024)]
    TooLarge,
    /// More than [`FIELDS_MAX`] fields.
    #[error("the letter's header has more than {FIELDS_MAX} lines")]
    TooMany,
    /// A NUL byte.
    #[error("line {0} of the letter's header contains a NUL byte")]
    Nul(usize),
    /// A CR that no LF follows, or an LF that no CR precedes.
    #[error("line {0} of the letter's header contains a bare CR or LF")]
    BareLineEnd(usize),
    /// The line is neither `Name: value` nor the continuation of one (RFC 5322 section 2.2).
    #[error("line {0} of the letter's header is not of the form \"Name: value\"")]
    NoField(usize),
    /// The block goes on after its empty line, or has none.
    #[error("the letter's header does not end in an empty line")]
    End,
}

/// One field of a header block: its line, continuation lines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    colon: usize,
}

impl<'a> Field<'a> {
    /// The name, without white space before the colon (obsolete, yet a way to hide a field).
    pub fn name(&self) -> &'a str {
        let name = self.raw[..self.colon].trim_ascii_end();
        std::str::from_utf8(name).expect("a field name is printable ASCII")
    }

    /// Whether this is the field `name`, whatever the case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// The whole field as received, its last CRLF included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What follows the colon, byte-exact: folding and the last CRLF included.
    pub fn body(&self) -> &'a [u8] {
        &self.raw[self.colon + 1..]
    }

    /// The value on one line: without the line ends and without white space around it (RFC 5322 section 2.2.3).
    pub fn unfolded(&self) -> Vec<u8> {
        let line: Vec<u8> = self.body().iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
        line.trim_ascii().to_vec()
    }
}

/// Splits a header block, up to and including its empty line, into its fields, in order.
///
/// Reads every byte once. The fields' raw bytes and the empty line together are the block.
pub fn fields(block: &[u8]) -> Result<Vec<Field<'_>>, HeaderError> {
    if block.len() > HEADER_SIZE_MAX {
        return Err(HeaderError::TooLarge);
    }
    let mut found: Vec<Field<'_>> = Vec::new();
    let (mut field_at, mut at, mut line) = (0, 0, 1);
    while at < block.len() {
        let end = line_end(block, at, line)?;
        if end == at + 2 {
            return if end == block.len() { Ok(found) } else { Err(HeaderError::End) };
        }
        if b" \t".contains(&block[at]) {
            let last = found.last_mut().ok_or(HeaderError::NoField(line))?;
            last.raw = &block[field_at..end];
        } else {
            let colon = name_end(&block[at..end]).ok_or(HeaderError::NoField(line))?;
            if found.len() == FIELDS_MAX {
                return Err(HeaderError::TooMany);
            }
            found.push(Field { raw: &block[at..end], colon });
            field_at = at;
        }
        (at, line) = (end, line + 1);
    }
    Err(HeaderError::End)
}

/// Where the line that starts at `at` ends, after its CRLF.
fn line_end(block: &[u8], at: usize, line: usize) -> Result<usize, HeaderError> {
    let stop = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    let end = at + block[at..].iter().position(stop).ok_or(HeaderError::End)?;
    match &block[end..] {
        [0, ..] => Err(HeaderError::Nul(line)),
        [b'\r', b'\n', ..] => Ok(end + 2),
        _ => Err(HeaderError::BareLineEnd(line)),
    }
}

/// Where the colon is, if the line starts with a field name (RFC 5322 section 3.6.8; before the colon, section 4.5).
fn name_end(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(colon)
}

/// Cuts the header block off a letter that arrives in pieces.
#[derive(Debug, Default)]
pub struct HeaderCutter {
    block: Vec<u8>,
}

/// What a piece of the letter held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All of it belongs to the header; go on.
    More,
    /// The header is complete; the letter's content starts at this offset of the piece.
    Content(usize),
}

impl HeaderCutter {
    /// Takes the next piece; not to be called again after [`Cut::Content`].
    pub fn push(&mut self, piece: &[u8]) -> Result<Cut, HeaderError> {
        let before = self.block.len();
        let room = (HEADER_SIZE_MAX + 1).saturating_sub(before).min(piece.len());
        self.block.extend_from_slice(&piece[..room]);
        let end = header_end(&self.block, before.saturating_sub(3));
        if let Some(end) = end.filter(|end| *end <= HEADER_SIZE_MAX) {
            self.block.truncate(end);
            return Ok(Cut::Content(end - before));
        }
        if self.block.len() > HEADER_SIZE_MAX { Err(HeaderError::TooLarge) } else { Ok(Cut::More) }
    }

    /// The block. If the letter ended inside its header, the missing line ends are added.
    pub fn into_block(mut self) -> Vec<u8> {
        if header_end(&self.block, self.block.len().saturating_sub(4)).is_none() {
            if !self.block.is_empty() && !self.block.ends_with(b"\r\n") {
                self.block.extend_from_slice(b"\r\n");
            }
            self.block.extend_from_slice(b"\r\n");
        }
        self.block
    }
}

/// Where the header block ends, after its empty line, looking from `from` on.
fn header_end(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    bytes[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_splits_into_its_fields() {
        let block = b"To: a@b\r\nSubject : one\r\n two\r\n\tthree\r\nX:\r\n\r\n";
        let found = fields(block).unwrap();
        assert_eq!(found.iter().map(Field::name).collect::<Vec<_>>(), ["To", "Subject", "X"]);
        assert!(found[1].is("SUBJECT"));
        assert_eq!(found[1].raw(), b"Subject : one\r\n two\r\n\tthree\r\n");
        assert_eq!(found[1].unfolded(), b"one two\tthree");
        assert_eq!(found[2].unfolded(), b"");
        assert_eq!(fields(b"\r\n").unwrap(), []);
    }

    #[test]
    fn a_broken_block_is_refused_with_its_line() {
        let cases: [(&[u8], HeaderError); 11] = [
            (b"", HeaderError::End),
            (b"To: a\r\n", HeaderError::End),
            (b"To: a", HeaderError::End),
            (b"To: a\r\n\r\nTo: b\r\n\r\n", HeaderError::End),
            (b"To: a\r\nno colon\r\n\r\n", HeaderError::NoField(2)),
            (b"From ann Thu Jan  1 10:20:30 2026\r\n\r\n", HeaderError::NoField(1)),
            (b": x\r\n\r\n", HeaderError::NoField(1)),
            (b" folded: x\r\n\r\n", HeaderError::NoField(1)),
            (b"To: a\0b\r\n\r\n", HeaderError::Nul(1)),
            (b"To: a\r\nX: b\rc\r\n\r\n", HeaderError::BareLineEnd(2)),
            (b"To: a\nBcc: b\r\n\r\n", HeaderError::BareLineEnd(1)),
        ];
        for (block, error) in cases {
            assert_eq!(fields(block), Err(error), "{}", block.escape_ascii());
        }
        assert_eq!(fields(&vec![b'x'; HEADER_SIZE_MAX + 1]), Err(HeaderError::TooLarge));
        let many = [b"a:\r\n".repeat(FIELDS_MAX + 1), b"\r\n".to_vec()].concat();
        assert_eq!(fields(&many), Err(HeaderError::TooMany));
    }

    #[test]
    fn a_header_without_end_is_refused_at_the_limit_and_not_before() {
        let mut cutter = HeaderCutter::default();
        assert_eq!(cutter.push(&vec![b'x'; HEADER_SIZE_MAX - 4]), Ok(Cut::More));
        assert_eq!(cutter.push(b"\r\n\r\ncontent"), Ok(Cut::Content(4)));
        let mut cutter = HeaderCutter::default();
        assert_eq!(cutter.push(&vec![b'x'; HEADER_SIZE_MAX - 3]), Ok(Cut::More));
        assert_eq!(cutter.push(b"\r\n\r\ncontent"), Err(HeaderError::TooLarge));
    }

    #[test]
    fn a_letter_without_content_gets_its_empty_line() {
        for (letter, block) in [
            ("", "\r\n"),
            ("A: b", "A: b\r\n\r\n"),
            ("A: b\r\n", "A: b\r\n\r\n"),
            ("A: b\r\n\r\n", "A: b\r\n\r\n"),
            ("\r\n", "\r\n"),
        ] {
            let mut cutter = HeaderCutter::default();
            cutter.push(letter.as_bytes()).unwrap();
            assert_eq!(cutter.into_block(), block.as_bytes(), "{letter:?}");
        }
    }

    proptest! {
        #[test]
        fn however_a_letter_is_cut_the_header_is_the_same(
            letter in "([a-c: ]{0,6}\r\n){0,6}[a-c\r\n]{0,9}", size in 1usize..9,
        ) {
            let mut whole = HeaderCutter::default();
            let cut = whole.push(letter.as_bytes()).unwrap();
            let mut pieces = HeaderCutter::default();
            let mut content = None;
            for (number, piece) in letter.as_bytes().chunks(size).enumerate() {
                if let Cut::Content(at) = pieces.push(piece).unwrap() {
                    content = Some(number * size + at);
                    break;
                }
            }
            let first = if let Cut::Content(at) = cut { Some(at) } else { None };
            prop_assert_eq!(first, content);
            prop_assert_eq!(whole.into_block(), pieces.into_block());
        }

        #[test]
        fn the_fields_and_the_empty_line_are_the_block(block in "([a-z]{0,3}[: \t]{1,2}[a-z\r\n]{0,5}\r\n){0,5}\r\n") {
            if let Ok(found) = fields(block.as_bytes()) {
                let mut joined: Vec<u8> = found.iter().flat_map(|field| field.raw().to_vec()).collect();
                joined.extend_from_slice(b"\r\n");
                prop_assert_eq!(joined, block.as_bytes());
            }
        }
    }
}

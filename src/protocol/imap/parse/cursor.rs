//! The words of the IMAP grammar (RFC 3501 section 9): atoms, strings, numbers, lists, dates.
//!
//! Works on one complete command, its literals in place and its last CRLF gone. Every read either moves on or fails;
//! nothing recurses here.

use crate::protocol::imap::command::Flags;
use crate::protocol::imap::limits::{FLAGS_MAX, KEYWORD_LEN_MAX};
use crate::protocol::imap::name::MailboxName;
use crate::protocol::imap::sequence::{Bound, SequenceSet};

/// What is wrong with a command, in words for the person who writes the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// The result of reading something.
pub(super) type Read<T> = Result<T, SyntaxError>;

/// A failed read.
pub(super) fn bad<T>(why: &str) -> Read<T> {
    Err(SyntaxError(why.to_owned()))
}

/// A place in a command.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes `byte` if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Read<()> {
        if self.take(byte) { Ok(()) } else { bad(&format!("expected {:?}", char::from(byte))) }
    }

    pub(super) fn space(&mut self) -> Read<()> {
        if self.take(b' ') { Ok(()) } else { bad("expected a space") }
    }

    /// The command must end here. One space at the end is forgiven: some clients send it.
    pub(super) fn end(&mut self) -> Read<()> {
        self.take(b' ');
        if self.at == self.bytes.len() { Ok(()) } else { bad("unexpected text after the command") }
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// A word of letters, digits, `-`, `.` and `_`, in upper case.
    pub(super) fn keyword(&mut self) -> Read<String> {
        let word = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if word.is_empty() {
            return bad("expected a word");
        }
        Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
    }

    /// Takes `word` (given in upper case) if it comes next as a whole word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.keyword().is_ok_and(|found| found == word);
        if found {
            *self = ahead;
        }
        found
    }

    pub(super) fn atom(&mut self) -> Read<&'a str> {
        let atom = self.take_while(is_atom_char);
        if atom.is_empty() {
            return bad("expected an atom");
        }
        std::str::from_utf8(atom).or_else(|_| bad("an atom is ASCII"))
    }

    pub(super) fn number(&mut self) -> Read<u32> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let parsed = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        parsed.map_or_else(|| bad("expected a number below 4294967296"), Ok)
    }

    pub(super) fn nonzero(&mut self) -> Read<u32> {
        match self.number()? {
            0 => bad("a number here is at least 1"),
            number => Ok(number),
        }
    }

    /// A quoted string or a literal. Bytes beyond ASCII are let through.
    pub(super) fn string(&mut self) -> Read<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => bad("expected a string"),
        }
    }

    fn quoted(&mut self) -> Read<Vec<u8>> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0)));
            if self.take(b'"') {
                return Ok(text);
            }
            if !self.take(b'\\') {
                return bad("a quoted string does not end, or holds CR, LF or NUL");
            }
            match self.peek() {
                Some(escaped @ (b'"' | b'\\')) => text.push(escaped),
                _ => return bad("only \\\" and \\\\ may follow a backslash in a quoted string"),
            }
            self.at += 1;
        }
    }

    fn literal(&mut self) -> Read<Vec<u8>> {
        self.expect(b'{')?;
        let len = self.number()? as usize;
        self.take(b'+');
        let rest = &self.bytes[self.at..];
        let body = rest.strip_prefix(b"}\r\n").or_else(|| rest.strip_prefix(b"}\n"));
        let Some(literal) = body.and_then(|body| body.get(..len)) else {
            return bad("expected a literal");
        };
        self.at = self.bytes.len() - body.map_or(0, <[u8]>::len) + len;
        if literal.contains(&0) {
            return bad("a literal here may not hold NUL");
        }
        Ok(literal.to_vec())
    }

    pub(super) fn astring(&mut self) -> Read<Vec<u8>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let atom = self.take_while(|byte| is_atom_char(byte) || byte == b']');
        if atom.is_empty() { bad("expected an atom or a string") } else { Ok(atom.to_vec()) }
    }

    /// An astring that must be UTF-8.
    pub(super) fn text(&mut self) -> Read<String> {
        String::from_utf8(self.astring()?).or_else(|_| bad("a text here is UTF-8"))
    }

    /// A mailbox pattern: as an astring, but `%` and `*` need no quotes.
    pub(super) fn pattern(&mut self) -> Read<Vec<u8>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let pattern = self.take_while(|byte| is_atom_char(byte) || b"]%*".contains(&byte));
        if pattern.is_empty() { bad("expected a mailbox pattern") } else { Ok(pattern.to_vec()) }
    }

    pub(super) fn mailbox(&mut self) -> Read<MailboxName> {
        MailboxName::from_wire(&self.astring()?).map_err(|error| SyntaxError(error.to_string()))
    }

    /// `(` items separated by single spaces `)`; at most `max` of them.
    pub(super) fn list<T>(&mut self, max: usize, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.expect(b'(')?;
        let mut items = Vec::new();
        if self.take(b')') {
            return Ok(items);
        }
        loop {
            if items.len() == max {
                return bad("a list has too many items");
            }
            items.push(item(self)?);
            if self.take(b')') {
                return Ok(items);
            }
            self.space()?;
        }
    }

    pub(super) fn sequence_set(&mut self) -> Read<SequenceSet> {
        let mut ranges = Vec::new();
        loop {
            let first = self.bound()?;
            let last = if self.take(b':') { self.bound()? } else { first };
            ranges.push((first, last));
            if !self.take(b',') {
                return Ok(SequenceSet(ranges));
            }
        }
    }

    fn bound(&mut self) -> Read<Bound> {
        if self.take(b'*') { Ok(Bound::Largest) } else { self.nonzero().map(Bound::Number) }
    }

    /// A parenthesised flag list.
    pub(super) fn flag_list(&mut self) -> Read<Flags> {
        let mut flags = Flags::default();
        self.list(FLAGS_MAX, |cursor| cursor.flag(&mut flags))?;
        Ok(flags)
    }

    /// One flag, added to `flags`. Unknown system flags are an error, except `\Recent`, which only the server sets:
    /// clients that copy it from a FETCH do no harm.
    pub(super) fn flag(&mut self, flags: &mut Flags) -> Read<()> {
        if !self.take(b'\\') {
            let keyword = self.atom()?;
            if keyword.len() > KEYWORD_LEN_MAX {
                return bad("a keyword is too long");
            }
            flags.insert_keyword(keyword);
            return Ok(());
        }
        match self.atom()?.to_ascii_uppercase().as_str() {
            "SEEN" => flags.seen = true,
            "ANSWERED" => flags.answered = true,
            "FLAGGED" => flags.flagged = true,
            "DELETED" => flags.deleted = true,
            "DRAFT" => flags.draft = true,
            "RECENT" => {}
            _ => return bad("unknown system flag"),
        }
        Ok(())
    }
}

/// RFC 3501 section 9, ATOM-CHAR.
pub(super) fn is_atom_char(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_quoted_or_literal() {
        let mut cursor = Cursor::new(b"\"a\\\"b\\\\\" {3}\r\nx\ny {2+}\r\nhi");
        assert_eq!(cursor.string().unwrap(), b"a\"b\\");
        cursor.space().unwrap();
        assert_eq!(cursor.string().unwrap(), b"x\ny");
        cursor.space().unwrap();
        assert_eq!(cursor.astring().unwrap(), b"hi");
        cursor.end().unwrap();
        for broken in [&b"\"a"[..], b"\"a\\x\"", b"{5}\r\nabc", b"{99999999999}\r\n", b"{1}x", b""] {
            assert!(Cursor::new(broken).string().is_err());
        }
    }

    #[test]
    fn sequence_sets_have_no_zero() {
        assert!(Cursor::new(b"0:*").sequence_set().is_err());
        assert!(Cursor::new(b"1,,2").sequence_set().is_err());
        assert!(Cursor::new(b"4294967296").sequence_set().is_err());
        assert_eq!(Cursor::new(b"1,3:*").sequence_set().unwrap().resolve(4).render(), "1,3:4");
    }
}

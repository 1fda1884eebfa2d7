//! Address lists of header fields (RFC 5322 section 3.4): the addresses in From, To, Cc and Bcc.
//!
//! Strict where readers could differ: what is not plainly a list of mailboxes and groups is refused rather than
//! guessed at, because who a letter says it is from is decided here. Display names, comments and encoded words
//! are skipped, never decoded. Reads every byte once.

/// How deep comments may nest: nobody nests three.
const COMMENT_DEPTH_MAX: usize = 32;
/// How much of an unreadable place an error shows, in characters.
const SHOWN_LEN_MAX: usize = 60;

/// A field is no address list; shows the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the address list at \"{0}\"")]
pub struct ListError(pub String);

#[derive(Debug, PartialEq)]
enum Token {
    /// Atoms joined by dots, or an encoded word.
    Word(String),
    /// A quoted string, or a domain literal, without its marks.
    Quoted(String),
    /// One of `<>@,:;`.
    Mark(u8),
}

/// The addresses of a list, each `local@domain` as written, without names, comments and quotation marks.
///
/// Groups are opened up; an empty list is no error. The addresses are not checked further: that is
/// `MailAddress::parse`.
pub fn addresses(body: &[u8]) -> Result<Vec<String>, ListError> {
    let mut lexer = Lexer { body, at: 0 };
    let mut found = Vec::new();
    // Words not yet known to be a display name, a group's name or a local part.
    let mut words: Vec<Token> = Vec::new();
    let (mut in_group, mut complete) = (false, false);
    // Where the item now being read began: what an error shows.
    let mut place = 0;
    loop {
        let token = lexer.next()?;
        let fits = match token {
            None | Some(Token::Mark(b',')) => words.is_empty(),
            Some(Token::Mark(b';')) => in_group && words.is_empty(),
            Some(_) => !complete,
        };
        if !fits {
            return Err(lexer.error(place));
        }
        match token {
            None if in_group => return Err(lexer.error(place)),
            None => return Ok(found),
            Some(Token::Mark(b',')) => (complete, place) = (false, lexer.at),
            Some(Token::Mark(b';')) => (in_group, complete, place) = (false, true, lexer.at),
            Some(Token::Mark(b':')) if !in_group && !words.is_empty() => {
                words.clear();
                (in_group, place) = (true, lexer.at);
            }
            Some(Token::Mark(b'<')) => {
                words.clear();
                found.push(lexer.angle_address(place)?);
                complete = true;
            }
            Some(Token::Mark(b'@')) if words.len() == 1 => {
                let local = words.pop().expect("one word is there");
                found.push(lexer.address_of(local, place)?);
                complete = true;
            }
            Some(Token::Mark(_)) => return Err(lexer.error(place)),
            Some(word) => words.push(word),
        }
    }
}

struct Lexer<'a> {
    body: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn error(&self, place: usize) -> ListError {
        let shown =
            String::from_utf8_lossy(&self.body[place..self.body.len().min(place + 4 * SHOWN_LEN_MAX)]);
        let plain = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        ListError(plain.chars().filter(|letter| !letter.is_control()).take(SHOWN_LEN_MAX).collect())
    }

    /// What stands after `<`: an address and `>`. Source routes are refused.
    fn angle_address(&mut self, place: usize) -> Result<String, ListError> {
        let local = self.next()?.ok_or_else(|| self.error(place))?;
        if self.next()? != Some(Token::Mark(b'@')) {
            return Err(self.error(place));
        }
        let address = self.address_of(local, place)?;
        if self.next()? == Some(Token::Mark(b'>')) { Ok(address) } else { Err(self.error(place)) }
    }

    /// What stands after `@`: the domain.
    fn address_of(&mut self, local: Token, place: usize) -> Result<String, ListError> {
        match (local, self.next()?) {
            (Token::Word(local) | Token::Quoted(local), Some(Token::Word(domain))) => {
                Ok(format!("{local}@{domain}"))
            }
            _ => Err(self.error(place)),
        }
    }

    fn next(&mut self) -> Result<Option<Token>, ListError> {
        self.skip_blanks_and_comments()?;
        let Some(&first) = self.body.get(self.at) else { return Ok(None) };
        match first {
            b'<' | b'>' | b'@' | b',' | b':' | b';' => {
                self.at += 1;
                Ok(Some(Token::Mark(first)))
            }
            b'"' => self.enclosed(b'"'),
            b'[' => self.enclosed(b']'),
            _ => self.word(),
        }
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), ListError> {
        let (place, mut depth) = (self.at, 0);
        while let Some(&byte) = self.body.get(self.at) {
            match byte {
                b'(' if depth < COMMENT_DEPTH_MAX => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                b'(' => return Err(self.error(place)),
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        if depth > 0 || self.at > self.body.len() { Err(self.error(place)) } else { Ok(()) }
    }

    /// A quoted string or a domain literal, with its quoted pairs resolved.
    fn enclosed(&mut self, end: u8) -> Result<Option<Token>, ListError> {
        let place = self.at;
        let mut inside = Vec::new();
        self.at += 1;
        while let Some(&byte) = self.body.get(self.at) {
            self.at += 1;
            match byte {
                _ if byte == end => {
                    return Ok(Some(Token::Quoted(String::from_utf8_lossy(&inside).into_owned())));
                }
                b'\\' => {
                    inside.push(*self.body.get(self.at).ok_or_else(|| self.error(place))?);
                    self.at += 1;
                }
                b'\r' | b'\n' => {}
                _ => inside.push(byte),
            }
        }
        Err(self.error(place))
    }

    fn word(&mut self) -> Result<Option<Token>, ListError> {
        let rest = &self.body[self.at..];
        let len = encoded_word_len(rest)
            .unwrap_or_else(|| rest.iter().position(|byte| !is_word_byte(*byte)).unwrap_or(rest.len()));
        if len == 0 {
            return Err(self.error(self.at));
        }
        self.at += len;
        Ok(Some(Token::Word(String::from_utf8_lossy(&rest[..len]).into_owned())))
    }
}

/// Atoms, dots, and raw UTF-8 (RFC 6532); no control character.
fn is_word_byte(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_graphic() && !b"()<>@,;:\\\"[]".contains(&byte)
}

/// The length of an encoded word (RFC 2047) in which programs wrongly left commas and the like bare. What could be
/// read as an address by others (`<`, `>`, `@`, `"`) ends the leniency.
fn encoded_word_len(rest: &[u8]) -> Option<usize> {
    const ENCODED_WORD_LEN_MAX: usize = 256;
    if !rest.starts_with(b"=?") {
        return None;
    }
    let window = &rest[..rest.len().min(ENCODED_WORD_LEN_MAX)];
    let mut marks = 0;
    for (at, &byte) in window.iter().enumerate().skip(1) {
        match byte {
            b'?' => marks += 1,
            b'=' if marks >= 4 && window[at - 1] == b'?' => return Some(at + 1),
            b'<' | b'>' | b'@' | b'"' | b'(' | b')' => return None,
            _ if !byte.is_ascii_graphic() => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Vec<String>, ListError> {
        addresses(body.as_bytes())
    }

    #[test]
    fn addresses_are_found_whatever_surrounds_them() {
        for (body, expected) in [
            ("a@b", &["a@b"][..]),
            (" \r\n a@b , \r\n\tc.d+e@f.onion\r\n", &["a@b", "c.d+e@f.onion"]),
            ("Ann <a@b>", &["a@b"]),
            ("\"Lee, <x@y> \\\"Ann\\\"\" <a@b>, c@d", &["a@b", "c@d"]),
            ("Ann B. Lee (the (real) \\) one, x@y) <a@b (c)>", &["a@b"]),
            ("=?utf-8?Q?Lee,_Ann;?= <a@b>", &["a@b"]),
            ("=?utf-8?B?TGVl?= =?utf-8?B?QW5u?= <a@b>", &["a@b"]),
            ("\u{c9}va <a@b>", &["a@b"]),
            ("Friends: Ann <a@b>, c@d;, e@f", &["a@b", "c@d", "e@f"]),
            ("undisclosed-recipients:;", &[]),
            ("", &[]),
            (",a@b,,", &["a@b"]),
            ("\"a\"@b", &["a@b"]),
            ("\"x@y\"@b", &["x@y@b"]),
            ("<a@b>", &["a@b"]),
        ] {
            assert_eq!(read(body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for body in [
            "ann",
            "a@b c@d",
            "a@b <c@d>",
            "<a@b> <c@d>",
            "<a@b",
            "a@b>",
            "<>",
            "<@r:a@b>",
            "a@b@c",
            "x y@z",
            "a@",
            "@b",
            "a@b;",
            "G: a@b",
            "G: H: a@b;;",
            ": a@b;",
            "\"a@b",
            "(a@b",
            "a@b)",
            "a@[1.2.3.4]",
            "a@\"b\"",
            "Ann <a@b> x",
            "=?utf-8?Q?<x@y>?= <a@b>",
            "a\\b@c",
            "a@b\0",
            "G:; a@b",
            "a@b \\",
            "(\\",
        ] {
            assert!(read(body).is_err(), "{body:?} gave {:?}", read(body));
        }
        let deep = format!("{}{} a@b", "(".repeat(50_000), ")".repeat(50_000));
        assert!(read(&deep).is_err());
    }

    #[test]
    fn an_error_shows_the_place_on_one_short_line() {
        let error = read(&format!("a@b,\r\n \u{e9}\u{9b}<{}", "x".repeat(500))).unwrap_err();
        assert!(error.0.starts_with("\u{e9}<x"), "{error}");
        assert_eq!(read("a@b, ann, c@d").unwrap_err().0, "ann, c@d");
        assert_eq!(error.0.chars().count(), SHOWN_LEN_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = addresses(&body);
        }

        #[test]
        fn any_near_list_gives_only_whole_addresses(body in "[ab@<>,:;\"\\\\() .\u{e9}=?]{0,30}") {
            for address in read(&body).unwrap_or_default() {
                prop_assert!(address.contains('@'));
            }
        }
    }
}

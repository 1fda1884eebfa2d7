//! Header fields (RFC 5322 section 2.2): found, unfolded, chosen by name, decoded (RFC 2047).

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;

/// Longest encoded word, in bytes; RFC 2047 allows 75, real ones are longer.
const ENCODED_WORD_LEN_MAX: usize = 1000;

/// One field as it stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name, without the colon and the spaces before it.
    pub name: &'a [u8],
    /// What follows the colon, folds included, last line end excluded.
    pub value: &'a [u8],
    /// The whole field with its line end.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// True if the field has this name, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value on one line, without spaces around it.
    pub fn unfolded(&self) -> Vec<u8> {
        let kept: Vec<u8> =
            self.value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
        kept.trim_ascii().to_vec()
    }
}

/// The fields of a header, in order. Lines that are no field are passed over; an empty line ends the header.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let raw = &rest[..field_len(rest)];
            if trim_line_end(raw).is_empty() {
                return None;
            }
            rest = &rest[raw.len()..];
            let first_line = &raw[..line_len(raw)];
            if let Some(colon) = memchr::memchr(b':', first_line) {
                let name = raw[..colon].trim_ascii_end();
                if !name.is_empty() && !name.contains(&b' ') {
                    return Some(Field { name, value: trim_line_end(&raw[colon + 1..]), raw });
                }
            }
        }
        None
    })
}

/// The first field of that name.
pub fn first<'a>(header: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// The first field of each of these names, in one pass.
pub fn firsts<'a, const N: usize>(header: &'a [u8], names: [&str; N]) -> [Option<Field<'a>>; N] {
    let mut found = [None; N];
    for field in fields(header) {
        if let Some(at) = names.iter().position(|name| field.is(name.as_bytes())) {
            found[at] = found[at].or(Some(field));
        }
    }
    found
}

/// The named fields (or all others) as they stand, then the empty line: HEADER.FIELDS and HEADER.FIELDS.NOT.
pub fn subset(header: &[u8], names: &[Vec<u8>], not: bool) -> Vec<u8> {
    let wanted = |field: &Field<'_>| names.iter().any(|name| field.is(name)) != not;
    let mut subset: Vec<u8> = fields(header).filter(wanted).flat_map(|field| field.raw).copied().collect();
    if !subset.is_empty() && !subset.ends_with(b"\n") {
        subset.extend_from_slice(b"\r\n");
    }
    subset.extend_from_slice(b"\r\n");
    subset
}

/// Length of the first line with its end.
fn line_len(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// Length of the first line and of the lines that continue it.
fn field_len(text: &[u8]) -> usize {
    let mut len = line_len(text);
    while matches!(text.get(len), Some(b' ' | b'\t')) {
        len += line_len(&text[len..]);
    }
    len
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// An unfolded value as a person reads it: encoded words decoded, and the space between two of them dropped.
/// Bytes that are no UTF-8 are replaced.
pub fn decoded(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut plain_from = 0;
    let mut after_word = false;
    let mut at = 0;
    while let Some(found) = value[at..].windows(2).position(|pair| pair == b"=?") {
        let start = at + found;
        let Some((word, len)) = encoded_word(&value[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &value[plain_from..start];
        if !(after_word && between.trim_ascii().is_empty()) {
            text.push_str(&String::from_utf8_lossy(between));
        }
        text.push_str(&word);
        at = start + len;
        plain_from = at;
        after_word = true;
    }
    text.push_str(&String::from_utf8_lossy(&value[plain_from..]));
    text
}

/// Decodes the encoded word that `text` starts with; also says how long it is.
fn encoded_word(text: &[u8]) -> Option<(String, usize)> {
    let text = &text[..text.len().min(ENCODED_WORD_LEN_MAX)];
    let mut parts = text.get(2..)?.splitn(3, |&byte| byte == b'?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let data_len = rest.windows(2).position(|pair| pair == b"?=")?;
    let data = &rest[..data_len];
    if charset.is_empty() || data.contains(&b' ') && encoding.eq_ignore_ascii_case(b"b") {
        return None;
    }
    let bytes = match encoding {
        b"b" | b"B" => base64_decode(data)?,
        b"q" | b"Q" => q_decode(data),
        _ => return None,
    };
    // RFC 2231 section 5: a language may follow the charset.
    let charset = charset.split(|&byte| byte == b'*').next().unwrap_or(charset);
    Some((to_utf8(charset, &bytes), 2 + charset_and_more(text, rest) + data_len + 2))
}

/// Bytes between `=?` and the data of an encoded word.
fn charset_and_more(text: &[u8], rest: &[u8]) -> usize {
    text.len() - 2 - rest.len()
}

/// The Q encoding (RFC 2047 section 4.2); what is no valid escape stays as it is.
fn q_decode(data: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(data.len());
    let mut at = 0;
    while at < data.len() {
        let escaped = match data[at..] {
            [b'=', high, low, ..] => hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(if data[at] == b'_' { b' ' } else { data[at] }));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    bytes
}

/// Text in a charset as UTF-8; an unknown charset is taken for UTF-8, and what does not fit is replaced.
pub fn to_utf8(charset: &[u8], bytes: &[u8]) -> String {
    match charset_decoder(charset) {
        Some(decode) if !charset.eq_ignore_ascii_case(b"utf-8") => decode(bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"From x\r\nSubject: one\r\n two\r\nTo : a\r\nX:\r\nsubject: three\r\n\r\nBody: no\r\n";

    #[test]
    fn fields_are_found_and_unfolded() {
        let all: Vec<_> = fields(HEADER).map(|field| (field.name, field.unfolded())).collect();
        let expected = [
            (&b"Subject"[..], b"one two".to_vec()),
            (b"To", b"a".to_vec()),
            (b"X", vec![]),
            (b"subject", b"three".to_vec()),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_subset_keeps_the_bytes_and_ends_with_an_empty_line() {
        let names = [b"SUBJECT".to_vec()];
        assert_eq!(subset(HEADER, &names, false), b"Subject: one\r\n two\r\nsubject: three\r\n\r\n");
        assert_eq!(subset(HEADER, &names, true), b"To : a\r\nX:\r\n\r\n");
        assert_eq!(subset(b"", &names, false), b"\r\n");
        assert_eq!(subset(b"Subject: cut", &names, false), b"Subject: cut\r\n\r\n");
    }

    #[test]
    fn encoded_words_are_decoded() {
        for (value, text) in [
            ("=?iso-8859-1?Q?Andr=E9_B?= x", "André B x"),
            ("=?utf-8?B?w6k=?=\t =?UTF-8?q?=C3=A8?=", "éè"),
            ("a =?utf-8*fr?q?b?= c", "a b c"),
            ("=?bad =?utf-8?x?y?= =?utf-8?q?z", "=?bad =?utf-8?x?y?= =?utf-8?q?z"),
            ("=?utf-8?q?a=ZZ?=", "a=ZZ"),
        ] {
            assert_eq!(decoded(value.as_bytes()), text);
        }
    }
}

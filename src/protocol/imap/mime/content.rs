//! The MIME fields of a part (RFC 2045, 2183, 3282, 2557), as BODYSTRUCTURE shows them.
//!
//! Values stay as written: RFC 2231 continuations and encoded words are for the client to put together.

use super::header::firsts;
use crate::protocol::imap::limits::{BOUNDARY_LEN_MAX, PARAMETERS_MAX};

const FIELDS: [&str; 8] = [
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-ID",
    "Content-Description",
    "Content-MD5",
    "Content-Language",
    "Content-Location",
];

/// Name and value, without quotes.
pub type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// What the MIME fields of one part say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `text`, `multipart`, … as written.
    pub media: Vec<u8>,
    /// `plain`, `mixed`, … as written.
    pub subtype: Vec<u8>,
    /// Of Content-Type.
    pub parameters: Parameters,
    /// Content-ID
    pub id: Option<Vec<u8>>,
    /// Content-Description
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding; `7bit` if none is given.
    pub encoding: Vec<u8>,
    /// Content-MD5
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition
    pub disposition: Option<(Vec<u8>, Parameters)>,
    /// Content-Language
    pub languages: Vec<Vec<u8>>,
    /// Content-Location
    pub location: Option<Vec<u8>>,
}

impl Default for Content {
    /// RFC 2045 section 5.2: plain text in US-ASCII.
    fn default() -> Self {
        Self {
            media: b"text".to_vec(),
            subtype: b"plain".to_vec(),
            parameters: vec![(b"charset".to_vec(), b"us-ascii".to_vec())],
            id: None,
            description: None,
            encoding: b"7bit".to_vec(),
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
        }
    }
}

impl Content {
    /// Reads the MIME fields of a header. `digest`: the part is in a multipart/digest, where the default is
    /// message/rfc822 (RFC 2046 section 5.1.5).
    pub fn of_header(header: &[u8], digest: bool) -> Self {
        let [kind, encoding, disposition, id, description, md5, language, location] = firsts(header, FIELDS)
            .map(|field| field.map(|field| field.unfolded()).filter(|value| !value.is_empty()));
        let mut content = Self { id, description, md5, location, ..Self::default() };
        if digest {
            (content.media, content.subtype) = (b"message".to_vec(), b"rfc822".to_vec());
            content.parameters.clear();
        }
        if let Some((media, subtype, parameters)) = kind.and_then(|value| media_type(&value)) {
            (content.media, content.subtype, content.parameters) = (media, subtype, parameters);
        }
        if let Some(encoding) = encoding {
            content.encoding = Words { rest: &encoding }.token().unwrap_or(content.encoding);
        }
        if let Some(value) = disposition {
            let mut words = Words { rest: &value };
            content.disposition = words.token().map(|kind| (kind, words.parameters()));
        }
        if let Some(value) = language {
            let tags = value.split(|&byte| byte == b',').map(|tag| tag.trim_ascii().to_vec());
            content.languages = tags.filter(|tag| !tag.is_empty()).take(PARAMETERS_MAX).collect();
        }
        content
    }

    /// True for this type and subtype, in any case; `*` is any subtype.
    pub fn is(&self, media: &str, subtype: &str) -> bool {
        self.media.eq_ignore_ascii_case(media.as_bytes())
            && (subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype.as_bytes()))
    }

    /// The value of a parameter of Content-Type.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let named = |(known, _): &&(Vec<u8>, Vec<u8>)| known.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(named).map(|(_, value)| &value[..])
    }

    /// The boundary of a multipart that has a usable one.
    pub fn boundary(&self) -> Option<&[u8]> {
        let usable = |boundary: &&[u8]| (1..=BOUNDARY_LEN_MAX).contains(&boundary.len());
        self.parameter("boundary").filter(|_| self.is("multipart", "*")).filter(usable)
    }

    /// True if the body stands there as it is: 7bit, 8bit or binary.
    pub fn is_identity(&self) -> bool {
        [&b"7bit"[..], b"8bit", b"binary"].iter().any(|known| self.encoding.eq_ignore_ascii_case(known))
    }

    /// Roughly how many bytes it takes to keep and to show.
    pub fn weight(&self) -> usize {
        let parameters =
            |list: &Parameters| list.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>();
        let texts = [&self.id, &self.description, &self.md5, &self.location];
        let texts = texts.into_iter().flatten().map(Vec::len).sum::<usize>();
        let disposition = self.disposition.as_ref().map_or(0, |(kind, list)| kind.len() + parameters(list));
        let languages = self.languages.iter().map(Vec::len).sum::<usize>();
        let types = self.media.len() + self.subtype.len() + self.encoding.len();
        parameters(&self.parameters) + texts + disposition + languages + types
    }
}

/// `type/subtype; parameters`; `None` if it is nothing of the kind.
fn media_type(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Parameters)> {
    let mut words = Words { rest: value };
    let media = words.token()?;
    if !words.take(b'/') {
        return None;
    }
    let subtype = words.token()?;
    Some((media, subtype, words.parameters()))
}

/// The words of a structured field (RFC 2045 section 5.1), comments passed over.
struct Words<'a> {
    rest: &'a [u8],
}

impl Words<'_> {
    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.first() != Some(&b'(') {
                return;
            }
            let mut depth = 0_usize;
            let mut escaped = false;
            let end = self.rest.iter().position(|&byte| {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            self.rest = &self.rest[end.map_or(self.rest.len(), |end| end + 1)..];
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        let special = |byte: &u8| byte.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=".contains(byte);
        self.word(|byte| !special(byte))
    }

    fn word(&mut self, wanted: impl Fn(&u8) -> bool) -> Option<Vec<u8>> {
        let len = self.rest.iter().position(|byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        (len > 0).then(|| word.to_vec())
    }

    /// A parameter's value: quoted, or (more freely than the RFC has it) all up to `;` or a space.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        let Some(mut rest) = self.rest.strip_prefix(b"\"") else {
            return self.word(|byte| *byte != b';' && !byte.is_ascii_whitespace());
        };
        let mut value = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'"' => break,
                b'\\' => {
                    if let Some((&escaped, after)) = rest.split_first() {
                        value.push(escaped);
                        rest = after;
                    }
                }
                _ => value.push(byte),
            }
        }
        self.rest = rest;
        Some(value)
    }

    /// `; name=value` as often as it comes, up to the limit. What is no parameter is passed over.
    fn parameters(&mut self) -> Parameters {
        let mut parameters = Parameters::new();
        while parameters.len() < PARAMETERS_MAX {
            let Some(semicolon) = self.rest.iter().position(|&byte| byte == b';') else { break };
            self.rest = &self.rest[semicolon + 1..];
            let Some(name) = self.token() else { continue };
            if self.take(b'=')
                && let Some(value) = self.value()
            {
                parameters.push((name, value));
            }
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Content {
        Content::of_header(header.as_bytes(), false)
    }

    #[test]
    fn the_fields_of_a_part_are_read() {
        let content = of("Content-Type: Multipart/Mixed (x;y);\r\n boundary=\"a \\\"b\"; Charset=utf-8\r\n\
             Content-Transfer-Encoding: BASE64 (c)\r\nContent-Disposition: attachment; filename*0=\"a;b\"\r\n\
             Content-Language: de, fr\r\nContent-ID: <x@y>\r\n");
        assert!(content.is("multipart", "mixed") && content.is("MULTIPART", "*"));
        assert_eq!(content.boundary(), Some(&b"a \"b"[..]));
        assert_eq!(content.parameter("charset"), Some(&b"utf-8"[..]));
        assert_eq!(content.encoding, b"BASE64");
        let disposition = (b"attachment".to_vec(), vec![(b"filename*0".to_vec(), b"a;b".to_vec())]);
        assert_eq!(content.disposition, Some(disposition));
        assert_eq!(content.languages, [b"de".to_vec(), b"fr".to_vec()]);
        assert_eq!(content.id.as_deref(), Some(&b"<x@y>"[..]));
    }

    #[test]
    fn what_is_broken_is_plain_text() {
        for broken in ["", "Content-Type: text\r\n", "Content-Type: /x\r\n", "Content-Type: ;;;\r\n"] {
            assert_eq!(of(broken), Content::default(), "{broken}");
        }
        assert!(Content::of_header(b"", true).is("message", "rfc822"));
        assert_eq!(of("Content-Type: multipart/mixed; boundary=\r\n").boundary(), None);
    }

    #[test]
    fn parameters_are_bounded() {
        let many = format!("Content-Type: a/b{}\r\n", "; x*1=y".repeat(50_000));
        assert_eq!(of(&many).parameters.len(), PARAMETERS_MAX);
        of(&format!("Content-Type: a/b; {}\r\n", "(".repeat(50_000)));
    }
}

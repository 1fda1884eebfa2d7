//! The items of FETCH (RFC 3501 section 6.4.5): macros, `BODY[section]<partial>` and the `RFC822` forms.

use super::cursor::{Cursor, Read, bad, is_atom_char};
use crate::protocol::imap::command::{BytesItem, FetchItem, Form, Partial, Section, SectionText};
use crate::protocol::imap::limits::{FETCH_ITEMS_MAX, FIELD_NAMES_MAX, SECTION_DEPTH_MAX};

impl Cursor<'_> {
    /// What follows the sequence set of FETCH: a macro, one item, or a list of items.
    pub(super) fn fetch_items(&mut self) -> Read<Vec<FetchItem>> {
        if self.peek() == Some(b'(') {
            let items = self.list(FETCH_ITEMS_MAX, Self::fetch_item)?;
            return if items.is_empty() { bad("FETCH asks for nothing") } else { Ok(items) };
        }
        use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
        let fast = vec![Flags, InternalDate, Size];
        if self.take_word("FAST") {
            Ok(fast)
        } else if self.take_word("ALL") {
            Ok([fast, vec![Envelope]].concat())
        } else if self.take_word("FULL") {
            Ok([fast, vec![Envelope, Body]].concat())
        } else {
            Ok(vec![self.fetch_item()?])
        }
    }

    fn fetch_item(&mut self) -> Read<FetchItem> {
        let rfc822 = |text, peek| {
            let section = Section { path: Vec::new(), text };
            Ok(FetchItem::Bytes(BytesItem { section, partial: None, peek, form: Form::Rfc822 }))
        };
        match self.keyword()?.as_str() {
            "UID" => Ok(FetchItem::Uid),
            "FLAGS" => Ok(FetchItem::Flags),
            "INTERNALDATE" => Ok(FetchItem::InternalDate),
            "ENVELOPE" => Ok(FetchItem::Envelope),
            "BODYSTRUCTURE" => Ok(FetchItem::BodyStructure),
            "RFC822.SIZE" => Ok(FetchItem::Size),
            "RFC822" => rfc822(SectionText::Whole, false),
            // RFC 3501 section 6.4.5: RFC822.HEADER is BODY.PEEK[HEADER]; the other two set \Seen.
            "RFC822.HEADER" => rfc822(SectionText::Header, true),
            "RFC822.TEXT" => rfc822(SectionText::Text, false),
            "BODY" if self.peek() != Some(b'[') => Ok(FetchItem::Body),
            "BODY" => self.body_section(false),
            "BODY.PEEK" => self.body_section(true),
            _ => bad("unknown FETCH item"),
        }
    }

    fn body_section(&mut self, peek: bool) -> Read<FetchItem> {
        self.expect(b'[')?;
        let section = self.section()?;
        self.expect(b']')?;
        let partial = if self.take(b'<') { Some(self.partial()?) } else { None };
        Ok(FetchItem::Bytes(BytesItem { section, partial, peek, form: Form::Body }))
    }

    fn section(&mut self) -> Read<Section> {
        let mut path = Vec::new();
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            if path.len() == SECTION_DEPTH_MAX {
                return bad("a section has too many levels");
            }
            path.push(self.nonzero()?);
            if !self.take(b'.') {
                return Ok(Section { path, text: SectionText::Whole });
            }
        }
        if path.is_empty() && self.peek() == Some(b']') {
            return Ok(Section { path, text: SectionText::Whole });
        }
        let text = match self.keyword()?.as_str() {
            "HEADER" => SectionText::Header,
            "TEXT" => SectionText::Text,
            "MIME" if !path.is_empty() => SectionText::Mime,
            "HEADER.FIELDS" => SectionText::Fields(self.field_names()?),
            "HEADER.FIELDS.NOT" => SectionText::FieldsNot(self.field_names()?),
            _ => return bad("unknown section"),
        };
        Ok(Section { path, text })
    }

    fn field_names(&mut self) -> Read<Vec<Vec<u8>>> {
        self.space()?;
        let names = self.list(FIELD_NAMES_MAX, |cursor| {
            let name = cursor.astring()?;
            // Names go back on the wire as they came: only what can be an atom there, or be quoted plainly.
            let plain = |&byte: &u8| is_atom_char(byte) || byte == b']';
            if name.iter().all(plain) && !name.is_empty() { Ok(name) } else { bad("no such field name") }
        })?;
        if names.is_empty() { bad("no field names") } else { Ok(names) }
    }

    fn partial(&mut self) -> Read<Partial> {
        let start = self.number()?;
        self.expect(b'.')?;
        let count = self.nonzero()?;
        self.expect(b'>')?;
        Ok(Partial { start: start.into(), count: count.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Read<Vec<FetchItem>> {
        let mut cursor = Cursor::new(text.as_bytes());
        let items = cursor.fetch_items()?;
        cursor.end()?;
        Ok(items)
    }

    #[test]
    fn sections_and_partials_are_read() {
        let [FetchItem::Bytes(BytesItem { section, partial, peek, form })] =
            &items("BODY.PEEK[4.2.HEADER.FIELDS (To \"Cc\")]<10.20>").unwrap()[..]
        else {
            panic!("one item");
        };
        assert_eq!(section.path, [4, 2]);
        let names = vec![b"To".to_vec(), b"Cc".to_vec()];
        assert_eq!(section.text, SectionText::Fields(names));
        assert_eq!((*partial, *peek, *form), (Some(Partial { start: 10, count: 20 }), true, Form::Body));
        assert_eq!(items("full").unwrap().len(), 5);
        assert_eq!(items("(UID BODY BODY[] body[1] RFC822)").unwrap().len(), 5);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "()",
            "(FLAGS",
            "BODY[",
            "BODY[MIME]",
            "BODY[0]",
            "BODY[1.]",
            "BODY[]<0.0>",
            "BODY[]<4294967296.1>",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS (\"a b\")]",
            "FLAGS FLAGS",
            "((((((",
        ] {
            assert!(items(bad).is_err(), "{bad}");
        }
        assert!(items(&format!("BODY[{}1]", "1.".repeat(100))).is_err());
    }
}

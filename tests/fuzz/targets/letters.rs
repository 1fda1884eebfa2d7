//! Letters: their headers on the way in and out, the structure of their MIME parts, and what IMAP shows of them.

use super::{class, pieces};
use crate::corpus::{self, onion};
use crate::engine::{Target, sum};
use onionskin::model::address::LocalPart;
use onionskin::model::header::{self, Cut, HeaderCutter};
use onionskin::model::policy::OwnNames;
use onionskin::model::prepare;
use onionskin::model::time::{self, UnixTime};
use onionskin::model::{mailbox, trace};
use onionskin::protocol::imap::command::{Section, SectionText};
use onionskin::protocol::imap::limits;
use onionskin::protocol::imap::mime::scan::{Kind, Scanner, Structure};
use onionskin::protocol::imap::mime::section::{HeaderEnd, Source, locate};
use onionskin::protocol::imap::mime::text::{TextWindows, part_headers, text_parts};
use onionskin::protocol::imap::mime::{content::Content, envelope, header as shown, structure};
use rand::RngExt as _;
use rand::rngs::StdRng;

pub(super) fn targets() -> Vec<Target> {
    let target =
        |name, run, brief| Target { name, seeds: letters, words: WORDS, run, brief, len_max: 32 * 1024 };
    vec![
        target("header-in", coming, 2000),
        target("header-out", leaving, 2000),
        target("mime", mime, 1500),
        target("mime-text", text, 2000),
        Target { name: "field", seeds: fields, words: WORDS, run: field, brief: 8000, len_max: 4096 },
    ]
}

const WORDS: &[&str] = &[
    "From: ",
    "To: ",
    "Cc: ",
    "Bcc: ",
    "Date: ",
    "Subject: ",
    "Message-ID: ",
    "Received: ",
    "Return-Path: ",
    "Authentication-Results: ",
    "X-Onionskin-A: ",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: multipart/digest; boundary=\"c d\"\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Disposition: attachment; filename=\"x\"\r\n",
    "Content-Language: de, fr\r\n",
    "charset=utf-7",
    "charset=iso-2022-jp",
    "charset=utf-16",
    "\r\n--b\r\n",
    "\r\n--b--\r\n",
    "--c d\r\n",
    "=?utf-8?q?=41?=",
    "=?iso-8859-1?B?4Q==?=",
    "\r\n\r\n",
    "\r\n ",
    "<a@b>",
    "\"a b\" <c@d>",
    "g: a@b, c@d;",
    "(comment (nested))",
    "; x*0*=utf-8''%41",
    "Mon, 1 Feb 2026 10:00:00 +0000",
    "=\r\n",
    "=C3=A4",
];

fn own() -> OwnNames {
    OwnNames::new(onion(2), [LocalPart::parse("bob").expect("a word")]).expect("a name")
}

fn letters() -> Vec<Vec<u8>> {
    let mut letters = corpus::texts("letters");
    letters.extend([Vec::new(), b"\r\n".to_vec()]);
    letters
}

/// Cuts the header off in drawn pieces and in one, which must agree; the block, unless it is refused.
fn cut(letter: &[u8], rng: &mut StdRng) -> Option<(Vec<u8>, usize)> {
    let take = |parts: &[&[u8]]| {
        let mut cutter = HeaderCutter::default();
        let mut before = 0;
        for part in parts {
            match cutter.push(part) {
                Ok(Cut::More) => before += part.len(),
                Ok(Cut::Content(at)) => return Some((cutter.into_block(), before + at)),
                Err(_) => return None,
            }
        }
        Some((cutter.into_block(), before))
    };
    let whole = take(&[letter]);
    assert_eq!(
        whole,
        take(&pieces(letter, usize::MAX, rng)),
        "the header's end depends on how the bytes were split"
    );
    whole
}

/// What arrives: nothing that only we may write is left, everything else is there as it came.
fn coming(letter: &[u8], rng: &mut StdRng) -> u64 {
    let Some((block, content)) = cut(letter, rng) else { return 1 };
    assert!(content <= letter.len() && block.len() <= header::HEADER_SIZE_MAX + 4);
    let fields = header::fields(&block);
    if let Ok(fields) = &fields {
        let joined: usize = fields.iter().map(|field| field.raw().len()).sum();
        assert_eq!(joined + 2, block.len(), "the fields are not the whole header");
    }
    let screened = trace::screen(&block, &onion(2));
    if let Ok(screened) = &screened {
        let left = header::fields(&screened.header).expect("what is left of a sound header is sound");
        assert!(left.len() <= fields.as_ref().map_or(0, Vec::len));
        for field in &left {
            let name = field.name().to_ascii_lowercase();
            assert!(
                name != "return-path" && name != "delivered-to" && !name.starts_with("x-onionskin"),
                "{name} was left"
            );
        }
        let again = trace::screen(&screened.header, &onion(2)).expect("what was let in once is let in again");
        assert_eq!(again.header, screened.header);
        let proof = trace::proof_of(&screened.authors, Some(&onion(1)));
        assert!(
            proof != trace::Proof::Pass
                || screened.authors.iter().all(|who| who.to_lowercase().ends_with(&onion(1).host()))
        );
    }
    let kind =
        |error: String| error.chars().filter(|letter| letter.is_alphabetic()).take(60).collect::<String>();
    sum((
        screened
            .map(|it| (it.authors.len().min(4), it.message_id.is_some()))
            .map_err(|error| kind(error.to_string())),
        class(block.len()),
    ))
}

/// What leaves: no Bcc, no trace of the client, one author who is ours, and ready letters stay as they are.
fn leaving(letter: &[u8], rng: &mut StdRng) -> u64 {
    let Some((block, _)) = cut(letter, rng) else { return 1 };
    let now = UnixTime(1_769_936_400);
    let prepared = prepare::prepare(&block, &own(), now, [9; 16]);
    if let Ok(prepared) = &prepared {
        let fields = header::fields(&prepared.header).expect("what was made ready is sound");
        let named = |name: &str| fields.iter().filter(|field| field.is(name)).count();
        assert!(
            named("Bcc") == 0 && named("X-Mailer") == 0 && named("User-Agent") == 0 && named("Received") == 0
        );
        assert!(named("From") == 1 && named("Date") == 1 && named("Message-ID") == 1);
        let again =
            prepare::prepare(&prepared.header, &own(), now, [8; 16]).expect("what is ready is ready again");
        assert_eq!(String::from_utf8_lossy(&again.header), String::from_utf8_lossy(&prepared.header));
    }
    let _recipients = prepare::recipients(&block);
    let kind =
        |error: String| error.chars().filter(|letter| letter.is_alphabetic()).take(50).collect::<String>();
    sum((
        prepared
            .map(|it| (class(it.header.len()), it.replaced_message_id.is_some()))
            .map_err(|error| kind(error.to_string())),
        class(block.len()),
    ))
}

fn scan(parts: &[&[u8]]) -> Structure {
    let mut scanner = Scanner::new();
    parts.iter().for_each(|part| scanner.feed(part));
    scanner.finish()
}

/// The structure is the same however the bytes are split, lies within the letter and within the limits, and is shown in
/// the grammar of IMAP.
fn mime(letter: &[u8], rng: &mut StdRng) -> u64 {
    let whole = scan(&[letter]);
    assert_eq!(
        whole,
        scan(&pieces(letter, usize::MAX, rng)),
        "the structure depends on how the bytes were split"
    );
    assert!(whole.parts.len() <= limits::MIME_PARTS_MAX + 1);
    let len = letter.len() as u64;
    for part in &whole.parts {
        let (header, body) = (&part.header, &part.body);
        assert!(
            header.start <= header.end
                && header.end <= body.start
                && body.start <= body.end
                && body.end <= len,
            "{part:?}"
        );
        let inner: &[usize] = match &part.kind {
            Kind::Leaf => &[],
            Kind::Multipart(inner) => inner,
            Kind::Message(inner) => std::slice::from_ref(inner),
        };
        for &inner in inner {
            let inner = &whole.parts[inner];
            assert!(
                inner.header.start >= body.start && inner.body.end <= body.end.max(inner.body.start),
                "a part lies outside"
            );
        }
    }
    let mut shapes = Vec::new();
    for extended in [false, true] {
        let mut out = Vec::new();
        structure::render(&mut out, &whole, extended);
        assert!(out.len() <= 4 * limits::STRUCTURE_LEN_MAX + 256 * whole.parts.len());
        shapes.push(sound(&out));
    }
    let mut end = HeaderEnd::default();
    let header =
        end.feed(letter).and_then(|end| usize::try_from(end).ok()).map_or(letter, |end| &letter[..end]);
    sound(&envelope::render(header));
    for text in [SectionText::Whole, SectionText::Header, SectionText::Mime, SectionText::Text] {
        let path: Vec<u32> = (0..rng.random_range(0..5_u32)).map(|_| rng.random_range(0..4_u32)).collect();
        if let Some(Source::Range(range) | Source::Fields(range)) = locate(&whole, &Section { path, text }) {
            assert!(range.start <= range.end && range.end <= len);
        }
    }
    sum((shapes, class(whole.parts.len())))
}

/// Reads what was written as IMAP's grammar has it; its shape, without the texts.
fn sound(written: &[u8]) -> String {
    let (mut rest, mut depth, mut shape) = (written, 0_usize, String::new());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).expect("a parenthesis closes that was not opened"),
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().position(|&byte| match byte {
                    _ if escaped => {
                        escaped = false;
                        false
                    }
                    b'\\' => {
                        escaped = true;
                        false
                    }
                    other => other == b'"',
                });
                let end = end.expect("a quoted string has an end");
                assert!(
                    rest[..end].iter().all(|byte| (b' '..=b'~').contains(byte)),
                    "a quoted string holds what it may not"
                );
                rest = &rest[end + 1..];
            }
            b'{' => {
                let end = rest.iter().position(|&byte| byte == b'}').expect("a literal has a length");
                let len: usize = std::str::from_utf8(&rest[..end])
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .expect("a number");
                assert_eq!(rest.get(end + 1..end + 3), Some(&b"\r\n"[..]));
                let literal = rest.get(end + 3..end + 3 + len).expect("a literal is as long as it says");
                assert!(!literal.contains(&0));
                rest = &rest[end + 3 + len..];
            }
            _ => assert!(byte == b' ' || byte.is_ascii_alphanumeric(), "a stray {byte}"),
        }
        if shape.len() < 200 && b"(){N".contains(&byte) {
            shape.push(char::from(byte));
        }
    }
    assert_eq!(depth, 0, "a parenthesis is not closed");
    shape
}

/// What is searched: any text is decoded within bounds, and found again however the bytes were split.
fn text(letter: &[u8], rng: &mut StdRng) -> u64 {
    let whole = scan(&[letter]);
    let mut seen = vec![class(part_headers(&whole).len())];
    for place in text_parts(&whole).take(8) {
        let part = &whole.parts[place];
        let bounds = (usize::try_from(part.body.start), usize::try_from(part.body.end));
        let (Ok(start), Ok(end)) = bounds else { continue };
        let read = |parts: Vec<&[u8]>| {
            let mut windows = TextWindows::new(&part.content, 8);
            let mut len = 0;
            for part in parts {
                len += windows.feed(part, false).len();
            }
            len + windows.feed(b"", true).len()
        };
        let body = &letter[start..end];
        let len = read(pieces(body, 64 * 1024, rng));
        // Each window begins with at most eight characters of the one before.
        assert!(len <= 8 * body.len() + 64 * (body.len() + 2), "{len} bytes of text out of {}", body.len());
        seen.push(class(len));
    }
    sum(seen)
}

fn fields() -> Vec<Vec<u8>> {
    let all = [
        "Sun, 1 Feb 2026 10:00:00 +0100 (CET)",
        "1 Feb 26 10:00 EST",
        "Ann <ann@b>, \"B, C\" <d@e> (comment), g: x@y;",
        "@a,@b:c@d",
        "=?utf-8?b?w6k=?= x",
        "=?utf-7?q?+AGE-?=",
        "text/plain; charset=\"utf-8\" (c); format=flowed",
        "multipart/mixed; boundary=\"a\\\"b\"",
        "<1@b> <2@b>",
    ];
    all.map(|value| value.as_bytes().to_vec()).to_vec()
}

/// The value of one field, read as everything that a field can be.
fn field(value: &[u8], _: &mut StdRng) -> u64 {
    let date = time::parse_date(value);
    let listed = mailbox::addresses(value);
    if let Ok(listed) = &listed {
        assert!(
            listed.len() <= value.len() && listed.iter().all(|address| !address.contains(['\r', '\n', '\0']))
        );
    }
    let shown_list = onionskin::protocol::imap::mime::address::parse(value);
    let mut out = Vec::new();
    onionskin::protocol::imap::mime::address::render(&mut out, &shown_list);
    let shape = sound(&out);
    let decoded = shown::decoded(value);
    assert!(decoded.len() <= 16 * value.len() + 16);
    let header = [
        b"Content-Type: ",
        value,
        b"\r\nContent-Disposition: ",
        value,
        b"\r\nContent-Language: ",
        value,
        b"\r\n\r\n",
    ]
    .concat();
    let content = Content::of_header(&header, false);
    assert!(
        content.parameters.len() <= limits::PARAMETERS_MAX && content.weight() <= 8 * header.len() + 1024
    );
    sum((
        date.is_some(),
        listed.map(|list| list.len().min(8)).is_ok(),
        shape,
        content.parameters.len().min(8),
        class(decoded.len()),
    ))
}

//! What the scanner must find, however the letter is cut into chunks.

use super::*;

/// RFC 3501's example of part numbers, in small: mixed(text, binary, letter(mixed(text, alternative(text, html)))).
const NESTED: &str = "From: a@b\r\nSubject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n\
    --o\r\n\r\none\r\ntwo\r\n--o \r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lG\r\n\r\n\
    --o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=\"i\"\r\n\r\n\
    --i\r\n\r\nx\r\n--i\r\nContent-Type: multipart/alternative; boundary=oo\r\n\r\n--oo\r\n\r\ny\r\n--oo\r\n\
    Content-Type: text/html\r\n\r\n<b>y</b>\r\n--oo--\r\n--i--\r\n--o--\r\nepilogue\r\n";

fn scan(letter: &[u8], chunk: usize) -> Structure {
    let mut scanner = Scanner::new();
    letter.chunks(chunk).for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}

fn text(letter: &str, range: &Range<u64>) -> String {
    letter[range.start as usize..range.end as usize].to_owned()
}

#[test]
fn nested_parts_are_found_whatever_the_chunks() {
    let structure = scan(NESTED.as_bytes(), usize::MAX);
    for chunk in 1..80 {
        assert_eq!(scan(NESTED.as_bytes(), chunk), structure, "chunks of {chunk}");
    }
    let lf = NESTED.replace("\r\n", "\n");
    assert_eq!(scan(lf.as_bytes(), 7).parts.len(), structure.parts.len());
    let kinds: Vec<&Kind> = structure.parts.iter().map(|part| &part.kind).collect();
    let multipart = |children: &[usize]| Kind::Multipart(children.to_vec());
    let leaf = Kind::Leaf;
    let expected = [
        &multipart(&[1, 2, 3]),
        &leaf,
        &leaf,
        &Kind::Message(4),
        &multipart(&[5, 6]),
        &leaf,
        &multipart(&[7, 8]),
        &leaf,
        &leaf,
    ];
    assert_eq!(kinds, expected);
    let bodies: Vec<String> = structure.parts.iter().map(|part| text(NESTED, &part.body)).collect();
    assert_eq!((bodies[1].as_str(), structure.parts[1].lines), ("one\r\ntwo", 2));
    assert_eq!((bodies[2].as_str(), structure.parts[2].lines), ("R0lG\r\n", 1));
    assert_eq!(bodies[8], "<b>y</b>");
    assert!(bodies[3].starts_with("Subject: inner\r\n") && bodies[3].ends_with("\r\n--i--"));
    assert!(bodies[0].starts_with("preamble\r\n") && bodies[0].ends_with("epilogue\r\n"));
    assert_eq!(text(NESTED, &structure.parts[2].header).lines().count(), 3);
}

#[test]
fn a_letter_that_ends_anywhere_is_a_letter() {
    for end in 0..NESTED.len() {
        let structure = scan(&NESTED.as_bytes()[..end], 16);
        for part in &structure.parts {
            assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
            assert!(part.body.start <= part.body.end && part.body.end <= end as u64);
        }
        assert!(structure.parts[0].envelope.is_some());
    }
}

#[test]
fn a_header_without_a_body_is_all_header() {
    let structure = scan(b"Subject: x\r\nTo: y\r\n", 5);
    assert_eq!((structure.parts[0].header.clone(), structure.parts[0].body.clone()), (0..19, 19..19));
    assert!(String::from_utf8_lossy(structure.parts[0].envelope.as_ref().unwrap()).contains("\"x\""));
}

#[test]
fn nesting_and_numbers_are_bounded() {
    let mut bomb = String::new();
    for level in 0..10_000 {
        bomb.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    assert!(scan(bomb.as_bytes(), 4096).parts.len() <= MIME_DEPTH_MAX);
    let letters = "Content-Type: message/rfc822\r\n\r\n".repeat(25_000);
    assert!(scan(letters.as_bytes(), 4096).parts.len() <= MIME_DEPTH_MAX);
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(100_000)
    );
    assert_eq!(scan(parts.as_bytes(), 4096).parts.len(), MIME_PARTS_MAX);
}

#[test]
fn long_headers_and_lines_are_bounded() {
    let long = format!("To: {}\r\nSubject: late\r\n\r\nbody", "a@b, ".repeat(1_000_000));
    let structure = scan(long.as_bytes(), 65_536);
    assert_eq!(structure.parts[0].body.end - structure.parts[0].body.start, 4);
    assert!(structure.parts[0].envelope.as_ref().unwrap().len() <= STRUCTURE_LEN_MAX);
}

/// Pieces that make and break letters.
const PIECES: [&str; 16] = [
    "Content-Type: multipart/mixed; boundary=a\r\n",
    "Content-Type: multipart/digest; boundary=\"b\"\r\n",
    "Content-Type: message/rfc822\r\n",
    "Subject: x\r\n",
    "\r\n",
    "\n",
    "--a\r\n",
    "--a--\r\n",
    "--b\n",
    "--b--",
    "text",
    " ",
    "\r",
    "--",
    "Content-Transfer-Encoding: base64\r\n",
    "\u{fc}:",
];

proptest::proptest! {
    #[test]
    fn any_bytes_have_one_structure_and_every_part_lies_in_its_parent(
        pieces in proptest::collection::vec(0..PIECES.len(), 0..80),
        chunk in 1_usize..40,
    ) {
        let letter: String = pieces.iter().map(|at| PIECES[*at]).collect();
        let structure = scan(letter.as_bytes(), usize::MAX);
        proptest::prop_assert_eq!(&scan(letter.as_bytes(), chunk), &structure);
        for part in &structure.parts {
            proptest::prop_assert!(part.header.end == part.body.start && part.body.end <= letter.len() as u64);
            let children = match &part.kind {
                Kind::Multipart(children) => children.clone(),
                Kind::Message(child) => vec![*child],
                Kind::Leaf => vec![],
            };
            let mut from = part.body.start;
            for child in children {
                let child = &structure.parts[child];
                proptest::prop_assert!(child.header.start >= from && child.body.end <= part.body.end);
                from = child.body.end;
            }
        }
    }
}

//! What must hold for any input: no panic, bounded memory, the same answer however the bytes are split, and content
//! that arrives byte for byte.

use super::super::client::Step;
use super::super::proof::Session;
use super::holding::{MAILBOX, id_of, token};
use super::pair::{Pair, codes};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of sessions, sound and broken.
fn pieces() -> Vec<Vec<u8>> {
    let bob = onion(2).host();
    let mut pieces: Vec<Vec<u8>> = [
        "EHLO x\r\n",
        "HELO x\r\n",
        "MAIL FROM:<>\r\n",
        "MAIL FROM:<a@b.c> SIZE=10\r\n",
        "DATA\r\n",
        "RSET\r\n",
        "QUIT\r\n",
        "NOOP\r\n",
        ".\r\n",
        "\r\n.\r\n",
        "text\r\n",
        "..\r\n",
        ".text\r\n",
        "\r",
        "\n",
        ".",
        "\0",
        "x",
        " ",
        "BDAT 3\r\n",
        "BDAT 4 LAST\r\n",
        "BDAT 0 LAST\r\n",
        "abc",
        "BDAT 99999999999999999999\r\n",
        "BDAT -1\r\n",
        "AUTH PLAIN\r\n",
        "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n",
        "AUTH SCRAM-SHA-256 biwsbj1ib2Iscj1hYmM=\r\n",
        "AGJvYgBzZWNyZXQ=\r\n",
        "*\r\n",
        "AUTH ONION-ED25519 AAAA\r\n",
        "CARD\r\n",
        "CARD 7\r\n",
        "CARD x\r\n",
        "MAIL FROM:<> BODY=SEALED SIZE=4\r\n",
        "MAIL FROM:<> BODY=SEALED KEY=0123456789abcdef SIZE=4\r\n",
        "MAIL FROM:<> BODY=SEALED KEY=0000000000000000 SIZE=4\r\n",
        "BDAT 4 LAST\r\n\r\n\0\n",
        "VRFY x\r\n",
        "GET / HTTP/1.1\r\n",
    ]
    .map(|piece| piece.as_bytes().to_vec())
    .to_vec();
    pieces.push(format!("RCPT TO:<bob@{bob}>\r\n").into_bytes());
    pieces.push(format!("MAIL FROM:<bob@{bob}>\r\nRCPT TO:<bob@{bob}>\r\nDATA\r\n").into_bytes());
    pieces.push(format!("MAIL FROM:<>\r\nRCPT TO:<bob@{bob}>\r\nBDAT 2\r\na\r").into_bytes());
    let sealed = "MAIL FROM:<> BODY=SEALED KEY=0123456789abcdef SIZE=7\r\n";
    pieces.push(format!("{sealed}RCPT TO:<bob@{bob}>\r\nBDAT 3\r\n\0\r\r").into_bytes());
    pieces.push(vec![b'x'; 999]);
    pieces.extend(drop_pieces());
    pieces
}

/// What is said at a drop, to those who leave letters and to those who collect them.
fn drop_pieces() -> Vec<Vec<u8>> {
    let (letter, token, mailbox) = (id_of(b"age").to_hex(), token(1, 2).to_hex(), MAILBOX.address(onion(3)));
    let mail = format!("MAIL FROM:<> BODY=SEALED KEY=0123456789abcdef SIZE=3 LETTER={letter} TOKEN={token}");
    [
        format!("{mail}\r\n"),
        format!("{mail} TRANSID=<{letter}@onion>\r\nRCPT TO:<{}>\r\nBDAT 1\r\na", mailbox.full()),
        format!("{mail}\r\nRCPT TO:<{}>\r\nBDAT 3 LAST\r\nage", mailbox.full()),
        format!("RCPT TO:<{}>\r\n", mailbox.full()),
        format!("RECALL {letter} {token}\r\n"),
        "HELD\r\n".to_owned(),
        format!("HELD {letter}\r\n"),
        format!("TAKE {letter} 1 9\r\n"),
        format!("TAKE {letter} 0 262145\r\n"),
        format!("DROP {letter}\r\n"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![20 => select(pieces()), 1 => vec(any::<u8>(), 0..20)];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A wire that begins as an honest one, so that the rest is looked at deeply.
fn session() -> impl Strategy<Value = (Port, Vec<u8>)> {
    (port(), any::<bool>(), any::<bool>(), wire()).prop_map(|(port, begun, login, wire)| {
        let proof = |own, server| {
            let session = Session { server: onion(server), server_cookie: [0xc0; 16] };
            let sign = |bytes: &[u8]| key(own).sign(bytes).to_bytes();
            format!("AUTH ONION-ED25519 {}\r\n", session.response(&onion(own), &[1; 16], &sign))
        };
        let login = match port {
            Port::Submission => "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n".to_owned(),
            Port::Onion if login => proof(1, 2),
            Port::Drop if login => proof(4, 3),
            Port::Onion | Port::Drop => String::new(),
        };
        let start = if begun { format!("EHLO x\r\n{login}").into_bytes() } else { Vec::new() };
        (port, [start, wire].concat())
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Onion,
    Drop,
    Submission,
}

fn port() -> impl Strategy<Value = Port> {
    select(vec![Port::Onion, Port::Drop, Port::Submission])
}

/// A server at that port, with something to collect.
fn driven(port: Port) -> Driven {
    let mut driven = Driven::new(match port {
        Port::Onion => onion_role(),
        Port::Drop => drop_role(),
        Port::Submission => submission_role(),
    });
    driven.shelf.hold(b"another letter");
    driven
}

/// Replies as a server gives them, and worse.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&[u8]> = vec![
        b"220 x\r\n",
        b"250 x\r\n",
        b"250-x\r\n",
        b"250-PIPELINING\r\n",
        b"250-CHUNKING\r\n",
        b"250-SIZE 5\r\n",
        b"250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\r\n",
        b"250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 CARD SEALED\r\n",
        b"250-2.0.0 Card\r\n250 2.0.0 AAAA\r\n",
        b"250 RECEIPT AAAA\r\n",
        b"250 RECEIPT A\r\n",
        b"450 4.7.5 x\r\n",
        b"235 x\r\n",
        b"354 x\r\n",
        b"421 x\r\n",
        b"451 x\r\n",
        b"550 5.1.1 x\r\n",
        b"503 x\r\n",
        b"221 x\r\n",
        b"999 x\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"25",
    ];
    let line = prop_oneof![30 => select(lines).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..9)];
    let starts: Vec<&[u8]> = vec![
        b"",
        b"220 x\r\n250-x\r\n250 PIPELINING\r\n",
        b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 500\r\n\
            250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 CARD SEALED\r\n235 x\r\n",
    ];
    (select(starts), vec(line, 0..30)).prop_map(|(start, lines)| [start.to_vec(), lines.concat()].concat())
}

/// What a client does with these replies, given in pieces of `step` bytes: what it says, and what it tells.
fn client_hears(said: &[u8], step: usize) -> (Vec<u8>, Vec<String>) {
    let mut client = client();
    client.letter(Outgoing { ask_card: Some(6), ..outgoing(&["bob", "nobody"], 20) }).unwrap();
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    let mut letters = 0;
    let mut pieces = said.chunks(step);
    // Each turn of the loop says, tells or reads something; none of these is endless.
    for _ in 0..10_000 {
        assert!(client.held() <= HELD_MAX);
        match client.next() {
            Step::Send(bytes) => sent.extend(bytes),
            Step::Read(_) => match pieces.next() {
                Some(piece) => client.feed(piece).unwrap(),
                None => client.eof(),
            },
            Step::WantBody { max, .. } => client.body(&vec![b'.'; max.min(7)]).unwrap(),
            Step::Idle => match pieces.next() {
                // A driver listens while it has nothing to send.
                Some(piece) => client.feed(piece).unwrap(),
                None if letters == 3 => client.quit(),
                None => {
                    letters += 1;
                    match letters {
                        1 => client.letter(Outgoing { ask_card: Some(6), ..sealed(20) }).unwrap(),
                        2 => client.ask_card(None).unwrap(),
                        _ => client.letter(outgoing(&["bob", "nobody"], 20)).unwrap(),
                    }
                }
            },
            Step::Close => return (sent, told),
            step => told.push(format!("{step:?}")),
        }
    }
    panic!("the client does not come to an end");
}

/// Content whose line ends are all CRLF, rich in dots.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![&b"\r\n"[..], b".", b"..", b"x", b"\xff\x01", b".\r\n", b"From me\r\n"]);
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_session_ends_the_same_however_it_is_split((port, wire) in session(), step in 1usize..50) {
        let whole = driven(port).hear(&wire, limits::READ_LEN_MAX);
        let split = driven(port).hear(&wire, step);
        prop_assert_eq!(String::from_utf8_lossy(&whole.sent), String::from_utf8_lossy(&split.sent));
        prop_assert_eq!(&whole.letters, &split.letters);
        prop_assert_eq!((whole.begun, whole.discarded), (split.begun, split.discarded));
        let suspended = whole.suspended.len();
        prop_assert!(whole.begun >= whole.discarded + whole.letters.len());
        prop_assert!(port == Port::Drop || suspended == 0 && whole.begun == whole.discarded + whole.letters.len());
    }

    #[test]
    fn any_bytes_are_answered(wire in vec(any::<u8>(), 0..2000), port in port()) {
        let seen = driven(port).hear(&wire, 100);
        prop_assert_eq!(seen.codes()[0], 220);
        prop_assert!(seen.letters.is_empty());
    }

    #[test]
    fn no_letter_has_a_broken_line_end_or_a_nul((port, wire) in session()) {
        for (envelope, content) in driven(port).hear(&wire, limits::READ_LEN_MAX).letters {
            if envelope.sealed.is_some() {
                prop_assert!(port != Port::Submission);
                prop_assert_eq!(envelope.deposit.is_some(), port == Port::Drop);
                prop_assert_eq!(envelope.recipients.as_slice().len(), 1);
                prop_assert_eq!(envelope.size_hint, Some(content.len() as u64));
                continue;
            }
            let text: Vec<u8> = String::from_utf8_lossy(&content).replace("\r\n", "").into_bytes();
            prop_assert!(!text.iter().any(|byte| b"\r\n\0".contains(byte)));
        }
    }

    #[test]
    fn any_server_is_survived_the_same_however_it_is_split(said in replies(), step in 1usize..50) {
        let (whole, split) = (client_hears(&said, limits::READ_LEN_MAX), client_hears(&said, step));
        prop_assert_eq!(String::from_utf8_lossy(&whole.0), String::from_utf8_lossy(&split.0));
        prop_assert_eq!(whole.1, split.1);
    }

    #[test]
    fn sealed_content_is_any_bytes_and_arrives_so(content in vec(any::<u8>(), 1..200), piece in 1usize..30) {
        let mut pair = Pair::new(Driven::new(onion_role()));
        prop_assert_eq!(codes(&pair.send_sealed(&content, piece)), [250]);
        prop_assert_eq!(&pair.server.seen.letters[0].1, &content);
        prop_assert_eq!(pair.server.seen.letters[0].0.sealed, Some(PREKEY));
    }

    #[test]
    fn content_arrives_byte_for_byte(content in content(), piece in 1usize..30, way in 0usize..3) {
        let mut pair = Pair::new(Driven::new(onion_role()));
        // By BDAT; by DATA in one flight; by DATA command by command.
        pair.hidden = [&[][..], &["ONIONSKIN"], &["ONIONSKIN", "PIPELINING"]][way];
        for _ in 0..2 {
            prop_assert_eq!(codes(&pair.send_in_pieces(&["bob", "nobody"], &content, piece)), [250, 550]);
        }
        let mut want = content;
        if way > 0 && !want.is_empty() && !want.ends_with(b"\r\n") {
            want.extend_from_slice(b"\r\n");
        }
        for (envelope, arrived) in &pair.server.seen.letters {
            prop_assert_eq!(&want, arrived);
            prop_assert_eq!(envelope.letter.is_some(), way == 0);
        }
        prop_assert_eq!(pair.server.seen.letters.len(), 2);
    }
}

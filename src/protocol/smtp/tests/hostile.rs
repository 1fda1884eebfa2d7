//! Callers and servers that mean harm, or break: what they get, and what it costs.

use super::super::client::{Cause, Step, Violation};
use super::super::server::Step as ServerStep;
use super::*;

const HELLO: &str = "EHLO x\r\n";

fn envelope() -> String {
    format!("MAIL FROM:<>\r\nRCPT TO:<bob@{}>\r\n", onion(2).host())
}

/// A session on the onion port that has said EHLO, and then this.
fn hear(wire: &[u8]) -> Seen {
    Driven::new(onion_role()).hear(&[HELLO.as_bytes(), wire].concat(), limits::READ_LEN_MAX)
}

#[test]
fn no_end_of_a_text_but_the_true_one_lets_a_second_letter_in() {
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n.\r\r\n",
        "\r\n\r.\r\n",
        "\n\n.\n\n",
        "\r\r\n.\r\n",
        "\r\n.\n\r\n",
        "\n\r\n.\r\n",
        "\r\n..\n",
        "\0\r\n.\n",
        "\r\n\n.\r\n",
        "\n.\r\n.\n",
    ];
    for end in ends {
        let second = format!(
            "MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@{}>\r\nDATA\r\nevil\r\n.\r\n",
            onion(2).host()
        );
        let wire = format!("{}DATA\r\nfirst{end}{second}QUIT\r\n", envelope());
        for step in [1, 3, limits::READ_LEN_MAX] {
            let seen = Driven::new(onion_role()).hear(format!("{HELLO}{wire}").as_bytes(), step);
            assert_eq!(seen.codes(), [220, 250, 250, 250, 354, 554], "{end:?}");
            assert!(seen.letters.is_empty(), "{end:?}");
            assert_eq!((seen.begun, seen.discarded), (1, 1), "{end:?}");
        }
    }
}

#[test]
fn what_looks_like_an_end_inside_a_line_stays_content() {
    for content in [". ", ".x", "x.", "\u{2028}.\u{2028}", "\u{85}.\u{85}", "\u{b}.\u{c}", "=0D=0A.=0D=0A"] {
        let wire = format!("{}DATA\r\n.{content}\r\n.\r\n", envelope());
        let seen = hear(wire.as_bytes());
        assert_eq!(seen.letters[0].1, format!("{content}\r\n").as_bytes(), "{content:?}");
    }
}

#[test]
fn a_refused_data_leaves_its_text_to_be_taken_for_commands_and_the_session_ends() {
    let wire = format!("MAIL FROM:<>\r\nDATA\r\n{}.\r\nQUIT\r\n", "not a command\r\n".repeat(50));
    let codes = hear(wire.as_bytes()).codes();
    assert_eq!(codes[..4], [220, 250, 250, 503]);
    assert_eq!(codes.len(), 4 + limits::ERRORS_MAX as usize + 1);
    assert_eq!(codes.last(), Some(&421));
}

#[test]
fn what_follows_a_text_or_a_last_chunk_in_the_same_flight_is_done_in_order() {
    let wire = format!(
        "{0}DATA\r\na\r\n.\r\n{0}BDAT 3 LAST\r\nb\r\n{0}DATA\r\nc\r\n.\r\nQUIT\r\nNOOP\r\n",
        envelope()
    );
    let seen = hear(wire.as_bytes());
    let contents: Vec<&[u8]> = seen.letters.iter().map(|letter| &letter.1[..]).collect();
    assert_eq!(contents, [b"a\r\n", b"b\r\n", b"c\r\n"]);
    assert_eq!(seen.codes().last(), Some(&221));
}

#[test]
fn a_line_without_end_is_answered_once_and_read_no_further() {
    for wire in [vec![b'x'; 1 << 20], vec![b'A'; 8 << 20], [b"AUTH ".to_vec(), vec![b'x'; 1 << 20]].concat()]
    {
        let seen = hear(&wire);
        assert_eq!(seen.codes(), [220, 250, 500]);
    }
}

#[test]
fn floods_of_commands_are_cut_off() {
    for (command, last) in [("NOOP\r\n", 421), ("RSET\r\n", 421), ("EHLO x\r\n", 421), ("X\r\n", 421)] {
        let seen = hear(command.repeat(200_000).as_bytes());
        assert_eq!(seen.codes().last(), Some(&last), "{command}");
        assert!(seen.sent.len() < 400 * limits::COMMANDS_MAX as usize);
    }
    let recipients: String =
        (0..20_000).map(|n| format!("RCPT TO:<bob+{n}@{}>\r\n", onion(2).host())).collect();
    let codes = hear(format!("MAIL FROM:<>\r\n{recipients}").as_bytes()).codes();
    let count = |code| codes.iter().filter(|&&seen| seen == code).count();
    // The greeting's EHLO and MAIL are answered 250 too.
    assert_eq!(count(250), 2 + crate::model::policy::RECIPIENTS_MAX);
    assert!(count(452) > 0);
    assert_eq!(codes.last(), Some(&421));
}

#[test]
fn a_session_has_an_end_even_if_every_letter_is_sound() {
    let letter = format!("{}BDAT 1 LAST\r\nx", envelope());
    let seen = hear(letter.repeat(limits::LETTERS_MAX as usize + 1).as_bytes());
    assert_eq!(seen.letters.len(), limits::LETTERS_MAX as usize);
    assert_eq!(seen.codes().last(), Some(&421));
}

#[test]
fn a_text_over_the_limit_is_refused_at_its_end_and_far_over_it_at_once() {
    let text = |len: usize| "0123456789abcdef\r\n".repeat(len / 18 + 1);
    let over = format!("{}DATA\r\n{}.\r\nNOOP\r\n", envelope(), text(SIZE_MAX as usize));
    let seen = hear(over.as_bytes());
    assert_eq!(seen.codes()[4..], [354, 552, 250]);
    assert_eq!((seen.begun, seen.discarded, seen.letters.len()), (1, 1, 0));
    let far = (SIZE_MAX + limits::SKIP_LEN_MAX) as usize;
    let seen = hear(format!("{}DATA\r\n{}.\r\nNOOP\r\n", envelope(), text(far)).as_bytes());
    assert_eq!(seen.codes()[4..], [354, 552]);
    let seen = hear(format!("{}BDAT {} LAST\r\n", envelope(), far + 1).as_bytes());
    assert_eq!(seen.codes()[4..], [552]);
}

#[test]
fn chunks_cannot_add_up_to_more_than_the_limit() {
    let chunk = format!("BDAT {}\r\n{}", SIZE_MAX / 2, "x".repeat(SIZE_MAX as usize / 2));
    let seen = hear(format!("{}{}BDAT 1 LAST\r\nyNOOP\r\n", envelope(), chunk.repeat(2)).as_bytes());
    assert_eq!(seen.codes()[4..], [250, 250, 552, 250]);
    assert_eq!(seen.discarded, 1);
}

#[test]
fn an_unanswered_question_is_asked_again() {
    let mut server = server(onion_role());
    while !matches!(server.next(), ServerStep::Read(_)) {}
    server.feed(format!("{HELLO}{}DATA\r\n", envelope()).as_bytes()).unwrap();
    for _ in 0..3 {
        let ServerStep::Begin(begin) = server.next() else { panic!("no question") };
        assert_eq!(begin.envelope().recipients.as_slice(), [address("bob", 2)]);
    }
    let ServerStep::Begin(begin) = server.next() else { panic!("no question") };
    begin.accept();
    assert!(matches!(server.next(), ServerStep::Send(_)));
}

#[test]
fn silence_ends_a_session_wherever_it_stands() {
    let begun = format!("{HELLO}{}DATA\r\nhalf", envelope());
    let in_chunk = format!("{HELLO}{}BDAT 9 LAST\r\nhalf", envelope());
    for (wire, phase, discarded) in [
        ("", Phase::Hello, 0),
        (HELLO, Phase::Command, 0),
        (&format!("{HELLO}MAIL FROM:<>\r\nRC"), Phase::Command, 0),
        (&begun, Phase::Body, 1),
        (&in_chunk, Phase::Body, 1),
    ] {
        let mut driven = Driven::new(onion_role());
        driven.run();
        driven.server.feed(wire.as_bytes()).unwrap();
        let Pause::Read(read) = driven.run() else { panic!("closed") };
        assert_eq!(read.phase, phase);
        driven.server.expire();
        let Pause::Read(read) = driven.run() else { panic!("closed before the reply is read") };
        assert_eq!(read.phase, Phase::Drain);
        driven.server.expire();
        assert_eq!(driven.run(), Pause::Close);
        assert_eq!(driven.seen.codes().last(), Some(&421));
        assert_eq!(driven.seen.discarded, discarded);
    }
}

#[test]
fn a_trickle_does_not_prolong_a_wait_and_progress_does() {
    let mut driven = Driven::new(onion_role());
    let Pause::Read(first) = driven.run() else { panic!("closed") };
    let mut turn_after = |wire: &[u8]| {
        driven.server.feed(wire).unwrap();
        let Pause::Read(read) = driven.run() else { panic!("closed") };
        read.turn
    };
    assert_eq!(turn_after(b"EHL"), first.turn);
    assert_eq!(turn_after(b"O x"), first.turn);
    let mut turn = turn_after(b"\r\n");
    assert!(turn > first.turn);
    turn = {
        let begun = turn_after(format!("{}DATA\r\n", envelope()).as_bytes());
        assert!(begun > turn);
        begun
    };
    let line = [vec![b'x'; 62], b"\r\n".to_vec()].concat();
    for _ in 1..limits::BODY_TURN_LEN / 64 {
        assert_eq!(turn_after(&line), turn);
    }
    assert_eq!(turn_after(&line), turn + 1);
}

#[test]
fn a_driver_that_feeds_too_much_is_told() {
    let mut server = server(onion_role());
    assert!(server.feed(&vec![0; limits::READ_LEN_MAX + 1]).is_err());
    let fed = (0..100).take_while(|_| server.feed(&[b'x'; 10_000]).is_ok()).count();
    assert!(fed < 10);
}

/// A client with a letter in hand, and what it makes of this server.
fn failure(said: &[u8]) -> Cause {
    let mut client = client();
    client.letter(outgoing(&["bob"], 1)).unwrap();
    // The empty piece at the end lets the last one be looked at.
    for piece in said.chunks(1000).chain([&[][..]]) {
        loop {
            assert!(client.held() <= HELD_MAX);
            match client.next() {
                Step::Read(_) => break,
                Step::Send(_) => {}
                Step::WantBody { .. } => client.body(b"x").unwrap(),
                Step::Failed(failure) => return failure.cause,
                step => panic!("{step:?}"),
            }
        }
        client.feed(piece).unwrap();
    }
    panic!("the server was believed")
}

#[test]
fn hostile_servers_are_left() {
    let ehlo = b"220 x\r\n250-x\r\n250 PIPELINING\r\n";
    for (said, want) in [
        (vec![b'2'; 1 << 20], Violation::LineTooLong),
        (b"220-x\r\n".repeat(1 << 16), Violation::TooManyLines),
        (b"220 x\n250 x\r\n".to_vec(), Violation::LineEnd),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Violation::Form),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Violation::Form),
        (b"250 x\r\n".to_vec(), Violation::OutOfTurn),
        (b"354 x\r\n".to_vec(), Violation::OutOfTurn),
        ([&ehlo[..], b"354 x\r\n"].concat(), Violation::OutOfTurn),
        ([&ehlo[..], b"250 x\r\n354 x\r\n"].concat(), Violation::OutOfTurn),
        ([&ehlo[..], b"250 x\r\n250 x\r\n250 x\r\n"].concat(), Violation::OutOfTurn),
        ([&ehlo[..], b"250 x\r\n250 x\r\n334 x\r\n"].concat(), Violation::OutOfTurn),
    ] {
        assert_eq!(
            failure(&said),
            Cause::Violation(want),
            "{:?}",
            String::from_utf8_lossy(&said[..20.min(said.len())])
        );
    }
}

//! Cards, sealed letters and receipts: whole sessions, hostile ones, and broken streams.

use super::super::client::{CardAnswer, Cause, Failure, Outcome, Step, Violation};
use super::pair::{End, Pair, codes};
use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::collection::vec;
use proptest::prelude::*;

/// What no text may be: line ends of every kind, NULs, dots.
const SEALED: &[u8] = b"age-encryption.org/v1\n\0\r\r\n.\r\n\r\n.\n\xff\r";

fn card_of(pair: &mut Pair) -> CardAnswer {
    match pair.run(SEALED, 10) {
        End::Card(answer) => answer,
        end => panic!("{end:?}"),
    }
}

fn bobs_card() -> CardAnswer {
    CardAnswer::Card(b"the Card of Bob".to_vec())
}

#[test]
fn a_first_sealed_letter_takes_three_round_trips_with_the_card_and_two_without() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.client.ask_card(None).unwrap();
    assert_eq!(card_of(&mut pair), bobs_card());
    // The greeting comes with the stream; then EHLO; then AUTH and CARD.
    assert_eq!(pair.round_trips, 1 + 2);
    assert_eq!(pair.server.seen.proved, [onion(1)]);
    assert_eq!(codes(&pair.send_sealed(SEALED, 10)), [250]);
    assert_eq!(pair.round_trips, 1 + 3);

    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.client.letter(Outgoing { ask_card: Some(7), ..sealed(SEALED.len()) }).unwrap();
    assert_eq!(card_of(&mut pair), CardAnswer::NothingNewer);
    assert_eq!(codes(&pair.run(SEALED, 10)), [250]);
    assert_eq!(pair.round_trips, 1 + 2);
    pair.client.letter(Outgoing { ask_card: Some(6), ..sealed(SEALED.len()) }).unwrap();
    assert_eq!(card_of(&mut pair), bobs_card());
    assert_eq!(codes(&pair.run(SEALED, 10)), [250]);
    assert_eq!(pair.round_trips, 1 + 2 + 1);
    let letters = &pair.server.seen.letters;
    assert!(letters.iter().all(|(envelope, content)| {
        content == SEALED && envelope.sealed == Some(PREKEY) && envelope.letter.is_some()
    }));
    assert_eq!(letters.len(), 2);
}

#[test]
fn the_largest_card_and_the_largest_receipt_arrive_whole() {
    let card: Vec<u8> = (0..limits::CARD_LEN_MAX).map(|at| at as u8).collect();
    let receipt = card[..limits::RECEIPT_LEN_MAX].to_vec();
    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.server.card = Some((1, card.clone()));
    pair.server.receipt = Some(receipt.clone());
    pair.client.ask_card(None).unwrap();
    assert_eq!(card_of(&mut pair), CardAnswer::Card(card));
    let End::Done { outcomes, receipt: came } = pair.send_sealed(SEALED, 10) else { panic!("not done") };
    assert_eq!((outcomes, came), (vec![Outcome::Accepted], Some(receipt)));
    pair.server.card = Some((2, vec![0; limits::CARD_LEN_MAX + 1]));
    pair.client.ask_card(None).unwrap();
    assert_eq!(card_of(&mut pair), CardAnswer::None);
    pair.server.receipt = Some(vec![0; limits::RECEIPT_LEN_MAX + 1]);
    let end = pair.send_sealed(SEALED, 10);
    assert_eq!(end, End::Done { outcomes: vec![Outcome::Accepted], receipt: None });
}

#[test]
fn a_letter_that_is_refused_loses_neither_its_card_nor_its_session() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    let ask = |to: &str| Outgoing { ask_card: Some(1), ..outgoing(&[to], SEALED.len()) };
    pair.client.letter(Outgoing { sealed: Some(PREKEY), ..ask("nobody") }).unwrap();
    assert_eq!(card_of(&mut pair), bobs_card());
    assert_eq!(codes(&pair.run(SEALED, 10)), [550]);
    pair.client.letter(Outgoing { sealed: Some(PrekeyId([0; 8])), ..ask("bob") }).unwrap();
    assert_eq!(card_of(&mut pair), bobs_card());
    let End::Done { outcomes, .. } = pair.run(SEALED, 10) else { panic!("not done") };
    let [Outcome::Deferred(reply)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(reply.is_stale_key(), "{reply}");
    pair.server.refuse_finish = Some(Reply::new(450, 7, 1, "not yet"));
    let End::Done { outcomes, .. } = pair.send_sealed(SEALED, 10) else { panic!("not done") };
    assert!(matches!(&outcomes[..], [Outcome::Deferred(reply)] if !reply.is_stale_key()));
    assert_eq!(codes(&pair.send_sealed(SEALED, 10)), [250]);
    assert_eq!(pair.server.seen.letters.len(), 1);
}

#[test]
fn what_is_sealed_goes_sealed_or_not_at_all() {
    for hidden in ["SEALED", "CHUNKING", "PIPELINING", "SIZE", "ONIONSKIN"] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.hidden = [&["SEALED"][..], &["CHUNKING"], &["PIPELINING"], &["SIZE"], &["ONIONSKIN"]]
            .into_iter()
            .find(|words| words[0] == hidden)
            .unwrap();
        let End::Done { outcomes, .. } = pair.send_sealed(SEALED, 10) else { panic!("not done") };
        let [Outcome::Deferred(reply)] = &outcomes[..] else { panic!("{hidden}: {outcomes:?}") };
        assert!(reply.text.contains("nothing was sent") && !reply.is_stale_key());
        assert_eq!((pair.server.seen.begun, pair.given), (0, 0), "{hidden}");
        assert_eq!(pair.round_trips, 1 + 1, "more than EHLO was said");
    }
}

#[test]
fn wherever_a_large_sealed_letter_is_cut_the_next_session_goes_on_there() {
    // A CR or a NUL wherever it may be cut, and no CRLF.
    let content = b"\r\0\r\n\n0123456789\r".repeat(17_000);
    for cut in [900, 70_001, 140_002, 200_003, 271_800, 272_300] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.left = cut;
        let End::Failed(Failure { cause: Cause::Lost, .. }) = pair.send_sealed(&content, 4096) else {
            panic!("not cut at {cut}")
        };
        let held = pair.server.seen.suspended.first().map_or(0, |(_, held)| held.len());
        assert!(held + 700 > cut && held <= cut, "{held} bytes came of {cut}");
        let given = pair.given;
        pair.dial_again();
        pair.client.letter(Outgoing { ask_card: Some(0), ..sealed(content.len()) }).unwrap();
        // It is told before the content goes: a driver may look at it first.
        assert_eq!(pair.run(&content, 4096), End::Card(bobs_card()));
        assert_eq!(pair.given, given);
        assert_eq!(codes(&pair.run(&content, 4096)), [250]);
        assert_eq!(pair.given - given, content.len() - held);
        assert!(pair.server.seen.letters[0].1 == content && pair.server.seen.suspended.is_empty());
    }
}

#[test]
fn what_came_sealed_is_no_beginning_of_a_letter_that_is_not() {
    let content = b"0123456789abcd\r\n".repeat(17_000);
    for first in [sealed(content.len()), outgoing(&["bob"], content.len())] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.left = 100_000;
        pair.client.letter(first.clone()).unwrap();
        assert!(matches!(pair.run(&content, 4096), End::Failed(_)));
        for second in
            [Some(PrekeyId([9; 8])), Some(PREKEY), None].into_iter().filter(|key| *key != first.sealed)
        {
            let given = pair.given;
            pair.dial_again();
            pair.client.letter(Outgoing { sealed: second, ..first.clone() }).unwrap();
            let end = pair.run(&content, 4096);
            assert_eq!(codes(&end), [if second == Some(PrekeyId([9; 8])) { 450 } else { 250 }]);
            assert_eq!(pair.given - given, content.len());
        }
        assert_eq!(pair.server.seen.suspended.len(), 1);
    }
}

#[test]
fn a_sealed_letter_may_be_larger_than_a_letter_by_its_seal() {
    let most = limits::sealed_size_max(SIZE_MAX) as usize;
    assert_eq!(most, 512 * 1024 + 64 * 1024 + 128 * 1024);
    let mut pair = Pair::new(Driven::new(onion_role()));
    assert_eq!(codes(&pair.send_sealed(&vec![0; most], 64 * 1024)), [250]);
    let given = pair.given;
    assert_eq!(codes(&pair.send_sealed(&vec![0; most + 1], 64 * 1024)), [552]);
    assert_eq!(pair.given, given);
    assert_eq!(limits::sealed_size_max(u64::MAX), u64::MAX);
}

/// A session on the onion port that has said EHLO, and then this.
fn hear(wire: &str) -> Seen {
    Driven::new(onion_role()).hear(format!("EHLO x\r\n{wire}").as_bytes(), limits::READ_LEN_MAX)
}

#[test]
fn a_flood_of_cards_is_cut_off() {
    let codes = hear(&"CARD\r\n".repeat(10_000)).codes();
    assert_eq!(codes.len(), 2 + limits::CARDS_MAX as usize + 1);
    assert_eq!(codes.last(), Some(&421));
    // Whoever has it already may ask as often as anything else.
    let codes = hear(&"CARD 7\r\n".repeat(10_000)).codes();
    assert_eq!((codes.len(), codes.last()), (1 + limits::COMMANDS_MAX as usize + 1, Some(&421)));
    let mut driven = Driven::new(onion_role());
    driven.card = Some((9, vec![1; limits::CARD_LEN_MAX]));
    let wire = format!("EHLO x\r\n{}", "CARD 1\r\n".repeat(10_000));
    let seen = driven.hear(wire.as_bytes(), limits::READ_LEN_MAX);
    assert!(seen.sent.len() < limits::CARDS_MAX as usize * limits::CARD_TEXT_LEN_MAX);
    assert!(seen.sent.split(|&byte| byte == b'\n').all(|line| line.len() < 512));
    // What is malformed, or said by who has not said EHLO, is a mistake like any other.
    for wire in ["CARD 1x\r\n", "CARD 1 1\r\n"] {
        assert_eq!(hear(&wire.repeat(1000)).codes().len(), 2 + limits::ERRORS_MAX as usize + 1);
    }
    let seen = Driven::new(onion_role()).hear("CARD\r\n".repeat(1000).as_bytes(), 100);
    assert!(seen.codes()[1..].iter().all(|&code| code == 503 || code == 421), "{:?}", seen.codes());
}

#[test]
fn a_question_for_the_card_is_asked_again_until_it_is_answered() {
    let mut server = server(onion_role());
    while !matches!(server.next(), server::Step::Read(_)) {}
    server.feed(b"EHLO x\r\nCARD 5\r\nNOOP\r\n").unwrap();
    for _ in 0..3 {
        let server::Step::Card(asked) = server.next() else { panic!("no question") };
        assert_eq!(asked.known(), Some(5));
    }
    let server::Step::Card(asked) = server.next() else { panic!("no question") };
    asked.refuse(Reply::new(250, 0, 0, "not a refusal"));
    let server::Step::Send(bytes) = server.next() else { panic!("nothing is said") };
    let said = String::from_utf8(bytes).unwrap();
    assert!(said.ends_with("451 4.3.0 Something went wrong here; try again later\r\n250 2.0.0 OK\r\n"));
}

#[test]
fn no_sealed_letter_comes_by_data_or_for_two() {
    let bob = onion(2).host();
    let mail = "MAIL FROM:<> SIZE=3 BODY=SEALED KEY=0123456789abcdef\r\n";
    let rcpt = |local: &str| format!("RCPT TO:<{local}@{bob}>\r\n");
    let seen = hear(&format!("{mail}{}DATA\r\nabc\r\n.\r\n", rcpt("bob")));
    assert_eq!(seen.codes()[4..], [503, 500, 500]);
    assert_eq!((seen.begun, seen.letters.len()), (0, 0));
    let all: String = (0..50).map(|n| rcpt(&format!("bob+{n}"))).collect();
    let seen = hear(&format!("{mail}{all}BDAT 3 LAST\r\n\0\r\0"));
    assert_eq!(seen.codes().iter().filter(|&&code| code == 452).count(), 49);
    assert_eq!(seen.letters[0].0.recipients.as_slice(), [address("bob+0", 2)]);
    assert_eq!(seen.letters[0].1, b"\0\r\0");
    // The next letter is an ordinary one again, with its checks.
    let one = rcpt("bob");
    let seen = hear(&format!("{mail}{one}BDAT 3 LAST\r\n\r\r\rMAIL FROM:<>\r\n{one}BDAT 3 LAST\r\n\r\r\r"));
    assert_eq!(seen.codes()[4..], [250, 250, 250, 554]);
    // And of a letter that is not sealed the length may be another one than SIZE said.
    let seen = hear(&format!("MAIL FROM:<> SIZE=9\r\n{one}BDAT 3 LAST\r\nabc"));
    assert_eq!(seen.codes()[4..], [250]);
}

/// A client that has asked for the Card, and what it makes of this answer; then whether it can still send.
fn card_from(answer: &[u8]) -> Result<CardAnswer, Cause> {
    let mut client = client();
    client.ask_card(Some(3)).unwrap();
    let hello = b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 99\r\n\
        250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 CARD SEALED\r\n235 x\r\n";
    for piece in [&hello[..]].into_iter().chain(answer.chunks(5000)).chain([&[][..]]) {
        loop {
            assert!(client.held() <= HELD_MAX);
            match client.next() {
                Step::Read(_) | Step::Idle => break,
                Step::Send(_) => {}
                Step::Failed(failure) => return Err(failure.cause),
                Step::Card(answer) => {
                    client.letter(sealed(1)).unwrap();
                    assert!(matches!(client.next(), Step::WantBody { .. }));
                    return Ok(answer);
                }
                step => panic!("{step:?}"),
            }
        }
        client.feed(piece).unwrap();
    }
    panic!("no answer")
}

#[test]
fn hostile_cards_are_none_and_endless_ones_end_the_session() {
    let lines = |base64: &str| {
        let pieces: Vec<&[u8]> = base64.as_bytes().chunks(480).collect();
        let lines: Vec<String> =
            pieces.iter().map(|piece| format!("250-{}\r\n", std::str::from_utf8(piece).unwrap())).collect();
        format!("250-Card\r\n{}", lines.concat())
    };
    let whole = |card: &[u8]| format!("{}250 \r\n", lines(&STANDARD.encode(card))).into_bytes();
    assert_eq!(card_from(&whole(&[7; 100])), Ok(CardAnswer::Card(vec![7; 100])));
    assert_eq!(card_from(&whole(&[7; 32 * 1024])), Ok(CardAnswer::Card(vec![7; 32 * 1024])));
    for broken in [
        whole(&[7; 32 * 1024 + 1]),
        whole(&[7; 300 * 1024]),
        whole(&[]),
        b"250-Card\r\n250 AAA\r\n".to_vec(),
        b"250-Card\r\n250-AAAA\r\n250 A\xffAA\r\n".to_vec(),
        b"250-Card\r\n250-YWI=\r\n250 YWI=\r\n".to_vec(),
        b"251 AAAA\r\n".to_vec(),
        b"451 4.3.0 not now\r\n".to_vec(),
        b"500 what\r\n".to_vec(),
    ] {
        assert_eq!(card_from(&broken), Ok(CardAnswer::None), "{:?}", String::from_utf8_lossy(&broken[..20]));
    }
    let endless = |line: &[u8]| [b"250-Card\r\n".to_vec(), line.repeat(5000)].concat();
    for (answer, want) in [
        (whole(&vec![7; 10 << 20]), Violation::TooManyLines),
        (endless(b"250-\r\n"), Violation::TooManyLines),
        (endless(b"250-AAAA\r\n"), Violation::TooManyLines),
        (endless(&[b"250-".to_vec(), vec![b'A'; 2000], b"\r\n".to_vec()].concat()), Violation::TooManyLines),
        (vec![b'2'; 1 << 20], Violation::LineTooLong),
        (b"250-Card\r\n250-AAAA\r\n550 no\r\n".to_vec(), Violation::Form),
        (b"250-Card\r\n250-AAAA\n250 AAAA\r\n".to_vec(), Violation::LineEnd),
        (b"355 9\r\n".to_vec(), Violation::OutOfTurn),
    ] {
        assert_eq!(
            card_from(&answer),
            Err(Cause::Violation(want)),
            "{:?}",
            String::from_utf8_lossy(&answer[..20])
        );
    }
    assert!(matches!(card_from(b"421 4.3.2 down\r\n"), Err(Cause::ShutDown(_))));
}

#[test]
fn a_malformed_receipt_is_none_and_the_letter_is_accepted() {
    for said in ["RECEIPT A", "RECEIPT *", "RECEIPT  AAAA", "receipt AAAA", "RECEIPT"] {
        let mut client = client();
        client.letter(sealed(1)).unwrap();
        let hello = format!(
            "220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 99\r\n250 ONIONSKIN 1 {} SEALED\r\n\
             235 x\r\n250 x\r\n250 x\r\n250-kept\r\n250 {said}\r\n",
            "c0".repeat(16)
        );
        client.feed(hello.as_bytes()).unwrap();
        let done = loop {
            match client.next() {
                Step::WantBody { .. } => client.body(b"\0").unwrap(),
                Step::Done { outcomes, receipt } => break (outcomes, receipt),
                Step::Send(_) => {}
                step => panic!("{step:?}"),
            }
        };
        assert_eq!(done, (vec![Outcome::Accepted], None), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_often_it_breaks_a_sealed_letter_arrives_once_and_goes_on_where_it_broke(
        bytes in vec(any::<u8>(), 1000), cuts in vec(0usize..120_000, 0..6), piece in 1000usize..70_000
    ) {
        let content = bytes.repeat(280);
        let mut pair = Pair::new(Driven::new(onion_role()));
        for cut in cuts.into_iter().map(Some).chain([None]) {
            pair.left = cut.unwrap_or(usize::MAX);
            pair.client.letter(Outgoing { ask_card: Some(1), ..sealed(content.len()) }).unwrap();
            let mut end = pair.run(&content, piece);
            if matches!(end, End::Card(_)) {
                end = pair.run(&content, piece);
            }
            match end {
                End::Failed(Failure { cause: Cause::Lost, .. }) if cut.is_some() => {}
                end => {
                    prop_assert_eq!(codes(&end), [250]);
                    break;
                }
            }
            pair.dial_again();
        }
        prop_assert_eq!(pair.server.seen.letters.len(), 1);
        prop_assert!(pair.server.seen.letters[0].1 == content && pair.server.seen.suspended.is_empty());
        // What was given and did not get through is at most one write a cut.
        prop_assert!(pair.given <= content.len() + 6 * 2 * limits::BODY_CHUNK_LEN_MAX, "{}", pair.given);
    }
}

//! Collecting: what was left at a drop is listed, taken by ranges, and dropped, by the one whose it is.

use super::super::client::{Cause, Failure, Step, Violation};
use super::super::server::Step as ServerStep;
use super::super::{HeldLetter, HeldList, Take};
use super::holding::{Shelf, id_of, token};
use super::pair::{End, Pair, codes};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Whoever has this key, at the drop, with this on the shelf.
fn at_drop(own: u8, contents: &[&[u8]]) -> Pair {
    let mut pair = Pair::at_drop(client_of(own, 3));
    for content in contents {
        pair.server.shelf.hold(content);
    }
    pair
}

fn list(pair: &mut Pair, after: Option<LetterId>) -> HeldList {
    pair.client.ask_held(after).unwrap();
    match pair.run(&[], 1) {
        End::Held(Ok(list)) => list,
        end => panic!("{end:?}"),
    }
}

/// All that is held, by lists, in the order of the lists.
fn list_all(pair: &mut Pair) -> Vec<HeldLetter> {
    let mut all: Vec<HeldLetter> = Vec::new();
    loop {
        let list = list(pair, all.last().map(|held| held.letter));
        all.extend(list.letters);
        if !list.more {
            return all;
        }
    }
}

/// Takes a letter in stretches of `max` bytes, as many at once as may be.
fn take_whole(pair: &mut Pair, held: &HeldLetter, max: usize) -> Vec<u8> {
    let mut offsets = (0..held.size).step_by(max).peekable();
    let (mut content, mut open) = (Vec::new(), 0);
    while open > 0 || offsets.peek().is_some() {
        while let Some(&offset) = offsets.peek().filter(|_| open < limits::TAKES_MAX) {
            pair.client.take(Take { letter: held.letter, offset, max }).unwrap();
            (open, _) = (open + 1, offsets.next());
        }
        match pair.run(&[], 1) {
            End::Taken(Ok(octets)) => content.extend(octets),
            end => panic!("{end:?}"),
        }
        open -= 1;
    }
    content
}

#[test]
fn what_is_left_is_listed_taken_and_dropped_once_it_is_had() {
    let mut pair = Pair::at_drop(depositor());
    let large = b"\r\0\n\r\n.0123456".repeat(50_000);
    for (number, content) in [&b"age"[..], &large].into_iter().enumerate() {
        pair.client.letter(deposit(content, token(number as u8, 2))).unwrap();
        assert_eq!(codes(&pair.run(content, 9999)), [250]);
    }
    pair.dial(client_of(4, 3), drop_role());
    let trips = pair.round_trips;
    let all = list_all(&mut pair);
    // Greeting, EHLO, and AUTH with HELD.
    assert_eq!(pair.round_trips - trips, 3);
    let told = |held: &HeldLetter| (held.letter, held.size, held.key, held.token);
    assert_eq!(told(&all[0]), (id_of(b"age"), 3, PREKEY, Some([0; 16])));
    assert_eq!(told(&all[1]), (id_of(&large), large.len() as u64, PREKEY, Some([1; 16])));
    assert_eq!(take_whole(&mut pair, &all[0], limits::TAKE_LEN_MAX), b"age");
    let trips = pair.round_trips;
    assert!(take_whole(&mut pair, &all[1], limits::TAKE_LEN_MAX) == large);
    assert_eq!(pair.round_trips - trips, 1);
    pair.client.drop_letters(&[all[0].letter, all[1].letter]).unwrap();
    assert_eq!(pair.run(&[], 1), End::Dropped(Ok(())));
    assert!(pair.server.shelf.kept.is_empty() && list_all(&mut pair).is_empty());
    // What was dropped was collected: the same deposit is not kept a second time.
    pair.dial(depositor(), drop_role());
    pair.client.letter(deposit(b"age", token(0, 2))).unwrap();
    assert_eq!(codes(&pair.run(b"age", 1)), [250]);
    assert!(pair.server.shelf.kept.is_empty());
}

#[test]
fn a_long_list_comes_in_pieces_of_a_hundred() {
    let contents: Vec<Vec<u8>> = (0..250_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let mut pair = at_drop(4, &contents);
    let first = list(&mut pair, None);
    assert_eq!((first.letters.len(), first.more), (limits::HELD_LETTERS_MAX, true));
    let all = list_all(&mut pair);
    assert_eq!(
        all.iter().map(|held| held.letter).collect::<Vec<_>>(),
        contents.iter().map(|one| id_of(one)).collect::<Vec<_>>()
    );
    let letters: Vec<LetterId> = all.iter().map(|held| held.letter).collect();
    pair.client.drop_letters(&letters).unwrap();
    assert_eq!(pair.run(&[], 1), End::Dropped(Ok(())));
    assert!(pair.server.shelf.kept.is_empty());
    pair.client.drop_letters(&[]).unwrap();
    assert_eq!(pair.run(&[], 1), End::Dropped(Ok(())));
}

#[test]
fn nobody_else_gets_anything_and_nothing_is_asked_without_a_proof() {
    let mut pair = at_drop(1, &[b"age"]);
    pair.client.ask_held(None).unwrap();
    assert_eq!(pair.run(&[], 1), End::Held(Err(550)));
    pair.client.take(Take { letter: id_of(b"age"), offset: 0, max: 3 }).unwrap();
    assert_eq!(pair.run(&[], 1), End::Taken(Err(550)));
    pair.client.drop_letters(&[id_of(b"age")]).unwrap();
    assert_eq!(pair.run(&[], 1), End::Dropped(Err(550)));
    assert_eq!(pair.server.shelf.kept.len(), 1);

    let asked = pair.server.shelf.asked;
    let wire = format!("EHLO x\r\nHELD\r\nTAKE {0} 0 3\r\nDROP {0}\r\n", id_of(b"age").to_hex());
    for role in [drop_role(), onion_role()] {
        let mut driven = Driven::new(role);
        driven.shelf.hold(b"age");
        assert_eq!(driven.hear(wire.as_bytes(), 10).codes(), [220, 250, 530, 530, 530]);
    }
    let seen = Driven::new(submission_role()).hear(wire.as_bytes(), 10);
    assert_eq!(seen.codes(), [220, 250, 500, 500, 500]);
    assert_eq!(pair.server.shelf.asked, asked);
}

#[test]
fn a_key_that_is_proved_to_one_drop_is_not_proved_to_another() {
    let mut pair = Pair::at_drop(client_of(4, 2));
    pair.server.shelf.hold(b"age");
    pair.client.ask_held(None).unwrap();
    let End::Failed(Failure { cause: Cause::AuthRefused(reply), .. }) = pair.run(&[], 1) else {
        panic!("not refused")
    };
    assert_eq!((reply.code, pair.server.shelf.asked), (535, 0));
}

#[test]
fn what_is_not_announced_is_not_said() {
    for words in [&["HELD"][..], &["ONIONSKIN"]] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.hidden = words;
        pair.client.ask_held(None).unwrap();
        assert_eq!(pair.run(&[], 1), End::Held(Err(502)));
        pair.client.take(Take { letter: LetterId([1; 16]), offset: 0, max: 1 }).unwrap();
        assert_eq!(pair.run(&[], 1), End::Taken(Err(502)));
        pair.client.drop_letters(&[LetterId([1; 16])]).unwrap();
        assert_eq!(pair.run(&[], 1), End::Dropped(Err(502)));
        pair.client.recall(LetterId([1; 16]), token(1, 1)).unwrap();
        assert_eq!(pair.run(&[], 1), End::Recalled(Err(502)));
        assert_eq!((pair.round_trips, pair.server.shelf.asked), (2, 0));
    }
}

#[test]
fn more_takes_than_may_be_on_their_way_are_not_begun() {
    let mut pair = at_drop(4, &[b"age"]);
    let take = Take { letter: id_of(b"age"), offset: 0, max: 2 };
    for _ in 0..limits::TAKES_MAX {
        pair.client.take(take).unwrap();
    }
    assert!(pair.client.take(take).is_err() && pair.client.ask_held(None).is_err());
    for _ in 0..limits::TAKES_MAX {
        assert_eq!(pair.run(&[], 1), End::Taken(Ok(b"ag".to_vec())));
        pair.client.take(take).unwrap();
    }
    pair.client.quit();
    assert!(pair.client.take(take).is_err());
    for _ in 0..limits::TAKES_MAX {
        assert_eq!(pair.run(&[], 1), End::Taken(Ok(b"ag".to_vec())));
    }
    assert_eq!(pair.run(&[], 1), End::Close);
}

/// A server at which a collector has proved itself, without a driver that stores what is sent.
fn collecting() -> Server {
    let mut server = server(drop_role());
    let response = super::super::proof::Session { server: onion(3), server_cookie: [0xc0; 16] }.response(
        &onion(4),
        &[1; 16],
        &|bytes| key(4).sign(bytes).to_bytes(),
    );
    server.feed(format!("EHLO x\r\nAUTH ONION-ED25519 {response}\r\n").as_bytes()).unwrap();
    while !matches!(server.next(), ServerStep::Read(_)) {}
    server
}

/// Says a line; answers what it asks from the shelf; whether the session goes on.
fn say(server: &mut Server, shelf: &mut Shelf, line: &str) -> bool {
    server.feed(line.as_bytes()).unwrap();
    loop {
        assert!(server.held() <= HELD_MAX);
        match server.next() {
            ServerStep::Read(read) => return read.phase != Phase::Drain,
            ServerStep::Send(_) => {}
            ServerStep::Close => return false,
            step => drop(shelf.answer(step)),
        }
    }
}

#[test]
fn ten_thousand_letters_of_a_mebibyte_are_collected_in_one_session_and_a_letter_byte_by_byte_is_not() {
    let (mut server, mut shelf) = (collecting(), Shelf::new(onion(4)));
    // What matters is how often is asked: the letters themselves are short here.
    let id = shelf.hold(b"age").to_hex();
    for letter in 0..10_000 {
        for stretch in 0..4 {
            assert!(say(&mut server, &mut shelf, &format!("TAKE {id} {} 262144\r\n", stretch * 262_144)));
        }
        assert!(say(&mut server, &mut shelf, "DROP 00000000000000000000000000000000\r\n"), "{letter}");
        if letter % 100 == 0 {
            assert!(say(&mut server, &mut shelf, "HELD\r\n"));
        }
    }
    let more = (0..1_000_000).take_while(|_| say(&mut server, &mut shelf, &format!("TAKE {id} 0 1\r\n")));
    assert!(more.count() < limits::COLLECTED_MAX as usize);
}

#[test]
fn refusals_of_what_is_held_count_like_any_command() {
    let (mut server, mut shelf) = (collecting(), Shelf::new(onion(1)));
    let line = format!("TAKE {} 0 1\r\n", LetterId([1; 16]).to_hex());
    let heard = (0..10_000).take_while(|_| say(&mut server, &mut shelf, &line)).count();
    assert!(heard < limits::COMMANDS_MAX as usize);
}

#[test]
fn pipelined_takes_are_answered_one_by_one() {
    let (mut server, mut shelf) = (collecting(), Shelf::new(onion(4)));
    let large = vec![b'x'; 2 * limits::TAKE_LEN_MAX];
    let id = shelf.hold(&large).to_hex();
    server.feed(format!("TAKE {id} 0 262144\r\n").repeat(1000).as_bytes()).unwrap();
    let mut sent = 0;
    while shelf.asked < 1000 {
        match server.next() {
            ServerStep::Send(bytes) => {
                assert!(bytes.len() <= limits::TAKE_LEN_MAX + 64);
                sent += 1;
            }
            ServerStep::Read(_) => panic!("not all were asked"),
            step => {
                assert_eq!(sent, shelf.asked, "asked before the last answer was sent");
                shelf.answer(step);
                assert!(server.held() <= HELD_MAX);
            }
        }
    }
}

#[test]
fn an_unanswered_question_about_holding_is_asked_again() {
    let (mut server, mut shelf) = (collecting(), Shelf::new(onion(4)));
    let id = shelf.hold(b"age");
    for (line, want) in [
        ("HELD".to_owned(), "Held"),
        (format!("TAKE {} 1 2", id.to_hex()), "Take"),
        (format!("DROP {}", id.to_hex()), "Drop"),
    ] {
        server.feed(format!("{line}\r\n").as_bytes()).unwrap();
        for _ in 0..3 {
            assert!(format!("{:?}", server.next()).starts_with(want));
        }
        let step = server.next();
        shelf.answer(step);
        assert!(matches!(server.next(), ServerStep::Send(_)));
        assert!(matches!(server.next(), ServerStep::Read(_)));
    }
}

#[test]
fn a_driver_that_gives_too_much_or_no_refusal_is_corrected() {
    let mut server = collecting();
    let line = format!("TAKE {} 0 2\r\n", LetterId([1; 16]).to_hex());
    let mut answer = |octets: Option<&[u8]>| {
        server.feed(line.as_bytes()).unwrap();
        match (server.next(), octets) {
            (ServerStep::Take(asked), Some(octets)) => asked.answer(octets),
            (ServerStep::Take(asked), None) => asked.refuse(Reply::new(250, 0, 0, "3 octets follow")),
            (step, _) => panic!("{step:?}"),
        }
        let ServerStep::Send(bytes) = server.next() else { panic!("nothing said") };
        assert!(matches!(server.next(), ServerStep::Read(_)));
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(answer(Some(b"ag")), "250 2.0.0 2 octets follow\r\nag");
    assert!(answer(Some(b"age")).starts_with("451 "));
    assert!(answer(None).starts_with("451 "));
}

/// What a collector makes of this server: it asks what is held, then takes twice at once, drops, and leaves.
fn heard_by_collector(said: &[u8], step: usize) -> Vec<String> {
    let mut client = client_of(4, 3);
    client.ask_held(Some(LetterId([9; 16]))).unwrap();
    let mut pieces = said.chunks(step);
    let (mut told, mut taken) = (Vec::new(), 0);
    for _ in 0..10_000 {
        assert!(client.held() <= HELD_MAX);
        match client.next() {
            Step::Send(_) => {}
            Step::Read(_) => match pieces.next() {
                Some(piece) => client.feed(piece).unwrap(),
                None => client.eof(),
            },
            Step::Idle => match pieces.next() {
                Some(piece) => client.feed(piece).unwrap(),
                None => client.quit(),
            },
            Step::Close => return told,
            step => {
                let letter = LetterId([1; 16]);
                taken += usize::from(matches!(step, Step::Taken(_)));
                // Each at once, so that what was heard may answer it too.
                match step {
                    Step::Held(_) => {
                        client.take(Take { letter, offset: 0, max: 3 }).unwrap();
                        client.take(Take { letter, offset: 0, max: 100 }).unwrap();
                    }
                    Step::Taken(_) if taken == 2 => client.drop_letters(&[letter; 13]).unwrap(),
                    _ => {}
                }
                told.push(format!("{step:?}"));
            }
        }
    }
    panic!("the collector does not come to an end")
}

const START: &str = "220 x\r\n250-x\r\n250-PIPELINING\r\n\
    250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 DROP\r\n235 2.7.0 x\r\n";

#[test]
fn holders_that_lie_are_left() {
    let line = |number: u8| format!("250-2.0.0 {} 3 0123456789abcdef -\r\n", LetterId([number; 16]).to_hex());
    let many: String = (0..101).map(|number: u8| line(number + 20)).collect();
    let none = "250 2.0.0 Complete\r\n";
    for (said, want) in [
        ("250 2.0.0 More\r\n".to_owned(), Violation::Form),
        ("250 2.0.0 OK\r\n".to_owned(), Violation::Form),
        (format!("{}{none}", line(9)), Violation::Form),
        (format!("{0}{0}{none}", line(1)), Violation::Form),
        (format!("{}{none}", line(1).replace(" 3 ", " 0 ")), Violation::Form),
        (format!("{}{none}", line(1).replace(" -", " - ")), Violation::Form),
        (format!("{}{}250 More\r\n", line(1), "250-x\r\n"), Violation::Form),
        (format!("{many}{none}"), Violation::TooManyLines),
        (format!("{}250-{}\r\n{none}", &many[..line(1).len() * 99], "x".repeat(2000)), Violation::Form),
        ("251 2.0.0 Complete\r\n".to_owned(), Violation::OutOfTurn),
        ("354 go\r\n".to_owned(), Violation::OutOfTurn),
        (format!("{none}{none}"), Violation::Form),
        (format!("{none}250 2.0.0 4 octets follow\r\nabcd"), Violation::TooMuch),
        (format!("{none}250 2.0.0 18446744073709551615 octets follow\r\n"), Violation::TooMuch),
        (format!("{none}250 2.0.0 18446744073709551616 octets follow\r\n"), Violation::Form),
        (format!("{none}250 2.0.0 -1 octets follow\r\n"), Violation::Form),
        (format!("{none}250-2.0.0 3 octets follow\r\n250 2.0.0 3 octets follow\r\nabc"), Violation::Form),
        (format!("{none}200 2.0.0 3 octets follow\r\nabc"), Violation::OutOfTurn),
        (format!("{none}250 2.0.0 3 octets follow\r\nabcabc\r\n"), Violation::Form),
        (format!("{none}550 x\r\n550 x\r\n251 x\r\n"), Violation::OutOfTurn),
        (format!("{none}550 x\r\n550 x\r\n250 x\r\n250 x\r\n250 x\r\n"), Violation::OutOfTurn),
    ] {
        let told = heard_by_collector(format!("{START}{said}").as_bytes(), limits::READ_LEN_MAX);
        let want = format!("{:?}", Failure { cause: Cause::Violation(want), maybe_delivered: false });
        assert!(told.last().is_some_and(|last| last.contains(&want)), "{said}: {told:?}");
    }
}

#[test]
fn octets_that_trickle_do_not_prolong_the_wait_and_stretches_do() {
    let mut client = client_of(4, 3);
    client.take(Take { letter: LetterId([1; 16]), offset: 0, max: limits::TAKE_LEN_MAX }).unwrap();
    let read = |client: &mut Client, bytes: &[u8]| {
        bytes.chunks(1000).for_each(|piece| {
            while !matches!(client.next(), Step::Read(_)) {}
            client.feed(piece).unwrap();
        });
        loop {
            match client.next() {
                Step::Read(read) => return (read.phase, read.turn),
                Step::Send(_) => {}
                step => panic!("{step:?}"),
            }
        }
    };
    let begun = read(&mut client, format!("{START}250 2.0.0 262144 octets follow\r\nx").as_bytes());
    assert_eq!(begun.0, Phase::Body);
    let stretch = vec![0; limits::BODY_TURN_LEN as usize - 2];
    assert_eq!(read(&mut client, &stretch), begun);
    assert_eq!(read(&mut client, b"x"), (Phase::Body, begun.1 + 1));
    assert_eq!(read(&mut client, &stretch), (Phase::Body, begun.1 + 1));
}

/// Replies as a holder gives them, and worse.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&[u8]> = vec![
        b"250 2.0.0 Complete\r\n",
        b"250 2.0.0 More\r\n",
        b"250-2.0.0 01010101010101010101010101010101 3 0123456789abcdef -\r\n",
        b"250-2.0.0 02020202020202020202020202020202 3 0123456789abcdef 2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a\r\n",
        b"250 2.0.0 3 octets follow\r\n\r\n.",
        b"250 2.0.0 3 octets follow\r\n250 2.0.0 x\r\n",
        b"250 2.0.0 100 octets follow\r\n",
        b"250 2.0.0 0 octets follow\r\n",
        b"250 2.0.0 Dropped\r\n",
        b"550 5.1.1 x\r\n",
        b"421 x\r\n",
        b"451 x\r\n",
        b"250-x\r\n",
        b"x",
    ];
    let line = prop_oneof![30 => proptest::sample::select(lines).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..9)];
    vec(line, 0..30).prop_map(|lines| [START.as_bytes(), &lines.concat()].concat())
}

proptest! {
    #[test]
    fn any_holder_is_survived_the_same_however_it_is_split(said in replies(), step in 1usize..50) {
        prop_assert_eq!(heard_by_collector(&said, limits::READ_LEN_MAX), heard_by_collector(&said, step));
    }

    #[test]
    fn what_is_held_is_taken_byte_for_byte(
        content in vec(any::<u8>(), 1..3000), max in 1usize..700, listen in 1usize..400
    ) {
        let mut pair = at_drop(4, &[b"before", &content]);
        pair.listen = listen;
        let all = list_all(&mut pair);
        prop_assert!(take_whole(&mut pair, &all[1], max) == content);
        let end = Take { letter: all[1].letter, offset: content.len() as u64, max };
        pair.client.take(end).unwrap();
        prop_assert_eq!(pair.run(&[], 1), End::Taken(Ok(Vec::new())));
    }
}

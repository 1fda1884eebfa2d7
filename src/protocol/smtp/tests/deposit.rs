//! Deposits: a sealed letter is left at a drop by somebody who proves nothing.

use super::super::Enhanced;
use super::super::client::{Cause, Failure, Outcome};
use super::holding::{MAILBOX, id_of, token};
use super::pair::{End, Pair, codes};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// What no text may be: line ends of every kind, NULs, dots.
const SEALED: &[u8] = b"age-encryption.org/v1\n\0\r\r\n.\r\n\r\n.\n\xff\r";

#[test]
fn a_deposit_arrives_whole_and_names_nobody() {
    let mut pair = Pair::at_drop(depositor());
    pair.server.receipt = Some(b"held, says the drop".to_vec());
    pair.client.letter(deposit(SEALED, token(1, 0))).unwrap();
    let End::Done { outcomes, receipt } = pair.run(SEALED, 10) else { panic!("not done") };
    assert_eq!((outcomes, receipt), (vec![Outcome::Accepted], Some(b"held, says the drop".to_vec())));
    let (envelope, content) = &pair.server.seen.letters[0];
    assert_eq!(content, SEALED);
    let deposit = envelope.deposit.unwrap();
    assert_eq!((deposit.mailbox, deposit.token, deposit.letter), (MAILBOX, token(1, 0), id_of(SEALED)));
    assert_eq!((deposit.size, deposit.key), (SEALED.len() as u64, PREKEY));
    assert_eq!((envelope.proved, &envelope.from), (None, &ReversePath::Null));
    assert_eq!(envelope.hello, limits::DEPOSIT_HELLO);
    assert_eq!(envelope.recipients.as_slice(), [MAILBOX.address(onion(3))]);
    assert!(pair.server.seen.proved.is_empty());
}

#[test]
fn a_refused_deposit_costs_no_upload_of_more_than_64_kib() {
    let large = vec![b'x'; limits::DEPOSIT_EAGER_LEN_MAX as usize + 1];
    let refused = |content: &[u8], letter: Outgoing, room: u64| {
        let mut pair = Pair::at_drop(depositor());
        pair.server.shelf.room = room;
        pair.client.letter(letter).unwrap();
        let End::Done { outcomes, receipt: None } = pair.run(content, 4096) else { panic!("not done") };
        let [Outcome::Refused(reply)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(pair.server.seen.begun == 0 && pair.server.shelf.kept.is_empty());
        assert!(content.len() < large.len() || pair.given == 0);
        (reply.code, reply.enhanced.unwrap())
    };
    let bad = Token { mac: [0; 16], ..token(1, 2) };
    let unknown = |letter: Outgoing| {
        let mailbox = crate::model::hold::MailboxId([0; 8]);
        Outgoing { recipients: Recipients::new([mailbox.address(onion(3))]).unwrap(), ..letter }
    };
    for content in [SEALED, &large] {
        let size = content.len() as u64;
        assert_eq!(refused(content, deposit(content, bad), size), (550, Enhanced(5, 7, 1)));
        assert_eq!(refused(content, deposit(content, token(1, 2)), size - 1), (552, Enhanced(5, 2, 2)));
        assert_eq!(refused(content, unknown(deposit(content, token(1, 2))), size), (550, Enhanced(5, 1, 1)));
    }
    assert_eq!(refused(&large, deposit(&large, token(1, 0)), 1 << 20), (552, Enhanced(5, 3, 4)));
}

#[test]
fn a_deposit_that_is_said_again_is_acknowledged_and_not_kept_twice() {
    let content = b"\r\0\r\n\n0123456789\r".repeat(17_000);
    let mut pair = Pair::at_drop(depositor());
    pair.server.receipt = Some(b"held".to_vec());
    for again in [false, true, true] {
        let given = pair.given;
        pair.client.letter(deposit(&content, token(1, 2))).unwrap();
        let end = End::Done { outcomes: vec![Outcome::Accepted], receipt: Some(b"held".to_vec()) };
        assert_eq!(pair.run(&content, 4096), end);
        assert_eq!(pair.given - given, if again { 0 } else { content.len() });
        pair.dial(depositor(), drop_role());
    }
    assert_eq!(pair.server.shelf.kept.len(), 1);
    // Another letter for the same token is none.
    pair.client.letter(deposit(SEALED, token(1, 2))).unwrap();
    assert_eq!(codes(&pair.run(SEALED, 4096)), [550]);
}

#[test]
fn wherever_a_deposit_is_cut_whoever_has_its_token_goes_on_there() {
    let content = b"\r\0\r\n\n0123456789\r".repeat(17_000);
    for cut in [30, 500, 70_001, 140_002, 271_800] {
        let mut pair = Pair::at_drop(depositor());
        pair.left = cut;
        pair.client.letter(deposit(&content, token(1, 2))).unwrap();
        let End::Failed(Failure { cause: Cause::Lost, .. }) = pair.run(&content, 4096) else {
            panic!("not cut at {cut}")
        };
        let held = pair.server.seen.suspended.first().map_or(0, |(_, held)| held.len());
        assert!(held + 500 > cut && held <= cut, "{held} bytes came of {cut}");
        // Another token has no part in it.
        for (nonce, left) in [(2, content.len()), (1, content.len() - held)] {
            let given = pair.given;
            pair.dial(depositor(), drop_role());
            pair.client.letter(deposit(&content, token(nonce, 2))).unwrap();
            assert_eq!(codes(&pair.run(&content, 4096)), [250]);
            assert_eq!(pair.given - given, left);
        }
        assert!(pair.server.shelf.kept.iter().all(|kept| kept.content == content));
    }
}

#[test]
fn nothing_is_left_where_no_drop_is_announced_or_by_somebody_who_is_named() {
    let not_sent = |mut pair: Pair, letter: Outgoing| {
        pair.client.letter(letter).unwrap();
        let End::Done { outcomes, receipt: None } = pair.run(SEALED, 10) else { panic!("not done") };
        let [Outcome::Deferred(reply)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(reply.text.contains("nothing was sent"));
        assert_eq!((pair.given, pair.server.seen.codes().len(), pair.server.shelf.asked), (0, 2, 0));
    };
    let letter = || deposit(SEALED, token(1, 2));
    for hidden in [&["DROP"][..], &["CHUNKING"], &["PIPELINING"], &["SIZE"], &["ONIONSKIN"]] {
        not_sent(Pair { hidden, ..Pair::at_drop(depositor()) }, letter());
    }
    not_sent(Pair::at_drop(client_of(1, 3)), letter());
    let named = client::Config { hello: onion(1).host(), ..client::Config::anonymous(onion(3)) };
    not_sent(Pair::at_drop(Client::new(named)), letter());
    not_sent(Pair { client: depositor(), ..Pair::new(Driven::new(onion_role())) }, letter());
    not_sent(Pair::at_drop(depositor()), Outgoing { sealed: None, ..letter() });
    // And what is no deposit is not sent to a drop.
    not_sent(Pair::at_drop(depositor()), Outgoing { token: None, ..letter() });
}

#[test]
fn a_letter_is_recalled_with_its_token_only_and_is_never_held_again() {
    let mut pair = Pair::at_drop(depositor());
    pair.client.letter(deposit(SEALED, token(1, 2))).unwrap();
    assert_eq!(codes(&pair.run(SEALED, 10)), [250]);
    pair.client.recall(id_of(SEALED), token(2, 2)).unwrap();
    assert_eq!(pair.run(&[], 1), End::Recalled(Err(550)));
    assert_eq!(pair.server.shelf.kept.len(), 1);
    for _ in 0..2 {
        pair.client.recall(id_of(SEALED), token(1, 2)).unwrap();
        assert_eq!(pair.run(&[], 1), End::Recalled(Ok(())));
        assert!(pair.server.shelf.kept.is_empty());
    }
    assert!(pair.server.seen.proved.is_empty());
}

#[test]
fn an_unanswered_deposit_is_asked_about_again() {
    let mut server = server(drop_role());
    let (letter, token) = (id_of(b"age").to_hex(), token(1, 2).to_hex());
    let mailbox = MAILBOX.address(onion(3)).full();
    let mail = format!("MAIL FROM:<> SIZE=3 BODY=SEALED KEY=0123456789abcdef LETTER={letter} TOKEN={token}");
    server.feed(format!("EHLO x\r\n{mail}\r\nRCPT TO:<{mailbox}>\r\n").as_bytes()).unwrap();
    for _ in 0..3 {
        let step = loop {
            match server.next() {
                server::Step::Send(_) => {}
                step => break step,
            }
        };
        assert!(matches!(step, server::Step::Deposit(_)), "{step:?}");
    }
    let server::Step::Deposit(asked) = server.next() else { panic!("no question") };
    asked.refuse(Reply::new(250, 0, 0, "not a refusal"));
    let server::Step::Send(said) = server.next() else { panic!("nothing said") };
    assert!(String::from_utf8(said).unwrap().contains("451 4.3.0"));
}

proptest! {
    #[test]
    fn any_sealed_bytes_arrive_so(content in vec(any::<u8>(), 1..300), piece in 1usize..30, listen in 1usize..60) {
        let mut pair = Pair::at_drop(depositor());
        pair.listen = listen;
        pair.client.letter(deposit(&content, token(1, 2))).unwrap();
        prop_assert_eq!(codes(&pair.run(&content, piece)), [250]);
        prop_assert!(pair.server.shelf.kept[0].content == content);
    }
}

//! The wire between nodes as its promises are counted: round trips, what a cut costs, letters beyond ASCII.

use crate::world::{
    AfterCrash, Conditions, NodeId, Smtp, World, arrived, hours, letter_of, minutes, pass, within,
};
use onion::{HostKey, Transport as _};
use onionskin::node::partial;
use std::time::Duration;
use tokio::time::Instant;

const ONE_WAY: Duration = Duration::from_millis(500);
const ROUND_TRIP: Duration = Duration::from_secs(1);
/// How finely a moment is looked for.
const LOOK: Duration = Duration::from_millis(10);

fn far() -> Conditions {
    Conditions { delay: ONE_WAY..ONE_WAY, ..Conditions::default() }
}

/// Writes a letter and says when it was there, and when its author's node knew.
async fn times(world: &World, from: NodeId, to: NodeId, subject: &str) -> (Duration, Duration) {
    let begun = Instant::now();
    world.write(from, to, subject).await.taken();
    assert_eq!(begun.elapsed(), Duration::ZERO, "handing in costs no time here");
    while !world.subjects(to, "INBOX").await.contains(&subject.to_owned()) {
        assert!(begun.elapsed() < minutes(1), "it never came");
        pass(LOOK).await;
    }
    let there = begun.elapsed();
    while !world.queue(from).await.is_empty() {
        assert!(begun.elapsed() < minutes(1), "it was never acknowledged");
        pass(LOOK).await;
    }
    (there, begun.elapsed())
}

/// The stream opens at once; what is counted begins with it. The greeting, which over Tor comes together with the
/// stream, takes half a round trip of its own here.
#[tokio::test(start_paused = true)]
async fn a_first_letter_takes_two_round_trips_and_a_further_one_takes_one() {
    let mut world = World::new(71, far());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let known = times(&world, ann, bob, "so that they know each other").await;
    // The session of that letter ends.
    pass(minutes(2)).await;
    let dials = world.dials(ann, bob);
    let (there, acknowledged) = times(&world, ann, bob, "first").await;
    assert_eq!(world.dials(ann, bob), dials + 1);
    assert!(there <= 2 * ROUND_TRIP + LOOK, "there after {there:?}");
    assert!(acknowledged <= ONE_WAY + 2 * ROUND_TRIP + LOOK, "acknowledged after {acknowledged:?}");
    // Nothing is quicker than EHLO and the letter, one after the other.
    assert!(there >= 2 * ROUND_TRIP && known.0 >= 2 * ROUND_TRIP, "{there:?} {known:?}");

    for subject in ["a further one", "and another"] {
        let (there, acknowledged) = times(&world, ann, bob, subject).await;
        assert!(there <= ONE_WAY + LOOK, "there after {there:?}");
        assert!(acknowledged <= ROUND_TRIP + LOOK, "acknowledged after {acknowledged:?}");
    }
    assert_eq!(world.dials(ann, bob), dials + 1, "the session was kept");
}

/// Content of about `len` bytes in which no two stretches are alike.
fn film(len: usize) -> String {
    (0..len / 16)
        .map(|line| format!("{:014x}\r\n", (line as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8))
        .collect()
}

/// Hands in a large letter from Ann to Bob; gives what of it has to arrive.
async fn write_film(world: &World, from: NodeId, to: NodeId, subject: &str, len: usize) -> Vec<u8> {
    let address = world.address(to);
    let content = film(len);
    let letter =
        format!("From: {}\r\nTo: {address}\r\nSubject: {subject}\r\n\r\n{content}", world.address(from));
    world.submit(from, &[&address], letter.as_bytes()).await.taken();
    content.into_bytes()
}

/// Waits until so many more bytes than `before` have left one node for another.
async fn sent_more(world: &World, from: NodeId, to: NodeId, before: u64, more: u64) {
    let begun = Instant::now();
    while sent(world, from, to) < before + more {
        assert!(begun.elapsed() < hours(1), "it does not come so far");
        pass(Duration::from_millis(1)).await;
    }
}

fn sent(world: &World, from: NodeId, to: NodeId) -> u64 {
    world.network.counters_between(world.onion(from), world.onion(to)).bytes_out
}

const FILM: usize = 12 << 20;

fn slow() -> Conditions {
    Conditions { delay: Duration::from_millis(100)..Duration::from_millis(100), ..Conditions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_large_letter_that_is_cut_three_times_goes_on_where_it_broke_off() {
    let mut world = World::new(72, slow());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let before = sent(&world, ann, bob);
    let content = write_film(&world, ann, bob, "the film", FILM).await;
    for cut in 1..=3u64 {
        sent_more(&world, ann, bob, before, cut * FILM as u64 / 4).await;
        world.network.cut_streams(world.onion(bob));
        within(minutes(1), "what came is kept", async || world.node(bob).desk.partials().count().0 == 1)
            .await;
        assert!(world.mailbox(bob, "INBOX").await.is_empty());
    }
    arrived(&world, bob, "the film", minutes(10)).await;
    let letter = world.mailbox(bob, "INBOX").await.remove(0);
    assert!(letter.content() == content, "{} bytes of {}", letter.content().len(), content.len());
    within(minutes(1), "the queue is empty", async || world.queue(ann).await.is_empty()).await;
    let cost = sent(&world, ann, bob) - before;
    assert!(cost < FILM as u64 * 11 / 10, "{cost} bytes for {FILM}");
    assert_eq!(world.node(bob).desk.partials().count(), (0, 0), "nothing is left over");
    pass(minutes(10)).await;
    assert_eq!(world.subjects(bob, "INBOX").await, ["the film"], "it arrives once");
}

#[tokio::test(start_paused = true)]
async fn the_author_s_node_may_be_another_process_and_the_reader_may_not_know_that_the_old_stream_is_dead() {
    let notice = Duration::from_secs(100_000);
    let mut world = World::new(73, Conditions { notice: notice..notice, ..slow() });
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let before = sent(&world, ann, bob);
    let content = write_film(&world, ann, bob, "the film", FILM).await;
    sent_more(&world, ann, bob, before, FILM as u64 / 2).await;
    world.crash(ann, AfterCrash::Lost).await;
    // Bob's end of the stream stays open, and nothing more comes on it.
    world.start(ann).await;
    arrived(&world, bob, "the film", minutes(2)).await;
    assert!(world.mailbox(bob, "INBOX").await[0].content() == content);
    let cost = sent(&world, ann, bob) - before;
    assert!(cost < FILM as u64 * 11 / 10, "{cost} bytes for {FILM}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_crashes_forgets_the_part_and_gets_the_whole() {
    let mut world = World::new(74, slow());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let before = sent(&world, ann, bob);
    let content = write_film(&world, ann, bob, "the film", FILM).await;
    sent_more(&world, ann, bob, before, FILM as u64 / 2).await;
    world.network.cut_streams(world.onion(bob));
    within(minutes(1), "what came is kept", async || world.node(bob).desk.partials().count().0 == 1).await;
    world.crash(bob, AfterCrash::Torn(5)).await;
    world.start(bob).await;
    arrived(&world, bob, "the film", minutes(10)).await;
    assert!(world.mailbox(bob, "INBOX").await[0].content() == content);
    assert!(sent(&world, ann, bob) - before > FILM as u64 * 5 / 4, "it was sent anew");
}

/// A caller that has proved its onion, and the MAIL of a letter of its that has `size` bytes.
async fn caller(world: &World, seed: u8, bob: NodeId, id: u8, size: usize) -> (Smtp<onion::Stream>, String) {
    let mut caller = world.call(seed, bob).await.unwrap();
    caller.prove(seed, world.onion(bob)).await.taken();
    let (from, id) = (world.stranger(seed), format!("{id:02x}").repeat(16));
    (caller, format!("MAIL FROM:<{from}> SIZE={size} LETTER={id} TRANSID=<{id}@onion>"))
}

/// Sends so much of a letter and breaks off.
async fn send_part(world: &World, seed: u8, bob: NodeId, id: u8, len: usize) {
    let (mut caller, mail) = caller(world, seed, bob, id, 10_000_000).await;
    caller.ask(&mail).await.taken();
    caller.ask(&format!("RCPT TO:<{}>", world.address(bob))).await.taken();
    let head = format!("From: {}\r\n\r\n", world.stranger(seed));
    caller.write(format!("BDAT {len}\r\n{head}{}", "x".repeat(len - head.len())).as_bytes()).await.unwrap();
    caller.hear().await.taken();
}

#[tokio::test(start_paused = true)]
async fn parts_of_letters_are_bounded_in_number_and_age_and_belong_to_one_onion() {
    let mut world = World::new(75, Conditions::default());
    let bob = world.add_started("bob").await;
    let count = async || {
        // The last caller's end is noticed.
        pass(Duration::from_secs(1)).await;
        world.node(bob).desk.partials().count()
    };
    send_part(&world, 9, bob, 1, 1000).await;
    assert_eq!(count().await, (0, 0), "a small one is not worth it");
    for id in 1..=4 {
        send_part(&world, 9, bob, id, 100_000).await;
    }
    assert_eq!(count().await, (partial::PARTIALS_PER_ONION_MAX, 200_000));
    // The third and fourth are there, for this onion only.
    let answer = async |seed, id, size| {
        let (mut caller, mail) = caller(&world, seed, bob, id, size).await;
        caller.ask(&mail).await.taken();
        caller.lines[0].clone()
    };
    assert_eq!(answer(9, 3, 10_000_000).await, "100000 is the transaction offset");
    assert_eq!(answer(8, 3, 10_000_000).await, "2.1.0 Sender taken");
    assert_eq!(answer(9, 1, 10_000_000).await, "2.1.0 Sender taken");
    assert_eq!(answer(9, 4, 99_999).await, "2.1.0 Sender taken", "it cannot be of that letter");
    for seed in 30..30 + partial::PARTIALS_MAX as u8 + 3 {
        send_part(&world, seed, bob, 1, 100_000).await;
    }
    assert_eq!(count().await.0, partial::PARTIALS_MAX);
    pass(partial::PARTIAL_AGE_MAX + minutes(11)).await;
    assert_eq!(count().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_acknowledgement_was_lost_is_not_sent_again() {
    let mut world = World::new(76, Conditions::default());
    let bob = world.add_started("bob").await;
    let (to, letter) = (world.address(bob), letter_of(&world.stranger(9), &["x"], "once"));
    let (mut first, mail) = caller(&world, 9, bob, 7, letter.len()).await;
    first.send_as(&mail, &[&to], letter.as_bytes()).await.taken();
    drop(first);
    let (mut second, mail) = caller(&world, 9, bob, 7, letter.len()).await;
    second.ask(&mail).await.taken();
    assert_eq!(second.lines, [format!("{} is the transaction offset", letter.len())]);
    second.ask(&format!("RCPT TO:<{to}>")).await.taken();
    second.ask("BDAT 0 LAST").await.taken();
    assert_eq!(world.subjects(bob, "Requests").await, ["once"]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_with_utf8_in_its_header_travels_and_says_so() {
    let mut world = World::new(77, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let (from, to) = (world.address(ann), world.address(bob));
    let letter =
        format!("From: \u{c4}nn <{from}>\r\nTo: {to}\r\nSubject: Gr\u{fc}\u{df}e \u{738b}\r\n\r\nx\r\n");
    let mut program = world.submission(ann);
    program.log_in(&from, world.password(ann)).await.taken();
    program.send_as(&format!("MAIL FROM:<{from}> SMTPUTF8"), &[&to], letter.as_bytes()).await.taken();
    arrived(&world, bob, "Gr\u{fc}\u{df}e \u{738b}", minutes(1)).await;
    let found = world.mailbox(bob, "INBOX").await.remove(0);
    // Inside a seal nobody needs to be asked for SMTPUTF8.
    assert!(found.field("Received").contains(" with ESMTPA id "), "{}", found.field("Received"));
    assert_eq!(found.field("From"), format!("\u{c4}nn <{from}>"));

    // Bytes that are no UTF-8 travel as they are, and no server is asked for SMTPUTF8.
    let raw =
        [format!("From: {from}\r\nTo: {to}\r\nSubject: old\r\nX-Raw: ").as_bytes(), b"\xfc\r\n\r\nx\r\n"]
            .concat();
    world.submit(ann, &[&to], &raw).await.taken();
    arrived(&world, bob, "old", minutes(1)).await;
    let found = world.mailbox(bob, "INBOX").await.remove(1);
    assert!(found.field("Received").contains(" with ESMTPA id "), "{}", found.field("Received"));
    assert!(found.bytes.windows(9).any(|window| window == b"X-Raw: \xfc\r"));

    // Such a name can be written to nowhere here, and the address is taken only with SMTPUTF8.
    let stranger = world.address_as(bob, "\u{fc}");
    let answer = world.submit(ann, &[&stranger], raw.as_slice()).await;
    assert!(answer.refusal().starts_with("553 5.6.7"), "{answer:?}");
    program.send_as(&format!("MAIL FROM:<{from}> SMTPUTF8"), &[&stranger], &raw).await.taken();
    arrived(&world, ann, "Your letter was not delivered", minutes(1)).await;
    let report = world.mailbox(ann, "INBOX").await.remove(0);
    assert!(report.text().contains("550 5.6.7"), "{}", report.text());
    assert!(report.text().contains(&format!("utf-8; {stranger}")), "{}", report.text());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_smtputf8_makes_the_letter_come_back_with_the_reason() {
    let mut world = World::new(78, Conditions::default());
    let ann = world.add_started("ann").await;
    let (stock, to) = (HostKey::from_seed([7; 32]), world.stranger(7));
    let transport = world.network.join(stock.address());
    let mut listener = transport.listen(stock, 25).await.unwrap();
    let from = world.address(ann);
    let letter = format!("From: {from}\r\nTo: {to}\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\nx\r\n");
    world.submit(ann, &[&to], letter.as_bytes()).await.taken();
    let mut said = async |announced: &str| {
        let mut said = Vec::new();
        let mut listener = Smtp::new(listener.accept().await.unwrap());
        listener.say("220 stock.example ESMTP").await.unwrap();
        listener
            .serve(|line| {
                said.push(line.to_owned());
                match line {
                    "DATA" => "354 go on".into(),
                    line if line.starts_with("EHLO") => format!("250-stock.example\r\n250 {announced}"),
                    _ => "250 fine".into(),
                }
            })
            .await;
        said
    };
    let first = said("8BITMIME").await;
    assert!(!first.iter().any(|line| line.starts_with("MAIL")), "{first:?}");
    arrived(&world, ann, "Your letter was not delivered", minutes(1)).await;
    let report = world.mailbox(ann, "INBOX").await.remove(0);
    assert!(report.text().contains("550 5.6.9"), "{}", report.text());

    world.submit(ann, &[&to], letter.as_bytes()).await.taken();
    let second = said("SMTPUTF8").await;
    let mail = second.iter().find(|line| line.starts_with("MAIL")).unwrap();
    assert!(mail.ends_with(" SMTPUTF8"), "{mail}");
    within(minutes(1), "it is delivered", async || world.queue(ann).await.is_empty()).await;
}

/// What a node says in a session with a server that announces this.
async fn said_to(announced: &'static str, seed: u64) -> Vec<String> {
    let mut world = World::new(seed, Conditions::default());
    let ann = world.add_started("ann").await;
    let (other, to) = (HostKey::from_seed([7; 32]), world.stranger(7));
    let transport = world.network.join(other.address());
    let mut listener = transport.listen(other, 25).await.unwrap();
    world.write_to(ann, &to, "who are you?").await.taken();
    let mut session = Smtp::new(listener.accept().await.unwrap());
    session.say("220 x ESMTP").await.unwrap();
    let mut said = Vec::new();
    session
        .serve(|line| {
            said.push(line.to_owned());
            match line {
                "DATA" => "354 go on".into(),
                line if line.starts_with("EHLO") => format!("250-x\r\n{announced}"),
                _ => "250 fine".into(),
            }
        })
        .await;
    within(minutes(1), "it is delivered", async || world.queue(ann).await.is_empty()).await;
    said
}

#[tokio::test(start_paused = true)]
async fn a_version_of_tomorrow_is_a_stock_server_and_unknown_keywords_are_nobody_s_affair() {
    for announced in
        ["250-ONIONSKIN 2 00112233445566778899aabbccddeeff x\r\n250 FUTURE 1 2 3", "250 ONIONSKIN"]
    {
        let said = said_to(announced, 79).await;
        assert!(!said.iter().any(|line| line.starts_with("AUTH") || line.contains("LETTER=")), "{said:?}");
        assert!(said.contains(&"DATA".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_of_tomorrow_says_is_refused_and_the_session_goes_on() {
    let mut world = World::new(80, Conditions::default());
    let bob = world.add_started("bob").await;
    let (from, to) = (world.stranger(9), world.address(bob));
    let mut caller = world.call(9, bob).await.unwrap();
    caller.prove(9, world.onion(bob)).await.taken();
    for (line, code) in [
        (format!("MAIL FROM:<{from}> FUTURE=1"), "555 5.5.4"),
        (format!("MAIL FROM:<{from}> BODY=FUTURE"), "555 5.5.4"),
        ("FORWARD 7".to_owned(), "500 5.5.1"),
        ("KEEP x 0".to_owned(), "500 5.5.1"),
        (format!("RCPT TO:<{to}> FUTURE"), "555 5.5.4"),
    ] {
        let answer = caller.ask(&line).await;
        assert!(answer.refusal().starts_with(code), "{line}: {answer:?}");
    }
    caller.send(&from, &[&to], letter_of(&from, &[&to], "still here").as_bytes()).await.taken();
    assert_eq!(world.subjects(bob, "Requests").await, ["still here"]);
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_a_resumed_letter_leaves_one_whole_copy() {
    let mut world = World::new(81, slow());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    for victim in [bob, ann] {
        for n in 0.. {
            let subject = format!("power cut at {n} of {victim:?}");
            let before = sent(&world, ann, bob);
            let content = write_film(&world, ann, bob, &subject, 1 << 20).await;
            sent_more(&world, ann, bob, before, 600_000).await;
            world.network.cut_streams(world.onion(bob));
            within(minutes(1), "a part is kept", async || world.node(bob).desk.partials().count().0 == 1)
                .await;
            world.cut_power_at(victim, n);
            pass(minutes(6)).await;
            let struck = world.has_lost_power(victim);
            let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
            world.crash(victim, how).await;
            world.start(victim).await;
            arrived(&world, bob, &subject, minutes(30)).await;
            pass(minutes(20)).await;
            arrived(&world, bob, &subject, Duration::ZERO).await;
            assert!(world.queue(ann).await.is_empty(), "{subject}: nothing waits any more");
            assert_eq!(world.node(bob).desk.partials().count(), (0, 0));
            let found = world.mailbox(bob, "INBOX").await.pop().unwrap();
            assert!(found.content() == content, "{subject}: byte for byte");
            delete_all(&world, bob).await;
            if !struck {
                assert!(n > 10, "the operations were counted: {n}");
                break;
            }
        }
    }
}

/// Empties an inbox, so that looking into it stays quick.
async fn delete_all(world: &World, id: NodeId) {
    let mut reader = world.reader(id).await;
    for line in ["SELECT INBOX", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"] {
        reader.ask(line).await.taken();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_forgets_parts_and_nothing_else() {
    let mut world = World::new(82, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write(ann, bob, "kept").await.taken();
    arrived(&world, bob, "kept", minutes(1)).await;
    send_part(&world, 9, bob, 1, 100_000).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(world.node(bob).desk.partials().count(), (1, 100_000));
    let disk = world.disk(bob);
    disk.set_capacity(Some(disk.used() + 10_000));
    let (from, to) = (world.stranger(8), world.address(bob));
    let letter = letter_of(&from, &[&to], "too much") + &"x".repeat(70).repeat(10_000);
    let mut other = world.call(8, bob).await.unwrap();
    other.prove(8, world.onion(bob)).await.taken();
    other.ask(&format!("MAIL FROM:<{from}>")).await.taken();
    other.ask(&format!("RCPT TO:<{to}>")).await.taken();
    other.write(format!("BDAT {} LAST\r\n{letter}", letter.len()).as_bytes()).await.unwrap();
    assert!(other.hear().await.refusal().starts_with("452"));
    assert_eq!(world.node(bob).desk.partials().count(), (0, 0));
    assert_eq!(world.subjects(bob, "INBOX").await, ["kept"]);
    disk.set_capacity(None);
    world.write(ann, bob, "goes on").await.taken();
    arrived(&world, bob, "goes on", minutes(10)).await;
}

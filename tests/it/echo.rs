//! `echo@`: proved callers are answered once, with what was seen; nobody else is; nothing of it stays.

use crate::world::{
    AfterCrash, Answer, Conditions, NodeId, World, arrived, days, hours, letter_of, minutes, pass,
};
use onion::{HostKey, Transport as _};
use std::time::Duration;

const SUBJECT: &str = "Echo: your letter arrived";

/// A letter to a node's `echo@` by a stranger who has proved its onion, under this letter id.
async fn ask(world: &World, seed: u8, to: NodeId, id: u32, more: &str) -> Answer {
    let mut caller = world.call(seed, to).await.expect("the node is there");
    caller.prove(seed, world.onion(to)).await.taken();
    let (stranger, echo) = (world.stranger(seed), world.address_as(to, "echo"));
    let letter = format!("{more}{}", letter_of(&stranger, &[&echo], "anybody there?"));
    caller.send_as(&format!("MAIL FROM:<{stranger}> LETTER={id:032x}"), &[&echo], letter.as_bytes()).await
}

#[tokio::test(start_paused = true)]
async fn a_proved_caller_is_answered_with_the_times_and_the_header_and_nothing_stays() {
    let mut world = World::new(51, Conditions::tor());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write_to(ann, &world.address_as(bob, "echo+trial"), "anybody there?").await.taken();
    arrived(&world, ann, SUBJECT, minutes(5)).await;

    let answer = world.mailbox(ann, "INBOX").await.remove(0);
    assert_eq!(answer.field("From"), world.address_as(bob, "echo"));
    assert_eq!(answer.field("To"), world.address(ann));
    assert_eq!(answer.field("Return-Path"), "<>");
    assert_eq!(answer.field("Auto-Submitted"), "auto-replied");
    assert!(answer.field("Authentication-Results").contains("onion=pass"), "{}", answer.text());
    let sent = world.mailbox(ann, "Sent").await.remove(0);
    assert_eq!(answer.field("In-Reply-To"), sent.field("Message-ID"));
    let text = String::from_utf8_lossy(answer.content()).into_owned();
    for told in [
        "Received by the onion port   ".to_owned(),
        " s later, ".to_owned(),
        format!("Received: from {}\r\n\tby {}", world.onion(ann).host(), world.onion(bob).host()),
        "Subject: anybody there?\r\n".to_owned(),
    ] {
        assert!(text.contains(&told), "{told:?} in {text}");
    }
    let to_the_minute = |line: &str| line.contains(":00 +0000");
    assert!(text.lines().filter(|line| line.contains(" +0000")).all(to_the_minute), "no seconds: {text}");

    // Ann's node took the answer as any letter; Bob's keeps nothing, and he is told nothing.
    pass(minutes(10)).await;
    assert!(world.queue(ann).await.is_empty() && world.queue(bob).await.is_empty());
    for folder in ["INBOX", "Sent", "Outbox"] {
        assert!(world.mailbox(bob, folder).await.is_empty(), "{folder}");
    }
    assert_eq!(world.mailbox(ann, "INBOX").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_is_answered_and_each_is_told_why() {
    let mut world = World::new(52, Conditions::default());
    let bob = world.add_started("bob").await;
    let echo = world.address_as(bob, "echo");
    let stranger = world.stranger(9);
    let letter = letter_of(&stranger, &[&echo], "hello");

    let mut caller = world.call(9, bob).await.expect("bob is there");
    caller.greet("stranger.example").await.taken();
    let answer = caller.send(&stranger, &[&echo], letter.as_bytes()).await;
    assert!(
        answer.refusal().starts_with("550 5.7.1 echo@ answers only a node that has proved"),
        "{answer:?}"
    );

    let mut caller = world.call(9, bob).await.expect("bob is there");
    caller.prove(9, world.onion(bob)).await.taken();
    let echo_too = format!("echo@{}", HostKey::from_seed([9; 32]).address().host());
    for from in ["", echo_too.as_str()] {
        let answer = caller.send(from, &[&echo], letter.as_bytes()).await;
        assert!(answer.refusal().starts_with("550 5.7.1 echo@ answers no letter without"), "{answer:?}");
        caller.ask("RSET").await.taken();
    }
    for line in ["Auto-Submitted: auto-replied", "List-Id: <x>", "Precedence: bulk"] {
        let answer = ask(&world, 9, bob, 1, &format!("{line}\r\n")).await;
        assert!(
            answer.refusal().starts_with("550 5.7.1 echo@ answers no letter that a program"),
            "{answer:?}"
        );
    }
    // A forged author is refused here as everywhere.
    let answer = ask(&world, 9, bob, 1, "From: ann@example.org\r\nX: ").await;
    assert!(answer.refusal().starts_with("55"), "{answer:?}");
    assert!(world.queue(bob).await.is_empty() && world.mailbox(bob, "INBOX").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_comes_again_is_answered_once_whatever_the_power_does() {
    let mut world = World::new(53, Conditions::default());
    let bob = world.add_started("bob").await;
    let mut struck = 0;
    for n in 0.. {
        let (id, waiting) = (n as u32 + 1, world.queue(bob).await.len());
        world.cut_power_at(bob, n);
        let first = ask(&world, 9, bob, id, "").await;
        let is_struck = world.has_lost_power(bob);
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
        world.crash(bob, how).await;
        world.start(bob).await;
        if first.is_taken() {
            assert_eq!(world.queue(bob).await.len(), waiting + 1, "acknowledged and lost at {n}");
        }
        for _ in 0..2 {
            ask(&world, 9, bob, id, "").await.taken();
        }
        assert_eq!(world.queue(bob).await.len(), waiting + 1, "one answer, cut at {n}");
        if !is_struck {
            assert!(n > 5, "the operations were counted: {n}");
            break;
        }
        struck += 1;
    }
    assert!(struck > 5, "{struck}");
}

#[tokio::test(start_paused = true)]
async fn ten_an_hour_are_answered_to_each_and_a_hundred_wait_at_most() {
    let mut world = World::new(54, Conditions::default());
    let bob = world.add_started("bob").await;
    for id in 0..10 {
        ask(&world, 100, bob, id, "").await.taken();
    }
    pass(minutes(18)).await;
    let answer = ask(&world, 100, bob, 10, "").await;
    assert_eq!(answer.refusal(), "450 4.7.1 echo@ answers a node 10 times an hour; try again in 42 minutes");
    for seed in 101..110 {
        for id in 0..10 {
            ask(&world, seed, bob, id, "").await.taken();
        }
    }
    assert_eq!(world.queue(bob).await.len(), 100);
    let answer = ask(&world, 110, bob, 1, "").await;
    assert!(answer.refusal().starts_with("450 4.3.2 too many answers of echo@ wait"), "{answer:?}");

    // Those who are not there for their answers cost a day, and nobody hears of it.
    pass(days(2)).await;
    assert!(world.queue(bob).await.is_empty());
    assert!(world.mailbox(bob, "INBOX").await.is_empty());
    ask(&world, 100, bob, 10, "").await.taken();
    ask(&world, 110, bob, 1, "").await.taken();
}

#[tokio::test(start_paused = true)]
async fn a_letter_for_somebody_and_for_echo_reaches_both() {
    let mut world = World::new(55, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let (to, echo) = (world.address(bob), world.address_as(bob, "echo"));
    for (round, order) in [[&to, &echo], [&echo, &to]].into_iter().enumerate() {
        let subject = format!("to both {round}");
        let order = order.map(String::as_str);
        // The second is so large that it may come in parts.
        let mut letter = letter_of(&world.address(ann), &order, &subject);
        letter.push_str(&format!("{}\r\n", "x".repeat(70)).repeat(round * 5_000));
        world.submit(ann, &order, letter.as_bytes()).await.taken();
        arrived(&world, bob, &subject, minutes(10)).await;
        pass(hours(1)).await;
        assert_eq!(world.subjects(ann, "INBOX").await, vec![SUBJECT; round + 1]);
        assert!(world.queue(ann).await.is_empty());
    }
    assert_eq!(world.mailbox(bob, "INBOX").await.len(), 2, "the letters, and no echo of them");
}

#[tokio::test(start_paused = true)]
async fn strangers_who_are_slow_to_take_their_answers_hold_up_no_letter() {
    let mut world = World::new(56, Conditions::default());
    let bob = world.add_started("bob").await;
    let mut slow = Vec::new();
    for seed in 100..130 {
        // Each takes every stream, and says nothing on it.
        let key = || HostKey::from_seed([seed; 32]);
        let network = world.network.join(key().address());
        let mut listener = network.listen(key(), 25).await.expect("nobody else is there");
        slow.push(tokio::spawn(async move {
            let mut held = vec![];
            while let Some(stream) = listener.accept().await {
                held.push(stream);
            }
            drop(network);
        }));
        ask(&world, seed, bob, u32::from(seed), "").await.taken();
    }
    pass(Duration::from_secs(5)).await;
    assert_eq!(world.queue(bob).await.len(), 30, "the answers wait");
    let carol = world.add_started("carol").await;
    world.reachable(carol).await;
    world.write(bob, carol, "never met").await.taken();
    arrived(&world, carol, "never met", Duration::from_secs(10)).await;
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

//! What a node refuses: relaying, forged senders, proofs made for others, circles; only the author hears of it.

use crate::world::{Conditions, NodeId, Smtp, World, arrived, letter_of, minutes, pass};
use onion::{HostKey, Transport as _};
use onionskin::model::queue::State;
use std::time::Duration;

async fn bob_alone(seed: u64) -> (World, NodeId) {
    let mut world = World::new(seed, Conditions::default());
    let bob = world.add_started("bob").await;
    (world, bob)
}

#[tokio::test(start_paused = true)]
async fn the_onion_port_is_no_relay() {
    let (mut world, bob) = bob_alone(31).await;
    let ann = world.add_started("ann").await;
    let elsewhere = [world.address(ann), world.stranger(3), "someone@example.org".into(), "root".into()];
    for proved in [false, true] {
        for to in &elsewhere {
            let mut caller = world.call(3, bob).await.expect("bob is there");
            if proved {
                caller.prove(3, world.onion(bob)).await.taken();
            } else {
                caller.greet("mail.example.org").await.taken();
            }
            caller.ask(&format!("MAIL FROM:<{}>", world.stranger(3))).await.taken();
            let answer = caller.ask(&format!("RCPT TO:<{to}>")).await;
            assert!(answer.refusal().starts_with("55"), "{to}: {answer:?}");
            assert!(!caller.ask("DATA").await.is_taken());
        }
    }
    let mut caller = world.call(3, bob).await.expect("bob is there");
    caller.greet("mail.example.org").await.taken();
    assert!(!caller.ask("AUTH PLAIN AGFubgBzZWNyZXQ=").await.is_taken(), "no passwords at the onion");
    pass(minutes(5)).await;
    assert!(world.queue(bob).await.is_empty() && world.mailbox(bob, "INBOX").await.is_empty());
    assert_eq!(world.dials(bob, ann), 0);
}

#[tokio::test(start_paused = true)]
async fn submission_takes_nothing_without_a_password() {
    let (world, bob) = bob_alone(32).await;
    let mut program = world.submission(bob);
    program.greet("localhost").await.taken();
    let answer = program.ask(&format!("MAIL FROM:<{}>", world.address(bob))).await;
    assert!(answer.refusal().starts_with("530"), "{answer:?}");
    for (user, password) in [(world.address(bob), "wrong"), ("eve".into(), world.password(bob))] {
        let answer = world.submission(bob).log_in(&user, password).await;
        assert!(answer.refusal().starts_with("535"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_good_for_one_session_with_one_node() {
    let (mut world, bob) = bob_alone(33).await;
    let eve = world.add_started("eve").await;
    // Made for Bob's session and said in it: good. Said again in the next one: not.
    let mut caller = world.call(4, bob).await.expect("bob is there");
    let proof = caller.proof(4, world.onion(bob)).await;
    caller.ask(&proof).await.taken();
    let mut second = world.call(4, bob).await.expect("bob is there");
    second.proof(4, world.onion(bob)).await;
    let answer = second.ask(&proof).await;
    assert!(answer.refusal().starts_with("535"), "{answer:?}");
    assert!(!second.ask("NOOP").await.is_taken(), "the session is over");
    // Eve, who was given a proof meant for her, passes Bob's cookie on and uses it at Bob's.
    let mut third = world.call(4, bob).await.expect("bob is there");
    let for_eve = third.proof(4, world.onion(eve)).await;
    let answer = third.ask(&for_eve).await;
    assert!(answer.refusal().starts_with("535"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_proved_one_onion_cannot_write_as_another() {
    let (mut world, bob) = bob_alone(34).await;
    let ann = world.add_started("ann").await;
    let (own, to, forged) = (world.stranger(5), world.address(bob), world.address(ann));
    let mut caller = world.call(5, bob).await.expect("bob is there");
    caller.prove(5, world.onion(bob)).await.taken();
    // Neither in the envelope ...
    let answer = caller.ask(&format!("MAIL FROM:<{forged}>")).await;
    assert!(answer.refusal().starts_with("550 5.7.1"), "{answer:?}");
    // ... nor in the letter.
    let answer = caller.send(&own, &[&to], letter_of(&forged, &[&to], "forged").as_bytes()).await;
    assert!(answer.refusal().starts_with("550 5.7.1"), "{answer:?}");
    caller.send(&own, &[&to], letter_of(&own, &[&to], "honest").as_bytes()).await.taken();
    assert_eq!(world.subjects(bob, "Requests").await, ["honest"]);
    // One's own node does not even let it out.
    let answer = world.submit(bob, &[&forged], letter_of(&forged, &[&forged], "forged").as_bytes()).await;
    assert!(answer.refusal().starts_with("550 5.7.1"), "{answer:?}");
    // ETRN is for the proved onion only, so nobody makes us dial a third.
    assert!(!caller.ask(&format!("ETRN {}", world.onion(ann).host())).await.is_taken());
    pass(minutes(2)).await;
    assert_eq!(world.dials(bob, ann), 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_runs_in_circles_is_stopped() {
    let (world, bob) = bob_alone(35).await;
    let (own, to) = (world.stranger(6), world.address(bob));
    let letter = "Received: from a by b; Sun, 15 Jun 2025 10:00:00 +0000\r\n".repeat(101)
        + &letter_of(&own, &[&to], "round and round");
    let mut caller = world.call(6, bob).await.expect("bob is there");
    caller.greet("stock.example").await.taken();
    let answer = caller.send(&own, &[&to], letter.as_bytes()).await;
    assert!(answer.refusal().starts_with("554 5.4.6"), "{answer:?}");
    assert!(world.mailbox(bob, "INBOX").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_the_whole_letter_comes_back_to_the_author_at_once() {
    let mut world = World::new(36, Conditions::default());
    let ann = world.add_started("ann").await;
    let (stock, to) = (HostKey::from_seed([7; 32]), world.stranger(7));
    let transport = world.network.join(stock.address());
    let mut listener = transport.listen(stock, 25).await.expect("nobody else is there");
    world.write_to(ann, &to, "unwanted").await.taken();
    // A stock server, which knows no extension of ours, and takes its time to say no.
    let mut session = Smtp::new(listener.accept().await.expect("ann dials"));
    session.say("220 stock.example ESMTP").await.expect("ann listens");
    session
        .serve(|line| match line {
            "." => "550 5.7.1 We do not want this".into(),
            "DATA" => "354 go on".into(),
            line if line.starts_with("EHLO") => "250-stock.example\r\n250 8BITMIME".into(),
            _ => "250 fine".into(),
        })
        .await;
    arrived(&world, ann, "Your letter was not delivered", minutes(1)).await;
    let report = world.mailbox(ann, "INBOX").await.remove(0);
    assert!(report.text().contains("550 5.7.1 We do not want this"), "{}", report.text());
    assert!(report.text().contains("Subject: unwanted"));
    assert!(world.queue(ann).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_or_nonsense_costs_a_try_and_nothing_else() {
    let mut world = World::new(37, Conditions::default());
    let ann = world.add_started("ann").await;
    let (odd, to) = (HostKey::from_seed([8; 32]), world.stranger(8));
    let transport = world.network.join(odd.address());
    let mut listener = transport.listen(odd, 25).await.expect("nobody else is there");
    world.write_to(ann, &to, "hello?").await.taken();
    let mut silent = Vec::new();
    for tries in 1..=6 {
        let stream = listener.accept().await.expect("ann dials");
        let mut session = Smtp::new(stream);
        match tries {
            1 | 4 => silent.push(session),
            2 => drop(session.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
            3 => drop(session.write(&[b'2'; 70_000]).await),
            _ => drop(session),
        }
        pass(Duration::from_secs(70)).await;
        let State::Waiting { tries: counted, last, .. } = &world.queue(ann).await[0].1.state else {
            panic!("it waits")
        };
        assert_eq!(*counted, tries, "{last:?}");
    }
    assert_eq!(world.subjects(ann, "Outbox").await, ["hello?"]);
}

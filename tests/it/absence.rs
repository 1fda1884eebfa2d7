//! When the other is not there: letters wait with their author, and arrive by themselves when the other is back.

use crate::world::{AfterCrash, Conditions, NodeId, World, arrived, days, hours, letter_of, minutes, pass};
use std::time::Duration;

/// Ann and Bob, who have exchanged mail.
async fn acquainted(seed: u64) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed, Conditions::tor());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write(ann, bob, "hello").await.taken();
    world.write(bob, ann, "hello too").await.taken();
    arrived(&world, bob, "hello", minutes(30)).await;
    arrived(&world, ann, "hello too", minutes(30)).await;
    (world, ann, bob)
}

#[tokio::test(start_paused = true)]
async fn after_a_day_away_what_waits_arrives_within_a_minute_of_coming_back() {
    // In seed 2 the first dial after Bob's greeting fails.
    for seed in 0..6 {
        let (mut world, ann, bob) = acquainted(seed).await;
        world.stop(bob).await;
        world.write(ann, bob, "while you were away").await.taken();
        pass(hours(24)).await;
        let entry = world.queue(ann).await.remove(0).1;
        let onionskin::model::queue::State::Waiting { next, tries, .. } = &entry.state else {
            panic!("it waits");
        };
        assert!((8..30).contains(tries), "the pauses grew to hours: {tries} tries in a day");
        let left = next.since(world.now(ann));
        assert!(left > minutes(2), "the test means something: the author would not try for {left:?}");

        world.start(bob).await;
        world.reachable(bob).await;
        arrived(&world, bob, "while you were away", Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_author_was_promised_survives_the_authors_crash() {
    for how in [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(1), AfterCrash::Torn(2)] {
        let mut world = World::new(4, Conditions::default());
        let ann = world.add_started("ann").await;
        let bob = world.add("bob").await;
        world.write(ann, bob, "promised").await.taken();
        world.crash(ann, how).await;
        world.start(ann).await;
        assert_eq!(world.subjects(ann, "Sent").await, ["promised"]);
        assert_eq!(world.subjects(ann, "Outbox").await, ["promised"]);
        world.start(bob).await;
        arrived(&world, bob, "promised", hours(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn letters_for_the_absent_do_not_slow_those_for_the_present() {
    // Every dial to somebody who is gone hangs to its deadline: the worst that Tor does.
    let conditions = Conditions { ghost: days(40), ..Conditions::default() };
    let mut world = World::new(5, conditions);
    let ann = world.add_started("ann").await;
    let gone: Vec<String> = (0..50).map(|n| world.address_of_the_gone(n)).collect();
    let to: Vec<&str> = gone.iter().map(String::as_str).collect();
    let letter = letter_of(&world.address(ann), &to, "are you there?");
    world.submit(ann, &to, letter.as_bytes()).await.taken();
    // Everybody was tried once, in four rounds of a minute; from now on it is known who was not there.
    pass(minutes(6)).await;
    let bob = world.add_started("bob").await;
    for n in 0..16 {
        let subject = format!("hello {n}");
        world.write(ann, bob, &subject).await.taken();
        let took = arrived(&world, bob, &subject, minutes(2)).await;
        assert!(took <= Duration::from_secs(1), "a present peer is served at once, not after {took:?}");
        pass(Duration::from_secs(50)).await;
    }
    assert_eq!(world.queue(ann).await.len(), 50, "the others wait on");
    let dials = world.network.counters().dials;
    assert!((150..500).contains(&dials), "and were tried now and then: {dials} dials");
}

#[tokio::test(start_paused = true)]
async fn the_author_is_told_after_four_hours_and_gets_the_letter_back_after_thirty_days() {
    let mut world = World::new(6, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add("bob").await;
    world.write(ann, bob, "anybody?").await.taken();

    pass(hours(3)).await;
    assert!(world.mailbox(ann, "INBOX").await.is_empty(), "not before four hours");
    pass(hours(6)).await;
    assert_eq!(world.subjects(ann, "INBOX").await, ["Your letter is still waiting"]);
    assert_eq!(world.subjects(ann, "Outbox").await, ["anybody?"]);

    pass(days(29)).await;
    assert_eq!(world.mailbox(ann, "INBOX").await.len(), 1, "one notice and no more");
    pass(days(2)).await;
    let inbox = world.mailbox(ann, "INBOX").await;
    assert_eq!(inbox.len(), 2);
    let report = &inbox[1];
    assert_eq!(report.subject(), "Your letter was not delivered");
    assert!(report.text().contains("Status: 5.4.7"), "{}", report.text());
    assert!(report.text().contains(&world.address(bob)));
    assert!(report.field("Content-Type").contains("report-type=delivery-status"));
    assert!(world.mailbox(ann, "Outbox").await.is_empty());
    assert_eq!(world.subjects(ann, "Sent").await, ["anybody?"], "the author's own copy stays");

    // Nothing of this was sent to anybody: bounces never go to the network.
    assert_eq!(world.network.counters().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn those_seen_last_are_dialled_first() {
    let mut world = World::new(7, Conditions::default());
    let ann = world.add_started("ann").await;
    let mut people = Vec::new();
    for n in 0..20 {
        people.push(world.add_started(&format!("peer{n}")).await);
    }
    // They are met in an order of their own.
    let order: Vec<NodeId> = (0..20).map(|n| people[(n * 7) % 20]).collect();
    for id in &order {
        world.write(ann, *id, "hello").await.taken();
        arrived(&world, *id, "hello", minutes(1)).await;
        pass(minutes(2)).await;
    }
    // Everybody is away when the letters are written, so that all are due; then only places for 16 at once are there.
    world.set_present(ann, false);
    for id in &people {
        world.write(ann, *id, "again").await.taken();
    }
    let before: Vec<u64> = order.iter().map(|id| world.dials(ann, *id)).collect();
    let slow = Conditions { dial: Duration::from_secs(30)..Duration::from_secs(31), ..Conditions::default() };
    world.network.set_conditions(slow);
    world.set_present(ann, true);
    pass(Duration::from_secs(10)).await;
    let dialled: Vec<bool> =
        order.iter().zip(before).map(|(id, before)| world.dials(ann, *id) > before).collect();
    let first = dialled.iter().filter(|dialled| **dialled).count();
    assert_eq!(first, 16, "no more than sixteen conversations at once");
    assert!(dialled[4..].iter().all(|dialled| *dialled), "the sixteen met last: {dialled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_has_its_mail_within_a_minute_of_waking() {
    // Either the author's laptop or the reader's was closed for the night: only its wall clock tells it so.
    for reader_slept in [false, true] {
        let (world, ann, bob) = acquainted(9).await;
        world.partition(&[&[ann], &[bob]]);
        world.write(ann, bob, "overnight").await.taken();
        pass(hours(12)).await;
        world.partition(&[]);
        pass(Duration::from_secs(20)).await;
        assert!(world.mailbox(bob, "INBOX").await.len() == 1, "by itself it would wait for hours");
        world.set_wrong_by(if reader_slept { bob } else { ann }, 8 * 3600);
        arrived(&world, bob, "overnight", minutes(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_unnoticed_does_not_hold_mail_back() {
    // What is written to a dead stream vanishes, and for an hour nobody tells.
    let unnoticed = Conditions { notice: hours(1)..hours(2), ..Conditions::default() };
    for seed in 0..4 {
        let mut world = World::new(100 + seed, unnoticed.clone());
        let ann = world.add_started("ann").await;
        let bob = world.add_started("bob").await;
        world.write(ann, bob, "one").await.taken();
        arrived(&world, bob, "one", minutes(1)).await;
        // Ann's node keeps the connection for the next letter; meanwhile Bob's machine loses power.
        world.crash(bob, AfterCrash::Torn(seed)).await;
        let early = seed % 2 == 0;
        if early {
            world.write(ann, bob, "two").await.taken();
            pass(Duration::from_secs(5)).await;
        }
        world.start(bob).await;
        if !early {
            world.write(ann, bob, "two").await.taken();
        }
        arrived(&world, bob, "two", minutes(1)).await;
        pass(hours(3)).await;
        assert_eq!(world.subjects(bob, "INBOX").await, ["one", "two"]);
        assert!(world.queue(ann).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_only_delays() {
    let mut world = World::new(8, Conditions::tor());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.partition(&[&[ann], &[bob]]);
    world.write(ann, bob, "across").await.taken();
    pass(hours(2)).await;
    assert!(world.mailbox(bob, "INBOX").await.is_empty());
    world.partition(&[]);
    // Neither came up anew, so nobody announces anything: the author's own retries must do.
    arrived(&world, bob, "across", hours(5)).await;
}

//! What waits belongs to its author: it can be seen, hastened and taken back, on the command line and in Outbox.

use crate::world::{Conditions, NodeId, World, arrived, hours, letter_of, minutes, pass};
use onionskin::face::control::Request;
use std::time::Duration;

/// Ann with letters waiting for Bob, whom she cannot reach.
async fn waiting(seed: u64, subjects: &[&str]) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.partition(&[&[ann], &[bob]]);
    for subject in subjects {
        world.write(ann, bob, subject).await.taken();
    }
    assert_eq!(world.subjects(ann, "Outbox").await, subjects);
    (world, ann, bob)
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_cancelled_in_the_queue_is_never_sent() {
    let (world, ann, bob) = waiting(51, &["keep", "cancel"]).await;
    let listed = world.command(ann, Request::Queue).await;
    let number = listed[1]["number"].as_u64().expect("an entry has a number");
    let told = world.command(ann, Request::Cancel { numbers: vec![number] }).await;
    assert_eq!(told["cancelled"], 1);
    assert_eq!(world.subjects(ann, "Outbox").await, ["keep"]);
    world.partition(&[]);
    arrived(&world, bob, "keep", hours(1)).await;
    pass(hours(10)).await;
    assert_eq!(world.subjects(bob, "INBOX").await, ["keep"]);
    assert_eq!(world.subjects(ann, "Sent").await, ["keep", "cancel"], "one's own copies stay");
}

#[tokio::test(start_paused = true)]
async fn deleting_a_letter_in_outbox_takes_it_back() {
    let (mut world, ann, bob) = waiting(52, &["keep", "delete", "move away"]).await;
    let mut program = world.reader(ann).await;
    program.ask("SELECT Outbox").await.taken();
    program.ask("STORE 2 +FLAGS (\\Deleted)").await.taken();
    program.ask("EXPUNGE").await.taken();
    assert_eq!(world.queue(ann).await.len(), 2, "it is out of the queue as soon as it is out of Outbox");
    // What mail programs call deleting is often moving to Trash.
    program.ask("MOVE 2 Trash").await.taken();
    assert_eq!(world.queue(ann).await.len(), 1);
    assert_eq!(world.subjects(ann, "Outbox").await, ["keep"]);

    // The same after a crash.
    world.crash(ann, crate::world::AfterCrash::Lost).await;
    world.start(ann).await;
    world.partition(&[]);
    arrived(&world, bob, "keep", hours(1)).await;
    pass(hours(10)).await;
    assert_eq!(world.subjects(bob, "INBOX").await, ["keep"]);
    assert!(world.mailbox(ann, "INBOX").await.is_empty(), "taking back is no failure");
}

#[tokio::test(start_paused = true)]
async fn taking_a_letter_back_while_it_is_on_its_way_ends_in_one_state() {
    // The letter is under way for many seconds; it is deleted at every second of them.
    let slow = Conditions {
        delay: Duration::from_secs(2)..Duration::from_secs(3),
        dial: Duration::from_secs(3)..Duration::from_secs(4),
        ..Conditions::default()
    };
    let mut world = World::new(53, slow);
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let (mut sent, mut kept) = (0, 0);
    for second in 0..24 {
        let subject = format!("second {second}");
        world.write(ann, bob, &subject).await.taken();
        pass(Duration::from_secs(second)).await;
        let waits: Vec<u64> = world.queue(ann).await.iter().map(|(no, _)| no.0).collect();
        if !waits.is_empty() {
            world.command(ann, Request::Cancel { numbers: waits }).await;
        }
        assert!(world.queue(ann).await.is_empty() && world.mailbox(ann, "Outbox").await.is_empty());
        pass(minutes(5)).await;
        match world.subjects(bob, "INBOX").await.contains(&subject) {
            true => sent += 1,
            false => kept += 1,
        }
        assert!(world.mailbox(ann, "INBOX").await.is_empty());
    }
    assert!(sent > 0 && kept > 0, "both happened: {sent} were out already, {kept} were held back");
}

#[tokio::test(start_paused = true)]
async fn a_person_can_ask_for_a_try_at_once() {
    let (world, ann, bob) = waiting(54, &["now"]).await;
    pass(hours(24)).await;
    world.partition(&[]);
    pass(Duration::from_secs(5)).await;
    assert!(world.mailbox(bob, "INBOX").await.is_empty(), "by itself it would wait on");
    assert_eq!(world.command(ann, Request::Retry { numbers: Vec::new() }).await["retried"], 1);
    arrived(&world, bob, "now", Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_for_two_stays_in_outbox_until_both_have_it() {
    let (mut world, ann, bob) = waiting(55, &[]).await;
    let carol = world.add_started("carol").await;
    world.partition(&[&[ann, carol], &[bob]]);
    let (to_bob, to_carol) = (world.address(bob), world.address(carol));
    let letter = letter_of(&world.address(ann), &[&to_bob, &to_carol], "for two");
    world.submit(ann, &[&to_bob, &to_carol], letter.as_bytes()).await.taken();
    arrived(&world, carol, "for two", minutes(1)).await;
    assert_eq!(world.subjects(ann, "Outbox").await, ["for two"]);
    let listed = world.command(ann, Request::Queue).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["to"], to_bob.as_str());
    world.partition(&[]);
    arrived(&world, bob, "for two", hours(5)).await;
    assert!(world.mailbox(ann, "Outbox").await.is_empty());
}

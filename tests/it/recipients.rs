//! Who gets a letter: tags, names everybody has, oneself, several at one node, Bcc; and who hears of a refusal.

use crate::world::{Conditions, World, arrived, letter_of, minutes, pass};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn tags_postmaster_and_abuse_reach_the_identity() {
    let mut world = World::new(21, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    for local in ["bob+shop", "BOB", "postmaster", "abuse", "Postmaster"] {
        let to = world.address_as(bob, local);
        let letter = letter_of(&world.address(ann), &[&to], local);
        world.submit(ann, &[&to], letter.as_bytes()).await.taken();
        arrived(&world, bob, local, minutes(1)).await;
    }
    assert!(world.mailbox(ann, "INBOX").await.is_empty(), "and nothing came back");
}

#[tokio::test(start_paused = true)]
async fn a_letter_to_oneself_needs_no_network() {
    let mut world = World::new(22, Conditions::default());
    let ann = world.add_started("ann").await;
    world.set_present(ann, false);
    let to = world.address_as(ann, "ann+notes");
    let letter = letter_of(&world.address(ann), &[&to], "buy milk");
    world.submit(ann, &[&to], letter.as_bytes()).await.taken();
    assert_eq!(world.subjects(ann, "INBOX").await, ["buy milk"]);
    assert_eq!(world.subjects(ann, "Sent").await, ["buy milk"]);
    assert!(world.queue(ann).await.is_empty());

    // A name that one does not have is refused at once: there is nobody else to ask.
    let to = world.address_as(ann, "nobody");
    let answer = world.submit(ann, &[&to], letter.as_bytes()).await;
    assert!(answer.refusal().starts_with("550 5.1.1"), "{answer:?}");
    assert_eq!(world.network.counters().dials, 0);
}

#[tokio::test(start_paused = true)]
async fn several_at_one_node_share_one_dial_and_one_copy() {
    let mut world = World::new(23, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let to: Vec<String> = ["bob+a", "bob+b", "abuse"].iter().map(|l| world.address_as(bob, l)).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let letter = letter_of(&world.address(ann), &to, "to all of you");
    world.submit(ann, &to, letter.as_bytes()).await.taken();
    arrived(&world, bob, "to all of you", minutes(1)).await;
    pass(minutes(5)).await;
    arrived(&world, bob, "to all of you", Duration::ZERO).await;
    assert!(world.queue(ann).await.is_empty());
    assert_eq!(world.dials(ann, bob), 1);
}

#[tokio::test(start_paused = true)]
async fn those_in_bcc_are_seen_by_nobody_but_the_author() {
    let mut world = World::new(24, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let eve = world.add_started("eve").await;
    let secret = world.address(eve);
    let letter =
        format!("Bcc: {secret}\r\n{}", letter_of(&world.address(ann), &[&world.address(bob)], "quietly"));
    world.submit(ann, &[&world.address(bob), &secret], letter.as_bytes()).await.taken();
    for reader in [bob, eve] {
        arrived(&world, reader, "quietly", minutes(1)).await;
        let copy = world.mailbox(reader, "INBOX").await.remove(0);
        assert!(copy.fields("Bcc").is_empty());
        // Eve's node writes for whom the letter was into her own copy; Bob's has not a trace of her.
        let found = copy.text().contains(&world.onion(eve).host());
        assert_eq!(found, reader == eve, "{}", copy.text());
    }
    let sent = world.mailbox(ann, "Sent").await.remove(0);
    assert_eq!(sent.field("Bcc"), secret);
}

#[tokio::test(start_paused = true)]
async fn of_two_at_one_node_the_refused_one_comes_back_and_the_other_arrives() {
    let mut world = World::new(25, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let (right, wrong) = (world.address(bob), world.address_as(bob, "bert"));
    let letter = letter_of(&world.address(ann), &[&right, &wrong], "to both");
    world.submit(ann, &[&wrong, &right], letter.as_bytes()).await.taken();
    arrived(&world, bob, "to both", minutes(1)).await;
    arrived(&world, ann, "Your letter was not delivered", minutes(1)).await;

    let report = world.mailbox(ann, "INBOX").await.remove(0);
    assert!(report.text().contains(&format!("Final-Recipient: rfc822; {wrong}")), "{}", report.text());
    assert!(!report.text().contains(&format!("Final-Recipient: rfc822; {right}")));
    assert!(report.text().contains("Status: 5.1.1") && report.text().contains("550 5.1.1"));
    assert_eq!(report.field("Auto-Submitted"), "auto-replied");
    assert_eq!(report.field("Return-Path"), "<>");
    assert!(world.queue(ann).await.is_empty());
    assert!(world.mailbox(ann, "Outbox").await.is_empty());
    // The report stayed at home.
    pass(minutes(10)).await;
    assert_eq!((world.dials(ann, bob), world.dials(bob, ann)), (1, 0));
    assert_eq!(world.mailbox(bob, "INBOX").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stock_server_is_heard_and_its_letter_says_that_nothing_is_proved() {
    let mut world = World::new(26, Conditions::default());
    let bob = world.add_started("bob").await;
    let to = world.address(bob);
    let claims = format!("Authentication-Results: {}; onion=pass\r\n", world.onion(bob).host());
    let mut server = world.call(7, bob).await.expect("bob is there");
    server.greet("mail.example.org").await.taken();
    let letter = claims.clone() + &letter_of(&world.stranger(7), &[&to], "from a stock server");
    server.send(&world.stranger(7), &[&to], letter.as_bytes()).await.taken();
    let kept = world.mailbox(bob, "Requests").await.remove(0);
    assert_eq!(kept.subject(), "from a stock server");
    assert!(kept.field("X-Onionskin-Verdict").starts_with("unverified;"), "{}", kept.text());
    let results = kept.fields("Authentication-Results");
    assert!(results.iter().all(|line| !line.contains("onion=pass")), "{results:?}");
    assert!(!kept.text().contains(&claims));
    // Who proves itself is told apart.
    let mut node = world.call(8, bob).await.expect("bob is there");
    node.prove(8, world.onion(bob)).await.taken();
    let letter = letter_of(&world.stranger(8), &[&to], "from a node");
    node.send(&world.stranger(8), &[&to], letter.as_bytes()).await.taken();
    let kept = world.mailbox(bob, "Requests").await.remove(1);
    assert!(kept.field("X-Onionskin-Verdict").starts_with("stranger;"), "{}", kept.text());
    assert!(kept.field("Authentication-Results").contains("onion=pass"), "{}", kept.text());
}

//! What waits with its author is fetched there: in the session in which its reader says that it is up.

use crate::holders::Held;
use crate::world::{AfterCrash, Conditions, NodeId, World, arrived, hours, minutes, pass, strangers, within};
use std::time::Duration;

const FILM: usize = 6 << 20;

/// Content of about `len` bytes in which no two stretches are alike.
fn film(len: usize) -> String {
    (0..len / 16)
        .map(|line| format!("{:014x}\r\n", (line as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8))
        .collect()
}

async fn write_film(world: &World, from: NodeId, to: NodeId) -> Vec<u8> {
    let (address, content) = (world.address(to), film(FILM));
    let letter = format!("From: {}\r\nTo: {address}\r\nSubject: film\r\n\r\n{content}", world.address(from));
    world.submit(from, &[&address], letter.as_bytes()).await.taken();
    content.into_bytes()
}

/// Bytes that one node has sent to another on its own streams, and on the other's.
fn sent(world: &World, from: NodeId, to: NodeId) -> (u64, u64) {
    let between = |a, b| world.network.counters_between(world.onion(a), world.onion(b));
    (between(from, to).bytes_out, between(to, from).bytes_back)
}

#[tokio::test(start_paused = true)]
async fn a_large_letter_is_announced_by_a_holder_and_fetched_from_its_author() {
    let Held { mut world, ann, bob, .. } = Held::new(31, &["carol"]).await;
    world.stop(bob).await;
    let content = write_film(&world, ann, bob).await;
    pass(minutes(20)).await;
    assert!(world.queue(ann).await.iter().any(|(_, entry)| entry.announced.is_some()), "Bob is told of it");
    world.stop(ann).await;
    pass(hours(3)).await;
    // Bob hears of it from Carol while Ann is away; nothing of it can be there.
    world.start(bob).await;
    pass(minutes(30)).await;
    assert!(!world.subjects(bob, "INBOX").await.contains(&"film".to_owned()));
    let before = sent(&world, ann, bob);
    world.start(ann).await;
    arrived(&world, bob, "film", minutes(30)).await;
    let letter = world.mailbox(bob, "INBOX").await.into_iter().find(|letter| letter.content() == content);
    assert!(letter.is_some(), "every byte of it");
    within(minutes(2), "the receipt ends it", async || world.queue(ann).await.is_empty()).await;
    let after = sent(&world, ann, bob);
    let cost = after.0 - before.0 + after.1 - before.1;
    assert!((FILM as u64..FILM as u64 * 11 / 10).contains(&cost), "it came once: {cost} bytes for {FILM}");
}

/// Two who have exchanged letters.
async fn acquainted(seed: u64, conditions: Conditions) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed, conditions);
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.befriend(bob, ann).await.unwrap();
    world.write(bob, ann, "hello").await.taken();
    arrived(&world, ann, "hello", minutes(2)).await;
    world.write(ann, bob, "welcome").await.taken();
    arrived(&world, bob, "welcome", minutes(2)).await;
    (world, ann, bob)
}

/// The same, with a letter from the first on the way to the second, who is away.
async fn with_a_film(seed: u64, conditions: Conditions) -> (World, NodeId, NodeId, Vec<u8>) {
    let (mut world, ann, bob) = acquainted(seed, conditions).await;
    world.stop(bob).await;
    let content = write_film(&world, ann, bob).await;
    (world, ann, bob, content)
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_fetched_in_the_session_that_says_we_are_up() {
    let (mut world, ann, bob, content) = with_a_film(32, Conditions::default()).await;
    for number in 0..40 {
        world.write(ann, bob, &format!("letter {number}")).await.taken();
    }
    pass(hours(5)).await;
    let before = (sent(&world, ann, bob), world.dials(bob, ann));
    world.start(bob).await;
    world.reachable(bob).await;
    within(minutes(1), "all have come", async || world.mailbox(bob, "INBOX").await.len() == 42).await;
    within(minutes(1), "the receipts end it", async || world.queue(ann).await.is_empty()).await;
    let after = sent(&world, ann, bob);
    assert!(
        after.1 - before.0.1 > FILM as u64,
        "the film came on Bob's stream: {} bytes",
        after.1 - before.0.1
    );
    assert!(after.0 - before.0.0 < FILM as u64 / 10, "and on no other: {} bytes", after.0 - before.0.0);
    assert_eq!(world.dials(bob, ann), before.1 + 1, "in one session");
    assert!(world.mailbox(bob, "INBOX").await.iter().any(|letter| letter.content() == content));
    // The author's copies have their receipts: nothing is sent again.
    let receipts = world.node(ann).desk.store().read(|rx| rx.receipts().count()).await.unwrap();
    assert_eq!(receipts, 42);
    pass(hours(1)).await;
    assert_eq!(world.mailbox(bob, "INBOX").await.len(), 42);
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_fetching_is_cut_three_times_goes_on_where_it_broke_off() {
    let slow =
        Conditions { delay: Duration::from_millis(100)..Duration::from_millis(100), ..Conditions::default() };
    let (mut world, ann, bob, content) = with_a_film(33, slow).await;
    pass(minutes(1)).await;
    let before = sent(&world, ann, bob);
    let moved = |world: &World| {
        let now = sent(world, ann, bob);
        now.0 - before.0 + now.1 - before.1
    };
    world.start(bob).await;
    for cut in 1..=3u64 {
        within(minutes(20), "it goes on", async || moved(&world) > cut * FILM as u64 / 4).await;
        world.network.cut_streams(world.onion(bob));
    }
    arrived(&world, bob, "film", minutes(20)).await;
    assert!(world.mailbox(bob, "INBOX").await.iter().any(|letter| letter.content() == content));
    within(minutes(15), "the queue is empty", async || world.queue(ann).await.is_empty()).await;
    assert!(moved(&world) < FILM as u64 * 12 / 10, "{} bytes for {FILM}", moved(&world));
    let films = world.subjects(bob, "INBOX").await;
    assert_eq!(films.iter().filter(|subject| *subject == "film").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_gives_slowly_is_left_after_a_quarter_of_an_hour_and_the_rest_comes_another_way() {
    let (mut world, ann, bob, content) = with_a_film(36, Conditions::default()).await;
    pass(hours(5)).await;
    let delay = Duration::from_secs(25);
    world.network.set_conditions(Conditions { delay: delay..delay, ..Conditions::default() });
    let before = sent(&world, ann, bob);
    world.start(bob).await;
    arrived(&world, bob, "film", hours(2)).await;
    assert!(world.mailbox(bob, "INBOX").await.iter().any(|letter| letter.content() == content));
    let after = sent(&world, ann, bob);
    let (pushed, fetched) = (after.0 - before.0, after.1 - before.1);
    assert!((FILM as u64 / 3..FILM as u64 * 9 / 10).contains(&fetched), "fetched {fetched} of {FILM}");
    assert!(fetched + pushed < FILM as u64 * 12 / 10, "and pushed {pushed}: it went on where it was left");
}

#[tokio::test(start_paused = true)]
async fn what_strangers_have_is_not_fetched_and_comes_all_the_same() {
    let (mut world, [ann, bob]) = strangers(37, ["ann", "bob"]).await;
    world.write(ann, bob, "hello").await.taken();
    within(minutes(2), "it comes", async || world.subjects(bob, "Requests").await.len() == 1).await;
    world.stop(bob).await;
    write_film(&world, ann, bob).await;
    pass(minutes(5)).await;
    let before = sent(&world, ann, bob);
    world.start(bob).await;
    within(minutes(5), "it comes", async || world.subjects(bob, "Requests").await.len() == 2).await;
    let after = sent(&world, ann, bob);
    let (pushed, fetched) = (after.0 - before.0, after.1 - before.1);
    assert!(pushed > FILM as u64 && fetched < FILM as u64 / 10, "fetched {fetched}, pushed {pushed}");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_fetching_leaves_one_copy() {
    let (mut world, ann, bob) = acquainted(35, Conditions::default()).await;
    // The reader's power fails, then the author's.
    for victim in [bob, ann] {
        for n in 0.. {
            let subject = format!("fetched, cut at {n} of {victim:?}");
            world.stop(bob).await;
            world.write(ann, bob, &subject).await.taken();
            pass(minutes(10)).await;
            world.start(bob).await;
            world.cut_power_at(victim, n);
            pass(minutes(1)).await;
            let done = !world.has_lost_power(victim);
            let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
            world.crash(victim, how).await;
            world.start(victim).await;
            within(hours(5), "nothing waits", async || world.queue(ann).await.is_empty()).await;
            let inbox = world.subjects(bob, "INBOX").await;
            assert_eq!(inbox.iter().filter(|found| **found == subject).count(), 1, "cut at {n}");
            if done {
                assert!(n > 4, "the operations were counted: {n}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn echo_is_answered_and_not_kept_also_by_who_was_away() {
    let (mut world, ann, bob) = acquainted(36, Conditions::default()).await;
    world.stop(bob).await;
    world.write_to(ann, &world.address_as(bob, "echo"), "anybody there").await.taken();
    pass(hours(1)).await;
    world.start(bob).await;
    within(hours(5), "the answer comes", async || world.mailbox(ann, "INBOX").await.len() == 2).await;
    for folder in ["INBOX", "Requests"] {
        assert!(!world.subjects(bob, folder).await.contains(&"anybody there".to_owned()), "{folder}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_given_what_waits_for_another() {
    let (mut world, ann, bob, _) = with_a_film(34, Conditions::default()).await;
    let carol = world.add_started("carol").await;
    world.write(carol, ann, "I am here too").await.taken();
    world.write(ann, carol, "so I see").await.taken();
    arrived(&world, carol, "so I see", minutes(5)).await;
    world.stop(carol).await;
    let before = sent(&world, ann, carol);
    world.start(carol).await;
    pass(minutes(10)).await;
    let after = sent(&world, ann, carol);
    assert!(after.1 > before.1, "Carol has asked");
    assert!(after.0 + after.1 - before.0 - before.1 < 20_000, "and was given nothing");
    assert_eq!(world.queue(ann).await.len(), 1);
    world.start(bob).await;
    arrived(&world, bob, "film", minutes(5)).await;
}

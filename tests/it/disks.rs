//! A disk that fills or fails: the sender is told to wait, nothing that was acknowledged is lost.

use crate::world::{AfterCrash, Conditions, Fault, NodeId, World, arrived, hours, letter_of, minutes, pass};
use onionskin::face::control::Request;
use onionskin::model::queue::State;
use std::time::Duration;

async fn two(seed: u64, conditions: Conditions) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed, conditions);
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    (world, ann, bob)
}

/// How the last try of the only letter that waits ended.
async fn last_try(world: &World, id: NodeId) -> String {
    let State::Waiting { last, .. } = &world.queue(id).await[0].1.state else { panic!("it waits") };
    last.as_ref().map(|last| last.text.clone()).unwrap_or_default()
}

/// What `status` says is wrong.
async fn errors(world: &World, id: NodeId) -> String {
    world.command(id, Request::Status).await["identities"][0]["errors"].to_string()
}

fn large(world: &World, from: NodeId, to: NodeId, subject: &str, len: usize) -> Vec<u8> {
    let mut letter = letter_of(&world.address(from), &[&world.address(to)], subject).into_bytes();
    let line = b"All work and no play makes a long letter that no line of it tells from another. \r\n";
    letter.extend(line.iter().cycle().take(len / line.len() * line.len()));
    letter
}

#[tokio::test(start_paused = true)]
async fn when_the_readers_disk_is_full_the_letter_waits_with_its_author() {
    let (world, ann, bob) = two(61, Conditions::default()).await;
    let disk = world.disk(bob);
    disk.set_capacity(Some(disk.used() + 100_000));
    let letter = large(&world, ann, bob, "large", 1_000_000);
    world.submit(ann, &[&world.address(bob)], &letter).await.taken();
    pass(minutes(1)).await;
    let told = last_try(&world, ann).await;
    assert!(told.contains("452"), "{told}");
    assert!(world.mailbox(bob, "INBOX").await.is_empty());
    let told = errors(&world, bob).await;
    assert!(told.contains("the disk is full"), "the owner is told: {told}");

    disk.set_capacity(None);
    arrived(&world, bob, "large", hours(5)).await;
    assert_eq!(world.mailbox(bob, "INBOX").await[0].content(), letter_content(&letter));
    assert_eq!(errors(&world, bob).await, "[]", "and that it is well again");
}

fn letter_content(letter: &[u8]) -> &[u8] {
    let end = letter.windows(4).position(|window| window == b"\r\n\r\n").expect("a letter has a header");
    &letter[end + 4..]
}

#[tokio::test(start_paused = true)]
async fn when_the_authors_disk_is_full_nothing_is_promised() {
    let (world, ann, bob) = two(62, Conditions::default()).await;
    let disk = world.disk(ann);
    disk.set_capacity(Some(disk.used() + 10_000));
    let letter = large(&world, ann, bob, "large", 1_000_000);
    let answer = world.submit(ann, &[&world.address(bob)], &letter).await;
    assert!(answer.refusal().starts_with("452"), "{answer:?}");
    assert!(world.queue(ann).await.is_empty() && world.mailbox(ann, "Sent").await.is_empty());
    disk.set_capacity(None);
    world.submit(ann, &[&world.address(bob)], &letter).await.taken();
    arrived(&world, bob, "large", minutes(5)).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_nothing_is_acknowledged_until_the_store_was_opened_again() {
    let (mut world, ann, bob) = two(63, Conditions::default()).await;
    world.write(ann, bob, "before").await.taken();
    arrived(&world, bob, "before", minutes(1)).await;
    pass(minutes(2)).await;
    let mut deferred = 0;
    for n in 0.. {
        let subject = format!("fault at {n}");
        let disk = world.disk(bob).clone();
        let at = disk.operations() + n;
        disk.fault_at(at, Fault::Eio);
        world.write(ann, bob, &subject).await.taken();
        pass(Duration::from_secs(20)).await;
        let struck = disk.operations() > at;
        if !world.queue(ann).await.is_empty() {
            let told = last_try(&world, ann).await;
            assert!(told.contains("451") || told.contains("broke"), "{told}");
            deferred += 1;
        }
        // Whatever a failed sync left readable but not on the disk is gone now; what was acknowledged must not be.
        let acknowledged = world.queue(ann).await.is_empty();
        world.crash(bob, AfterCrash::Lost).await;
        world.start(bob).await;
        if acknowledged {
            assert!(
                world.subjects(bob, "INBOX").await.contains(&subject),
                "{subject}: acknowledged and lost"
            );
        }
        arrived(&world, bob, &subject, hours(5)).await;
        if !struck {
            assert!(n > 5, "the operations were counted: {n}");
            break;
        }
    }
    assert!(deferred > 3, "{deferred} were put off");
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_five_mebibytes_crosses_a_slow_network_unchanged() {
    let (world, ann, bob) = two(64, Conditions::tor()).await;
    let letter = large(&world, ann, bob, "five", 5 * 1024 * 1024);
    world.submit(ann, &[&world.address(bob)], &letter).await.taken();
    arrived(&world, bob, "five", hours(2)).await;
    let arrived = world.mailbox(bob, "INBOX").await.remove(0);
    assert!(arrived.content() == letter_content(&letter), "byte for byte");
}

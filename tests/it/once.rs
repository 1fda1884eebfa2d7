//! Never twice, never lost: what a cut stream, a crash or a repeated try leaves is one copy.

use crate::world::{AfterCrash, Answer, Conditions, World, arrived, hours, letter_of, minutes, pass};
use std::time::Duration;

/// The perfect network, but every stream is cut once `n` bytes have passed in both directions together.
fn cut_after(n: u64) -> Conditions {
    Conditions { cut: 1.0, cut_after: n..n + 1, ..Conditions::default() }
}

#[tokio::test(start_paused = true)]
async fn wherever_the_stream_is_cut_one_copy_arrives() {
    let mut world = World::new(11, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let told = || {
        let counted = world.network.counters();
        counted.bytes_out + counted.bytes_back
    };
    // The first letter brings a Card each way; what is cut is one like all that follow.
    world.write(ann, bob, "the first").await.taken();
    arrived(&world, bob, "the first", minutes(1)).await;
    pass(minutes(2)).await;
    let before = told();
    world.write(ann, bob, "measured").await.taken();
    arrived(&world, bob, "measured", minutes(1)).await;
    let all = told() - before;
    pass(minutes(2)).await;

    let (mut replies_lost, mut bodies_lost) = (0, 0);
    // Coarsely over the whole conversation, finely where the letter is out and its answer under way.
    for at in (20..all).step_by(290).chain((all - 60..all + 20).step_by(6)) {
        world.network.set_conditions(cut_after(at));
        let subject = format!("cut after {at} bytes");
        let cuts = world.network.counters().cuts;
        world.write(ann, bob, &subject).await.taken();
        pass(Duration::from_secs(20)).await;
        let is_cut = world.network.counters().cuts > cuts;
        let is_there = world.subjects(bob, "INBOX").await.contains(&subject);
        let waits = !world.queue(ann).await.is_empty();
        assert!(is_there || waits, "lost at {at}");
        replies_lost += u32::from(is_cut && is_there && waits);
        bodies_lost += u32::from(is_cut && !is_there);
        world.network.set_conditions(Conditions::default());
        arrived(&world, bob, &subject, minutes(5)).await;
        // Long enough for every retry there might be, and for a kept session to end.
        pass(minutes(6)).await;
        arrived(&world, bob, &subject, Duration::ZERO).await;
        assert!(world.queue(ann).await.is_empty());
    }
    assert!(replies_lost >= 3, "some cuts lost only the answer: {replies_lost}");
    assert!(bodies_lost >= 10, "some cuts lost the letter: {bodies_lost}");
}

#[tokio::test(start_paused = true)]
async fn the_same_text_sent_twice_on_purpose_arrives_twice() {
    let mut world = World::new(12, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let to = world.address(bob);
    let letter = format!("Message-ID: <same@{}>\r\n", world.onion(ann).host())
        + &letter_of(&world.address(ann), &[&to], "twice");
    for _ in 0..2 {
        world.submit(ann, &[&to], letter.as_bytes()).await.taken();
    }
    pass(minutes(5)).await;
    assert_eq!(world.subjects(bob, "INBOX").await, ["twice", "twice"]);
}

#[tokio::test(start_paused = true)]
async fn one_letter_id_is_kept_once_however_often_and_whenever_it_comes() {
    let mut world = World::new(13, Conditions::default());
    let bob = world.add_started("bob").await;
    let to = world.address(bob);
    let stranger = world.stranger(9);
    let mail = format!("MAIL FROM:<{stranger}> LETTER=000102030405060708090a0b0c0d0e0f");
    let letter = letter_of(&stranger, &[&to], "once");
    let mut wrong_by = [0, 5 * 365 * 86_400, -5 * 365 * 86_400, 0].into_iter();
    for round in 0..4 {
        world.set_wrong_by(bob, wrong_by.next().expect("four rounds"));
        let mut caller = world.call(9, bob).await.expect("bob is there");
        caller.prove(9, world.onion(bob)).await.taken();
        caller.send_as(&mail, &[&to], letter.as_bytes()).await.taken();
        // Also twice in one session, and after what it takes for years, by a clock that nobody confirms.
        caller.send_as(&mail, &[&to], letter.as_bytes()).await.taken();
        if round == 1 {
            world.crash(bob, AfterCrash::Lost).await;
            world.start(bob).await;
        }
        pass(hours(24)).await;
    }
    assert_eq!(world.subjects(bob, "Requests").await, ["once"]);

    // Another proved onion may use the same id: it is a name among one author's letters only.
    let other = world.stranger(10);
    let mail = mail.replace(&stranger, &other);
    let mut caller = world.call(10, bob).await.expect("bob is there");
    caller.prove(10, world.onion(bob)).await.taken();
    caller.send_as(&mail, &[&to], letter_of(&other, &[&to], "another").as_bytes()).await.taken();
    assert_eq!(world.subjects(bob, "Requests").await, ["once", "another"]);
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_a_submission_loses_nothing_acknowledged() {
    let mut world = World::new(14, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let (mut promised, mut refused) = (0, 0);
    for n in 0.. {
        let subject = format!("power cut at {n}");
        world.partition(&[&[ann], &[bob]]);
        world.cut_power_at(ann, n);
        let answer = world.write(ann, bob, &subject).await;
        if !world.has_lost_power(ann) && answer.is_taken() {
            assert!(n > 10, "the operations were counted: {n}");
            break;
        }
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
        world.crash(ann, how).await;
        world.partition(&[]);
        world.start(ann).await;
        match answer {
            Answer::Taken(_) => {
                promised += 1;
                arrived(&world, bob, &subject, minutes(5)).await;
            }
            _ => refused += 1,
        }
        pass(minutes(10)).await;
        let copies = world.subjects(bob, "INBOX").await.iter().filter(|found| **found == subject).count();
        assert!(copies <= 1, "{subject}: {copies} copies");
        let sent = world.subjects(ann, "Sent").await.iter().filter(|found| **found == subject).count();
        assert_eq!(sent, copies, "{subject}: the copy in Sent and the queue entry are one commit");
    }
    assert!(refused > 5, "{refused} refused, {promised} promised");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_a_delivery_leaves_one_copy() {
    let mut world = World::new(15, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    // Half of the cuts strike the reader, half the author.
    for victim in [bob, ann] {
        for n in 0.. {
            let subject = format!("power cut at {n} of {victim:?}");
            world.partition(&[&[ann], &[bob]]);
            world.write(ann, bob, &subject).await.taken();
            pass(minutes(1)).await;
            world.cut_power_at(victim, n);
            world.partition(&[]);
            pass(minutes(6)).await;
            let struck = world.has_lost_power(victim);
            let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
            world.crash(victim, how).await;
            world.start(victim).await;
            arrived(&world, bob, &subject, minutes(30)).await;
            pass(minutes(20)).await;
            arrived(&world, bob, &subject, Duration::ZERO).await;
            assert!(world.queue(ann).await.is_empty(), "{subject}: nothing waits any more");
            if !struck {
                assert!(n > 10, "the operations were counted: {n}");
                break;
            }
        }
    }
}

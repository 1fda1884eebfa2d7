//! A wrong clock destroys nothing: what cannot be undone waits for a time that the network confirms.

use crate::world::{AfterCrash, Conditions, World, arrived, days, hours, minutes, pass};

const YEAR: i64 = 365 * 86_400;
const MONTH: i64 = 30 * 86_400;

#[tokio::test(start_paused = true)]
async fn with_a_clock_that_is_years_off_nothing_expires_and_mail_still_goes() {
    for wrong_by in [10 * YEAR, -10 * YEAR] {
        let mut world = World::new(41, Conditions::default());
        let ann = world.add_started("ann").await;
        let bob = world.add("bob").await;
        world.set_wrong_by(ann, wrong_by);
        world.write(ann, bob, "patience").await.taken();
        pass(days(1)).await;
        world.sleep(ann, days(38)).await;
        pass(days(1)).await;
        assert_eq!(world.subjects(ann, "Outbox").await, ["patience"], "wrong by {wrong_by} s");
        assert!(world.mailbox(ann, "INBOX").await.is_empty(), "no notice by a clock that nobody confirms");
        let carol = world.add_started("carol").await;
        world.write(ann, carol, "hello").await.taken();
        arrived(&world, carol, "hello", minutes(1)).await;
        world.start(bob).await;
        arrived(&world, bob, "patience", hours(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_time_from_the_network_nothing_expires() {
    let mut world = World::new(42, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add("bob").await;
    world.network.tell_time(false);
    world.write(ann, bob, "patience").await.taken();
    pass(days(1)).await;
    world.sleep(ann, days(38)).await;
    pass(days(1)).await;
    assert_eq!(world.subjects(ann, "Outbox").await, ["patience"]);
    assert!(world.mailbox(ann, "INBOX").await.is_empty());
    // From the first time that is confirmed the thirty days run.
    world.network.tell_time(true);
    pass(days(1)).await;
    world.sleep(ann, days(27)).await;
    pass(days(1)).await;
    assert_eq!(world.subjects(ann, "INBOX").await, ["Your letter is still waiting"]);
    assert_eq!(world.subjects(ann, "Outbox").await, ["patience"]);
    world.start(bob).await;
    arrived(&world, bob, "patience", hours(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_a_month_either_way_delays_no_letter() {
    let mut world = World::new(43, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    for (n, (before, after)) in
        [(0, MONTH), (0, -MONTH), (MONTH, 0), (-MONTH, 0), (-MONTH, MONTH)].into_iter().enumerate()
    {
        let subject = format!("jump {n}");
        world.partition(&[&[ann], &[bob]]);
        world.set_wrong_by(ann, before);
        world.write(ann, bob, &subject).await.taken();
        pass(hours(10)).await;
        // By now the pauses are long, and the next try is hours ahead by a clock that no longer is.
        world.set_wrong_by(ann, after);
        world.set_wrong_by(bob, -after);
        pass(minutes(10)).await;
        assert_eq!(world.subjects(ann, "Outbox").await, [subject.as_str()]);
        world.partition(&[]);
        arrived(&world, bob, &subject, hours(5)).await;
        assert!(world.queue(ann).await.is_empty());
    }
    let notices = world.subjects(ann, "INBOX").await;
    assert!(notices.iter().all(|subject| subject == "Your letter is still waiting"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_jump_back_to_the_right_time_expires_nothing_early() {
    let mut world = World::new(44, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add("bob").await;
    // Written by a clock 40 days behind, which a person then sets right: the letter is not 40 days old.
    world.set_wrong_by(ann, -40 * 86_400);
    world.write(ann, bob, "young").await.taken();
    pass(hours(1)).await;
    world.crash(ann, AfterCrash::Lost).await;
    world.set_wrong_by(ann, 0);
    world.start(ann).await;
    pass(hours(3)).await;
    assert_eq!(world.subjects(ann, "Outbox").await, ["young"]);
    assert!(world.mailbox(ann, "INBOX").await.is_empty(), "not even a notice");
    world.start(bob).await;
    arrived(&world, bob, "young", hours(5)).await;
}

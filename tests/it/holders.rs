//! Letters arrive though the two are never online together: a friend's node holds them, sealed.

use crate::world::{Conditions, NodeId, World, arrived, hours, minutes, pass};
use onionskin::node::holders::Terms;
use std::time::Duration;

/// Ann, and Bob for whom Carol (and Dave) hold letters; Ann knows where.
struct Held {
    world: World,
    ann: NodeId,
    bob: NodeId,
    holders: Vec<NodeId>,
}

impl Held {
    async fn new(seed: u64, holders: &[&'static str]) -> Self {
        let mut world = World::new(seed, Conditions::default());
        let ann = world.add_started("ann").await;
        let bob = world.add_started("bob").await;
        let mut friends = Vec::new();
        for name in holders {
            friends.push(world.add_started(name).await);
        }
        for friend in &friends {
            becomes_holder(&world, *friend, bob).await;
        }
        world.write(bob, ann, "where to find me").await.taken();
        arrived(&world, ann, "where to find me", minutes(5)).await;
        Self { world, ann, bob, holders: friends }
    }
}

/// `friend` holds letters for `guest` from now on.
async fn becomes_holder(world: &World, friend: NodeId, guest: NodeId) {
    world.node(guest).desk.ask_holder(world.onion(friend), Terms::default()).await.unwrap();
    let asked = async {
        while world.node(friend).desk.grant(world.onion(guest), Terms::default()).await.is_err() {
            pass(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(minutes(10), asked).await.expect("the wish comes");
    let holder = world.onion(friend);
    let promised = async {
        loop {
            let found =
                world.node(guest).desk.store().read(move |rx| rx.holders().get(&holder)).await.unwrap();
            if found.is_some_and(|record| record.open().is_some()) {
                return;
            }
            pass(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(minutes(10), promised).await.expect("the promise comes");
}

#[tokio::test(start_paused = true)]
async fn a_letter_arrives_though_the_two_are_never_online_together() {
    let Held { mut world, ann, bob, .. } = Held::new(1, &["carol"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "while you sleep").await.taken();
    pass(minutes(3)).await;
    let custody = world.queue(ann).await.remove(0).1.custody;
    assert_eq!(custody.iter().filter(|one| one.kept_until.is_some()).count(), 1);
    world.stop(ann).await;
    pass(hours(5)).await;
    world.start(bob).await;
    world.reachable(bob).await;
    arrived(&world, bob, "while you sleep", Duration::from_secs(60)).await;
    // The receipt comes back the same way, or directly; then nothing waits any more.
    world.start(ann).await;
    pass(hours(1)).await;
    assert!(world.queue(ann).await.is_empty(), "the receipt ended it");
    assert_eq!(world.subjects(ann, "Outbox").await, [""; 0]);
    assert!(world.mailbox(ann, "INBOX").await.len() == 1, "and nothing but Bob's letter came to Ann");
}

//! A run of the world repeats exactly: without that, a failing seed could not be looked into.

use crate::world::{AfterCrash, Conditions, World, hours, minutes, pass};

/// Two hours of mail through a storm, with a crash in the midst; everything that can be seen of it at the end.
async fn stormy_afternoon(seed: u64) -> String {
    let mut world = World::new(seed, Conditions::storm());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    for n in 0..4 {
        world.write(ann, bob, &format!("to bob {n}")).await.taken();
        world.write(bob, ann, &format!("to ann {n}")).await.taken();
        pass(minutes(7)).await;
    }
    world.crash(bob, AfterCrash::Torn(seed)).await;
    pass(minutes(20)).await;
    world.start(bob).await;
    pass(hours(1)).await;
    let mut seen = format!("{:?}\n", world.network.counters());
    for id in [ann, bob] {
        let disk = world.disk(id);
        seen += &format!("{} operations, {} bytes\n", disk.operations(), disk.used());
        for letter in world.mailbox(id, "INBOX").await {
            seen += &letter.text();
        }
    }
    seen
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_gives_another() {
    let run = |seed| {
        let paused = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        paused.expect("a runtime").block_on(stormy_afternoon(seed))
    };
    let first = run(71);
    assert!(first.contains("to bob 0") && first.contains("to ann 0"), "{first}");
    assert_eq!(first, run(71));
    assert_ne!(first, run(72));
}

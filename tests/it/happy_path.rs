//! Ann writes to Bob; Bob reads and answers. The first test to read: what the product is for.

use crate::world::{Conditions, World, minutes, within};

#[tokio::test(start_paused = true)]
async fn ann_writes_to_bob_and_bob_answers() {
    let mut world = World::new(1, Conditions::tor());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;

    // A mail program hands the letter in at Ann's own node, over SMTP on loopback.
    world.write(ann, bob, "Lunch on Friday?").await.taken();
    assert_eq!(world.subjects(ann, "Sent").await, ["Lunch on Friday?"]);

    // Ann's node dials Bob's onion and hands it over. Nobody else is involved.
    within(minutes(5), "the letter is in Bob's inbox", async || {
        !world.mailbox(bob, "INBOX").await.is_empty()
    })
    .await;
    let letter = world.mailbox(bob, "INBOX").await.remove(0);
    assert_eq!(letter.subject(), "Lunch on Friday?");
    assert_eq!(letter.content(), b"This is about Lunch on Friday?.\r\n");

    world.write(bob, ann, "Re: Lunch on Friday?").await.taken();
    within(minutes(5), "the answer is in Ann's inbox", async || {
        world.subjects(ann, "INBOX").await == ["Re: Lunch on Friday?"]
    })
    .await;

    // Nothing waits any more, and the folder Outbox shows it.
    for person in [ann, bob] {
        within(minutes(1), "the queue is empty", async || world.queue(person).await.is_empty()).await;
        assert!(world.mailbox(person, "Outbox").await.is_empty());
    }
}

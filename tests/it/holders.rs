//! Letters arrive though the two are never online together: a friend's node holds them, sealed.

use crate::world::{
    AfterCrash, Conditions, NodeId, World, arrived, days, hours, letter_of, minutes, pass, within,
};
use onionskin::face::control::Request;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::hold::{MailboxId, Token};
use onionskin::model::letter::LetterId;
use onionskin::model::queue::Entry;
use onionskin::model::time::UnixTime;
use onionskin::node::holders::Terms;
use onionskin::store::held::{BoxRecord, HeldRecord};
use onionskin::store::routes::RecallRecord;
use onionskin::store::{SpecialUse, Tx};
use std::time::Duration;

/// Ann, and Bob for whom Carol (and Dave) hold letters; Ann knows where.
pub(crate) struct Held {
    pub(crate) world: World,
    pub(crate) ann: NodeId,
    pub(crate) bob: NodeId,
    pub(crate) holders: Vec<NodeId>,
}

impl Held {
    pub(crate) async fn new(seed: u64, holders: &[&'static str]) -> Self {
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
pub(crate) async fn becomes_holder(world: &World, friend: NodeId, guest: NodeId) {
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

/// The mailbox that a node holds, and what is in it.
pub(crate) async fn held(world: &World, holder: NodeId) -> (MailboxId, BoxRecord, Vec<HeldRecord>) {
    let store = world.node(holder).desk.store().clone();
    let read = store.read(|rx| {
        let (mailbox, record) = rx.held().mailboxes()?.remove(0);
        let (letters, _) = rx.held().list(mailbox, 0, None, 100)?;
        Ok((mailbox, record, letters))
    });
    read.await.unwrap()
}

async fn count_held(world: &World, holder: NodeId) -> usize {
    held(world, holder).await.2.len()
}

/// How many drops are known to have Ann's letter.
async fn copies(world: &World, author: NodeId) -> usize {
    let queue = world.queue(author).await;
    queue.iter().flat_map(|(_, entry)| &entry.custody).filter(|one| one.kept_until.is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_letter_arrives_though_the_two_are_never_online_together() {
    let Held { mut world, ann, bob, .. } = Held::new(1, &["carol"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "while you sleep").await.taken();
    pass(minutes(3)).await;
    let custody = world.queue(ann).await.remove(0).1.custody;
    assert_eq!(custody.iter().filter(|one| one.kept_until.is_some()).count(), 1);
    let store = world.node(ann).desk.store().clone();
    let flags = store.read(|rx| {
        let outbox = rx.mailboxes().special(SpecialUse::Outbox)?.unwrap();
        Ok(rx.messages().list(outbox, ..)?.into_iter().map(|(_, message)| message.flags).collect::<Vec<_>>())
    });
    assert!(flags.await.unwrap().iter().all(|flags| flags.keywords.contains("$Held")), "Outbox shows it");
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

#[tokio::test(start_paused = true)]
async fn letters_that_are_held_already_hold_up_no_new_one() {
    let Held { mut world, ann, bob, holders } = Held::new(14, &["carol"]).await;
    world.stop(bob).await;
    for n in 0..12 {
        world.write(ann, bob, &format!("letter {n}")).await.taken();
    }
    pass(hours(1)).await;
    assert_eq!(count_held(&world, holders[0]).await, 12);
    // There is no second holder, so each still wants another; the author, up anew, goes through all of them.
    world.stop(ann).await;
    world.start(ann).await;
    world.write(ann, bob, "the new one").await.taken();
    pass(Duration::from_secs(45)).await;
    assert_eq!(count_held(&world, holders[0]).await, 13);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_comes_up_waits_for_nothing_that_is_being_left_with_holders() {
    let Held { mut world, ann, bob, holders } = Held::new(15, &["carol"]).await;
    world.stop(bob).await;
    world.stop(holders[0]).await;
    for n in 0..30 {
        world.write(ann, bob, &format!("letter {n}")).await.taken();
    }
    pass(minutes(5)).await;
    world.start(holders[0]).await;
    world.reachable(holders[0]).await;
    world.command(ann, Request::Retry { numbers: Vec::new() }).await;
    // One after another they are left with Carol, which takes minutes.
    pass(minutes(1)).await;
    let left = count_held(&world, holders[0]).await;
    assert!((1..20).contains(&left), "it is under way: {left}");
    world.start(bob).await;
    world.reachable(bob).await;
    arrived(&world, bob, "letter 29", minutes(1)).await;
    within(minutes(1), "nothing waits", async || world.queue(ann).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn two_holders_get_a_letter_its_reader_one_copy_and_then_neither_has_it() {
    let Held { mut world, ann, bob, holders } = Held::new(2, &["carol", "dave", "erin"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "twice kept").await.taken();
    pass(minutes(5)).await;
    assert_eq!(copies(&world, ann).await, 2);
    let mut kept = 0;
    for holder in &holders {
        kept += count_held(&world, *holder).await;
    }
    assert_eq!(kept, 2, "two of the three have it");
    world.stop(ann).await;
    world.start(bob).await;
    arrived(&world, bob, "twice kept", minutes(2)).await;
    pass(minutes(30)).await;
    for holder in &holders {
        assert_eq!(count_held(&world, *holder).await, 0);
    }
    assert_eq!(
        world.subjects(bob, "INBOX").await.iter().filter(|subject| *subject == "twice kept").count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_for_days_a_third_holder_gets_it() {
    let Held { mut world, ann, bob, .. } = Held::new(3, &["carol", "dave", "erin"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "nobody answers").await.taken();
    pass(days(2)).await;
    assert_eq!(copies(&world, ann).await, 2);
    pass(days(2)).await;
    assert_eq!(copies(&world, ann).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_loses_what_it_took_costs_delay_and_nothing_else() {
    let Held { mut world, ann, bob, holders } = Held::new(4, &["carol"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "lost by carol").await.taken();
    pass(minutes(5)).await;
    // Carol lies: she throws it away, and says nothing.
    let (mailbox, _, letters) = held(&world, holders[0]).await;
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 1);
    world.node(holders[0]).desk.store().write(move |tx| tx.held().confirm(mailbox, 0, &ids)).await.unwrap();
    world.stop(ann).await;
    pass(hours(1)).await;
    world.start(bob).await;
    pass(hours(2)).await;
    assert!(!world.subjects(bob, "INBOX").await.contains(&"lost by carol".to_owned()));
    // The author has it still.
    world.start(ann).await;
    arrived(&world, bob, "lost by carol", minutes(2)).await;
    within(minutes(10), "nothing waits", async || world.queue(ann).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_goes_to_another_holder() {
    let Held { mut world, ann, bob, holders } = Held::new(6, &["carol", "dave"]).await;
    let (mailbox, record, _) = held(&world, holders[0]).await;
    let full = BoxRecord { used: record.bytes, ..record };
    world.node(holders[0]).desk.store().write(move |tx| tx.held().put_mailbox(mailbox, &full)).await.unwrap();
    world.stop(bob).await;
    world.write(ann, bob, "no room at carol's").await.taken();
    pass(minutes(5)).await;
    assert_eq!((count_held(&world, holders[0]).await, count_held(&world, holders[1]).await), (0, 1));
    assert_eq!(copies(&world, ann).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_letter_is_called_back_from_its_holders() {
    let Held { mut world, ann, bob, holders } = Held::new(7, &["carol", "dave"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "never mind").await.taken();
    pass(minutes(5)).await;
    assert_eq!(copies(&world, ann).await, 2);
    let number = world.queue(ann).await[0].0.0;
    world.command(ann, Request::Cancel { numbers: vec![number] }).await;
    pass(minutes(2)).await;
    for holder in holders {
        assert_eq!(count_held(&world, holder).await, 0);
    }
    assert!(world.node(ann).desk.store().read(|rx| rx.routes().recalls()).await.unwrap().is_empty());
    world.start(bob).await;
    pass(hours(1)).await;
    assert!(!world.subjects(bob, "INBOX").await.contains(&"never mind".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_at_a_drop_yet_is_called_back_once_more() {
    let Held { mut world, ann, bob, .. } = Held::new(13, &["carol"]).await;
    world.stop(bob).await;
    let (reader, letter) = (world.onion(bob), LetterId([7; 16]));
    let recall = move |tx: &mut Tx<'_>| {
        let drop = tx.routes().get(&reader)?.expect("Ann knows where Bob's letters go").drops.remove(0);
        let token = drop.tokens(None).next().expect("a token is left").to_bytes();
        let recall = RecallRecord { letter, drop: drop.onion, token, until: UnixTime(u64::MAX), tries: 0 };
        tx.routes().put_recall(&recall)
    };
    world.node(ann).desk.store().write(recall).await.unwrap();
    let tries = async || {
        let recalls = world.node(ann).desk.store().read(|rx| rx.routes().recalls()).await.unwrap();
        recalls.first().map(|recall| recall.tries)
    };
    within(minutes(16), "it is asked for", async || tries().await != Some(0)).await;
    assert_eq!(tries().await, Some(1), "an upload may have been on its way there");
    within(minutes(16), "it is not there", async || tries().await.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_fills_our_queue_with_receipts_for_themselves() {
    let Held { mut world, ann, bob, .. } = Held::new(14, &["carol"]).await;
    let (desk, to) = (world.node(bob).desk.clone(), MailAddress::parse(&world.address(ann)).unwrap());
    let (body, now) = (desk.store().letter(b"Subject: an errand\r\n\r\n").await.unwrap(), desk.now());
    let wait = move |tx: &mut Tx<'_>| {
        for no in 0..255 {
            let (letter, from) = (tx.letters().add(&body, b"")?, LocalPart::parse("me").unwrap());
            let entry = Entry::errand(letter, LetterId([no; 16]), from, to.clone(), 22, now.plus(hours(4)));
            tx.queue().push(letter, &entry)?;
        }
        Ok(())
    };
    desk.store().write(wait).await.unwrap();
    drop(desk);
    world.stop(bob).await;
    for subject in ["one", "two"] {
        world.write(ann, bob, subject).await.taken();
    }
    pass(minutes(5)).await;
    world.stop(ann).await;
    world.start(bob).await;
    arrived(&world, bob, "one", minutes(2)).await;
    arrived(&world, bob, "two", minutes(2)).await;
    assert_eq!(world.queue(bob).await.len(), 256, "one receipt more waits for Ann, and not two");
}

#[tokio::test(start_paused = true)]
async fn what_the_reader_refuses_comes_back_with_the_reason_by_holders_too() {
    let Held { mut world, ann, bob, .. } = Held::new(8, &["carol"]).await;
    let dave = world.add_started("dave").await;
    becomes_holder(&world, dave, ann).await;
    world.write(ann, bob, "where to find me too").await.taken();
    arrived(&world, bob, "where to find me too", minutes(5)).await;
    world.stop(bob).await;
    world.write_to(ann, &world.address_as(bob, "nobody"), "for nobody").await.taken();
    pass(minutes(5)).await;
    assert_eq!(copies(&world, ann).await, 1);
    world.stop(ann).await;
    world.start(bob).await;
    pass(hours(1)).await;
    world.stop(bob).await;
    world.start(ann).await;
    let back = async || {
        let inbox = world.mailbox(ann, "INBOX").await;
        inbox.iter().any(|letter| {
            letter.subject() == "Your letter was not delivered" && letter.text().contains("5.1.1")
        })
    };
    within(minutes(5), "the refusal comes, though the two never met", back).await;
    assert!(world.queue(ann).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_is_withdrawn_keeps_what_was_taken_and_takes_nothing_more() {
    let Held { mut world, ann, bob, holders } = Held::new(9, &["carol"]).await;
    world.stop(bob).await;
    world.write(ann, bob, "before the end").await.taken();
    pass(minutes(5)).await;
    let guest = world.onion(bob);
    world.node(holders[0]).desk.end_holding(guest, None).await.unwrap();
    world.write(ann, bob, "after the end").await.taken();
    pass(minutes(5)).await;
    assert_eq!(count_held(&world, holders[0]).await, 1);
    world.stop(ann).await;
    world.start(bob).await;
    arrived(&world, bob, "before the end", minutes(2)).await;
    pass(hours(1)).await;
    assert!(world.node(holders[0]).desk.store().read(|rx| rx.held().mailboxes()).await.unwrap().is_empty());
    world.start(ann).await;
    arrived(&world, bob, "after the end", minutes(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_a_deposit_loses_nothing_that_was_acknowledged() {
    let Held { mut world, ann, bob, holders } = Held::new(10, &["carol"]).await;
    let carol = holders[0];
    world.stop(bob).await;
    let mut subjects = Vec::new();
    for n in 0.. {
        let subject = format!("cut at {n}");
        world.cut_power_at(carol, n);
        world.write(ann, bob, &subject).await.taken();
        pass(minutes(4)).await;
        subjects.push(subject);
        let done = !world.has_lost_power(carol);
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
        world.crash(carol, how).await;
        world.start(carol).await;
        // What is known to be there is there.
        let known = copies(&world, ann).await;
        assert!(count_held(&world, carol).await >= known, "cut at {n}");
        if done {
            assert!(n > 5, "the operations were counted: {n}");
            break;
        }
    }
    pass(hours(6)).await;
    world.stop(ann).await;
    world.start(bob).await;
    pass(hours(1)).await;
    world.start(ann).await;
    pass(hours(6)).await;
    let inbox = world.subjects(bob, "INBOX").await;
    for subject in &subjects {
        assert_eq!(inbox.iter().filter(|found| *found == subject).count(), 1, "{subject}");
    }
    assert!(world.queue(ann).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_of_collecting_leaves_one_copy() {
    let Held { mut world, ann, bob, holders } = Held::new(11, &["carol"]).await;
    let carol = holders[0];
    for n in 0.. {
        let subject = format!("collected, cut at {n}");
        world.stop(bob).await;
        world.write(ann, bob, &subject).await.taken();
        within(hours(5), "it is held", async || count_held(&world, carol).await == 1).await;
        world.stop(ann).await;
        world.start(bob).await;
        world.cut_power_at(bob, n);
        pass(minutes(2)).await;
        let done = !world.has_lost_power(bob);
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
        world.crash(bob, how).await;
        world.start(bob).await;
        pass(minutes(20)).await;
        let inbox = world.subjects(bob, "INBOX").await;
        assert_eq!(inbox.iter().filter(|found| **found == subject).count(), 1, "cut at {n}");
        assert_eq!(count_held(&world, carol).await, 0, "cut at {n}");
        world.start(ann).await;
        within(hours(5), "nothing waits", async || world.queue(ann).await.is_empty()).await;
        if done {
            assert!(n > 10, "the operations were counted: {n}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_bound_to_one_letter_for_ever() {
    let Held { mut world, ann, bob, .. } = Held::new(12, &["carol", "dave"]).await;
    world.stop(bob).await;
    for n in 0..5 {
        world.write(ann, bob, &format!("letter {n}")).await.taken();
    }
    pass(hours(1)).await;
    let mut tokens: Vec<[u8; 37]> = world
        .queue(ann)
        .await
        .iter()
        .flat_map(|(_, entry)| entry.custody.iter().map(|one| one.token))
        .collect();
    assert_eq!(tokens.len(), 10);
    let peer = world.onion(bob);
    let route = world.node(ann).desk.store().read(move |rx| rx.routes().get(&peer)).await.unwrap().unwrap();
    let left: usize = route.drops.iter().map(|drop| drop.tokens.len()).sum();
    assert_eq!(left, 2 * 64 - 10);
    tokens.extend(route.drops.iter().flat_map(|drop| drop.tokens(None).map(Token::to_bytes)));
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 2 * 64, "each is there once");
}

#[tokio::test(start_paused = true)]
async fn a_large_letter_is_announced_by_holders_and_comes_when_both_are_there() {
    let Held { mut world, ann, bob, holders } = Held::new(13, &["carol"]).await;
    // Bob forgets that he ever exchanged mail with Ann: what tells him of her is the announcement alone.
    let peer = world.onion(ann);
    let forget = |peer| {
        move |tx: &mut onionskin::store::Tx<'_>| {
            tx.peers().update(&peer, |record| *record = Default::default())
        }
    };
    world.node(bob).desk.store().write(forget(peer)).await.unwrap();
    world.stop(bob).await;
    let to = world.address(bob);
    let letter =
        letter_of(&world.address(ann), &[&to], "large") + &"all of this is in it\r\n".repeat(100_000);
    world.submit(ann, &[&to], letter.as_bytes()).await.taken();
    pass(minutes(30)).await;
    let letters = held(&world, holders[0]).await.2;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].size <= 64 * 1024, "only the announcement is held: {} bytes", letters[0].size);
    world.stop(ann).await;
    world.start(bob).await;
    pass(hours(1)).await;
    world.start(ann).await;
    world.reachable(ann).await;
    world.sleep(bob, hours(1)).await;
    arrived(&world, bob, "large", minutes(2)).await;
    within(minutes(5), "nothing waits", async || world.queue(ann).await.is_empty()).await;
}

//! Tokens that were given out: who abuses them is known, and they are taken back.

use crate::holders::{Held, held};
use crate::world::{Answer, NodeId, Smtp, World, arrived, days, hours, minutes, pass, within};
use onion::{HostKey, Transport as _};
use onionskin::face::control::{Holders, Request};
use onionskin::model::address::LocalPart;
use onionskin::model::hold::Token;
use onionskin::model::identity::Identity;
use onionskin::model::statement::route::Drop;
use onionskin::model::statement::{Card, Route, Verified};
use onionskin::model::trust::Tier;
use onionskin::node::clock::TokioClock;
use onionskin::node::desk::Desk;
use onionskin::node::session;
use onionskin::store::cards::CardRecord;
use onionskin::store::disk::{Disk, SimDisk};
use onionskin::store::held::BoxRecord;
use onionskin::store::vault::MasterKey;
use onionskin::store::{Room, Run, Store, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Somebody who has the Route that `owner` got from `guest`, and with it the owner's tokens.
struct Depositor {
    drop: onion::OnionAddress,
    mailbox: String,
    tokens: Vec<Token>,
}

impl Depositor {
    async fn of(world: &World, owner: NodeId, guest: NodeId) -> Self {
        let guest = world.onion(guest);
        let route =
            world.node(owner).desk.store().read(move |rx| rx.routes().get(&guest)).await.unwrap().unwrap();
        let drop = &route.drops[0];
        let mailbox = drop.mailbox.address(drop.onion).full();
        Self { drop: drop.onion, mailbox, tokens: drop.tokens(None).collect() }
    }

    /// Leaves these bytes for this token, and gives the last answer.
    async fn leave(&self, world: &World, token: Token, bytes: &[u8]) -> Answer {
        let stranger = world.network.join(HostKey::from_seed([77; 32]).address());
        let stream = stranger.dial(self.drop, session::PORT, minutes(1)).await.unwrap();
        let mut caller = Smtp::new(stream);
        caller.greet("depositor.invalid").await.taken();
        let id = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..16]);
        let (size, token) = (bytes.len(), token.to_hex());
        let mail = "MAIL FROM:<> BODY=SEALED KEY=0123456789abcdef";
        caller.ask(&format!("{mail} SIZE={size} LETTER={id} TOKEN={token}")).await.taken();
        let answer = caller.ask(&format!("RCPT TO:<{}>", self.mailbox)).await;
        if !answer.is_taken() {
            return answer;
        }
        caller.write(format!("BDAT {size} LAST\r\n").as_bytes()).await.unwrap();
        caller.write(bytes).await.unwrap();
        caller.hear().await
    }
}

async fn list(world: &World, id: NodeId) -> Value {
    world.command(id, Request::Holders { ask: Holders::List }).await
}

#[tokio::test(start_paused = true)]
async fn who_brought_noise_is_known_by_the_token_that_came_with_it() {
    let Held { world, ann, bob, holders } = Held::new(51, &["carol"]).await;
    let anns = Depositor::of(&world, ann, bob).await;
    for token in &anns.tokens[..3] {
        anns.leave(&world, *token, &[&token.nonce[..], &[7; 8000]].concat()).await.taken();
    }
    assert_eq!(held(&world, holders[0]).await.2.len(), 3);
    within(hours(1), "they are fetched", async || held(&world, holders[0]).await.2.is_empty()).await;
    let told = list(&world, bob).await;
    assert_eq!(told["holders"][0]["garbage"], 3, "{told}");
    assert_eq!(told["abused"][0]["address"], world.onion(ann).host(), "{told}");
    assert_eq!((&told["abused"][0]["noise"], &told["abused"][0]["others"]), (&3.into(), &0.into()), "{told}");
    // The holder knows of none of this.
    assert_eq!(list(&world, holders[0]).await["abused"], Value::Array(vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_passes_tokens_on_is_known_by_the_letters_of_others_that_come_with_them() {
    let Held { mut world, ann, bob, holders } = Held::new(52, &["carol"]).await;
    let mallory = world.add_started("mallory").await;
    world.befriend(bob, mallory).await.unwrap();
    world.write(bob, mallory, "and where to find me").await.taken();
    arrived(&world, mallory, "and where to find me", minutes(5)).await;
    // Mallory pays with what Ann was given.
    let (anns, guest) = (Depositor::of(&world, ann, bob).await, world.onion(bob));
    let store = world.node(mallory).desk.store().clone();
    let stolen = store.write(move |tx| {
        let route = tx.routes().get(&guest)?.unwrap();
        let drop = &route.drops[0];
        let drops = vec![Drop { onion: drop.onion, mailbox: drop.mailbox, tokens: anns.tokens.clone() }];
        let (sequence, until) = (route.sequence + 1, route.until);
        let route = Route { reader: guest, sequence, made: route.got, until, drops };
        tx.routes().take(&guest, &route, route.made)
    });
    assert!(stolen.await.unwrap());
    world.stop(bob).await;
    world.write(mallory, bob, "paid by Ann").await.taken();
    within(minutes(10), "it is held", async || held(&world, holders[0]).await.2.len() == 1).await;
    world.stop(mallory).await;
    world.start(bob).await;
    arrived(&world, bob, "paid by Ann", minutes(5)).await;
    within(minutes(5), "it is noted", async || {
        let told = list(&world, bob).await;
        told["abused"][0]["address"] == world.onion(ann).host() && told["abused"][0]["others"] == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_tokens_of_who_is_blocked_are_taken_back_and_those_of_others_stay_good() {
    let Held { mut world, ann, bob, holders } = Held::new(53, &["carol"]).await;
    let carol = holders[0];
    let dave = world.add_started("dave").await;
    world.befriend(bob, dave).await.unwrap();
    world.write(bob, dave, "hello Dave").await.taken();
    arrived(&world, dave, "hello Dave", minutes(5)).await;
    let (anns, daves) = (Depositor::of(&world, ann, bob).await, Depositor::of(&world, dave, bob).await);
    anns.leave(&world, anns.tokens[0], &[1; 8000]).await.taken();
    within(hours(1), "it is fetched", async || held(&world, carol).await.2.is_empty()).await;
    world.node(bob).desk.decide(world.onion(ann), Tier::Blocked, "test").await.unwrap();
    pass(hours(1)).await;
    let (mailbox, record, _) = held(&world, carol).await;
    // 63 of Ann's, and one that nobody has: whoever serves the drop does not learn how many Ann had used.
    assert_eq!(record.revoked, 64, "{mailbox:?}");
    let answer = anns.leave(&world, anns.tokens[1], &[2; 8000]).await;
    assert!(matches!(&answer, Answer::Refused(said) if said.starts_with("550 5.7.1")), "{answer:?}");
    daves.leave(&world, daves.tokens[0], &[3; 8000]).await.taken();
    // Once she is welcome again, she gets new ones, and they are good.
    world.node(bob).desk.decide(world.onion(ann), Tier::Known, "test").await.unwrap();
    world.write(bob, ann, "all is well again").await.taken();
    arrived(&world, ann, "all is well again", minutes(5)).await;
    world.stop(bob).await;
    world.write(ann, bob, "thank you").await.taken();
    within(minutes(10), "it is held", async || {
        held(&world, carol).await.2.iter().any(|letter| letter.size != 8000)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_taken_back_without_naming_those_of_letters_that_are_there() {
    let Held { world, ann, bob, holders } = Held::new(56, &["carol"]).await;
    let anns = Depositor::of(&world, ann, bob).await;
    for no in [1, 2] {
        anns.leave(&world, anns.tokens[no as usize], &[no; 8000]).await.taken();
    }
    world.node(bob).desk.decide(world.onion(ann), Tier::Blocked, "test").await.unwrap();
    within(hours(1), "both are fetched", async || held(&world, holders[0]).await.2.is_empty()).await;
    pass(minutes(1)).await;
    // 62 of Ann's, and two that nobody has. A name that had paid for a letter would not be counted, and tell of it.
    assert_eq!(held(&world, holders[0]).await.1.revoked, 64);
}

#[tokio::test(start_paused = true)]
async fn a_full_drop_costs_no_token() {
    let Held { mut world, ann, bob, holders } = Held::new(54, &["carol"]).await;
    let reader = world.onion(bob);
    let shrink = async |world: &World, bytes: u64| {
        let store = world.node(holders[0]).desk.store().clone();
        let write = store.write(move |tx| {
            let (mailbox, record) = tx.held().of_guest(&reader)?.unwrap();
            tx.held().put_mailbox(mailbox, &BoxRecord { bytes, ..record })
        });
        write.await.unwrap();
    };
    let left = async |world: &World| {
        let store = world.node(ann).desk.store().clone();
        let route = store.read(move |rx| rx.routes().get(&reader)).await.unwrap().unwrap();
        route.drops[0].tokens.len()
    };
    shrink(&world, 1000).await;
    let before = left(&world).await;
    world.stop(bob).await;
    world.write(ann, bob, "room?").await.taken();
    pass(days(2)).await;
    assert!(held(&world, holders[0]).await.2.is_empty());
    assert_eq!(left(&world).await, before - 1, "one is bound to the letter, however often it is tried");
    shrink(&world, 64 << 20).await;
    within(hours(6), "it is held once there is room", async || held(&world, holders[0]).await.2.len() == 1)
        .await;
    assert_eq!(left(&world).await, before - 1);
}

/// The Card of an identity that begins anew from its words.
async fn card_of_another_life(world: &World, id: NodeId) -> Arc<Verified<Card>> {
    let (key, now) = (MasterKey::generate(&mut StdRng::seed_from_u64(9)), world.now(id));
    let identity = Identity::from_words(&world.words(id), LocalPart::parse("bob").unwrap(), now);
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let options = StoreOptions { run: Run::Inline, seed: [9; 32] };
    let store = Store::create(disk.clone(), &key, options, now).await.unwrap();
    let clock = Arc::new(TokioClock::starting_at(now));
    let desk = Desk::new(identity, store, (disk, &key), clock, [10; 32]).await.unwrap();
    desk.keyring().card()
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_sealed_and_left_anew_once_its_reader_s_keys_are_of_another_generation() {
    let Held { mut world, ann, bob, holders } = Held::new(55, &["carol"]).await;
    let reader = world.onion(bob);
    world.stop(bob).await;
    world.write(ann, bob, "for the old keys").await.taken();
    within(minutes(10), "it is held", async || held(&world, holders[0]).await.2.len() == 1).await;
    let first = held(&world, holders[0]).await.2.remove(0);
    // Bob begins anew from his words: the old keys are gone, and his new Card reaches Ann.
    let card = card_of_another_life(&world, bob).await;
    let store = world.node(ann).desk.store().clone();
    let (pinned, now) = (card.clone(), world.now(ann));
    let pin = store.write(move |tx| {
        let (bytes, digest) = (pinned.bytes().to_vec(), pinned.digest());
        let (generation, sequence) = (pinned.generation, pinned.sequence);
        let (first_seen, updated, refused) = (now, now, None);
        let record = CardRecord { bytes, generation, sequence, digest, first_seen, updated, refused };
        tx.cards().put(&reader, &record, Room::Reserved)
    });
    pin.await.unwrap();
    within(days(2), "a second one lies there", async || {
        held(&world, holders[0]).await.2.iter().any(|letter| letter.prekey != first.prekey)
    })
    .await;
    // And the first, which nobody can open, is called back.
    within(days(1), "the first one goes", async || {
        held(&world, holders[0]).await.2.iter().all(|letter| letter.prekey != first.prekey)
    })
    .await;
    assert_eq!(world.subjects(ann, "Outbox").await, ["for the old keys"]);
}

//! Introductions and vouches over the wire: what they lift, whose reason is shown, and what counts for nothing.

use crate::cli_house::House;
use crate::world::{Letter, NodeId, World, arrived, hours, strangers, within};
use onionskin::face::control::{Ask, Request};
use onionskin::model::address::MailAddress;
use onionskin::model::enclosure::{Covering, enclosed, letter};
use onionskin::model::statement::{Introduction, Statement as _, Vouch, sign_as_device};
use onionskin::model::trust::{Method, Tier};
use onionskin::store::Room;
use onionskin::store::contacts::RevokedRecord;
use onionskin::store::statements::{StatementKey, StatementKind, StatementRecord, Worth};
use serde_json::Value;

/// Lets two people write to each other: each is known to the other then, and has their Card.
async fn meet(world: &World, one: NodeId, other: NodeId) {
    let (hello, answer) = (format!("hello {} {}", one.0, other.0), format!("answer {} {}", one.0, other.0));
    world.write(one, other, &hello).await.taken();
    within(hours(1), "a request", async || world.subjects(other, "Requests").await.contains(&hello)).await;
    world.write(other, one, &answer).await.taken();
    arrived(world, one, &answer, hours(1)).await;
}

async fn ask(world: &World, at: NodeId, ask: Ask) -> Value {
    world.command(at, Request::Contacts { ask }).await
}

async fn trust(world: &World, at: NodeId, who: NodeId, name: &str) {
    ask(world, at, Ask::Decide { who: world.address(who), tier: Tier::Trusted }).await;
    ask(world, at, Ask::Rename { who: world.address(who), name: name.into() }).await;
}

async fn introduce(world: &World, at: NodeId, first: NodeId, second: NodeId, note: &str) -> Value {
    let (first, second) = (world.address(first), world.address(second));
    let request = Request::Introduce { first, second, method: Method::InPerson, note: note.into() };
    world.command(at, request).await
}

async fn tier(world: &World, at: NodeId, who: NodeId) -> String {
    let row = ask(world, at, Ask::Why { who: world.address(who) }).await;
    row["tier"].as_str().unwrap().to_owned()
}

/// Waits until somebody has a letter with this subject in this folder; gives it.
async fn found(world: &World, at: NodeId, folder: &str, subject: &str) -> Letter {
    let wished = |letter: &Letter| letter.subject() == subject;
    let what = format!("{subject:?} in {folder}");
    within(hours(1), &what, async || world.mailbox(at, folder).await.iter().any(wished)).await;
    world.mailbox(at, folder).await.into_iter().find(wished).unwrap()
}

/// Sends a letter with a statement, of whatever kind and by whomever.
async fn send(world: &World, from: NodeId, to: NodeId, subject: &str, statement: (&str, &[u8])) {
    let address = |id| MailAddress::parse(&world.address(id)).unwrap();
    let bytes = letter(&Covering {
        from: &address(from),
        to: &address(to),
        subject,
        text: "See what is enclosed.\n",
        statements: &[statement],
        now: world.now(from),
        random: [subject.len() as u8; 16],
    });
    world.submit(from, &[&world.address(to)], &bytes).await.taken();
}

/// The statement that a letter carries.
fn carried(letter: &Letter) -> Vec<u8> {
    let content = letter.content();
    let header = &letter.bytes[..letter.bytes.len() - content.len()];
    let mut found = enclosed(header, content);
    assert_eq!(found.len(), 1, "{}", letter.text());
    found.remove(0).bytes
}

/// Keeps a statement in somebody's store as one that may be shown as being about themselves.
async fn slip_in(world: &World, at: NodeId, issuer: NodeId, bytes: Vec<u8>) {
    let (subject, issuer, received) = (world.onion(at), world.onion(issuer), world.now(at));
    let key = StatementKey { subject, issuer, kind: StatementKind::Vouch, digest: [7; 8] };
    let record = StatementRecord { bytes, received, author: Some(issuer) };
    let worth = Worth { method: Some(Method::InPerson), made: received, until: received, received };
    let node = world.node(at);
    let kept =
        node.desk.store().write(move |tx| tx.statements().insert(&key, &record, &worth, Room::Reserved));
    kept.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whom_a_trusted_contact_introduces_comes_to_inbox_with_the_reason() {
    let (world, [ann, bob, carl]) = strangers(81, ["ann", "bob", "carl"]).await;
    meet(&world, bob, ann).await;
    meet(&world, carl, ann).await;
    trust(&world, bob, ann, "Ann of the market").await;
    let said = introduce(&world, ann, bob, carl, "You both keep bees.").await;
    assert_eq!(said["queued"], 2);

    let letter = found(&world, bob, "INBOX", "ann introduces carl to you").await.text();
    for part in
        [&world.address(carl), "checked in person", "    You both keep bees.", "onionskin trust words"]
    {
        assert!(letter.contains(part), "{part:?} in {letter}");
    }
    let to_carl = found(&world, carl, "INBOX", "ann introduces bob to you").await;
    assert!(to_carl.text().contains(&world.address(bob)));
    assert!(world.subjects(ann, "Sent").await.contains(&"ann introduces carl to you".to_owned()));

    let asked = world.dials(carl, bob);
    world.write(carl, bob, "about bees").await.taken();
    let verdict = found(&world, bob, "INBOX", "about bees").await.field("X-Onionskin-Verdict");
    assert!(verdict.starts_with("introduced;"), "{verdict}");
    assert!(
        verdict.contains("introduced by Ann of the market") && verdict.contains("in person"),
        "{verdict}"
    );
    assert_eq!(world.dials(carl, bob), asked + 1);

    let why = ask(&world, bob, Ask::Why { who: world.address(carl) }).await;
    assert_eq!(why["tier"], "introduced");
    assert!(why["lines"][0].as_str().unwrap().contains("introduced by Ann of the market"), "{why}");
    // Carl does not trust Ann: he has the letter, and Bob is whoever he was.
    assert_eq!(tier(&world, carl, bob).await, "known", "Carl wrote to him");
}

#[tokio::test(start_paused = true)]
async fn an_introduction_lifts_nobody_for_whom_it_is_not_or_who_passes_it_on() {
    let (world, [ann, bob, carl, dora]) = strangers(82, ["ann", "bob", "carl", "dora"]).await;
    for one in [bob, carl, dora] {
        meet(&world, one, ann).await;
    }
    meet(&world, dora, bob).await;
    trust(&world, bob, ann, "Ann").await;
    trust(&world, dora, ann, "Ann").await;
    trust(&world, dora, bob, "Bob").await;
    introduce(&world, ann, bob, carl, "").await;
    let bytes = carried(&found(&world, bob, "INBOX", "ann introduces carl to you").await);
    assert_eq!(tier(&world, bob, carl).await, "introduced");

    // Bob passes on what Ann signed for him, and then Ann herself sends Dora what was for Bob.
    send(&world, bob, dora, "passed on", (Introduction::KIND, &bytes)).await;
    found(&world, dora, "INBOX", "passed on").await;
    assert_eq!(tier(&world, dora, carl).await, "stranger");
    send(&world, ann, dora, "for somebody else", (Introduction::KIND, &bytes)).await;
    found(&world, dora, "INBOX", "for somebody else").await;
    assert_eq!(tier(&world, dora, carl).await, "stranger");
    world.write(carl, dora, "may I").await.taken();
    found(&world, dora, "Requests", "may I").await;
}

#[tokio::test(start_paused = true)]
async fn an_introduction_by_a_revoked_key_counts_for_nothing_before_or_after() {
    let (world, [ann, bob, carl, dora]) = strangers(83, ["ann", "bob", "carl", "dora"]).await;
    for one in [bob, carl, dora] {
        meet(&world, one, ann).await;
    }
    trust(&world, bob, ann, "Ann").await;
    introduce(&world, ann, bob, carl, "").await;
    found(&world, bob, "INBOX", "ann introduces carl to you").await;
    assert_eq!(tier(&world, bob, carl).await, "introduced");

    let (onion, now) = (world.onion(ann), world.now(bob));
    let revoked = RevokedRecord { bytes: vec![1], since: now, at: now };
    let node = world.node(bob);
    let learnt = node
        .desk
        .store()
        .write(move |tx| tx.contacts().update(&onion, |contact| contact.revoked = Some(revoked.clone())));
    learnt.await.unwrap();
    assert_eq!(tier(&world, bob, carl).await, "stranger");
    introduce(&world, ann, bob, dora, "").await;
    found(&world, bob, "Junk", "ann introduces dora to you").await;
    assert_eq!(tier(&world, bob, dora).await, "stranger");
    for one in [carl, dora] {
        world.write(one, bob, "hello").await.taken();
    }
    within(hours(1), "two requests", async || {
        world.subjects(bob, "Requests").await.iter().filter(|subject| *subject == "hello").count() == 2
    })
    .await;
}

async fn vouch(world: &World, at: NodeId, who: NodeId, show: bool) {
    world.command(at, Request::Vouch { who: world.address(who), method: Method::Voice, show }).await;
    let subject = format!("{} vouches for you", world.address(at).split('@').next().unwrap());
    found(world, who, "INBOX", &subject).await;
}

#[tokio::test(start_paused = true)]
async fn two_vouches_that_their_subject_shows_lift_it_where_both_vouchers_are_trusted() {
    let (world, [ann, bob, carl, reader]) = strangers(84, ["ann", "bob", "carl", "reader"]).await;
    for voucher in [ann, bob] {
        meet(&world, carl, voucher).await;
        meet(&world, reader, voucher).await;
    }
    trust(&world, reader, ann, "Ann").await;
    trust(&world, reader, bob, "Bob").await;
    vouch(&world, ann, carl, true).await;
    vouch(&world, bob, carl, false).await;
    world.write(carl, reader, "with one").await.taken();
    found(&world, reader, "Requests", "with one").await;
    // Bob thinks better of it. What Carl shows goes along though the reader has his Card already.
    let request = Request::Vouch { who: world.address(carl), method: Method::Voice, show: true };
    world.command(bob, request).await;
    within(hours(1), "both vouches of Bob", async || {
        world.subjects(carl, "INBOX").await.iter().filter(|found| *found == "bob vouches for you").count()
            == 2
    })
    .await;
    world.write(carl, reader, "with both").await.taken();
    let verdict = found(&world, reader, "INBOX", "with both").await.field("X-Onionskin-Verdict");
    assert!(verdict.starts_with("introduced;"), "{verdict}");
    assert!(verdict.contains("two paths") && verdict.contains("Ann") && verdict.contains("Bob"), "{verdict}");
}

#[tokio::test(start_paused = true)]
async fn a_vouch_that_somebody_else_shows_or_that_is_not_to_be_shown_counts_for_nothing() {
    let (world, [ann, bob, carl, mal, reader]) = strangers(85, ["ann", "bob", "carl", "mal", "reader"]).await;
    for voucher in [ann, bob] {
        meet(&world, reader, voucher).await;
    }
    trust(&world, reader, ann, "Ann").await;
    trust(&world, reader, bob, "Bob").await;
    let by = |voucher: NodeId, subject: NodeId, show: bool| {
        let made = world.now(voucher).to_the_hour();
        let until = made.plus(Method::Voice.lasts());
        let vouch = Vouch { subject: world.onion(subject), method: Method::Voice, made, until, show };
        sign_as_device(&world.node(voucher).desk.keyring().device(), &vouch).unwrap().bytes().to_vec()
    };
    // Mal shows what is Carl's: nobody is lifted by it, neither Mal nor Carl.
    for voucher in [ann, bob] {
        slip_in(&world, mal, voucher, by(voucher, carl, true)).await;
    }
    world.write(mal, reader, "from mal").await.taken();
    found(&world, reader, "Requests", "from mal").await;
    assert_eq!(tier(&world, reader, carl).await, "stranger");
    assert_eq!(tier(&world, reader, mal).await, "stranger");
    // As letters they are not shown by anybody but for their reader.
    for (at, voucher) in [ann, bob].into_iter().enumerate() {
        let subject = format!("in letter {at}");
        send(&world, carl, reader, &subject, (Vouch::KIND, &by(voucher, carl, true))).await;
        found(&world, reader, "Requests", &subject).await;
    }
    assert_eq!(tier(&world, reader, carl).await, "stranger");
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_vouches_is_not_kept_and_a_new_vouch_takes_the_place_of_the_old() {
    let (world, [ann, bob, carl]) = strangers(86, ["ann", "bob", "carl"]).await;
    meet(&world, carl, ann).await;
    // Bob knows Carl, who never heard of him.
    world.write(bob, carl, "hello").await.taken();
    found(&world, carl, "Requests", "hello").await;
    world.command(bob, Request::Vouch { who: world.address(carl), method: Method::Mail, show: true }).await;
    found(&world, carl, "Requests", "bob vouches for you").await;
    for show in [true, false] {
        world.command(ann, Request::Vouch { who: world.address(carl), method: Method::Mail, show }).await;
    }
    within(hours(1), "both of Ann", async || {
        world.subjects(carl, "INBOX").await.iter().filter(|found| *found == "ann vouches for you").count()
            == 2
    })
    .await;
    let (own, node) = (world.onion(carl), world.node(carl));
    let kept = node.desk.store().read(move |rx| rx.statements().about(&own, 10)).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0.issuer, world.onion(ann));
}

/// Two addresses of public sites.
const ANN: &str = "ann@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
const BOB: &str = "bob@duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

#[test]
fn who_cannot_be_introduced_is_named_with_what_to_do() {
    let (house, own) = House::of("me");
    house.run(&["introduce", ANN, BOB]).bad(67, &["not said that you know", "onionskin contacts know"]);
    house.run(&["contacts", "know", ANN]).good();
    house.run(&["contacts", "rename", ANN, "Ann"]).good();
    house.run(&["introduce", "Ann", BOB]).bad(67, &["Card of Ann", "write to them first"]);
    house.run(&["introduce", "Ann", ANN]).bad(64, &["themselves"]);
    house.run(&["introduce", "Ann", &own]).bad(64, &["own address"]);
    house.run(&["introduce", "Ann", "nobody"]).bad(67, &["nobody"]);
    house.run(&["introduce", "Ann", BOB, "--method", "hearsay"]).bad(64, &["in-person", "voice", "mail"]);
    house.run(&["vouch", "Ann"]).bad(67, &["Card of Ann", "write to them first"]);
    house.run(&["vouch", BOB]).bad(67, &["not said that you know"]);
    assert_eq!(house.identity()["waiting"], 0);
}

//! Who others are to us: moving a letter decides about its proved author, statements introduce, decisions are undone.

use crate::cli_house::House as CliHouse;
use crate::imap_house::{Client, House, START};
use crate::world::{Conditions, World, arrived, hours, within};
use onion::OnionAddress;
use onionskin::face::control::{Ask, Request};
use onionskin::model::time::UnixTime;
use onionskin::model::trace::{Arrival, Proof, trace_lines};
use onionskin::model::trust::{Method, Tier};
use onionskin::store::messages::NewMessage;
use onionskin::store::statements::{StatementKey, StatementKind, StatementRecord, Worth};
use onionskin::store::{Flags, MailboxNo, Room};

/// Two addresses of public sites.
const ANN: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
const BOB: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

fn onion(host: &str) -> OnionAddress {
    OnionAddress::parse(host).unwrap()
}

/// Files a letter as one that arrived, its author proved by the session, by the seal, or not at all.
async fn file(house: &House, folder: MailboxNo, proved: Option<&str>, signed: Option<&str>) {
    let own = house.desk.identity().onion();
    let (proved, signed) = (proved.map(onion), signed.map(onion));
    let proof = if proved.or(signed).is_some() { Proof::Pass } else { Proof::None };
    let prefix = trace_lines(&Arrival {
        own: &own,
        proved: proved.as_ref(),
        signed: signed.as_ref(),
        proof,
        return_path: None,
        recipient: None,
        id: None,
        utf8: false,
        at: START,
    });
    // What the letter itself says of its author counts for nothing.
    let letter =
        format!("Authentication-Results: {}; onion=pass smtp.auth={BOB}\r\nFrom: x\r\n\r\n", own.host());
    let body = house.desk.store().letter(letter.as_bytes()).await.unwrap();
    let filed = house.desk.store().write(move |tx| {
        let letter = tx.letters().add(&body, &prefix)?;
        let flags = Flags::default();
        tx.messages().append(folder, &NewMessage { letter, flags, internal_date: START, sent_id: None })
    });
    filed.await.unwrap();
}

async fn folders(house: &House) -> (MailboxNo, MailboxNo, MailboxNo) {
    use onionskin::store::SpecialUse;
    let found = house.desk.store().read(|rx| {
        let find = |special| Ok::<_, onionskin::store::StoreError>(rx.mailboxes().special(special)?.unwrap());
        Ok((find(SpecialUse::Inbox)?, find(SpecialUse::Requests)?, find(SpecialUse::Junk)?))
    });
    found.await.unwrap()
}

async fn tier(house: &House, who: &str) -> Tier {
    house.desk.standing(&onion(who), Some(START)).await.unwrap().tier
}

async fn question(house: &House, who: &str) -> Option<String> {
    let contacts = house.desk.contacts().await.unwrap();
    contacts.get(&onion(who)).and_then(|contact| contact.question.clone()).map(|(_, question)| question)
}

async fn moves(client: &mut Client, from: &str, to: &str) {
    client.ok(&format!("SELECT {from}")).await;
    client.ok(&format!("MOVE 1:* {to}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_moved_from_requests_to_inbox_makes_its_proved_author_known_and_nobody_else() {
    let house = House::new().await;
    let (_, requests, _) = folders(&house).await;
    let mut client = house.login().await;
    file(&house, requests, None, None).await;
    moves(&mut client, "Requests", "INBOX").await;
    assert!(house.desk.contacts().await.unwrap().is_empty(), "nothing proves who wrote it");
    // Bob's node brought what Ann signed.
    file(&house, requests, Some(BOB), Some(ANN)).await;
    moves(&mut client, "Requests", "INBOX").await;
    assert_eq!((tier(&house, ANN).await, tier(&house, BOB).await), (Tier::Known, Tier::Stranger));
    file(&house, requests, Some(BOB), None).await;
    moves(&mut client, "Requests", "Trash").await;
    assert_eq!(tier(&house, BOB).await, Tier::Stranger);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_whose_letter_goes_to_junk_is_blocked_until_it_comes_back() {
    let house = House::new().await;
    let (_, requests, _) = folders(&house).await;
    let mut client = house.login().await;
    file(&house, requests, Some(ANN), None).await;
    moves(&mut client, "Requests", "Junk").await;
    assert_eq!(tier(&house, ANN).await, Tier::Blocked);
    moves(&mut client, "Junk", "INBOX").await;
    assert_eq!(tier(&house, ANN).await, Tier::Stranger, "the block is undone, and no more");
    // A block that was said stays.
    house.desk.decide(onion(BOB), Tier::Blocked, "said").await.unwrap();
    let (_, _, junk) = folders(&house).await;
    file(&house, junk, Some(BOB), None).await;
    moves(&mut client, "Junk", "INBOX").await;
    assert_eq!(tier(&house, BOB).await, Tier::Blocked);
}

#[tokio::test(start_paused = true)]
async fn a_friend_whose_letter_goes_to_junk_stays_a_friend_and_it_is_asked() {
    let house = House::new().await;
    let (inbox, requests, _) = folders(&house).await;
    let mut client = house.login().await;
    for (who, decided) in [(ANN, Tier::Known), (BOB, Tier::Trusted)] {
        house.desk.decide(onion(who), decided, "said").await.unwrap();
        file(&house, inbox, Some(who), None).await;
        moves(&mut client, "INBOX", "Junk").await;
        assert_eq!(tier(&house, who).await, decided);
        assert!(question(&house, who).await.is_some());
        moves(&mut client, "Junk", "INBOX").await;
        assert_eq!(question(&house, who).await, None, "taken back");
        client.ok("SELECT INBOX").await;
        client.ok("STORE 1:* +FLAGS (\\Deleted)").await;
        client.ok("EXPUNGE").await;
    }
    // A forged friend: nothing proves it, and nothing follows.
    file(&house, requests, None, None).await;
    moves(&mut client, "Requests", "Junk").await;
    assert_eq!((question(&house, ANN).await, question(&house, BOB).await), (None, None));
    assert_eq!(tier(&house, ANN).await, Tier::Known);
}

#[tokio::test(start_paused = true)]
async fn a_copy_decides_nothing_before_the_letter_itself_is_expunged() {
    let house = House::new().await;
    let (_, requests, _) = folders(&house).await;
    let mut client = house.login().await;
    file(&house, requests, Some(ANN), None).await;
    file(&house, requests, Some(BOB), None).await;
    client.ok("SELECT Requests").await;
    client.ok("UID COPY 1 INBOX").await;
    client.ok("UID COPY 2 Junk").await;
    client.ok("UID STORE 1:2 +FLAGS (\\Deleted)").await;
    assert_eq!((tier(&house, ANN).await, tier(&house, BOB).await), (Tier::Stranger, Tier::Stranger));
    client.ok("UID EXPUNGE 1").await;
    assert_eq!((tier(&house, ANN).await, tier(&house, BOB).await), (Tier::Known, Tier::Stranger));
    client.ok("CLOSE").await;
    assert_eq!(tier(&house, BOB).await, Tier::Blocked);
}

#[tokio::test(start_paused = true)]
async fn statements_count_as_soon_as_they_are_kept_and_survive_a_crash() {
    let house = House::new().await;
    house.desk.decide(onion(BOB), Tier::Trusted, "said").await.unwrap();
    assert_eq!(tier(&house, ANN).await, Tier::Stranger);
    let (subject, issuer) = (onion(ANN), onion(BOB));
    let key = StatementKey { subject, issuer, kind: StatementKind::Introduction, digest: [1; 8] };
    let record = StatementRecord { bytes: vec![1], received: START, author: Some(issuer) };
    let until = UnixTime(START.0 + 1_000);
    let worth = Worth { method: Some(Method::Voice), made: START, until, received: START };
    house
        .desk
        .store()
        .write(move |tx| tx.statements().insert(&key, &record, &worth, Room::Reserved))
        .await
        .unwrap();
    assert_eq!(tier(&house, ANN).await, Tier::Introduced);
    let later = house.desk.standing(&subject, Some(UnixTime(until.0 + 1))).await.unwrap();
    assert_eq!(later.tier, Tier::Stranger);
    let house = house.after_crash(onionskin::store::disk::AfterCrash::Lost).await;
    assert_eq!(tier(&house, ANN).await, Tier::Introduced);
    house.desk.undo(None).await.unwrap();
    assert_eq!(tier(&house, ANN).await, Tier::Stranger, "the introducer is trusted no more");
}

#[test]
fn contacts_are_decided_named_explained_and_undone_on_the_command_line() {
    let (house, own) = CliHouse::of("me");
    assert!(house.run(&["contacts"]).good().contains("no contacts yet"));
    let known = house.run(&["contacts", "know", &format!("ann@{ANN}"), "--json"]).json();
    assert_eq!(
        (&known["number"], &known["before"], &known["tier"]),
        (&1.into(), &"stranger".into(), &"known".into())
    );
    house.run(&["contacts", "rename", ANN, "Ann of the market"]).good();
    house.run(&["contacts", "rename", BOB, "ann OF the market"]).bad(65, &["already"]);
    house.run(&["contacts", "rename", ANN, "a@b"]).bad(65, &["address"]);
    let trusted = house.run(&["contacts", "trust", "Ann of the Market"]).good();
    assert!(trusted.contains("Ann of the market is trusted now (was: known)"), "{trusted}");
    house.run(&["contacts", "block", BOB.strip_suffix(".onion").unwrap()]).good();
    let list = house.run(&["contacts", "--json"]).json();
    let tiers: Vec<&str> = list.as_array().unwrap().iter().map(|row| row["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["trusted", "blocked"]);

    let why = house.run(&["trust", "why", "ann of the market"]).good();
    assert!(why.contains("your own decision of") && why.contains("trusted"), "{why}");
    assert!(house.run(&["trust", "graph"]).good().starts_with("<svg "));
    let dot = house.run(&["trust", "graph", "--dot"]).good();
    assert!(dot.starts_with("digraph") && dot.contains("Ann of the market"), "{dot}");
    let words = house.run(&["trust", "words", ANN, "--json"]).json();
    assert_eq!(words["words"].as_array().map(Vec::len), Some(8));

    house.run(&["contacts", "undo", "1"]).bad(66, &["later decision"]);
    let undone = house.run(&["contacts", "undo"]).good();
    assert!(undone.contains("stranger now"), "Bob's block, {undone}");
    house.run(&["contacts", "undo"]).good();
    let show = house.run(&["contacts", "show", ANN, "--json"]).json();
    assert_eq!((&show["tier"], &show["name"]), (&"known".into(), &"Ann of the market".into()));
    let log = house.run(&["contacts", "log", "--json"]).json();
    assert_eq!(log.as_array().map(Vec::len), Some(5), "an undoing is logged too");
    house.run(&["contacts", "know", &own]).bad(64, &["own address"]);
    house.run(&["contacts", "know", "nobody"]).bad(67, &["nobody"]);
}

#[tokio::test(start_paused = true)]
async fn a_strangers_letter_waits_in_requests_until_it_is_welcomed_or_its_author_is_introduced() {
    let mut world = World::new(71, Conditions::default());
    world.strangers = true;
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let carl = world.add_started("carl").await;
    world.write(bob, ann, "first").await.taken();
    within(hours(1), "a request", async || world.subjects(ann, "Requests").await == ["first"]).await;
    let mut program = world.reader(ann).await;
    program.ask("SELECT Requests").await.taken();
    program.ask("MOVE 1 INBOX").await.taken();
    world.write(bob, ann, "second").await.taken();
    arrived(&world, ann, "second", hours(1)).await;

    // Bob is trusted, and introduces Carl.
    let ask = Ask::Decide { who: world.onion(bob).host(), tier: Tier::Trusted };
    world.command(ann, Request::Contacts { ask }).await;
    let (subject, issuer, now) = (world.onion(carl), world.onion(bob), world.now(ann));
    let key = StatementKey { subject, issuer, kind: StatementKind::Introduction, digest: [1; 8] };
    let record = StatementRecord { bytes: vec![1], received: now, author: Some(issuer) };
    let until = UnixTime(now.0 + 30 * 86_400);
    let worth = Worth { method: Some(Method::InPerson), made: now, until, received: now };
    let node = world.node(ann);
    let kept =
        node.desk.store().write(move |tx| tx.statements().insert(&key, &record, &worth, Room::Reserved));
    kept.await.unwrap();
    world.write(carl, ann, "introduced").await.taken();
    arrived(&world, ann, "introduced", hours(1)).await;
    let letters = world.mailbox(ann, "INBOX").await;
    let verdict = letters.iter().find(|letter| letter.field("Subject") == "introduced").unwrap();
    let verdict = verdict.field("X-Onionskin-Verdict");
    assert!(verdict.contains("introduced;") && verdict.contains("checked in person"), "{verdict}");
}

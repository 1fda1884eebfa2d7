//! Invitations over the wire and on the command line: good once, for one, in time; and what is none.

use crate::cli_house::{House, mode};
use crate::world::{Letter, NodeId, World, days, hours, strangers, within};
use onionskin::face::control::{Ask, InviteAsk, Request};
use onionskin::model::address::MailAddress;
use onionskin::model::enclosure::{Covering, enclosed, letter};
use onionskin::model::statement::{Invite, Statement as _};
use onionskin::model::trust::Tier;
use serde_json::Value;

async fn invites(world: &World, at: NodeId, ask: InviteAsk) -> Value {
    world.command(at, Request::Invites { ask }).await
}

async fn invite(world: &World, at: NodeId, days: u32, tier: Tier) -> Value {
    invites(world, at, InviteAsk::Make { days, tier, label: "a guest".into() }).await
}

async fn accept(world: &World, at: NodeId, invitation: &str) {
    invites(world, at, InviteAsk::Accept { invitation: invitation.into(), text: None }).await;
}

async fn why(world: &World, at: NodeId, who: NodeId) -> Value {
    let ask = Ask::Why { who: world.address(who) };
    world.command(at, Request::Contacts { ask }).await
}

async fn decide(world: &World, at: NodeId, who: NodeId, tier: Tier) {
    let ask = Ask::Decide { who: world.address(who), tier };
    world.command(at, Request::Contacts { ask }).await;
}

/// Waits until so many letters with this subject are in this folder; gives the last.
async fn found(world: &World, at: NodeId, folder: &str, subject: &str, count: usize) -> Letter {
    let wished = |letter: &Letter| letter.subject() == subject;
    let what = format!("{count} of {subject:?} in {folder}");
    within(hours(1), &what, async || {
        world.mailbox(at, folder).await.into_iter().filter(wished).count() == count
    })
    .await;
    world.mailbox(at, folder).await.into_iter().rev().find(wished).unwrap()
}

/// Sends a letter that carries these bytes as its answer to an invitation.
async fn send(world: &World, from: NodeId, to: NodeId, subject: &str, bytes: &[u8]) {
    let address = |id| MailAddress::parse(&world.address(id)).unwrap();
    let bytes = letter(&Covering {
        from: &address(from),
        to: &address(to),
        subject,
        text: "Once more.\n",
        statements: &[(Invite::KIND, bytes)],
        now: world.now(from),
        random: [subject.len() as u8; 16],
    });
    world.submit(from, &[&world.address(to)], &bytes).await.taken();
}

#[tokio::test(start_paused = true)]
async fn an_invitation_is_good_for_the_first_who_uses_it_and_for_nobody_after() {
    let (world, [ann, bob, eve]) = strangers(91, ["ann", "bob", "eve"]).await;
    let made = invite(&world, ann, 7, Tier::Known).await;
    let link = made["link"].as_str().unwrap();
    accept(&world, bob, link).await;
    let letter = found(&world, ann, "INBOX", "bob takes up your invitation", 1).await;
    let verdict = letter.field("X-Onionskin-Verdict");
    assert!(verdict.starts_with("known;") && verdict.contains("used an invitation of yours"), "{verdict}");
    let inviter = why(&world, bob, ann).await;
    assert_eq!(inviter["tier"], "known");
    assert!(inviter["reason"].as_str().unwrap().contains("you took up their invitation"), "{inviter}");

    accept(&world, eve, link).await;
    found(&world, ann, "Requests", "eve takes up your invitation", 1).await;
    assert_eq!(why(&world, ann, eve).await["tier"], "stranger");
    let list = invites(&world, ann, InviteAsk::List).await;
    assert_eq!((&list[0]["state"], &list[0]["label"]), (&"used".into(), &"a guest".into()));
    assert_eq!(list[0]["used_by"], world.onion(bob).host());

    // What Bob signed is Bob's, and brings him nothing twice.
    let content = letter.content();
    let header = &letter.bytes[..letter.bytes.len() - content.len()];
    let bytes = enclosed(header, content).remove(0).bytes;
    send(&world, eve, ann, "as if I were Bob", &bytes).await;
    found(&world, ann, "Requests", "as if I were Bob", 1).await;
    world.command(ann, Request::Contacts { ask: Ask::Undo { number: None } }).await;
    assert_eq!(why(&world, ann, bob).await["tier"], "stranger");
    send(&world, bob, ann, "replayed", &bytes).await;
    found(&world, ann, "Requests", "replayed", 1).await;
    assert_eq!(why(&world, ann, bob).await["tier"], "stranger");
}

#[tokio::test(start_paused = true)]
async fn an_invitation_grants_its_tier_by_words_too_and_never_lowers_or_unblocks() {
    let (world, [ann, bob, carl, dora]) = strangers(92, ["ann", "bob", "carl", "dora"]).await;
    let made = invite(&world, ann, 7, Tier::Trusted).await;
    let words: Vec<&str> =
        made["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words.len(), 36);
    accept(&world, bob, &words.join(" ")).await;
    found(&world, ann, "INBOX", "bob takes up your invitation", 1).await;
    assert_eq!(why(&world, ann, bob).await["tier"], "trusted");

    let made = invite(&world, ann, 7, Tier::Introduced).await;
    accept(&world, carl, made["link"].as_str().unwrap()).await;
    found(&world, ann, "INBOX", "carl takes up your invitation", 1).await;
    assert_eq!(why(&world, ann, carl).await["tier"], "introduced");
    // Whoever is written to is known.
    world.write(ann, carl, "welcome").await.taken();
    assert_eq!(why(&world, ann, carl).await["tier"], "known");

    let made = invite(&world, ann, 7, Tier::Introduced).await;
    accept(&world, bob, made["link"].as_str().unwrap()).await;
    found(&world, ann, "INBOX", "bob takes up your invitation", 2).await;
    assert_eq!(why(&world, ann, bob).await["tier"], "trusted");

    decide(&world, ann, dora, Tier::Blocked).await;
    let made = invite(&world, ann, 7, Tier::Known).await;
    accept(&world, dora, made["link"].as_str().unwrap()).await;
    found(&world, ann, "Junk", "dora takes up your invitation", 1).await;
    assert_eq!(why(&world, ann, dora).await["tier"], "blocked");
    let list = invites(&world, ann, InviteAsk::List).await;
    let row = list.as_array().unwrap().iter().find(|row| row["code"] == made["code"]).unwrap();
    assert_eq!(row["state"], "open", "who is blocked uses up nothing");
}

#[tokio::test(start_paused = true)]
async fn an_invitation_that_is_over_or_taken_back_is_an_ordinary_letter_of_a_stranger() {
    let (mut world, [ann, bob, carl]) = strangers(93, ["ann", "bob", "carl"]).await;
    let short = invite(&world, ann, 1, Tier::Known).await;
    let taken_back = invite(&world, ann, 7, Tier::Known).await;
    let code = taken_back["code"].as_str().unwrap().to_owned();
    let cancelled = invites(&world, ann, InviteAsk::Cancel { code }).await;
    assert_eq!(cancelled["was_used"], false);
    accept(&world, carl, taken_back["link"].as_str().unwrap()).await;
    found(&world, ann, "Requests", "carl takes up your invitation", 1).await;

    world.stop(bob).await;
    world.sleep(ann, days(2)).await;
    world.start(bob).await;
    accept(&world, bob, short["link"].as_str().unwrap()).await;
    let letter = found(&world, ann, "Requests", "bob takes up your invitation", 1).await;
    assert!(letter.text().contains("here I am"), "the letter is shown either way");
    let list = invites(&world, ann, InviteAsk::List).await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["state"]), (1, &"over".into()));
    for guest in [bob, carl] {
        assert_eq!(why(&world, ann, guest).await["tier"], "stranger");
    }
}

#[test]
fn an_invitation_is_shown_written_listed_and_taken_back_on_the_command_line() {
    let (house, own) = House::of("ann");
    assert!(house.run(&["invite", "list"]).good().contains("no invitations"));
    let png = house.root.path().join("invite.png");
    let png_name = png.to_str().unwrap();
    let shown = house.run(&["invite", "--label", "Bob", "--png", png_name]).good();
    let link =
        shown.lines().find(|line| line.starts_with("onionskin:invite/ann@")).expect("a link").to_owned();
    assert!(shown.contains('█') && shown.contains(" 36. ") && shown.contains("is known to you"), "{shown}");
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG\r\n"));
    assert_eq!(mode(&png), 0o600);
    house.run(&["invite", "--png", png_name]).bad(73, &["invite.png", "not there yet"]);

    let list = house.run(&["invite", "list", "--json"]).json();
    let row = list.as_array().unwrap().iter().find(|row| row["label"] == "Bob").unwrap();
    assert_eq!((&row["state"], &row["tier"]), (&"open".into(), &"known".into()));
    let code = row["code"].as_str().unwrap();
    assert!(house.run(&["invite", "list"]).good().contains(code));
    assert!(house.run(&["invite", "cancel", code]).good().contains("by nobody any more"));
    house.run(&["invite", "cancel", code]).bad(66, &[code, "onionskin invite list"]);
    house.run(&["invite", "--days", "0"]).bad(64, &["1 to 365 days"]);
    house.run(&["invite", "--tier", "blocked"]).bad(64, &["introduced", "known", "trusted"]);
    house.run(&["accept", &link]).bad(64, &["your own"]);

    let (guest, _) = House::of("bob");
    let taken = guest.run(&["accept", &link, "-m", "Here I am."]).good();
    assert!(taken.contains(&own) && taken.contains("queued"), "{taken}");
    assert_eq!(guest.identity()["waiting"], 1);
    assert_eq!(guest.run(&["contacts", "--json"]).json()[0]["tier"], "known");
    let made = house.run(&["invite", "--json"]).json();
    let words: Vec<&str> =
        made["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    guest.run(&[&["accept"][..], &words].concat()).good();
    assert_eq!(guest.identity()["waiting"], 2);
    guest.run(&["contacts", "block", &own]).good();
    guest.run(&["accept", &link]).bad(77, &["blocked", "onionskin contacts know"]);
}

#[test]
fn what_is_no_invitation_is_refused_in_plain_words_and_changes_nothing() {
    let (house, _) = House::of("ann");
    let (inviter, _) = House::of("bob");
    let link = inviter.run(&["invite", "--json"]).json()["link"].as_str().unwrap().to_owned();
    let accept = |text: &str| house.run(&["accept", text]);
    accept("https://example.org/x").bad(65, &["onionskin:invite/", "36 words"]);
    accept(&link[..link.len() - 3]).bad(65, &["last part of the link"]);
    accept(&link.replace("/bob@", "/eve@")).bad(65, &["changed on its way"]);
    accept(&link.replace("bob@", "bob@a")).bad(65, &["address in the link", "56 characters"]);
    accept("abandon ability able").bad(65, &["3 words", "36"]);
    accept("abandon abilty able").bad(65, &["word 2", "ability"]);
    accept(&"abandon ".repeat(36)).bad(65, &["together the words are not right"]);
    accept(&"x".repeat(100_000)).bad(65, &["36 words"]);
    assert!(house.run(&["contacts"]).good().contains("no contacts yet"));
    assert_eq!(house.identity()["waiting"], 0);
}

#[test]
fn the_own_address_is_shown_as_a_picture_for_a_check_in_person() {
    let (house, own) = House::of("ann");
    let shown = house.run(&["address", "--qr"]).good();
    assert!(shown.starts_with(&own) && shown.contains('█') && shown.lines().count() > 15, "{shown}");
    let png = house.root.path().join("own.png");
    assert_eq!(house.run(&["address", "--png", png.to_str().unwrap()]).good().trim(), own);
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG\r\n"));
}

//! When keys go wrong: revocations and successors over the wire, and those who try them without the recovery key.

use crate::cli_house::{House, mode};
use crate::world::{
    AfterCrash, Conditions, Letter, NodeId, World, arrived, days, hours, minutes, pass, within,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;
use onion::OnionAddress;
use onionskin::face::control::{Ask, Keys, Request};
use onionskin::model::address::MailAddress;
use onionskin::model::enclosure::{self, Covering};
use onionskin::model::statement::{Revocation, Statement as _, Successor, sign_as_recovery};
use onionskin::model::time::UnixTime;
use onionskin::model::trust::Tier;

/// Ann, whose key is to go wrong, and Bob and Carl, who know her.
async fn three(seed: u64) -> (World, NodeId, NodeId, NodeId) {
    let mut world = World::new(seed, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let carl = world.add_started("carl").await;
    (world, ann, bob, carl)
}

fn revocation(world: &World, of: NodeId, since: UnixTime) -> Vec<u8> {
    world.words(of).revocation(since, world.now(of), "the laptop is gone").unwrap().into_bytes()
}

async fn keys(world: &World, id: NodeId, ask: Keys) -> serde_json::Value {
    world.command(id, Request::Keys { ask }).await
}

async fn revoke(world: &World, id: NodeId, statement: &[u8]) -> serde_json::Value {
    keys(world, id, Keys::Revoke { statement: STANDARD.encode(statement) }).await
}

/// Hands in a letter of this subject that carries a statement.
async fn send_statement(world: &World, from: NodeId, to: NodeId, subject: &str, kind: &str, bytes: &[u8]) {
    let address = |id| MailAddress::parse(&world.address(id)).unwrap();
    let letter = enclosure::letter(&Covering {
        from: &address(from),
        to: &address(to),
        subject,
        text: "See what is attached.\n",
        statements: &[(kind, bytes)],
        now: world.now(from),
        random: [7; 16],
    });
    world.submit(from, &[&world.address(to)], &letter).await.taken();
}

/// The letters in which the node tells of keys.
async fn tidings(world: &World, id: NodeId) -> Vec<Letter> {
    let mut letters = world.mailbox(id, "INBOX").await;
    letters.retain(|letter| letter.field("From").starts_with("Onionskin <postmaster@"));
    letters
}

async fn decide(world: &World, id: NodeId, who: NodeId, tier: Tier) {
    let ask = Ask::Decide { who: world.onion(who).host(), tier };
    world.command(id, Request::Contacts { ask }).await;
}

async fn show(world: &World, id: NodeId, who: OnionAddress) -> serde_json::Value {
    world.command(id, Request::Contacts { ask: Ask::Show { who: who.host() } }).await
}

async fn junk(world: &World, id: NodeId) -> Vec<String> {
    world.subjects(id, "Junk").await
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_all_contacts_and_what_arrived_since_goes_to_junk_even_of_somebody_trusted() {
    let (world, ann, bob, carl) = three(81).await;
    decide(&world, bob, ann, Tier::Trusted).await;
    world.write(ann, bob, "before").await.taken();
    arrived(&world, bob, "before", hours(1)).await;
    pass(hours(2)).await;
    let since = world.now(ann);
    pass(minutes(5)).await;
    world.write(ann, bob, "after").await.taken();
    world.write(carl, bob, "of somebody else").await.taken();
    arrived(&world, bob, "after", hours(1)).await;
    arrived(&world, bob, "of somebody else", hours(1)).await;

    let told = revoke(&world, ann, &revocation(&world, ann, since)).await;
    assert_eq!(told["told"], 2, "Bob and Carl");
    within(hours(1), "Bob is told", async || !tidings(&world, bob).await.is_empty()).await;
    within(hours(1), "Carl is told, who had no letter", async || !tidings(&world, carl).await.is_empty())
        .await;
    let inbox = world.subjects(bob, "INBOX").await;
    assert!(
        inbox.contains(&"before".to_owned()) && inbox.contains(&"of somebody else".to_owned()),
        "{inbox:?}"
    );
    assert!(!inbox.contains(&"after".to_owned()), "{inbox:?}");
    let moved = junk(&world, bob).await;
    assert!(moved.contains(&"after".to_owned()), "{moved:?}");
    assert!(moved.iter().any(|subject| subject.starts_with("Revoked: ")), "its own letter too: {moved:?}");
    let news = tidings(&world, bob).await;
    assert_eq!(news.len(), 1);
    let text = news[0].text();
    for told in
        [&world.onion(ann).host(), "1 from INBOX", "> the laptop is gone", &since.to_the_minute().rfc5322()]
    {
        assert!(text.contains(told), "{told}: {text}");
    }

    // The key that was stolen writes on: from a node that knows nothing of the revocation.
    let shown = show(&world, bob, world.onion(ann)).await;
    assert!(shown["revoked"].is_string(), "{shown}");
    let refused = world.write(ann, bob, "no more").await;
    assert!(refused.refusal().contains("5.7.13"), "the own node sends nothing more: {refused:?}");
    let status = world.command(ann, Request::Status).await.to_string();
    assert!(status.contains("key is revoked"), "{status}");
    assert!(world.mailbox(ann, "Sent").await.iter().any(|letter| letter.subject().starts_with("Revoked: ")));

    // What Bob writes to her comes back.
    world.write(bob, ann, "to the thief").await.taken();
    within(hours(1), "it comes back", async || {
        world.subjects(bob, "INBOX").await.contains(&"Your letter was not delivered".to_owned())
    })
    .await;
    assert!(!world.subjects(ann, "INBOX").await.contains(&"to the thief".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_a_revoked_key_still_writes_goes_to_junk_and_the_verdict_says_why() {
    let (world, ann, bob, carl) = three(82).await;
    world.write(ann, bob, "hello").await.taken();
    arrived(&world, bob, "hello", hours(1)).await;
    pass(minutes(1)).await;
    // Carl passes it on; the node of Ann, in wrong hands, knows of nothing.
    let bytes = revocation(&world, ann, world.now(ann));
    send_statement(&world, carl, bob, "ann is robbed", Revocation::KIND, &bytes).await;
    arrived(&world, bob, "ann is robbed", hours(1)).await;
    assert_eq!(tidings(&world, bob).await.len(), 1);
    world.write(ann, bob, "send money").await.taken();
    within(hours(1), "in Junk", async || junk(&world, bob).await == ["send money"]).await;
    let letters = world.mailbox(bob, "Junk").await;
    let verdict = letters[0].field("X-Onionskin-Verdict");
    assert!(verdict.starts_with("blocked;") && verdict.contains("the owner revoked this key"), "{verdict}");
    assert!(world.subjects(bob, "INBOX").await.contains(&"hello".to_owned()), "it came before");
}

#[tokio::test(start_paused = true)]
async fn a_stolen_identity_key_can_neither_revoke_nor_name_a_successor() {
    let (world, ann, bob, _) = three(83).await;
    world.write(ann, bob, "hello").await.taken();
    arrived(&world, bob, "hello", hours(1)).await;
    // The thief has Ann's whole node, and makes a recovery key of their own.
    let thief = SigningKey::from_bytes(&[66; 32]);
    let recovery = thief.verifying_key().to_bytes();
    let (onion, now) = (world.onion(ann), world.now(ann));
    let made = now.to_the_hour();
    let revocation = Revocation { recovery, since: UnixTime(0), made, reason: String::new() };
    let revocation = sign_as_recovery(&thief, &onion, &revocation).unwrap();
    let new = MailAddress::parse(&world.stranger(9)).unwrap().onion;
    let successor = sign_as_recovery(&thief, &onion, &Successor { recovery, new, made }).unwrap();
    send_statement(&world, ann, bob, "one", Revocation::KIND, revocation.bytes()).await;
    send_statement(&world, ann, bob, "two", Successor::KIND, successor.bytes()).await;
    arrived(&world, bob, "one", hours(1)).await;
    arrived(&world, bob, "two", hours(1)).await;
    assert!(tidings(&world, bob).await.is_empty() && junk(&world, bob).await.is_empty());
    let shown = show(&world, bob, onion).await;
    assert!(shown["revoked"].is_null() && shown["moved_to"].is_null(), "{shown}");
    // Nor is it taken from a file, there or at Ann's own node.
    let statement = STANDARD.encode(revocation.bytes());
    for ask in [Keys::Revoke { statement: statement.clone() }, Keys::TakeIn { statement }] {
        let at = if matches!(ask, Keys::Revoke { .. }) { ann } else { bob };
        let refused = world.try_command(at, Request::Keys { ask }).await.unwrap_err();
        assert!(refused.contains("does not hold"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_with_another_persons_recovery_key_changes_nothing() {
    let (world, ann, bob, carl) = three(84).await;
    for (from, subject) in [(ann, "of ann"), (carl, "of carl")] {
        world.write(from, bob, subject).await.taken();
        arrived(&world, bob, subject, hours(1)).await;
    }
    // Carl's words sign about Ann.
    let recovery = SigningKey::from_bytes(&[67; 32]);
    let forged = Revocation {
        recovery: recovery.verifying_key().to_bytes(),
        since: UnixTime(0),
        made: world.now(carl).to_the_hour(),
        reason: String::new(),
    };
    let forged = sign_as_recovery(&recovery, &world.onion(ann), &forged).unwrap();
    send_statement(&world, carl, bob, "forged", Revocation::KIND, forged.bytes()).await;
    arrived(&world, bob, "forged", hours(1)).await;
    assert!(tidings(&world, bob).await.is_empty() && junk(&world, bob).await.is_empty());
    // Words of another identity do not revoke this one.
    let of_carl = STANDARD.encode(revocation(&world, carl, world.now(carl)));
    let ask = Keys::Revoke { statement: of_carl };
    let refused = world.try_command(ann, Request::Keys { ask }).await.unwrap_err();
    assert!(refused.contains("another address"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_compromise_beats_a_later_one_and_a_replayed_revocation_moves_nothing_again() {
    let (mut world, ann, bob, carl) = three(85).await;
    let early = world.now(ann);
    pass(minutes(5)).await;
    world.write(ann, bob, "between").await.taken();
    arrived(&world, bob, "between", hours(1)).await;
    pass(hours(1)).await;
    let late = revocation(&world, ann, world.now(ann));
    send_statement(&world, carl, bob, "late", Revocation::KIND, &late).await;
    arrived(&world, bob, "late", hours(1)).await;
    assert!(world.subjects(bob, "INBOX").await.contains(&"between".to_owned()));
    send_statement(&world, carl, bob, "early", Revocation::KIND, &revocation(&world, ann, early)).await;
    arrived(&world, bob, "early", hours(1)).await;
    assert_eq!(junk(&world, bob).await, ["between"]);
    assert_eq!(tidings(&world, bob).await.len(), 2);
    // Bob takes the letter back; the old one once more, and the earlier one, change nothing.
    let mut program = world.reader(bob).await;
    program.ask("SELECT Junk").await.taken();
    program.ask("MOVE 1 INBOX").await.taken();
    for id in [ann, bob, carl] {
        world.stop(id).await;
    }
    pass(days(40)).await;
    for id in [ann, bob, carl] {
        world.start(id).await;
    }
    for (subject, bytes) in [("again", late), ("and again", revocation(&world, ann, early))] {
        send_statement(&world, carl, bob, subject, Revocation::KIND, &bytes).await;
        arrived(&world, bob, subject, hours(1)).await;
    }
    assert_eq!((junk(&world, bob).await.len(), tidings(&world, bob).await.len()), (0, 2));
    let shown = show(&world, bob, world.onion(ann)).await;
    assert!(shown["revoked"].is_string(), "it does not expire");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_made_beforehand_revokes_and_moves_nothing_and_a_contact_passes_it_on_when_told_to() {
    let (world, ann, bob, carl) = three(86).await;
    for to in [bob, carl] {
        world.write(ann, to, "hello").await.taken();
        arrived(&world, to, "hello", hours(1)).await;
    }
    let beforehand = onionskin::model::statement::recovery::SINCE_UNKNOWN;
    let statement = STANDARD.encode(revocation(&world, ann, beforehand));
    let taken = keys(&world, bob, Keys::TakeIn { statement: statement.clone() }).await;
    assert_eq!((&taken["new"], &taken["moved"]), (&true.into(), &0.into()));
    assert_eq!(keys(&world, bob, Keys::TakeIn { statement }).await["new"], false);
    assert_eq!(tidings(&world, bob).await.len(), 1);
    pass(hours(24)).await;
    assert!(tidings(&world, carl).await.is_empty(), "nothing goes on by itself");
    let (who, to) = (world.address(ann), vec![world.address(carl)]);
    let told = keys(&world, bob, Keys::PassOn { who, to }).await;
    assert_eq!(told["told"], 1);
    within(hours(1), "Carl knows", async || tidings(&world, carl).await.len() == 1).await;
    let ask = Keys::PassOn { who: world.address(bob), to: vec![world.address(carl)] };
    let refused = world.try_command(bob, Request::Keys { ask }).await;
    assert!(refused.unwrap_err().contains("own address"));
}

#[tokio::test(start_paused = true)]
async fn contacts_follow_a_successor_only_after_their_check_and_can_undo_it() {
    let (mut world, ann, bob, _) = three(87).await;
    world.strangers = true;
    let new = world.add_started("ann2").await;
    decide(&world, bob, ann, Tier::Trusted).await;
    let rename = Ask::Rename { who: world.address(ann), name: "Ann".to_owned() };
    world.command(bob, Request::Contacts { ask: rename }).await;
    world.write(ann, bob, "hello").await.taken();
    arrived(&world, bob, "hello", hours(1)).await;

    let made = world.words(ann).successor(world.onion(new), world.now(ann)).unwrap();
    let statement = STANDARD.encode(made.bytes());
    assert_eq!(keys(&world, ann, Keys::Succeed { statement }).await["told"], 2);
    within(hours(1), "Bob is told", async || !tidings(&world, bob).await.is_empty()).await;
    assert!(tidings(&world, bob).await[0].text().contains(&world.onion(new).host()));
    world.write(new, bob, "from the new one").await.taken();
    within(hours(1), "a stranger still", async || {
        world.subjects(bob, "Requests").await == ["from the new one"]
    })
    .await;

    let who = world.address(ann);
    let seen = keys(&world, bob, Keys::Successor { who: who.clone() }).await;
    assert_eq!(
        (&seen["new"], seen["words"].as_array().map(Vec::len)),
        (&world.onion(new).host().into(), Some(8))
    );
    let other = Keys::Follow { who: who.clone(), new: world.stranger(3) };
    assert!(world.try_command(bob, Request::Keys { ask: other }).await.is_err(), "not where nobody moved to");
    let done = keys(&world, bob, Keys::Follow { who, new: world.address(new) }).await;
    assert_eq!(done["tier"], "trusted");
    let (old_row, new_row) =
        (show(&world, bob, world.onion(ann)).await, show(&world, bob, world.onion(new)).await);
    assert_eq!((&new_row["tier"], &new_row["name"]), (&"trusted".into(), &"Ann".into()));
    assert_eq!((&old_row["tier"], &old_row["name"]), (&"known".into(), &serde_json::Value::Null));
    world.write(new, bob, "known now").await.taken();
    arrived(&world, bob, "known now", hours(1)).await;
    // The old key is not revoked: mail goes on both ways.
    world.write(bob, ann, "to the old one").await.taken();
    arrived(&world, ann, "to the old one", hours(1)).await;
    world.command(bob, Request::Contacts { ask: Ask::Undo { number: done["number"].as_u64() } }).await;
    assert_eq!(show(&world, bob, world.onion(new)).await["tier"], "stranger");
}

#[tokio::test(start_paused = true)]
async fn successors_in_a_circle_are_refused_and_only_one_can_be_named() {
    let (world, ann, bob, carl) = three(88).await;
    for from in [ann, carl] {
        world.write(from, bob, "hello").await.taken();
    }
    within(hours(1), "both", async || world.subjects(bob, "INBOX").await.len() == 2).await;
    let made = |of: NodeId, to: NodeId| {
        world.words(of).successor(world.onion(to), world.now(of)).unwrap().into_bytes()
    };
    send_statement(&world, ann, bob, "one", Successor::KIND, &made(ann, carl)).await;
    arrived(&world, bob, "one", hours(1)).await;
    send_statement(&world, carl, bob, "two", Successor::KIND, &made(carl, ann)).await;
    arrived(&world, bob, "two", hours(1)).await;
    send_statement(&world, ann, bob, "three", Successor::KIND, &made(ann, bob)).await;
    arrived(&world, bob, "three", hours(1)).await;
    assert_eq!(show(&world, bob, world.onion(ann)).await["moved_to"], world.onion(carl).host());
    assert!(show(&world, bob, world.onion(carl)).await["moved_to"].is_null(), "that would be a circle");
    assert_eq!(tidings(&world, bob).await.len(), 1);
    let ask = |to| Keys::Succeed { statement: STANDARD.encode(made(ann, to)) };
    keys(&world, ann, ask(carl)).await;
    let refused = world.try_command(ann, Request::Keys { ask: ask(bob) }).await.unwrap_err();
    assert!(refused.contains("only one can be"), "{refused}");
    assert!(world.try_command(ann, Request::Keys { ask: ask(ann) }).await.unwrap_err().contains("itself"));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_revokes_a_key_of_their_own_writes_nothing_into_the_inbox() {
    let mut world = World::new(89, Conditions::default());
    world.strangers = true;
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write(ann, bob, "hello").await.taken();
    within(hours(1), "a request", async || world.subjects(bob, "Requests").await == ["hello"]).await;
    send_statement(&world, ann, bob, "x", Revocation::KIND, &revocation(&world, ann, UnixTime(0))).await;
    within(hours(1), "both in Junk", async || junk(&world, bob).await.len() == 2).await;
    assert!(world.subjects(bob, "INBOX").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_while_a_revocation_is_taken_leaves_all_of_it_or_nothing_and_it_comes_again() {
    let mut world = World::new(90, Conditions::default());
    let bob = world.add_started("bob").await;
    let carl = world.add_started("carl").await;
    // Every fifth operation: each round has an identity of its own to revoke.
    for (round, n) in (0..).step_by(5).enumerate() {
        let ann = world.add_started("ann").await;
        let subject = format!("letter {n}");
        world.write(ann, bob, &subject).await.taken();
        arrived(&world, bob, &subject, hours(1)).await;
        let bytes = revocation(&world, ann, UnixTime(0));
        world.stop(ann).await;
        world.partition(&[&[carl], &[bob]]);
        send_statement(&world, carl, bob, &format!("revoked {n}"), Revocation::KIND, &bytes).await;
        pass(minutes(1)).await;
        world.cut_power_at(bob, n);
        world.partition(&[]);
        pass(minutes(6)).await;
        let struck = world.has_lost_power(bob);
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][round % 3];
        world.crash(bob, how).await;
        world.start(bob).await;
        let state = async || {
            let moved = junk(&world, bob).await.contains(&subject);
            let stays = world.subjects(bob, "INBOX").await.contains(&subject);
            (moved, !stays, tidings(&world, bob).await.len() == round + 1)
        };
        let found = state().await;
        assert!([(true, true, true), (false, false, false)].contains(&found), "cut at {n}: {found:?}");
        within(minutes(30), "it is taken", async || state().await == (true, true, true)).await;
        if !struck {
            assert!(n > 5, "the operations were counted: {n}");
            break;
        }
    }
}

#[test]
fn the_words_or_the_certificate_revoke_on_the_command_line_and_nothing_else_does() {
    let house = House::empty();
    let paper = house.root.path().join("certificate.txt");
    let file = paper.to_str().unwrap();
    std::fs::create_dir(&house.data).unwrap();
    let inside = house.data.join("certificate.txt");
    house.run(&["init", "--revocation", inside.to_str().unwrap()]).bad(73, &["data directory"]);
    let shown = house.run(&["init", "--name", "ann", "--revocation", file]).good();
    assert_eq!(mode(&paper), 0o600);
    let words: Vec<&str> = shown
        .split_whitespace()
        .skip_while(|word| *word != "1.")
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .take(24)
        .collect();
    let words = words.join(" ");
    let text = std::fs::read_to_string(&paper).unwrap();
    assert!(text.starts_with("This is the revocation certificate") && text.contains("-----BEGIN ONIONSKIN"));
    for entry in std::fs::read_dir(&house.data).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(20).any(|part| part == b"ONIONSKIN REVOCATION"), "it is not kept here");
    }
    let later = house.root.path().join("later.txt");
    let make = ["revoke", "--make", later.to_str().unwrap()];
    house.run_with(&make, words.as_bytes()).good();
    house.run_with(&make, words.as_bytes()).bad(73, &["there already"]);
    house.run_with(&["revoke"], b"not the words").bad(65, &["word"]);
    house.run_with(&["revoke", "--since", "2999-01-01"], words.as_bytes()).bad(64, &["future"]);
    let (other, _) = House::of("bob");
    other.run_with(&["revoke"], words.as_bytes()).bad(77, &["another address"]);
    other.run(&["revoke", "--certificate", file]).bad(77, &["another address"]);
    other.run(&["revoke", "--pass-on", file]).bad(66, &["nothing is known"]);

    let revoked = house.run(&["revoke", "--certificate", file, "--json"]).json();
    assert_eq!((&revoked["told"], &revoked["since"]), (&0.into(), &serde_json::Value::Null));
    let dated = house.run_with(&["revoke", "--since", "2026-01-31", "--json"], words.as_bytes()).json();
    assert_eq!(
        dated["since"], "Sat, 31 Jan 2026 00:00:00 +0000",
        "an earlier time beats one that is not known"
    );
    let again = house.run(&["revoke", "--certificate", file, "--json"]).json();
    assert_eq!(again["since"], dated["since"]);
    assert!(house.run(&["status"]).good().contains("key is revoked"));
    let to = format!("ann@{}", "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion");
    house.run(&["send", &to, "-m", "x"]).bad(77, &["revoked"]);
    house.run(&["inbox"]).good();
}

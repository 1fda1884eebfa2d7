//! The person's faces of holding: the commands that ask, promise, list and end it, what the queue and the status say of
//! what is held, and what a copy of a letter proves that a holder has taken.

use crate::cli_house::{House, Hub};
use crate::world::{Conditions, NodeId, World, arrived, minutes, pass, within};
use onionskin::face::control::{Holders, Request};
use onionskin::model::proof::sent_digests;
use onionskin::node::holders::Whose;
use serde_json::{Value, json};
use std::time::Duration;

/// An address of a public site; nobody of the memory network.
const ABSENT: &str = "me@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
const MIB: u64 = 1 << 20;

fn list() -> Request {
    Request::Holders { ask: Holders::List }
}

fn ask(who: String, bytes: u64, days: u32) -> Request {
    Request::Holders { ask: Holders::Ask { who, bytes, days, shared: false } }
}

fn grant(who: String, bytes: Option<u64>, days: Option<u32>) -> Request {
    Request::Holders { ask: Holders::Grant { who, bytes, days } }
}

fn end(who: String) -> Request {
    Request::Holders { ask: Holders::End { who, only: None } }
}

/// The list while nobody holds anything for anybody.
fn nothing() -> Value {
    let drops = json!({"known": 0, "failing": 0, "unconfirmed": 0});
    json!({"holders": [], "guests": [], "wishes": [], "abused": [], "drops": drops, "limit": 896 << 10})
}

/// How much is held, as `status` counts it.
async fn counts(world: &World, node: NodeId) -> Value {
    let holding = world.command(node, Request::Status).await["identities"][0]["holding"].clone();
    assert_eq!(holding["failing"], 0, "{holding}");
    ["holders", "guests", "letters", "wishes"]
        .map(|name| (name.to_owned(), holding[name].clone()))
        .into_iter()
        .collect()
}

async fn ask_and_wait(world: &World, guest: NodeId, holder: NodeId, bytes: u64, days: u32) {
    world.command(guest, ask(world.address(holder), bytes, days)).await;
    within(minutes(10), "the wish", async || {
        !world.command(holder, list()).await["wishes"].as_array().unwrap().is_empty()
    })
    .await;
}

async fn keeps(world: &World, guest: NodeId) {
    let is_promised = async || world.command(guest, list()).await["holders"][0]["state"] == json!("keeps");
    within(minutes(10), "the promise", is_promised).await;
}

#[tokio::test(start_paused = true)]
async fn asked_granted_listed_on_both_sides_and_ended() {
    let mut world = World::new(601, Conditions::default());
    let (bob, carol) = (world.add_started("bob").await, world.add_started("carol").await);
    assert_eq!(world.command(bob, list()).await, nothing());

    let asked = world.command(bob, ask(world.address(carol), 512 * MIB, 20)).await;
    assert_eq!((&asked["bytes"], &asked["days"]), (&json!(512 * MIB), &json!(20)));
    assert_eq!(asked["until_answered"], Value::Null);
    let row = world.command(bob, list()).await["holders"][0].clone();
    assert_eq!((&row["state"], &row["over"], &row["bytes"]), (&json!("asked"), &json!(false), &Value::Null));

    ask_and_wait(&world, bob, carol, 512 * MIB, 20).await;
    let wish = world.command(carol, list()).await["wishes"][0].clone();
    assert_eq!((&wish["bytes"], &wish["days"]), (&json!(512 * MIB), &json!(20)));
    assert_eq!(wish["command"], json!(format!("onionskin holder grant {}", world.onion(bob).host())));

    // She gives less room than was asked for, and no more days.
    let granted = world.command(carol, grant(world.address(bob), Some(64 * MIB), None)).await;
    assert_eq!((&granted["bytes"], &granted["days"]), (&json!(64 * MIB), &json!(20)));
    assert_eq!(granted["asked"], json!({"bytes": 512 * MIB, "days": 20}));
    keeps(&world, bob).await;
    let holder = world.command(bob, list()).await["holders"][0].clone();
    assert_eq!(holder["address"], json!(world.onion(carol).host()));
    assert_eq!((&holder["bytes"], &holder["days"]), (&json!(64 * MIB), &json!(20)));
    let guests = world.command(carol, list()).await;
    let guest = &guests["guests"][0];
    assert_eq!(guest["address"], json!(world.onion(bob).host()));
    assert_eq!((&guest["letters"], &guest["used"], &guest["over"]), (&json!(0), &json!(0), &json!(false)));
    assert_eq!(guests["wishes"], json!([]), "it is answered");
    assert_eq!(counts(&world, carol).await, json!({"holders": 0, "guests": 1, "letters": 0, "wishes": 0}));

    let ended = world.command(bob, end(world.address(carol))).await;
    assert_eq!((&ended["holder"], &ended["guest"]), (&json!(true), &Value::Null));
    let row = world.command(bob, list()).await["holders"][0].clone();
    assert_eq!((&row["state"], &row["ended_by"]), (&json!("ended"), &json!("you")));
    within(minutes(10), "Carol's node knows", async || {
        let guests = world.command(carol, list()).await["guests"].clone();
        guests.as_array().unwrap().iter().all(|guest| guest["over"] == true)
    })
    .await;
    let refused = world.try_command(bob, end(world.address(carol))).await.unwrap_err();
    assert!(refused.contains("neither does"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_grant_without_numbers_is_what_was_asked_for_and_its_end_is_told_to_the_guest() {
    let mut world = World::new(602, Conditions::default());
    let (bob, carol) = (world.add_started("bob").await, world.add_started("carol").await);
    ask_and_wait(&world, bob, carol, 5 * MIB, 38).await;
    let granted = world.command(carol, grant(world.address(bob), None, None)).await;
    assert_eq!((&granted["bytes"], &granted["days"]), (&json!(5 * MIB), &json!(38)));
    keeps(&world, bob).await;
    let again = world.try_command(carol, grant(world.address(bob), None, None)).await.unwrap_err();
    assert!(again.contains("already") && again.contains("holder end"), "{again}");
    let more = world.command(bob, ask(world.address(carol), 6 * MIB, 30)).await;
    assert_eq!(more["until_answered"], json!({"bytes": 5 * MIB, "days": 38}));

    let ended = world.command(carol, end(world.address(bob))).await;
    assert_eq!((&ended["holder"], &ended["guest"]), (&json!(false), &json!({"letters": 0, "used": 0})));
    within(minutes(10), "Bob's node knows", async || {
        world.command(bob, list()).await["holders"][0]["ended_by"] == json!("them")
    })
    .await;
    assert_eq!(world.command(bob, Request::Status).await["identities"][0]["holding"]["holders"], json!(0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_or_promised_is_refused_with_the_next_step() {
    let (world, [ann, bob]) = crate::world::strangers(603, ["ann", "bob"]).await;
    let refused = async |request| world.try_command(ann, request).await.unwrap_err();
    let bobs = || world.address(bob);
    for request in [ask(bobs(), 256 * MIB, 30), grant(bobs(), None, None)] {
        let said = refused(request).await;
        assert!(said.contains("have not said that you know") && said.contains("contacts know"), "{said}");
    }
    for (bytes, days, word) in [
        (4 * MIB - 1, 30, "4 MiB"),
        ((1 << 40) + 1, 30, "1 TiB"),
        (4 * MIB, 6, "7 to 38"),
        (4 * MIB, 39, "7 to 38"),
    ] {
        let said = refused(ask(bobs(), bytes, days)).await;
        assert!(said.contains(word), "{said}");
        let said = refused(grant(bobs(), Some(bytes), Some(days))).await;
        assert!(said.contains(word), "{said}");
    }
    assert!(refused(ask(world.address(ann), 256 * MIB, 30)).await.contains("your own address"));
    assert!(refused(end("nobody".to_owned())).await.contains("nobody is called that"));
    assert!(refused(end(bobs())).await.contains("neither does"));
    assert_eq!(world.command(ann, list()).await, nothing());
    assert!(world.queue(ann).await.is_empty(), "and nothing was sent");

    world
        .node(ann)
        .desk
        .decide(world.onion(bob), onionskin::model::trust::Tier::Known, "said")
        .await
        .unwrap();
    let said = refused(grant(bobs(), None, None)).await;
    assert!(said.contains("has not asked") && said.contains("holder ask"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn of_two_who_keep_for_each_other_one_direction_can_end_alone() {
    let mut world = World::new(609, Conditions::default());
    let (bob, carol) = (world.add_started("bob").await, world.add_started("carol").await);
    for (guest, holder) in [(bob, carol), (carol, bob)] {
        ask_and_wait(&world, guest, holder, 256 * MIB, 30).await;
        world.command(holder, grant(world.address(guest), None, None)).await;
        keeps(&world, guest).await;
    }
    let only = |whose| Holders::End { who: world.address(carol), only: Some(whose) };
    let ended = world.command(bob, Request::Holders { ask: only(Whose::Theirs) }).await;
    assert_eq!((&ended["holder"], &ended["told"]), (&json!(false), &json!(true)));
    let over = async |node| {
        let all = world.command(node, list()).await;
        (all["holders"][0]["state"] == "ended", all["guests"][0]["over"] == true)
    };
    within(minutes(10), "Carol's node knows", async || over(carol).await == (true, false)).await;
    assert_eq!(over(bob).await, (false, true));
    let refused = world.try_command(bob, Request::Holders { ask: only(Whose::Theirs) }).await.unwrap_err();
    assert!(refused.contains("you keep no letters for"), "{refused}");

    let ended = world.command(bob, Request::Holders { ask: only(Whose::Mine) }).await;
    assert_eq!((&ended["holder"], &ended["guest"]), (&json!(true), &Value::Null));
    within(minutes(10), "Carol's node knows of both", async || over(carol).await == (true, true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_question_is_put_away_without_a_word() {
    let mut world = World::new(606, Conditions::default());
    let (bob, carol) = (world.add_started("bob").await, world.add_started("carol").await);
    ask_and_wait(&world, bob, carol, 256 * MIB, 30).await;
    let ended = world.command(carol, end(world.address(bob))).await;
    assert_eq!(
        (&ended["wish"], &ended["told"], &ended["guest"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    assert_eq!(world.command(carol, list()).await["wishes"], json!([]));
    assert!(world.queue(carol).await.is_empty(), "no letter tells of it");
    let refused = world.try_command(carol, grant(world.address(bob), None, None)).await.unwrap_err();
    assert!(refused.contains("has not asked"), "{refused}");
}

/// Bob, for whom Carol keeps letters, and Ann, who knows it.
async fn bob_has_a_holder(seed: u64) -> (World, [NodeId; 3]) {
    let mut world = World::new(seed, Conditions::default());
    let ann = world.add_started("ann").await;
    let (bob, carol) = (world.add_started("bob").await, world.add_started("carol").await);
    ask_and_wait(&world, bob, carol, 256 * MIB, 30).await;
    world.command(carol, grant(world.address(bob), None, None)).await;
    keeps(&world, bob).await;
    world.write(bob, ann, "where to find me").await.taken();
    arrived(&world, ann, "where to find me", minutes(5)).await;
    (world, [ann, bob, carol])
}

#[tokio::test(start_paused = true)]
async fn the_queue_says_by_how_many_a_letter_is_held_and_the_holder_how_much_it_keeps() {
    let (mut world, [ann, bob, carol]) = bob_has_a_holder(604).await;
    world.stop(bob).await;
    world.write(ann, bob, "while you sleep").await.taken();
    let held = async || world.command(ann, Request::Queue).await[0]["state"] == json!("held");
    within(minutes(10), "held", held).await;
    let row = world.command(ann, Request::Queue).await[0].clone();
    assert_eq!((&row["held_by"], &row["errand"]), (&json!(1), &json!(false)));
    let until = world.queue(ann).await[0].1.held_until().unwrap();
    assert_eq!(row["held_until"], json!(until.rfc5322()));
    assert!(until.since(world.now(ann)) > Duration::from_secs(29 * 86_400));
    let guest = world.command(carol, list()).await["guests"][0].clone();
    assert_eq!(guest["letters"], json!(1));
    assert!(guest["used"].as_u64().unwrap() > 0, "{guest}");
    assert_eq!(counts(&world, carol).await, json!({"holders": 0, "guests": 1, "letters": 1, "wishes": 0}));

    // What Ann sent is shown with what the drop signed, and it proves no delivery.
    let copy = world.mailbox(ann, "Sent").await.into_iter().find(|one| one.subject() == "while you sleep");
    let digests = sent_digests(&copy.unwrap().bytes).unwrap();
    let digests: Vec<String> = digests.iter().map(|digest| data_encoding::HEXLOWER.encode(digest)).collect();
    let proofs = world.command(ann, Request::Receipts { digests: digests.clone() }).await;
    assert_eq!(proofs.as_array().unwrap().len(), 1, "{proofs}");
    assert_eq!((&proofs[0]["kind"], &proofs[0]["until"]), (&json!("custody"), &json!(until.rfc5322())));
    let kept = world.node(carol).desk.store().read(|rx| rx.held().mailboxes()).await.unwrap();
    assert_eq!(proofs[0]["drop"], json!(kept[0].1.drop.host()));

    world.stop(ann).await;
    world.start(bob).await;
    arrived(&world, bob, "while you sleep", minutes(5)).await;
    let errands = async || {
        let queue = world.command(bob, Request::Queue).await;
        queue.as_array().unwrap().iter().any(|row| row["errand"] == true)
    };
    assert!(errands().await, "the receipt waits for Ann");
    let status = world.command(bob, Request::Status).await;
    assert_eq!(status["identities"][0]["errands"], json!(1));
    let letters = world.queue(bob).await.iter().filter(|(_, entry)| !entry.errand).count();
    assert_eq!(status["identities"][0]["waiting"], json!(letters), "a receipt is no letter of Bob's");
    let retried = world.command(bob, Request::Retry { numbers: vec![] }).await;
    assert_eq!(retried["retried"], json!(letters), "and sets out in its own time");
    within(minutes(10), "collected", async || {
        let row = world.command(bob, list()).await["holders"][0].clone();
        row["collected"].is_string() && row["failures"] == json!(0)
    })
    .await;
    assert_eq!(world.command(carol, list()).await["guests"][0]["letters"], json!(0));

    world.start(ann).await;
    within(minutes(60), "receipt", async || world.queue(ann).await.is_empty()).await;
    let proofs = world.command(ann, Request::Receipts { digests }).await;
    let kinds: Vec<&Value> = proofs.as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert_eq!(kinds, [&json!("custody"), &json!("receipt")]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_away_is_listed_with_what_went_wrong() {
    let (mut world, [_, bob, carol]) = bob_has_a_holder(605).await;
    world.stop(carol).await;
    pass(minutes(40)).await;
    let row = world.command(bob, list()).await["holders"][0].clone();
    assert!(row["failures"].as_u64().unwrap() >= 1, "{row}");
    assert_eq!((&row["trouble"], &row["state"]), (&json!("it is not online"), &json!("keeps")));
}

#[test]
fn two_people_agree_by_the_command_line_through_their_running_nodes() {
    let hub = Hub::new();
    let ((ann, anns), (bob, bobs)) = (House::of("ann"), House::of("bob"));
    let (_ann, _bob) = (ann.up(&hub), bob.up(&hub));
    ann.run(&["contacts", "know", &bobs]).good();
    bob.run(&["contacts", "know", &anns]).good();
    ann.run(&["contacts", "rename", &bobs, "Bob"]).good();

    let asked = ann.run(&["holder", "ask", "bob", "--bytes", "64M", "--days", "14"]).good();
    for part in [
        "You ask Bob",
        "at most 64 MiB",
        "14 days",
        "costs them",
        "do not see who wrote",
        "What happens next",
    ] {
        assert!(asked.contains(part), "{part:?} in {asked}");
    }
    assert!(ann.run(&["holder"]).good().contains("has not answered yet"));
    bob.wait(&["holder", "list", "--json"], |list| list["wishes"][0]["bytes"] == json!(64 * MIB));
    let shown = bob.run(&["holder", "list"]).good();
    let command = format!("onionskin holder grant {}", anns.split('@').nth(1).unwrap());
    assert!(shown.contains("waits for your answer") && shown.contains(&command), "{shown}");
    assert!(bob.run(&["status"]).good().contains("1 contact asks you to keep letters"));

    let granted = bob.run(&["holder", "grant", &anns, "--days", "7"]).good();
    for part in [
        "at most 64 MiB at a time, each letter for up to 7 days",
        "They asked for more",
        "costs you",
        "do not see who wrote",
    ] {
        assert!(granted.contains(part), "{part:?} in {granted}");
    }
    ann.wait(&["holder", "list", "--json"], |list| list["holders"][0]["state"] == json!("keeps"));
    let shown = ann.run(&["holder", "list"]).good();
    assert!(
        shown.contains("Who keeps letters for you:\n  Bob") && shown.contains("7 days, since"),
        "{shown}"
    );
    let shown = bob.run(&["holder", "list"]).good();
    assert!(shown.contains("0 letters, 0 bytes of 64 MiB, each for 7 days"), "{shown}");
    assert!(ann.run(&["status"]).good().contains("1 contact keeps letters for you while you are away"));
    assert!(bob.run(&["status"]).good().contains("0 letters for others; you keep letters for 1 contact"));

    let ended = ann.run(&["holder", "end", "Bob"]).good();
    assert!(
        ended.contains("Bob keeps no more letters for you") && ended.contains("told by letter"),
        "{ended}"
    );
    ann.run(&["holder", "end", "Bob"]).bad(66, &["neither does Bob", "holder list"]);
    assert!(ann.run(&["holder"]).good().contains("you ended it"));
}

#[test]
fn bad_sizes_and_people_nobody_knows_are_refused_by_the_command_line() {
    let (house, own) = House::of("ann");
    assert!(house.run(&["holder"]).good().contains("Nobody keeps letters for you"));
    for size in ["1.5G", "many", "-1", "99999999T"] {
        house.run(&["holder", "ask", ABSENT, &format!("--bytes={size}")]).bad(64, &["a size is a number"]);
    }
    house.run(&["holder", "ask", ABSENT, "--bytes", "1M"]).bad(64, &["4 MiB to 1 TiB"]);
    house.run(&["holder", "ask", ABSENT, "--days", "60"]).bad(64, &["7 to 38 days"]);
    house.run(&["holder", "ask", ABSENT]).bad(67, &["have not said that you know", "contacts know"]);
    house.run(&["holder", "ask", &own]).bad(64, &["your own address"]);
    house.run(&["holder", "ask", "nobody"]).bad(67, &["nobody is called that"]);
    house.run(&["holder", "end", ABSENT]).bad(66, &["neither does"]);
    house.run(&["contacts", "know", ABSENT]).good();
    house.run(&["holder", "grant", ABSENT]).bad(66, &["has not asked you", "holder ask"]);
    let asked = house.run(&["holder", "ask", ABSENT, "--json"]).json();
    assert_eq!((&asked["bytes"], &asked["days"]), (&json!(256 * MIB), &json!(30)));
    assert!(house.run(&["queue"]).good().contains("queued"));
}

#[test]
fn a_letter_that_a_holder_keeps_is_shown_so_and_proves_no_delivery() {
    let hub = Hub::new();
    let ((ann, anns), (bob, bobs), (carol, carols)) =
        (House::of("ann"), House::of("bob"), House::of("carol"));
    let (_ann, bob_is_up, _carol) = (ann.up(&hub), bob.up(&hub), carol.up(&hub));
    for (house, others) in [(&ann, [&bobs, &carols]), (&bob, [&anns, &carols]), (&carol, [&anns, &bobs])] {
        for other in others {
            house.run(&["contacts", "know", other]).good();
        }
    }
    bob.run(&["holder", "ask", &carols]).good();
    carol.wait(&["holder", "list", "--json"], |list| list["wishes"][0].is_object());
    carol.run(&["holder", "grant", &bobs]).good();
    bob.wait(&["holder", "list", "--json"], |list| list["holders"][0]["state"] == json!("keeps"));
    bob.run(&["send", &anns, "-m", "where to find me"]).good();
    bob.wait(&["queue", "--json"], |queue| queue.as_array().is_some_and(Vec::is_empty));
    bob_is_up.stop("-TERM");

    ann.run(&["send", &bobs, "-m", "while you sleep"]).good();
    ann.wait(&["queue", "--json"], |queue| queue[0]["state"] == json!("held"));
    let shown = ann.run(&["queue"]).good();
    assert!(shown.contains("       held by 1 until "), "{shown}");
    assert!(carol.run(&["status"]).good().contains("1 letter for others"));

    let sent = ann.run(&["read", "--raw", "1", "--folder", "Sent"]).good();
    let verified = ann.run_with(&["verify", "-"], sent.as_bytes());
    for part in ["You sent this letter", "kept by a holder until", "(drop "] {
        assert!(verified.out.contains(part), "{part:?} in {verified:?}");
    }
    verified.bad(65, &["not verified", "no reader has signed"]);
    let told: Value =
        serde_json::from_str(&ann.run_with(&["verify", "-", "--json"], sent.as_bytes()).out).unwrap();
    assert_eq!(
        (&told["verified"], &told["sent"], &told["receipts"]),
        (&json!(false), &json!(true), &json!([]))
    );
    assert_eq!(told["custody"].as_array().map(Vec::len), Some(1));
    let altered = sent.replace("while you sleep", "while you slept");
    ann.run_with(&["verify", "-"], altered.as_bytes()).bad(65, &["not sealed"]);
}

#[test]
fn one_holder_for_two_unlocked_identities_is_refused_unless_it_is_said() {
    let hub = Hub::new();
    let ((ann, _), (bob, _), (_, carol)) = (House::of("ann"), House::of("work"), House::of("carol"));
    for house in [&ann, &bob] {
        house.run(&["contacts", "know", &carol]).good();
    }
    let node = ann.up(&hub);
    let other = bob.up(&hub);
    ann.run(&["holder", "ask", &carol]).good();
    ann.run(&["holder", "ask", &carol, "--days", "20"]).good();
    let ran = bob.run(&["holder", "ask", &carol]);
    assert_eq!(ran.code, Some(77), "{ran:?}");
    assert!(ran.err.contains("another identity of yours") && ran.err.contains("--shared"), "{ran:?}");
    assert!(bob.run(&["holder", "list"]).good().contains("Nobody keeps letters for you"));
    bob.run(&["holder", "ask", &carol, "--shared"]).good();
    let ran = bob.run(&["holder", "end", &carol, "--theirs"]);
    assert!(ran.code == Some(66) && ran.err.contains("you keep no letters for"), "{ran:?}");
    assert_eq!(bob.run(&["holder", "end", &carol, "--mine", "--theirs"]).code, Some(64), "one or the other");
    bob.run(&["holder", "end", &carol, "--mine"]).good();
    // Once the other identity is locked, it is nobody's.
    node.stop("-TERM");
    bob.run(&["holder", "ask", &carol]).good();
    other.stop("-TERM");
}

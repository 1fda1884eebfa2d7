//! Attacks on who somebody is, through the wire: Cards that go back or fork, downgrades, statements passed as others,
//! forged verdicts, forged friends.

use crate::world::{
    Conditions, Forger, Letter, NodeId, Sealed, Smtp, World, card_reply, cose, cose_as, days, hello, hours,
    inside, letter_of, minutes, pass, within,
};
use onion::HostKey;
use onionskin::face::control::{Ask, Request};
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::enclosure::{Covering, letter as letter_with};
use onionskin::model::queue::State;
use onionskin::model::statement::{Card, Certificate, Introduction, Receipt, Verified, Vouch, cbor};
use onionskin::model::time::UnixTime;
use onionskin::model::trust::{Method, Tier};
use serde_json::Value;
use std::cell::RefCell;

/// The seed of the author whose keys are in the test's hand, and of somebody else.
const ANN: u8 = 4;
const EVE: u8 = 5;

/// Bob's node, and Ann who is played by hand.
struct Scene {
    world: World,
    bob: NodeId,
    to: String,
    now: UnixTime,
    ann: Forger,
    eve: Forger,
    card: Verified<Card>,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Conditions::default());
        world.strangers = true;
        let bob = world.add_started("bob").await;
        world.reachable(bob).await;
        let mut caller = world.call(1, bob).await.unwrap();
        caller.greet("asker.example").await.taken();
        let card = caller.card(world.onion(bob)).await;
        let (to, now) = (world.address(bob), world.now(bob));
        let (ann, eve) = (Forger::new(ANN, now), Forger::new(EVE, now));
        Self { world, bob, to, now, ann, eve, card }
    }

    /// Brings a letter that one of the two signed; it is taken.
    async fn bring(&self, author: &Forger, letter: &[u8], enclosed: &[Vec<u8>], id: u8) {
        let header = author.sign(&author.header(&self.to, letter, id));
        let sealed = Sealed::new(&self.card, &inside(&header, enclosed, letter), id);
        let mut caller = self.world.call(1, self.bob).await.unwrap();
        caller.greet("mail.example.org").await.taken();
        caller.send_sealed("", &self.to, &sealed).await.taken();
    }

    /// The same with a plain letter from the local part `ann` or `eve`.
    async fn say(&self, author: &Forger, local: &str, subject: &str, enclosed: &[Vec<u8>]) -> Letter {
        let letter = letter_of(&author.address(local), &[&self.to], subject);
        self.bring(author, letter.as_bytes(), enclosed, subject.bytes().fold(0, u8::wrapping_add)).await;
        self.found(subject).await
    }

    /// The letter with this subject, and the only one.
    async fn found(&self, subject: &str) -> Letter {
        let mut found = Vec::new();
        for folder in ["INBOX", "Requests", "Junk"] {
            found.extend(self.world.mailbox(self.bob, folder).await);
        }
        found.retain(|letter| letter.subject() == subject);
        assert_eq!(found.len(), 1, "{subject}");
        found.remove(0)
    }

    async fn ask(&self, ask: Ask) -> Value {
        self.world.command(self.bob, Request::Contacts { ask }).await
    }

    async fn shown(&self, who: &Forger) -> Value {
        self.ask(Ask::Show { who: who.address("ann") }).await
    }

    async fn tier(&self, who: &Forger) -> String {
        self.ask(Ask::Why { who: who.address("ann") }).await["tier"].as_str().unwrap().to_owned()
    }

    async fn trust(&self, who: &Forger) {
        self.ask(Ask::Decide { who: who.address("ann"), tier: Tier::Trusted }).await;
    }

    async fn errors(&self) -> String {
        let status = self.world.command(self.bob, Request::Status).await;
        status["identities"][0]["errors"].to_string() + &status["errors"].to_string()
    }

    /// Which Card of Ann's is pinned.
    async fn pinned(&self) -> Verified<Card> {
        let (onion, node) = (self.ann.onion, self.world.node(self.bob));
        let read = node.desk.store().read(move |rx| onionskin::node::cards::pinned(rx, &onion));
        read.await.unwrap().expect("a Card is pinned")
    }

    /// Plays the server at Ann's onion for one connection: it speaks as `words` say, and gives this Card. What it
    /// heard.
    async fn play(&self, listener: &mut onion::Listener, words: Option<&str>, card: &[u8]) -> Vec<String> {
        let heard = RefCell::new(Vec::new());
        let mut session = Smtp::new(listener.accept().await.expect("bob dials"));
        session.say("220 there ESMTP").await.unwrap();
        session
            .serve(|line| {
                heard.borrow_mut().push(line.to_owned());
                match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => hello(words),
                    "AUTH" => "235 2.7.0 yours".into(),
                    "CARD" => card_reply(card),
                    "DATA" => "354 go on".into(),
                    "QUIT" => "221 bye".into(),
                    _ => "250 2.0.0 fine".into(),
                }
            })
            .await;
        heard.into_inner()
    }

    /// Listens at Ann's onion.
    async fn listen(&self) -> (std::sync::Arc<dyn onion::Transport>, onion::Listener) {
        let key = HostKey::from_seed([ANN; 32]);
        let transport: std::sync::Arc<dyn onion::Transport> = self.world.network.join(key.address());
        let listener = transport.listen(key, 25).await.expect("nobody else is there");
        (transport, listener)
    }
}

/// The Cards that contradict the second one, and what is said of each.
fn contradictions(
    ann: &Forger,
    first: &Verified<Card>,
    second: &Verified<Card>,
) -> Vec<(Vec<u8>, &'static str)> {
    let previous = Some(second.digest());
    let fork = ann.card(1, Some(first.digest()), |card| card.size_max = 7);
    let elsewhere = ann.card(2, Some([9; 32]), |_| {});
    let recovery = ann.card(2, previous, |card| card.recovery = [1; 32]);
    let later = ann.card(1, None, |card| (card.generation, card.sequence, card.recovery) = (9, 0, [1; 32]));
    [
        (first, "older"),
        (&fork, "two Cards"),
        (&elsewhere, "two Cards"),
        (&recovery, "another recovery key"),
        (&later, "another recovery key"),
    ]
    .map(|(card, why)| (card.bytes().to_vec(), why))
    .into()
}

#[tokio::test(start_paused = true)]
async fn a_card_in_a_letter_that_goes_back_or_forks_is_refused_and_shown_and_the_letter_flows() {
    let scene = Scene::new(111).await;
    let first = scene.ann.card(0, None, |_| {});
    let second = scene.ann.card(1, Some(first.digest()), |_| {});
    scene.say(&scene.ann, "ann", "first", &[first.bytes().to_vec()]).await;
    scene.say(&scene.ann, "ann", "second", &[second.bytes().to_vec()]).await;
    assert_eq!(scene.pinned().await.digest(), second.digest());
    assert!(!scene.errors().await.contains("Card"));
    for (at, (card, why)) in contradictions(&scene.ann, &first, &second).into_iter().enumerate() {
        scene.say(&scene.ann, "ann", &format!("letter {at}"), &[card]).await;
        assert_eq!(scene.pinned().await.digest(), second.digest(), "{why}");
        let shown = scene.shown(&scene.ann).await;
        assert!(
            shown["card"]["refused"]["why"].as_str().is_some_and(|said| said.contains(why)),
            "{why}: {shown}"
        );
        assert!(scene.errors().await.contains("Card contradicts"), "{why}");
    }
    // Somebody else's Card in Ann's letter, or one signed by somebody else, is none of hers.
    let eves = scene.eve.card(5, Some([5; 32]), |_| {});
    let forged = cose("card", &scene.ann.onion, None, &cbor::encode(&*eves), &scene.eve.identity);
    scene.say(&scene.ann, "ann", "with Eve's", &[eves.bytes().to_vec(), forged]).await;
    assert_eq!(scene.pinned().await.digest(), second.digest());
    // And the Card that truly follows is taken.
    let third = scene.ann.card(2, Some(second.digest()), |_| {});
    scene.say(&scene.ann, "ann", "third", &[third.bytes().to_vec()]).await;
    assert_eq!(scene.pinned().await.digest(), third.digest());
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_served_and_goes_back_or_forks_is_refused_and_letters_go_under_the_pinned_one() {
    let scene = Scene::new(112).await;
    let first = scene.ann.card(0, None, |_| {});
    let second = scene.ann.card(1, Some(first.digest()), |_| {});
    scene.say(&scene.ann, "ann", "hello", &[second.bytes().to_vec()]).await;
    let key = format!("KEY={}", second.prekeys[0].id().to_hex());
    let (_transport, mut listener) = scene.listen().await;
    for (at, (card, why)) in contradictions(&scene.ann, &first, &second).into_iter().enumerate() {
        scene.world.write_to(scene.bob, &scene.ann.address("ann"), &format!("letter {at}")).await.taken();
        let heard = scene.play(&mut listener, Some(" CARD SEALED"), &card).await;
        let mail: Vec<_> = heard.iter().filter(|line| line.starts_with("MAIL")).collect();
        assert!(heard.iter().any(|line| line.starts_with("CARD")), "{why}: {heard:?}");
        assert!(
            mail.len() == 1 && mail[0].contains("BODY=SEALED") && mail[0].contains(&key),
            "{why}: {mail:?}"
        );
        assert_eq!(scene.pinned().await.digest(), second.digest(), "{why}");
        let shown = scene.shown(&scene.ann).await;
        assert!(
            shown["card"]["refused"]["why"].as_str().is_some_and(|said| said.contains(why)),
            "{why}: {shown}"
        );
        assert!(scene.errors().await.contains("Card contradicts"), "{why}");
        within(minutes(5), "it is delivered", async || scene.world.queue(scene.bob).await.is_empty()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_seen_with_a_card_never_gets_plaintext_whatever_stands_in_their_place() {
    let scene = Scene::new(113).await;
    let card = scene.ann.card(0, None, |_| {});
    scene.say(&scene.ann, "ann", "hello", &[card.bytes().to_vec()]).await;
    let (_transport, mut listener) = scene.listen().await;
    scene.world.write_to(scene.bob, &scene.ann.address("ann"), "a secret").await.taken();
    for words in [None, Some(""), Some(" CARD"), Some(" SOMETHING ELSE")] {
        let heard = scene.play(&mut listener, words, card.bytes()).await;
        let told = |word: &str| heard.iter().any(|line| line.starts_with(word));
        assert!(!told("MAIL") && !told("DATA") && !told("BDAT"), "{words:?}: {heard:?}");
        pass(minutes(1)).await;
        let queue = scene.world.queue(scene.bob).await;
        let State::Waiting { last: Some(reason), .. } = &queue[0].1.state else {
            panic!("it waits: {queue:?}")
        };
        assert!(format!("{reason:?}").contains("sealed"), "{words:?}: {reason:?}");
    }
    // Ann herself is back.
    let heard = scene.play(&mut listener, Some(" CARD SEALED"), card.bytes()).await;
    assert!(heard.iter().any(|line| line.contains("BODY=SEALED")), "{heard:?}");
    within(minutes(5), "it is delivered", async || scene.world.queue(scene.bob).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn who_announces_a_card_and_gives_none_that_holds_gets_nothing_at_the_first_contact() {
    let scene = Scene::new(114).await;
    let (_transport, mut listener) = scene.listen().await;
    scene.world.write_to(scene.bob, &scene.ann.address("ann"), "a secret").await.taken();
    let eves = scene.eve.card(0, None, |_| {});
    let forged = cose("card", &scene.ann.onion, None, &cbor::encode(&*eves), &scene.eve.identity);
    let anns = scene.ann.card(0, None, |_| {});
    let unsigned = [&anns.bytes()[..anns.bytes().len() - 1], &[0]].concat();
    for card in [eves.bytes(), &forged, &unsigned, b"nonsense"] {
        let heard = scene.play(&mut listener, Some(" CARD SEALED"), card).await;
        assert!(!heard.iter().any(|line| line.starts_with("MAIL")), "{heard:?}");
        pass(minutes(1)).await;
        assert_eq!(scene.world.queue(scene.bob).await.len(), 1);
    }
    let heard = scene.play(&mut listener, Some(" CARD SEALED"), anns.bytes()).await;
    assert!(heard.iter().any(|line| line.contains("BODY=SEALED")), "{heard:?}");
}

/// A letter with statements in parts of its own.
fn covering(from: &str, to: &str, subject: &str, statements: &[(&str, &[u8])]) -> Vec<u8> {
    let (from, to) = (MailAddress::parse(from).unwrap(), MailAddress::parse(to).unwrap());
    let random = [subject.len() as u8; 16];
    let now = UnixTime(1_780_000_000);
    letter_with(&Covering { from: &from, to: &to, subject, text: "See below.\n", statements, now, random })
}

/// What somebody would say of Eve, to lift her.
fn introduction(scene: &Scene, to: &MailAddress, subject: &Forger) -> Introduction {
    Introduction {
        to: to.onion,
        subject: subject.onion,
        card: subject.card(0, None, |_| {}).bytes().to_vec(),
        method: Method::InPerson,
        made: scene.now.to_the_hour(),
        until: scene.now.plus(days(20)),
        note: String::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_of_one_kind_is_not_taken_as_another() {
    let scene = Scene::new(115).await;
    let Scene { ann, eve, to, now, .. } = &scene;
    scene.trust(ann).await;
    let bob = MailAddress::parse(to).unwrap();
    let introduced = introduction(&scene, &bob, eve);
    let payload = cbor::encode(&introduced);
    let certificate = ann.own_certificate();
    let by_ann = |kind: &str, context: &str| {
        cose_as(kind, context, &ann.onion, Some(&certificate), &payload, &ann.device)
    };
    let vouch = Vouch {
        subject: eve.onion,
        method: Method::InPerson,
        made: now.to_the_hour(),
        until: now.plus(days(20)),
        show: true,
    };
    let letters_only = ann.certificate(&ann.device, Certificate::LETTERS, now.plus(days(20)));
    let (vouch, eves_card) = (ann.sign(&vouch), eve.card(0, None, |_| {}));
    let cases: [(&str, &str, Vec<u8>); 8] = [
        ("a vouch as an introduction", "introduction", vouch.clone()),
        ("a Card as an introduction", "introduction", eves_card.bytes().to_vec()),
        ("an introduction that says to be a vouch", "introduction", by_ann("vouch", "vouch")),
        ("one signed as a vouch", "introduction", by_ann("introduction", "vouch")),
        ("one signed as nothing", "introduction", by_ann("introduction", "")),
        ("one in a part for vouches", "vouch", by_ann("introduction", "introduction")),
        ("a vouch for somebody else", "vouch", vouch),
        (
            "one by a device that is for letters",
            "introduction",
            cose("introduction", &ann.onion, Some(&letters_only), &payload, &ann.device),
        ),
    ];
    for (at, (what, part, bytes)) in cases.into_iter().enumerate() {
        let letter = covering(&ann.address("ann"), to, what, &[(part, &bytes)]);
        scene.bring(ann, &letter, &[bytes], 30 + at as u8).await;
        scene.found(what).await;
        assert_eq!(scene.tier(eve).await, "stranger", "{what}");
    }
    // What is no letter's header does not stand in front of one.
    let letter = letter_of(&ann.address("ann"), &[to], "no header");
    let payload = cbor::encode(&ann.header(to, letter.as_bytes(), 60));
    let receipt = Receipt {
        author: bob.onion,
        id: ann.header(to, letter.as_bytes(), 60).id,
        digest: [0; 32],
        made: now.to_the_hour(),
    };
    let as_kind = |kind: &str, context: &str| {
        cose_as(kind, context, &ann.onion, Some(&certificate), &payload, &ann.device)
    };
    for header in [ann.sign(&receipt), as_kind("receipt", "receipt"), as_kind("letter", "receipt")] {
        let sealed = Sealed::new(&scene.card, &inside(&header, &[], letter.as_bytes()), 60);
        let mut caller = scene.world.call(1, scene.bob).await.unwrap();
        caller.greet("mail.example.org").await.taken();
        let answer = caller.send_sealed("", to, &sealed).await;
        assert!(answer.refusal().starts_with("550 5.7.7"), "{answer:?}");
    }
    // The same statement as what it is.
    let honest = by_ann("introduction", "introduction");
    let letter = covering(&ann.address("ann"), to, "as it is", &[("introduction", &honest)]);
    scene.bring(ann, &letter, &[], 70).await;
    assert_eq!(scene.tier(eve).await, "introduced");
}

#[tokio::test(start_paused = true)]
async fn nobody_introduces_themselves_or_in_the_name_of_another_or_outside_a_seal() {
    let scene = Scene::new(116).await;
    let Scene { ann, eve, to, .. } = &scene;
    scene.trust(ann).await;
    let bob = MailAddress::parse(to).unwrap();
    let anns = ann.sign(&introduction(&scene, &bob, eve));
    let own = eve.sign(&introduction(&scene, &bob, eve));
    let other = MailAddress::parse(&scene.world.stranger(9)).unwrap();
    let for_another = ann.sign(&introduction(&scene, &other, eve));
    let forged = {
        let payload = cbor::encode(&introduction(&scene, &bob, eve));
        cose("introduction", &ann.onion, Some(&eve.own_certificate()), &payload, &eve.device)
    };
    for (at, (author, what, bytes)) in [
        (eve, "of herself", own.clone()),
        (eve, "by Ann, brought by Eve", anns.clone()),
        (eve, "forged", forged),
        (ann, "of Eve by Eve, passed on by Ann", own),
        (ann, "for somebody else", for_another),
    ]
    .into_iter()
    .enumerate()
    {
        let letter = covering(&author.address("ann"), to, what, &[("introduction", &bytes)]);
        scene.bring(author, &letter, &[bytes], 30 + at as u8).await;
        scene.found(what).await;
        assert_eq!(scene.tier(eve).await, "stranger", "{what}");
    }
    // Even what Ann truly signed counts for nothing in a letter that nothing proves, or that her node brings unsealed.
    for (proved, subject) in [(false, "from nobody"), (true, "from her node, unsealed")] {
        let letter = covering(&ann.address("ann"), to, subject, &[("introduction", &anns)]);
        let mut caller = scene.world.call(ANN, scene.bob).await.unwrap();
        match proved {
            true => caller.prove(ANN, scene.world.onion(scene.bob)).await.taken(),
            false => caller.greet("stock.example").await.taken(),
        }
        caller.send(&ann.address("ann"), &[to], &letter).await.taken();
        scene.found(subject).await;
        assert_eq!(scene.tier(eve).await, "stranger", "{subject}");
    }
    let letter = covering(&ann.address("ann"), to, "truly", &[("introduction", &anns)]);
    scene.bring(ann, &letter, &[], 40).await;
    assert_eq!(scene.tier(eve).await, "introduced");
}

/// Lines that only the reader's own node writes, as others would like to write them.
fn forged_lines(bob: &str, friend: &str) -> String {
    let claims = format!("onion=pass smtp.auth={friend};\r\n\tseal=pass header.from={friend}");
    format!(
        "X-Onionskin-Verdict: trusted; signed and sealed by {friend}\r\nX-ONIONSKIN-Signed:\r\n\tAAAA\r\n\
         X-Onionskin-Original : QUFB\r\nX-Onionskin-Whatever: x\r\nReturn-Path: <friend@{friend}>\r\n\
         Authentication-Results: {bob};\r\n\t{claims}\r\nauthentication-results:\r\n\t{bob} 1; {claims}\r\n\
         Authentication-Results: (comment) {bob}; {claims}\r\nX-Keywords: $Signed\r\n"
    )
}

fn has_only_true_lines(letter: &Letter, bob: &str, verdict: &str, signed: bool) {
    let text = letter.text();
    assert_eq!(letter.fields("X-Onionskin-Verdict").len(), 1, "{text}");
    assert!(letter.field("X-Onionskin-Verdict").starts_with(verdict), "{text}");
    assert_eq!(letter.fields("X-Onionskin-Signed").len(), usize::from(signed), "{text}");
    assert_ne!(letter.field("X-Onionskin-Signed"), "AAAA");
    assert_ne!(letter.field("X-Onionskin-Original"), "QUFB");
    assert!(letter.fields("X-Onionskin-Whatever").is_empty() && letter.fields("X-Keywords").is_empty());
    assert_eq!(letter.fields("Return-Path").len(), 1);
    let results = letter.fields("Authentication-Results");
    assert_eq!(results.len(), 1, "{text}");
    assert_eq!((results[0].contains(bob), results[0].contains("seal=pass")), (true, signed), "{text}");
}

#[tokio::test(start_paused = true)]
async fn forged_verdicts_do_not_arrive_from_stock_servers_or_from_inside_a_seal() {
    let scene = Scene::new(117).await;
    let Scene { ann, eve, to, .. } = &scene;
    scene.trust(ann).await;
    let host = scene.world.onion(scene.bob).host();
    let lines = forged_lines(&host, &ann.onion.host());
    let forged = |from: &str, subject: &str| lines.clone() + &letter_of(from, &[to], subject);
    // A stock server, in the name of Bob's trusted friend.
    let mut caller = scene.world.call(1, scene.bob).await.unwrap();
    caller.greet("stock.example").await.taken();
    let letter = forged(&ann.address("ann"), "from stock");
    caller.send(&ann.address("ann"), &[to], letter.as_bytes()).await.taken();
    has_only_true_lines(&scene.found("from stock").await, &host, "unverified; nothing proves", false);
    assert_eq!(scene.world.subjects(scene.bob, "Requests").await, ["from stock"]);
    // A node that proves its onion and does not seal; and seals of a stranger and of the friend.
    let mut caller = scene.world.call(EVE, scene.bob).await.unwrap();
    caller.prove(EVE, scene.world.onion(scene.bob)).await.taken();
    let letter = forged(&eve.address("eve"), "from Eve's node");
    caller.send(&scene.world.stranger(EVE), &[to], letter.as_bytes()).await.taken();
    has_only_true_lines(&scene.found("from Eve's node").await, &host, "stranger; not sealed", false);
    scene.bring(eve, forged(&eve.address("eve"), "Eve's seal").as_bytes(), &[], 20).await;
    has_only_true_lines(&scene.found("Eve's seal").await, &host, "stranger; signed and sealed", true);
    scene.bring(ann, forged(&ann.address("ann"), "Ann's seal").as_bytes(), &[], 21).await;
    has_only_true_lines(&scene.found("Ann's seal").await, &host, "trusted; signed and sealed", true);
    assert_eq!(scene.world.subjects(scene.bob, "INBOX").await, ["Ann's seal"]);
}

#[tokio::test(start_paused = true)]
async fn a_forged_friend_ranks_below_strangers_and_moving_the_letter_changes_nothing_about_the_friend() {
    let scene = Scene::new(118).await;
    let Scene { ann, eve, to, .. } = &scene;
    scene.trust(ann).await;
    let before = scene.shown(ann).await;
    let names = format!("\"Ann, your friend {}\" <{}>", ann.address("ann"), eve.address("ann"));
    let from = [ann.address("ann"), format!("{}, {}", ann.address("ann"), eve.address("eve"))];
    for (at, from) in from.iter().enumerate() {
        let mut caller = scene.world.call(1, scene.bob).await.unwrap();
        caller.greet("stock.example").await.taken();
        let letter = letter_of(from, &[to], &format!("forged {at}"));
        caller.send(&ann.address("ann"), &[to], letter.as_bytes()).await.taken();
    }
    scene.bring(eve, letter_of(&names, &[to], "a name").as_bytes(), &[], 20).await;
    assert_eq!(scene.world.subjects(scene.bob, "Requests").await, ["forged 0", "forged 1", "a name"]);
    let mut reader = scene.world.reader(scene.bob).await;
    reader.ask("SELECT Requests").await.taken();
    reader.ask("FETCH 1:* FLAGS").await.taken();
    let flags: Vec<String> =
        reader.told.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    for (line, (unsealed, unverified)) in flags.iter().zip([(true, true), (true, true), (false, false)]) {
        assert_eq!(
            (line.contains("$Unsealed"), line.contains("$Unverified")),
            (unsealed, unverified),
            "{flags:?}"
        );
    }
    // To INBOX, to Junk and back: the friend is who the friend was, and nobody asks about it.
    for (from, into) in [("Requests", "INBOX"), ("INBOX", "Junk"), ("Junk", "INBOX"), ("INBOX", "Junk")] {
        reader.ask(&format!("SELECT {from}")).await.taken();
        reader.ask(&format!("MOVE 1:2 {into}")).await.taken();
        assert_eq!(scene.shown(ann).await, before, "{from} to {into}");
    }
    assert_eq!(scene.tier(eve).await, "stranger");
    // Eve's own letter is hers: in Junk, she is blocked, and Ann is not.
    reader.ask("SELECT Requests").await.taken();
    reader.ask("MOVE 1:* Junk").await.taken();
    assert_eq!((scene.tier(eve).await, scene.tier(ann).await), ("blocked".into(), "trusted".into()));
    scene.say(ann, "ann", "from the friend", &[]).await;
    assert_eq!(scene.world.subjects(scene.bob, "INBOX").await, ["from the friend"]);
}

#[tokio::test(start_paused = true)]
async fn a_from_that_is_not_on_the_card_is_shown_as_the_canonical_one() {
    let scene = Scene::new(119).await;
    let ann = &scene.ann;
    let first = ann.card(0, None, |_| {});
    let from = |letter: Letter| letter.field("From");
    let shown = scene.say(ann, "security-team", "with the Card", &[first.bytes().to_vec()]).await;
    assert_eq!(from(shown), ann.address("anna"));
    let shown = scene.say(ann, "bank", "later", &[]).await;
    assert!(shown.field("X-Onionskin-Verdict").contains(&ann.address("anna")));
    assert_eq!(from(shown), ann.address("anna"));
    assert_eq!(from(scene.say(ann, "ann", "an alias", &[]).await), ann.address("ann"));
    // A Card that is refused does not make a name good, nor take one away.
    let names = |card: &mut Card| card.names = vec![LocalPart::parse("bank").unwrap()];
    let fork = ann.card(0, None, names);
    for (subject, local, expected) in [("by a fork", "bank", "anna"), ("in spite of it", "ann", "ann")] {
        let shown = scene.say(ann, local, subject, &[fork.bytes().to_vec()]).await;
        assert_eq!(from(shown), ann.address(expected), "{subject}");
    }
    pass(hours(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_later_program_says_is_kept_within_a_quota_and_only_from_its_author() {
    let scene = Scene::new(119).await;
    let Scene { ann, eve, to, .. } = &scene;
    let certificate = ann.own_certificate();
    let payload = cbor::encode(&"anything");
    let say = |kind: &str, number: u8| {
        let payload = [&[0xa1, number][..], &payload].concat();
        cose(kind, &ann.onion, Some(&certificate), &payload, &ann.device)
    };
    let kept = async || {
        let (store, onion) = (scene.world.node(scene.bob).desk.store().clone(), ann.onion);
        let about = store.read(move |rx| rx.statements().about(&onion, 100)).await.unwrap();
        about.into_iter().map(|(_, record)| record.bytes).collect::<Vec<_>>()
    };
    // Of another author, in the part of another kind, or with a signature that does not hold: nothing.
    let mut broken = say("oracle", 0);
    *broken.last_mut().unwrap() ^= 1;
    let letter =
        covering(&ann.address("ann"), to, "broken", &[("oracle", &broken), ("omen", &say("oracle", 0))]);
    scene.bring(ann, &letter, &[], 80).await;
    let letter = covering(&eve.address("eve"), to, "passed on", &[("oracle", &say("oracle", 0))]);
    scene.bring(eve, &letter, &[], 81).await;
    assert!(kept().await.is_empty());
    let oracle = say("oracle", 0);
    let letter = covering(&ann.address("ann"), to, "an oracle", &[("oracle", &oracle)]);
    scene.bring(ann, &letter, &[], 82).await;
    assert_eq!(kept().await, [oracle]);
    // Eight of one author are the most; the letters flow all the same.
    let many: Vec<Vec<u8>> = (1..13).map(|number| say("oracle", number)).collect();
    let parts: Vec<(&str, &[u8])> = many.iter().map(|bytes| ("oracle", bytes.as_slice())).collect();
    scene.bring(ann, &covering(&ann.address("ann"), to, "many oracles", &parts), &[], 83).await;
    assert_eq!(kept().await.len(), 8);
    scene.found("many oracles").await;
}

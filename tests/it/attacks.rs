//! Attacks on sealed letters, through the wire: forged authors, changed letters, letters passed on, letters replayed.
//!
//! Each is refused in the session, leaves nothing behind, and does not stand in the way of the honest letter after it.

use crate::world::{
    AfterCrash, Answer, Conditions, Forger, NodeId, Sealed, World, cose, inside, letter_of, pass,
};
use onionskin::model::statement::{Card, Certificate, Verified, cbor};
use std::time::Duration;

/// The honest author's seed, and that of somebody who is not.
const ANN: u8 = 4;
const EVE: u8 = 5;

/// Bob's and Carol's nodes; Ann and Eve write to them by hand.
struct Scene {
    world: World,
    bob: NodeId,
    carol: NodeId,
    ann: Forger,
    eve: Forger,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Conditions::default());
        let bob = world.add_started("bob").await;
        let carol = world.add_started("carol").await;
        world.reachable(bob).await;
        world.reachable(carol).await;
        let now = world.now(bob);
        Self { world, bob, carol, ann: Forger::new(ANN, now), eve: Forger::new(EVE, now) }
    }

    async fn card(&self, of: NodeId) -> Verified<Card> {
        let mut caller = self.world.call(1, of).await.unwrap();
        caller.greet("asker.example").await.taken();
        caller.card(self.world.onion(of)).await
    }

    /// Brings sealed bytes in a session that proves the onion of a seed, or nothing.
    async fn bring(&self, proved: Option<u8>, to: NodeId, sealed: &Sealed) -> Answer {
        self.bring_for(proved, to, &self.world.address(to), sealed).await
    }

    async fn bring_for(&self, proved: Option<u8>, to: NodeId, rcpt: &str, sealed: &Sealed) -> Answer {
        let mut caller = self.world.call(proved.unwrap_or(1), to).await.unwrap();
        let from = match proved {
            Some(seed) => {
                caller.prove(seed, self.world.onion(to)).await.taken();
                self.world.stranger(seed)
            }
            None => {
                caller.greet("mail.example.org").await.taken();
                String::new()
            }
        };
        caller.send_sealed(&from, rcpt, sealed).await
    }

    /// Ann's letter for Bob.
    fn letter(&self, subject: &str) -> String {
        letter_of(&self.ann.address("ann"), &[&self.world.address(self.bob)], subject)
    }

    /// Everything that Bob has, in the folders where letters arrive.
    async fn kept(&self, by: NodeId) -> Vec<String> {
        let mut all = Vec::new();
        for folder in ["INBOX", "Requests", "Junk"] {
            all.extend(self.world.subjects(by, folder).await);
        }
        all
    }

    /// An honest letter from Ann to Bob, which must come through though others were tried before.
    async fn honest(&self, subject: &str, id: u8) {
        let card = self.card(self.bob).await;
        let letter = self.letter(subject);
        let sealed = self.ann.sealed(&card, &self.world.address(self.bob), letter.as_bytes(), id);
        self.bring(Some(ANN), self.bob, &sealed).await.taken();
        assert_eq!(self.kept(self.bob).await, [subject], "the honest letter, and nothing else");
        let found = self.world.mailbox(self.bob, "Requests").await.remove(0);
        let verdict = found.field("X-Onionskin-Verdict");
        assert!(verdict.starts_with("stranger; signed and sealed by"), "{verdict}");
    }
}

/// A refusal for ever, in these words.
fn is_refused(answer: &Answer, code: &str, words: &str, what: &str) {
    let line = answer.refusal();
    assert!(line.starts_with(code) && line.contains(words), "{what}: {line}");
}

#[tokio::test(start_paused = true)]
async fn nobody_signs_a_letter_for_somebody_else() {
    let scene = Scene::new(101).await;
    let Scene { ann, eve, .. } = &scene;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    let now = scene.world.now(scene.bob);
    let later = now.plus(Duration::from_secs(86_400));
    let letter = scene.letter("forged");
    let header = ann.header(&to, letter.as_bytes(), 1);
    let payload = cbor::encode(&header);
    let letters = Certificate::LETTERS;
    let by = |certificate: Option<&[u8]>, key| cose("letter", &ann.onion, certificate, &payload, key);
    let eves = eve.certificate(&eve.device, letters, later);
    let anns = ann.own_certificate();
    let statements_only = ann.certificate(&ann.device, Certificate::STATEMENTS, later);
    let expired = ann.certificate(&ann.device, letters, now.to_the_hour());
    let other = ann.header(&to, letter.replace("about", "above").as_bytes(), 1);
    for (what, header, code, words) in [
        ("Eve's certificate", by(Some(&eves), &eve.device), "550 5.7.7", "certificate"),
        ("Eve's device under Ann's certificate", by(Some(&anns), &eve.device), "550 5.7.7", "signature"),
        ("no certificate", by(None, &ann.device), "550 5.7.7", "certificate"),
        ("the identity key itself", by(None, &ann.identity), "550 5.7.7", "certificate"),
        (
            "a device that is for other things",
            by(Some(&statements_only), &ann.device),
            "550 5.7.7",
            "certificate",
        ),
        ("a certificate that ran out", by(Some(&expired), &ann.device), "550 5.7.7", "expired"),
        ("a certificate as a header", anns.clone(), "550 5.7.7", "signature"),
        ("the header of another letter", ann.sign(&other), "550 5.7.7", "not the one"),
        ("no statement at all", b"\x80".to_vec(), "550 5.7.7", "signature"),
    ] {
        pass(Duration::from_secs(3700)).await;
        let sealed = Sealed::new(&card, &inside(&header, &[], letter.as_bytes()), 1);
        is_refused(&scene.bring(None, scene.bob, &sealed).await, code, words, what);
        // What Eve proves of herself does not help her either.
        assert!(!scene.bring(Some(EVE), scene.bob, &sealed).await.is_taken(), "{what}");
    }
    scene.honest("from Ann herself", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_sealed_letter_is_taken_from_its_author_or_from_nobody_known_and_from_no_other_onion() {
    let scene = Scene::new(102).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    let letter = scene.letter("brought by another");
    let sealed = scene.ann.sealed(&card, &to, letter.as_bytes(), 2);
    let answer = scene.bring(Some(EVE), scene.bob, &sealed).await;
    is_refused(&answer, "550 5.7.1", "signed by another onion", "brought by Eve");
    assert!(scene.kept(scene.bob).await.is_empty());
    // The seal alone proves its author: whoever may carry it without a name.
    scene.bring(None, scene.bob, &sealed).await.taken();
    assert_eq!(scene.kept(scene.bob).await, ["brought by another"]);
    let found = scene.world.mailbox(scene.bob, "Requests").await.remove(0);
    let results = found.field("Authentication-Results");
    assert!(results.contains("onion=none"), "{results}");
    assert!(results.contains(&format!("seal=pass header.from={}", scene.ann.onion.host())), "{results}");
}

#[tokio::test(start_paused = true)]
async fn a_good_signature_covers_no_other_author_in_from() {
    let scene = Scene::new(103).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    let carol = scene.world.address(scene.carol);
    let (own, eve) = (scene.ann.address("ann"), scene.eve.address("eve"));
    for (what, from, code) in [
        ("a friend of Bob's", format!("From: {carol}\r\n"), "550 5.7.1"),
        ("herself and another", format!("From: {own}, {carol}\r\n"), "550 5.7.1"),
        ("a name that hides another", format!("From: \"{own}\" <{eve}>\r\n"), "550 5.7.1"),
        ("an address of the old net", "From: carol@example.org\r\n".into(), "550 5.7.1"),
        ("two From lines", format!("From: {own}\r\nFrom: {carol}\r\n"), "554 5.6.0"),
        ("none", String::new(), "554 5.6.0"),
    ] {
        let letter = format!("{from}To: {to}\r\nSubject: forged\r\n\r\nforged\r\n");
        let sealed = scene.ann.sealed(&card, &to, letter.as_bytes(), 3);
        for proved in [None, Some(ANN)] {
            is_refused(&scene.bring(proved, scene.bob, &sealed).await, code, "From", what);
        }
    }
    scene.honest("from Ann in her own name", 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_was_changed_inside_its_seal_is_refused() {
    let scene = Scene::new(104).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    let letter = scene.letter("to be changed");
    let header = scene.ann.sign(&scene.ann.header(&to, letter.as_bytes(), 4));
    let honest = inside(&header, &[], letter.as_bytes());
    let end = honest.len() - honest.iter().rev().take_while(|&&byte| byte == 0).count();
    let with = |letter: &str| inside(&header, &[], letter.as_bytes());
    let poked = |at: usize, byte: u8| {
        let mut plain = honest.clone();
        plain[at] = byte;
        plain
    };
    for (what, plain, words) in [
        ("a word of the content", with(&letter.replace("about", "above")), "not the one"),
        ("a line of the header", with(&letter.replace("Subject: to be", "Subject: was it")), "padding"),
        ("the same, as long", with(&letter.replace("Subject: to", "Subject: no")), "not the one"),
        ("a line more at the end", with(&format!("{letter}PS\r\n")), "padding"),
        ("a line less", with(letter.strip_suffix("\r\n").unwrap()), "not the one"),
        ("the first byte behind the letter", poked(end, b'!'), "padding"),
        ("the last byte of the padding", poked(honest.len() - 1, 1), "padding"),
        ("more padding", [&honest[..], &[0; 4096]].concat(), "length"),
        ("less padding", honest[..honest.len() - 1].to_vec(), "length"),
        ("no padding", honest[..end].to_vec(), "length"),
        ("no letter", inside(&header, &[], b""), "not the one"),
        ("an endless header", poked(0, 0xff), "length"),
        ("a header that is shorter", poked(3, honest[3] - 1), "malformed"),
        (
            "a signature of which a bit is turned",
            poked(4 + header.len(), honest[4 + header.len()] ^ 1),
            "signature",
        ),
    ] {
        let sealed = Sealed::new(&card, &plain, 4);
        is_refused(&scene.bring(None, scene.bob, &sealed).await, "550 5.7.7", words, what);
        assert!(!scene.bring(Some(ANN), scene.bob, &sealed).await.is_taken(), "{what}");
    }
    scene.honest("as it was written", 4).await;
}

#[tokio::test(start_paused = true)]
async fn sealed_bytes_that_were_changed_on_their_way_are_refused() {
    let scene = Scene::new(105).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    // Over several chunks of a seal, so that whole chunks can be dropped and exchanged.
    let letter = scene.letter("long") + &"and on it goes\r\n".repeat(12_000);
    let sealed = scene.ann.sealed(&card, &to, letter.as_bytes(), 5);
    let len = sealed.bytes.len();
    const CHUNK: usize = 64 * 1024 + 16;
    let head = len - (len / CHUNK) * CHUNK;
    let last = (len - 1000) / CHUNK * CHUNK;
    assert!(len > 3 * CHUNK, "{len}");
    let turned = |at: usize| sealed.changed(|bytes| bytes[at] ^= 1);
    let cases = [
        ("the magic line", turned(3)),
        ("the encapsulation", turned(200)),
        ("the header's check", turned(1600.min(len - 1))),
        ("the first chunk", turned(CHUNK / 2)),
        ("the last byte", turned(len - 1)),
        ("a byte less", sealed.changed(|bytes| bytes.truncate(len - 1))),
        ("half", sealed.changed(|bytes| bytes.truncate(len / 2))),
        ("the last chunk away", sealed.changed(|bytes| bytes.truncate(last.min(len - 2000)))),
        ("nothing but the head", sealed.changed(|bytes| bytes.truncate(head.max(100)))),
        ("a byte more", sealed.changed(|bytes| bytes.push(0))),
        ("a chunk twice", sealed.changed(|bytes| bytes.extend_from_within(len - CHUNK..))),
        (
            "two chunks exchanged",
            sealed.changed(|bytes| {
                let (first, second) = bytes[2000..].split_at_mut(CHUNK);
                first.swap_with_slice(&mut second[..CHUNK]);
            }),
        ),
    ];
    for (what, changed) in cases {
        let answer = scene.bring(None, scene.bob, &changed).await;
        is_refused(&answer, "550 5.7.7", "the seal does not open", what);
    }
    assert!(scene.kept(scene.bob).await.is_empty());
    scene.bring(Some(ANN), scene.bob, &sealed).await.taken();
    assert_eq!(scene.kept(scene.bob).await, ["long"]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_its_reader_seals_anew_for_a_third_is_refused_there() {
    let mut scene = Scene::new(106).await;
    // Eve is a reader of Ann's, with a node of her own; her Card is by hand too.
    let eve_card = scene.eve.card(0, None, |_| {});
    let letter = letter_of(&scene.ann.address("ann"), &[&scene.eve.address("eve")], "for Eve's eyes");
    let header = scene.ann.sign(&scene.ann.header(&scene.eve.address("eve"), letter.as_bytes(), 6));
    let plain = inside(&header, &[], letter.as_bytes());
    let to_eve = Sealed::new(&eve_card, &plain, 6);
    // What was sealed for her opens for nobody else ...
    let answer = scene.bring(Some(EVE), scene.bob, &to_eve).await;
    is_refused(&answer, "450 4.7.5", "", "under Eve's key");
    // ... and what she seals anew was written to her.
    let card = scene.card(scene.bob).await;
    let anew = Sealed::new(&card, &plain, 7);
    for proved in [None, Some(ANN)] {
        let answer = scene.bring(proved, scene.bob, &anew).await;
        is_refused(&answer, "550 5.7.1", "written to somebody else", "sealed anew");
    }
    // The same between two names of one node.
    let postmaster = format!("postmaster@{}", scene.world.onion(scene.bob).host());
    let letter = scene.letter("for Bob");
    let to_bob = scene.ann.sealed(&card, &scene.world.address(scene.bob), letter.as_bytes(), 8);
    let answer = scene.bring_for(Some(ANN), scene.bob, &postmaster, &to_bob).await;
    is_refused(&answer, "550 5.7.1", "written to somebody else", "for another name");
    // Bob himself passes Ann's letter on to Carol.
    scene.bring(Some(ANN), scene.bob, &to_bob).await.taken();
    let header = scene.ann.sign(&scene.ann.header(&scene.world.address(scene.bob), letter.as_bytes(), 8));
    let to_carol = Sealed::new(&*scene.card(scene.carol).await, &inside(&header, &[], letter.as_bytes()), 9);
    let answer = scene.bring(None, scene.carol, &to_carol).await;
    is_refused(&answer, "550 5.7.1", "written to somebody else", "passed on to Carol");
    assert!(scene.kept(scene.carol).await.is_empty());
    assert_eq!(scene.kept(scene.bob).await, ["for Bob"]);
    // A restart forgets none of this.
    let (world, bob) = (&mut scene.world, scene.bob);
    world.stop(bob).await;
    world.start(bob).await;
    is_refused(&scene.bring(None, scene.bob, &anew).await, "550 5.7.1", "somebody else", "after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_kept_once_however_often_it_is_replayed_and_sealed_anew() {
    let mut scene = Scene::new(107).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    let letter = scene.letter("once");
    let first = Sealed { named: true, ..scene.ann.sealed(&card, &to, letter.as_bytes(), 10) };
    let header = scene.ann.sign(&scene.ann.header(&to, letter.as_bytes(), 10));
    let anew = |salt: u8| Sealed::new(&card, &inside(&header, &[], letter.as_bytes()), salt);
    scene.bring(Some(ANN), scene.bob, &first).await.taken();
    for round in 0..3_u8 {
        // The same bytes, with and without their name; the same signed letter in other seals, by anybody at all.
        scene.bring(Some(ANN), scene.bob, &first).await.taken();
        scene.bring(None, scene.bob, &Sealed { named: false, ..first.clone() }).await.taken();
        scene.bring(None, scene.bob, &anew(20 + round)).await.taken();
        scene.bring(Some(ANN), scene.bob, &Sealed { named: true, ..anew(40 + round) }).await.taken();
        assert_eq!(scene.kept(scene.bob).await, ["once"], "round {round}");
        let (world, bob) = (&mut scene.world, scene.bob);
        match round {
            0 => {
                world.stop(bob).await;
                world.start(bob).await;
            }
            _ => {
                world.crash(bob, AfterCrash::Lost).await;
                world.start(bob).await;
            }
        }
        pass(Duration::from_secs(86_400)).await;
    }
    // Thrown away by its reader, it does not come back.
    let mut reader = scene.world.reader(scene.bob).await;
    reader.ask("SELECT Requests").await.taken();
    reader.ask("STORE 1:* +FLAGS (\\Deleted)").await.taken();
    reader.ask("EXPUNGE").await.taken();
    scene.bring(None, scene.bob, &anew(60)).await.taken();
    assert!(scene.kept(scene.bob).await.is_empty());
    // Another letter of the same text is another letter.
    scene.honest("once more", 11).await;
}

#[tokio::test(start_paused = true)]
async fn one_authors_letters_do_not_stand_for_anothers_of_the_same_id() {
    let scene = Scene::new(108).await;
    let (card, to) = (scene.card(scene.bob).await, scene.world.address(scene.bob));
    // Eve knows the id of a letter that Ann has yet to send, and uses it first.
    let letter = letter_of(&scene.eve.address("eve"), &[&to], "Eve's");
    let eves = scene.eve.sealed(&card, &to, letter.as_bytes(), 12);
    scene.bring(Some(EVE), scene.bob, &eves).await.taken();
    let letter = scene.letter("Ann's");
    scene.bring(Some(ANN), scene.bob, &scene.ann.sealed(&card, &to, letter.as_bytes(), 12)).await.taken();
    assert_eq!(scene.kept(scene.bob).await, ["Eve's", "Ann's"]);
}

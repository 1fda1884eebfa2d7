//! Somebody without a node has an address at a friend's, reads by IMAP on an onion that only they find, and opens each
//! letter with a key that the friend never has.

use crate::holders::Held;
use crate::world::{
    AfterCrash, Answer, Conditions, Forger, Imap, Letter, NodeId, Smtp, World, hours, letter_of, minutes,
    pass, within,
};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use onion::{ClientSecret, DialError, HostKey, OnionAddress, Stream, Transport as _};
use onionskin::face::control::{Ask, Guests, Request};
use onionskin::model::letter::LetterNo;
use onionskin::model::seal::{Opener, Recipient, SecretPrekey};
use onionskin::model::trust::Tier;
use serde_json::Value;
use sha2::Sha256;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);
const IMAP_PORT: u16 = 143;
/// The secret keys of age in these tests; nobody's node has them.
const CLASSIC: [u8; 32] = [0x51; 32];
const HYBRID: [u8; 32] = [0x52; 32];

/// Somebody who reads at a friend's node.
struct Gil {
    user: String,
    password: String,
    onion: OnionAddress,
    tor: ClientSecret,
    open: fn(&[u8]) -> Vec<u8>,
}

fn classic_key() -> String {
    Recipient::Classic(MontgomeryPoint::mul_base_clamped(CLASSIC).0).to_string()
}

fn hybrid_key() -> String {
    Recipient::PostQuantum(SecretPrekey::from_seed(&HYBRID).public().clone()).to_string()
}

fn open_hybrid(file: &[u8]) -> Vec<u8> {
    let mut opener = Opener::new(SecretPrekey::from_seed(&HYBRID));
    let mut plain = opener.push(file).unwrap();
    plain.extend(opener.finish().unwrap());
    plain
}

/// Opens a file of age with an X25519 stanza, by the words of c2sp.org/age.
fn open_classic(file: &[u8]) -> Vec<u8> {
    let derive = |secret: &[u8], salt: &[u8], info: &[u8]| {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut key).unwrap();
        ChaCha20Poly1305::new(&key.into())
    };
    let mut lines = file.split(|byte| *byte == b'\n');
    assert_eq!(lines.next(), Some(&b"age-encryption.org/v1"[..]));
    let share = lines.next().unwrap().strip_prefix(b"-> X25519 ").unwrap();
    let share: [u8; 32] = STANDARD_NO_PAD.decode(share).unwrap().try_into().unwrap();
    let body = STANDARD_NO_PAD.decode(lines.next().unwrap()).unwrap();
    let mac = lines.next().unwrap();
    let own = MontgomeryPoint::mul_base_clamped(CLASSIC).0;
    let shared = MontgomeryPoint(share).mul_clamped(CLASSIC).0;
    let wrap = derive(&shared, &[share, own].concat(), b"age-encryption.org/v1/X25519");
    let file_key = wrap.decrypt(&[0; 12].into(), body.as_slice()).unwrap();
    let begun = file.windows(mac.len()).position(|window| window == mac).unwrap() + mac.len() + 1;
    let (nonce, payload) = file[begun..].split_at(16);
    let cipher = derive(&file_key, nonce, b"payload");
    let last = payload.len().div_ceil(65_552) - 1;
    let chunks = payload.chunks(65_552).enumerate().flat_map(|(number, chunk)| {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
        nonce[11] = u8::from(number == last);
        cipher.decrypt(&nonce.into(), chunk).unwrap()
    });
    chunks.collect()
}

impl Gil {
    /// Gil is taken in at `holder`, with so much room.
    async fn at(world: &World, holder: NodeId, name: &str, age: String, bytes: u64) -> Self {
        let open = if age.starts_with("age1pq1") { open_hybrid } else { open_classic };
        let ask = Guests::Add { name: name.to_owned(), age, bytes, client: None };
        let told = world.command(holder, Request::Guests { ask }).await;
        let onion = OnionAddress::parse(told["imap"]["host"].as_str().unwrap()).unwrap();
        assert_eq!(told["imap"]["port"], IMAP_PORT);
        let line = told["client_auth"].as_str().unwrap();
        let secret = line.strip_prefix(&onion.host().replace(".onion", ":descriptor:x25519:")).unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let tor = ClientSecret::from_bytes(secret.try_into().unwrap());
        Self { user: text("user"), password: text("password"), onion, tor, open }
    }

    /// Dials Gil's onion with a key, or without.
    async fn dial(&self, world: &World, key: Option<&ClientSecret>, port: u16) -> Result<Stream, DialError> {
        let tor = world.network.join(HostKey::from_seed([0xd1; 32]).address());
        if let Some(key) = key {
            tor.add_client_secret(key);
        }
        tor.dial(self.onion, port, DEADLINE).await
    }

    /// Gil's mail program, before the greeting.
    async fn connect(&self, world: &World) -> Imap<Stream> {
        for _ in 0..100 {
            if let Ok(stream) = self.dial(world, Some(&self.tor), IMAP_PORT).await {
                return Imap::new(stream);
            }
            pass(Duration::from_secs(1)).await;
        }
        panic!("the onion is not there");
    }

    async fn reader(&self, world: &World) -> Imap<Stream> {
        let mut imap = self.connect(world).await;
        imap.log_in(&self.user, &self.password).await.taken();
        imap
    }

    async fn letters(&self, world: &World) -> Vec<Letter> {
        self.reader(world).await.letters("INBOX").await.unwrap()
    }

    /// What Gil's `age` makes of the attachment.
    fn opened(&self, letter: &Letter) -> Vec<u8> {
        let message = mail_parser::MessageParser::default().parse(&letter.bytes).unwrap();
        assert_eq!(message.attachment_count(), 1);
        (self.open)(message.attachment(0).unwrap().contents())
    }

    /// Every letter, opened.
    async fn mail(&self, world: &World) -> Vec<String> {
        let letters = self.letters(world).await;
        letters.iter().map(|letter| String::from_utf8(self.opened(letter)).unwrap()).collect()
    }

    async fn has(&self, world: &World, count: usize) {
        within(minutes(10), "Gil's letters", async || self.letters(world).await.len() == count).await;
    }
}

/// A world with a holder whose guest Gil is, and Ann.
async fn house(seed: u64, age: String, bytes: u64) -> (World, NodeId, NodeId, Gil) {
    let mut world = World::new(seed, Conditions::default());
    let hal = world.add_started("hal").await;
    let ann = world.add_started("ann").await;
    let gil = Gil::at(&world, hal, "gil", age, bytes).await;
    (world, hal, ann, gil)
}

/// A stock server's conversation with the holder's onion.
async fn stock(world: &World, holder: NodeId) -> Smtp<Stream> {
    let mut smtp = world.call(9, holder).await.unwrap();
    smtp.greet("mail.example").await.taken();
    smtp
}

fn long_letter(to: &str, subject: &str, len: usize) -> String {
    letter_of("someone@example.org", &[to], subject) + &"0123456789abcdef\r\n".repeat(len / 18)
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_a_node_reaches_a_guest_and_opens_with_their_key_alone() {
    let (world, hal, ann, gil) = house(60, classic_key(), 1 << 26).await;
    world.write_to(ann, &gil.user, "for Gil").await.taken();
    gil.has(&world, 1).await;
    let letter = gil.letters(&world).await.remove(0);
    for (field, value) in [("Subject", "A letter"), ("To", &format!("<{}>", gil.user))] {
        assert_eq!(letter.field(field), value);
    }
    let opened = gil.opened(&letter);
    let sent = world.mailbox(ann, "Sent").await.remove(0).bytes;
    assert!(opened.ends_with(&sent), "byte for byte as it was sent");
    let above = String::from_utf8(opened[..opened.len() - sent.len()].to_vec()).unwrap();
    let author = world.onion(ann).host();
    assert!(above.contains("onion=pass") && above.contains(&format!("seal=pass header.from={author}")));
    assert!(above.contains("X-Onionskin-Signed:"), "Gil can verify it");
    assert!(!above.contains("X-Onionskin-Verdict"), "and is not told what the holder thinks of Ann");
    within(minutes(5), "the receipt", async || world.queue(ann).await.is_empty()).await;
    assert_eq!(world.subjects(hal, "INBOX").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn letters_sealed_and_plain_open_to_their_exact_bytes() {
    for (seed, age) in [(61, classic_key()), (62, hybrid_key())] {
        let (world, hal, _, gil) = house(seed, age, 1 << 26).await;
        let plain = long_letter(&gil.user, "plain", 200_000);
        stock(&world, hal).await.send("", &[&gil.user], plain.as_bytes()).await.taken();
        let forger = Forger::new(9, world.now(hal));
        let mut smtp = world.call(9, hal).await.unwrap();
        smtp.prove(9, world.onion(hal)).await.taken();
        let card = smtp.card(world.onion(hal)).await;
        let from = forger.address("anna");
        let sealed = letter_of(&from, &[&gil.user], "sealed") + "No line end";
        let brought = forger.sealed(&card, &gil.user, sealed.as_bytes(), 1);
        smtp.send_sealed(&from, &gil.user, &brought).await.taken();
        smtp.send_sealed(&from, &gil.user, &brought).await.taken();
        let mail = gil.mail(&world).await;
        assert_eq!(mail.len(), 2, "the same letter again is acknowledged, and kept once");
        assert!(mail[0].ends_with(&plain) && mail[1].ends_with(&sealed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_came_by_a_holder_reaches_a_guest() {
    let Held { mut world, ann, bob, .. } = Held::new(63, &["carol"]).await;
    let gil = Gil::at(&world, bob, "gil", hybrid_key(), 1 << 26).await;
    world.stop(bob).await;
    world.write_to(ann, &gil.user, "while Bob sleeps").await.taken();
    world.write_to(ann, &world.address_as(bob, "nobody"), "for nobody").await.taken();
    pass(minutes(10)).await;
    world.stop(ann).await;
    world.start(bob).await;
    gil.has(&world, 1).await;
    assert!(gil.mail(&world).await[0].contains("Subject: while Bob sleeps\r\n"));
    world.start(ann).await;
    pass(hours(1)).await;
    assert!(world.queue(ann).await.is_empty(), "one is delivered, the other returned");
}

#[tokio::test(start_paused = true)]
async fn the_holders_programs_see_nothing_of_a_guest_and_the_guest_nothing_else() {
    let (world, hal, ann, gil) = house(64, hybrid_key(), 1 << 26).await;
    let other = Gil::at(&world, hal, "pam", hybrid_key(), 1 << 26).await;
    world.write_to(ann, &gil.user, "for Gil").await.taken();
    world.write_to(hal, &gil.user, "from Hal himself").await.taken();
    world.write(ann, hal, "for Hal").await.taken();
    gil.has(&world, 2).await;
    within(minutes(5), "Hal's letter", async || world.subjects(hal, "INBOX").await.len() == 1).await;
    let mail = gil.mail(&world).await;
    assert!(mail.iter().any(|letter| letter.contains("Subject: from Hal himself")));
    let mut program = world.reader(hal).await;
    program.ask("LIST \"\" *").await.taken();
    assert_eq!(program.told.len(), 7, "Hal has the mailboxes of before");
    for mailbox in ["INBOX", "Requests", "Junk", "Drafts", "Trash", "Outbox"] {
        let found = program.letters(mailbox).await.unwrap();
        assert_eq!(found.len(), usize::from(mailbox == "INBOX"), "{mailbox}");
    }
    assert_eq!(world.subjects(hal, "INBOX").await, ["for Hal"]);
    program.ask("GETQUOTAROOT INBOX").await.taken();
    assert_eq!(program.told, [b"* QUOTAROOT \"INBOX\""], "no limit, and none is told");

    let mut reader = gil.reader(&world).await;
    reader.ask("LIST \"\" *").await.taken();
    assert_eq!(reader.told, [b"* LIST (\\HasNoChildren) \"/\" \"INBOX\""]);
    for refused in [
        "SELECT Sent",
        "STATUS Outbox (MESSAGES)",
        "EXAMINE #guest",
        "CREATE Mine",
        "DELETE INBOX",
        "RENAME INBOX Away",
        "GETQUOTA other",
        "GETQUOTAROOT Requests",
        "SUBSCRIBE Junk",
        "APPEND INBOX {1}",
    ] {
        assert!(!reader.ask(refused).await.is_taken(), "{refused}");
    }
    assert!(other.letters(&world).await.is_empty(), "nor do guests see each other");
}

#[tokio::test(start_paused = true)]
async fn flags_and_deletion_hold_and_the_quota_follows() {
    let (world, hal, _, gil) = house(65, classic_key(), 1 << 20).await;
    for subject in ["one", "two"] {
        let letter = long_letter(&gil.user, subject, 90_000);
        stock(&world, hal).await.send("", &[&gil.user], letter.as_bytes()).await.taken();
    }
    let mut reader = gil.reader(&world).await;
    reader.ask("CAPABILITY").await.taken();
    let capabilities = String::from_utf8(reader.told[0].clone()).unwrap();
    assert!(capabilities.contains(" QUOTA QUOTA=RES-STORAGE ") && capabilities.contains("APPENDLIMIT=0"));
    let sizes: Vec<usize> = gil.letters(&world).await.iter().map(|letter| letter.bytes.len()).collect();
    let quota = |sizes: &[usize]| {
        format!("* QUOTA \"\" (STORAGE {} 1024)", sizes.iter().sum::<usize>().div_ceil(1024))
    };
    reader.ask("GETQUOTAROOT INBOX").await.taken();
    assert_eq!(reader.told, [b"* QUOTAROOT \"INBOX\" \"\"".to_vec(), quota(&sizes).into_bytes()]);
    reader.ask("SELECT INBOX").await.taken();
    reader.ask("UID STORE 1 +FLAGS (\\Flagged)").await.taken();
    reader.ask("UID STORE 2 +FLAGS (\\Deleted)").await.taken();
    for refused in ["COPY 1 INBOX", "MOVE 1 INBOX", "UID COPY 1 Trash"] {
        assert!(!reader.ask(refused).await.is_taken(), "{refused}");
    }
    reader.ask("STATUS INBOX (DELETED DELETED-STORAGE SIZE APPENDLIMIT)").await.taken();
    let (all, second) = (sizes.iter().sum::<usize>(), sizes[1]);
    let told = format!("* STATUS \"INBOX\" (DELETED 1 DELETED-STORAGE {second} SIZE {all} APPENDLIMIT 0)");
    assert_eq!(reader.told, [told.into_bytes()]);
    reader.ask("EXPUNGE").await.taken();
    reader.ask("GETQUOTA \"\"").await.taken();
    assert_eq!(reader.told, [quota(&sizes[..1]).into_bytes()]);
    let mut again = gil.reader(&world).await;
    again.ask("SELECT INBOX").await.taken();
    again.ask("FETCH 1:* (UID FLAGS)").await.taken();
    let told = String::from_utf8(again.told.concat()).unwrap();
    assert!(told.contains("UID 1") && told.contains("\\Flagged") && !told.contains("UID 2"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_before_its_body_and_room_comes_back() {
    let (world, hal, ann, gil) = house(66, classic_key(), 1 << 20).await;
    let fitting = long_letter(&gil.user, "fits", 500_000);
    let mut smtp = stock(&world, hal).await;
    smtp.ask("MAIL FROM:<> SIZE=2000000").await.taken();
    assert!(smtp.ask(&format!("RCPT TO:<{}>", gil.user)).await.refusal().starts_with("554 5.3.4"));
    smtp.ask("RSET").await.taken();
    smtp.send("", &[&gil.user], fitting.as_bytes()).await.taken();
    // Where no size was said, the letter is refused as soon as it does not fit; nothing of it stays.
    let answer = smtp.send("", &[&gil.user], fitting.as_bytes()).await;
    assert!(answer.refusal().starts_with("452 4.2.2"), "{answer:?}");
    let known = format!("MAIL FROM:<> SIZE={}", fitting.len());
    smtp.ask(&known).await.taken();
    assert!(smtp.ask(&format!("RCPT TO:<{}>", gil.user)).await.refusal().starts_with("552 5.2.2"));
    smtp.ask("RSET").await.taken();
    smtp.ask(&known).await.taken();
    let stranger = format!("RCPT TO:<{}>", world.address_as(hal, "nobody"));
    assert!(smtp.ask(&stranger).await.refusal().starts_with("550 5.1.1"));
    // An author's node keeps it until there is room; a program of the holder's own is told at once.
    let big = letter_of(&world.address(ann), &[&gil.user], "too big") + &"filler\r\n".repeat(80_000);
    world.submit(ann, &[&gil.user], big.as_bytes()).await.taken();
    let huge = letter_of(&world.address(ann), &[&gil.user], "huge") + &"filler\r\n".repeat(200_000);
    world.submit(ann, &[&gil.user], huge.as_bytes()).await.taken();
    within(minutes(10), "the huge one comes back", async || world.queue(ann).await.len() == 1).await;
    let returned = world.mailbox(ann, "INBOX").await.remove(0).text();
    assert!(returned.contains("Status: 5.3.4") && returned.contains("Subject: huge"), "{returned}");
    let own = letter_of(&world.address(hal), &[&gil.user], "too big") + &"filler\r\n".repeat(80_000);
    assert!(world.submit(hal, &[&gil.user], own.as_bytes()).await.refusal().starts_with("452 4.2.2"));
    let mut reader = gil.reader(&world).await;
    reader.ask("SELECT INBOX").await.taken();
    reader.ask("STORE 1:* +FLAGS.SILENT (\\Deleted)").await.taken();
    reader.ask("EXPUNGE").await.taken();
    within(hours(5), "Ann's letter arrives", async || world.queue(ann).await.is_empty()).await;
    assert!(gil.mail(&world).await[0].contains("Subject: too big\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_letter_to_the_holder_and_to_two_guests_reaches_each_of_them_once() {
    let (mut world, hal, ann, gil) = house(66, hybrid_key(), 1 << 26).await;
    let pam = Gil::at(&world, hal, "pam", hybrid_key(), 1 << 26).await;
    let hals = world.address(hal);
    for (away, order) in [(false, [&hals, &gil.user, &pam.user]), (true, [&pam.user, &gil.user, &hals])] {
        if away {
            world.stop(hal).await;
        }
        let all: Vec<&str> = order.iter().map(|to| to.as_str()).collect();
        let letter = letter_of(&world.address(ann), &all, "to all three");
        world.submit(ann, &all, letter.as_bytes()).await.taken();
        if away {
            pass(hours(1)).await;
            world.start(hal).await;
        }
        within(hours(5), "nothing waits", async || world.queue(ann).await.is_empty()).await;
    }
    assert_eq!(world.subjects(hal, "INBOX").await, ["to all three"; 2]);
    assert_eq!((gil.letters(&world).await.len(), pam.letters(&world).await.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_guest_shares_no_letter_with_others() {
    let (world, hal, _, gil) = house(67, hybrid_key(), 1 << 26).await;
    let other = Gil::at(&world, hal, "pam", hybrid_key(), 1 << 26).await;
    let mut smtp = stock(&world, hal).await;
    for (first, second) in
        [(&gil.user, &world.address(hal)), (&world.address(hal), &gil.user), (&gil.user, &other.user)]
    {
        smtp.ask("MAIL FROM:<>").await.taken();
        smtp.ask(&format!("RCPT TO:<{first}>")).await.taken();
        smtp.ask(&format!("RCPT TO:<{first}>")).await.taken();
        assert!(smtp.ask(&format!("RCPT TO:<{second}>")).await.refusal().starts_with("452 4.5.3"));
        smtp.ask("RSET").await.taken();
    }
    // With a tag the letter is still Gil's.
    let tagged = gil.user.replace('@', "+news@");
    smtp.send("", &[&tagged], letter_of("a@example.org", &[&tagged], "tagged").as_bytes()).await.taken();
    assert_eq!(gil.letters(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_guests_key_finds_the_onion_and_only_their_password_opens_it() {
    let (mut world, hal, _, gil) = house(68, hybrid_key(), 1 << 26).await;
    let other = Gil::at(&world, hal, "pam", hybrid_key(), 1 << 26).await;
    assert_ne!(gil.onion, other.onion);
    gil.reader(&world).await;
    let refused =
        [gil.dial(&world, None, IMAP_PORT).await, gil.dial(&world, Some(&other.tor), IMAP_PORT).await];
    assert!(refused.iter().all(|answer| matches!(answer, Err(DialError::Refused))), "{refused:?}");
    assert!(gil.dial(&world, Some(&gil.tor), 25).await.is_err(), "no other port is there");
    let own = (world.address(hal), world.password(hal).to_owned());
    for (user, password) in
        [(&own.0, &own.1), (&other.user, &other.password), (&gil.user, &other.password), (&gil.user, &own.1)]
    {
        let answer = gil.connect(&world).await.log_in(user, password).await;
        assert!(answer.refusal().contains("AUTHENTICATIONFAILED"), "{answer:?}");
    }
    let answer = world.imap(hal).log_in(&gil.user, &gil.password).await;
    assert!(answer.refusal().contains("AUTHENTICATIONFAILED"), "nor is Gil let in on loopback");
    let mut hasty = gil.connect(&world).await;
    hasty.log_in("gil", "x").await;
    hasty.ask("LOGIN gil y").await;
    hasty.ask("LOGIN gil z").await;
    assert_eq!(hasty.ask("NOOP").await, Answer::Cut, "three failures close it");
    // After a restart the onions are there again, and the logins hold.
    world.stop(hal).await;
    assert!(gil.dial(&world, Some(&gil.tor), IMAP_PORT).await.is_err());
    world.start(hal).await;
    gil.reader(&world).await;
    other.reader(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_password_ends_the_old_one_and_what_it_opened_and_a_removed_guest_is_gone() {
    let (world, hal, ann, mut gil) = house(69, hybrid_key(), 1 << 26).await;
    world.write_to(ann, &gil.user, "for Gil").await.taken();
    gil.has(&world, 1).await;
    let mut open = gil.reader(&world).await;
    let ask = |ask| world.command(hal, Request::Guests { ask });
    let told = ask(Guests::Password { name: "Gil".to_owned() }).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(open.ask("NOOP").await, Answer::Cut, "what the old password opened is closed");
    let answer = gil.connect(&world).await.log_in(&gil.user, &gil.password).await;
    assert!(!answer.is_taken());
    gil.password = told["password"].as_str().unwrap().to_owned();
    let mut open = gil.reader(&world).await;
    let listed = ask(Guests::List).await["guests"][0].clone();
    assert_eq!((&listed["name"], &listed["letters"]), (&Value::from("gil"), &Value::from(1)));
    assert!(listed["password"].is_null(), "a password is shown once");
    let removed = ask(Guests::Remove { name: "gil".to_owned() }).await;
    assert_eq!((&removed["letters"], &removed["used"]), (&Value::from(1), &listed["used"]));
    pass(Duration::from_secs(1)).await;
    assert_eq!(open.ask("NOOP").await, Answer::Cut);
    assert!(matches!(gil.dial(&world, Some(&gil.tor), IMAP_PORT).await, Err(DialError::Absent)));
    let mut smtp = stock(&world, hal).await;
    smtp.ask("MAIL FROM:<>").await.taken();
    assert!(smtp.ask(&format!("RCPT TO:<{}>", gil.user)).await.refusal().starts_with("550 5.1.1"));
    // Who comes next under the name begins with nothing, elsewhere.
    let next = Gil::at(&world, hal, "gil", hybrid_key(), 1 << 26).await;
    assert!(next.onion != gil.onion && next.letters(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_wrongly_given_is_refused_for_its_reason() {
    let (world, hal, _, _) = house(70, hybrid_key(), 1 << 26).await;
    let age = classic_key();
    let client = ClientSecret::from_bytes([1; 32]).public().to_string();
    for (name, key, bytes, client, why) in [
        ("hal", age.as_str(), 1 << 26, None, "a name of your own"),
        ("postmaster", &age, 1 << 26, None, "meaning of its own"),
        ("echo", &age, 1 << 26, None, "meaning of its own"),
        ("gil", &age, 1 << 26, None, "a guest gil already"),
        ("GIL", &age, 1 << 26, None, "a guest gil already"),
        ("a@b.onion", &age, 1 << 26, None, "only the part before the @"),
        ("", &age, 1 << 26, None, "empty"),
        ("pam\u{1b}[1m", &age, 1 << 26, None, "letters a-z"),
        ("pam", &age[1..], 1 << 26, None, "begins with age1"),
        ("pam", &age[..40], 1 << 26, None, "typing error"),
        ("pam", "AGE-SECRET-KEY-1XX", 1 << 26, None, "secret key"),
        ("pam", "ssh-ed25519 AAAA", 1 << 26, None, "begins with age1"),
        ("pam", &age, 1 << 19, None, "1 MiB to 64 GiB"),
        ("pam", &age, 1 << 37, None, "1 MiB to 64 GiB"),
        ("pam", &age, 1 << 26, Some("x25519:AAAA".to_owned()), "begins with descriptor:x25519:"),
        ("pam", &age, 1 << 26, Some(client.replace(":x", ":X")), "begins with descriptor:x25519:"),
        ("pam", &age, 1 << 26, Some(client[..40].to_owned()), "52 letters"),
    ] {
        let ask = Guests::Add { name: name.to_owned(), age: key.to_owned(), bytes, client };
        let refusal = world.try_command(hal, Request::Guests { ask }).await.unwrap_err();
        assert!(refusal.contains(why), "{name} {key}: {refusal}");
    }
    for ask in [Guests::Remove { name: "pam".to_owned() }, Guests::Password { name: "\u{7}".to_owned() }] {
        let refusal = world.try_command(hal, Request::Guests { ask }).await.unwrap_err();
        assert!(refusal.contains("there is no guest") && !refusal.contains('\u{7}'), "{refusal}");
    }
    let own = Guests::Add { name: "pam".to_owned(), age, bytes: 1 << 26, client: Some(client.clone()) };
    let told = world.command(hal, Request::Guests { ask: own }).await;
    assert!(told["client_auth"].is_null(), "of a key that was given there is no secret to tell");
    assert_eq!(told["client_key"], client);
}

#[tokio::test(start_paused = true)]
async fn what_a_blocked_author_writes_to_a_guest_is_marked_and_kept() {
    let (world, hal, ann, gil) = house(71, hybrid_key(), 1 << 26).await;
    let decide = |tier| Request::Contacts { ask: Ask::Decide { who: world.address(ann), tier } };
    for (tier, subject) in [(Tier::Known, "before"), (Tier::Blocked, "after")] {
        world.command(hal, decide(tier)).await;
        world.write_to(ann, &gil.user, subject).await.taken();
        within(minutes(5), subject, async || world.queue(ann).await.is_empty()).await;
    }
    let mut reader = gil.reader(&world).await;
    reader.ask("SELECT INBOX").await.taken();
    for (search, found) in [("KEYWORD $Junk", "* SEARCH 2"), ("UNKEYWORD $Junk", "* SEARCH 1")] {
        reader.ask(&format!("SEARCH {search}")).await.taken();
        assert_eq!(reader.told, [found.as_bytes()]);
    }
    assert_eq!(world.subjects(hal, "Junk").await, [""; 0]);
}

/// Whether any letter that the node can open, or any file as it lies on the disk, holds these bytes.
async fn is_on_disk(world: &World, id: NodeId, what: &str) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    let files = ["mail.db", "segment-00000001", "prekeys"].map(|name| world.disk(id).bytes(name));
    let mut found = files.iter().flatten().any(|file| holds(file));
    for number in 0..200 {
        let Ok(letter) = world.node(id).desk.store().open_letter(LetterNo(number)).await else { continue };
        let bytes = letter.read_at(0, usize::MAX).await.unwrap();
        let decoded: Vec<u8> = bytes
            .split(|byte| *byte == b'\n')
            .flat_map(|line| STANDARD.decode(line.trim_ascii()))
            .flatten()
            .collect();
        found |= holds(&bytes) || holds(&decoded);
    }
    found
}

#[tokio::test(start_paused = true)]
async fn the_holders_disk_has_nothing_of_a_guests_letter() {
    let (world, hal, ann, gil) = house(72, hybrid_key(), 1 << 26).await;
    let author = world.onion(ann).host();
    let secrets = ["Marmalade at nine", "zebrafish", &author];
    let letter = |to: &str| {
        let long = "A long letter with Marmalade at nine.\r\n".repeat(10_000);
        letter_of(&world.address(ann), &[to], "Quarterly zebrafish") + &long
    };
    world.submit(ann, &[&gil.user], letter(&gil.user).as_bytes()).await.taken();
    gil.has(&world, 1).await;
    assert!(gil.mail(&world).await[0].contains("Marmalade at nine"));
    for secret in secrets {
        assert!(!is_on_disk(&world, hal, secret).await, "{secret}");
    }
    // The same search finds it all in a letter for the holder.
    world.submit(ann, &[&world.address(hal)], letter(&world.address(hal)).as_bytes()).await.taken();
    within(minutes(5), "Hal's letter", async || world.subjects(hal, "INBOX").await.len() == 1).await;
    for secret in secrets {
        assert!(is_on_disk(&world, hal, secret).await, "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_operation_leaves_a_guest_one_copy() {
    let (mut world, hal, ann, gil) = house(73, hybrid_key(), 1 << 26).await;
    let mut subjects = Vec::new();
    for n in 0.. {
        let subject = format!("cut at {n}");
        world.partition(&[&[ann], &[hal]]);
        world.write_to(ann, &gil.user, &subject).await.taken();
        pass(minutes(1)).await;
        world.cut_power_at(hal, n);
        world.partition(&[]);
        pass(minutes(6)).await;
        let struck = world.has_lost_power(hal);
        let how = [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)][(n % 3) as usize];
        world.crash(hal, how).await;
        world.start(hal).await;
        pass(minutes(30)).await;
        assert!(world.queue(ann).await.is_empty(), "{subject}: nothing waits any more");
        subjects.push(subject);
        if !struck {
            assert!(n > 10, "the operations were counted: {n}");
            break;
        }
    }
    let mail = gil.mail(&world).await;
    for subject in &subjects {
        let line = format!("Subject: {subject}\r\n");
        assert_eq!(mail.iter().filter(|letter| letter.contains(&line)).count(), 1, "{subject}");
    }
    assert_eq!(mail.len(), subjects.len());
}

#[tokio::test(start_paused = true)]
async fn a_large_letter_to_a_guest_goes_on_where_it_broke_off() {
    let (world, hal, ann, gil) = house(74, hybrid_key(), 1 << 26).await;
    let slow = Duration::from_millis(100);
    world.network.set_conditions(Conditions { delay: slow..slow, ..Conditions::default() });
    let sent = || world.network.counters_between(world.onion(ann), world.onion(hal)).bytes_out;
    let (before, film) = (sent(), long_letter(&gil.user, "the film", 6 << 20));
    let letter = film.replace("someone@example.org", &world.address(ann));
    world.submit(ann, &[&gil.user], letter.as_bytes()).await.taken();
    for part in 1..=2 {
        while sent() < before + part * letter.len() as u64 / 3 {
            pass(Duration::from_millis(1)).await;
        }
        world.network.cut_streams(world.onion(hal));
        within(minutes(1), "what came is kept", async || world.node(hal).desk.partials().count().0 == 1)
            .await;
        assert!(gil.letters(&world).await.is_empty());
    }
    gil.has(&world, 1).await;
    let content = letter.split_once("\r\n\r\n").unwrap().1;
    assert!(gil.mail(&world).await[0].ends_with(content));
    within(minutes(1), "the queue is empty", async || world.queue(ann).await.is_empty()).await;
    let cost = sent() - before;
    assert!(cost < letter.len() as u64 * 11 / 10, "{cost} bytes for {}", letter.len());
}

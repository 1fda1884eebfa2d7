//! Saved letters held against their signatures: as IMAP and the command line give them, as programs save them, altered
//! and forged; receipts for what was sent; prekeys taken elsewhere.

use crate::cli_house::{House, Hub, mode, onionskin};
use crate::world::{Conditions, Letter, NodeId, World, arrived, hours, within};
use onionskin::face::control::Request;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::letter::LetterId;
use onionskin::model::proof::{ProofError, Proven, prove, sent_digests};
use onionskin::model::seal::inside::Layout;
use onionskin::model::seal::{PublicPrekey, Sealer, age_keys};
use onionskin::model::statement::{Delegation, LetterStatement, StatementError, frame, sign_as_device};
use onionskin::model::time::UnixTime;
use onionskin::model::verdict::{ORIGINAL, SIGNED, bytes_field};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

async fn ann_and_bob(seed: u64) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    (world, ann, bob)
}

async fn saved(world: &World, at: NodeId, subject: &str) -> Letter {
    let wished = |letter: &Letter| letter.subject() == subject;
    within(hours(1), subject, async || world.mailbox(at, "INBOX").await.iter().any(wished)).await;
    world.mailbox(at, "INBOX").await.into_iter().find(wished).unwrap()
}

/// A letter that arrived at Bob's from Ann, as IMAP gives it.
async fn sent_and_saved(world: &World, ann: NodeId, bob: NodeId, subject: &str) -> Vec<u8> {
    world.write(ann, bob, subject).await.taken();
    saved(world, bob, subject).await.bytes
}

/// Seals a letter with the keys of an author's node, and without its manners; gives the file and its KEY.
fn sealed_by_hand(
    world: &World,
    (author, reader): (NodeId, NodeId),
    letter: &str,
    behalf: Option<Vec<u8>>,
) -> (Vec<u8>, String) {
    let (author, reader_desk) = (world.node(author), &world.node(reader).desk);
    let card = reader_desk.keyring().card();
    let statement = LetterStatement {
        to: MailAddress::parse(&world.address(reader)).unwrap(),
        id: LetterId(Sha256::digest(letter)[..16].try_into().unwrap()),
        length: letter.len() as u64,
        digest: Sha256::digest(letter).into(),
        suite: 1,
        made: world.now(reader).to_the_hour(),
        receipt: false,
        behalf,
        errand: false,
    };
    let statement = sign_as_device(&author.desk.keyring().device(), &statement).unwrap();
    let header = frame::encode(statement.bytes(), &[author.desk.keyring().card().bytes().to_vec()]);
    let prekey = PublicPrekey::from_bytes(&card.prekeys[0].key).unwrap();
    let layout = Layout::new(&header, letter.len() as u64).unwrap();
    let sealer = Sealer::new(&prekey, &[3; 32], layout.prefix());
    let mut file = sealer.head().to_vec();
    for no in 0..layout.chunks() {
        let parts = layout.chunk(no).unwrap();
        let mut chunk = parts.prefix.to_vec();
        chunk.extend(&letter.as_bytes()[parts.letter.start as usize..parts.letter.end as usize]);
        chunk.resize(chunk.len() + parts.zeros, 0);
        sealer.seal_chunk(no, parts.last, &mut chunk);
        file.extend(chunk);
    }
    (file, prekey.id().to_hex())
}

/// Brings a sealed letter, proving nothing; the letter is then found by its subject.
async fn bring(world: &World, reader: NodeId, (file, key): (Vec<u8>, String)) {
    let mut smtp = world.call(77, reader).await.unwrap();
    smtp.greet("nobody").await.taken();
    smtp.ask(&format!("MAIL FROM:<> SIZE={} BODY=SEALED KEY={key}", file.len())).await.taken();
    smtp.ask(&format!("RCPT TO:<{}>", world.address(reader))).await.taken();
    smtp.say(&format!("BDAT {} LAST", file.len())).await.unwrap();
    smtp.write(&file).await.unwrap();
    smtp.hear().await.taken();
}

fn replaced(letter: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(letter.to_vec()).unwrap();
    assert!(text.contains(old), "no {old:?} in {text}");
    text.replacen(old, new, 1).into_bytes()
}

fn is_proven(letter: &[u8]) -> Proven {
    prove(letter).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(letter)))
}

#[tokio::test(start_paused = true)]
async fn a_letter_saved_from_imap_proves_its_author_reader_and_time() {
    let (world, ann, bob) = ann_and_bob(501).await;
    let letter = sent_and_saved(&world, ann, bob, "hello").await;
    let proven = is_proven(&letter);
    assert_eq!((proven.author, proven.to.full()), (world.onion(ann), world.address(bob)));
    assert_eq!(proven.from, Some(world.address(ann)));
    assert!(!proven.header_differs && proven.behalf.is_none());
    let received = proven.received.unwrap();
    assert!(received <= world.now(bob) && world.now(bob).since(received) < hours(2));
    assert!(proven.made <= received && received.since(proven.made) < hours(2));
    assert!(proven.verdict.as_deref().unwrap().starts_with("known; signed and sealed by"), "{proven:?}");

    let stranger = House::empty();
    let shown = stranger.run_with(&["verify", "-"], &letter).good();
    for part in [
        "Verified",
        &world.address(ann),
        &world.address(bob),
        &proven.id.to_hex(),
        "did not sign",
        "received",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let json = stranger.run_with(&["verify", "-", "--json"], &letter).json();
    assert_eq!((&json["verified"], &json["author"]), (&true.into(), &world.onion(ann).host().into()));
    assert!(!stranger.data.exists(), "nothing is made by looking");
}

#[tokio::test(start_paused = true)]
async fn what_saving_does_to_a_letter_costs_no_proof() {
    let (world, ann, bob) = ann_and_bob(502).await;
    let letter = sent_and_saved(&world, ann, bob, "hello").await;
    let proven = is_proven(&letter);
    let text = String::from_utf8(letter).unwrap();
    let unix = text.replace("\r\n", "\n");
    let (header, content) = text.split_once("\r\n\r\n").unwrap();
    for copy in [
        unix.clone(),
        format!("From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n{unix}\n"),
        format!("X-Mozilla-Status: 0001\r\nX-Mozilla-Status2: 00000000\r\n{text}"),
        format!("{header}\r\nStatus: RO\r\nContent-Length: 30\r\nLines: 1\r\n\r\n{content}\r\n\r\n"),
    ] {
        assert_eq!(is_proven(copy.as_bytes()), proven);
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_with_one_byte_changed_is_refused() {
    let (world, ann, bob) = ann_and_bob(503).await;
    let letter = sent_and_saved(&world, ann, bob, "hello").await;
    let other = sent_and_saved(&world, ann, bob, "another").await;
    assert_eq!(prove(&replaced(&letter, "about hello.", "about hellp.")), Err(ProofError::Altered));
    assert_eq!(prove(&replaced(&letter, "Subject: hello", "Subject: hellp")), Err(ProofError::Altered));
    let longer = [letter.as_slice(), b"PS\r\n"].concat();
    assert!(matches!(prove(&longer), Err(ProofError::Length { .. })));

    let signed = Signature::of(&letter);
    for at in [0, signed.bytes.len() / 2, signed.bytes.len() - 1] {
        let mut bytes = signed.bytes.clone();
        bytes[at] ^= 1;
        let forged = prove(&signed.put(&letter, &bytes));
        assert!(matches!(forged, Err(ProofError::Statement(_))), "byte {at}: {forged:?}");
    }
    let last = signed.bytes.len() - 1;
    let mut bytes = signed.bytes.clone();
    bytes[last] ^= 1;
    assert_eq!(prove(&signed.put(&letter, &bytes)), Err(StatementError::Signature.into()));
    // Of the same author, for the same reader, and still another letter's.
    let swapped = prove(&signed.put(&letter, &Signature::of(&other).bytes));
    assert!(matches!(swapped, Err(ProofError::Length { .. } | ProofError::Altered)), "{swapped:?}");
    let nonsense = replaced(&letter, "X-Onionskin-Signed:\r\n\t", "X-Onionskin-Signed:\r\n\t*");
    assert_eq!(prove(&nonsense), Err(ProofError::Line(SIGNED)));

    let bad = House::empty().run_with(&["verify", "-"], &replaced(&letter, "about", "About"));
    bad.bad(65, &["not verified", "altered", "read --raw"]);
}

/// The signed header of a saved letter.
struct Signature {
    field: String,
    bytes: Vec<u8>,
}

impl Signature {
    fn of(letter: &[u8]) -> Self {
        let text = String::from_utf8(letter.to_vec()).unwrap();
        let from = text.find(SIGNED).unwrap();
        let mut to = from + text[from..].find("\r\n").unwrap() + 2;
        while text[to..].starts_with('\t') {
            to += text[to..].find("\r\n").unwrap() + 2;
        }
        let field = text[from..to].to_owned();
        let value = field.split_once(':').unwrap().1.as_bytes();
        Self { bytes: onionskin::model::verdict::field_bytes(value).unwrap(), field }
    }

    fn put(&self, letter: &[u8], bytes: &[u8]) -> Vec<u8> {
        replaced(letter, &self.field, &bytes_field(SIGNED, bytes))
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_header_the_reader_s_node_changed_is_proved_by_the_original() {
    let (world, ann, bob) = ann_and_bob(504).await;
    // An author who claims our verdicts, and calls himself by a name that is not on his Card.
    let letter = format!(
        "Return-Path: <king@example.org>\r\nX-Onionskin-Verdict: trusted\r\nX-Onionskin-Signed: AAAA\r\n\
         From: Your Bank <bank@{}>\r\nStatus: RO\r\nTo: {}\r\nSubject: money\r\n\r\nNow.\r\n",
        world.onion(ann).host(),
        world.address(bob)
    );
    bring(&world, bob, sealed_by_hand(&world, (ann, bob), &letter, None)).await;
    let found = saved(&world, bob, "money").await;
    assert_eq!(found.field("From"), world.address(ann), "shown by the canonical address");
    assert_eq!(found.fields("Return-Path"), ["<>"]);
    assert_eq!(found.fields("X-Onionskin-Verdict").len(), 1);
    let found = found.bytes;
    let proven = is_proven(&found);
    assert!(proven.header_differs);
    assert_eq!(proven.from, Some(world.address_as(ann, "bank")));
    is_proven(String::from_utf8(found.clone()).unwrap().replace("\r\n", "\n").as_bytes());

    for (old, new, why) in [
        ("Subject: money", "Subject: mercy", ProofError::HeaderAltered),
        ("\r\nSubject: money", "\r\nCc: a@b\r\nSubject: money", ProofError::HeaderAltered),
        ("\r\nSubject: money", "", ProofError::HeaderAltered),
        ("Now.", "Now!", ProofError::Altered),
    ] {
        assert_eq!(prove(&replaced(&found, old, new)), Err(why), "{new}");
    }
    // A From of somebody else is no canonical one.
    let (from, other) = (format!("From: {}", world.address(ann)), format!("From: {}", world.address(bob)));
    assert_eq!(prove(&replaced(&found, &from, &other)), Err(ProofError::HeaderAltered));
    // An original of another letter.
    let other = bytes_field(ORIGINAL, b"From: x\r\n\r\n");
    let at = String::from_utf8(found.clone()).unwrap().find(ORIGINAL).unwrap();
    let forged = [&found[..at], other.as_bytes(), &found[at..]].concat();
    assert!(matches!(prove(&forged), Err(ProofError::Length { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_letter_on_behalf_of_somebody_says_so_if_there_was_leave() {
    let (mut world, ann, bob) = ann_and_bob(505).await;
    let carol = world.add_started("carol").await;
    let made = world.now(carol).to_the_hour();
    let leave = Delegation {
        delegate: world.onion(ann),
        names: vec![LocalPart::parse("carol").unwrap()],
        made,
        until: UnixTime(made.0).plus(Duration::from_secs(86_400)),
    };
    let leave = sign_as_device(&world.node(carol).desk.keyring().device(), &leave).unwrap().into_bytes();
    let letter = |subject: &str| {
        format!("From: {}\r\nTo: x\r\nSubject: {subject}\r\n\r\nHello.\r\n", world.address(carol))
    };
    bring(&world, bob, sealed_by_hand(&world, (ann, bob), &letter("with leave"), Some(leave))).await;
    let found = saved(&world, bob, "with leave").await.bytes;
    let proven = is_proven(&found);
    assert_eq!((proven.author, proven.behalf.unwrap().full()), (world.onion(ann), world.address(carol)));
    let shown = House::empty().run_with(&["verify", "-"], &found).good();
    assert!(shown.contains("on behalf of") && shown.contains(&world.onion(ann).host()), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn an_unsealed_letter_proves_nothing_and_is_said_to_be_unsealed() {
    let (world, _, bob) = ann_and_bob(506).await;
    let mut smtp = world.call(9, bob).await.unwrap();
    smtp.greet("mail.example").await.taken();
    let letter = format!("From: {}\r\nSubject: plain\r\n\r\nHi.\r\n", world.stranger(9));
    smtp.send(&world.stranger(9), &[&world.address(bob)], letter.as_bytes()).await.taken();
    let found = world.mailbox(bob, "Requests").await.remove(0).bytes;
    assert_eq!(prove(&found), Err(ProofError::Unsealed));
    House::empty().run_with(&["verify", "-"], &found).bad(65, &["not sealed", "nobody signed it"]);
    assert!(matches!(prove(b"no letter\r\n"), Err(ProofError::Header(_))));
    House::empty().run_with(&["verify", "-"], b"no letter\n").bad(65, &["no letter", "line 1"]);
    House::empty().run(&["verify", "/nonexistent"]).bad(66, &["/nonexistent"]);
}

#[tokio::test(start_paused = true)]
async fn who_wrote_a_letter_can_show_the_receipts_of_its_readers() {
    let (world, ann, bob) = ann_and_bob(507).await;
    let letter = format!(
        "From: {}\r\nTo: {}\r\nBcc: {}\r\nSubject: kept?\r\n\r\nSay so.\r\n",
        world.address(ann),
        world.address(bob),
        world.address(ann)
    );
    world.submit(ann, &[&world.address(bob)], letter.as_bytes()).await.taken();
    arrived(&world, bob, "kept?", hours(1)).await;
    within(hours(1), "delivered", async || world.queue(ann).await.is_empty()).await;
    let copy = world.mailbox(ann, "Sent").await.remove(0).bytes;
    assert!(copy.starts_with(b"Bcc:"));
    for copy in [copy.clone(), String::from_utf8(copy.clone()).unwrap().replace("\r\n", "\n").into_bytes()] {
        let digests = sent_digests(&copy).unwrap();
        let digests = digests.iter().map(|digest| data_encoding::HEXLOWER.encode(digest)).collect();
        let receipts = world.command(ann, Request::Receipts { digests }).await;
        assert_eq!(receipts.as_array().unwrap().len(), 1, "{receipts}");
        assert_eq!(receipts[0]["reader"], world.onion(bob).host());
    }
    let digests = sent_digests(&replaced(&copy, "Say so.", "Say no.")).unwrap();
    let digests = digests.iter().map(|digest| data_encoding::HEXLOWER.encode(digest)).collect();
    assert_eq!(world.command(ann, Request::Receipts { digests }).await, serde_json::json!([]));
}

#[test]
fn the_command_line_proves_what_it_reads_and_what_was_sent() {
    let hub = Hub::new();
    let ((ann, anns), (bob, bobs)) = (House::of("ann"), House::of("bob"));
    let (_ann, _bob) = (ann.up(&hub), bob.up(&hub));
    let message = format!("To: {bobs}\nBcc: {anns}\nSubject: sealed\n\nFor you.\n");
    ann.run_with(&["sendmail", "-t"], message.as_bytes()).good();
    let came = |inbox: &serde_json::Value| inbox.as_array().is_some_and(|rows| !rows.is_empty());
    bob.wait(&["inbox", "--folder", "Requests", "--json"], came);
    let letter = bob.run(&["read", "--raw", "1", "--folder", "Requests"]).good();
    let file = bob.root.path().join("letter.eml");
    fs::write(&file, &letter).unwrap();
    let file = file.to_str().unwrap();
    for house in [&bob, &ann, &House::empty()] {
        let json = house.run(&["verify", file, "--json"]).json();
        assert_eq!((&json["from"], &json["to"]), (&anns.as_str().into(), &bobs.as_str().into()));
    }
    fs::write(file, letter.replace("For you", "For all")).unwrap();
    bob.run(&["verify", file]).bad(65, &["not verified"]);

    ann.wait(&["queue", "--json"], |queue| queue.as_array().is_some_and(Vec::is_empty));
    let sent = ann.run(&["read", "--raw", "1", "--folder", "Sent"]).good();
    let shown = ann.run_with(&["verify", "-"], sent.as_bytes()).good();
    assert!(
        shown.contains("you sent this letter") && shown.contains(bobs.split('@').nth(1).unwrap()),
        "{shown}"
    );
    bob.run_with(&["verify", "-"], sent.as_bytes()).bad(65, &["not sealed"]);
    ann.run_with(&["verify", "-"], sent.replace("For you", "For all").as_bytes()).bad(65, &["not sealed"]);
}

#[test]
fn prekeys_are_taken_out_only_into_a_file_that_nobody_else_can_read() {
    let (house, own) = House::of("ann");
    let file = house.root.path().join("keys");
    let export = |to: &str| house.run(&["key", "export", "--age", to]);
    let done = export(file.to_str().unwrap());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("reads every letter") && done.out.contains("age -d -i"), "{done:?}");
    assert_eq!(mode(&file), 0o600);
    let keys = fs::read_to_string(&file).unwrap();
    assert!(keys.contains(&own));
    let recipient = house.run(&["key", "export", "--recipient"]).good();
    let secrets: Vec<_> = keys.lines().filter_map(age_keys::parse_identity).collect();
    assert_eq!(secrets.len(), 10, "nine weeks and a last resort: {keys}");
    assert!(secrets.iter().any(|secret| age_keys::recipient(secret.public()) == recipient.trim()));
    export(file.to_str().unwrap()).bad(73, &["is there already"]);
    export("/nonexistent/keys").bad(73, &["/nonexistent/keys"]);
    house.run(&["key", "export"]).bad(64, &["--age"]);

    let open = house.root.path().join("open");
    let to = |mode: u32| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let output =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&open).unwrap();
        let mut command = onionskin();
        command.arg("--data-dir").arg(&house.data).args(["key", "export", "--age", "-"]);
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(output).status().unwrap().code()
    };
    assert_eq!(to(0o644), Some(77));
    assert_eq!(fs::read(&open).unwrap(), b"");
    fs::remove_file(&open).unwrap();
    assert_eq!(to(0o600), Some(0));
    assert_eq!(fs::read_to_string(&open).unwrap(), keys);
    let empty = House::empty();
    let file = empty.root.path().join("keys");
    empty.run(&["key", "export", "--age", file.to_str().unwrap()]).bad(78, &["no identity"]);
    assert!(!file.exists());
}

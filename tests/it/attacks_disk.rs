//! What a thief of the disk finds after use, and what a large sealed letter costs and shows before it is whole.

use crate::cli_house::{House, Hub, Node, Ran, onionskin, run};
use crate::world::{AfterCrash, Conditions, Forger, Imap, Sealed, World, letter_of, pass};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use onion::OnionAddress;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const PHRASE: &str = "seventeen quiet wombats";
const SUBJECT: &str = "Quarterly zebrafish";
const TEXT: &str = "Marmalade teleportation begins at nine.";
const PETNAME: &str = "Wolfgangus the Baker";

/// A house whose disk a passphrase protects.
struct Locked {
    house: House,
    address: String,
    words: String,
}

impl Locked {
    fn of(name: &str) -> Self {
        let house = House::empty();
        fs::write(house.root.path().join("phrase"), format!("{PHRASE}\n")).unwrap();
        let mut locked = Self { house, address: String::new(), words: String::new() };
        let said = locked.run(&["init", "--name", name], b"").good();
        locked.words = said;
        locked.address = locked.run(&["address"], b"").good().trim().to_owned();
        locked
    }

    /// The program, with the passphrase on another descriptor.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "phrase=$1; shift; exec \"$@\" 3<\"$phrase\"", "sh"]);
        command.arg(self.house.root.path().join("phrase"));
        let program = onionskin();
        command.arg(program.get_program()).arg("--data-dir").arg(&self.house.data);
        command.args(["--passphrase-fd", "3"]).args(args);
        command.env_remove("ONIONSKIN_DATA_DIR").env_remove("ONIONSKIN_LOG");
        command
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Ran {
        run(&mut self.command(args), input)
    }

    fn up(&self, hub: &Hub) -> Node {
        let network = format!("sim:{}", hub.socket().display());
        let mut node =
            Node::start(self.command(&["up", "--imap-port", "0", "--smtp-port", "0", "--network", &network]));
        node.read_until("reachable: letters can come and go");
        node
    }

    /// Waits for a letter; gives it byte for byte.
    fn letter(&self, folder: &str, subject: &str) -> Vec<u8> {
        let found = self.house.wait(&["inbox", "--folder", folder, "--json"], |letters| {
            letters.as_array().unwrap().iter().any(|letter| letter["subject"] == subject)
        });
        let letter = found.as_array().unwrap().iter().find(|letter| letter["subject"] == subject).unwrap();
        let number = letter["number"].to_string();
        self.house.run(&["read", &number, "--folder", folder, "--raw"]).good().into_bytes()
    }

    fn send(&self, to: &str, subject: &str, text: &str) {
        self.house.run(&["send", to, "-s", subject, "-m", text]).good();
        self.house.wait(&["queue", "--json"], |queue| queue.as_array().unwrap().is_empty());
    }

    /// Throws away everything in all folders, as a mail program does.
    fn throw_everything_away(&self) {
        let minted = self.house.run(&["credentials", "--json"]).json();
        let (user, password) = (minted["user"].as_str().unwrap(), minted["password"].as_str().unwrap());
        let port = u16::try_from(minted["imap"]["port"].as_u64().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut imap = Imap::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
            imap.log_in(user, password).await.taken();
            for folder in ["INBOX", "Requests", "Sent", "Junk"] {
                imap.ask(&format!("SELECT {folder}")).await.taken();
                // An empty folder has nothing to store.
                imap.ask("STORE 1:* +FLAGS (\\Deleted)").await;
                imap.ask("EXPUNGE").await.taken();
                assert!(imap.letters(folder).await.unwrap().is_empty());
            }
        });
    }
}

/// Every file below a directory, whatever its name.
fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false if entry.is_file() => found.push(entry),
            false => {}
        }
    }
    found
}

/// A secret in every form in which a program might write it down.
fn forms(name: &str, secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![(format!("{name}, as it is"), secret.to_vec())];
    let text = std::str::from_utf8(secret).ok().filter(|text| text.is_ascii());
    if let Some(text) = text {
        forms.push((format!("{name}, in UTF-16"), text.bytes().flat_map(|byte| [byte, 0]).collect()));
        forms.push((format!("{name}, in capitals"), text.to_ascii_uppercase().into_bytes()));
        forms.push((format!("{name}, in small letters"), text.to_ascii_lowercase().into_bytes()));
    }
    let hex = data_encoding::HEXLOWER.encode(secret);
    forms.push((format!("{name}, in HEX"), hex.to_ascii_uppercase().into_bytes()));
    forms.push((format!("{name}, in hex"), hex.into_bytes()));
    forms.push((
        format!("{name}, in base32"),
        data_encoding::BASE32_NOPAD.encode(secret).to_lowercase().into(),
    ));
    // Wherever in a longer base64 text it begins, without the characters that its neighbours share.
    for shift in 0..3 {
        let coded = STANDARD_NO_PAD.encode([&vec![0; shift], secret].concat());
        let inner = coded[[0, 2, 3][shift]..coded.len() - 2].to_owned();
        forms.push((
            format!("{name}, in base64 at {shift}"),
            inner.replace('+', "-").replace('/', "_").into(),
        ));
        forms.push((format!("{name}, in base64 at {shift}"), inner.into_bytes()));
    }
    forms
}

/// What of this is in these bytes.
fn found<'a>(bytes: &[u8], needles: &'a [(String, Vec<u8>)]) -> Vec<&'a str> {
    let is_in = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    needles.iter().filter(|(_, needle)| is_in(needle)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_used_data_directory_with_a_passphrase_holds_no_letter_name_address_or_key_that_can_be_read() {
    let hub = Hub::new();
    let (ann, bob) = (Locked::of("annabella"), Locked::of("bobbington"));
    let nodes = (ann.up(&hub), bob.up(&hub));
    ann.send(&bob.address, SUBJECT, TEXT);
    let arrived = bob.letter("Requests", SUBJECT);
    bob.house.run(&["contacts", "know", &ann.address]).good();
    bob.house.run(&["contacts", "rename", &ann.address, PETNAME]).good();
    bob.send(&ann.address, &format!("Re: {SUBJECT}"), TEXT);
    ann.letter("INBOX", &format!("Re: {SUBJECT}"));

    let mut needles = Vec::new();
    for (name, secret) in [
        ("the subject", SUBJECT),
        ("the text", TEXT),
        ("the petname", PETNAME),
        ("a local part", "annabella"),
        ("a local part", "bobbington"),
        ("the passphrase", PHRASE),
    ] {
        needles.extend(forms(name, secret.as_bytes()));
    }
    for house in [&ann, &bob] {
        let host = house.address.split('@').nth(1).unwrap();
        let label = host.trim_end_matches(".onion");
        needles.extend(forms("an onion", label.as_bytes()));
        needles.extend(forms("an identity key", OnionAddress::parse(host).unwrap().public_key()));
        // Four words in a row of those that bring it back.
        let listed =
            |line: &str| line.split_whitespace().filter(|word| word.parse::<u8>().is_err()).count() > 3;
        let words: Vec<&str> = house.words.lines().filter(|line| listed(line)).collect();
        needles.extend(words.iter().flat_map(|line| forms("recovery words", line.trim().as_bytes())));
    }
    // The device key is in the certificate of the signed header, and with it everything that the seal proved.
    let signed = String::from_utf8_lossy(&arrived).into_owned();
    let signed = signed.split("X-Onionskin-Signed:").nth(1).expect("it came sealed");
    let signed: String =
        signed.lines().take_while(|line| line.is_empty() || line.starts_with('\t')).collect();
    let statement = base64::engine::general_purpose::STANDARD.decode(signed.replace('\t', "")).unwrap();
    let certificate = device_in(&statement);
    needles.extend(forms("a device key", &certificate));
    needles.extend(forms("a signature", &statement[statement.len() - 64..]));

    // The search finds what is there to be found.
    let seen = found(&arrived, &needles);
    for name in
        ["the subject, as it is", "the text, as it is", "an onion, as it is", "a local part, as it is"]
    {
        assert!(seen.contains(&name), "{name} is not in {seen:?}");
    }
    assert!(seen.iter().any(|name| name.starts_with("a device key, in base64")), "{seen:?}");

    let mut looked_at = 0;
    let mut search = |when: &str| {
        for house in [&ann, &bob] {
            for file in files(&house.house.data) {
                let bytes = fs::read(&file).unwrap();
                let seen = found(&bytes, &needles);
                assert!(seen.is_empty(), "{when}: {file:?} holds {seen:?}");
                let name = file.display().to_string();
                assert!(found(name.as_bytes(), &needles).is_empty(), "{when}: {name}");
                looked_at += bytes.len();
            }
        }
    };
    search("while it runs");
    for house in [&ann, &bob] {
        house.throw_everything_away();
    }
    search("after everything was thrown away");
    nodes.0.stop("-TERM");
    nodes.1.stop("-TERM");
    search("after it was stopped");
    assert!(looked_at > 100_000, "{looked_at} bytes were looked at");
    let all: Vec<PathBuf> = files(&bob.house.data);
    assert!(all.iter().any(|file| file.to_string_lossy().contains("prekeys")), "{all:?}");
}

/// The device key in a letter's signed header: the first byte string of 32 behind the certificate's map key 0.
fn device_in(statement: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(statement, &[0x3a, 0x00, 0x01, 0x11, 0x71]).expect("it has a certificate");
    let payload = memchr::memmem::find(&statement[at..], &[0xa4, 0x00, 0x58, 0x20]).expect("a map of four");
    statement[at + payload + 4..at + payload + 36].to_vec()
}

/// A figure of a process in KiB.
fn memory(node: &Node, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn fifty_mebibytes_are_sealed_and_opened_in_little_memory() {
    const GROWTH_MAX: u64 = 16 * 1024;
    let hub = Hub::new();
    let ((ann, _), (bob, to)) = (House::of("ann"), House::of("bob"));
    let (author, reader) = (ann.up(&hub), bob.up(&hub));
    let sent = |subject: &str, letter: &[u8]| {
        ann.run_with(&["sendmail", &to], letter).good();
        let end = Instant::now() + Duration::from_secs(300);
        let wait = || bob.run(&["inbox", "--folder", "Requests", "--json"]).json();
        while !wait().as_array().unwrap().iter().any(|letter| letter["subject"] == subject) {
            assert!(Instant::now() < end, "{subject} does not come");
        }
    };
    let own = ann.run(&["address"]).good();
    // What is used once stays: a first letter makes the measurement one of the second.
    sent("small", letter_of(own.trim(), &[&to], "small").as_bytes());
    let line = "0123456789".repeat(7) + "\r\n";
    let large = letter_of(own.trim(), &[&to], "large") + &line.repeat(50 * 1024 * 1024 / line.len());
    let before = [&author, &reader].map(|node| {
        fs::write(format!("/proc/{}/clear_refs", node.id()), "5").unwrap();
        memory(node, "VmRSS:")
    });
    sent("large", large.as_bytes());
    let grown = [&author, &reader].map(|node| memory(node, "VmHWM:"));
    for (who, (before, peak)) in ["author", "reader"].iter().zip(before.iter().zip(grown)) {
        let growth = peak.saturating_sub(*before);
        println!("{who}: {growth} KiB more than {before}");
        assert!(growth <= GROWTH_MAX, "{who}'s node grew by {growth} KiB");
    }
    let listed = bob.run(&["inbox", "--folder", "Requests", "--json"]).json();
    let number =
        listed.as_array().unwrap().iter().find(|letter| letter["subject"] == "large").unwrap()["number"]
            .to_string();
    let read = bob.run(&["read", &number, "--folder", "Requests", "--raw"]).good();
    assert!(read.contains("stranger; signed and sealed by"), "it came sealed");
    assert!(read.ends_with(large.split_once("\r\n\r\n").unwrap().1), "and unchanged");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_letter_is_seen_before_its_last_byte_has_been_checked() {
    const ANN: u8 = 4;
    let mut world = World::new(121, Conditions::default());
    let bob = world.add_started("bob").await;
    let ann = Forger::new(ANN, world.now(bob));
    let to = world.address(bob);
    let mut caller = world.call(ANN, bob).await.unwrap();
    caller.prove(ANN, world.onion(bob)).await.taken();
    let card = caller.card(world.onion(bob)).await;
    let letter = letter_of(&ann.address("ann"), &[&to], "whole") + &"and so on\r\n".repeat(100_000);
    let good = ann.sealed(&card, &to, letter.as_bytes(), 1);
    let bad = good.changed(|bytes| *bytes.last_mut().unwrap() ^= 1);
    let seen = async |world: &World| {
        let mut all = Vec::new();
        for folder in ["INBOX", "Requests", "Junk"] {
            all.extend(world.subjects(bob, folder).await);
        }
        all
    };
    let begin = async |world: &World, sealed: &Sealed| {
        let mut caller = world.call(ANN, bob).await.unwrap();
        caller.prove(ANN, world.onion(bob)).await.taken();
        let (len, key) = (sealed.bytes.len(), sealed.key.to_hex());
        caller.ask(&format!("MAIL FROM:<> SIZE={len} BODY=SEALED KEY={key}")).await.taken();
        caller.ask(&format!("RCPT TO:<{to}>")).await.taken();
        let most = len * 99 / 100;
        caller.write(format!("BDAT {most}\r\n").as_bytes()).await.unwrap();
        caller.write(&sealed.bytes[..most]).await.unwrap();
        caller.hear().await.taken();
        caller
    };
    // 99 % of it, and the stream is cut; and once more before the power goes.
    let caller = begin(&world, &good).await;
    assert!(seen(&world).await.is_empty());
    drop(caller);
    pass(Duration::from_secs(60)).await;
    assert!(seen(&world).await.is_empty());
    let caller = begin(&world, &good).await;
    world.crash(bob, AfterCrash::Kept).await;
    world.start(bob).await;
    drop(caller);
    assert!(seen(&world).await.is_empty());
    // 99 %, and a last byte that is wrong.
    let mut caller = begin(&world, &bad).await;
    let rest = bad.bytes.len() * 99 / 100;
    caller.write(format!("BDAT {} LAST\r\n", bad.bytes.len() - rest).as_bytes()).await.unwrap();
    caller.write(&bad.bytes[rest..]).await.unwrap();
    let answer = caller.hear().await;
    assert!(answer.refusal().starts_with("550 5.7.7"), "{answer:?}");
    assert!(seen(&world).await.is_empty());
    let mut caller = begin(&world, &good).await;
    caller.write(format!("BDAT {} LAST\r\n", good.bytes.len() - rest).as_bytes()).await.unwrap();
    caller.write(&good.bytes[rest..]).await.unwrap();
    caller.hear().await.taken();
    assert_eq!(seen(&world).await, ["whole"]);
}

//! The rules of the house, through the eyes of a mail program: Outbox, Sent, time limits, going down.

#![allow(clippy::unwrap_used)] // A set-up that fails is a test that fails.

use crate::imap_house::{Client, House};
use onionskin::model::address::MailAddress;
use onionskin::protocol::imap::limits::{APPEND_TIMEOUT, IDLE_TIMEOUT, LOGIN_TIMEOUT};
use onionskin::store::disk::AfterCrash;
use std::time::Duration;
use tokio::time::Instant;

/// Two strangers who are never up.
fn strangers() -> [MailAddress; 2] {
    let host = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    ["ann", "bob"].map(|name| MailAddress::parse(&format!("{name}@{host}")).unwrap())
}

fn letter(house: &House, id: &str) -> String {
    let from = house.desk.identity().address().full();
    format!("From: <{from}>\r\nTo: x\r\nBcc: y\r\nSubject: {id}\r\nMessage-ID: <{id}@x>\r\n\r\nText.\r\n")
        .replace("To: x", &format!("To: <{}>", strangers()[0].full()))
        .replace("Bcc: y", &format!("Bcc: <{}>", strangers()[1].full()))
}

#[tokio::test(start_paused = true)]
async fn a_letter_deleted_from_outbox_is_cancelled() {
    let house = House::new().await;
    for id in ["one", "two", "three"] {
        house.submit(&strangers(), &letter(&house, id)).await;
    }
    assert_eq!(house.desk.queue_len().await.unwrap(), 6);
    let mut client = house.login().await;
    client.ok("SELECT Outbox").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert_eq!(house.desk.queue_len().await.unwrap(), 6, "a mark alone cancels nothing");
    assert_eq!(client.ok("EXPUNGE").await, ["* 1 EXPUNGE"]);
    assert_eq!(house.desk.queue_len().await.unwrap(), 4);
    let subjects: Vec<String> =
        house.desk.queue().await.unwrap().iter().map(|(_, e)| e.outbox.to_string()).collect();
    assert_eq!(subjects, ["2", "2", "3", "3"]);
    client.ok("MOVE 1 Drafts").await;
    assert_eq!(house.desk.queue_len().await.unwrap(), 2);
    client.ok("COPY 1 Drafts").await;
    assert_eq!(house.desk.queue_len().await.unwrap(), 2, "a copy leaves the letter where it is");
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("CLOSE").await;
    assert_eq!(house.desk.queue_len().await.unwrap(), 0);
    assert_eq!(client.ok("STATUS Drafts (MESSAGES)").await, ["* STATUS \"Drafts\" (MESSAGES 2)"]);
    assert_eq!(client.ok("STATUS Sent (MESSAGES)").await, ["* STATUS \"Sent\" (MESSAGES 3)"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_gets_into_outbox_but_by_being_sent() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX", b"x\r\n").await;
    client.ok("SELECT INBOX").await;
    for command in ["COPY 1 Outbox", "MOVE 1 Outbox", "UID COPY 1 Outbox", "RENAME INBOX Outbox"] {
        client.refused(command).await;
    }
    assert!(client.append("Outbox", b"x\r\n").await.starts_with("t NO [CANNOT]"));
    assert_eq!(client.ok("STATUS Outbox (MESSAGES)").await, ["* STATUS \"Outbox\" (MESSAGES 0)"]);
}

#[tokio::test(start_paused = true)]
async fn the_copy_that_a_program_files_in_sent_is_the_one_the_node_filed() {
    let house = House::new().await;
    let text = letter(&house, "one");
    house.submit(&strangers(), &text).await;
    let mut client = house.login().await;
    let answer = client.append("Sent (\\Seen)", text.as_bytes()).await;
    assert!(answer.starts_with("t OK [APPENDUID ") && answer.contains(" 1] "), "{answer}");
    assert_eq!(client.ok("STATUS Sent (MESSAGES)").await, ["* STATUS \"Sent\" (MESSAGES 1)"]);
    let answer = client.append("Sent", letter(&house, "other").as_bytes()).await;
    assert!(answer.contains(" 2] "), "{answer}");
    let answer = client.append("Drafts", text.as_bytes()).await;
    assert!(answer.contains(" 1] "), "only Sent knows it: {answer}");
    client.ok("SELECT Sent").await;
    let lines = client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (BCC)]").await;
    assert!(lines[0].contains("Bcc: <bob@"), "the own copy tells who was meant: {lines:?}");
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    let answer = client.append("Sent", text.as_bytes()).await;
    assert!(answer.contains(" 3] "), "a deleted copy does not come back by its id: {answer}");
}

async fn closed_after(client: &mut Client) -> (Duration, String) {
    let begun = Instant::now();
    let said = client.until_closed().await;
    (begun.elapsed(), said)
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session() {
    let house = House::new().await;
    let mut stranger = house.connect().await;
    let (waited, said) = closed_after(&mut stranger).await;
    assert_eq!((waited.as_secs(), said.contains("* BYE")), (LOGIN_TIMEOUT.as_secs(), true));

    // Talking does not buy more time to log in.
    let mut talker = house.connect().await;
    let begun = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(LOGIN_TIMEOUT / 6).await;
        talker.ok("NOOP").await;
    }
    talker.until_closed().await;
    assert_eq!(begun.elapsed().as_secs(), LOGIN_TIMEOUT.as_secs());

    let mut idler = house.login().await;
    idler.ok("SELECT INBOX").await;
    idler.send(b"t IDLE\r\n").await;
    assert_eq!(idler.line().await, "+ idling");
    let (waited, said) = closed_after(&mut idler).await;
    assert_eq!((waited.as_secs(), said.contains("* BYE")), (IDLE_TIMEOUT.as_secs(), true));

    let mut sender = house.login().await;
    sender.send(b"t APPEND INBOX {10+}\r\nabc").await;
    let (waited, _) = closed_after(&mut sender).await;
    assert_eq!(waited.as_secs(), APPEND_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_idle_program_is_told_of_changes_at_any_hour() {
    let house = House::new().await;
    let mut idler = house.login().await;
    idler.ok("SELECT INBOX").await;
    idler.send(b"t IDLE\r\n").await;
    assert_eq!(idler.line().await, "+ idling");
    let mut other = house.login().await;
    for number in 1..=3 {
        tokio::time::sleep(Duration::from_secs(600)).await;
        other.append("INBOX", b"x\r\n").await;
        assert_eq!(idler.line().await, format!("* {number} EXISTS"));
        assert_eq!(idler.line().await, format!("* {number} RECENT"));
    }
    other.append("Drafts", b"x\r\n").await;
    idler.send(b"DONE\r\n").await;
    assert_eq!(idler.line().await, "t OK IDLE ended", "other mailboxes are not told of");
}

#[tokio::test(start_paused = true)]
async fn programs_are_told_when_the_node_goes_down() {
    let house = House::new().await;
    let (mut stranger, mut idler) = (house.connect().await, house.login().await);
    idler.ok("SELECT INBOX").await;
    idler.send(b"t IDLE\r\n").await;
    assert_eq!(idler.line().await, "+ idling");
    house.down.send(true).unwrap();
    for client in [&mut stranger, &mut idler] {
        assert_eq!(client.until_closed().await, "* BYE the node is going down\n");
    }
}

#[tokio::test(start_paused = true)]
async fn scram_lets_in_and_only_with_the_password() {
    for (password, expected) in [("secret", "t OK [CAPABILITY"), ("wrong", "t NO [AUTHENTICATIONFAILED]")] {
        let house = House::new().await;
        let mut client = house.connect().await;
        let answer = scram::log_in(&mut client, "me", password).await;
        assert!(answer.starts_with(expected), "{password}: {answer}");
    }
}

/// The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677).
mod scram {
    use crate::imap_house::Client;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::{Digest as _, Sha256};

    fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }

    async fn challenge(client: &mut Client) -> Result<String, String> {
        let line = client.line().await;
        match line.strip_prefix("+ ") {
            Some(text) => Ok(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()),
            None => Err(line),
        }
    }

    /// Logs in; gives the tagged answer.
    pub(super) async fn log_in(client: &mut Client, user: &str, password: &str) -> String {
        let first_bare = format!("n={user},r=client-nonce");
        let initial = STANDARD.encode(format!("n,,{first_bare}"));
        client.send(format!("t AUTHENTICATE SCRAM-SHA-256 {initial}\r\n").as_bytes()).await;
        let server_first = challenge(client).await.unwrap();
        let field = |name: &str| server_first.split(',').find_map(|field| field.strip_prefix(name)).unwrap();
        let salt = STANDARD.decode(field("s=")).unwrap();
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, field("i=").parse().unwrap(), &mut salted);
        let without_proof = format!("c=biws,r={}", field("r="));
        let message = format!("{first_bare},{server_first},{without_proof}");
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let last = STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof)));
        client.send(format!("{last}\r\n").as_bytes()).await;
        match challenge(client).await {
            Err(refused) => refused,
            Ok(server_final) => {
                let server_signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
                assert_eq!(server_final, format!("v={}", STANDARD.encode(server_signature)));
                client.send(b"\r\n").await;
                client.line().await
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_with_ok_survives_a_power_cut() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX (\\Flagged)", b"Subject: kept\r\n\r\n1\r\n").await;
    client.append("INBOX", b"Subject: moved\r\n\r\n2\r\n").await;
    client.append("INBOX", b"Subject: gone\r\n\r\n3\r\n").await;
    client.ok("CREATE Later").await;
    client.ok("SELECT INBOX").await;
    client.ok("MOVE 2 Later").await;
    client.ok("STORE 2 +FLAGS (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    client.ok("STORE 1 +FLAGS (Word)").await;
    for how in [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(1), AfterCrash::Torn(2)] {
        let after = house.after_crash(how).await;
        let mut client = after.login().await;
        client.ok("EXAMINE INBOX").await;
        let lines = client.ok("FETCH 1:* (UID FLAGS BODY.PEEK[])").await;
        let letter = "* 1 FETCH (UID 1 FLAGS (\\Flagged Word) BODY[] {20}\r\nSubject: kept\r\n\r\n1\r\n)";
        assert_eq!(lines, [letter], "{how:?}");
        assert_eq!(client.ok("STATUS Later (MESSAGES)").await, ["* STATUS \"Later\" (MESSAGES 1)"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_loses_nothing() {
    let house = House::new().await;
    let mut client = house.login().await;
    assert!(client.append("INBOX", b"first\r\n").await.starts_with("t OK"));
    house.disk.set_capacity(Some(house.disk.used()));
    let large = vec![b'x'; 3_000_000];
    for _ in 0..3 {
        let answer = client.append("INBOX", &large).await;
        assert_eq!(answer, "t NO [LIMIT] the disk is full");
    }
    client.ok("SELECT INBOX").await;
    let lines = client.ok("FETCH 1:* BODY[]").await;
    assert_eq!(lines.len(), 1, "what is there can be read, though it cannot be marked as seen: {lines:?}");
    house.disk.set_capacity(None);
    assert!(client.append("INBOX", &large).await.starts_with("t OK"));
    assert_eq!(client.ok("STATUS INBOX (MESSAGES)").await, ["* STATUS \"INBOX\" (MESSAGES 2)"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_letter_is_told_and_the_others_are_shown() {
    let house = House::new().await;
    let mut client = house.login().await;
    let large = vec![b'x'; 100_000];
    for letter in [&b"Subject: 1\r\n\r\n"[..], &large, b"Subject: 3\r\n\r\n"] {
        assert!(client.append("INBOX", letter).await.starts_with("t OK"));
    }
    let names = onionskin::store::disk::Disk::list(&house.disk).unwrap();
    let segment = names.iter().find(|name| name.contains("seg")).unwrap();
    // In the middle of the second letter.
    house.disk.flip_bit(segment, 8 * 30_000);
    client.ok("SELECT INBOX").await;
    let (lines, answer) = client.run("FETCH 1:* (ENVELOPE)").await;
    assert!(answer.starts_with("t NO [CORRUPTION]"), "{answer}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("* 1 ") && lines[1].starts_with("* 3 "));
    client.ok("FETCH 1:* (FLAGS RFC822.SIZE)").await;
    assert_eq!(client.ok("SEARCH TEXT subject").await, ["* SEARCH 1 3"]);
    // Where the damage shows only after the first bytes were sent, the connection breaks off: nothing is made up.
    client.send(b"t FETCH 2 BODY.PEEK[]\r\n").await;
    client.cut_short().await;
    let mut next = house.login().await;
    next.ok("SELECT INBOX").await;
    next.ok("FETCH 3 BODY[]").await;
}

//! What felled or slowed other servers: after each of these the next program is served, and nothing has grown.

#![allow(clippy::unwrap_used)] // A set-up that fails is a test that fails.

use crate::imap_house::{Client, House};
use onionskin::protocol::imap::limits::{MIME_PARTS_MAX, SEARCH_DEPTH_MAX};
use std::fmt::Write as _;

/// Whoever comes next is served.
async fn still_serves(house: &House) {
    let mut client = house.login().await;
    client.ok("SELECT INBOX").await;
    client.ok("NOOP").await;
}

#[tokio::test(start_paused = true)]
async fn before_login_nothing_large_is_taken() {
    let house = House::new().await;
    for (hostile, expected) in [
        ("t LOGIN {4294967295}\r\n".to_owned(), "BAD [TOOBIG]"),
        ("t LOGIN {99999999999999999999+}\r\n".to_owned(), "BYE"),
        ("x".repeat(8_000_000), "BYE"),
        (format!("t LOGIN {} x\r\n", "a".repeat(1_000_000)), "BYE"),
        (format!("t LOGIN \"{}\r\n", "(".repeat(3_000)), "BAD"),
        ("t AUTHENTICATE PLAIN !!!!\r\n".to_owned(), "BAD"),
        ("t AUTHENTICATE PLAIN AAAA\r\n".to_owned(), "NO [AUTHENTICATIONFAILED]"),
        ("\0\0\0\r\n".to_owned(), "BAD"),
        ("t LOGIN \0 \0\r\n".to_owned(), "BAD"),
        ("GET / HTTP/1.1\r\n".repeat(30), "BYE"),
    ] {
        let mut client = house.connect().await;
        let said = talk(&mut client, hostile.as_bytes(), expected).await;
        assert!(said.contains(expected), "{hostile:.40}: {said:.200}");
    }
    still_serves(&house).await;
}

/// Sends as much as is taken, and reads until `expected` is said.
async fn talk(client: &mut Client, bytes: &[u8], expected: &str) -> String {
    for piece in bytes.chunks(1 << 15) {
        if !client.try_send(piece).await {
            break;
        }
    }
    let mut said = String::new();
    loop {
        let line = client.line().await;
        said.push_str(&line);
        if line.is_empty() || line.contains(expected) {
            return said;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bombs_in_commands_are_refused() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX", b"Subject: x\r\n\r\ny\r\n").await;
    client.ok("SELECT INBOX").await;
    let deep = SEARCH_DEPTH_MAX * 100;
    for bomb in [
        format!("FETCH 1 {}", "(".repeat(20_000)),
        format!("SEARCH {}ALL", "NOT ".repeat(deep)),
        format!("SEARCH {}ALL", "OR ALL ".repeat(deep)),
        format!("SEARCH {}", "(".repeat(deep)),
        format!("FETCH 1 BODY[{}1]", "1.".repeat(5_000)),
        format!("STORE 1 FLAGS ({})", "k ".repeat(5_000)),
        format!("CREATE \"{}\"", "a/".repeat(1_000)),
        "CREATE \"../../etc/passwd\"".to_owned(),
        format!("CREATE \"{}\"", "x".repeat(10_000)),
        "FETCH 1 BODY[]<99999999999999999999.1>".to_owned(),
        "FETCH 4294967296 FLAGS".to_owned(),
        format!("ID ({})", "\"a\" \"b\" ".repeat(1_000)),
    ] {
        client.refused(&bomb).await;
    }
    client.ok(&format!("LIST \"\" \"{}\"", "%*a".repeat(5_000))).await;
    client.ok(&format!("LIST \"\" \"{}\"", "*%".repeat(20_000))).await;
    client.ok(&format!("UID FETCH {}1 FLAGS", "1:*,4294967295,7,".repeat(3_000))).await;
    let lines = client.ok("FETCH 1 BODY.PEEK[]<4294967295.4294967295>").await;
    assert_eq!(lines, ["* 1 FETCH (BODY[]<4294967295> {0}\r\n)"]);
    client.ok("NOOP").await;
}

#[tokio::test(start_paused = true)]
async fn bombs_in_letters_are_shown_within_limits() {
    let house = House::new().await;
    let mut client = house.login().await;
    let mut multiparts = String::new();
    for level in 0..10_000 {
        write!(multiparts, "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").unwrap();
    }
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let comments = format!("To: {}{}\r\n\r\n", "(".repeat(100_000), ")".repeat(100_000));
    let parameters = format!("Content-Type: a/b{}\r\n\r\n", "; x*1*=y".repeat(50_000));
    let words = format!("Subject: {}\r\n\r\nx\r\n", "=?utf-8?q?a?= ".repeat(50_000));
    let letters = [
        multiparts,
        "Content-Type: message/rfc822\r\n\r\n".repeat(25_000),
        format!("{head}{}--b--\r\n", "--b\r\n\r\nx\r\n".repeat(100_000)),
        format!("To: {}\r\n\r\nx\r\n", "a@b, ".repeat(200_000)),
        comments,
        parameters,
        words,
        format!("References: {}\r\n\r\nx\r\n", "<a@b> ".repeat(50_000)),
        format!("Content-Transfer-Encoding: base64\r\n\r\n{}\r\n", "QUJD".repeat(1_000_000)),
        "\0".repeat(10_000),
        String::new(),
    ];
    for letter in &letters {
        assert!(client.append("INBOX", letter.as_bytes()).await.starts_with("t OK"));
    }
    client.ok("SELECT INBOX").await;
    for number in 1..=letters.len() {
        let items = "ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (TO SUBJECT)] BODY.PEEK[1.1.1.MIME]";
        let lines = client.ok(&format!("FETCH {number} ({items})")).await;
        let len: usize = lines.iter().map(String::len).sum();
        assert!(lines.len() == 1 && len < 4 << 20, "letter {number}: {len} bytes");
    }
    let structure = client.ok("FETCH 3 BODYSTRUCTURE").await;
    assert_eq!(structure[0].matches("\"text\" \"plain\"").count(), MIME_PARTS_MAX - 1);
    let found = client.ok("SEARCH OR TEXT nowhere BODY abcabc").await;
    assert_eq!(found, ["* SEARCH 9"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_commands_is_answered_in_order() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.ok("SELECT INBOX").await;
    let (rounds, batch) = (100, "t NOOP\r\n".repeat(1_000));
    for _ in 0..rounds {
        client.send(batch.as_bytes()).await;
        for _ in 0..1_000 {
            assert_eq!(client.line().await, "t OK done");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_breaks_off_leaves_nothing() {
    let house = House::new().await;
    let letters = || house.desk.store().read(|rx| rx.letters().count());
    let before = letters().await.unwrap();
    for _ in 0..20 {
        let mut client = house.login().await;
        client.send(b"t APPEND INBOX {1000000+}\r\n").await;
        client.send(&[b'x'; 300_000]).await;
    }
    let mut client = house.login().await;
    assert_eq!(client.ok("STATUS INBOX (MESSAGES)").await, ["* STATUS \"INBOX\" (MESSAGES 0)"]);
    assert_eq!(letters().await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn three_wrong_passwords_end_the_session() {
    let house = House::new().await;
    let mut client = house.connect().await;
    for _ in 0..3 {
        client.refused("LOGIN me wrong").await;
    }
    assert!(client.until_closed().await.starts_with("* BYE"));
    still_serves(&house).await;
}

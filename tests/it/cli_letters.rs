//! The command line and letters: sent and refused, queued while the node is down, read without harm, taken back.

use crate::cli_house::{House, Hub};

/// Somebody who is never there.
const ABSENT: &str = "me@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

fn count(value: &serde_json::Value) -> Option<usize> {
    value.as_array().map(Vec::len)
}

#[test]
fn what_is_sent_while_the_node_is_down_arrives_once_it_is_up() {
    let hub = Hub::new();
    let ((ann, anns), (bob, bobs)) = (House::of("ann"), House::of("bob"));
    let _bob = bob.up(&hub);
    bob.run(&["contacts", "know", &anns]).good();
    let message = format!("To: Bob <{bobs}>\nBcc: {ABSENT}\nSubject: from a script\n\n.\nA line.\n..\n");
    ann.run_with(&["sendmail", "-t", "-i", "-oi"], message.as_bytes()).good();
    let sent = ann.run(&["send", &bobs, "-s", "by hand", "-m", "Gr\u{fc}\u{df}e", "--json"]).json();
    assert_eq!((&sent["queued"], &sent["own"]), (&1.into(), &0.into()));
    assert_eq!(ann.identity()["waiting"], 3);
    assert_eq!(count(&bob.run(&["inbox", "--json"]).json()), Some(1), "only the welcome");

    let _ann = ann.up(&hub);
    let inbox = bob.wait(&["inbox", "--json"], |inbox| count(inbox) == Some(3));
    let subjects: Vec<_> =
        inbox.as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap()).collect();
    assert!(subjects.contains(&"from a script") && subjects.contains(&"by hand"), "{subjects:?}");
    let number = |subject: &str| {
        let rows = inbox.as_array().unwrap();
        rows.iter().find(|row| row["subject"] == subject).unwrap()["number"].to_string()
    };
    let scripted = bob.run(&["read", "--raw", &number("from a script")]).good();
    assert!(scripted.ends_with("\r\n\r\n.\r\nA line.\r\n..\r\n") && !scripted.contains("Bcc"), "{scripted}");
    let by_hand = bob.run(&["read", &number("by hand")]).good();
    assert!(by_hand.contains("Subject: by hand\n") && by_hand.contains("Gr\u{fc}\u{df}e"), "{by_hand}");
    assert_eq!(count(&bob.run(&["inbox", "--json", "--last", "1"]).json()), Some(1));
    ann.wait(&["status", "--json"], |status| status["identities"][0]["waiting"] == 1);
}

#[test]
fn what_cannot_travel_is_refused_in_plain_words_and_nothing_is_queued() {
    let (house, own) = House::of("ann");
    let sendmail = |text: &[u8]| house.run_with(&["sendmail", ABSENT], text);
    sendmail(b"Subject: x\n\nh\0i").bad(65, &["line 3", "NUL", "--attach"]);
    sendmail(b"Subject: x\n\nh\ri").bad(65, &["line 3", "CR"]);
    sendmail(b"Subject: x\n\nhi\r").bad(65, &["CR"]);
    sendmail(b"no header\nat all").bad(65, &["line 1", "onionskin send"]);
    sendmail(&[0xff, 0xfe, 0, 1].repeat(1000)).bad(65, &["line 1"]);
    sendmail(&vec![b'a'; 1 << 20]).bad(65, &["header"]);
    sendmail(b"From: bob@example.org\n\nx").bad(77, &["bob@example.org", &own]);
    let huge: Vec<u8> = [b"Subject: x\n\n".as_slice(), &b"seventy bytes\n".repeat(5_000_000)].concat();
    sendmail(&huge).bad(65, &["64 MiB"]);
    let endless = house.run(&["send", ABSENT, "-m", "x", "-a", "/dev/zero"]);
    endless.bad(65, &["64 MiB", "attachments grow by a third"]);
    house.run_with(&["send", ABSENT], &huge).bad(65, &["64 MiB"]);
    house.run_with(&["send", ABSENT], b"\xff").bad(65, &["UTF-8", "--attach"]);
    house.run_with(&["send", ABSENT], b"\n").bad(65, &["nothing to send"]);
    house.run(&["send", ABSENT, "-m", "x", "-a", "/nonexistent"]).bad(66, &["/nonexistent"]);
    house.run(&["send", ABSENT, "-m", "x", "-f", "y"]).bad(64, &[]);
    house.run_with(&["sendmail", "-f", "bob@example.org", ABSENT], b"\n").bad(77, &["bob@example.org", &own]);
    assert_eq!(house.identity()["waiting"], 0);
    assert_eq!(count(&house.run(&["inbox", "--folder", "Sent", "--json"]).json()), Some(0));
}

#[test]
fn who_cannot_be_reached_is_named_with_the_reason() {
    let (house, own) = House::of("ann");
    let send = |to: &str| house.run(&["send", to, "-m", "hi"]);
    send("bob@example.org").bad(67, &["bob@example.org", "onion", "ordinary internet"]);
    send("bob").bad(67, &["bob", ".onion"]);
    send("bob@short.onion").bad(67, &["56 characters", "copy the address"]);
    send(&ABSENT.replace("wid.", "wie.")).bad(67, &["typing error"]);
    send("bad\u{1b}[2Jbob@example.org").bad(67, &["bad[2Jbob"]);
    send(&own.replace("ann@", "nobody@")).bad(67, &["nobody"]);
    let t = |text: &str| house.run_with(&["sendmail", "-t"], text.as_bytes());
    t("Subject: x\n\nhi").bad(67, &["no recipient"]);
    t("To: bob@example.org\n\nhi").bad(67, &["To: bob@example.org", "ordinary internet"]);
    t("").bad(67, &["no recipient"]);
    // One who cannot be reached is never left out in silence.
    let both = house.run_with(&["sendmail", "-t", &own], b"To: bob@example.org\n\nhi");
    both.bad(67, &["bob@example.org"]);
    house.run_with(&["sendmail"], b"Subject: x\n\nhi").bad(64, &["no recipient", "-t"]);
    assert_eq!(house.identity()["waiting"], 0);

    assert!(send(&format!("Ann <{own}>")).good().contains("your own INBOX"));
    assert!(send(&format!("<{}>", own.replace('@', "+tag@"))).good().contains("your own INBOX"));
    assert_eq!(count(&house.run(&["inbox", "--json"]).json()), Some(2));
}

#[test]
fn a_letter_cannot_play_with_the_terminal() {
    let (house, own) = House::of("ann");
    let message = format!(
        "To: {own}\nSubject: =?utf-8?Q?a=1B[2J=C2=9Bb=E2=80=AEc?= \u{1b}]0;x\u{7}\nContent-Type: text/plain; \
         charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\none=1B[31mtwo=C2=9B=07=08\ttab\nline=0D\n"
    );
    house.run_with(&["sendmail", "-t"], message.as_bytes()).good();
    for args in [&["inbox"][..], &["read", "1"], &["inbox", "--folder", "Sent"]] {
        let shown = house.run(args).good();
        let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || c == '\u{202e}';
        assert!(!shown.contains(bad), "{shown:?}");
        assert!(shown.contains("a[2J"), "{shown:?}");
    }
    let shown = house.run(&["read", "1"]).good();
    assert!(shown.contains("one[31mtwo\ttab\nline\n"), "{shown:?}");
    assert!(!house.run(&["inbox", "--json"]).good().contains('\u{1b}'));
    let label = house.run(&["credentials", "--label", "a\u{1b}[2J"]).good();
    assert!(!label.contains('\u{1b}') && !house.run(&["credentials", "--list"]).good().contains('\u{1b}'));
}

#[test]
fn what_is_not_there_is_said_so() {
    let (house, _) = House::of("ann");
    house.run(&["read", "1"]).bad(66, &["no letter 1 in INBOX", "onionskin inbox"]);
    house.run(&["read", "4294967296"]).bad(64, &[]);
    house.run(&["inbox", "--folder", "Nowhere"]).bad(66, &["no folder Nowhere", "INBOX", "Sent"]);
    assert_eq!(house.run(&["inbox", "--folder", "sent"]).good(), "sent is empty.\n");
    house.run(&["queue", "cancel", "7"]).bad(66, &["nothing with that number"]);
    house.run(&["queue", "retry", "7"]).bad(66, &["nothing with that number"]);
    assert_eq!(house.run(&["queue", "retry", "--json"]).json()["retried"], 0);
    assert!(house.run(&["queue"]).good().contains("Nothing waits"));
    house.run(&["credentials", "--revoke", "4294967297"]).bad(66, &["4294967297"]);
}

#[test]
fn a_letter_is_taken_back_once_however_many_ask() {
    let ((house, _), hub) = (House::of("ann"), Hub::new());
    let _node = house.up(&hub);
    for text in ["one", "two"] {
        house.run(&["send", ABSENT, "-m", text]).good();
    }
    let queue = house.wait(&["queue", "--json"], |queue| queue[0]["last"].is_string());
    assert_eq!(count(&queue), Some(2));
    assert_eq!((&queue[0]["to"], &queue[0]["state"]), (&ABSENT.into(), &"queued".into()));
    let listed = house.run(&["queue", "list"]).good();
    assert!(listed.contains("not online") && listed.contains("to me@2gzyxa\u{2026}"), "{listed}");
    assert_eq!(house.run(&["queue", "retry"]).good(), "Trying now: 2.\n");

    let codes: Vec<_> = std::thread::scope(|scope| {
        let cancel = |_| scope.spawn(|| house.run(&["queue", "cancel", "1"]).code);
        let running: Vec<_> = (0..6).map(cancel).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(66)).count(), 5, "{codes:?}");
    let partly = house.run(&["queue", "cancel", "1", "2", "2", "--json"]).json();
    assert_eq!(partly, serde_json::json!({"cancelled": 1, "missing": [1]}));
    assert_eq!(count(&house.run(&["inbox", "--folder", "Outbox", "--json"]).json()), Some(0));
    assert_eq!(house.identity()["waiting"], 0);
}

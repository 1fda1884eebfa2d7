//! The control socket under abuse: whatever is said to it, or not said, the node lives and its person gets through.

use crate::cli_house::{House, Hub};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// Says this, and no more; what the node answers.
fn say(house: &House, text: &[u8]) -> String {
    let mut stream = UnixStream::connect(house.data.join("control.sock")).expect("the door is open");
    // The node may have heard enough before the end.
    let _ = stream.write_all(text);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("UTF-8")
}

#[test]
fn nonsense_is_answered_and_the_node_lives() {
    let ((house, own), hub) = (House::of("ann"), Hub::new());
    let _node = house.up(&hub);
    for nonsense in [&b"\n"[..], b"{}\n", b"hello\n", b"{\"do\":\"explode\"}\n", b"\xff\xfe\0\n", b"[[[[[[\n"]
    {
        let answer = say(&house, nonsense);
        assert!(answer.contains("does not understand"), "{nonsense:?}: {answer}");
    }
    let deep = [b"[".repeat(100_000), b"\n".to_vec()].concat();
    assert!(say(&house, &deep).contains("does not understand"));
    assert!(say(&house, &vec![b'a'; 1 << 20]).contains("does not understand"), "a line without an end");
    assert_eq!(say(&house, b""), "");
    assert_eq!(say(&house, b"{\"do\":\"status\""), "", "half a request");

    let submit = |size: u64, letter: &str| {
        let request = format!(
            "{{\"do\":\"submit\",\"from\":null,\"to\":[\"{own}\"],\"from_headers\":false,\"size\":{size}}}\n{letter}"
        );
        say(&house, request.as_bytes())
    };
    assert!(submit(1000, "Subject: x\r\n\r\nhalf").contains("cut off"));
    assert!(submit(u64::MAX, "").contains("64 MiB"));
    assert!(submit(14, "Subject: x\n\nhi").contains("line 1"), "the node looks for itself");
    assert!(submit(0, "Subject: more than was announced\r\n\r\n").contains("\"own\":1"));
    let inbox = house.run(&["inbox", "--json"]).json();
    assert_eq!(inbox.as_array().map(Vec::len), Some(2), "the welcome and the empty letter: {inbox}");
}

#[test]
fn callers_who_say_nothing_keep_nobody_out() {
    let ((house, _), hub) = (House::of("ann"), Hub::new());
    let node = house.up(&hub);
    let connect = || UnixStream::connect(house.data.join("control.sock")).unwrap();
    let silent: Vec<_> = (0..100).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"{\"do\":").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(house.identity()["reachable"], true);
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());

    // One who is in the middle of a command when the node goes down gets it done, or hears that it was not.
    let (took, _) = node.stop("-TERM");
    assert!(took < std::time::Duration::from_secs(4), "it took {took:?}");
    let mut line = String::new();
    for stream in silent {
        assert_eq!(BufReader::new(stream).read_line(&mut line).unwrap_or(0), 0, "{line}");
    }
}

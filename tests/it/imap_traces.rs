//! Replays the scripts of `tests/traces/imap` against the IMAP face over a new store. `README.md` there tells their
//! form. What the server says must also be IMAP in the eyes of another implementation.

#![allow(clippy::unwrap_used)] // A set-up that fails is a test that fails.

use crate::imap_house::{Client, House};
use imap_codec::decode::{Decoder as _, ResponseDecodeError};
use imap_codec::{GreetingCodec, ResponseCodec};
use std::fs;
use std::path::Path;

#[tokio::test(start_paused = true)]
async fn every_script_is_played_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/imap");
    let mut played = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            play(&path.file_name().unwrap().to_string_lossy(), &fs::read_to_string(&path).unwrap()).await;
            played += 1;
        }
    }
    assert!(played >= 6, "only {played} scripts were found");
}

async fn play(name: &str, script: &str) {
    let house = House::new().await;
    let mut clients: Vec<Client> = Vec::new();
    for (at, line) in script.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{name}:{}", at + 1);
        let (mark, text) = line.split_once(':').unwrap_or_else(|| panic!("{place}: no mark"));
        let text = unescape(text.strip_prefix(' ').unwrap_or(text));
        let number: usize = mark[1..].parse().unwrap_or(1);
        while clients.len() < number {
            clients.push(house.connect().await);
        }
        let client = &mut clients[number - 1];
        match &mark[..1] {
            "C" => client.send(&[&text[..], b"\r\n"].concat()).await,
            "c" => client.send(&text).await,
            "S" => {
                let mut heard = client.raw_line().await;
                assert!(heard.ends_with(b"\r\n"), "{place}: the connection ended");
                heard.truncate(heard.len() - 2);
                let (heard, wanted) = (String::from_utf8_lossy(&heard), String::from_utf8_lossy(&text));
                assert_eq!(heard, wanted, "{place}");
            }
            _ => panic!("{place}: unknown mark"),
        }
    }
    for client in &mut clients {
        client.send(b"end LOGOUT\r\n").await;
        assert_eq!(
            client.until_closed().await,
            "* BYE good-bye\nend OK logged out\n",
            "{name}: more was said"
        );
        check_grammar(name, &client.heard);
    }
}

/// Everything said must be IMAP to imap-codec too.
fn check_grammar(name: &str, heard: &[u8]) {
    let (mut rest, _) = GreetingCodec::new().decode(heard).unwrap_or_else(|_| panic!("{name}: greeting"));
    while !rest.is_empty() {
        let line = String::from_utf8_lossy(&rest[..rest.len().min(300)]).into_owned();
        let first = line.lines().next().unwrap_or_default();
        if KNOWN_TO_US_ONLY.iter().any(|word| first.contains(word)) {
            rest = &rest[first.len() + 2..];
            continue;
        }
        rest = match ResponseCodec::new().decode(rest) {
            Ok((after, _)) => after,
            // It stops at each literal and wants to be called again with more; all is there already.
            Err(ResponseDecodeError::LiteralFound { .. }) => panic!("{name}: literal in {line}"),
            Err(error) => panic!("{name}: {error:?} in {line}"),
        };
    }
}

/// Marks of extensions that imap-codec does not read.
const KNOWN_TO_US_ONLY: [&str; 3] = ["* ESEARCH", "CHILDINFO", " SIZE 0 DELETED 0"];

/// `\r`, `\n`, `\0`, `\\` and `\xHH` are bytes.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (byte, len) = match bytes[at..] {
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b'0', ..] => (0, 2),
            [b'\\', b'\\', ..] => (b'\\', 2),
            [b'\\', b'x', high, low, ..] => {
                let hex = [high, low];
                let hex = std::str::from_utf8(&hex).unwrap();
                (u8::from_str_radix(hex, 16).unwrap(), 4)
            }
            [byte, ..] => (byte, 1),
            [] => break,
        };
        out.push(byte);
        at += len;
    }
    out
}

//! What the targets begin with: the traces of `tests/traces`, taken apart, and what was saved in `tests/fuzz/corpus`.

use onion::OnionAddress;
use onionskin::model::hold::{MailboxId, TokenKey};
use std::path::{Path, PathBuf};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The files of a directory, in the order of their names; none if it is not there.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut files: Vec<PathBuf> = entries.unwrap_or_default();
    files.sort();
    files
}

/// Inputs saved for a target: what once failed, and what no mutation would find soon.
pub(crate) fn saved(target: &str) -> Vec<Vec<u8>> {
    files(&tests().join("fuzz/corpus").join(target)).iter().flat_map(std::fs::read).collect()
}

/// The files of a folder of the corpus as letters: with CRLF, and the onions of Ann and Bob in their places.
pub(crate) fn texts(folder: &str) -> Vec<Vec<u8>> {
    let texts = files(&tests().join("fuzz/corpus").join(folder));
    let with_names = |text: String| {
        let text = text.replace("{ann}", &onion(1).host()).replace("{bob}", &onion(2).host());
        text.replace('\n', "\r\n").into_bytes()
    };
    texts.iter().flat_map(std::fs::read_to_string).map(with_names).collect()
}

/// The onion of the test person with this number.
pub(crate) fn onion(seed: u8) -> OnionAddress {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    OnionAddress::from_public_key(key.verifying_key().to_bytes()).expect("a real key is an address")
}

/// The persons, drops and tokens of the traces in their places.
fn fill(line: &str) -> String {
    let names = [("{ann}", 1), ("{bob}", 2), ("{drop}", 3), ("{collector}", 4)];
    let line =
        names.iter().fold(line.to_owned(), |line, (name, seed)| line.replace(name, &onion(*seed).host()));
    let token = |nonce, class| {
        TokenKey::new([7; 32]).token(
            &onion(3),
            MailboxId(*b"\x01\x23\x45\x67\x89\xab\xcd\xef"),
            [nonce; 16],
            736,
            class,
        )
    };
    let tokens = [("{token}", token(0x2a, 2)), ("{other}", token(0x2b, 2)), ("{small}", token(0x2c, 0))];
    tokens.iter().fold(line, |line, (name, token)| line.replace(name, &token.to_hex()))
}

/// What one side says in each trace of a folder whose first words are `begins`; `sides` are the marks of its lines.
pub(crate) fn traces(folder: &str, begins: &str, sides: [&str; 2]) -> Vec<Vec<u8>> {
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(begins) && name.ends_with(".trace")
    };
    let traces = files(&tests().join("traces").join(folder));
    traces
        .iter()
        .filter(|path| is_wanted(path))
        .flat_map(std::fs::read_to_string)
        .map(|text| said(&text, sides))
        .collect()
}

fn said(text: &str, [with_end, without]: [&str; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line = fill(line);
        if let Some(rest) = line.strip_prefix(with_end) {
            bytes.extend(unescape(rest));
            bytes.extend(b"\r\n");
        } else if let Some(rest) = line.strip_prefix(without) {
            bytes.extend(unescape(rest));
        }
    }
    bytes
}

/// `\r`, `\n`, `\0`, `\\` and `\x` with two digits, as the traces' README has them.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, used) = match (byte, after) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'0', ..]) => (0, 1),
            (b'\\', [b'\\', ..]) => (b'\\', 1),
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0);
                (u8::try_from(digit(high) * 16 + digit(low)).unwrap_or(0), 3)
            }
            _ => (byte, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    bytes
}

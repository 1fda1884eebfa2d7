//! A mail program that reads: the client's end of an IMAP conversation (RFC 3501), as much as the tests need.
//!
//! Promises to read literals and to keep untagged answers as they came. Leaves judging to the tests.

use super::letters::Letter;
use super::programs::Answer;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};

/// The client's end.
pub(crate) struct Imap<S> {
    stream: BufStream<S>,
    said: u32,
    /// The untagged answers to the last command, literals included, without their last CRLF.
    pub(crate) told: Vec<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Imap<S> {
    /// A conversation whose greeting has not been read.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufStream::new(stream), said: 0, told: Vec::new() }
    }

    /// Reads the greeting and logs in.
    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Answer {
        if self.line().await.is_none() {
            return Answer::Cut;
        }
        self.ask(&format!("LOGIN {user} {password}")).await
    }

    /// Says a command and waits for its answer.
    pub(crate) async fn ask(&mut self, command: &str) -> Answer {
        self.said += 1;
        let tag = format!("T{} ", self.said);
        let line = format!("{tag}{command}\r\n");
        if self.stream.write_all(line.as_bytes()).await.is_err() || self.stream.flush().await.is_err() {
            return Answer::Cut;
        }
        self.told.clear();
        while let Some(line) = self.line().await {
            if !line.starts_with(tag.as_bytes()) {
                self.told.push(line);
                continue;
            }
            let answer = String::from_utf8_lossy(&line[tag.len()..]).into_owned();
            return if answer.starts_with("OK") { Answer::Taken(answer) } else { Answer::Refused(answer) };
        }
        Answer::Cut
    }

    /// Everything in a mailbox, in the order of uids; none if the connection is gone.
    pub(crate) async fn letters(&mut self, mailbox: &str) -> Option<Vec<Letter>> {
        match self.ask(&format!("EXAMINE \"{mailbox}\"")).await {
            Answer::Cut => return None,
            other => other.taken(),
        }
        match self.ask("UID FETCH 1:* (FLAGS BODY.PEEK[])").await {
            Answer::Cut => None,
            other => {
                other.taken();
                Some(self.told.iter().filter_map(|told| fetched(told)).collect())
            }
        }
    }

    /// One line, with the literals that belong to it; none at the end of the stream.
    async fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let start = line.len();
            self.stream.read_until(b'\n', &mut line).await.ok()?;
            if !line[start..].ends_with(b"\r\n") {
                return None;
            }
            let Some(len) = literal_len(&line[start..]) else {
                line.truncate(line.len() - 2);
                return Some(line);
            };
            let start = line.len();
            line.resize(start + len, 0);
            self.stream.read_exact(&mut line[start..]).await.ok()?;
        }
    }
}

/// The length of the literal that a line announces at its end.
fn literal_len(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}\r\n")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}

/// The letter in an untagged FETCH with UID, FLAGS and BODY[].
fn fetched(told: &[u8]) -> Option<Letter> {
    let head_end = told.windows(2).position(|window| window == b"\r\n").unwrap_or(told.len());
    let head = std::str::from_utf8(&told[..head_end]).ok()?;
    if !head.contains(" FETCH ") {
        return None;
    }
    let uid = head.split("UID ").nth(1)?.split([' ', ')']).next()?.parse().ok()?;
    let len: usize = head.rsplit_once('{')?.1.strip_suffix('}')?.parse().ok()?;
    let bytes = told.get(head_end + 2..head_end + 2 + len)?.to_vec();
    let rest = String::from_utf8_lossy(&told[head_end + 2 + len..]).into_owned();
    let seen = head.contains("\\Seen") || rest.contains("\\Seen");
    Some(Letter { uid, seen, bytes })
}

//! The other side of a node's SMTP ports: a mail program at submission, a stranger at the onion.
//!
//! Promises to say exactly what the test says, in plain SMTP without pipelining, and to tell apart "taken",
//! "refused" and "cut off, so nobody knows". Leaves judging to the tests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use onion::{HostKey, OnionAddress};
use onionskin::model::letter::LetterId;
use onionskin::protocol::smtp::proof::Session;
use std::io;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};

/// What became of what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 2xx or 3xx, with the reply's last line.
    Taken(String),
    /// 4xx or 5xx, with the reply's last line.
    Refused(String),
    /// The connection ended before the answer: it may have been done or not.
    Cut,
}

impl Answer {
    /// Whether it was taken.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Taken(_))
    }

    /// The refusal.
    ///
    /// # Panics
    /// If it was taken.
    pub(crate) fn refusal(&self) -> &str {
        match self {
            Self::Refused(line) => line,
            other => panic!("this was to be refused: {other:?}"),
        }
    }

    /// Insists on its having been taken.
    pub(crate) fn taken(self) {
        assert!(self.is_taken(), "this was to be taken: {self:?}");
    }
}

/// The client's end of an SMTP conversation.
pub(crate) struct Smtp<S> {
    stream: BufStream<S>,
    /// The lines of the last reply, without their code.
    pub(crate) lines: Vec<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Smtp<S> {
    /// A conversation whose greeting has not been read.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufStream::new(stream), lines: Vec::new() }
    }

    /// Waits for a reply.
    pub(crate) async fn hear(&mut self) -> Answer {
        self.lines.clear();
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line).await {
                Ok(len) if len > 0 && line.ends_with("\r\n") => {}
                _ => return Answer::Cut,
            }
            let line = line.trim_end().to_owned();
            self.lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return match line.as_bytes()[0] {
                    b'2' | b'3' => Answer::Taken(line),
                    _ => Answer::Refused(line),
                };
            }
        }
    }

    /// Plays a server: answers each line that comes with what `reply` says, until QUIT or the end. After a reply that
    /// begins with 354 lines are a letter, and only its final `.` is answered; what follows BDAT is read with it.
    pub(crate) async fn serve(&mut self, mut reply: impl FnMut(&str) -> String) {
        let mut in_letter = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            match self.stream.read_until(b'\n', &mut line).await {
                Ok(len) if len > 0 => {}
                _ => return,
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if in_letter && text != "." {
                continue;
            }
            if let Some(chunk) = text.strip_prefix("BDAT ") {
                let len = chunk.split(' ').next().and_then(|len| len.parse().ok()).expect("a length");
                if self.stream.read_exact(&mut vec![0; len]).await.is_err() {
                    return;
                }
            }
            let answer = reply(&text);
            in_letter = answer.starts_with("354");
            if self.say(&answer).await.is_err() || text.eq_ignore_ascii_case("QUIT") {
                return;
            }
        }
    }

    /// Says a line, or several.
    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes()).await?;
        self.write(b"\r\n").await
    }

    /// Says bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Says a line and waits for its reply.
    pub(crate) async fn ask(&mut self, line: &str) -> Answer {
        match self.say(line).await {
            Ok(()) => self.hear().await,
            Err(_) => Answer::Cut,
        }
    }

    /// Reads the greeting and says EHLO; its reply is in `lines`.
    pub(crate) async fn greet(&mut self, name: &str) -> Answer {
        match self.hear().await {
            Answer::Taken(_) => self.ask(&format!("EHLO {name}")).await,
            other => other,
        }
    }

    /// Greets and proves the onion whose key is made of `seed`, to a node that is `server`.
    pub(crate) async fn prove(&mut self, seed: u8, server: OnionAddress) -> Answer {
        let proof = self.proof(seed, server).await;
        self.ask(&proof).await
    }

    /// Greets and gives the AUTH line that such a caller would say.
    pub(crate) async fn proof(&mut self, seed: u8, server: OnionAddress) -> String {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let own = HostKey::from_seed([seed; 32]).address();
        self.greet(&own.host()).await.taken();
        let cookie = self.lines.iter().find_map(|line| line.strip_prefix("ONIONSKIN 1 "));
        let cookie = cookie.and_then(|words| words.split(' ').next());
        let server_cookie = cookie.and_then(LetterId::from_hex).expect("a node of ours gives a cookie").0;
        let session = Session { server, server_cookie };
        let sign = |bytes: &[u8]| key.sign(bytes).to_bytes();
        format!("AUTH ONION-ED25519 {}", session.response(&own, &[seed; 16], &sign))
    }

    /// Greets and logs in with AUTH PLAIN (RFC 4616).
    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Answer {
        match self.greet("localhost").await {
            Answer::Taken(_) => {
                let response = STANDARD.encode(format!("\0{user}\0{password}"));
                self.ask(&format!("AUTH PLAIN {response}")).await
            }
            other => other,
        }
    }

    /// Sends one letter by DATA. The first refusal ends it.
    pub(crate) async fn send(&mut self, from: &str, to: &[&str], letter: &[u8]) -> Answer {
        self.send_as(&format!("MAIL FROM:<{from}>"), to, letter).await
    }

    /// The same with a MAIL line of one's own.
    pub(crate) async fn send_as(&mut self, mail: &str, to: &[&str], letter: &[u8]) -> Answer {
        let mut lines = vec![mail.to_owned()];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".into());
        for line in lines {
            let answer = self.ask(&line).await;
            if !answer.is_taken() {
                return answer;
            }
        }
        match self.write(&stuffed(letter)).await {
            Ok(()) => self.hear().await,
            Err(_) => Answer::Cut,
        }
    }
}

/// A letter as DATA has it (RFC 5321 section 4.5.2), its end included.
fn stuffed(letter: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(letter.len() + 64);
    for line in letter.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

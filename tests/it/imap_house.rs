//! A desk over a simulated disk, and mail programs that talk to its IMAP face over streams in memory.

#![allow(clippy::unwrap_used)] // A set-up that fails is a test that fails.

use onionskin::face::imap;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::identity::{Identity, RecoveryWords};
use onionskin::model::letter::Recipients;
use onionskin::model::time::UnixTime;
use onionskin::node::clock::TokioClock;
use onionskin::node::desk::Desk;
use onionskin::node::submit;
use onionskin::protocol::sasl::{ITERATIONS, Verifier};
use onionskin::store::credentials::CredentialRecord;
use onionskin::store::disk::{AfterCrash, Disk, SimDisk};
use onionskin::store::vault::MasterKey;
use onionskin::store::{Run, Store, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::watch;

/// 2026-02-01T09:00:00Z; also the first UIDVALIDITY.
pub(crate) const START: UnixTime = UnixTime(1_769_936_400);
pub(crate) const PASSWORD: &str = "secret";

/// An identity, its store and disk, and whether the node goes down.
pub(crate) struct House {
    pub(crate) desk: Arc<Desk>,
    pub(crate) disk: SimDisk,
    pub(crate) down: watch::Sender<bool>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let disk = SimDisk::new();
        let options = StoreOptions { run: Run::Inline, seed: [2; 32] };
        let store = Store::create(Arc::new(disk.clone()), &key(), options, START).await.unwrap();
        let house = Self::with(store, disk).await;
        let verifier = Verifier::from_password(PASSWORD, b"salt of 16 bytes", ITERATIONS);
        let record = CredentialRecord {
            label: "test".to_owned(),
            user: house.desk.identity().address().full(),
            verifier: serde_cbor::to_vec(&verifier).unwrap(),
            created: START,
        };
        house.desk.store().write(move |tx| tx.credentials().add(&record)).await.unwrap();
        house
    }

    /// The house after a power cut that lost or kept what was not synced.
    pub(crate) async fn after_crash(&self, how: AfterCrash) -> Self {
        let disk = self.disk.after_crash(how);
        let options = StoreOptions { run: Run::Inline, seed: [6; 32] };
        let store = Store::open(Arc::new(disk.clone()), &key(), options).await.unwrap();
        Self::with(store, disk).await
    }

    async fn with(store: Store, disk: SimDisk) -> Self {
        let words = RecoveryWords::from_entropy([3; 32]);
        let identity = Identity::from_words(&words, LocalPart::parse("me").unwrap(), START);
        let clock = Arc::new(TokioClock::starting_at(START));
        let keys: (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), key());
        let desk = Desk::new(identity, store, (keys.0, &keys.1), clock, [4; 32]).await.unwrap();
        Self { desk: Arc::new(desk), disk, down: watch::channel(false).0 }
    }

    /// A mail program that has read the greeting.
    pub(crate) async fn connect(&self) -> Client {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(imap::converse(self.desk.clone(), [5; 32], far, self.down.subscribe()));
        let mut client = Client { stream: BufReader::new(near), heard: Vec::new() };
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client
    }

    /// A mail program that has logged in.
    pub(crate) async fn login(&self) -> Client {
        let mut client = self.connect().await;
        client.ok(&format!("LOGIN me {PASSWORD}")).await;
        client
    }

    /// Submits a letter to other nodes, as SMTP on loopback would.
    pub(crate) async fn submit(&self, recipients: &[MailAddress], letter: &str) {
        let recipients = Recipients::new(recipients.iter().cloned()).unwrap();
        let mut parcel = submit::begin(&self.desk, &recipients).await.unwrap();
        parcel.write(letter.as_bytes()).await;
        parcel.finish().await.unwrap();
    }
}

fn key() -> MasterKey {
    MasterKey::generate(&mut StdRng::from_seed([1; 32]))
}

/// A mail program.
pub(crate) struct Client {
    stream: BufReader<DuplexStream>,
    /// Everything heard so far.
    pub(crate) heard: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends unless the other side has closed.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// One line with its literals; empty at the end of the connection.
    pub(crate) async fn raw_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            // A reset tells the same as an end.
            let read = self.stream.read_until(b'\n', &mut line).await.unwrap_or(0);
            let Some(len) = literal_len(&line).filter(|_| read > 0) else { break };
            let mut literal = vec![0; len];
            self.stream.read_exact(&mut literal).await.unwrap();
            line.extend(literal);
        }
        self.heard.extend_from_slice(&line);
        line
    }

    /// The same as text, without its CRLF.
    pub(crate) async fn line(&mut self) -> String {
        let line = String::from_utf8_lossy(&self.raw_line().await).into_owned();
        line.strip_suffix("\r\n").unwrap_or(&line).to_owned()
    }

    /// Runs a command; gives the untagged lines and the answer.
    pub(crate) async fn run(&mut self, command: &str) -> (Vec<String>, String) {
        self.send(format!("t {command}\r\n").as_bytes()).await;
        self.answer().await
    }

    /// The untagged lines and the answer of the command tagged `t`.
    pub(crate) async fn answer(&mut self) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() || line.starts_with("t ") {
                return (lines, line);
            }
            lines.push(line);
        }
    }

    /// Runs a command that must succeed; gives the untagged lines.
    pub(crate) async fn ok(&mut self, command: &str) -> Vec<String> {
        let (lines, answer) = self.run(command).await;
        assert!(answer.starts_with("t OK"), "{command:.200}: {answer}");
        lines
    }

    /// Runs a command that must be refused; gives the answer.
    pub(crate) async fn refused(&mut self, command: &str) -> String {
        let (lines, answer) = self.run(command).await;
        assert!(
            answer.starts_with("t NO") || answer.starts_with("t BAD"),
            "{command:.200}: {lines:?} {answer}"
        );
        answer
    }

    /// APPEND with a literal that does not wait; gives the answer.
    pub(crate) async fn append(&mut self, mailbox: &str, letter: &[u8]) -> String {
        self.send(format!("t APPEND {mailbox} {{{}+}}\r\n", letter.len()).as_bytes()).await;
        self.send(letter).await;
        self.send(b"\r\n").await;
        self.answer().await.1
    }

    /// The connection must end within a literal.
    pub(crate) async fn cut_short(&mut self) {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.unwrap();
        let len = literal_len(&line).unwrap();
        let mut literal = Vec::new();
        self.stream.read_to_end(&mut literal).await.unwrap();
        assert!(literal.len() < len, "{} of {len} bytes came", literal.len());
    }

    /// Reads to the end of the connection.
    pub(crate) async fn until_closed(&mut self) -> String {
        let mut all = String::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return all;
            }
            all.push_str(&line);
            all.push('\n');
        }
    }
}

/// The length of the literal that a line announces.
fn literal_len(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}\r\n")?;
    let start = digits.iter().rposition(|&byte| byte == b'{')?;
    std::str::from_utf8(&digits[start + 1..]).ok()?.parse().ok()
}

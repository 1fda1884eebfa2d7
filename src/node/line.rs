//! `Line`: the SMTP client machine and its stream: what is said, heard and waited for on one connection to a peer.
//!
//! Bytes of a letter are made when the machine wants them. While it writes it listens, because a server that refuses
//! in the midst of a letter may not read on.

use crate::model::hold::Token;
use crate::model::letter::LetterId;
use crate::model::statement::{Card, Verified};
use crate::node::Node;
use crate::node::sealing::SealedLetter;
use crate::node::session::Work;
use crate::protocol::smtp::client::{self, CardAnswer, Cause, Client, Failure, Outgoing, Prove, Step};
use crate::protocol::smtp::{HeldList, Phase, Read, Reply, Take, limits};
use crate::store::{LetterReader, StoreError};
use ed25519_dalek::{Signer as _, SigningKey};
use onion::{HostKey, OnionAddress, Stream};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest wait for one reply or one write once the peer has asked for a fresh connection.
const HURRIED_WAIT: Duration = Duration::from_secs(10);
/// How long a peer that takes no more bytes is listened to.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(2);

/// The letter that is being sent.
pub(super) enum Content {
    /// As it is, from this byte of the kept one on.
    Plain(LetterReader, u64),
    /// Sealed.
    Sealed(Box<SealedLetter>),
}

impl Content {
    async fn read_at(&mut self, at: u64, max: usize) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Plain(reader, start) => reader.read_at(*start + at, max).await,
            Self::Sealed(sealed) => sealed.read_at(at, max).await,
        }
    }
}

/// What the server answered to a letter.
pub(super) struct Answer {
    /// One for each recipient.
    pub(super) outcomes: Vec<client::Outcome>,
    /// What it gave as a receipt.
    pub(super) receipt: Option<Vec<u8>>,
    /// What it said when it was asked for its Card in the same flight.
    pub(super) card: Option<CardAnswer>,
}

/// The client machine and its stream.
pub(super) struct Line {
    end: Arc<Notify>,
    node: Arc<Node>,
    /// The peer asked for a fresh connection: this one may lead to a process that is gone, so wait only briefly.
    pub(super) hurried: bool,
    pub(super) client: Client,
    /// The peer's Card, once it was looked up.
    pub(super) card: Option<Verified<Card>>,
    /// The peer was asked for its Card on this connection.
    pub(super) asked_card: bool,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    buffer: Vec<u8>,
    body: Option<Content>,
    wait: Option<((u64, Phase, bool), Instant)>,
}

/// How the machine came to rest.
enum Rest {
    Letter { outcomes: Vec<client::Outcome>, receipt: Option<Vec<u8>> },
    Card(CardAnswer),
    Held(Result<HeldList, Reply>),
    Taken(Result<Vec<u8>, Reply>),
    Done(Result<(), Reply>),
    Nothing,
}

impl Line {
    /// To a peer, proving who we are.
    pub(super) fn new(node: &Arc<Node>, stream: Stream, work: &Work) -> Self {
        let own = node.desk.identity.onion();
        let signer = node.clone();
        let prove = Prove {
            own,
            cookie: node.desk.draw(),
            sign: Box::new(move |message| signer.desk.identity.sign_proof(message)),
        };
        let config = client::Config { server: work.peer, hello: own.host(), prove: Some(prove) };
        Self::over(node, stream, config, work.end.clone())
    }

    /// To a drop, saying nothing of who we are.
    pub(super) fn anonymous(node: &Arc<Node>, stream: Stream, drop: OnionAddress) -> Self {
        Self::over(node, stream, client::Config::anonymous(drop), Arc::default())
    }

    /// To a drop, proving a collecting key.
    pub(super) fn collecting(node: &Arc<Node>, stream: Stream, drop: OnionAddress, key: SigningKey) -> Self {
        let own = HostKey::from_seed(key.to_bytes()).address();
        let sign: Box<client::Sign> = Box::new(move |message| key.sign(message).to_bytes());
        let prove = Prove { own, cookie: node.desk.draw(), sign };
        let config = client::Config { prove: Some(prove), ..client::Config::anonymous(drop) };
        Self::over(node, stream, config, Arc::default())
    }

    fn over(node: &Arc<Node>, stream: Stream, config: client::Config, end: Arc<Notify>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            node: node.clone(),
            end,
            hurried: false,
            client: Client::new(config),
            card: None,
            asked_card: false,
            reader,
            writer,
            buffer: vec![0; 4096],
            body: None,
            wait: None,
        }
    }

    /// Sends one letter and waits until it is answered.
    pub(super) async fn letter(&mut self, outgoing: Outgoing, content: Content) -> Result<Answer, Failure> {
        self.asked_card |= outgoing.ask_card.is_some();
        self.client.letter(outgoing).map_err(|_| lost())?;
        self.body = Some(content);
        let mut card = None;
        loop {
            match self.rest(true).await? {
                Rest::Letter { outcomes, receipt } => return Ok(Answer { outcomes, receipt, card }),
                Rest::Card(answer) => card = Some(answer),
                _ => return Err(lost()),
            }
        }
    }

    /// Asks for the peer's Card.
    pub(super) async fn card(&mut self, known: Option<u64>) -> Result<CardAnswer, Failure> {
        self.asked_card = true;
        self.client.ask_card(known).map_err(|_| lost())?;
        match self.rest(true).await? {
            Rest::Card(answer) => Ok(answer),
            _ => Err(lost()),
        }
    }

    /// Asks what is held, from behind a letter.
    pub(super) async fn held(&mut self, after: Option<LetterId>) -> Result<Result<HeldList, Reply>, Failure> {
        self.client.ask_held(after).map_err(|_| lost())?;
        match self.rest(true).await? {
            Rest::Held(list) => Ok(list),
            _ => Err(lost()),
        }
    }

    /// Begins to fetch a stretch of a held letter; as many as [`limits::TAKES_MAX`] may be on their way.
    pub(super) fn ask(&mut self, take: Take) -> Result<(), Failure> {
        self.client.take(take).map_err(|_| lost())
    }

    /// Waits for the oldest stretch.
    pub(super) async fn taken(&mut self) -> Result<Result<Vec<u8>, Reply>, Failure> {
        match self.rest(true).await? {
            Rest::Taken(bytes) => Ok(bytes),
            _ => Err(lost()),
        }
    }

    /// Says that these letters are here durably.
    pub(super) async fn drop_letters(&mut self, letters: &[LetterId]) -> Result<Result<(), Reply>, Failure> {
        self.client.drop_letters(letters).map_err(|_| lost())?;
        match self.rest(true).await? {
            Rest::Done(done) => Ok(done),
            _ => Err(lost()),
        }
    }

    /// Takes back tokens of an epoch.
    pub(super) async fn revoke(
        &mut self,
        epoch: u32,
        nonces: &[[u8; 16]],
    ) -> Result<Result<(), Reply>, Failure> {
        self.client.revoke(epoch, nonces).map_err(|_| lost())?;
        match self.rest(true).await? {
            Rest::Done(done) => Ok(done),
            _ => Err(lost()),
        }
    }

    /// Calls a letter back.
    pub(super) async fn recall(
        &mut self,
        letter: LetterId,
        token: Token,
    ) -> Result<Result<(), Reply>, Failure> {
        self.client.recall(letter, token).map_err(|_| lost())?;
        match self.rest(true).await? {
            Rest::Done(done) => Ok(done),
            _ => Err(lost()),
        }
    }

    /// Says ETRN and waits until it is answered.
    pub(super) async fn etrn(&mut self) -> Result<(), Failure> {
        self.client.etrn().map_err(|_| lost())?;
        self.rest(false).await.map(drop)
    }

    /// Works until something in hand is answered.
    async fn rest(&mut self, wanted: bool) -> Result<Rest, Failure> {
        loop {
            match self.client.next() {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::WantBody { at, max } => self.give_body(at, max).await?,
                Step::Done { outcomes, receipt } => return Ok(Rest::Letter { outcomes, receipt }),
                Step::Card(answer) => return Ok(Rest::Card(answer)),
                Step::Etrn(_) => return Ok(Rest::Nothing),
                Step::Held(list) => return Ok(Rest::Held(list)),
                Step::Taken(bytes) => return Ok(Rest::Taken(bytes)),
                Step::Dropped(done) | Step::Recalled(done) => return Ok(Rest::Done(done)),
                Step::Failed(failure) => return Err(failure),
                Step::Idle if !wanted => return Ok(Rest::Nothing),
                Step::Idle | Step::Close => return Err(lost()),
            }
        }
    }

    async fn give_body(&mut self, at: u64, max: usize) -> Result<(), Failure> {
        let Some(content) = &mut self.body else { return Err(lost()) };
        let piece = match content.read_at(at, max).await {
            Ok(piece) => piece,
            Err(error) => {
                tracing::error!(%error, "a letter could not be read while it was sent");
                return Err(lost());
            }
        };
        self.client.body(&piece).map_err(|_| lost())
    }

    /// Writes, and listens meanwhile: a server that refuses in the middle of a letter may not read on.
    async fn send(&mut self, bytes: &[u8]) {
        self.node.desk.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let Self { end, hurried, client, reader, writer, buffer, .. } = self;
        let write = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let mut until = Instant::now() + if *hurried { HURRIED_WAIT } else { limits::SEND_WAIT };
        tokio::pin!(write);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = end.notified(), if !*hurried => {
                    *hurried = true;
                    until = Instant::now() + HURRIED_WAIT;
                }
                done = timeout_at(until, &mut write) => {
                    if !matches!(done, Ok(Ok(()))) {
                        hear_last_words(client, reader, buffer).await;
                    }
                    return;
                }
                got = reader.read(buffer), if open => open = feed(client, got, buffer),
            }
        }
    }

    async fn read(&mut self, read: Read) {
        let key = (read.turn, read.phase, self.hurried);
        let until = match self.wait {
            Some((known, until)) if known == key => until,
            _ if self.hurried => Instant::now() + read.phase.timeout().min(HURRIED_WAIT),
            _ => Instant::now() + read.phase.timeout(),
        };
        self.wait = Some((key, until));
        tokio::select! {
            biased;
            () = self.end.notified(), if !self.hurried => self.hurried = true,
            got = timeout_at(until, self.reader.read(&mut self.buffer)) => match got {
                Ok(got) => {
                    feed(&mut self.client, got, &self.buffer);
                }
                Err(_) => self.client.expire(),
            }
        }
    }

    /// Listens while nothing is to be done; ends when the peer closes.
    pub(super) async fn idle(&mut self) -> Result<(), Failure> {
        loop {
            match self.client.next() {
                Step::Idle => {
                    let got = self.reader.read(&mut self.buffer).await;
                    feed(&mut self.client, got, &self.buffer);
                }
                Step::Failed(_) | Step::Close => return Ok(()),
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::WantBody { .. } | Step::Done { .. } | Step::Card(_) | Step::Etrn(_) => {
                    return Err(lost());
                }
                Step::Held(_) | Step::Taken(_) | Step::Dropped(_) | Step::Recalled(_) => return Err(lost()),
            }
        }
    }

    /// Leaves politely; what goes wrong now concerns nobody.
    pub(super) async fn quit(&mut self) {
        self.client.quit();
        loop {
            match self.client.next() {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Read(read) => self.read(read).await,
                Step::Idle => self.client.eof(),
                _ => break,
            }
        }
        let _ = timeout(Phase::Quit.timeout(), self.writer.shutdown()).await;
    }
}

/// After a failed write: what the peer said before it closed (a refusal, most likely) tells more than the failure.
async fn hear_last_words(client: &mut Client, reader: &mut ReadHalf<Stream>, buffer: &mut [u8]) {
    let until = Instant::now() + LAST_WORDS_WAIT;
    while let Ok(got) = timeout_at(until, reader.read(buffer)).await {
        if !feed(client, got, buffer) {
            return;
        }
    }
    client.eof();
}

/// Gives what was read to the machine; whether the stream is still open.
fn feed(client: &mut Client, got: io::Result<usize>, buffer: &[u8]) -> bool {
    match got {
        Ok(len) if len > 0 && client.feed(&buffer[..len]).is_ok() => true,
        _ => {
            client.eof();
            false
        }
    }
}

pub(super) fn lost() -> Failure {
    Failure { cause: Cause::Lost, maybe_delivered: false }
}

//! Drives the SMTP server machine over a stream: reads, writes, waits, and asks a `Port` what to do with letters.
//!
//! The onion port, drops and submission differ only in their `Port`. One task per connection, so a letter that makes us
//! panic costs its own session and nothing else.

use crate::face::places::Place;
use crate::face::went_down;
use crate::model::address::MailAddress;
use crate::model::hold::Token;
use crate::model::letter::LetterId;
use crate::node::parcel::Parcel;
use crate::node::partial::Claim;
use crate::node::receive::Here;
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::server::{Deposit, Envelope, Held, Sending, Server, Step};
use crate::protocol::smtp::{HeldLetter, Phase, Read, Reply, Revoked, Take, limits};
use onion::OnionAddress;
use std::future::{Future, ready};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// What is read at once while no letter comes; most sessions idle.
const COMMAND_READ_LEN: usize = 4 * 1024;
/// What is said to a caller whose place another needs.
const MAKE_ROOM: &[u8] =
    b"421 4.3.2 Too many are connected and this session was silent longest; come again\r\n";

/// Whom nobody knows.
const NOBODY: Reply = Reply::new(550, 1, 1, "Nobody of that name here");
/// For whom nothing is held.
const NOTHING_HELD: Reply = Reply::new(550, 7, 1, "Nothing is held here for you");

/// For it, and no longer: the place is given to another already.
const MAKE_ROOM_WAIT: Duration = Duration::from_secs(1);

/// What one of the ports does with letters and callers.
pub(crate) trait Port: Sync {
    /// The verifiers of this user.
    fn verifiers(&self, user: &str) -> impl Future<Output = Vec<Verifier>> + Send;
    /// The caller has proved its onion.
    fn proved(&self, onion: OnionAddress);
    /// The proved caller asks for what waits for it.
    fn etrn(&self, onion: OnionAddress);
    /// The identity's Card is asked for, if it is newer than this sequence.
    fn card(&self, known: Option<u64>) -> impl Future<Output = Result<Option<Vec<u8>>, Reply>> + Send;
    /// A large letter is announced by a proved caller: this connection is the one for it now, and here is what is
    /// there of it.
    fn claim(&self, sending: &Sending) -> impl Future<Output = Option<(Claim, Option<Here>)>> + Send;
    /// A letter, or the rest of one, is about to come.
    fn begin(
        &self,
        envelope: &Envelope,
        here: Option<Here>,
    ) -> impl Future<Output = Result<Parcel, Reply>> + Send;
    /// Somebody without a node is named to whom a letter is to go, of so many bytes if that was said (at the onion).
    fn recipient(
        &self,
        _to: &MailAddress,
        _size: Option<u64>,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        ready(Err(NOBODY))
    }
    /// A letter is to be left (at a drop).
    fn deposit(&self, _: &Deposit) -> impl Future<Output = Result<(), Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
    /// What is held for whoever proved this key, from behind a letter, and whether there is more.
    fn held(
        &self,
        _who: OnionAddress,
        _after: Option<LetterId>,
    ) -> impl Future<Output = Result<(Vec<HeldLetter>, bool), Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
    /// A stretch of a held letter.
    fn take(&self, _who: OnionAddress, _take: Take) -> impl Future<Output = Result<Vec<u8>, Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
    /// Whoever proved this key has these letters durably.
    fn forget(&self, _who: OnionAddress, _: &[LetterId]) -> impl Future<Output = Result<(), Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
    /// Whoever proved this key takes back tokens that were given out (at a drop).
    fn revoke(&self, _who: OnionAddress, _: &Revoked) -> impl Future<Output = Result<(), Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
    /// Its author calls a letter back (at a drop).
    fn recall(&self, _: LetterId, _: Token) -> impl Future<Output = Result<(), Reply>> + Send {
        ready(Err(NOTHING_HELD))
    }
}

/// The letter in hand.
#[derive(Default)]
struct Incoming {
    parcel: Option<Parcel>,
    /// What an earlier try left, until the letter begins.
    here: Option<Here>,
    claim: Option<Claim>,
}

impl Incoming {
    /// The session breaks: what has come is kept for the next one.
    fn suspend(&mut self) {
        let Self { parcel, here, claim } = std::mem::take(self);
        let begun = match (parcel, here) {
            (Some(parcel), _) => parcel.suspend(),
            (None, Some(Here::Part(part))) => Some(*part),
            _ => None,
        };
        if let (Some(claim), Some(letter)) = (claim, begun) {
            claim.keep(letter);
        }
    }
}

/// One session, to its end. An error is the stream's.
pub(crate) async fn converse<S, P>(
    mut stream: S,
    mut server: Server,
    port: &P,
    place: &Place,
    mut down: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    P: Port,
{
    let mut letter = Incoming::default();
    let ended = steps(&mut stream, &mut server, (port, place), &mut letter, &mut down).await;
    if ended.is_err() {
        server.cut();
        loop {
            match server.next() {
                Step::Suspend => letter.suspend(),
                Step::Close => break,
                _ => {}
            }
        }
    }
    ended
}

async fn steps<S, P>(
    stream: &mut S,
    server: &mut Server,
    (port, place): (&P, &Place),
    letter: &mut Incoming,
    down: &mut watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    P: Port,
{
    let mut buffer = Vec::new();
    let mut wait = Wait::default();
    loop {
        match server.next() {
            Step::Send(bytes) => {
                let sending = send(stream, &bytes);
                tokio::pin!(sending);
                tokio::select! {
                    biased;
                    sent = &mut sending => sent?,
                    () = place.told_to_go() => {
                        // It may be the acknowledgement of a letter: without it, a second copy will come.
                        return timeout(MAKE_ROOM_WAIT, sending).await.unwrap_or(Ok(()));
                    }
                }
            }
            Step::Read(read) => {
                let unwanted = letter.claim.as_ref().map(|claim| claim.unwanted.clone());
                tokio::select! {
                    biased;
                    () = place.told_to_go() => {
                        return timeout(MAKE_ROOM_WAIT, stream.write_all(MAKE_ROOM)).await.unwrap_or(Ok(()));
                    }
                    heard = listen(stream, server, read, &mut buffer, &mut wait, down, unwanted.as_deref()) => {
                        heard?;
                        place.heard();
                    }
                }
            }
            Step::Login(login) => {
                let verifiers = port.verifiers(login.user()).await;
                login.answer(&verifiers);
            }
            Step::LoggedIn { .. } => place.known(),
            Step::Proved(onion) => {
                place.known();
                port.proved(onion);
            }
            Step::Card(asked) => match port.card(asked.known()).await {
                Ok(card) => asked.answer(card.as_deref()),
                Err(reply) => asked.refuse(reply),
            },
            Step::Checkpoint(checkpoint) => {
                let sending = checkpoint.sending();
                let (claim, here) = port.claim(&sending).await.unzip();
                let here = here.flatten();
                checkpoint.answer(here.as_ref().map(|here| held(here, &sending)));
                *letter = Incoming { parcel: None, here, claim };
            }
            Step::Recipient(asked) => match port.recipient(asked.to(), asked.size()).await {
                Ok(()) => asked.take(),
                Err(reply) => asked.refuse(reply),
            },
            Step::Deposit(asked) => match port.deposit(&asked.deposit()).await {
                Ok(()) => asked.take(),
                Err(reply) => asked.refuse(reply),
            },
            Step::Held(asked) => match port.held(asked.who(), asked.after()).await {
                Ok((letters, more)) => asked.answer(&letters, more),
                Err(reply) => asked.refuse(reply),
            },
            Step::Take(asked) => match port.take(asked.who(), asked.take()).await {
                Ok(octets) => asked.answer(&octets),
                Err(reply) => asked.refuse(reply),
            },
            Step::Drop(asked) => match port.forget(asked.who(), asked.letters()).await {
                Ok(()) => asked.done(),
                Err(reply) => asked.refuse(reply),
            },
            Step::Revoke(asked) => match port.revoke(asked.who(), asked.revoked()).await {
                Ok(()) => asked.done(),
                Err(reply) => asked.refuse(reply),
            },
            Step::Recall(asked) => match port.recall(asked.letter(), asked.token()).await {
                Ok(()) => asked.done(),
                Err(reply) => asked.refuse(reply),
            },
            Step::Begin(begin) => match port.begin(begin.envelope(), letter.here.take()).await {
                Ok(begun) => {
                    letter.parcel = Some(begun);
                    begin.accept();
                }
                Err(reply) => begin.refuse(reply),
            },
            Step::Body(content) => {
                if let Some(parcel) = &mut letter.parcel {
                    parcel.write(&content).await;
                }
            }
            Step::Finish(finish) => {
                match letter.parcel.take() {
                    Some(parcel) => match parcel.finish().await {
                        Ok(receipt) => finish.accept_with(receipt.as_deref()),
                        Err(reply) => finish.refuse(reply),
                    },
                    None => finish.refuse(Reply::new(451, 3, 0, "no letter was begun")),
                }
                *letter = Incoming::default();
            }
            Step::Discard => *letter = Incoming::default(),
            Step::Suspend => letter.suspend(),
            Step::Etrn(onion) => port.etrn(onion),
            Step::Close => {
                let _ = timeout(limits::SEND_WAIT, stream.shutdown()).await;
                return Ok(());
            }
        }
    }
}

/// What a caller is told of what is here of its letter.
fn held(here: &Here, sending: &Sending) -> Held {
    match here {
        Here::Part(part) => Held { len: part.len(), after_cr: part.ends_in_cr() },
        Here::All => Held { len: sending.size, after_cr: false },
    }
}

/// Ends when the same letter comes in over another connection.
async fn rung(unwanted: Option<&Notify>) {
    match unwanted {
        Some(bell) => bell.notified().await,
        None => std::future::pending().await,
    }
}

/// When the present wait is over.
#[derive(Default)]
struct Wait {
    turn: Option<(u64, Phase)>,
    until: Option<Instant>,
}

impl Wait {
    fn until(&mut self, read: Read) -> Instant {
        if self.turn != Some((read.turn, read.phase)) {
            self.turn = Some((read.turn, read.phase));
            self.until = None;
        }
        *self.until.get_or_insert_with(|| Instant::now() + read.phase.timeout())
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    timeout(limits::SEND_WAIT, write).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Waits for bytes, for the end of the stream, for the time to be over, for the node to go down, or for the peer to
/// begin the same letter anew elsewhere, which means that this stream is dead.
async fn listen(
    stream: &mut (impl AsyncRead + Unpin),
    server: &mut Server,
    read: Read,
    buffer: &mut Vec<u8>,
    wait: &mut Wait,
    down: &mut watch::Receiver<bool>,
    unwanted: Option<&Notify>,
) -> io::Result<()> {
    buffer.resize(if read.phase == Phase::Body { limits::READ_LEN_MAX } else { COMMAND_READ_LEN }, 0);
    let until = wait.until(read);
    tokio::select! {
        biased;
        () = went_down(down), if read.phase != Phase::Drain => {
            server.shut();
            // A body under way is let through to its end as far as the shutdown's grace allows.
            if read.phase == Phase::Body {
                return take(timeout_at(until, stream.read(buffer)).await, server, buffer);
            }
        }
        () = rung(unwanted) => server.cut(),
        got = timeout_at(until, stream.read(buffer)) => return take(got, server, buffer),
    }
    Ok(())
}

fn take(
    got: Result<io::Result<usize>, tokio::time::error::Elapsed>,
    server: &mut Server,
    buffer: &[u8],
) -> io::Result<()> {
    match got {
        Err(_) => server.expire(),
        Ok(Ok(0)) => server.eof(),
        Ok(Ok(len)) => server.feed(&buffer[..len]).map_err(io::Error::other)?,
        // A cut stream ends the session like an orderly end: whatever was complete has been worked off.
        Ok(Err(_)) => server.eof(),
    }
    Ok(())
}

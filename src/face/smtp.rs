//! Drives the SMTP server machine over a stream: reads, writes, waits, and asks a `Port` what to do with letters.
//!
//! The onion port and submission differ only in their `Port`. One task per connection, so a letter that makes us
//! panic costs its own session and nothing else.

use crate::face::places::Place;
use crate::face::went_down;
use crate::node::parcel::Parcel;
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::server::{Envelope, Server, Step};
use crate::protocol::smtp::{Phase, Read, Reply, limits};
use onion::OnionAddress;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// What is read at once while no letter comes; most sessions idle.
const COMMAND_READ_LEN: usize = 4 * 1024;
/// What is said to a caller whose place another needs.
const MAKE_ROOM: &[u8] =
    b"421 4.3.2 Too many are connected and this session was silent longest; come again\r\n";

/// For it, and no longer: the place is given to another already.
const MAKE_ROOM_WAIT: Duration = Duration::from_secs(1);

/// What one of the two ports does with letters and callers.
pub(crate) trait Port: Sync {
    /// The verifiers of this user.
    fn verifiers(&self, user: &str) -> impl Future<Output = Vec<Verifier>> + Send;
    /// The caller has proved its onion.
    fn proved(&self, onion: OnionAddress);
    /// The proved caller asks for what waits for it.
    fn etrn(&self, onion: OnionAddress);
    /// A letter is about to come.
    fn begin(&self, envelope: &Envelope) -> impl Future<Output = Result<Parcel, Reply>> + Send;
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
    let mut buffer = Vec::new();
    let mut parcel: Option<Parcel> = None;
    let mut wait = Wait::default();
    loop {
        match server.next() {
            Step::Send(bytes) => tokio::select! {
                biased;
                () = place.told_to_go() => return Ok(()),
                sent = send(&mut stream, &bytes) => sent?,
            },
            Step::Read(read) => tokio::select! {
                biased;
                () = place.told_to_go() => {
                    return timeout(MAKE_ROOM_WAIT, stream.write_all(MAKE_ROOM)).await.unwrap_or(Ok(()));
                }
                heard = listen(&mut stream, &mut server, read, &mut buffer, &mut wait, &mut down) => {
                    heard?;
                    place.heard();
                }
            },
            Step::Login(login) => {
                let verifiers = port.verifiers(login.user()).await;
                login.answer(&verifiers);
            }
            Step::LoggedIn { .. } => place.known(),
            Step::Proved(onion) => {
                place.known();
                port.proved(onion);
            }
            Step::Begin(begin) => match port.begin(begin.envelope()).await {
                Ok(begun) => {
                    parcel = Some(begun);
                    begin.accept();
                }
                Err(reply) => begin.refuse(reply),
            },
            Step::Body(content) => {
                if let Some(parcel) = &mut parcel {
                    parcel.write(&content).await;
                }
            }
            Step::Finish(finish) => match parcel.take() {
                Some(parcel) => match parcel.finish().await {
                    Ok(()) => finish.accept(),
                    Err(reply) => finish.refuse(reply),
                },
                None => finish.refuse(Reply::new(451, 3, 0, "no letter was begun")),
            },
            Step::Discard => parcel = None,
            Step::Etrn(onion) => port.etrn(onion),
            Step::Close => {
                let _ = timeout(limits::SEND_WAIT, stream.shutdown()).await;
                return Ok(());
            }
        }
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

/// Waits for bytes, for the end of the stream, for the time to be over, or for the node to go down.
async fn listen(
    stream: &mut (impl AsyncRead + Unpin),
    server: &mut Server,
    read: Read,
    buffer: &mut Vec<u8>,
    wait: &mut Wait,
    down: &mut watch::Receiver<bool>,
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

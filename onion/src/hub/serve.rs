//! The hub's side: answers each connection's first line and relays its stream.
//!
//! Promises that a process which ends without saying so takes its address with it, and that no connection can
//! block another. Leaves every decision about dials and streams to the memory network.

use super::connection::Connection;
use crate::memory::{MemoryNetwork, MemoryTransport};
use crate::{ClientKey, DialError, Listener, NetworkTime, OnionAddress, Stage, Stream, Transport as _};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections served at once: more than a machine's simulated nodes open, fewer than its file limit allows.
const CONNECTIONS_MAX: usize = 4096;
/// Time a new connection has for its first line.
const FIRST_LINE: Duration = Duration::from_secs(5);
/// Arrived streams that one listening process has not taken yet; more wait in the memory network.
const UNTAKEN_MAX: usize = 16;
/// A restarted process may listen before we have noticed that its predecessor is dead: so often we look again,
const LISTEN_TRIES: u32 = 50;
/// and so long we wait between.
const LISTEN_AGAIN: Duration = Duration::from_millis(10);
/// How often the network's time is looked at,
const TIME_EVERY: Duration = Duration::from_secs(1);
/// and by how much it has moved when it is told anew: little beside the hours that a consensus is valid.
const TIME_STEP: Duration = Duration::from_secs(60);
/// After a failed accept (out of file descriptors, most likely) we wait so long.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Bytes relayed at once.
const RELAY: usize = 64 * 1024;

/// Serves `network` on `listener`, without end: dropping the future disconnects everybody.
pub async fn serve(network: MemoryNetwork, listener: UnixListener) {
    let hub = Arc::new(Hub { network, arrived: Mutex::default(), next_id: AtomicU64::new(0) });
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            (slot, accepted) = async { (slots.clone().acquire_owned().await, listener.accept().await) } => {
                let Ok((socket, _)) = accepted else {
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                let hub = hub.clone();
                connections.spawn(async move {
                    hub.attend(socket).await;
                    drop(slot);
                });
            }
        }
    }
}

struct Hub {
    network: MemoryNetwork,
    /// Streams that wait to be taken.
    arrived: Mutex<BTreeMap<u64, (Stream, OwnedSemaphorePermit)>>,
    next_id: AtomicU64,
}

/// The first line of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Join(OnionAddress),
    /// The process of `own` serves `onion`, which may be that or one beside it.
    Serve {
        own: OnionAddress,
        onion: OnionAddress,
        port: u16,
        /// For these only, if any are named.
        clients: Option<Vec<ClientKey>>,
    },
    Take(u64),
    Dial {
        from: OnionAddress,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    },
}

impl Request {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let address = |text: &str| OnionAddress::parse(text).ok();
        Some(match words.as_slice() {
            ["join", who] => Self::Join(address(who)?),
            ["listen", who, port] => {
                let own = address(who)?;
                Self::Serve { own, onion: own, port: port.parse().ok()?, clients: None }
            }
            ["host", who, what, port] => {
                let (own, onion, port) = (address(who)?, address(what)?, port.parse().ok()?);
                Self::Serve { own, onion, port, clients: None }
            }
            ["host-for", who, what, port, clients @ ..] if !clients.is_empty() => {
                let (own, onion, port) = (address(who)?, address(what)?, port.parse().ok()?);
                let clients = clients.iter().map(|client| ClientKey::parse(client).ok());
                Self::Serve { own, onion, port, clients: Some(clients.collect::<Option<_>>()?) }
            }
            ["take", id] => Self::Take(id.parse().ok()?),
            ["dial", from, to, port, ms] => Self::Dial {
                from: address(from)?,
                to: address(to)?,
                port: port.parse().ok()?,
                deadline: Duration::from_millis(ms.parse().ok()?),
            },
            _ => return None,
        })
    }
}

impl Hub {
    async fn attend(&self, socket: UnixStream) {
        // Without a process number (another process namespace) all such processes count as one.
        let process = socket.peer_cred().ok().and_then(|peer| u64::try_from(peer.pid()?).ok()).unwrap_or(0);
        let mut connection = Connection::new(socket);
        let Ok(Ok(Some(line))) = timeout(FIRST_LINE, connection.read_line()).await else { return };
        // An error here means that the other side has gone: nobody is left to tell.
        let _gone = match Request::parse(&line) {
            Some(Request::Join(address)) => self.join(connection, address, process).await,
            Some(Request::Serve { own, onion, port, clients }) => {
                self.listen(connection, (own, onion), (port, clients), process).await
            }
            Some(Request::Take(id)) => self.take(connection, id).await,
            Some(Request::Dial { from, to, port, deadline }) => {
                let transport = self.network.join_as(from, process);
                let answer = tokio::select! {
                    biased;
                    _ = connection.read_line() => return,
                    answer = transport.dial(to, port, deadline) => answer,
                };
                answer_dial(connection, answer).await
            }
            None => connection.write_line("not understood").await,
        };
    }

    async fn join(
        &self,
        mut connection: Connection,
        address: OnionAddress,
        process: u64,
    ) -> std::io::Result<()> {
        let transport = self.network.join_as(address, process);
        let mut bootstrap = transport.bootstrap();
        let mut clock = tokio::time::interval(TIME_EVERY);
        let mut told = None;
        connection.write_line("ok").await?;
        tell_time(&mut connection, None).await?;
        loop {
            let time = transport.network_time();
            if has_moved(told, time) {
                tell_time(&mut connection, time).await?;
                told = time;
            }
            let stage = bootstrap.borrow_and_update().stage;
            connection.write_line(&format!("stage {}", stage_number(stage))).await?;
            loop {
                tokio::select! {
                    biased;
                    _ = connection.read_line() => return Ok(()),
                    _ = bootstrap.changed() => break,
                    _ = clock.tick() => if has_moved(told, transport.network_time()) { break },
                }
            }
        }
    }

    async fn listen(
        &self,
        mut connection: Connection,
        (own, onion): (OnionAddress, OnionAddress),
        (port, clients): (u16, Option<Vec<ClientKey>>),
        process: u64,
    ) -> std::io::Result<()> {
        let transport = self.network.join_as(own, process);
        let Some(mut listener) = listen_patiently(&transport, onion, port, clients).await else {
            return connection.write_line("in-use").await;
        };
        connection.write_line("ok").await?;
        let slots = Arc::new(Semaphore::new(UNTAKEN_MAX));
        let mut untaken = Vec::new();
        let ended = loop {
            tokio::select! {
                biased;
                line = connection.read_line() => break line,
                (Ok(slot), arrival) = async { (slots.clone().acquire_owned().await, listener.accept().await) } => {
                    let Some(stream) = arrival else { break Ok(None) };
                    let id = self.keep(stream, slot, &mut untaken);
                    if let Err(error) = connection.write_line(&format!("stream {id}")).await {
                        break Err(error);
                    }
                }
            }
        };
        if !matches!(ended.as_ref().map(Option::as_deref), Ok(Some("close"))) {
            self.network.vanish_process(own, process);
        }
        let gone: Vec<_> = untaken.iter().filter_map(|id| self.arrived().remove(id)).collect();
        drop(gone);
        Ok(())
    }

    /// Keeps a stream until its process takes it; gives its number.
    fn keep(&self, stream: Stream, slot: OwnedSemaphorePermit, untaken: &mut Vec<u64>) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut arrived = self.arrived();
        untaken.retain(|id| arrived.contains_key(id));
        untaken.push(id);
        arrived.insert(id, (stream, slot));
        id
    }

    async fn take(&self, mut connection: Connection, id: u64) -> std::io::Result<()> {
        let taken = self.arrived().remove(&id);
        let Some((stream, slot)) = taken else { return connection.write_line("gone").await };
        drop(slot);
        connection.write_line("ok").await?;
        relay(connection, stream).await;
        Ok(())
    }

    fn arrived(&self) -> MutexGuard<'_, BTreeMap<u64, (Stream, OwnedSemaphorePermit)>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen_patiently(
    transport: &MemoryTransport,
    onion: OnionAddress,
    port: u16,
    clients: Option<Vec<ClientKey>>,
) -> Option<Listener> {
    for _ in 0..LISTEN_TRIES {
        match transport.serve(onion, port, clients.clone()) {
            Ok(listener) => return Some(listener),
            Err(_) => sleep(LISTEN_AGAIN).await,
        }
    }
    None
}

async fn answer_dial(mut connection: Connection, answer: Result<Stream, DialError>) -> std::io::Result<()> {
    let word = match answer {
        Ok(stream) => {
            connection.write_line("ok").await?;
            relay(connection, stream).await;
            return Ok(());
        }
        Err(DialError::Absent) => "absent",
        Err(DialError::Refused) => "refused",
        Err(DialError::NetworkDown) => "network-down",
        Err(DialError::Ours(_)) => "ours",
    };
    connection.write_line(word).await
}

async fn tell_time(connection: &mut Connection, time: Option<NetworkTime>) -> std::io::Result<()> {
    let secs =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let line = time.map_or_else(
        || "time none".to_owned(),
        |time| format!("time {} {}", secs(time.valid_after), secs(time.valid_until)),
    );
    connection.write_line(&line).await
}

fn has_moved(told: Option<NetworkTime>, time: Option<NetworkTime>) -> bool {
    match (told, time) {
        (Some(told), Some(time)) => {
            let by = time.valid_after.duration_since(told.valid_after).unwrap_or_else(|back| back.duration());
            by >= TIME_STEP
        }
        (told, time) => told.is_some() != time.is_some(),
    }
}

fn stage_number(stage: Stage) -> u8 {
    match stage {
        Stage::Starting => 0,
        Stage::Connecting => 1,
        Stage::Directory => 2,
        Stage::Dialling => 3,
        Stage::Reachable => 4,
    }
}

/// How one direction of a relay came to its end.
enum Passed {
    /// The source ended properly and the sink was told.
    End,
    /// The source broke off: the other direction is broken too.
    SourceBroken,
    /// The sink takes no more. What it still has to say may be on its way.
    SinkBroken,
}

/// Carries bytes both ways until the stream ends (which ends both ways: Tor has no half-closed streams).
async fn relay(connection: Connection, stream: Stream) {
    let (mut from_node, mut to_node) = split(connection);
    let (mut from_network, mut to_network) = split(stream);
    let up = pass(&mut from_node, &mut to_network);
    let down = pass(&mut from_network, &mut to_node);
    tokio::pin!(up, down);
    tokio::select! {
        biased;
        passed = &mut up => if matches!(passed, Passed::SinkBroken) { down.await; },
        passed = &mut down => if matches!(passed, Passed::SinkBroken) { up.await; },
    }
}

async fn pass(source: &mut (impl AsyncRead + Unpin), sink: &mut (impl AsyncWrite + Unpin)) -> Passed {
    let mut buf = vec![0; RELAY];
    loop {
        let sent = match source.read(&mut buf).await {
            Err(_) => return Passed::SourceBroken,
            Ok(0) => return if sink.shutdown().await.is_ok() { Passed::End } else { Passed::SinkBroken },
            Ok(read) => sink.write_all(&buf[..read]).await,
        };
        if sent.is_err() || sink.flush().await.is_err() {
            return Passed::SinkBroken;
        }
    }
}

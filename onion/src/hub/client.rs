//! `SocketTransport`: the hub's network as one node process sees it.
//!
//! Promises the same answers as any transport: while the hub is away its dials answer `NetworkDown`, and when it
//! is back its onions are served again, nobody asking. Leaves delays and faults to the hub's network.

use super::connection::Connection;
use crate::served::{Served, Turn};
use crate::{
    Bootstrap, BoxFuture, ClientKey, DialError, HostKey, Inbound, ListenError, Listener, NetworkTime,
    OnionAddress, Stage, Stream, Transport,
};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Time between tries to reach a hub that is away.
const HUB_AGAIN: Duration = Duration::from_millis(100);
/// Streams taken from the hub and not yet accepted by the program.
const ACCEPTED_MAX: usize = 16;
/// What a person reads while the hub is away.
const HUB_AWAY: &str = "the memory network's socket does not answer";

/// One address's way into the memory network behind a Unix socket.
pub struct SocketTransport {
    path: PathBuf,
    own: OnionAddress,
    told: Arc<Told>,
    served: Arc<Served>,
    watching: JoinHandle<()>,
}

/// What the hub has told.
struct Told {
    bootstrap: watch::Sender<Bootstrap>,
    time: Mutex<Option<NetworkTime>>,
}

impl SocketTransport {
    /// Joins the network served at `path` as `own`; call it inside a tokio runtime.
    ///
    /// Succeeds also while nothing is served there: the transport goes on trying until it is dropped.
    pub fn new(path: impl Into<PathBuf>, own: OnionAddress) -> Self {
        let path = path.into();
        let starting = Bootstrap { stage: Stage::Starting, blocked: None };
        let told = Arc::new(Told { bootstrap: watch::Sender::new(starting), time: Mutex::new(None) });
        let watching = tokio::spawn(watch_hub(path.clone(), own, told.clone()));
        Self { path, own, told, served: Arc::default(), watching }
    }

    /// Serves `turn`'s onion, now or once there is a hub.
    async fn serve(&self, turn: Turn, request: String) -> Result<Listener, ListenError> {
        let service = match open_service(&self.path, &request).await {
            Ok(Some(service)) => Some(service),
            Ok(None) => return Err(ListenError::InUse),
            // The hub is away: as over Tor, listening succeeds and the address is served once it can be.
            Err(_) => None,
        };
        let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(keep_serving(self.path.clone(), request, service, accepted, stopped));
        Ok(Listener::new(incoming, Box::new(Serving { _stop: stop, _turn: turn })))
    }
}

impl Drop for SocketTransport {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl fmt::Debug for SocketTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketTransport({})", self.own)
    }
}

impl Transport for SocketTransport {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        Box::pin(async move {
            let attempt = dial(&self.path, self.own, to, port, deadline);
            timeout(deadline, attempt).await.unwrap_or(Err(DialError::Absent))
        })
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            if key.address() != self.own {
                return Err(ListenError::Ours("the key is not that of this transport's address".into()));
            }
            let turn = Turn::own(&self.served, self.own)?;
            self.serve(turn, format!("listen {} {port}", self.own.host())).await
        })
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let onion = key.address();
            if onion == self.own {
                return Err(ListenError::InUse);
            }
            let turn = Turn::beside(&self.served, onion)?;
            self.serve(turn, format!("host {} {} {port}", self.own.host(), onion.host())).await
        })
    }

    fn host_for(
        &self,
        key: HostKey,
        port: u16,
        clients: Vec<ClientKey>,
    ) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let onion = key.address();
            if onion == self.own {
                return Err(ListenError::InUse);
            }
            if clients.is_empty() {
                return Err(ListenError::NoClient);
            }
            let turn = Turn::beside(&self.served, onion)?;
            let clients: Vec<String> = clients.iter().map(ClientKey::to_string).collect();
            let (own, onion) = (self.own.host(), onion.host());
            self.serve(turn, format!("host-for {own} {onion} {port} {}", clients.join(" "))).await
        })
    }

    fn network_time(&self) -> Option<NetworkTime> {
        *lock(&self.told.time)
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.told.bootstrap.subscribe()
    }
}

/// Held by the listener: dropping it tells the hub that the service has ended.
struct Serving {
    _stop: oneshot::Sender<()>,
    _turn: Turn,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn dial(
    path: &Path,
    own: OnionAddress,
    to: OnionAddress,
    port: u16,
    deadline: Duration,
) -> Result<Stream, DialError> {
    let mut connection = Connection::open(path).await.map_err(|error| whose_fault(&error))?;
    let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let request = format!("dial {} {} {port} {ms}", own.host(), to.host());
    let answer = connection.ask(&request).await.map_err(|error| whose_fault(&error))?;
    match answer.as_str() {
        "ok" => Ok(Stream::new(connection)),
        "absent" => Err(DialError::Absent),
        "refused" => Err(DialError::Refused),
        "network-down" => Err(DialError::NetworkDown),
        _ => Err(DialError::Ours("the hub did not understand the dial".into())),
    }
}

fn whose_fault(error: &io::Error) -> DialError {
    use io::ErrorKind::*;
    match error.kind() {
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof | WouldBlock => {
            DialError::NetworkDown
        }
        kind => DialError::Ours(kind.to_string()),
    }
}

/// Asks the hub to serve; none if another process serves the address.
async fn open_service(path: &Path, request: &str) -> io::Result<Option<Connection>> {
    let mut connection = Connection::open(path).await?;
    match connection.ask(request).await?.as_str() {
        "ok" => Ok(Some(connection)),
        "in-use" => Ok(None),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Serves until told to stop, over as many hubs as come and go.
async fn keep_serving(
    path: PathBuf,
    request: String,
    mut service: Option<Connection>,
    accepted: mpsc::Sender<Inbound>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let again = async {
            loop {
                if let Ok(Some(connection)) = open_service(&path, &request).await {
                    return connection;
                }
                sleep(HUB_AGAIN).await;
            }
        };
        let mut connection = match service.take() {
            Some(connection) => connection,
            None => tokio::select! {
                biased;
                _ = &mut stopped => return,
                connection = again => connection,
            },
        };
        let ended = tokio::select! {
            biased;
            _ = &mut stopped => true,
            ended = take_arrivals(&path, &mut connection, &accepted) => ended,
        };
        if ended {
            // If this fails the hub is gone, and with it the service.
            let _gone = connection.write_line("close").await;
            return;
        }
        sleep(HUB_AGAIN).await;
    }
}

/// Takes each arriving stream; true when the program no longer accepts, false when the hub went away.
async fn take_arrivals(path: &Path, service: &mut Connection, accepted: &mpsc::Sender<Inbound>) -> bool {
    while let Ok(Some(line)) = service.read_line().await {
        let Some(id) = line.strip_prefix("stream ") else { return false };
        let Ok(mut connection) = Connection::open(path).await else { continue };
        if !matches!(connection.ask(&format!("take {id}")).await.as_deref(), Ok("ok")) {
            continue;
        }
        if accepted.send(Stream::new(connection)).await.is_err() {
            return true;
        }
    }
    false
}

/// Keeps the address joined and hears what the hub tells.
async fn watch_hub(path: PathBuf, own: OnionAddress, told: Arc<Told>) {
    let request = format!("join {}", own.host());
    loop {
        if let Ok(mut connection) = Connection::open(&path).await
            && matches!(connection.ask(&request).await.as_deref(), Ok("ok"))
        {
            while let Ok(Some(line)) = connection.read_line().await {
                told.hear(&line);
            }
        }
        told.show(Stage::Connecting);
        sleep(HUB_AGAIN).await;
    }
}

impl Told {
    fn hear(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["stage", number] => {
                let stages =
                    [Stage::Starting, Stage::Connecting, Stage::Directory, Stage::Dialling, Stage::Reachable];
                if let Some(stage) = number.parse().ok().and_then(|number: usize| stages.get(number)) {
                    self.show(*stage);
                }
            }
            ["time", "none"] => self.set_time(None),
            ["time", from, until] => {
                let time =
                    |secs: &str| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs.parse().ok()?));
                if let (Some(valid_after), Some(valid_until)) = (time(from), time(until)) {
                    self.set_time(Some(NetworkTime { valid_after, valid_until }));
                }
            }
            // A newer hub may say more than we know.
            _ => {}
        }
    }

    fn set_time(&self, time: Option<NetworkTime>) {
        *lock(&self.time) = time;
    }

    fn show(&self, stage: Stage) {
        let blocked = (stage <= Stage::Connecting).then(|| HUB_AWAY.to_owned());
        let shown = Bootstrap { stage, blocked };
        self.bootstrap.send_if_modified(|current| {
            let changed = *current != shown;
            *current = shown;
            changed
        });
    }
}

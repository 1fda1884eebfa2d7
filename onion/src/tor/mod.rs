//! Tor by arti: per identity one client with its state folder and its onion service, and a second client for the
//! onions hosted beside that.
//!
//! Promises: keys stay in memory (arti's folders hold neither key nor address), no circuit is shared between peers,
//! every dial ends by its deadline with one of the four errors, and after an outage the service comes back by itself.
//!
//! | file | what it decides |
//! |---|---|
//! | `settings` | the configuration that arti gets, and the file of a private network |
//! | `dial` | one dial: isolation, retries, whose fault a failure is |
//! | `paths` | which circuits a dial may use, and when they are left |
//! | `service` | what of the arriving is taken |
//! | `runtime` | when the tasks of a client end |
//! | `opening` | how a client comes to its directory |
//! | `keeper`, `health` | the task behind the first client: bootstrap, hosting, self-test, repair |
//! | `beside`, `rounds` | the second client and its task, and which of its onions it looks at when |

mod beside;
mod dial;
mod health;
mod keeper;
mod opening;
mod paths;
mod rounds;
mod runtime;
mod service;
mod settings;

use crate::served::{Served, Turn};
use crate::{
    Bootstrap, BoxFuture, ClientKey, DialError, HostKey, ListenError, Listener, NetworkTime, OnionAddress,
    Stage, Stream, Transport,
};
use arti_client::{TorClient, TorClientConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tor_rtcompat::tokio::TokioRustlsRuntime;

type Client = Arc<TorClient<runtime::ClientRuntime>>;

/// Streams that wait to be accepted; more are turned away, as a full queue is better refused than grown.
const WAITING_STREAMS_MAX: usize = 16;

/// What a transport over Tor needs to know.
#[derive(Debug, Clone)]
pub struct TorConfig {
    /// The folder of this identity's guards; no other transport may use it. Made with mode 0700. The guards of what
    /// is hosted beside the own onion are in a folder within.
    pub state_dir: PathBuf,
    /// The folder of the public directory of relays; all identities of a process may share it.
    pub cache_dir: PathBuf,
    /// The file of a private network (`network.json` of `scripts/testnet`); none means the public Tor network.
    pub network: Option<PathBuf>,
    /// Memory in bytes above which arti closes the circuits that queue most. At least [`TorConfig::MEMORY_MIN`].
    pub memory_max: usize,
}

impl TorConfig {
    /// Below this arti would shed circuits in ordinary use, in bytes.
    pub const MEMORY_MIN: usize = 8 << 20;
    /// A bound that leaves a node below its 60 MB, in bytes.
    pub const MEMORY_DEFAULT: usize = 24 << 20;
}

/// Why a transport could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file of the private network cannot be read, or says something else than it should.
    #[error("the private network's file cannot be used: {0}")]
    Network(String),
    /// The folders or the limits are not usable.
    #[error("Tor cannot be set up: {0}")]
    Setup(String),
}

/// The transport of one identity over Tor. Dropping it ends its circuits and its services.
pub struct TorTransport {
    shared: Arc<Shared>,
    asked: mpsc::Sender<service::Hosting>,
    beside: Arc<beside::Wishes>,
    served: Arc<Served>,
    keepers: [tokio::task::AbortHandle; 2],
}

/// One client's, as its keeper and those who use it see it.
struct Shared {
    /// What the log calls the client.
    name: &'static str,
    runtime: TokioRustlsRuntime,
    config: TorClientConfig,
    state_dir: PathBuf,
    /// The client, once it can dial; none while there is no way into the network yet.
    ready: watch::Sender<Option<Client>>,
    bootstrap: watch::Sender<Bootstrap>,
    /// Dials ring it when they fail for a reason that may be ours.
    doubt: Notify,
    check: dial::NetworkCheck,
    paths: paths::Paths,
}

impl TorTransport {
    /// Starts to bootstrap in the background and returns at once. Must be called inside a tokio runtime.
    ///
    /// Installs ring as the process's TLS provider, unless the process has chosen one before.
    pub fn start(config: TorConfig) -> Result<Arc<Self>, StartError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Lost only against another thread doing the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let runtime = TokioRustlsRuntime::current().map_err(|e| StartError::Setup(e.to_string()))?;
        let shared = Shared::new("Tor", &runtime, &config)?;
        let other = Shared::new("Tor, hosting", &runtime, &settings::beside(&config))?;
        let (asked, hosting) = mpsc::channel(1);
        let wishes = Arc::new(beside::Wishes::default());
        let keeper = tokio::spawn(keeper::keep(shared.clone(), hosting)).abort_handle();
        let keepers = [keeper, tokio::spawn(beside::keep(other, wishes.clone())).abort_handle()];
        Ok(Arc::new(Self { shared, asked, beside: wishes, served: Arc::default(), keepers }))
    }
}

impl TorTransport {
    /// Hosts an onion beside the identity's own: for these clients, or for anybody if there are none.
    fn host_beside(&self, key: HostKey, port: u16, clients: Vec<ClientKey>) -> Result<Listener, ListenError> {
        let turn = Turn::beside(&self.served, key.address())?;
        let (inbox, incoming) = mpsc::channel(WAITING_STREAMS_MAX);
        let wish = self.beside.add(service::Hosting { key, port, clients, inbox, answer: None });
        Ok(Listener::new(incoming, Box::new((wish, turn))))
    }
}

impl Drop for TorTransport {
    fn drop(&mut self) {
        self.keepers.iter().for_each(tokio::task::AbortHandle::abort);
        self.shared.ready.send_replace(None);
    }
}

impl Transport for TorTransport {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        Box::pin(dial::dial(&self.shared, to, port, deadline))
    }

    fn leave_path(&self, to: OnionAddress) {
        self.shared.paths.leave(&to);
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let turn = Turn::own(&self.served, key.address())?;
            let (inbox, incoming) = mpsc::channel(WAITING_STREAMS_MAX);
            let (answer, answered) = tokio::sync::oneshot::channel();
            let gone = |_| ListenError::Ours("the transport has ended".into());
            let clients = Vec::new();
            let hosting = service::Hosting { key, port, clients, inbox, answer: Some(answer) };
            self.asked.send(hosting).await.map_err(|e| gone(e.to_string()))?;
            answered.await.map_err(|e| gone(e.to_string()))??;
            Ok(Listener::new(incoming, Box::new(turn)))
        })
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move { self.host_beside(key, port, Vec::new()) })
    }

    fn host_for(
        &self,
        key: HostKey,
        port: u16,
        clients: Vec<ClientKey>,
    ) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            if clients.is_empty() {
                return Err(ListenError::NoClient);
            }
            self.host_beside(key, port, clients)
        })
    }

    fn network_time(&self) -> Option<NetworkTime> {
        let client = self.shared.ready.borrow().clone()?;
        // Strict: a consensus past its validity tells no time, although circuits may still be built with it.
        let netdir = client.dirmgr().ok()?.netdir(tor_netdir::Timeliness::Strict).ok()?;
        let lifetime = netdir.lifetime();
        Some(NetworkTime { valid_after: lifetime.valid_after(), valid_until: lifetime.valid_until() })
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.shared.bootstrap.subscribe()
    }
}

impl Shared {
    fn new(
        name: &'static str,
        runtime: &TokioRustlsRuntime,
        config: &TorConfig,
    ) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Self {
            name,
            runtime: runtime.clone(),
            config: settings::arti_config(config)?,
            state_dir: config.state_dir.clone(),
            ready: watch::Sender::new(None),
            bootstrap: watch::Sender::new(Bootstrap { stage: Stage::Starting, blocked: None }),
            doubt: Notify::new(),
            check: dial::NetworkCheck::default(),
            paths: paths::Paths::default(),
        }))
    }

    /// Tells the watchers, but only what changed.
    fn tell(&self, stage: Stage, blocked: Option<&str>) {
        let next = Bootstrap { stage, blocked: blocked.map(str::to_owned) };
        self.bootstrap.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                tracing::info!(stage = ?next.stage, blocked = next.blocked.as_deref(), "{}", self.name);
            }
            *current = next;
            changed
        });
    }
}

/// Randomness for names and draws that need no secrecy.
fn random_u64() -> u64 {
    use rand::TryRng as _;
    rand::rngs::SysRng.try_next_u64().expect("the system's random generator works once it has started")
}

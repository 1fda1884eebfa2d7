//! What of the arriving is taken: ordinary streams to the one port, in bounded number; everything else is turned away.
//!
//! Promises: hosting ends with its listener; circuits and waiting streams are bounded; every refusal has the one reason
//! that all onion services give, so that it tells nothing. Leaves starting again to the keeper.

use super::{Client, Stream};
use crate::{ClientKey, HostKey, ListenError};
use arti_client::{DataStream, HasKind as _};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tor_cell::relaycell::msg::{Connected, End, EndReason};
use tor_hscrypto::pk::{HsClientDescEncKey, HsIdKeypair};
use tor_hsservice::config::OnionServiceConfigBuilder;
use tor_hsservice::config::restricted_discovery::HsClientNickname;
use tor_hsservice::{RendRequest, RunningOnionService, StreamRequest};
use tor_llcrypto::pk::ed25519;
use tor_proto::stream::IncomingStreamRequest;

/// The port on which the keeper tests its own service; never served. Port 0 would be an error of the protocol.
pub(super) const UNSERVED_PORT: u16 = 1;
/// Circuits of callers held open at once; a caller beyond them finds nobody. Each costs some 50 KB.
const CIRCUITS_MAX: usize = 256;
/// A caller's circuit on which no stream is open is closed after this long, so that idlers do not use up the circuits.
const CIRCUIT_IDLE_MAX: Duration = Duration::from_secs(300);
/// Answering a caller means building a circuit to the point he chose; on the public network that takes seconds.
const RENDEZVOUS_WAIT_MAX: Duration = Duration::from_secs(60);
/// A caller may have so many streams open on one circuit, then arti closes it; mail needs one or two.
const STREAMS_PER_CIRCUIT_MAX: u32 = 32;

/// What is to be hosted, by `listen` or by `host`.
pub(super) struct Hosting {
    pub(super) key: HostKey,
    pub(super) port: u16,
    /// Who may find it; nobody in particular if it is empty.
    pub(super) clients: Vec<ClientKey>,
    pub(super) inbox: mpsc::Sender<Stream>,
    /// Answered once the keeper has taken the wish, or has not. Of what `host` asks nobody waits for an answer.
    pub(super) answer: Option<oneshot::Sender<Result<(), ListenError>>>,
}

/// A launched service. Dropping it stops publishing and taking new callers; streams already open go on.
pub(super) type Service = Arc<RunningOnionService>;

/// Launches the service under `nickname`, and the task that takes its callers into `callers`.
pub(super) fn launch(
    client: &Client,
    hosting: &Hosting,
    nickname: &str,
    callers: &mut JoinSet<()>,
) -> Result<Service, ListenError> {
    let ours = |e: &dyn std::fmt::Display| ListenError::Ours(e.to_string());
    let mut config = OnionServiceConfigBuilder::default();
    config.nickname(nickname.parse().map_err(|e| ours(&e))?);
    config.max_concurrent_streams_per_circuit(STREAMS_PER_CIRCUIT_MAX);
    restrict(&mut config, &hosting.clients)?;
    let config = config.build().map_err(|e| ours(&e))?;
    let seed = ed25519::Keypair::from_bytes(hosting.key.seed());
    let key = HsIdKeypair::from(ed25519::ExpandedKeypair::from(&seed));
    // Only the kind of an error: its text could hold the address.
    let (service, callers_stream) = client
        .launch_onion_service_with_hsid(config, key)
        .map_err(|e| ours(&e.kind()))?
        .ok_or_else(|| ListenError::Ours("the service is disabled".into()))?;
    callers.spawn(take_callers(callers_stream.boxed(), hosting.inbox.downgrade(), hosting.port));
    Ok(service)
}

/// Lets only these find the service; anybody, if there are none.
fn restrict(config: &mut OnionServiceConfigBuilder, clients: &[ClientKey]) -> Result<(), ListenError> {
    if clients.is_empty() {
        return Ok(());
    }
    let ours = |e: &dyn std::fmt::Display| ListenError::Ours(e.to_string());
    config.restricted_discovery().enabled(true);
    for (number, client) in clients.iter().enumerate() {
        let name: HsClientNickname = format!("c{number}").parse().map_err(|e| ours(&e))?;
        let key: HsClientDescEncKey = client.to_string().parse().map_err(|e| ours(&e))?;
        config.restricted_discovery().static_keys().access().push((name, key));
    }
    Ok(())
}

/// A name for a service in arti's folder that says nothing about it and was not used before.
pub(super) fn random_nickname() -> String {
    format!("s{:016x}", super::random_u64())
}

/// Removes what earlier services left in arti's state folder, except those of the names in `keep`.
///
/// Their keys were in memory only, so nobody can use it any more; it would grow with every start.
pub(super) fn purge(state_dir: &Path, keep: &[&str]) {
    let Ok(entries) = std::fs::read_dir(state_dir.join("hss")) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if !keep.iter().any(|name| file.starts_with(name)) {
            let path = entry.path();
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

/// Answers callers until the service has ended and the last circuit is closed.
async fn take_callers(
    mut callers: BoxStream<'static, RendRequest>,
    inbox: mpsc::WeakSender<Stream>,
    port: u16,
) {
    let mut circuits = JoinSet::new();
    let mut open = true;
    while open || !circuits.is_empty() {
        tokio::select! {
            biased;
            Some(_) = circuits.join_next() => {}
            caller = callers.next(), if open => match caller {
                Some(caller) if circuits.len() < CIRCUITS_MAX => {
                    circuits.spawn(take_streams(caller, inbox.clone(), port));
                }
                Some(_) => tracing::warn!("too many callers at once; one was turned away"),
                None => open = false,
            },
        }
    }
}

/// Answers one caller and hands his streams on, until his circuit closes or has been idle for long.
async fn take_streams(caller: RendRequest, inbox: mpsc::WeakSender<Stream>, port: u16) {
    let Ok(Ok(mut requests)) = timeout(RENDEZVOUS_WAIT_MAX, caller.accept()).await else { return };
    let open_streams = Arc::new(());
    loop {
        match timeout(CIRCUIT_IDLE_MAX, requests.next()).await {
            Ok(Some(request)) => take_stream(request, &inbox, port, &open_streams).await,
            Ok(None) => return,
            Err(_) if Arc::strong_count(&open_streams) == 1 => return,
            Err(_) => {}
        }
    }
}

async fn take_stream(request: StreamRequest, inbox: &mpsc::WeakSender<Stream>, port: u16, open: &Arc<()>) {
    let served = matches!(request.request(), IncomingStreamRequest::Begin(begin) if begin.port() == port);
    let inbox = if served { inbox.upgrade() } else { None };
    let Some(place) = inbox.as_ref().and_then(|inbox| inbox.try_reserve().ok()) else {
        let _ = request.reject(End::new_with_reason(EndReason::DONE)).await;
        return;
    };
    if let Ok(stream) = request.accept(Connected::new_empty()).await {
        place.send(Stream::new(Counted { stream, _open: open.clone() }));
    }
}

/// A stream that is counted on its circuit for as long as it lives.
struct Counted {
    stream: DataStream,
    _open: Arc<()>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! The one trait through which everything above dials, listens and asks the network's time.
//!
//! A `Transport` belongs to one identity: nothing of it (circuits, guards, state) is shared with another
//! identity's. Implemented by `MemoryNetwork` and by arti; both answer a dial with the same four errors.

use crate::{ClientKey, OnionAddress};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Onion services that one transport hosts at once beside the identity's own, at most.
pub const HOSTED_MAX: usize = 32;

/// A boxed future, so that the trait can be used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The network as one identity sees it.
pub trait Transport: Send + Sync {
    /// Opens a byte stream to `port` of `to`, within `deadline`.
    ///
    /// Streams to different peers share no circuit. Dropping the future gives the attempt up. A deadline that passes
    /// while the network is up is [`DialError::Absent`].
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>>;

    /// Leaves the way on which `to` was reached so far: the next dial takes a new one.
    ///
    /// For when `to` is known to have come up anew; what was open to it may lead to a process that is gone. Streams
    /// already open are left alone. Where every dial takes a new way, as in memory, there is nothing to leave.
    fn leave_path(&self, _to: OnionAddress) {}

    /// Starts hosting the onion service of `key` on `port`; at most once per transport.
    ///
    /// Returns at once; that the service is reachable shows in [`Transport::bootstrap`].
    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>>;

    /// Hosts one more onion service, of any key, on `port`, beside the identity's own one: at most [`HOSTED_MAX`] at
    /// once per transport.
    ///
    /// Returns at once; the service becomes reachable by itself, and again after every outage, without showing in
    /// [`Transport::bootstrap`]. Its guards and introduction points are chosen apart from those of the identity's own
    /// service. Dropping the listener ends it.
    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>>;

    /// As [`Transport::host`], for the holders of these keys only, of which there must be one: nobody else finds the
    /// service, and a dial without such a key is [`DialError::Refused`]. Counted together with what `host` hosts.
    ///
    /// That the service is published is tested; whether it takes callers only its clients can tell.
    fn host_for(
        &self,
        _key: HostKey,
        _port: u16,
        _clients: Vec<ClientKey>,
    ) -> BoxFuture<'_, Result<Listener, ListenError>> {
        let error = ListenError::Ours("this network cannot restrict who finds an onion".into());
        Box::pin(std::future::ready(Err(error)))
    }

    /// The validity of the live consensus, if there is one; `None` when the network has told no time.
    fn network_time(&self) -> Option<NetworkTime>;

    /// The stage that bootstrapping has reached, as a stream of values (the newest wins).
    fn bootstrap(&self) -> watch::Receiver<Bootstrap>;
}

/// The ed25519 seed from which an onion service is hosted (RFC 8032, 32 bytes). Wiped when dropped.
pub struct HostKey(Zeroizing<[u8; 32]>);

impl HostKey {
    /// Wraps a 32-byte ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// The seed, for the one place that hosts it.
    pub fn seed(&self) -> &[u8; 32] {
        &self.0
    }

    /// The address that this key hosts.
    pub fn address(&self) -> OnionAddress {
        let key = ed25519_dalek::SigningKey::from_bytes(&self.0).verifying_key();
        OnionAddress::from_public_key(key.to_bytes()).expect("a key made from a seed is a torsion-free point")
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey([redacted])")
    }
}

/// Time as the network's live consensus bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTime {
    /// The consensus is valid from here.
    pub valid_after: SystemTime,
    /// The consensus is valid until here.
    pub valid_until: SystemTime,
}

impl NetworkTime {
    /// Whether `now` lies inside the consensus' validity.
    pub fn agrees_with(&self, now: SystemTime) -> bool {
        self.valid_after <= now && now <= self.valid_until
    }
}

/// Where bootstrapping stands; what a person is told while waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing has been tried yet.
    Starting,
    /// Looking for a way into the network.
    Connecting,
    /// Connected; fetching the directory of relays.
    Directory,
    /// Letters can leave; the own address is not published yet.
    Dialling,
    /// The own address is published: letters can come in too.
    Reachable,
}

/// One value of the bootstrap stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// How far it has come.
    pub stage: Stage,
    /// What blocks it, in plain words; none while it moves.
    pub blocked: Option<String>,
}

/// Why a dial gave no stream. The queue decides by this alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The peer is not there (no descriptor, or nobody answers): it sleeps or is gone.
    #[error("the other node is not online")]
    Absent,
    /// The peer is there and does not take streams on this port.
    #[error("the other node is online but takes no mail")]
    Refused,
    /// Our own way into the network is down; says nothing about the peer.
    #[error("the Tor network cannot be reached from here")]
    NetworkDown,
    /// Something on our side is wrong.
    #[error("dialling failed on this side: {0}")]
    Ours(String),
}

/// Why an onion service could not be hosted.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// This transport already serves its own address, or the address is hosted elsewhere on this network.
    #[error("this address is already being served")]
    InUse,
    /// A restricted service without a client: nobody could ever reach it.
    #[error("an onion service for nobody cannot be hosted")]
    NoClient,
    /// This transport hosts [`HOSTED_MAX`] services beside the identity's own already.
    #[error("no more than {HOSTED_MAX} onion services can be hosted beside the own one")]
    TooMany,
    /// Something on our side is wrong.
    #[error("the onion service could not be started: {0}")]
    Ours(String),
}

/// Streams that arrive at the hosted address. Dropping it stops hosting.
pub struct Listener {
    /// Kept so that the service lives as long as the listener; dropped first, so that nothing arrives at a closed
    /// channel.
    _guard: Box<dyn Send + Sync>,
    incoming: tokio::sync::mpsc::Receiver<Inbound>,
}

/// One stream that arrived. Who dialled is not known (Tor tells nothing about callers).
pub type Inbound = Stream;

impl Listener {
    /// Makes a listener from a bounded channel of streams and whatever keeps the service alive.
    pub fn new(incoming: tokio::sync::mpsc::Receiver<Inbound>, guard: Box<dyn Send + Sync>) -> Self {
        Self { incoming, _guard: guard }
    }

    /// The next stream; `None` when the service has ended for good.
    pub async fn accept(&mut self) -> Option<Inbound> {
        self.incoming.recv().await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// A byte stream between two onions, whatever carries it. Writes may be buffered: flush. There is no half-close:
/// `shutdown` ends both directions, and an end of stream is never proof that everything has arrived.
///
/// The lock is never taken: whoever has the stream to itself needs none, and with it others may share a reference.
pub struct Stream(Mutex<Box<dyn Duplex>>);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Stream {
    /// Wraps anything that reads and writes.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Mutex::new(Box::new(io)))
    }

    fn inner(&mut self) -> Pin<&mut Box<dyn Duplex>> {
        Pin::new(self.0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.inner().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

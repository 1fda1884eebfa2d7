//! `MemoryTransport`: the memory network as one identity sees it.
//!
//! Promises the four dial errors by the same rules as over Tor: own network down, peer absent, peer there but not
//! serving, and within the deadline. Leaves state and draws to `network`.

use super::network::{Core, DialPlan, MemoryNetwork};
use super::wire::lock;
use crate::{
    Bootstrap, BoxFuture, ClientKey, ClientSecret, DialError, HostKey, ListenError, Listener, NetworkTime,
    OnionAddress, Stream, Transport,
};
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// One address's way into a [`MemoryNetwork`].
pub struct MemoryTransport {
    member: Arc<Member>,
}

/// Keeps an address joined; leaves it when dropped.
pub(super) struct Member {
    pub(super) core: Arc<Core>,
    pub(super) address: OnionAddress,
    pub(super) id: u64,
    /// The keys with which restricted onions are dialled.
    pub(super) keys: Mutex<Vec<ClientKey>>,
}

impl Member {
    pub(super) fn keys(&self) -> Vec<ClientKey> {
        lock(&self.keys).clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.core.leave(self.address, self.id);
    }
}

impl MemoryTransport {
    pub(super) fn new(member: Member) -> Self {
        Self { member: Arc::new(member) }
    }

    /// The address whose view this is.
    pub fn address(&self) -> OnionAddress {
        self.member.address
    }

    /// The network it has joined.
    pub fn network(&self) -> MemoryNetwork {
        MemoryNetwork { core: self.member.core.clone() }
    }

    /// Gives this process a client's secret, with which it is let in where its public half is.
    pub fn add_client_secret(&self, secret: &ClientSecret) {
        lock(&self.member.keys).push(secret.public());
    }

    /// Serves `onion`, the own address or one beside it, on `port` without proof of its key (the hub has no keys); for
    /// these clients only, if any are named.
    pub(crate) fn serve(
        &self,
        onion: OnionAddress,
        port: u16,
        clients: Option<Vec<ClientKey>>,
    ) -> Result<Listener, ListenError> {
        let (service, streams) = self.member.core.serve(&self.member, onion, port, clients)?;
        Ok(Listener::new(streams, Box::new(Serving { member: self.member.clone(), service })))
    }
}

impl Transport for MemoryTransport {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        Box::pin(dial(&self.member, to, port, deadline))
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            if key.address() != self.member.address {
                return Err(ListenError::Ours("the key is not that of this transport's address".into()));
            }
            self.serve(self.member.address, port, None)
        })
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let onion = key.address();
            if onion == self.member.address {
                return Err(ListenError::InUse);
            }
            self.serve(onion, port, None)
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
            match clients.is_empty() {
                _ if onion == self.member.address => Err(ListenError::InUse),
                true => Err(ListenError::NoClient),
                false => self.serve(onion, port, Some(clients)),
            }
        })
    }

    fn network_time(&self) -> Option<NetworkTime> {
        self.member.core.network_time(self.member.address)
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.member.core.bootstrap(self.member.address)
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryTransport({})", self.member.address)
    }
}

/// Ends the service when its listener is dropped.
struct Serving {
    member: Arc<Member>,
    service: u64,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.member.core.unserve(self.member.address, self.service);
    }
}

async fn dial(
    member: &Arc<Member>,
    to: OnionAddress,
    port: u16,
    deadline: Duration,
) -> Result<Stream, DialError> {
    let plan = member.core.plan(member.address, to);
    let departure = member.core.departure(member.address);
    // Rung from here on is heard, whenever it is first waited for.
    let departed = departure.notified();
    let answer = if member.core.is_connected(member) {
        tokio::select! {
            biased;
            () = departed => Err(DialError::NetworkDown),
            answer = timeout(deadline, attempt(member, to, port, &plan)) => answer.unwrap_or(Err(DialError::Absent)),
        }
    } else {
        Err(DialError::NetworkDown)
    };
    match &answer {
        Ok(_) | Err(DialError::Ours(_)) => {}
        Err(DialError::Absent) => plan.tally.absent.one(),
        Err(DialError::Refused) => plan.tally.refused.one(),
        Err(DialError::NetworkDown) => plan.tally.network_down.one(),
    }
    answer
}

async fn attempt(
    member: &Arc<Member>,
    to: OnionAddress,
    port: u16,
    plan: &DialPlan,
) -> Result<Stream, DialError> {
    let core = &member.core;
    if plan.black_hole || core.is_ghost(to) {
        pending::<()>().await;
    }
    if !plan.time.is_zero() {
        sleep(plan.time).await;
    }
    let door = core.find(member.address, (to, port), &member.keys())?;
    if plan.fails {
        return Err(DialError::Absent);
    }
    let Ok(room) = door.incoming.reserve().await else {
        // The service ended while we stood at its door: say what stands there now.
        return Err(core.find(member.address, (to, port), &member.keys()).err().unwrap_or(DialError::Absent));
    };
    let (dialled, accepted) = core.connect(member, (to, port), plan)?;
    room.send(accepted);
    Ok(dialled)
}

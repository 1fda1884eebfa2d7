//! The onion's port 25: peers bring letters, prove who they are, and ask for what waits for them.

use crate::face::places::Places;
use crate::face::smtp::{self, Port};
use crate::face::went_down;
use crate::model::address::MailAddress;
use crate::model::letter::LetterId;
use crate::model::policy;
use crate::node::giving::Giving;
use crate::node::parcel::Parcel;
use crate::node::partial::Claim;
use crate::node::receive::Here;
use crate::node::{Node, receive, session};
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::server::{Bringer, Config, Envelope, Role, Sending, Server};
use crate::protocol::smtp::{HeldLetter, Reply, Take};
use onion::{HostKey, Listener, OnionAddress};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most conversations at once; for one more, somebody who has proved nothing must go. Each costs about 20 KiB while it
/// idles, and what `node::giving` has ready for a reader who fetches.
const CONVERSATIONS_MAX: usize = 1024;
/// Pause before the onion service is started again after it ended by itself.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// One conversation at the onion's port.
struct OnionPort {
    node: Arc<Node>,
    /// What the caller has been shown of what waits for it.
    giving: Mutex<Giving>,
}

impl OnionPort {
    fn giving(&self) -> MutexGuard<'_, Giving> {
        self.giving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port for OnionPort {
    async fn verifiers(&self, _: &str) -> Vec<Verifier> {
        Vec::new()
    }

    fn proved(&self, onion: OnionAddress) {
        self.node.peer_is_up(onion);
    }

    fn etrn(&self, onion: OnionAddress) {
        self.giving().end_visit();
        self.node.peer_asks(onion);
    }

    async fn card(&self, known: Option<u64>) -> Result<Option<Vec<u8>>, Reply> {
        let card = self.node.desk.keyring().card();
        // Of another life of the identity a caller may know any number.
        Ok((known != Some(card.sequence)).then(|| card.bytes().to_vec()))
    }

    async fn claim(&self, sending: &Sending) -> Option<(Claim, Option<Here>)> {
        let Bringer::Onion(from) = sending.from else { return None };
        Some(receive::claim(&self.node.desk, from, sending).await)
    }

    async fn recipient(&self, to: &MailAddress, size: Option<u64>) -> Result<(), Reply> {
        self.node.desk.may_reach_guest(to, size).await.map(drop)
    }

    async fn begin(&self, envelope: &Envelope, here: Option<Here>) -> Result<Parcel, Reply> {
        receive::begin(&self.node.desk, envelope, here, self.node.moment().agreed).await
    }

    async fn held(
        &self,
        who: OnionAddress,
        after: Option<LetterId>,
    ) -> Result<(Vec<HeldLetter>, bool), Reply> {
        let mut giving = std::mem::take(&mut *self.giving());
        let list = self.node.give_list(&mut giving, who, after).await;
        *self.giving() = giving;
        list
    }

    async fn take(&self, _: OnionAddress, take: Take) -> Result<Vec<u8>, Reply> {
        let mut giving = std::mem::take(&mut *self.giving());
        let bytes = self.node.give(&mut giving, take).await;
        *self.giving() = giving;
        bytes
    }

    async fn forget(&self, _: OnionAddress, letters: &[LetterId]) -> Result<(), Reply> {
        let mut giving = std::mem::take(&mut *self.giving());
        let done = self.node.given(&mut giving, letters).await;
        *self.giving() = giving;
        done
    }
}

/// Hosts the identity's onion and serves what arrives, until the node goes down. Should the service end by itself, it
/// is started again.
pub async fn host(node: Arc<Node>, mut down: watch::Receiver<bool>) {
    loop {
        let key = HostKey::from_seed(*node.desk.identity().host_seed());
        match node.transport.listen(key, session::PORT).await {
            Ok(listener) => {
                node.desk.trouble.clear("onion");
                serve(node.clone(), listener, down.clone()).await;
            }
            Err(error) => node.desk.trouble.note("onion", format!("the own address is not served: {error}")),
        }
        tokio::select! {
            biased;
            () = went_down(&mut down) => return,
            () = tokio::time::sleep(LISTEN_AGAIN) => {}
        }
    }
}

/// Serves every stream that arrives, until the listener ends or the node goes down.
pub async fn serve(node: Arc<Node>, listener: Listener, down: watch::Receiver<bool>) {
    serve_as(listener, down, &places(), || {
        let server = Server::new(Config {
            size_max: policy::LETTER_SIZE_MAX,
            role: Role::Onion { names: node.desk.identity().names().clone(), cookie: node.desk.draw() },
        });
        (server, OnionPort { node: node.clone(), giving: Mutex::default() })
    })
    .await;
}

/// The places of one port, or of several ports together.
pub(super) fn places() -> Places {
    Places::new(CONVERSATIONS_MAX)
}

/// The same at a port of any kind: `begin` makes each conversation.
pub(super) async fn serve_as<P: Port + Send + 'static>(
    mut listener: Listener,
    mut down: watch::Receiver<bool>,
    places: &Places,
    begin: impl Fn() -> (Server, P),
) {
    let mut conversations = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = went_down(&mut down) => break,
            Some(_) = conversations.join_next() => continue,
            stream = listener.accept() => stream,
        };
        let Some(stream) = stream else { break };
        let place = places.enter().await;
        let ((server, port), down) = (begin(), down.clone());
        conversations.spawn(async move {
            if let Err(error) = smtp::converse(stream, server, &port, &place, down).await {
                tracing::debug!(%error, "a peer's connection broke");
            }
        });
    }
    while conversations.join_next().await.is_some() {}
}

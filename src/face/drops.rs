//! Drops: the onions on which letters are held for guests, each with a port 25 of its own.
//!
//! Authors leave sealed letters for tokens and prove nothing; guests prove a collecting key. Promises that which drops
//! are hosted follows what was promised, and that a drop says nothing of whose node it is.

use crate::face::inbound::{places, serve_as};
use crate::face::places::Places;
use crate::face::smtp::Port;
use crate::face::went_down;
use crate::model::hold::{self, Token};
use crate::model::letter::LetterId;
use crate::node::holding::Collecting;
use crate::node::parcel::Parcel;
use crate::node::partial::Claim;
use crate::node::receive::Here;
use crate::node::{Node, session};
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::server::{Config, Deposit, Envelope, Role, Sending, Server};
use crate::protocol::smtp::{HeldLetter, Reply, Revoked, Take};
use onion::{HostKey, OnionAddress};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Pause before a drop is hosted again after its service ended by itself.
const HOST_AGAIN: Duration = Duration::from_secs(5);

/// One conversation at a drop.
struct DropPort {
    node: Arc<Node>,
    drop: OnionAddress,
    /// Whose mailbox the proved key opens, once it was looked up.
    collecting: Mutex<Option<(OnionAddress, Collecting)>>,
}

impl DropPort {
    async fn collecting(&self, who: OnionAddress) -> Result<Collecting, Reply> {
        let known = *self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = known.filter(|(known, _)| *known == who) {
            return Ok(at);
        }
        let at = self.node.desk.collecting(self.drop, who).await?;
        *self.collecting.lock().unwrap_or_else(PoisonError::into_inner) = Some((who, at));
        Ok(at)
    }
}

impl Port for DropPort {
    async fn verifiers(&self, _: &str) -> Vec<Verifier> {
        Vec::new()
    }

    fn proved(&self, _: OnionAddress) {}

    fn etrn(&self, _: OnionAddress) {}

    async fn card(&self, _: Option<u64>) -> Result<Option<Vec<u8>>, Reply> {
        Ok(None)
    }

    async fn claim(&self, sending: &Sending) -> Option<(Claim, Option<Here>)> {
        self.node.desk.claim_deposit(self.drop, sending, self.node.moment().agreed).await
    }

    async fn deposit(&self, deposit: &Deposit) -> Result<(), Reply> {
        self.node.desk.may_deposit(self.drop, deposit, self.node.moment().agreed).await
    }

    async fn begin(&self, envelope: &Envelope, here: Option<Here>) -> Result<Parcel, Reply> {
        let deposit = envelope.deposit.ok_or(Reply::new(503, 5, 1, "Nothing was to be left here"))?;
        self.node.desk.begin_deposit(self.drop, deposit, here, self.node.moment().agreed).await
    }

    async fn held(
        &self,
        who: OnionAddress,
        after: Option<LetterId>,
    ) -> Result<(Vec<HeldLetter>, bool), Reply> {
        self.node.desk.held_letters(self.collecting(who).await?, after).await
    }

    async fn take(&self, who: OnionAddress, take: Take) -> Result<Vec<u8>, Reply> {
        self.node.desk.held_bytes(self.collecting(who).await?, take).await
    }

    async fn forget(&self, who: OnionAddress, letters: &[LetterId]) -> Result<(), Reply> {
        self.node.desk.forget_held(self.collecting(who).await?, letters.to_vec()).await
    }

    async fn revoke(&self, who: OnionAddress, revoked: &Revoked) -> Result<(), Reply> {
        self.node.desk.revoke_tokens(self.collecting(who).await?, revoked.clone()).await
    }

    async fn recall(&self, letter: LetterId, token: Token) -> Result<(), Reply> {
        self.node.desk.recall_held(self.drop, letter, token).await
    }
}

/// Hosts a drop for each that was promised, until the node goes down. Their callers share as many places as one port
/// has.
pub async fn host(node: Arc<Node>, mut down: watch::Receiver<bool>) {
    let places = places();
    let mut hosts = JoinSet::new();
    let mut hosted: BTreeMap<OnionAddress, AbortHandle> = BTreeMap::new();
    loop {
        match node.desk.drops().await {
            Ok(drops) => {
                hosted.retain(|onion, host| {
                    let wanted = drops.contains_key(onion);
                    if !wanted {
                        host.abort();
                    }
                    wanted && !host.is_finished()
                });
                for (onion, key) in drops {
                    hosted.entry(onion).or_insert_with(|| {
                        hosts.spawn(host_one(node.clone(), onion, key, places.clone(), down.clone()))
                    });
                }
            }
            Err(error) => node.desk.trouble.note("drops", format!("what is held cannot be read: {error}")),
        }
        tokio::select! {
            biased;
            () = went_down(&mut down) => break,
            Some(_) = hosts.join_next() => tokio::time::sleep(HOST_AGAIN).await,
            () = node.desk.drops_changed.notified() => {}
        }
    }
    while hosts.join_next().await.is_some() {}
}

/// Hosts one drop until its service ends.
async fn host_one(
    node: Arc<Node>,
    drop: OnionAddress,
    key: HostKey,
    places: Places,
    down: watch::Receiver<bool>,
) {
    match node.transport.host(key, session::PORT).await {
        Ok(listener) => {
            node.desk.trouble.clear("drops");
            serve_as(listener, down, &places, || {
                let role = Role::Drop { onion: drop, cookie: node.desk.draw() };
                let size_max = hold::class_size_max(hold::CLASS_MAX);
                let port = DropPort { node: node.clone(), drop, collecting: Mutex::default() };
                (Server::new(Config { size_max, role }), port)
            })
            .await;
        }
        Err(error) => {
            node.desk.trouble.note("drops", format!("letters for others are not taken at present: {error}"));
            tokio::time::sleep(HOST_AGAIN).await;
        }
    }
}

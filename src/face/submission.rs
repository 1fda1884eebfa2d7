//! Submission on loopback (RFC 6409): the identity's own mail programs hand letters in.

use crate::face::logins;
use crate::face::loopback::Loopback;
use crate::face::smtp::{self, Port};
use crate::face::went_down;
use crate::model::policy;
use crate::node::desk::Desk;
use crate::node::parcel::Parcel;
use crate::node::submit;
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::Reply;
use crate::protocol::smtp::server::{Config, Envelope, Role, Server};
use onion::OnionAddress;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Most mail programs at once; more wait in the kernel's backlog.
const CONVERSATIONS_MAX: usize = 1024;

struct Submission(Arc<Desk>);

impl Port for Submission {
    async fn verifiers(&self, user: &str) -> Vec<Verifier> {
        logins::verifiers(&self.0, user).await
    }

    fn proved(&self, _: OnionAddress) {}

    fn etrn(&self, _: OnionAddress) {}

    async fn begin(&self, envelope: &Envelope) -> Result<Parcel, Reply> {
        submit::begin(&self.0, &envelope.recipients).await
    }
}

/// One mail program's session over any stream. `decoy` is the store's own (see `logins::decoy`).
pub async fn converse<S>(desk: Arc<Desk>, decoy: [u8; 32], stream: S, down: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let server = Server::new(Config {
        names: desk.identity().names().clone(),
        size_max: policy::LETTER_SIZE_MAX,
        role: Role::Submission { seed: desk.draw(), decoy },
    });
    if let Err(error) = smtp::converse(stream, server, &Submission(desk), down).await {
        tracing::debug!(%error, "a mail program's connection broke");
    }
}

/// Serves every mail program that connects, until the node goes down.
pub async fn serve(desk: Arc<Desk>, decoy: [u8; 32], loopback: Loopback, mut down: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    let mut conversations = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = went_down(&mut down) => break,
            Some(_) = conversations.join_next() => continue,
            stream = loopback.accept() => stream,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be given back.
                desk.trouble.note("submission", format!("a mail program could not be let in: {error}"));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let (desk, down) = (desk.clone(), down.clone());
        conversations.spawn(async move {
            let _place = place;
            converse(desk, decoy, stream, down).await;
        });
    }
    while conversations.join_next().await.is_some() {}
}

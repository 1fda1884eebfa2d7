//! Submission on loopback (RFC 6409): the identity's own mail programs hand letters in.

use crate::face::logins;
use crate::face::loopback::Loopback;
use crate::face::places::{Place, Places};
use crate::face::smtp::{self, Port};
use crate::face::went_down;
use crate::model::policy;
use crate::node::desk::Desk;
use crate::node::parcel::Parcel;
use crate::node::partial::Claim;
use crate::node::receive::Here;
use crate::node::submit;
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::Reply;
use crate::protocol::smtp::server::{Config, Envelope, Role, Sending, Server};
use onion::OnionAddress;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most mail programs at once; for one more, somebody who has not logged in must go.
const CONVERSATIONS_MAX: usize = 1024;

struct Submission(Arc<Desk>);

impl Port for Submission {
    async fn verifiers(&self, user: &str) -> Vec<Verifier> {
        logins::verifiers(&self.0, user).await
    }

    fn proved(&self, _: OnionAddress) {}

    fn etrn(&self, _: OnionAddress) {}

    async fn card(&self, _: Option<u64>) -> Result<Option<Vec<u8>>, Reply> {
        Ok(None)
    }

    async fn claim(&self, _: &Sending) -> Option<(Claim, Option<Here>)> {
        None
    }

    async fn begin(&self, envelope: &Envelope, _: Option<Here>) -> Result<Parcel, Reply> {
        submit::begin(&self.0, &envelope.recipients).await
    }
}

/// One mail program's session over any stream. `decoy` is the store's own (see `logins::decoy`).
pub async fn converse<S>(desk: Arc<Desk>, decoy: [u8; 32], stream: S, down: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    converse_at(desk, decoy, stream, &Place::alone(), down).await;
}

async fn converse_at<S>(
    desk: Arc<Desk>,
    decoy: [u8; 32],
    stream: S,
    place: &Place,
    down: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // Without them, letters in the name of others are refused; all else goes on.
    let others = desk.others().await.unwrap_or_default();
    let server = Server::new(Config {
        size_max: policy::LETTER_SIZE_MAX,
        role: Role::Submission { names: desk.identity().names().clone(), seed: desk.draw(), decoy, others },
    });
    if let Err(error) = smtp::converse(stream, server, &Submission(desk), place, down).await {
        tracing::debug!(%error, "a mail program's connection broke");
    }
}

/// Serves every mail program that connects, until the node goes down.
pub async fn serve(desk: Arc<Desk>, decoy: [u8; 32], loopback: Loopback, mut down: watch::Receiver<bool>) {
    let places = Places::new(CONVERSATIONS_MAX);
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
        let place = places.enter().await;
        let (desk, down) = (desk.clone(), down.clone());
        conversations.spawn(async move {
            converse_at(desk, decoy, stream, &place, down).await;
        });
    }
    while conversations.join_next().await.is_some() {}
}

//! IMAP on loopback: carries out what mail programs ask for, on the identity's store.
//!
//! * `wire`: bytes to and from the client, with time limits
//! * `session`: one client: takes the steps of `protocol::imap::conversation` and answers them
//! * `login`, `mailboxes`, `selected`, `change`, `append`, `search`: the commands
//! * `fetch`, `letter`: FETCH, in batches and streams
//! * `translate`: the store's words in IMAP's, and its errors
//!
//! `OK` to a change is said only after the store has made it durable.

mod append;
mod change;
mod fetch;
mod letter;
mod login;
mod mailboxes;
mod search;
mod selected;
mod session;
mod translate;
mod wire;

use crate::face::loopback::Loopback;
use crate::face::places::{Place, Places};
use crate::node::desk::Desk;
use crate::protocol::imap::limits::CONNECTIONS_MAX;
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause after the system would not let a connection in (out of file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// What is said to a connection too many.
const FULL: &[u8] = b"* BYE [UNAVAILABLE] too many connections; close some and try again\r\n";

/// One mail program's session over any stream, to its end. `decoy` is the store's own (see `logins::decoy`). When
/// `down` becomes true the client is told good-bye.
pub async fn converse<S>(desk: Arc<Desk>, decoy: [u8; 32], stream: S, down: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    converse_at(desk, decoy, stream, Place::alone(), down).await;
}

async fn converse_at<S>(
    desk: Arc<Desk>,
    decoy: [u8; 32],
    stream: S,
    place: Place,
    down: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Err(error) = Session::new(desk, decoy, stream, place, down).run().await {
        tracing::debug!(%error, "a mail program's connection broke");
    }
}

/// Serves every mail program that connects, until the node goes down.
pub async fn serve(desk: Arc<Desk>, decoy: [u8; 32], loopback: Loopback, mut down: watch::Receiver<bool>) {
    let places = Places::new(CONNECTIONS_MAX);
    let mut sessions = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = crate::face::went_down(&mut down) => break,
            Some(_) = sessions.join_next() => continue,
            stream = loopback.accept() => stream,
        };
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                desk.trouble.note("imap", format!("a mail program could not be let in: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        desk.trouble.clear("imap");
        let (desk, down) = (desk.clone(), down.clone());
        let place = places.try_enter();
        sessions.spawn(async move {
            match place {
                Some(place) => converse_at(desk, decoy, stream, place, down).await,
                // A client that does not read this is dropped with the stream.
                None => drop(stream.write_all(FULL).await),
            }
        });
    }
    while sessions.join_next().await.is_some() {}
}

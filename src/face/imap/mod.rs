//! IMAP, on loopback and on the onions of guest readers: carries out what mail programs ask for, on the store.
//!
//! * `wire`: bytes to and from the client, with time limits
//! * `session`: one client: takes the steps of `protocol::imap::conversation` and answers them
//! * `account`: whose mailboxes it shows; `login`, `mailboxes`, `selected`, `change`, `append`, `search`: the commands
//! * `fetch`, `letter`: FETCH, in batches and streams
//! * `translate`: the store's words in IMAP's, and its errors
//!
//! `OK` to a change is said only after the store has made it durable.

mod account;
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
use crate::protocol::imap::limits::{CONNECTIONS_MAX, GUEST_CONNECTIONS_MAX};
use crate::store::guests::GuestRecord;
use account::Account;
use onion::Listener;
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause after the system would not let a connection in (out of file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection too many has for reading why.
const FULL_WAIT: Duration = Duration::from_secs(10);
/// What is said to a connection too many.
const FULL: &[u8] = b"* BYE [UNAVAILABLE] too many connections; close some and try again\r\n";

/// One mail program's session over any stream, to its end. `decoy` is the store's own (see `logins::decoy`). When
/// `down` becomes true the client is told good-bye.
pub async fn converse<S>(desk: Arc<Desk>, decoy: [u8; 32], stream: S, down: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    converse_at(desk, Account::Own, decoy, stream, Place::alone(), down).await;
}

async fn converse_at<S>(
    desk: Arc<Desk>,
    account: Account,
    decoy: [u8; 32],
    stream: S,
    place: Place,
    down: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Err(error) = Session::new(desk, account, decoy, stream, place, down).run().await {
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
                Some(place) => converse_at(desk, Account::Own, decoy, stream, place, down).await,
                // A client that does not read this is dropped with the stream.
                None => drop(stream.write_all(FULL).await),
            }
        });
    }
    while sessions.join_next().await.is_some() {}
}

/// Serves a guest reader at their onion, until the listener ends or the node goes down. Whoever calls has a key of that
/// onion, and gets no farther than its reader's login.
pub async fn serve_guest(
    desk: Arc<Desk>,
    guest: GuestRecord,
    decoy: [u8; 32],
    mut listener: Listener,
    mut down: watch::Receiver<bool>,
) {
    let places = Places::new(GUEST_CONNECTIONS_MAX);
    let mut sessions = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = crate::face::went_down(&mut down) => break,
            Some(_) = sessions.join_next() => continue,
            stream = listener.accept() => stream,
        };
        let Some(mut stream) = stream else { break };
        let (desk, down) = (desk.clone(), down.clone());
        let (place, account) = (places.try_enter(), Account::Guest(Box::new(guest.clone())));
        sessions.spawn(async move {
            match place {
                Some(place) => converse_at(desk, account, decoy, stream, place, down).await,
                None => {
                    // A client that does not read this is dropped with the stream.
                    drop(tokio::time::timeout(FULL_WAIT, tell(&mut stream, FULL)).await);
                }
            }
        });
    }
    while sessions.join_next().await.is_some() {}
}

async fn tell(stream: &mut onion::Stream, what: &[u8]) -> std::io::Result<()> {
    stream.write_all(what).await?;
    stream.flush().await
}

//! The running node's side of the control socket: one task a command, few at once, none for ever.
//!
//! Promises that a caller who says nothing, stops in the middle or does not read loses the place it has, so that
//! the node's own person can always get through.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::control::{Answer, Door, Request};
use crate::face::ops::{Given, Office};
use crate::face::went_down;
use crate::store::LetterReader;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Most connections at once. Those that have not yet said what they want cost little, and do not stay.
const DOORS_MAX: usize = 512;
/// Most commands performed at once: each may hold a listing in memory.
const COMMANDS_MAX: usize = 16;
/// How long a caller may take to say what it wants: commands know it before they connect.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How long a whole command may take, the letter that goes in or out included: 64 MiB at 0.25 MB/s.
const COMMAND_WAIT: Duration = Duration::from_secs(300);
/// Bytes of a letter that are written at once.
const PIECE_LEN: usize = 64 * 1024;

/// Serves the commands that come, until the node goes down.
pub(super) async fn serve(
    office: Office,
    listener: tokio::net::UnixListener,
    mut down: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(COMMANDS_MAX));
    let mut open = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = went_down(&mut down) => break,
            Some(_) = open.join_next() => continue,
            stream = listener.accept(), if open.len() < DOORS_MAX => stream,
        };
        match stream {
            Ok((stream, _)) => {
                let answered = answer(office.clone(), Door::new(stream), places.clone(), down.clone());
                open.spawn(async move {
                    match tokio::time::timeout(COMMAND_WAIT, answered).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "a command went away"),
                        Err(_) => tracing::debug!("a command took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a command could not be let in");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    // What has been handed in is kept or refused; the caller must not be left to guess.
    while open.join_next().await.is_some() {}
}

async fn answer(
    office: Office,
    mut door: Door,
    places: Arc<Semaphore>,
    mut down: watch::Receiver<bool>,
) -> io::Result<()> {
    let heard = tokio::select! {
        biased;
        () = went_down(&mut down) => return Ok(()),
        heard = tokio::time::timeout(REQUEST_WAIT, door.hear_request()) => heard,
    };
    let Ok(heard) = heard else { return Err(io::ErrorKind::TimedOut.into()) };
    let request: Request = match heard {
        Ok(request) => request,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return door.say(&Answer::Failed(not_understood())).await;
        }
        Err(error) => return Err(error),
    };
    let _place = places.acquire_owned().await.map_err(io::Error::other)?;
    match office.perform(request, door.reader()).await {
        Ok(Given::Value(value)) => door.say(&Answer::Ok(value)).await,
        Ok(Given::Letter(value, reader)) => {
            door.say(&Answer::Ok(value)).await?;
            copy(&reader, &mut door).await
        }
        Err(failure) => door.say(&Answer::Failed(failure)).await,
    }
}

fn not_understood() -> Failure {
    Failure::new(Exit::Software, "the running node does not understand this command")
        .hint("it may be of another version: stop it, and bring it up again with: onionskin up")
}

/// Writes a letter's bytes after the answer line.
async fn copy(reader: &LetterReader, door: &mut Door) -> io::Result<()> {
    let mut at = 0;
    while at < reader.len() {
        let piece = reader.read_at(at, PIECE_LEN).await.map_err(io::Error::other)?;
        at += piece.len() as u64;
        door.writer().write_all(&piece).await?;
    }
    door.writer().flush().await
}

//! Serves a memory network on a Unix socket, so that nodes in other processes can join it.
//!
//! `hub SOCKET [--seed N] [--cut P] [--dial-failure P] [--black-hole P] [--delay-ms N] [--dial-ms N] [--storm]
//! [--ahead-days N]` prints `ready` and ends at SIGTERM, SIGINT or when its standard input, if that is a pipe, is
//! closed. P is a probability per stream or dial; N milliseconds is the most that a chunk or a dial takes; the
//! network's time is N days ahead of this machine's clock (behind it if negative). At SOCKET there must be nothing, or
//! a socket that nobody serves; anything else is refused and left alone.

use onion::hub;
use onion::memory::{Conditions, MemoryNetwork};
use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: hub SOCKET [--seed N] [--cut P] [--dial-failure P] [--black-hole P] \
                     [--delay-ms N] [--dial-ms N] [--storm] [--ahead-days N]";

struct Wanted {
    socket: PathBuf,
    seed: u64,
    conditions: Conditions,
    ahead_days: i64,
}

fn main() -> ExitCode {
    let served = parse(std::env::args().skip(1)).and_then(|wanted| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(&wanted))
    });
    if let Err(error) = &served {
        eprintln!("hub: {error}");
    }
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Wanted, Box<dyn Error>> {
    let (mut socket, mut seed, mut conditions, mut ahead_days) = (None, 0, Conditions::default(), 0);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value\n{USAGE}"));
        match word.as_str() {
            "--seed" => seed = value()?.parse()?,
            "--cut" => conditions.cut = value()?.parse()?,
            "--dial-failure" => conditions.dial_failure = value()?.parse()?,
            "--black-hole" => conditions.black_hole = value()?.parse()?,
            "--delay-ms" => conditions.delay = Duration::ZERO..Duration::from_millis(value()?.parse()?),
            "--dial-ms" => conditions.dial = Duration::ZERO..Duration::from_millis(value()?.parse()?),
            "--ahead-days" => ahead_days = value()?.parse()?,
            "--storm" => conditions = Conditions::storm(),
            _ if socket.is_none() && !word.starts_with('-') => socket = Some(PathBuf::from(word)),
            _ => return Err(format!("not understood: {word}\n{USAGE}").into()),
        }
    }
    Ok(Wanted { socket: socket.ok_or(USAGE)?, seed, conditions, ahead_days })
}

async fn run(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (listener, _bound) = hub::bind(&wanted.socket)?;
    let network = MemoryNetwork::new(wanted.seed, wanted.conditions.clone());
    let by = Duration::from_secs(wanted.ahead_days.unsigned_abs() * 86_400);
    let now = SystemTime::now();
    network.set_true_time(if wanted.ahead_days < 0 { now - by } else { now + by });
    println!("ready");
    tokio::select! {
        biased;
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = input_closed() => {}
        () = hub::serve(network, listener) => {}
    }
    Ok(())
}

/// Waits for the end of standard input, in a thread of its own (it ends with the process).
///
/// Only a pipe tells that somebody has gone: a background job of a shell has an empty file there from the start.
async fn input_closed() {
    let is_pipe = || -> std::io::Result<bool> {
        let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        Ok(input.metadata()?.file_type().is_fifo())
    };
    if !is_pipe().unwrap_or(false) {
        std::future::pending::<()>().await;
    }
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        closed.send(())
    });
    let _closed = wait.await;
}

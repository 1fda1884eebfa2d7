//! `onionskin up`: the running node. Address and settings are printed at once; the network comes up behind.

use crate::face::cli::args::Up;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::{self, Household, Made, Turn};
use crate::face::cli::{Place, doors, line, make, shown};
use crate::face::control;
use crate::face::loopback::Loopback;
use crate::face::ops::{Live, Office, stage_words};
use crate::face::went_down;
use crate::face::{drops, guests, inbound, logins, submission};
use crate::model::identity::{Identity, RecoveryWords};
use crate::model::policy;
use crate::model::welcome::{self, Welcome};
use crate::node::desk::Desk;
use crate::node::{Node, Tasks};
use crate::store::messages::NewMessage;
use crate::store::{Flags, StoreError};
use onion::{Stage, Transport};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

/// How long conversations may take to end once the node is told to go down.
const GRACE: Duration = Duration::from_secs(5);
/// Under this name the store remembers that the welcome letter has been filed.
const WELCOMED: &str = "welcomed";

/// Brings the node up and keeps it up until it is told to end.
pub(super) async fn up(at: &Place, args: Up) -> Result<(), Failure> {
    start_log();
    allow_files();
    let (household, desk) = open_or_make(at, &args).await?;
    let imap = bind(args.imap_port, "IMAP", "--imap-port").await?;
    let smtp = bind(args.smtp_port, "submission", "--smtp-port").await?;
    let (imap_port, smtp_port) = (imap.port()?, smtp.port()?);
    // Before anything is said that somebody may wait for and answer with a signal.
    let signals = Signals::caught()?;
    greet(&desk, household.vault.protected, imap_port, smtp_port)?;
    welcome(&desk, imap_port, smtp_port).await;
    let transport = transport(&args, &at.dir, &desk)?;
    let node = Node::new(desk.clone(), transport);
    let office = Office {
        desk: desk.clone(),
        protected: household.vault.protected,
        live: Some(Live { node: node.clone(), imap_port, smtp_port }),
    };
    let result = serve(&at.dir, office, (imap, smtp), signals).await;
    control::close(&at.dir);
    // Whoever still reads is told that it is over; what was acknowledged is on the disk.
    let store = desk.store().clone();
    drop((node, desk));
    let _ = store.close().await;
    drop(household);
    result
}

async fn open_or_make(at: &Place, args: &Up) -> Result<(Household, Arc<Desk>), Failure> {
    if !household::has_identity(&at.dir) {
        let name = make::name_of(args.name.as_deref().unwrap_or(policy::NAME_DEFAULT))?;
        let words = RecoveryWords::from_entropy(household::entropy()?);
        let show = |identity: &Identity, protected| {
            make::announce(at, identity, &words, protected, args.revocation.as_deref())
        };
        return match household::make(&at.dir, &words, name, &at.passphrase, show).await? {
            Made::New(household, desk) => {
                line(format_args!(""))?;
                Ok((household, desk))
            }
            Made::Before(household, desk) => Ok((household, desk)),
        };
    }
    if args.revocation.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "--revocation is for a new identity; this one is there already",
        )
        .hint("with your words: onionskin revoke --make FILE"));
    }
    let disk = match household::turn(&at.dir).await? {
        Turn::Ours(disk) => disk,
        Turn::Node(_) => {
            return Err(Failure::new(Exit::TempFail, "the node of this data directory is running already")
                .hint("see: onionskin status"));
        }
    };
    let household = Household::open(disk, &at.passphrase)?;
    let desk = household.desk().await?;
    let has = desk.identity().address().local;
    if args.name.as_deref().is_some_and(|name| !name.trim().eq_ignore_ascii_case(has.as_str())) {
        let what = format!("--name is for a new identity; this one has its name already: {}", has.as_str());
        return Err(Failure::new(Exit::Usage, what)
            .hint("another identity needs a directory of its own: onionskin --data-dir DIR up --name NAME"));
    }
    Ok((household, desk))
}

async fn bind(port: u16, what: &str, flag: &str) -> Result<Loopback, Failure> {
    Loopback::bind(port).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program has it".to_owned(),
            std::io::ErrorKind::PermissionDenied => "ports below 1024 are the system's".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(Exit::Unavailable, format_args!("port {port} for {what} cannot be used: {why}"))
            .hint(format_args!("choose another port with {flag}, or 0 for any that is free"))
    })
}

/// What a person needs at once, long before Tor is up.
fn greet(desk: &Desk, protected: bool, imap_port: u16, smtp_port: u16) -> Result<(), Failure> {
    let address = desk.identity().address().full();
    line(format_args!(
        "Address    {address}\n\
         Read       IMAP 127.0.0.1, port {imap_port}, no encryption (it never leaves this machine)\n\
         Send       SMTP 127.0.0.1, port {smtp_port}, no encryption\n\
         User       {address}\n\
         Password   make one with: onionskin credentials"
    ))?;
    if !protected {
        line(format_args!("Disk       unprotected: no passphrase was set"))?;
    }
    Ok(())
}

/// Files the welcome letter the first time that this store's node comes up, and never again.
async fn welcome(desk: &Desk, imap_port: u16, smtp_port: u16) {
    // The node is of use without it, and the next time it comes up it tries again.
    if let Err(error) = file_welcome(desk, imap_port, smtp_port).await {
        desk.trouble.note("disk", format!("the welcome letter cannot be kept: {error}"));
    }
}

async fn file_welcome(desk: &Desk, imap_port: u16, smtp_port: u16) -> Result<(), StoreError> {
    if desk.store().read(|rx| rx.meta().get::<bool>(WELCOMED)).await?.is_some() {
        return Ok(());
    }
    let address = desk.identity().address();
    let door = |port| welcome::Door { host: "127.0.0.1", port };
    let letter = welcome::welcome(&Welcome {
        address: &address,
        imap: door(imap_port),
        smtp: door(smtp_port),
        now: desk.now(),
        random: desk.draw(),
    });
    let body = desk.store().letter(&letter).await?;
    let (inbox, now) = (desk.folders.inbox, desk.now());
    desk.store()
        .write(move |tx| {
            let letter = tx.letters().add(&body, b"")?;
            let message = NewMessage { letter, flags: Flags::default(), internal_date: now, sent_id: None };
            tx.messages().append(inbox, &message)?;
            tx.meta().put(WELCOMED, &true)
        })
        .await
}

/// The network that was asked for.
fn transport(args: &Up, dir: &std::path::Path, desk: &Desk) -> Result<Arc<dyn Transport>, Failure> {
    if let Some(socket) = args.network.as_deref().and_then(|network| network.strip_prefix("sim:")) {
        return Ok(Arc::new(onion::hub::SocketTransport::new(socket, desk.identity().onion())));
    }
    tor(args.network.as_ref().map(PathBuf::from), dir)
}

#[cfg(feature = "tor")]
fn tor(network: Option<PathBuf>, dir: &std::path::Path) -> Result<Arc<dyn Transport>, Failure> {
    let config = onion::tor::TorConfig {
        state_dir: dir.join("tor").join("state"),
        cache_dir: dir.join("tor").join("cache"),
        network,
        memory_max: onion::tor::TorConfig::MEMORY_DEFAULT,
    };
    match onion::tor::TorTransport::start(config) {
        Ok(transport) => Ok(transport),
        Err(error) => Err(Failure::new(Exit::Config, format_args!("Tor cannot be started: {error}"))),
    }
}

#[cfg(not(feature = "tor"))]
fn tor(_: Option<PathBuf>, _: &std::path::Path) -> Result<Arc<dyn Transport>, Failure> {
    Err(Failure::new(Exit::Config, "this program was built without Tor")
        .hint("build it with: cargo install --path ."))
}

/// Runs every face until a signal comes or something breaks for good.
async fn serve(
    dir: &std::path::Path,
    office: Office,
    (imap, smtp): (Loopback, Loopback),
    mut signals: Signals,
) -> Result<(), Failure> {
    let live = office.live.clone().ok_or_else(|| Failure::new(Exit::Software, "no node"))?;
    let (node, desk) = (live.node, office.desk.clone());
    let decoy = logins::decoy(&desk).await.map_err(household::store_failure)?;
    let listener = control::open(dir).map_err(|error| {
        Failure::new(
            Exit::CannotCreate,
            format_args!("the control socket in {} cannot be made: {error}", shown(dir)),
        )
    })?;
    let (down, is_down) = watch::channel(false);
    let mut faces = JoinSet::new();
    faces.spawn(submission::serve(desk.clone(), decoy, smtp, is_down.clone()));
    faces.spawn(crate::face::imap::serve(desk.clone(), decoy, imap, is_down.clone()));
    faces.spawn(inbound::host(node.clone(), is_down.clone()));
    faces.spawn(drops::host(node.clone(), is_down.clone()));
    faces.spawn(guests::host(node.clone(), decoy, is_down.clone()));
    faces.spawn(doors::serve(office, listener, is_down.clone()));
    faces.spawn(tell_stages(node.clone(), is_down.clone()));
    let mut tasks = Tasks::start(&node);
    let result = tokio::select! {
        biased;
        () = signals.told_to_end() => Ok(()),
        broken = tasks.ended() => Err(Failure::new(Exit::Software, broken)),
    };
    let _ = line(format_args!("Going down: what waits to be sent stays queued"));
    let _ = down.send(true);
    tasks.stop().await;
    let _ = tokio::time::timeout(GRACE, async { while faces.join_next().await.is_some() {} }).await;
    faces.shutdown().await;
    result
}

/// Says on screen how far the network has come.
async fn tell_stages(node: Arc<Node>, mut down: watch::Receiver<bool>) {
    let mut bootstrap = node.transport.bootstrap();
    let mut told = None;
    loop {
        let now = bootstrap.borrow_and_update().clone();
        // That the address is not served while the node goes down is nobody's news.
        if told.as_ref() != Some(&now) && !*down.borrow() {
            let text = match (&now.blocked, now.stage) {
                (Some(why), _) => format!("Tor        {} – {why}", stage_words(now.stage)),
                (None, Stage::Reachable) => "Tor        reachable: letters can come and go".to_owned(),
                (None, stage) => format!("Tor        {}", stage_words(stage)),
            };
            let _ = line(format_args!("{text}"));
            told = Some(now);
        }
        tokio::select! {
            biased;
            () = went_down(&mut down) => return,
            changed = bootstrap.changed() => if changed.is_err() { return },
        }
    }
}

/// The signals that end a node, caught from the moment that this is made.
struct Signals([Signal; 3]);

impl Signals {
    fn caught() -> Result<Self, Failure> {
        let [terminate, hang_up, interrupt] =
            [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
        Ok(Self([terminate?, hang_up?, interrupt?]))
    }

    /// Waits for one of them.
    async fn told_to_end(&mut self) {
        let Self([terminate, hang_up, interrupt]) = self;
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Lets the process open as many files as the system allows it at all: a thousand callers need a thousand, and the
/// usual first bound of 1024 is not enough for three ports and the store.
fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be had, the ports have fewer places (`face::places`).
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Logs go to standard error: warnings, or what ONIONSKIN_LOG asks for.
fn start_log() {
    let filter =
        EnvFilter::try_from_env("ONIONSKIN_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tor_netdir=error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

//! The commands. Each either asks the running node through its door, or, while none runs, has the store to itself.
//!
//! * `args`: the command line; `exit`: how a command ends badly; `show`: what is printed for people
//! * `household`: the data directory; `passphrase`: where it comes from
//! * `make`: `init` and what the first `up` shows; `up`: the running node; `doors`: its side of the control socket
//! * `doctor`: what is wrong and what to do about it
//! * `keys`: `revoke`, `successor`, `delegate`
//! * `letters`: `send`, `sendmail`, `read`; `contacts`: `contacts`, `trust`; `holder`: `holder`
//! * `introduce`: `introduce`, `vouch`; `invite`: `invite`, `accept`; `qr`: what a camera reads
//! * `verify`: `verify`; `export`: `key export`

pub(crate) mod args;
mod contacts;
mod doctor;
mod doors;
pub(crate) mod exit;
mod export;
mod guest;
mod holder;
pub(crate) mod household;
mod introduce;
mod invite;
mod keys;
mod letters;
mod make;
pub(crate) mod passphrase;
mod qr;
mod show;
mod up;
mod verify;

use crate::face::control::{Door, Request};
use crate::face::ops::{Given, Office};
use args::{Cli, Command, Queue};
use clap::{CommandFactory as _, Parser as _};
use exit::{Exit, Failure};
use household::{Household, Turn};
use passphrase::Passphrase;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// The program: parses the command line, does it, and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no failures.
            let code = if error.use_stderr() { Exit::Usage.code() } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli));
            // Work that still blocks (a disk that hangs) must not keep the program from ending.
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            result
        }
        Err(error) => Err(Failure::new(Exit::Unavailable, format_args!("the program cannot start: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onionskin: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "onionskin", &mut script);
        return print(&script);
    }
    let passphrase = Passphrase::from_source(cli.passphrase_fd)?;
    let at = Place { dir: household::data_dir(cli.data_dir)?, passphrase };
    match cli.command {
        Command::Up(up) => up::up(&at, up).await,
        Command::Init(init) => make::init(&at, init).await,
        Command::Status(how) => status(&at, how.json).await,
        Command::Doctor(how) => doctor::doctor(&at, how.json).await,
        Command::Address(args) => invite::address(&at, args).await,
        Command::Credentials(credentials) => self::credentials(&at, credentials).await,
        Command::Send(send) => letters::send(&at, send).await,
        Command::Sendmail(sendmail) => letters::sendmail(&at, sendmail).await,
        Command::Inbox(inbox) => {
            let request = Request::Inbox { folder: inbox.folder.clone(), last: inbox.last };
            show::inbox(&at.ask(request).await?, &inbox.folder, inbox.json)
        }
        Command::Read(read) => letters::read(&at, read).await,
        Command::Queue { command, json } => queue(&at, command, json).await,
        Command::Contacts { command, json } => contacts::contacts(&at, command, json).await,
        Command::Trust { command, json } => contacts::trust(&at, command, json).await,
        Command::Holder { command, json } => holder::holder(&at, command, json).await,
        Command::Guest { command, json } => guest::guest(&at, command, json).await,
        Command::Introduce(args) => introduce::introduce(&at, args).await,
        Command::Vouch(args) => introduce::vouch(&at, args).await,
        Command::Invite(args) => invite::invite(&at, args).await,
        Command::Accept(args) => invite::accept(&at, args).await,
        Command::Revoke(revoke) => keys::revoke(&at, revoke).await,
        Command::Successor(successor) => keys::successor(&at, successor).await,
        Command::Delegate(delegate) => keys::delegate(&at, delegate).await,
        Command::Verify(args) => verify::verify(&at, args).await,
        Command::Key { command } => export::key(&at, command).await,
        Command::Completions { .. } => Ok(()),
    }
}

/// The data directory that a command works on.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) passphrase: Passphrase,
}

impl Place {
    /// Asks the node, or does it here if none runs. For requests without bytes.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, Failure> {
        self.ask_with(request, &mut tokio::io::empty()).await
    }

    /// The same with the bytes that follow the request.
    pub(super) async fn ask_with(
        &self,
        request: Request,
        bytes: &mut (impl AsyncRead + Unpin),
    ) -> Result<Value, Failure> {
        match self.way().await? {
            Way::Node(mut door) => {
                door.say(&request).await.map_err(|error| Failure::new(Exit::TempFail, error))?;
                if let Request::Submit { size, .. } = request {
                    // The node may refuse before it has read everything; its answer says why.
                    let _ = tokio::io::copy(&mut bytes.take(size), door.writer()).await;
                    let _ = door.writer().flush().await;
                }
                door.answer().await
            }
            Way::Ours(office) => match office.perform(request, bytes).await? {
                Given::Value(value) | Given::Letter(value, _) => Ok(value),
            },
        }
    }

    /// The running node, or the store while none runs.
    pub(super) async fn way(&self) -> Result<Way, Failure> {
        let disk = match household::turn(&self.dir).await? {
            Turn::Node(door) => return Ok(Way::Node(door)),
            Turn::Ours(disk) => disk,
        };
        let household = Household::open(disk, &self.passphrase)?;
        let protected = household.vault.protected;
        Ok(Way::Ours(Box::new(Office { desk: household.desk().await?, protected, live: None })))
    }
}

/// How a command gets done.
pub(super) enum Way {
    /// The node does it.
    Node(Door),
    /// We do it, with the store to ourselves.
    Ours(Box<Office>),
}

async fn status(at: &Place, json: bool) -> Result<(), Failure> {
    // A status that asks for a passphrase would be of no use to a script.
    let quiet = Place { dir: at.dir.clone(), passphrase: at.passphrase.silently() };
    let value = match quiet.ask(Request::Status).await {
        Err(failure) if failure.exit == Exit::NoInput => {
            serde_json::json!({"running": false, "locked": true, "identities": []})
        }
        value => value?,
    };
    show::status(&value, json)
}

async fn credentials(at: &Place, args: args::Credentials) -> Result<(), Failure> {
    if args.list {
        return show::passwords(&at.ask(Request::Passwords).await?, args.json);
    }
    if let Some(number) = args.revoke {
        let value = at.ask(Request::Revoke { number }).await?;
        if args.json {
            return show::as_json(&value);
        }
        return line(format_args!("Revoked: what used password {number} cannot log in any more."));
    }
    show::minted(&at.ask(Request::Mint { label: args.label }).await?, args.json)
}

async fn queue(at: &Place, command: Option<Queue>, json: bool) -> Result<(), Failure> {
    match command.unwrap_or(Queue::List) {
        Queue::List => show::queue(&at.ask(Request::Queue).await?, json),
        Queue::Retry { number } => {
            show::changed("Trying now", "retried", &at.ask(Request::Retry { numbers: number }).await?, json)
        }
        Queue::Cancel { number } => show::changed(
            "Taken back",
            "cancelled",
            &at.ask(Request::Cancel { numbers: number }).await?,
            json,
        ),
    }
}

/// Prints a line; a reader that has gone away (`| head`) is no failure.
pub(super) fn line(text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes())
}

/// Prints bytes; a reader that has gone away is no failure.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    match must_print(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// Prints bytes that somebody must get to see.
pub(super) fn must_print(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// A path, for messages.
pub(super) fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

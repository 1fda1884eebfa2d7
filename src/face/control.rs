//! The door in the data directory: what a command asks of the running node, and the answer.
//!
//! A Unix socket, mode 0600. A request is one line of JSON, followed for `Submit` by the bytes of the letter; the
//! answer is one line of JSON, followed for `Read` by the bytes of the letter. One request a connection.

mod guests;
mod holders;
mod keys;

use crate::face::cli::exit::{Exit, Failure};
use crate::model::trust::{Method, Tier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};

pub use guests::Guests;
pub use holders::Holders;
pub use keys::Keys;

/// Name of the socket in the data directory.
const SOCKET: &str = "control.sock";
/// Longest request, in bytes: the numbers of a queue of 10,000 entries fit.
const REQUEST_LEN_MAX: u64 = 256 * 1024;
/// Longest answer, in bytes: a listing of 10,000 letters fits.
const ANSWER_LEN_MAX: u64 = 32 * 1024 * 1024;
/// How long a command waits for the node's answer once it has said everything.
const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// Longest path that a Unix socket address holds, in bytes (Linux: 108 with the zero).
const SOCKET_PATH_LEN_MAX: usize = 100;

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// The state of the node.
    Status,
    /// Mint an app password.
    Mint {
        /// What it is for.
        label: String,
    },
    /// List app passwords.
    Passwords,
    /// Revoke one.
    Revoke {
        /// Its number.
        number: u64,
    },
    /// Queue a letter; its bytes follow.
    Submit {
        /// Sender, if one was named.
        from: Option<String>,
        /// Recipients named on the command line.
        to: Vec<String>,
        /// Also take those in To, Cc and Bcc.
        from_headers: bool,
        /// How many bytes follow.
        size: u64,
    },
    /// List a folder.
    Inbox {
        /// Which.
        folder: String,
        /// Only the newest so many.
        #[serde(default)]
        last: Option<u32>,
    },
    /// Give a letter; its bytes follow the answer.
    Read {
        /// Which folder.
        folder: String,
        /// Its UID.
        number: u32,
    },
    /// List the queue.
    Queue,
    /// Try these now; all if empty.
    Retry {
        /// Queue numbers.
        numbers: Vec<u64>,
    },
    /// Take these back.
    Cancel {
        /// Queue numbers.
        numbers: Vec<u64>,
    },
    /// Something about keys that go wrong.
    Keys {
        /// What.
        ask: Keys,
    },
    /// Something about contacts.
    Contacts {
        /// What.
        ask: Ask,
    },
    /// Something about contacts who keep letters, and those for whom we do.
    Holders {
        /// What.
        ask: Holders,
    },
    /// Something about people without a node who read here.
    Guests {
        /// What.
        ask: Guests,
    },
    /// Introduce two contacts to each other.
    Introduce {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// How their addresses were checked.
        method: Method,
        /// A text for both.
        #[serde(default)]
        note: String,
    },
    /// Something about invitations.
    Invites {
        /// What.
        ask: InviteAsk,
    },
    /// Vouch to somebody that their address is theirs.
    Vouch {
        /// To whom.
        who: String,
        /// How the address was checked.
        method: Method,
        /// Whether they may show it to others.
        #[serde(default)]
        show: bool,
    },
    /// The receipts for a letter that was sent.
    Receipts {
        /// What its SHA-256 may be, in hexadecimal digits.
        digests: Vec<String>,
    },
    /// The prekeys, as age writes them.
    Prekeys {
        /// With their private halves; else only what letters may be sealed for today.
        private: bool,
    },
}

/// What a command asks about contacts. `who` is an address of any form, or a petname.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// All contacts.
    List,
    /// One.
    Show {
        /// Whom.
        who: String,
    },
    /// Give a petname; an empty one takes it away.
    Rename {
        /// To whom.
        who: String,
        /// What they are called.
        name: String,
    },
    /// Decide who somebody is.
    Decide {
        /// About whom.
        who: String,
        /// What they are.
        tier: Tier,
    },
    /// Undo a decision; the last one without a number.
    Undo {
        /// Its number in the log.
        number: Option<u64>,
    },
    /// All decisions.
    Log,
    /// Why somebody is who they are to us.
    Why {
        /// Who.
        who: String,
    },
    /// The web of trust as a picture.
    Graph,
    /// Safety words to compare.
    Words {
        /// With whom.
        who: String,
    },
}

/// What a command asks about invitations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InviteAsk {
    /// Make one.
    Make {
        /// How long it holds.
        days: u32,
        /// What it makes who uses it.
        tier: Tier,
        /// For whom it is.
        #[serde(default)]
        label: String,
    },
    /// All that are kept.
    List,
    /// Take one back.
    Cancel {
        /// Its code in the list.
        code: String,
    },
    /// Take one up.
    Accept {
        /// The link or the words.
        invitation: String,
        /// What is written with it.
        #[serde(default)]
        text: Option<String>,
    },
}

/// The answer line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done; what it gave.
    Ok(serde_json::Value),
    /// Refused or failed.
    Failed(Failure),
}

/// One connection, from either side.
#[derive(Debug)]
pub struct Door {
    stream: BufReader<UnixStream>,
}

impl Door {
    /// Wraps an accepted connection.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Connects to the node that runs on this data directory; `None` if none runs.
    pub async fn knock(data_dir: &Path) -> Option<Self> {
        let path = socket_path(data_dir).ok()?;
        UnixStream::connect(&path.path).await.ok().map(Self::new)
    }

    /// Sends one line.
    pub async fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await
    }

    /// Reads the request. `InvalidData` is one that is not understood.
    pub async fn hear_request(&mut self) -> io::Result<Request> {
        self.hear(REQUEST_LEN_MAX).await
    }

    async fn hear<T: DeserializeOwned>(&mut self, len_max: u64) -> io::Result<T> {
        let mut line = Vec::new();
        (&mut self.stream).take(len_max).read_until(b'\n', &mut line).await?;
        match line.last() {
            Some(b'\n') => serde_json::from_slice(&line)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Some(_) if line.len() as u64 == len_max => Err(io::ErrorKind::InvalidData.into()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What comes after the line: bytes to read.
    pub fn reader(&mut self) -> &mut (impl AsyncRead + Unpin + use<>) {
        &mut self.stream
    }

    /// What goes after the line: bytes to write.
    pub fn writer(&mut self) -> &mut (impl AsyncWrite + Unpin + use<>) {
        self.stream.get_mut()
    }

    /// Asks, and gives what the node answered.
    pub async fn ask(&mut self, request: &Request) -> Result<serde_json::Value, Failure> {
        self.say(request).await.map_err(gone)?;
        self.answer().await
    }

    /// Reads the answer line.
    pub async fn answer(&mut self) -> Result<serde_json::Value, Failure> {
        match tokio::time::timeout(ANSWER_WAIT, self.hear(ANSWER_LEN_MAX)).await {
            Ok(Ok(Answer::Ok(value))) => Ok(value),
            Ok(Ok(Answer::Failed(failure))) => Err(failure),
            Ok(Err(error)) => Err(gone(error)),
            Err(_) => Err(Failure::new(Exit::TempFail, "the running node does not answer")
                .hint("try again; if it stays so, stop it and bring it up again")),
        }
    }
}

fn gone(error: io::Error) -> Failure {
    Failure::new(Exit::TempFail, format_args!("the running node closed the conversation ({error})"))
        .hint("see whether it still runs: onionskin status")
}

/// A path that fits into a socket address, and what keeps it valid.
struct SocketPath {
    path: PathBuf,
    _dir: Option<std::fs::File>,
}

/// The socket's path; a long one is reached through an open handle of the directory.
fn socket_path(data_dir: &Path) -> io::Result<SocketPath> {
    use std::os::fd::AsRawFd as _;
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_LEN_MAX {
        return Ok(SocketPath { path, _dir: None });
    }
    let dir = std::fs::File::open(data_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(SOCKET);
    Ok(SocketPath { path, _dir: Some(dir) })
}

/// Opens the door. The caller holds the data directory's lock, so a socket that is there is a dead node's.
pub fn open(data_dir: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = socket_path(data_dir)?;
    match std::fs::remove_file(&path.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path.path)?;
    std::fs::set_permissions(&path.path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket at the end.
pub fn close(data_dir: &Path) {
    if let Ok(path) = socket_path(data_dir) {
        let _ = std::fs::remove_file(path.path);
    }
}

//! What the tests of the command line share: the program run on a data directory of its own, a node of it that is
//! up, and a memory network on a socket that nodes join.
//!
//! Nothing sleeps: a node's lines are waited for as they come, and what a command shows is looked at again until a
//! deadline.

use onion::memory::{Conditions, MemoryNetwork};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// Nothing here takes this long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// It must have succeeded, and without complaint; what it printed.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.err, "", "a success complains");
        self.out
    }

    /// It must have failed with this code of sysexits(3), in words that hold each of `words`.
    pub(crate) fn bad(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {self:?}");
        }
        assert!(!self.err.contains("os error"), "a number where words should be: {self:?}");
    }

    /// What it printed, as JSON.
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).expect("JSON")
    }
}

/// Runs a command with this on standard input, to its end.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // A program that has seen enough closes its end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// The program, with nothing taken from this environment.
pub(crate) fn onionskin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onionskin"));
    command.env_remove("ONIONSKIN_DATA_DIR").env_remove("ONIONSKIN_LOG");
    command
}

/// A data directory (not there yet) inside a directory of its own.
pub(crate) struct House {
    pub(crate) root: tempfile::TempDir,
    pub(crate) data: PathBuf,
}

impl House {
    /// No identity yet.
    pub(crate) fn empty() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        Self { root, data }
    }

    /// An identity of this name, without a passphrase; its address.
    pub(crate) fn of(name: &str) -> (Self, String) {
        let house = Self::empty();
        house.run(&["init", "--name", name]).good();
        let address = house.run(&["address"]).good().trim().to_owned();
        (house, address)
    }

    /// The program on this directory.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = onionskin();
        command.arg("--data-dir").arg(&self.data).args(args);
        command
    }

    /// Runs it with nothing on standard input.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    /// Runs it with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        run(&mut self.command(args), input)
    }

    /// Looks at what a command prints as JSON until it is as wished.
    pub(crate) fn wait(&self, args: &[&str], wished: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let value = self.run(args).json();
            if wished(&value) {
                return value;
            }
            assert!(Instant::now() < end, "{args:?} stays at {value}");
        }
    }

    /// The state of the one identity.
    pub(crate) fn identity(&self) -> Value {
        self.run(&["status", "--json"]).json()["identities"][0].take()
    }

    /// Brings the node up on free ports and waits until it is reachable.
    pub(crate) fn up(&self, hub: &Hub) -> Node {
        let mut command = self.command(&["up", "--imap-port", "0", "--smtp-port", "0", "--network"]);
        command.arg(format!("sim:{}", hub.socket().display()));
        let mut node = Node::start(command);
        node.read_until("reachable: letters can come and go");
        node
    }
}

/// A node that is up. Dropped, it is killed.
pub(crate) struct Node {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// All that it printed so far.
    pub(crate) said: String,
}

impl Node {
    /// Starts the program without a terminal.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, said: String::new() }
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text.
    pub(crate) fn read_until(&mut self, text: &str) {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.said += &format!("{line}\n");
            if line.contains(text) {
                return;
            }
        }
        panic!("the node never said {text:?}, but:\n{}", self.said);
    }

    /// Ends it with this signal; it must end well. How long that took, and all that it ever said.
    pub(crate) fn stop(mut self, signal: &str) -> (Duration, String) {
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let ended = self.child.wait().expect("the node ends");
        assert!(ended.success(), "{ended}");
        let took = asked.elapsed();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.said += &format!("{line}\n");
        }
        (took, std::mem::take(&mut self.said))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A memory network on a socket, served in this process for as long as this lives.
pub(crate) struct Hub {
    root: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let socket = root.path().join("hub");
        runtime.spawn(async move {
            let (listener, _bound) = onion::hub::bind(&socket).expect("the socket is bound");
            let network = MemoryNetwork::new(7, Conditions::default());
            network.set_true_time(SystemTime::now());
            onion::hub::serve(network, listener).await;
        });
        let hub = Self { root, _runtime: runtime };
        let end = Instant::now() + DEADLINE;
        while !hub.socket().exists() {
            assert!(Instant::now() < end, "the hub is not there");
            std::thread::yield_now();
        }
        hub
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.path().join("hub")
    }
}

/// The permission bits of a file or directory.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

//! A node process that is killed is absent at once with all that it hosts, and its restart works at once.
//!
//! The test starts itself again as the node: a real process, killed by a real SIGKILL.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use onion::hub::{SocketTransport, serve};
use onion::memory::{Conditions, MemoryNetwork};
use onion::{DialError, HostKey, Listener, Stream, Transport as _};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

const NODE: &str = "ONION_TEST_NODE_SOCKET";
const DEADLINE: Duration = Duration::from_secs(20);
const PORT: u16 = 25;
const ROUNDS: usize = 20;

fn key(n: u8) -> HostKey {
    HostKey::from_seed([n; 32])
}

/// The node: answers each stream with one word and keeps it open, at its own onion and at one beside it.
async fn node(socket: &str) {
    let transport = SocketTransport::new(socket, key(2).address());
    let own = transport.listen(key(2), PORT).await.unwrap();
    let beside = transport.host(key(3), PORT).await.unwrap();
    println!("listening");
    tokio::join!(greet(own), greet(beside));
}

async fn greet(mut listener: Listener) {
    let mut kept: Vec<Stream> = Vec::new();
    while let Some(mut stream) = listener.accept().await {
        stream.write_all(b"220 ").await.unwrap();
        stream.flush().await.unwrap();
        kept.push(stream);
    }
}

/// A child that does not outlive the test.
struct Node(Child);

impl Node {
    /// Starts a node and waits until it says that it listens.
    async fn start(socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_node_is_absent_at_once_and_its_restart_works_at_once", "--nocapture"])
            .env(NODE, socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let node = Self(child);
        let listens = move || output.lines().map_while(Result::ok).any(|line| line.ends_with("listening"));
        assert!(tokio::task::spawn_blocking(listens).await.unwrap(), "the node ended before it listened");
        node
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_absent_at_once_and_its_restart_works_at_once() {
    if let Ok(socket) = std::env::var(NODE) {
        return node(&socket).await;
    }
    let folder = std::env::temp_dir().join(format!("onion-hub-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("hub");
    let network = MemoryNetwork::new(1, Conditions::default());
    let hub = tokio::spawn(serve(network.clone(), UnixListener::bind(&socket).unwrap()));
    let dialler = SocketTransport::new(&socket, key(1).address());
    let onions = [key(2).address(), key(3).address()];
    for round in 0..ROUNDS {
        let mut node = Node::start(&socket).await;
        let mut streams = Vec::new();
        for onion in onions {
            let mut stream = dialler.dial(onion, PORT, DEADLINE).await.unwrap();
            assert_eq!(stream.read_u32().await.unwrap().to_be_bytes(), *b"220 ");
            streams.push(stream);
        }
        node.kill();
        for stream in &mut streams {
            assert!(stream.read_u8().await.is_err(), "round {round}: the stream of a killed node breaks");
        }
        // The hub learns of the broken streams and of the dead process in any order, but by itself.
        let absent = async {
            for onion in onions {
                while !matches!(dialler.dial(onion, PORT, DEADLINE).await, Err(DialError::Absent)) {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(1), absent).await.unwrap();
    }
    // The next process comes while the hub may not yet have noticed the death of the one before.
    let mut before = Node::start(&socket).await;
    for _ in 0..ROUNDS {
        before.kill();
        before = Node::start(&socket).await;
        for onion in onions {
            let mut stream = dialler.dial(onion, PORT, DEADLINE).await.unwrap();
            assert_eq!(stream.read_u32().await.unwrap().to_be_bytes(), *b"220 ");
        }
    }
    hub.abort();
    std::fs::remove_dir_all(&folder).unwrap();
}

//! What must be true of the hub. Unix sockets know no paused time, so these tests wait for events, never for a time.

use super::*;
use crate::memory::{Conditions, MemoryNetwork};
use crate::{
    DialError, HOSTED_MAX, HostKey, ListenError, Listener, OnionAddress, Stage, Stream, Transport as _,
};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Long enough that only a fault reaches it.
const DEADLINE: Duration = Duration::from_secs(20);
const PORT: u16 = 25;

fn key(n: u8) -> HostKey {
    HostKey::from_seed([n; 32])
}

fn address(n: u8) -> OnionAddress {
    key(n).address()
}

/// A hub on a socket of its own, gone with its folder when dropped.
struct Hub {
    folder: PathBuf,
    network: MemoryNetwork,
    serving: JoinHandle<()>,
}

impl Hub {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("onion-hub-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let network = MemoryNetwork::new(1, Conditions::default());
        let serving = Self::start(&folder, &network);
        Self { folder, network, serving }
    }

    fn start(folder: &std::path::Path, network: &MemoryNetwork) -> JoinHandle<()> {
        let socket = folder.join("hub");
        let _none_yet = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        tokio::spawn(serve(network.clone(), listener))
    }

    async fn stop(&mut self) {
        self.serving.abort();
        let _aborted = (&mut self.serving).await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("hub")
    }

    fn join(&self, n: u8) -> SocketTransport {
        SocketTransport::new(self.socket(), address(n))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.serving.abort();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

async fn reach(transport: &SocketTransport, stage: Stage) {
    let mut watch = transport.bootstrap();
    let reached = watch.wait_for(|own| own.stage == stage);
    tokio::time::timeout(DEADLINE, reached).await.unwrap().unwrap();
}

async fn read_out(stream: &mut Stream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end.err().map(|error| error.kind()))
}

#[tokio::test]
async fn a_large_letter_crosses_the_hub_and_ends_properly() {
    let hub = Hub::new("letter");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    let letter: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
    let sent = letter.clone();
    let sender = tokio::spawn(async move {
        dialled.write_all(&sent).await.unwrap();
        dialled.shutdown().await.unwrap();
    });
    let (read, end) = read_out(&mut accepted).await;
    assert!(read == letter && end.is_none(), "{} bytes, {end:?}", read.len());
    sender.await.unwrap();
}

#[tokio::test]
async fn small_words_go_back_and_forth() {
    let hub = Hub::new("words");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    for n in 0..500u32 {
        dialled.write_all(&n.to_be_bytes()).await.unwrap();
        dialled.flush().await.unwrap();
        assert_eq!(accepted.read_u32().await.unwrap(), n);
        accepted.write_u32(n + 1).await.unwrap();
        accepted.flush().await.unwrap();
        assert_eq!(dialled.read_u32().await.unwrap(), n + 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_let_go_reads_as_reset_after_its_bytes() {
    let hub = Hub::new("reset");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
    let mut accepted = listener.accept().await.unwrap();
    dialled.write_all(b"half a let").await.unwrap();
    dialled.flush().await.unwrap();
    drop(dialled);
    assert_eq!(read_out(&mut accepted).await, (b"half a let".to_vec(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn last_words_arrive_although_the_other_side_still_talks() {
    let hub = Hub::new("last-words");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    for _ in 0..50 {
        let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        let talker = tokio::spawn(async move {
            while dialled.write_all(&[1; 1_000]).await.is_ok() && dialled.flush().await.is_ok() {}
            read_out(&mut dialled).await.0
        });
        accepted.write_all(b"554 enough").await.unwrap();
        accepted.shutdown().await.unwrap();
        drop(accepted);
        assert_eq!(talker.await.unwrap(), b"554 enough");
    }
}

#[tokio::test]
async fn each_failed_dial_says_why_across_the_hub() {
    let mut hub = Hub::new("why");
    let (a, b) = (hub.join(1), hub.join(2));
    reach(&b, Stage::Dialling).await;
    let dial = |to: u8, port| a.dial(address(to), port, DEADLINE);
    assert_eq!(dial(9, PORT).await.unwrap_err(), DialError::Absent);
    assert_eq!(dial(2, PORT).await.unwrap_err(), DialError::Refused);
    let listener = b.listen(key(2), PORT).await.unwrap();
    reach(&b, Stage::Reachable).await;
    assert_eq!(dial(2, 80).await.unwrap_err(), DialError::Refused);
    assert!(dial(2, PORT).await.is_ok());
    assert!(matches!(b.listen(key(2), PORT).await, Err(ListenError::InUse)));
    assert!(matches!(b.listen(key(3), PORT).await, Err(ListenError::Ours(_))));
    drop(listener);
    reach(&b, Stage::Dialling).await;
    assert_eq!(dial(2, PORT).await.unwrap_err(), DialError::Refused);
    hub.network.set_present(address(1), false);
    assert_eq!(dial(2, PORT).await.unwrap_err(), DialError::NetworkDown);
    hub.stop().await;
    reach(&a, Stage::Connecting).await;
    assert_eq!(dial(2, PORT).await.unwrap_err(), DialError::NetworkDown);
}

#[tokio::test]
async fn a_dial_through_the_hub_ends_at_its_deadline() {
    let hub = Hub::new("deadline");
    hub.network.set_conditions(Conditions { black_hole: 1.0, ..Conditions::default() });
    let a = hub.join(1);
    let answer = a.dial(address(2), PORT, Duration::from_millis(20)).await;
    assert_eq!(answer.unwrap_err(), DialError::Absent);
}

#[tokio::test]
async fn when_the_hub_is_back_the_address_is_served_again() {
    let mut hub = Hub::new("back");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
    hub.stop().await;
    assert_eq!(read_out(&mut dialled).await.1, Some(ErrorKind::ConnectionReset));
    reach(&b, Stage::Connecting).await;
    hub.serving = Hub::start(&hub.folder, &hub.network);
    reach(&b, Stage::Reachable).await;
    let mut dialled = a.dial(address(2), PORT, DEADLINE).await.unwrap();
    dialled.write_all(b"again").await.unwrap();
    dialled.flush().await.unwrap();
    let mut word = [0; 5];
    // The stream from before, broken, may come first.
    while listener.accept().await.unwrap().read_exact(&mut word).await.is_err() {}
    assert_eq!(&word, b"again");
}

#[tokio::test]
async fn listening_without_a_hub_succeeds_once_there_is_one() {
    let mut hub = Hub::new("later");
    hub.stop().await;
    let _gone = std::fs::remove_file(hub.socket());
    let (a, b) = (hub.join(1), hub.join(2));
    let _listener = b.listen(key(2), PORT).await.unwrap();
    assert_eq!(a.dial(address(2), PORT, DEADLINE).await.unwrap_err(), DialError::NetworkDown);
    hub.serving = Hub::start(&hub.folder, &hub.network);
    reach(&b, Stage::Reachable).await;
    assert!(a.dial(address(2), PORT, DEADLINE).await.is_ok());
}

/// The onion that address 2 hosts beside its own in these tests.
const BESIDE: u8 = 40;

/// One word to the hosted onion and the same back.
async fn exchange(dialler: &SocketTransport, listener: &mut Listener) {
    let mut dialled = dialler.dial(address(BESIDE), PORT, DEADLINE).await.unwrap();
    dialled.write_u32(7).await.unwrap();
    dialled.flush().await.unwrap();
    // A stream from before, broken, may come first.
    let (mut accepted, word) = loop {
        let mut accepted = listener.accept().await.unwrap();
        if let Ok(word) = accepted.read_u32().await {
            break (accepted, word);
        }
    };
    accepted.write_u32(word).await.unwrap();
    accepted.flush().await.unwrap();
    assert_eq!(dialled.read_u32().await.unwrap(), 7);
}

/// Dials until the answer is `wanted`; the hub learns some things a moment later than the node.
async fn answers(dialler: &SocketTransport, n: u8, wanted: Option<DialError>) {
    let until = async {
        while dialler.dial(address(n), PORT, DEADLINE).await.err() != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, until).await.unwrap();
}

#[tokio::test]
async fn one_process_serves_two_onions_across_the_hub_until_each_listener_is_dropped() {
    let hub = Hub::new("beside");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut own = b.listen(key(2), PORT).await.unwrap();
    let mut beside = b.host(key(BESIDE), PORT).await.unwrap();
    exchange(&a, &mut beside).await;
    assert!(a.dial(address(2), PORT, DEADLINE).await.is_ok());
    own.accept().await.unwrap();
    assert!(matches!(b.host(key(BESIDE), PORT).await, Err(ListenError::InUse)));
    assert!(matches!(a.host(key(BESIDE), PORT).await, Err(ListenError::InUse)), "nor elsewhere");
    assert!(matches!(b.host(key(2), PORT).await, Err(ListenError::InUse)), "for that there is listen");
    drop(beside);
    answers(&a, BESIDE, Some(DialError::Absent)).await;
    assert!(a.dial(address(2), PORT, DEADLINE).await.is_ok());
    let mut beside = b.host(key(BESIDE), PORT).await.unwrap();
    exchange(&a, &mut beside).await;
}

#[tokio::test]
async fn a_hosted_onion_follows_its_identity_across_the_hub() {
    let mut hub = Hub::new("follows");
    let (a, b) = (hub.join(1), hub.join(2));
    let mut beside = b.host(key(BESIDE), PORT).await.unwrap();
    let mut kept = a.dial(address(BESIDE), PORT, DEADLINE).await.unwrap();
    hub.network.set_present(address(2), false);
    assert_eq!(read_out(&mut kept).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(a.dial(address(BESIDE), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    hub.network.set_present(address(2), true);
    exchange(&a, &mut beside).await;
    hub.network.partition(&[vec![address(2)]]);
    assert_eq!(a.dial(address(BESIDE), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    hub.network.heal();
    exchange(&a, &mut beside).await;
    // The hub's process dies and another takes its place: nobody asks again.
    hub.stop().await;
    assert_eq!(a.dial(address(BESIDE), PORT, DEADLINE).await.unwrap_err(), DialError::NetworkDown);
    hub.serving = Hub::start(&hub.folder, &hub.network);
    answers(&a, BESIDE, None).await;
    exchange(&a, &mut beside).await;
}

#[tokio::test]
async fn a_process_that_ends_without_a_word_takes_its_hosted_onions_along() {
    let hub = Hub::new("along");
    let a = hub.join(1);
    let mut process = UnixStream::connect(hub.socket()).await.unwrap();
    let host = format!("host {} {} {PORT}\n", address(2).host(), address(BESIDE).host());
    process.write_all(host.as_bytes()).await.unwrap();
    let mut answer = [0; 3];
    process.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok\n");
    let mut kept = a.dial(address(BESIDE), PORT, DEADLINE).await.unwrap();
    drop(process);
    assert_eq!(read_out(&mut kept).await.1, Some(ErrorKind::ConnectionReset));
    answers(&a, BESIDE, Some(DialError::Absent)).await;
}

#[tokio::test]
async fn so_many_onions_are_hosted_at_once_across_the_hub_and_no_more() {
    let hub = Hub::new("many");
    let (a, b) = (hub.join(1), hub.join(2));
    let _own = b.listen(key(2), PORT).await.unwrap();
    let mut listeners = Vec::new();
    for n in 0..HOSTED_MAX as u8 {
        listeners.push(b.host(key(BESIDE + n), PORT).await.unwrap());
    }
    let one_more = BESIDE + HOSTED_MAX as u8;
    assert!(matches!(b.host(key(one_more), PORT).await, Err(ListenError::TooMany)));
    listeners.pop();
    listeners.push(b.host(key(one_more), PORT).await.unwrap());
    assert!(a.dial(address(one_more), PORT, DEADLINE).await.is_ok());
}

#[tokio::test]
async fn the_hub_tells_its_time() {
    let hub = Hub::new("time");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    hub.network.set_true_time(now);
    let a = hub.join(1);
    assert_eq!(a.network_time(), None);
    reach(&a, Stage::Dialling).await;
    let time = a.network_time().unwrap();
    assert!(time.agrees_with(now) && !time.agrees_with(now + Duration::from_secs(3 * 3600)));
}

#[tokio::test]
async fn nonsense_is_answered_and_closed() {
    let hub = Hub::new("nonsense");
    let long = format!("join {}", "a".repeat(100_000));
    for line in [
        "GET / HTTP/1.0",
        "join",
        "dial a b c d",
        "take -1",
        "listen x.onion 70000",
        "host x.onion 25",
        "join \u{fc}",
        &long,
    ] {
        let mut socket = UnixStream::connect(hub.socket()).await.unwrap();
        // The hub may close before it has read all.
        let _sent = socket.write_all(format!("{line}\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _closed = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer == b"not understood\n", "{line:.40}");
    }
    let mut socket = UnixStream::connect(hub.socket()).await.unwrap();
    socket.write_all(b"take 77\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "gone\n");
}

#[tokio::test]
async fn a_frame_that_announces_too_much_breaks_its_stream_only() {
    let hub = Hub::new("frame");
    let b = hub.join(2);
    let mut listener = b.listen(key(2), PORT).await.unwrap();
    for head in [[0xff; 4], [0, 4, 0, 1]] {
        let mut socket = UnixStream::connect(hub.socket()).await.unwrap();
        let dial = format!("dial {} {} {PORT} 20000\n", address(1).host(), address(2).host());
        socket.write_all(dial.as_bytes()).await.unwrap();
        let mut answer = [0; 3];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ok\n");
        socket.write_all(b"\0\0\0\x02hi").await.unwrap();
        socket.write_all(&head).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        assert_eq!(read_out(&mut accepted).await, (b"hi".to_vec(), Some(ErrorKind::ConnectionReset)));
    }
}

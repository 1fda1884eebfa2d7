//! The transport over a real Tor network, the private one of `scripts/testnet`.
//!
//! Run by `scripts/testnet exec cargo test -p onion --features testnet --test tor`; without the network every test
//! fails, none is skipped. They take turns, because some of them take the whole network away.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use onion::tor::{TorConfig, TorTransport};
use onion::{Bootstrap, DialError, HostKey, ListenError, Listener, OnionAddress, Stage, Stream, Transport};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy, split};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

const PORT: u16 = 25;
/// The goal for coming back after an outage.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);

static TURN: Mutex<()> = Mutex::const_new(());

/// One test's turn on the network, and its folders.
struct World {
    folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    async fn new() -> Self {
        let turn = TURN.lock().await;
        // Shown only if the test fails, and only what RUST_LOG asks for.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        assert!(network_file().exists(), "run `scripts/testnet up` first");
        Self { folder: tempfile::tempdir().unwrap(), _turn: turn }
    }

    fn config(&self, name: &str) -> TorConfig {
        TorConfig {
            state_dir: self.folder.path().join(name),
            cache_dir: self.folder.path().join("cache"),
            network: Some(network_file()),
            memory_max: TorConfig::MEMORY_DEFAULT,
        }
    }

    fn start(&self, name: &str) -> Arc<TorTransport> {
        TorTransport::start(self.config(name)).unwrap()
    }

    /// A transport that serves `seed` and echoes, once it is reachable.
    async fn echo(&self, name: &str, seed: u8) -> (Arc<TorTransport>, OnionAddress) {
        let transport = self.start(name);
        let address = key(seed).address();
        let listener = transport.listen(key(seed), PORT).await.unwrap();
        tokio::spawn(answer(listener));
        reach(&transport, Stage::Reachable, BACK_WITHIN).await;
        (transport, address)
    }
}

fn network_file() -> PathBuf {
    let folder = std::env::var_os("ONIONSKIN_TESTNET_DIR").expect("run this by scripts/testnet exec");
    Path::new(&folder).join("network.json")
}

/// Runs `scripts/testnet` on the network that surrounds this test.
fn testnet(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/testnet");
    assert!(std::process::Command::new(script).args(arguments).status().unwrap().success());
}

fn key(seed: u8) -> HostKey {
    HostKey::from_seed([seed; 32])
}

async fn answer(mut listener: Listener) {
    while let Some(stream) = listener.accept().await {
        tokio::spawn(async move {
            let (mut from, mut to) = split(stream);
            let _ = copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        });
    }
}

/// Waits until the transport says that it is where `wanted` says.
async fn until(
    transport: &TorTransport,
    within: Duration,
    wanted: impl FnMut(&Bootstrap) -> bool,
) -> Bootstrap {
    let mut stages = transport.bootstrap();
    let waited = timeout(within, stages.wait_for(wanted)).await.map(|told| told.unwrap().clone());
    waited.unwrap_or_else(|_| panic!("after {within:?} still {:?}", transport.bootstrap().borrow().clone()))
}

async fn reach(transport: &TorTransport, stage: Stage, within: Duration) {
    until(transport, within, |told| told.stage >= stage && told.blocked.is_none()).await;
}

/// Sends `bytes` to an echo and gives what comes back.
async fn exchange(stream: Stream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let (mut from, mut to) = split(stream);
    let mut back = vec![0; bytes.len()];
    let send = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    let (sent, received) = tokio::join!(send, from.read_exact(&mut back));
    sent?;
    received?;
    Ok(back)
}

/// Dials until an exchange succeeds; fails after `within`.
async fn delivers(transport: &TorTransport, to: OnionAddress, within: Duration) {
    let end = Instant::now() + within;
    let mut last = String::new();
    while Instant::now() < end {
        match transport.dial(to, PORT, Duration::from_secs(15)).await {
            Ok(stream) => match timeout(DEADLINE, exchange(stream, b"hello")).await {
                Ok(Ok(back)) if back == b"hello" => return,
                other => last = format!("{other:?}"),
            },
            Err(error) => last = error.to_string(),
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing delivered within {within:?}; last: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_the_network_tells_its_time() {
    let world = World::new().await;
    let (host, address) = world.echo("host", 1).await;
    let guest = world.start("guest");
    let stream = guest.dial(address, PORT, DEADLINE).await.unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let back = timeout(BACK_WITHIN, exchange(stream, &bytes)).await.unwrap().unwrap();
    assert!(back == bytes);
    for transport in [host, guest] {
        assert!(transport.network_time().unwrap().agrees_with(SystemTime::now()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stream_ends_at_the_other_side() {
    let world = World::new().await;
    let (_host, address) = world.echo("host", 2).await;
    let guest = world.start("guest");
    let mut stream = guest.dial(address, PORT, DEADLINE).await.unwrap();
    stream.write_all(b"one").await.unwrap();
    stream.flush().await.unwrap();
    let mut back = [0; 3];
    timeout(DEADLINE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    stream.shutdown().await.unwrap();
    // The echo sees our end, closes its half, and that reaches us: as an end or as an error, but at once.
    let after = timeout(DEADLINE, stream.read(&mut back)).await.unwrap();
    assert!(matches!(after, Ok(0) | Err(_)), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_has_its_address_and_is_found_by_who_knew_it() {
    let world = World::new().await;
    let guest = world.start("guest");
    let mut nicknames = Vec::new();
    for _ in 0..3 {
        let (host, address) = world.echo("host", 3).await;
        delivers(&guest, address, BACK_WITHIN).await;
        let mut names: Vec<String> = std::fs::read_dir(world.folder.path().join("host/hss"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "one service and its lock, not what earlier starts left: {names:?}");
        assert!(!nicknames.contains(&names[0]), "the nickname is new at each start");
        nicknames.push(names.swap_remove(0));
        drop(host);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dials_fail_for_the_right_reason() {
    let world = World::new().await;
    let (_host, address) = world.echo("host", 4).await;
    let guest = world.start("guest");
    reach(&guest, Stage::Dialling, BACK_WITHIN).await;
    assert_eq!(guest.dial(key(99).address(), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    assert_eq!(guest.dial(address, PORT + 1, DEADLINE).await.unwrap_err(), DialError::Refused);
    guest.dial(address, PORT, DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_in_the_network_is_down_and_says_why() {
    let world = World::new().await;
    let text = std::fs::read_to_string(network_file()).unwrap();
    // Nobody listens on ports 1000 to 1199.
    let dead = text.replace("127.0.0.1:20", "127.0.0.1:1");
    assert_ne!(dead, text);
    let file = world.folder.path().join("dead.json");
    std::fs::write(&file, dead).unwrap();
    let transport = TorTransport::start(TorConfig { network: Some(file), ..world.config("guest") }).unwrap();
    let begun = Instant::now();
    let deadline = Duration::from_secs(3);
    let failed = transport.dial(key(99).address(), PORT, deadline).await.unwrap_err();
    assert_eq!(failed, DialError::NetworkDown);
    assert!(begun.elapsed() < deadline + Duration::from_secs(1));
    let told = until(&transport, BACK_WITHIN, |told| told.blocked.is_some()).await;
    assert!(told.stage < Stage::Dialling, "{told:?}");
    assert!(transport.network_time().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_to_a_peer_just_killed_ends_by_its_deadline_and_the_next_finds_its_successor() {
    let world = World::new().await;
    let (mut peer, address) = echo_process(&world, "peer").await;
    let guest = world.start("guest");
    let mut kept = guest.dial(address, PORT, DEADLINE).await.unwrap();
    peer.kill().await.unwrap();
    let begun = Instant::now();
    let deadline = Duration::from_secs(12);
    let failed = guest.dial(address, PORT, deadline).await.unwrap_err();
    assert_eq!(failed, DialError::Absent);
    assert!(begun.elapsed() < deadline + Duration::from_secs(1), "{:?}", begun.elapsed());
    // When the relays tell of the death is theirs; who comes back is reached even before.
    let (_peer, _) = echo_process(&world, "peer").await;
    delivers(&guest, address, Duration::from_secs(30)).await;
    let told = timeout(Duration::ZERO, kept.read(&mut [0; 8])).await.is_ok();
    eprintln!("the stream to the process that was killed has ended: {told}");
}

/// A reachable echo that is a process of its own (the example beside this test), to be killed as processes are.
async fn echo_process(world: &World, name: &str) -> (tokio::process::Child, OnionAddress) {
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().with_file_name("examples").join("tor_echo");
    assert!(program.exists(), "build it first: cargo build --features testnet --example tor_echo");
    let mut child = tokio::process::Command::new(program)
        .args([OsStr::new("host"), world.folder.path().join(name).as_os_str(), network_file().as_os_str()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reachable = async {
        let address = lines.next_line().await.unwrap().expect("it prints its address first");
        while !lines.next_line().await.unwrap().expect("it goes on").contains("Reachable") {}
        OnionAddress::parse(&address).unwrap()
    };
    let address = timeout(BACK_WITHIN, reachable).await.expect("an echo is reachable within a minute");
    (child, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_accepts_are_bounded() {
    let world = World::new().await;
    let host = world.start("host");
    let mut listener = host.listen(key(6), PORT).await.unwrap();
    reach(&host, Stage::Reachable, BACK_WITHIN).await;
    let guest = world.start("guest");
    let mut streams = Vec::new();
    let refused = loop {
        match guest.dial(key(6).address(), PORT, DEADLINE).await {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
        assert!(streams.len() < 64);
    };
    assert_eq!((refused, streams.len()), (DialError::Refused, 16));
    // One accepted makes one place.
    listener.accept().await.unwrap();
    streams.push(guest.dial(key(6).address(), PORT, DEADLINE).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_at_a_time_and_another_after_its_listener_is_gone() {
    let world = World::new().await;
    let host = world.start("host");
    let first = host.listen(key(7), PORT).await.unwrap();
    assert!(matches!(host.listen(key(8), PORT).await, Err(ListenError::InUse)));
    reach(&host, Stage::Reachable, BACK_WITHIN).await;
    drop(first);
    until(&host, DEADLINE, |told| told.stage == Stage::Dialling).await;
    tokio::spawn(answer(host.listen(key(8), PORT).await.unwrap()));
    reach(&host, Stage::Reachable, BACK_WITHIN).await;
    let guest = world.start("guest");
    delivers(&guest, key(8).address(), BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onion_hosted_beside_the_own_one_is_reached_and_ends_with_its_listener() {
    let world = World::new().await;
    let host = world.start("host");
    // Asked for before there is any way into the network; nobody asks again.
    let asked = Instant::now();
    let own = host.listen(key(13), PORT).await.unwrap();
    let listeners = [14, 15].map(|seed| host.host(key(seed), PORT));
    let [first, second] = listeners;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    eprintln!("all three asked for in {:?}", asked.elapsed());
    for seed in [13, 14] {
        assert!(matches!(host.host(key(seed), PORT).await, Err(ListenError::InUse)));
    }
    let [own, first, second] = [own, first, second].map(|listener| tokio::spawn(answer(listener)));
    let guest = world.start("guest");
    for seed in [13, 14, 15] {
        delivers(&guest, key(seed).address(), BACK_WITHIN).await;
        eprintln!("onion {seed} delivers {:?} after it was asked for", asked.elapsed());
    }
    let folder = world.folder.path().join("host");
    for guards in [folder.join("state"), folder.join("hosted").join("state")] {
        assert!(guards.join("guards.json").exists(), "each client chose guards of its own: {guards:?}");
    }
    first.abort();
    let gone = key(14).address();
    // On the circuit from before the end is told at once, on a new one nobody is found.
    let ended = async {
        while guest.dial(gone, PORT, DEADLINE).await.is_ok() {}
        guest.leave_path(gone);
        guest.dial(gone, PORT, DEADLINE).await.unwrap_err()
    };
    assert_eq!(timeout(BACK_WITHIN, ended).await.unwrap(), DialError::Absent);
    for seed in [13, 15] {
        delivers(&guest, key(seed).address(), DEADLINE).await;
    }
    let again = tokio::spawn(answer(host.host(key(14), PORT).await.unwrap()));
    delivers(&guest, gone, BACK_WITHIN).await;
    [own, second, again].iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arti_writes_down_holds_no_key_and_no_address() {
    let world = World::new().await;
    let (host, address) = world.echo("host", 9).await;
    let (guest, guest_address) = world.echo("guest", 10).await;
    delivers(&guest, address, BACK_WITHIN).await;
    delivers(&host, guest_address, BACK_WITHIN).await;
    drop((host, guest));
    let mut secrets = vec![*address.public_key(), *guest_address.public_key()];
    for seed in [9, 10] {
        let expanded = ed25519_dalek::hazmat::ExpandedSecretKey::from(&[seed; 32]);
        secrets.extend([[seed; 32], expanded.scalar.to_bytes(), expanded.hash_prefix]);
    }
    let leaks = search(world.folder.path(), &secrets);
    assert!(leaks.files > 10, "arti did write: {}", leaks.files);
    assert!(leaks.found.is_empty(), "{:?}", leaks.found);
    // The search does find what is there, in every spelling.
    let host = address.host();
    let secret = HEXLOWER.encode(&secrets[2]);
    for planted in [host.as_bytes(), host.to_uppercase().as_bytes(), secret.as_bytes(), &secrets[3]] {
        let file = world.folder.path().join("guest").join("planted");
        std::fs::write(&file, [b"xx", planted, b"yy"].concat()).unwrap();
        assert_eq!(search(world.folder.path(), &secrets).found, [file]);
    }
}

struct Search {
    files: usize,
    found: Vec<PathBuf>,
}

/// Looks for 32-byte values in all files and file names below `folder`: raw, in hexadecimal, base32 and base64.
fn search(folder: &Path, secrets: &[[u8; 32]]) -> Search {
    // The last character of a base32 or base64 text depends on what follows the 32 bytes.
    let cut = |mut text: String| {
        text.pop();
        text.into_bytes()
    };
    let exact: Vec<Vec<u8>> = secrets
        .iter()
        .flat_map(|s| [s.to_vec(), cut(BASE64_NOPAD.encode(s)), cut(BASE64URL_NOPAD.encode(s))])
        .collect();
    let any_case: Vec<Vec<u8>> = secrets
        .iter()
        .flat_map(|s| [HEXLOWER.encode(s).into_bytes(), cut(BASE32_NOPAD.encode(s)).to_ascii_lowercase()])
        .collect();
    let mut result = Search { files: 0, found: Vec::new() };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = path.file_name().unwrap().as_encoded_bytes().to_vec();
            if path.is_dir() {
                folders.push(path.clone());
            } else {
                bytes.extend(std::fs::read(&path).unwrap());
                result.files += 1;
            }
            let lower = bytes.to_ascii_lowercase();
            if exact.iter().any(|n| contains(&bytes, n)) || any_case.iter().any(|n| contains(&lower, n)) {
                result.found.push(path);
            }
        }
    }
    result
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Takes the network away until both sides have noticed, gives it back, and expects mail to flow again, also to an
/// onion hosted beside the own one.
async fn survives(world: &World, seed: u8, take: &[&str], give: &[&str]) {
    let (host, address) = world.echo("host", seed).await;
    let beside = key(seed + 100);
    let hosted = beside.address();
    tokio::spawn(answer(host.host(beside, PORT).await.unwrap()));
    let guest = world.start("guest");
    delivers(&guest, address, BACK_WITHIN).await;
    delivers(&guest, hosted, BACK_WITHIN).await;
    testnet(take);
    let begun = Instant::now();
    let failed = guest.dial(address, PORT, DEADLINE).await.map(|_| ());
    until(&host, Duration::from_secs(120), |told| told.stage < Stage::Dialling && told.blocked.is_some())
        .await;
    eprintln!("noticed after {:?}; the dial said {failed:?}", begun.elapsed());
    assert_eq!(guest.dial(address, PORT, DEADLINE).await.unwrap_err(), DialError::NetworkDown);
    testnet(give);
    let back = Instant::now();
    let (_, ()) =
        tokio::join!(reach(&host, Stage::Reachable, BACK_WITHIN), delivers(&guest, address, BACK_WITHIN));
    eprintln!("reachable and delivering {:?} after the network was back", back.elapsed());
    delivers(&guest, hosted, BACK_WITHIN.saturating_sub(back.elapsed())).await;
    eprintln!("delivering to the hosted onion too {:?} after it was back", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_falls_silent_and_comes_back_carries_mail_within_a_minute() {
    let world = World::new().await;
    survives(&world, 11, &["freeze"], &["thaw"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_relays_die_and_start_again_carries_mail_within_a_minute() {
    let world = World::new().await;
    survives(&world, 12, &["kill"], &["revive"]).await;
}

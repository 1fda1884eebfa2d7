//! What must be true of the memory network; every test runs in paused time, so delays of hours cost nothing.

mod hosting;

use super::*;
use crate::{DialError, HostKey, ListenError, Listener, OnionAddress, Stage, Stream, Transport};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, advance, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(60);
const PORT: u16 = 25;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn always(time: Duration) -> std::ops::Range<Duration> {
    time..time
}

fn key(n: u8) -> HostKey {
    HostKey::from_seed([n; 32])
}

fn address(n: u8) -> OnionAddress {
    key(n).address()
}

/// Two joined addresses, the second listening.
struct Pair {
    network: MemoryNetwork,
    dialler: Arc<MemoryTransport>,
    host: Arc<MemoryTransport>,
    listener: Listener,
}

impl Pair {
    async fn new(seed: u64, conditions: Conditions) -> Self {
        let network = MemoryNetwork::new(seed, conditions);
        let (dialler, host) = (network.join(address(1)), network.join(address(2)));
        let listener = host.listen(key(2), PORT).await.unwrap();
        Self { network, dialler, host, listener }
    }

    async fn dial(&self) -> Result<Stream, DialError> {
        self.dialler.dial(address(2), PORT, DEADLINE).await
    }

    async fn streams(&mut self) -> (Stream, Stream) {
        let dialled = self.dial().await.unwrap();
        (dialled, self.listener.accept().await.unwrap())
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

async fn read(stream: &mut Stream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// What can be read until the end, and how it ended.
async fn read_out(stream: &mut Stream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end.err().map(|error| error.kind()))
}

#[tokio::test(start_paused = true)]
async fn bytes_travel_both_ways_and_take_their_time() {
    let conditions = Conditions { delay: always(ms(100)), dial: always(ms(3_000)), ..Conditions::default() };
    let mut pair = Pair::new(1, conditions).await;
    let start = Instant::now();
    let (mut a, mut b) = pair.streams().await;
    assert_eq!(start.elapsed(), ms(3_000));
    send(&mut a, b"EHLO").await;
    assert_eq!(read(&mut b, 4).await, b"EHLO");
    assert_eq!(start.elapsed(), ms(3_100));
    send(&mut b, b"250 ").await;
    assert_eq!(read(&mut a, 4).await, b"250 ");
    assert_eq!(start.elapsed(), ms(3_200));
}

#[tokio::test(start_paused = true)]
async fn later_bytes_never_overtake_earlier_ones() {
    let mut pair = Pair::new(7, Conditions { delay: ms(0)..ms(500), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    let sent: Vec<u8> = (0..=255).collect();
    for byte in &sent {
        send(&mut a, &[*byte]).await;
        sleep(ms(10)).await;
    }
    assert_eq!(read(&mut b, 256).await, sent);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_flushed_does_not_leave() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let (mut a, mut b) = pair.streams().await;
    a.write_all(&[7; 1_000]).await.unwrap();
    let arrived = read(&mut b, 498).await.len() + read(&mut b, 498).await.len();
    assert!(timeout(DEADLINE, read(&mut b, 1_000 - arrived)).await.is_err());
    a.flush().await.unwrap();
    assert_eq!(read(&mut b, 1_000 - arrived).await, vec![7; 1_000 - arrived]);
    a.write_all(b"lost").await.unwrap();
    drop(a);
    assert_eq!(read_out(&mut b).await, (vec![], Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_what_is_held_and_reads_as_the_end() {
    let mut pair = Pair::new(1, Conditions { delay: always(ms(50)), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    a.write_all(b"QUIT").await.unwrap();
    a.shutdown().await.unwrap();
    drop(a);
    assert_eq!(read_out(&mut b).await, (b"QUIT".to_vec(), None));
    assert_eq!(read_out(&mut b).await, (vec![], None), "the end stays the end");
    drop(b);
    assert_eq!(pair.network.open_streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_both_directions_as_in_tor() {
    let mut pair = Pair::new(1, Conditions { delay: always(ms(50)), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    a.shutdown().await.unwrap();
    send(&mut b, b"vanishes: the end is still on its way").await;
    assert_eq!(read_out(&mut b).await, (vec![], None));
    b.write_all(b"too late").await.unwrap();
    assert_eq!(b.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(read_out(&mut a).await, (vec![], Some(ErrorKind::NotConnected)));
    let late = async { a.write_all(b"x").await.and(a.flush().await) };
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(pair.network.counters().bytes_lost, 37);
}

#[tokio::test(start_paused = true)]
async fn a_rough_end_looks_like_a_cut_and_a_quiet_cut_like_an_end() {
    let mut pair = Pair::new(1, Conditions { rough_end: 1.0, quiet_cut: 1.0, ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    send(&mut a, b"bye").await;
    a.shutdown().await.unwrap();
    assert_eq!(read_out(&mut b).await, (b"bye".to_vec(), Some(ErrorKind::ConnectionReset)));
    let (mut a, mut b) = pair.streams().await;
    send(&mut a, b"half a let").await;
    drop(a);
    assert_eq!(read_out(&mut b).await, (b"half a let".to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_slow_reader() {
    let mut pair = Pair::new(1, Conditions { delay: always(ms(5)), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    let writer = tokio::spawn(async move {
        let mut sent = 0;
        while sent < 4 << 20 {
            match timeout(ms(1_000), a.write(&[9; 32 * 1024])).await {
                Ok(written) => sent += written.unwrap(),
                Err(_) => break,
            }
        }
        (sent, a)
    });
    let (sent, mut a) = writer.await.unwrap();
    assert!((256 << 10..=(256 << 10) + 32 * 1024).contains(&sent), "{sent} bytes in flight");
    let rest = tokio::spawn(async move {
        send(&mut a, &vec![9; (4 << 20) - sent]).await;
        a.shutdown().await.unwrap();
        a
    });
    let (bytes, end) = read_out(&mut b).await;
    assert_eq!((bytes.len(), end), (4 << 20, None));
    rest.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_failed_dial_says_why() {
    let pair = Pair::new(1, Conditions { dial: always(ms(2_000)), ..Conditions::default() }).await;
    let start = Instant::now();
    let dial = |to: u8, port| pair.dialler.dial(address(to), port, DEADLINE);
    assert_eq!(dial(9, PORT).await.unwrap_err(), DialError::Absent, "never heard of");
    assert_eq!(dial(2, 80).await.unwrap_err(), DialError::Refused, "another port");
    assert_eq!(dial(1, PORT).await.unwrap_err(), DialError::Refused, "there, and not listening");
    assert_eq!(start.elapsed(), ms(6_000));
    pair.network.set_present(address(2), false);
    assert_eq!(dial(2, PORT).await.unwrap_err(), DialError::Absent);
    assert_eq!(pair.host.dial(address(1), PORT, DEADLINE).await.unwrap_err(), DialError::NetworkDown);
    pair.network.set_present(address(2), true);
    assert!(dial(2, PORT).await.is_ok());
    let counters = pair.network.counters_between(address(1), address(2));
    assert_eq!((counters.dials, counters.streams, counters.absent, counters.refused), (3, 1, 1, 1));
    assert_eq!(pair.network.counters().network_down, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dial_ends_at_its_deadline_whatever_swallows_it() {
    let storms = [
        Conditions { black_hole: 1.0, ..Conditions::default() },
        Conditions { dial: always(DEADLINE * 2), ..Conditions::default() },
    ];
    for conditions in storms {
        let pair = Pair::new(1, conditions).await;
        let start = Instant::now();
        assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
        assert_eq!(start.elapsed(), DEADLINE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drawn_failure_says_absent_and_the_next_dial_may_succeed() {
    let mut pair = Pair::new(3, Conditions { dial_failure: 0.5, ..Conditions::default() }).await;
    let mut failed = 0;
    for _ in 0..200 {
        match pair.dial().await {
            Ok(_) => drop(pair.listener.accept().await),
            Err(error) => {
                assert_eq!(error, DialError::Absent);
                failed += 1;
            }
        }
    }
    assert!((70..130).contains(&failed), "{failed} of 200");
}

#[tokio::test(start_paused = true)]
async fn losing_the_own_network_ends_a_dial_at_once() {
    let pair = Pair::new(1, Conditions { dial: always(ms(10_000)), ..Conditions::default() }).await;
    let start = Instant::now();
    let lose = async {
        sleep(ms(400)).await;
        pair.network.set_present(address(1), false);
    };
    let (answer, ()) = tokio::join!(pair.dial(), lose);
    assert_eq!(answer.unwrap_err(), DialError::NetworkDown);
    assert_eq!(start.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn absence_cuts_streams_and_shows_in_the_bootstrap_watch() {
    let mut pair = Pair::new(1, Conditions { notice: always(ms(700)), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    let mut watch = pair.host.bootstrap();
    assert_eq!(watch.borrow_and_update().stage, Stage::Reachable);
    let start = Instant::now();
    pair.network.set_present(address(2), false);
    assert_eq!(watch.borrow_and_update().stage, Stage::Connecting);
    assert!(watch.borrow().blocked.is_some());
    send(&mut a, b"not noticed yet").await;
    assert_eq!(read_out(&mut a).await, (vec![], Some(ErrorKind::ConnectionReset)));
    assert_eq!(start.elapsed(), ms(700));
    assert_eq!(read_out(&mut b).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(a.write_all(b"x").await.and(a.flush().await).unwrap_err().kind(), ErrorKind::ConnectionReset);
    pair.network.set_present(address(2), true);
    assert_eq!(watch.borrow_and_update().stage, Stage::Reachable);
    let (mut a, mut b) = pair.streams().await;
    send(&mut a, b"again").await;
    assert_eq!(read(&mut b, 5).await, b"again");
}

#[tokio::test(start_paused = true)]
async fn one_listener_serves_an_address_and_dropping_it_ends_that() {
    let pair = Pair::new(1, Conditions::default()).await;
    assert!(matches!(pair.host.listen(key(2), PORT).await, Err(ListenError::InUse)));
    let second = pair.network.join(address(2));
    assert!(matches!(second.listen(key(2), 80).await, Err(ListenError::InUse)));
    assert!(matches!(second.listen(key(3), PORT).await, Err(ListenError::Ours(_))));
    let Pair { network, dialler, host, listener } = pair;
    drop(listener);
    assert_eq!(host.bootstrap().borrow().stage, Stage::Dialling);
    assert_eq!(dialler.dial(address(2), PORT, DEADLINE).await.unwrap_err(), DialError::Refused);
    let _again = second.listen(key(2), PORT).await.unwrap();
    assert!(dialler.dial(address(2), PORT, DEADLINE).await.is_ok());
    drop((host, _again));
    assert_eq!(dialler.dial(address(2), PORT, DEADLINE).await.unwrap_err(), DialError::Refused);
    drop(second);
    assert_eq!(dialler.dial(address(2), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    assert_eq!(network.counters().streams, 1);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_process_is_absent_until_another_joins() {
    let Pair { network, dialler, host, mut listener } = Pair::new(1, Conditions::default()).await;
    let mut a = dialler.dial(address(2), PORT, DEADLINE).await.unwrap();
    network.vanish(address(2));
    assert_eq!(dialler.dial(address(2), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    assert_eq!(read_out(&mut a).await, (vec![], Some(ErrorKind::ConnectionReset)));
    assert!(listener.accept().await.is_some(), "the stream that was waiting, broken by now");
    assert!(listener.accept().await.is_none());
    assert_eq!(host.dial(address(1), PORT, DEADLINE).await.unwrap_err(), DialError::NetworkDown);
    assert!(matches!(host.listen(key(2), PORT).await, Err(ListenError::Ours(_))));
    let reborn = network.join(address(2));
    let _listener = reborn.listen(key(2), PORT).await.unwrap();
    drop((host, listener));
    assert!(
        dialler.dial(address(2), PORT, DEADLINE).await.is_ok(),
        "what was left of the old process is no matter"
    );
}

#[tokio::test(start_paused = true)]
async fn a_ghost_swallows_dials_for_a_while() {
    let pair = Pair::new(1, Conditions { ghost: ms(500), ..Conditions::default() }).await;
    pair.network.set_present(address(2), false);
    let start = Instant::now();
    assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
    assert_eq!(start.elapsed(), DEADLINE);
    assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
    assert_eq!(start.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_reachable_only_once_it_is_published() {
    let pair = Pair::new(1, Conditions { publish: always(ms(30_000)), ..Conditions::default() }).await;
    let mut watch = pair.host.bootstrap();
    assert_eq!(watch.borrow_and_update().stage, Stage::Dialling);
    assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
    let start = Instant::now();
    // An absence in between begins it anew, and the first publication must not count for the second.
    sleep(ms(20_000)).await;
    pair.network.set_present(address(2), false);
    pair.network.set_present(address(2), true);
    watch.wait_for(|own| own.stage == Stage::Reachable).await.unwrap();
    assert_eq!(start.elapsed(), ms(50_000));
    assert!(pair.dial().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_partition_parts_and_healing_joins_again() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let (mut a, mut b) = pair.streams().await;
    pair.network.partition(&[vec![address(1), address(2)], vec![address(3)]]);
    send(&mut a, b"same side").await;
    assert_eq!(read(&mut b, 9).await, b"same side");
    pair.network.partition(&[vec![address(1)]]);
    assert_eq!(read_out(&mut b).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
    let third = pair.network.join(address(3));
    assert!(third.dial(address(2), PORT, DEADLINE).await.is_ok(), "those in no group are together");
    pair.network.heal();
    assert!(pair.dial().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_makes_a_dial_wait() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let mut waiting = Vec::new();
    for _ in 0..network::BACKLOG_MAX {
        waiting.push(pair.dial().await.unwrap());
    }
    let start = Instant::now();
    assert_eq!(pair.dial().await.unwrap_err(), DialError::Absent);
    assert_eq!(start.elapsed(), DEADLINE);
    let Pair { dialler, listener, .. } = &mut pair;
    let (dialled, accepted) = tokio::join!(dialler.dial(address(2), PORT, DEADLINE), async {
        sleep(ms(100)).await;
        listener.accept().await
    });
    assert!(dialled.is_ok() && accepted.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_network_tells_true_time_and_an_absent_node_remembers_it_for_two_hours() {
    let pair = Pair::new(1, Conditions::default()).await;
    let base = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    pair.network.set_true_time(base);
    let hour = Duration::from_secs(3600);
    advance(hour).await;
    assert_eq!(pair.network.true_time(), base + hour);
    let time = pair.host.network_time().unwrap();
    assert_eq!((time.valid_after, time.valid_until), (base, base + hour * 3));
    pair.network.set_present(address(2), false);
    advance(hour * 2).await;
    assert_eq!(pair.host.network_time(), Some(time));
    assert_eq!(pair.dialler.network_time().unwrap().valid_after, base + hour * 2);
    advance(ms(1)).await;
    assert_eq!(pair.host.network_time(), None);
    pair.network.tell_time(false);
    assert_eq!(pair.dialler.network_time(), None);
}

#[tokio::test(start_paused = true)]
async fn short_writes_lose_nothing() {
    let mut pair =
        Pair::new(5, Conditions { split: 0.7, delay: ms(0)..ms(20), ..Conditions::default() }).await;
    let (mut a, mut b) = pair.streams().await;
    let letter: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let sent = letter.clone();
    let writer = tokio::spawn(async move {
        send(&mut a, &sent).await;
        a.shutdown().await.unwrap();
        a
    });
    let (bytes, end) = read_out(&mut b).await;
    assert!(bytes == letter && end.is_none());
    writer.await.unwrap();
    let counters = pair.network.counters();
    assert_eq!((counters.bytes_out, counters.bytes_back, counters.bytes_lost), (800_000, 0, 0));
}

/// How a request and its answer fared on a stream that will be cut.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    RequestLost,
    ReplyLost,
    Whole,
}

/// One request of 2 KB, answered by forty bytes.
async fn exchange(seed: u64) -> (Fate, Duration) {
    let conditions =
        Conditions { delay: ms(10)..ms(900), notice: ms(0)..ms(9_000), cut: 1.0, ..Conditions::default() };
    let mut pair = Pair::new(seed, conditions).await;
    let start = Instant::now();
    let (mut a, mut b) = pair.streams().await;
    let host = async {
        let mut request = [0; 2_000];
        b.read_exact(&mut request).await.ok()?;
        assert_eq!(request, [5; 2_000], "what arrives is what was sent");
        b.write_all(&[6; 40]).await.ok()?;
        b.flush().await.ok()
    };
    let dialler = async {
        a.write_all(&[5; 2_000]).await.ok()?;
        a.flush().await.ok()?;
        let mut reply = [0; 40];
        a.read_exact(&mut reply).await.ok()
    };
    let fate = match tokio::join!(host, dialler) {
        (None, _) => Fate::RequestLost,
        (Some(()), None) => Fate::ReplyLost,
        (Some(()), Some(_)) => Fate::Whole,
    };
    (fate, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn cuts_lose_requests_and_also_only_the_replies() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..400 {
        *seen.entry(exchange(seed).await.0).or_insert(0) += 1;
    }
    for fate in [Fate::RequestLost, Fate::ReplyLost, Fate::Whole] {
        assert!(seen.get(&fate).is_some_and(|&count| count >= 8), "{seen:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(exchange(seed))
    };
    assert!((0..100).all(|seed| run(seed) == run(seed)));
    let times: std::collections::BTreeSet<Duration> = (0..100).map(|seed| run(seed).1).collect();
    assert!(times.len() > 50, "another seed is another run");
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_of_a_present_address_can_be_dialled_anew() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let (mut a, mut b) = pair.streams().await;
    pair.network.cut_streams(address(1));
    assert_eq!(read_out(&mut a).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(read_out(&mut b).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(pair.network.counters().cuts, 1);
    assert!(pair.dial().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_can_dial_its_own_address() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let mut a = pair.host.dial(address(2), PORT, DEADLINE).await.unwrap();
    let mut b = pair.listener.accept().await.unwrap();
    send(&mut a, b"am I there?").await;
    assert_eq!(read(&mut b, 11).await, b"am I there?");
}

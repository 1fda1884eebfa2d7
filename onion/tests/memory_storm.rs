//! A small world in a storm: parcels sent again and again until they are acknowledged.
//!
//! Shows what the memory network is for: faults that lose requests and replies, a run that its seed repeats to the
//! millisecond, and progress once the faults stop. The parcels are numbered, so the receivers can tell a parcel
//! that came twice (its acknowledgement was lost) from a new one.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use onion::memory::{Conditions, Counters, MemoryNetwork, MemoryTransport};
use onion::{HostKey, OnionAddress, Stream, Transport as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const NODES: u8 = 5;
const PARCELS: u32 = 12;
const PORT: u16 = 25;
const DEADLINE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How often each parcel arrived whole, by its number.
type Arrivals = Arc<Mutex<BTreeMap<u32, usize>>>;

fn key(n: u8) -> HostKey {
    HostKey::from_seed([n + 1; 32])
}

fn address(n: u8) -> OnionAddress {
    key(n).address()
}

/// The content of a parcel, which its number alone decides.
fn content(number: u32) -> Vec<u8> {
    let len = 1 + number * 7_919 % 40_000;
    (0..len).map(|at| (at * 31 + number).to_le_bytes()[0]).collect()
}

/// What acknowledges a parcel: about as long as an SMTP reply.
fn acknowledgement(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(16)
}

/// Takes parcels from one stream and acknowledges each.
async fn receive(mut stream: Stream, arrivals: Arrivals) -> std::io::Result<()> {
    loop {
        let number = stream.read_u32().await?;
        let mut parcel = vec![0; content(number).len()];
        stream.read_exact(&mut parcel).await?;
        assert!(parcel == content(number), "what arrives is what was sent");
        *arrivals.lock().unwrap().entry(number).or_default() += 1;
        stream.write_all(&acknowledgement(number)).await?;
        stream.flush().await?;
    }
}

async fn host(transport: Arc<MemoryTransport>, n: u8, arrivals: Arrivals) {
    let mut listener = transport.listen(key(n), PORT).await.unwrap();
    while let Some(stream) = listener.accept().await {
        // How a conversation ends is the dialler's business.
        tokio::spawn(timeout(HOUR, receive(stream, arrivals.clone())));
    }
}

async fn send_once(transport: &MemoryTransport, to: OnionAddress, number: u32) -> Option<()> {
    let mut stream = transport.dial(to, PORT, DEADLINE).await.ok()?;
    stream.write_u32(number).await.ok()?;
    stream.write_all(&content(number)).await.ok()?;
    stream.flush().await.ok()?;
    let mut acknowledged = [0; 64];
    stream.read_exact(&mut acknowledged).await.ok()?;
    assert_eq!(acknowledged[..], acknowledgement(number));
    stream.shutdown().await.ok()
}

/// Sends the node's parcels, each until it is acknowledged.
async fn send_all(transport: Arc<MemoryTransport>, n: u8) {
    for parcel in 0..PARCELS {
        let number = u32::from(n) * PARCELS + parcel;
        let to = (n + 1 + (parcel % u32::from(NODES - 1)) as u8) % NODES;
        while !matches!(timeout(DEADLINE * 5, send_once(&transport, address(to), number)).await, Ok(Some(())))
        {
            sleep(DEADLINE).await;
        }
    }
}

/// Takes nodes away and puts them back, parts the network and heals it, for `hours`.
async fn weather(network: MemoryNetwork, seed: u64, hours: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let end = Instant::now() + HOUR * hours;
    while Instant::now() < end {
        sleep(Duration::from_secs(rng.random_range(1..600))).await;
        let node = address(rng.random_range(0..NODES));
        match rng.random_range(0..4) {
            0 => network.set_present(node, false),
            1 => network.set_present(node, true),
            2 => network.partition(&[vec![node]]),
            _ => network.heal(),
        }
    }
    network.heal();
    network.set_conditions(Conditions::default());
    (0..NODES).for_each(|n| network.set_present(address(n), true));
}

/// The whole story of a seed: what arrived how often, what the network counted, and when it was over.
fn run(seed: u64) -> (BTreeMap<u32, usize>, Counters, Duration) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let start = Instant::now();
        let network = MemoryNetwork::new(seed, Conditions::storm());
        let arrivals = Arrivals::default();
        let mut senders = JoinSet::new();
        for n in 0..NODES {
            let transport = network.join(address(n));
            tokio::spawn(host(transport.clone(), n, arrivals.clone()));
            senders.spawn(send_all(transport, n));
        }
        tokio::spawn(weather(network.clone(), seed, 6));
        let all = senders.join_all();
        timeout(HOUR * 7, all).await.expect("once the storm is over every parcel is acknowledged");
        let arrived = arrivals.lock().unwrap().clone();
        (arrived, network.counters(), start.elapsed())
    })
}

#[test]
fn every_parcel_arrives_in_the_end_and_some_arrive_twice() {
    let mut again = 0;
    let mut all = Counters::default();
    for seed in 0..12 {
        let (arrived, counters, _) = run(seed);
        assert_eq!(arrived.len(), usize::from(NODES) * PARCELS as usize, "seed {seed}");
        again += arrived.values().filter(|&&times| times > 1).count();
        all = all + counters;
    }
    assert!(again > 10, "lost acknowledgements: {again}");
    let each = [all.streams, all.absent, all.network_down, all.cuts, all.bytes_lost];
    assert!(each.iter().all(|&count| count > 50), "every kind of fault happened: {all:?}");
}

#[test]
fn a_seed_repeats_its_run_to_the_millisecond() {
    for seed in 100..104 {
        let first = run(seed);
        assert_eq!(first, run(seed));
        assert_ne!(first.2, run(seed + 1).2);
    }
}

//! How long it takes to say who somebody is in a web of 100,000 statements, in memory and from a store.
//!
//! The web: 50 Trusted contacts, 1,000 people they named, 1,500 people those named, one person whom everybody names,
//! and 20,000 strangers who name each other. Run it with `cargo run --release --no-default-features --example trust`.

use onion::OnionAddress;
use onionskin::model::address::LocalPart;
use onionskin::model::identity::{Identity, RecoveryWords};
use onionskin::model::time::UnixTime;
use onionskin::model::trust::{Decided, Edge, EdgeKind, Method, Tier, View, graph, tier_of};
use onionskin::node::clock::SystemClock;
use onionskin::node::desk::Desk;
use onionskin::store::disk::{Disk, SimDisk};
use onionskin::store::statements::{StatementKey, StatementKind, StatementRecord, Worth};
use onionskin::store::vault::MasterKey;
use onionskin::store::{Room, Run, Store, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: UnixTime = UnixTime(1_780_000_000);
const TRUSTED: std::ops::Range<u32> = 1..51;
const NAMED_BY_NAMED: std::ops::Range<u32> = 2_000..3_500;
const STRANGERS: std::ops::Range<u32> = 10_000..30_000;
const FAMOUS: u32 = 9_999;

/// An address that no key has, but that a view takes for one.
fn address(n: u32) -> OnionAddress {
    OnionAddress::from_key_proved_before(Sha256::digest(n.to_be_bytes()).into())
}

fn edge(issuer: u32, subject: u32) -> Edge {
    let (issuer, subject, made) = (address(issuer), address(subject), UnixTime(NOW.0 - 86_400));
    let (kind, method, until) = (EdgeKind::Vouch, Method::InPerson, UnixTime(NOW.0 + 86_400));
    Edge { received: made, made, issuer, subject, kind, method, until }
}

fn web() -> Vec<Edge> {
    let named = (0..1_000).map(|n| edge(1 + n % 50, 100 + n));
    let by_named = (0..3_000).map(|n| edge(100 + n % 1_000, NAMED_BY_NAMED.start + n * 7 % 1_500));
    let famous = (0..1_000).map(|n| edge(100 + n, FAMOUS)).chain(STRANGERS.map(|n| edge(n, FAMOUS)));
    let strangers = (0..75_000)
        .map(|n| edge(STRANGERS.start + n % 20_000, STRANGERS.start + (n * 29 + n / 20_000 + 1) % 20_000));
    named.chain(by_named).chain(famous).chain(strangers).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let decided = TRUSTED
        .map(|who| (address(who), Decided { tier: Tier::Trusted, at: NOW, why: "measured".to_owned() }));
    let (decided, edges) = (decided.collect(), web());
    let begun = Instant::now();
    let view = View::new(address(0), decided, Default::default(), edges.clone());
    println!("{} statements, indexed in {:?}", view.len(), begun.elapsed());
    let timed = |what: &str, targets: Vec<u32>| {
        let mut took: Vec<Duration> = Vec::with_capacity(targets.len());
        for target in targets {
            let target = address(target);
            let begun = Instant::now();
            std::hint::black_box(tier_of(&view, &target, Some(NOW)));
            took.push(begun.elapsed());
        }
        took.sort();
        println!("{what:<34} median {:>10.2?}, worst {:>10.2?}", took[took.len() / 2], took[took.len() - 1]);
    };
    timed("whom those named have named", NAMED_BY_NAMED.collect());
    timed("a stranger among strangers", STRANGERS.take(5_000).collect());
    timed("whom 21,000 have named", vec![FAMOUS; 50]);
    let begun = Instant::now();
    let drawn = graph::picture(&view, Some(NOW), &|_| "somebody".to_owned());
    println!("a picture of {} people in {:?}", drawn.people.len(), begun.elapsed());
    tokio::runtime::Builder::new_current_thread().build()?.block_on(from_a_store(edges))
}

async fn from_a_store(edges: Vec<Edge>) -> Result<(), Box<dyn Error>> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let key = MasterKey::generate(&mut StdRng::from_seed([1; 32]));
    let options = StoreOptions { run: Run::Inline, seed: [2; 32] };
    let store = Store::create(disk.clone(), &key, options, NOW).await?;
    let identity = Identity::from_words(&RecoveryWords::from_entropy([3; 32]), LocalPart::parse("me")?, NOW);
    let desk = Desk::new(identity, store, (disk, &key), Arc::new(SystemClock), [4; 32]).await?;
    for who in TRUSTED {
        desk.decide(address(who), Tier::Trusted, "measured").await?;
    }
    let begun = Instant::now();
    let count = edges.len();
    for (piece, some) in edges.chunks(5_000).enumerate() {
        let some = some.to_vec();
        desk.store()
            .write(move |tx| {
                for (n, edge) in some.iter().enumerate() {
                    let digest = ((piece * 5_000 + n) as u64).to_be_bytes();
                    let kind = StatementKind::Vouch;
                    let key = StatementKey { subject: edge.subject, issuer: edge.issuer, kind, digest };
                    let (received, author) = (edge.received, Some(edge.issuer));
                    let record = StatementRecord { bytes: vec![0; 350], received, author };
                    let (made, until) = (edge.made, edge.until);
                    let worth = Worth { method: Some(edge.method), made, until, received };
                    tx.statements().insert(&key, &record, &worth, Room::Reserved)?;
                }
                Ok(())
            })
            .await?;
    }
    println!("{count} statements kept in {:?}", begun.elapsed());
    for what in ["read from the store and indexed", "the same again, nothing changed"] {
        let begun = Instant::now();
        let answer = desk.standing(&address(FAMOUS), Some(NOW)).await?;
        println!("{what:<34} {:?}, {:?}", begun.elapsed(), answer.tier);
    }
    Ok(())
}

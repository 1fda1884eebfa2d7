//! Serves the IMAP face alone, on a new store in the folder given, for trying mail programs against it.
//!
//! `imap_server FOLDER [PORT]` prints `PORT USER PASSWORD` and serves until its standard input ends.

use onionskin::face::{imap, logins, loopback::Loopback};
use onionskin::model::address::LocalPart;
use onionskin::model::identity::{Identity, RecoveryWords};
use onionskin::node::clock::{Clock as _, SystemClock};
use onionskin::node::desk::Desk;
use onionskin::store::disk::{Disk, RealDisk};
use onionskin::store::vault::{KdfCost, Vault};
use onionskin::store::{Run, Store, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn seed() -> Outcome<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

async fn desk(folder: PathBuf) -> Outcome<Arc<Desk>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&folder)?);
    let vault = Vault::create(&*disk, None, KdfCost::LEAST, &mut StdRng::from_seed(seed()?))?;
    let options = StoreOptions { run: Run::Blocking, seed: seed()? };
    let now = SystemClock.now();
    let store = Store::create(disk.clone(), &vault.key, options, now).await?;
    let words = RecoveryWords::from_entropy(seed()?);
    let identity = Identity::from_words(&words, LocalPart::parse("me")?, now);
    Ok(Arc::new(Desk::new(identity, store, (disk, &vault.key), Arc::new(SystemClock), seed()?).await?))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("a folder for the store is needed")?;
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let desk = desk(folder.into()).await?;
    let login = logins::mint(&desk, "example".to_owned()).await?;
    let decoy = logins::decoy(&desk).await?;
    let loopback = Loopback::bind(port).await?;
    println!("{} {} {}", loopback.port()?, login.user, login.password);
    let (stop, down) = watch::channel(false);
    let serving = tokio::spawn(imap::serve(desk, decoy, loopback, down));
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    stop.send(true)?;
    serving.await?;
    Ok(())
}

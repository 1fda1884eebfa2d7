//! Two nodes in one process: a letter goes from Ann's submission port to Bob's inbox, over the memory network.
//!
//! Shows the parts of a node and how they fit: identity, store, desk, transport, node, faces. With Tor in place of
//! the memory network and a directory in place of the disk in memory this is what `onionskin up` runs.
//! Run it with `cargo run --no-default-features --example two_nodes`.

use onion::memory::{Conditions, MemoryNetwork};
use onionskin::face::inbound;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::identity::{Identity, RecoveryWords};
use onionskin::model::letter::Recipients;
use onionskin::node::clock::{Clock as _, SystemClock};
use onionskin::node::desk::Desk;
use onionskin::node::{Node, Tasks, submit};
use onionskin::store::disk::{Disk, SimDisk};
use onionskin::store::mailboxes::MailboxName;
use onionskin::store::vault::MasterKey;
use onionskin::store::{Run, Store, StoreOptions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;
use tokio::sync::watch;

type Failure = Box<dyn std::error::Error>;

/// A node that runs until it is dropped.
struct Running {
    node: Arc<Node>,
    _tasks: Tasks,
    _down: watch::Sender<bool>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let network = MemoryNetwork::new(1, Conditions::default());
    let mut rng = StdRng::seed_from_u64(1);
    let ann = start(&network, "ann", &mut rng).await?;
    let bob = start(&network, "bob", &mut rng).await?;
    let (from, to) = (address(&ann), address(&bob));
    println!("Ann is {}\nBob is {}\n", from.full(), to.full());

    let mut changes = bob.node.desk.store().changes();
    let letter =
        format!("From: {}\r\nTo: {}\r\nSubject: Hello\r\n\r\nHello, Bob!\r\n", from.full(), to.full());
    let recipients = Recipients::new([to]).ok_or("nobody to write to")?;
    let mut parcel = submit::begin(&ann.node.desk, &recipients).await.map_err(|reply| reply.to_string())?;
    parcel.write(letter.as_bytes()).await;
    parcel.finish().await.map_err(|reply| reply.to_string())?;
    println!("Ann's node has the letter and has promised to deliver it.");

    changes.changed().await?;
    let store = bob.node.desk.store();
    let inbox = store.mailbox(MailboxName::parse("INBOX")?).await?.ok_or("no inbox")?;
    for (_, message) in store.mailbox_view(inbox).await?.messages {
        let bytes = store.open_letter(message.letter).await?.read_at(0, usize::MAX).await?;
        println!("Bob's inbox has:\n\n{}", String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

/// Makes an identity with an empty mailbox and brings its node up. (A real one draws its seeds from the system.)
async fn start(network: &MemoryNetwork, name: &str, rng: &mut StdRng) -> Result<Running, Failure> {
    let now = SystemClock.now();
    let words = RecoveryWords::from_entropy(rng.random());
    let identity = Identity::from_words(&words, LocalPart::parse(name)?, now);
    let options = StoreOptions { run: Run::Blocking, seed: rng.random() };
    let (disk, key): (Arc<dyn Disk>, _) = (Arc::new(SimDisk::new()), MasterKey::generate(rng));
    let store = Store::create(disk.clone(), &key, options, now).await?;
    let transport = network.join(identity.onion());
    let desk = Desk::new(identity, store, (disk, &key), Arc::new(SystemClock), rng.random()).await?;
    let node = Node::new(Arc::new(desk), transport);
    let (down, is_down) = watch::channel(false);
    tokio::spawn(inbound::host(node.clone(), is_down));
    Ok(Running { _tasks: Tasks::start(&node), node, _down: down })
}

fn address(running: &Running) -> MailAddress {
    running.node.desk.identity().address()
}

//! A defect of our own in one delivery: the others go on, the letter stays, and it is not tried without a pause.

use crate::world::{Conditions, World, arrived, minutes, pass};
use onion::{
    Bootstrap, BoxFuture, DialError, HostKey, ListenError, Listener, NetworkTime, OnionAddress, Stream,
    Transport,
};
use onionskin::face::control::Request;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Whoever dials this one panics.
const JINX: u8 = 13;
static DIALS: AtomicU32 = AtomicU32::new(0);

/// A network with a defect in it.
struct Jinxed(Arc<dyn Transport>);

impl Transport for Jinxed {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        Box::pin(async move {
            if to == HostKey::from_seed([JINX; 32]).address() {
                DIALS.fetch_add(1, Ordering::Relaxed);
                panic!("a defect");
            }
            self.0.dial(to, port, deadline).await
        })
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        self.0.listen(key, port)
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        self.0.host(key, port)
    }

    fn network_time(&self) -> Option<NetworkTime> {
        self.0.network_time()
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.0.bootstrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_panics_harms_no_other_and_is_tried_again_in_peace() {
    let mut world = World::new(8, Conditions::default());
    world.between = Some(|network| Arc::new(Jinxed(network)));
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write_to(ann, &world.stranger(JINX), "to the jinx").await.taken();
    pass(Duration::from_secs(1)).await;
    for n in 0..20 {
        let subject = format!("hello {n}");
        world.write(ann, bob, &subject).await.taken();
        arrived(&world, bob, &subject, Duration::from_secs(5)).await;
        pass(Duration::from_secs(30)).await;
    }
    let dials = DIALS.load(Ordering::Relaxed);
    assert!((2..=15).contains(&dials), "about one a minute, not {dials} in ten");
    assert_eq!(world.subjects(ann, "Outbox").await, ["to the jinx"]);
    let status = world.command(ann, Request::Status).await.to_string();
    assert!(status.contains("inside this program"), "{status}");
    pass(minutes(5)).await;
    assert_eq!(world.mailbox(bob, "INBOX").await.len(), 20, "each once");
}

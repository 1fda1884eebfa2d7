//! Onions hosted beside an identity's own: they come and go with the identity, and with their listener.

use super::*;
use crate::{ClientSecret, HOSTED_MAX};

/// The onion hosted beside the host's own in these tests.
const BESIDE: u8 = 40;

/// A pair whose host serves one more onion.
struct Hosted {
    pair: Pair,
    beside: Listener,
}

impl Hosted {
    async fn new(conditions: Conditions) -> Self {
        let pair = Pair::new(1, conditions).await;
        let beside = pair.host.host(key(BESIDE), PORT).await.unwrap();
        Self { pair, beside }
    }

    async fn dial(&self) -> Result<Stream, DialError> {
        self.pair.dialler.dial(address(BESIDE), PORT, DEADLINE).await
    }

    async fn streams(&mut self) -> (Stream, Stream) {
        let dialled = self.dial().await.unwrap();
        (dialled, self.beside.accept().await.unwrap())
    }

    /// Bytes reach the hosted onion again.
    async fn carries(&mut self) {
        let (mut a, mut b) = self.streams().await;
        send(&mut a, b"back").await;
        assert_eq!(read(&mut b, 4).await, b"back");
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_serves_two_onions_and_each_has_its_own_callers() {
    let mut hosted = Hosted::new(Conditions::default()).await;
    let (mut own, mut own_end) = hosted.pair.streams().await;
    let (mut beside, mut beside_end) = hosted.streams().await;
    send(&mut own, b"to the identity").await;
    send(&mut beside, b"to the drop").await;
    assert_eq!(read(&mut own_end, 15).await, b"to the identity");
    assert_eq!(read(&mut beside_end, 11).await, b"to the drop");
    send(&mut beside_end, b"250 ").await;
    assert_eq!(read(&mut beside, 4).await, b"250 ");
    let dialler = &hosted.pair.dialler;
    assert_eq!(dialler.dial(address(BESIDE), 80, DEADLINE).await.unwrap_err(), DialError::Refused);
    let between = |n| hosted.pair.network.counters_between(address(1), address(n));
    assert_eq!((between(BESIDE).dials, between(BESIDE).streams, between(BESIDE).refused), (2, 1, 1));
    assert_eq!((between(BESIDE).bytes_out, between(BESIDE).bytes_back), (11, 4));
    assert_eq!((between(2).dials, between(2).bytes_out), (1, 15));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_serves_no_onion_of_its_own_can_host_others() {
    let network = MemoryNetwork::new(1, Conditions::default());
    let (dialler, host) = (network.join(address(1)), network.join(address(2)));
    let mut beside = host.host(key(BESIDE), PORT).await.unwrap();
    assert_eq!(host.bootstrap().borrow().stage, Stage::Dialling, "the own address is not served");
    assert!(dialler.dial(address(BESIDE), PORT, DEADLINE).await.is_ok());
    assert!(beside.accept().await.is_some());
    assert!(host.dial(address(BESIDE), PORT, DEADLINE).await.is_ok(), "its own process can dial it too");
}

#[tokio::test(start_paused = true)]
async fn a_hosted_onion_goes_and_comes_back_with_its_identity() {
    let mut hosted = Hosted::new(Conditions { notice: always(ms(700)), ..Conditions::default() }).await;
    let (mut a, mut b) = hosted.streams().await;
    hosted.pair.network.set_present(address(2), false);
    assert_eq!(read_out(&mut a).await, (vec![], Some(ErrorKind::ConnectionReset)));
    assert_eq!(read_out(&mut b).await, (vec![], Some(ErrorKind::ConnectionReset)));
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    // What is hosted while there is no network is served with the rest.
    let later = hosted.pair.host.host(key(BESIDE + 1), PORT).await.unwrap();
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    hosted.pair.network.set_present(address(2), true);
    hosted.carries().await;
    assert!(hosted.pair.dialler.dial(address(BESIDE + 1), PORT, DEADLINE).await.is_ok());
    drop(later);
}

#[tokio::test(start_paused = true)]
async fn a_hosted_onion_is_published_anew_after_each_absence_and_swallows_dials_as_its_identity_does() {
    let conditions = Conditions { publish: always(ms(30_000)), ghost: ms(500), ..Conditions::default() };
    let mut hosted = Hosted::new(conditions).await;
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    sleep(ms(30_001)).await;
    hosted.carries().await;
    hosted.pair.network.set_present(address(2), false);
    let start = Instant::now();
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    assert_eq!(start.elapsed(), DEADLINE, "its descriptor was still up");
    hosted.pair.network.set_present(address(2), true);
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    assert_eq!(start.elapsed(), DEADLINE, "and is not up yet");
    sleep(ms(30_001)).await;
    hosted.carries().await;
}

#[tokio::test(start_paused = true)]
async fn a_vanished_process_takes_its_hosted_onions_along() {
    let mut hosted = Hosted::new(Conditions::default()).await;
    let (mut a, _b) = hosted.streams().await;
    hosted.pair.network.vanish(address(2));
    assert_eq!(read_out(&mut a).await.1, Some(ErrorKind::ConnectionReset));
    assert!(hosted.beside.accept().await.is_none());
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    assert!(matches!(hosted.pair.host.host(key(BESIDE), PORT).await, Err(ListenError::Ours(_))));
    let reborn = hosted.pair.network.join(address(2));
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent, "the new process does not host it");
    let again = reborn.host(key(BESIDE), PORT).await.unwrap();
    let Hosted { pair: Pair { dialler, host, .. }, beside } = hosted;
    drop((host, beside));
    assert!(
        dialler.dial(address(BESIDE), PORT, DEADLINE).await.is_ok(),
        "what is left of the old is no matter"
    );
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn a_hosted_onion_is_on_its_identitys_side_of_a_partition() {
    let mut hosted = Hosted::new(Conditions::default()).await;
    let (mut a, mut b) = hosted.streams().await;
    hosted.pair.network.partition(&[vec![address(1), address(2)]]);
    send(&mut a, b"same side").await;
    assert_eq!(read(&mut b, 9).await, b"same side");
    hosted.pair.network.partition(&[vec![address(2)], vec![address(1), address(BESIDE)]]);
    assert_eq!(read_out(&mut b).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(hosted.dial().await.unwrap_err(), DialError::Absent);
    hosted.pair.network.heal();
    let (mut a, _b) = hosted.streams().await;
    hosted.pair.network.cut_streams(address(2));
    assert_eq!(read_out(&mut a).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test(start_paused = true)]
async fn so_many_onions_are_hosted_at_once_and_no_more() {
    let pair = Pair::new(1, Conditions::default()).await;
    let mut listeners = Vec::new();
    for n in 0..HOSTED_MAX as u8 {
        listeners.push(pair.host.host(key(BESIDE + n), PORT).await.unwrap());
    }
    let one_more = key(BESIDE + HOSTED_MAX as u8);
    assert!(matches!(pair.host.host(one_more, PORT).await, Err(ListenError::TooMany)));
    let second = pair.network.join(address(2));
    assert!(second.host(key(200), PORT).await.is_ok(), "another transport has its own");
    listeners.pop();
    listeners.push(pair.host.host(key(BESIDE + HOSTED_MAX as u8), PORT).await.unwrap());
    for n in 0..listeners.len() as u8 - 1 {
        assert!(pair.dialler.dial(address(BESIDE + n), PORT, DEADLINE).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn one_listener_serves_a_hosted_onion_and_dropping_it_ends_that() {
    let mut hosted = Hosted::new(Conditions::default()).await;
    let (mut a, mut b) = hosted.streams().await;
    let Pair { network, dialler, host, .. } = &hosted.pair;
    assert!(matches!(host.host(key(BESIDE), PORT).await, Err(ListenError::InUse)));
    assert!(matches!(host.host(key(BESIDE), 80).await, Err(ListenError::InUse)));
    assert!(matches!(dialler.host(key(BESIDE), PORT).await, Err(ListenError::InUse)), "nor elsewhere");
    assert!(matches!(dialler.host(key(2), PORT).await, Err(ListenError::InUse)), "nor an identity's own");
    assert!(matches!(dialler.host(key(1), PORT).await, Err(ListenError::InUse)), "for that there is listen");
    let itself = network.join(address(BESIDE));
    assert!(matches!(itself.listen(key(BESIDE), PORT).await, Err(ListenError::InUse)));
    drop(hosted.beside);
    assert_eq!(dialler.dial(address(BESIDE), PORT, DEADLINE).await.unwrap_err(), DialError::Absent);
    assert!(hosted.pair.dial().await.is_ok(), "the own onion stays");
    send(&mut a, b"open streams go on").await;
    assert_eq!(read(&mut b, 18).await, b"open streams go on");
    let _moved = dialler.host(key(BESIDE), PORT).await.unwrap();
    assert!(host.dial(address(BESIDE), PORT, DEADLINE).await.is_ok(), "another identity may host it now");
}

#[test]
fn the_same_seed_publishes_hosted_onions_at_the_same_times() {
    let run = |seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let conditions = Conditions { publish: ms(0)..ms(60_000), ..Conditions::default() };
            let pair = Pair::new(seed, conditions).await;
            let mut listeners = Vec::new();
            for n in 0..8 {
                listeners.push(pair.host.host(key(BESIDE + n), PORT).await.unwrap());
            }
            pair.network.set_present(address(2), false);
            pair.network.set_present(address(2), true);
            let start = Instant::now();
            let mut published = Vec::new();
            for n in 0..8 {
                while pair.dialler.dial(address(BESIDE + n), PORT, DEADLINE).await.is_err() {
                    sleep(ms(100)).await;
                }
                published.push(start.elapsed());
            }
            published
        })
    };
    assert!((0..5).all(|seed| run(seed) == run(seed)));
    assert_ne!(run(1), run(2));
}

#[tokio::test(start_paused = true)]
async fn a_restricted_onion_takes_only_those_who_hold_a_key_of_it() {
    let mut pair = Pair::new(1, Conditions::default()).await;
    let [guest, other] = [21, 22].map(|n| ClientSecret::from_bytes([n; 32]));
    let clients = vec![guest.public()];
    let mut beside = pair.host.host_for(key(BESIDE), PORT, clients).await.unwrap();
    let network = pair.network.clone();
    let refused = |answer: Result<Stream, DialError>| assert_eq!(answer.unwrap_err(), DialError::Refused);
    refused(pair.dialler.dial(address(BESIDE), PORT, DEADLINE).await);
    pair.dialler.add_client_secret(&other);
    refused(pair.dialler.dial(address(BESIDE), PORT, DEADLINE).await);
    let reader = network.join(address(60));
    reader.add_client_secret(&guest);
    let mut dialled = reader.dial(address(BESIDE), PORT, DEADLINE).await.unwrap();
    let mut accepted = beside.accept().await.unwrap();
    send(&mut dialled, b"to the guest").await;
    assert_eq!(read(&mut accepted, 12).await, b"to the guest");
    refused(reader.dial(address(BESIDE), 80, DEADLINE).await);
    // The key opens that onion, and the others stay open to everybody.
    pair.streams().await;
    let none = pair.host.host_for(key(BESIDE + 1), PORT, Vec::new()).await;
    assert!(matches!(none, Err(ListenError::NoClient)), "for nobody nothing is hosted");
}

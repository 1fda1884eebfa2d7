//! What reaches a log: a day of mail at the most talkative level, and nothing in it that names anybody.
//!
//! Promises it for every level, also `debug` and `trace`, of everything but Tor's own code, which does not run here.

use crate::world::{Conditions, NodeId, Smtp, World, arrived, hours, letter_of, minutes, pass};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use data_encoding::HEXLOWER;
use onion::{HostKey, Transport as _};
use std::io;
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Where the log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("a log is text")
    }
}

/// Logs everything of this thread, which is all of a world, until the guards are dropped. While tracing knows of one
/// subscriber only, it asks the thread that comes to a line first whether anybody listens, and remembers that for all:
/// another test's thread would say no. Hence a second one, which hears nothing.
fn listen(level: Level) -> (Log, (tracing::subscriber::DefaultGuard, tracing::Dispatch)) {
    let second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log.clone()).finish();
    (log, (tracing::subscriber::set_default(subscriber), second))
}

/// Ann, Bob and a stranger through a day in which about everything happens; gives what must not be in a log.
async fn a_day(seed: u64) -> Vec<String> {
    let mut world = World::new(seed, Conditions::tor());
    let ann = world.add_started("annabella").await;
    let bob = world.add_started("bobadilla").await;
    world.write(ann, bob, "quokkas at noon").await.taken();
    world.write(bob, ann, "numbats at dusk").await.taken();
    arrived(&world, bob, "quokkas at noon", minutes(30)).await;
    arrived(&world, ann, "numbats at dusk", minutes(30)).await;
    // To nobody, to a name that is not there, from somebody who proves nothing, and refused.
    let gone = world.address_of_the_gone(1);
    let nobody = world.address(bob).replace("bobadilla", "wombatina");
    let letter = letter_of(&world.address(ann), &[&gone, &nobody], "echidnas");
    world.submit(ann, &[&gone, &nobody], letter.as_bytes()).await.taken();
    let mut stranger = loop {
        // Tor loses a dial now and then.
        if let Some(stranger) = world.call(9, bob).await {
            break stranger;
        }
    };
    stranger.greet("stranger.example").await;
    stranger.ask("MAIL FROM:<thylacine@stranger.example>").await;
    stranger.ask(&format!("RCPT TO:<{nobody}>")).await;
    drop(stranger);
    // A mail server that says no and names somebody.
    let unwilling = HostKey::from_seed([11; 32]).address();
    let transport = world.network.join(unwilling);
    let mut listener =
        transport.listen(HostKey::from_seed([11; 32]), 25).await.expect("nobody else is there");
    let unwelcome = format!("potoroo@{}", unwilling.host());
    world.write_to(ann, &unwelcome, "bettongs").await.taken();
    let mut server = Smtp::new(listener.accept().await.expect("ann dials"));
    server
        .say(&format!("421 4.3.2 {} has no time for {}", unwilling.host(), world.address(ann)))
        .await
        .unwrap();
    pass(minutes(1)).await;
    drop((server, listener));
    // Away, and back.
    world.stop(bob).await;
    world.write(ann, bob, "bilbies by night").await.taken();
    pass(hours(12)).await;
    world.start(bob).await;
    arrived(&world, bob, "bilbies by night", hours(5)).await;
    pass(hours(12)).await;
    // A clock that the network does not agree with.
    world.set_wrong_by(ann, 40 * 24 * 3600);
    pass(hours(1)).await;
    needles(&world, &[ann, bob], &[gone, nobody, unwelcome])
}

fn needles(world: &World, people: &[NodeId], others: &[String]) -> Vec<String> {
    let addresses = people.iter().map(|id| world.address(*id)).chain(others.iter().cloned());
    let mut needles: Vec<String> = addresses
        .flat_map(|address| {
            let (local, host) = address.split_once('@').expect("an address");
            // No more of an onion than its first eight characters.
            [local.to_owned(), host[..8].to_owned(), host[40..56].to_owned()]
        })
        .collect();
    needles.extend(people.iter().flat_map(|id| secrets(world, *id)));
    let texts = [
        "quokkas",
        "numbats",
        "echidnas",
        "bilbies",
        "bettongs",
        "wombatina",
        "thylacine",
        "stranger.example",
    ];
    needles.extend(texts.map(str::to_owned));
    needles
}

/// The password and the identity's seed, in every spelling that a log could have.
fn secrets(world: &World, id: NodeId) -> [String; 4] {
    let node = world.node(id);
    let seed = &node.desk.identity().host_seed()[..16];
    let listed = format!("{seed:?}").replace(['[', ']'], "");
    [world.password(id).to_owned(), HEXLOWER.encode(seed), BASE64.encode(&seed[..15]), listed]
}

fn leaks(log: &str, needles: &[String]) -> Vec<String> {
    let lower = log.to_lowercase();
    let found = needles.iter().filter(|needle| lower.contains(&needle.to_lowercase()));
    found.map(|needle| needle.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_day_of_mail_leaves_no_name_no_subject_and_no_key_in_a_log_of_any_level() {
    for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
        let (log, guard) = listen(level);
        let needles = a_day(3).await;
        let text = log.text();
        assert_eq!(leaks(&text, &needles), Vec::<String>::new(), "at {level}:\n{text}");
        if level >= Level::DEBUG {
            assert!(text.lines().count() > 10, "the log was listened to:\n{text}");
        }
        // What is planted is found, so the search means something.
        tracing::error!(to = needles[1], "planted");
        assert_eq!(leaks(&log.text(), &needles), [needles[1].clone()]);
        drop(guard);
    }
}

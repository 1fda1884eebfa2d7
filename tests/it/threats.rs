//! Attacks of `docs/threats.md` that no other test plays: on the machine, with an old copy, by listening to presence.

use crate::cli_house::{DEADLINE, House, Hub, mode, run};
use crate::world::{Conditions, World, arrived, days, hours, minutes, pass};
use onionskin::face::control::Request;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

#[test]
fn the_door_of_a_running_node_is_its_owners_alone() {
    let hub = Hub::new();
    let (house, _) = House::of("ann");
    let _node = house.up(&hub);
    assert_eq!(mode(&house.data.join("control.sock")), 0o600);
    assert_eq!(mode(&house.data), 0o700);
}

#[test]
fn a_passphrase_is_nowhere_where_other_programs_look() {
    const PHRASE: &str = "seventeen quiet wombats";
    let (house, hub) = (House::empty(), Hub::new());
    house.run(&["init", "--passphrase", PHRASE]).bad(64, &["--passphrase"]);
    house.run_with(&["init", "--passphrase-fd", "0"], format!("{PHRASE}\n").as_bytes()).good();
    let network = format!("sim:{}", hub.socket().display());
    let mut command = house.command(&["--passphrase-fd", "0", "up", "--network", &network]);
    command.args(["--imap-port", "0", "--smtp-port", "0"]);
    let mut node = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(node.stdin.take().unwrap(), "{PHRASE}").unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("reachable")), "the passphrase opens");
    let process = Path::new("/proc").join(node.id().to_string());
    let seen = ["cmdline", "environ"].map(|file| fs::read(process.join(file)).unwrap());
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(seen[0].windows(15).any(|bytes| bytes == b"--passphrase-fd"), "the right process was looked at");
    for text in seen {
        assert!(!text.windows(PHRASE.len()).any(|bytes| bytes == PHRASE.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_that_was_revoked_opens_nothing() {
    let mut world = World::new(21, Conditions::default());
    let ann = world.add_started("ann").await;
    let (user, password) = (world.address(ann), world.password(ann).to_owned());
    world.submission(ann).log_in(&user, &password).await.taken();
    assert!(world.imap(ann).log_in(&user, &password).await.is_taken());
    world.command(ann, Request::Revoke { number: 1 }).await;
    assert!(!world.submission(ann).log_in(&user, &password).await.is_taken());
    assert!(!world.imap(ann).log_in(&user, &password).await.is_taken());
}

#[test]
fn an_old_copy_of_the_whole_directory_sends_again_and_nothing_arrives_twice() {
    let hub = Hub::new();
    let (ann, _) = House::of("ann");
    let (bob, to) = House::of("bob");
    ann.run(&["send", &to, "-s", "once", "-m", "only"]).good();
    let copy = ann.root.path().join("copy");
    copy_folder(&ann.data, &copy);
    let reader = bob.up(&hub);
    let delivered =
        |house: &House| house.wait(&["queue", "--json"], |queue| queue.as_array().unwrap().is_empty());
    let author = ann.up(&hub);
    delivered(&ann);
    author.stop("-TERM");

    fs::remove_dir_all(&ann.data).unwrap();
    fs::rename(&copy, &ann.data).unwrap();
    assert_eq!(ann.run(&["queue", "--json"]).json().as_array().unwrap().len(), 1, "the copy is older");
    let author = ann.up(&hub);
    delivered(&ann);
    let inbox = bob.run(&["inbox", "--folder", "Requests", "--json"]).json();
    let copies = inbox.as_array().unwrap().iter().filter(|letter| letter["subject"] == "once").count();
    assert_eq!(copies, 1, "{inbox}");
    drop((author, reader));
}

#[tokio::test(start_paused = true)]
async fn who_puts_an_old_copy_back_is_not_taken_for_a_thief_of_the_key() {
    let mut world = World::new(24, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    world.write(ann, bob, "before").await.taken();
    arrived(&world, bob, "before", minutes(5)).await;
    world.stop(ann).await;
    let copy = world.copy_of(ann);
    // A week later there are other prekeys, and Bob has the Card that names them.
    pass(days(6)).await;
    world.start(ann).await;
    pass(minutes(15)).await;
    world.write(ann, bob, "with a new Card").await.taken();
    arrived(&world, bob, "with a new Card", minutes(5)).await;
    world.stop(ann).await;
    world.put_back(ann, copy);
    pass(days(1)).await;
    world.start(ann).await;
    pass(minutes(15)).await;
    world.write(bob, ann, "to the copy").await.taken();
    arrived(&world, ann, "to the copy", hours(5)).await;
    world.write(ann, bob, "from the copy").await.taken();
    arrived(&world, bob, "from the copy", minutes(5)).await;
    let status = world.command(bob, Request::Status).await.to_string();
    assert!(!status.contains("contradicts"), "{status}");
}

fn copy_folder(from: &Path, to: &Path) {
    let ran = run(std::process::Command::new("cp").arg("-a").arg(from).arg(to), b"");
    assert_eq!(ran.code, Some(0), "{ran:?} within {DEADLINE:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_node_that_comes_up_but_those_it_has_exchanged_mail_with() {
    let mut world = World::new(22, Conditions::default());
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let carol = world.add_started("carol").await;
    world.write(ann, bob, "hello").await.taken();
    world.write(bob, ann, "hello too").await.taken();
    arrived(&world, bob, "hello", minutes(5)).await;
    arrived(&world, ann, "hello too", minutes(5)).await;
    // Carol may know Ann's address; she has only knocked.
    let onion = world.onion(carol);
    assert!(world.node(carol).transport.dial(world.onion(ann), 25, minutes(1)).await.is_ok());
    world.stop(ann).await;
    let before = (world.dials(ann, bob), world.dials(ann, carol));
    world.start(ann).await;
    world.reachable(ann).await;
    pass(minutes(10)).await;
    assert!(world.dials(ann, bob) > before.0, "who is known is told");
    assert_eq!(world.dials(ann, carol), before.1, "{onion} is not");
}

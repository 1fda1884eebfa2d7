//! The commands about guests, as a person types them, with and without a running node.

use crate::cli_house::{House, Hub};

/// A key that the stock `age-keygen` made.
const AGE: &str = "age19lwvnjfr3e6fjdn432590d9swtqjzduhn9gpezatnutte430mg0qvtqwf9";

#[test]
fn a_guest_is_taken_in_listed_and_removed_while_no_node_runs() {
    let (house, address) = House::of("hal");
    let host = address.split_once('@').unwrap().1.to_owned();
    assert!(house.run(&["guest"]).good().contains("onionskin guest add"));
    let said = house.run(&["guest", "add", "Gil", "--age", AGE, "--bytes", "2M"]).good();
    for told in ["for that", "in clear", "port 143", ":descriptor:x25519:", "ClientOnionAuthDir", "2 MiB"] {
        assert!(said.to_lowercase().contains(&told.to_lowercase()), "no {told:?} in {said}");
    }
    assert!(said.contains(&format!("gil@{host}")));
    let listed = house.run(&["guest", "list", "--json"]).json();
    let row = &listed["guests"][0];
    assert_eq!((&row["name"], &row["letters"], &row["bytes"]), (&"gil".into(), &0.into(), &(2 << 20).into()));
    assert_ne!(row["imap"]["host"], host.as_str(), "the onion is another");
    assert!(house.run(&["guest", "list"]).good().contains("no letters, 0 not read"));
    let password = house.run(&["guest", "password", "gil", "--json"]).json()["password"].clone();
    assert_eq!(password.as_str().unwrap().len(), 26);
    house.run(&["guest", "remove", "gil"]).bad(64, &["deletes gil@", "no letters", "--yes"]);
    assert!(house.run(&["guest", "remove", "gil", "--yes"]).good().contains("Deleted: no letters"));
    house.run(&["guest", "remove", "gil", "--yes"]).bad(67, &["no guest gil", "guest list"]);
}

#[test]
fn what_is_wrongly_typed_is_refused_with_the_next_step() {
    let (house, _) = House::of("hal");
    house.run(&["guest", "add", "gil"]).bad(64, &["--age"]);
    house.run(&["guest", "add", "gil", "--age", "age1xyz"]).bad(64, &["--age", "typing error", "age-keygen"]);
    house.run(&["guest", "add", "hal", "--age", AGE]).bad(65, &["a name of your own"]);
    house.run(&["guest", "add", "gil", "--age", AGE, "--bytes", "lots"]).bad(64, &["a size is"]);
    house.run(&["guest", "add", "gil", "--age", AGE, "--bytes", "1K"]).bad(64, &["1 MiB to 64 GiB"]);
    let foreign = ["guest", "add", "gil", "--age", AGE, "--client-auth", "x25519:AAAA"];
    house.run(&foreign).bad(64, &["--client-auth", "descriptor:x25519:"]);
    assert!(house.run(&["guest", "list", "--json"]).json()["guests"].as_array().unwrap().is_empty());
}

#[test]
fn a_running_node_hosts_a_guest_at_once() {
    let hub = Hub::new();
    let (house, _) = House::of("hal");
    let _node = house.up(&hub);
    let told = house.run(&["guest", "add", "gil", "--age", AGE, "--json"]).json();
    assert!(told["client_auth"].as_str().unwrap().contains(":descriptor:x25519:"));
    house.run(&["guest", "add", "gil", "--age", AGE]).bad(65, &["a guest gil already", "guest password"]);
    house.run(&["guest", "password", "gil"]).good();
    assert_eq!(house.identity()["errors"].as_array().unwrap().len(), 0, "its onion is hosted");
    house.run(&["guest", "remove", "gil", "--yes"]).good();
}

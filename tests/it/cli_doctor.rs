//! `onionskin doctor` as a person in trouble meets it: each fault is made, named, and told how to mend.

use crate::cli_house::{House, Hub};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// What doctor finds about `what`: its verdict and words.
fn found(house: &House, what: &str) -> (String, String) {
    let ran = house.run(&["doctor", "--json"]);
    let list: Value = serde_json::from_str(&ran.out).expect("JSON");
    let row = list.as_array().unwrap().iter().find(|row| row["what"] == what);
    let row = row.unwrap_or_else(|| panic!("nothing about {what}: {ran:?}"));
    let wrong = list.as_array().unwrap().iter().any(|row| row["verdict"] == "wrong");
    assert_eq!(ran.code, Some(if wrong { 69 } else { 0 }), "{ran:?}");
    (row["verdict"].as_str().unwrap().to_owned(), row["says"].as_str().unwrap().to_owned())
}

#[test]
fn a_well_node_is_well() {
    let hub = Hub::new();
    let (house, _) = House::of("ann");
    let _node = house.up(&hub);
    assert_eq!(found(&house, "Passwords").0, "advice");
    house.run(&["credentials"]).good();
    let shown = house.run(&["doctor"]).good();
    for what in ["Identity", "Files", "Disk", "Node", "Tor", "Reading", "Sending", "Queue", "Passwords"] {
        let line =
            shown.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {shown}"));
        assert!(line.starts_with("ok"), "{line}");
    }
    let (verdict, says) = found(&house, "Passphrase");
    assert!(verdict == "advice" && says.contains("whoever can read this disk"), "{says}");
}

#[test]
fn without_identity_or_node_it_says_what_to_do_first() {
    let house = House::empty();
    let ran = house.run(&["doctor"]);
    assert_eq!(ran.code, Some(69), "{ran:?}");
    assert!(ran.out.contains("WRONG  Identity") && ran.out.contains("onionskin up"), "{ran:?}");
    assert!(!house.data.exists(), "looking makes nothing");

    house.run(&["init"]).good();
    assert_eq!(found(&house, "Node").0, "wrong");
    // What needs no node is looked at all the same.
    assert_eq!(found(&house, "Queue"), ("good".into(), "nothing waits".into()));
}

#[test]
fn files_that_others_may_read_are_named() {
    let (house, _) = House::of("ann");
    assert_eq!(found(&house, "Files").0, "good");
    fs::set_permissions(house.data.join("vault"), fs::Permissions::from_mode(0o644)).unwrap();
    let (verdict, says) = found(&house, "Files");
    assert!(verdict == "wrong" && says.contains("vault"), "{says}");
    assert!(house.run(&["doctor"]).out.contains("→ chmod -R go-rwx"));
    fs::set_permissions(&house.data, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(found(&house, "Files").1.contains("the data directory"));
}

#[test]
fn a_store_that_does_not_open_is_wrong_and_one_behind_a_passphrase_is_let_alone() {
    let (house, _) = House::of("ann");
    fs::write(house.data.join("vault"), b"no vault").unwrap();
    let (verdict, says) = found(&house, "Store");
    assert!(verdict == "wrong" && says.contains("restore it from a backup"), "{says}");

    let house = House::empty();
    house.run_with(&["init", "--passphrase-fd", "0"], b"a good long phrase\n").good();
    assert_eq!(found(&house, "Store").0, "advice");
    let ran = house.run_with(&["doctor", "--passphrase-fd", "0"], b"a good long phrase\n");
    assert!(ran.out.contains("ok     Passphrase"), "{ran:?}");
}

//! Guest readers: their mailboxes are nobody's else, are counted, and go with all that is in them.

use super::*;
use crate::model::guest::GUESTS_MAX;
use crate::store::guests::GuestRecord;
use crate::store::mailboxes::MailboxName;

fn record(name: &str) -> GuestRecord {
    GuestRecord {
        name: name.to_owned(),
        key: "age1".to_owned(),
        bytes: 1000,
        seed: [1; 32],
        clients: vec![[2; 32]],
        verifier: vec![3],
        mailbox: MailboxNo(0),
        made: NOW,
    }
}

fn add(store: &Store, name: &str) -> Result<GuestRecord, StoreError> {
    let record = record(name);
    now(store.write(move |tx| tx.guests().add(&record)))
}

fn own(store: &Store) -> Vec<MailboxNo> {
    now(store.read(|rx| rx.mailboxes().list())).unwrap().into_iter().map(|(no, _)| no).collect()
}

#[test]
fn a_guests_mailbox_is_in_no_list_and_no_name_leads_to_it() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let before = own(&store);
    let (gil, hal) = (add(&store, "gil").unwrap(), add(&store, "hal").unwrap());
    assert_ne!(gil.mailbox, hal.mailbox);
    assert_eq!(own(&store), before);
    assert!(matches!(add(&store, "gil"), Err(StoreError::MailboxExists)));
    let inbox = special(&store, SpecialUse::Inbox);
    assert_eq!(now(store.mailbox(MailboxName::inbox())).unwrap(), Some(inbox));
    file(&store, gil.mailbox, b"for Gil").unwrap();
    file(&store, inbox, b"for the holder").unwrap();
    assert_eq!(contents(&store, gil.mailbox).unwrap(), [b"for Gil"]);
    assert!(contents(&store, hal.mailbox).unwrap().is_empty());
    assert_eq!(contents(&store, inbox).unwrap(), [b"for the holder"]);
    now(store.close()).unwrap();
    let store = open(&disk).unwrap();
    assert_eq!(now(store.read(|rx| rx.guests().list())).unwrap(), [gil.clone(), hal]);
    let deleted = now(store.write(move |tx| tx.mailboxes().delete(gil.mailbox)));
    assert!(matches!(deleted, Err(StoreError::MailboxInUse(_))), "only with the guest");
}

#[test]
fn a_guests_mailbox_takes_so_many_bytes_and_what_is_removed_makes_room() {
    let store = create(&SimDisk::new());
    let gil = add(&store, "gil").unwrap();
    let fits = |more| {
        let gil = gil.clone();
        now(store.write(move |tx| tx.guests().check_room(&gil, more))).is_ok()
    };
    assert!(fits(1000) && !fits(1001) && !fits(u64::MAX));
    let first = file(&store, gil.mailbox, &[b'x'; 400]).unwrap();
    file(&store, gil.mailbox, &[b'x'; 100]).unwrap();
    assert!(fits(500) && !fits(501));
    now(store.write(move |tx| tx.messages().expunge(gil.mailbox, &[first]))).unwrap();
    assert!(fits(900) && !fits(901));
}

#[test]
fn a_guest_who_goes_leaves_nothing_behind() {
    let store = create(&SimDisk::new());
    let gil = add(&store, "gil").unwrap();
    file(&store, gil.mailbox, b"one").unwrap();
    file(&store, gil.mailbox, b"and two").unwrap();
    let was = now(store.write(|tx| tx.guests().remove("gil"))).unwrap().unwrap();
    assert_eq!((was.messages, was.bytes), (2, 10));
    assert_eq!(now(store.read(|rx| rx.letters().count())).unwrap(), 0);
    assert!(matches!(contents(&store, gil.mailbox), Err(StoreError::NoMailbox)));
    assert!(now(store.write(|tx| tx.guests().remove("gil"))).unwrap().is_none());
    let again = add(&store, "gil").unwrap();
    assert!(now(store.read(move |rx| rx.guests().mailbox(&again))).unwrap().uid_validity > was.uid_validity);
    for n in 1..GUESTS_MAX {
        add(&store, &format!("guest{n}")).unwrap();
    }
    assert!(matches!(add(&store, "hal"), Err(StoreError::TooMany(_))));
}

//! Older stores open, newer ones are refused. `tests/fixtures/store-1` was made by schema 1: one submission, one
//! delivery (`script`), and three more letters seen, before `seen_by_time` was there. `tests/fixtures/store-2` was made
//! by schema 2: the same script, and a mailbox Requests of the person's own with one letter; `tests/fixtures/store-3`
//! by schema 3: the script, three more letters seen, and a peer; `tests/fixtures/store-4` by schema 4: the same, and a
//! mailbox that is held for somebody.

use super::script::{Answer, author, deliver, judge};
use super::*;
use crate::model::letter::LetterId;
use crate::store::disk::{AfterCrash, Fault, OpenMode};
use crate::store::mailboxes::MailboxName;

fn disk_of(mail_db: &[u8], segment: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in [("mail.db", mail_db), ("segment-00000001", segment)] {
        disk.open(name, OpenMode::Fresh).unwrap().write_at(0, bytes).unwrap();
    }
    disk.after_crash(AfterCrash::Kept)
}

fn schema_1() -> SimDisk {
    disk_of(
        include_bytes!("../../../tests/fixtures/store-1/mail.db"),
        include_bytes!("../../../tests/fixtures/store-1/segment-00000001"),
    )
}

fn schema_2() -> SimDisk {
    disk_of(
        include_bytes!("../../../tests/fixtures/store-2/mail.db"),
        include_bytes!("../../../tests/fixtures/store-2/segment-00000001"),
    )
}

fn schema_3() -> SimDisk {
    disk_of(
        include_bytes!("../../../tests/fixtures/store-3/mail.db"),
        include_bytes!("../../../tests/fixtures/store-3/segment-00000001"),
    )
}

fn schema_4() -> SimDisk {
    disk_of(
        include_bytes!("../../../tests/fixtures/store-4/mail.db"),
        include_bytes!("../../../tests/fixtures/store-4/segment-00000001"),
    )
}

fn judge_migrated(store: &Store) {
    judge(store, (Answer::Accepted, Answer::Accepted)).unwrap();
    let count = || now(store.read(|rx| rx.seen().count())).unwrap();
    assert_eq!(count(), 4);
    // Pruning goes by the table that schema 1 did not have.
    let pruned = now(store.write(|tx| tx.seen().prune(UnixTime(300), 10))).unwrap();
    assert_eq!((pruned, count()), (2, 2));
    let third = now(store.read(|rx| rx.seen().first_seen(&author(), &LetterId([3; 16])))).unwrap();
    assert_eq!(third, Some(UnixTime(300)));
    // The mailbox and the tables of schema 3.
    assert!(contents(store, special(store, SpecialUse::Requests)).unwrap().is_empty());
    assert!(now(store.read(|rx| rx.contacts().list())).unwrap().is_empty());
    // The tables of schema 4.
    assert!(now(store.read(|rx| rx.held().wishes())).unwrap().is_empty());
    assert!(now(store.read(|rx| rx.routes().recalls())).unwrap().is_empty());
    // What schema 5 counts, and its table.
    for (no, mailbox) in now(store.read(|rx| rx.mailboxes().list())).unwrap() {
        let view = now(store.mailbox_view(no)).unwrap();
        assert_eq!(mailbox.bytes, view.messages.iter().map(|(_, message)| message.size).sum::<u64>());
        assert_eq!(mailbox.bytes > 0, mailbox.messages > 0);
    }
    assert!(now(store.read(|rx| rx.guests().list())).unwrap().is_empty());
}

#[test]
fn a_store_of_schema_2_opens_and_the_persons_own_mailbox_becomes_requests() {
    let disk = schema_2();
    for _ in 0..2 {
        let store = open(&disk).unwrap();
        // The store in the fixture has one letter more than the script.
        let requests = special(&store, SpecialUse::Requests);
        assert_eq!(now(store.mailbox(MailboxName::parse("Requests").unwrap())).unwrap(), Some(requests));
        assert_eq!(contents(&store, requests).unwrap(), [b"Subject: mine\r\n\r\n"]);
        assert_eq!(now(store.read(|rx| rx.mailboxes().list())).unwrap().len(), 7);
        assert_eq!(now(store.read(|rx| rx.statements().count())).unwrap(), 0);
        now(store.close()).unwrap();
    }
}

#[test]
fn a_store_of_schema_1_opens_with_all_that_was_in_it() {
    let disk = schema_1();
    let store = open(&disk).unwrap();
    judge_migrated(&store);
    deliver(&store).unwrap();
    now(store.close()).unwrap();
    judge(&open(&disk).unwrap(), (Answer::Accepted, Answer::Accepted)).unwrap();
}

#[test]
fn a_store_of_schema_3_opens_with_all_that_was_in_it() {
    let disk = schema_3();
    let store = open(&disk).unwrap();
    let peer = now(store.read(|rx| rx.peers().get(&author()))).unwrap();
    assert!(peer.is_some_and(|peer| peer.onionskin));
    judge_migrated(&store);
    now(store.close()).unwrap();
    assert_eq!(now(open(&disk).unwrap().read(|rx| rx.holders().list())).unwrap(), []);
}

#[test]
fn a_store_of_schema_4_opens_with_all_that_was_in_it() {
    let disk = schema_4();
    let store = open(&disk).unwrap();
    let held = now(store.read(|rx| rx.held().mailboxes())).unwrap();
    assert_eq!(held.iter().map(|(_, record)| record.bytes).collect::<Vec<_>>(), [1 << 22]);
    judge_migrated(&store);
    now(store.close()).unwrap();
    judge(&open(&disk).unwrap(), (Answer::Accepted, Answer::Accepted)).unwrap();
}

#[test]
fn a_migration_that_is_interrupted_is_done_at_the_next_opening() {
    for n in 0.. {
        let disk = schema_1();
        disk.fault_at(n, Fault::Crash);
        drop(open(&disk));
        for how in [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(n)] {
            judge_migrated(&open(&disk.after_crash(how)).unwrap());
        }
        if disk.operations() <= n {
            break;
        }
    }
}

#[test]
fn a_store_of_a_later_schema_is_refused_and_left_as_it_is() {
    let disk = SimDisk::new();
    let store = create(&disk);
    now(store.write(|tx| tx.rows.put_number("schema", 9))).unwrap();
    now(store.close()).unwrap();
    for _ in 0..2 {
        assert!(matches!(open(&disk), Err(StoreError::Newer { found: 9, known: 5 })));
    }
}

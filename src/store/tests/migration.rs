//! Older stores open, newer ones are refused. `tests/fixtures/store-1` was made by schema 1: one submission, one
//! delivery (`script`), and three more letters seen, before `seen_by_time` was there.

use super::script::{Answer, author, deliver, judge};
use super::*;
use crate::model::letter::LetterId;
use crate::store::disk::{AfterCrash, Fault, OpenMode};

fn schema_1() -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in [
        ("mail.db", include_bytes!("../../../tests/fixtures/store-1/mail.db").as_slice()),
        ("segment-00000001", include_bytes!("../../../tests/fixtures/store-1/segment-00000001")),
    ] {
        disk.open(name, OpenMode::Fresh).unwrap().write_at(0, bytes).unwrap();
    }
    disk.after_crash(AfterCrash::Kept)
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
        assert!(matches!(open(&disk), Err(StoreError::Newer { found: 9, known: 2 })));
    }
}

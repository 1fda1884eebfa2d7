//! What is left when the disk fails or the power goes at any one operation.

use super::script::{Answer, deliver, judge, run, submit};
use super::*;
use crate::store::disk::{AfterCrash, Fault};

/// How a disk is found after the power went.
const FOUND: [AfterCrash; 5] =
    [AfterCrash::Lost, AfterCrash::Kept, AfterCrash::Torn(1), AfterCrash::Torn(2), AfterCrash::Torn(3)];

/// A store with nothing in it, all of it on the platter.
fn prepared() -> SimDisk {
    let disk = SimDisk::new();
    now(create(&disk).close()).unwrap();
    disk.after_crash(AfterCrash::Lost)
}

/// Opens what was found, and says what is wrong with it.
fn reopen_and_judge(found: &SimDisk, answers: (Answer, Answer)) -> Result<(), String> {
    let store = open(found).map_err(|error| format!("does not open: {error}"))?;
    judge(&store, answers)?;
    // The peer that was not answered comes again, with the same letter.
    deliver(&store).map_err(|error| format!("does not go on: {error}"))?;
    judge(&store, (answers.0, Answer::Accepted))
}

/// Runs the script once for every operation with this fault at it, and judges every way the disk may be found.
/// Answers how many operations there were, and what went wrong.
fn at_every_operation(fault: Fault, set_up: impl Fn(&SimDisk)) -> (u64, Vec<String>) {
    let prepared = prepared();
    let mut wrong = Vec::new();
    for n in 0.. {
        let disk = prepared.after_crash(AfterCrash::Kept);
        set_up(&disk);
        disk.fault_at(n, fault);
        let answers = run(&disk);
        for how in FOUND {
            if let Err(what) = reopen_and_judge(&disk.after_crash(how), answers) {
                wrong
                    .push(format!("{fault:?} at operation {n}, found {how:?}, answered {answers:?}: {what}"));
            }
        }
        if disk.operations() <= n {
            return (n, wrong);
        }
    }
    unreachable!("some run ends before its fault")
}

fn nothing_is_wrong((operations, wrong): (u64, Vec<String>)) {
    assert!(operations > 40, "only {operations} operations");
    assert!(wrong.is_empty(), "{} of {operations} operations:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    nothing_is_wrong(at_every_operation(Fault::Crash, |_| {}));
}

#[test]
fn nothing_acknowledged_is_lost_when_an_operation_fails() {
    nothing_is_wrong(at_every_operation(Fault::Eio, |_| {}));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_disk_is_full_for_a_moment() {
    nothing_is_wrong(at_every_operation(Fault::NoSpace, |_| {}));
}

#[test]
fn a_disk_that_ignores_syncs_is_found_out() {
    let (_, wrong) = at_every_operation(Fault::Crash, SimDisk::ignore_syncs);
    assert!(
        wrong.iter().any(|what| what.contains("lost")),
        "the tests above would not notice a missing sync"
    );
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_the_store_is_reopened() {
    let prepared = prepared();
    let mut failed = 0;
    for n in 0.. {
        let disk = prepared.after_crash(AfterCrash::Kept);
        let store = open(&disk).unwrap();
        let syncs = disk.syncs();
        disk.fault_at(disk.operations() + n, Fault::Eio);
        let first = submit(&store);
        if let Err(StoreError::MustReopen) = first {
            failed += 1;
            let operations = disk.operations();
            assert!(matches!(deliver(&store), Err(StoreError::MustReopen)));
            assert!(matches!(now(store.read(|rx| rx.queue().count())), Err(StoreError::MustReopen)));
            assert_eq!(disk.operations(), operations, "the disk was used after its sync failed");
            drop(store);
            reopen_and_judge(&disk, (Answer::Refused, Answer::NotAsked)).unwrap();
        } else if first.is_ok() && disk.syncs() > syncs {
            break;
        }
    }
    assert!(failed >= 2, "the syncs of segment and database were reached, {failed} failed");
}

#[test]
fn a_full_disk_refuses_cleanly_and_works_again_when_there_is_room() {
    let disk = prepared();
    let store = open(&disk).unwrap();
    let inbox = special(&store, SpecialUse::Inbox);
    disk.set_capacity(Some(disk.used() + 3_000_000));
    let letter = vec![b'x'; 100_000];
    let mut filed = 0;
    let error = loop {
        match file(&store, inbox, &letter) {
            Ok(_) => filed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(filed > 5);
    for _ in 0..20 {
        assert!(matches!(file(&store, inbox, &letter), Err(StoreError::Full)));
    }
    // What is there can be read, and every letter can be deleted, though not one more fits in.
    assert_eq!(contents(&store, inbox).unwrap(), vec![letter.clone(); filed]);
    for n in 1..filed {
        now(store.write(move |tx| tx.messages().expunge(inbox, &[Uid(n as u32)]))).unwrap();
    }
    disk.set_capacity(None);
    file(&store, inbox, &letter).unwrap();
    drop(store);
    assert_eq!(contents(&open(&disk).unwrap(), inbox).unwrap(), vec![letter; 2]);
}

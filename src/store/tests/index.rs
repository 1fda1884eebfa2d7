//! The listings in memory are what the database says, whatever was done and whenever they were asked for.

use super::*;
use crate::store::Brief;
use crate::store::messages::{FlagChange, MessageRecord};
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;

/// What the database says.
fn read(store: &Store, no: MailboxNo) -> Vec<Brief> {
    let view = now(store.mailbox_view(no)).unwrap();
    let brief = |(uid, message): (Uid, MessageRecord)| Brief { uid, flags: message.flags.into() };
    view.messages.into_iter().map(brief).collect()
}

/// One random change, or a failing one that must leave no trace.
fn change(store: &Store, rng: &mut StdRng, boxes: &[MailboxNo]) {
    let (from, to) = (boxes[rng.random_range(0..boxes.len())], boxes[rng.random_range(0..boxes.len())]);
    let uids: Vec<Uid> = (0..rng.random_range(0..4)).map(|_| Uid(rng.random_range(1..30))).collect();
    let mut flags = Flags::system(1 << rng.random_range(0..5));
    if rng.random_ratio(1, 4) {
        flags.keywords.insert("$Label1".into());
    }
    match rng.random_range(0..8) {
        0 => drop(now(
            store.write(move |tx| tx.messages().set_flags(from, &uids, &FlagChange::Add(flags.clone())))
        )),
        1 => drop(now(store.write(move |tx| tx.messages().expunge(from, &uids)))),
        2 => drop(now(store.write(move |tx| tx.messages().copy(from, &uids, to)))),
        3 => drop(now(store.write(move |tx| tx.messages().move_to(from, &uids, to)))),
        4 => drop(now(store.write(move |tx| {
            tx.messages().set_flags(from, &uids, &FlagChange::Replace(flags.clone()))?;
            tx.messages().expunge(to, &uids)?;
            tx.messages().copy(from, &uids, to)?;
            tx.mailboxes().claim_recent(from)
        }))),
        5 => assert!(
            now(store.write(move |tx| -> Result<(), StoreError> {
                tx.messages().expunge(from, &uids)?;
                Err(StoreError::NoMessage)
            }))
            .is_err()
        ),
        _ => drop(file(store, from, b"x").unwrap()),
    }
}

#[test]
fn listings_follow_every_change() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = create(&SimDisk::new());
        let boxes = [SpecialUse::Inbox, SpecialUse::Drafts, SpecialUse::Trash]
            .map(|special_use| special(&store, special_use));
        let mut known: BTreeMap<MailboxNo, (u64, Vec<Brief>)> = BTreeMap::new();
        for _ in 0..80 {
            change(&store, &mut rng, &boxes);
            if rng.random_ratio(1, 3) {
                continue;
            }
            let no = boxes[rng.random_range(0..boxes.len())];
            let listing = now(store.listing(no)).unwrap();
            assert_eq!(*listing.messages, read(&store, no), "seed {seed}");
            if let Some((modseq, before)) = known.get(&no)
                && listing.settled <= *modseq
            {
                assert!(listing.messages.starts_with(before), "seed {seed}: not only added at the end");
            }
            known.insert(no, (listing.mailbox.modseq, listing.messages.to_vec()));
        }
    }
}

#[test]
fn a_listing_read_before_a_commit_does_not_hide_it() {
    let store = create(&SimDisk::new());
    let inbox = special(&store, SpecialUse::Inbox);
    file(&store, inbox, b"first").unwrap();
    let other = store.clone();
    // While a reader has its snapshot, a commit comes in between; then another, which must not be put onto the old.
    let old = now(store.read(move |rx| {
        file(&other, inbox, b"second").unwrap();
        rx.listing(inbox)
    }));
    assert_eq!(old.unwrap().messages.len(), 1);
    file(&store, inbox, b"third").unwrap();
    assert_eq!(now(store.listing(inbox)).unwrap().messages.len(), 3);
}

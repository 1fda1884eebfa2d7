//! Bits turn over on the disk: that is noticed, or does not matter. Never is anything else read than was written.

use super::model::Model;
use super::script::{deliver, submit};
use super::*;
use crate::store::disk::AfterCrash;
use rand::RngExt as _;

/// Bits turned over in each of the two kinds of file, each by itself: ten thousand together.
const FLIPS: u64 = 5000;

/// A closed store with a submission and a delivery in it, and what can be read there.
fn kept() -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let store = create(&disk);
    submit(&store).unwrap();
    deliver(&store).unwrap();
    let whole = Model::observe(&store).unwrap();
    now(store.close()).unwrap();
    (disk, whole)
}

/// Turns bits of a file over, one at a time, and opens the store each time; how many were noticed.
fn flip_in(file: &str, whole: &Model, disk: &SimDisk, bits: impl Iterator<Item = u64>) -> u64 {
    let mut noticed = 0;
    for bit in bits {
        let disk = disk.after_crash(AfterCrash::Kept);
        disk.flip_bit(file, bit);
        match open(&disk).and_then(|store| Model::observe(&store)) {
            Ok(found) => assert!(found == *whole, "bit {bit} of {file} changed what is read"),
            Err(StoreError::Damaged(_) | StoreError::WrongKey | StoreError::Newer { .. }) => noticed += 1,
            Err(error) => panic!("bit {bit} of {file}: {error}"),
        }
    }
    noticed
}

/// The same for `FLIPS` bits drawn from a seed, on both cores of a small machine.
fn flip_many(file: &str) -> u64 {
    let (disk, whole) = kept();
    let bits = disk.bytes(file).unwrap().len() as u64 * 8;
    std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2_u64)
            .map(|half| {
                let (disk, whole) = (&disk, &whole);
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(5 + half);
                    flip_in(file, whole, disk, (0..FLIPS / 2).map(|_| rng.random_range(0..bits)))
                })
            })
            .collect();
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    })
}

#[test]
fn a_bit_turned_over_in_a_letter_is_noticed() {
    assert_eq!(flip_many("segment-00000001"), FLIPS);
}

#[test]
fn a_bit_turned_over_in_the_database_is_noticed_or_harmless() {
    let noticed = flip_many("mail.db");
    assert!(noticed > FLIPS / 10, "{noticed} of {FLIPS}");
}

#[test]
fn one_damaged_page_does_not_stop_the_rest() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let inbox = special(&store, SpecialUse::Inbox);
    file(&store, inbox, b"one").unwrap();
    file(&store, inbox, &[2; 1000]).unwrap();
    let letters: Vec<_> = now(store.mailbox_view(inbox)).unwrap().messages;
    disk.flip_bit("segment-00000001", 8);
    assert!(matches!(read_all(&store, letters[0].1.letter), Err(StoreError::Damaged(_))));
    assert_eq!(read_all(&store, letters[1].1.letter).unwrap(), [2; 1000]);
    file(&store, inbox, b"three").unwrap();
}

#[test]
fn another_key_and_another_store_are_told_apart() {
    let disk = SimDisk::new();
    now(create(&disk).close()).unwrap();
    let other = MasterKey::generate(&mut StdRng::seed_from_u64(8));
    let opened = now(Store::open(Arc::new(disk.clone()), &other, options(3)));
    assert!(matches!(opened, Err(StoreError::WrongKey)));
    assert!(matches!(open(&SimDisk::new()), Err(StoreError::Missing)));
    let again = now(Store::create(Arc::new(disk.clone()), &key(), options(3), NOW));
    assert!(matches!(again, Err(StoreError::Exists)));
    open(&disk).unwrap();
}

#[test]
fn nothing_of_a_letter_or_a_name_is_readable_on_the_disk() {
    let disk = SimDisk::new();
    let store = create(&disk);
    let inbox = special(&store, SpecialUse::Inbox);
    file(&store, inbox, b"Subject: rendezvous at the windmill\r\n\r\n").unwrap();
    now(store.write(|tx| tx.meta().put("secret", &"quicksilver"))).unwrap();
    now(store.close()).unwrap();
    for name in disk.list().unwrap() {
        let bytes = disk.bytes(&name).unwrap();
        for word in [&b"rendezvous"[..], b"quicksilver", b"secret", b"INBOX", b"mailboxes"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{name}");
        }
    }
}

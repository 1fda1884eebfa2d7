//! Bits turn over on the disk: that is noticed, or does not matter. Never is anything else read than was written.

use super::model::Model;
use super::script::{deliver, submit};
use super::*;
use crate::store::disk::AfterCrash;
use rand::RngExt as _;

/// Bits turned over in each file, each by itself.
const FLIPS: u64 = 200;

fn flip_in(file: &str) -> (u64, u64) {
    let disk = SimDisk::new();
    let store = create(&disk);
    submit(&store).unwrap();
    deliver(&store).unwrap();
    let whole = Model::observe(&store).unwrap();
    now(store.close()).unwrap();
    let bits = disk.bytes(file).unwrap().len() as u64 * 8;
    let mut rng = StdRng::seed_from_u64(5);
    let mut noticed = 0;
    for _ in 0..FLIPS {
        let bit = rng.random_range(0..bits);
        let disk = disk.after_crash(AfterCrash::Kept);
        disk.flip_bit(file, bit);
        match open(&disk).and_then(|store| Model::observe(&store)) {
            Ok(found) => assert!(found == whole, "bit {bit} of {file} changed what is read"),
            Err(StoreError::Damaged(_) | StoreError::WrongKey | StoreError::Newer { .. }) => noticed += 1,
            Err(error) => panic!("bit {bit} of {file}: {error}"),
        }
    }
    (FLIPS, noticed)
}

#[test]
fn a_bit_turned_over_in_a_letter_is_noticed() {
    let (flips, noticed) = flip_in("segment-00000001");
    assert_eq!(noticed, flips);
}

#[test]
fn a_bit_turned_over_in_the_database_is_noticed_or_harmless() {
    let (flips, noticed) = flip_in("mail.db");
    assert!(noticed > flips / 10, "{noticed} of {flips}");
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

//! Prekeys over their lives, and what is left of them on the disk.

use super::*;
use crate::model::seal::inside::Layout;
use crate::model::seal::{Opener, Sealer};
use crate::store::disk::{AfterCrash, Fault, RealDisk, SimDisk};
use crate::store::vault::{KdfCost, Vault};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::io::Read as _;

const NOW: UnixTime = UnixTime(1_780_000_000);

fn key() -> MasterKey {
    MasterKey::generate(&mut StdRng::seed_from_u64(5))
}

fn open(disk: &SimDisk, now: UnixTime, seed: u64) -> Result<Prekeys, StoreError> {
    Prekeys::open_or_create(Arc::new(disk.clone()), &key(), now, &mut StdRng::seed_from_u64(seed))
}

fn ids(set: &PublishedSet) -> Vec<PrekeyId> {
    set.prekeys.iter().chain([&set.last_resort]).map(|one| one.public.id()).collect()
}

#[test]
fn the_same_keys_are_there_when_it_is_opened_again() {
    let disk = SimDisk::new();
    let first = open(&disk, NOW, 1).unwrap();
    let set = first.published(NOW);
    assert_eq!(set.prekeys.len(), 9);
    assert!(set.prekeys[0].seal_until >= NOW && set.prekeys[0].seal_until < NOW.plus(WEEK));
    let again = open(&disk, NOW.plus(WEEK * 3), 2).unwrap();
    assert_eq!(ids(&again.published(NOW)), ids(&set));
    assert_eq!(again.published(NOW.plus(WEEK * 3)).prekeys.len(), 6);
    assert!(again.secret(&set.prekeys[8].public.id()).is_some());
    assert!(again.secret(&PrekeyId([0; 8])).is_none());
}

#[test]
fn a_week_later_there_is_a_new_key_and_the_old_one_opens_for_six_weeks_more() {
    let disk = SimDisk::new();
    let mut rng = StdRng::seed_from_u64(3);
    let mut prekeys = open(&disk, NOW, 1).unwrap();
    let old = prekeys.published(NOW).prekeys[0].clone();
    assert!(!prekeys.rotate(Some(NOW), &mut rng).unwrap());
    assert!(prekeys.rotate(Some(NOW.plus(WEEK)), &mut rng).unwrap());
    assert_eq!(prekeys.published(NOW.plus(WEEK)).prekeys.len(), 9);
    prekeys.rotate(Some(old.open_until), &mut rng).unwrap();
    assert!(prekeys.secret(&old.public.id()).is_some());
    let later = UnixTime(old.open_until.0 + 1);
    assert!(prekeys.rotate(Some(later), &mut rng).unwrap());
    assert!(prekeys.secret(&old.public.id()).is_none());
    assert!(open(&disk, later, 2).unwrap().secret(&old.public.id()).is_none());
}

#[test]
fn without_agreed_time_nothing_is_made_and_nothing_destroyed() {
    let disk = SimDisk::new();
    let mut prekeys = open(&disk, NOW, 1).unwrap();
    let before = disk.operations();
    assert!(!prekeys.rotate(None, &mut StdRng::seed_from_u64(3)).unwrap());
    assert_eq!(disk.operations(), before);
    // A clock that is years ahead still finds keys to give out.
    assert_eq!(prekeys.published(NOW.plus(LAST_RESORT_LIFE * 9)).prekeys.len(), 1);
}

/// A seal for a prekey, as it may lie on somebody's disk for years.
fn seal(prekey: &PublicPrekey) -> Vec<u8> {
    let layout = Layout::new(b"header", 6).unwrap();
    let sealer = Sealer::new(prekey, &[1; 32], layout.prefix());
    let mut chunk = [layout.prefix(), b"letter"].concat();
    chunk.resize(4096, 0);
    sealer.seal_chunk(0, true, &mut chunk);
    [sealer.head(), &chunk].concat()
}

/// Whether any of these prekeys opens it.
fn opens(prekeys: &Prekeys, seal: &[u8]) -> bool {
    prekeys.held.iter().any(|held| Opener::new(SecretPrekey::from_seed(&held.record.seed)).push(seal).is_ok())
}

/// Who has the raw directory, the passphrase and an old backup cannot open what was sealed for a destroyed prekey. A
/// backup is a copy of all files but this one.
#[test]
fn an_old_seal_opens_with_nothing_that_is_left_once_its_prekey_is_destroyed() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rng = &mut StdRng::seed_from_u64(6);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let vault = Vault::create(&*disk, Some(b"tulip"), KdfCost::LEAST, rng).unwrap();
    let mut prekeys = Prekeys::open_or_create(disk.clone(), &vault.key, NOW, rng).unwrap();
    let old = prekeys.published(NOW).prekeys[0].clone();
    let seal = seal(&old.public);
    assert!(opens(&prekeys, &seal));
    let seed = *prekeys.secret(&old.public.id()).unwrap().seed();
    let mut old_file = std::fs::File::open(dir.path().join(NAME)).unwrap();
    let old_bytes = std::fs::read(dir.path().join(NAME)).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        if entry.file_name() != NAME && entry.metadata().unwrap().is_file() {
            std::fs::copy(entry.path(), backup.path().join(entry.file_name())).unwrap();
        }
    }

    assert!(prekeys.rotate(Some(UnixTime(old.open_until.0 + 1)), rng).unwrap());
    drop((prekeys, vault, disk));

    // What the old file's blocks hold, for who reads the disk below the file system.
    let mut wiped = Vec::new();
    old_file.read_to_end(&mut wiped).unwrap();
    assert!(wiped.len() == old_bytes.len() && wiped.iter().all(|&byte| byte == 0));
    for place in [dir.path(), backup.path()] {
        for entry in std::fs::read_dir(place).unwrap().map(Result::unwrap) {
            let bytes = std::fs::read(entry.path()).unwrap();
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(!has(&seed), "the seed is in {:?}", entry.file_name());
            assert!(!has(&old_bytes[SALT_AT..HEAD_LEN]), "the old salt is in {:?}", entry.file_name());
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(place).unwrap());
        let vault = Vault::open(&*disk, Some(b"tulip")).unwrap();
        let found = Prekeys::open_or_create(disk, &vault.key, NOW, rng).unwrap();
        assert!(!opens(&found, &seal));
    }
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_keys_or_the_new() {
    let later = NOW.plus(WEEK);
    for n in 0.. {
        let disk = SimDisk::new();
        let mut prekeys = open(&disk, NOW, 1).unwrap();
        let old = ids(&prekeys.published(NOW));
        disk.fault_at(disk.operations() + n, Fault::Crash);
        let rotated = prekeys.rotate(Some(later), &mut StdRng::seed_from_u64(3));
        for how in (0..8).map(AfterCrash::Torn).chain([AfterCrash::Lost, AfterCrash::Kept]) {
            let found = disk.after_crash(how);
            let again = open(&found, later, 9).unwrap_or_else(|error| panic!("operation {n}: {error}"));
            for id in &old {
                assert!(again.secret(id).is_some(), "operation {n}, {how:?}: a key is lost");
            }
            assert!(rotated.is_err() || again.published(later).prekeys.len() == 9);
            assert_eq!(found.list().unwrap(), [NAME], "operation {n}, {how:?}");
        }
        if rotated.is_ok() {
            return;
        }
    }
}

#[test]
fn a_crash_when_the_first_keys_are_made_leaves_nothing_in_their_way() {
    for n in 0.. {
        let disk = SimDisk::new();
        disk.fault_at(n, Fault::Crash);
        let made = open(&disk, NOW, 1).map(|prekeys| ids(&prekeys.published(NOW)));
        for seed in 0..8 {
            let found = disk.after_crash(AfterCrash::Torn(seed));
            let again = ids(&open(&found, NOW, 9).unwrap().published(NOW));
            assert!(made.as_ref().map_or(true, |made| *made == again), "operation {n}, seed {seed}");
            assert_eq!(found.list().unwrap(), [NAME]);
        }
        if made.is_ok() {
            return;
        }
    }
}

/// Whatever fails, the next call puts it right: no key is lost, and the old bytes do not stay.
#[test]
fn after_any_error_of_the_disk_the_next_call_ends_the_change_and_wipes() {
    let later = NOW.plus(WEEK);
    let disk = SimDisk::new();
    let mut prekeys = open(&disk, NOW, 1).unwrap();
    let before = disk.operations();
    prekeys.rotate(Some(later), &mut StdRng::seed_from_u64(3)).unwrap();
    let count = disk.operations() - before;
    for fault in [Fault::Eio, Fault::NoSpace] {
        let mut failed = 0;
        for n in 0..count {
            let disk = SimDisk::new();
            let mut prekeys = open(&disk, NOW, 1).unwrap();
            let old = ids(&prekeys.published(NOW));
            let old_file = disk.open(NAME, OpenMode::Existing).unwrap();
            disk.fault_at(disk.operations() + n, fault);
            let rng = &mut StdRng::seed_from_u64(3);
            let first = prekeys.rotate(Some(later), rng);
            disk.clear_faults();
            prekeys.rotate(Some(later), rng).unwrap();
            assert_eq!(disk.list().unwrap(), [NAME], "operation {n}");
            let mut wiped = vec![1; old_file.len().unwrap() as usize];
            old_file.read_at(0, &mut wiped).unwrap();
            assert!(wiped.iter().all(|&byte| byte == 0), "operation {n}");
            let again = open(&disk.after_crash(AfterCrash::Lost), later, 9).unwrap();
            assert!(old.iter().all(|id| again.secret(id).is_some()), "operation {n}");
            assert_eq!(ids(&again.published(later)), ids(&prekeys.published(later)), "operation {n}");
            failed += u32::from(first.is_err());
        }
        assert!(failed > 4, "{fault:?} struck {failed} times");
    }
}

#[test]
fn keys_made_under_a_clock_that_was_wrong_end_when_the_right_time_is_known() {
    let wrong = NOW.plus(LAST_RESORT_LIFE * 14);
    let disk = SimDisk::new();
    let mut prekeys = open(&disk, wrong, 1).unwrap();
    let made = ids(&prekeys.published(wrong));
    let rng = &mut StdRng::seed_from_u64(3);
    assert!(prekeys.rotate(Some(NOW), rng).unwrap());
    assert!(!prekeys.rotate(Some(NOW), rng).unwrap());
    let set = prekeys.published(NOW);
    assert!(set.prekeys.len() == 9 && set.prekeys[0].seal_until < NOW.plus(WEEK));
    assert!(set.last_resort.seal_until < NOW.plus(LAST_RESORT_LIFE + WEEK));
    assert!(ids(&set).iter().all(|id| !made.contains(id)));
    assert!(made.iter().all(|id| prekeys.secret(id).is_some()), "letters may be on their way");
    prekeys.rotate(Some(NOW.plus(KEEP)), rng).unwrap();
    assert!(made.iter().all(|id| prekeys.secret(id).is_none()));
}

#[test]
fn a_last_resort_is_replaced_before_it_ends_and_opens_as_long_as_it_must() {
    let mut prekeys = open(&SimDisk::new(), NOW, 1).unwrap();
    let rng = &mut StdRng::seed_from_u64(3);
    let first = prekeys.published(NOW).last_resort;
    let mut now = NOW;
    while now < UnixTime(first.seal_until.0 - LAST_RESORT_OVERLAP.as_secs()) {
        assert_eq!(prekeys.published(now).last_resort.public, first.public);
        now = now.plus(WEEK);
        prekeys.rotate(Some(now), rng).unwrap();
    }
    assert_ne!(prekeys.published(now).last_resort.public, first.public);
    prekeys.rotate(Some(first.open_until), rng).unwrap();
    assert!(prekeys.secret(&first.public.id()).is_some());
    prekeys.rotate(Some(first.open_until.plus(WEEK)), rng).unwrap();
    assert!(prekeys.secret(&first.public.id()).is_none());
}

#[test]
fn a_file_that_was_changed_or_cut_is_named() {
    let disk = SimDisk::new();
    open(&disk, NOW, 1).unwrap();
    let bits = disk.bytes(NAME).unwrap().len() as u64 * 8;
    for bit in (0..bits).step_by(101) {
        disk.flip_bit(NAME, bit);
        assert!(matches!(open(&disk, NOW, 1), Err(StoreError::Damaged(_))), "bit {bit}");
        disk.flip_bit(NAME, bit);
    }
    disk.open(NAME, OpenMode::Existing).unwrap().set_len(40).unwrap();
    assert!(matches!(open(&disk, NOW, 1), Err(StoreError::Damaged(_))));
    let file = disk.open(NAME, OpenMode::Fresh).unwrap();
    file.write_at(0, &[MAGIC.as_slice(), &[9; 200]].concat()).unwrap();
    let newer = open(&disk, NOW, 1).err().unwrap().to_string();
    assert!(newer.contains("newer program"), "{newer}");
    assert!(open(&SimDisk::new(), NOW, 1).is_ok());
}

#[test]
fn the_file_of_another_vault_is_refused() {
    let disk = SimDisk::new();
    open(&disk, NOW, 1).unwrap();
    let other = MasterKey::generate(&mut StdRng::seed_from_u64(6));
    let opened = Prekeys::open_or_create(Arc::new(disk), &other, NOW, &mut StdRng::seed_from_u64(1));
    assert!(matches!(opened, Err(StoreError::Damaged(_))));
}

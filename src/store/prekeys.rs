//! The private halves of the prekeys: one small file of its own, never in the database, never in a backup.
//!
//! ```text
//! "onionskin prekeys\n" (18) ‖ format (1) ‖ salt (32) ‖ nonce (24) ‖ XChaCha20-Poly1305 of CBOR records
//! key = HKDF-SHA256(master key for prekeys, salt of this file)
//! ```
//!
//! Promises that every change writes a new file under a new salt and wipes the old one, so that what was destroyed is
//! gone from the directory; that a crash leaves the old file or the new; and that nothing is destroyed without agreed
//! time. A key is used for a week, and kept for 45 days more.

use super::disk::{Disk, OpenMode};
use super::error::StoreError;
use super::vault::MasterKey;
use crate::model::seal::{PrekeyId, PublicPrekey, SecretPrekey};
use crate::model::time::UnixTime;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NAME: &str = "prekeys";
const NEW_NAME: &str = "prekeys.new";
const OLD_NAME: &str = "prekeys.old";
const MAGIC: &[u8; 18] = b"onionskin prekeys\n";
const FORMAT: u8 = 1;
const SALT_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const HEAD_LEN: usize = 18 + 1 + SALT_LEN + NONCE_LEN;
/// Longest file, in bytes: far more than the keys of three months need.
const FILE_LEN_MAX: u64 = 64 * 1024;
/// What the file's keys are derived for.
const PURPOSE: &str = "onionskin prekeys";

/// How long a prekey is sealed for: to the end of a week that began on a Thursday, as 1970 did.
pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// How many weeks ahead there are prekeys.
pub const WEEKS_AHEAD: usize = 8;
/// How long a prekey is kept after letters were last sealed for it: longer than anything waits or is held.
pub const KEEP: Duration = Duration::from_secs(45 * 86_400);
/// How long a last-resort prekey is sealed for.
pub const LAST_RESORT_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// And how long before its end the next one is made.
const LAST_RESORT_OVERLAP: Duration = Duration::from_secs(90 * 86_400);

/// One private half.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Record {
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    #[zeroize(skip)]
    seal_until: UnixTime,
    #[zeroize(skip)]
    last_resort: bool,
}

impl Record {
    fn draw(seal_until: UnixTime, last_resort: bool, rng: &mut impl CryptoRng) -> Self {
        let mut record = Self { seed: [0; 32], seal_until, last_resort };
        rng.fill_bytes(&mut record.seed);
        record
    }

    fn open_until(&self) -> UnixTime {
        self.seal_until.plus(KEEP)
    }
}

/// A prekey, with its public half at hand.
struct Held {
    record: Record,
    public: PublicPrekey,
}

impl Held {
    fn new(record: Record) -> Self {
        let public = SecretPrekey::from_seed(&record.seed).public().clone();
        Self { record, public }
    }
}

/// The public half of a prekey, for a Card.
#[derive(Debug, Clone)]
pub struct Published {
    /// The public half.
    pub public: PublicPrekey,
    /// The last second in which a letter may be sealed for it.
    pub seal_until: UnixTime,
    /// The last second for which its private half is kept.
    pub open_until: UnixTime,
}

/// What a Card says.
#[derive(Debug, Clone)]
pub struct PublishedSet {
    /// The current one first, then those of later weeks: at least one.
    pub prekeys: Vec<Published>,
    /// For whoever knows no newer Card.
    pub last_resort: Published,
}

/// All prekeys of an identity.
pub struct Prekeys {
    disk: Arc<dyn Disk>,
    key: Zeroizing<[u8; 32]>,
    held: Vec<Held>,
}

impl Prekeys {
    /// Opens the file, or makes it with fresh keys from `now` on.
    pub fn open_or_create(
        disk: Arc<dyn Disk>,
        key: &MasterKey,
        now: UnixTime,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, StoreError> {
        let mut prekeys = Self { disk, key: key.derive(PURPOSE), held: Vec::new() };
        let names = prekeys.disk.list().map_err(StoreError::from_io)?;
        let there = |name: &str| names.iter().any(|found| found == name);
        // A crash between the two renames leaves no file of that name, and a new one that is whole.
        if !there(NAME) && there(NEW_NAME) && there(OLD_NAME) {
            prekeys.disk.rename(NEW_NAME, NAME).map_err(StoreError::from_io)?;
            prekeys.disk.sync_dir().map_err(StoreError::from_io)?;
        }
        for left in [NEW_NAME, OLD_NAME].into_iter().filter(|left| there(left)) {
            prekeys.wipe(left)?;
        }
        if prekeys.disk.list().map_err(StoreError::from_io)?.iter().any(|found| found == NAME) {
            let records = prekeys.read()?;
            prekeys.held = records.into_iter().map(Held::new).collect();
        } else {
            let records = due(&[], now, rng);
            prekeys.write(&records, rng)?;
            prekeys.held = records.into_iter().map(Held::new).collect();
        }
        Ok(prekeys)
    }

    /// The private half of this name, unless it never was or was destroyed.
    pub fn secret(&self, id: &PrekeyId) -> Option<SecretPrekey> {
        let held = self.held.iter().find(|held| held.public.id() == *id)?;
        Some(SecretPrekey::from_seed(&held.record.seed))
    }

    /// What the Card of this time says.
    pub fn published(&self, now: UnixTime) -> PublishedSet {
        let publish = |held: &Held| Published {
            public: held.public.clone(),
            seal_until: held.record.seal_until,
            open_until: held.record.open_until(),
        };
        let of = |last_resort: bool| {
            let mut some: Vec<&Held> =
                self.held.iter().filter(|held| held.record.last_resort == last_resort).collect();
            some.sort_by_key(|held| held.record.seal_until);
            some
        };
        let weekly = of(false);
        // With a clock that is far ahead the last ones still are what there is.
        let current = weekly.iter().position(|held| held.record.seal_until >= now);
        let first = current.unwrap_or(weekly.len().saturating_sub(1));
        let prekeys = weekly[first..].iter().take(1 + WEEKS_AHEAD).map(|held| publish(held)).collect();
        let last_resort = of(true).last().map(|held| publish(held));
        PublishedSet { prekeys, last_resort: last_resort.expect("every file has a last-resort prekey") }
    }

    /// Makes the keys that are due and destroys those whose time is over; says whether anything changed. Without
    /// agreed time nothing happens.
    pub fn rotate(&mut self, agreed: Option<UnixTime>, rng: &mut impl CryptoRng) -> Result<bool, StoreError> {
        let Some(agreed) = agreed else { return Ok(false) };
        let kept: Vec<Record> = self.held.iter().map(|held| held.record.clone()).collect();
        let mut records: Vec<Record> =
            kept.iter().filter(|record| record.open_until() >= agreed).cloned().collect();
        let fresh = due(&records, agreed, rng);
        if records.len() == kept.len() && fresh.is_empty() {
            return Ok(false);
        }
        records.extend(fresh);
        self.write(&records, rng)?;
        // What is held is what is on the disk.
        self.held.retain(|held| held.record.open_until() >= agreed);
        let known = self.held.len();
        self.held.extend(records.into_iter().skip(known).map(Held::new));
        Ok(true)
    }

    fn read(&self) -> Result<Vec<Record>, StoreError> {
        let file = self.disk.open(NAME, OpenMode::Existing).map_err(StoreError::from_io)?;
        let len = file.len().map_err(StoreError::from_io)?;
        if len <= HEAD_LEN as u64 || len > FILE_LEN_MAX {
            return Err(DAMAGED);
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StoreError::from_io)?;
        let (head, sealed) = bytes.split_at(HEAD_LEN);
        if &head[..18] != MAGIC || head[18] != FORMAT {
            return Err(DAMAGED);
        }
        let plain = self.cipher(head).decrypt(&nonce(head), Payload { msg: sealed, aad: head });
        let plain = Zeroizing::new(plain.map_err(|_| DAMAGED)?);
        let records: Vec<Record> = serde_cbor::from_slice(&plain).map_err(|_| DAMAGED)?;
        let whole = [false, true].iter().all(|kind| records.iter().any(|one| one.last_resort == *kind));
        if whole { Ok(records) } else { Err(DAMAGED) }
    }

    fn write(&self, records: &[Record], rng: &mut impl CryptoRng) -> Result<(), StoreError> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.resize(HEAD_LEN, 0);
        rng.fill_bytes(&mut bytes[19..]);
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(256 + records.len() * 128));
        serde_cbor::to_writer(&mut *plain, &records).expect("plain fields are CBOR");
        let sealed = self
            .cipher(&bytes)
            .encrypt(&nonce(&bytes), Payload { msg: &plain, aad: &bytes })
            .expect("a few keys are within the cipher's limits");
        bytes.extend(sealed);
        self.replace(&bytes).map_err(StoreError::from_io)?;
        self.wipe(OLD_NAME)
    }

    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        let file = self.disk.open(NEW_NAME, OpenMode::Fresh)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        self.disk.sync_dir()?;
        if self.disk.list()?.iter().any(|name| name == NAME) {
            self.disk.rename(NAME, OLD_NAME)?;
        }
        self.disk.rename(NEW_NAME, NAME)?;
        self.disk.sync_dir()
    }

    /// Overwrites a file and removes it, if it is there.
    fn wipe(&self, name: &str) -> Result<(), StoreError> {
        let wiped = || {
            if !self.disk.list()?.iter().any(|found| found == name) {
                return Ok(());
            }
            let file = self.disk.open(name, OpenMode::Existing)?;
            let len = file.len()?.min(FILE_LEN_MAX) as usize;
            file.write_at(0, &vec![0; len])?;
            file.sync()?;
            self.disk.remove(name)?;
            self.disk.sync_dir()
        };
        wiped().map_err(StoreError::from_io)
    }

    fn cipher(&self, head: &[u8]) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&head[19..19 + SALT_LEN]), &*self.key)
            .expand(PURPOSE.as_bytes(), &mut *key)
            .expect("32 bytes are within HKDF's reach");
        XChaCha20Poly1305::new(&(*key).into())
    }
}

const DAMAGED: StoreError = StoreError::Damaged(
    "the file \"prekeys\" cannot be read; remove it, and new ones are made (letters sealed for the old ones are \
     sealed anew by their authors)",
);

fn nonce(head: &[u8]) -> XNonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&head[19 + SALT_LEN..HEAD_LEN]);
    XNonce::from(nonce)
}

/// The keys that should be there beside `records`: one for this week and each of the next eight, and a last resort.
fn due(records: &[Record], now: UnixTime, rng: &mut impl CryptoRng) -> Vec<Record> {
    let week = now.0 / WEEK.as_secs();
    let mut fresh = Vec::new();
    for ahead in 0..=WEEKS_AHEAD as u64 {
        let end = UnixTime((week + ahead + 1) * WEEK.as_secs() - 1);
        if !records.iter().any(|one| !one.last_resort && one.seal_until == end) {
            fresh.push(Record::draw(end, false, rng));
        }
    }
    let soon = now.plus(LAST_RESORT_OVERLAP);
    if !records.iter().any(|one| one.last_resort && one.seal_until >= soon) {
        let end = UnixTime((week + 1) * WEEK.as_secs() - 1).plus(LAST_RESORT_LIFE);
        fresh.push(Record::draw(end, true, rng));
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{AfterCrash, Fault, SimDisk};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

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

    /// The raw directory, the master key and an old copy of everything else do not open what was destroyed.
    #[test]
    fn a_destroyed_key_is_nowhere_in_the_directory() {
        let disk = SimDisk::new();
        let mut prekeys = open(&disk, NOW, 1).unwrap();
        let old = prekeys.published(NOW).prekeys[0].clone();
        let old_file = disk.bytes(NAME).unwrap();
        prekeys.rotate(Some(UnixTime(old.open_until.0 + 1)), &mut StdRng::seed_from_u64(3)).unwrap();
        assert_eq!(disk.list().unwrap(), [NAME]);
        let now = disk.bytes(NAME).unwrap();
        let shared = now.windows(24).filter(|part| old_file.windows(24).any(|was| was == *part)).count();
        assert_eq!(shared, 0, "salt, nonce and ciphertext are new");
        assert!(open(&disk, NOW, 4).unwrap().secret(&old.public.id()).is_none());
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
            for seed in 0..8 {
                let found = disk.after_crash(AfterCrash::Torn(seed));
                let again = open(&found, later, 9).unwrap_or_else(|error| panic!("operation {n}: {error}"));
                for id in &old {
                    assert!(again.secret(id).is_some(), "operation {n}, seed {seed}: a key is lost");
                }
                assert!(rotated.is_err() || again.published(later).prekeys.len() == 9);
                assert_eq!(found.list().unwrap(), [NAME], "operation {n}, seed {seed}");
            }
            if rotated.is_ok() {
                return;
            }
        }
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
    }
}

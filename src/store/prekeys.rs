//! The private halves of the prekeys: one small file of its own, never in the database, never in a backup.
//!
//! ```text
//! "onionskin prekeys\n" (18) ‖ format (1) ‖ salt (32) ‖ nonce (24) ‖ XChaCha20-Poly1305 of CBOR records
//! key = HKDF-SHA256(master key for prekeys, salt of this file)
//! ```
//!
//! Promises that every change writes a new file under a new salt and wipes the old one, so that what was destroyed is
//! gone from the directory; that a crash leaves the old file or the new; and that nothing is destroyed without agreed
//! time. A key is used for a week, and kept for 45 days more. Flash and copying file systems may keep what was wiped.

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
use std::io;
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
const SALT_AT: usize = MAGIC.len() + 1;
const HEAD_LEN: usize = SALT_AT + SALT_LEN + NONCE_LEN;
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
/// What is sealed for until later than this was made while the clock was wrong.
const MISDATED_WEEK: Duration = WEEK.saturating_mul(WEEKS_AHEAD as u32 + 2);
const MISDATED_LAST_RESORT: Duration = LAST_RESORT_LIFE.saturating_add(WEEK.saturating_mul(2));

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

/// A prekey, ready for use.
struct Held {
    record: Record,
    secret: SecretPrekey,
}

impl Held {
    fn new(record: Record) -> Self {
        let secret = SecretPrekey::from_seed(&record.seed);
        Self { record, secret }
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

/// The private half of a prekey, to be taken elsewhere.
pub struct Exported {
    /// The private half.
    pub secret: SecretPrekey,
    /// The last second in which a letter may be sealed for it.
    pub seal_until: UnixTime,
    /// The last second for which it is kept here.
    pub open_until: UnixTime,
    /// Whether it is one for whoever knows no newer Card.
    pub last_resort: bool,
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
        prekeys.tidy().map_err(StoreError::from_io)?;
        let records = match prekeys.read()? {
            Some(records) => records,
            None => {
                let records = due(&[], now, rng);
                prekeys.replace(&records, rng).map_err(StoreError::from_io)?;
                records
            }
        };
        prekeys.held = records.into_iter().map(Held::new).collect();
        Ok(prekeys)
    }

    /// The private half of this name, unless it never was or was destroyed.
    pub fn secret(&self, id: &PrekeyId) -> Option<SecretPrekey> {
        self.held.iter().find(|held| held.secret.id() == *id).map(|held| held.secret.share())
    }

    /// All private halves, those that end first in front. Where they go, what was sealed for them opens for ever.
    pub fn export(&self) -> Vec<Exported> {
        let mut all: Vec<Exported> = self
            .held
            .iter()
            .map(|held| Exported {
                secret: held.secret.share(),
                seal_until: held.record.seal_until,
                open_until: held.record.open_until(),
                last_resort: held.record.last_resort,
            })
            .collect();
        all.sort_by_key(|one| (one.last_resort, one.seal_until));
        all
    }

    /// What the Card of this time says.
    pub fn published(&self, now: UnixTime) -> PublishedSet {
        let publish = |held: &Held| Published {
            public: held.secret.public().clone(),
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
    ///
    /// After `Ok` what was destroyed is wiped. After an error the change may have been made all the same, and only the
    /// wiping have failed: the next call, or the next start, does that.
    pub fn rotate(&mut self, agreed: Option<UnixTime>, rng: &mut impl CryptoRng) -> Result<bool, StoreError> {
        let Some(agreed) = agreed else { return Ok(false) };
        self.tidy().map_err(StoreError::from_io)?;
        let mut records: Vec<Record> = self.held.iter().map(|held| held.record.clone()).collect();
        let misdated = redate(&mut records, agreed);
        records.retain(|record| record.open_until() >= agreed);
        let fresh = due(&records, agreed, rng);
        if records.len() == self.held.len() && fresh.is_empty() && !misdated {
            return Ok(false);
        }
        records.extend(fresh);
        self.replace(&records, rng).map_err(StoreError::from_io)?;
        // What is held is what is on the disk.
        self.held = records.into_iter().map(|record| self.hold(record)).collect();
        self.tidy().map_err(StoreError::from_io)?;
        Ok(true)
    }

    /// A record with its key, which need not be computed again if it is held already.
    fn hold(&self, record: Record) -> Held {
        match self.held.iter().find(|held| held.record.seed == record.seed) {
            Some(held) => Held { record, secret: held.secret.share() },
            None => Held::new(record),
        }
    }

    fn read(&self) -> Result<Option<Vec<Record>>, StoreError> {
        let file = match self.disk.open(NAME, OpenMode::Existing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::from_io(error)),
        };
        let len = file.len().map_err(StoreError::from_io)?;
        if len <= HEAD_LEN as u64 || len > FILE_LEN_MAX {
            return Err(DAMAGED);
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StoreError::from_io)?;
        let (head, sealed) = bytes.split_at(HEAD_LEN);
        match (head.starts_with(MAGIC), head[MAGIC.len()]) {
            (true, FORMAT) => {}
            (true, newer) if newer > FORMAT => return Err(NEWER),
            _ => return Err(DAMAGED),
        }
        let plain = self.cipher(head).decrypt(&nonce(head), Payload { msg: sealed, aad: head });
        let plain = Zeroizing::new(plain.map_err(|_| DAMAGED)?);
        let records: Vec<Record> = serde_cbor::from_slice(&plain).map_err(|_| DAMAGED)?;
        let whole = [false, true].iter().all(|kind| records.iter().any(|one| one.last_resort == *kind));
        if whole { Ok(Some(records)) } else { Err(DAMAGED) }
    }

    /// Puts a new file in the place of the old, durably. The old one is there until [`Self::tidy`] wipes it.
    fn replace(&self, records: &[Record], rng: &mut impl CryptoRng) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.resize(HEAD_LEN, 0);
        rng.fill_bytes(&mut bytes[SALT_AT..]);
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(256 + records.len() * 128));
        serde_cbor::to_writer(&mut *plain, &records).expect("plain fields are CBOR");
        let sealed = self
            .cipher(&bytes)
            .encrypt(&nonce(&bytes), Payload { msg: &plain, aad: &bytes })
            .expect("a few keys are within the cipher's limits");
        bytes.extend(sealed);
        let file = self.disk.open(NEW_NAME, OpenMode::Fresh)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        if self.disk.list()?.iter().any(|name| name == NAME) {
            self.disk.rename(NAME, OLD_NAME)?;
        }
        self.disk.rename(NEW_NAME, NAME)?;
        self.disk.sync_dir()
    }

    /// Ends a change that was interrupted: afterwards there is one file, and what it replaced is wiped.
    fn tidy(&self) -> io::Result<()> {
        let names = self.disk.list()?;
        let there = |name: &str| names.iter().any(|found| found == name);
        if there(OLD_NAME) {
            // Between the two renames there is no file of that name, and a new one that is whole.
            match (there(NAME), there(NEW_NAME)) {
                (true, _) => {}
                (false, true) => self.disk.rename(NEW_NAME, NAME)?,
                (false, false) => self.disk.rename(OLD_NAME, NAME)?,
            }
            // The name must be there to stay before the old bytes go.
            self.disk.sync_dir()?;
        }
        for left in [NEW_NAME, OLD_NAME] {
            if self.disk.list()?.iter().any(|found| found == left) {
                self.wipe(left)?;
            }
        }
        Ok(())
    }

    /// Overwrites a file and removes it.
    fn wipe(&self, name: &str) -> io::Result<()> {
        let file = self.disk.open(name, OpenMode::Existing)?;
        let len = file.len()?.min(FILE_LEN_MAX) as usize;
        file.write_at(0, &vec![0; len])?;
        file.sync()?;
        self.disk.remove(name)?;
        self.disk.sync_dir()
    }

    fn cipher(&self, head: &[u8]) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&head[SALT_AT..SALT_AT + SALT_LEN]), &*self.key)
            .expand(PURPOSE.as_bytes(), &mut *key)
            .expect("32 bytes are within HKDF's reach");
        XChaCha20Poly1305::new(&(*key).into())
    }
}

const DAMAGED: StoreError = StoreError::Damaged(
    "the file \"prekeys\" cannot be read; remove it, and new ones are made (letters sealed for the old ones are \
     sealed anew by their authors)",
);

const NEWER: StoreError =
    StoreError::Damaged("the file \"prekeys\" was written by a newer program; use that one");

fn nonce(head: &[u8]) -> XNonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&head[SALT_AT + SALT_LEN..HEAD_LEN]);
    XNonce::from(nonce)
}

/// Lets what is dated too far ahead end now: a clock that was wrong must not make keys that never die.
fn redate(records: &mut [Record], now: UnixTime) -> bool {
    let mut misdated = false;
    for record in records {
        let limit = if record.last_resort { MISDATED_LAST_RESORT } else { MISDATED_WEEK };
        if record.seal_until > now.plus(limit) {
            record.seal_until = UnixTime(now.0.saturating_sub(1));
            misdated = true;
        }
    }
    misdated
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
mod tests;

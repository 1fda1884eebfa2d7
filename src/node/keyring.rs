//! `Keyring`: the keys that change while an identity stays: the device key with its certificate, the prekeys, and the
//! Card that tells everybody about them.
//!
//! Promises that a Card is given out only after the private halves of all its prekeys are on the disk, and that every
//! Card names the one before it. Nothing is destroyed without agreed time.

use crate::model::identity::Identity;
use crate::model::policy::LETTER_SIZE_MAX;
use crate::model::seal::{PrekeyId, SecretPrekey};
use crate::model::statement::card::{SUITE, commitment};
use crate::model::statement::{Card, Certificate, DeviceSigner, Prekey, Signed, StatementError, Verified};
use crate::model::time::UnixTime;
use crate::store::disk::Disk;
use crate::store::prekeys::{Exported, Prekeys, Published};
use crate::store::vault::MasterKey;
use crate::store::{Store, StoreError};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeroize::{Zeroize as _, Zeroizing};

/// How long a certificate holds. It is renewed after half of that.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);
/// Under this name the store keeps the device.
const DEVICE: &str = "device";
/// Under this name the store keeps our own newest Card.
const CARD: &str = "card";
/// What each letter's sealing seed is derived for.
const SEED_INFO: &[u8] = b"onionskin sealing seed v1";

/// What is kept of the device, inside the encrypted store.
#[derive(Serialize, Deserialize)]
struct DeviceRecord {
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    /// From this every letter's sealing seed is derived.
    #[serde(with = "serde_bytes")]
    sealing: [u8; 32],
    #[serde(with = "serde_bytes")]
    certificate: Vec<u8>,
}

/// The keys of this device.
pub struct Keyring {
    sealing: Zeroizing<[u8; 32]>,
    changing: Mutex<Changing>,
    prekeys: Mutex<Prekeys>,
}

/// What is made anew from time to time.
struct Changing {
    device: Arc<DeviceSigner>,
    card: Arc<Verified<Card>>,
}

impl Keyring {
    /// Opens what is kept, or makes it. Brings the Card up to date.
    pub async fn open(
        disk: Arc<dyn Disk>,
        key: &MasterKey,
        identity: &Identity,
        store: &Store,
        now: UnixTime,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, StoreError> {
        let prekeys = Prekeys::open_or_create(disk, key, now, rng)?;
        let (device, sealing) = open_device(identity, store, now, rng).await?;
        let kept: Option<serde_bytes::ByteBuf> = store.read(|rx| rx.meta().get(CARD)).await?;
        let kept = kept
            .map(|bytes| own(Signed::<Card>::parse(bytes.into_vec()).and_then(|signed| signed.verify(None))))
            .transpose()?;
        let card = match next_card(identity, &prekeys, kept.as_ref(), now)? {
            Some(next) => {
                keep_card(store, &next).await?;
                next
            }
            None => kept.expect("without a Card there is a next one"),
        };
        let changing = Mutex::new(Changing { device: Arc::new(device), card: Arc::new(card) });
        Ok(Self { sealing, changing, prekeys: Mutex::new(prekeys) })
    }

    /// Our own Card.
    pub fn card(&self) -> Arc<Verified<Card>> {
        self.changing().card.clone()
    }

    /// Signs for this device.
    pub fn device(&self) -> Arc<DeviceSigner> {
        self.changing().device.clone()
    }

    /// The private half of a prekey, unless it never was ours or was destroyed.
    pub fn secret(&self, id: &PrekeyId) -> Option<SecretPrekey> {
        self.prekeys.lock().unwrap_or_else(PoisonError::into_inner).secret(id)
    }

    /// The private halves of all prekeys, for their person to take elsewhere.
    pub fn private_prekeys(&self) -> Vec<Exported> {
        self.prekeys.lock().unwrap_or_else(PoisonError::into_inner).export()
    }

    /// The seed for sealing what begins with this signed header: the same for the same header, and nobody else's.
    pub fn sealing_seed(&self, header: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(SEED_INFO), &*self.sealing)
            .expand(header, &mut *seed)
            .expect("32 bytes are within HKDF's reach");
        seed
    }

    /// Makes what is due: new prekeys, a new Card, a new certificate. With agreed time, old prekeys are destroyed.
    pub async fn renew(
        &self,
        identity: &Identity,
        store: &Store,
        now: UnixTime,
        agreed: Option<UnixTime>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), StoreError> {
        let next = {
            let mut prekeys = self.prekeys.lock().unwrap_or_else(PoisonError::into_inner);
            prekeys.rotate(agreed, rng)?;
            next_card(identity, &prekeys, Some(&self.card()), now)?
        };
        if let Some(next) = next {
            keep_card(store, &next).await?;
            self.changing().card = Arc::new(next);
        }
        if self.device().certificate().until < now.plus(CERTIFICATE_LIFE / 2) {
            let (device, _) = open_device(identity, store, now, rng).await?;
            self.changing().device = Arc::new(device);
        }
        Ok(())
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device that is kept, or a new one; with a new certificate if the old one has lived half its life.
async fn open_device(
    identity: &Identity,
    store: &Store,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<(DeviceSigner, Zeroizing<[u8; 32]>), StoreError> {
    let kept: Option<DeviceRecord> = store.read(|rx| rx.meta().get(DEVICE)).await?;
    let mut record = kept.unwrap_or_else(|| {
        let mut record = DeviceRecord { seed: [0; 32], sealing: [0; 32], certificate: Vec::new() };
        rng.fill_bytes(&mut record.seed);
        rng.fill_bytes(&mut record.sealing);
        record
    });
    let key = SigningKey::from_bytes(&record.seed);
    let kept =
        Signed::<Certificate>::parse(record.certificate.clone()).and_then(|signed| signed.verify(None));
    let certificate = match kept {
        Ok(certificate) if certificate.until >= now.plus(CERTIFICATE_LIFE / 2) => certificate,
        _ => {
            let certificate = own(identity.sign_statement(&Certificate {
                device: key.verifying_key().to_bytes(),
                scope: Certificate::LETTERS | Certificate::STATEMENTS,
                made: now.to_the_hour(),
                until: now.to_the_hour().plus(CERTIFICATE_LIFE),
            }))?;
            record.certificate = certificate.bytes().to_vec();
            let kept = DeviceRecord {
                seed: record.seed,
                sealing: record.sealing,
                certificate: record.certificate.clone(),
            };
            store.write(move |tx| tx.meta().put(DEVICE, &kept)).await?;
            certificate
        }
    };
    let sealing = Zeroizing::new(record.sealing);
    record.seed.zeroize();
    record.sealing.zeroize();
    Ok((own(DeviceSigner::new(key, certificate))?, sealing))
}

/// The Card that should follow `kept`, if it no longer says what is so.
fn next_card(
    identity: &Identity,
    prekeys: &Prekeys,
    kept: Option<&Verified<Card>>,
    now: UnixTime,
) -> Result<Option<Verified<Card>>, StoreError> {
    let published = prekeys.published(now);
    let age_hours = now.since(identity.created()).as_secs() / 3600;
    let card = Card {
        // A later life of the identity, made again from its words, must have a greater number than the lives before.
        generation: identity.created().0,
        // With the hours it stays ahead of what was given out before, when an old copy of the directory is put back.
        sequence: kept.map_or(0, |kept| age_hours.max(kept.sequence + 1)),
        previous: kept.map(Verified::digest),
        made: now.to_the_hour(),
        names: identity.names().locals().to_vec(),
        recovery: commitment(identity.recovery_key()),
        suite: SUITE,
        prekeys: published.prekeys.iter().map(prekey).collect(),
        last_resort: prekey(&published.last_resort),
        size_max: LETTER_SIZE_MAX,
    };
    let says_the_same = kept.is_some_and(|kept| {
        let kept: &Card = kept;
        let as_before =
            Card { sequence: kept.sequence, previous: kept.previous, made: kept.made, ..card.clone() };
        *kept == as_before
    });
    if says_the_same { Ok(None) } else { own(identity.sign_statement(&card)).map(Some) }
}

/// What we sign ourselves verifies, or the store is not what was written.
fn own<T>(signed: Result<T, StatementError>) -> Result<T, StoreError> {
    signed.map_err(|_| StoreError::Damaged("a statement of our own does not verify"))
}

fn prekey(published: &Published) -> Prekey {
    Prekey {
        key: published.public.as_bytes().to_vec(),
        seal_until: published.seal_until,
        open_until: published.open_until,
    }
}

async fn keep_card(store: &Store, card: &Verified<Card>) -> Result<(), StoreError> {
    let bytes = serde_bytes::ByteBuf::from(card.bytes().to_vec());
    store.write(move |tx| tx.meta().put(CARD, &bytes)).await
}

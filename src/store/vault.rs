//! The vault: one small file that keeps the master key of a data directory, wrapped under a passphrase.
//!
//! Promises that a wrong passphrase, a damaged file and a newer format are three different errors, and that a
//! change of passphrase is atomic: after a crash the old or the new one opens. Without a passphrase the key lies
//! open in the file, and `Vault::protected` says so. Argon2id (RFC 9106) and XChaCha20-Poly1305.
//! Everything else that is encrypted uses keys derived from the master key (`MasterKey::derive`).

use super::disk::{Disk, OpenMode};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::aead::Payload;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use std::io;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Name of the vault in its directory.
const NAME: &str = "vault";
/// Name under which a new vault is written before it takes the place of the old.
const NEW_NAME: &str = "vault.new";
const MAGIC: &[u8; 16] = b"onionskin vault\n";
/// Format written today.
const FORMAT: u8 = 1;
const HEAD_LEN: usize = 16 + 2 + 12 + SALT_LEN + NONCE_LEN;
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 24;
const WRAPPED_LEN: usize = 32 + 16;
/// Largest cost that a file may ask for, so that a forged vault cannot take all memory (1 GiB).
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Largest number of passes that a file may ask for.
const PASSES_MAX: u32 = 64;

/// Cost of turning a passphrase into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl KdfCost {
    /// 64 MiB, 3 passes: RFC 9106's second recommended choice (section 4), about 0.2 s on a small machine.
    pub const STANDARD: KdfCost = KdfCost { memory_kib: 64 * 1024, passes: 3 };
    /// The least that Argon2 takes; for tests, where the passphrase guards nothing.
    pub const LEAST: KdfCost = KdfCost { memory_kib: 8, passes: 1 };
}

/// The key from which every other local key is derived. Not `Clone`, and never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A key from a random generator.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self(key)
    }

    /// A master key of its own for one part of the program.
    pub fn child(&self, purpose: &str) -> Self {
        Self(*self.derive(purpose))
    }

    /// The key for one purpose (HKDF-SHA256, RFC 5869, `purpose` as info). Different purposes, unrelated keys.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(purpose.as_bytes(), out.as_mut())
            .expect("32 bytes is a legal length for HKDF-SHA256");
        out
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

/// Why a vault could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no vault here.
    #[error("there is no identity here yet")]
    Missing,
    /// There is one already; it is never overwritten.
    #[error("there is a vault here already")]
    Exists,
    /// The vault has a passphrase and none was given.
    #[error("a passphrase is needed")]
    PassphraseNeeded,
    /// The passphrase is not the one.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The file is not what was written.
    #[error("the vault file is damaged; restore it from a backup, or recover with the 24 words")]
    Damaged,
    /// A later program wrote it.
    #[error("the vault has format {0}, which is newer than this program")]
    Newer(u8),
    /// The disk failed.
    #[error("cannot read or write the vault: {0}")]
    Disk(#[from] io::Error),
}

/// An opened vault.
pub struct Vault {
    /// The master key.
    pub key: MasterKey,
    /// Whether a passphrase guards it.
    pub protected: bool,
}

/// The clear beginning of the file; authenticated with the wrapped key.
struct Head {
    cost: Option<KdfCost>,
    salt: [u8; SALT_LEN],
    nonce: [u8; NONCE_LEN],
}

impl Vault {
    /// Makes a new master key and writes the vault, durably. Refused if there is one.
    pub fn create(
        disk: &dyn Disk,
        passphrase: Option<&[u8]>,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, VaultError> {
        if Self::exists(disk)? {
            return Err(VaultError::Exists);
        }
        let key = MasterKey::generate(rng);
        write(disk, &key, passphrase, cost, rng)?;
        Ok(Self { key, protected: passphrase.is_some() })
    }

    /// Opens the vault. A passphrase given to a vault that has none is not looked at.
    pub fn open(disk: &dyn Disk, passphrase: Option<&[u8]>) -> Result<Self, VaultError> {
        let bytes = read(disk)?;
        let head = Head::parse(&bytes)?;
        let wrapping = match (head.cost, passphrase) {
            (None, _) => Zeroizing::new(OPEN_KEY),
            (Some(_), None) => return Err(VaultError::PassphraseNeeded),
            (Some(cost), Some(passphrase)) => stretch(passphrase, &head.salt, cost)?,
        };
        let payload = Payload { msg: &bytes[HEAD_LEN..], aad: &bytes[..HEAD_LEN] };
        let opened = XChaCha20Poly1305::new(&(*wrapping).into()).decrypt(&XNonce::from(head.nonce), payload);
        let protected = head.cost.is_some();
        let opened = match opened {
            Ok(opened) => Zeroizing::new(opened),
            Err(_) if protected => return Err(VaultError::WrongPassphrase),
            Err(_) => return Err(VaultError::Damaged),
        };
        let key = MasterKey(opened.as_slice().try_into().map_err(|_| VaultError::Damaged)?);
        Ok(Self { key, protected })
    }

    /// Whether there is a vault.
    pub fn exists(disk: &dyn Disk) -> Result<bool, VaultError> {
        Ok(disk.list()?.iter().any(|name| name == NAME))
    }

    /// Whether the vault that is there wants a passphrase.
    pub fn is_protected(disk: &dyn Disk) -> Result<bool, VaultError> {
        Ok(Head::parse(&read(disk)?)?.cost.is_some())
    }

    /// Wraps the same master key under another passphrase (or none), atomically.
    ///
    /// The old file's bytes may live on in the free space of the disk: whoever copies the raw disk and knows the old
    /// passphrase can still use them.
    pub fn change_passphrase(
        &mut self,
        disk: &dyn Disk,
        passphrase: Option<&[u8]>,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), VaultError> {
        write(disk, &self.key, passphrase, cost, rng)?;
        self.protected = passphrase.is_some();
        Ok(())
    }
}

/// The wrapping key of a vault without passphrase. It hides nothing; the tag still finds damage.
const OPEN_KEY: [u8; 32] = [0; 32];

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        if bytes.len() < 17 || &bytes[..16] != MAGIC {
            return Err(VaultError::Damaged);
        }
        if bytes[16] > FORMAT {
            return Err(VaultError::Newer(bytes[16]));
        }
        if bytes.len() != HEAD_LEN + WRAPPED_LEN {
            return Err(VaultError::Damaged);
        }
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let cost = KdfCost { memory_kib: number(18), passes: number(22) };
        let sane = cost.memory_kib <= MEMORY_KIB_MAX && cost.passes <= PASSES_MAX && number(26) == 1;
        let cost = match bytes[17] {
            0 => None,
            1 if sane => Some(cost),
            _ => return Err(VaultError::Damaged),
        };
        let mut head = Self { cost, salt: [0; SALT_LEN], nonce: [0; NONCE_LEN] };
        head.salt.copy_from_slice(&bytes[30..30 + SALT_LEN]);
        head.nonce.copy_from_slice(&bytes[30 + SALT_LEN..HEAD_LEN]);
        Ok(head)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let cost = self.cost.unwrap_or(KdfCost { memory_kib: 0, passes: 0 });
        let mut bytes = MAGIC.to_vec();
        bytes.extend([FORMAT, u8::from(self.cost.is_some())]);
        for number in [cost.memory_kib, cost.passes, 1] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.salt);
        bytes.extend(self.nonce);
        bytes
    }
}

fn read(disk: &dyn Disk) -> Result<Vec<u8>, VaultError> {
    let file = disk.open(NAME, OpenMode::Existing).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::Missing,
        _ => VaultError::Disk(error),
    })?;
    // No more than could be right, so that a huge file in its place costs nothing.
    let len = file.len()?.min((HEAD_LEN + WRAPPED_LEN + 1) as u64);
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn write(
    disk: &dyn Disk,
    key: &MasterKey,
    passphrase: Option<&[u8]>,
    cost: KdfCost,
    rng: &mut dyn CryptoRng,
) -> Result<(), VaultError> {
    let mut head = Head { cost: passphrase.map(|_| cost), salt: [0; SALT_LEN], nonce: [0; NONCE_LEN] };
    rng.fill_bytes(&mut head.salt);
    rng.fill_bytes(&mut head.nonce);
    let wrapping = match passphrase {
        Some(passphrase) => stretch(passphrase, &head.salt, cost)?,
        None => Zeroizing::new(OPEN_KEY),
    };
    let mut bytes = head.to_bytes();
    let wrapped = XChaCha20Poly1305::new(&(*wrapping).into())
        .encrypt(&XNonce::from(head.nonce), Payload { msg: &key.0, aad: &bytes })
        .expect("a 32-byte message is within the cipher's limits");
    bytes.extend(wrapped);
    let file = disk.open(NEW_NAME, OpenMode::Fresh)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    disk.rename(NEW_NAME, NAME)?;
    disk.sync_dir()?;
    Ok(())
}

fn stretch(passphrase: &[u8], salt: &[u8], cost: KdfCost) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(|_| VaultError::Damaged)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(|_| VaultError::Disk(io::ErrorKind::OutOfMemory.into()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{AfterCrash, Fault, SimDisk};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    fn made(passphrase: Option<&[u8]>) -> (SimDisk, Vault) {
        let disk = SimDisk::new();
        let vault = Vault::create(&disk, passphrase, KdfCost::LEAST, &mut rng()).unwrap();
        (disk, vault)
    }

    #[test]
    fn the_passphrase_opens_and_another_does_not() {
        let (disk, vault) = made(Some(b"tulip"));
        assert!(Vault::is_protected(&disk).unwrap());
        assert!(matches!(Vault::open(&disk, None), Err(VaultError::PassphraseNeeded)));
        assert!(matches!(Vault::open(&disk, Some(b"rose")), Err(VaultError::WrongPassphrase)));
        let again = Vault::open(&disk, Some(b"tulip")).unwrap();
        assert!(again.protected);
        assert_eq!(again.key.derive("a"), vault.key.derive("a"));
        assert_ne!(again.key.derive("a"), vault.key.derive("b"));
    }

    #[test]
    fn a_vault_without_passphrase_says_so_and_is_never_overwritten() {
        let (disk, vault) = made(None);
        assert!(!Vault::open(&disk, None).unwrap().protected && !vault.protected);
        assert!(matches!(Vault::create(&disk, None, KdfCost::LEAST, &mut rng()), Err(VaultError::Exists)));
        assert!(matches!(Vault::open(&SimDisk::new(), None), Err(VaultError::Missing)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for passphrase in [None, Some(&b"tulip"[..])] {
            let (disk, _) = made(passphrase);
            let bits = disk.bytes(NAME).unwrap().len() as u64 * 8;
            // A step that is prime visits every byte and keeps the test quick.
            for bit in (0..bits).step_by(7) {
                disk.flip_bit(NAME, bit);
                assert!(Vault::open(&disk, Some(b"tulip")).is_err(), "bit {bit}");
                disk.flip_bit(NAME, bit);
            }
            assert!(Vault::open(&disk, passphrase).is_ok());
        }
    }

    #[test]
    fn a_change_of_passphrase_leaves_the_old_or_the_new_at_every_crash() {
        let mut opened_by_new = 0;
        for n in 0.. {
            let (disk, mut vault) = made(Some(b"old"));
            disk.fault_at(disk.operations() + n, Fault::Crash);
            let changed = vault.change_passphrase(&disk, Some(b"new"), KdfCost::LEAST, &mut rng());
            for seed in 0..20 {
                let found = disk.after_crash(AfterCrash::Torn(seed));
                let by_new = Vault::open(&found, Some(b"new")).is_ok();
                assert!(by_new || Vault::open(&found, Some(b"old")).is_ok(), "operation {n}, seed {seed}");
                assert!(by_new || changed.is_err(), "operation {n}, seed {seed}: said done, and is not");
                opened_by_new += u32::from(by_new);
            }
            if changed.is_ok() {
                break;
            }
        }
        assert!(opened_by_new > 0);
    }

    #[test]
    fn a_newer_format_is_named() {
        let (disk, _) = made(None);
        let file = disk.open(NAME, OpenMode::Existing).unwrap();
        file.write_at(16, &[9]).unwrap();
        assert!(matches!(Vault::open(&disk, None), Err(VaultError::Newer(9))));
    }
}

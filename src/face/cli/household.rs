//! The data directory from the outside: where it is, opening it with its passphrase, making an identity in it.

use crate::face::cli::exit::{Exit, Failure};
use crate::model::address::LocalPart;
use crate::model::identity::{Identity, RecoveryWords};
use crate::node::clock::{Clock, SystemClock};
use crate::node::desk::Desk;
use crate::store::disk::{Disk, RealDisk, TakeDiskError};
use crate::store::vault::{KdfCost, Vault, VaultError};
use crate::store::{Run, Store, StoreError, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longest passphrase, in bytes.
const PASSPHRASE_LEN_MAX: usize = 1024;
/// Under this name the store keeps the identity's record.
pub(super) const IDENTITY: &str = "identity";

/// The data directory: the flag or variable, or where the platform keeps such data.
pub(super) fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return std::path::absolute(&dir).map_err(Failure::from);
    }
    let dirs = directories::ProjectDirs::from("", "", "onionskin").ok_or_else(|| {
        Failure::new(Exit::Config, "your home directory is not known")
            .hint("say where to keep your mail: --data-dir DIR")
    })?;
    Ok(dirs.data_dir().to_owned())
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassphraseSource {
    /// An open file descriptor.
    pub(super) fd: Option<u32>,
    /// Never ask at the terminal.
    pub(super) silent: bool,
}

impl PassphraseSource {
    /// The passphrase of an identity that is there.
    fn ask(self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(fd) = self.fd {
            return from_fd(fd).map(Some);
        }
        if self.silent || !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let asked = dialoguer::Password::new().with_prompt("Passphrase").interact();
        asked.map(|text| Some(Zeroizing::new(text))).map_err(cannot_ask)
    }

    /// A passphrase for a new identity; none leaves the disk unprotected.
    fn choose(self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(fd) = self.fd {
            return from_fd(fd).map(|text| (!text.is_empty()).then_some(text));
        }
        if self.silent || !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let asked = dialoguer::Password::new()
            .with_prompt("Choose a passphrase (empty: none, and the disk is unprotected)")
            .with_confirmation("The same again", "The two were not the same")
            .allow_empty_password(true)
            .interact()
            .map_err(cannot_ask)?;
        Ok((!asked.is_empty()).then(|| Zeroizing::new(asked)))
    }
}

fn cannot_ask(error: dialoguer::Error) -> Failure {
    Failure::new(Exit::NoInput, format_args!("no passphrase could be read: {error}"))
}

/// The first line of an open file descriptor.
fn from_fd(fd: u32) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: &str| {
        Failure::new(Exit::NoInput, format_args!("no passphrase on file descriptor {fd}: {why}"))
            .hint("for example: onionskin --passphrase-fd 3 up 3< passphrase-file")
    };
    let file = std::fs::File::open(format!("/dev/fd/{fd}")).map_err(|error| failed(&error.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_LEN_MAX + 2));
    file.take(PASSPHRASE_LEN_MAX as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error.to_string()))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > PASSPHRASE_LEN_MAX {
        return Err(failed("longer than 1024 bytes"));
    }
    let text = std::str::from_utf8(line).map_err(|_| failed("not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// An open data directory.
pub(super) struct Household {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) vault: Vault,
}

impl Household {
    /// Takes the directory's lock and opens the vault that is there.
    pub(super) fn open(dir: &Path, passphrase: PassphraseSource) -> Result<Self, Failure> {
        if !dir.exists() {
            return Err(no_identity());
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir).map_err(taken)?);
        if !Vault::exists(&*disk).map_err(vault_failure)? {
            return Err(no_identity());
        }
        let text = match Vault::is_protected(&*disk).map_err(vault_failure)? {
            true => passphrase.ask()?,
            false => None,
        };
        let vault = Vault::open(&*disk, text.as_ref().map(|text| text.as_bytes())).map_err(vault_failure)?;
        Ok(Self { disk, vault })
    }

    /// Takes the directory's lock, and opens the vault that is there or makes one.
    fn open_or_make(dir: &Path, passphrase: PassphraseSource) -> Result<Self, Failure> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir).map_err(taken)?);
        if Vault::exists(&*disk).map_err(vault_failure)? {
            drop(disk);
            return Self::open(dir, passphrase);
        }
        let text = passphrase.choose()?;
        let vault = Vault::create(
            &*disk,
            text.as_ref().map(|text| text.as_bytes()),
            KdfCost::STANDARD,
            &mut StdRng::from_seed(entropy()?),
        )
        .map_err(vault_failure)?;
        Ok(Self { disk, vault })
    }

    /// The store and its identity, as a desk.
    pub(super) async fn desk(&self) -> Result<Arc<Desk>, Failure> {
        let store =
            Store::open(self.disk.clone(), &self.vault.key, options()?).await.map_err(store_failure)?;
        let record: Option<serde_bytes::ByteBuf> =
            store.read(|rx| rx.meta().get(IDENTITY)).await.map_err(store_failure)?;
        let record = Zeroizing::new(record.ok_or_else(no_identity)?.into_vec());
        let identity = Identity::from_record(&record).map_err(|error| {
            Failure::new(Exit::Data, format_args!("the identity cannot be read: {error}"))
        })?;
        desk_over(identity, store).await
    }
}

/// A new identity in a data directory.
pub(super) struct Made {
    pub(super) household: Household,
    pub(super) desk: Arc<Desk>,
}

/// Whether there is an identity in this directory already (a vault and a store with an identity in it, or a vault
/// that cannot be looked into without its passphrase).
pub(super) fn has_identity(dir: &Path) -> bool {
    dir.join("mail.db").exists() || dir.join("control.sock").exists()
}

/// Makes an identity of these words. What an interrupted attempt left is completed.
pub(super) async fn make(
    dir: &Path,
    words: &RecoveryWords,
    name: LocalPart,
    passphrase: PassphraseSource,
) -> Result<Made, Failure> {
    let household = Household::open_or_make(dir, passphrase)?;
    let (disk, key) = (household.disk.clone(), &household.vault.key);
    let now = SystemClock.now();
    let store = match Store::exists(&*disk).map_err(store_failure)? {
        true => Store::open(disk, key, options()?).await,
        false => Store::create(disk, key, options()?, now).await,
    }
    .map_err(store_failure)?;
    let identity = Identity::from_words(words, name, now);
    let record = serde_bytes::ByteBuf::from(identity.to_record().to_vec());
    let fresh = store
        .write(move |tx| {
            if tx.meta().get::<serde_bytes::ByteBuf>(IDENTITY)?.is_some() {
                return Ok(false);
            }
            tx.meta().put(IDENTITY, &record)?;
            Ok(true)
        })
        .await
        .map_err(store_failure)?;
    if !fresh {
        return Err(Failure::new(Exit::CannotCreate, "there is an identity in this data directory already")
            .hint("another identity needs a directory of its own: onionskin --data-dir DIR init"));
    }
    Ok(Made { desk: desk_over(identity, store).await?, household })
}

async fn desk_over(identity: Identity, store: Store) -> Result<Arc<Desk>, Failure> {
    let desk = Desk::new(identity, store, Arc::new(SystemClock), entropy()?).await.map_err(store_failure)?;
    Ok(Arc::new(desk))
}

fn options() -> Result<StoreOptions, Failure> {
    Ok(StoreOptions { run: Run::Blocking, seed: entropy()? })
}

/// Random bytes of the system's generator.
pub(super) fn entropy() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Unavailable, format_args!("the system gives no randomness: {error}"))
    })?;
    Ok(bytes)
}

fn no_identity() -> Failure {
    Failure::new(Exit::Config, "there is no identity here yet").hint("make one: onionskin up")
}

fn taken(error: TakeDiskError) -> Failure {
    match error {
        TakeDiskError::AlreadyOpen => Failure::new(Exit::TempFail, error.to_string())
            .hint("if a node runs, stop it first or use its commands; see: onionskin status"),
        error => Failure::new(Exit::CannotCreate, error.to_string()),
    }
}

fn vault_failure(error: VaultError) -> Failure {
    match error {
        VaultError::PassphraseNeeded => Failure::new(Exit::NoInput, "this identity has a passphrase")
            .hint("run the command at a terminal, or give --passphrase-fd FD"),
        VaultError::WrongPassphrase => Failure::new(Exit::NoPermission, "the passphrase is wrong"),
        VaultError::Missing => no_identity(),
        VaultError::Disk(_) => Failure::new(Exit::Io, error.to_string()),
        error => Failure::new(Exit::Data, error.to_string()),
    }
}

/// A failure of the store, in the words of the command line.
pub(crate) fn store_failure(error: StoreError) -> Failure {
    match error {
        StoreError::Full => Failure::new(Exit::TempFail, "the disk is full").hint("make room and try again"),
        StoreError::NoMailbox | StoreError::MailboxName(_) => Failure::new(Exit::NoInput, error.to_string())
            .hint("folders have the names your mail program shows"),
        StoreError::NoMessage | StoreError::NoEntry => Failure::new(Exit::NoInput, error.to_string()),
        StoreError::Damaged(_) | StoreError::WrongKey | StoreError::Newer { .. } => {
            Failure::new(Exit::Data, error.to_string())
        }
        StoreError::Bug(_) => Failure::new(Exit::Software, error.to_string()),
        error => Failure::new(Exit::Io, error.to_string()),
    }
}

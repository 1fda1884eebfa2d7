//! The data directory from the outside: where it is, opening it with its passphrase, making an identity in it.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::passphrase::Passphrase;
use crate::face::cli::shown;
use crate::face::control::Door;
use crate::model::address::LocalPart;
use crate::model::identity::{Identity, RecoveryWords};
use crate::node::clock::{Clock, SystemClock};
use crate::node::desk::Desk;
use crate::node::neighbours::Neighbours;
use crate::store::disk::{Disk, OpenMode, RealDisk, TakeDiskError};
use crate::store::vault::{KdfCost, MasterKey, Vault, VaultError};
use crate::store::{Run, Store, StoreError, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The variable that names the data directory; empty is as good as not set.
const DATA_DIR_VARIABLE: &str = "ONIONSKIN_DATA_DIR";
/// While this file is there, an identity is being made; what an interrupted attempt left is completed.
const UNFINISHED: &str = "unfinished";
/// What may be in a directory that is to become a data directory: its file system's own, and our lock.
const NO_CONTENT: [&str; 2] = ["lost+found", "lock"];
/// How long a command waits for another one that has the data directory to itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const PATIENCE_STEP: Duration = Duration::from_millis(50);
/// Under this name the store keeps the identity's record.
pub(super) const IDENTITY: &str = "identity";

/// The data directory: the flag or variable, or where the platform keeps such data.
pub(super) fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let named = std::env::var_os(DATA_DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(dir) = given.or(named) {
        return std::path::absolute(&dir).map_err(Failure::from);
    }
    let dirs = directories::ProjectDirs::from("", "", "onionskin").ok_or_else(|| {
        Failure::new(Exit::Config, "your home directory is not known")
            .hint("say where to keep your mail: --data-dir DIR")
    })?;
    Ok(dirs.data_dir().to_owned())
}

/// Who has the data directory.
pub(super) enum Turn {
    /// A node runs on it; it opens the door.
    Node(Door),
    /// It is ours.
    Ours(Arc<dyn Disk>),
}

/// Asks the running node, or takes the directory. Another command that has it is waited for, but not for ever.
pub(super) async fn turn(dir: &Path) -> Result<Turn, Failure> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(door) = Door::knock(dir).await {
            return Ok(Turn::Node(door));
        }
        check_there(dir)?;
        match RealDisk::open(dir) {
            Ok(disk) => return Ok(Turn::Ours(Arc::new(disk))),
            Err(TakeDiskError::AlreadyOpen) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(PATIENCE_STEP).await;
            }
            Err(error) => return Err(taken(dir, error)),
        }
    }
}

/// Refuses, without touching anything, a directory in which there is no identity.
fn check_there(dir: &Path) -> Result<(), Failure> {
    let there = |name: &str| dir.join(name).try_exists().map_err(|error| unusable(dir, error));
    match (there("vault")?, there("mail.db")?) {
        (true, _) => Ok(()),
        (false, false) => Err(no_identity()),
        (false, true) => Err(Failure::new(
            Exit::Data,
            format_args!("the file \"vault\" is missing from {}, and nothing opens without it", shown(dir)),
        )
        .hint(
            "put it back from a backup, or bring your address back with your 24 words elsewhere: \
             onionskin --data-dir DIR init --recover",
        )),
    }
}

/// Refuses, without touching anything, to make an identity among files that are somebody else's.
fn check_empty(dir: &Path) -> Result<(), Failure> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| unusable(dir, error))?,
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let ours = names.iter().any(|name| name == "vault" || name == UNFINISHED);
    if ours || names.iter().all(|name| NO_CONTENT.iter().any(|known| name == known)) {
        return Ok(());
    }
    let what = format!("the directory {} holds other files", shown(dir));
    Err(Failure::new(Exit::CannotCreate, what).hint("name a directory that is empty or not there yet"))
}

/// An open data directory.
pub(super) struct Household {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) vault: Vault,
}

impl Household {
    /// Opens the vault that is there.
    pub(super) fn open(disk: Arc<dyn Disk>, passphrase: &Passphrase) -> Result<Self, Failure> {
        let text = match Vault::is_protected(&*disk).map_err(vault_failure)? {
            true => passphrase.ask()?,
            false => None,
        };
        let vault = Vault::open(&*disk, text.as_ref().map(|text| text.as_bytes())).map_err(vault_failure)?;
        Ok(Self { disk, vault })
    }

    /// Opens the vault that an interrupted attempt left, or makes one.
    fn open_or_make(disk: Arc<dyn Disk>, passphrase: &Passphrase) -> Result<Self, Failure> {
        if Vault::exists(&*disk).map_err(vault_failure)? {
            return Self::open(disk, passphrase);
        }
        let text = passphrase.choose()?;
        disk.open(UNFINISHED, OpenMode::OrCreate)?;
        disk.sync_dir()?;
        let vault = Vault::create(
            &*disk,
            text.as_ref().map(|text| text.as_bytes()),
            KdfCost::STANDARD,
            &mut StdRng::from_seed(entropy()?),
        )
        .map_err(vault_failure)?;
        Ok(Self { disk, vault })
    }

    fn finished(&self) -> Result<(), Failure> {
        match self.disk.remove(UNFINISHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(self.disk.sync_dir()?),
        }
    }

    /// The store and its identity, as a desk.
    pub(super) async fn desk(&self) -> Result<Arc<Desk>, Failure> {
        match Store::open(self.disk.clone(), &self.vault.key, options()?).await {
            Ok(store) => known(store, (self.disk.clone(), &self.vault.key)).await?.ok_or_else(no_identity),
            // The making of an identity was interrupted.
            Err(StoreError::Missing) => Err(no_identity()),
            Err(error) => Err(store_failure(error)),
        }
    }
}

/// The desk of the identity in this store, if there is one.
async fn known(store: Store, keys: (Arc<dyn Disk>, &MasterKey)) -> Result<Option<Arc<Desk>>, Failure> {
    let record: Option<serde_bytes::ByteBuf> =
        store.read(|rx| rx.meta().get(IDENTITY)).await.map_err(store_failure)?;
    let Some(record) = record.map(|record| Zeroizing::new(record.into_vec())) else { return Ok(None) };
    let identity = Identity::from_record(&record)
        .map_err(|error| Failure::new(Exit::Data, format_args!("the identity cannot be read: {error}")))?;
    desk_over(identity, store, keys).await.map(Some)
}

/// What making an identity came to.
pub(super) enum Made {
    /// There is a new one.
    New(Household, Arc<Desk>),
    /// An earlier attempt had been interrupted only after the identity was made, and shown.
    Before(Household, Arc<Desk>),
}

/// Whether there is an identity in this directory already, as far as can be told without its passphrase.
pub(super) fn has_identity(dir: &Path) -> bool {
    dir.join("mail.db").exists() && !dir.join(UNFINISHED).exists()
}

/// Makes an identity of these words. What an interrupted attempt left is completed.
///
/// `show` shows it to its person before it is kept: words that nobody has seen must never be in use. It is told
/// whether a passphrase guards the disk.
pub(super) async fn make(
    dir: &Path,
    words: &RecoveryWords,
    name: LocalPart,
    passphrase: &Passphrase,
    show: impl FnOnce(&Identity, bool) -> Result<(), Failure>,
) -> Result<Made, Failure> {
    check_empty(dir)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir).map_err(|error| taken(dir, error))?);
    let household = Household::open_or_make(disk, passphrase)?;
    let (disk, key) = (household.disk.clone(), &household.vault.key);
    let now = SystemClock.now();
    let store = match Store::exists(&*disk).map_err(store_failure)? {
        true => Store::open(disk, key, options()?).await,
        false => Store::create(disk, key, options()?, now).await,
    }
    .map_err(store_failure)?;
    if let Some(desk) = known(store.clone(), (household.disk.clone(), &household.vault.key)).await? {
        household.finished()?;
        return Ok(Made::Before(household, desk));
    }
    let identity = Identity::from_words(words, name, now);
    show(&identity, household.vault.protected)?;
    let record = serde_bytes::ByteBuf::from(identity.to_record().to_vec());
    store.write(move |tx| tx.meta().put(IDENTITY, &record)).await.map_err(store_failure)?;
    household.finished()?;
    let desk = desk_over(identity, store, (household.disk.clone(), &household.vault.key)).await?;
    Ok(Made::New(household, desk))
}

async fn desk_over(
    identity: Identity,
    store: Store,
    keys: (Arc<dyn Disk>, &MasterKey),
) -> Result<Arc<Desk>, Failure> {
    let mut desk =
        Desk::new(identity, store, keys, Arc::new(SystemClock), entropy()?).await.map_err(store_failure)?;
    desk.neighbours = Neighbours::of_this_user();
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

fn taken(dir: &Path, error: TakeDiskError) -> Failure {
    match error {
        TakeDiskError::AlreadyOpen => {
            Failure::new(Exit::TempFail, "another onionskin command has this data directory open")
                .hint("try again when it has ended")
        }
        TakeDiskError::Io(error) => unusable(dir, error),
    }
}

fn unusable(dir: &Path, error: io::Error) -> Failure {
    let what = match dir.try_exists() {
        Ok(true) if !dir.is_dir() => format!("{} is not a directory", shown(dir)),
        _ => format!("the data directory {} cannot be used: {error}", shown(dir)),
    };
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NoPermission,
        io::ErrorKind::StorageFull => Exit::TempFail,
        _ => Exit::CannotCreate,
    };
    Failure::new(exit, what).hint("another can be named: --data-dir DIR")
}

fn vault_failure(error: VaultError) -> Failure {
    match error {
        VaultError::PassphraseNeeded => Failure::new(
            Exit::NoInput,
            "this identity has a passphrase, and there is no terminal to ask for it",
        )
        .hint("run the command at a terminal, or give --passphrase-fd FD"),
        VaultError::WrongPassphrase => {
            Failure::new(Exit::NoPermission, "the passphrase is wrong").hint("nothing was changed; try again")
        }
        VaultError::Missing => no_identity(),
        VaultError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => {
            store_failure(StoreError::Full)
        }
        VaultError::Disk(_) => Failure::new(Exit::Io, error.to_string()),
        error => Failure::new(Exit::Data, error.to_string()),
    }
}

/// A failure of the store, in the words of the command line.
pub(crate) fn store_failure(error: StoreError) -> Failure {
    match error {
        StoreError::Full => {
            Failure::new(Exit::TempFail, "the disk is full; nothing was kept").hint("make room and try again")
        }
        StoreError::NoMailbox | StoreError::MailboxName(_) => Failure::new(Exit::NoInput, error.to_string())
            .hint("folders have the names your mail program shows"),
        StoreError::TooMany(_) => Failure::new(Exit::Unavailable, error.to_string()),
        StoreError::MustReopen | StoreError::Closed => Failure::new(Exit::TempFail, error.to_string())
            .hint("stop the node and bring it up again; what was acknowledged is on the disk"),
        StoreError::NoMessage | StoreError::NoEntry => Failure::new(Exit::NoInput, error.to_string()),
        StoreError::Damaged(_) | StoreError::WrongKey | StoreError::Newer { .. } => {
            Failure::new(Exit::Data, error.to_string())
        }
        StoreError::Bug(_) => Failure::new(Exit::Software, error.to_string()),
        error => Failure::new(Exit::Io, error.to_string()),
    }
}

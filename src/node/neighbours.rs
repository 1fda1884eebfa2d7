//! `Neighbours`: the holders of other identities of this person that are unlocked on this machine at this moment.
//!
//! A holder who keeps letters for two identities sees both mailboxes come and go together. Promises that no holder is
//! used for two unless the person says so, as far as the same user of the system runs both. Identities tell each other
//! nothing: each locks a file for each holder, in a folder that the system keeps in memory, under a name that is a hash
//! with the number of this boot.

use onion::OnionAddress;
use rustix::process::getuid;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The names of the files are hashed with this in front.
const CONTEXT: &[u8] = b"onionskin holder in use\0";
/// Where Linux tells the number of this boot.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The holders that are ours, and the way to see which are another's.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// None: nobody else is asked.
    folder: Option<PathBuf>,
    ours: Mutex<BTreeMap<OnionAddress, File>>,
}

impl Neighbours {
    /// Those of this user on this machine.
    pub(crate) fn of_this_user() -> Self {
        let dirs = directories::BaseDirs::new();
        let told = dirs.as_ref().and_then(|dirs| dirs.runtime_dir()).map(Path::to_owned);
        let user = getuid().as_raw();
        // Who comes by su, or from a timer, is not told of the first; it is the usual place all the same.
        let usual = PathBuf::from(format!("/run/user/{user}"));
        let runtime = told.or_else(|| usual.is_dir().then_some(usual)).map(|dir| dir.join("onionskin"));
        let memory = Path::new("/dev/shm").is_dir().then(|| format!("/dev/shm/onionskin-{user}").into());
        let folder = runtime.or(memory);
        if folder.is_none() {
            tracing::warn!(
                "no folder in memory: whether another identity has the same holder cannot be seen"
            );
        }
        Self { folder, ours: Mutex::default() }
    }

    /// Makes a holder ours until this program ends or leaves it; `false` if it is another identity's. Where that cannot
    /// be seen, it is ours.
    pub(crate) fn claim(&self, holder: OnionAddress) -> bool {
        let Some(folder) = &self.folder else { return true };
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if ours.contains_key(&holder) {
            return true;
        }
        match lock(folder, &holder) {
            Ok(Some(file)) => {
                ours.insert(holder, file);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "whether another identity has the same holder cannot be seen");
                true
            }
        }
    }

    /// The holder is ours no more.
    pub(crate) fn leave(&self, holder: &OnionAddress) {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).remove(holder);
    }
}

/// The locked file of a holder; none if another program has it.
fn lock(folder: &Path, holder: &OnionAddress) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(folder)?;
    if !meta.is_dir() || meta.uid() != getuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other("the folder is not this user's alone"));
    }
    let boot = fs::read(BOOT).unwrap_or_default();
    let hash =
        Sha256::new().chain_update(CONTEXT).chain_update(boot).chain_update(holder.public_key()).finalize();
    let path = folder.join(data_encoding::HEXLOWER.encode(&hash[..16]));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &Path) -> Neighbours {
        Neighbours { folder: Some(folder.to_owned()), ours: Mutex::default() }
    }

    fn onion(seed: u8) -> OnionAddress {
        onion::HostKey::from_seed([seed; 32]).address()
    }

    #[test]
    fn a_holder_is_one_identity_s_until_it_is_left() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("onionskin");
        let (one, other) = (at(&folder), at(&folder));
        assert!(one.claim(onion(1)) && one.claim(onion(1)), "ours stays ours");
        assert!(!other.claim(onion(1)), "another's");
        assert!(other.claim(onion(2)), "another holder");
        one.leave(&onion(1));
        assert!(other.claim(onion(1)));
        assert!(!one.claim(onion(1)));
        drop(other);
        assert!(one.claim(onion(1)), "who ends lets go");
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!onion(1).host().contains(&name) && !onion(2).host().contains(&name), "{name}");
        }
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_believed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("onionskin");
        DirBuilder::new().mode(0o777).create(&folder).unwrap();
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(at(&folder).claim(onion(1)));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

//! `RealDisk`: a directory of this machine, private to its user, held by one process at a time.
//!
//! Promises mode 0700 for the directory and 0600 for every file, and that a second process (or a second `open` in
//! this one) is told `AlreadyOpen` instead of spoiling the store.

use super::{Disk, DiskFile, OpenMode, check_name};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file whose lock says that a process has the directory open.
const LOCK_NAME: &str = "lock";
/// Only the owner may enter or list.
const DIR_MODE: u32 = 0o700;
/// Only the owner may read or write.
const FILE_MODE: u32 = 0o600;

/// A directory of this machine. Dropping it gives the lock back.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    _lock: File,
}

/// Why a directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeDiskError {
    /// Another process has it.
    #[error("already running: another process has this data directory open")]
    AlreadyOpen,
    /// It could not be made or entered.
    #[error("cannot use the data directory: {0}")]
    Io(#[from] io::Error),
}

impl RealDisk {
    /// Takes `root`, making it (and its parents) if it is not there.
    pub fn open(root: &Path) -> Result<Self, TakeDiskError> {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(root)?;
        // A directory that was there keeps its mode otherwise, and it may be open to others.
        fs::set_permissions(root, fs::Permissions::from_mode(DIR_MODE))?;
        let lock = options().create(true).open(root.join(LOCK_NAME))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => TakeDiskError::AlreadyOpen,
            TryLockError::Error(error) => TakeDiskError::Io(error),
        })?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

impl Disk for RealDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = options();
        options.create(mode != OpenMode::Existing).truncate(mode == OpenMode::Fresh);
        Ok(Arc::new(RealFile(options.open(self.path(name)?)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name != LOCK_NAME && check_name(&name).is_ok() && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it makes a changed length durable too, and spares the write of the time stamp.
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_private_and_taken_once() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a/b");
        let disk = RealDisk::open(&root).unwrap();
        assert!(matches!(RealDisk::open(&root), Err(TakeDiskError::AlreadyOpen)));
        disk.open("x", OpenMode::OrCreate).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, DIR_MODE);
        assert_eq!(fs::metadata(root.join("x")).unwrap().permissions().mode() & 0o777, FILE_MODE);
        drop(disk);
        assert_eq!(RealDisk::open(&root).unwrap().list().unwrap(), ["x"]);
    }

    #[test]
    fn a_sync_that_the_system_refuses_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let disk = RealDisk::open(&root).unwrap();
        // No device of this kind can be synced, and no directory that is gone can be entered. Who never asks the
        // system is not told so.
        std::os::unix::fs::symlink("/dev/null", root.join("x")).unwrap();
        let file = disk.open("x", OpenMode::Existing).unwrap();
        assert!(file.sync().is_err());
        fs::remove_dir_all(&root).unwrap();
        assert!(disk.sync_dir().is_err());
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        for bad in ["", "..", "../x", "a/b", ".x", "A", &"x".repeat(65)] {
            assert_eq!(
                disk.open(bad, OpenMode::OrCreate).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{bad:?}"
            );
        }
    }
}

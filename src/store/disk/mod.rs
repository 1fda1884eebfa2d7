//! The one disk seam: everything the store keeps goes through `Disk` and `DiskFile`.
//!
//! Promises nothing until `DiskFile::sync` (bytes of that file) or `Disk::sync_dir` (its name) has returned `Ok`.
//! A disk is one flat directory. `RealDisk` is a directory of the machine; `SimDisk` is one in memory that counts,
//! fails, tears, forgets and reorders, for tests and the simulator.

mod real;
mod sim;

pub use real::{RealDisk, TakeDiskError};
pub use sim::{AfterCrash, Fault, SimDisk};

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Whether a missing file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must be there.
    Existing,
    /// The file is made if it is not there.
    OrCreate,
    /// The file is made, or emptied if it is there.
    Fresh,
}

/// One flat directory of files. Names have 1 to 64 of `a-z 0-9 . -`, and do not begin with a dot.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing. A new name is durable only after [`Disk::sync_dir`].
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Removes a name; what has the file open can still use it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, removals and renames durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file. All methods may be called from several threads.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Fills `out` from `offset`; an end of file before that is an error of kind `UnexpectedEof`.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, lengthening the file (with zeros between) if needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or lengthens (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes every byte written so far, and the length, durable.
    fn sync(&self) -> io::Result<()>;
}

/// Longest file name.
const NAME_LEN_MAX: usize = 64;

/// Refuses names that could leave the directory or collide on a case-folding file system.
fn check_name(name: &str) -> io::Result<()> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.starts_with('.') || !name.bytes().all(allowed) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file name of the store"));
    }
    Ok(())
}

//! The reserve: room on the disk that is kept for deleting.
//!
//! To delete a letter the database must write. So a file holds some room, which is given up when a write that brings no
//! letter finds the disk full; and letters are taken only while the file is there, so that they cannot use it up.

use super::disk::{Disk, OpenMode};
use super::error::StoreError;
use std::sync::{Arc, Mutex, MutexGuard};

const NAME: &str = "reserve";
/// Room for a hundred pages: several commits, after which redb uses the pages again that they set free.
const LEN: usize = 512 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    /// Whether the file is there, whole.
    kept: Mutex<bool>,
}

impl Reserve {
    /// Looks whether the file is there.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Self {
        let len = disk.open(NAME, OpenMode::Existing).and_then(|file| file.len());
        Self { disk, kept: Mutex::new(len.is_ok_and(|len| len == LEN as u64)) }
    }

    /// Makes the file if it is not there; `Full` if there is no room for it, and so none for a letter.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if *kept {
            return Ok(());
        }
        let write = || {
            let file = self.disk.open(NAME, OpenMode::Fresh)?;
            file.write_at(0, &filling())?;
            file.sync()
        };
        if let Err(error) = write() {
            let _ = self.disk.remove(NAME);
            return Err(StoreError::from_io(error));
        }
        *kept = true;
        Ok(())
    }

    /// Gives the room up; `false` if there is none to give.
    pub(super) fn spend(&self) -> bool {
        let mut kept = self.kept();
        std::mem::replace(&mut *kept, false) && self.disk.remove(NAME).is_ok()
    }

    fn kept(&self) -> MutexGuard<'_, bool> {
        self.kept.lock().expect("no holder of this lock panics")
    }
}

/// Bytes that no file system makes smaller (xorshift64, Marsaglia 2003). They hide nothing.
fn filling() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(LEN);
    while bytes.len() < LEN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

//! `Pages`: the file under redb, encrypted and authenticated page by page.
//!
//! Promises that a page reads back as it was written or not at all (XChaCha20-Poly1305, random nonce, the page's
//! number and the file's id as associated data), and that page 0, which redb rewrites in place, is never lost to a
//! torn write: it and the length live in two slots, written by turns, only at a sync. What it does not see is an
//! older state of one page put back by someone who can write to the disk.
//!
//! Layout: superblock (magic, format, id, key check) | slot 0 at 4096 | slot 1 at 12288 | page n at 20480 + (n-1)*4136.

use super::disk::DiskFile;
use super::vault::MasterKey;
use crate::model::aead::{EXTENDED_NONCE_LEN as NONCE_LEN, ExtendedCipher, TAG_LEN};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use redb::StorageBackend;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The page size of redb.
const PAGE_LEN: usize = 4096;
/// A page on the disk: nonce, ciphertext, tag.
const SEALED_LEN: usize = NONCE_LEN + PAGE_LEN + TAG_LEN;
const MAGIC: &[u8; 16] = b"onionskin pages\n";
const FORMAT: u8 = 1;
const ID_LEN: usize = 16;
const SUPERBLOCK_LEN: usize = 16 + 1 + ID_LEN + 16;
/// The slots lie in different 4 KiB blocks, so that no torn block harms both.
const SLOT_AT: [u64; 2] = [4096, 12288];
/// Sequence number, number of pages, sealed page 0.
const SLOT_LEN: usize = 16 + SEALED_LEN;
const PAGE_1_AT: u64 = 20480;

/// What became of the file, for whoever holds the database above it. redb itself refuses everything after one error.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Some operation failed; redb must be opened anew.
    failed: AtomicBool,
    /// A sync failed: what reached the disk is unknown, and nothing more may be promised.
    sync_failed: AtomicBool,
}

impl Health {
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }
}

/// The encrypted file. See the head of this file.
pub(super) struct Pages {
    file: Arc<dyn DiskFile>,
    cipher: ExtendedCipher,
    id: [u8; ID_LEN],
    nonces: Mutex<StdRng>,
    head: Mutex<Head>,
    health: Arc<Health>,
}

/// Page 0 and the length, which change together.
struct Head {
    page: Box<[u8; PAGE_LEN]>,
    /// Pages in the file, page 0 included; 0 before redb has written anything.
    count: u64,
    /// Number of the newest slot written; it lies in slot `sequence % 2`.
    sequence: u64,
    /// Changed since that slot was written.
    changed: bool,
}

/// Why the file could not be opened.
#[derive(Debug)]
pub(super) enum OpenPagesError {
    /// Another master key.
    WrongKey,
    /// The file has a later format.
    Newer(u8),
    /// The disk failed, or the file is damaged (`InvalidData`).
    Io(io::Error),
}

impl From<io::Error> for OpenPagesError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Pages {
    /// Begins an empty file. The id comes from `rng`, and so do the seeds of all nonces.
    pub(super) fn create(
        file: Arc<dyn DiskFile>,
        key: &MasterKey,
        mut rng: StdRng,
        health: Arc<Health>,
    ) -> Result<Self, OpenPagesError> {
        let mut id = [0; ID_LEN];
        rng.fill_bytes(&mut id);
        let mut block = MAGIC.to_vec();
        block.push(FORMAT);
        block.extend(id);
        block.extend(key_check(key, &id));
        file.write_at(0, &block)?;
        file.sync()?;
        let head = Head { page: Box::new([0; PAGE_LEN]), count: 0, sequence: 0, changed: false };
        Ok(Self::with(file, key, id, rng, head, health))
    }

    /// Opens a file at its newest slot.
    ///
    /// A sync that failed before the last stop may have left a slot that can be read but is not on the disk. That is
    /// harmless because redb writes and syncs the head at every opening, before it touches any other page.
    pub(super) fn open(
        file: Arc<dyn DiskFile>,
        key: &MasterKey,
        mut rng: StdRng,
        health: Arc<Health>,
    ) -> Result<Self, OpenPagesError> {
        let mut block = [0; SUPERBLOCK_LEN];
        file.read_at(0, &mut block)?;
        if &block[..16] != MAGIC {
            return Err(damaged().into());
        }
        if block[16] > FORMAT {
            return Err(OpenPagesError::Newer(block[16]));
        }
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&block[17..17 + ID_LEN]);
        if block[17 + ID_LEN..] != key_check(key, &id) {
            return Err(OpenPagesError::WrongKey);
        }
        // Another stream than at creation, whatever seed the caller gave.
        let rng = StdRng::from_rng(&mut rng);
        let head = Head { page: Box::new([0; PAGE_LEN]), count: 0, sequence: 0, changed: false };
        let pages = Self::with(file, key, id, rng, head, health);
        let newest =
            [0, 1].into_iter().filter_map(|slot| pages.read_slot(slot)).max_by_key(|head| head.sequence);
        let newest = newest.ok_or_else(damaged)?;
        let len = page_at(newest.count);
        if pages.file.len()? < len {
            pages.file.set_len(len)?;
        }
        *pages.head() = newest;
        Ok(pages)
    }

    fn with(
        file: Arc<dyn DiskFile>,
        key: &MasterKey,
        id: [u8; ID_LEN],
        rng: StdRng,
        head: Head,
        health: Arc<Health>,
    ) -> Self {
        let key = key.derive(&format!("onionskin pages {}", hex(&id)));
        let cipher = ExtendedCipher::new(key);
        Self { file, cipher, id, nonces: Mutex::new(rng), head: Mutex::new(head), health }
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().expect("no holder of this lock panics")
    }

    fn read_slot(&self, slot: usize) -> Option<Head> {
        let mut bytes = vec![0; SLOT_LEN];
        self.file.read_at(SLOT_AT[slot], &mut bytes).ok()?;
        let (numbers, sealed) = bytes.split_at_mut(16);
        let mut page = Box::new([0; PAGE_LEN]);
        self.unseal(&self.name_of_head(numbers), sealed, &mut page[..]).ok()?;
        Some(Head { page, count: number(&numbers[8..]), sequence: number(numbers), changed: false })
    }

    fn write_slot(&self, head: &mut Head) -> io::Result<()> {
        let sequence = head.sequence + 1;
        let mut bytes = Vec::with_capacity(SLOT_LEN);
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(head.count.to_be_bytes());
        let name = self.name_of_head(&bytes);
        self.seal(&name, &head.page[..], &mut bytes);
        self.file.write_at(SLOT_AT[(sequence % 2) as usize], &bytes)?;
        head.sequence = sequence;
        head.changed = false;
        Ok(())
    }

    fn name_of_head(&self, numbers: &[u8]) -> [u8; ID_LEN + 16] {
        let mut name = [0; ID_LEN + 16];
        name[..ID_LEN].copy_from_slice(&self.id);
        name[ID_LEN..].copy_from_slice(numbers);
        name
    }

    fn name_of_page(&self, page: u64) -> [u8; ID_LEN + 8] {
        let mut name = [0; ID_LEN + 8];
        name[..ID_LEN].copy_from_slice(&self.id);
        name[ID_LEN..].copy_from_slice(&page.to_be_bytes());
        name
    }

    fn seal(&self, name: &[u8], page: &[u8], out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_LEN];
        self.nonces.lock().expect("no holder of this lock panics").fill_bytes(&mut nonce);
        out.extend(nonce);
        let start = out.len();
        out.extend_from_slice(page);
        let tag = self.cipher.seal(&nonce, name, &mut out[start..]);
        out.extend(tag);
    }

    /// Opens `sealed` in place and copies the plaintext into `out`.
    fn unseal(&self, name: &[u8], sealed: &mut [u8], out: &mut [u8]) -> io::Result<()> {
        let (nonce, rest) = sealed.split_at_mut(NONCE_LEN);
        let (text, tag) = rest.split_at_mut(PAGE_LEN);
        let nonce = (&*nonce).try_into().map_err(|_| damaged())?;
        self.cipher.open(nonce, name, text, tag).map_err(|_| damaged())?;
        out.copy_from_slice(text);
        Ok(())
    }

    /// Reads whole pages from page `first`, at least 1, on.
    fn read_pages(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let mut sealed = vec![0; out.len() / PAGE_LEN * SEALED_LEN];
        self.file.read_at(page_at(first), &mut sealed)?;
        let pairs = sealed.chunks_exact_mut(SEALED_LEN).zip(out.chunks_exact_mut(PAGE_LEN));
        for (page, (sealed, out)) in (first..).zip(pairs) {
            self.unseal(&self.name_of_page(page), sealed, out)?;
        }
        Ok(())
    }

    /// Writes whole pages from page `first`, at least 1, on.
    fn write_pages(&self, first: u64, data: &[u8]) -> io::Result<()> {
        let mut sealed = Vec::with_capacity(data.len() / PAGE_LEN * SEALED_LEN);
        for (page, text) in (first..).zip(data.chunks_exact(PAGE_LEN)) {
            self.seal(&self.name_of_page(page), text, &mut sealed);
        }
        self.file.write_at(page_at(first), &sealed)
    }

    fn check_range(&self, offset: u64, len: usize) -> io::Result<()> {
        let end = offset.checked_add(len as u64);
        match end {
            Some(end) if end <= self.head().count * PAGE_LEN as u64 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_any(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check_range(offset, out.len())?;
        each_run(offset, out.len(), |page, within, range| {
            let out = &mut out[range];
            if page == 0 {
                out.copy_from_slice(&self.head().page[within..within + out.len()]);
            } else if within == 0 && out.len().is_multiple_of(PAGE_LEN) {
                self.read_pages(page, out)?;
            } else {
                let mut whole = [0; PAGE_LEN];
                self.read_pages(page, &mut whole)?;
                out.copy_from_slice(&whole[within..within + out.len()]);
            }
            Ok(())
        })
    }

    fn write_any(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_range(offset, data.len())?;
        each_run(offset, data.len(), |page, within, range| {
            let data = &data[range];
            if page == 0 {
                let mut head = self.head();
                head.page[within..within + data.len()].copy_from_slice(data);
                head.changed = true;
            } else if within == 0 && data.len().is_multiple_of(PAGE_LEN) {
                self.write_pages(page, data)?;
            } else {
                let mut whole = [0; PAGE_LEN];
                self.read_pages(page, &mut whole)?;
                whole[within..within + data.len()].copy_from_slice(data);
                self.write_pages(page, &whole)?;
            }
            Ok(())
        })
    }

    fn change_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(PAGE_LEN as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a length that is no number of pages"));
        }
        let mut head = self.head();
        let (old, new) = (head.count, len / PAGE_LEN as u64);
        let done = self.file.set_len(page_at(new));
        // redb cuts the file after a commit is durable. A failure there must not make the commit look failed, and
        // a file that stays longer harms nothing: the count in the head is what holds.
        if new > old {
            done?;
        }
        head.count = new;
        head.changed = true;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut head = self.head();
        if head.changed {
            self.write_slot(&mut head)?;
        }
        drop(head);
        self.file.sync()
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.health.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        Ok(self.head().count * PAGE_LEN as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.read_any(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.change_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.sync();
        if result.is_err() {
            self.health.sync_failed.store(true, Ordering::Release);
        }
        self.note(result)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.write_any(offset, data))
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

/// Cuts a range of bytes into runs: page 0 alone, a partial page alone, whole pages together. `run` is given the
/// first page, where in it the run begins, and which part of the caller's buffer it is.
fn each_run(
    offset: u64,
    len: usize,
    mut run: impl FnMut(u64, usize, std::ops::Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let (page, within) = (at / PAGE_LEN as u64, (at % PAGE_LEN as u64) as usize);
        let left = len - done;
        let step = if page > 0 && within == 0 && left >= PAGE_LEN {
            left / PAGE_LEN * PAGE_LEN
        } else {
            left.min(PAGE_LEN - within)
        };
        run(page, within, done..done + step)?;
        done += step;
    }
    Ok(())
}

/// Where page `page` begins on the disk; for the count of pages, where the file ends.
fn page_at(page: u64) -> u64 {
    PAGE_1_AT + page.saturating_sub(1) * SEALED_LEN as u64
}

fn key_check(key: &MasterKey, id: &[u8; ID_LEN]) -> [u8; 16] {
    let mut check = [0; 16];
    check.copy_from_slice(&key.derive(&format!("onionskin pages check {}", hex(id)))[..16]);
    check
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(bytes: &[u8]) -> u64 {
    bytes[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a page does not pass its check")
}

//! `SimDisk`: a disk in memory that does what disks do when the power goes, drawn from a seed.
//!
//! Every operation is counted; operation n can fail, or be the last one before the power goes. What was not synced
//! is then kept, lost or torn at 512 bytes (`SimDisk::after_crash`). A failed sync behaves as Linux does: the bytes
//! stay readable but will never reach the platter, and the next sync says `Ok` (the fsyncgate trap).

use super::{Disk, DiskFile, OpenMode, check_name};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes as one piece.
const SECTOR_LEN: u64 = 512;
/// What a file takes of the room as one piece.
const BLOCK_LEN: u64 = 4096;

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with an I/O error and does nothing. A sync loses what it should have kept.
    Eio,
    /// The operation fails for want of space (only what needs space: others succeed).
    NoSpace,
    /// The power goes: this write may have been under way, and nothing works after it.
    Crash,
}

/// What becomes of unsynced writes when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// All are lost.
    Lost,
    /// All had reached the disk.
    Kept,
    /// Each sector of each write is drawn by itself, and so is how many changes of names were kept.
    Torn(u64),
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    operations: u64,
    syncs: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    syncs_ignored: bool,
    capacity: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct FileState {
    /// Shared between the disks before and after a crash until one of them writes.
    now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
    /// Which blocks take room: those that were ever written.
    blocks: Vec<bool>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, usize),
    Remove(String),
    Rename(String, String),
}

/// What an operation is, for the choice of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Sync,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations were asked for so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many of them were syncs that were obeyed.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Lets operation `n` (counted from 0 over the life of this disk) go wrong.
    pub fn fault_at(&self, n: u64, fault: Fault) {
        self.state().faults.insert(n, fault);
    }

    /// Nothing more goes wrong that was to go wrong. Power that is off stays off.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Whether a [`Fault::Crash`] has struck: nothing works on this disk any more.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The room on this disk in bytes, over all files; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes that all files take that have a name; holes take none.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// From now on syncs answer `Ok` and do nothing: the liar against which tests of durability are tested.
    pub fn ignore_syncs(&self) {
        self.state().syncs_ignored = true;
    }

    /// Turns over one bit of a file, in what can be read now and on the platter.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        let mut state = self.state();
        let Some(&file) = state.names.get(name) else { return };
        let file = &mut state.files[file];
        let (at, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        for bytes in [&mut file.now, &mut file.durable] {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    /// The bytes of a file as a reader finds them now, if there is such a file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&file| state.files[file].now.to_vec())
    }

    /// The disk as found when the power is back: without faults, counters at zero. This disk is left as it is.
    pub fn after_crash(&self, how: AfterCrash) -> SimDisk {
        let state = self.state();
        let mut rng = match how {
            AfterCrash::Torn(seed) => Some(StdRng::seed_from_u64(seed)),
            AfterCrash::Lost | AfterCrash::Kept => None,
        };
        let kept_names = match (&mut rng, how) {
            (Some(rng), _) => rng.random_range(0..=state.unsynced_names.len()),
            (None, AfterCrash::Kept) => state.unsynced_names.len(),
            (None, _) => 0,
        };
        let mut names = state.durable_names.clone();
        for change in &state.unsynced_names[..kept_names] {
            change.apply(&mut names);
        }
        let found = |file: &FileState| {
            let mut bytes = file.durable.clone();
            for change in &file.unsynced {
                change.apply_after_crash(Arc::make_mut(&mut bytes), how, rng.as_mut());
            }
            FileState {
                now: bytes.clone(),
                durable: bytes,
                unsynced: Vec::new(),
                blocks: file.blocks.clone(),
            }
        };
        let files = state.files.iter().map(found).collect();
        let durable_names = names.clone();
        SimDisk(Arc::new(Mutex::new(State {
            files,
            names,
            durable_names,
            capacity: state.capacity,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl FileState {
    fn take_blocks(&mut self, written: std::ops::Range<usize>, change: &Change) {
        if let Change::SetLen(len) = change {
            self.blocks.truncate(len.div_ceil(BLOCK_LEN) as usize);
        }
        if self.blocks.len() < written.end {
            self.blocks.resize(written.end, false);
        }
        self.blocks[written].fill(true);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data } => put(bytes, *offset, data),
            Change::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }

    fn apply_after_crash(&self, bytes: &mut Vec<u8>, how: AfterCrash, rng: Option<&mut StdRng>) {
        match (how, rng) {
            (AfterCrash::Torn(_), Some(rng)) => match self {
                Change::SetLen(_) if rng.random() => self.apply(bytes),
                Change::SetLen(_) => {}
                Change::Write { offset, data } => tear(bytes, *offset, data, rng),
            },
            (AfterCrash::Kept, _) => self.apply(bytes),
            _ => {}
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// Writes each sector of `data` or not: all of it, none of it, or every sector by its own draw.
fn tear(bytes: &mut Vec<u8>, offset: u64, data: &[u8], rng: &mut StdRng) {
    let odds = [0.0, 0.5, 1.0][rng.random_range(0..3)];
    let mut at = 0;
    while at < data.len() {
        let sector_end = (offset + at as u64) / SECTOR_LEN * SECTOR_LEN + SECTOR_LEN;
        let end = data.len().min((sector_end - offset) as usize);
        if rng.random_bool(odds) {
            put(bytes, offset + at as u64, &data[at..end]);
        }
        at = end;
    }
}

impl State {
    fn used(&self) -> u64 {
        let blocks = |&file: &usize| self.files[file].blocks.iter().filter(|&&block| block).count() as u64;
        self.names.values().map(blocks).sum::<u64>() * BLOCK_LEN
    }

    /// Counts an operation and answers its fault; `Some(Crash)` only at the operation at which the power goes.
    fn begin(&mut self, kind: Kind, grows: u64) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(io::Error::other("the power is off"));
        }
        let n = self.operations;
        self.operations += 1;
        match self.faults.get(&n).copied() {
            Some(Fault::Crash) => {
                self.crashed = true;
                return Ok(Some(Fault::Crash));
            }
            Some(Fault::NoSpace) if kind == Kind::Write => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Eio) if kind == Kind::Sync => return Ok(Some(Fault::Eio)),
            Some(Fault::Eio) => return Err(io::Error::other("simulated I/O error")),
            Some(Fault::NoSpace) | None => {}
        }
        if grows > 0 && self.capacity.is_some_and(|capacity| self.used() + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(None)
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.begin(Kind::Write, 0)?;
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        settle(fault)
    }
}

fn settle(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(_) => Err(io::Error::other("simulated I/O error")),
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let mut state = self.state();
        let known = state.names.get(name).copied();
        let file = match (known, mode) {
            (Some(file), OpenMode::Existing | OpenMode::OrCreate) => {
                settle(state.begin(Kind::Read, 0)?)?;
                file
            }
            (None, OpenMode::Existing) => {
                settle(state.begin(Kind::Read, 0)?)?;
                return Err(io::ErrorKind::NotFound.into());
            }
            (Some(file), OpenMode::Fresh) => {
                drop(state);
                SimFile { disk: self.clone(), file }.set_len(0)?;
                file
            }
            (None, OpenMode::OrCreate | OpenMode::Fresh) => {
                let file = state.files.len();
                state.files.push(FileState::default());
                state.change_name(NameChange::Create(name.to_owned(), file))?;
                file
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        settle(state.begin(Kind::Read, 0)?)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(name.to_owned()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.begin(Kind::Sync, 0)?;
        settle(fault)?;
        if !state.syncs_ignored {
            state.syncs += 1;
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        let blocks = match &change {
            Change::Write { offset, data } => {
                (offset / BLOCK_LEN) as usize..(offset + data.len() as u64).div_ceil(BLOCK_LEN) as usize
            }
            Change::SetLen(_) => 0..0,
        };
        let taken = |at: &usize| state.files[self.file].blocks.get(*at).copied().unwrap_or(false);
        let grows = blocks.clone().filter(|at| !taken(at)).count() as u64 * BLOCK_LEN;
        let fault = state.begin(Kind::Write, grows)?;
        let file = &mut state.files[self.file];
        file.take_blocks(blocks, &change);
        change.apply(Arc::make_mut(&mut file.now));
        file.unsynced.push(change);
        settle(fault)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        settle(state.begin(Kind::Read, 0)?)?;
        let start = offset as usize;
        let bytes = state.files[self.file].now.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset, data: data.to_vec() })
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        settle(state.begin(Kind::Read, 0)?)?;
        Ok(state.files[self.file].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.begin(Kind::Sync, 0)?;
        if state.syncs_ignored {
            return settle(fault);
        }
        let file = &mut state.files[self.file];
        match fault {
            Some(Fault::Crash) => {}
            Some(_) => file.unsynced.clear(),
            None => {
                for change in std::mem::take(&mut file.unsynced) {
                    change.apply(Arc::make_mut(&mut file.durable));
                }
                state.syncs += 1;
            }
        }
        settle(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_survives_the_loss_of_power() {
        let disk = SimDisk::new();
        let file = disk.open("a", OpenMode::OrCreate).unwrap();
        file.write_at(0, b"kept").unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, b"lost").unwrap();
        disk.open("b", OpenMode::OrCreate).unwrap();
        let found = disk.after_crash(AfterCrash::Lost);
        assert_eq!(found.list().unwrap(), ["a"]);
        assert_eq!(found.bytes("a").unwrap(), b"kept");
        let found = disk.after_crash(AfterCrash::Kept);
        assert_eq!(found.list().unwrap(), ["a", "b"]);
        assert_eq!(found.bytes("a").unwrap(), b"lost");
    }

    #[test]
    fn a_failed_sync_leaves_bytes_that_are_read_but_never_kept() {
        let disk = SimDisk::new();
        let file = disk.open("a", OpenMode::OrCreate).unwrap();
        disk.sync_dir().unwrap();
        disk.fault_at(disk.operations() + 1, Fault::Eio);
        file.write_at(0, b"ghost").unwrap();
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.bytes("a").unwrap(), b"ghost");
        assert_eq!(disk.after_crash(AfterCrash::Kept).bytes("a").unwrap(), b"");
    }

    #[test]
    fn torn_writes_differ_by_sector_and_repeat_by_seed() {
        let disk = SimDisk::new();
        let file = disk.open("a", OpenMode::OrCreate).unwrap();
        file.write_at(0, &[0; 4096]).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(100, &[1; 3000]).unwrap();
        let found = |seed| disk.after_crash(AfterCrash::Torn(seed)).bytes("a").unwrap();
        let torn = (0..20).map(found).find(|bytes| bytes.contains(&1) && bytes[100..3100].contains(&0));
        assert!(torn.is_some());
        assert_eq!(found(7), found(7));
    }

    #[test]
    fn a_full_disk_refuses_growth_and_takes_what_fits() {
        let disk = SimDisk::new();
        let file = disk.open("a", OpenMode::OrCreate).unwrap();
        disk.set_capacity(Some(BLOCK_LEN));
        file.write_at(0, &[1; 10]).unwrap();
        file.set_len(10 * BLOCK_LEN).unwrap();
        assert_eq!(file.write_at(BLOCK_LEN - 1, &[2; 2]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(BLOCK_LEN - 2, &[3; 2]).unwrap();
        assert_eq!(disk.used(), BLOCK_LEN);
        disk.set_capacity(None);
        file.write_at(BLOCK_LEN, &[2; 1]).unwrap();
    }
}

//! `Segments`: append-only files that hold the ciphertext of letters, many letters to a file.
//!
//! Promises that what `append` answered is durable once `sync` has returned `Ok`, and that a segment somebody holds
//! (an unfinished letter, a reader) is not removed. Which bytes are alive is written in the database
//! (`tables/letters.rs`); a segment without a row there is garbage and goes at the next open.
//! Knows nothing of keys: what it keeps is encrypted by `body`.

use super::disk::{Disk, DiskFile, OpenMode};
use super::error::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A segment is full at this length: large enough that files stay few, small enough to be compacted in one go.
pub(super) const SEGMENT_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Open files kept for reading. Beyond it those nobody holds are closed, so that a large mailbox does not run into
/// the usual limit of 1024 open files.
const OPEN_SEGMENTS_MAX: usize = 128;

/// A run of bytes in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// Number of the segment.
    #[serde(rename = "s")]
    pub(super) segment: u32,
    /// Where it begins.
    #[serde(rename = "o")]
    pub(super) offset: u64,
    /// Its length in bytes.
    #[serde(rename = "l")]
    pub(super) len: u64,
}

impl Extent {
    /// Whether `next` goes on where this ends.
    pub(super) fn continues(&self, next: &Extent) -> bool {
        self.segment == next.segment && self.offset + self.len == next.offset
    }
}

/// One open segment. Whoever holds it keeps its file from being removed.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<dyn DiskFile>,
    unsynced: AtomicBool,
}

impl Segment {
    /// Reads exactly the bytes of `out` from `offset`.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_at(offset, out).map_err(StoreError::from_io)
    }
}

/// All segments of one store.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    len_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<u32, Arc<Segment>>,
    /// Where the next append goes: segment and end.
    active: Option<(u32, u64)>,
    /// Number of the next new segment.
    next: u32,
    /// A file was made whose name is not durable yet.
    names_unsynced: bool,
    /// Segments without a letter, waiting to be let go by everybody: those that lost their last one, and new ones,
    /// of which perhaps none will ever be named.
    condemned: BTreeSet<u32>,
}

impl Segments {
    /// Looks through the files. `named_end` says for each segment in the database where its last named byte ends.
    ///
    /// Files that the database does not name are removed, and tails that it does not name are cut off: they are
    /// letters that were under way when the program stopped.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        named_end: &BTreeMap<u32, u64>,
        len_max: u64,
    ) -> Result<Self, StoreError> {
        let mut state = State { next: 1, ..State::default() };
        for name in disk.list().map_err(StoreError::from_io)? {
            let Some(no) = parse_name(&name) else { continue };
            state.next = state.next.max(no + 1);
            let Some(&end) = named_end.get(&no) else {
                // What cannot be removed now is tried again at the next open.
                let _ = disk.remove(&name);
                continue;
            };
            let file = disk.open(&name, OpenMode::Existing).map_err(StoreError::from_io)?;
            let len = file.len().map_err(StoreError::from_io)?;
            if len > end && file.set_len(end).is_err() {
                // It stays longer than needed; appending goes on behind.
                state.active = Some((no, len));
                continue;
            }
            state.active = (end < len_max && len >= end).then_some((no, end));
        }
        if let Some(&last) = named_end.keys().next_back() {
            state.next = state.next.max(last + 1);
        }
        Ok(Self { disk, len_max, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Appends bytes, which are durable after the next [`Segments::sync`]. The segment is held by who keeps the `Arc`.
    pub(super) fn append(&self, data: &[u8]) -> Result<(Extent, Arc<Segment>), StoreError> {
        let mut state = self.state();
        let room = |&(_, end): &(u32, u64)| end + data.len() as u64 <= self.len_max;
        let (no, end) = match state.active.filter(room) {
            Some(active) => active,
            None => self.begin_segment(&mut state)?,
        };
        let segment = self.handle(&mut state, no)?;
        segment.unsynced.store(true, Ordering::Release);
        if let Err(error) = segment.file.write_at(end, data) {
            // Gives back what a full disk took of it; if that fails too, the next open cuts it off.
            let _ = segment.file.set_len(end);
            return Err(StoreError::from_io(error));
        }
        let extent = Extent { segment: no, offset: end, len: data.len() as u64 };
        state.active = Some((no, end + extent.len));
        Ok((extent, segment))
    }

    fn begin_segment(&self, state: &mut State) -> Result<(u32, u64), StoreError> {
        let no = state.next;
        let file = self.disk.open(&file_name(no), OpenMode::Fresh).map_err(StoreError::from_io)?;
        state.next += 1;
        state.names_unsynced = true;
        state.open.insert(no, Arc::new(Segment { file, unsynced: AtomicBool::new(false) }));
        state.active = Some((no, 0));
        // What is appended may be given up. A commit that names something in it takes it off again.
        state.condemned.insert(no);
        Ok((no, 0))
    }

    /// Makes everything appended so far durable. After an error it is unknown what is.
    pub(super) fn sync(&self) -> io::Result<()> {
        let (names_unsynced, segments) = {
            let mut state = self.state();
            let unsynced = |segment: &&Arc<Segment>| segment.unsynced.swap(false, Ordering::AcqRel);
            let segments: Vec<_> = state.open.values().filter(unsynced).cloned().collect();
            (std::mem::take(&mut state.names_unsynced), segments)
        };
        for segment in segments {
            segment.file.sync()?;
        }
        if names_unsynced { self.disk.sync_dir() } else { Ok(()) }
    }

    /// The open segment `no`, held for reading.
    pub(super) fn hold(&self, no: u32) -> Result<Arc<Segment>, StoreError> {
        self.handle(&mut self.state(), no)
    }

    fn handle(&self, state: &mut State, no: u32) -> Result<Arc<Segment>, StoreError> {
        if let Some(segment) = state.open.get(&no) {
            return Ok(segment.clone());
        }
        if state.open.len() >= OPEN_SEGMENTS_MAX {
            let idle = |segment: &Arc<Segment>| {
                Arc::strong_count(segment) == 1 && !segment.unsynced.load(Ordering::Acquire)
            };
            state.open.retain(|_, segment| !idle(segment));
        }
        let file =
            self.disk.open(&file_name(no), OpenMode::Existing).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::Damaged("a segment file is missing"),
                _ => StoreError::from_io(error),
            })?;
        let segment = Arc::new(Segment { file, unsynced: AtomicBool::new(false) });
        state.open.insert(no, segment.clone());
        Ok(segment)
    }

    /// Length of segment `no` in bytes, with what was appended in vain; `None` while somebody holds it.
    pub(super) fn idle_len(&self, no: u32) -> Option<u64> {
        let mut state = self.state();
        let segment = self.handle(&mut state, no).ok()?;
        // Held here and in the table of open ones.
        if Arc::strong_count(&segment) > 2 { None } else { segment.file.len().ok() }
    }

    /// Takes the segments that have just lost their last letter, and removes every such segment that nobody holds
    /// and that `dead` confirms. To be called after the commit, by the one who commits.
    pub(super) fn bury(
        &self,
        emptied: impl IntoIterator<Item = u32>,
        dead: impl Fn(u32) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let waiting: Vec<u32> = {
            let mut state = self.state();
            state.condemned.extend(emptied);
            let idle = |no: &&u32| state.open.get(*no).is_none_or(|segment| Arc::strong_count(segment) == 1);
            state.condemned.iter().filter(idle).copied().collect()
        };
        for no in waiting {
            let is_dead = dead(no)?;
            let mut state = self.state();
            let idle = state.open.get(&no).is_none_or(|segment| Arc::strong_count(segment) == 1);
            if !idle {
                continue;
            }
            state.condemned.remove(&no);
            if is_dead {
                state.open.remove(&no);
                state.active = state.active.filter(|&(active, _)| active != no);
                // A name that stays is garbage for the next open.
                let _ = self.disk.remove(&file_name(no));
            }
        }
        Ok(())
    }

    /// Appends no more to segment `no`, so that it can be emptied.
    pub(super) fn seal(&self, no: u32) {
        let mut state = self.state();
        state.active = state.active.filter(|&(active, _)| active != no);
    }
}

fn file_name(no: u32) -> String {
    format!("segment-{no:08}")
}

fn parse_name(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?.parse().ok()
}

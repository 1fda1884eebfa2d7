//! Compaction: letters are copied out of segments that are mostly dead, until the file can go.
//!
//! A step is bounded and can stop anywhere: ciphertext is copied as it is, and the record of a letter names the copy
//! only if the letter is still where it was read. What was copied in vain is garbage.

use super::body::{BodyRef, push_extent};
use super::error::StoreError;
use super::segments::{Extent, Segment};
use super::tables::letters;
use super::{Core, Store, on_store};
use crate::model::letter::LetterNo;
use std::sync::Arc;

/// A segment is compacted when less than one part in this many of it is alive: each live byte is then copied at most
/// once for each dead byte, and the files are at most twice as large as the letters.
const LIVE_PART: u64 = 2;
/// A segment shorter than this is left alone: there is little to gain.
const LEN_MIN: u64 = 64 * 1024;
/// Most letters in one step, so that its commit stays small.
const LETTERS_MAX: usize = 64;
/// Bytes copied at once.
const PIECE_LEN: u64 = 256 * 1024;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacted {
    /// No segment is mostly dead.
    Idle,
    /// So many letters got another place.
    Copied(usize),
}

/// One letter, where it was and where its copy is.
struct Copied {
    no: LetterNo,
    old: Vec<Extent>,
    new: BodyRef,
    /// Keeps the files of the copy until the records name them.
    _held: Vec<Arc<Segment>>,
}

/// See [`Store::compact_step`].
pub(super) async fn step(core: &Arc<Core>, bytes: u64) -> Result<Compacted, StoreError> {
    let reader = core.clone();
    let copied = on_store(core.run, move || {
        let Some(victim) = choose(&reader)? else { return Ok(None) };
        copy_out(&reader, victim, bytes).map(Some)
    });
    let Some(copied) = copied.await? else {
        // Files of which nothing was ever named go with the next commit, even one that changes nothing.
        Store(core.clone()).write(|_| Ok(())).await?;
        return Ok(Compacted::Idle);
    };
    let name_copies = move |tx: &mut super::Tx<'_>| {
        let mut named = 0;
        for one in &copied {
            match letters::record(&tx.rows, one.no) {
                Ok(record) if record.body.extents == one.old => {
                    tx.letters().relocate(one.no, one.new.clone())?;
                    named += 1;
                }
                Ok(_) | Err(StoreError::NoLetter(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(named)
    };
    Ok(Compacted::Copied(Store(core.clone()).write(name_copies).await?))
}

/// The segment that gives back the most, if any is mostly dead.
fn choose(core: &Arc<Core>) -> Result<Option<u32>, StoreError> {
    let segments = core.read(|rx| letters::segments(&rx.rows))?;
    // Behind the last named byte may lie much that was appended in vain.
    let len = |no, end| core.segments.idle_len(no).unwrap_or(end).max(end);
    let sized = segments.into_iter().map(|(no, it)| (no, it.live, len(no, it.end)));
    let worth = sized.filter(|(_, live, len)| *len >= LEN_MIN && *live < len / LIVE_PART);
    let victim = worth.max_by_key(|(_, live, len)| len - live).map(|(no, ..)| no);
    if let Some(no) = victim {
        core.segments.seal(no);
    }
    Ok(victim)
}

fn copy_out(core: &Arc<Core>, victim: u32, bytes: u64) -> Result<Vec<Copied>, StoreError> {
    let records = core.read(|rx| {
        let mut records = Vec::new();
        let mut sum = 0;
        for no in letters::letters_in(&rx.rows, victim, LETTERS_MAX)? {
            let record = letters::record(&rx.rows, no)?;
            sum += record.body.len;
            records.push((no, record.body));
            if sum >= bytes {
                break;
            }
        }
        Ok(records)
    })?;
    records.into_iter().map(|(no, body)| copy_letter(core, victim, no, body)).collect()
}

fn copy_letter(core: &Core, victim: u32, no: LetterNo, body: BodyRef) -> Result<Copied, StoreError> {
    let old = body.extents.clone();
    let mut new = body;
    new.extents.clear();
    let mut held = Vec::new();
    for &extent in &old {
        if extent.segment != victim {
            push_extent(&mut new.extents, extent);
            continue;
        }
        let source = core.segments.hold(victim)?;
        let mut done = 0;
        while done < extent.len {
            let mut piece = vec![0; (extent.len - done).min(PIECE_LEN) as usize];
            source.read(extent.offset + done, &mut piece)?;
            let (copy, segment) = core.segments.append(&piece)?;
            push_extent(&mut new.extents, copy);
            held.push(segment);
            done += copy.len;
        }
    }
    Ok(Copied { no, old, new, _held: held })
}

//! `Doors`: which mailboxes each drop serves, and the keys that open them, in memory: who leaves a letter for a token,
//! and who collects, is looked for here rather than in every mailbox that is held.
//!
//! Read when it is first asked for, and again once a mailbox was made, changed or removed, which a number in the
//! database tells. It is a copy: nothing depends on its being there.

use super::error::StoreError;
use super::held::BoxRecord;
use super::tx::Rx;
use crate::model::hold::MailboxId;
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The counter of the changes to the mailboxes that are held; what is in them does not count.
pub(super) const CHANGES: &str = "held_boxes";

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Doors {
    drops: BTreeMap<OnionAddress, Vec<Door>>,
    /// By drop and collecting key: the mailbox, and the key's place among its collectors.
    collectors: BTreeMap<(OnionAddress, OnionAddress), (MailboxId, usize)>,
}

/// What it takes to leave a letter in a mailbox.
#[derive(Clone)]
pub struct Door {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The guest's key for tokens.
    pub key: [u8; 32],
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door([redacted])")
    }
}

impl Doors {
    fn new(mailboxes: Vec<(MailboxId, BoxRecord)>) -> Self {
        let mut doors = Self::default();
        for (mailbox, record) in mailboxes {
            for (place, collector) in record.collectors.iter().enumerate() {
                doors.collectors.entry((record.drop, collector.0)).or_insert((mailbox, place));
            }
            doors.drops.entry(record.drop).or_default().push(Door { mailbox, key: record.key });
        }
        doors
    }

    /// The mailboxes at a drop.
    pub fn at(&self, drop: &OnionAddress) -> &[Door] {
        self.drops.get(drop).map_or(&[], Vec::as_slice)
    }

    /// The mailbox at this drop that a collecting key opens, and the key's place among its collectors.
    pub fn collecting(&self, drop: OnionAddress, key: OnionAddress) -> Option<(MailboxId, usize)> {
        self.collectors.get(&(drop, key)).copied()
    }
}

/// The doors that were read last, and after how many changes.
#[derive(Default)]
pub(super) struct DoorsKept(Mutex<Option<(u64, Arc<Doors>)>>);

/// The doors of this snapshot: from memory, or else from the database.
pub(super) fn doors(rx: &Rx<'_>) -> Result<Arc<Doors>, StoreError> {
    let changes = rx.rows.number(CHANGES)?.unwrap_or(0);
    let place = &rx.core.doors.0;
    let kept = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, doors)) = kept.filter(|(known, _)| *known == changes) {
        return Ok(doors);
    }
    let doors = Arc::new(Doors::new(rx.held().mailboxes()?));
    let mut kept = place.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_none_or(|(known, _)| *known < changes) {
        *kept = Some((changes, doors.clone()));
    }
    Ok(doors)
}

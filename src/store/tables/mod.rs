//! The typed tables, one file per family. `Name` reads, `NameMut` reads and writes.

mod address;
pub mod cards;
pub mod contacts;
pub mod credentials;
pub mod guests;
pub mod held;
pub mod holders;
pub mod invites;
pub mod letters;
pub mod mailboxes;
pub mod messages;
pub(super) mod meta;
pub mod peers;
pub mod queue;
pub mod receipts;
pub mod routes;
pub(super) mod seen;
pub(super) mod sent_ids;
pub mod statements;

/// For whom there is room in a table that strangers can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Anybody: while the open part has room.
    Open,
    /// Somebody the person has decided about: the reserved part too.
    Reserved,
}

//! The typed tables, one file per family. `Name` reads, `NameMut` reads and writes.

pub mod credentials;
pub mod letters;
pub mod mailboxes;
pub mod messages;
pub(super) mod meta;
pub mod peers;
pub mod queue;
pub(super) mod seen;
pub(super) mod sent_ids;

//! What can go wrong in the store, and whose fault it is.

use super::mailboxes::MailboxNameError;
use crate::model::letter::LetterNo;
use std::io;

/// Whose fault an error is, which decides what is said to the other side and whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It may work later, unchanged.
    Retry,
    /// What was asked for cannot be; asking again will not help.
    Refused,
    /// This machine is at fault (disk, damage), and its owner must act.
    Ours,
    /// A defect of this program.
    Bug,
}

/// Why the store did not do something. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No mailbox has this name or number.
    #[error("there is no such mailbox")]
    NoMailbox,
    /// A mailbox has this name already.
    #[error("there is a mailbox of that name already")]
    MailboxExists,
    /// The mailbox has others below it, or the node itself needs it.
    #[error("this mailbox cannot be removed or renamed: {0}")]
    MailboxInUse(&'static str),
    /// The name is no mailbox name.
    #[error("not a mailbox name: {0}")]
    MailboxName(#[from] MailboxNameError),
    /// The mailbox has no message of this number.
    #[error("there is no such message")]
    NoMessage,
    /// The store keeps no letter of this number.
    #[error("there is no letter {}", .0.0)]
    NoLetter(LetterNo),
    /// No queue entry, credential or such has this number.
    #[error("there is no such entry")]
    NoEntry,
    /// The mailbox has a limit in bytes, and this would be beyond it.
    #[error("there is no room left in the mailbox")]
    NoRoom,
    /// A limit of the store is reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The disk has no room left. It works again when there is room.
    #[error("the disk is full")]
    Full,
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[source] io::Error),
    /// An earlier failure left it unknown what reached the disk. Nothing more is done until the store is reopened.
    #[error("the disk failed to keep what it was given; the store must be reopened")]
    MustReopen,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// There is no store here.
    #[error("there is no store here")]
    Missing,
    /// There is one already.
    #[error("there is a store here already")]
    Exists,
    /// The key is not the one the store was made with.
    #[error("the store does not open with this key")]
    WrongKey,
    /// A later program wrote this store.
    #[error(
        "the store has schema {found}, and this program knows schemas up to {known}; use a newer program"
    )]
    Newer {
        /// Of the store.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// A defect of this program.
    #[error("internal error in the store: {0}")]
    Bug(&'static str),
}

impl StoreError {
    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Full | Self::MustReopen | Self::Closed => Kind::Retry,
            Self::NoMailbox
            | Self::MailboxExists
            | Self::MailboxInUse(_)
            | Self::MailboxName(_)
            | Self::NoMessage
            | Self::NoLetter(_)
            | Self::NoEntry
            | Self::NoRoom
            | Self::TooMany(_)
            | Self::Missing
            | Self::Exists => Kind::Refused,
            Self::Damaged(_) | Self::Disk(_) | Self::WrongKey | Self::Newer { .. } => Kind::Ours,
            Self::Bug(_) => Kind::Bug,
        }
    }

    /// Names an I/O error: full disk, damage, or failure.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged("a part of it does not pass its check")
            }
            _ => Self::Disk(error),
        }
    }

    pub(super) fn from_redb(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(error) => Self::from_io(error),
            redb::Error::Corrupted(_) => Self::Damaged("the database contradicts itself"),
            redb::Error::PreviousIo => Self::Disk(io::Error::other("an earlier operation failed")),
            redb::Error::DatabaseClosed => Self::Closed,
            _ => Self::Bug("the database refused a call"),
        }
    }
}

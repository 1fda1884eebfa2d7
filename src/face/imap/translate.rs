//! The store's words in IMAP's: flags, rows, and why something was refused.

use super::wire::Gone;
use crate::protocol::imap::command::Flags;
use crate::protocol::imap::name::MailboxName;
use crate::store::mailboxes::MailboxName as StoredName;
use crate::store::messages::Flags as StoredFlags;
use crate::store::{Kind, StoreError};

/// Why a command did not end with OK.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The client is told `NO` (or `BAD`) and why: the whole rest of the line.
    #[error("refused")]
    Refused(String),
    /// The connection is of no use any more.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// What a command ends with: the text after `OK`.
pub(super) type Answer = Result<String, Stop>;

/// Refuses with the rest of a line.
pub(super) fn refuse<T>(line: &str) -> Result<T, Stop> {
    Err(Stop::Refused(line.to_owned()))
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(refusal(&error))
    }
}

/// The line that tells a client why the store did not do it (codes of RFC 5530).
pub(super) fn refusal(error: &StoreError) -> String {
    let code = match (error, error.kind()) {
        (StoreError::NoMailbox, _) => "NONEXISTENT",
        (StoreError::MailboxExists, _) => "ALREADYEXISTS",
        (StoreError::MailboxInUse(_) | StoreError::MailboxName(_), _) => "CANNOT",
        (StoreError::TooMany(_) | StoreError::Full, _) => "LIMIT",
        (_, Kind::Retry) => "UNAVAILABLE",
        (_, Kind::Refused) => "NONEXISTENT",
        (StoreError::Damaged(_), _) => "CORRUPTION",
        (_, Kind::Ours | Kind::Bug) => {
            tracing::error!(%error, "a mail program's command failed");
            "SERVERBUG"
        }
    };
    format!("NO [{code}] {error}")
}

/// A mailbox name as the store knows it.
pub(super) fn stored_name(name: &MailboxName) -> Result<StoredName, Stop> {
    StoredName::parse(name.as_str())
        .or_else(|error| refuse(&format!("NO [CANNOT] not a mailbox name: {error}")))
}

/// Flags out of the store.
pub(super) fn flags(stored: &StoredFlags) -> Flags {
    let mut flags = Flags {
        seen: stored.has(StoredFlags::SEEN),
        answered: stored.has(StoredFlags::ANSWERED),
        flagged: stored.has(StoredFlags::FLAGGED),
        deleted: stored.has(StoredFlags::DELETED),
        draft: stored.has(StoredFlags::DRAFT),
        keywords: Vec::new(),
    };
    stored.keywords.iter().for_each(|keyword| flags.insert_keyword(keyword));
    flags
}

/// Flags for the store.
pub(super) fn stored_flags(flags: &Flags) -> StoredFlags {
    let bits = [
        (flags.seen, StoredFlags::SEEN),
        (flags.answered, StoredFlags::ANSWERED),
        (flags.flagged, StoredFlags::FLAGGED),
        (flags.deleted, StoredFlags::DELETED),
        (flags.draft, StoredFlags::DRAFT),
    ];
    let system = bits.iter().filter(|(set, _)| *set).fold(0, |sum, (_, bit)| sum | bit);
    StoredFlags { system, keywords: flags.keywords.iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_the_store() {
        let mut some = Flags { seen: true, deleted: true, ..Flags::default() };
        some.insert_keyword("$Forwarded");
        some.insert_keyword("a");
        assert_eq!(flags(&stored_flags(&some)), some);
        let twice = StoredFlags { system: 0, keywords: ["A".to_owned(), "a".to_owned()].into() };
        assert_eq!(flags(&twice).keywords.len(), 1);
    }
}

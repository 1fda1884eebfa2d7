//! What a client can ask for: the commands of RFC 3501 and of the extensions announced, already parsed.
//!
//! Values here are within the limits and well formed; only `parse` makes them. Whether a mailbox or a message
//! exists is for the driver to find out.

use crate::protocol::imap::name::MailboxName;
use crate::protocol::imap::search::SearchKey;
use crate::protocol::imap::sequence::SequenceSet;
use std::fmt;

/// The word that a client puts before a command, and that the answer repeats.
pub type Tag = String;

/// A parsed command, without its tag.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// RFC 3501 section 6.1.1.
    Capability,
    /// RFC 3501 section 6.1.2.
    Noop,
    /// RFC 3501 section 6.1.3.
    Logout,
    /// RFC 2971; what the client says about itself is not kept.
    Id,
    /// RFC 2342.
    Namespace,
    /// RFC 5161; nothing here can be enabled, so the names are not kept.
    Enable,
    /// RFC 3501 section 6.2.3.
    Login {
        /// As sent.
        user: String,
        /// As sent.
        password: Password,
    },
    /// RFC 3501 section 6.2.2 with RFC 4959: mechanism in upper case, decoded initial response.
    Authenticate {
        /// In upper case.
        mechanism: String,
        /// Decoded.
        initial: Option<Vec<u8>>,
    },
    /// SELECT, or EXAMINE if `read_only`.
    Select {
        /// Which.
        mailbox: MailboxName,
        /// EXAMINE.
        read_only: bool,
    },
    /// RFC 3501 section 6.3.3.
    Create(MailboxName),
    /// RFC 3501 section 6.3.4.
    Delete(MailboxName),
    /// RFC 3501 section 6.3.5: old name, new name.
    Rename(MailboxName, MailboxName),
    /// RFC 3501 section 6.3.6.
    Subscribe(MailboxName),
    /// RFC 3501 section 6.3.7.
    Unsubscribe(MailboxName),
    /// LIST, plain or extended (RFC 5258), and LSUB.
    List(ListRequest),
    /// RFC 3501 section 6.3.10.
    Status(MailboxName, Vec<StatusItem>),
    /// RFC 9208 section 4.1.1: the quota root.
    GetQuota(Vec<u8>),
    /// RFC 9208 section 4.1.2.
    GetQuotaRoot(MailboxName),
    /// RFC 2177.
    Idle,
    /// RFC 3501 section 6.4.1.
    Check,
    /// RFC 3501 section 6.4.2.
    Close,
    /// RFC 3691.
    Unselect,
    /// EXPUNGE, or UID EXPUNGE (RFC 4315) with the UIDs.
    Expunge(Option<SequenceSet>),
    /// RFC 3501 section 6.4.4; the keys are a conjunction.
    Search(Numbers, SearchKey, SearchAnswer),
    /// RFC 3501 section 6.4.5.
    Fetch(Messages, Vec<FetchItem>),
    /// RFC 3501 section 6.4.6.
    Store(Messages, StoreFlags),
    /// RFC 3501 section 6.4.7, or RFC 6851 if `remove`.
    Copy {
        /// Which.
        messages: Messages,
        /// Where to.
        mailbox: MailboxName,
        /// MOVE.
        remove: bool,
    },
}

/// The messages that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// What the numbers are.
    pub numbers: Numbers,
    /// The numbers.
    pub set: SequenceSet,
}

/// What STORE does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFlags {
    /// With the flags.
    pub change: FlagChange,
    /// The new flags are not to be told.
    pub silent: bool,
    /// The flags.
    pub flags: Flags,
}

/// APPEND up to its letter (RFC 3501 section 6.3.11); the letter follows in pieces.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// Where to.
    pub mailbox: MailboxName,
    /// Flags of the new message.
    pub flags: Flags,
    /// Its internal date, in seconds since 1970; the time of the append if none.
    pub internal_date: Option<i64>,
    /// Length of the letter, in bytes.
    pub len: u64,
}

/// Which numbers a command uses, and its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Message sequence numbers.
    Sequence,
    /// Unique identifiers (the UID forms).
    Uid,
}

/// A password on its way to being checked; never printed.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What LIST or LSUB asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// Answer with `LSUB` lines.
    pub lsub: bool,
    /// Patterns with the reference put before them, as wire bytes (modified UTF-7).
    pub patterns: Vec<Vec<u8>>,
    /// An extended LIST has no special meaning for the empty pattern.
    pub extended: bool,
    /// Only subscribed mailboxes.
    pub only_subscribed: bool,
    /// Only mailboxes with a special use (RFC 6154).
    pub only_special: bool,
    /// Also name parents of subscribed mailboxes.
    pub recursive: bool,
    /// Show `\Subscribed`.
    pub show_subscribed: bool,
    /// Follow every line with a STATUS of these items (RFC 5819).
    pub status: Vec<StatusItem>,
}

/// What STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// How many.
    Messages,
    /// How many no session has seen.
    Recent,
    /// The UID that the next message gets, at least.
    UidNext,
    /// Changes when UIDs lose their meaning.
    UidValidity,
    /// How many are not `\Seen`.
    Unseen,
    /// RFC 8438: the sum of the sizes.
    Size,
    /// RFC 9051: how many carry `\Deleted`.
    Deleted,
    /// RFC 9208: the sum of the sizes of those that carry `\Deleted`, in bytes.
    DeletedStorage,
    /// RFC 7889.
    AppendLimit,
}

/// How SEARCH answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchAnswer {
    /// An ESEARCH line (RFC 4731) instead of a SEARCH line.
    pub extended: bool,
    /// Tell the smallest number.
    pub min: bool,
    /// Tell the largest number.
    pub max: bool,
    /// Tell all numbers.
    pub all: bool,
    /// Tell how many.
    pub count: bool,
}

/// One thing that FETCH asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODYSTRUCTURE
    BodyStructure,
    /// BODY: the structure without extension data.
    Body,
    /// Bytes of the letter.
    Bytes(BytesItem),
}

/// Bytes of a letter that FETCH asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BytesItem {
    /// Which.
    pub section: Section,
    /// Only some of them.
    pub partial: Option<Partial>,
    /// `\Seen` is not set.
    pub peek: bool,
    /// How it was asked, and will be answered.
    pub form: Form,
}

/// Under which name bytes are asked for and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `BODY[…]`
    Body,
    /// `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`
    Rfc822,
}

/// `<start.count>`; both saturate at what a letter can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// First byte wanted.
    pub start: u64,
    /// Most bytes wanted; at least 1.
    pub count: u64,
}

/// A section of a letter (RFC 3501 section 6.4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Part numbers, outermost first; empty for the letter itself.
    pub path: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// The last word of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// The whole letter, or the body of the part.
    Whole,
    /// The header of the letter.
    Header,
    /// The named fields, in the order of the header.
    Fields(Vec<Vec<u8>>),
    /// All fields but the named ones.
    FieldsNot(Vec<Vec<u8>>),
    /// The letter without its header.
    Text,
    /// The header of the part.
    Mime,
}

/// What STORE does with its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// FLAGS
    Replace,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// The flags of a message. `\Recent` is no flag here: no client may set it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Flags {
    /// `\Seen`
    pub seen: bool,
    /// `\Answered`
    pub answered: bool,
    /// `\Flagged`
    pub flagged: bool,
    /// `\Deleted`
    pub deleted: bool,
    /// `\Draft`
    pub draft: bool,
    /// Keywords as first written; sorted, without repetition (case ignored).
    pub keywords: Vec<String>,
}

impl Flags {
    /// Adds a keyword unless it is there in any case.
    pub fn insert_keyword(&mut self, keyword: &str) {
        if let Err(at) = self.keywords.binary_search_by(|known| compare_caseless(known, keyword)) {
            self.keywords.insert(at, keyword.to_owned());
        }
    }

    /// True if the keyword is there, in any case.
    pub fn has_keyword(&self, keyword: &str) -> bool {
        self.keywords.binary_search_by(|known| compare_caseless(known, keyword)).is_ok()
    }

    /// These flags after a STORE of `flags`.
    pub fn changed(&self, change: FlagChange, flags: &Self) -> Self {
        let mut after = match change {
            FlagChange::Replace => return flags.clone(),
            FlagChange::Add | FlagChange::Remove => self.clone(),
        };
        let value = change == FlagChange::Add;
        for (ours, theirs) in [
            (&mut after.seen, flags.seen),
            (&mut after.answered, flags.answered),
            (&mut after.flagged, flags.flagged),
            (&mut after.deleted, flags.deleted),
            (&mut after.draft, flags.draft),
        ] {
            if theirs {
                *ours = value;
            }
        }
        if value {
            flags.keywords.iter().for_each(|keyword| after.insert_keyword(keyword));
        } else {
            after.keywords.retain(|keyword| !flags.has_keyword(keyword));
        }
        after
    }
}

fn compare_caseless(a: &str, b: &str) -> std::cmp::Ordering {
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_as_store_says_and_keywords_ignore_case() {
        let mut flags = Flags { seen: true, ..Flags::default() };
        flags.insert_keyword("$Forwarded");
        flags.insert_keyword("$FORWARDED");
        flags.insert_keyword("Alpha");
        assert_eq!(flags.keywords, ["$Forwarded", "Alpha"]);
        let mut change = Flags { deleted: true, ..Flags::default() };
        change.insert_keyword("alpha");
        let added = flags.changed(FlagChange::Add, &change);
        assert!(added.seen && added.deleted && added.keywords.len() == 2);
        let removed = added.changed(FlagChange::Remove, &change);
        assert!(removed.seen && !removed.deleted && removed.keywords == ["$Forwarded"]);
        assert_eq!(flags.changed(FlagChange::Replace, &change), change);
    }
}

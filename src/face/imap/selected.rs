//! The selected mailbox: SELECT, EXAMINE, CLOSE, and telling the client what has changed in it.

use super::session::{Session, done};
use super::translate::{self, Answer, Stop, refusal, refuse};
use crate::protocol::imap::command::{Flags, Messages, Numbers};
use crate::protocol::imap::conversation::State;
use crate::protocol::imap::name::MailboxName;
use crate::protocol::imap::view::{Row, Tell, View};
use crate::store::mailboxes::MailboxRecord;
use crate::store::messages::Flags as StoredFlags;
use crate::store::{Brief, Listing, MailboxNo, StoreError, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The system flags, all of which can be stored.
const SYSTEM_FLAGS: &str = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
/// Keywords that SELECT names at most; more can be used all the same.
const KEYWORDS_SHOWN: usize = 100;

/// What a session knows of its mailbox.
pub(super) struct Selected {
    pub(super) no: MailboxNo,
    pub(super) read_only: bool,
    pub(super) view: View,
    /// From this UID on, messages are recent here.
    recent_from: Uid,
    /// New messages have been shown as recent, and other sessions do not know.
    recent_unclaimed: bool,
    /// The mailbox's modseq when the view was last brought up to date.
    modseq: u64,
    /// The store's change counter at that time.
    seen_change: u64,
    /// An expunge could not be told yet.
    expunge_untold: bool,
    /// Where letters of this mailbox were copied in this session, as far as a move would mean something.
    pub(super) copied: BTreeMap<Uid, (MailboxNo, Uid)>,
}

impl Selected {
    /// The UIDs that a command is about; `BAD` for sequence numbers that do not exist.
    pub(super) fn uids(&self, messages: &Messages) -> Result<Vec<u32>, Stop> {
        let uids = self.view.uids(messages.numbers, &messages.set);
        uids.map_or_else(|| refuse("BAD no message has that number"), Ok)
    }

    /// Refuses changes to a mailbox opened with EXAMINE.
    pub(super) fn writable(&self) -> Result<(), Stop> {
        if self.read_only { refuse("NO [READ-ONLY] the mailbox was opened with EXAMINE") } else { Ok(()) }
    }
}

/// `NO` if a command by sequence number met fewer messages than its client believed in (RFC 2180 section 4).
pub(super) fn all_there(numbers: Numbers, wanted: usize, met: usize) -> Result<(), Stop> {
    if numbers == Numbers::Sequence && met < wanted {
        return refuse("NO [EXPUNGEISSUED] some of the messages are gone");
    }
    Ok(())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn selected(&self) -> Result<&Selected, Stop> {
        self.selected.as_ref().map_or_else(|| refuse("BAD select a mailbox first"), Ok)
    }

    pub(super) async fn select(&mut self, mailbox: &MailboxName, read_only: bool) -> Answer {
        // Whatever comes of it, the old mailbox is left.
        self.leave_mailbox().await;
        let seen_change = self.change_counter();
        let (no, _) = self.mailbox(mailbox).await?;
        let Listing { mailbox: record, messages, .. } = self.store().listing(no).await?;
        let recent_from = record.recent_from;
        if !read_only && recent_from != record.uid_next {
            self.store().write(move |tx| tx.mailboxes().claim_recent(no)).await?;
        }
        let view = View::new(rows(&messages, recent_from));
        self.tell_selected(&record, &view, read_only);
        self.selected = Some(Selected {
            no,
            read_only,
            view,
            recent_from,
            recent_unclaimed: false,
            modseq: record.modseq,
            seen_change,
            expunge_untold: false,
            copied: BTreeMap::new(),
        });
        self.conversation.enter(State::Selected);
        Ok(format!("[READ-{}] selected", if read_only { "ONLY" } else { "WRITE" }))
    }

    fn tell_selected(&mut self, record: &MailboxRecord, view: &View, read_only: bool) {
        let keywords: BTreeSet<&String> =
            view.numbered().flat_map(|(_, row)| &row.flags.keywords).take(KEYWORDS_SHOWN * 1000).collect();
        let flags =
            keywords.iter().take(KEYWORDS_SHOWN).fold(SYSTEM_FLAGS.to_owned(), |all, one| all + " " + one);
        let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
        let first_unseen = view.numbered().find(|(_, row)| !row.flags.seen).map(|(number, _)| number);
        let mut line = |text: String| self.conversation.untagged(&text);
        line(format!("FLAGS ({flags})"));
        line(format!("OK [PERMANENTFLAGS ({permanent})] flags that can be kept"));
        line(format!("{} EXISTS", view.len()));
        line(format!("{} RECENT", view.recent()));
        if let Some(number) = first_unseen {
            line(format!("OK [UNSEEN {number}] the first not seen"));
        }
        line(format!("OK [UIDVALIDITY {}] UIDs valid", record.uid_validity));
        line(format!("OK [UIDNEXT {}] the next UID", record.uid_next.0));
    }

    /// CLOSE: expunges without telling, then leaves.
    pub(super) async fn close(&mut self) -> Answer {
        if !self.selected()?.read_only {
            self.expunge_deleted(None).await?;
        }
        self.leave_mailbox().await;
        done()
    }

    /// Leaves the mailbox, if one is selected.
    pub(super) async fn leave_mailbox(&mut self) {
        let Some(left) = self.selected.take() else { return };
        self.conversation.enter(State::Authenticated);
        if left.recent_unclaimed && !left.read_only {
            // If that fails, another session will call the same messages recent, which is allowed.
            drop(self.store().write(move |tx| tx.mailboxes().claim_recent(left.no)).await);
        }
    }

    /// Tells the client what has changed since it was last told, as far as it may be told now.
    pub(super) async fn poll(&mut self, tell: Tell, with_uid: bool) {
        let change = self.change_counter();
        let Some(selected) = &self.selected else { return };
        if change == selected.seen_change && !(selected.expunge_untold && tell == Tell::All) {
            return;
        }
        let (no, known, untold) = (selected.no, selected.modseq, selected.expunge_untold);
        let read = self.store().read(move |rx| match rx.mailboxes().get(no)? {
            record if record.modseq == known && !untold => Ok(None),
            _ => rx.listing(no).map(Some),
        });
        let now = read.await;
        let Some(selected) = &mut self.selected else { return };
        match now {
            Ok(None) => selected.seen_change = change,
            Ok(Some(now)) => {
                let before = selected.view.largest_uid();
                let out = self.conversation.output();
                if now.settled <= known && !untold {
                    let new = now.messages.partition_point(|message| message.uid.0 <= before);
                    selected.view.extend(rows(&now.messages[new..], selected.recent_from), out);
                } else {
                    let rows = rows(&now.messages, selected.recent_from);
                    let there = rows.len();
                    selected.view.update(rows, tell, with_uid, out);
                    selected.expunge_untold = selected.view.len() as usize > there;
                }
                selected.recent_unclaimed |= selected.view.largest_uid() > before;
                (selected.modseq, selected.seen_change) = (now.mailbox.modseq, change);
            }
            Err(StoreError::NoMailbox) => {
                self.selected = None;
                self.conversation.enter(State::Authenticated);
                self.conversation.untagged("NO [NONEXISTENT] the selected mailbox was deleted");
            }
            // Told at the next chance.
            Err(error) => tracing::warn!(error = %refusal(&error), "cannot look at a mailbox"),
        }
    }
}

/// A mailbox's messages as a view has them; equal flags share memory.
fn rows(messages: &[Brief], recent_from: Uid) -> Vec<Row> {
    let mut known = KnownFlags::default();
    let (mut stored, mut flags): (Option<&Arc<StoredFlags>>, Arc<Flags>) = Default::default();
    let mut rows = Vec::with_capacity(messages.len());
    for message in messages {
        if !stored.is_some_and(|stored| Arc::ptr_eq(stored, &message.flags)) {
            (stored, flags) = (Some(&message.flags), known.flags(&message.flags));
        }
        rows.push(Row { uid: message.uid.0, flags: flags.clone(), recent: message.uid >= recent_from });
    }
    rows
}

/// Flags met so far: most messages have one of a few sets of flags.
#[derive(Default)]
struct KnownFlags {
    plain: BTreeMap<u8, Arc<Flags>>,
    with_keywords: BTreeMap<(u8, BTreeSet<String>), Arc<Flags>>,
}

impl KnownFlags {
    fn flags(&mut self, stored: &StoredFlags) -> Arc<Flags> {
        let new = || Arc::new(translate::flags(stored));
        if stored.keywords.is_empty() {
            return self.plain.entry(stored.system).or_insert_with(new).clone();
        }
        let key = (stored.system, stored.keywords.clone());
        self.with_keywords.entry(key).or_insert_with(new).clone()
    }
}

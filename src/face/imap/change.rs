//! Commands that change messages: STORE, COPY, MOVE, EXPUNGE.
//!
//! A letter that leaves Outbox, by whatever command, is cancelled in the same commit; nothing can be put there. What
//! follows for the author of a letter that is moved (MOVE, or COPY and EXPUNGE) is in `node::contacts`, and in the same
//! commit too.

use super::selected::all_there;
use super::session::{Session, done};
use super::translate::{self, Answer, Stop, refuse, stored_flags};
use crate::model::queue::Entry;
use crate::model::time::UnixTime;
use crate::node::contacts::{Moved, letters_moved};
use crate::node::post;
use crate::protocol::imap::command::{Flags, Messages, Numbers, StoreFlags};
use crate::protocol::imap::name::MailboxName;
use crate::protocol::imap::respond;
use crate::protocol::imap::sequence::SequenceSet;
use crate::protocol::imap::view::uid_set;
use crate::store::mailboxes::SpecialUse;
use crate::store::messages::{FlagChange as StoredChange, Flags as StoredFlags};
use crate::store::{MailboxNo, StoreError, Tx, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Most copies that a session remembers as the first half of a move.
const COPIED_MAX: usize = 10_000;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn store_flags(&mut self, messages: Messages, store: StoreFlags) -> Answer {
        let selected = self.selected()?;
        selected.writable()?;
        let (no, uids) = (selected.no, selected.uids(&messages)?);
        let wanted = uids.len();
        let change = store.clone();
        let now = self.store().write(move |tx| change_flags(tx, no, &uids, &change)).await?;
        let met = now.len();
        self.tell_stored(now, &messages, &store);
        all_there(messages.numbers, wanted, met)?;
        done()
    }

    /// Tells the new flags. A silent STORE tells only what its client could not know: changes made by others.
    fn tell_stored(&mut self, now: Vec<(u32, Flags)>, messages: &Messages, store: &StoreFlags) {
        let Some(selected) = &mut self.selected else { return };
        let mut lines = String::new();
        for (uid, flags) in now {
            let Some((number, row)) = selected.view.row(uid) else { continue };
            let expected = row.flags.changed(store.change, &store.flags);
            if !store.silent || expected != flags {
                let with_uid =
                    if messages.numbers == Numbers::Uid { format!(" UID {uid}") } else { String::new() };
                let shown = respond::flags(&flags, row.recent);
                lines.push_str(&format!("* {number} FETCH (FLAGS {shown}{with_uid})\r\n"));
            }
            selected.view.told_flags(uid, Arc::new(flags));
        }
        self.conversation.output().extend_from_slice(lines.as_bytes());
    }

    pub(super) async fn copy(&mut self, messages: Messages, mailbox: &MailboxName, remove: bool) -> Answer {
        let selected = self.selected()?;
        if remove {
            selected.writable()?;
        }
        let (from, uids) = (selected.no, selected.uids(&messages)?);
        let (to, uid_validity) = self.target(mailbox).await?;
        let wanted = uids.len();
        let (folders, moved) = (self.desk.folders, self.moved(from, to));
        let pairs = self
            .store()
            .write(move |tx| {
                let uids: Vec<Uid> = uids.iter().copied().map(Uid).collect();
                if remove && from == folders.outbox {
                    cancel(tx, &uids, moved.at)?;
                }
                if !remove {
                    return tx.messages().copy(from, &uids, to);
                }
                let pairs = tx.messages().move_to(from, &uids, to)?;
                let new: Vec<Uid> = pairs.iter().map(|&(_, new)| new).collect();
                letters_moved(tx, &folders, &moved, &new)?;
                Ok(pairs)
            })
            .await?;
        self.desk.orders.look();
        if !remove {
            self.note_copied(to, &pairs);
        }
        let copied = copied(uid_validity, &pairs);
        if remove {
            // RFC 6851 section 4.3: before the EXPUNGE lines.
            if let Some(copied) = copied {
                self.conversation.untagged(&format!("OK {copied} moved"));
            }
            all_there(messages.numbers, wanted, pairs.len())?;
            return done();
        }
        all_there(messages.numbers, wanted, pairs.len())?;
        Ok(copied.map_or_else(|| "nothing to copy".to_owned(), |copied| format!("{copied} copied")))
    }

    fn moved(&self, from: MailboxNo, to: MailboxNo) -> Moved {
        Moved { from, to, at: self.desk.now(), own: self.desk.identity().onion() }
    }

    /// Remembers where letters were copied: if they are expunged here, they were moved.
    fn note_copied(&mut self, to: MailboxNo, pairs: &[(Uid, Uid)]) {
        let folders = self.desk.folders;
        let Some(selected) = &mut self.selected else { return };
        if to != selected.no && (to == folders.inbox || to == folders.junk) {
            let room = COPIED_MAX.saturating_sub(selected.copied.len());
            selected.copied.extend(pairs.iter().take(room).map(|&(old, new)| (old, (to, new))));
        }
    }

    /// A mailbox that letters can be put into, and its UIDVALIDITY.
    pub(super) async fn target(&self, mailbox: &MailboxName) -> Result<(MailboxNo, u32), Stop> {
        self.account.may_put()?;
        match self.mailbox(mailbox).await {
            Ok((_, record)) if record.special == Some(SpecialUse::Outbox) => {
                refuse("NO [CANNOT] Outbox holds what is on its way; letters get there by being sent")
            }
            Ok((no, record)) => Ok((no, record.uid_validity)),
            Err(Stop::Refused(line)) if line.starts_with("NO [NONEXISTENT]") => {
                refuse("NO [TRYCREATE] there is no such mailbox")
            }
            Err(stop) => Err(stop),
        }
    }

    pub(super) async fn expunge(&mut self, uids: Option<&SequenceSet>) -> Answer {
        let selected = self.selected()?;
        selected.writable()?;
        let chosen = uids.map(|set| set.resolve(selected.view.largest_uid()));
        let only = chosen.map(|ranges| {
            selected.view.numbered().map(|(_, row)| row.uid).filter(|uid| ranges.contains(*uid)).collect()
        });
        self.expunge_deleted(only).await?;
        done()
    }

    /// Removes what is flagged `\Deleted`: all of it, or what is among `only`.
    pub(super) async fn expunge_deleted(&mut self, only: Option<Vec<u32>>) -> Result<(), Stop> {
        let selected = self.selected()?;
        let (no, copied) = (selected.no, selected.copied.clone());
        let (folders, moved) = (self.desk.folders, self.moved(no, no));
        self.store()
            .write(move |tx| {
                let mut uids: Vec<Uid> = Vec::new();
                for (uid, message) in tx.messages().list(no, ..)? {
                    let chosen = only.as_ref().is_none_or(|only| only.binary_search(&uid.0).is_ok());
                    if chosen && message.flags.has(StoredFlags::DELETED) {
                        uids.push(uid);
                    }
                }
                if no == folders.outbox {
                    cancel(tx, &uids, moved.at)?;
                }
                for to in [folders.inbox, folders.junk] {
                    let new = uids.iter().filter_map(|uid| copied.get(uid)).filter(|(place, _)| *place == to);
                    let new: Vec<Uid> = new.map(|&(_, new)| new).collect();
                    letters_moved(tx, &folders, &Moved { to, ..moved }, &new)?;
                }
                tx.messages().expunge(no, &uids)
            })
            .await?;
        self.desk.orders.look();
        if no == folders.outbox {
            self.desk.recall_now.notify_one();
        }
        Ok(())
    }
}

/// Removes the queue entries whose copies in Outbox are these; `uids` ascend.
fn cancel(tx: &Tx<'_>, uids: &[Uid], now: UnixTime) -> Result<(), StoreError> {
    for (entry_no, _, entry) in tx.queue().list::<Entry>()? {
        if uids.binary_search(&Uid(entry.outbox)).is_ok() {
            post::cancel(tx, entry_no, &entry, now)?;
        }
    }
    Ok(())
}

/// Changes flags with keywords compared in any case; answers what they are now.
fn change_flags(
    tx: &Tx<'_>,
    no: MailboxNo,
    uids: &[u32],
    store: &StoreFlags,
) -> Result<Vec<(u32, Flags)>, StoreError> {
    let mut alike: BTreeMap<(u8, Vec<String>), (Flags, Vec<Uid>)> = BTreeMap::new();
    let mut now = Vec::with_capacity(uids.len());
    for &uid in uids {
        let Some(message) = tx.messages().get(no, Uid(uid))? else { continue };
        let flags = translate::flags(&message.flags).changed(store.change, &store.flags);
        let key = (stored_flags(&flags).system, flags.keywords.clone());
        alike.entry(key).or_insert_with(|| (flags.clone(), Vec::new())).1.push(Uid(uid));
        now.push((uid, flags));
    }
    for (flags, uids) in alike.into_values() {
        tx.messages().set_flags(no, &uids, &StoredChange::Replace(stored_flags(&flags)))?;
    }
    Ok(now)
}

/// The COPYUID code (RFC 4315); none if nothing was copied.
fn copied(uid_validity: u32, pairs: &[(Uid, Uid)]) -> Option<String> {
    let old: Vec<u32> = pairs.iter().map(|(old, _)| old.0).collect();
    let new: Vec<u32> = pairs.iter().map(|(_, new)| new.0).collect();
    (!pairs.is_empty()).then(|| format!("[COPYUID {uid_validity} {} {}]", uid_set(&old), uid_set(&new)))
}

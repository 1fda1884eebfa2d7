//! Commands on mailboxes: LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE.

use super::session::{Session, done};
use super::translate::{Answer, Stop, refuse, stored_name};
use crate::protocol::imap::command::{ListRequest, StatusItem};
use crate::protocol::imap::limits::APPEND_LEN_MAX;
use crate::protocol::imap::name::{self, DELIMITER, MailboxName};
use crate::protocol::imap::pattern::Pattern;
use crate::protocol::imap::respond;
use crate::store::mailboxes::{MailboxRecord, SpecialUse};
use crate::store::messages::Flags;
use crate::store::{MailboxNo, Rx, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn list(&mut self, request: ListRequest) -> Answer {
        let is_plain = !request.extended && !request.lsub;
        if is_plain && request.patterns.iter().all(Vec::is_empty) {
            // RFC 3501 section 6.3.8: only the delimiter is asked for.
            self.conversation.untagged("LIST (\\Noselect) \"/\" \"\"");
            return done();
        }
        let mailboxes = self.account.mailboxes();
        let lines = self.store().read(move |rx| list_lines(rx, &mailboxes.list(rx)?, &request)).await?;
        self.conversation.output().extend_from_slice(&lines);
        done()
    }

    pub(super) async fn status(&mut self, mailbox: &MailboxName, items: &[StatusItem]) -> Answer {
        let (name, items) = (stored_name(mailbox)?, items.to_vec());
        let mailboxes = self.account.mailboxes();
        let line = self
            .store()
            .read(move |rx| {
                let no = mailboxes.find(rx, &name)?;
                status_line(rx, no, &rx.mailboxes().get(no)?, &items)
            })
            .await?;
        self.conversation.output().extend_from_slice(&line);
        done()
    }

    pub(super) async fn create(&mut self, mailbox: &MailboxName) -> Answer {
        self.account.may_put()?;
        let name = stored_name(mailbox)?;
        self.store().write(move |tx| tx.mailboxes().create(&name, None)).await?;
        done()
    }

    pub(super) async fn delete(&mut self, mailbox: &MailboxName) -> Answer {
        let no = self.changeable(mailbox).await?;
        self.store().write(move |tx| tx.mailboxes().delete(no)).await?;
        done()
    }

    pub(super) async fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Answer {
        self.account.may_put()?;
        // Renaming INBOX moves its messages and leaves it there (RFC 3501 section 6.3.5).
        let no = match self.mailbox(from).await? {
            (no, record) if record.special == Some(SpecialUse::Inbox) => no,
            _ => self.changeable(from).await?,
        };
        let to = stored_name(to)?;
        self.store().write(move |tx| tx.mailboxes().rename(no, &to)).await?;
        done()
    }

    pub(super) async fn subscribe(&mut self, mailbox: &MailboxName, subscribed: bool) -> Answer {
        let (no, _) = self.mailbox(mailbox).await?;
        self.store().write(move |tx| tx.mailboxes().set_subscribed(no, subscribed)).await?;
        done()
    }

    /// The mailbox of that name.
    pub(super) async fn mailbox(&self, mailbox: &MailboxName) -> Result<(MailboxNo, MailboxRecord), Stop> {
        let (name, mailboxes) = (stored_name(mailbox)?, self.account.mailboxes());
        let found = self
            .store()
            .read(move |rx| {
                let no = mailboxes.find(rx, &name)?;
                Ok((no, rx.mailboxes().get(no)?))
            })
            .await?;
        Ok(found)
    }

    /// The mailbox of that name, if it may be renamed and deleted: mail programs look for the special ones by name.
    async fn changeable(&self, mailbox: &MailboxName) -> Result<MailboxNo, Stop> {
        match self.mailbox(mailbox).await? {
            (no, record) if record.special.is_none() => Ok(no),
            _ => refuse("NO [CANNOT] this mailbox is always there, under this name"),
        }
    }
}

/// One mailbox as LIST shows it.
struct Listed<'a> {
    no: MailboxNo,
    record: &'a MailboxRecord,
    has_children: bool,
    has_subscribed_children: bool,
}

fn list_lines(
    rx: &Rx<'_>,
    all: &[(MailboxNo, MailboxRecord)],
    request: &ListRequest,
) -> Result<Vec<u8>, StoreError> {
    let patterns: Vec<Pattern> = request.patterns.iter().map(|pattern| Pattern::new(pattern)).collect();
    let mut lines = Vec::new();
    for (no, record) in all {
        let wire = name::encode(record.name.as_str());
        if !patterns.iter().any(|pattern| pattern.matches(&wire)) {
            continue;
        }
        let below = format!("{}{DELIMITER}", record.name.as_str());
        // Sorted by name: what lies below stands together, though not always next to its parent.
        let first = all.partition_point(|(_, other)| other.name.as_str() < below.as_str());
        let is_below = |other: &&(MailboxNo, MailboxRecord)| other.1.name.as_str().starts_with(&below);
        let mut children = all[first..].iter().take_while(is_below).peekable();
        let listed = Listed {
            no: *no,
            record,
            has_children: children.peek().is_some(),
            has_subscribed_children: children.any(|(_, child)| child.subscribed),
        };
        list_line(rx, request, &listed, &mut lines)?;
    }
    Ok(lines)
}

fn list_line(
    rx: &Rx<'_>,
    request: &ListRequest,
    listed: &Listed<'_>,
    lines: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let record = listed.record;
    let special = record.special.and_then(SpecialUse::attribute);
    // LSUB shows a parent that is not subscribed itself as \Noselect, and so leads to the children.
    let for_children =
        !record.subscribed && listed.has_subscribed_children && (request.lsub || request.recursive);
    let chosen = (!request.only_subscribed || record.subscribed || for_children)
        && (!request.only_special || special.is_some());
    if !chosen {
        return Ok(());
    }
    let mut attributes = vec![if listed.has_children { "\\HasChildren" } else { "\\HasNoChildren" }];
    attributes.extend(special);
    if record.subscribed && (request.show_subscribed || request.only_subscribed && !request.lsub) {
        attributes.push("\\Subscribed");
    }
    if for_children && request.lsub {
        attributes = vec!["\\Noselect"];
    }
    let verb = if request.lsub { "LSUB" } else { "LIST" };
    lines.extend_from_slice(format!("* {verb} ({}) \"/\" ", attributes.join(" ")).as_bytes());
    respond::mailbox(lines, record.name.as_str());
    if request.recursive && listed.has_subscribed_children {
        lines.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    lines.extend_from_slice(b"\r\n");
    if !request.status.is_empty() {
        lines.extend(status_line(rx, listed.no, record, &request.status)?);
    }
    Ok(())
}

fn status_line(
    rx: &Rx<'_>,
    no: MailboxNo,
    record: &MailboxRecord,
    items: &[StatusItem],
) -> Result<Vec<u8>, StoreError> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        values.push(match item {
            StatusItem::Messages => format!("MESSAGES {}", record.messages),
            StatusItem::Recent => format!("RECENT {}", rx.messages().list(no, record.recent_from..)?.len()),
            StatusItem::UidNext => format!("UIDNEXT {}", record.uid_next.0),
            StatusItem::UidValidity => format!("UIDVALIDITY {}", record.uid_validity),
            StatusItem::Unseen => format!("UNSEEN {}", record.unseen),
            StatusItem::Size => format!("SIZE {}", record.bytes),
            StatusItem::Deleted => {
                let all = rx.messages().list(no, ..)?;
                let deleted = all.iter().filter(|(_, message)| message.flags.has(Flags::DELETED));
                format!("DELETED {}", deleted.count())
            }
            StatusItem::DeletedStorage => {
                let all = rx.messages().list(no, ..)?;
                let deleted = all.iter().filter(|(_, message)| message.flags.has(Flags::DELETED));
                format!("DELETED-STORAGE {}", deleted.map(|(_, message)| message.size).sum::<u64>())
            }
            StatusItem::AppendLimit if record.special == Some(SpecialUse::Guest) => {
                "APPENDLIMIT 0".to_owned()
            }
            StatusItem::AppendLimit => format!("APPENDLIMIT {APPEND_LEN_MAX}"),
        });
    }
    let mut line = b"* STATUS ".to_vec();
    respond::mailbox(&mut line, record.name.as_str());
    line.extend_from_slice(format!(" ({})\r\n", values.join(" ")).as_bytes());
    Ok(line)
}

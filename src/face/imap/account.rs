//! Whose mailboxes a session shows: the identity's own, or the one of somebody who reads here without a node.
//!
//! A guest reader has INBOX alone, with a quota (RFC 9208), and puts nothing there: letters come by mail.

use super::session::{Session, done};
use super::translate::{Answer, Stop, refuse};
use crate::protocol::imap::name::MailboxName;
use crate::protocol::imap::respond::{self, CAPABILITIES, CAPABILITIES_OF_GUESTS};
use crate::protocol::sasl::Verifier;
use crate::store::guests::GuestRecord;
use crate::store::mailboxes::{MailboxName as StoredName, MailboxRecord};
use crate::store::{MailboxNo, Rx, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

/// The unit of the resource STORAGE, in bytes.
const UNIT: u64 = 1024;

/// Whose mailboxes a session shows.
pub(super) enum Account {
    /// The identity's own.
    Own,
    /// Those of somebody who reads here: one, with a limit.
    Guest(Box<GuestRecord>),
}

impl Account {
    /// What can be done after login.
    pub(super) fn capabilities(&self) -> &'static str {
        match self {
            Self::Own => CAPABILITIES,
            Self::Guest(_) => CAPABILITIES_OF_GUESTS,
        }
    }

    /// Refuses what makes mailboxes, or puts letters into one.
    pub(super) fn may_put(&self) -> Result<(), Stop> {
        match self {
            Self::Own => Ok(()),
            Self::Guest(_) => {
                refuse("NO [CANNOT] there is INBOX alone, and nothing but arriving letters gets there")
            }
        }
    }

    /// The mailboxes that there are, sorted by name.
    pub(super) fn mailboxes(&self) -> Lookup {
        match self {
            Self::Own => Lookup(None),
            Self::Guest(guest) => Lookup(Some(guest.mailbox)),
        }
    }

    /// What its user's password is checked with; none if `user` is not its user.
    pub(super) async fn verifiers(&self, desk: &crate::node::desk::Desk, user: &str) -> Vec<Verifier> {
        match self {
            Self::Own => crate::face::logins::verifiers(desk, user).await,
            Self::Guest(guest) => crate::face::logins::guest_verifiers(desk, guest, user),
        }
    }
}

/// Finds mailboxes, within a transaction.
#[derive(Clone, Copy)]
pub(super) struct Lookup(Option<MailboxNo>);

impl Lookup {
    /// The mailbox of that name.
    pub(super) fn find(self, rx: &Rx<'_>, name: &StoredName) -> Result<MailboxNo, StoreError> {
        let found = match self.0 {
            None => rx.mailboxes().find(name)?,
            Some(only) => (*name == StoredName::inbox()).then_some(only),
        };
        found.ok_or(StoreError::NoMailbox)
    }

    /// All of them, sorted by name.
    pub(super) fn list(self, rx: &Rx<'_>) -> Result<Vec<(MailboxNo, MailboxRecord)>, StoreError> {
        match self.0 {
            None => rx.mailboxes().list(),
            Some(only) => Ok(vec![(only, rx.mailboxes().get(only)?)]),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// GETQUOTA: there is the root "" where there is a limit, and else none.
    pub(super) async fn quota(&mut self, root: &[u8]) -> Answer {
        match &self.account {
            Account::Guest(_) if root.is_empty() => self.tell_quota().await,
            _ => refuse("NO [NONEXISTENT] there is no such quota root"),
        }
    }

    /// GETQUOTAROOT.
    pub(super) async fn quota_root(&mut self, mailbox: &MailboxName) -> Answer {
        let (_, record) = self.mailbox(mailbox).await?;
        let mut line = b"* QUOTAROOT ".to_vec();
        respond::mailbox(&mut line, record.name.as_str());
        if matches!(self.account, Account::Own) {
            line.extend_from_slice(b"\r\n");
            self.conversation.output().extend_from_slice(&line);
            return done();
        }
        line.extend_from_slice(b" \"\"\r\n");
        self.conversation.output().extend_from_slice(&line);
        self.tell_quota().await
    }

    async fn tell_quota(&mut self) -> Answer {
        let Account::Guest(guest) = &self.account else { return done() };
        let (mailbox, bytes) = (guest.mailbox, guest.bytes);
        let used = self.store().read(move |rx| rx.mailboxes().get(mailbox)).await?.bytes;
        self.conversation.untagged(&format!("QUOTA \"\" (STORAGE {} {})", used.div_ceil(UNIT), bytes / UNIT));
        done()
    }
}

//! `Tx` and `Rx`: the typed tables within one transaction that writes, or on one snapshot.

use super::Core;
use super::doors::{self, Doors};
use super::error::StoreError;
use super::index::{self, Changes, Listing};
use super::mailboxes::MailboxNo;
use super::rows::Rows;
use super::tables::cards::{Cards, CardsMut};
use super::tables::contacts::{Contacts, ContactsMut};
use super::tables::credentials::{Credentials, CredentialsMut};
use super::tables::guests::{Guests, GuestsMut};
use super::tables::held::{Held, HeldMut};
use super::tables::holders::{Holders, HoldersMut};
use super::tables::invites::{Invites, InvitesMut};
use super::tables::letters::{Letters, LettersMut};
use super::tables::mailboxes::{Mailboxes, MailboxesMut};
use super::tables::messages::{Messages, MessagesMut};
use super::tables::meta::{Meta, MetaMut};
use super::tables::peers::{Peers, PeersMut};
use super::tables::queue::{QueueTable, QueueTableMut};
use super::tables::receipts::{Receipts, ReceiptsMut};
use super::tables::routes::{Routes, RoutesMut};
use super::tables::seen::{Seen, SeenMut};
use super::tables::sent_ids::{SentIds, SentIdsMut};
use super::tables::statements::{Statements, StatementsMut};
use crate::model::letter::LetterNo;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// One transaction that writes. What it changed is durable when `Store::write` has answered `Ok`.
pub struct Tx<'t> {
    pub(super) rows: Rows<'t>,
    pub(super) core: &'t Arc<Core>,
    /// A letter was brought.
    pub(super) letter_added: Cell<bool>,
    /// A mailbox changed.
    pub(super) mail_changed: Cell<bool>,
    /// What changed in which mailbox.
    pub(super) changes: RefCell<Changes>,
    /// Letters added by the operation under way.
    pub(super) fresh: RefCell<Vec<LetterNo>>,
    /// Segments that lost their last letter.
    pub(super) emptied: RefCell<Vec<u32>>,
}

/// One snapshot.
pub struct Rx<'t> {
    pub(super) rows: Rows<'t>,
    pub(super) core: &'t Arc<Core>,
}

impl<'t> Tx<'t> {
    pub(super) fn new(txn: &'t redb::WriteTransaction, core: &'t Arc<Core>) -> Self {
        Self {
            rows: Rows::write(txn),
            core,
            letter_added: Cell::new(false),
            mail_changed: Cell::new(false),
            changes: RefCell::default(),
            fresh: RefCell::default(),
            emptied: RefCell::default(),
        }
    }

    /// The letters, by number.
    pub fn letters(&self) -> LettersMut<'_, 't> {
        LettersMut::new(self)
    }

    /// The mailboxes.
    pub fn mailboxes(&self) -> MailboxesMut<'_, 't> {
        MailboxesMut::new(self)
    }

    /// The messages in mailboxes.
    pub fn messages(&self) -> MessagesMut<'_, 't> {
        MessagesMut::new(self)
    }

    /// The outgoing queue.
    pub fn queue(&self) -> QueueTableMut<'_, 't> {
        QueueTableMut::new(self)
    }

    /// Letters seen before.
    pub fn seen(&self) -> SeenMut<'_, 't> {
        SeenMut::new(&self.rows)
    }

    /// Other nodes.
    pub fn peers(&self) -> PeersMut<'_, 't> {
        PeersMut::new(&self.rows)
    }

    /// App passwords.
    pub fn credentials(&self) -> CredentialsMut<'_, 't> {
        CredentialsMut::new(&self.rows)
    }

    /// Copies that the node filed in Sent, by Message-ID.
    pub fn sent_ids(&self) -> SentIdsMut<'_, 't> {
        SentIdsMut::new(&self.rows)
    }

    /// Cards of others.
    pub fn cards(&self) -> CardsMut<'_, 't> {
        CardsMut::new(&self.rows)
    }

    /// What the person decided about others, and the log of it.
    pub fn contacts(&self) -> ContactsMut<'_, 't> {
        ContactsMut::new(&self.rows)
    }

    /// What others signed about each other.
    pub fn statements(&self) -> StatementsMut<'_, 't> {
        StatementsMut::new(&self.rows)
    }

    /// Invites that were given out.
    pub fn invites(&self) -> InvitesMut<'_, 't> {
        InvitesMut::new(&self.rows)
    }

    /// Receipts for letters that were sent.
    pub fn receipts(&self) -> ReceiptsMut<'_, 't> {
        ReceiptsMut::new(&self.rows)
    }

    /// Those who read here without a node of their own.
    pub fn guests(&self) -> GuestsMut<'_, 't> {
        GuestsMut::new(self)
    }

    /// What is held for others.
    pub fn held(&self) -> HeldMut<'_, 't> {
        HeldMut::new(self)
    }

    /// Who holds for us.
    pub fn holders(&self) -> HoldersMut<'_, 't> {
        HoldersMut::new(&self.rows)
    }

    /// Where others may be left letters.
    pub fn routes(&self) -> RoutesMut<'_, 't> {
        RoutesMut::new(&self.rows)
    }

    /// Small values by name.
    pub fn meta(&self) -> MetaMut<'_, 't> {
        MetaMut::new(&self.rows)
    }
}

impl<'t> Rx<'t> {
    pub(super) fn new(txn: &'t redb::ReadTransaction, core: &'t Arc<Core>) -> Self {
        Self { rows: Rows::read(txn), core }
    }

    /// The letters, by number.
    pub fn letters(&self) -> Letters<'_, 't> {
        Letters::new(self)
    }

    /// The mailboxes.
    pub fn mailboxes(&self) -> Mailboxes<'_, 't> {
        Mailboxes::new(&self.rows)
    }

    /// A mailbox with the uids and flags of its messages.
    pub fn listing(&self, no: MailboxNo) -> Result<Listing, StoreError> {
        index::listing(self, no)
    }

    /// The messages in mailboxes.
    pub fn messages(&self) -> Messages<'_, 't> {
        Messages::new(&self.rows)
    }

    /// The outgoing queue.
    pub fn queue(&self) -> QueueTable<'_, 't> {
        QueueTable::new(&self.rows)
    }

    /// Letters seen before.
    pub fn seen(&self) -> Seen<'_, 't> {
        Seen::new(&self.rows)
    }

    /// Other nodes.
    pub fn peers(&self) -> Peers<'_, 't> {
        Peers::new(&self.rows)
    }

    /// App passwords.
    pub fn credentials(&self) -> Credentials<'_, 't> {
        Credentials::new(&self.rows)
    }

    /// Copies that the node filed in Sent, by Message-ID.
    pub fn sent_ids(&self) -> SentIds<'_, 't> {
        SentIds::new(&self.rows)
    }

    /// Cards of others.
    pub fn cards(&self) -> Cards<'_, 't> {
        Cards::new(&self.rows)
    }

    /// What the person decided about others, and the log of it.
    pub fn contacts(&self) -> Contacts<'_, 't> {
        Contacts::new(&self.rows)
    }

    /// What others signed about each other.
    pub fn statements(&self) -> Statements<'_, 't> {
        Statements::new(&self.rows)
    }

    /// Invites that were given out.
    pub fn invites(&self) -> Invites<'_, 't> {
        Invites::new(&self.rows)
    }

    /// Receipts for letters that were sent.
    pub fn receipts(&self) -> Receipts<'_, 't> {
        Receipts::new(&self.rows)
    }

    /// Those who read here without a node of their own.
    pub fn guests(&self) -> Guests<'_, 't> {
        Guests::new(&self.rows)
    }

    /// What is held for others.
    pub fn held(&self) -> Held<'_, 't> {
        Held::new(&self.rows)
    }

    /// What opens the mailboxes that are held.
    pub fn doors(&self) -> Result<Arc<Doors>, StoreError> {
        doors::doors(self)
    }

    /// Who holds for us.
    pub fn holders(&self) -> Holders<'_, 't> {
        Holders::new(&self.rows)
    }

    /// Where others may be left letters.
    pub fn routes(&self) -> Routes<'_, 't> {
        Routes::new(&self.rows)
    }

    /// Small values by name.
    pub fn meta(&self) -> Meta<'_, 't> {
        Meta::new(&self.rows)
    }
}

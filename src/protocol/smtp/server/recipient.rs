//! RCPT for a local part that is none of the identity's own: the driver knows whether somebody reads here under it.
//!
//! The question comes at RCPT, so that what does not fit into a full mailbox is refused before its content. Such a
//! letter has one reader: what is kept of it is made for them alone.

use super::session::{State, refusal};
use super::{Role, Server, replies};
use crate::model::address::MailAddress;
use crate::protocol::smtp::reply::Reply;

/// Does anybody read here under this address, and is there room? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct RecipientAsked<'a> {
    server: &'a mut Server,
    to: MailAddress,
    size: Option<u64>,
}

impl<'a> RecipientAsked<'a> {
    pub(super) fn new(server: &'a mut Server, to: MailAddress) -> Self {
        let size = server.transaction.as_ref().and_then(|letter| letter.size);
        Self { server, to, size }
    }

    /// Who is asked for; at the identity's own onion.
    pub fn to(&self) -> &MailAddress {
        &self.to
    }

    /// What the sender says the letter's size is, in bytes; with its seal, if it has one.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Letters for this reader are taken.
    pub fn take(self) {
        self.server.recipient_taken(self.to);
    }

    /// Refuses the recipient with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        if let State::AskRecipient(_) = self.server.leave(State::Command) {
            self.server.say(&refusal(reply));
        }
    }

    /// Nobody has this name.
    pub fn nobody(self) {
        self.refuse(replies::NOBODY);
    }
}

impl Server {
    /// Whether only the driver can know of this address.
    pub(super) fn is_guests(&self, address: &MailAddress) -> bool {
        match &self.config.role {
            Role::Onion { names, .. } => !names.owns(address) && !names.is_echo(address),
            Role::Drop { .. } | Role::Submission { .. } => false,
        }
    }

    /// Only now is it asked whether they can share the letter: a name that nobody has is refused for that.
    fn recipient_taken(&mut self, to: MailAddress) {
        if let State::AskRecipient(_) = self.leave(State::Command) {
            self.join(to);
        }
    }
}

//! A drop's side for authors: a sealed letter is left for a token, or taken back. Neither needs a proof.

use super::session::{State, refusal};
use super::{Role, Server, replies};
use crate::model::address::MailAddress;
use crate::model::hold::{MailboxId, Token};
use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::protocol::smtp::command::Mail;
use crate::protocol::smtp::path::Path;
use crate::protocol::smtp::reply::Reply;
use onion::OnionAddress;

/// A letter that is to be left at a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// For whom.
    pub mailbox: MailboxId,
    /// What pays for it. Whether it is good, the driver judges.
    pub token: Token,
    /// From LETTER=. Whether it is the hash of what comes, the driver sees at the end.
    pub letter: LetterId,
    /// The length of the sealed letter in bytes; what comes has exactly so many.
    pub size: u64,
    /// From KEY=: the prekey that it is sealed with, as the author says.
    pub key: PrekeyId,
}

/// May this letter be left here? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct DepositAsked<'a> {
    server: &'a mut Server,
    deposit: Deposit,
}

/// Is the letter given up? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct RecallAsked<'a> {
    server: &'a mut Server,
    letter: LetterId,
    token: Token,
}

impl<'a> DepositAsked<'a> {
    pub(super) fn new(server: &'a mut Server, deposit: Deposit) -> Self {
        Self { server, deposit }
    }

    /// Which letter, for whom, and what pays for it.
    pub fn deposit(&self) -> Deposit {
        self.deposit
    }

    /// There is room, and the token is good for it. [`super::Step::Begin`] follows before the content.
    pub fn take(self) {
        self.server.deposit_taken(self.deposit.mailbox);
    }

    /// Refuses the letter with a 4xx or 5xx (anything else becomes 451); nothing of it comes.
    pub fn refuse(self, reply: Reply) {
        self.server.deposit_refused(reply);
    }
}

impl<'a> RecallAsked<'a> {
    pub(super) fn new(server: &'a mut Server, letter: LetterId, token: Token) -> Self {
        Self { server, letter, token }
    }

    /// Which letter.
    pub fn letter(&self) -> LetterId {
        self.letter
    }

    /// What its author says was spent on it.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The letter is durably not here.
    pub fn done(self) {
        self.server.recalled(&replies::RECALLED);
    }

    /// Refuses with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.recalled(&refusal(reply));
    }
}

impl Server {
    /// Whether MAIL announces a letter that can be left at a drop.
    pub(super) fn may_deposit(&self, mail: &Mail) -> Result<(), Reply> {
        match mail.token {
            _ if self.facts.proved.is_some() => Err(replies::UNPROVED_DEPOSIT),
            None => Err(replies::NO_TOKEN),
            Some(_) => Ok(()),
        }
    }

    /// RCPT at a drop: a mailbox's address, and one only.
    pub(super) fn rcpt_at_drop(&mut self, onion: OnionAddress, path: &Path) {
        match self.may_rcpt(path).and_then(|()| mailbox(onion, path)) {
            Err(reply) => self.say(&reply),
            Ok(mailbox) => match self.transaction.as_ref().and_then(|letter| letter.mailbox) {
                None => self.state = State::AskDeposit(mailbox),
                Some(taken) if taken == mailbox => self.say(&replies::RECIPIENT_OK),
                Some(_) => self.say(&replies::SEALED_FOR_ONE),
            },
        }
    }

    /// What [`DepositAsked`] shows.
    pub(super) fn deposit(&self, mailbox: MailboxId) -> Deposit {
        let letter = self.transaction.as_ref().expect("a deposit is asked about inside a transaction");
        Deposit {
            mailbox,
            token: letter.token.expect("MAIL at a drop has a TOKEN"),
            letter: letter.letter.expect("LETTER goes with TOKEN"),
            size: letter.size.expect("SIZE goes with BODY=SEALED, and that with TOKEN"),
            key: letter.sealed.expect("BODY=SEALED goes with TOKEN"),
        }
    }

    fn deposit_taken(&mut self, mailbox: MailboxId) {
        let (State::AskDeposit(_), Role::Drop { onion, .. }, Some(letter)) =
            (self.leave(State::Command), &self.config.role, &mut self.transaction)
        else {
            return;
        };
        letter.mailbox = Some(mailbox);
        letter.recipients = vec![mailbox.address(*onion)];
        self.say(&replies::RECIPIENT_OK);
    }

    fn deposit_refused(&mut self, reply: Reply) {
        if let State::AskDeposit(_) = self.leave(State::Command) {
            self.say(&refusal(reply));
        }
    }

    /// RECALL needs no proof: the token is one.
    pub(super) fn recall(&mut self, letter: LetterId, token: Token) {
        if !self.facts.extended {
            self.mistake(&replies::HELLO_FIRST);
        } else if self.transaction.is_some() {
            self.mistake(&replies::INSIDE_A_LETTER);
        } else if self.facts.proved.is_some() {
            self.mistake(&replies::UNPROVED_DEPOSIT);
        } else {
            self.state = State::AskRecall(letter, token);
        }
    }

    fn recalled(&mut self, reply: &Reply) {
        if let State::AskRecall(..) = self.leave(State::Command) {
            self.say(reply);
        }
    }
}

/// The mailbox that this path names at this drop.
fn mailbox(onion: OnionAddress, path: &Path) -> Result<MailboxId, Reply> {
    let domain = path.domain().ok_or(replies::NOBODY)?;
    if OnionAddress::parse(domain) != Ok(onion) {
        return Err(replies::NO_RELAY);
    }
    let address: MailAddress = path.mail_address().ok_or(replies::NOBODY)?;
    MailboxId::from_local_part(&address.local).ok_or(replies::NOBODY)
}

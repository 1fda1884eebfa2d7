//! MAIL, RCPT, DATA and BDAT: whose letter is taken for whom, and in which order.

use super::session::{State, Transaction, Way, refusal};
use super::{Bringer, Envelope, Held, Role, Sending, Server, replies};
use crate::model::address::{LocalPart, MailAddress};
use crate::model::letter::Recipients;
use crate::model::policy::{ECHO, OwnNames, RECIPIENTS_MAX};
use crate::model::seal::PrekeyId;
use crate::protocol::smtp::command::{Mail, NEED_UTF8};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::path::{Path, ReversePath};
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::body::Text;
use crate::protocol::smtp::text::LineEnds;
use onion::OnionAddress;

/// The local part that needs no domain (RFC 5321 section 4.5.1).
const POSTMASTER: &str = "postmaster";

impl Server {
    pub(super) fn mail(&mut self, mail: Mail) {
        if let Err(reply) = self.may_mail(&mail) {
            return self.say(&reply);
        }
        if self.facts.letters >= limits::LETTERS_MAX {
            return self.end(replies::TOO_MANY_LETTERS);
        }
        self.facts.letters += 1;
        let known = self.facts.proved.is_some() || mail.token.is_some();
        let checkpoint = mail.checkpoint && known && mail.size.is_some();
        self.transaction = Some(Transaction {
            from: mail.from,
            size: mail.size,
            body: mail.body,
            letter: mail.letter,
            utf8: mail.utf8,
            sealed: mail.sealed,
            token: mail.token,
            mailbox: None,
            checkpoint,
            held: 0,
            recipients: Vec::new(),
            begun: false,
            len: 0,
            line_ends: mail.sealed.is_none().then(LineEnds::default),
        });
        if checkpoint {
            self.state = State::AskCheckpoint;
        } else {
            self.say(&replies::SENDER_OK);
        }
    }

    /// What [`super::Checkpoint`] shows.
    pub(super) fn sending(&self) -> Sending {
        let letter = self.transaction.as_ref().expect("AskCheckpoint is reached only inside a transaction");
        let proved = || self.facts.proved.expect("without a token a checkpoint is only for a proved onion");
        Sending {
            from: letter.token.map_or_else(|| Bringer::Onion(proved()), Bringer::Token),
            letter: letter.letter.expect("a checkpoint names a letter"),
            size: letter.size.expect("a checkpoint needs a size"),
            sealed: letter.sealed,
        }
    }

    /// The driver's answer to [`super::Checkpoint`].
    pub(super) fn found_here(&mut self, held: Option<Held>) {
        let (State::AskCheckpoint, Some(letter)) = (self.leave(State::Command), &mut self.transaction) else {
            return;
        };
        match held {
            Some(held) => {
                letter.held = held.len;
                letter.len = held.len;
                letter.line_ends = letter.line_ends.as_ref().map(|_| LineEnds::behind(held.after_cr));
                let text = format!("{} is the transaction offset", held.len);
                self.say(&replies::CHECKPOINT.saying(text));
            }
            None => self.say(&replies::SENDER_OK),
        }
    }

    fn may_mail(&self, mail: &Mail) -> Result<(), Reply> {
        if self.facts.hello.is_none() {
            return Err(replies::HELLO_FIRST);
        }
        if self.is_locked() {
            return Err(replies::LOGIN_FIRST);
        }
        if self.transaction.is_some() {
            return Err(replies::MAIL_OPEN);
        }
        if matches!(self.config.role, Role::Drop { .. }) {
            self.may_deposit(mail)?;
        } else if mail.letter.is_some() && self.facts.proved.is_none() {
            return Err(replies::AUTH_FIRST);
        }
        if mail.size.is_some_and(|size| size > self.size_max(mail.sealed)) {
            return Err(replies::TOO_LARGE);
        }
        self.may_be_from(&mail.from)
    }

    /// The largest letter of this kind.
    fn size_max(&self, sealed: Option<PrekeyId>) -> u64 {
        let size_max = self.config.size_max;
        sealed.map_or(size_max, |_| limits::sealed_size_max(size_max))
    }

    /// Whoever has proved an onion writes from it; whoever has logged in writes as this identity.
    fn may_be_from(&self, from: &ReversePath) -> Result<(), Reply> {
        match (&self.config.role, self.facts.proved, from) {
            (_, _, ReversePath::Null) | (Role::Onion { .. }, None, _) => Ok(()),
            (Role::Onion { .. }, Some(proved), ReversePath::Onion(from)) if from.onion == proved => Ok(()),
            (Role::Onion { .. }, Some(_), _) => Err(replies::NOT_YOURS),
            (Role::Drop { .. }, ..) => Err(replies::NO_SENDER),
            (Role::Submission { names, others, .. }, _, ReversePath::Onion(from))
                if names.owns(from) || others.contains(from) =>
            {
                Ok(())
            }
            (Role::Submission { .. }, ..) => Err(replies::NOT_THIS_IDENTITY),
        }
    }

    pub(super) fn rcpt(&mut self, path: &Path) {
        if let Role::Drop { onion, .. } = self.config.role {
            return self.rcpt_at_drop(onion, path);
        }
        match self.may_rcpt(path).and_then(|()| self.recipient(path)) {
            Ok(address) if self.is_guests(&address) => self.state = State::AskRecipient(address),
            Ok(address) => self.join(address),
            Err(reply) => self.say(&reply),
        }
    }

    /// Somebody to whom letters are taken is named.
    pub(super) fn join(&mut self, address: MailAddress) {
        match (self.may_join(address), &mut self.transaction) {
            (Ok(address), Some(transaction)) => {
                if !transaction.recipients.contains(&address) {
                    transaction.recipients.push(address);
                }
                self.say(&replies::RECIPIENT_OK);
            }
            (Err(reply), _) => self.say(&reply),
            (Ok(_), None) => self.say(&replies::MAIL_FIRST),
        }
    }

    pub(super) fn may_rcpt(&self, path: &Path) -> Result<(), Reply> {
        if self.is_locked() {
            return Err(replies::LOGIN_FIRST);
        }
        let transaction = self.transaction.as_ref().ok_or(replies::MAIL_FIRST)?;
        if transaction.begun {
            return Err(replies::IN_CHUNKS);
        }
        if !path.is_ascii() && !transaction.utf8 {
            return Err(NEED_UTF8);
        }
        if transaction.recipients.len() >= RECIPIENTS_MAX {
            Err(replies::TOO_MANY_RECIPIENTS)
        } else {
            Ok(())
        }
    }

    /// The address, if it can share a letter with those that were named before: a seal is for one reader, and `echo@`
    /// shares none, since what is for it is answered and not kept; nor does somebody for whom letters are sealed anew.
    fn may_join(&self, address: MailAddress) -> Result<MailAddress, Reply> {
        let letter = self.transaction.as_ref();
        let sealed = letter.is_some_and(|letter| letter.sealed.is_some());
        let others = letter.and_then(|letter| letter.recipients.first());
        match (&self.config.role, others) {
            (_, Some(other)) if sealed && *other != address => Err(replies::SEALED_FOR_ONE),
            (Role::Onion { names, .. }, Some(other)) if names.is_echo(other) != names.is_echo(&address) => {
                Err(replies::ECHO_ALONE)
            }
            (_, Some(other)) if *other != address && (self.is_guests(other) || self.is_guests(&address)) => {
                Err(replies::GUEST_ALONE)
            }
            _ => Ok(address),
        }
    }

    /// `echo@` answers whoever has proved an onion and can be answered.
    fn may_echo(&self) -> Result<(), Reply> {
        if self.facts.proved.is_none() {
            return Err(replies::ECHO_UNPROVED);
        }
        match self.transaction.as_ref().map(|transaction| &transaction.from) {
            Some(ReversePath::Onion(from)) if from.local.base() != ECHO => Ok(()),
            _ => Err(replies::ECHO_NO_SENDER),
        }
    }

    /// The address, if letters for it are taken here.
    fn recipient(&self, path: &Path) -> Result<MailAddress, Reply> {
        match &self.config.role {
            Role::Onion { names, .. } => self.own_recipient(names, path),
            Role::Submission { names, .. } if path.is_postmaster() => Ok(postmaster(names)),
            Role::Submission { .. } => any_recipient(path),
            Role::Drop { .. } => Err(replies::NOBODY),
        }
    }

    fn own_recipient(&self, names: &OwnNames, path: &Path) -> Result<MailAddress, Reply> {
        if path.is_postmaster() {
            return Ok(postmaster(names));
        }
        let domain = path.domain().ok_or(replies::NOBODY)?;
        if OnionAddress::parse(domain).as_ref() != Ok(names.onion()) {
            return Err(replies::NO_RELAY);
        }
        let address = path.mail_address().ok_or(replies::NOBODY)?;
        match names {
            names if names.is_echo(&address) => self.may_echo().map(|()| address),
            _ => Ok(address),
        }
    }

    /// Whether content may come now.
    fn may_begin(&self) -> Result<(), Reply> {
        if self.is_locked() {
            return Err(replies::LOGIN_FIRST);
        }
        match &self.transaction {
            None => Err(replies::MAIL_FIRST),
            Some(transaction) if transaction.recipients.is_empty() => Err(replies::RCPT_FIRST),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn data(&mut self) {
        let begun = self.transaction.as_ref().is_some_and(|transaction| transaction.begun);
        let held = self.transaction.as_ref().is_some_and(|transaction| transaction.held > 0);
        let sealed = self.transaction.as_ref().is_some_and(|transaction| transaction.sealed.is_some());
        match self.may_begin() {
            Err(reply) => self.say(&reply),
            Ok(()) if sealed => self.say(&replies::SEALED_CHUNKS),
            Ok(()) if held => self.say(&replies::ONLY_CHUNKS),
            Ok(()) if begun => self.say(&replies::IN_CHUNKS),
            Ok(()) => self.state = State::AskBegin(Way::Data),
        }
    }

    pub(super) fn bdat(&mut self, len: u64, last: bool) {
        let letter = self.transaction.as_ref();
        let size_max = self.size_max(letter.and_then(|letter| letter.sealed));
        if len > size_max.saturating_add(limits::SKIP_LEN_MAX) {
            return self.end(replies::TOO_LARGE);
        }
        let sum = letter.map_or(0, |letter| letter.len).saturating_add(len);
        let begun = letter.is_some_and(|letter| letter.begun);
        // Pieces of several tries are put together: their sum must be the letter that was announced. A sealed one is
        // the right bytes or none.
        let exact = letter.filter(|letter| letter.checkpoint || letter.sealed.is_some());
        let announced = exact.and_then(|letter| letter.size);
        let misfit = announced.is_some_and(|size| sum > size || last && sum < size);
        self.state = match self.may_begin() {
            Err(reply) => State::Skip { left: len, reply },
            Ok(()) if sum > size_max => {
                self.drop_transaction();
                State::Skip { left: len, reply: replies::TOO_LARGE }
            }
            Ok(()) if misfit => {
                self.drop_transaction();
                State::Skip { left: len, reply: replies::OTHER_LENGTH }
            }
            Ok(()) if begun => State::Chunk { left: len, last },
            Ok(()) => State::AskBegin(Way::Chunk { len, last }),
        };
    }

    /// What [`super::Begin`] shows.
    pub(super) fn envelope(&self) -> Envelope {
        let transaction = self.transaction.as_ref().expect("AskBegin is reached only inside a transaction");
        let all_of_it = match self.state {
            State::AskBegin(Way::Chunk { len, last: true }) => Some(transaction.held + len),
            _ => None,
        };
        Envelope {
            from: transaction.from.clone(),
            recipients: Recipients::new(transaction.recipients.iter().cloned())
                .expect("AskBegin is reached only with a recipient"),
            size_hint: all_of_it.or(transaction.size),
            body: transaction.body,
            utf8: transaction.utf8,
            sealed: transaction.sealed,
            held: transaction.held,
            letter: transaction.letter,
            deposit: transaction.mailbox.map(|mailbox| self.deposit(mailbox)),
            proved: self.facts.proved,
            user: self.facts.user.clone(),
            hello: self.facts.hello.clone().unwrap_or_default(),
        }
    }

    /// The driver takes the letter.
    pub(super) fn begin(&mut self) {
        if let State::AskBegin(way) = self.leave(State::Command) {
            if let Some(transaction) = &mut self.transaction {
                transaction.begun = true;
                // A text has no length: how much of a broken one came depends on how it was split on the way.
                transaction.checkpoint &= !matches!(way, Way::Data);
            }
            self.state = match way {
                Way::Data => {
                    self.say(&replies::GO_ON);
                    State::Text(Text::new())
                }
                Way::Chunk { len, last } => State::Chunk { left: len, last },
            };
        }
    }

    /// The driver refuses the letter before its content.
    pub(super) fn refuse(&mut self, reply: Reply) {
        if let State::AskBegin(way) = self.leave(State::Command) {
            let reply = refusal(reply);
            if reply.is_transient() {
                self.suspend_transaction();
            } else {
                self.drop_transaction();
            }
            match way {
                Way::Data => self.say(&reply),
                Way::Chunk { len, .. } => self.state = State::Skip { left: len, reply },
            }
        }
    }

    /// The driver's last word on a letter.
    pub(super) fn finished(&mut self, reply: Reply) {
        if let State::AskFinish = self.leave(State::Command) {
            // The driver has had `Finish`: there is nothing left to discard.
            self.transaction = None;
            if reply.is_positive() {
                self.facts.commands = 0;
                self.facts.errors = 0;
            }
            self.say(&reply);
        }
    }
}

fn postmaster(names: &OwnNames) -> MailAddress {
    let local = LocalPart::parse(POSTMASTER).expect("postmaster is an atom");
    MailAddress { local, onion: *names.onion() }
}

/// The address, if it is on any onion.
fn any_recipient(path: &Path) -> Result<MailAddress, Reply> {
    let domain = path.domain().ok_or(replies::NOBODY)?;
    match OnionAddress::parse(domain) {
        Ok(_) => {
            let text = "The part before the @ is none that an onion address can have";
            path.mail_address().ok_or(replies::BAD_ONION.saying(text))
        }
        Err(error) if is_onion(domain) => {
            Err(replies::BAD_ONION.saying(format!("Not an onion address: {error}")))
        }
        Err(_) => Err(replies::CLEARNET),
    }
}

fn is_onion(domain: &str) -> bool {
    domain.len() >= 6 && domain.as_bytes()[domain.len() - 6..].eq_ignore_ascii_case(b".onion")
}

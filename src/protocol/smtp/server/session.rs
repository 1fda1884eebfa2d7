//! A session's state, and the commands that concern no letter.

use super::{Event, Role, Server, replies};
use crate::model::address::MailAddress;
use crate::model::hold::{MailboxId, Token};
use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::protocol::sasl::Exchange;
use crate::protocol::smtp::command::{self, BodyKind, Command, Words};
use crate::protocol::smtp::held::{Revoked, Take};
use crate::protocol::smtp::input::LineError;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::path::ReversePath;
use crate::protocol::smtp::proof;
use crate::protocol::smtp::read::Phase;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::body::Text;
use crate::protocol::smtp::text::LineEnds;
use onion::OnionAddress;
use std::mem;

/// Where a session stands.
#[derive(Debug)]
pub(super) enum State {
    /// A command is waited for.
    Command,
    /// A SASL response is waited for.
    Sasl(Exchange),
    /// The driver is asked for a user's verifiers.
    Lookup { exchange: Exchange, user: String },
    /// The driver is asked for a Card newer than this sequence.
    AskCard(Option<u64>),
    /// The driver is asked what is here of the letter already.
    AskCheckpoint,
    /// The driver is asked whether letters for this address are taken.
    AskRecipient(MailAddress),
    /// The driver is asked whether the letter may be left in this mailbox.
    AskDeposit(MailboxId),
    /// The driver is asked what is held for this key, behind this letter.
    AskHeld(OnionAddress, Option<LetterId>),
    /// The driver is asked for a stretch of what is held for this key.
    AskTake(OnionAddress, Take),
    /// The driver is to forget what this key has collected.
    AskDrop(OnionAddress, Vec<LetterId>),
    /// The driver is asked to take these tokens no more.
    AskRevoke(OnionAddress, Revoked),
    /// The driver is to give up a letter on the word of its author.
    AskRecall(LetterId, Token),
    /// The driver is asked whether the letter may come.
    AskBegin(Way),
    /// A DATA text is coming.
    Text(Text),
    /// A chunk is coming; so many bytes of it are missing.
    Chunk { left: u64, last: bool },
    /// A chunk is thrown away, and then answered.
    Skip { left: u64, reply: Reply },
    /// The driver is asked whether the letter is kept.
    AskFinish,
    /// The last reply is said; so many bytes more are read and thrown away.
    Drain { left: usize },
    /// It is over.
    Closed,
}

/// How the content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Data,
    Chunk { len: u64, last: bool },
}

/// What a session has found out, and what it counts.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// What EHLO or HELO said.
    pub(super) hello: Option<String>,
    /// It was EHLO.
    pub(super) extended: bool,
    pub(super) proved: Option<OnionAddress>,
    pub(super) user: Option<String>,
    /// Log-in attempts so far.
    pub(super) logins: u32,
    /// Letters begun so far.
    pub(super) letters: u32,
    /// Times that the Card was given.
    pub(super) cards: u32,
    /// HELD, TAKE and DROP that were done.
    pub(super) collected: u32,
    /// Commands, without those just counted, and errors since the last letter that was accepted.
    pub(super) commands: u32,
    pub(super) errors: u32,
    /// Bytes of the present stretch of a body.
    pub(super) stretch: u64,
}

/// A letter from MAIL on.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) from: ReversePath,
    pub(super) size: Option<u64>,
    pub(super) body: BodyKind,
    pub(super) letter: Option<LetterId>,
    /// SMTPUTF8 was said.
    pub(super) utf8: bool,
    /// BODY=SEALED was said, with this KEY.
    pub(super) sealed: Option<PrekeyId>,
    /// From TOKEN=; always there at a drop.
    pub(super) token: Option<Token>,
    /// The mailbox in which it may be left, as the driver said.
    pub(super) mailbox: Option<MailboxId>,
    /// What comes of it before the session breaks is kept for the next one.
    pub(super) checkpoint: bool,
    /// So much of it was here before, in bytes.
    pub(super) held: u64,
    pub(super) recipients: Vec<MailAddress>,
    /// The driver has said that it may come.
    pub(super) begun: bool,
    /// Content so far, in bytes, with what was held.
    pub(super) len: u64,
    /// `None`: the content is sealed, so it may hold any byte.
    pub(super) line_ends: Option<LineEnds>,
}

/// The driver's reply, if it is a refusal; else the one that says that something went wrong.
pub(super) fn refusal(reply: Reply) -> Reply {
    if reply.is_transient() || reply.is_permanent() { reply } else { replies::LOCAL }
}

impl Server {
    pub(super) fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// A mistake of the caller's: says what it was, and after too many of them closes.
    pub(super) fn mistake(&mut self, reply: &Reply) {
        self.facts.errors += 1;
        if self.facts.errors > limits::ERRORS_MAX {
            self.end(replies::TOO_MANY_ERRORS);
        } else {
            self.say(reply);
        }
    }

    /// Says the last reply and closes, reading on for a while so that the caller gets to see it.
    pub(super) fn end(&mut self, reply: Reply) {
        self.suspend_transaction();
        self.say(&reply);
        self.input.consume(usize::MAX);
        self.state = State::Drain { left: limits::DRAIN_LEN_MAX };
    }

    /// The caller is gone.
    pub(super) fn lose(&mut self) {
        self.suspend_transaction();
        self.state = State::Closed;
    }

    /// Forgets the letter in hand for good, and tells the driver if it knows of it.
    pub(super) fn drop_transaction(&mut self) {
        if self.transaction.take().is_some_and(|letter| letter.begun || letter.checkpoint) {
            self.events.push_back(Event::Discard);
        }
    }

    /// The same, but nothing is wrong with the letter: what is here of it may serve the next try.
    pub(super) fn suspend_transaction(&mut self) {
        if self.transaction.as_ref().is_some_and(|letter| letter.checkpoint) {
            self.transaction = None;
            self.events.push_back(Event::Suspend);
        } else {
            self.drop_transaction();
        }
    }

    /// On loopback the greeting names no onion: whoever connects has not logged in yet.
    fn own_name(&self) -> String {
        match &self.config.role {
            Role::Onion { names, .. } => names.onion().host(),
            Role::Drop { onion, .. } => onion.host(),
            Role::Submission { .. } => "localhost".to_owned(),
        }
    }

    pub(super) fn greet(&mut self) {
        let text = format!("{} ESMTP", self.own_name());
        self.say(&Reply::bare(220, "").saying(text));
    }

    /// Reads one command and does it.
    pub(super) fn advance_command(&mut self) -> Option<Event> {
        match self.input.line(command::len_max(self.input.as_slice())) {
            Ok(Some(line)) => self.command(&line),
            Ok(None) if self.shutting => self.end(replies::SHUTTING),
            Ok(None) if self.facts.hello.is_none() => return Some(Event::Read(Phase::Hello)),
            Ok(None) => return Some(Event::Read(Phase::Command)),
            Err(error) => self.bad_line(error),
        }
        None
    }

    pub(super) fn bad_line(&mut self, error: LineError) {
        self.end(match error {
            LineError::TooLong => replies::LINE_TOO_LONG,
            LineError::LineEnd => replies::LINE_END,
        });
    }

    fn command(&mut self, line: &[u8]) {
        self.turn += 1;
        self.facts.commands += 1;
        if self.facts.commands > limits::COMMANDS_MAX {
            return self.end(replies::TOO_MANY_COMMANDS);
        }
        if command::is_http(line) {
            return self.end(replies::HTTP);
        }
        let words = match self.config.role {
            Role::Onion { .. } => Words::Nodes,
            Role::Drop { .. } => Words::Drops,
            Role::Submission { .. } => Words::Programs,
        };
        match command::parse(line, words) {
            Ok(command) => self.obey(command),
            // How many bytes follow is unknown, and they must not be taken for commands.
            Err(reply) if line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT")) => {
                self.end(reply)
            }
            Err(reply) => self.mistake(&reply),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(path) => self.rcpt(&path),
            Command::Data => self.data(),
            Command::Bdat { len, last } => self.bdat(len, last),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial),
            Command::Etrn(node) => self.etrn(&node),
            Command::Card(known) => self.card(known),
            Command::Held(after) => self.collect(|who| State::AskHeld(who, after)),
            Command::Take(take) => self.collect(|who| State::AskTake(who, take)),
            Command::Drop(letters) => self.collect(|who| State::AskDrop(who, letters)),
            Command::Revoke(revoked) => self.collect(|who| State::AskRevoke(who, revoked)),
            Command::Recall(letter, token) => self.recall(letter, token),
            Command::Rset => {
                self.suspend_transaction();
                self.say(&replies::OK);
            }
            Command::Noop => self.say(&replies::OK),
            Command::Vrfy if self.is_locked() => self.say(&replies::LOGIN_FIRST),
            Command::Vrfy => self.say(&replies::CANNOT_VERIFY),
            Command::Help => self.say(&replies::HELP),
            Command::Quit => {
                self.suspend_transaction();
                self.say(&replies::BYE);
                self.state = State::Closed;
            }
        }
    }

    /// On submission nothing is done for whoever has not logged in.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self.config.role, Role::Submission { .. }) && self.facts.user.is_none()
    }

    fn hello(&mut self, name: String, extended: bool) {
        self.suspend_transaction();
        self.facts.hello = Some(name);
        self.facts.extended = extended;
        let mut text = self.own_name();
        if extended {
            text.push_str(&self.announcement());
        }
        self.say(&Reply::bare(250, "").saying(text));
    }

    /// What can be done here, each on a line.
    fn announcement(&self) -> String {
        let size = self.config.size_max;
        let rest = |cookie: &[u8; 16], words| {
            format!("\nAUTH {}\nONIONSKIN 1 {} {words}", proof::MECHANISM, LetterId(*cookie).to_hex())
        };
        let mail = "\nPIPELINING\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nSIZE";
        match &self.config.role {
            Role::Onion { cookie, .. } => {
                format!("{mail} {size}\nCHECKPOINT\nETRN{}", rest(cookie, "CARD SEALED HELD"))
            }
            Role::Drop { cookie, .. } => {
                let mail = "\nPIPELINING\nENHANCEDSTATUSCODES\nCHUNKING\nSIZE";
                format!("{mail} {size}\nCHECKPOINT{}", rest(cookie, "DROP"))
            }
            Role::Submission { .. } => format!("{mail} {size}\nAUTH PLAIN SCRAM-SHA-256"),
        }
    }

    /// The reply tells nothing: not even whether anything waits.
    fn etrn(&mut self, node: &str) {
        if !matches!(self.config.role, Role::Onion { .. }) {
            return self.mistake(&replies::ONLY_SUBMISSION);
        }
        match self.facts.proved {
            None => self.mistake(&replies::AUTH_FIRST),
            Some(onion) if OnionAddress::parse(node) == Ok(onion) => {
                self.events.push_back(Event::Etrn(onion));
                self.say(&replies::WILL_CALL);
            }
            Some(_) => self.mistake(&replies::ETRN_OTHER),
        }
    }

    /// Counts bytes of a body into turns.
    pub(super) fn count(&mut self, len: u64) {
        self.facts.stretch += len;
        while self.facts.stretch >= limits::BODY_TURN_LEN {
            self.facts.stretch -= limits::BODY_TURN_LEN;
            self.turn += 1;
        }
    }

    /// Leaves `replacement` as the state and gives the one that was.
    pub(super) fn leave(&mut self, replacement: State) -> State {
        mem::replace(&mut self.state, replacement)
    }
}

//! The server's side of a session: the onion's port 25, a drop's, or submission for a mail program.
//!
//! The driver loops over [`Server::next`] and does what the step says; a question must be answered, or it is asked
//! again. Replies are gathered and sent when the machine needs input, so a pipelined batch is answered in one flight.
//! The letter's content comes as `Begin`, `Body`…, and then either `Finish` or `Discard`, never both.
//! Decided here: syntax, order, limits, whose address is taken. Decided by the driver: storage, quota, trust.

mod body;
mod card;
mod collect;
mod deposit;
mod letter;
mod login;
mod recipient;
mod replies;
mod session;

use crate::model::address::MailAddress;
use crate::model::hold::Token;
use crate::model::letter::{LetterId, Recipients};
use crate::model::policy::OwnNames;
use crate::model::seal::PrekeyId;
use crate::protocol::sasl::Verifier;
use crate::protocol::smtp::command::BodyKind;
use crate::protocol::smtp::enclosure;
use crate::protocol::smtp::held::{Revoked, Take};
use crate::protocol::smtp::input::Input;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::path::ReversePath;
use crate::protocol::smtp::read::{FeedError, Phase, Read};
use crate::protocol::smtp::reply::Reply;
pub use collect::{DropAsked, HeldAsked, RevokeAsked, TakeAsked};
pub use deposit::{Deposit, DepositAsked, RecallAsked};
use onion::OnionAddress;
pub use recipient::RecipientAsked;
use session::{Facts, State, Transaction};
use std::collections::VecDeque;

/// What a server is told at the start of a session.
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest letter, in bytes; a sealed one may be larger by what the seal adds ([`limits::sealed_size_max`]).
    pub size_max: u64,
    /// Which port this is.
    pub role: Role,
}

/// Which port a server stands at.
#[derive(Clone)]
pub enum Role {
    /// The onion's port 25: anyone calls, and may prove an onion.
    Onion {
        /// The identity's onion and the names it answers to.
        names: OwnNames,
        /// Random, for this session only.
        cookie: [u8; 16],
    },
    /// Port 25 of a drop: anyone leaves sealed letters there who has a token for each, and proves nothing; whoever
    /// proves a key collects what is held for it.
    Drop {
        /// The drop's own onion.
        onion: OnionAddress,
        /// Random, for this session only.
        cookie: [u8; 16],
    },
    /// Submission on loopback: a mail program logs in and sends to any onion.
    Submission {
        /// The identity's onion and the names it answers to.
        names: OwnNames,
        /// Random, for this session only: the SCRAM nonces come from it.
        seed: [u8; 32],
        /// The node's own, always the same (see [`crate::protocol::sasl::Entropy`]).
        decoy: [u8; 32],
        /// Addresses of others in whose name this identity may write.
        others: Vec<MailAddress>,
    },
}

/// The envelope of a letter that is about to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// From MAIL. On submission: `Null`, or an address of this identity.
    pub from: ReversePath,
    /// From RCPT. On the onion port all are local parts of this identity, or it is one that was taken at
    /// [`Step::Recipient`]; at a drop it is one mailbox's address.
    pub recipients: Recipients,
    /// What the sender says the letter's size is, in bytes, at most what is taken here. It is always said of a sealed
    /// letter, and then the real one is the same; else it may differ.
    pub size_hint: Option<u64>,
    /// From BODY=.
    pub body: BodyKind,
    /// SMTPUTF8 was said (RFC 6531).
    pub utf8: bool,
    /// BODY=SEALED was said, and this is the KEY (onion port): there is one recipient, and the content is any bytes,
    /// by BDAT. Whose key it is the driver knows: [`Reply::STALE_KEY`] refuses an unknown one.
    pub sealed: Option<PrekeyId>,
    /// So many bytes of the letter are here already, as the driver said at [`Step::Checkpoint`]; the rest comes.
    pub held: u64,
    /// From LETTER=; only with `proved` or `deposit`.
    pub letter: Option<LetterId>,
    /// What was taken at [`Step::Deposit`]; always there at a drop, and nowhere else.
    pub deposit: Option<Deposit>,
    /// The onion that this session has proved; `from` is then of this onion, or `Null`.
    pub proved: Option<OnionAddress>,
    /// The user who is logged in; always there on submission.
    pub user: Option<String>,
    /// What the caller said its name is. Not to be trusted.
    pub hello: String,
}

/// Who has the right to go on with a letter that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bringer {
    /// The onion that is proved.
    Onion(OnionAddress),
    /// At a drop: nobody in particular, with this token. Whether it is good has not been asked yet.
    Token(Token),
}

/// A letter that may be here in part (RFC 1845).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Who brings it.
    pub from: Bringer,
    /// Its id.
    pub letter: LetterId,
    /// Its whole length in bytes.
    pub size: u64,
    /// The KEY, if it comes sealed. What is here must have come the same way: the content of a letter that is not
    /// sealed is checked as it comes, and that of a sealed one is not.
    pub sealed: Option<PrekeyId>,
}

/// What is here of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// So many bytes, from its beginning.
    pub len: u64,
    /// The last of them is a CR.
    pub after_cr: bool,
}

/// What the driver does next.
#[derive(Debug)]
pub enum Step<'a> {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Read at most [`limits::READ_LEN_MAX`] bytes, then `feed`; at the end of the stream `eof`; too late `expire`.
    Read(Read),
    /// Look a user up (submission).
    Login(Login<'a>),
    /// A user has logged in (submission), with this one of the verifiers that were answered.
    LoggedIn {
        /// Who.
        user: String,
        /// Index into the verifiers.
        verifier: usize,
    },
    /// The caller has proved that it holds this onion's key.
    Proved(OnionAddress),
    /// The identity's Card, if it is newer (onion port)?
    Card(CardAsked<'a>),
    /// How much of this letter is here from before? Whoever answers holds it until `Begin` or `Discard` or `Suspend`.
    Checkpoint(Checkpoint<'a>),
    /// Does anybody read here under this address (onion port)?
    Recipient(RecipientAsked<'a>),
    /// May this letter be left here (drop)?
    Deposit(DepositAsked<'a>),
    /// Take this letter, or not?
    Begin(Begin<'a>),
    /// Content of the letter, in order, not empty, at most [`limits::READ_LEN_MAX`] bytes.
    Body(Vec<u8>),
    /// The letter is complete: keep it durably, then answer.
    Finish(Finish<'a>),
    /// The letter that was begun will not be finished: throw away what came of it.
    Discard,
    /// The session breaks in the midst of the letter of the last `Checkpoint`: keep what is here of it, if you like.
    Suspend,
    /// What is held for whoever has proved this key?
    Held(HeldAsked<'a>),
    /// A stretch of a held letter?
    Take(TakeAsked<'a>),
    /// The proved caller has these letters durably; forget them.
    Drop(DropAsked<'a>),
    /// Tokens are no good any more, says whoever collects (drop).
    Revoke(RevokeAsked<'a>),
    /// An author takes a letter back (drop).
    Recall(RecallAsked<'a>),
    /// The proved onion asks for what waits for it (RFC 1985). It was answered already, the same in every case.
    Etrn(OnionAddress),
    /// Close the stream. Said again and again from now on.
    Close,
}

/// Whose password is it? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct Login<'a> {
    server: &'a mut Server,
    user: String,
}

/// Is there a newer Card? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct CardAsked<'a> {
    server: &'a mut Server,
    known: Option<u64>,
}

/// What is here of a letter? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct Checkpoint<'a> {
    server: &'a mut Server,
    sending: Sending,
}

/// May this letter come? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct Begin<'a> {
    server: &'a mut Server,
    envelope: Box<Envelope>,
}

/// Is the letter kept? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct Finish<'a> {
    server: &'a mut Server,
}

impl Login<'_> {
    /// The name as the mail program gave it. Never for a log.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Answers with the user's verifiers, all of one salt; none if there is no such user.
    pub fn answer(self, verifiers: &[Verifier]) {
        self.server.found(verifiers);
    }
}

impl CardAsked<'_> {
    /// The newest sequence that the caller says it has.
    pub fn known(&self) -> Option<u64> {
        self.known
    }

    /// Answers with the whole Card, 1 to [`limits::CARD_LEN_MAX`] bytes (any other becomes 451), or that there is none
    /// newer than the known one.
    pub fn answer(self, card: Option<&[u8]>) {
        self.server.found_card(card);
    }

    /// Gives no Card and says why by a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.no_card(reply);
    }
}

impl Checkpoint<'_> {
    /// Which letter.
    pub fn sending(&self) -> Sending {
        self.sending
    }

    /// Answers; with `None` the letter comes from its beginning. More than the whole letter is none of it.
    pub fn answer(self, held: Option<Held>) {
        self.server.found_here(held.filter(|held| held.len > 0 && held.len <= self.sending.size));
    }
}

impl Begin<'_> {
    /// Who writes to whom.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Lets the content come.
    pub fn accept(self) -> Envelope {
        self.server.begin();
        *self.envelope
    }

    /// Refuses the letter with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.refuse(reply);
    }
}

impl Finish<'_> {
    /// The letter is durable.
    pub fn accept(self) {
        self.server.finished(replies::KEPT);
    }

    /// The letter is durable, and this statement says so to its author, in at most [`limits::RECEIPT_LEN_MAX`] bytes; a
    /// longer one is left out.
    pub fn accept_with(self, receipt: Option<&[u8]>) {
        let text = enclosure::receipt_text(&replies::KEPT.text, receipt.unwrap_or_default());
        self.server.finished(replies::KEPT.saying(text));
    }

    /// The letter is not kept, and the author is told so by a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.finished(session::refusal(reply));
    }
}

/// What happened inside, before it borrows the server as a [`Step`].
enum Event {
    Send(Vec<u8>),
    Read(Phase),
    Login(String),
    LoggedIn { user: String, verifier: usize },
    Proved(OnionAddress),
    Card(Option<u64>),
    Checkpoint(Sending),
    Recipient(MailAddress),
    Deposit(Deposit),
    Begin(Box<Envelope>),
    Body(Vec<u8>),
    Finish,
    Discard,
    Suspend,
    Held(OnionAddress, Option<LetterId>),
    Take(OnionAddress, Take),
    Drop(OnionAddress, Vec<LetterId>),
    Revoke(OnionAddress, Revoked),
    Recall(LetterId, Token),
    Etrn(OnionAddress),
    Close,
}

/// One session. See the module's description.
#[derive(Debug)]
pub struct Server {
    config: Config,
    input: Input,
    out: Vec<u8>,
    /// What the driver must hear before anything else.
    events: VecDeque<Event>,
    state: State,
    facts: Facts,
    transaction: Option<Transaction>,
    turn: u64,
    eof: bool,
    shutting: bool,
}

impl Server {
    /// A session that has just been opened; its first step sends the greeting.
    pub fn new(config: Config) -> Self {
        let mut server = Self {
            config,
            input: Input::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            state: State::Command,
            facts: Facts::default(),
            transaction: None,
            turn: 0,
            eof: false,
            shutting: false,
        };
        server.greet();
        server
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "a step borrows the machine, so this is no Iterator")]
    pub fn next(&mut self) -> Step<'_> {
        match self.event() {
            Event::Send(bytes) => Step::Send(bytes),
            Event::Read(phase) => Step::Read(Read { phase, turn: self.turn }),
            Event::Login(user) => Step::Login(Login { server: self, user }),
            Event::LoggedIn { user, verifier } => Step::LoggedIn { user, verifier },
            Event::Proved(onion) => Step::Proved(onion),
            Event::Card(known) => Step::Card(CardAsked { server: self, known }),
            Event::Checkpoint(sending) => Step::Checkpoint(Checkpoint { server: self, sending }),
            Event::Recipient(to) => Step::Recipient(RecipientAsked::new(self, to)),
            Event::Deposit(deposit) => Step::Deposit(DepositAsked::new(self, deposit)),
            Event::Begin(envelope) => Step::Begin(Begin { server: self, envelope }),
            Event::Body(content) => Step::Body(content),
            Event::Finish => Step::Finish(Finish { server: self }),
            Event::Discard => Step::Discard,
            Event::Suspend => Step::Suspend,
            Event::Held(who, after) => Step::Held(HeldAsked::new(self, who, after)),
            Event::Take(who, take) => Step::Take(TakeAsked::new(self, who, take)),
            Event::Drop(who, letters) => Step::Drop(DropAsked::new(self, who, letters)),
            Event::Revoke(who, revoked) => Step::Revoke(RevokeAsked::new(self, who, revoked)),
            Event::Recall(letter, token) => Step::Recall(RecallAsked::new(self, letter, token)),
            Event::Etrn(onion) => Step::Etrn(onion),
            Event::Close => Step::Close,
        }
    }

    /// Takes bytes from the caller, all of them or none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        if bytes.len() > limits::READ_LEN_MAX || self.input.len() > limits::READ_LEN_MAX {
            return Err(FeedError::TooMuch);
        }
        match &mut self.state {
            State::Closed => {}
            State::Drain { left } => match left.checked_sub(bytes.len()) {
                Some(less) => *left = less,
                None => self.state = State::Closed,
            },
            _ => self.input.push(bytes),
        }
        Ok(())
    }

    /// The caller will send nothing more. What has come is still worked off.
    pub fn eof(&mut self) {
        self.eof = true;
    }

    /// The stream is of no more use, whatever has come: ends the session without a word.
    pub fn cut(&mut self) {
        self.input.consume(usize::MAX);
        self.out.clear();
        self.lose();
    }

    /// The time for a [`Read`] is over: says 421 and closes.
    pub fn expire(&mut self) {
        match self.state {
            State::Drain { .. } | State::Closed => self.state = State::Closed,
            _ => self.end(replies::TIMEOUT),
        }
    }

    /// The node is going down: after the command in hand, says 421 and closes.
    pub fn shut(&mut self) {
        self.shutting = true;
    }

    /// Bytes held in either direction.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.input.len() + self.out.len()
    }

    /// Works on until there is something for the driver.
    fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if self.out.len() >= limits::OUTPUT_LEN_MAX {
                return Event::Send(std::mem::take(&mut self.out));
            }
            match self.advance() {
                None => {}
                Some(Event::Read(_) | Event::Close) if !self.out.is_empty() => {
                    return Event::Send(std::mem::take(&mut self.out));
                }
                Some(Event::Read(_)) if self.eof => self.lose(),
                Some(Event::Read(phase)) => {
                    if phase != Phase::Body {
                        self.input.shrink();
                    }
                    return Event::Read(phase);
                }
                Some(event) => return event,
            }
        }
    }

    /// One step inside; `None` if the state has changed and another one can follow.
    fn advance(&mut self) -> Option<Event> {
        match &mut self.state {
            State::Command => self.advance_command(),
            State::Sasl(_) => self.advance_sasl(),
            State::Lookup { user, .. } => Some(Event::Login(user.clone())),
            State::AskCard(known) => Some(Event::Card(*known)),
            State::AskCheckpoint => Some(Event::Checkpoint(self.sending())),
            State::AskRecipient(to) => Some(Event::Recipient(to.clone())),
            State::AskDeposit(mailbox) => {
                let mailbox = *mailbox;
                Some(Event::Deposit(self.deposit(mailbox)))
            }
            State::AskHeld(who, after) => Some(Event::Held(*who, *after)),
            State::AskTake(who, take) => Some(Event::Take(*who, *take)),
            State::AskDrop(who, letters) => Some(Event::Drop(*who, letters.clone())),
            State::AskRevoke(who, revoked) => Some(Event::Revoke(*who, revoked.clone())),
            State::AskRecall(letter, token) => Some(Event::Recall(*letter, *token)),
            State::AskBegin(_) => Some(Event::Begin(Box::new(self.envelope()))),
            State::Text(_) => self.advance_text(),
            State::Chunk { .. } => self.advance_chunk(),
            State::Skip { .. } => self.advance_skip(),
            State::AskFinish => Some(Event::Finish),
            State::Drain { .. } => Some(Event::Read(Phase::Drain)),
            State::Closed => Some(Event::Close),
        }
    }
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Onion { .. } => "Onion",
            Self::Drop { .. } => "Drop",
            Self::Submission { .. } => "Submission",
        })
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

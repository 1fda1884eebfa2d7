//! The sending side of a session, one letter after another.
//!
//! The driver loops over [`Client::next`]; every letter ends in exactly one [`Step::Done`] or [`Step::Failed`]. To a
//! node like ours a batch of AUTH, MAIL, RCPT and BDAT goes out in one flight: a first letter takes two round trips
//! after the stream has opened, the next one on a kept session takes one; CARD before a letter costs one more, and none
//! in the same flight. A stock server gets DATA, and is waited for
//! where RFC 2920 says so. Bytes over 127 are sent as they are, even to a server without 8BITMIME: every living server
//! passes them on, and a re-coded letter would no longer be the author's.

mod collect;
mod letter;
mod peer;
mod replies;
mod session;

use crate::model::hold::Token;
use crate::model::letter::{LetterId, Recipients};
use crate::model::seal::PrekeyId;
use crate::protocol::smtp::held::{HeldList, Take};
use crate::protocol::smtp::input::Input;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::path::ReversePath;
use crate::protocol::smtp::read::{FeedError, Phase, Read};
use crate::protocol::smtp::reply::Reply;
use collect::{Drops, Octets, Takes};
use letter::Letter;
use onion::OnionAddress;
pub use peer::Peer;
use replies::ReplyReader;
pub use replies::Violation;
use session::{Expect, Stage};
use std::collections::VecDeque;

/// What a client is told at the start of a session.
#[derive(Debug)]
pub struct Config {
    /// The onion that was dialled.
    pub server: OnionAddress,
    /// The name for EHLO.
    pub hello: String,
    /// How to prove our onion to a node; without it nothing is proved, and letters carry no id.
    pub prove: Option<Prove>,
}

impl Config {
    /// For leaving a letter at a drop, or taking it back: says of nobody who it is.
    pub fn anonymous(drop: OnionAddress) -> Self {
        Self { server: drop, hello: limits::DEPOSIT_HELLO.to_owned(), prove: None }
    }
}

/// Signs bytes with an onion's key (ed25519).
pub type Sign = dyn Fn(&[u8]) -> [u8; 64] + Send + Sync;

/// What AUTH ONION-ED25519 needs.
pub struct Prove {
    /// Our onion.
    pub own: OnionAddress,
    /// Random, for this session only.
    pub cookie: [u8; 16],
    /// Signs with our onion's key.
    pub sign: Box<Sign>,
}

/// One letter to send; its content is asked for later.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The author.
    pub from: ReversePath,
    /// Readers at this server.
    pub recipients: Recipients,
    /// The same at every try.
    pub id: LetterId,
    /// Exact length of the content in bytes.
    pub size: u64,
    /// The content has bytes over 127.
    pub eight_bit: bool,
    /// The header has UTF-8 in it: only a server with SMTPUTF8 takes it (RFC 6531). Of no meaning if it is sealed.
    pub utf8_header: bool,
    /// The content is sealed with this key, so it may hold any byte, and goes by BODY=SEALED or not at all: to a server
    /// that does not take sealed letters nothing is sent ([`Outcome::Deferred`]). There should be one recipient.
    pub sealed: Option<PrekeyId>,
    /// The letter is left at a drop, and this pays for it: it must be sealed, and the recipient is the mailbox. `from`
    /// is not said. The session must be [`Config::anonymous`]; else, and to a server that is no drop, nothing is sent
    /// ([`Outcome::Deferred`]).
    pub token: Option<Token>,
    /// Asks in the same flight for a Card newer than this sequence. The answer comes as [`Step::Card`] before the
    /// letter's, and before any of a content of more than [`limits::EAGER_LEN_MAX`] goes out; it is missing only if the
    /// session ends, or if nothing at all was said to the server.
    pub ask_card: Option<u64>,
}

/// What a server said when it was asked for its Card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardAnswer {
    /// This, at most [`limits::CARD_LEN_MAX`] bytes, not looked at.
    Card(Vec<u8>),
    /// None newer than the sequence that was named.
    NothingNewer,
    /// It has no such command, refused, or answered with what is no Card.
    None,
}

/// What became of a letter for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Accepted,
    /// 4xx, or not sent because the server does not take such letters at present: try again later. After
    /// [`Reply::is_stale_key`] seal it anew, with a key of the server's newest Card.
    Deferred(Reply),
    /// 5xx, or refused here because the server could not take it.
    Refused(Reply),
}

/// The session ended before its letter was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The content was sent to its end: the server may have the letter. Try again with the same id.
    pub maybe_delivered: bool,
}

/// Why a session ended. All but `Violation` promise something from trying again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    // Shown without the server's words: they may name anybody, and a log must not.
    /// The greeting, or the reply to EHLO, was 4xx or 5xx.
    #[error("the server does not want to talk ({})", .0.code)]
    Unwelcome(Reply),
    /// 421: the server is closing.
    #[error("the server closed the session ({})", .0.code)]
    ShutDown(Reply),
    /// Our proof was not taken.
    #[error("the server did not take our proof ({})", .0.code)]
    AuthRefused(Reply),
    /// The stream ended.
    #[error("the stream ended")]
    Lost,
    /// The driver said that the time is over.
    #[error("the server was silent for too long")]
    Silent,
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(#[from] Violation),
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Read at most [`limits::READ_LEN_MAX`] bytes, then `feed`; at the end of the stream `eof`; too late `expire`.
    Read(Read),
    /// Give `body` 1 to `max` bytes of the content.
    WantBody {
        /// From this byte of it. It is not always where the last piece ended: what the server has from an earlier try
        /// is not sent again (RFC 1845).
        at: u64,
        /// Never more than [`limits::BODY_CHUNK_LEN_MAX`] nor than what is missing.
        max: usize,
    },
    /// The letter was answered.
    Done {
        /// One per recipient, in their order.
        outcomes: Vec<Outcome>,
        /// What came with an acceptance, 1 to [`limits::RECEIPT_LEN_MAX`] bytes, not looked at.
        receipt: Option<Vec<u8>>,
    },
    /// CARD was answered. If a letter asked for it, that one is still in hand.
    Card(CardAnswer),
    /// HELD was answered, or refused by a 4xx or 5xx. Nothing in the list is to be believed before it was taken.
    Held(Result<HeldList, Reply>),
    /// The oldest of the TAKEs was answered, or refused by a 4xx or 5xx: at most as many bytes as were asked for, and
    /// none only where the letter is over.
    Taken(Result<Vec<u8>, Reply>),
    /// DROP or REVOKE was answered, or refused by a 4xx or 5xx.
    Dropped(Result<(), Reply>),
    /// RECALL was answered, or refused by a 4xx or 5xx.
    Recalled(Result<(), Reply>),
    /// ETRN was answered.
    Etrn(Reply),
    /// The session is over and the letter or question in hand, if any, was not answered. `Close` follows.
    Failed(Failure),
    /// Nothing to do: give a letter, a question or `quit`, or keep the session for a while, less than the server's
    /// [`limits::COMMAND_WAIT`]. What the server says meanwhile may be fed at any time.
    Idle,
    /// Close the stream. Said again and again from now on.
    Close,
}

/// A letter or a question is in hand, or the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session is busy or over")]
pub struct Busy;

/// Content that was not asked for: the driver's mistake. The session must be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("content that was not asked for, or of another length")]
pub struct BodyError;

/// What is in hand.
#[derive(Debug)]
enum Work {
    Letter(Box<Letter>),
    Card(Option<u64>),
    Etrn,
    Held(Option<LetterId>),
    Take(Takes),
    Drop(Drops),
    Recall(LetterId, Token),
}

/// One session. See the module's description.
#[derive(Debug)]
pub struct Client {
    config: Config,
    input: Input,
    replies: ReplyReader,
    out: Vec<u8>,
    /// What the driver must hear before anything else.
    events: VecDeque<Step>,
    stage: Stage,
    peer: Option<Peer>,
    /// Commands that are said and not yet answered.
    expected: VecDeque<Expect>,
    /// Commands that are not yet said.
    script: VecDeque<(Expect, String)>,
    work: Option<Work>,
    /// What comes behind the reply to a TAKE.
    octets: Option<Octets>,
    /// AUTH was said, or will not be.
    proof_said: bool,
    /// The server may still have the last transaction open.
    need_rset: bool,
    leaving: bool,
    eof: bool,
    turn: u64,
}

impl Client {
    /// A session over a stream that has just been opened.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            input: Input::default(),
            replies: ReplyReader::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            stage: Stage::Greeting,
            peer: None,
            expected: VecDeque::new(),
            script: VecDeque::new(),
            work: None,
            octets: None,
            proof_said: false,
            need_rset: false,
            leaving: false,
            eof: false,
            turn: 0,
        }
    }

    /// Gives a letter to send; possible from the start, and then after each `Done`.
    pub fn letter(&mut self, outgoing: Outgoing) -> Result<(), Busy> {
        self.take_work(Work::Letter(Box::new(Letter::new(outgoing))))
    }

    /// Asks for the server's Card, if it is newer than the known sequence; answered by [`Step::Card`].
    pub fn ask_card(&mut self, known: Option<u64>) -> Result<(), Busy> {
        self.take_work(Work::Card(known))
    }

    /// Asks the server to send what waits for our onion. A server that cannot is answered for with 502.
    pub fn etrn(&mut self) -> Result<(), Busy> {
        self.take_work(Work::Etrn)
    }

    /// Asks what is held for us, oldest first, from behind this letter; answered by [`Step::Held`]. A server that does
    /// not say HELD or DROP, or to which nothing can be proved, is answered for with 502, here and below.
    pub fn ask_held(&mut self, after: Option<LetterId>) -> Result<(), Busy> {
        self.take_work(Work::Held(after))
    }

    /// Asks for a stretch of a held letter; answered by [`Step::Taken`]. Up to [`limits::TAKES_MAX`] may be on their
    /// way at once, and are answered in their order.
    pub fn take(&mut self, take: Take) -> Result<(), Busy> {
        self.add_take(take)
    }

    /// Says that we have these letters durably, so that they need not be held any more; answered by one
    /// [`Step::Dropped`], the first refusal if there are several. They go in DROPs of
    /// [`limits::DROP_LETTERS_MAX`], of which some may be done though another is refused.
    pub fn drop_letters(&mut self, letters: &[LetterId]) -> Result<(), Busy> {
        self.take_work(Work::Drop(Drops::new(letters)))
    }

    /// Says that these tokens of an epoch are no good any more; answered by one [`Step::Dropped`], like the above. A
    /// server that is no drop refuses.
    pub fn revoke(&mut self, epoch: u32, nonces: &[[u8; 16]]) -> Result<(), Busy> {
        self.take_work(Work::Drop(Drops::revoking(epoch, nonces)))
    }

    /// Takes back a letter that was left at this drop for this token; answered by [`Step::Recalled`]. The session
    /// should be [`Config::anonymous`]. A server that is no drop is answered for with 502.
    pub fn recall(&mut self, letter: LetterId, token: Token) -> Result<(), Busy> {
        self.take_work(Work::Recall(letter, token))
    }

    /// Leaves as soon as nothing is in hand.
    pub fn quit(&mut self) {
        self.leaving = true;
    }

    /// Takes bytes from the server, all of them or none. May be called at any time.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        if bytes.len() > limits::READ_LEN_MAX || self.input.len() > limits::READ_LEN_MAX {
            return Err(FeedError::TooMuch);
        }
        self.input.push(bytes);
        Ok(())
    }

    /// The stream has ended, or a write has failed. What was fed is still worked off.
    pub fn eof(&mut self) {
        self.eof = true;
    }

    /// The time for a [`Read`] is over.
    pub fn expire(&mut self) {
        self.fail(Cause::Silent);
    }

    /// Content of the letter, after [`Step::WantBody`].
    pub fn body(&mut self, content: &[u8]) -> Result<(), BodyError> {
        if content.is_empty() || content.len() > self.body_wanted() {
            return Err(BodyError);
        }
        self.take_body(content);
        Ok(())
    }

    /// What the server can do; `None` before it has said so.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "a driver's loop, like the server's, and no Iterator")]
    pub fn next(&mut self) -> Step {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if self.stage == Stage::Over {
                return Step::Close;
            }
            self.say_more();
            if !self.events.is_empty() || !self.has_more_to_say() && self.take_reply() {
                continue;
            }
            if self.eof {
                self.fail(Cause::Lost);
            } else if let Some(step) = self.advance() {
                return step;
            }
        }
    }

    /// Bytes held in either direction.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.input.len() + self.out.len() + self.octets.as_ref().map_or(0, Octets::held)
    }

    /// Whether something must be handed out before a reply can be its answer.
    fn has_more_to_say(&self) -> bool {
        !self.out.is_empty() || matches!(&self.work, Some(Work::Letter(letter)) if letter.is_at_start())
    }

    /// One step outward; `None` if something has changed and another one can follow.
    fn advance(&mut self) -> Option<Step> {
        let wanted = self.body_wanted();
        // Content joins the commands before it in one write.
        if wanted > 0 && self.out.len() < limits::BODY_CHUNK_LEN_MAX {
            return Some(Step::WantBody { at: self.body_at(), max: wanted });
        }
        if !self.out.is_empty() {
            return Some(Step::Send(std::mem::take(&mut self.out)));
        }
        if self.stage != Stage::Ready || !self.expected.is_empty() || self.octets.is_some() {
            return Some(Step::Read(Read { phase: self.phase(), turn: self.turn }));
        }
        if self.work.is_none() && self.leaving {
            self.say_quit();
            return None;
        }
        self.work.is_none().then_some(Step::Idle)
    }

    fn phase(&self) -> Phase {
        let ours = self.peer.as_ref().is_some_and(Peer::is_onionskin);
        match (self.stage, self.expected.front()) {
            (Stage::Greeting | Stage::Ehlo | Stage::Helo, _) => Phase::Greeting,
            _ if self.octets.is_some() => Phase::Body,
            (_, Some(Expect::Quit)) => Phase::Quit,
            (_, Some(Expect::End)) if ours => Phase::Letter,
            (_, Some(Expect::End)) => Phase::StockLetter,
            _ if ours => Phase::Reply,
            _ => Phase::StockReply,
        }
    }
}

impl std::fmt::Debug for Prove {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prove")
    }
}

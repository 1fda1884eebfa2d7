//! One letter on its way out: its commands, its content, and what the replies make of each recipient.

use super::session::{Expect, Stage};
use super::{Cause, Client, Outcome, Outgoing, Peer, Violation, Work};
use crate::model::policy::ECHO;
use crate::protocol::smtp::enclosure;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::text::{LineEnds, Stuffing};

const TOO_LARGE: Reply = Reply::new(552, 3, 4, "The letter is larger than the reader's node takes");
/// RFC 3463: a security feature that is not supported.
const NOT_SEALED: Reply =
    Reply::new(450, 7, 4, "The other node does not take sealed letters at present; nothing was sent");
const NO_DROP: Reply =
    Reply::new(450, 7, 4, "The other node is no drop where a letter can be left; nothing was sent");
/// RFC 6531 section 3.5.
const NO_UTF8_ADDRESS: Reply =
    Reply::new(550, 6, 7, "The reader's server takes no address with other than ASCII letters (no SMTPUTF8)");
const NO_UTF8_HEADER: Reply = Reply::new(
    550,
    6,
    9,
    "The reader's server takes no letter with other than ASCII letters in its header (no SMTPUTF8)",
);
const BROKEN: Reply =
    Reply::new(554, 6, 0, "The letter has a NUL byte, or a CR or LF that is not part of a CRLF");
const NO_ANSWER: Reply = Reply::new(451, 5, 0, "The server answered for the letter without this recipient");

/// How far the content has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Commands come first.
    Waiting,
    /// It is being sent.
    Going,
    /// Its end is sent, or it will not be sent.
    Over,
}

/// A letter in hand.
#[derive(Debug)]
pub(super) struct Letter {
    outgoing: Outgoing,
    /// Per recipient; `None` as long as nothing is against it.
    outcomes: Vec<Option<Outcome>>,
    content: Content,
    /// By BDAT instead of DATA.
    chunked: bool,
    /// BDAT does not wait for the replies to MAIL and RCPT.
    eager: bool,
    /// What the server has of it was asked for (RFC 1845).
    checkpoint: bool,
    /// How far the content is sent, with what the server had of it.
    sent: u64,
    /// What the server had of it.
    held: u64,
    /// `None`: the content is sealed, so it may hold any byte.
    line_ends: Option<LineEnds>,
    stuffing: Stuffing,
}

impl Letter {
    pub(super) fn new(outgoing: Outgoing) -> Self {
        let outcomes = vec![None; outgoing.recipients.as_slice().len()];
        let line_ends = outgoing.sealed.is_none().then(LineEnds::default);
        Self {
            outgoing,
            outcomes,
            content: Content::Waiting,
            chunked: false,
            eager: false,
            checkpoint: false,
            sent: 0,
            held: 0,
            line_ends,
            stuffing: Stuffing::new(),
        }
    }

    /// Whether the server may take the letter from what was sent.
    pub(super) fn maybe_delivered(&self) -> bool {
        self.content == Content::Over && self.is_wanted()
    }

    /// Whether content is wanted and none was given yet.
    pub(super) fn is_at_start(&self) -> bool {
        self.content == Content::Going && self.sent == self.held
    }

    /// Whether some recipient has not been refused.
    fn is_wanted(&self) -> bool {
        self.outcomes.iter().any(Option::is_none)
    }

    /// The same reply for all who have none yet.
    fn settle(&mut self, outcome: &Outcome) {
        for open in self.outcomes.iter_mut().filter(|open| open.is_none()) {
            *open = Some(outcome.clone());
        }
    }

    fn needs_utf8(&self) -> bool {
        self.outgoing.utf8_header || self.outgoing.recipients.as_slice().iter().any(|to| !to.local.is_ascii())
    }

    /// Whether the server has no room for it. A seal makes a letter larger, and the limit is the letter's.
    fn is_too_large_for(&self, peer: &Peer) -> bool {
        let limit = match self.outgoing.sealed {
            Some(_) => peer.size_max.map(limits::sealed_size_max),
            None => peer.size_max,
        };
        limit.is_some_and(|limit| self.outgoing.size > limit)
    }

    /// Refuses what cannot be asked for without SMTPUTF8; what is sealed is asked for without it.
    fn do_without_utf8(&mut self) {
        if self.outgoing.utf8_header && self.outgoing.sealed.is_none() {
            return self.settle(&Outcome::Refused(NO_UTF8_HEADER));
        }
        for (to, outcome) in self.outgoing.recipients.as_slice().iter().zip(&mut self.outcomes) {
            if !to.local.is_ascii() {
                *outcome = Some(Outcome::Refused(NO_UTF8_ADDRESS));
            }
        }
    }

    /// Settles what can be known without a word to the server. `anonymous`: nobody has been named to it.
    fn settle_unsaid(&mut self, peer: &Peer, anonymous: bool) {
        let sealed = self.outgoing.sealed.is_some();
        let deposit = self.outgoing.token.is_some();
        if deposit && !(sealed && anonymous && peer.takes_deposits()) {
            self.settle(&Outcome::Deferred(NO_DROP));
        } else if sealed && !deposit && !peer.takes_sealed() {
            self.settle(&Outcome::Deferred(NOT_SEALED));
        } else if self.is_too_large_for(peer) {
            self.settle(&Outcome::Refused(TOO_LARGE));
        } else if sealed || !peer.utf8 {
            self.do_without_utf8();
        }
    }

    /// The server has `len` bytes of it; whether that can be.
    fn go_on_at(&mut self, len: u64) -> bool {
        (self.sent, self.held) = (len, len);
        len <= self.outgoing.size
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.outcomes.drain(..).map(|outcome| outcome.unwrap_or(Outcome::Deferred(NO_ANSWER))).collect()
    }

    fn mail_line(&self, peer: &Peer, proved: bool) -> String {
        let token = self.outgoing.token;
        let from = token.map_or_else(|| self.outgoing.from.full(), |_| String::new());
        let mut line = format!("MAIL FROM:<{from}>");
        if peer.size {
            line.push_str(&format!(" SIZE={}", self.outgoing.size));
        }
        match self.outgoing.sealed {
            Some(key) => line.push_str(&format!(" BODY=SEALED KEY={}", key.to_hex())),
            None if self.outgoing.eight_bit && peer.eight_bit => line.push_str(" BODY=8BITMIME"),
            None => {}
        }
        if peer.utf8 && self.outgoing.sealed.is_none() && self.needs_utf8() {
            line.push_str(" SMTPUTF8");
        }
        if proved || token.is_some() {
            line.push_str(&format!(" LETTER={}", self.outgoing.id.to_hex()));
        }
        if let Some(token) = token {
            line.push_str(&format!(" TOKEN={}", token.to_hex()));
        }
        if self.checkpoint {
            line.push_str(&format!(" TRANSID={}", self.outgoing.id.transaction()));
        }
        line
    }
}

/// A refusal as an outcome. 552 to RCPT is what old servers say for 452 (RFC 5321 section 4.5.3.1.10), and no drop is.
fn outcome(expected: Expect, reply: Reply, deposit: bool) -> Outcome {
    match reply.code {
        552 if matches!(expected, Expect::Rcpt(_)) && !deposit => Outcome::Deferred(reply),
        500.. => Outcome::Refused(reply),
        _ => Outcome::Deferred(reply),
    }
}

impl Client {
    pub(super) fn start_letter(&mut self, mut letter: Box<Letter>, peer: &Peer) {
        let anonymous = self.config.prove.is_none() && self.config.hello == limits::DEPOSIT_HELLO;
        letter.settle_unsaid(peer, anonymous);
        if !letter.is_wanted() {
            return self.done(letter.take_outcomes(), None);
        }
        self.prove();
        if let Some(known) = letter.outgoing.ask_card {
            self.ask(Some(known), peer);
        }
        let ours = peer.is_onionskin();
        letter.chunked = ours && peer.chunking && peer.pipelining;
        let deposit = letter.outgoing.token.is_some();
        let eager_max = if deposit { limits::DEPOSIT_EAGER_LEN_MAX } else { limits::EAGER_LEN_MAX };
        letter.eager = letter.outgoing.size <= eager_max;
        if std::mem::take(&mut self.need_rset) {
            self.script.push_back((Expect::Rset, "RSET".to_owned()));
        }
        let proved = ours && self.config.prove.is_some();
        // `echo@` keeps nothing that could be gone on with, and a part of this letter may be for somebody else.
        let keeps = letter.outgoing.recipients.as_slice().iter().any(|to| to.local.base() != ECHO);
        letter.checkpoint =
            keeps && (proved || deposit) && letter.chunked && !letter.eager && peer.checkpoint && peer.size;
        self.script.push_back((Expect::Mail, letter.mail_line(peer, proved)));
        let wanted = letter.outgoing.recipients.as_slice().iter().enumerate();
        for (at, recipient) in wanted.filter(|(at, _)| letter.outcomes[*at].is_none()) {
            self.script.push_back((Expect::Rcpt(at), format!("RCPT TO:<{}>", recipient.full())));
        }
        if !letter.chunked && peer.pipelining {
            self.script.push_back((Expect::Data, "DATA".to_owned()));
        }
        self.work = Some(Work::Letter(letter));
    }

    /// Begins the content, or DATA, if it is its turn.
    pub(super) fn begin_body(&mut self) {
        let Some(Work::Letter(letter)) = &mut self.work else { return };
        let ready = letter.eager && letter.chunked || self.expected.is_empty();
        if self.stage != Stage::Ready
            || letter.content != Content::Waiting
            || !self.script.is_empty()
            || !ready
        {
            return;
        }
        if !letter.is_wanted() {
            self.need_rset = true;
            let outcomes = letter.take_outcomes();
            return self.done(outcomes, None);
        }
        if letter.chunked {
            let missing = letter.outgoing.size - letter.held;
            self.out.extend_from_slice(format!("BDAT {missing} LAST\r\n").as_bytes());
            self.expected.push_back(Expect::End);
            letter.content = if missing == 0 { Content::Over } else { Content::Going };
        } else {
            self.out.extend_from_slice(b"DATA\r\n");
            self.expected.push_back(Expect::Data);
        }
    }

    /// How many bytes of content are wanted now.
    pub(super) fn body_wanted(&self) -> usize {
        match &self.work {
            Some(Work::Letter(letter)) if letter.content == Content::Going => {
                let missing = letter.outgoing.size - letter.sent;
                usize::try_from(missing).unwrap_or(usize::MAX).min(limits::BODY_CHUNK_LEN_MAX)
            }
            _ => 0,
        }
    }

    /// From which byte of the content on.
    pub(super) fn body_at(&self) -> u64 {
        match &self.work {
            Some(Work::Letter(letter)) => letter.sent,
            _ => 0,
        }
    }

    /// Whether the MAIL in hand said TRANSID.
    pub(super) fn asked_for_checkpoint(&self) -> bool {
        matches!(&self.work, Some(Work::Letter(letter)) if letter.checkpoint)
    }

    /// Puts content on its way. What would break the framing is refused here, and the session with it, because the
    /// server has already been told that content comes.
    pub(super) fn take_body(&mut self, content: &[u8]) {
        let Some(Work::Letter(letter)) = &mut self.work else { return };
        if letter.sent == letter.held && letter.held > 0 {
            // Whether a CR stands before it was looked at when that was sent.
            let after_cr = content.first() == Some(&b'\n');
            letter.line_ends = letter.line_ends.as_ref().map(|_| LineEnds::behind(after_cr));
        }
        letter.sent += content.len() as u64;
        let whole = letter.sent == letter.outgoing.size;
        let checked = letter.line_ends.as_mut().map_or(Ok(()), |ends| {
            ends.check(content).and_then(|()| if whole { ends.finish() } else { Ok(()) })
        });
        if checked.is_err() {
            letter.settle(&Outcome::Refused(BROKEN));
            let outcomes = letter.take_outcomes();
            self.out.clear();
            self.done(outcomes, None);
            self.stage = Stage::Over;
            return;
        }
        if letter.chunked {
            self.out.extend_from_slice(content);
        } else {
            letter.stuffing.write(content, &mut self.out);
        }
        if whole {
            self.end_text();
        }
    }

    fn end_text(&mut self) {
        let Some(Work::Letter(letter)) = &mut self.work else { return };
        letter.content = Content::Over;
        if !letter.chunked {
            letter.stuffing.finish(&mut self.out);
        }
    }

    pub(super) fn answer_letter(&mut self, expected: Expect, reply: Reply) {
        let Some(Work::Letter(letter)) = &mut self.work else { return };
        let positive = reply.is_positive();
        let deposit = letter.outgoing.token.is_some();
        match expected {
            Expect::Mail if reply.code == 355 => {
                let offset = reply.text.split([' ', '\n']).next().and_then(|word| word.parse().ok());
                if !offset.is_some_and(|offset| letter.go_on_at(offset)) {
                    self.fail(Cause::Violation(Violation::OutOfTurn));
                }
            }
            Expect::Mail if !positive => {
                letter.settle(&outcome(expected, reply, deposit));
                // To a server without PIPELINING nothing more was said; there is no point in it now.
                self.script.clear();
            }
            Expect::Rcpt(at) if !positive => {
                letter.outcomes[at].get_or_insert_with(|| outcome(expected, reply, deposit));
            }
            Expect::Data if reply.code == 354 => {
                self.expected.push_back(Expect::End);
                letter.content = Content::Going;
                // Everyone was refused in the same flight: the server gets an empty text (RFC 2920 section 3.1).
                if !letter.is_wanted() || letter.outgoing.size == 0 {
                    self.end_text();
                }
            }
            Expect::Data => self.close_letter(&outcome(expected, reply, deposit), None, true),
            Expect::End if positive && letter.content != Content::Over => {
                self.fail(Cause::Violation(Violation::OutOfTurn));
            }
            Expect::End if positive => {
                let ours = self.peer.as_ref().is_some_and(Peer::is_onionskin);
                let receipt = if ours { enclosure::read_receipt(&reply) } else { None };
                self.close_letter(&Outcome::Accepted, receipt, false);
            }
            Expect::End => self.close_letter(&outcome(expected, reply, deposit), None, true),
            _ => {}
        }
    }

    /// The letter is answered as a whole.
    fn close_letter(&mut self, outcome: &Outcome, receipt: Option<Vec<u8>>, need_rset: bool) {
        let Some(Work::Letter(letter)) = &mut self.work else { return };
        // Refused before its end: what was announced will not come, so nothing else can.
        let cut_short = letter.content == Content::Going;
        letter.settle(outcome);
        let outcomes = letter.take_outcomes();
        self.need_rset = need_rset;
        self.done(outcomes, receipt);
        if cut_short {
            self.out.clear();
            self.stage = Stage::Over;
        }
    }
}

//! The client's order of things: greeting, EHLO, and what each reply means.

use super::replies::Freight;
use super::{Busy, CardAnswer, Cause, Client, Failure, Outcome, Peer, Step, Violation, Work};
use crate::model::letter::LetterId;
use crate::protocol::smtp::enclosure;
use crate::protocol::smtp::proof::{MECHANISM, Session};
use crate::protocol::smtp::reply::Reply;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The greeting is waited for.
    Greeting,
    /// The reply to EHLO is waited for.
    Ehlo,
    /// The reply to HELO is waited for: the server knows no EHLO.
    Helo,
    /// Letters can go.
    Ready,
    /// It is over.
    Over,
}

/// What the next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Auth,
    /// Whether a sequence was named.
    Card {
        known: bool,
    },
    Rset,
    Mail,
    /// The recipient of this index.
    Rcpt(usize),
    Data,
    /// The end of the content, by DATA or by BDAT LAST.
    End,
    Etrn,
    /// The list behind this letter.
    Held(Option<LetterId>),
    /// At most so many octets.
    Take(usize),
    Drop,
    Recall,
    Quit,
}

/// What stands in for the reply of a server that knows no ETRN.
const NO_ETRN: Reply = Reply::new(502, 5, 1, "The server does not do ETRN for a proved onion");

impl Client {
    pub(super) fn take_work(&mut self, work: Work) -> Result<(), Busy> {
        if self.work.is_some() || self.leaving || self.stage == Stage::Over {
            return Err(Busy);
        }
        self.work = Some(work);
        if self.stage == Stage::Ready {
            self.start();
        }
        Ok(())
    }

    /// Ends the session without an answer for what is in hand.
    pub(super) fn fail(&mut self, cause: Cause) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        let quitting = self.expected.front() == Some(&Expect::Quit);
        let answered = matches!(cause, Cause::ShutDown(_) | Cause::AuthRefused(_));
        let maybe_delivered = !answered
            && self.out.is_empty()
            && matches!(&self.work, Some(Work::Letter(letter)) if letter.maybe_delivered());
        self.out.clear();
        self.work = None;
        self.octets = None;
        // Whoever has said QUIT wants nothing more.
        if !quitting {
            self.events.push_back(Step::Failed(Failure { cause, maybe_delivered }));
        }
    }

    /// Takes a whole reply from the input, if there is one, or octets behind one.
    pub(super) fn take_reply(&mut self) -> bool {
        if self.octets.is_some() {
            return self.take_octets();
        }
        let freight = match self.expected.front() {
            Some(Expect::Card { .. }) => Freight::Card,
            Some(Expect::End) => Freight::Receipt,
            Some(Expect::Held(_)) => Freight::Held,
            _ => Freight::Nothing,
        };
        match self.replies.next(&mut self.input, freight) {
            Ok(None) => return false,
            Ok(Some(reply)) => {
                self.turn += 1;
                self.answer(reply);
            }
            Err(violation) => self.fail(violation.into()),
        }
        true
    }

    fn answer(&mut self, reply: Reply) {
        match self.stage {
            Stage::Greeting if reply.code == 220 => {
                self.stage = Stage::Ehlo;
                self.out.extend_from_slice(format!("EHLO {}\r\n", self.config.hello).as_bytes());
            }
            Stage::Ehlo if reply.code == 250 => {
                self.peer = Some(Peer::from_ehlo(&reply));
                self.ready();
            }
            Stage::Ehlo if matches!(reply.code, 500..=504) => {
                self.stage = Stage::Helo;
                self.out.extend_from_slice(format!("HELO {}\r\n", self.config.hello).as_bytes());
            }
            Stage::Helo if reply.code == 250 => {
                self.peer = Some(Peer::default());
                self.ready();
            }
            Stage::Ready => self.answer_command(reply),
            Stage::Over => {}
            _ if reply.code == 421 => self.fail(Cause::ShutDown(reply)),
            _ if reply.is_transient() || reply.is_permanent() => self.fail(Cause::Unwelcome(reply)),
            _ => self.fail(Violation::OutOfTurn.into()),
        }
    }

    fn ready(&mut self) {
        self.stage = Stage::Ready;
        if self.work.is_some() {
            self.start();
        }
    }

    fn answer_command(&mut self, reply: Reply) {
        let Some(expected) = self.expected.pop_front() else {
            return self.fail(match reply.code {
                421 => Cause::ShutDown(reply),
                _ => Violation::OutOfTurn.into(),
            });
        };
        if expected == Expect::Quit {
            self.stage = Stage::Over;
            return;
        }
        if reply.code == 421 {
            return self.fail(Cause::ShutDown(reply));
        }
        // Only DATA is answered with "go on", and only MAIL that asked for it with "go on there".
        let go_on = expected == Expect::Data && reply.code == 354
            || expected == Expect::Mail && reply.code == 355 && self.asked_for_checkpoint();
        if (reply.code / 100 == 3) != go_on || expected == Expect::Data && reply.is_positive() {
            return self.fail(Violation::OutOfTurn.into());
        }
        match expected {
            Expect::Auth if reply.is_positive() => {}
            Expect::Auth => self.fail(Cause::AuthRefused(reply)),
            Expect::Card { known } => self.answer_card(known, &reply),
            Expect::Rset if reply.is_positive() => {}
            Expect::Rset | Expect::Quit => self.fail(Violation::OutOfTurn.into()),
            Expect::Etrn => {
                self.work = None;
                self.events.push_back(Step::Etrn(reply));
            }
            Expect::Held(after) => self.answer_held(after, reply),
            Expect::Take(max) => self.answer_take(max, reply),
            Expect::Drop => self.answer_drop(reply),
            Expect::Recall => self.answer_recall(reply),
            Expect::Mail | Expect::Rcpt(_) | Expect::Data | Expect::End => {
                self.answer_letter(expected, reply)
            }
        }
    }

    /// Begins the work in hand: writes its script.
    pub(super) fn start(&mut self) {
        let Some(work) = self.work.take() else { return };
        let peer = self.peer.clone().unwrap_or_default();
        match work {
            Work::Letter(letter) => self.start_letter(letter, &peer),
            Work::Held(after) => self.start_held(after, &peer),
            Work::Take(takes) => self.start_takes(takes, &peer),
            Work::Drop(drops) => self.start_drops(drops, &peer),
            Work::Recall(letter, token) => self.start_recall(letter, &token, &peer),
            Work::Card(known) => {
                if peer.card {
                    self.prove();
                }
                if self.ask(known, &peer) {
                    self.work = Some(Work::Card(known));
                }
            }
            Work::Etrn => match &self.config.prove {
                Some(prove) if peer.is_onionskin() && peer.etrn => {
                    let line = format!("ETRN {}", prove.own.host());
                    self.prove();
                    self.script.push_back((Expect::Etrn, line));
                    self.work = Some(Work::Etrn);
                }
                _ => self.events.push_back(Step::Etrn(NO_ETRN)),
            },
        }
    }

    /// Puts CARD on the script, if the server knows it. If not, that is the answer.
    pub(super) fn ask(&mut self, known: Option<u64>, peer: &Peer) -> bool {
        let asked = peer.is_onionskin() && peer.card;
        if asked {
            let argument = known.map_or_else(String::new, |known| format!(" {known}"));
            self.script.push_back((Expect::Card { known: known.is_some() }, format!("CARD{argument}")));
        } else {
            self.events.push_back(Step::Card(CardAnswer::None));
        }
        asked
    }

    fn answer_card(&mut self, known: bool, reply: &Reply) {
        let answer = match reply.code {
            250 if !reply.text.contains('\n') && known => CardAnswer::NothingNewer,
            250 => enclosure::read_card(reply).map_or(CardAnswer::None, CardAnswer::Card),
            _ => CardAnswer::None,
        };
        if matches!(self.work, Some(Work::Card(_))) {
            self.work = None;
        }
        self.events.push_back(Step::Card(answer));
    }

    /// Puts AUTH at the head of the first batch to a node.
    pub(super) fn prove(&mut self) {
        if std::mem::replace(&mut self.proof_said, true) {
            return;
        }
        let cookie = self.peer.as_ref().and_then(|peer| peer.cookie);
        if let (Some(server_cookie), Some(prove)) = (cookie, &self.config.prove) {
            let session = Session { server: self.config.server, server_cookie };
            let response = session.response(&prove.own, &prove.cookie, &*prove.sign);
            self.script.push_back((Expect::Auth, format!("AUTH {MECHANISM} {response}")));
        }
    }

    /// Says as many commands as may be said now.
    pub(super) fn say_more(&mut self) {
        let pipelining = self.peer.as_ref().is_some_and(|peer| peer.pipelining);
        while pipelining || self.expected.is_empty() {
            let Some((expect, line)) = self.script.pop_front() else { break };
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(b"\r\n");
            self.expected.push_back(expect);
        }
        self.begin_body();
    }

    pub(super) fn say_quit(&mut self) {
        self.out.extend_from_slice(b"QUIT\r\n");
        self.expected.push_back(Expect::Quit);
    }

    /// The letter in hand is answered.
    pub(super) fn done(&mut self, outcomes: Vec<Outcome>, receipt: Option<Vec<u8>>) {
        self.work = None;
        self.script.clear();
        self.events.push_back(Step::Done { outcomes, receipt });
    }
}

//! HELD, TAKE, DROP, REVOKE and RECALL: what a collector asks, what an author takes back, and the octets behind a
//! reply.

use super::session::{Expect, Stage};
use super::{Busy, Cause, Client, Peer, Step, Violation, Work};
use crate::model::hold::Token;
use crate::model::letter::LetterId;
use crate::protocol::smtp::held::{self, Revoked, Take};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;

/// What stands in for the reply of a server that holds nothing for anybody.
const NO_HELD: Reply = Reply::new(502, 5, 1, "The server gives nothing that is held to a proved onion");
/// What stands in for the reply of a server that is no drop.
const NO_RECALL: Reply = Reply::new(502, 5, 1, "The server is no drop");

/// TAKEs in hand.
#[derive(Debug, Default)]
pub(super) struct Takes {
    /// Not yet on the script.
    unsaid: Vec<Take>,
    /// So many are not yet answered, with those.
    open: usize,
}

/// DROPs or REVOKEs in hand.
#[derive(Debug)]
pub(super) struct Drops {
    /// One line for each.
    lines: Vec<String>,
    /// So many are not yet answered.
    open: usize,
    /// The first refusal.
    refusal: Option<Reply>,
}

impl Drops {
    /// REVOKEs, which are answered like DROPs.
    pub(super) fn revoking(epoch: u32, nonces: &[[u8; 16]]) -> Self {
        let line = |nonces: &[[u8; 16]]| Revoked { epoch, nonces: nonces.to_vec() }.line();
        let lines: Vec<String> = nonces.chunks(limits::DROP_LETTERS_MAX).map(line).collect();
        Self { open: lines.len(), lines, refusal: None }
    }

    pub(super) fn new(letters: &[LetterId]) -> Self {
        let line = |letters: &[LetterId]| {
            letters.iter().fold("DROP".to_owned(), |line, letter| format!("{line} {}", letter.to_hex()))
        };
        let lines: Vec<String> = letters.chunks(limits::DROP_LETTERS_MAX).map(line).collect();
        Self { open: lines.len(), lines, refusal: None }
    }
}

/// Octets that are coming.
#[derive(Debug)]
pub(super) struct Octets {
    /// How many there will be; at most as many as were asked for.
    len: usize,
    got: Vec<u8>,
}

impl Octets {
    /// How many have come.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.got.len()
    }

    /// How many stretches of a body have come.
    fn turns(&self) -> u64 {
        self.got.len() as u64 / limits::BODY_TURN_LEN
    }
}

/// A refusal as the answer; `None` if it is none.
fn refused(reply: Reply) -> Option<Reply> {
    (reply.is_transient() || reply.is_permanent()).then_some(reply)
}

impl Client {
    /// Whether what is held can be asked for: only where it was announced, and with a proof.
    fn may_collect(&self, peer: &Peer) -> bool {
        peer.is_onionskin() && peer.held && self.config.prove.is_some()
    }

    /// Takes one more TAKE, if nothing else is in hand.
    pub(super) fn add_take(&mut self, take: Take) -> Result<(), Busy> {
        match &mut self.work {
            Some(Work::Take(takes))
                if takes.open < limits::TAKES_MAX && !self.leaving && self.stage != Stage::Over =>
            {
                takes.open += 1;
                takes.unsaid.push(take);
                if self.stage == Stage::Ready {
                    self.start();
                }
                Ok(())
            }
            _ => self.take_work(Work::Take(Takes { unsaid: vec![take], open: 1 })),
        }
    }

    pub(super) fn start_held(&mut self, after: Option<LetterId>, peer: &Peer) {
        if !self.may_collect(peer) {
            return self.events.push_back(Step::Held(Err(NO_HELD)));
        }
        self.prove();
        let argument = after.map_or_else(String::new, |after| format!(" {}", after.to_hex()));
        self.script.push_back((Expect::Held(after), format!("HELD{argument}")));
        self.work = Some(Work::Held(after));
    }

    pub(super) fn start_takes(&mut self, mut takes: Takes, peer: &Peer) {
        let unsaid = std::mem::take(&mut takes.unsaid);
        if !self.may_collect(peer) {
            return self.events.extend(unsaid.iter().map(|_| Step::Taken(Err(NO_HELD))));
        }
        self.prove();
        self.script.extend(unsaid.iter().map(|take| (Expect::Take(take.max), take.line())));
        self.work = Some(Work::Take(takes));
    }

    pub(super) fn start_drops(&mut self, mut drops: Drops, peer: &Peer) {
        if drops.lines.is_empty() {
            return self.events.push_back(Step::Dropped(Ok(())));
        }
        if !self.may_collect(peer) {
            return self.events.push_back(Step::Dropped(Err(NO_HELD)));
        }
        self.prove();
        self.script.extend(drops.lines.drain(..).map(|line| (Expect::Drop, line)));
        self.work = Some(Work::Drop(drops));
    }

    /// Without a proof: the token is one.
    pub(super) fn start_recall(&mut self, letter: LetterId, token: &Token, peer: &Peer) {
        if !(peer.is_onionskin() && peer.drop) {
            return self.events.push_back(Step::Recalled(Err(NO_RECALL)));
        }
        self.script.push_back((Expect::Recall, format!("RECALL {} {}", letter.to_hex(), token.to_hex())));
        self.work = Some(Work::Recall(letter, *token));
    }

    pub(super) fn answer_held(&mut self, after: Option<LetterId>, reply: Reply) {
        let answer = match reply.code {
            250 => held::read_list(&reply, after).map(Ok).ok_or(Violation::Form),
            _ => refused(reply).map(Err).ok_or(Violation::OutOfTurn),
        };
        match answer {
            Ok(answer) => {
                self.work = None;
                self.events.push_back(Step::Held(answer));
            }
            Err(violation) => self.fail(Cause::Violation(violation)),
        }
    }

    pub(super) fn answer_take(&mut self, max: usize, reply: Reply) {
        if reply.code != 250 {
            return match refused(reply) {
                Some(reply) => self.taken(Err(reply)),
                None => self.fail(Cause::Violation(Violation::OutOfTurn)),
            };
        }
        // Without the number nobody can say where the next reply begins.
        match held::read_octets(&reply).map(usize::try_from) {
            None => self.fail(Cause::Violation(Violation::Form)),
            Some(Ok(0)) => self.taken(Ok(Vec::new())),
            Some(Ok(len)) if len <= max => self.octets = Some(Octets { len, got: Vec::with_capacity(len) }),
            Some(_) => self.fail(Cause::Violation(Violation::TooMuch)),
        }
    }

    /// Takes what has come of the octets; whether that was anything.
    pub(super) fn take_octets(&mut self) -> bool {
        let Some(octets) = &mut self.octets else { return false };
        let len = (octets.len - octets.got.len()).min(self.input.len());
        let turns = octets.turns();
        octets.got.extend_from_slice(&self.input.as_slice()[..len]);
        self.input.consume(len);
        self.turn += octets.turns() - turns;
        if octets.got.len() == octets.len {
            self.turn += 1;
            let got = self.octets.take().map(|octets| octets.got).unwrap_or_default();
            self.taken(Ok(got));
        }
        len > 0
    }

    /// The oldest TAKE is answered.
    fn taken(&mut self, answer: Result<Vec<u8>, Reply>) {
        if let Some(Work::Take(takes)) = &mut self.work {
            takes.open = takes.open.saturating_sub(1);
            if takes.open == 0 {
                self.work = None;
            }
        }
        self.events.push_back(Step::Taken(answer));
    }

    pub(super) fn answer_drop(&mut self, reply: Reply) {
        let Some(Work::Drop(drops)) = &mut self.work else { return };
        if reply.code != 250 {
            match refused(reply) {
                Some(reply) => drops.refusal = drops.refusal.take().or(Some(reply)),
                None => return self.fail(Cause::Violation(Violation::OutOfTurn)),
            }
        }
        drops.open = drops.open.saturating_sub(1);
        if drops.open == 0 {
            let answer = drops.refusal.take().map_or(Ok(()), Err);
            self.work = None;
            self.events.push_back(Step::Dropped(answer));
        }
    }

    pub(super) fn answer_recall(&mut self, reply: Reply) {
        let answer = if reply.code == 250 { Some(Ok(())) } else { refused(reply).map(Err) };
        match answer {
            Some(answer) => {
                self.work = None;
                self.events.push_back(Step::Recalled(answer));
            }
            None => self.fail(Cause::Violation(Violation::OutOfTurn)),
        }
    }
}

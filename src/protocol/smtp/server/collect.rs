//! HELD, TAKE, DROP and REVOKE: whoever has proved a key collects what is held for it, says when it can be forgotten,
//! and which tokens are no good any more.

use super::session::{State, refusal};
use super::{Server, replies};
use crate::model::letter::LetterId;
use crate::protocol::smtp::held::{self, HeldLetter, Revoked, Take};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;
use onion::OnionAddress;

/// What is held? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct HeldAsked<'a> {
    server: &'a mut Server,
    who: OnionAddress,
    after: Option<LetterId>,
}

/// A stretch of a held letter? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct TakeAsked<'a> {
    server: &'a mut Server,
    who: OnionAddress,
    take: Take,
}

/// Are these letters forgotten? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct DropAsked<'a> {
    server: &'a mut Server,
    who: OnionAddress,
    letters: Vec<LetterId>,
}

/// Are these tokens taken no more? Dropped unanswered, it is asked again.
#[derive(Debug)]
#[must_use = "the session stands still until it is answered"]
pub struct RevokeAsked<'a> {
    server: &'a mut Server,
    who: OnionAddress,
    revoked: Revoked,
}

impl<'a> HeldAsked<'a> {
    pub(super) fn new(server: &'a mut Server, who: OnionAddress, after: Option<LetterId>) -> Self {
        Self { server, who, after }
    }

    /// The key that was proved: at a drop a collecting key, else an identity's onion.
    pub fn who(&self) -> OnionAddress {
        self.who
    }

    /// The list begins behind this letter, or with the oldest if there is none of that id.
    pub fn after(&self) -> Option<LetterId> {
        self.after
    }

    /// Answers with what is held, oldest first, and whether there is more behind it. Of more than
    /// [`limits::HELD_LETTERS_MAX`] the first are told.
    pub fn answer(self, letters: &[HeldLetter], more: bool) {
        self.server.found_held(letters, more);
    }

    /// Refuses with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.not_collected(reply);
    }
}

impl<'a> TakeAsked<'a> {
    pub(super) fn new(server: &'a mut Server, who: OnionAddress, take: Take) -> Self {
        Self { server, who, take }
    }

    /// The key that was proved.
    pub fn who(&self) -> OnionAddress {
        self.who
    }

    /// Which stretch of which letter.
    pub fn take(&self) -> Take {
        self.take
    }

    /// Answers with 1 to [`Take::max`] bytes of the letter from the offset on (more become 451); with none if the
    /// letter ends at the offset or before.
    pub fn answer(self, octets: &[u8]) {
        self.server.found_octets(octets);
    }

    /// Refuses with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.not_collected(reply);
    }
}

impl<'a> DropAsked<'a> {
    pub(super) fn new(server: &'a mut Server, who: OnionAddress, letters: Vec<LetterId>) -> Self {
        Self { server, who, letters }
    }

    /// The key that was proved.
    pub fn who(&self) -> OnionAddress {
        self.who
    }

    /// 1 to [`limits::DROP_LETTERS_MAX`] of them; some may not be here.
    pub fn letters(&self) -> &[LetterId] {
        &self.letters
    }

    /// None of them is here any more, and that is durable.
    pub fn done(self) {
        self.server.forgotten();
    }

    /// Refuses with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.not_collected(reply);
    }
}

impl<'a> RevokeAsked<'a> {
    pub(super) fn new(server: &'a mut Server, who: OnionAddress, revoked: Revoked) -> Self {
        Self { server, who, revoked }
    }

    /// The key that was proved.
    pub fn who(&self) -> OnionAddress {
        self.who
    }

    /// Which tokens; some may be spent.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// None of them pays for a letter any more, and that is durable.
    pub fn done(self) {
        self.server.revoked();
    }

    /// Refuses with a 4xx or 5xx (anything else becomes 451).
    pub fn refuse(self, reply: Reply) {
        self.server.not_collected(reply);
    }
}

impl Server {
    /// Asks the driver, if the caller may ask at all.
    pub(super) fn collect(&mut self, ask: impl FnOnce(OnionAddress) -> State) {
        match self.facts.proved {
            _ if !self.facts.extended => self.mistake(&replies::HELLO_FIRST),
            None => self.mistake(&replies::AUTH_FIRST),
            Some(_) if self.transaction.is_some() => self.mistake(&replies::INSIDE_A_LETTER),
            Some(_) if self.facts.collected >= limits::COLLECTED_MAX => self.end(replies::TOO_MUCH_COLLECTED),
            Some(who) => self.state = ask(who),
        }
    }

    fn found_held(&mut self, letters: &[HeldLetter], more: bool) {
        if let State::AskHeld(..) = self.leave(State::Command) {
            self.collected(&replies::HELD.saying(held::list_text(letters, more)));
        }
    }

    fn found_octets(&mut self, octets: &[u8]) {
        match self.leave(State::Command) {
            State::AskTake(_, take) if octets.len() <= take.max => {
                self.collected(&replies::OCTETS.saying(held::octets_text(octets.len())));
                self.out.extend_from_slice(octets);
            }
            _ => self.say(&replies::LOCAL),
        }
    }

    fn forgotten(&mut self) {
        if let State::AskDrop(..) = self.leave(State::Command) {
            self.collected(&replies::DROPPED);
        }
    }

    fn revoked(&mut self) {
        if let State::AskRevoke(..) = self.leave(State::Command) {
            self.collected(&replies::REVOKED);
        }
    }

    /// What was done is counted by itself: a mailbox may need more commands than are heard without a letter.
    fn collected(&mut self, reply: &Reply) {
        self.facts.collected += 1;
        self.facts.commands = self.facts.commands.saturating_sub(1);
        self.say(reply);
    }

    fn not_collected(&mut self, reply: Reply) {
        self.state = State::Command;
        self.say(&refusal(reply));
    }
}

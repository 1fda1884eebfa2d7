//! CARD: the identity's current Card, for whoever asks.

use super::session::{State, refusal};
use super::{Server, replies};
use crate::protocol::smtp::enclosure;
use crate::protocol::smtp::limits;
use crate::protocol::smtp::reply::Reply;

impl Server {
    /// It may be asked inside a letter too, and changes nothing there.
    pub(super) fn card(&mut self, known: Option<u64>) {
        if !self.facts.extended {
            return self.mistake(&replies::HELLO_FIRST);
        }
        if self.facts.cards >= limits::CARDS_MAX {
            return self.end(replies::TOO_MANY_CARDS);
        }
        self.state = State::AskCard(known);
    }

    /// The driver's answer to [`super::CardAsked`].
    pub(super) fn found_card(&mut self, card: Option<&[u8]>) {
        if let State::AskCard(_) = self.leave(State::Command) {
            let reply = match card {
                None => replies::NOTHING_NEWER,
                Some(card) => {
                    self.facts.cards += 1;
                    enclosure::card_text(card).map_or(replies::LOCAL, |text| replies::CARD.saying(text))
                }
            };
            self.say(&reply);
        }
    }

    /// The driver has no Card to give.
    pub(super) fn no_card(&mut self, reply: Reply) {
        if let State::AskCard(_) = self.leave(State::Command) {
            self.say(&refusal(reply));
        }
    }
}

//! A letter's content on its way in: a DATA text, chunks, and chunks that are only thrown away.

use super::session::State;
use super::{Event, Server, replies};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::read::Phase;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::text::{Fault, Stretch, Text as Reader};

/// A DATA text that is coming.
#[derive(Debug)]
pub(super) struct Text {
    reader: Reader,
    /// Already known to be refused: the rest is read for its end only.
    unwanted: bool,
    len: u64,
}

impl Text {
    pub(super) fn new() -> Self {
        Self { reader: Reader::new(), unwanted: false, len: 0 }
    }

    /// Why the letter is refused. Looked at again at the end, so that the answer does not depend on how the text was
    /// split on its way.
    fn refusal(&self, size_max: u64) -> Option<Reply> {
        if self.len > size_max { Some(replies::TOO_LARGE) } else { self.reader.fault().map(reply_to) }
    }
}

/// Content as an event, unless there is none.
fn body(content: Vec<u8>) -> Option<Event> {
    (!content.is_empty()).then_some(Event::Body(content))
}

fn reply_to(fault: Fault) -> Reply {
    match fault {
        Fault::LineEnd => replies::BROKEN_LINES,
        Fault::Nul => replies::NUL,
        Fault::LongLine => replies::LONG_LINE,
    }
}

impl Server {
    /// Reads on in a DATA text. A broken line end closes the session, because then nobody can say for sure where the
    /// text ends and commands begin; every other fault is answered at the text's end.
    pub(super) fn advance_text(&mut self) -> Option<Event> {
        if self.input.is_empty() {
            return Some(Event::Read(Phase::Body));
        }
        let State::Text(mut text) = self.leave(State::Command) else { return None };
        let mut content = Vec::with_capacity(self.input.len());
        let stretch = text.reader.read(self.input.as_slice(), &mut content);
        let used = match stretch {
            Stretch::Text => self.input.len(),
            Stretch::End(len) => len,
            Stretch::Broken => {
                self.end(replies::BROKEN_LINES);
                return None;
            }
        };
        self.input.consume(used);
        self.count(used as u64);
        text.len = text.len.saturating_add(content.len() as u64);
        let refusal = text.refusal(self.config.size_max);
        if refusal.is_some() && !text.unwanted {
            text.unwanted = true;
            self.drop_transaction();
        }
        match (stretch, refusal) {
            _ if text.len > self.config.size_max.saturating_add(limits::SKIP_LEN_MAX) => {
                self.end(replies::TOO_LARGE);
            }
            (Stretch::Text, refusal) => {
                self.state = State::Text(text);
                return if refusal.is_some() { None } else { body(content) };
            }
            (_, Some(reply)) => {
                self.turn += 1;
                self.say(&reply);
            }
            (_, None) => {
                self.turn += 1;
                self.state = State::AskFinish;
                return body(content);
            }
        }
        None
    }

    /// Reads on in a chunk. Its length is known, so a fault leaves the session whole.
    pub(super) fn advance_chunk(&mut self) -> Option<Event> {
        let State::Chunk { left, last } = self.state else { return None };
        if left > 0 && self.input.is_empty() {
            return Some(Event::Read(Phase::Body));
        }
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        let left = left - used as u64;
        let Some(transaction) = self.transaction.as_mut() else {
            self.state = State::Skip { left, reply: replies::LOCAL };
            return None;
        };
        let content = self.input.as_slice()[..used].to_vec();
        transaction.len += used as u64;
        let checked = transaction.line_ends.as_mut().map_or(Ok(()), |ends| {
            ends.check(&content).and_then(|()| if left == 0 && last { ends.finish() } else { Ok(()) })
        });
        self.input.consume(used);
        self.count(used as u64);
        if let Err(fault) = checked {
            self.drop_transaction();
            self.state = State::Skip { left, reply: reply_to(fault) };
            return None;
        }
        self.state = State::Chunk { left, last };
        if left == 0 {
            self.chunk_ends(last);
        }
        body(content)
    }

    fn chunk_ends(&mut self, last: bool) {
        self.turn += 1;
        if last {
            self.state = State::AskFinish;
        } else {
            self.state = State::Command;
            self.say(&replies::CHUNK_OK);
        }
    }

    /// Throws a refused chunk away, and then says why.
    pub(super) fn advance_skip(&mut self) -> Option<Event> {
        let State::Skip { left, .. } = self.state else { return None };
        if left > 0 && self.input.is_empty() {
            return Some(Event::Read(Phase::Body));
        }
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        self.input.consume(used);
        self.count(used as u64);
        if let State::Skip { left, reply } = self.leave(State::Command) {
            if left == used as u64 {
                self.turn += 1;
                self.say(&reply);
            } else {
                self.state = State::Skip { left: left - used as u64, reply };
            }
        }
        None
    }
}

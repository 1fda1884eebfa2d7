//! What a driver is told when a machine wants bytes: how long to wait, and when that wait begins anew.

use crate::protocol::smtp::limits;
use std::time::Duration;

/// The machine has nothing to do before more bytes arrive.
///
/// The wait of [`Phase::timeout`] begins with the first `Read` of a `turn`; bytes alone do not prolong it, so a
/// trickle holds nobody. When it is over, call `expire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// What is waited for.
    pub phase: Phase,
    /// Grows with every completed command, reply, or stretch of a body ([`limits::BODY_TURN_LEN`]).
    pub turn: u64,
}

/// What a machine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Server: the first EHLO.
    Hello,
    /// Server: a command, or a SASL response.
    Command,
    /// Server: a stretch of a body. Client: a stretch of a held letter.
    Body,
    /// Either: the last reply was said; what still comes is thrown away.
    Drain,
    /// Client: greeting, or reply to EHLO.
    Greeting,
    /// Client: reply to a command, from a node like ours.
    Reply,
    /// Client: reply to a letter, from a node like ours.
    Letter,
    /// Client: reply to a command, from a stock server.
    StockReply,
    /// Client: reply to a letter, from a stock server.
    StockLetter,
    /// Client: reply to QUIT.
    Quit,
}

impl Phase {
    /// How long one turn may last.
    pub fn timeout(self) -> Duration {
        match self {
            Self::Hello => limits::HELLO_WAIT,
            Self::Command => limits::COMMAND_WAIT,
            Self::Body => limits::BODY_TURN,
            Self::Drain => limits::DRAIN_WAIT,
            Self::Greeting => limits::GREETING_WAIT,
            Self::Reply => limits::REPLY_WAIT,
            Self::Letter => limits::LETTER_WAIT,
            Self::StockReply => limits::STOCK_REPLY_WAIT,
            Self::StockLetter => limits::STOCK_LETTER_WAIT,
            Self::Quit => limits::QUIT_WAIT,
        }
    }
}

/// Why bytes were not taken: the driver's mistake, never the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// More than [`limits::READ_LEN_MAX`] at once, or more while earlier bytes are still unread.
    #[error("more bytes than the machine asked for")]
    TooMuch,
}

//! How a try to deliver a letter ended, and what a peer answered: made by the session, judged by `queue`.
//!
//! Promises that what is shown of a peer's words is one short line of printable ASCII: a peer is never trusted with
//! a screen, a mailbox or a log.

use serde::{Deserialize, Serialize};

/// How much of a peer's reply is kept, in characters: two lines of text.
pub const REPLY_LEN_MAX: usize = 400;

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer took the letter (2xx after the letter's end).
    Accepted,
    /// The peer asks to try later (4xx).
    Deferred(Reply),
    /// The peer refuses for good (5xx).
    Refused(Reply),
    /// The peer is not online.
    Absent,
    /// The peer is online and takes no connection for mail.
    PeerRefused,
    /// Our own way into the network is down; says nothing about the peer.
    NetworkDown,
    /// The connection broke. If the letter was already out, the peer may have it: the `LetterId` tells it so.
    Lost {
        /// Whether the whole letter had been sent.
        body_sent: bool,
    },
    /// Something failed on our side.
    Ours(String),
}

/// What a peer answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The SMTP reply code.
    pub code: u16,
    /// The text, enhanced status code included, as the peer wrote it.
    pub text: String,
}

impl Outcome {
    /// One line for people: why the letter still waits.
    pub fn plain_text(&self) -> String {
        match self {
            Self::Accepted => "delivered".to_owned(),
            Self::Deferred(reply) => format!("the other node asks to try later: {}", reply.shown().line()),
            Self::Refused(reply) => format!("the other node refuses the letter: {}", reply.shown().line()),
            Self::Absent => "the other node is not online".to_owned(),
            Self::PeerRefused => "the other node is online but takes no mail".to_owned(),
            Self::NetworkDown => "the Tor network cannot be reached from here".to_owned(),
            Self::Lost { body_sent: false } => "the connection broke before the letter was sent".to_owned(),
            Self::Lost { body_sent: true } => {
                "the connection broke before the other node confirmed".to_owned()
            }
            Self::Ours(text) => format!("something failed on this side: {}", one_line(text)),
        }
    }
}

impl Reply {
    /// The same, fit to be shown: one line of printable ASCII of at most [`REPLY_LEN_MAX`] characters. What a peer
    /// writes is never trusted.
    pub fn shown(&self) -> Self {
        Self { code: self.code, text: one_line(&self.text) }
    }

    /// Code and text on one line, as SMTP has them.
    pub fn line(&self) -> String {
        format!("{} {}", self.code, self.text)
    }

    /// The enhanced status code (RFC 3463) that the text begins with, if its class agrees with the reply's; else the
    /// plain one of that class.
    pub fn enhanced_status(&self) -> String {
        let class = if self.code >= 500 { "5" } else { "4" };
        let first = self.text.split(' ').next().unwrap_or_default();
        let parts: Vec<&str> = first.split('.').collect();
        let number =
            |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let sound = parts.len() == 3 && parts[0] == class && parts.iter().all(number);
        if sound { first.to_owned() } else { format!("{class}.0.0") }
    }
}

fn one_line(text: &str) -> String {
    let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
    spaced
        .chars()
        .take(REPLY_LEN_MAX)
        .map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, text: text.to_owned() }
    }

    #[test]
    fn an_enhanced_status_is_believed_only_if_it_fits() {
        for (code, text, status) in [
            (550, "5.1.1 no such user", "5.1.1"),
            (451, "4.7.0", "4.7.0"),
            (550, "4.1.1 x", "5.0.0"),
            (550, "no", "5.0.0"),
            (452, "", "4.0.0"),
            (550, "5.1.1.1 x", "5.0.0"),
            (550, "5..1 x", "5.0.0"),
            (550, "5.1.1234", "5.0.0"),
        ] {
            assert_eq!(reply(code, text).enhanced_status(), status, "{code} {text}");
        }
        assert_eq!(reply(451, &"x \n".repeat(900)).shown().text.len(), REPLY_LEN_MAX);
    }
}

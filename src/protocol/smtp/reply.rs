//! `Reply`: code, enhanced code and text, as said by a server and as read by a client.
//!
//! Text from elsewhere is made harmless when it is written (printable ASCII, bounded lines), so a reply can never
//! become two.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Most characters of text written on one line: code, enhanced code and CRLF fit into 512 bytes with it.
const TEXT_LEN_MAX: usize = 480;

/// Enhanced status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// A reply (RFC 5321 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// 200 to 559.
    pub code: u16,
    /// Absent in replies to EHLO and AUTH challenges, and from servers without them.
    pub enhanced: Option<Enhanced>,
    /// What a person reads; lines are separated by `\n`.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code, whose class is the code's first digit.
    pub const fn new(code: u16, subject: u16, detail: u16, text: &'static str) -> Self {
        Self {
            code,
            enhanced: Some(Enhanced((code / 100) as u8, subject, detail)),
            text: Cow::Borrowed(text),
        }
    }

    /// A reply without an enhanced code.
    pub const fn bare(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }

    /// The same reply with another text.
    pub fn saying(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// A sealed letter's KEY is unknown here, or no more: the author's node has an old Card.
    pub const STALE_KEY: Self = Self::new(450, 7, 5, "That key is none of ours now; fetch the Card");

    /// Whether it says that a sealed letter must be sealed anew, with the key of a newer Card.
    pub fn is_stale_key(&self) -> bool {
        self.is_transient() && self.enhanced == Self::STALE_KEY.enhanced
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: trying again later makes sense.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: trying again will not help.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply as it goes over the wire, one line per line of text.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let mut head = format!("{:03}{}", self.code, if lines.peek().is_some() { '-' } else { ' ' });
            if let Some(Enhanced(class, subject, detail)) = self.enhanced {
                // Writing to a String cannot fail.
                let _ = write!(head, "{class}.{subject}.{detail} ");
            }
            out.extend_from_slice(head.as_bytes());
            out.extend(line.chars().take(TEXT_LEN_MAX).map(printable));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The character as one byte of printable ASCII; anything else is a question mark.
fn printable(letter: char) -> u8 {
    if letter == ' ' || letter.is_ascii_graphic() { letter as u8 } else { b'?' }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(Enhanced(class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        write!(f, " {}", self.text.replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_of_two_lines_is_written_as_the_rfc_says() {
        assert_eq!(wire(&Reply::new(250, 2, 0, "a\nb")), "250-2.2.0 a\r\n250 2.2.0 b\r\n");
        assert_eq!(wire(&Reply::bare(334, "")), "334 \r\n");
    }

    #[test]
    fn no_text_can_break_out_of_its_line() {
        let reply = Reply::bare(550, "").saying("a\r250 OK\0é\nb".to_owned());
        assert_eq!(wire(&reply), "550-a?250 OK??\r\n550 b\r\n");
        let long = wire(&Reply::new(550, 1, 1, "").saying("x".repeat(5000)));
        assert!(long.len() <= 512, "{}", long.len());
    }
}

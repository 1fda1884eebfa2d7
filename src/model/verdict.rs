//! What the reader's node says about a letter's author, in lines that any mail program can show.
//!
//! ```text
//! X-Onionskin-Verdict: introduced; signed and sealed by ann@….onion; introduced by Bob, met in person
//! X-Onionskin-Signed: <base64 of the signed header, for `onionskin verify`>
//! ```
//!
//! Promises that no text of a stranger ends a line or begins one. That nobody else's lines of these names are in a
//! letter is promised by `trace::screen`.

use crate::model::address::MailAddress;
use crate::model::trust::Tier;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use onion::OnionAddress;

/// The field with the verdict.
pub const VERDICT: &str = "X-Onionskin-Verdict";
/// The field with the signed header of a sealed letter.
pub const SIGNED: &str = "X-Onionskin-Signed";
/// The field with the header block as it was signed, where the one that is kept differs.
pub const ORIGINAL: &str = "X-Onionskin-Original";
/// IMAP keyword of a letter that was not sealed on its way.
pub const UNSEALED: &str = "$Unsealed";
/// The keyword of a letter in Outbox that a friend of at least one of its readers keeps.
pub const HELD: &str = "$Held";
/// IMAP keyword of a letter whose author nothing proves.
pub const UNVERIFIED: &str = "$Unverified";
/// Most characters of the reason that are shown.
const REASON_LEN_MAX: usize = 300;
/// Characters of base64 in one line.
const BASE64_LINE_LEN: usize = 72;
/// Longest original header that is kept beside a changed one, in bytes.
pub const ORIGINAL_LEN_MAX: usize = 64 * 1024;

/// How a letter's author is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proved<'a> {
    /// The author signed it and sealed it for us.
    Sealed(&'a OnionAddress),
    /// The node that brought it proved the author's onion; the letter itself is neither signed nor sealed.
    Session(&'a OnionAddress),
    /// Nothing proves who wrote it.
    Nothing,
}

/// What is said about one letter.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// Who the author is to us.
    pub tier: Tier,
    /// How that is known.
    pub proved: Proved<'a>,
    /// The author's canonical address, if its Card is known.
    pub canonical: Option<&'a MailAddress>,
    /// Somebody in whose name the author writes, with leave.
    pub behalf: Option<&'a MailAddress>,
    /// Why this tier, in words; may hold names that others chose.
    pub reason: &'a str,
}

impl Verdict<'_> {
    /// The line, with its line end.
    pub fn line(&self) -> String {
        let tier = match (self.tier, self.proved) {
            (_, Proved::Nothing) => "unverified",
            (Tier::Blocked, _) => "blocked",
            (Tier::Stranger, _) => "stranger",
            (Tier::Introduced, _) => "introduced",
            (Tier::Known, _) => "known",
            (Tier::Trusted, _) => "trusted",
        };
        let author = |onion: &OnionAddress| self.canonical.map_or_else(|| onion.host(), MailAddress::full);
        let how = match self.proved {
            Proved::Sealed(onion) => format!("signed and sealed by\r\n\t{}", author(onion)),
            Proved::Session(onion) => format!("not sealed; brought by the node of\r\n\t{}", author(onion)),
            Proved::Nothing => "nothing proves who wrote this".to_owned(),
        };
        let behalf = self.behalf.map(|other| format!("\r\n\ton behalf of {}", other.full()));
        let reason = plain(self.reason);
        let reason = if reason.is_empty() { reason } else { format!(";\r\n\t{reason}") };
        format!("{VERDICT}: {tier}; {how}{}{reason}\r\n", behalf.unwrap_or_default())
    }
}

/// Printable ASCII on one line, without what could end the field's parts.
fn plain(text: &str) -> String {
    let shown = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
    let shown: String = shown.take(REASON_LEN_MAX).collect();
    shown.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A field whose value is bytes, in base64, folded.
pub fn bytes_field(name: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut field = format!("{name}:");
    for line in text.as_bytes().chunks(BASE64_LINE_LEN) {
        field.push_str("\r\n\t");
        field.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
    }
    field.push_str("\r\n");
    field
}

/// The bytes of such a field's value.
pub fn field_bytes(value: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::header::fields;

    const PEER: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    #[test]
    fn a_verdict_is_one_field_whatever_the_reason_says() {
        let onion = OnionAddress::parse(PEER).unwrap();
        let verdict = Verdict {
            tier: Tier::Introduced,
            proved: Proved::Sealed(&onion),
            canonical: None,
            behalf: None,
            reason: "introduced by\r\nFrom: evil \u{202e}",
        };
        let line = verdict.line();
        let block = format!("{line}\r\n");
        let found = fields(block.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(line.starts_with("X-Onionskin-Verdict: introduced; signed and sealed by"), "{line}");
        let unproved = Verdict { proved: Proved::Nothing, ..verdict };
        assert!(unproved.line().starts_with("X-Onionskin-Verdict: unverified; nothing"));
    }

    #[test]
    fn bytes_come_back_from_a_folded_field() {
        let bytes: Vec<u8> = (0..=255).collect();
        let block = format!("{}\r\n", bytes_field(SIGNED, &bytes));
        let found = fields(block.as_bytes()).unwrap();
        assert_eq!(field_bytes(found[0].body()), Some(bytes));
    }
}

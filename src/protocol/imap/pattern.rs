//! Mailbox patterns of LIST (RFC 3501 section 6.3.8): `*` stands for anything, `%` for anything within a level.
//!
//! Matches in time proportional to pattern times name, whatever the pattern.

use crate::protocol::imap::name::DELIMITER;

/// A pattern, in modified UTF-7 as names are on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Symbol>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Byte(u8),
    Any,
    WithinLevel,
}

impl Pattern {
    /// Reads a pattern; runs of wildcards become one. INBOX as its first level matches in any case.
    pub fn new(wire: &[u8]) -> Self {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(wire.len());
        for &byte in wire {
            match (symbols.last_mut(), byte) {
                (Some(Symbol::Any), b'*' | b'%') | (Some(Symbol::WithinLevel), b'%') => {}
                (Some(last @ Symbol::WithinLevel), b'*') => *last = Symbol::Any,
                (_, b'*') => symbols.push(Symbol::Any),
                (_, b'%') => symbols.push(Symbol::WithinLevel),
                _ => symbols.push(Symbol::Byte(byte)),
            }
        }
        Self(symbols)
    }

    /// True if the name (modified UTF-7) matches as a whole.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let inbox_len = if name == b"INBOX" || name.starts_with(b"INBOX/") { 5 } else { 0 };
        let literals = self.0.iter().filter(|symbol| matches!(symbol, Symbol::Byte(_))).count();
        if literals > name.len() {
            return false;
        }
        // reached[i]: the symbols so far can match the first i bytes.
        let mut reached = vec![false; name.len() + 1];
        reached[0] = true;
        for symbol in &self.0 {
            match symbol {
                Symbol::Byte(byte) => {
                    for at in (0..name.len()).rev() {
                        let same = name[at] == *byte || at < inbox_len && name[at].eq_ignore_ascii_case(byte);
                        reached[at + 1] = reached[at] && same;
                    }
                    reached[0] = false;
                }
                wildcard => {
                    for at in 0..name.len() {
                        let passes = *wildcard == Symbol::Any || char::from(name[at]) != DELIMITER;
                        reached[at + 1] |= reached[at] && passes;
                    }
                }
            }
        }
        reached[name.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_rfc_says() {
        for (pattern, name, expected) in [
            ("*", "a/b/c", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a*c", "a/b/c", true),
            ("inbox", "INBOX", true),
            ("InBox/%", "INBOX/x", true),
            ("sent", "Sent", false),
            ("INBOX", "INBOXES", false),
            ("", "a", false),
            ("%*%", "a/b", true),
            ("%a%", "ba", true),
        ] {
            assert_eq!(Pattern::new(pattern.as_bytes()).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_wildcard_bomb_is_harmless() {
        let bomb = Pattern::new("%a*".repeat(5_000).as_bytes());
        assert!(!bomb.matches(&"a".repeat(600)));
        assert!(Pattern::new("*%".repeat(50_000).as_bytes()).matches("x"));
    }
}

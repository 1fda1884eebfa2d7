//! `Peer`: what a server said it can do.

use crate::model::letter::LetterId;
use crate::protocol::smtp::reply::Reply;

/// What the EHLO reply told. After HELO everything is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// CHECKPOINT (RFC 1845).
    pub checkpoint: bool,
    /// ETRN (RFC 1985).
    pub etrn: bool,
    /// SIZE (RFC 1870), in bytes, if it names a limit.
    pub size_max: Option<u64>,
    /// SIZE was said, so that MAIL may carry it.
    pub size: bool,
    /// The cookie of `ONIONSKIN 1`.
    pub cookie: Option<[u8; 16]>,
    /// CARD stands behind that cookie: the server gives its Card.
    pub card: bool,
    /// SEALED stands behind it: the server takes sealed letters.
    pub sealed: bool,
    /// HELD or DROP stands behind it: what is held there can be collected.
    pub held: bool,
    /// DROP stands behind it: letters can be left there for a token.
    pub drop: bool,
}

impl Peer {
    /// Reads an EHLO reply; its first line is the server's name. Unknown keywords are nobody's affair.
    pub(super) fn from_ehlo(reply: &Reply) -> Self {
        let mut peer = Self::default();
        for line in reply.text.split('\n').skip(1) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => peer.pipelining = true,
                "CHUNKING" => peer.chunking = true,
                "8BITMIME" => peer.eight_bit = true,
                "SMTPUTF8" => peer.utf8 = true,
                "CHECKPOINT" => peer.checkpoint = true,
                "ETRN" => peer.etrn = true,
                "SIZE" => {
                    peer.size = true;
                    // Zero means that there is no fixed limit.
                    peer.size_max =
                        words.next().and_then(|limit| limit.parse().ok()).filter(|&limit| limit > 0);
                }
                // Another version is another protocol: such a peer is treated as a stock server.
                "ONIONSKIN" if peer.cookie.is_none() && words.next() == Some("1") => {
                    peer.cookie = words.next().and_then(LetterId::from_hex).map(|cookie| cookie.0);
                    for word in words.filter(|_| peer.cookie.is_some()) {
                        peer.card |= word == "CARD";
                        peer.sealed |= word == "SEALED";
                        peer.drop |= word == "DROP";
                        peer.held |= matches!(word, "HELD" | "DROP");
                    }
                }
                _ => {}
            }
        }
        peer
    }

    /// Whether the server is a node like ours.
    pub fn is_onionskin(&self) -> bool {
        self.cookie.is_some()
    }

    /// Whether a sealed letter can be sent there: it needs chunks and SIZE, and goes in one flight.
    pub fn takes_sealed(&self) -> bool {
        self.sealed && self.has_sizes_and_chunks()
    }

    /// Whether a letter can be left there: it needs the same.
    pub fn takes_deposits(&self) -> bool {
        self.drop && self.has_sizes_and_chunks()
    }

    fn has_sizes_and_chunks(&self) -> bool {
        self.is_onionskin() && self.chunking && self.pipelining && self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ehlo_reply_is_read_without_its_first_line() {
        let text = "PIPELINING\nsize 1000\n8BitMime\nONIONSKIN 2 00\nONIONSKIN 1 000102030405060708090a0b0c0d0e0f x\nX";
        let peer = Peer::from_ehlo(&Reply::bare(250, text));
        assert_eq!((peer.pipelining, peer.eight_bit, peer.size_max), (false, true, Some(1000)));
        assert_eq!(peer.cookie.map(|cookie| cookie[15]), Some(15));
        assert!(peer.is_onionskin());
    }

    #[test]
    fn only_the_exact_words_behind_a_cookie_count() {
        let words = |line: &str| {
            let text = format!("x\nCHUNKING\nPIPELINING\nSIZE 9\n{line}");
            let peer = Peer::from_ehlo(&Reply::bare(250, "").saying(text));
            assert_eq!(peer.takes_sealed(), peer.sealed);
            (peer.card, peer.sealed)
        };
        let cookie = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(words(&format!("ONIONSKIN 1 {cookie} x SEALED  CARD y")), (true, true));
        assert_eq!(words(&format!("onionskin 1 {cookie} SEALED")), (false, true));
        assert_eq!(words(&format!("ONIONSKIN 1 {cookie} card Sealed CARDS SEALED=1 XCARD")), (false, false));
        assert_eq!(words(&format!("ONIONSKIN 1 x CARD SEALED\nONIONSKIN 1 {cookie}")), (false, false));
        assert_eq!(words(&format!("ONIONSKIN 2 {cookie} CARD SEALED\nCARD\nSEALED")), (false, false));
        assert_eq!(words(&format!("ONIONSKIN 1 {cookie}\nONIONSKIN 1 {cookie} CARD")), (false, false));
    }

    #[test]
    fn a_drop_takes_deposits_and_holds_and_a_node_may_hold() {
        let peer = |line: &str| {
            let text = format!("x\nCHUNKING\nPIPELINING\nSIZE 9\n{line}");
            let peer = Peer::from_ehlo(&Reply::bare(250, "").saying(text));
            (peer.held, peer.drop, peer.takes_deposits(), peer.takes_sealed())
        };
        let cookie = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(peer(&format!("ONIONSKIN 1 {cookie} DROP")), (true, true, true, false));
        assert_eq!(peer(&format!("ONIONSKIN 1 {cookie} CARD SEALED HELD")), (true, false, false, true));
        let none = (false, false, false, false);
        assert_eq!(peer(&format!("ONIONSKIN 1 {cookie} drop held DROPS HELD=1")), none);
        assert_eq!(peer(&format!("ONIONSKIN 2 {cookie} DROP HELD\nDROP\nHELD")), none);
        let text = format!("x\nCHUNKING\nPIPELINING\nONIONSKIN 1 {cookie} DROP");
        assert!(!Peer::from_ehlo(&Reply::bare(250, "").saying(text)).takes_deposits());
    }

    #[test]
    fn a_sealed_letter_needs_all_that_it_is_sent_with() {
        let words = ["CHUNKING", "PIPELINING", "SIZE", "ONIONSKIN 1 000102030405060708090a0b0c0d0e0f SEALED"];
        for missing in words {
            let others: Vec<&str> = words.into_iter().filter(|word| *word != missing).collect();
            let peer = Peer::from_ehlo(&Reply::bare(250, "").saying(format!("x\n{}", others.join("\n"))));
            assert!(!peer.takes_sealed(), "without {missing}");
        }
    }

    #[test]
    fn a_broken_announcement_is_none() {
        for text in [
            "x\nONIONSKIN",
            "x\nONIONSKIN 1",
            "x\nONIONSKIN 1 00",
            "x\nONIONSKIN 10 00",
            "x\nSIZE 0\nSIZEX 9",
        ] {
            let peer = Peer::from_ehlo(&Reply::bare(250, text));
            assert!(!peer.is_onionskin() && peer.size_max.is_none(), "{text}");
        }
    }
}

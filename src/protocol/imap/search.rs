//! SEARCH: what a client looks for, and whether a message is it.
//!
//! Strings match as case-insensitive substrings of decoded text. A question is asked with what is known so far and
//! answered "unknown" if the header or the body is needed, so that bodies are read only when nothing else decides.

use crate::protocol::imap::command::Flags;
use crate::protocol::imap::date::Date;
use crate::protocol::imap::mime::header;
use crate::protocol::imap::sequence::{Ranges, SequenceSet};
use std::cell::OnceCell;

/// A search key (RFC 3501 section 6.4.4).
#[derive(Debug, Clone, PartialEq)]
pub enum SearchKey {
    /// Any message.
    All,
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Box<Self>, Box<Self>),
    /// Not this.
    Not(Box<Self>),
    /// By sequence number.
    Sequence(SequenceSet),
    /// By UID.
    Uid(SequenceSet),
    /// The flag is set, or not set.
    Flag(FlagKey, bool),
    /// More bytes than this.
    Larger(u64),
    /// Fewer bytes than this.
    Smaller(u64),
    /// Internal date before this day.
    Before(Date),
    /// Internal date on this day.
    On(Date),
    /// Internal date on this day or later.
    Since(Date),
    /// The same for the Date field.
    SentBefore(Date),
    /// The same for the Date field.
    SentOn(Date),
    /// The same for the Date field.
    SentSince(Date),
    /// Field name in upper case; an empty text asks whether the field is there.
    Header(String, Needle),
    /// In the body.
    Body(Needle),
    /// In the header or the body.
    Text(Needle),
}

/// A flag that can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagKey {
    /// `\Seen`
    Seen,
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
    /// `\Recent`
    Recent,
    /// A keyword, in any case.
    Keyword(String),
}

/// A text to look for, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// Folds the text.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }
}

/// A search with its sets resolved, ready to be put to messages.
#[derive(Debug)]
pub struct Query {
    root: Node,
    /// Texts of BODY and TEXT keys.
    needles: Vec<Needle>,
}

#[derive(Debug)]
enum Node {
    And(Vec<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Sequence(Ranges),
    Uid(Ranges),
    Body(usize),
    Text(usize),
    Leaf(SearchKey),
}

/// What is known of a message.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its number in the view.
    pub sequence: u32,
    /// Its UID.
    pub uid: u32,
    /// Its flags.
    pub flags: &'a Flags,
    /// Whether it is `\Recent`.
    pub recent: bool,
    /// Seconds since 1970.
    pub internal_date: u64,
    /// Bytes.
    pub size: u64,
    /// The header, if it has been read.
    pub header: Option<&'a HeaderText<'a>>,
    /// What the body search found, if it was made.
    pub found: Option<&'a Found>,
}

/// A header for searching. A field's value is decoded, and put in lower case, when it is first asked for.
#[derive(Debug, Clone, Default)]
pub struct HeaderText<'a>(Vec<(header::Field<'a>, OnceCell<String>)>);

/// Which texts of BODY and TEXT keys a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found(Vec<bool>);

impl<'a> HeaderText<'a> {
    /// Finds the fields of a header.
    pub fn new(header: &'a [u8]) -> Self {
        Self(header::fields(header).map(|field| (field, OnceCell::new())).collect())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(field, _)| field.is(name.as_bytes())).map(value)
    }

    fn contains(&self, needle: &Needle) -> bool {
        self.0.iter().any(|field| {
            let value = value(field);
            let name = || String::from_utf8_lossy(field.0.name).to_ascii_lowercase();
            value.contains(&needle.0) || format!("{}: {value}", name()).contains(&needle.0)
        })
    }

    fn sent(&self) -> Option<Date> {
        // Month names are read in any case.
        self.values("DATE").next().and_then(Date::of_header)
    }
}

fn value<'f>((field, decoded): &'f (header::Field<'_>, OnceCell<String>)) -> &'f str {
    decoded.get_or_init(|| header::decoded(&field.unfolded()).to_lowercase())
}

impl Query {
    /// Resolves `*` with the largest sequence number and UID of the mailbox.
    pub fn new(key: SearchKey, largest_sequence: u32, largest_uid: u32) -> Self {
        let mut needles = Vec::new();
        let root = resolve(key, largest_sequence, largest_uid, &mut needles);
        Self { root, needles }
    }

    /// Whether the message is meant; `None` if that takes the header, or after it the body.
    pub fn matches(&self, facts: &Facts<'_>) -> Option<bool> {
        self.ask(&self.root, facts)
    }

    /// Nothing found yet.
    pub fn nothing_found(&self) -> Found {
        Found(vec![false; self.needles.len()])
    }

    /// Notes which texts are in `text`, which is in lower case. True if all have been found by now.
    pub fn look(&self, text: &str, found: &mut Found) -> bool {
        for (needle, found) in self.needles.iter().zip(&mut found.0) {
            *found = *found || text.contains(&needle.0);
        }
        found.0.iter().all(|found| *found)
    }

    /// Characters of the longest text.
    pub fn overlap(&self) -> usize {
        self.needles.iter().map(|needle| needle.0.chars().count()).max().unwrap_or(0)
    }

    fn ask(&self, node: &Node, facts: &Facts<'_>) -> Option<bool> {
        match node {
            Node::And(nodes) => {
                let mut all = Some(true);
                for node in nodes {
                    match self.ask(node, facts) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => all = None,
                    }
                }
                all
            }
            Node::Or(left, right) => match (self.ask(left, facts), self.ask(right, facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Node::Not(node) => self.ask(node, facts).map(|matches| !matches),
            Node::Sequence(ranges) => Some(ranges.contains(facts.sequence)),
            Node::Uid(ranges) => Some(ranges.contains(facts.uid)),
            Node::Body(at) => facts.found.map(|found| found.0[*at]),
            Node::Text(at) => match facts.header {
                Some(header) if header.contains(&self.needles[*at]) => Some(true),
                _ => facts.found.map(|found| found.0[*at]),
            },
            Node::Leaf(key) => leaf(key, facts),
        }
    }
}

/// Keys that need no more than the facts and the header.
fn leaf(key: &SearchKey, facts: &Facts<'_>) -> Option<bool> {
    let arrived = Date::of_unix(facts.internal_date);
    let sent = |test: &dyn Fn(Date) -> bool| facts.header.map(|header| header.sent().is_some_and(test));
    match key {
        SearchKey::Flag(flag, wanted) => Some(has_flag(flag, facts) == *wanted),
        SearchKey::Larger(size) => Some(facts.size > *size),
        SearchKey::Smaller(size) => Some(facts.size < *size),
        SearchKey::Before(date) => Some(arrived < *date),
        SearchKey::On(date) => Some(arrived == *date),
        SearchKey::Since(date) => Some(arrived >= *date),
        SearchKey::SentBefore(date) => sent(&|sent| sent < *date),
        SearchKey::SentOn(date) => sent(&|sent| sent == *date),
        SearchKey::SentSince(date) => sent(&|sent| sent >= *date),
        SearchKey::Header(name, needle) => {
            facts.header.map(|header| header.values(name).any(|value| value.contains(&needle.0)))
        }
        _ => Some(true),
    }
}

fn has_flag(flag: &FlagKey, facts: &Facts<'_>) -> bool {
    match flag {
        FlagKey::Seen => facts.flags.seen,
        FlagKey::Answered => facts.flags.answered,
        FlagKey::Flagged => facts.flags.flagged,
        FlagKey::Deleted => facts.flags.deleted,
        FlagKey::Draft => facts.flags.draft,
        FlagKey::Recent => facts.recent,
        FlagKey::Keyword(keyword) => facts.flags.has_keyword(keyword),
    }
}

fn resolve(key: SearchKey, sequence: u32, uid: u32, needles: &mut Vec<Needle>) -> Node {
    let mut inner = |key: SearchKey| resolve(key, sequence, uid, needles);
    match key {
        SearchKey::And(keys) => Node::And(keys.into_iter().map(inner).collect()),
        SearchKey::Or(left, right) => {
            let left = inner(*left);
            Node::Or(Box::new(left), Box::new(inner(*right)))
        }
        SearchKey::Not(key) => Node::Not(Box::new(inner(*key))),
        SearchKey::Sequence(set) => Node::Sequence(set.resolve(sequence)),
        SearchKey::Uid(set) => Node::Uid(set.resolve(uid)),
        SearchKey::Body(needle) => {
            needles.push(needle);
            Node::Body(needles.len() - 1)
        }
        SearchKey::Text(needle) => {
            needles.push(needle);
            Node::Text(needles.len() - 1)
        }
        other => Node::Leaf(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::command::Command;
    use crate::protocol::imap::parse;

    fn query(text: &str) -> Query {
        match parse::command(format!("a SEARCH {text}").as_bytes()) {
            Ok((_, Command::Search(_, key, _))) => Query::new(key, 9, 90),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_search_asks_for_no_more_than_it_needs() {
        let flags = Flags { seen: true, ..Flags::default() };
        let header = HeaderText::new(
            b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Sun, 1 Feb 2026 10:00:00 +0000\r\nX-Empty:\r\n\r\n",
        );
        let mut facts = Facts {
            sequence: 9,
            uid: 80,
            flags: &flags,
            recent: false,
            internal_date: 1_769_990_400, // 2026-02-02
            size: 100,
            header: None,
            found: None,
        };
        for (text, expected) in [
            ("SEEN", Some(true)),
            ("UNSEEN SUBJECT x", Some(false)),
            ("SEEN SUBJECT x", None),
            ("OR SEEN SUBJECT x", Some(true)),
            ("NOT SUBJECT x", None),
            ("*", Some(true)),
            ("UID *", Some(false)),
            ("UID 80:85", Some(true)),
            ("LARGER 99 SMALLER 101", Some(true)),
            ("ON 2-Feb-2026 SINCE 2-Feb-2026 NOT BEFORE 2-Feb-2026", Some(true)),
            ("OLD", Some(true)),
            ("KEYWORD $x", Some(false)),
        ] {
            assert_eq!(query(text).matches(&facts), expected, "{text}");
        }
        facts.header = Some(&header);
        for (text, expected) in [
            ("SUBJECT {7}\r\nGR\u{dc}\u{df}E", true),
            ("SUBJECT gr", true),
            ("HEADER X-Empty \"\"", true),
            ("HEADER X-None \"\"", false),
            ("SENTON 1-Feb-2026 SENTBEFORE 2-Feb-2026 SENTSINCE 1-Feb-2026", true),
            ("TEXT subject:", true),
        ] {
            assert_eq!(query(text).matches(&facts), Some(expected), "{text}");
        }
        assert_eq!(query("BODY x").matches(&facts), None);
        assert_eq!(query("TEXT nowhere").matches(&facts), None);
    }

    #[test]
    fn bodies_are_looked_through_for_all_texts_at_once() {
        let query = query("BODY one NOT BODY Two");
        let mut found = query.nothing_found();
        assert!(!query.look("... one ...", &mut found));
        let matches = |found: &Found| {
            let (sequence, uid, internal_date, size) = (1, 1, 0, 0);
            let flags = &Flags::default();
            let found = Some(found);
            query.matches(&Facts {
                sequence,
                uid,
                flags,
                recent: false,
                internal_date,
                size,
                header: None,
                found,
            })
        };
        assert_eq!(matches(&found), Some(true));
        assert!(query.look("two", &mut found));
        assert_eq!(matches(&found), Some(false));
        assert_eq!(query.overlap(), 3);
    }
}

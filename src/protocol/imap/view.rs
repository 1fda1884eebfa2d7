//! A selected mailbox as its client was told it is, and what has to be told when the mailbox has changed.
//!
//! Sequence numbers belong to the view: they move only when EXPUNGE lines have been written. While a command that uses
//! sequence numbers runs, expunged messages stay in the view (RFC 3501 section 7.4.1).

use crate::protocol::imap::command::{Flags, Numbers};
use crate::protocol::imap::respond;
use crate::protocol::imap::sequence::{Ranges, SequenceSet};
use std::sync::Arc;

/// One message, as the view has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Ascends with the sequence number.
    pub uid: u32,
    /// As last told.
    pub flags: Arc<Flags>,
    /// No session saw the message before this one.
    pub recent: bool,
}

/// The messages in the order of their sequence numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    rows: Vec<Row>,
}

/// What may be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Everything.
    All,
    /// Everything but EXPUNGE: a command with sequence numbers is running.
    NoExpunge,
}

impl View {
    /// A mailbox as it is when it is selected; UIDs ascend.
    pub fn new(rows: Vec<Row>) -> Self {
        debug_assert!(rows.is_sorted_by_key(|row| row.uid));
        Self { rows }
    }

    /// How many messages the client believes there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// True if the client believes that there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The largest UID, 0 if there is no message.
    pub fn largest_uid(&self) -> u32 {
        self.rows.last().map_or(0, |row| row.uid)
    }

    /// How many are recent.
    pub fn recent(&self) -> usize {
        self.rows.iter().filter(|row| row.recent).count()
    }

    /// All rows with their sequence numbers, in order.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Row)> {
        (1..).zip(&self.rows)
    }

    /// The row of a UID, with its sequence number.
    pub fn row(&self, uid: u32) -> Option<(u32, &Row)> {
        let at = self.rows.binary_search_by_key(&uid, |row| row.uid).ok()?;
        Some((u32::try_from(at + 1).ok()?, &self.rows[at]))
    }

    /// The UIDs that a set means, in order; `None` if it has a sequence number that no message has.
    pub fn uids(&self, numbers: Numbers, set: &SequenceSet) -> Option<Vec<u32>> {
        let ranges = match numbers {
            Numbers::Sequence if set.exceeds(self.len()) => return None,
            Numbers::Sequence => {
                let chosen = set.resolve(self.len());
                return Some(chosen.iter().flat_map(|range| self.by_sequence(range)).collect());
            }
            Numbers::Uid => set.resolve(self.largest_uid()),
        };
        Some(ranges.iter().flat_map(|range| self.by_uid(range)).collect())
    }

    fn by_sequence(&self, range: &std::ops::RangeInclusive<u32>) -> impl Iterator<Item = u32> {
        let (from, to) = (*range.start() as usize - 1, (*range.end() as usize).min(self.rows.len()));
        self.rows[from.min(to)..to].iter().map(|row| row.uid)
    }

    fn by_uid(&self, range: &std::ops::RangeInclusive<u32>) -> impl Iterator<Item = u32> {
        let from = self.rows.partition_point(|row| row.uid < *range.start());
        let to = self.rows.partition_point(|row| row.uid <= *range.end());
        self.rows[from..to.max(from)].iter().map(|row| row.uid)
    }

    /// UIDs as the numbers of an answer.
    pub fn answer_numbers(&self, numbers: Numbers, uids: &[u32]) -> Vec<u32> {
        match numbers {
            Numbers::Uid => uids.to_vec(),
            Numbers::Sequence => {
                uids.iter().filter_map(|uid| self.row(*uid)).map(|(number, _)| number).collect()
            }
        }
    }

    /// Notes that the client has been told these flags.
    pub fn told_flags(&mut self, uid: u32, flags: Arc<Flags>) {
        if let Ok(at) = self.rows.binary_search_by_key(&uid, |row| row.uid) {
            self.rows[at].flags = flags;
        }
    }

    /// Adds messages at the end, where nothing else has changed, and writes the lines that tell the client.
    pub fn extend(&mut self, new: impl IntoIterator<Item = Row>, out: &mut Vec<u8>) {
        let before = self.rows.len();
        self.rows.extend(new);
        debug_assert!(self.rows.is_sorted_by_key(|row| row.uid));
        self.tell_new(before, out);
    }

    fn tell_new(&self, before: usize, out: &mut Vec<u8>) {
        if self.rows.len() > before {
            let lines = format!("* {} EXISTS\r\n* {} RECENT\r\n", self.rows.len(), self.recent());
            out.extend_from_slice(lines.as_bytes());
        }
    }

    /// Brings the view to what the mailbox is `now` (UIDs ascending), and writes the lines that tell the client:
    /// EXPUNGE if allowed, FETCH for changed flags (with UIDs if `with_uid`), EXISTS and RECENT for new messages.
    pub fn update(&mut self, now: Vec<Row>, tell: Tell, with_uid: bool, out: &mut Vec<u8>) {
        let mut line = |text: String| out.extend_from_slice(format!("* {text}\r\n").as_bytes());
        let known = self.largest_uid();
        let mut kept: Vec<Row> = Vec::with_capacity(now.len());
        let mut flag_lines = Vec::new();
        let mut current = now.into_iter().peekable();
        for row in std::mem::take(&mut self.rows) {
            while current.next_if(|now| now.uid < row.uid).is_some() {}
            match current.next_if(|now| now.uid == row.uid) {
                Some(now) => {
                    if now.flags != row.flags {
                        let number = kept.len() + 1;
                        let uid = if with_uid { format!("UID {} ", row.uid) } else { String::new() };
                        let flags = respond::flags(&now.flags, row.recent);
                        flag_lines.push(format!("{number} FETCH ({uid}FLAGS {flags})"));
                    }
                    kept.push(Row { flags: now.flags, ..row });
                }
                None if tell == Tell::NoExpunge => kept.push(row),
                // Each EXPUNGE moves the numbers behind it down before the next is told.
                None => line(format!("{} EXPUNGE", kept.len() + 1)),
            }
        }
        flag_lines.into_iter().for_each(&mut line);
        let before = kept.len();
        kept.extend(current.filter(|now| now.uid > known));
        self.rows = kept;
        self.tell_new(before, out);
    }
}

/// UIDs as a set on the wire, for COPYUID.
pub fn uid_set(uids: &[u32]) -> String {
    uids.iter().copied().collect::<Ranges>().render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::sequence::Bound::{Largest, Number};

    fn rows(uids: &[u32]) -> Vec<Row> {
        uids.iter().map(|&uid| Row { uid, flags: Arc::default(), recent: false }).collect()
    }

    fn told(view: &mut View, now: Vec<Row>, tell: Tell) -> String {
        let mut out = Vec::new();
        view.update(now, tell, false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn expunges_are_told_one_by_one_and_then_what_is_new() {
        let mut view = View::new(rows(&[2, 4, 6, 8]));
        let lines = told(&mut view, rows(&[4, 9, 10]), Tell::All);
        assert_eq!(lines, "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXISTS\r\n* 0 RECENT\r\n");
        assert_eq!(view, View::new(rows(&[4, 9, 10])));
        assert_eq!(told(&mut view, rows(&[4, 9, 10]), Tell::All), "");
    }

    #[test]
    fn numbers_stay_while_expunges_may_not_be_told() {
        let mut view = View::new(rows(&[2, 4]));
        assert_eq!(told(&mut view, rows(&[4, 5]), Tell::NoExpunge), "* 3 EXISTS\r\n* 0 RECENT\r\n");
        assert_eq!(view.row(4).unwrap().0, 2);
        assert_eq!(told(&mut view, rows(&[4, 5]), Tell::All), "* 1 EXPUNGE\r\n");
        assert_eq!(view.row(4).unwrap().0, 1);
    }

    #[test]
    fn what_is_added_at_the_end_is_told_as_if_all_had_been_looked_at() {
        let (mut one, mut other) = (View::new(rows(&[2, 4])), View::new(rows(&[2, 4])));
        let mut out = Vec::new();
        one.extend(rows(&[7, 9]), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), told(&mut other, rows(&[2, 4, 7, 9]), Tell::All));
        assert_eq!(one, other);
        let mut out = Vec::new();
        one.extend(rows(&[]), &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn changed_flags_are_told_with_the_numbers_after_the_expunges() {
        let mut view = View::new(rows(&[1, 2]));
        let mut now = rows(&[2]);
        now[0].flags = Arc::new(Flags { seen: true, ..Flags::default() });
        assert_eq!(told(&mut view, now, Tell::All), "* 1 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Seen))\r\n");
    }

    #[test]
    fn sets_name_messages_of_the_view() {
        let view = View::new(rows(&[3, 5, 9]));
        let set = |ranges: &[_]| SequenceSet(ranges.to_vec());
        let all = set(&[(Number(1), Largest)]);
        assert_eq!(view.uids(Numbers::Sequence, &all), Some(vec![3, 5, 9]));
        assert_eq!(view.uids(Numbers::Sequence, &set(&[(Number(2), Number(4))])), None);
        assert_eq!(view.uids(Numbers::Uid, &set(&[(Number(4), Number(100))])), Some(vec![5, 9]));
        assert_eq!(view.uids(Numbers::Uid, &set(&[(Number(50), Largest)])), Some(vec![9]));
        assert_eq!(View::default().uids(Numbers::Sequence, &all), None);
        assert_eq!(View::default().uids(Numbers::Uid, &all), Some(vec![]));
        assert_eq!(uid_set(&[1, 2, 3, 7]), "1:3,7");
    }
}

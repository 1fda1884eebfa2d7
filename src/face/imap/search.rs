//! SEARCH over the messages that the client knows of, in batches, reading no more of each letter than it takes.

use super::letter::Letter;
use super::session::Session;
use super::translate::{self, Answer, refuse};
use crate::protocol::imap::command::{Numbers, SearchAnswer, Tag};
use crate::protocol::imap::mime::text::{TextWindows, part_headers, text_parts};
use crate::protocol::imap::search::{Facts, Found, HeaderText, Query, SearchKey};
use crate::protocol::imap::view::uid_set;
use crate::store::{MailboxNo, Rx, StoreError, Uid};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages that one transaction looks at; then others of the blocking pool have a turn.
const TURN_MESSAGES: usize = 4096;
/// Letters that one transaction opens at most.
const TURN_LETTERS: usize = 64;

/// What is left to do of a SEARCH.
struct Work {
    mailbox: MailboxNo,
    query: Query,
    /// Sequence number, UID, recent.
    rows: Arc<[(u32, u32, bool)]>,
    next: usize,
    found: Vec<u32>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn search(
        &mut self,
        tag: &Tag,
        numbers: Numbers,
        key: SearchKey,
        answer: SearchAnswer,
    ) -> Answer {
        let selected = self.selected()?;
        let view = &selected.view;
        let mut work = Work {
            mailbox: selected.no,
            query: Query::new(key, view.len(), view.largest_uid()),
            rows: view.numbered().map(|(number, row)| (number, row.uid, row.recent)).collect(),
            next: 0,
            found: Vec::new(),
        };
        while work.next < work.rows.len() {
            if *self.down.borrow() {
                return refuse("NO [UNAVAILABLE] the node is going down");
            }
            work = self.store().read(move |rx| turn(rx, work)).await?;
        }
        let found = self.selected()?.view.answer_numbers(numbers, &work.found);
        let line = answer_line(tag, numbers, answer, &found);
        self.conversation.untagged(&line);
        Ok("searched".to_owned())
    }
}

/// Searches for a while. A letter that cannot be read is not found by its text.
fn turn(rx: &Rx<'_>, mut work: Work) -> Result<Work, StoreError> {
    let end = work.rows.len().min(work.next + TURN_MESSAGES);
    let mut letters = 0;
    while work.next < end && letters < TURN_LETTERS {
        match is_match(rx, &work, work.rows[work.next], &mut letters) {
            Ok(true) => work.found.push(work.rows[work.next].1),
            Ok(false) | Err(StoreError::Damaged(_) | StoreError::NoLetter(_)) => {}
            Err(error) => return Err(error),
        }
        work.next += 1;
    }
    Ok(work)
}

fn is_match(
    rx: &Rx<'_>,
    work: &Work,
    (sequence, uid, recent): (u32, u32, bool),
    letters: &mut usize,
) -> Result<bool, StoreError> {
    let Some(record) = rx.messages().get(work.mailbox, Uid(uid))? else { return Ok(false) };
    let flags = translate::flags(&record.flags);
    let facts = Facts {
        sequence,
        uid,
        flags: &flags,
        recent,
        internal_date: record.internal_date.0,
        size: record.size,
        header: None,
        found: None,
    };
    if let Some(known) = work.query.matches(&facts) {
        return Ok(known);
    }
    *letters += 1;
    let mut letter = Letter::open(rx, record.letter, &None)?;
    let header = letter.header()?.to_vec();
    let header = HeaderText::new(&header);
    let facts = Facts { header: Some(&header), ..facts };
    if let Some(known) = work.query.matches(&facts) {
        return Ok(known);
    }
    let found = look_through(&work.query, &mut letter)?;
    Ok(work.query.matches(&Facts { found: Some(&found), ..facts }).unwrap_or(false))
}

/// Looks for all texts of the query in the body.
fn look_through(query: &Query, letter: &mut Letter) -> Result<Found, StoreError> {
    let structure = letter.structure()?;
    let mut found = query.nothing_found();
    let mut complete = query.look(&part_headers(&structure), &mut found);
    for place in text_parts(&structure) {
        if complete {
            break;
        }
        let part = &structure.parts[place];
        let mut windows = TextWindows::new(&part.content, query.overlap());
        letter.each_chunk(part.body.clone(), |chunk| {
            complete = query.look(&windows.feed(chunk, false), &mut found);
            !complete
        })?;
        complete = complete || query.look(&windows.feed(b"", true), &mut found);
    }
    Ok(found)
}

/// SEARCH (RFC 3501 section 7.2.5) or ESEARCH (RFC 4731 section 3.1). `found` ascends.
fn answer_line(tag: &Tag, numbers: Numbers, answer: SearchAnswer, found: &[u32]) -> String {
    if !answer.extended {
        let numbers: String = found.iter().map(|number| format!(" {number}")).collect();
        return format!("SEARCH{numbers}");
    }
    let mut line = format!("ESEARCH (TAG \"{tag}\")");
    if numbers == Numbers::Uid {
        line.push_str(" UID");
    }
    if let (Some(min), Some(max)) = (found.first(), found.last()) {
        if answer.min {
            line.push_str(&format!(" MIN {min}"));
        }
        if answer.max {
            line.push_str(&format!(" MAX {max}"));
        }
        if answer.all {
            line.push_str(&format!(" ALL {}", uid_set(found)));
        }
    }
    if answer.count {
        line.push_str(&format!(" COUNT {}", found.len()));
    }
    line
}

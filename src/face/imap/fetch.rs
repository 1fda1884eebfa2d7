//! FETCH: answers in batches that are rendered within one transaction each, and long bodies streamed between them.
//!
//! Memory is bounded by a batch, whatever is asked for. A letter that cannot be read fails its message and the
//! command, not the session, unless its first bytes are already with the client.

use super::letter::{LastStructure, Letter};
use super::selected::all_there;
use super::session::{Session, done};
use super::translate::{self, Answer, refuse};
use super::wire::Gone;
use crate::protocol::imap::command::{BytesItem, FetchItem, Flags, Form, Messages, Numbers, SectionText};
use crate::protocol::imap::date::internal_date;
use crate::protocol::imap::limits::CHUNK_LEN;
use crate::protocol::imap::mime::section::{self, Source, cut};
use crate::protocol::imap::mime::{envelope, header, structure};
use crate::protocol::imap::respond;
use crate::store::messages::{FlagChange, Flags as StoredFlags, MessageRecord};
use crate::store::{LetterReader, MailboxNo, Rx, StoreError, Uid};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes rendered in one transaction, about; then they are sent.
const BATCH_LEN: usize = 4 * CHUNK_LEN;

/// What is left to do of a FETCH.
struct Work {
    mailbox: MailboxNo,
    wanted: Arc<[Wanted]>,
    items: Arc<[FetchItem]>,
    /// Next message and, within it, next item.
    message: usize,
    item: usize,
    /// Messages that were gone, and such as could not be read.
    gone: usize,
    damaged: usize,
    last_structure: LastStructure,
}

/// One message that was asked for.
struct Wanted {
    number: u32,
    uid: u32,
    recent: bool,
    /// `\Seen` was set by this command, so the flags are told.
    tell_flags: bool,
}

/// A batch: rendered bytes, told flags, and a body to be streamed behind them.
struct Batch {
    work: Work,
    bytes: Vec<u8>,
    told: Vec<(u32, Flags)>,
    stream: Option<(LetterReader, Range<u64>)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn fetch(&mut self, messages: Messages, mut items: Vec<FetchItem>) -> Answer {
        if messages.numbers == Numbers::Uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let uids = self.selected()?.uids(&messages)?;
        let newly_seen = self.mark_seen(&uids, &items).await;
        let selected = self.selected()?;
        let wanted = uids.iter().filter_map(|uid| selected.view.row(*uid)).map(|(number, row)| Wanted {
            number,
            uid: row.uid,
            recent: row.recent,
            tell_flags: newly_seen.binary_search(&row.uid).is_ok() && !items.contains(&FetchItem::Flags),
        });
        let mut work = Work {
            mailbox: selected.no,
            wanted: wanted.collect(),
            items: items.into(),
            message: 0,
            item: 0,
            gone: 0,
            damaged: 0,
            last_structure: self.last_structure.take(),
        };
        while work.message < work.wanted.len() {
            let begun = work.item > 0;
            let batch = match self.store().read(move |rx| batch(rx, work)).await {
                // The client has half a line: no answer can follow it.
                Err(_) if begun => return Err(Gone::BrokenLetter.into()),
                batch => batch?,
            };
            work = self.send(batch).await?;
        }
        self.last_structure = work.last_structure;
        if work.damaged > 0 {
            return refuse("NO [CORRUPTION] some of the messages cannot be read");
        }
        all_there(messages.numbers, work.wanted.len(), work.wanted.len() - work.gone)?;
        done()
    }

    /// Sets `\Seen` where the items ask for it, and tells which messages did not have it. If it cannot be stored, the
    /// letters are shown all the same.
    async fn mark_seen(&mut self, uids: &[u32], items: &[FetchItem]) -> Vec<u32> {
        let sees = |item: &FetchItem| matches!(item, FetchItem::Bytes(BytesItem { peek: false, .. }));
        let Some(selected) = &self.selected else { return Vec::new() };
        if selected.read_only || !items.iter().any(sees) {
            return Vec::new();
        }
        let is_unseen = |uid: &u32| selected.view.row(*uid).is_some_and(|(_, row)| !row.flags.seen);
        let unseen: Vec<u32> = uids.iter().copied().filter(is_unseen).collect();
        if unseen.is_empty() {
            return unseen;
        }
        let (no, stored) = (selected.no, unseen.iter().copied().map(Uid).collect::<Vec<_>>());
        let seen = FlagChange::Add(StoredFlags::system(StoredFlags::SEEN));
        match self.store().write(move |tx| tx.messages().set_flags(no, &stored, &seen)).await {
            Ok(_) => unseen,
            Err(error) => {
                tracing::warn!(error = %translate::refusal(&error), "cannot mark messages as seen");
                Vec::new()
            }
        }
    }

    async fn send(&mut self, batch: Batch) -> Result<Work, Gone> {
        let Batch { work, mut bytes, told, stream } = batch;
        self.flush().await?;
        self.wire.write(&mut bytes).await?;
        if let Some(selected) = &mut self.selected {
            told.into_iter().for_each(|(uid, flags)| selected.view.told_flags(uid, Arc::new(flags)));
        }
        if let Some((reader, range)) = stream {
            let mut at = range.start;
            while at < range.end {
                let len = usize::try_from(range.end - at).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
                let mut chunk = reader.read_at(at, len).await.map_err(|_| Gone::BrokenLetter)?;
                if chunk.is_empty() {
                    return Err(Gone::BrokenLetter);
                }
                at += chunk.len() as u64;
                self.wire.write(&mut chunk).await?;
            }
        }
        Ok(work)
    }
}

/// Renders messages until there is enough to send.
fn batch(rx: &Rx<'_>, work: Work) -> Result<Batch, StoreError> {
    let mut batch = Batch { work, bytes: Vec::new(), told: Vec::new(), stream: None };
    let wanted = batch.work.wanted.clone();
    while let Some(message) = wanted.get(batch.work.message) {
        if batch.bytes.len() >= BATCH_LEN {
            break;
        }
        let line_start = batch.bytes.len();
        let begun = batch.work.item > 0;
        match batch.message(rx, message) {
            Ok(()) if batch.stream.is_some() => return Ok(batch),
            Ok(()) => {}
            // The line is with the client in part.
            Err(error) if begun => return Err(error),
            Err(error @ (StoreError::Damaged(_) | StoreError::NoLetter(_))) => {
                tracing::error!(%error, "a letter cannot be read");
                batch.bytes.truncate(line_start);
                batch.work.damaged += 1;
            }
            Err(error) => return Err(error),
        }
        (batch.work.message, batch.work.item) = (batch.work.message + 1, 0);
    }
    Ok(batch)
}

impl Batch {
    /// Renders one message, or what is left of it; stops at a body that is to be streamed.
    fn message(&mut self, rx: &Rx<'_>, wanted: &Wanted) -> Result<(), StoreError> {
        let Some(record) = rx.messages().get(self.work.mailbox, Uid(wanted.uid))? else {
            self.work.gone += 1;
            return if self.work.item > 0 { Err(StoreError::NoMessage) } else { Ok(()) };
        };
        let mut letter = None;
        if self.work.item == 0 {
            self.bytes.extend_from_slice(format!("* {} FETCH (", wanted.number).as_bytes());
        }
        let items = self.work.items.clone();
        while let Some(item) = items.get(self.work.item) {
            if self.work.item > 0 {
                self.bytes.push(b' ');
            }
            self.work.item += 1;
            self.item(rx, wanted, &record, &mut letter, item)?;
            if self.stream.is_some() {
                break;
            }
        }
        if let Some(letter) = letter {
            self.work.last_structure = letter.into_last_structure();
        }
        if self.stream.is_some() {
            return Ok(());
        }
        if wanted.tell_flags {
            self.flags(wanted, &record, " ");
        }
        self.bytes.extend_from_slice(b")\r\n");
        Ok(())
    }

    fn flags(&mut self, wanted: &Wanted, record: &MessageRecord, before: &str) {
        let flags = translate::flags(&record.flags);
        let shown = respond::flags(&flags, wanted.recent);
        self.bytes.extend_from_slice(format!("{before}FLAGS {shown}").as_bytes());
        self.told.push((wanted.uid, flags));
    }

    fn item(
        &mut self,
        rx: &Rx<'_>,
        wanted: &Wanted,
        record: &MessageRecord,
        letter: &mut Option<Letter>,
        item: &FetchItem,
    ) -> Result<(), StoreError> {
        match item {
            FetchItem::Uid => self.text(&format!("UID {}", wanted.uid)),
            FetchItem::Flags => self.flags(wanted, record, ""),
            FetchItem::InternalDate => {
                self.text(&format!("INTERNALDATE \"{}\"", internal_date(record.internal_date.0)));
            }
            FetchItem::Size => self.text(&format!("RFC822.SIZE {}", record.size)),
            FetchItem::Envelope | FetchItem::BodyStructure | FetchItem::Body | FetchItem::Bytes(_) => {
                let letter = match letter {
                    Some(letter) => letter,
                    none => none.insert(Letter::open(rx, record.letter, &self.work.last_structure)?),
                };
                return self.content(letter, item);
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The items that need the letter itself.
    fn content(&mut self, letter: &mut Letter, item: &FetchItem) -> Result<(), StoreError> {
        match item {
            FetchItem::Envelope => {
                let envelope = envelope::render(letter.header()?);
                self.text("ENVELOPE ");
                self.bytes.extend(envelope);
            }
            FetchItem::Bytes(item) => return self.section(letter, item),
            _ => {
                let extended = *item == FetchItem::BodyStructure;
                let parts = letter.structure()?;
                self.text(if extended { "BODYSTRUCTURE " } else { "BODY " });
                structure::render(&mut self.bytes, &parts, extended);
            }
        }
        Ok(())
    }

    fn section(&mut self, letter: &mut Letter, item: &BytesItem) -> Result<(), StoreError> {
        let name = item_name(item);
        let Some(source) = locate(letter, item)? else {
            self.text(&format!("{name} NIL"));
            return Ok(());
        };
        let names = match &item.section.text {
            SectionText::Fields(names) => Some((names, false)),
            SectionText::FieldsNot(names) => Some((names, true)),
            _ => None,
        };
        match (source, names) {
            (Source::Fields(range), Some((names, not))) => {
                let fields = header::subset(&letter.look(range)?, names, not);
                let part = cut(0..fields.len() as u64, item.partial);
                self.text(&format!("{name} {{{}}}\r\n", part.end - part.start));
                // Both ends are within what was just read into memory.
                self.bytes.extend_from_slice(&fields[part.start as usize..part.end as usize]);
            }
            (Source::Fields(range) | Source::Range(range), _) => {
                let range = cut(range, item.partial);
                let len = range.end - range.start;
                let start = self.bytes.len();
                self.text(&format!("{name} {{{len}}}\r\n"));
                if len > CHUNK_LEN as u64 {
                    self.stream = Some((letter.reader(), range));
                    return Ok(());
                }
                letter.each_chunk(range, |chunk| {
                    self.bytes.extend_from_slice(chunk);
                    true
                })?;
                debug_assert!(self.bytes.len() - start >= len as usize);
            }
        }
        Ok(())
    }
}

/// Where the bytes are. The letter as a whole and its header are found without reading the rest.
fn locate(letter: &mut Letter, item: &BytesItem) -> Result<Option<Source>, StoreError> {
    let len = letter.len();
    if item.section.path.is_empty() {
        return Ok(Some(match item.section.text {
            SectionText::Header => Source::Range(0..letter.header_end()?),
            SectionText::Fields(_) | SectionText::FieldsNot(_) => Source::Fields(0..letter.header_end()?),
            SectionText::Text => Source::Range(letter.header_end()?..len),
            SectionText::Whole | SectionText::Mime => Source::Range(0..len),
        }));
    }
    Ok(section::locate(&*letter.structure()?, &item.section))
}

/// The name under which bytes are answered (RFC 3501 section 7.4.2).
fn item_name(item: &BytesItem) -> String {
    let section = &item.section;
    let list = |names: &[Vec<u8>]| {
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        names.join(" ")
    };
    if item.form == Form::Rfc822 {
        return match section.text {
            SectionText::Header => "RFC822.HEADER".to_owned(),
            SectionText::Text => "RFC822.TEXT".to_owned(),
            _ => "RFC822".to_owned(),
        };
    }
    let text = match &section.text {
        SectionText::Whole => String::new(),
        SectionText::Header => "HEADER".to_owned(),
        SectionText::Fields(names) => format!("HEADER.FIELDS ({})", list(names)),
        SectionText::FieldsNot(names) => format!("HEADER.FIELDS.NOT ({})", list(names)),
        SectionText::Text => "TEXT".to_owned(),
        SectionText::Mime => "MIME".to_owned(),
    };
    let mut parts: Vec<String> = section.path.iter().map(u32::to_string).collect();
    parts.extend((!text.is_empty()).then_some(text));
    let origin = item.partial.map_or(String::new(), |partial| format!("<{}>", partial.start));
    format!("BODY[{}]{origin}", parts.join("."))
}

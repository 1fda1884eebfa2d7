//! APPEND: a letter that a mail program files by itself, streamed into the store.

use super::session::Session;
use super::translate::{Answer, Stop, refusal, refuse, stored_flags};
use crate::model::letter::LetterNo;
use crate::model::time::UnixTime;
use crate::protocol::imap::command::{Append, Tag};
use crate::protocol::imap::limits::HEADER_LOOK_MAX;
use crate::protocol::imap::mime::header;
use crate::protocol::imap::mime::section::HeaderEnd;
use crate::protocol::imap::view::Tell;
use crate::store::messages::NewMessage;
use crate::store::{Body, LetterWriter, MailboxNo, MessageIdHash, StoreError, Tx, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

/// A letter on its way in.
pub(super) struct Appending {
    tag: Tag,
    append: Append,
    mailbox: MailboxNo,
    uid_validity: u32,
    writer: LetterWriter,
    head: Head,
}

/// The header of a letter on its way in, as far as it is looked at.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    end: HeaderEnd,
    is_complete: bool,
}

impl Head {
    fn take(&mut self, piece: &[u8]) {
        if !self.is_complete {
            let room = HEADER_LOOK_MAX - self.bytes.len();
            self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            self.is_complete = self.end.feed(piece).is_some() || self.bytes.len() == HEADER_LOOK_MAX;
        }
    }

    fn message_id(&self) -> Option<MessageIdHash> {
        let id = header::first(&self.bytes, b"Message-ID")?.unfolded();
        (!id.is_empty()).then(|| MessageIdHash::of(&id))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn append_start(&mut self, tag: Tag, append: Append) {
        match self.target(&append.mailbox).await {
            Ok((mailbox, uid_validity)) => {
                let writer = self.store().letter_writer();
                self.conversation.accept_append(tag.clone());
                let head = Head::default();
                self.appending = Some(Appending { tag, append, mailbox, uid_validity, writer, head });
            }
            Err(Stop::Refused(line)) => self.conversation.refuse_append(&tag, &line),
            Err(Stop::Gone(_)) => self.conversation.bye("connection lost"),
        }
    }

    pub(super) async fn append_piece(&mut self, piece: &[u8]) {
        let Some(appending) = &mut self.appending else { return };
        appending.head.take(piece);
        if let Err(error) = appending.writer.write(piece).await {
            self.conversation.fail_append(&appending.tag, &refusal(&error));
            self.appending = None;
        }
    }

    pub(super) async fn append_end(&mut self) -> Answer {
        let Some(Appending { append, mailbox, uid_validity, writer, head, .. }) = self.appending.take()
        else {
            return refuse("BAD there is no letter to end");
        };
        let body = writer.finish().await?;
        let given = append.internal_date.map(|secs| UnixTime(u64::try_from(secs).unwrap_or(0)));
        let internal_date = given.unwrap_or_else(|| self.desk.now());
        let flags = stored_flags(&append.flags);
        // The node has filed the letter in Sent already if it was sent through it.
        let filed_id = head.message_id().filter(|_| mailbox == self.desk.folders.sent);
        let uid = self
            .store()
            .write(move |tx| {
                if let Some(uid) = filed(tx, mailbox, filed_id)? {
                    return Ok(uid);
                }
                file(tx, mailbox, &body, |letter| NewMessage {
                    letter,
                    flags: flags.clone(),
                    internal_date,
                    sent_id: None,
                })
            })
            .await?;
        self.poll(Tell::All, false).await;
        Ok(format!("[APPENDUID {uid_validity} {}] appended", uid.0))
    }
}

/// The copy that the node filed under this Message-ID in this mailbox.
fn filed(tx: &Tx<'_>, mailbox: MailboxNo, id: Option<MessageIdHash>) -> Result<Option<Uid>, StoreError> {
    let Some(id) = id else { return Ok(None) };
    Ok(tx.sent_ids().find(&id)?.filter(|(place, _)| *place == mailbox).map(|(_, uid)| uid))
}

fn file(
    tx: &Tx<'_>,
    mailbox: MailboxNo,
    body: &Body,
    message: impl Fn(LetterNo) -> NewMessage,
) -> Result<Uid, StoreError> {
    let letter = tx.letters().add(body, b"")?;
    tx.messages().append(mailbox, &message(letter))
}

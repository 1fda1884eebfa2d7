//! `Parcel`: a letter on its way into the store, whichever port it came through.
//!
//! It takes the content in pieces, cuts the header off, has the model look at it, and streams the rest into the
//! store; memory is one header and one chunk. The first thing that goes wrong is kept and answered at the end, once
//! the sender has stopped talking. Dropped unfinished, it leaves nothing behind.

use crate::model::header::{Cut, HeaderCutter, HeaderError};
use crate::model::letter::LetterId;
use crate::model::statement::LetterStatement;
use crate::node::desk::Desk;
use crate::node::echo::{self, Call};
use crate::node::guests::SealedSink;
use crate::node::holding::{self, Depositing};
use crate::node::receive::{self, Arriving, Screened};
use crate::node::submit::{self, Leaving, Submitted};
use crate::node::unsealing::{Opened, SignedHeader, Unsealing};
use crate::protocol::smtp::Reply;
use crate::store::guests::GuestRecord;
use crate::store::{Body, LetterWriter, StoreError};
use onion::OnionAddress;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const INTERNAL: Reply = Reply::new(451, 3, 0, "internal error");

/// A letter that is coming in, from a peer or from the identity's own mail program.
pub struct Parcel {
    desk: Arc<Desk>,
    kind: Kind,
    stage: Stage,
    /// It comes sealed.
    unsealing: Option<Box<Unsealing>>,
    /// SHA-256 of what has come of a sealed letter.
    sealed_hash: Sha256,
    /// The same letter for guest readers of ours, if we are its author.
    copies: Vec<(GuestRecord, SealedSink)>,
    refused: Option<Reply>,
    /// So many bytes of the letter were taken, as they came.
    len: u64,
    last: u8,
}

/// A letter that arrives and whose connection broke in its content: all of it so far, but for who brings it to whom.
pub struct Unfinished {
    head: Head,
    sink: Sink,
    unsealing: Option<Box<Unsealing>>,
    sealed_hash: Sha256,
    signed: Option<Box<SignedHeader>>,
    len: u64,
    last: u8,
}

impl Unfinished {
    /// So many bytes of the letter are here, as they came.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: a letter that has no header yet is not kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The name of the guest reader for whom it is, if it is for one.
    pub(super) fn guest(&self) -> Option<&str> {
        match &self.head {
            Head::Arriving(screened) => screened.guest.as_ref().map(|to| to.guest.name.as_str()),
            _ => None,
        }
    }

    /// Whether the last of them is a CR.
    pub fn ends_in_cr(&self) -> bool {
        self.last == b'\r'
    }
}

/// A letter that was collected and is not kept.
pub(super) struct NotTaken {
    /// Why.
    pub(super) reply: Reply,
    /// Who wrote it, and what they signed; none if no key can attribute it.
    pub(super) said_by: Option<(OnionAddress, LetterStatement)>,
}

/// Which way it goes.
pub(super) enum Kind {
    Arriving(Box<Arriving>),
    Leaving(Leaving),
    Echo(Call),
    Depositing(Depositing),
}

impl Kind {
    /// The signed header has come out of the seal.
    fn sign(&mut self, header: Box<SignedHeader>) {
        match self {
            Self::Arriving(arriving) => arriving.sign(header),
            Self::Echo(call) => call.arriving.signed = Some(header),
            Self::Leaving(_) | Self::Depositing(_) => {}
        }
    }
}

/// What became of a letter that was complete.
pub(crate) enum Filed {
    /// It arrived, and is kept or answered.
    Arrived {
        /// For its author.
        receipt: Option<Vec<u8>>,
    },
    /// It waits to be sent.
    Leaving(Submitted),
}

enum Stage {
    Header(HeaderCutter),
    Content {
        head: Head,
        sink: Sink,
    },
    Broken,
    /// It is in the mailbox since an earlier try.
    Kept,
}

/// Where the letter goes: into the store, as it is or sealed for somebody else; or nowhere, when only its length
/// matters.
enum Sink {
    Store(Box<LetterWriter>),
    Sealed(Box<SealedSink>),
    Nowhere(u64),
}

impl Sink {
    fn len(&self) -> u64 {
        match self {
            Self::Store(writer) => writer.len(),
            Self::Sealed(sink) => sink.len(),
            Self::Nowhere(len) => *len,
        }
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Store(writer) => return writer.write(piece).await,
            Self::Sealed(sink) => return sink.write(piece).await,
            Self::Nowhere(len) => *len += piece.len() as u64,
        }
        Ok(())
    }

    /// What there is to keep once all has come.
    async fn finish(self) -> Result<Body, StoreError> {
        match self {
            Self::Store(writer) => writer.finish().await,
            Self::Sealed(sink) => sink.finish().await,
            Self::Nowhere(_) => Err(StoreError::Bug("a letter that went nowhere is to be kept")),
        }
    }
}

/// The header, looked through.
pub(super) enum Head {
    Arriving(Box<Screened>),
    Leaving(Box<crate::model::prepare::Prepared>),
    /// The header as it arrived, below our own lines.
    Echo {
        seen: Vec<u8>,
    },
    /// Nothing is looked at: it is sealed for somebody else.
    Depositing {
        /// SHA-256 of what has come.
        hash: Sha256,
    },
}

impl Parcel {
    pub(super) fn new(desk: Arc<Desk>, kind: Kind) -> Self {
        let stage = Stage::Header(HeaderCutter::default());
        Self {
            desk,
            kind,
            stage,
            unsealing: None,
            sealed_hash: Sha256::new(),
            copies: Vec::new(),
            refused: None,
            len: 0,
            last: 0,
        }
    }

    /// The same for a letter that comes sealed, if it does.
    pub(super) fn sealed(self, unsealing: Option<Unsealing>) -> Self {
        Self { unsealing: unsealing.map(Box::new), ..self }
    }

    /// The same for a letter that is sealed for somebody else.
    pub(super) fn deposit(desk: Arc<Desk>, kind: Kind) -> Self {
        let head = Head::Depositing { hash: Sha256::new() };
        let sink = Sink::Store(Box::new(desk.store.letter_writer()));
        Self { stage: Stage::Content { head, sink }, ..Self::new(desk, kind) }
    }

    /// Goes on where an earlier try broke off.
    pub(super) fn resume(desk: Arc<Desk>, mut kind: Kind, begun: Unfinished) -> Self {
        let Unfinished { head, sink, unsealing, sealed_hash, signed, len, last } = begun;
        if let Some(signed) = signed {
            kind.sign(signed);
        }
        Self {
            desk,
            kind,
            stage: Stage::Content { head, sink },
            unsealing,
            sealed_hash,
            copies: Vec::new(),
            refused: None,
            len,
            last,
        }
    }

    /// Stands for a letter that was kept before.
    pub(super) fn kept(desk: Arc<Desk>, kind: Kind) -> Self {
        Self {
            desk,
            kind,
            stage: Stage::Kept,
            unsealing: None,
            sealed_hash: Sha256::new(),
            copies: Vec::new(),
            refused: None,
            len: 0,
            last: 0,
        }
    }

    /// So many bytes of the letter were taken, as they came.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the sealed bytes that have come are those of this name.
    pub(super) fn bears(&self, id: LetterId) -> bool {
        self.sealed_hash.clone().finalize().starts_with(&id.0)
    }

    /// What another try can go on with, if anything.
    pub(crate) fn suspend(self) -> Option<Unfinished> {
        match (self.kind, self.stage, self.refused) {
            (Kind::Arriving(arriving), Stage::Content { head, sink }, None) => {
                let (unsealing, signed) = (self.unsealing, arriving.signed);
                Some(Unfinished {
                    head,
                    sink,
                    unsealing,
                    sealed_hash: self.sealed_hash,
                    signed,
                    len: self.len,
                    last: self.last,
                })
            }
            (Kind::Depositing(_), Stage::Content { head, sink }, None) => Some(Unfinished {
                head,
                sink,
                unsealing: None,
                sealed_hash: self.sealed_hash,
                signed: None,
                len: self.len,
                last: self.last,
            }),
            _ => None,
        }
    }

    /// Whether it is refused already, but may come another time.
    pub(super) fn is_put_off(&self) -> bool {
        self.refused.as_ref().is_some_and(|reply| reply.code < 500)
    }

    /// Takes the next piece of the letter.
    pub async fn write(&mut self, piece: &[u8]) {
        if self.refused.is_none() {
            match self.take(piece).await {
                Ok(()) => {
                    self.len += piece.len() as u64;
                    self.last = piece.last().copied().unwrap_or(self.last);
                }
                Err(reply) => {
                    self.refused = Some(reply);
                    self.stage = Stage::Broken;
                }
            }
        }
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Reply> {
        if let (Kind::Depositing(depositing), Stage::Content { head: Head::Depositing { hash }, sink }) =
            (&self.kind, &mut self.stage)
        {
            if sink.len() + piece.len() as u64 > depositing.size() {
                return Err(Reply::new(554, 6, 0, "the letter is longer than was said"));
            }
            hash.update(piece);
            return sink.write(piece).await.map_err(|error| self.desk.disk_reply(&error));
        }
        let Some(unsealing) = &mut self.unsealing else { return self.take_letter(piece).await };
        self.sealed_hash.update(piece);
        let opened = unsealing.push(piece)?;
        self.take_opened(opened).await
    }

    /// What came out of the seal.
    async fn take_opened(&mut self, opened: Opened) -> Result<(), Reply> {
        if let Some(header) = opened.header {
            self.kind.sign(Box::new(header));
        }
        if opened.letter.is_empty() { Ok(()) } else { self.take_letter(&opened.letter).await }
    }

    async fn take_letter(&mut self, piece: &[u8]) -> Result<(), Reply> {
        if let Stage::Header(cutter) = &mut self.stage {
            let Cut::Content(at) = cutter.push(piece).map_err(|error| bad_header(&error))? else {
                return Ok(());
            };
            let block = std::mem::take(cutter).into_block();
            self.open_content(&block).await?;
            return self.put(&piece[at..]).await;
        }
        self.put(piece).await
    }

    async fn put(&mut self, piece: &[u8]) -> Result<(), Reply> {
        let Stage::Content { sink, .. } = &mut self.stage else { return Ok(()) };
        if sink.len() + piece.len() as u64 > crate::model::policy::LETTER_SIZE_MAX {
            return Err(Reply::new(552, 3, 4, "this letter is larger than this node takes"));
        }
        if let Kind::Arriving(arriving) = &mut self.kind {
            arriving.look_at(piece);
        }
        for (_, copy) in &mut self.copies {
            copy.write(piece).await.map_err(|error| self.desk.guest_reply(&error))?;
        }
        sink.write(piece).await.map_err(|error| self.desk.guest_reply(&error))
    }

    /// The header is complete: looks through it, and writes what is kept of it.
    async fn open_content(&mut self, block: &[u8]) -> Result<(), Reply> {
        let (head, header) = match &mut self.kind {
            Kind::Arriving(arriving) => {
                let (screened, header) = receive::screen(&self.desk, arriving, block).await?;
                if let Some(to) = &screened.guest {
                    let above = [receive::above_for_guest(&self.desk, arriving, &screened), header].concat();
                    let begun = SealedSink::begin(&self.desk, to, &above).await;
                    let sink = begun.map_err(|error| self.desk.guest_reply(&error))?;
                    let head = Head::Arriving(Box::new(screened));
                    self.stage = Stage::Content { head, sink: Sink::Sealed(Box::new(sink)) };
                    return Ok(());
                }
                arriving.look_at(&header);
                (Head::Arriving(Box::new(screened)), header)
            }
            Kind::Leaving(leaving) => {
                let (head, header) = submit::prepare(&self.desk, leaving, block).await?;
                self.copies = submit::copies(&self.desk, leaving, &header).await?;
                (head, header)
            }
            Kind::Depositing(_) => return Err(INTERNAL),
            Kind::Echo(call) => {
                let seen = echo::screen(&self.desk, call, block).await?;
                let sink = Sink::Nowhere(block.len() as u64);
                self.stage = Stage::Content { head: Head::Echo { seen }, sink };
                return Ok(());
            }
        };
        let mut writer = self.desk.store.letter_writer();
        writer.write(&header).await.map_err(|error| self.desk.disk_reply(&error))?;
        self.stage = Stage::Content { head, sink: Sink::Store(Box::new(writer)) };
        Ok(())
    }

    /// The letter is complete: keeps it durably. Gives the receipt for its author, if one is wished.
    pub async fn finish(self) -> Result<Option<Vec<u8>>, Reply> {
        match self.file().await? {
            Filed::Arrived { receipt } => Ok(receipt),
            Filed::Leaving(_) => Ok(None),
        }
    }

    /// Takes what the seal still held, and checks that it was all of the letter that was signed.
    async fn end_seal(&mut self) -> Result<(), Reply> {
        let Some(mut unsealing) = self.unsealing.take() else { return Ok(()) };
        if self.refused.is_some() || matches!(self.stage, Stage::Kept) {
            return Ok(());
        }
        if let Kind::Arriving(arriving) = &mut self.kind {
            arriving.name(&self.sealed_hash.clone().finalize());
        }
        let opened = unsealing.last()?;
        self.take_opened(opened).await?;
        unsealing.finish()
    }

    /// The same, telling what became of it.
    pub(crate) async fn file(mut self) -> Result<Filed, Reply> {
        self.end_seal().await?;
        self.file_opened().await
    }

    /// The same for a letter that was collected; gives who wrote it.
    pub(super) async fn collect(mut self) -> Result<Option<OnionAddress>, NotTaken> {
        let ended = self.end_seal().await;
        let header = match &self.kind {
            Kind::Arriving(arriving) => arriving.signed.as_ref().map(|signed| (*signed.statement).clone()),
            _ => None,
        };
        let author = match &self.kind {
            Kind::Arriving(arriving) => arriving.signed.as_ref().map(|signed| signed.statement.author()),
            _ => None,
        };
        let done = match ended {
            Ok(()) => self.file_opened().await.map(drop),
            Err(reply) => Err(reply),
        };
        done.map(|()| author).map_err(|reply| NotTaken { reply, said_by: author.zip(header) })
    }

    async fn file_opened(mut self) -> Result<Filed, Reply> {
        if self.refused.is_none() && matches!(self.stage, Stage::Header(_)) {
            // The letter ended inside its header: it has no content.
            let Stage::Header(cutter) = std::mem::replace(&mut self.stage, Stage::Broken) else {
                return Err(INTERNAL);
            };
            self.open_content(&cutter.into_block()).await?;
        }
        if let Some(reply) = self.refused {
            return Err(reply);
        }
        if let (Kind::Depositing(_), Stage::Kept) = (&self.kind, &self.stage) {
            let Kind::Depositing(depositing) = self.kind else { return Err(INTERNAL) };
            let receipt = holding::keep_again(&self.desk, depositing).await?;
            return Ok(Filed::Arrived { receipt });
        }
        if let Stage::Kept = self.stage {
            // What was kept is durable; this answers only if the store still is in order.
            self.desk.store.write(|_| Ok(())).await.map_err(|error| self.desk.disk_reply(&error))?;
            return Ok(Filed::Arrived { receipt: None });
        }
        let Stage::Content { head, sink } = self.stage else {
            return Err(INTERNAL);
        };
        match (self.kind, head, sink) {
            (Kind::Arriving(arriving), Head::Arriving(screened), sink) => {
                let body = sink.finish().await.map_err(|error| self.desk.guest_reply(&error))?;
                let receipt = receive::keep(&self.desk, *arriving, *screened, body).await?;
                Ok(Filed::Arrived { receipt })
            }
            (Kind::Leaving(leaving), Head::Leaving(prepared), Sink::Store(writer)) => {
                let body = writer.finish().await.map_err(|error| self.desk.disk_reply(&error))?;
                let mut copies = Vec::new();
                for (guest, copy) in self.copies {
                    let copy = copy.finish().await.map_err(|error| self.desk.guest_reply(&error))?;
                    copies.push((guest, copy));
                }
                submit::keep(&self.desk, leaving, *prepared, (body, copies)).await.map(Filed::Leaving)
            }
            (Kind::Depositing(depositing), Head::Depositing { hash }, Sink::Store(writer)) => {
                let body = writer.finish().await.map_err(|error| self.desk.disk_reply(&error))?;
                let receipt = holding::keep(&self.desk, depositing, hash, body).await?;
                Ok(Filed::Arrived { receipt })
            }
            (Kind::Echo(call), Head::Echo { seen }, Sink::Nowhere(len)) => {
                let receipt = echo::keep(&self.desk, call, seen, len).await?;
                Ok(Filed::Arrived { receipt })
            }
            _ => Err(INTERNAL),
        }
    }
}

fn bad_header(error: &HeaderError) -> Reply {
    Reply::new(554, 6, 0, "the letter's header is broken").saying(error.to_string())
}

impl Desk {
    /// What a sender is told when the disk does not play along, and what the owner sees in `status`.
    pub(super) fn disk_reply(&self, error: &StoreError) -> Reply {
        match error {
            StoreError::Full => {
                // Not yet accepted by anybody's word: it can be sent again.
                self.partials.clear();
                self.drop_partials.clear();
                self.trouble.note("disk", "the disk is full: letters are refused until there is room".into());
                Reply::new(452, 3, 1, "no room on this node's disk; try again later")
            }
            error => {
                self.trouble.note("disk", format!("letters cannot be kept: {error}"));
                Reply::new(451, 3, 0, "this node cannot keep letters at present; try again later")
            }
        }
    }
}

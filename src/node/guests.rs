//! Guest readers: people without a node whose letters this node takes in, seals for them and shows by IMAP.
//!
//! What arrives for one is opened and checked like any letter, and then sealed with their key of age before any of it
//! reaches the disk. Promises that this node cannot open again what it keeps for them.

use crate::model::address::{LocalPart, MailAddress};
use crate::model::guest::{self, Outside, SealedLetter};
use crate::model::letter::LetterId;
use crate::model::seal::Recipient;
use crate::node::desk::Desk;
use crate::protocol::smtp::Reply;
use crate::store::guests::GuestRecord;
use crate::store::mailboxes::MailboxRecord;
use crate::store::{Body, LetterWriter, MailboxNo, StoreError};
use onion::{ClientKey, HostKey, OnionAddress};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, PoisonError, RwLock};

/// The guest readers there are, as every letter and caller asks for them.
#[derive(Debug, Default)]
pub(super) struct Guests(RwLock<Arc<Vec<GuestRecord>>>);

impl Guests {
    pub(super) fn new(all: Vec<GuestRecord>) -> Self {
        Self(RwLock::new(Arc::new(all)))
    }
}

/// A guest reader to be.
pub struct NewGuest {
    /// The local part of their address.
    pub name: LocalPart,
    /// What their letters are sealed for.
    pub key: Recipient,
    /// Room for their letters, in bytes.
    pub bytes: u64,
    /// Who finds their onion.
    pub client: ClientKey,
    /// What their password is checked with.
    pub verifier: Vec<u8>,
}

/// Why somebody cannot become a guest reader.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The identity answers to this name itself.
    #[error("you answer to this name yourself")]
    Own,
    /// Somebody else has it.
    #[error("there is a guest of this name already")]
    Taken,
    /// Nobody has this name.
    #[error("there is no guest of this name")]
    Nobody,
    /// Less than [`guest::BYTES_MIN`] or more than [`guest::BYTES_MAX`].
    #[error("a guest has 1 MiB to 64 GiB")]
    Room,
    /// The store failed, or has too many.
    #[error("{0}")]
    Store(StoreError),
}

impl From<StoreError> for GuestError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::MailboxExists => Self::Taken,
            error => Self::Store(error),
        }
    }
}

impl Desk {
    /// All guest readers, by name.
    pub fn guests(&self) -> Arc<Vec<GuestRecord>> {
        self.guests.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The onion of a guest reader.
    pub fn guest_onion(guest: &GuestRecord) -> OnionAddress {
        HostKey::from_seed(guest.seed).address()
    }

    /// Takes somebody in as a guest reader, durably.
    pub async fn add_guest(&self, new: NewGuest) -> Result<GuestRecord, GuestError> {
        if self.identity.names().answers_to(&new.name) {
            return Err(GuestError::Own);
        }
        if !(guest::BYTES_MIN..=guest::BYTES_MAX).contains(&new.bytes) {
            return Err(GuestError::Room);
        }
        let record = GuestRecord {
            name: new.name.as_str().to_owned(),
            key: new.key.to_string(),
            bytes: new.bytes,
            seed: self.draw(),
            clients: vec![*new.client.as_bytes()],
            verifier: new.verifier,
            mailbox: MailboxNo(0),
            made: self.now().to_the_hour(),
        };
        let added = self.store.write(move |tx| tx.guests().add(&record)).await?;
        self.guests_have_changed().await?;
        Ok(added)
    }

    /// Removes a guest reader with all their letters, durably; tells what was there.
    pub async fn remove_guest(&self, name: String) -> Result<MailboxRecord, GuestError> {
        let removed = self.store.write(move |tx| tx.guests().remove(&name)).await?;
        self.guests_have_changed().await?;
        removed.ok_or(GuestError::Nobody)
    }

    /// Gives a guest reader another password; the sessions opened with the old one end.
    pub async fn set_guest_verifier(
        &self,
        name: String,
        verifier: Vec<u8>,
    ) -> Result<GuestRecord, GuestError> {
        let changed = self
            .store
            .write(move |tx| {
                let Some(guest) = tx.guests().get(&name)? else { return Ok(None) };
                let guest = GuestRecord { verifier: verifier.clone(), ..guest };
                tx.guests().put(&guest)?;
                Ok(Some(guest))
            })
            .await?;
        self.guests_have_changed().await?;
        changed.ok_or(GuestError::Nobody)
    }

    /// Every guest reader with their mailbox.
    pub async fn list_guests(&self) -> Result<Vec<(GuestRecord, MailboxRecord)>, StoreError> {
        self.store
            .read(|rx| {
                let all = rx.guests().list()?;
                all.into_iter().map(|guest| Ok((guest.clone(), rx.guests().mailbox(&guest)?))).collect()
            })
            .await
    }

    async fn guests_have_changed(&self) -> Result<(), StoreError> {
        let all = self.store.read(|rx| rx.guests().list()).await?;
        *self.guests.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        self.guests_changed.notify_one();
        Ok(())
    }

    /// The guest reader at this address.
    pub(super) fn guest_at(&self, to: &MailAddress) -> Option<GuestRecord> {
        let ours = to.onion == self.identity.onion() && !self.identity.names().owns(to);
        let guests = self.guests();
        guests.iter().find(|guest| ours && guest.name == to.local.base()).cloned()
    }

    /// Who reads at this address, and how many bytes there is room for; refused if it is nobody, or if a letter of
    /// `size` bytes does not fit. One that may fit when others have gone is tried again: a 552 to RCPT is no last word
    /// (RFC 5321 section 4.5.3.1.10).
    pub(crate) async fn may_reach_guest(
        &self,
        to: &MailAddress,
        size: Option<u64>,
    ) -> Result<Addressee, Reply> {
        let guest = self.guest_at(to).ok_or(Reply::new(550, 1, 1, "Nobody of that name here"))?;
        let mailbox = guest.mailbox;
        let read = self.store.read(move |rx| rx.mailboxes().get(mailbox)).await;
        let used = read.map_err(|error| self.guest_reply(&error))?.bytes;
        let room = guest.bytes.saturating_sub(used);
        let kept = guest::kept_len(size.unwrap_or(0));
        // What a seal adds for padding, an eighth at most, is not kept.
        match kept - kept / 8 {
            least if least > guest.bytes => Err(TOO_LARGE),
            least if least >= room => Err(FULL),
            _ => Ok(Addressee { guest, room }),
        }
    }

    /// What a sender is told when a letter for a guest reader cannot be kept.
    pub(super) fn guest_reply(&self, error: &StoreError) -> Reply {
        match error {
            StoreError::NoRoom => later(FULL),
            StoreError::NoMailbox => Reply::new(550, 1, 1, "Nobody of that name here any more"),
            error => self.disk_reply(error),
        }
    }
}

const TOO_LARGE: Reply = Reply::new(554, 3, 4, "The letter is larger than the whole mailbox");
const FULL: Reply = Reply::new(552, 2, 2, "The mailbox is full, or has no room for a letter of this size");

/// The same, said behind the content: there a 552 would be the last word, and the letter may fit when others have gone.
pub(super) fn later(reply: Reply) -> Reply {
    if reply == FULL { Reply::new(452, 2, 2, "The mailbox is full; come again later") } else { reply }
}

/// Under which name a letter counts as seen by a guest reader: of several readers at this onion each gets it.
pub(super) fn seen_by(id: &LetterId, guest: &str) -> LetterId {
    let hash = Sha256::new().chain_update(b"onionskin guest reader\0").chain_update(id.0).chain_update(guest);
    LetterId(*hash.finalize().first_chunk().expect("a SHA-256 has 32 bytes"))
}

/// Somebody without a node for whom a letter has come.
pub(crate) struct Addressee {
    pub(super) guest: GuestRecord,
    /// So many bytes fit.
    pub(super) room: u64,
}

/// A letter that is sealed for a guest reader while it comes.
pub(super) struct SealedSink {
    writer: LetterWriter,
    letter: SealedLetter,
    /// Bytes that were sealed.
    len: u64,
    room: u64,
}

impl SealedSink {
    /// Begins with what stands above the letter; of that nothing is counted as the letter's.
    pub(super) async fn begin(desk: &Desk, to: &Addressee, above: &[u8]) -> Result<Self, StoreError> {
        let key = Recipient::parse(&to.guest.key)
            .map_err(|_| StoreError::Damaged("the key of a guest reader cannot be read"))?;
        let local = LocalPart::parse(&to.guest.name)
            .map_err(|_| StoreError::Damaged("the name of a guest reader cannot be read"))?;
        let address = MailAddress { local, onion: desk.identity.onion() };
        let outside = Outside { to: &address, at: desk.now(), id: desk.draw() };
        let letter = SealedLetter::new(&key, &desk.draw(), &outside);
        let mut sink = Self { writer: desk.store.letter_writer(), letter, len: 0, room: to.room };
        sink.write(above).await?;
        sink.len = 0;
        Ok(sink)
    }

    /// Bytes of the letter so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes a piece of the letter. `NoRoom` if it does not fit into the mailbox.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let sealed = self.letter.push(piece);
        self.len += piece.len() as u64;
        put(&mut self.writer, self.room, &sealed).await
    }

    /// All has come.
    pub(super) async fn finish(self) -> Result<Body, StoreError> {
        let Self { mut writer, letter, room, .. } = self;
        put(&mut writer, room, &letter.finish()).await?;
        writer.finish().await
    }
}

async fn put(writer: &mut LetterWriter, room: u64, sealed: &[u8]) -> Result<(), StoreError> {
    if writer.len() + sealed.len() as u64 > room {
        return Err(StoreError::NoRoom);
    }
    writer.write(sealed).await
}

//! The simple model that the store is held to: what a store is, in ordered maps, and what each action does to it.

use super::script::author;
use super::*;
use crate::model::letter::LetterId;
use crate::store::QueueNo;
use crate::store::mailboxes::MailboxName;
use crate::store::messages::FlagChange;
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet};

/// All that a store keeps, as far as the actions below touch it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Model {
    boxes: BTreeMap<String, Mailbox>,
    queue: BTreeMap<u64, Vec<u8>>,
    queue_next: u64,
    seen: BTreeSet<[u8; 16]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mailbox {
    next: u32,
    messages: BTreeMap<u32, (Vec<u8>, u8)>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { next: 1, messages: BTreeMap::new() }
    }
}

impl Mailbox {
    fn append(&mut self, bytes: Vec<u8>, flags: u8) {
        self.messages.insert(self.next, (bytes, flags));
        self.next += 1;
    }
}

/// Something that a node or a mail program does, in one write.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Deliver { id: [u8; 16], bytes: Vec<u8> },
    Submit { bytes: Vec<u8>, recipients: usize },
    Settle { no: u64 },
    Expunge { mailbox: String, uids: Vec<Uid> },
    Move { from: String, to: String, uids: Vec<Uid> },
    Copy { from: String, to: String, uids: Vec<Uid> },
    Flag { mailbox: String, uids: Vec<Uid>, flags: u8 },
    Create { mailbox: String },
    Delete { mailbox: String },
    Compact,
}

/// The mailboxes in which things happen. The last two come and go.
const BOXES: [&str; 4] = ["INBOX", "Sent", "A", "A-B"];
/// Sizes of letters: none, small, one chunk, several chunks.
const SIZES: [usize; 5] = [0, 300, 6_000, 65_536, 150_000];

impl Action {
    /// Draws an action that can be done to this state, or at worst does nothing.
    pub(super) fn draw(rng: &mut StdRng, model: &Model) -> Self {
        let mut draw = || BOXES[rng.random_range(0..BOXES.len())].to_owned();
        let (mailbox, to) = (draw(), draw());
        let uids: Vec<Uid> = match model.boxes.get(&mailbox) {
            Some(found) => {
                found.messages.keys().filter(|_| rng.random_bool(0.5)).map(|&uid| Uid(uid)).collect()
            }
            None => Vec::new(),
        };
        let fill: u8 = rng.random();
        let bytes = vec![fill; SIZES[rng.random_range(0..SIZES.len())]];
        match rng.random_range(0..14) {
            // Few ids, so that some come twice.
            0..=3 => Self::Deliver { id: [rng.random_range(0..12); 16], bytes },
            4..=5 => Self::Submit { bytes, recipients: rng.random_range(1..4) },
            6 => Self::Settle { no: rng.random_range(1..model.queue_next.max(2)) },
            7 => Self::Expunge { mailbox, uids },
            8 => Self::Move { from: mailbox, to, uids },
            9 => Self::Copy { from: mailbox, to, uids },
            10 => Self::Flag { mailbox, uids, flags: rng.random_range(0..32) },
            11 => Self::Create { mailbox: to },
            12 => Self::Delete { mailbox: to },
            _ => Self::Compact,
        }
    }

    /// Does it to a store. `Ok` is an acknowledgement.
    pub(super) fn carry_out(&self, store: &Store) -> Result<(), StoreError> {
        let find = |name: &str| -> Result<Option<MailboxNo>, StoreError> {
            now(store.mailbox(MailboxName::parse(name)?))
        };
        match self.clone() {
            Self::Deliver { id, bytes } => deliver(store, id, &bytes),
            Self::Submit { bytes, recipients } => submit(store, &bytes, recipients),
            Self::Settle { no } => now(store.write(move |tx| tx.queue().remove(QueueNo(no)).map(drop))),
            Self::Create { mailbox } => {
                let name = MailboxName::parse(&mailbox)?;
                now(store.write(move |tx| match tx.mailboxes().find(&name)? {
                    Some(_) => Ok(()),
                    None => tx.mailboxes().create(&name, None).map(drop),
                }))
            }
            Self::Compact => now(store.compact_step(200_000)).map(drop),
            Self::Delete { mailbox } => {
                let Some(no) = find(&mailbox)? else { return Ok(()) };
                match now(store.write(move |tx| tx.mailboxes().delete(no))) {
                    Err(StoreError::MailboxInUse(_)) => Ok(()),
                    result => result,
                }
            }
            Self::Expunge { mailbox, uids } => {
                let Some(no) = find(&mailbox)? else { return Ok(()) };
                now(store.write(move |tx| tx.messages().expunge(no, &uids).map(drop)))
            }
            Self::Flag { mailbox, uids, flags } => {
                let Some(no) = find(&mailbox)? else { return Ok(()) };
                let change = FlagChange::Replace(Flags::system(flags));
                now(store.write(move |tx| tx.messages().set_flags(no, &uids, &change).map(drop)))
            }
            Self::Move { from, to, uids } | Self::Copy { from, to, uids } => {
                let (Some(from), Some(to)) = (find(&from)?, find(&to)?) else { return Ok(()) };
                let is_move = matches!(self, Self::Move { .. });
                now(store.write(move |tx| {
                    let messages = tx.messages();
                    if is_move { messages.move_to(from, &uids, to) } else { messages.copy(from, &uids, to) }
                        .map(drop)
                }))
            }
        }
    }

    /// Does it to the model.
    pub(super) fn apply(&self, model: &mut Model) {
        match self.clone() {
            Self::Deliver { id, bytes } => {
                if model.seen.insert(id) {
                    model.boxes.get_mut("INBOX").unwrap().append(bytes, 0);
                }
            }
            Self::Submit { bytes, recipients } => {
                model.boxes.get_mut("Sent").unwrap().append(bytes.clone(), Flags::SEEN);
                for _ in 0..recipients {
                    model.queue.insert(model.queue_next, bytes.clone());
                    model.queue_next += 1;
                }
            }
            Self::Settle { no } => drop(model.queue.remove(&no)),
            Self::Create { mailbox } => drop(model.boxes.entry(mailbox).or_default()),
            Self::Delete { mailbox } if mailbox.starts_with('A') => drop(model.boxes.remove(&mailbox)),
            Self::Delete { .. } | Self::Compact => {}
            Self::Expunge { mailbox, uids } => model.remove(&mailbox, &uids),
            Self::Flag { mailbox, uids, flags } => {
                let Some(mailbox) = model.boxes.get_mut(&mailbox) else { return };
                for uid in uids {
                    mailbox.messages.entry(uid.0).and_modify(|(_, old)| *old = flags);
                }
            }
            Self::Copy { from, to, uids } => model.copy(&from, &to, &uids),
            Self::Move { from, to, uids } => {
                model.copy(&from, &to, &uids);
                if model.boxes.contains_key(&to) {
                    model.remove(&from, &uids);
                }
            }
        }
    }
}

fn deliver(store: &Store, id: [u8; 16], bytes: &[u8]) -> Result<(), StoreError> {
    let inbox = special(store, SpecialUse::Inbox)?;
    let body = now(store.letter(bytes))?;
    now(store.write(move |tx| {
        if tx.seen().insert(&author(), &LetterId(id), NOW)? {
            let letter = tx.letters().add(&body, b"")?;
            let flags = Flags::default();
            let message = NewMessage { letter, flags, internal_date: NOW, sent_id: None };
            tx.messages().append(inbox, &message)?;
        }
        Ok(())
    }))
}

fn submit(store: &Store, bytes: &[u8], recipients: usize) -> Result<(), StoreError> {
    let sent = special(store, SpecialUse::Sent)?;
    let body = now(store.letter(bytes))?;
    now(store.write(move |tx| {
        let letter = tx.letters().add(&body, b"")?;
        let flags = Flags::system(Flags::SEEN);
        let message = NewMessage { letter, flags, internal_date: NOW, sent_id: None };
        tx.messages().append(sent, &message)?;
        (0..recipients).try_for_each(|_| tx.queue().push(letter, &()).map(drop))
    }))
}

fn special(store: &Store, special: SpecialUse) -> Result<MailboxNo, StoreError> {
    now(store.read(move |rx| rx.mailboxes().special(special)))?.ok_or(StoreError::NoMailbox)
}

impl Model {
    fn remove(&mut self, mailbox: &str, uids: &[Uid]) {
        if let Some(mailbox) = self.boxes.get_mut(mailbox) {
            mailbox.messages.retain(|&uid, _| !uids.contains(&Uid(uid)));
        }
    }

    fn copy(&mut self, from: &str, to: &str, uids: &[Uid]) {
        let Some(source) = self.boxes.get(from).cloned() else { return };
        let Some(target) = self.boxes.get_mut(to) else { return };
        for uid in uids {
            if let Some((bytes, flags)) = source.messages.get(&uid.0) {
                target.append(bytes.clone(), *flags);
            }
        }
    }

    /// What a store holds, read through its own interface, with its counts checked on the way.
    pub(super) fn observe(store: &Store) -> Result<Self, StoreError> {
        let mut model = Self { queue_next: 1, ..Self::default() };
        let mut used = BTreeSet::new();
        for (no, record) in now(store.read(|rx| rx.mailboxes().list()))? {
            let view = now(store.mailbox_view(no))?;
            let mut mailbox = Mailbox { next: record.uid_next.0, messages: BTreeMap::new() };
            for (uid, message) in &view.messages {
                let bytes = read_all(store, message.letter)?;
                assert_eq!(message.size, bytes.len() as u64);
                used.insert(message.letter);
                mailbox.messages.insert(uid.0, (bytes, message.flags.system));
            }
            let unseen = mailbox.messages.values().filter(|(_, flags)| flags & Flags::SEEN == 0).count();
            let counted = (record.messages as usize, record.unseen as usize);
            assert_eq!(counted, (mailbox.messages.len(), unseen), "counts of {:?}", record.name.as_str());
            model.boxes.insert(record.name.as_str().to_owned(), mailbox);
        }
        for (no, letter, _) in now(store.read(|rx| rx.queue().list::<serde::de::IgnoredAny>()))? {
            used.insert(letter);
            model.queue.insert(no.0, read_all(store, letter)?);
        }
        let kept = now(store.read(|rx| rx.letters().count()))?;
        assert_eq!(kept, used.len() as u64, "letters kept that nobody uses");
        model.queue_next = now(store.read(|rx| Ok(rx.rows.number("queue")?.unwrap_or(0) + 1)))?;
        for id in 0..12 {
            if now(store.read(move |rx| rx.seen().contains(&author(), &LetterId([id; 16]))))? {
                model.seen.insert([id; 16]);
            }
        }
        Ok(model)
    }
}

//! Tests of whole sessions: a driver of each machine that keeps what it was told, and a wire between the two.

mod collect;
mod deposit;
mod holding;
mod hostile;
mod pair;
mod random;
mod sealed;
mod traces;

use super::client::{self, Client, Outgoing, Prove};
use super::server::{self, Envelope, Role, Server};
use super::{Phase, Read, Reply, ReversePath, limits};
use crate::model::address::{LocalPart, MailAddress};
use crate::model::hold::Token;
use crate::model::letter::{LetterId, Recipients};
use crate::model::policy::OwnNames;
use crate::model::seal::PrekeyId;
use crate::protocol::sasl::Verifier;
use ed25519_dalek::{Signer as _, SigningKey};
use holding::Shelf;
use onion::OnionAddress;

/// The key of the test person with this number.
pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(super) fn onion(seed: u8) -> OnionAddress {
    OnionAddress::from_public_key(key(seed).verifying_key().to_bytes()).unwrap()
}

pub(super) fn address(local: &str, seed: u8) -> MailAddress {
    MailAddress { local: LocalPart::parse(local).unwrap(), onion: onion(seed) }
}

/// Larger than what is sent without waiting for replies.
pub(super) const SIZE_MAX: u64 = 2 * limits::EAGER_LEN_MAX;

/// Bob (2) at his onion port, or at his submission; or a drop (3).
pub(super) fn server(role: Role) -> Server {
    Server::new(server::Config { size_max: SIZE_MAX, role })
}

fn names() -> OwnNames {
    OwnNames::new(onion(2), [LocalPart::parse("bob").unwrap()]).unwrap()
}

pub(super) fn onion_role() -> Role {
    Role::Onion { names: names(), cookie: [0xc0; 16] }
}

pub(super) fn submission_role() -> Role {
    Role::Submission { names: names(), seed: [5; 32], decoy: [6; 32], others: Vec::new() }
}

pub(super) fn drop_role() -> Role {
    Role::Drop { onion: onion(3), cookie: [0xc0; 16] }
}

/// Ann (1), who has dialled Bob (2).
pub(super) fn client() -> Client {
    client_of(1, 2)
}

/// Whoever has the key of this number, and has dialled the server of that.
pub(super) fn client_of(own: u8, server: u8) -> Client {
    let sign = Box::new(move |bytes: &[u8]| key(own).sign(bytes).to_bytes());
    let prove = Prove { own: onion(own), cookie: [0xa0; 16], sign };
    Client::new(client::Config { server: onion(server), hello: onion(own).host(), prove: Some(prove) })
}

/// Somebody who has dialled the drop (3).
pub(super) fn depositor() -> Client {
    Client::new(client::Config::anonymous(onion(3)))
}

/// This letter, to be left at the drop for this token.
pub(super) fn deposit(content: &[u8], token: Token) -> Outgoing {
    Outgoing {
        recipients: Recipients::new([holding::MAILBOX.address(onion(3))]).unwrap(),
        id: holding::id_of(content),
        token: Some(token),
        ..sealed(content.len())
    }
}

pub(super) fn outgoing(recipients: &[&str], size: usize) -> Outgoing {
    Outgoing {
        from: ReversePath::Onion(address("ann", 1)),
        recipients: Recipients::new(recipients.iter().map(|local| address(local, 2))).unwrap(),
        id: LetterId([0x1d; 16]),
        size: size as u64,
        eight_bit: false,
        utf8_header: false,
        sealed: None,
        token: None,
        ask_card: None,
    }
}

/// The key of Bob's that a letter can be sealed with.
/// Two who read here without a node; the first has little room.
pub(super) const GUEST: &str = "gil";
pub(super) const OTHER_GUEST: &str = "hal";
pub(super) const GUEST_ROOM: u64 = 1000;

pub(super) const PREKEY: PrekeyId = PrekeyId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);

/// What [`outgoing`] makes, sealed.
pub(super) fn sealed(size: usize) -> Outgoing {
    Outgoing { sealed: Some(PREKEY), ..outgoing(&["bob"], size) }
}

/// A letter that broke off: its id, the key it is sealed with, and the token that pays for it.
type Part = (LetterId, Option<PrekeyId>, Option<Token>);

/// What a server's driver was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) sent: Vec<u8>,
    /// Letters that were finished.
    pub(super) letters: Vec<(Envelope, Vec<u8>)>,
    pub(super) begun: usize,
    /// Letters whose session broke, as far as they came, with their id.
    pub(super) suspended: Vec<(Part, Vec<u8>)>,
    pub(super) discarded: usize,
    pub(super) proved: Vec<OnionAddress>,
    pub(super) etrns: Vec<OnionAddress>,
    pub(super) users: Vec<String>,
}

/// A server with a driver that takes every letter, unless told otherwise.
pub(super) struct Driven {
    pub(super) server: Server,
    pub(super) seen: Seen,
    open: Option<(Envelope, Vec<u8>)>,
    /// What is here of a letter that is announced.
    held: Option<(Part, Vec<u8>)>,
    /// What was told, in words.
    pub(super) log: Vec<String>,
    closed: bool,
    pub(super) refuse_begin: Option<Reply>,
    pub(super) refuse_finish: Option<Reply>,
    /// Bob's Card and its sequence.
    pub(super) card: Option<(u64, Vec<u8>)>,
    /// What comes with the acceptance of a sealed letter.
    pub(super) receipt: Option<Vec<u8>>,
    /// What is held here.
    pub(super) shelf: Shelf,
}

/// What is sent at once: what was gathered, and one long reply behind it.
const SENT_MAX: usize = limits::OUTPUT_LEN_MAX + limits::TAKE_LEN_MAX + 64;
/// The most that a machine may hold: an unfinished line, one feed behind it, and what is about to be sent.
pub(super) const HELD_MAX: usize = limits::AUTH_LEN_MAX + limits::READ_LEN_MAX + SENT_MAX;

/// What a driver cannot do by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Read(Read),
    Close,
}

impl Driven {
    pub(super) fn new(role: Role) -> Self {
        let shelf = Shelf::new(onion(if matches!(role, Role::Drop { .. }) { 4 } else { 1 }));
        let server = server(role);
        Self {
            shelf,
            server,
            seen: Seen::default(),
            open: None,
            held: None,
            log: Vec::new(),
            closed: false,
            refuse_begin: None,
            refuse_finish: None,
            card: Some((7, b"the Card of Bob".to_vec())),
            receipt: None,
        }
    }

    /// Does steps until the server wants input or is done.
    pub(super) fn run(&mut self) -> Pause {
        loop {
            assert!(self.server.held() <= HELD_MAX, "{} bytes are held", self.server.held());
            match self.server.next() {
                server::Step::Send(bytes) => {
                    assert!(bytes.len() <= SENT_MAX);
                    self.seen.sent.extend(bytes);
                }
                server::Step::Read(read) => return Pause::Read(read),
                server::Step::Close => return Pause::Close,
                server::Step::Login(login) => {
                    let known = login.user() == "bob";
                    let verifier = Verifier::from_password("secret", b"0123456789abcdef", 10);
                    login.answer(if known { std::slice::from_ref(&verifier) } else { &[] });
                }
                server::Step::LoggedIn { user, .. } => {
                    self.note(&format!("login {user}"));
                    self.seen.users.push(user);
                }
                server::Step::Proved(onion) => {
                    self.note(&format!("proved {}", onion.host()));
                    self.seen.proved.push(onion);
                }
                server::Step::Etrn(onion) => {
                    self.note(&format!("etrn {}", onion.host()));
                    self.seen.etrns.push(onion);
                }
                server::Step::Card(asked) => match &self.card {
                    None => asked.refuse(Reply::new(550, 5, 1, "There is no Card here")),
                    Some((sequence, _)) if asked.known() >= Some(*sequence) => asked.answer(None),
                    Some((_, card)) => asked.answer(Some(card)),
                },
                server::Step::Checkpoint(checkpoint) => {
                    let sending = checkpoint.sending();
                    let token = match sending.from {
                        server::Bringer::Token(token) => Some(token),
                        server::Bringer::Onion(_) => None,
                    };
                    let name = (sending.letter, sending.sealed, token);
                    let known = self.seen.suspended.iter().position(|(part, _)| *part == name);
                    let part = known.map(|at| self.seen.suspended.remove(at).1);
                    let content = part.or(self.shelf.found(&sending)).unwrap_or_default();
                    let (len, after_cr) = (content.len() as u64, content.last() == Some(&b'\r'));
                    checkpoint.answer(Some(server::Held { len, after_cr }));
                    self.note(&format!("checkpoint {} of {}: {len}", sending.letter.to_hex(), sending.size));
                    assert!(self.held.replace((name, content)).is_none(), "two letters at once");
                }
                server::Step::Recipient(asked) => match asked.to().local.as_str() {
                    GUEST if asked.size().is_some_and(|size| size > GUEST_ROOM) => {
                        asked.refuse(Reply::new(552, 2, 2, "no room"));
                    }
                    GUEST | OTHER_GUEST => asked.take(),
                    _ => asked.nobody(),
                },
                step @ (server::Step::Deposit(_)
                | server::Step::Held(_)
                | server::Step::Take(_)
                | server::Step::Drop(_)
                | server::Step::Revoke(_)
                | server::Step::Recall(_)) => {
                    let words = self.shelf.answer(step);
                    self.log.push(words);
                }
                server::Step::Begin(begin) => match self.refuse_begin.take() {
                    Some(reply) => begin.refuse(reply),
                    None if begin.envelope().sealed.is_some_and(|key| key != PREKEY) => {
                        begin.refuse(Reply::STALE_KEY);
                    }
                    None => {
                        let envelope = begin.accept();
                        let held = self.held.take().map_or_else(Vec::new, |(_, held)| held);
                        assert_eq!(envelope.held, held.len() as u64);
                        self.seen.begun += 1;
                        self.note(&summary(&envelope));
                        assert!(self.open.replace((envelope, held)).is_none(), "two letters at once");
                    }
                },
                server::Step::Body(content) => {
                    assert!(!content.is_empty() && content.len() <= limits::READ_LEN_MAX);
                    self.open.as_mut().expect("content only of a begun letter").1.extend(content);
                }
                server::Step::Finish(finish) => {
                    let letter = self.open.take().expect("only a begun letter is finished");
                    let kept =
                        letter.0.deposit.map_or(Ok(()), |deposit| self.shelf.keep(&deposit, &letter.1));
                    match self.refuse_finish.take().or(kept.err()) {
                        Some(reply) => finish.refuse(reply),
                        None => {
                            finish.accept_with(self.receipt.as_deref().filter(|_| letter.0.sealed.is_some()));
                            self.note(&format!("finish {:?}", String::from_utf8_lossy(&letter.1)));
                            self.seen.letters.push(letter);
                        }
                    }
                }
                server::Step::Discard => {
                    let begun = self.open.take().is_some();
                    assert!(begun || self.held.take().is_some(), "only a begun letter is discarded");
                    self.seen.discarded += usize::from(begun);
                    self.note("discard");
                }
                server::Step::Suspend => {
                    let begun = self.open.take().map(|(envelope, content)| (part_of(&envelope), content));
                    let (part, content) = begun.or(self.held.take()).expect("only a checkpoint is suspended");
                    self.note(&format!("suspend at {}", content.len()));
                    if !content.is_empty() {
                        self.seen.suspended.push((part, content));
                    }
                }
            }
        }
    }

    pub(super) fn note(&mut self, word: &str) {
        // `Close` is said again and again.
        if word != "close" || !std::mem::replace(&mut self.closed, true) {
            self.log.push(word.to_owned());
        }
    }

    /// Feeds `wire` in pieces of `step` bytes, and then the end; what was told.
    pub(super) fn hear(mut self, wire: &[u8], step: usize) -> Seen {
        for piece in wire.chunks(step.min(limits::READ_LEN_MAX)) {
            if self.run() == Pause::Close {
                break;
            }
            self.server.feed(piece).unwrap();
        }
        if self.run() != Pause::Close {
            self.server.eof();
            assert_eq!(self.run(), Pause::Close);
        }
        assert!(self.open.is_none(), "a letter was neither finished nor discarded");
        self.seen
    }
}

fn part_of(envelope: &Envelope) -> Part {
    let token = envelope.deposit.map(|deposit| deposit.token);
    (envelope.letter.expect("a part has an id"), envelope.sealed, token)
}

fn summary(envelope: &Envelope) -> String {
    let to: Vec<String> = envelope.recipients.as_slice().iter().map(MailAddress::full).collect();
    let mut words = format!("begin <{}> to {}", envelope.from.full(), to.join(", "));
    if let Some(size) = envelope.size_hint {
        words.push_str(&format!(", size {size}"));
    }
    if envelope.utf8 {
        words.push_str(", utf8");
    }
    if let Some(letter) = envelope.letter {
        words.push_str(&format!(", letter {}", letter.to_hex()));
    }
    if let Some(key) = envelope.sealed {
        words.push_str(&format!(", sealed with {}", key.to_hex()));
    }
    words
}

impl Seen {
    /// The codes of the replies, `-` lines left out.
    pub(super) fn codes(&self) -> Vec<u16> {
        let text = std::str::from_utf8(&self.sent).expect("replies are ASCII");
        assert!(text.is_empty() || text.ends_with("\r\n"));
        let lines = text.split_terminator("\r\n").filter(|line| line.as_bytes()[3] == b' ');
        lines.map(|line| line[..3].parse().unwrap()).collect()
    }
}

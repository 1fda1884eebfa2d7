//! Client and server on one wire: what arrives is what was sent, and in how many round trips.

use super::super::HeldList;
use super::super::client::{Busy, CardAnswer, Cause, Failure, Outcome, Step};
use super::*;

/// A client on a wire to a server.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Driven,
    /// Words of the server's output that the client does not get to see, such as extensions.
    pub(super) hidden: &'static [&'static str],
    /// Bytes of the server's output that the client has read.
    pub(super) read: usize,
    /// Bytes that were said and not yet heard.
    pub(super) waiting: Vec<u8>,
    /// Bytes that are heard at once.
    pub(super) listen: usize,
    /// Times that the client had to wait for the server.
    pub(super) round_trips: usize,
    /// Bytes of content that the client was given.
    pub(super) given: usize,
    /// So many bytes of the client's still get through; then the wire is cut.
    pub(super) left: usize,
}

/// What the client's driver cannot do by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Done { outcomes: Vec<Outcome>, receipt: Option<Vec<u8>> },
    Card(CardAnswer),
    Etrn(u16),
    Held(Result<HeldList, u16>),
    Taken(Result<Vec<u8>, u16>),
    Dropped(Result<(), u16>),
    Recalled(Result<(), u16>),
    Failed(Failure),
    Idle,
    Close,
}

impl Pair {
    pub(super) fn new(server: Driven) -> Self {
        Self {
            client: client(),
            server,
            hidden: &[],
            read: 0,
            waiting: Vec::new(),
            listen: limits::READ_LEN_MAX,
            round_trips: 0,
            given: 0,
            left: usize::MAX,
        }
    }

    /// This client at a drop.
    pub(super) fn at_drop(client: Client) -> Self {
        Self { client, ..Self::new(Driven::new(drop_role())) }
    }

    /// Runs until the client has something to say to its owner. The content is given in pieces of `piece` bytes.
    pub(super) fn run(&mut self, content: &[u8], piece: usize) -> End {
        loop {
            match self.client.next() {
                Step::Send(bytes) => {
                    let through = bytes.len().min(self.left);
                    self.left -= through;
                    for part in bytes[..through].chunks(limits::READ_LEN_MAX) {
                        self.server.run();
                        self.server.server.feed(part).unwrap();
                    }
                    if through < bytes.len() {
                        self.server.server.eof();
                        assert_eq!(self.server.run(), Pause::Close);
                        self.client.eof();
                    }
                }
                Step::Read(_) => self.hear(),
                Step::WantBody { at, max } => {
                    let missing = &content[usize::try_from(at).unwrap()..];
                    let now = &missing[..max.min(piece).min(missing.len())];
                    self.given += now.len();
                    self.client.body(now).unwrap();
                }
                Step::Done { outcomes, receipt } => return End::Done { outcomes, receipt },
                Step::Card(answer) => return End::Card(answer),
                Step::Etrn(reply) => return End::Etrn(reply.code),
                Step::Held(answer) => return End::Held(answer.map_err(|reply| reply.code)),
                Step::Taken(answer) => return End::Taken(answer.map_err(|reply| reply.code)),
                Step::Dropped(answer) => return End::Dropped(answer.map_err(|reply| reply.code)),
                Step::Recalled(answer) => return End::Recalled(answer.map_err(|reply| reply.code)),
                Step::Failed(failure) => return End::Failed(failure),
                Step::Idle => return End::Idle,
                Step::Close => return End::Close,
            }
        }
    }

    /// What the server says, one read's worth of it.
    fn hear(&mut self) {
        if self.waiting.is_empty() {
            let closed = self.server.run() == Pause::Close;
            self.waiting = hide(&self.server.seen.sent[self.read..], self.hidden);
            self.round_trips += 1;
            self.read = self.server.seen.sent.len();
            if self.waiting.is_empty() && closed {
                self.client.eof();
            }
            assert!(!self.waiting.is_empty() || closed, "both wait");
        }
        let now = self.waiting.len().min(self.listen);
        let piece: Vec<u8> = self.waiting.drain(..now).collect();
        self.client.feed(&piece).unwrap();
    }

    /// A new session with the same server.
    pub(super) fn dial_again(&mut self) {
        self.dial(client(), onion_role());
    }

    /// A new session of this client with the same server, in this role.
    pub(super) fn dial(&mut self, client: Client, role: Role) {
        self.client = client;
        self.server.server = server(role);
        self.waiting.clear();
        (self.read, self.left) = (self.server.seen.sent.len(), usize::MAX);
    }

    fn send(&mut self, recipients: &[&str], content: &[u8]) -> End {
        self.send_in_pieces(recipients, content, 10)
    }

    /// Sends this one sealed, in pieces of `piece` bytes.
    pub(super) fn send_sealed(&mut self, content: &[u8], piece: usize) -> End {
        self.client.letter(sealed(content.len())).unwrap();
        self.run(content, piece)
    }

    pub(super) fn send_in_pieces(&mut self, recipients: &[&str], content: &[u8], piece: usize) -> End {
        self.client.letter(outgoing(recipients, content.len())).unwrap();
        self.run(content, piece)
    }
}

/// Writes a dash over each of the words.
fn hide(bytes: &[u8], words: &[&str]) -> Vec<u8> {
    if words.is_empty() {
        return bytes.to_vec();
    }
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    words.iter().fold(text, |text, word| text.replace(word, "-")).into_bytes()
}

pub(super) fn codes(end: &End) -> Vec<u16> {
    let End::Done { outcomes, .. } = end else { panic!("{end:?}") };
    let code = |outcome: &Outcome| match outcome {
        Outcome::Accepted => 250,
        Outcome::Deferred(reply) | Outcome::Refused(reply) => reply.code,
    };
    outcomes.iter().map(code).collect()
}

const LETTER: &[u8] = b"Subject: hi\r\n\r\n.\r\n..\r\nbye\r\n";

#[test]
fn a_letter_goes_from_ann_to_bob_with_her_proof_and_its_id() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    assert_eq!(codes(&pair.send(&["bob", "Bob+list", "postmaster"], LETTER)), [250, 250, 250]);
    let (envelope, content) = &pair.server.seen.letters[0];
    assert_eq!(content, LETTER);
    assert_eq!(envelope.proved, Some(onion(1)));
    assert_eq!(envelope.letter, Some(LetterId([0x1d; 16])));
    assert_eq!(envelope.from, ReversePath::Onion(address("ann", 1)));
    assert_eq!(envelope.size_hint, Some(LETTER.len() as u64));
    assert_eq!(envelope.recipients.as_slice().len(), 3);
    assert_eq!(envelope.hello, onion(1).host());
    assert_eq!(pair.server.seen.proved, [onion(1)]);
}

#[test]
fn the_first_letter_takes_two_round_trips_and_the_next_one_takes_one() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    // The greeting comes with the stream.
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [250]);
    assert_eq!(pair.round_trips, 1 + 2);
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [250]);
    assert_eq!(pair.round_trips, 1 + 2 + 1);
    assert_eq!(pair.run(&[], 1), End::Idle);
    pair.client.quit();
    assert_eq!(pair.client.letter(outgoing(&["bob"], 1)), Err(Busy));
    assert_eq!(pair.run(&[], 1), End::Close);
    assert_eq!(pair.server.seen.letters.len(), 2);
}

#[test]
fn etrn_is_asked_with_a_proof() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.client.etrn().unwrap();
    assert_eq!(pair.run(&[], 1), End::Etrn(250));
    assert_eq!(pair.server.seen.etrns, [onion(1)]);
    assert_eq!(pair.round_trips, 1 + 2);
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [250]);
}

#[test]
fn each_recipient_has_its_own_outcome() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    assert_eq!(codes(&pair.send(&["nobody", "bob"], LETTER)), [550, 250]);
    assert_eq!(pair.server.seen.letters[0].0.recipients.as_slice(), [address("bob", 2)]);
}

#[test]
fn a_letter_for_nobody_is_answered_and_leaves_the_session_usable() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    assert_eq!(codes(&pair.send(&["nobody"], LETTER)), [550]);
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [250]);
    assert_eq!(pair.server.seen.letters.len(), 1);
    // A large one waits for the replies before its content.
    let trips = pair.round_trips;
    let large = b"0123456789abc\r\n".repeat(20_000);
    assert_eq!(codes(&pair.send(&["nobody"], &large)), [550]);
    assert_eq!(pair.round_trips, trips + 1);
    assert_eq!(codes(&pair.send(&["bob"], &large)), [250]);
    assert_eq!(pair.round_trips, trips + 1 + 2);
    assert_eq!(pair.server.seen.letters[1].1, large);
}

#[test]
fn the_server_s_owner_can_refuse_before_and_after_the_content() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.server.refuse_begin = Some(Reply::new(452, 2, 2, "full"));
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [452]);
    pair.server.refuse_finish = Some(Reply::new(554, 7, 0, "no"));
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [554]);
    pair.server.refuse_finish = Some(Reply::new(250, 0, 0, "not a refusal"));
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [451]);
    assert_eq!(codes(&pair.send(&["bob"], LETTER)), [250]);
    assert_eq!(pair.server.seen.letters.len(), 1);
}

#[test]
fn a_letter_over_the_announced_size_is_not_sent() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    assert_eq!(codes(&pair.send(&["bob"], &vec![b'x'; SIZE_MAX as usize + 1])), [552]);
    assert_eq!(pair.server.seen.begun, 0);
    assert_eq!(codes(&pair.send(&["bob"], &vec![b'x'; SIZE_MAX as usize])), [250]);
}

#[test]
fn a_letter_that_would_break_the_framing_is_refused_at_home() {
    for bad in [&b"a\nb\r\n"[..], b"a\r\r\n", b"a\0", b"ends in cr\r"] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        let end = pair.send(&["bob"], bad);
        assert_eq!(codes(&end), [554]);
        assert_eq!(pair.run(&[], 1), End::Close);
        assert!(pair.server.seen.letters.is_empty());
    }
}

#[test]
fn a_proof_for_another_server_is_refused_and_ends_the_session() {
    let mut pair = Pair::new(Driven::new(onion_role()));
    let prove =
        Prove { own: onion(1), cookie: [0; 16], sign: Box::new(|bytes| key(1).sign(bytes).to_bytes()) };
    pair.client = Client::new(client::Config { server: onion(3), hello: "x".to_owned(), prove: Some(prove) });
    pair.client.letter(outgoing(&["bob"], LETTER.len())).unwrap();
    let End::Failed(Failure { cause: Cause::AuthRefused(reply), maybe_delivered: false }) =
        pair.run(LETTER, 99)
    else {
        panic!("not refused")
    };
    assert_eq!(reply.code, 535);
    assert_eq!(pair.run(&[], 1), End::Close);
    assert!(pair.server.seen.letters.is_empty());
}

#[test]
fn wherever_a_large_letter_is_cut_the_next_session_goes_on_there() {
    let content = b"0123456789abcd\r\n".repeat(17_000);
    for cut in [0, 1, 900, 1_003, 70_001, 140_000, 271_800, 272_000, 272_300] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.left = cut;
        let End::Failed(Failure { cause: Cause::Lost, .. }) = pair.send_in_pieces(&["bob"], &content, 4096)
        else {
            panic!("not cut at {cut}")
        };
        let held = pair.server.seen.suspended.first().map_or(0, |(_, held)| held.len());
        assert!(held + 700 > cut && held <= cut, "{held} bytes came of {cut}");
        let given = pair.given;
        pair.dial_again();
        assert_eq!(codes(&pair.send_in_pieces(&["bob"], &content, 4096)), [250]);
        assert_eq!(pair.given - given, content.len() - held);
        assert!(pair.server.seen.letters[0].1 == content && pair.server.seen.suspended.is_empty());
    }
}

#[test]
fn a_part_survives_a_refusal_of_recipients_and_costs_no_upload() {
    let content = b"0123456789abcd\r\n".repeat(17_000);
    let mut pair = Pair::new(Driven::new(onion_role()));
    pair.left = 100_000;
    assert!(matches!(pair.send_in_pieces(&["bob"], &content, 4096), End::Failed(_)));
    let given = pair.given;
    pair.dial_again();
    assert_eq!(codes(&pair.send_in_pieces(&["nobody"], &content, 4096)), [550]);
    assert_eq!(pair.given, given);
    assert_eq!(codes(&pair.send_in_pieces(&["nobody", "bob"], &content, 4096)), [550, 250]);
    assert!(pair.server.seen.letters[0].1 == content);
    assert!(pair.given < content.len() + limits::READ_LEN_MAX, "{}", pair.given);
}

#[test]
fn a_server_without_checkpoints_gets_large_letters_whole() {
    let content = b"0123456789abcd\r\n".repeat(17_000);
    for hidden in [&["CHECKPOINT"][..], &["SIZE"]] {
        let mut pair = Pair::new(Driven::new(onion_role()));
        pair.hidden = hidden;
        assert_eq!(codes(&pair.send_in_pieces(&["bob"], &content, 4096)), [250]);
        assert!(pair.server.seen.letters[0].1 == content && pair.server.seen.suspended.is_empty());
    }
}

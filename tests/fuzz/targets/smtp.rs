//! SMTP: a caller's bytes at both ports, a server's replies to us, addresses, SASL exchanges.
//!
//! The test persons, keys and cookies are those of the traces, so that their proofs and passwords hold here.

use super::pieces;
use crate::corpus::{onion, traces};
use crate::engine::{Target, sum};
use ed25519_dalek::{Signer as _, SigningKey};
use onion::OnionAddress;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::letter::{LetterId, Recipients};
use onionskin::model::policy::OwnNames;
use onionskin::model::seal::PrekeyId;
use onionskin::protocol::sasl::{Entropy, Exchange, Mechanism, Progress, Verifier};
use onionskin::protocol::smtp::client::{self, Client, Outgoing, Prove};
use onionskin::protocol::smtp::server::{self, Envelope, Role, Server};
use onionskin::protocol::smtp::{HeldLetter, Reply, ReversePath, limits};
use rand::rngs::StdRng;

pub(super) fn targets() -> Vec<Target> {
    let server =
        |name, seeds, run| Target { name, seeds, words: COMMANDS, run, brief: 4000, len_max: 16 * 1024 };
    vec![
        server("smtp-onion", || traces("smtp", "onion", ["C: ", "c: "]), at_onion),
        server("smtp-drop", || traces("smtp", "drop", ["C: ", "c: "]), at_drop),
        server("smtp-submission", || traces("smtp", "submission", ["C: ", "c: "]), at_submission),
        Target {
            name: "smtp-client",
            seeds: || traces("smtp", "client", ["S: ", "s: "]),
            words: REPLIES,
            run: as_client,
            brief: 2000,
            len_max: 16 * 1024,
        },
        Target {
            name: "address",
            seeds: addresses,
            words: COMMANDS,
            run: address,
            brief: 20_000,
            len_max: 1024,
        },
        Target { name: "sasl", seeds: exchanges, words: SASL, run: sasl, brief: 4000, len_max: 4096 },
    ]
}

const COMMANDS: &[&str] = &[
    "EHLO x\r\n",
    "HELO x\r\n",
    "MAIL FROM:<>\r\n",
    "MAIL FROM:<bob@",
    "RCPT TO:<bob@",
    "RCPT TO:<Postmaster>\r\n",
    "DATA\r\n",
    "BDAT 5\r\n",
    "BDAT 3 LAST\r\n",
    "BDAT 0 LAST\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "ETRN ",
    "CARD\r\n",
    "CARD 7\r\n",
    "CARD ",
    " SIZE=3 BODY=SEALED KEY=0123456789abcdef\r\n",
    "MAIL FROM:<> SIZE=3 BODY=SEALED KEY=0123456789abcdef LETTER=1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d TOKEN=",
    "RCPT TO:<m0123456789abcdef@",
    "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a000002e002823d26f9d802c38545c3584b531a5aea",
    "RECALL 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d ",
    "HELD\r\n",
    "HELD 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\r\n",
    "TAKE 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 0 262144\r\n",
    "TAKE 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 3 9\r\n",
    "DROP 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\r\n",
    "REVOKE 730 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e\r\n",
    " BODY=SEALED",
    " KEY=",
    "AUTH PLAIN ",
    "AUTH SCRAM-SHA-256 ",
    "AUTH ONION-ED25519 ",
    " SIZE=",
    " BODY=8BITMIME",
    " SMTPUTF8",
    " LETTER=1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d",
    " TRANSID=<1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d@",
    " LAST",
    ".onion",
    "+tag",
    "From: x\r\n\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "\r.\r",
    "AGJvYgBzZWNyZXQ=\r\n",
    "*\r\n",
    "VRFY x\r\n",
    "GET / HTTP/1.1\r\n",
];
const REPLIES: &[&str] = &[
    "220 x\r\n",
    "250 x\r\n",
    "250-x\r\n",
    "250-PIPELINING\r\n",
    "250-CHUNKING\r\n",
    "250-8BITMIME\r\n",
    "250-SIZE 5\r\n",
    "250-SIZE 0\r\n",
    "250-SMTPUTF8\r\n",
    "250-CHECKPOINT\r\n",
    "355 16 is the transaction offset\r\n",
    "355 262208 x\r\n",
    "250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\r\n",
    "250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 CARD SEALED\r\n",
    "250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 DROP\r\n",
    "250-2.0.0 Card\r\n",
    "250-2.0.0 RECEIPT YWJj\r\n",
    "250 2.0.0 RECEIPT ZGVm\r\n",
    "250-YWJj\r\n",
    "250 YWI=\r\n",
    "250 2.0.0 Nothing newer\r\n",
    "450 4.7.5 x\r\n",
    "235 2.7.0 x\r\n",
    "354 x\r\n",
    "421 x\r\n",
    "451 4.3.0 x\r\n",
    "550 5.1.1 x\r\n",
    "503 x\r\n",
    "221 x\r\n",
    "999 x\r\n",
    "25",
    "250",
];
const SASL: &[&str] = &[
    "n,,",
    "y,,",
    "p=tls-unique,,",
    "n=bob",
    "r=",
    "c=biws",
    "p=",
    ",",
    "=2C",
    "=3D",
    "\0",
    "bob",
    "secret",
    "m=x",
    "a=bob",
];

/// Every letter that is held.
const KEPT: &[u8] = b"age-encryption.org/v1\r\n";
/// What is here of each letter whose id is odd.
const HELD: &[u8] = b"From: x\r";
/// So many things a client is given to do, and this one is CARD.
const WORKS: usize = 6;
const ASK: usize = 3;
/// Larger than what is sent without waiting for the recipients: its checkpoint is asked for.
const LARGE_LETTER_LEN: u64 = limits::EAGER_LEN_MAX + 64;

/// What a server's driver was told.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    sent: Vec<u8>,
    letters: Vec<(Envelope, Vec<u8>)>,
    begun: usize,
    discarded: usize,
    suspended: Vec<Vec<u8>>,
    proved: Vec<OnionAddress>,
    etrns: Vec<OnionAddress>,
    /// Who asked for what is held.
    collectors: Vec<OnionAddress>,
    users: Vec<String>,
}

fn local(name: &str) -> LocalPart {
    LocalPart::parse(name).expect("a plain word is a local part")
}

fn names() -> OwnNames {
    OwnNames::new(onion(2), [local("bob")]).expect("one name is enough")
}

fn at_onion(wire: &[u8], rng: &mut StdRng) -> u64 {
    at_port(|| Role::Onion { names: names(), cookie: [0xc0; 16] }, wire, rng)
}

fn at_submission(wire: &[u8], rng: &mut StdRng) -> u64 {
    at_port(
        || Role::Submission { names: names(), seed: [5; 32], decoy: [6; 32], others: Vec::new() },
        wire,
        rng,
    )
}

fn at_drop(wire: &[u8], rng: &mut StdRng) -> u64 {
    at_port(|| Role::Drop { onion: onion(3), cookie: [0xc0; 16] }, wire, rng)
}

/// The same is heard, kept and answered however the bytes are split, and nothing is kept that may not be.
fn at_port(role: fn() -> Role, wire: &[u8], rng: &mut StdRng) -> u64 {
    let whole = hear(role(), &wire.chunks(limits::READ_LEN_MAX).collect::<Vec<_>>());
    let split = hear(role(), &pieces(wire, limits::READ_LEN_MAX, rng));
    assert_eq!(whole, split, "the answer depends on how the bytes were split");
    assert_eq!(whole.begun, whole.discarded + whole.suspended.len() + whole.letters.len());
    let text = std::str::from_utf8(&whole.sent).expect("replies are ASCII");
    let commands = wire.iter().filter(|byte| **byte == b'\n').count();
    assert!(text.len() <= 1024 * (commands + 4), "{} bytes answer {commands} lines", text.len());
    assert!(text.split_terminator("\r\n").all(|line| line.len() <= 510 && line.is_ascii()));
    let is_onion = matches!(role(), Role::Onion { .. });
    let is_drop = matches!(role(), Role::Drop { .. });
    assert!(whole.collectors.iter().all(|who| whole.proved.contains(who)), "collected without a proof");
    for (envelope, content) in &whole.letters {
        assert!(envelope.letter.is_none() || envelope.proved.is_some() || is_drop);
        assert!(envelope.deposit.is_some() == is_drop);
        assert!(!is_drop || envelope.proved.is_none() && envelope.from == ReversePath::Null);
        assert!(envelope.held == 0 || envelope.letter.is_some() && content.starts_with(HELD));
        if envelope.sealed.is_some() {
            assert!((is_onion || is_drop) && envelope.recipients.as_slice().len() == 1 && !envelope.utf8);
            assert_eq!(envelope.size_hint, Some(content.len() as u64), "not as many bytes as SIZE said");
            continue;
        }
        let lines = content.split(|byte| *byte == b'\n');
        assert!(lines.rev().skip(1).all(|line| line.ends_with(b"\r")), "a bare LF was kept");
        let carriage = |at: &usize| content[*at] == b'\r' && content.get(at + 1) != Some(&b'\n');
        assert!(
            !(0..content.len()).any(|at| carriage(&at) || content[at] == 0),
            "a bare CR or a NUL was kept"
        );
        // Whoever else reads here shares no letter, and is somebody whom the driver has said to know.
        let to = envelope.recipients.as_slice();
        let reads_here = |to: &MailAddress| to.onion == onion(2) && to.local.as_str().len() % 2 == 1;
        let reads_here = matches!(to, [only] if reads_here(only));
        assert!(!is_onion || to.iter().all(|to| names().owns(to)) || reads_here, "a relay");
        assert!(is_onion || envelope.user.is_some(), "submission without a login");
        if let (Some(proved), ReversePath::Onion(from)) = (envelope.proved, &envelope.from) {
            assert_eq!(from.onion, proved, "the sender is of another onion than the one that was proved");
        }
    }
    assert!(whole.users.iter().all(|user| user == "bob"));
    assert!(whole.etrns.iter().all(|asked| whole.proved.contains(asked)));
    let suspended = whole.suspended.len().min(3);
    sum((codes(text), whole.letters.len().min(3), whole.discarded.min(3), suspended, whole.proved.len()))
}

/// The codes that were said, the same code once in a row.
fn codes(text: &str) -> Vec<String> {
    let mut codes: Vec<String> = text.lines().map(|line| line.chars().take(9).collect()).collect();
    codes.dedup();
    codes.truncate(12);
    codes
}

fn hear(role: Role, wire: &[&[u8]]) -> Seen {
    let mut server = Server::new(server::Config { size_max: 8192, role });
    let mut seen = Seen::default();
    let mut open: Option<(Envelope, Vec<u8>)> = None;
    let mut held: Option<&[u8]> = None;
    let mut rest = wire.iter();
    loop {
        match server.next() {
            server::Step::Send(bytes) => seen.sent.extend(bytes),
            server::Step::Read(_) => match rest.next() {
                Some(piece) => server.feed(piece).expect("it asked for no more than that"),
                None => server.eof(),
            },
            server::Step::Close => break,
            server::Step::Login(login) => {
                let known = login.user() == "bob";
                let verifier = Verifier::from_password("secret", b"0123456789abcdef", 1);
                login.answer(if known { std::slice::from_ref(&verifier) } else { &[] });
            }
            server::Step::LoggedIn { user, .. } => seen.users.push(user),
            server::Step::Proved(onion) => seen.proved.push(onion),
            server::Step::Etrn(onion) => seen.etrns.push(onion),
            server::Step::Card(asked) => match asked.known() {
                Some(known) if known >= 7 => asked.answer(None),
                Some(6) => asked.refuse(Reply::new(550, 5, 1, "none")),
                _ => asked.answer(Some(b"a Card")),
            },
            server::Step::Checkpoint(checkpoint) => {
                let sending = checkpoint.sending();
                let anonymous = matches!(sending.from, server::Bringer::Token(_));
                let fits = (sending.sealed.is_none() || anonymous) && sending.size >= HELD.len() as u64;
                let here = if fits && sending.letter.0[0] % 2 == 1 { HELD } else { &[] };
                let (len, after_cr) = (here.len() as u64, !here.is_empty());
                checkpoint.answer(Some(server::Held { len, after_cr }));
                assert!(held.replace(here).is_none(), "two letters at once");
            }
            server::Step::Recipient(asked) if asked.to().local.as_str().len() % 2 == 0 => asked.nobody(),
            server::Step::Recipient(asked) => asked.take(),
            server::Step::Deposit(asked) if asked.deposit().token.class == 0 => {
                asked.refuse(Reply::new(552, 3, 4, "too large"));
            }
            server::Step::Deposit(asked) => asked.take(),
            server::Step::Held(asked) => {
                seen.collectors.push(asked.who());
                let (letter, key) = (LetterId([0x1d; 16]), PrekeyId([1; 8]));
                let held = HeldLetter { letter, size: KEPT.len() as u64, key, token: None };
                let more = asked.after().is_none();
                asked.answer(&[held], more);
            }
            server::Step::Take(asked) => {
                seen.collectors.push(asked.who());
                let take = asked.take();
                let at = usize::try_from(take.offset).unwrap_or(usize::MAX).min(KEPT.len());
                asked.answer(&KEPT[at..KEPT.len().min(at + take.max)]);
            }
            server::Step::Drop(asked) => {
                seen.collectors.push(asked.who());
                assert!((1..=limits::DROP_LETTERS_MAX).contains(&asked.letters().len()));
                asked.done();
            }
            server::Step::Revoke(asked) => {
                seen.collectors.push(asked.who());
                assert!((1..=limits::DROP_LETTERS_MAX).contains(&asked.revoked().nonces.len()));
                asked.done();
            }
            server::Step::Recall(asked) if asked.token().class == 0 => {
                asked.refuse(Reply::new(550, 7, 1, "no"));
            }
            server::Step::Recall(asked) => asked.done(),
            server::Step::Begin(begin) if begin.envelope().sealed.is_some_and(|key| key.0[0] % 2 == 0) => {
                begin.refuse(Reply::STALE_KEY);
            }
            server::Step::Begin(begin) => {
                seen.begun += 1;
                let envelope = begin.accept();
                let here = held.take().unwrap_or_default();
                assert_eq!(envelope.held, here.len() as u64);
                assert!(open.replace((envelope, here.to_vec())).is_none(), "two letters at once");
            }
            server::Step::Body(content) => {
                assert!(!content.is_empty() && content.len() <= limits::READ_LEN_MAX);
                open.as_mut().expect("content only of a begun letter").1.extend(content);
            }
            server::Step::Finish(finish) => {
                finish.accept_with(
                    open.as_ref().and_then(|(envelope, _)| envelope.sealed).map(|_| &b"kept"[..]),
                );
                seen.letters.push(open.take().expect("only a begun letter is finished"));
            }
            server::Step::Discard => {
                let begun = open.take().is_some();
                assert!(begun || held.take().is_some(), "only a begun letter is discarded");
                seen.discarded += usize::from(begun);
            }
            server::Step::Suspend => {
                let begun = open.take();
                assert!(begun.is_some() || held.take().is_some(), "only a checkpoint is suspended");
                seen.suspended.extend(begun.map(|(_, content)| content));
            }
        }
    }
    assert!(open.is_none(), "a letter was neither finished nor discarded");
    seen
}

/// Whatever a server says, in whatever pieces: the client comes to an end, and tells the same.
fn as_client(said: &[u8], rng: &mut StdRng) -> u64 {
    // Of a large letter that is refused in its midst as much was sent as had gone when the refusal was heard.
    let large = said.len().is_multiple_of(8);
    let first = said.len() / 8;
    let size = if large { LARGE_LETTER_LEN } else { 20 };
    let whole = client_hears(&said.chunks(limits::READ_LEN_MAX).collect::<Vec<_>>(), first, size);
    let split = client_hears(&pieces(said, limits::READ_LEN_MAX, rng), first, size);
    assert!(large || whole == split, "what the client does depends on how the replies were split");
    for (sent, _) in [&whole, &split] {
        assert!(sent.len() < 64 * 1024 + WORKS * size as usize);
    }
    let told: Vec<String> = whole.1.iter().map(|told| told.chars().take(40).collect()).collect();
    sum((told, super::class(whole.0.len())))
}

/// Gives the client one thing to do after another, each as soon as the last one is answered, so that what was heard
/// may answer it too.
fn client_hears(said: &[&[u8]], first: usize, size: u64) -> (Vec<u8>, Vec<String>) {
    let sign = |bytes: &[u8]| SigningKey::from_bytes(&[1; 32]).sign(bytes).to_bytes();
    let prove = Prove { own: onion(1), cookie: [0xa0; 16], sign: Box::new(sign) };
    let mut client =
        Client::new(client::Config { server: onion(2), hello: onion(1).host(), prove: Some(prove) });
    let to = |name| MailAddress { local: local(name), onion: onion(2) };
    let letter = |size| Outgoing {
        from: ReversePath::Onion(MailAddress { local: local("ann"), onion: onion(1) }),
        recipients: Recipients::new([to("bob"), to("nobody")]).expect("two are some"),
        id: LetterId([0x1d; 16]),
        size,
        eight_bit: false,
        utf8_header: false,
        sealed: None,
        token: None,
        ask_card: None,
    };
    let sealed = |size| Outgoing {
        recipients: Recipients::new([to("bob")]).expect("one is some"),
        sealed: Some(PrekeyId([1; 8])),
        ask_card: Some(6),
        ..letter(size)
    };
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    let mut work = first;
    let begin = |client: &mut Client, work: usize| {
        // An answer may have been the session's last.
        let _ = match work % WORKS {
            _ if work == first + WORKS => return,
            ASK => client.ask_card(Some(6)),
            0 | 1 => client.letter(sealed(size)),
            2 => client.etrn(),
            _ => client.letter(letter(size)),
        };
    };
    begin(&mut client, work);
    let mut rest = said.iter();
    for _ in 0..100_000 {
        match client.next() {
            client::Step::Send(bytes) => sent.extend(bytes),
            client::Step::Read(_) => match rest.next() {
                Some(piece) => client.feed(piece).expect("it asked for no more than that"),
                None => client.eof(),
            },
            client::Step::Idle => match rest.next() {
                Some(piece) => client.feed(piece).expect("it may be fed at any time"),
                None => client.quit(),
            },
            client::Step::WantBody { at, max } => {
                let line = b"..3456789abcde\r\n".iter().cycle().skip(usize::try_from(at % 16).unwrap_or(0));
                client.body(&line.take(max).copied().collect::<Vec<_>>()).expect("it was asked for");
            }
            client::Step::Close => return (sent, told),
            step => {
                // The Card that a letter asked for is not the letter's answer.
                let beside = matches!(step, client::Step::Card(_)) && work % WORKS != ASK;
                let failed = matches!(step, client::Step::Failed(_));
                told.push(format!("{step:?}"));
                if !beside && !failed {
                    work += 1;
                    begin(&mut client, work);
                }
            }
        }
    }
    panic!("the client does not come to an end");
}

fn addresses() -> Vec<Vec<u8>> {
    let host = onion(1).host();
    let all = [
        format!("ann@{host}"),
        format!("ann+tag@{host}"),
        format!("\"a b\"@{host}"),
        host.to_uppercase(),
        host.clone(),
        format!("ann@sub.{host}"),
        "ann@example.org".to_owned(),
        format!("ann@{host}."),
        format!("<ann@{host}>"),
    ];
    all.into_iter().map(String::into_bytes).collect()
}

/// What is parsed is written so that it parses to the same; what is not an onion address never becomes one.
fn address(input: &[u8], _: &mut StdRng) -> u64 {
    let text = String::from_utf8_lossy(input);
    let onion = OnionAddress::parse(&text);
    if let Ok(onion) = &onion {
        assert_eq!(OnionAddress::parse(&onion.host()).as_ref(), Ok(onion));
        assert_eq!(OnionAddress::from_public_key(*onion.public_key()).as_ref(), Ok(onion));
        assert!(text.to_ascii_lowercase().contains(onion.host().trim_end_matches(".onion")));
    }
    let mail = MailAddress::parse(&text);
    if let Ok(mail) = &mail {
        assert_eq!(MailAddress::parse(&mail.full()).as_ref(), Ok(mail));
        assert!(mail.full().len() <= 256 && !mail.full().contains(char::is_control), "{}", mail.full());
    }
    let part = LocalPart::parse(&text);
    if let Ok(part) = &part {
        assert_eq!(LocalPart::parse(part.as_str()).as_ref(), Ok(part));
        assert!(!part.as_str().contains(['@', '\r', '\n', '\0', '<', '>']));
    }
    let kind =
        |error: String| error.chars().filter(|letter| letter.is_alphabetic()).take(30).collect::<String>();
    sum((
        onion.map_err(|error| kind(error.to_string())).is_ok(),
        mail.map(drop).map_err(|error| kind(error.to_string())),
        part.map(drop).map_err(|error| kind(error.to_string())),
    ))
}

/// Responses, one a line; the first line names the mechanism.
fn exchanges() -> Vec<Vec<u8>> {
    let all: [&[u8]; 6] = [
        b"PLAIN\n\0bob\0secret",
        b"PLAIN\nbob\0bob\0wrong",
        b"SCRAM-SHA-256\nn,,n=bob,r=abc\nc=biws,r=abcdef,p=AAAA",
        b"SCRAM-SHA-256\ny,a=bob,n=bob,r=abc\n",
        b"SCRAM-SHA-256\np=tls-unique,,n=bob,r=abc\n",
        b"SCRAM-SHA-256\nn,,n=b=2Cob,r=a\n",
    ];
    all.map(<[u8]>::to_vec).to_vec()
}

/// Nobody is let in who does not say the password.
fn sasl(input: &[u8], _: &mut StdRng) -> u64 {
    let mut lines = input.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mechanism = if first.starts_with(b"PLAIN") { Mechanism::Plain } else { Mechanism::ScramSha256 };
    let mut exchange = Exchange::new(mechanism, Entropy { nonce: [7; 24], decoy: [6; 32] });
    let verifier = Verifier::from_password("secret", b"0123456789abcdef", 1);
    let mut steps = Vec::new();
    for line in lines.take(8) {
        let mut progress = exchange.respond(line);
        if let Progress::Lookup(user) = &progress {
            assert!(user.len() <= 1024);
            let known = user == "bob";
            progress = exchange.found(if known { std::slice::from_ref(&verifier) } else { &[] });
        }
        match progress {
            Progress::Challenge(challenge) => {
                assert!(challenge.len() <= 8192 && challenge.is_ascii() && !challenge.contains(&b'\n'));
                steps.push(b'c');
            }
            Progress::Accepted { user, verifier } => {
                assert!(user == "bob" && verifier == 0);
                // SCRAM's proof cannot be drawn; PLAIN's password was in the seed.
                assert!(line.windows(6).any(|word| word == b"secret"), "let in without the password");
                steps.push(b'a');
            }
            Progress::Rejected => steps.push(b'r'),
            Progress::Lookup(_) => panic!("asked twice"),
        }
    }
    sum(steps)
}

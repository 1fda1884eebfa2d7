//! IMAP: a mail program's bytes, from the first one; commands, mailbox names, patterns, sets.

use super::pieces;
use crate::corpus::traces;
use crate::engine::{Target, sum};
use onionskin::protocol::imap::command::Command;
use onionskin::protocol::imap::conversation::{Conversation, State, Step};
use onionskin::protocol::imap::name::{self, MailboxName};
use onionskin::protocol::imap::parse;
use onionskin::protocol::imap::pattern::Pattern;
use onionskin::protocol::imap::search::{Facts, HeaderText, Query};
use onionskin::protocol::imap::{limits, respond};
use rand::rngs::StdRng;

pub(super) fn targets() -> Vec<Target> {
    let seeds = || traces("imap", "", ["C: ", "c: "]);
    vec![
        Target { name: "imap-wire", seeds, words: WORDS, run: wire, brief: 4000, len_max: 16 * 1024 },
        Target {
            name: "imap-command",
            seeds: commands,
            words: WORDS,
            run: command,
            brief: 30_000,
            len_max: 4096,
        },
        Target {
            name: "imap-name",
            seeds: names,
            words: &["&", "-", "/", "INBOX", "&AOQ-"],
            run: mailbox,
            brief: 20_000,
            len_max: 600,
        },
    ]
}

const WORDS: &[&str] = &[
    "a NOOP\r\n",
    "b CAPABILITY\r\n",
    "c LOGIN me secret\r\n",
    "d SELECT INBOX\r\n",
    "e FETCH 1:* (FLAGS ENVELOPE)\r\n",
    "f UID FETCH 1 BODY[1.2.MIME]<0.5>\r\n",
    "g SEARCH OR SEEN NOT TEXT x\r\n",
    "h APPEND INBOX (\\Seen) {5}\r\n",
    "h APPEND INBOX {5+}\r\n",
    "i IDLE\r\n",
    "DONE\r\n",
    "j AUTHENTICATE PLAIN\r\n",
    "k LOGOUT\r\n",
    "l STORE 1 +FLAGS (\\Deleted)\r\n",
    "m LIST \"\" %\r\n",
    "{3}\r\n",
    "{3+}\r\n",
    "BODY.PEEK[",
    "HEADER.FIELDS (From To)",
    "]",
    "UID ",
    "CHARSET UTF-8 ",
    "RETURN (ALL COUNT) ",
    "1-Feb-2026",
    "\"1-Feb-2026 10:00:00 +0000\"",
    "\\Answered",
    "$Junk",
    "1:*,3,*:5",
    "STATUS INBOX (MESSAGES UIDNEXT)",
    "RENAME a b",
    "&AOQ-",
    "KEYWORD x ",
    "HEADER x y",
    "LARGER 5 ",
    "=\r\n",
];

/// What the driver was told, in words, and what the client was.
type Heard = (Vec<u8>, Vec<String>);

/// The same is understood and answered however the bytes are split; what is held and said stays within limits.
fn wire(input: &[u8], rng: &mut StdRng) -> u64 {
    let whole = hear(&input.chunks(limits::READ_LEN).collect::<Vec<_>>());
    let split = hear(&pieces(input, limits::READ_LEN, rng));
    assert_eq!(whole.1, split.1, "what is understood depends on how the bytes were split");
    assert_eq!(String::from_utf8_lossy(&whole.0), String::from_utf8_lossy(&split.0));
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    assert!(
        whole.0.len() <= 1024 * (lines + 4) + 2 * input.len(),
        "{} bytes answer {lines} lines",
        whole.0.len()
    );
    let said = String::from_utf8_lossy(&whole.0);
    let mut kinds: Vec<String> =
        said.lines().map(|line| line.chars().skip_while(|c| *c != ' ').take(24).collect()).collect();
    kinds.dedup();
    kinds.truncate(12);
    let mut steps: Vec<String> = whole.1.iter().map(|step| step.chars().take(10).collect()).collect();
    steps.dedup();
    steps.truncate(12);
    sum((kinds, steps))
}

fn hear(wire: &[&[u8]]) -> Heard {
    let mut talk = Conversation::new();
    let (mut said, mut told, mut letter) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = wire.iter();
    loop {
        let step = talk.next_step();
        if let Step::AppendPiece(piece) = &step {
            // Pieces are cut where the reads were; together they are the same.
            letter.extend_from_slice(piece);
            continue;
        }
        if step != Step::Read && !letter.is_empty() {
            told.push(format!("letter {}", letter.escape_ascii()));
            letter.clear();
        }
        match &step {
            Step::Read => {
                said.append(talk.output());
                match rest.next() {
                    Some(piece) => talk.feed(piece),
                    None => break,
                }
                continue;
            }
            Step::Close => {
                said.append(talk.output());
                told.push("close".to_owned());
                break;
            }
            _ => answer(&mut talk, &step),
        }
        told.push(format!("{step:?}"));
    }
    (said, told)
}

/// Says yes to everything that a driver decides.
fn answer(talk: &mut Conversation, step: &Step) {
    match step {
        Step::Run(tag, Command::Login { .. }) => {
            talk.enter(State::Authenticated);
            talk.reply(tag, "OK");
        }
        Step::Run(tag, Command::Select { .. }) => {
            talk.enter(State::Selected);
            talk.reply(tag, "OK");
        }
        Step::Run(tag, Command::Idle) => talk.idle(tag.clone()),
        Step::Run(tag, _) | Step::AppendEnd(tag) | Step::IdleEnd(tag) => talk.reply(tag, "OK"),
        Step::SaslStart(tag, _, None) => talk.challenge(tag.clone(), b"more"),
        Step::SaslStart(tag, _, Some(_)) | Step::SaslResponse(tag, _) => talk.login_failed(tag),
        Step::AppendStart(tag, _) => talk.accept_append(tag.clone()),
        Step::AppendCancel | Step::Read | Step::Close | Step::AppendPiece(_) => {}
    }
}

/// The lines of the traces, one by one.
fn commands() -> Vec<Vec<u8>> {
    let whole = traces("imap", "", ["C: ", "c: "]).concat();
    whole
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii_end().to_vec())
        .filter(|line| !line.is_empty())
        .collect()
}

/// A command is read within its limits, and a search can be put to a message.
fn command(input: &[u8], _: &mut StdRng) -> u64 {
    let parsed = parse::command(input);
    let _append = parse::append(input, 5);
    if let Ok((tag, command)) = &parsed {
        assert!(!tag.is_empty() && tag.len() <= limits::TAG_LEN_MAX && input.starts_with(tag.as_bytes()));
        if let Command::Search(_, key, _) = command {
            let query = Query::new(key.clone(), 9, 90);
            let header = HeaderText::new(b"Subject: x\r\nDate: Sun, 1 Feb 2026 10:00:00 +0000\r\n\r\n");
            let mut found = query.nothing_found();
            query.look("some text with secret", &mut found);
            let flags = Default::default();
            let facts = Facts {
                sequence: 1,
                uid: 5,
                flags: &flags,
                recent: false,
                internal_date: 1_769_936_400,
                size: 100,
                header: Some(&header),
                found: Some(&found),
            };
            assert!(query.matches(&facts).is_some(), "everything is known, and yet there is no answer");
        }
    }
    let words = format!("{parsed:?}");
    let shape: String =
        words.chars().filter(|letter| letter.is_alphabetic() || "({[".contains(*letter)).take(160).collect();
    sum(shape)
}

fn names() -> Vec<Vec<u8>> {
    ["INBOX", "a/b/c", "&AOQ-&ZeVnLIqe-", "A&-B", "a%*b", "~peter/mail/&U,BTFw-", "../x"]
        .map(|name| name.as_bytes().to_vec())
        .to_vec()
}

/// A name is written so that it reads the same; a pattern comes to an end, and a name matches itself.
fn mailbox(input: &[u8], _: &mut StdRng) -> u64 {
    let name = MailboxName::from_wire(input);
    if let Ok(name) = &name {
        assert_eq!(MailboxName::from_wire(name.to_wire().as_bytes()).as_ref(), Ok(name));
        assert!(
            name.as_str().len() <= limits::MAILBOX_NAME_LEN_MAX
                && !name.as_str().contains(['\0', '\r', '\n'])
        );
        let mut out = Vec::new();
        respond::mailbox(&mut out, name.as_str());
        assert!(!out.contains(&b'\n') && Pattern::new(name.to_wire().as_bytes()).matches(&name.to_wire()));
    }
    if let Some(text) = name::decode(input) {
        assert_eq!(name::decode(name::encode(&text).as_bytes()).as_ref(), Some(&text));
    }
    let pattern = Pattern::new(input);
    let matches = ["INBOX", "a/b/c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/b", "Sent"]
        .map(|name| pattern.matches(name));
    sum((name.map(|name| super::class(name.as_str().len())).map_err(|error| error.to_string()), matches))
}

//! One client's conversation: bytes in, steps out; no socket, no clock, no store.
//!
//! Decides what may be said in which state, when a literal is let in, and what ends the connection. The driver carries
//! out each step and answers it before it asks for the next; so commands run one after the other, in order.
//!
//! | state | commands |
//! |---|---|
//! | not authenticated | CAPABILITY NOOP LOGOUT ID, LOGIN, AUTHENTICATE |
//! | authenticated | the same without the logins, and all on mailboxes |
//! | selected | the same, and all on messages |

use crate::protocol::imap::command::{Append, Command, Tag};
use crate::protocol::imap::frame::{Announcement, Frame, FrameLimits, Framer};
use crate::protocol::imap::limits::{
    APPEND_LEN_MAX, BAD_COMMANDS_MAX, COMMAND_LEN_MAX, FAILED_LOGINS_MAX, LINE_LEN_MAX,
    LINE_LEN_MAX_BEFORE_LOGIN, LITERAL_LEN_MAX, LITERAL_LEN_MAX_BEFORE_LOGIN,
};
use crate::protocol::imap::parse::{self, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the driver has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send what is in the output, then read and `feed`.
    Read,
    /// Carry out a command that is allowed now, and answer it with `reply`.
    Run(Tag, Command),
    /// A SASL exchange begins. Answer with `challenge` or `reply`.
    SaslStart(Tag, String, Option<Vec<u8>>),
    /// The client's answer to a challenge. Answer with `challenge` or `reply`.
    SaslResponse(Tag, Vec<u8>),
    /// An APPEND begins: answer with `accept_append` or `refuse_append`.
    AppendStart(Tag, Append),
    /// A piece of the letter that was accepted.
    AppendPiece(Vec<u8>),
    /// The letter is complete, and so is its command: make it durable, then `reply`.
    AppendEnd(Tag),
    /// What was sent after the letter is no end of a command: throw the letter away; the answer is already given.
    AppendCancel,
    /// The client ended IDLE: `reply`.
    IdleEnd(Tag),
    /// Send what is in the output and close.
    Close,
}

/// How far the client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody yet.
    NotAuthenticated,
    /// Logged in.
    Authenticated,
    /// A mailbox is selected.
    Selected,
}

/// What kind of bytes come next.
#[derive(Debug, Clone, PartialEq)]
enum Expect {
    Command,
    SaslLine(Tag),
    /// The driver is deciding about an APPEND.
    AppendDecision(Announcement),
    /// The letter of an APPEND; not wanted any more if there is no tag.
    Letter(Option<Tag>),
    /// The rest of the APPEND's command line.
    AfterLetter(Option<Tag>),
    /// The end of IDLE.
    Done(Tag),
    Closed,
}

/// The machine.
#[derive(Debug)]
pub struct Conversation {
    framer: Framer,
    output: Vec<u8>,
    state: State,
    expect: Expect,
    bad_commands: u32,
    failed_logins: u32,
}

impl Conversation {
    /// A new conversation; its output starts with the greeting.
    pub fn new() -> Self {
        let capabilities = crate::protocol::imap::respond::CAPABILITIES_BEFORE_LOGIN;
        Self {
            framer: Framer::new(),
            output: format!("* OK [CAPABILITY {capabilities}] Onionskin\r\n").into_bytes(),
            state: State::NotAuthenticated,
            expect: Expect::Command,
            bad_commands: 0,
            failed_logins: 0,
        }
    }

    /// Takes bytes from the client.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.framer.feed(bytes);
    }

    /// Bytes for the client, in order.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Adds an untagged line, without its `* ` and line end.
    pub fn untagged(&mut self, line: &str) {
        self.output.extend_from_slice(format!("* {line}\r\n").as_bytes());
    }

    /// Ends a command: `line` starts with OK, NO or BAD.
    pub fn reply(&mut self, tag: &str, line: &str) {
        self.output.extend_from_slice(format!("{tag} {line}\r\n").as_bytes());
        if matches!(self.expect, Expect::SaslLine(_)) {
            self.expect = Expect::Command;
        }
    }

    /// How far the client has come.
    pub fn state(&self) -> State {
        self.state
    }

    /// Records a login, a SELECT, or the end of one.
    pub fn enter(&mut self, state: State) {
        self.state = state;
    }

    /// Records and answers a failed login; after the last permitted one the conversation closes.
    pub fn login_failed(&mut self, tag: &str) {
        self.reply(tag, "NO [AUTHENTICATIONFAILED] wrong user or password");
        self.failed_logins += 1;
        if self.failed_logins >= FAILED_LOGINS_MAX {
            self.bye("too many failed logins");
        }
    }

    /// Sends a SASL challenge and expects a line.
    pub fn challenge(&mut self, tag: Tag, challenge: &[u8]) {
        self.output.extend_from_slice(format!("+ {}\r\n", STANDARD.encode(challenge)).as_bytes());
        self.expect = Expect::SaslLine(tag);
    }

    /// Enters IDLE: sends the continuation; the next line must be DONE.
    pub fn idle(&mut self, tag: Tag) {
        self.output.extend_from_slice(b"+ idling\r\n");
        self.expect = Expect::Done(tag);
    }

    /// True while IDLE lasts, so that changes may be told at any time.
    pub fn is_idle(&self) -> bool {
        matches!(self.expect, Expect::Done(_))
    }

    /// Lets the letter of an APPEND in.
    pub fn accept_append(&mut self, tag: Tag) {
        let Expect::AppendDecision(announcement) = self.expect else { return };
        if !announcement.non_sync {
            self.output.extend_from_slice(b"+ go ahead\r\n");
        }
        self.framer.hand_out_literal(announcement);
        self.expect = Expect::Letter(Some(tag));
    }

    /// Answers an APPEND before its letter was sent. A letter that comes all the same is skipped.
    pub fn refuse_append(&mut self, tag: &str, line: &str) {
        let Expect::AppendDecision(announcement) = self.expect else { return };
        self.reply(tag, line);
        self.skip_literal(announcement);
    }

    /// Answers an APPEND in the middle of its letter, whose rest is skipped.
    pub fn fail_append(&mut self, tag: &str, line: &str) {
        self.reply(tag, line);
        if let Expect::Letter(wanted) = &mut self.expect {
            *wanted = None;
        }
    }

    /// Says good-bye and closes.
    pub fn bye(&mut self, why: &str) {
        self.untagged(&format!("BYE {why}"));
        self.expect = Expect::Closed;
    }

    /// What to do next.
    pub fn next_step(&mut self) -> Step {
        loop {
            if self.expect == Expect::Closed {
                return Step::Close;
            }
            let step = match self.framer.next(self.limits()) {
                Frame::Starved => return Step::Read,
                Frame::TooLong => {
                    self.bye("the line or command is too long");
                    None
                }
                Frame::Piece(piece) => match self.expect {
                    Expect::Letter(Some(_)) => Some(Step::AppendPiece(piece)),
                    _ => None,
                },
                Frame::PieceEnd => {
                    if let Expect::Letter(tag) = &mut self.expect {
                        self.expect = Expect::AfterLetter(tag.take());
                    }
                    None
                }
                Frame::Literal(announcement) => self.announced(announcement),
                Frame::Command(command) => self.complete(&command),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn limits(&self) -> FrameLimits {
        if self.state == State::NotAuthenticated {
            // A whole LOGIN: one line, and both arguments as literals.
            let command = LINE_LEN_MAX_BEFORE_LOGIN + 2 * LITERAL_LEN_MAX_BEFORE_LOGIN as usize;
            FrameLimits { line: LINE_LEN_MAX_BEFORE_LOGIN, command }
        } else {
            FrameLimits { line: LINE_LEN_MAX, command: COMMAND_LEN_MAX }
        }
    }

    /// A line announced a literal: is it a letter, a small argument, or too much?
    fn announced(&mut self, announcement: Announcement) -> Option<Step> {
        match &mut self.expect {
            Expect::Command => {}
            Expect::AfterLetter(tag) => {
                let tag = tag.take();
                return self.after_letter_literal(announcement, tag);
            }
            _ => {
                self.bye("a literal has no place here");
                return None;
            }
        }
        let may_append = self.state != State::NotAuthenticated;
        let append = parse::append(self.framer.collected(), announcement.len).filter(|_| may_append);
        let (tag, line) = match append {
            Some(Ok((tag, append))) if announcement.len <= APPEND_LEN_MAX => {
                self.framer.drop_command();
                self.expect = Expect::AppendDecision(announcement);
                return Some(Step::AppendStart(tag, append));
            }
            Some(Ok((tag, _))) => (Some(tag), "NO [TOOBIG] the letter is too large".to_owned()),
            Some(Err(Failure::Syntax(tag, error))) => (Some(tag), format!("BAD {error}")),
            Some(Err(_)) => (None, "BAD syntax error".to_owned()),
            None if announcement.len <= self.literal_len_max() => {
                if !announcement.non_sync {
                    self.output.extend_from_slice(b"+ go ahead\r\n");
                }
                self.framer.collect_literal(announcement);
                return None;
            }
            None => {
                let tag = parse::tag_of(self.framer.collected());
                (tag, "BAD [TOOBIG] the literal is too large".to_owned())
            }
        };
        self.reply(tag.as_deref().unwrap_or("*"), &line);
        self.count_bad_command();
        self.skip_literal(announcement);
        None
    }

    /// A client that waits for `+` sends no literal after a refusal; one that does not wait has sent it already, and
    /// it is read and thrown away if that is no more than a letter.
    fn skip_literal(&mut self, announcement: Announcement) {
        self.framer.drop_command();
        if self.expect == Expect::Closed {
            return;
        }
        if !announcement.non_sync {
            self.expect = Expect::Command;
        } else if announcement.len <= APPEND_LEN_MAX && self.state != State::NotAuthenticated {
            self.framer.hand_out_literal(announcement);
            self.expect = Expect::Letter(None);
        } else {
            self.bye("the literal is too large to skip");
        }
    }

    fn literal_len_max(&self) -> u64 {
        if self.state == State::NotAuthenticated { LITERAL_LEN_MAX_BEFORE_LOGIN } else { LITERAL_LEN_MAX }
    }

    /// A second letter in one APPEND (RFC 3502) is not supported; neither is anything else after the letter.
    fn after_letter_literal(&mut self, announcement: Announcement, tag: Option<Tag>) -> Option<Step> {
        let cancelled = tag.map(|tag| {
            self.reply(&tag, "BAD one APPEND takes one letter");
            Step::AppendCancel
        });
        self.skip_literal(announcement);
        cancelled
    }

    /// A whole line or command has arrived.
    fn complete(&mut self, command: &[u8]) -> Option<Step> {
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::SaslLine(tag) => self.sasl_line(tag, command),
            Expect::Done(tag) if parse::is_done(command) => Some(Step::IdleEnd(tag)),
            Expect::Done(tag) => {
                self.reply(&tag, "BAD expected DONE");
                self.bye("expected DONE");
                None
            }
            Expect::AfterLetter(Some(tag)) if command.trim_ascii().is_empty() => Some(Step::AppendEnd(tag)),
            Expect::AfterLetter(Some(tag)) => {
                self.reply(&tag, "BAD unexpected text after the letter");
                Some(Step::AppendCancel)
            }
            Expect::AfterLetter(None) => None,
            _ => self.command(command),
        }
    }

    fn sasl_line(&mut self, tag: Tag, line: &[u8]) -> Option<Step> {
        let line = line.trim_ascii_end();
        if line == b"*" {
            self.reply(&tag, "BAD authentication cancelled");
            return None;
        }
        match parse::decode_base64(line) {
            Some(response) => Some(Step::SaslResponse(tag, response)),
            None => {
                self.reply(&tag, "BAD the response is not base64");
                self.count_bad_command();
                None
            }
        }
    }

    fn command(&mut self, command: &[u8]) -> Option<Step> {
        let (tag, command) = match parse::command(command) {
            Ok(parsed) => parsed,
            Err(Failure::Untagged) => {
                self.untagged("BAD expected a tag and a command");
                self.count_bad_command();
                return None;
            }
            Err(Failure::Syntax(tag, error)) => {
                self.reply(&tag, &format!("BAD {error}"));
                self.count_bad_command();
                return None;
            }
            Err(Failure::Charset(tag)) => {
                self.reply(&tag, "NO [BADCHARSET (US-ASCII UTF-8)] unknown charset");
                return None;
            }
        };
        if !allowed(&command, self.state) {
            let why = match (&command, self.state) {
                (Command::Login { .. } | Command::Authenticate { .. }, _) => "already logged in",
                (_, State::NotAuthenticated) => "log in first",
                _ => "select a mailbox first",
            };
            self.reply(&tag, &format!("BAD {why}"));
            self.count_bad_command();
            return None;
        }
        self.bad_commands = 0;
        match command {
            Command::Logout => {
                self.untagged("BYE good-bye");
                self.reply(&tag, "OK logged out");
                self.expect = Expect::Closed;
                None
            }
            Command::Authenticate { mechanism, initial } => Some(Step::SaslStart(tag, mechanism, initial)),
            command => Some(Step::Run(tag, command)),
        }
    }

    fn count_bad_command(&mut self) {
        self.bad_commands += 1;
        if self.bad_commands >= BAD_COMMANDS_MAX {
            self.bye("too many bad commands");
        }
    }
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new()
    }
}

/// RFC 3501 section 3.
fn allowed(command: &Command, state: State) -> bool {
    match command {
        Command::Capability | Command::Noop | Command::Logout | Command::Id => true,
        Command::Login { .. } | Command::Authenticate { .. } => state == State::NotAuthenticated,
        Command::Check
        | Command::Close
        | Command::Unselect
        | Command::Expunge(..)
        | Command::Search(..)
        | Command::Fetch(..)
        | Command::Store(..)
        | Command::Copy { .. } => state == State::Selected,
        _ => state >= State::Authenticated,
    }
}

#[cfg(test)]
mod tests;

//! One client: takes the conversation's steps, carries them out, and answers.

use super::account::Account;
use super::append::Appending;
use super::letter::LastStructure;
use super::login::Login;
use super::selected::Selected;
use super::translate::{Answer, Stop, refuse};
use super::wire::{Gone, Wire};
use crate::face::places::Place;
use crate::node::desk::Desk;
use crate::protocol::imap::command::{Command, Numbers, Tag};
use crate::protocol::imap::conversation::{Conversation, State, Step};
use crate::protocol::imap::limits::{APPEND_TIMEOUT, CHUNK_LEN, IDLE_TIMEOUT, LOGIN_TIMEOUT};
use crate::protocol::imap::respond::CAPABILITIES_BEFORE_LOGIN;
use crate::protocol::imap::view::Tell;
use crate::store::Store;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

/// One client's session.
pub(super) struct Session<S> {
    pub(super) desk: Arc<Desk>,
    pub(super) account: Account,
    pub(super) wire: Wire<S>,
    pub(super) conversation: Conversation,
    pub(super) login: Login,
    pub(super) selected: Option<Selected>,
    pub(super) appending: Option<Appending>,
    pub(super) last_structure: LastStructure,
    pub(super) place: Place,
    changes: watch::Receiver<u64>,
    pub(super) down: watch::Receiver<bool>,
    /// Login must be over by then.
    login_by: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn new(
        desk: Arc<Desk>,
        account: Account,
        decoy: [u8; 32],
        stream: S,
        place: Place,
        down: watch::Receiver<bool>,
    ) -> Self {
        Self {
            changes: desk.store().changes(),
            desk,
            account,
            wire: Wire::new(stream),
            conversation: Conversation::new(),
            login: Login::new(decoy),
            selected: None,
            appending: None,
            last_structure: None,
            place,
            down,
            login_by: Instant::now() + LOGIN_TIMEOUT,
        }
    }

    pub(super) fn store(&self) -> &Store {
        self.desk.store()
    }

    /// Grows with every change to a mailbox.
    pub(super) fn change_counter(&mut self) -> u64 {
        *self.changes.borrow_and_update()
    }

    /// Runs to the end of the connection.
    pub(super) async fn run(mut self) -> Result<(), Gone> {
        let result = self.steps().await;
        self.leave_mailbox().await;
        result
    }

    async fn steps(&mut self) -> Result<(), Gone> {
        loop {
            match self.conversation.next_step() {
                Step::Read => self.read().await?,
                Step::Run(tag, command) => self.command(tag, command).await?,
                Step::SaslStart(tag, mechanism, initial) => self.sasl_start(tag, &mechanism, initial).await,
                Step::SaslResponse(tag, response) => self.sasl_response(tag, &response).await,
                Step::AppendStart(tag, append) => self.append_start(tag, append).await,
                Step::AppendPiece(piece) => self.append_piece(&piece).await,
                Step::AppendEnd(tag) => {
                    let answer = self.append_end().await;
                    self.finish(&tag, answer)?;
                }
                Step::AppendCancel => self.appending = None,
                Step::IdleEnd(tag) => self.conversation.reply(&tag, "OK IDLE ended"),
                Step::Close => {
                    self.flush().await?;
                    self.wire.close().await;
                    return Ok(());
                }
            }
            if self.conversation.output().len() > CHUNK_LEN {
                self.flush().await?;
            }
        }
    }

    /// Sends what is in the output.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.place.told_to_go() => Err(Gone::MadeRoom),
            written = self.wire.write(self.conversation.output()) => written,
        }
    }

    /// Sends, then waits for bytes; while the client idles, also for changes.
    async fn read(&mut self) -> Result<(), Gone> {
        self.flush().await?;
        let wait = match self.conversation.state() {
            State::NotAuthenticated => self.login_by.saturating_duration_since(Instant::now()),
            _ if self.appending.is_some() => APPEND_TIMEOUT,
            _ => IDLE_TIMEOUT,
        };
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let idle = self.conversation.is_idle() && self.selected.is_some();
            tokio::select! {
                biased;
                () = crate::face::went_down(&mut self.down) => {
                    self.conversation.bye("the node is going down");
                    return Ok(());
                }
                () = self.place.told_to_go() => {
                    self.conversation.bye("[UNAVAILABLE] too many connections, and this one was silent longest");
                    return Ok(());
                }
                bytes = self.wire.read(left) => {
                    self.place.heard();
                    match bytes? {
                        Some(bytes) => self.conversation.feed(bytes),
                        None => self.conversation.bye("nothing was said for too long"),
                    }
                    return Ok(());
                }
                changed = self.changes.changed(), if idle => {
                    // The store cannot be dropped while the desk has it.
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            self.poll(Tell::All, false).await;
            self.flush().await?;
        }
    }

    /// Ends a command with its answer, or the session with its reason.
    pub(super) fn finish(&mut self, tag: &Tag, answer: Answer) -> Result<(), Gone> {
        match answer {
            Ok(text) => self.conversation.reply(tag, &format!("OK {text}")),
            Err(Stop::Refused(line)) => {
                if line.starts_with("NO [CORRUPTION]") {
                    self.note_damage();
                }
                self.conversation.reply(tag, &line);
            }
            Err(Stop::Gone(gone)) => {
                if matches!(gone, Gone::BrokenLetter) {
                    self.note_damage();
                }
                return Err(gone);
            }
        }
        Ok(())
    }

    /// What does not pass its check does not mend itself: it is in `status` until the node is restarted.
    fn note_damage(&self) {
        let what = "a letter on the disk is damaged and cannot be read; the others can. Check the disk, and bring \
                    the directory back from a backup if the letter matters";
        self.desk.trouble.note("letters", what.to_owned());
    }

    async fn command(&mut self, tag: Tag, command: Command) -> Result<(), Gone> {
        if let Command::Login { user, password } = command {
            self.plain_login(&tag, &user, &password).await;
            return Ok(());
        }
        if matches!(command, Command::Idle) {
            self.conversation.idle(tag);
            // What changed before IDLE is told at once.
            self.poll(Tell::All, false).await;
            return Ok(());
        }
        let (tell, with_uid) = telling(&command);
        let answer = self.carry_out(&tag, command).await;
        self.poll(tell, with_uid).await;
        self.finish(&tag, answer)
    }

    async fn carry_out(&mut self, tag: &Tag, command: Command) -> Answer {
        match command {
            Command::Capability => {
                let after_login = self.conversation.state() != State::NotAuthenticated;
                let capabilities =
                    if after_login { self.account.capabilities() } else { CAPABILITIES_BEFORE_LOGIN };
                self.conversation.untagged(&format!("CAPABILITY {capabilities}"));
                done()
            }
            Command::Noop | Command::Check => done(),
            Command::Id => {
                self.conversation.untagged("ID (\"name\" \"Onionskin\")");
                done()
            }
            Command::Namespace => {
                self.conversation.untagged("NAMESPACE ((\"\" \"/\")) NIL NIL");
                done()
            }
            Command::Enable => {
                self.conversation.untagged("ENABLED");
                done()
            }
            Command::Select { mailbox, read_only } => self.select(&mailbox, read_only).await,
            Command::Create(mailbox) => self.create(&mailbox).await,
            Command::Delete(mailbox) => self.delete(&mailbox).await,
            Command::Rename(from, to) => self.rename(&from, &to).await,
            Command::Subscribe(mailbox) => self.subscribe(&mailbox, true).await,
            Command::Unsubscribe(mailbox) => self.subscribe(&mailbox, false).await,
            Command::List(request) => self.list(request).await,
            Command::Status(mailbox, items) => self.status(&mailbox, &items).await,
            Command::GetQuota(root) => self.quota(&root).await,
            Command::GetQuotaRoot(mailbox) => self.quota_root(&mailbox).await,
            Command::Close => self.close().await,
            Command::Unselect => {
                self.leave_mailbox().await;
                done()
            }
            Command::Expunge(uids) => self.expunge(uids.as_ref()).await,
            Command::Search(numbers, key, answer) => self.search(tag, numbers, key, answer).await,
            Command::Fetch(messages, items) => self.fetch(messages, items).await,
            Command::Store(messages, store) => self.store_flags(messages, store).await,
            Command::Copy { messages, mailbox, remove } => self.copy(messages, &mailbox, remove).await,
            Command::Logout | Command::Idle | Command::Login { .. } | Command::Authenticate { .. } => {
                refuse("BAD out of turn")
            }
        }
    }
}

/// What may be told after a command, and whether changed flags are told with UIDs (RFC 3501 section 7.4.1).
fn telling(command: &Command) -> (Tell, bool) {
    let (numbers, with_uid) = match command {
        Command::Fetch(messages, _) | Command::Store(messages, _) => (messages.numbers, true),
        Command::Search(numbers, ..) => (*numbers, true),
        Command::Copy { messages, .. } => return (Tell::All, messages.numbers == Numbers::Uid),
        _ => return (Tell::All, false),
    };
    match numbers {
        Numbers::Sequence => (Tell::NoExpunge, false),
        Numbers::Uid => (Tell::All, with_uid),
    }
}

pub(super) fn done() -> Answer {
    Ok("done".to_owned())
}

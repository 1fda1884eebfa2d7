//! What the commands do, once: for the control socket of a running node and for a command that has the store to
//! itself while none runs.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Request;
use crate::face::logins;
use crate::model::address::MailAddress;
use crate::model::header::{Cut, HeaderCutter};
use crate::model::letter::Recipients;
use crate::model::policy;
use crate::model::prepare;
use crate::model::queue::{Entry, State};
use crate::node::Node;
use crate::node::desk::Desk;
use crate::node::submit;
use crate::protocol::smtp::Reply;
use crate::store::mailboxes::MailboxName;
use crate::store::{LetterReader, QueueNo, StoreError, Uid};
use onion::Stage;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Most bytes read from a letter at once.
const PIECE_LEN: usize = 64 * 1024;
/// Most of a letter's header that a listing looks at, in bytes.
const LISTED_HEADER_LEN: usize = 32 * 1024;

/// What the commands work on.
#[derive(Clone)]
pub struct Office {
    /// The identity and its store.
    pub desk: Arc<Desk>,
    /// Whether a passphrase guards the disk.
    pub protected: bool,
    /// The running node, if this is one.
    pub live: Option<Live>,
}

/// What only a running node has.
#[derive(Clone)]
pub struct Live {
    /// The node.
    pub node: Arc<Node>,
    /// Port of IMAP on 127.0.0.1.
    pub imap_port: u16,
    /// Port of submission on 127.0.0.1.
    pub smtp_port: u16,
}

/// What a request gave.
pub enum Given {
    /// A line of JSON.
    Value(Value),
    /// A line of JSON, then a letter.
    Letter(Value, LetterReader),
}

impl Office {
    /// Does what is asked. `bytes` are what follows the request line.
    pub async fn perform(
        &self,
        request: Request,
        bytes: &mut (impl AsyncRead + Unpin),
    ) -> Result<Given, Failure> {
        let value = match request {
            Request::Status => self.status().await?,
            Request::Mint { label } => self.mint(label).await?,
            Request::Passwords => self.passwords().await?,
            Request::Revoke { number } => self.revoke(number).await?,
            Request::Submit { from, to, from_headers, size } => {
                let letter = Handed { from, to, from_headers, size };
                self.submit(letter, bytes).await?
            }
            Request::Inbox { folder } => self.list(&folder).await?,
            Request::Read { folder, number } => return self.read(&folder, number).await,
            Request::Queue => self.queue().await?,
            Request::Retry { numbers } => self.retry(&numbers).await?,
            Request::Cancel { numbers } => self.cancel(numbers).await?,
        };
        Ok(Given::Value(value))
    }

    async fn status(&self) -> Result<Value, Failure> {
        let waiting = self.desk.queue_len().await.map_err(store_failure)?;
        let mut errors = self.desk.trouble.sentences();
        let port = |port: Option<u16>| port.map(|port| json!({"host": "127.0.0.1", "port": port}));
        let mut identity = json!({
            "address": self.desk.identity().address().full(),
            "reachable": false,
            "waiting": waiting,
            "imap": port(self.live.as_ref().map(|live| live.imap_port)),
            "smtp": port(self.live.as_ref().map(|live| live.smtp_port)),
            "disk_protected": self.protected,
        });
        match &self.live {
            Some(live) => {
                let bootstrap = live.node.transport.bootstrap().borrow().clone();
                identity["reachable"] = json!(bootstrap.stage == Stage::Reachable);
                identity["stage"] = json!(stage_words(bootstrap.stage));
                errors.extend(bootstrap.blocked);
                let moment = live.node.moment();
                if moment.agreed.is_none() && bootstrap.stage >= Stage::Dialling {
                    errors.push(
                        "this machine's clock and the Tor network disagree about the time; set the clock. \
                                 Until then nothing expires"
                            .to_owned(),
                    );
                }
            }
            None => identity["stage"] = json!("the node is not running"),
        }
        identity["errors"] = json!(errors);
        Ok(json!({"running": self.live.is_some(), "identities": [identity]}))
    }

    async fn mint(&self, label: String) -> Result<Value, Failure> {
        let minted = logins::mint(&self.desk, label.clone()).await.map_err(store_failure)?;
        let port = |port: Option<u16>| json!({"host": "127.0.0.1", "port": port});
        Ok(json!({
            "number": minted.number, "label": label, "user": minted.user, "password": minted.password,
            "imap": port(self.live.as_ref().map(|live| live.imap_port)),
            "smtp": port(self.live.as_ref().map(|live| live.smtp_port)),
        }))
    }

    async fn passwords(&self) -> Result<Value, Failure> {
        let list = logins::list(&self.desk).await.map_err(store_failure)?;
        let rows = list.into_iter().map(|(no, record)| {
            json!({"number": no.0, "label": record.label, "created": record.created.rfc5322()})
        });
        Ok(rows.collect())
    }

    async fn revoke(&self, number: u64) -> Result<Value, Failure> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        match logins::revoke(&self.desk, number).await.map_err(store_failure)? {
            true => Ok(json!({"revoked": number})),
            false => Err(Failure::new(
                Exit::NoInput,
                format_args!("there is no password with the number {number}"),
            )
            .hint("see: onionskin credentials --list")),
        }
    }

    async fn submit(&self, handed: Handed, bytes: &mut (impl AsyncRead + Unpin)) -> Result<Value, Failure> {
        if handed.size > policy::LETTER_SIZE_MAX {
            let most = policy::LETTER_SIZE_MAX / 1024 / 1024;
            return Err(Failure::new(Exit::Data, format_args!("the letter is larger than {most} MiB")));
        }
        handed.check_sender(&self.desk)?;
        let mut bytes = bytes.take(handed.size);
        let mut first = Vec::new();
        let recipients = handed.recipients(&mut bytes, &mut first).await?;
        let mut parcel = submit::begin(&self.desk, &recipients).await.map_err(refused)?;
        parcel.write(&first).await;
        let mut taken = first.len() as u64;
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let len = bytes.read(&mut piece).await?;
            if len == 0 {
                break;
            }
            taken += len as u64;
            parcel.write(&piece[..len]).await;
        }
        if taken != handed.size {
            return Err(Failure::new(Exit::Io, "the letter was cut off; nothing was queued"));
        }
        let submitted = parcel.file().await.map_err(refused)?;
        Ok(json!(submitted))
    }

    async fn list(&self, folder: &str) -> Result<Value, Failure> {
        let view = self.view(folder).await?;
        let mut rows = Vec::new();
        for (uid, message) in view.messages {
            let reader = self.desk.store().open_letter(message.letter).await.map_err(store_failure)?;
            let start = reader.read_at(0, LISTED_HEADER_LEN).await.map_err(store_failure)?;
            let fields = Listed::of(&start);
            rows.push(json!({
                "number": uid.0, "from": fields.from, "to": fields.to, "subject": fields.subject,
                "date": message.internal_date.rfc5322(), "size": message.size,
                "seen": message.flags.has(crate::store::Flags::SEEN),
            }));
        }
        Ok(json!(rows))
    }

    async fn read(&self, folder: &str, number: u32) -> Result<Given, Failure> {
        let view = self.view(folder).await?;
        let found = view.messages.into_iter().find(|(uid, _)| *uid == Uid(number));
        let (_, message) = found.ok_or_else(|| {
            Failure::new(Exit::NoInput, format_args!("there is no letter {number} in {folder}"))
                .hint("see: onionskin inbox")
        })?;
        let reader = self.desk.store().open_letter(message.letter).await.map_err(store_failure)?;
        Ok(Given::Letter(json!({"number": number, "size": reader.len()}), reader))
    }

    async fn view(&self, folder: &str) -> Result<crate::store::messages::MailboxView, Failure> {
        let name =
            MailboxName::parse(folder).map_err(|error| store_failure(StoreError::MailboxName(error)))?;
        let store = self.desk.store();
        let no = store.mailbox(name).await.map_err(store_failure)?;
        let no = no.ok_or_else(|| store_failure(StoreError::NoMailbox))?;
        store.mailbox_view(no).await.map_err(store_failure)
    }

    async fn queue(&self) -> Result<Value, Failure> {
        let entries = self.desk.queue().await.map_err(store_failure)?;
        let now = self.desk.now();
        Ok(entries.iter().map(|(no, entry)| queued(*no, entry, now)).collect())
    }

    async fn retry(&self, numbers: &[u64]) -> Result<Value, Failure> {
        let entries = self.desk.queue().await.map_err(store_failure)?;
        let chosen = |no: &QueueNo| numbers.is_empty() || numbers.contains(&no.0);
        let now = self.desk.now();
        let mut hastened: Vec<(QueueNo, Entry)> = entries.into_iter().filter(|(no, _)| chosen(no)).collect();
        if hastened.is_empty() && !numbers.is_empty() {
            return Err(store_failure(StoreError::NoEntry));
        }
        for (_, entry) in &mut hastened {
            entry.hasten(now);
        }
        let count = hastened.len();
        let peers: Vec<_> = hastened.iter().map(|(_, entry)| entry.to.onion).collect();
        let stored = self.desk.store().write(move |tx| {
            for (no, entry) in &hastened {
                match tx.queue().replace(*no, entry) {
                    // Delivered or cancelled meanwhile.
                    Ok(()) | Err(StoreError::NoEntry) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        stored.await.map_err(store_failure)?;
        for peer in peers {
            self.desk.orders.push(peer);
        }
        Ok(json!({"retried": count}))
    }

    async fn cancel(&self, numbers: Vec<u64>) -> Result<Value, Failure> {
        let outbox = self.desk.folders.outbox;
        let cancelled = self.desk.store().write(move |tx| {
            let mut cancelled = 0;
            for number in &numbers {
                let Some((letter, entry)) = tx.queue().get::<Entry>(QueueNo(*number))? else { continue };
                tx.queue().remove(QueueNo(*number))?;
                cancelled += 1;
                if !tx.queue().has_letter(letter)? {
                    tx.messages().expunge(outbox, &[Uid(entry.outbox)])?;
                }
            }
            Ok(cancelled)
        });
        match cancelled.await.map_err(store_failure)? {
            0 => {
                Err(Failure::new(Exit::NoInput, "nothing with that number waits; it may have been delivered")
                    .hint("see: onionskin queue list"))
            }
            count => {
                self.desk.orders.look();
                Ok(json!({"cancelled": count}))
            }
        }
    }
}

/// What `status` calls a stage.
pub(crate) fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Connecting => "looking for a way into the Tor network",
        Stage::Directory => "fetching the directory of relays",
        Stage::Dialling => "letters can leave; publishing the own address",
        Stage::Reachable => "reachable",
    }
}

fn queued(no: QueueNo, entry: &Entry, now: crate::model::time::UnixTime) -> Value {
    let State::Waiting { next, tries, last } = &entry.state;
    let last = last.as_ref().map(|last| last.text.as_str());
    json!({
        "number": no.0, "to": entry.to.full(), "size": entry.size, "accepted": entry.accepted.rfc5322(),
        "state": "queued", "tries": tries, "next_try_in_secs": next.since(now).as_secs(), "last": last,
        "until": entry.deadline().map(|deadline| deadline.rfc5322()),
    })
}

/// A letter that a command hands in.
struct Handed {
    from: Option<String>,
    to: Vec<String>,
    from_headers: bool,
    size: u64,
}

impl Handed {
    fn check_sender(&self, desk: &Desk) -> Result<(), Failure> {
        let Some(from) = self.from.as_deref().filter(|from| !from.is_empty() && *from != "<>") else {
            return Ok(());
        };
        let own = MailAddress::parse(from.trim_matches(['<', '>']));
        if own.is_ok_and(|from| desk.identity().names().owns(&from)) {
            return Ok(());
        }
        let address = desk.identity().address().full();
        Err(Failure::new(Exit::NoPermission, format_args!("{from} is not an address of this identity"))
            .hint(format_args!("you send as {address}")))
    }

    /// Everyone named on the command line and, if asked for, in the header; what was read for that is in `first`.
    async fn recipients(
        &self,
        bytes: &mut (impl AsyncRead + Unpin),
        first: &mut Vec<u8>,
    ) -> Result<Recipients, Failure> {
        let mut named = Vec::new();
        for text in &self.to {
            let address = MailAddress::parse(text.trim_matches(['<', '>']))
                .map_err(|error| Failure::new(Exit::NoUser, format_args!("{text}: {error}")))?;
            named.push(address);
        }
        if self.from_headers {
            let block = read_header(bytes, first).await?;
            let found =
                prepare::recipients(&block).map_err(|error| Failure::new(Exit::NoUser, error.to_string()));
            match found {
                Ok(found) => named.extend(found.as_slice().iter().cloned()),
                Err(failure) if named.is_empty() => return Err(failure),
                Err(_) => {}
            }
        }
        Recipients::new(named).ok_or_else(|| {
            Failure::new(Exit::Usage, "no recipient was named")
                .hint("name them, or use -t to take them from the header")
        })
    }
}

/// Reads up to the end of the header; `first` then holds all that was read.
async fn read_header(bytes: &mut (impl AsyncRead + Unpin), first: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut cutter = HeaderCutter::default();
    let mut piece = vec![0; PIECE_LEN];
    loop {
        let len = bytes.read(&mut piece).await?;
        if len == 0 {
            return Ok(cutter.into_block());
        }
        first.extend_from_slice(&piece[..len]);
        let cut = cutter.push(&piece[..len]).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
        if matches!(cut, Cut::Content(_)) {
            return Ok(cutter.into_block());
        }
    }
}

/// A refusal of the node, in the words of the command line.
fn refused(reply: Reply) -> Failure {
    let exit = match reply.code {
        400..500 => Exit::TempFail,
        550 => Exit::NoPermission,
        _ => Exit::Data,
    };
    Failure::new(exit, reply.text)
}

/// The fields that a listing shows.
struct Listed {
    from: String,
    to: String,
    subject: String,
}

impl Listed {
    fn of(start: &[u8]) -> Self {
        let end = start.windows(4).position(|window| window == b"\r\n\r\n").map_or(start.len(), |at| at + 4);
        let message = mail_parser::MessageParser::default().parse_headers(&start[..end]);
        let of = |address: Option<&mail_parser::Address<'_>>| {
            address.and_then(|list| list.first()).and_then(|first| first.address()).unwrap_or("").to_owned()
        };
        let clean = |text: String| text.chars().filter(|c| !c.is_control()).take(500).collect::<String>();
        match message {
            Some(message) => Self {
                from: clean(of(message.from())),
                to: clean(of(message.to())),
                subject: clean(message.subject().unwrap_or("").to_owned()),
            },
            None => Self { from: String::new(), to: String::new(), subject: String::new() },
        }
    }
}

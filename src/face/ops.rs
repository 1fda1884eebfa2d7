//! What the commands do, once: for the control socket of a running node and for a command that has the store to
//! itself while none runs.

mod contacts;
mod guests;
mod holders;
mod introduce;
mod invites;
mod keys;
mod proofs;

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Request;
use crate::face::handed::{Handed, Lines, refused, too_large};
use crate::face::logins;
use crate::model::policy;
use crate::model::queue::{Entry, InCustody, State};
use crate::model::time::UnixTime;
use crate::node::Node;
use crate::node::desk::Desk;
use crate::node::parcel::Filed;
use crate::node::post;
use crate::node::submit;
use crate::store::mailboxes::MailboxName;
use crate::store::messages::MailboxView;
use crate::store::{LetterReader, QueueNo, StoreError, Uid};
use onion::Stage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Most bytes read from a letter at once.
const PIECE_LEN: usize = 64 * 1024;
/// Most letters in a listing, the newest: its JSON is held in memory.
const LISTED_MAX: usize = 10_000;
/// Most characters of a field in a listing.
const LISTED_FIELD_LEN: usize = 320;
/// Most folders that a message names.
const FOLDERS_NAMED_MAX: usize = 20;
/// Longest label of an app password, in bytes.
const LABEL_LEN_MAX: usize = 200;
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
            Request::Inbox { folder, last } => self.list(&folder, last).await?,
            Request::Read { folder, number } => return self.read(&folder, number).await,
            Request::Queue => self.queue().await?,
            Request::Retry { numbers } => self.retry(&numbers).await?,
            Request::Cancel { numbers } => self.cancel(numbers).await?,
            Request::Contacts { ask } => self.contacts(ask).await?,
            Request::Holders { ask } => self.holders(ask).await?,
            Request::Guests { ask } => self.guests(ask).await?,
            Request::Introduce { first, second, method, note } => {
                self.introduce(&first, &second, method, &note).await?
            }
            Request::Invites { ask } => self.invites(ask).await?,
            Request::Vouch { who, method, show } => self.vouch(&who, method, show).await?,
            Request::Keys { ask } => self.keys(ask).await?,
            Request::Receipts { digests } => self.receipts(&digests).await?,
            Request::Prekeys { private } => self.prekeys(private),
        };
        Ok(Given::Value(value))
    }

    async fn status(&self) -> Result<Value, Failure> {
        let queue = self.desk.queue().await.map_err(store_failure)?;
        let errands = queue.iter().filter(|(_, entry)| entry.errand).count();
        let mut errors = self.key_troubles().await?;
        errors.extend(self.desk.trouble.sentences());
        let port = |port: Option<u16>| port.map(|port| json!({"host": "127.0.0.1", "port": port}));
        let mut identity = json!({
            "address": self.desk.identity().address().full(),
            "reachable": false,
            "waiting": queue.len() - errands,
            "errands": errands,
            "holding": self.holding().await?,
            "sent_bytes": self.desk.sent_bytes(),
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
        identity["questions"] = json!(self.questions().await?);
        Ok(json!({"running": self.live.is_some(), "identities": [identity]}))
    }

    async fn mint(&self, label: String) -> Result<Value, Failure> {
        if label.len() > LABEL_LEN_MAX {
            return Err(Failure::new(Exit::Usage, format_args!("a label has {LABEL_LEN_MAX} bytes at most")));
        }
        let minted = logins::mint(&self.desk, label.clone()).await.map_err(|error| match error {
            StoreError::TooMany(_) => store_failure(error)
                .hint("revoke one that is not used any more: onionskin credentials --list"),
            error => store_failure(error),
        })?;
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
        let known = match u32::try_from(number) {
            Ok(number) => logins::revoke(&self.desk, number).await.map_err(store_failure)?,
            Err(_) => false,
        };
        match known {
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
            return Err(too_large());
        }
        handed.check_sender(&self.desk).await?;
        let mut bytes = bytes.take(handed.size);
        let mut first = Vec::new();
        let recipients = handed.recipients(&mut bytes, &mut first).await?;
        let mut parcel = submit::begin(&self.desk, &recipients).await.map_err(refused)?;
        let mut lines = Lines::default();
        lines.check(&first)?;
        parcel.write(&first).await;
        let mut taken = first.len() as u64;
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let len = bytes.read(&mut piece).await?;
            if len == 0 {
                break;
            }
            taken += len as u64;
            lines.check(&piece[..len])?;
            parcel.write(&piece[..len]).await;
        }
        if taken != handed.size {
            return Err(Failure::new(Exit::Io, "the letter was cut off; nothing was queued"));
        }
        lines.end()?;
        match parcel.file().await.map_err(refused)? {
            Filed::Leaving(submitted) => Ok(json!(submitted)),
            Filed::Arrived { .. } => {
                Err(Failure::new(Exit::Software, "a letter to send was taken for one that came"))
            }
        }
    }

    async fn list(&self, folder: &str, last: Option<u32>) -> Result<Value, Failure> {
        let view = self.view(folder).await?;
        let most = last.map_or(LISTED_MAX, |last| LISTED_MAX.min(last as usize));
        let older = view.messages.len().saturating_sub(most);
        let mut rows = Vec::new();
        for (uid, message) in view.messages.into_iter().skip(older) {
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

    /// The folder of that name; in whatever case, if that leaves no doubt.
    async fn view(&self, folder: &str) -> Result<MailboxView, Failure> {
        let name =
            MailboxName::parse(folder).map_err(|error| store_failure(StoreError::MailboxName(error)))?;
        let store = self.desk.store();
        let all = store.read(|rx| rx.mailboxes().list()).await.map_err(store_failure)?;
        let exact = all.iter().find(|(_, record)| record.name == name);
        let mut alike =
            all.iter().filter(|(_, record)| record.name.as_str().eq_ignore_ascii_case(name.as_str()));
        let found = exact.or_else(|| alike.next().filter(|_| alike.next().is_none()));
        let Some((no, _)) = found else {
            let names: Vec<&str> =
                all.iter().map(|(_, record)| record.name.as_str()).take(FOLDERS_NAMED_MAX).collect();
            return Err(Failure::new(Exit::NoInput, format_args!("there is no folder {folder}"))
                .hint(format_args!("there are: {}", names.join(", "))));
        };
        store.mailbox_view(*no).await.map_err(store_failure)
    }

    async fn queue(&self) -> Result<Value, Failure> {
        let entries = self.desk.queue().await.map_err(store_failure)?;
        let now = self.desk.now();
        Ok(entries.iter().map(|(no, entry)| queued(*no, entry, now)).collect())
    }

    async fn retry(&self, numbers: &[u64]) -> Result<Value, Failure> {
        let wanted: BTreeSet<u64> = numbers.iter().copied().collect();
        let (all, now) = (wanted.is_empty(), self.desk.now());
        let hastened = self.desk.store().write(move |tx| {
            let mut hastened = BTreeMap::new();
            for (no, _, mut entry) in tx.queue().list::<Entry>()? {
                // Errands wait a while on purpose, so that nobody can tell what they answer.
                if (all && !entry.errand) || wanted.contains(&no.0) {
                    entry.hasten(now);
                    tx.queue().replace(no, &entry)?;
                    hastened.insert(no.0, entry.to.onion);
                }
            }
            Ok(hastened)
        });
        let hastened = hastened.await.map_err(store_failure)?;
        let missing = missing(numbers, |number| hastened.contains_key(number));
        if hastened.is_empty() && !numbers.is_empty() {
            return Err(none_waits());
        }
        for peer in hastened.values() {
            self.desk.orders.push(*peer);
        }
        Ok(json!({"retried": hastened.len(), "missing": missing}))
    }

    async fn cancel(&self, numbers: Vec<u64>) -> Result<Value, Failure> {
        let (outbox, now) = (self.desk.folders.outbox, self.desk.now());
        let wanted = numbers.clone();
        let cancelled = self.desk.store().write(move |tx| {
            let mut cancelled = BTreeSet::new();
            for number in &wanted {
                let Some((letter, entry)) = tx.queue().get::<Entry>(QueueNo(*number))? else { continue };
                post::cancel(tx, QueueNo(*number), &entry, now)?;
                cancelled.insert(*number);
                if !tx.queue().has_letter(letter)? {
                    tx.messages().expunge(outbox, &[Uid(entry.outbox)])?;
                }
            }
            Ok(cancelled)
        });
        let cancelled = cancelled.await.map_err(store_failure)?;
        if cancelled.is_empty() {
            return Err(none_waits());
        }
        self.desk.orders.look();
        self.desk.recall_now.notify_one();
        let missing = missing(&numbers, |number| cancelled.contains(number));
        Ok(json!({"cancelled": cancelled.len(), "missing": missing}))
    }
}

/// Those of `numbers` that were not found, each once.
fn missing(numbers: &[u64], found: impl Fn(&u64) -> bool) -> Vec<u64> {
    let asked: BTreeSet<u64> = numbers.iter().copied().collect();
    asked.into_iter().filter(|number| !found(number)).collect()
}

fn none_waits() -> Failure {
    Failure::new(Exit::NoInput, "nothing with that number waits; it may have been delivered")
        .hint("see: onionskin queue list")
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

fn queued(no: QueueNo, entry: &Entry, now: UnixTime) -> Value {
    let State::Waiting { next, tries, last } = &entry.state;
    let last = last.as_ref().map(|last| last.text.as_str());
    let keeps = |one: &&InCustody| one.kept_until.is_some_and(|until| until > now);
    let held_by = entry.custody.iter().filter(keeps).count();
    json!({
        "number": no.0, "to": entry.to.full(), "size": entry.size, "accepted": entry.accepted.rfc5322(),
        "state": if held_by > 0 { "held" } else { "queued" }, "held_by": held_by,
        "held_until": entry.held_until().map(UnixTime::rfc5322), "errand": entry.errand,
        "tries": tries, "next_try_in_secs": next.since(now).as_secs(), "last": last,
        "until": entry.deadline().map(|deadline| deadline.rfc5322()),
    })
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
        let clean = |text: String| {
            text.chars().filter(|c| !c.is_control()).take(LISTED_FIELD_LEN).collect::<String>()
        };
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

//! `onionskin doctor`: looks at everything that must be right for mail to flow, and says for each what to do.
//!
//! It sends nothing and changes no mail. What a running node knows (Tor, clock, queue) it is asked for; while none runs
//! the store is opened as by every command, which clears away what a crash left. The directory, the disk and the two
//! ports are looked at from outside, as a mail program would meet them. Leaves the self-test of the onion to the node,
//! whose `reachable` means that its own address answered over the network.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household;
use crate::face::cli::{Place, line, show, shown};
use crate::face::control::{Door, Request};
use serde_json::{Value, json};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;

/// Below this much room letters may soon be refused: four of the largest. In bytes.
const ROOM_MIN: u64 = 256 << 20;
/// How long a port on loopback may take to greet.
const GREETING_WAIT: Duration = Duration::from_secs(5);
/// Longest greeting that is read, in bytes.
const GREETING_LEN_MAX: u64 = 1024;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Mail flows, but the person should know.
    Advice,
    /// Mail does not flow, or is not safe, until this is mended.
    Wrong,
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    says: String,
    /// What to do about it.
    mend: Option<String>,
}

impl Finding {
    fn good(what: &'static str, says: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, says: says.into(), mend: None }
    }

    fn advice(what: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Advice, says: says.into(), mend: Some(mend.into()) }
    }

    fn wrong(what: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Wrong, says: says.into(), mend: Some(mend.into()) }
    }

    fn failure(what: &'static str, failure: Failure) -> Self {
        Self { what, verdict: Verdict::Wrong, says: failure.message, mend: failure.hint }
    }
}

/// Looks at everything and prints what was found. Fails (69) if something is wrong.
pub(super) async fn doctor(at: &Place, as_json: bool) -> Result<(), Failure> {
    let mut found = outside(&at.dir);
    if household::has_identity(&at.dir) {
        found.extend(inside(at).await);
    }
    let wrong = found.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if as_json {
        show::as_json(&found.iter().map(json_of).collect())?;
    } else {
        found.iter().try_for_each(print)?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Unavailable, "one thing is wrong; what to do stands below it")),
        _ => Err(Failure::new(
            Exit::Unavailable,
            format_args!("{wrong} things are wrong; begin with the first, others may follow from it"),
        )),
    }
}

fn json_of(finding: &Finding) -> Value {
    let verdict = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Advice => "advice",
        Verdict::Wrong => "wrong",
    };
    json!({"what": finding.what, "verdict": verdict, "says": finding.says, "do": finding.mend})
}

fn print(finding: &Finding) -> Result<(), Failure> {
    let mark = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Advice => "note",
        Verdict::Wrong => "WRONG",
    };
    line(format_args!("{mark:<6} {:<10} {}", finding.what, finding.says))?;
    match &finding.mend {
        Some(mend) => line(format_args!("                  → {mend}")),
        None => Ok(()),
    }
}

/// What can be seen without asking anybody: the identity, who may read its files, room on the disk.
fn outside(dir: &Path) -> Vec<Finding> {
    if !household::has_identity(dir) {
        let says = format!("there is none in {}", shown(dir));
        return vec![Finding::wrong("Identity", says, "make one with: onionskin up")];
    }
    vec![Finding::good("Identity", format!("in {}", shown(dir))), privacy(dir), room(dir)]
}

fn privacy(dir: &Path) -> Finding {
    match readable_by_others(dir) {
        Ok(None) => Finding::good("Files", "only you can read them"),
        Ok(Some(name)) => Finding::wrong(
            "Files",
            format!("others on this machine may read or change {name}"),
            format!("chmod -R go-rwx {}", shown(dir)),
        ),
        Err(error) => Finding::failure("Files", error.into()),
    }
}

/// The first of the directory and its files that anybody but the owner may touch, or that another owns.
fn readable_by_others(dir: &Path) -> io::Result<Option<String>> {
    let own = std::fs::metadata(dir)?;
    if own.permissions().mode() & 0o077 != 0 {
        return Ok(Some("the data directory".to_owned()));
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match std::fs::symlink_metadata(entry.path()) {
            Ok(meta) => meta,
            // The node may just have removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if meta.uid() != own.uid() || !meta.is_symlink() && meta.permissions().mode() & 0o077 != 0 {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn room(dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let says = format!("{} MiB of room for letters", free >> 20);
            if free < ROOM_MIN {
                let mend = "make room: when it is full, letters are refused (and come again later)";
                Finding::advice("Disk", says, mend)
            } else {
                Finding::good("Disk", says)
            }
        }
        Err(error) => Finding::failure("Disk", io::Error::from(error).into()),
    }
}

/// What the node knows, or the store while none runs.
async fn inside(at: &Place) -> Vec<Finding> {
    let running = Door::knock(&at.dir).await.is_some();
    let quiet = Place { dir: at.dir.clone(), passphrase: at.passphrase.silently() };
    let mut found = vec![match running {
        true => Finding::good("Node", "it runs"),
        false => Finding::wrong(
            "Node",
            "it is not running: no letter can come or go",
            "bring it up with: onionskin up",
        ),
    }];
    match quiet.ask(Request::Status).await {
        Ok(status) => {
            let identity = &status["identities"][0];
            found.push(protection(identity));
            if running {
                found.push(network(identity));
            }
            found.extend(troubles(identity));
            for (what, door, greeting) in [("Reading", "imap", "* OK"), ("Sending", "smtp", "220 ")] {
                if let Some(port) = identity[door]["port"].as_u64().and_then(|port| u16::try_from(port).ok())
                {
                    found.push(greets(what, port, greeting).await);
                }
            }
            found.push(waiting(identity));
            found.push(holders(&identity["holding"]));
            found.push(passwords(quiet.ask(Request::Passwords).await));
        }
        Err(failure) if failure.exit == Exit::NoInput => found.push(Finding::advice(
            "Store",
            "a passphrase guards it, so it was not looked into",
            "bring the node up first, or pass the passphrase: --passphrase-fd FD",
        )),
        Err(failure) => found.push(Finding::failure("Store", failure)),
    }
    found
}

fn protection(identity: &Value) -> Finding {
    if identity["disk_protected"] == true {
        return Finding::good("Passphrase", "guards everything on the disk");
    }
    Finding::advice(
        "Passphrase",
        "none: whoever can read this disk can read your mail and be you",
        "encrypt the disk itself, or begin anew with a passphrase while nobody has your address",
    )
}

fn network(identity: &Value) -> Finding {
    let stage = identity["stage"].as_str().unwrap_or("unknown");
    if identity["reachable"] == true {
        return Finding::good("Tor", "reachable: the own address answered over the network");
    }
    Finding::wrong(
        "Tor",
        format!("not reachable yet: {stage}"),
        "wait a minute after the start; then see whether this machine is online and Tor is not blocked here",
    )
}

fn troubles(identity: &Value) -> Vec<Finding> {
    let sentences = identity["errors"].as_array().map_or(&[][..], Vec::as_slice);
    sentences
        .iter()
        .filter_map(Value::as_str)
        .map(|says| Finding { what: "Trouble", verdict: Verdict::Wrong, says: says.to_owned(), mend: None })
        .collect()
}

/// Whether the port greets as a mail program expects.
async fn greets(what: &'static str, port: u16, greeting: &str) -> Finding {
    let heard = tokio::time::timeout(GREETING_WAIT, async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut heard = String::new();
        BufReader::new(stream.take(GREETING_LEN_MAX)).read_line(&mut heard).await?;
        io::Result::Ok(heard)
    });
    let says = match heard.await {
        Ok(Ok(heard)) if heard.starts_with(greeting) => {
            return Finding::good(what, format!("a mail program is answered on 127.0.0.1, port {port}"));
        }
        Ok(Ok(_)) => format!("what answers on 127.0.0.1, port {port}, is not this node"),
        Ok(Err(error)) => return Finding::failure(what, error.into()),
        Err(_) => format!("nothing answers on 127.0.0.1, port {port}"),
    };
    Finding::wrong(what, says, "stop the node and bring it up again with: onionskin up")
}

fn waiting(identity: &Value) -> Finding {
    match identity["waiting"].as_u64() {
        Some(0) => Finding::good("Queue", "nothing waits"),
        Some(count) => Finding::advice(
            "Queue",
            format!("{count} to be delivered"),
            "that is no fault while the others are away; see: onionskin queue",
        ),
        None => Finding::good("Queue", "not known"),
    }
}

/// Who keeps letters for us while we are away, and whether letters for others can be left.
fn holders(holding: &Value) -> Finding {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let (keep, failing) = (count(&holding["holders"]), count(&holding["failing"]));
    let drops = &holding["drops"];
    let list = "see: onionskin holder list";
    if keep == 0 {
        return Finding::advice(
            "Holders",
            "nobody keeps letters for you: they come only while you and their author are both up",
            "ask a contact whose node runs when yours does not: onionskin holder ask ADDRESS",
        );
    }
    if failing > 0 {
        let says = format!("of {keep} who keep letters for you, {failing} did not answer the last times");
        return Finding::advice("Holders", says, format!("ask them, or somebody else; {list}"));
    }
    match (count(&drops["failing"]), count(&drops["unconfirmed"])) {
        (0, 0) => Finding::good("Holders", format!("keep letters for you: {keep}")),
        (failing, 0) => {
            let says =
                format!("{failing} places where letters for others are left did not take the last ones");
            Finding::advice(
                "Holders",
                says,
                format!("that is no fault of yours, and others are taken; {list}"),
            )
        }
        (_, unconfirmed) => {
            let says = format!("letters left for others at {unconfirmed} places were never confirmed");
            Finding::advice("Holders", says, format!("others are taken first; {list}"))
        }
    }
}

fn passwords(listed: Result<Value, Failure>) -> Finding {
    match listed {
        Ok(list) => match list.as_array().map_or(0, Vec::len) {
            0 => Finding::advice(
                "Passwords",
                "none was made yet, so no mail program can log in",
                "make one with: onionskin credentials",
            ),
            1 => Finding::good("Passwords", "1 mail program can log in"),
            count => Finding::good("Passwords", format!("{count} mail programs can log in")),
        },
        Err(failure) => Finding::failure("Passwords", failure),
    }
}

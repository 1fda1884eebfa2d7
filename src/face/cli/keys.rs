//! `revoke`, `successor`, `delegate`, `contacts follow` and `contacts pass-on`.
//!
//! The recovery words are read here, sign here, and are wiped: a running node is given the signed statement alone.

use crate::face::cli::args::{Delegate, Revoke, Successor};
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::make::read_words;
use crate::face::cli::show::{as_json, clean, rows, text};
use crate::face::cli::{Place, line, shown};
use crate::face::control::{Keys, Request};
use crate::model::address::MailAddress;
use crate::model::certificate;
use crate::model::identity::RecoveryWords;
use crate::model::statement::recovery::SINCE_UNKNOWN;
use crate::model::statement::{Revocation, StatementError, Verified};
use crate::model::time::{UnixTime, parse_moment};
use crate::node::clock::{Clock as _, SystemClock};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use onion::OnionAddress;
use serde_json::Value;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

/// `onionskin revoke`
pub(super) async fn revoke(at: &Place, args: Revoke) -> Result<(), Failure> {
    let now = SystemClock.now();
    let since = args.since.as_deref().map(|text| since_of(text, now)).transpose()?;
    if let Some(file) = &args.make {
        let words = read_words()?;
        let made = words.revocation(since.unwrap_or(SINCE_UNKNOWN), now, &args.reason).map_err(unsigned)?;
        write_certificate(at, file, &made)?;
        return match args.json {
            true => as_json(&serde_json::json!({"address": made.author().host(), "file": file})),
            false => line(format_args!("The certificate is in {}. Nothing is revoked by that.", shown(file))),
        };
    }
    if let Some(file) = &args.pass_on {
        return take_in(at, file, args.to, args.json).await;
    }
    let statement = match &args.certificate {
        Some(file) => read_certificate(file)?,
        None => {
            let made = read_words()?.revocation(since.unwrap_or(now), now, &args.reason);
            STANDARD.encode(made.map_err(unsigned)?.bytes())
        }
    };
    let value = at.ask(Request::Keys { ask: Keys::Revoke { statement } }).await?;
    if args.json {
        return as_json(&value);
    }
    let since = value["since"].as_str().map_or(String::new(), |since| format!(", as of {since}"));
    line(format_args!(
        "{} is revoked for ever{since}. {} contacts are told; keep the node up until they are (onionskin queue).\n\
         You can go on reading here, and send nothing more. If you have a new address, say so with:\n\
         onionskin successor NEW-ADDRESS",
        text(&value["address"]),
        value["told"]
    ))
}

async fn take_in(at: &Place, file: &Path, to: Vec<String>, json: bool) -> Result<(), Failure> {
    let statement = read_certificate(file)?;
    let mut value = at.ask(Request::Keys { ask: Keys::TakeIn { statement } }).await?;
    let who = text(&value["address"]).to_owned();
    if !to.is_empty() {
        let ask = Keys::PassOn { who: who.clone(), to };
        value["told"] = at.ask(Request::Keys { ask }).await?["told"].take();
    }
    if json {
        return as_json(&value);
    }
    match value["new"].as_bool() {
        Some(true) => {
            line(format_args!("{who} is revoked here now; {} letters were moved to Junk.", value["moved"]))?
        }
        _ => line(format_args!("That {who} is revoked was known here already."))?,
    }
    match value["told"].as_u64() {
        Some(told) => line(format_args!("It is passed on to {told}.")),
        None => line(format_args!("To pass it on: onionskin contacts pass-on {who} ADDRESS…")),
    }
}

/// `onionskin successor`
pub(super) async fn successor(at: &Place, args: Successor) -> Result<(), Failure> {
    let new = onion_of(&args.new)?;
    let made = read_words()?.successor(new, SystemClock.now()).map_err(unsigned)?;
    let statement = STANDARD.encode(made.bytes());
    let value = at.ask(Request::Keys { ask: Keys::Succeed { statement } }).await?;
    if args.json {
        return as_json(&value);
    }
    line(format_args!(
        "{} contacts are told that {} comes after this address. They are asked to check it with you.",
        value["told"],
        new.host()
    ))
}

/// `onionskin delegate`
pub(super) async fn delegate(at: &Place, args: Delegate) -> Result<(), Failure> {
    let Some(to) = args.to.filter(|_| !args.list) else {
        let value = at.ask(Request::Keys { ask: Keys::Delegations }).await?;
        return if args.json { as_json(&value) } else { delegations(&value) };
    };
    let ask = Keys::Delegate { to, names: args.name, days: args.days };
    let value = at.ask(Request::Keys { ask }).await?;
    if args.json {
        return as_json(&value);
    }
    delegated(&value)?;
    line(format_args!("It cannot be taken back earlier. They are told by a letter."))
}

fn delegations(value: &Value) -> Result<(), Failure> {
    if rows(value).is_empty() {
        return line(format_args!("Nobody may write on anybody's behalf."));
    }
    rows(value).iter().try_for_each(delegated)
}

fn delegated(row: &Value) -> Result<(), Failure> {
    line(format_args!(
        "{} may write on behalf of {} until {}, as",
        clean(text(&row["to"])),
        clean(text(&row["from"])),
        text(&row["until"])
    ))?;
    rows(&row["addresses"]).iter().try_for_each(|address| line(format_args!("  {}", text(address))))
}

/// `onionskin contacts follow`
pub(super) async fn follow(at: &Place, who: String, checked: bool, json: bool) -> Result<(), Failure> {
    let value = at.ask(Request::Keys { ask: Keys::Successor { who: who.clone() } }).await?;
    if !json {
        let words: Vec<&str> = rows(&value["words"]).iter().map(text).collect();
        line(format_args!(
            "{} names a new address:\n\n  {}\n\n\
             Read these to each other, by telephone or face to face; both must see the same:\n\n  {}\n",
            clean(text(&value["name"])),
            text(&value["new"]),
            words.join(" ")
        ))?;
    }
    if !checked && !agrees()? {
        return match json {
            true => as_json(&value),
            false => line(format_args!(
                "Nothing was changed. When you have checked it: onionskin contacts follow ADDRESS --checked"
            )),
        };
    }
    let new = text(&value["new"]).to_owned();
    let value = at.ask(Request::Keys { ask: Keys::Follow { who, new } }).await?;
    if json {
        return as_json(&value);
    }
    line(format_args!(
        "The new address is {} now, as the old one was. To undo it: onionskin contacts undo {}",
        text(&value["tier"]),
        value["number"]
    ))
}

/// Asks at a terminal; elsewhere nobody agrees.
fn agrees() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Are they the same? Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// `onionskin contacts pass-on`
pub(super) async fn pass_on(at: &Place, who: String, to: Vec<String>, json: bool) -> Result<(), Failure> {
    let value = at.ask(Request::Keys { ask: Keys::PassOn { who, to } }).await?;
    if json {
        return as_json(&value);
    }
    line(format_args!("That {} is revoked goes to {}.", text(&value["address"]), value["told"]))
}

/// Writes the certificate of a new identity, which says no time, to a new file.
pub(super) fn write_beforehand(at: &Place, file: &Path, words: &RecoveryWords) -> Result<(), Failure> {
    let made = words.revocation(SINCE_UNKNOWN, SystemClock.now(), "").map_err(unsigned)?;
    write_certificate(at, file, &made)
}

/// Writes to a file that is not there yet, for its owner alone, and not into the data directory: who has that has the
/// key too, and with a backup of it the certificate would be everywhere.
fn write_certificate(at: &Place, file: &Path, made: &Verified<Revocation>) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| {
        let what = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{} is there already", shown(file)),
            std::io::ErrorKind::NotFound => format!("the folder of {} is not there", shown(file)),
            _ => format!("{} cannot be written: {error}", shown(file)),
        };
        Failure::new(Exit::CannotCreate, what).hint("name a new file, on a stick or where you print from")
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(failed)?;
    if at.dir.canonicalize().is_ok_and(|data| folder.starts_with(data)) {
        let what = "the certificate does not belong into the data directory";
        return Err(Failure::new(Exit::CannotCreate, what)
            .hint("keep it apart from the machine: on paper, or on a stick"));
    }
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(certificate::written(made).as_bytes()).and_then(|()| out.sync_all()).map_err(failed)
}

/// The statement in a certificate's file, in base64; not verified.
fn read_certificate(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let limit = certificate::FILE_LEN_MAX as u64;
    std::fs::File::open(file).and_then(|open| open.take(limit).read_to_string(&mut text)).map_err(
        |error| Failure::new(Exit::NoInput, format_args!("{} cannot be read: {error}", shown(file))),
    )?;
    let signed = certificate::read(&text)
        .map_err(|error| Failure::new(Exit::Data, format_args!("{}: {error}", shown(file))))?;
    Ok(STANDARD.encode(signed.bytes()))
}

fn since_of(text: &str, now: UnixTime) -> Result<UnixTime, Failure> {
    let since = parse_moment(text).ok_or_else(|| {
        Failure::new(Exit::Usage, format_args!("{text} is no date")).hint("for example: --since 2026-01-31")
    })?;
    if since > now {
        return Err(Failure::new(Exit::Usage, "the key cannot be known to be in wrong hands in the future"));
    }
    Ok(since)
}

fn onion_of(text: &str) -> Result<OnionAddress, Failure> {
    let parsed = match text.contains('@') {
        true => MailAddress::parse(text).map(|address| address.onion).ok(),
        false => OnionAddress::parse(text).ok(),
    };
    parsed.ok_or_else(|| {
        Failure::new(Exit::NoUser, format_args!("{text} is no onion address"))
            .hint("copy it again, as a whole")
    })
}

fn unsigned(error: StatementError) -> Failure {
    Failure::new(Exit::Data, format_args!("it cannot be signed: {error}"))
        .hint("a reason has 500 bytes at most, and no control characters")
}

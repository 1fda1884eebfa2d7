//! `verify`: what a saved letter proves, printed for people or as JSON. No network, and no store but for receipts.

use crate::face::cli::args::Verify;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::show::{as_json, clean, rows, text};
use crate::face::cli::{Place, line, shown};
use crate::face::control::Request;
use crate::model::policy;
use crate::model::proof::{self, ProofError, Proven};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::io::{self, Read as _};
use std::path::Path;

/// Most bytes that are read: the largest letter, and the lines above it with what was signed.
const FILE_LEN_MAX: u64 = policy::LETTER_SIZE_MAX + 1024 * 1024;

/// `onionskin verify`
pub(super) async fn verify(at: &Place, args: Verify) -> Result<(), Failure> {
    let saved = read(&args.file)?;
    match proof::prove(&saved) {
        Ok(proven) if args.json => as_json(&in_json(&proven)),
        Ok(proven) => show(&proven),
        Err(ProofError::Unsealed) => sent(at, &saved, args.json).await,
        Err(error) => refused(&error, args.json),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut saved = Vec::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(FILE_LEN_MAX + 1).read_to_end(&mut saved),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut saved))
        }
    };
    read.map_err(|error| {
        Failure::new(Exit::NoInput, format_args!("{} cannot be read: {error}", shown(path)))
    })?;
    match saved.len() as u64 {
        0..=FILE_LEN_MAX => Ok(saved),
        _ => Err(Failure::new(Exit::Data, "that is longer than any letter")),
    }
}

fn refused(error: &ProofError, json: bool) -> Result<(), Failure> {
    if json {
        as_json(&json!({"verified": false, "reason": error.to_string()}))?;
    }
    let hint = match error {
        ProofError::Unsealed => "what an unsealed letter says of its author, nothing in the file can prove",
        ProofError::Header(_) => "save the whole letter, headers and all: onionskin read --raw NUMBER > FILE",
        _ => "if a mail program saved it, try: onionskin read --raw NUMBER > FILE",
    };
    Err(Failure::new(Exit::Data, format_args!("not verified: {error}")).hint(hint))
}

fn in_json(proven: &Proven) -> Value {
    json!({
        "verified": true, "author": proven.author.host(), "from": proven.from,
        "on_behalf_of": proven.behalf.as_ref().map(|other| other.full()), "to": proven.to.full(),
        "id": proven.id.to_hex(), "sha256": HEXLOWER.encode(&proven.digest), "made": proven.made.rfc5322(),
        "header_differs": proven.header_differs,
        "reader_says": {
            "received": proven.received.map(|time| time.rfc5322()), "verdict": proven.verdict,
        },
    })
}

fn show(proven: &Proven) -> Result<(), Failure> {
    let row = |name: &str, value: &str| line(format_args!("  {name:<13}{}", clean(value)));
    line(format_args!("Verified: the letter is as its author signed it."))?;
    let own = proven.from.as_deref().filter(|_| proven.behalf.is_none());
    row("signed by", own.unwrap_or(&proven.author.host()))?;
    if let Some(other) = &proven.behalf {
        row("on behalf of", &other.full())?;
    }
    row("for", &proven.to.full())?;
    row("made", &format!("in the hour from {}, says the author", proven.made.rfc5322()))?;
    row("letter id", &proven.id.to_hex())?;
    if proven.header_differs {
        line(format_args!(
            "  The header that is shown is not the signed one: the reader's node took lines out that only it may\n  \
             write, or showed the author by the name on their Card. What was signed is kept beside it."
        ))?;
    }
    line(format_args!("In the word of the reader's node, which the author did not sign:"))?;
    row(
        "received",
        &proven.received.map_or_else(|| "it does not say when".to_owned(), |time| time.rfc5322()),
    )?;
    row("verdict", proven.verdict.as_deref().unwrap_or("none"))
}

/// A letter without a signature may be one of our own, whose readers have signed that they have it.
async fn sent(at: &Place, saved: &[u8], json: bool) -> Result<(), Failure> {
    let digests = proof::sent_digests(saved).unwrap_or_default();
    let digests = digests.iter().map(|digest| HEXLOWER.encode(digest)).collect();
    // Without an identity at hand, or its passphrase, there are no receipts.
    let quiet = Place { dir: at.dir.clone(), passphrase: at.passphrase.silently() };
    let kept = quiet.ask(Request::Receipts { digests }).await.unwrap_or_default();
    let (custody, receipts): (Vec<Value>, Vec<Value>) =
        rows(&kept).iter().cloned().partition(|row| row["kind"] == "custody");
    if receipts.is_empty() && custody.is_empty() {
        return refused(&ProofError::Unsealed, json);
    }
    let arrived = !receipts.is_empty();
    match json {
        true => {
            as_json(&json!({"verified": arrived, "sent": true, "receipts": receipts, "custody": custody}))?
        }
        false => show_sent(&receipts, &custody)?,
    }
    if arrived {
        return Ok(());
    }
    Err(Failure::new(Exit::Data, "not verified: no reader has signed that they have this letter")
        .hint("see whether it still waits: onionskin queue"))
}

fn show_sent(receipts: &[Value], custody: &[Value]) -> Result<(), Failure> {
    match receipts.is_empty() {
        true => line(format_args!("You sent this letter; that it arrived, nobody has signed."))?,
        false => line(format_args!(
            "Verified: you sent this letter, and it arrived as it is here. Signed receipts:"
        ))?,
    }
    for receipt in receipts {
        line(format_args!(
            "  {} ({}) kept it in the hour from {}",
            clean(text(&receipt["shown"])),
            text(&receipt["reader"]),
            text(&receipt["kept"])
        ))?;
    }
    if !custody.is_empty() {
        line(format_args!(
            "Signed by holders, about the letter as it was sealed (that it is this one, your node noted):"
        ))?;
    }
    for one in custody {
        line(format_args!(
            "  kept by a holder until {}, from {}\n    (drop {})",
            text(&one["until"]),
            text(&one["from"]),
            text(&one["drop"])
        ))?;
    }
    Ok(())
}

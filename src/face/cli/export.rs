//! `key export`: prekeys for the program age, with the warning that belongs to them.

use crate::face::cli::args::Key;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::show::{rows, text};
use crate::face::cli::{Place, line, must_print, shown};
use crate::face::control::Request;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

const WARNING: &str = concat!(
    "Whoever has these keys reads every letter that was or will be sealed for them. Your node destroys each\n  ",
    "in its time, so that nobody can open old letters; what you have taken out is destroyed by you alone.\n  ",
    "Keep it offline, and delete it soon."
);

/// `onionskin key …`
pub(super) async fn key(at: &Place, command: Key) -> Result<(), Failure> {
    match command {
        Key::Export { age: Some(file), .. } => export(at, &file).await,
        Key::Export { age: None, .. } => {
            let value = at.ask(Request::Prekeys { private: false }).await?;
            match text(&value["recipient"]) {
                "" => Err(Failure::new(Exit::TempFail, "there is no key for which others may seal today")),
                recipient => line(format_args!("{recipient}")),
            }
        }
    }
}

async fn export(at: &Place, file: &Path) -> Result<(), Failure> {
    let to_output = file == Path::new("-");
    // Before any key has left its place.
    let target = if to_output { check_output().map(|()| None)? } else { new_file(file).map(Some)? };
    let value = match at.ask(Request::Prekeys { private: true }).await {
        Ok(value) => value,
        Err(failure) => {
            if !to_output {
                let _ = std::fs::remove_file(file);
            }
            return Err(failure);
        }
    };
    let keys = age_file(&value);
    match target {
        None => must_print(keys.as_bytes())?,
        Some(mut target) => target.write_all(keys.as_bytes()).and_then(|()| target.sync_all())?,
    }
    eprintln!("onionskin: {WARNING}");
    if to_output { Ok(()) } else { line(format_args!("Open a sealed file with: age -d -i {}", shown(file))) }
}

/// A file of identities as age reads it.
fn age_file(value: &Value) -> Zeroizing<String> {
    let mut keys = Zeroizing::new(format!("# Prekeys of {}: keep them secret.\n", text(&value["address"])));
    for one in rows(&value["identities"]) {
        let kind = if one["last_resort"] == true { "last resort, " } else { "" };
        *keys += &format!(
            "# {}: {kind}sealed for until {}, destroyed by the node after {}\n",
            text(&one["prekey"]),
            text(&one["seal_until"]),
            text(&one["open_until"])
        );
        *keys += text(&one["identity"]);
        *keys += "\n";
    }
    keys
}

/// A file that was not there, for its owner alone.
fn new_file(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::CannotCreate, format_args!("{} is there already", shown(path)))
                .hint("name a new file: it is made so that only you can read it")
        }
        _ => Failure::new(Exit::CannotCreate, format_args!("{} cannot be written: {error}", shown(path))),
    })
}

/// Refuses a standard output that is a file others can read.
fn check_output() -> Result<(), Failure> {
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()?;
    if output.is_file() && output.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(
            Exit::NoPermission,
            "others can read the file that this would be written to",
        )
        .hint("name it instead of - and it is made for you alone, or: umask 077"));
    }
    Ok(())
}

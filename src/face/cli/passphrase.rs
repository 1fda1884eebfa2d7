//! The passphrase: from a file descriptor, or asked for at the terminal; never from the command line.
//!
//! What a file descriptor gives is read once, at the start and up to the end of its first line, so that standard
//! input can carry the passphrase and then the letter.

use crate::face::cli::exit::{Exit, Failure};
use std::io::{IsTerminal as _, Read};
use zeroize::Zeroizing;

/// Longest passphrase, in bytes.
const PASSPHRASE_LEN_MAX: usize = 1024;

/// Where the passphrase comes from.
#[derive(Clone)]
pub(crate) struct Passphrase {
    given: Option<Zeroizing<String>>,
    silent: bool,
}

impl Passphrase {
    /// The one that this file descriptor gives; without one, a person is asked when it is needed.
    pub(super) fn from_source(fd: Option<u32>) -> Result<Self, Failure> {
        Ok(Self { given: fd.map(from_fd).transpose()?, silent: false })
    }

    /// The same, but nobody is asked.
    pub(super) fn silently(&self) -> Self {
        Self { silent: true, ..self.clone() }
    }

    fn nobody_to_ask(&self) -> bool {
        self.silent || !std::io::stdin().is_terminal()
    }

    /// The passphrase of an identity that is there; `None` if nobody can be asked.
    pub(super) fn ask(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if self.given.is_some() || self.nobody_to_ask() {
            return Ok(self.given.clone());
        }
        let asked = dialoguer::Password::new().with_prompt("Passphrase").interact();
        asked.map(|text| Some(Zeroizing::new(text))).map_err(cannot_ask)
    }

    /// A passphrase for a new identity; none leaves the disk unprotected.
    pub(super) fn choose(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if self.given.as_ref().is_some_and(|text| text.is_empty()) {
            return Err(Failure::new(Exit::NoInput, "the passphrase that was given is empty")
                .hint("to go without one, leave --passphrase-fd out"));
        }
        if self.given.is_some() || self.nobody_to_ask() {
            return Ok(self.given.clone());
        }
        let asked = dialoguer::Password::new()
            .with_prompt("Choose a passphrase (empty: none, and the disk is unprotected)")
            .with_confirmation("The same again", "The two were not the same")
            .allow_empty_password(true)
            .interact()
            .map_err(cannot_ask)?;
        Ok((!asked.is_empty()).then(|| Zeroizing::new(asked)))
    }
}

fn cannot_ask(error: dialoguer::Error) -> Failure {
    Failure::new(Exit::NoInput, format_args!("no passphrase could be read: {error}"))
        .hint("run the command at a terminal, or give --passphrase-fd FD")
}

/// The first line of an open file descriptor.
fn from_fd(fd: u32) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: &str| {
        Failure::new(Exit::NoInput, format_args!("no passphrase on file descriptor {fd}: {why}"))
            .hint("for example: onionskin --passphrase-fd 3 up 3< passphrase-file")
    };
    let read = match fd {
        // Its first line is taken from the stream that the letter or the recovery words follow on.
        0 => first_line(std::io::stdin().lock()),
        _ => std::fs::File::open(format!("/dev/fd/{fd}")).and_then(first_line),
    };
    let line = read.map_err(|error| failed(&error.to_string()))?;
    if line.len() > PASSPHRASE_LEN_MAX {
        return Err(failed("longer than 1024 bytes"));
    }
    let text = std::str::from_utf8(&line).map_err(|_| failed("not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The first line without its end, or a little more than the longest passphrase.
#[expect(clippy::unbuffered_bytes, reason = "what follows the line is not ours to take")]
fn first_line(from: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_LEN_MAX + 2));
    for byte in from.bytes().take(PASSPHRASE_LEN_MAX + 1) {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_is_taken() {
        let mut from = &b"secret\r\nTo: ann"[..];
        assert_eq!(*first_line(&mut from).unwrap(), b"secret");
        assert_eq!(from, b"To: ann");
        assert_eq!(*first_line(&b""[..]).unwrap(), b"");
        let long = vec![b'x'; 3 * PASSPHRASE_LEN_MAX];
        assert_eq!(first_line(&long[..]).unwrap().len(), PASSPHRASE_LEN_MAX + 1);
    }
}

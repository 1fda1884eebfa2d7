//! `init`, and what the first `up` shows: the address, the recovery words, the mail program's settings.

use crate::face::cli::args::Init;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::{self, Made};
use crate::face::cli::{Place, keys, line, must_print, shown};
use crate::model::identity::{Identity, RecoveryWords};
use crate::model::policy;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest text read for recovery words, in bytes: 24 words, numbered, on paper-like lines.
const WORDS_TEXT_LEN_MAX: u64 = 4096;

/// `onionskin init`
pub(super) async fn init(at: &Place, args: Init) -> Result<(), Failure> {
    let name = name_of(&args.name)?;
    let passphrase = if args.no_passphrase { at.passphrase.silently() } else { at.passphrase.clone() };
    if household::has_identity(&at.dir) {
        return Err(there_already());
    }
    let made = match args.recover {
        true => {
            let words = read_words()?;
            household::make(&at.dir, &words, name, &passphrase, |identity, protected| {
                certify(at, args.revocation.as_deref(), &words)?;
                line(format_args!("Your identity is back: {}", identity.address().full()))?;
                protection(protected)
            })
            .await?
        }
        false => {
            let words = RecoveryWords::from_entropy(household::entropy()?);
            household::make(&at.dir, &words, name, &passphrase, |identity, protected| {
                announce(at, identity, &words, protected, args.revocation.as_deref())
            })
            .await?
        }
    };
    match made {
        Made::New(..) => line(format_args!("\nBring your node up with:  onionskin up")),
        Made::Before(..) => Err(there_already()),
    }
}

fn there_already() -> Failure {
    Failure::new(Exit::CannotCreate, "there is an identity in this data directory already")
        .hint("another identity needs a directory of its own: onionskin --data-dir DIR init")
}

/// The part before the @, as a person chose it.
pub(super) fn name_of(text: &str) -> Result<crate::model::address::LocalPart, Failure> {
    policy::choose_name(text)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint("for example: --name ann"))
}

/// Shows a new identity: address first, then the words. It fails if they cannot be shown.
pub(super) fn announce(
    at: &Place,
    identity: &Identity,
    words: &RecoveryWords,
    protected: bool,
    revocation: Option<&Path>,
) -> Result<(), Failure> {
    certify(at, revocation, words)?;
    let mut text = Zeroizing::new(format!(
        "Your mail address is\n\n    {}\n\n\
         These 24 words bring your address back if this machine is lost. They are shown this once.\n\
         Write them on paper, in this order; whoever has them can be you.\n\n",
        identity.address().full()
    ));
    for (row, four) in words.words().chunks(4).enumerate() {
        let mut cells = Zeroizing::new(String::new());
        for (column, word) in four.iter().enumerate() {
            *cells += &format!(" {:>2}. {word:<10}", row * 4 + column + 1);
        }
        *text += &format!("   {}\n", cells.trim_end());
    }
    must_print(format!("{}\n", text.as_str()).as_bytes()).map_err(|error| {
        Failure::new(Exit::Io, format_args!("the recovery words could not be shown: {error}"))
            .hint("no identity was made; run the command again where its output can be read")
    })?;
    if revocation.is_none() {
        line(format_args!(
            "If your key is ever stolen, these words revoke it (onionskin revoke). A certificate that can do only\n\
             that, without the words, is made by: onionskin revoke --make FILE\n"
        ))?;
    }
    protection(protected)
}

/// Writes the revocation certificate, if a file was named for it.
fn certify(at: &Place, file: Option<&Path>, words: &RecoveryWords) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    keys::write_beforehand(at, file, words)?;
    line(format_args!(
        "Your revocation certificate is in {}. Keep it apart from this machine.\n",
        shown(file)
    ))
}

fn protection(protected: bool) -> Result<(), Failure> {
    if protected {
        return line(format_args!("Your mail on this disk is protected by your passphrase."));
    }
    line(format_args!(
        "No passphrase: whoever can read this disk can read your mail and be you. The disk is unprotected."
    ))
}

pub(super) fn read_words() -> Result<RecoveryWords, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("Type your 24 words, in order, on one or several lines; then Ctrl-D:");
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(WORDS_TEXT_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Exit::NoInput, format_args!("the words could not be read: {error}")))?;
    RecoveryWords::parse(&text).map_err(|error| {
        Failure::new(Exit::Data, error.to_string())
            .hint("nothing was made; look at your paper and run the command again")
    })
}

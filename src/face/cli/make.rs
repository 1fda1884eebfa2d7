//! `init`, and what the first `up` shows: the address, the recovery words, the mail program's settings.

use crate::face::cli::args::Init;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::{self, Made, PassphraseSource};
use crate::face::cli::{Place, line};
use crate::model::identity::RecoveryWords;
use crate::model::policy;
use std::io::{IsTerminal as _, Read as _};
use zeroize::Zeroizing;

/// Longest text read for recovery words, in bytes: 24 words, numbered, on paper-like lines.
const WORDS_TEXT_LEN_MAX: u64 = 4096;

/// `onionskin init`
pub(super) async fn init(at: &Place, args: Init) -> Result<(), Failure> {
    let name = name_of(&args.name)?;
    let passphrase = PassphraseSource { silent: args.no_passphrase, ..at.passphrase };
    if household::has_identity(&at.dir) {
        return Err(Failure::new(Exit::CannotCreate, "there is an identity in this data directory already")
            .hint("another identity needs a directory of its own: onionskin --data-dir DIR init"));
    }
    if args.recover {
        let words = read_words()?;
        let made = household::make(&at.dir, &words, name, passphrase).await?;
        line(format_args!("Your identity is back: {}", made.desk.identity().address().full()))?;
        return protection(&made);
    }
    let words = RecoveryWords::from_entropy(household::entropy()?);
    let made = household::make(&at.dir, &words, name, passphrase).await?;
    announce(&made, &words)?;
    line(format_args!("\nBring your node up with:  onionskin up"))
}

/// The part before the @, as a person chose it.
pub(super) fn name_of(text: &str) -> Result<crate::model::address::LocalPart, Failure> {
    policy::choose_name(text)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint("for example: --name ann"))
}

/// Shows a new identity: address first, then the words.
pub(super) fn announce(made: &Made, words: &RecoveryWords) -> Result<(), Failure> {
    line(format_args!("Your mail address is\n\n    {}\n", made.desk.identity().address().full()))?;
    line(format_args!(
        "These 24 words bring your address back if this machine is lost. They are shown this once.\n\
         Write them on paper, in this order; whoever has them can be you.\n"
    ))?;
    for (row, four) in words.words().chunks(4).enumerate() {
        let cells: Vec<String> = four
            .iter()
            .enumerate()
            .map(|(column, word)| format!("{:>2}. {word:<10}", row * 4 + column + 1))
            .collect();
        line(format_args!("    {}", cells.join(" ").trim_end()))?;
    }
    line(format_args!(""))?;
    protection(made)
}

fn protection(made: &Made) -> Result<(), Failure> {
    if made.household.vault.protected {
        return line(format_args!("Your mail on this disk is protected by your passphrase."));
    }
    line(format_args!(
        "No passphrase: whoever can read this disk can read your mail and be you. The disk is unprotected."
    ))
}

fn read_words() -> Result<RecoveryWords, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("Type your 24 words, in order, on one or several lines; then Ctrl-D:");
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(WORDS_TEXT_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Exit::NoInput, format_args!("the words could not be read: {error}")))?;
    RecoveryWords::parse(&text).map_err(|error| Failure::new(Exit::Data, error.to_string()))
}

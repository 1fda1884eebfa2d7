//! The command line as clap sees it: every command, flag and help text.

mod guest;
mod holder;
mod keys;

use crate::model::trust::{Method, Tier};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

pub(crate) use guest::Guest;
pub(crate) use holder::Holder;
pub(crate) use keys::{Delegate, Revoke, Successor};

/// The heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Mail without a provider: your node's onion address is your mail address.
#[derive(Debug, Parser)]
#[command(name = "onionskin", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "First steps:\n  \
    onionskin up                 make your address (once) and bring your node up\n  \
    onionskin credentials        a password for your mail program\n  \
    onionskin status             is my node reachable, is anything waiting?\n  \
    onionskin doctor             what is wrong, and what to do about it\n  \
    onionskin address            your address, to give away\n  \
    onionskin send ADDRESS -s \"Hello\" -m \"The text\"\n\n\
    Your node must be up to send and receive. What you send while it is down is queued.\n\
    To stop it: Ctrl-C, or the signal TERM.")]
pub(crate) struct Cli {
    /// Where your identity and mail are kept [default: the variable ONIONSKIN_DATA_DIR, or else the platform's data
    /// directory].
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub data_dir: Option<PathBuf>,

    /// Read the passphrase (one line) from this open file descriptor instead of asking for it.
    #[arg(long, global = true, value_name = "FD", help_heading = EVERYWHERE)]
    pub passphrase_fd: Option<u32>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring your node up and keep it up (the first time, this makes your identity too).
    Up(Up),
    /// Make your identity: a key, an address, and 24 recovery words shown once.
    Init(Init),
    /// Show whether the node is up and reachable, and what waits to be sent.
    Status(Json),
    /// Look at everything that must be right for mail to flow, and say what to do about what is not.
    Doctor(Json),
    /// Print your mail address.
    Address(Address),
    /// Make a password for a mail program; shown once.
    Credentials(Credentials),
    /// Write a letter; without --message, the text is read from standard input.
    Send(Send),
    /// Send a complete message from standard input, as the sendmail program does.
    Sendmail(Sendmail),
    /// List the letters of a folder.
    Inbox(Inbox),
    /// Print one letter of a folder.
    Read(Read),
    /// Show or change what waits to be sent.
    Queue {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// What to do with the queue; without it, list.
        #[command(subcommand)]
        command: Option<Queue>,
    },
    /// Show or decide who others are to you.
    Contacts {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// What to do; without it, list.
        #[command(subcommand)]
        command: Option<Contacts>,
    },
    /// Show why others are who they are to you, and help to check an address.
    Trust {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// What to show.
        #[command(subcommand)]
        command: Trust,
    },
    /// Let contacts keep sealed letters for you while you are away, and keep theirs.
    Holder {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// What to do; without it, list.
        #[command(subcommand)]
        command: Option<Holder>,
    },
    /// Let people without a node have an address here, and read by IMAP on an onion that only they find.
    Guest {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// What to do; without it, list.
        #[command(subcommand)]
        command: Option<Guest>,
    },
    /// Introduce two of your contacts to each other.
    Introduce(Introduce),
    /// Vouch to somebody that their address is theirs.
    Vouch(Vouch),
    /// Make an invitation: a link, a QR code and words, good once.
    Invite(Invite),
    /// Take up an invitation: you know who invites you, and they get a letter.
    Accept(Accept),
    /// Say that your key is in wrong hands, for ever; needs your 24 words, or the certificate.
    Revoke(Revoke),
    /// Name the address that comes after yours; needs your 24 words.
    Successor(Successor),
    /// Let somebody write on your behalf for a while.
    Delegate(Delegate),
    /// Check a letter that was saved to a file: who signed it, for whom, and whether it is unaltered.
    Verify(Verify),
    /// Take keys of yours elsewhere.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: Key,
    },
    /// Print a completion script for your shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `onionskin up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The part before the @ of a new identity [default: me].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Port on 127.0.0.1 where mail programs read (IMAP); 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 1143)]
    pub imap_port: u16,
    /// Port on 127.0.0.1 where mail programs send (SMTP submission); 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 1587)]
    pub smtp_port: u16,
    /// Write the revocation certificate of a new identity to this new file (see: onionskin init --help).
    #[arg(long, value_name = "FILE")]
    pub revocation: Option<PathBuf>,
    /// Use another network than the public Tor network: the file of a private Tor network, or sim:SOCKET.
    #[arg(long, value_name = "FILE|sim:SOCKET")]
    pub network: Option<String>,
}

/// `onionskin init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The part before the @ of your address.
    #[arg(long, value_name = "NAME", default_value = "me")]
    pub name: String,
    /// Bring an identity back from its 24 recovery words, read from standard input.
    #[arg(long)]
    pub recover: bool,
    /// Do not ask for a passphrase; the disk is then unprotected.
    #[arg(long)]
    pub no_passphrase: bool,
    /// Also write a revocation certificate to this new file: with it you can say one day, without your words, that
    /// your key is in wrong hands. Keep it apart from this machine.
    #[arg(long, value_name = "FILE")]
    pub revocation: Option<PathBuf>,
}

/// A command with nothing but `--json`.
#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin address`
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// Show it as a QR code too, to be compared in person.
    #[arg(long)]
    pub qr: bool,
    /// Write the QR code to this new file.
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin credentials`
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// What the password is for, so that you can tell them apart.
    #[arg(long, value_name = "LABEL", default_value = "mail program")]
    pub label: String,
    /// List the passwords made so far (never the passwords themselves).
    #[arg(long, conflicts_with = "revoke")]
    pub list: bool,
    /// Revoke the password with this number (see --list).
    #[arg(long, value_name = "NUMBER")]
    pub revoke: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin send`
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// To whom: name@<56 characters>.onion
    #[arg(required = true, value_name = "ADDRESS")]
    pub to: Vec<String>,
    /// The subject.
    #[arg(short, long, default_value = "")]
    pub subject: String,
    /// The text; without it, standard input is read.
    #[arg(short, long)]
    pub message: Option<String>,
    /// Write on behalf of this address, whose owner let you (see: onionskin delegate --list).
    #[arg(long, value_name = "ADDRESS")]
    pub behalf: Option<String>,
    /// Attach a file; may be given several times.
    #[arg(short, long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin sendmail`, with the flags that mail programs pass to a sendmail program.
#[derive(Debug, Args)]
pub(crate) struct Sendmail {
    /// Take the recipients from To, Cc and Bcc.
    #[arg(short = 't')]
    pub from_headers: bool,
    /// A line with a single dot does not end the message (it never does here).
    #[arg(short = 'i')]
    pub ignore_dots: bool,
    /// The sender; must be an address of this identity.
    #[arg(short = 'f', value_name = "ADDRESS")]
    pub from: Option<String>,
    /// The sender's name; accepted and left unused.
    #[arg(short = 'F', value_name = "NAME")]
    pub full_name: Option<String>,
    /// sendmail's -o options (-oi, -oem …); accepted, and nothing follows from them.
    #[arg(short = 'o', value_name = "OPTION")]
    pub option: Vec<String>,
    /// The body's type (7BIT, 8BITMIME); accepted, every letter travels as it is.
    #[arg(short = 'B', value_name = "TYPE")]
    pub body: Option<String>,
    /// To whom.
    #[arg(value_name = "ADDRESS")]
    pub to: Vec<String>,
}

/// `onionskin inbox`
#[derive(Debug, Args)]
pub(crate) struct Inbox {
    /// Which folder.
    #[arg(long, value_name = "NAME", default_value = "INBOX")]
    pub folder: String,
    /// Only the newest so many letters (10,000 at most, which is what is listed without this).
    #[arg(long, value_name = "COUNT")]
    pub last: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin read`
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// The number that `onionskin inbox` shows.
    pub number: u32,
    /// Which folder.
    #[arg(long, value_name = "NAME", default_value = "INBOX")]
    pub folder: String,
    /// Print the letter byte for byte, headers and all.
    #[arg(long)]
    pub raw: bool,
}

/// `onionskin queue …`
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Show what waits.
    List,
    /// Try now.
    Retry {
        /// Which (see list); all without it.
        number: Vec<u64>,
    },
    /// Take letters back that have not been delivered.
    Cancel {
        /// Which (see list).
        #[arg(required = true)]
        number: Vec<u64>,
    },
}

/// `onionskin contacts …`; everybody is named by address or by the name you gave them.
#[derive(Debug, Subcommand)]
pub(crate) enum Contacts {
    /// Show everybody you decided about, and who was introduced to you.
    List,
    /// Show one of them.
    Show {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
    /// Give somebody a name of your own; an empty one takes it away.
    Rename {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
        /// What you call them.
        name: String,
    },
    /// You know them, and believe whom they introduce.
    Trust {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
    /// You know them: their letters go to INBOX.
    Know {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
    /// You want nothing of them: their letters go to Junk.
    Block {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
    /// Undo a decision: the last one, or that of a number.
    Undo {
        /// The number that `contacts log` shows.
        number: Option<u64>,
    },
    /// Show all decisions.
    Log,
    /// Follow somebody who named a new address: it becomes to you what the old one is.
    Follow {
        /// Whom, by the old address.
        #[arg(value_name = "ADDRESS")]
        who: String,
        /// You have checked the new address with them.
        #[arg(long)]
        checked: bool,
    },
    /// Pass the revocation of somebody on. Those to whom you do learn that you know them; nobody else does.
    PassOn {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        who: String,
        /// To whom.
        #[arg(required = true, value_name = "TO")]
        to: Vec<String>,
    },
}

/// `onionskin trust …`
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Show why somebody is who they are to you: introduced by whom, when, how checked.
    Why {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
    /// Print your web of trust as a picture (SVG).
    Graph {
        /// In the language of Graphviz instead.
        #[arg(long)]
        dot: bool,
        /// As SVG, which is the default.
        #[arg(long, conflicts_with = "dot")]
        svg: bool,
    },
    /// Print words that you and somebody else read to each other, to be sure of each other's address.
    Words {
        /// Whom.
        #[arg(value_name = "ADDRESS")]
        who: String,
    },
}

/// How an address was checked.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum How {
    /// Face to face, by QR code or by reading addresses to each other.
    InPerson,
    /// By voice, with safety words (onionskin trust words).
    Voice,
    /// Only learnt by mail.
    Mail,
}

impl From<How> for Method {
    fn from(how: How) -> Self {
        match how {
            How::InPerson => Self::InPerson,
            How::Voice => Self::Voice,
            How::Mail => Self::Mail,
        }
    }
}

/// `onionskin introduce`
#[derive(Debug, Args)]
pub(crate) struct Introduce {
    /// One contact: an address, or the name you gave them.
    #[arg(value_name = "ADDRESS")]
    pub first: String,
    /// The other.
    #[arg(value_name = "OTHER")]
    pub second: String,
    /// How you checked their addresses.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = How::Mail)]
    pub method: How,
    /// What you have to say about it, to both.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin vouch`
#[derive(Debug, Args)]
pub(crate) struct Vouch {
    /// A contact: an address, or the name you gave them.
    #[arg(value_name = "ADDRESS")]
    pub who: String,
    /// How you checked their address.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = How::Mail)]
    pub method: How,
    /// They may show it to others.
    #[arg(long)]
    pub show: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What an invitation makes who uses it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Grant {
    /// Their letters go to INBOX.
    Introduced,
    /// The same, by your own decision.
    Known,
    /// You also believe whom they introduce.
    Trusted,
}

impl From<Grant> for Tier {
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::Introduced => Self::Introduced,
            Grant::Known => Self::Known,
            Grant::Trusted => Self::Trusted,
        }
    }
}

/// `onionskin invite …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Invite {
    /// For how many days it can be used.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub days: u32,
    /// What it makes who uses it.
    #[arg(long, value_enum, value_name = "TIER", default_value_t = Grant::Known)]
    pub tier: Grant,
    /// For whom it is, so that you can tell them apart.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub label: String,
    /// Write the QR code to this new file.
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Something else than making one.
    #[command(subcommand)]
    pub command: Option<Invites>,
}

/// What else there is to do with invitations.
#[derive(Debug, Subcommand)]
pub(crate) enum Invites {
    /// Show those that were made.
    List,
    /// Take one back that nobody used yet.
    Cancel {
        /// The code that `invite list` shows.
        code: String,
    },
}

/// `onionskin accept`
#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The link, or all the words.
    #[arg(required = true, value_name = "LINK|WORDS")]
    pub invitation: Vec<String>,
    /// What you write with it.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The file with the letter, headers and all, or - for standard input.
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `onionskin key …`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Give your prekeys to the program age: whoever has them reads what was and will be sealed for them.
    #[command(group(clap::ArgGroup::new("what").required(true)))]
    Export {
        /// Write the private halves to this new file, or to standard output for -.
        #[arg(long, value_name = "FILE", group = "what")]
        age: Option<PathBuf>,
        /// Print the public key for which others may seal today (age1pq1…).
        #[arg(long, group = "what")]
        recipient: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sendmails_usual_flags_are_understood() {
        for line in
            ["sendmail -t", "sendmail -t -i -oi -f a@b", "sendmail -oem -oi -B8BITMIME -F Ann a@b c@d"]
        {
            assert!(Cli::try_parse_from(["onionskin"].into_iter().chain(line.split(' '))).is_ok(), "{line}");
        }
    }
}

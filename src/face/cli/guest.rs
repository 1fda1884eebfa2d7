//! `guest`: what is asked, and what is printed for people: what a guest needs, and what the holder can see.

use crate::face::cli::args::Guest;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::holder::size;
use crate::face::cli::show::{as_json, rows, text};
use crate::face::cli::{Place, line};
use crate::face::control::{Guests, Request};
use serde_json::Value;
use std::io::IsTerminal as _;

/// How an answer is shown.
type Show = fn(&Value) -> Result<(), Failure>;

/// `onionskin guest …`
pub(super) async fn guest(at: &Place, command: Option<Guest>, json: bool) -> Result<(), Failure> {
    let (ask, shown): (Guests, Show) = match command.unwrap_or(Guest::List) {
        Guest::List => (Guests::List, list),
        Guest::Add(add) => {
            let ask = Guests::Add { name: add.name, age: add.age, bytes: add.bytes, client: add.client_auth };
            (ask, added)
        }
        Guest::Remove { name, yes } => {
            if !yes {
                confirm(at, &name).await?;
            }
            (Guests::Remove { name }, removed)
        }
        Guest::Password { name } => (Guests::Password { name }, new_password),
    };
    let value = at.ask(Request::Guests { ask }).await?;
    if json { as_json(&value) } else { shown(&value) }
}

/// Asks whether a guest is to go, and says what goes with them.
async fn confirm(at: &Place, name: &str) -> Result<(), Failure> {
    let all = at.ask(Request::Guests { ask: Guests::List }).await?;
    let name = name.trim().to_ascii_lowercase();
    let Some(row) = rows(&all["guests"]).iter().find(|row| text(&row["name"]) == name) else {
        // What is wrong is said by whoever removes.
        return Ok(());
    };
    let what = format!("{} with {}", text(&row["address"]), letters(row));
    if !std::io::stdin().is_terminal() {
        let failure = format_args!("this deletes {what}, which nobody can bring back");
        return Err(Failure::new(Exit::Usage, failure).hint("if you mean it, add --yes"));
    }
    eprint!("This deletes {what}, which nobody can bring back. Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().eq_ignore_ascii_case("yes") {
        true => Ok(()),
        false => Err(Failure::new(Exit::Usage, "nothing was removed")),
    }
}

fn letters(row: &Value) -> String {
    let count = match row["letters"].as_u64().unwrap_or(0) {
        0 => return "no letters".to_owned(),
        1 => "1 letter".to_owned(),
        count => format!("{count} letters"),
    };
    format!("{count} ({})", size(&row["used"]))
}

fn added(value: &Value) -> Result<(), Failure> {
    let (address, onion) = (text(&value["address"]), text(&value["imap"]["host"]));
    line(format_args!(
        "Your guest's address    {address}\n\
         Room for letters        {room}\n\n\
         What your guest needs, over a way that you both trust:\n\
         IMAP server    {onion}, port {port}, no encryption (Tor is it)\n\
         User           {user}\n\
         Password       {password}   (shown this once)",
        room = size(&value["bytes"]),
        port = value["imap"]["port"],
        user = text(&value["user"]),
        password = text(&value["password"]),
    ))?;
    match value["client_auth"].as_str() {
        Some(secret) => line(format_args!(
            "Tor key        {secret}\n\
             \x20              (shown this once: the one line of a file whose name ends in .auth_private,\n\
             \x20              in the directory that ClientOnionAuthDir names in their torrc)"
        ))?,
        None => line(format_args!(
            "Tor key        the secret half of the key that you were given, with the onion in front"
        ))?,
    }
    line(format_args!(
        "\nWhat you can and cannot see: a letter for your guest comes to your node, which opens it,\n\
         checks who wrote it and seals it with your guest's age key. For that moment your node has\n\
         it in clear; what is on your disk and in your backups nobody opens without your guest's\n\
         secret key. You see when letters come, how large they are, from which node, and when your\n\
         guest reads. Your guest trusts you not to look: what you must not see even for a moment,\n\
         its author seals for your guest before it is sent (age -r KEY).\n\n\
         What happens next: the onion is there within a minute while your node runs. A recipe for\n\
         your guest is in docs/guide/guest.md."
    ))
}

fn new_password(value: &Value) -> Result<(), Failure> {
    line(format_args!(
        "User        {}\n\
         Password    {}   (shown this once; the old one ends now)",
        text(&value["user"]),
        text(&value["password"])
    ))
}

fn removed(value: &Value) -> Result<(), Failure> {
    line(format_args!(
        "{} reads here no more. Deleted: {}. Their onion is gone; letters for them are refused.",
        text(&value["name"]),
        letters(value)
    ))
}

fn list(value: &Value) -> Result<(), Failure> {
    let guests = rows(&value["guests"]);
    if guests.is_empty() {
        return line(format_args!(
            "Nobody without a node reads here.\n\
             To take somebody in: onionskin guest add NAME --age THEIR-AGE-KEY"
        ));
    }
    for row in guests {
        line(format_args!("{}", text(&row["address"])))?;
        let unseen = &row["unseen"];
        let room = size(&row["bytes"]);
        line(format_args!("    {}, {unseen} not read; room for {room}", letters(row)))?;
        let onion = text(&row["imap"]["host"]);
        line(format_args!(
            "    reads at {onion}, port {}, since {}",
            row["imap"]["port"],
            text(&row["since"])
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn letters_are_counted_in_words() {
        assert_eq!(letters(&json!({"letters": 0, "used": 0})), "no letters");
        assert_eq!(letters(&json!({"letters": 1, "used": 2048})), "1 letter (2 KiB)");
        assert_eq!(letters(&json!({"letters": 7, "used": 1 << 20})), "7 letters (1 MiB)");
    }
}

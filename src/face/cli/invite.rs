//! `invite`, `accept` and the pictures of `address`: what is asked, and what is printed for people.

use crate::face::cli::args::{Accept, Address, Invite, Invites};
use crate::face::cli::exit::Failure;
use crate::face::cli::show::{as_json, clean, rows, text};
use crate::face::cli::{Place, line, qr, show};
use crate::face::control::{InviteAsk, Request};
use serde_json::{Value, json};

/// Words in a line.
const ROW: usize = 6;

/// `onionskin invite …`
pub(super) async fn invite(at: &Place, args: Invite) -> Result<(), Failure> {
    let ask = match args.command {
        Some(Invites::List) => InviteAsk::List,
        Some(Invites::Cancel { code }) => InviteAsk::Cancel { code },
        None => InviteAsk::Make { days: args.days, tier: args.tier.into(), label: args.label },
    };
    let is_list = ask == InviteAsk::List;
    let mut value = at.ask(Request::Invites { ask }).await?;
    if let Some(path) = args.png.filter(|_| value["link"].is_string()) {
        qr::write(text(&value["link"]), &path)?;
        value["png"] = json!(path.display().to_string());
    }
    match (args.json, is_list) {
        (true, _) => as_json(&value),
        (false, true) => list(&value),
        (false, false) if value["cancelled"].is_string() => cancelled(&value),
        (false, false) => made(&value),
    }
}

/// `onionskin accept`
pub(super) async fn accept(at: &Place, args: Accept) -> Result<(), Failure> {
    let ask = InviteAsk::Accept { invitation: args.invitation.join(" "), text: args.message };
    let value = at.ask(Request::Invites { ask }).await?;
    if args.json {
        return as_json(&value);
    }
    line(format_args!(
        "You know {} now, and a letter with your answer is queued. See how it goes with: onionskin queue",
        clean(text(&value["address"]))
    ))
}

/// `onionskin address`
pub(super) async fn address(at: &Place, args: Address) -> Result<(), Failure> {
    let value = at.ask(Request::Status).await?;
    let own = text(&value["identities"][0]["address"]);
    if let Some(path) = &args.png {
        qr::write(own, path)?;
    }
    show::address(&value, args.json)?;
    if args.qr && !args.json {
        qr::show(own)?;
    }
    Ok(())
}

fn made(value: &Value) -> Result<(), Failure> {
    qr::show(text(&value["link"]))?;
    line(format_args!("\n{}\n", text(&value["link"])))?;
    for (at, row) in rows(&value["words"]).chunks(ROW).enumerate() {
        let cells = row
            .iter()
            .enumerate()
            .map(|(place, word)| format!("{:>3}. {:<9}", at * ROW + place + 1, text(word)));
        line(format_args!("{}", cells.collect::<String>().trim_end()))?;
    }
    line(format_args!(
        "\nGive the link, the picture or the words to one person. Whoever uses it first, until {},\n\
         is {} to you. What they type: onionskin accept LINK\n\
         To take it back: onionskin invite cancel {}",
        text(&value["until"]),
        text(&value["tier"]),
        text(&value["code"])
    ))
}

fn list(value: &Value) -> Result<(), Failure> {
    if rows(value).is_empty() {
        return line(format_args!("There are no invitations. Make one with: onionskin invite"));
    }
    for row in rows(value) {
        line(format_args!(
            "{}  {:<5} until {}  {}  {}",
            text(&row["code"]),
            text(&row["state"]),
            text(&row["until"]),
            text(&row["tier"]),
            clean(text(&row["label"]))
        ))?;
        if let Some(who) = row["used_by"].as_str() {
            line(format_args!("          by {who} on {}", text(&row["used_at"])))?;
        }
    }
    Ok(())
}

fn cancelled(value: &Value) -> Result<(), Failure> {
    let code = text(&value["cancelled"]);
    match value["was_used"] == true {
        true => line(format_args!("Forgotten: {code} had been used; who used it stays what they are.")),
        false => line(format_args!("Taken back: {code} can be used by nobody any more.")),
    }
}

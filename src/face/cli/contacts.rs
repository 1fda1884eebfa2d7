//! `contacts` and `trust`: what is asked, and what is printed for people.

use crate::face::cli::args::{Contacts, Trust};
use crate::face::cli::exit::Failure;
use crate::face::cli::show::{as_json, clean, rows, text};
use crate::face::cli::{Place, keys, line, print};
use crate::face::control::{Ask, Request};
use crate::model::trust::Tier;
use serde_json::Value;

/// How an answer is shown.
type Show = fn(&Value) -> Result<(), Failure>;

/// `onionskin contacts …`
pub(super) async fn contacts(at: &Place, command: Option<Contacts>, json: bool) -> Result<(), Failure> {
    let command = match command.unwrap_or(Contacts::List) {
        Contacts::Follow { who, checked } => return keys::follow(at, who, checked, json).await,
        Contacts::PassOn { who, to } => return keys::pass_on(at, who, to, json).await,
        command => command,
    };
    let (ask, shown): (Ask, Show) = match command {
        Contacts::List => (Ask::List, list),
        Contacts::Show { who } => (Ask::Show { who }, show),
        Contacts::Rename { who, name } => (Ask::Rename { who, name }, renamed),
        Contacts::Trust { who } => (Ask::Decide { who, tier: Tier::Trusted }, decided),
        Contacts::Know { who } => (Ask::Decide { who, tier: Tier::Known }, decided),
        Contacts::Block { who } => (Ask::Decide { who, tier: Tier::Blocked }, decided),
        Contacts::Undo { number } => (Ask::Undo { number }, undone),
        Contacts::Log | Contacts::Follow { .. } | Contacts::PassOn { .. } => (Ask::Log, log),
    };
    let value = at.ask(Request::Contacts { ask }).await?;
    if json { as_json(&value) } else { shown(&value) }
}

/// `onionskin trust …`
pub(super) async fn trust(at: &Place, command: Trust, json: bool) -> Result<(), Failure> {
    let (ask, shown): (Ask, Show) = match command {
        Trust::Why { who } => (Ask::Why { who }, why),
        Trust::Graph { dot: true, .. } => (Ask::Graph, |value| print(text(&value["dot"]).as_bytes())),
        Trust::Graph { .. } => (Ask::Graph, |value| print(text(&value["svg"]).as_bytes())),
        Trust::Words { who } => (Ask::Words { who }, words),
    };
    let value = at.ask(Request::Contacts { ask }).await?;
    if json { as_json(&value) } else { shown(&value) }
}

fn list(value: &Value) -> Result<(), Failure> {
    if rows(value).is_empty() {
        return line(format_args!(
            "You have no contacts yet. Make one with: onionskin contacts know ADDRESS"
        ));
    }
    for row in rows(value) {
        line(format_args!("{:<11} {}", text(&row["tier"]), clean(text(&row["shown"]))))?;
        line(format_args!("            {}", text(&row["address"])))?;
        line(format_args!("            {}", clean(text(&row["reason"]))))?;
        question(row)?;
    }
    Ok(())
}

fn question(row: &Value) -> Result<(), Failure> {
    match row["question"].as_str() {
        Some(question) => line(format_args!(
            "            ? {}\n              Say what they are: onionskin contacts know|trust|block ADDRESS",
            clean(question)
        )),
        None => Ok(()),
    }
}

fn show(row: &Value) -> Result<(), Failure> {
    why(row)?;
    question(row)?;
    if let Some(moved_to) = row["moved_to"].as_str() {
        line(format_args!(
            "            names a new address: {moved_to}; to check it: onionskin contacts follow ADDRESS"
        ))?;
    }
    let card = &row["card"];
    if card.is_object() {
        line(format_args!(
            "            their Card is number {}, known since {}",
            card["sequence"],
            text(&card["since"])
        ))?;
    }
    if let Some(refused) = card["refused"]["why"].as_str() {
        let at = text(&card["refused"]["at"]);
        line(format_args!("            ! a Card was refused on {at}: {}", clean(refused)))?;
    }
    looks_like(row)
}

fn why(row: &Value) -> Result<(), Failure> {
    line(format_args!("{:<11} {}", text(&row["tier"]), clean(text(&row["shown"]))))?;
    line(format_args!("            {}", text(&row["address"])))?;
    for reason in rows(&row["lines"]) {
        line(format_args!("            {}", clean(text(reason))))?;
    }
    Ok(())
}

fn looks_like(row: &Value) -> Result<(), Failure> {
    for other in rows(&row["looks_like"]) {
        line(format_args!(
            "            ! looks like {} ({}), and is another: compare every character",
            clean(text(&other["shown"])),
            text(&other["address"])
        ))?;
    }
    Ok(())
}

fn renamed(value: &Value) -> Result<(), Failure> {
    let before = clean(text(&value["before"]));
    match value["name"].as_str() {
        Some(name) => line(format_args!("{before} is called {} now.", clean(name))),
        None => line(format_args!("{before} has no name any more.")),
    }
}

fn decided(value: &Value) -> Result<(), Failure> {
    let name = clean(text(&value["name"]));
    line(format_args!("{name} is {} now (was: {}).", text(&value["tier"]), text(&value["before"])))?;
    line(format_args!("            {}", text(&value["address"])))?;
    looks_like(value)?;
    line(format_args!("To undo it: onionskin contacts undo {}", value["number"]))
}

fn undone(value: &Value) -> Result<(), Failure> {
    line(format_args!(
        "Undone ({}). {} is {} now.",
        clean(text(&value["undone"])),
        clean(text(&value["shown"])),
        text(&value["tier"])
    ))
}

fn log(value: &Value) -> Result<(), Failure> {
    if rows(value).is_empty() {
        return line(format_args!("Nothing has been decided yet."));
    }
    for row in rows(value) {
        let tier = |tier: &Value| tier.as_str().unwrap_or("undecided").to_owned();
        let mark = if row["undone"] == true { " (undone)" } else { "" };
        line(format_args!(
            "{:>5}  {}  {}: {} → {}{mark}",
            row["number"],
            text(&row["at"]),
            clean(text(&row["name"])),
            tier(&row["before"]),
            tier(&row["after"])
        ))?;
        line(format_args!("       {}", clean(text(&row["why"]))))?;
    }
    Ok(())
}

fn words(value: &Value) -> Result<(), Failure> {
    line(format_args!("Read these to {}, who must see the same:", clean(text(&value["name"]))))?;
    for (at, word) in rows(&value["words"]).iter().enumerate() {
        line(format_args!("  {}. {}", at + 1, text(word)))?;
    }
    Ok(())
}

//! `holder`: what is asked, and what is printed for people: what holding costs, and what a holder can see.

use crate::face::cli::args::Holder;
use crate::face::cli::exit::Failure;
use crate::face::cli::show::{as_json, clean, rows, text};
use crate::face::cli::{Place, line};
use crate::face::control::{Holders, Request};
use serde_json::Value;

/// How an answer is shown.
type Show = fn(&Value) -> Result<(), Failure>;

/// `onionskin holder …`
pub(super) async fn holder(at: &Place, command: Option<Holder>, json: bool) -> Result<(), Failure> {
    let (ask, shown): (Holders, Show) = match command.unwrap_or(Holder::List) {
        Holder::List => (Holders::List, list),
        Holder::Ask(ask) => {
            (Holders::Ask { who: ask.who, bytes: ask.bytes, days: ask.days, shared: ask.shared }, asked)
        }
        Holder::Grant(grant) => {
            (Holders::Grant { who: grant.who, bytes: grant.bytes, days: grant.days }, granted)
        }
        Holder::Limit { bytes } => (Holders::Limit { bytes }, limit),
        Holder::End(end) => {
            let only = end.only();
            (Holders::End { who: end.who, only }, ended)
        }
    };
    let value = at.ask(Request::Holders { ask }).await?;
    if json { as_json(&value) } else { shown(&value) }
}

fn asked(value: &Value) -> Result<(), Failure> {
    let name = clean(text(&value["shown"]));
    line(format_args!(
        "You ask {name} to keep letters for you while your node is away: {}.\n\n\
         What it costs them: that much room on their disk, and Tor traffic for what comes and\n\
         goes, while their node is running anyway.\n\
         What they see: that letters come for you, when, how large they are (in steps), and\n\
         when you fetch them. They do not see who wrote them, nor what is in them: each is\n\
         sealed for you before it leaves its author.\n",
        terms(value)
    ))?;
    let before = &value["until_answered"];
    if before.is_object() {
        line(format_args!("Until they answer, what they promised before goes on: {}.", terms(before)))?;
    }
    line(format_args!(
        "What happens next: the question goes to them as a letter. If they say yes, their\n\
         promise comes back as one, and your contacts learn with your next letter to each of\n\
         them where to leave what you are not there for. See: onionskin holder list\n\
         They must have said that they know you; if they have not, ask again once they have."
    ))
}

fn granted(value: &Value) -> Result<(), Failure> {
    let name = clean(text(&value["shown"]));
    line(format_args!("You keep letters for {name} from now on: {}.", terms(value)))?;
    let asked = &value["asked"];
    let less = |field: &str| value[field].as_u64() < asked[field].as_u64();
    if less("bytes") || less("days") {
        line(format_args!("They asked for more: {}.", terms(asked)))?;
    }
    line(format_args!(
        "\nWhat it costs you: up to that much room on your disk, and Tor traffic for what comes\n\
         and goes, while your node is running.\n\
         What you see: that letters come for them, when, how large they are (in steps), and\n\
         when they are fetched. You do not see who wrote them, nor what is in them.\n\n\
         What happens next: your promise goes to them as a letter. From then on letters come\n\
         by themselves, and go when they are fetched or their time is over.\n\
         To end it: onionskin holder end {}",
        text(&value["address"])
    ))
}

fn ended(value: &Value) -> Result<(), Failure> {
    let name = clean(text(&value["shown"]));
    if value["holder"] == true {
        line(format_args!(
            "{name} keeps no more letters for you. What is there is fetched still. Your contacts learn of it\n\
             with your next letter to each of them."
        ))?;
    }
    if let Some(letters) = value["guest"]["letters"].as_u64() {
        let stay = match letters {
            0 => "Nothing is left there.".to_owned(),
            1 => "The one letter that is there stays until it is fetched or its time is over.".to_owned(),
            more => format!(
                "The {more} letters that are there stay until they are fetched or their time is over."
            ),
        };
        line(format_args!("You take no more letters for {name}. {stay}"))?;
    }
    if value["wish"] == true {
        line(format_args!("What {name} asked of you is put away."))?;
    }
    match value["told"] == true {
        true => line(format_args!("They are told by letter.")),
        false => line(format_args!("They are not told.")),
    }
}

fn limit(value: &Value) -> Result<(), Failure> {
    line(format_args!(
        "Letters of up to {} are left with holders while their readers are away ({} at most).\n\
         A larger one is announced there, and fetched from you when both of you are up.",
        size(&value["bytes"]),
        size(&value["most"])
    ))
}

fn list(value: &Value) -> Result<(), Failure> {
    let (holders, guests) = (rows(&value["holders"]), rows(&value["guests"]));
    let wishes = rows(&value["wishes"]);
    if holders.is_empty() && guests.is_empty() && wishes.is_empty() {
        places(&value["drops"])?;
        return line(format_args!(
            "Nobody keeps letters for you, and you keep none for others.\n\
             Ask a contact whose node runs when yours does not: onionskin holder ask ADDRESS"
        ));
    }
    section("Who keeps letters for you:", holders, holder_lines)?;
    section("For whom you keep letters:", guests, guest_lines)?;
    section("Who waits for your answer:", wishes, wish_lines)?;
    section("Whose tokens brought what you do not want:", rows(&value["abused"]), abused_lines)?;
    places(&value["drops"])
}

/// How the places behave at which letters for others are left; nothing, if well.
fn places(drops: &Value) -> Result<(), Failure> {
    let known = drops["known"].as_u64().unwrap_or(0);
    if let failing @ 1.. = drops["failing"].as_u64().unwrap_or(0) {
        line(format_args!(
            "! Of {known} places where letters for your contacts can be left, {failing} did not take the last ones.\n\
             Others are taken first; letters wait with you as well."
        ))?;
    }
    if let unconfirmed @ 1.. = drops["unconfirmed"].as_u64().unwrap_or(0) {
        line(format_args!(
            "! Of {known} places where letters for your contacts can be left, {unconfirmed} had letters of which no\n\
             receipt ever came: lost there, or never fetched. Others are taken first."
        ))?;
    }
    Ok(())
}

fn abused_lines(row: &Value) -> Result<(), Failure> {
    let (noise, others) = (row["noise"].as_u64().unwrap_or(0), row["others"].as_u64().unwrap_or(0));
    if noise > 0 {
        line(format_args!("      noise that no key opens came with tokens of theirs: {noise}"))?;
    }
    if others > 0 {
        line(format_args!("      letters of others came with tokens of theirs: {others}"))?;
    }
    line(format_args!("      to take their tokens back: onionskin contacts block {}", text(&row["address"])))
}

fn section(title: &str, rows: &[Value], lines: fn(&Value) -> Result<(), Failure>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    line(format_args!("{title}"))?;
    for row in rows {
        line(format_args!("  {}  {}", clean(text(&row["shown"])), text(&row["address"])))?;
        lines(row)?;
    }
    Ok(())
}

fn holder_lines(row: &Value) -> Result<(), Failure> {
    match (text(&row["state"]), row["ended_by"].as_str()) {
        ("asked", _) => line(format_args!(
            "      asked on {}, and has not answered yet: nothing is kept there",
            text(&row["asked"])
        ))?,
        ("keeps", _) => line(format_args!("      {}, since {}", terms(row), text(&row["since"])))?,
        (_, Some("them")) => {
            line(format_args!("      takes no more letters for you; what is there is fetched still"))?;
        }
        _ => line(format_args!("      you ended it; what is there is fetched still"))?,
    }
    if row["since"].is_string() {
        let collected = row["collected"].as_str().unwrap_or("never yet");
        line(format_args!("      last asked for letters with success: {collected}"))?;
    }
    let trouble = row["trouble"].as_str().map(clean);
    match (row["failures"].as_u64().unwrap_or(0), trouble) {
        (0, _) => {}
        (failures, trouble) => {
            let tries = if failures == 1 { "1 try" } else { &format!("{failures} tries") };
            let trouble = trouble.map(|trouble| format!(", the last because: {trouble}"));
            line(format_args!("      ! {tries} failed since{}", trouble.unwrap_or_default()))?;
        }
    }
    match row["garbage"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        1 => line(format_args!("      ! 1 letter from there was noise that no key opens")),
        garbage => line(format_args!("      ! {garbage} letters from there were noise that no key opens")),
    }
}

fn guest_lines(row: &Value) -> Result<(), Failure> {
    let letters = match row["letters"].as_u64().unwrap_or(0) {
        1 => "1 letter".to_owned(),
        letters => format!("{letters} letters"),
    };
    let (used, bytes) = (size(&row["used"]), size(&row["bytes"]));
    let days = &row["days"];
    line(format_args!(
        "      {letters}, {used} of {bytes}, each for {days} days, since {}",
        text(&row["since"])
    ))?;
    match row["over"] == true {
        true => {
            line(format_args!("      over: nothing more is taken; it goes when the last letter has gone"))
        }
        false => Ok(()),
    }
}

fn wish_lines(row: &Value) -> Result<(), Failure> {
    line(format_args!("      asks for: {}; on {}", terms(row), text(&row["at"])))?;
    line(format_args!("      to say yes: {}", text(&row["command"])))
}

/// What is asked or promised, in words.
fn terms(value: &Value) -> String {
    format!("at most {} at a time, each letter for up to {} days", size(&value["bytes"]), value["days"])
}

/// A number of bytes for people.
pub(super) fn size(bytes: &Value) -> String {
    let bytes = bytes.as_u64().unwrap_or(0);
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        // A tenth less rather than more than there is.
        Some((unit, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_size_is_told_in_the_largest_unit_that_fits() {
        for (bytes, told) in [
            (0u64, "0 bytes"),
            (1023, "1023 bytes"),
            (4 << 20, "4 MiB"),
            (1 << 40, "1 TiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(&json!(bytes)), told);
        }
    }
}

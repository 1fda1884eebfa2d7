//! What the commands print: JSON for scripts, a few plain lines for people.
//!
//! Text that came from elsewhere is stripped of control characters, so that a letter cannot play with the terminal.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::{line, print};
use serde_json::Value;

/// Most letters within letters that the parser is trusted with: it recurses, and 25,000 levels end a program.
const NESTING_MAX: usize = 50;

/// Prints the value as one line of JSON.
pub(super) fn as_json(value: &Value) -> Result<(), Failure> {
    line(format_args!("{value}"))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `status`
pub(super) fn status(value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    if value["running"] != true {
        line(format_args!("The node is not running. Bring it up with: onionskin up"))?;
    }
    if value["locked"] == true {
        line(format_args!(
            "The rest is known once it is up, or with --passphrase-fd: a passphrase guards it."
        ))?;
    }
    for identity in rows(&value["identities"]) {
        line(format_args!("Address    {}", text(&identity["address"])))?;
        if value["running"] == true {
            line(format_args!("Tor        {}", text(&identity["stage"])))?;
            for (name, door) in [("Read", &identity["imap"]), ("Send", &identity["smtp"])] {
                let protocol = if name == "Read" { "IMAP" } else { "SMTP" };
                line(format_args!("{name:<10} {protocol} {}, port {}", text(&door["host"]), door["port"]))?;
            }
        }
        line(format_args!("Waiting    {}", identity["waiting"]))?;
        holding(&identity["holding"])?;
        if identity["disk_protected"] != true {
            line(format_args!("Disk       unprotected: no passphrase was set"))?;
        }
        for error in rows(&identity["errors"]) {
            line(format_args!("Trouble    {}", text(error)))?;
        }
        for question in rows(&identity["questions"]) {
            line(format_args!("Question   {} (onionskin contacts)", clean(text(question))))?;
        }
    }
    Ok(())
}

/// What is held, for whom, in lines of `status`; nothing if nothing is.
fn holding(value: &Value) -> Result<(), Failure> {
    let count = |field: &str| value[field].as_u64().unwrap_or(0);
    let of = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    if count("holders") > 0 {
        let holders = of(count("holders"), "contact keeps", "contacts keep");
        line(format_args!("Held       {holders} letters for you while you are away"))?;
    }
    if count("guests") + count("letters") > 0 {
        let letters = of(count("letters"), "letter", "letters");
        let guests = of(count("guests"), "contact", "contacts");
        line(format_args!("Holding    {letters} for others; you keep letters for {guests}"))?;
    }
    match count("wishes") {
        0 => Ok(()),
        wishes => line(format_args!(
            "Question   {} you to keep letters (onionskin holder list)",
            of(wishes, "contact asks", "contacts ask")
        )),
    }
}

/// `address`
pub(super) fn address(status: &Value, json: bool) -> Result<(), Failure> {
    let address = text(&status["identities"][0]["address"]);
    if address.is_empty() {
        return Err(Failure::new(Exit::NoInput, "the address is not known"));
    }
    if json { as_json(&serde_json::json!({"address": address})) } else { line(format_args!("{address}")) }
}

/// `credentials`
pub(super) fn minted(value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    line(format_args!(
        "User       {}\nPassword   {}\n\nFor \"{}\". The password is not shown again; make another at any time.",
        text(&value["user"]),
        text(&value["password"]),
        clean(text(&value["label"])),
    ))?;
    if value["imap"]["port"].is_u64() {
        line(format_args!(
            "Read by IMAP on 127.0.0.1 port {}, send by SMTP on 127.0.0.1 port {}, both without encryption.",
            value["imap"]["port"], value["smtp"]["port"]
        ))?;
    }
    Ok(())
}

/// `credentials --list`
pub(super) fn passwords(value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    for row in rows(value) {
        line(format_args!(
            "{:>4}  {}  {}",
            row["number"],
            text(&row["created"]),
            clean(text(&row["label"]))
        ))?;
    }
    if rows(value).is_empty() {
        line(format_args!("No password has been made. Make one with: onionskin credentials"))?;
    }
    Ok(())
}

/// `send`
pub(super) fn submitted(value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    let (queued, own) = (value["queued"].as_u64().unwrap_or(0), value["own"].as_u64().unwrap_or(0));
    if queued > 0 {
        line(format_args!("Queued for {queued}. See how it goes with: onionskin queue"))?;
    }
    if own > 0 {
        line(format_args!("Filed in your own INBOX."))?;
    }
    Ok(())
}

/// `inbox`
pub(super) fn inbox(value: &Value, folder: &str, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    if rows(value).is_empty() {
        return line(format_args!("{folder} is empty."));
    }
    for row in rows(value) {
        let mark = if row["seen"] == true { ' ' } else { '*' };
        line(format_args!(
            "{:>5} {mark} {}  {}  {}",
            row["number"],
            text(&row["date"]),
            short(text(&row["from"])),
            clean(text(&row["subject"]))
        ))?;
    }
    Ok(())
}

/// An address short enough for a listing: the local part and the ends of the onion.
fn short(address: &str) -> String {
    let clean = clean(address);
    match clean.split_once('@') {
        Some((local, host)) if host.len() > 20 && host.is_ascii() => {
            format!("{local}@{}…{}", &host[..6], &host[host.len() - 12..])
        }
        _ => clean,
    }
}

/// `queue retry`, `queue cancel`
pub(super) fn changed(said: &str, field: &str, value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    line(format_args!("{said}: {}.", value[field]))?;
    for number in rows(&value["missing"]) {
        line(format_args!("{number} does not wait (any more); it may have been delivered."))?;
    }
    Ok(())
}

/// `queue list`
pub(super) fn queue(value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return as_json(value);
    }
    let (errands, letters): (Vec<&Value>, Vec<&Value>) =
        rows(value).iter().partition(|row| row["errand"] == true);
    if letters.is_empty() {
        line(format_args!("Nothing waits: everything has been delivered."))?;
    }
    for row in letters {
        let next = row["next_try_in_secs"].as_u64().unwrap_or(0);
        let when = match next {
            0 => "now".to_owned(),
            1..120 => format!("in {next} s"),
            120..7200 => format!("in {} min", next / 60),
            _ => format!("in {} h", next / 3600),
        };
        line(format_args!("{:>5}  to {}", row["number"], short(text(&row["to"]))))?;
        let tries = match row["tries"].as_u64() {
            Some(1) => "1 try".to_owned(),
            tries => format!("{} tries", tries.unwrap_or(0)),
        };
        line(format_args!("       queued {}, {tries}, next {when}", text(&row["accepted"])))?;
        match (row["held_by"].as_u64().unwrap_or(0), row["held_until"].as_str()) {
            (0, Some(until)) => {
                line(format_args!("       was held until {until}; whether it was delivered is not known"))?;
            }
            (held_by, Some(until)) => line(format_args!("       held by {held_by} until {until}"))?,
            (_, None) => {}
        }
        if let Some(last) = row["last"].as_str() {
            line(format_args!("       last try: {}", clean(last)))?;
        }
    }
    match errands.len() {
        0 => Ok(()),
        1 => line(format_args!("One receipt of your node's is on its way.")),
        count => line(format_args!("{count} receipts of your node's are on their way.")),
    }
}

/// `read`: the fields that people look at, the text, and the names of attachments.
pub(super) fn letter(bytes: &[u8]) -> Result<(), Failure> {
    if nesting_bound(bytes) > NESTING_MAX {
        return Err(Failure::new(Exit::Data, "the letter nests too deeply to be shown").hint("use --raw"));
    }
    let Some(message) = mail_parser::MessageParser::default().parse(bytes) else {
        return Err(Failure::new(Exit::Data, "the letter cannot be read as mail").hint("use --raw"));
    };
    for name in ["From", "To", "Cc", "Date", "Subject"] {
        if let Some(value) = message.header_raw(name) {
            let shown = match name {
                "Subject" => message.subject().unwrap_or(value),
                _ => value,
            };
            line(format_args!("{name}: {}", clean(shown).trim()))?;
        }
    }
    line(format_args!(""))?;
    for at in 0..message.text_body_count() {
        if let Some(body) = message.body_text(at) {
            let shown: String = body.chars().filter(|c| matches!(c, '\n' | '\t') || is_plain(*c)).collect();
            print(shown.as_bytes())?;
            line(format_args!(""))?;
        }
    }
    for part in message.attachments() {
        use mail_parser::MimeHeaders as _;
        let name = part.attachment_name().unwrap_or("(no name)");
        line(format_args!("[attachment: {}, {} bytes]", clean(name), part.contents().len()))?;
    }
    Ok(())
}

/// Without characters that could play with the terminal or with the order of what is shown.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| is_plain(*c)).collect()
}

/// Neither a control character (C0, C1) nor one that turns the direction of writing (UAX 9).
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An upper bound for how deeply letters nest: how often a type that nests is named at all.
fn nesting_bound(bytes: &[u8]) -> usize {
    let nests = |window: &[u8], name: &[u8]| {
        window.len() >= name.len() && window[..name.len()].eq_ignore_ascii_case(name)
    };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'm' | b'M'));
    let names: [&[u8]; 3] = [b"message/rfc822", b"message/global", b"multipart/digest"];
    starts.filter(|(at, _)| names.iter().any(|name| nests(&bytes[*at..], name))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_nested_beyond_the_bound_is_not_parsed() {
        let deep = "Content-Type: Message/RFC822\r\n\r\n".repeat(25_000);
        assert_eq!(nesting_bound(deep.as_bytes()), 25_000);
        assert!(letter(deep.as_bytes()).is_err());
    }

    #[test]
    fn an_address_is_shortened_to_its_ends() {
        let host = format!("{}.onion", "abcdefg".repeat(8));
        assert_eq!(short(&format!("ann@{host}")), "ann@abcdef…bcdefg.onion");
        assert_eq!(short("ann\u{1b}[2J\u{9b}\u{202e}@x"), "ann[2J@x");
    }
}

//! Commands: what one complete line says. Printable ASCII, in paths also letters of UTF-8 (RFC 6531); every error is
//! the reply that it deserves.
//!
//! Hand-written rather than by smtp-proto, which reads SIZE=99999999999999999999999 as 999, drops control
//! characters from addresses and loses quoting: a line here means one thing or is refused.

use crate::model::hold::Token;
use crate::model::letter::LetterId;
use crate::model::seal::PrekeyId;
use crate::protocol::smtp::held::{Revoked, Take};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::path::{Path, ReversePath};
use crate::protocol::smtp::reply::Reply;

/// What BODY= said (RFC 6152). Bytes over 127 are taken either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// 7BIT, or nothing said.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBit,
}

/// Whose words are known: what nodes say to each other, no mail program says, and at a drop others are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Nodes,
    Programs,
    Drops,
}

/// One command. It may hold a password, so it can be printed in tests only.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Command {
    Ehlo(String),
    Helo(String),
    Mail(Mail),
    Rcpt(Path),
    Data,
    Bdat {
        len: u64,
        last: bool,
    },
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    Etrn(String),
    /// The newest sequence that the caller has.
    Card(Option<u64>),
    /// The letter behind which the list begins.
    Held(Option<LetterId>),
    Take(Take),
    /// 1 to [`limits::DROP_LETTERS_MAX`].
    Drop(Vec<LetterId>),
    Recall(LetterId, Token),
    Revoke(Revoked),
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// MAIL FROM with its parameters.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Mail {
    pub(super) from: ReversePath,
    pub(super) size: Option<u64>,
    pub(super) body: BodyKind,
    pub(super) letter: Option<LetterId>,
    /// TRANSID named that letter: what is here of it already is to be told (RFC 1845).
    pub(super) checkpoint: bool,
    /// SMTPUTF8 was said (RFC 6531).
    pub(super) utf8: bool,
    /// BODY=SEALED was said, and this is the KEY; SIZE was said too, and SMTPUTF8 was not.
    pub(super) sealed: Option<PrekeyId>,
    /// It is to be left at a drop; BODY=SEALED and LETTER were said too.
    pub(super) token: Option<Token>,
}

const UNKNOWN: Reply = Reply::new(500, 5, 1, "No such command here");
const NOT_ASCII: Reply = Reply::new(500, 5, 2, "Only printable ASCII makes a command");
const NOT_PRINTABLE: Reply = Reply::new(500, 5, 2, "The line is no printable UTF-8");
const NOT_DONE: Reply = Reply::new(502, 5, 1, "Not done here");
const NAME: Reply = Reply::new(501, 5, 4, "Say your host's name, as in: EHLO host");
const NO_ARGUMENT: Reply = Reply::new(501, 5, 4, "Nothing may follow this command");
const MAIL_FORM: Reply = Reply::new(501, 5, 4, "As in: MAIL FROM:<name@host>");
const MAIL_ADDRESS: Reply = Reply::new(553, 1, 7, "That is no address a letter can be from");
const RCPT_FORM: Reply = Reply::new(501, 5, 4, "As in: RCPT TO:<name@host>");
const RCPT_ADDRESS: Reply = Reply::new(553, 1, 3, "That is no mail address");
/// RFC 6531 section 3.5.
pub(super) const NEED_UTF8: Reply =
    Reply::new(553, 6, 7, "An address that is not ASCII needs SMTPUTF8 after MAIL");
const PARAMETER: Reply = Reply::new(555, 5, 4, "A parameter that was not announced");
const PARAMETER_FORM: Reply = Reply::new(501, 5, 4, "A parameter is malformed or said twice");
const BDAT_FORM: Reply = Reply::new(501, 5, 4, "As in: BDAT 1000 LAST");
const CARD_FORM: Reply = Reply::new(501, 5, 4, "As in: CARD 7");
const HELD_FORM: Reply = Reply::new(501, 5, 4, "As in: HELD <letter id>");
const TAKE_FORM: Reply = Reply::new(501, 5, 4, "As in: TAKE <letter id> 0 262144");
const DROP_FORM: Reply = Reply::new(501, 5, 4, "As in: DROP <letter id>, and up to eleven others");
const RECALL_FORM: Reply = Reply::new(501, 5, 4, "As in: RECALL <letter id> <token>");
const REVOKE_FORM: Reply = Reply::new(501, 5, 4, "As in: REVOKE <epoch> <nonce>, and up to eleven others");
const TOKEN_FORM: Reply = Reply::new(501, 5, 4, "TOKEN goes with BODY=SEALED and LETTER");
const SEALED_FORM: Reply =
    Reply::new(501, 5, 4, "BODY=SEALED and KEY go together, with SIZE and without SMTPUTF8");
const AUTH_FORM: Reply = Reply::new(501, 5, 4, "As in: AUTH MECHANISM response");

/// The most bytes, CRLF included, that a line beginning like this may have.
pub(super) fn len_max(line: &[u8]) -> usize {
    match line.get(..4).map(<[u8]>::to_ascii_uppercase).as_deref() {
        Some(b"MAIL") => limits::MAIL_LEN_MAX,
        Some(b"AUTH") => limits::AUTH_LEN_MAX,
        _ => limits::COMMAND_LEN_MAX,
    }
}

/// Whether a browser was sent here to speak HTTP; whatever follows such a line must never be taken for a command.
pub(super) fn is_http(line: &[u8]) -> bool {
    let text = line.to_ascii_uppercase();
    [&b"GET "[..], b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ", b"HOST:"]
        .iter()
        .any(|verb| text.starts_with(verb))
}

/// Reads a line that has lost its CRLF.
pub(super) fn parse(line: &[u8], words: Words) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| NOT_PRINTABLE)?.trim_end_matches(' ');
    if line.contains(char::is_control) {
        return Err(NOT_PRINTABLE);
    }
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    if !line.is_ascii() && !["MAIL", "RCPT"].iter().any(|path| verb.eq_ignore_ascii_case(path)) {
        return Err(NOT_ASCII);
    }
    let alone = |command| if argument.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => host_name(argument).map(Command::Ehlo),
        "HELO" => host_name(argument).map(Command::Helo),
        "MAIL" => mail(argument, words).map(Command::Mail),
        "RCPT" => rcpt(argument).map(Command::Rcpt),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(argument),
        "AUTH" => auth(argument),
        "ETRN" if words != Words::Drops => Ok(Command::Etrn(argument.to_owned())),
        "CARD" if words == Words::Nodes => card(argument).map(Command::Card),
        "HELD" if words != Words::Programs => held(argument).map(Command::Held),
        "TAKE" if words != Words::Programs => take(argument).map(Command::Take).ok_or(TAKE_FORM),
        "DROP" if words != Words::Programs => drop_letters(argument).map(Command::Drop).ok_or(DROP_FORM),
        "RECALL" if words == Words::Drops => recall(argument).ok_or(RECALL_FORM),
        "REVOKE" if words == Words::Drops => Revoked::parse(argument).map(Command::Revoke).ok_or(REVOKE_FORM),
        "RSET" => alone(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        "QUIT" => alone(Command::Quit),
        "EXPN" | "TURN" | "STARTTLS" | "SEND" | "SOML" | "SAML" => Err(NOT_DONE),
        _ => Err(UNKNOWN),
    }
}

/// A host name or address literal, without being strict: mail programs say what their machine is called.
fn host_name(argument: &str) -> Result<String, Reply> {
    let fits = !argument.is_empty() && argument.len() <= limits::DOMAIN_LEN_MAX && !argument.contains(' ');
    if fits { Ok(argument.to_owned()) } else { Err(NAME) }
}

/// What follows `FROM:` or `TO:`; the space after the colon that some programs send is let pass.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

fn mail(argument: &str, words: Words) -> Result<Mail, Reply> {
    let (path, rest) = Path::parse(after_keyword(argument, "FROM:").ok_or(MAIL_FORM)?).ok_or(MAIL_FORM)?;
    let plain = path.is_ascii();
    let from = path.into_reverse().ok_or(MAIL_ADDRESS)?;
    let body = BodyKind::default();
    let (checkpoint, utf8) = (false, false);
    let mut mail = Mail { from, size: None, body, letter: None, checkpoint, utf8, sealed: None, token: None };
    let (mut transid, mut sealed) = (None, false);
    let mut seen: Vec<String> = Vec::new();
    for (keyword, value) in parameters(rest)? {
        if seen.contains(&keyword) {
            return Err(PARAMETER_FORM);
        }
        match keyword.as_str() {
            "TRANSID" => transid = Some(transaction_id(value).ok_or(PARAMETER_FORM)?),
            "BODY" if words != Words::Programs && value.eq_ignore_ascii_case("SEALED") => sealed = true,
            "KEY" if words != Words::Programs => {
                mail.sealed = Some(PrekeyId::from_hex(value).ok_or(PARAMETER_FORM)?);
            }
            "TOKEN" if words == Words::Drops => {
                mail.token = Some(Token::from_hex(value).ok_or(PARAMETER_FORM)?);
            }
            "BODY" | "SMTPUTF8" if words == Words::Drops => return Err(PARAMETER),
            keyword => mail_parameter(&mut mail, keyword, value)?,
        }
        seen.push(keyword);
    }
    if sealed != mail.sealed.is_some() || sealed && (mail.size.is_none() || mail.utf8) {
        return Err(SEALED_FORM);
    }
    if mail.token.is_some() && !(sealed && mail.letter.is_some()) {
        return Err(TOKEN_FORM);
    }
    // A transaction of another name has left nothing here (RFC 1845 section 4.1), so it begins at its beginning.
    let named = mail.letter.map(|letter| letter.transaction());
    mail.checkpoint = named.is_some_and(|named| transid.is_some_and(|id| named.eq_ignore_ascii_case(id)));
    if plain || mail.utf8 { Ok(mail) } else { Err(NEED_UTF8) }
}

fn mail_parameter(mail: &mut Mail, keyword: &str, value: &str) -> Result<(), Reply> {
    match keyword {
        "SIZE" => mail.size = Some(decimal(value, 20).ok_or(PARAMETER_FORM)?),
        "BODY" if value.eq_ignore_ascii_case("7BIT") => mail.body = BodyKind::SevenBit,
        "BODY" if value.eq_ignore_ascii_case("8BITMIME") => mail.body = BodyKind::EightBit,
        "LETTER" => mail.letter = Some(LetterId::from_hex(value).ok_or(PARAMETER_FORM)?),
        "SMTPUTF8" if value.is_empty() => mail.utf8 = true,
        "SMTPUTF8" => return Err(PARAMETER_FORM),
        // RFC 4954 section 5: whoever announces AUTH must take it; we trust no one's word for it and forget it.
        "AUTH" if !value.is_empty() => {}
        _ => return Err(PARAMETER),
    }
    Ok(())
}

fn rcpt(argument: &str) -> Result<Path, Reply> {
    let text = after_keyword(argument, "TO:").ok_or(RCPT_FORM)?;
    let (path, rest) = Path::parse(text).ok_or(RCPT_ADDRESS)?;
    if path.is_null() {
        return Err(RCPT_ADDRESS);
    }
    // None is announced.
    if parameters(rest)?.is_empty() { Ok(path) } else { Err(PARAMETER) }
}

/// ` KEYWORD=value KEYWORD …`, with the keywords in upper case.
fn parameters(rest: &str) -> Result<Vec<(String, &str)>, Reply> {
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let rest = rest.strip_prefix(' ').filter(|rest| rest.is_ascii()).ok_or(PARAMETER_FORM)?;
    let mut found = Vec::new();
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
        found.push((keyword.to_ascii_uppercase(), value));
    }
    Ok(found)
}

/// `<local@domain>`, as RFC 1845 section 4 has it, in no more than its 80 characters.
fn transaction_id(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('<')?.strip_suffix('>')?;
    let (local, domain) = inside.split_once('@')?;
    let sound = |part: &str| !part.is_empty() && !part.contains(['<', '>', '@', '"']);
    (value.len() <= limits::TRANSID_LEN_MAX && sound(local) && sound(domain)).then_some(value)
}

/// A number of 1 to `digits` digits. One beyond 64 bits is as good as the largest: every limit is below it.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

fn bdat(argument: &str) -> Result<Command, Reply> {
    let (len, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((len, last)) if last.eq_ignore_ascii_case("LAST") => (len, true),
        Some(_) => return Err(BDAT_FORM),
    };
    Ok(Command::Bdat { len: decimal(len, 20).ok_or(BDAT_FORM)?, last })
}

/// A sequence of more than 64 bits is none: it could be taken for the newest.
fn card(argument: &str) -> Result<Option<u64>, Reply> {
    if argument.is_empty() {
        return Ok(None);
    }
    exact(argument).map(Some).ok_or(CARD_FORM)
}

/// A number of 1 to 20 digits that is below 2^64.
fn exact(text: &str) -> Option<u64> {
    let plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn held(argument: &str) -> Result<Option<LetterId>, Reply> {
    if argument.is_empty() {
        return Ok(None);
    }
    LetterId::from_hex(argument).map(Some).ok_or(HELD_FORM)
}

fn take(argument: &str) -> Option<Take> {
    let mut words = argument.split(' ');
    let letter = LetterId::from_hex(words.next()?)?;
    let offset = exact(words.next()?)?;
    let max = usize::try_from(exact(words.next()?)?).ok()?;
    let sound = (1..=limits::TAKE_LEN_MAX).contains(&max) && words.next().is_none();
    sound.then_some(Take { letter, offset, max })
}

fn drop_letters(argument: &str) -> Option<Vec<LetterId>> {
    let letters: Vec<LetterId> = argument.split(' ').map(LetterId::from_hex).collect::<Option<_>>()?;
    (letters.len() <= limits::DROP_LETTERS_MAX).then_some(letters)
}

fn recall(argument: &str) -> Option<Command> {
    let (letter, token) = argument.split_once(' ')?;
    Some(Command::Recall(LetterId::from_hex(letter)?, Token::from_hex(token)?))
}

fn auth(argument: &str) -> Result<Command, Reply> {
    let (mechanism, initial) = match argument.split_once(' ') {
        None => (argument, None),
        Some((mechanism, initial)) => (mechanism, Some(initial)),
    };
    if mechanism.is_empty() || initial.is_some_and(|text| text.contains(' ')) {
        return Err(AUTH_FORM);
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial: initial.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &[u8]) -> Result<Command, Reply> {
        super::parse(line, Words::Nodes)
    }

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).expect_err(line).code
    }

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(parse(b"noop x"), Ok(Command::Noop));
        assert_eq!(parse(b"ehlo [127.0.0.1]"), Ok(Command::Ehlo("[127.0.0.1]".to_owned())));
        assert_eq!(parse(b"bdat 86 last"), Ok(Command::Bdat { len: 86, last: true }));
        assert_eq!(parse(b"BDAT 0"), Ok(Command::Bdat { len: 0, last: false }));
        let Ok(Command::Mail(mail)) = parse(b"mail from:<a@b.c> size=12 Body=8bitmime AUTH=<>") else {
            panic!("no MAIL")
        };
        assert_eq!((mail.size, mail.body, mail.letter), (Some(12), BodyKind::EightBit, None));
    }

    #[test]
    fn the_words_of_nodes_are_read_and_programs_do_not_have_them() {
        assert_eq!(parse(b"card"), Ok(Command::Card(None)));
        assert_eq!(parse(b"CARD 18446744073709551615"), Ok(Command::Card(Some(u64::MAX))));
        let sealed = b"MAIL FROM:<> SIZE=9 body=sealed KEY=0123456789abcDEF";
        let Ok(Command::Mail(mail)) = parse(sealed) else { panic!("no MAIL") };
        let key = PrekeyId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!((mail.sealed, mail.body), (Some(key), BodyKind::SevenBit));
        for (line, want) in [
            (&b"CARD"[..], 500),
            (b"CARD x", 500),
            (sealed, 555),
            (b"MAIL FROM:<> BODY=SEALED", 555),
            (b"MAIL FROM:<> KEY=0123456789abcdef", 555),
            (b"MAIL FROM:<> KEY=x", 555),
        ] {
            assert_eq!(super::parse(line, Words::Programs).map_err(|reply| reply.code), Err(want));
        }
    }

    #[test]
    fn letters_are_left_at_drops_and_collected_there_and_at_nodes() {
        let (id, token) = ("1d".repeat(16), format!("{}00{}", "2a".repeat(20), "2a".repeat(16)));
        let letter = LetterId([0x1d; 16]);
        let deposit =
            format!("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcdef LETTER={id} TOKEN={token}");
        let Ok(Command::Mail(mail)) = super::parse(deposit.as_bytes(), Words::Drops) else {
            panic!("no MAIL")
        };
        assert_eq!((mail.token, mail.letter), (Token::from_hex(&token), Some(letter)));
        let recall = format!("recall {id} {token}");
        let taken = Take { letter, offset: u64::MAX, max: 1 };
        let read = |line: &str, words| super::parse(line.as_bytes(), words).map_err(|reply| reply.code);
        assert_eq!(read(&taken.line(), Words::Nodes), Ok(Command::Take(taken)));
        assert_eq!(read(&format!("drop {id} {id}"), Words::Nodes), Ok(Command::Drop(vec![letter; 2])));
        assert_eq!(read("held", Words::Drops), Ok(Command::Held(None)));
        assert_eq!(read(&recall, Words::Drops).map(|_| ()), Ok(()));
        let twelve = format!("DROP{}", format!(" {id}").repeat(limits::DROP_LETTERS_MAX));
        assert!(twelve.len() + 2 <= limits::COMMAND_LEN_MAX && read(&twelve, Words::Drops).is_ok());
        for (line, at_drop, at_node, for_programs) in [
            (&deposit[..], 0, 555, 555),
            (&recall, 0, 500, 500),
            ("HELD", 0, 0, 500),
            ("CARD", 500, 0, 500),
            ("ETRN x", 500, 0, 0),
            ("MAIL FROM:<> BODY=8BITMIME", 555, 0, 0),
            ("MAIL FROM:<> SMTPUTF8", 555, 0, 0),
            ("HELD 1d", 501, 501, 500),
            (&format!("TAKE {id} 0 262145"), 501, 501, 500),
            (&format!("TAKE {id} 0 0"), 501, 501, 500),
            (&format!("TAKE {id} 0"), 501, 501, 500),
            (&format!("TAKE {id} 0 1 1"), 501, 501, 500),
            (&format!("TAKE {id} +0 1"), 501, 501, 500),
            (&format!("{twelve} {id}"), 501, 501, 500),
            ("DROP", 501, 501, 500),
            (&format!("RECALL {id} {}", &token[1..]), 501, 500, 500),
            (&deposit.replace("LETTER", "SIZE"), 501, 501, 555),
            (&deposit.replace("BODY=SEALED KEY=0123456789abcdef ", ""), 501, 555, 555),
            (&format!("{deposit} TOKEN={token}"), 501, 555, 555),
            (&deposit.replace("TOKEN=2a", "TOKEN=2"), 501, 555, 555),
        ] {
            for (words, code) in
                [(Words::Drops, at_drop), (Words::Nodes, at_node), (Words::Programs, for_programs)]
            {
                assert_eq!(read(line, words).err().unwrap_or(0), code, "{line} {words:?}");
            }
        }
    }

    #[test]
    fn an_absurd_size_is_large_and_never_small() {
        let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<> SIZE=99999999999999999999") else {
            panic!("no MAIL")
        };
        assert_eq!(mail.size, Some(u64::MAX));
        assert_eq!(code("MAIL FROM:<> SIZE=999999999999999999999999"), 501);
        assert_eq!(code("BDAT 999999999999999999999999"), 501);
    }

    #[test]
    fn every_mistake_has_its_code() {
        for (line, want) in [
            ("", 500),
            ("FOO", 500),
            ("DATAX", 500),
            ("DATA x", 501),
            ("EHLO", 501),
            ("EHLO a b", 501),
            ("EXPN x", 502),
            ("STARTTLS", 502),
            ("MAIL", 501),
            ("MAIL TO:<a@b.c>", 501),
            ("MAIL FROM:a@b.c", 501),
            ("MAIL FROM:<postmaster>", 553),
            ("MAIL FROM:<a@b.c> FOO=1", 555),
            ("MAIL FROM:<a@b.c> BODY=BINARYMIME", 555),
            ("MAIL FROM:<a@b.c> SIZE=", 501),
            ("MAIL FROM:<a@b.c> SIZE=-1", 501),
            ("MAIL FROM:<a@b.c>SIZE=1", 501),
            ("MAIL FROM:<a@b.c> SIZE=1 SIZE=1", 501),
            ("MAIL FROM:<a@b.c> LETTER=00", 501),
            ("MAIL FROM:<> AUTH=", 555),
            ("MAIL FROM:<a@b.c> SMTPUTF8=1", 501),
            ("MAIL FROM:<a@b.c> SMTPUTF8 SMTPUTF8", 501),
            ("MAIL FROM:<\u{fc}@b.c>", 553),
            ("MAIL FROM:<\u{202e}a@b.c> SMTPUTF8", 501),
            ("MAIL FROM:<a@b.c> S\u{cd}ZE=1", 501),
            ("MAIL FROM:<a\u{85}@b.c> SMTPUTF8", 500),
            ("MAIL FROM:<a@b.c> TRANSID=x", 501),
            ("MAIL FROM:<a@b.c> TRANSID=<x>", 501),
            ("MAIL FROM:<a@b.c> TRANSID=<@x>", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED", 501),
            ("MAIL FROM:<> SIZE=9 KEY=0123456789abcdef", 501),
            ("MAIL FROM:<> SIZE=9 BODY=8BITMIME KEY=0123456789abcdef", 501),
            ("MAIL FROM:<> BODY=SEALED KEY=0123456789abcdef", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcdef SMTPUTF8", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED BODY=SEALED KEY=0123456789abcdef", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcdef KEY=0123456789abcdef", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcde", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcdef0", 501),
            ("MAIL FROM:<> SIZE=9 BODY=SEALED KEY=0123456789abcdeg", 501),
            ("CARD x", 501),
            ("CARD -1", 501),
            ("CARD 1 2", 501),
            ("CARD 18446744073709551616", 501),
            ("CARD 000000000000000000001", 501),
            ("CARDX", 500),
            ("RCPT TO:<>", 553),
            ("RCPT TO:<a@b.c> NOTIFY=NEVER", 555),
            ("RCPT FROM:<a@b.c>", 501),
            ("RCPT TO:<@x.y:a@b.c>", 553),
            ("BDAT", 501),
            ("BDAT x", 501),
            ("BDAT 1 FIRST", 501),
            ("BDAT +1", 501),
            ("AUTH", 501),
            ("AUTH PLAIN a b", 501),
            ("NOOP\t", 500),
            ("NOOP \u{e9}", 500),
            ("NO\0OP", 500),
        ] {
            assert_eq!(code(line), want, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered_without_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (parse(&line), super::parse(&line, Words::Drops));
            prop_assert!(len_max(&line) >= limits::COMMAND_LEN_MAX);
        }

        #[test]
        fn any_argument_is_answered_without_panic(
            verb in "(MAIL FROM:|RCPT TO:|BDAT|AUTH|EHLO|CARD|HELD|TAKE|DROP|RECALL) ?", rest in "[ -~]{0,60}"
        ) {
            let _ = super::parse(format!("{verb}{rest}").as_bytes(), Words::Drops);
        }
    }
}

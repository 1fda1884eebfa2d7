//! From the bytes of one complete command to a `Command`.
//!
//! * `cursor`: the words of the grammar
//! * `date`, `fetch`, `list`, `search`: the commands that have a grammar of their own
//!
//! Input is at most `COMMAND_LEN_MAX` bytes; time is linear in it and nesting is bounded.

mod cursor;
mod date;
mod fetch;
mod list;
mod search;

pub use cursor::SyntaxError;

use crate::protocol::imap::command::{
    Append, Command, FlagChange, Flags, Messages, Numbers, Password, StoreFlags, Tag,
};
use crate::protocol::imap::limits::TAG_LEN_MAX;
use cursor::{Cursor, Read, bad};
use search::SearchError;

/// Why a command was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is not even a tag.
    Untagged,
    /// Answered with `BAD`.
    Syntax(Tag, SyntaxError),
    /// Answered with `NO [BADCHARSET …]`.
    Charset(Tag),
}

/// Parses one command, without its last CRLF.
pub fn command(bytes: &[u8]) -> Result<(Tag, Command), Failure> {
    let mut cursor = Cursor::new(bytes);
    let tag = tag(&mut cursor)?;
    match body(&mut cursor) {
        Ok(command) => Ok((tag, command)),
        Err(SearchError::Syntax(error)) => Err(Failure::Syntax(tag, error)),
        Err(SearchError::Charset) => Err(Failure::Charset(tag)),
    }
}

/// Parses what stands before an announced literal of `len` bytes, if that literal is the letter of an APPEND.
/// `None` if it is something else, for example the mailbox name.
pub fn append(before: &[u8], len: u64) -> Option<Result<(Tag, Append), Failure>> {
    let mut cursor = Cursor::new(before);
    let tag = tag(&mut cursor).ok()?;
    let is_append = cursor.take_word("APPEND") && cursor.take(b' ') && cursor.peek().is_some();
    is_append.then(|| match append_arguments(&mut cursor, len) {
        Ok(append) => Ok((tag, append)),
        Err(error) => Err(Failure::Syntax(tag, error)),
    })
}

/// The tag of a command that will not be parsed, if it has one.
pub fn tag_of(bytes: &[u8]) -> Option<Tag> {
    tag(&mut Cursor::new(bytes)).ok()
}

/// True for the line that ends IDLE (RFC 2177).
pub fn is_done(line: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(b"DONE")
}

fn tag(cursor: &mut Cursor<'_>) -> Result<Tag, Failure> {
    let is_tag_char = |byte| (cursor::is_atom_char(byte) || byte == b']') && byte != b'+';
    let tag = cursor.take_while(is_tag_char);
    if tag.is_empty() || tag.len() > TAG_LEN_MAX || !cursor.take(b' ') {
        return Err(Failure::Untagged);
    }
    Ok(String::from_utf8_lossy(tag).into_owned())
}

fn append_arguments(cursor: &mut Cursor<'_>, len: u64) -> Read<Append> {
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let mut flags = Flags::default();
    if cursor.peek() == Some(b'(') {
        flags = cursor.flag_list()?;
        cursor.space()?;
    }
    let mut internal_date = None;
    if cursor.peek() == Some(b'"') {
        internal_date = Some(cursor.date_time()?);
        cursor.space()?;
    }
    cursor.end()?;
    Ok(Append { mailbox, flags, internal_date, len })
}

fn body(cursor: &mut Cursor<'_>) -> Result<Command, SearchError> {
    let mut name = cursor.keyword()?;
    let numbers = if name == "UID" {
        cursor.space()?;
        name = cursor.keyword()?;
        Numbers::Uid
    } else {
        Numbers::Sequence
    };
    let command = match (numbers, name.as_str()) {
        (_, "SEARCH") => {
            let (key, answer) = cursor.search()?;
            Command::Search(numbers, key, answer)
        }
        (_, "FETCH" | "STORE" | "COPY" | "MOVE") => on_messages(cursor, numbers, &name)?,
        (Numbers::Uid, "EXPUNGE") => {
            cursor.space()?;
            Command::Expunge(Some(cursor.sequence_set()?))
        }
        (Numbers::Uid, _) => bad("unknown UID command")?,
        (Numbers::Sequence, name) => match plain(name) {
            Some(command) => command,
            None => on_mailboxes(cursor, name)?,
        },
    };
    cursor.end()?;
    Ok(command)
}

/// The commands without arguments.
fn plain(name: &str) -> Option<Command> {
    Some(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        _ => return None,
    })
}

fn on_messages(cursor: &mut Cursor<'_>, numbers: Numbers, name: &str) -> Read<Command> {
    cursor.space()?;
    let messages = Messages { numbers, set: cursor.sequence_set()? };
    cursor.space()?;
    Ok(match name {
        "FETCH" => Command::Fetch(messages, cursor.fetch_items()?),
        "STORE" => {
            let change = match () {
                () if cursor.take(b'+') => FlagChange::Add,
                () if cursor.take(b'-') => FlagChange::Remove,
                () => FlagChange::Replace,
            };
            let silent = match cursor.keyword()?.as_str() {
                "FLAGS" => false,
                "FLAGS.SILENT" => true,
                _ => return bad("expected FLAGS or FLAGS.SILENT"),
            };
            cursor.space()?;
            Command::Store(messages, StoreFlags { change, silent, flags: store_flags(cursor)? })
        }
        name => Command::Copy { messages, mailbox: cursor.mailbox()?, remove: name == "MOVE" },
    })
}

/// Flags in parentheses or bare.
fn store_flags(cursor: &mut Cursor<'_>) -> Read<Flags> {
    if cursor.peek() == Some(b'(') {
        return cursor.flag_list();
    }
    let mut flags = Flags::default();
    cursor.flag(&mut flags)?;
    while cursor.peek() == Some(b' ') {
        cursor.space()?;
        cursor.flag(&mut flags)?;
    }
    Ok(flags)
}

fn on_mailboxes(cursor: &mut Cursor<'_>, name: &str) -> Read<Command> {
    match name {
        "LIST" => return Ok(Command::List(cursor.list_request()?)),
        "LSUB" => return Ok(Command::List(cursor.lsub_request()?)),
        "LOGIN" | "AUTHENTICATE" | "ID" | "ENABLE" => return on_session(cursor, name),
        "SELECT" | "EXAMINE" | "CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE" | "UNSUBSCRIBE" | "STATUS"
        | "GETQUOTAROOT" => {}
        "GETQUOTA" => {
            cursor.space()?;
            return Ok(Command::GetQuota(cursor.astring()?));
        }
        "APPEND" => return bad("APPEND ends with the letter as a literal"),
        _ => return bad("unknown command"),
    }
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    Ok(match name {
        "SELECT" => Command::Select { mailbox, read_only: false },
        "EXAMINE" => Command::Select { mailbox, read_only: true },
        "CREATE" => Command::Create(mailbox),
        "DELETE" => Command::Delete(mailbox),
        "SUBSCRIBE" => Command::Subscribe(mailbox),
        "UNSUBSCRIBE" => Command::Unsubscribe(mailbox),
        "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox),
        "STATUS" => {
            cursor.space()?;
            Command::Status(mailbox, cursor.status_items()?)
        }
        _ => {
            cursor.space()?;
            Command::Rename(mailbox, cursor.mailbox()?)
        }
    })
}

fn on_session(cursor: &mut Cursor<'_>, name: &str) -> Read<Command> {
    cursor.space()?;
    match name {
        "LOGIN" => {
            let user = cursor.text()?;
            cursor.space()?;
            Ok(Command::Login { user, password: Password(cursor.text()?) })
        }
        "AUTHENTICATE" => {
            let mechanism = cursor.keyword()?;
            let initial = if cursor.take(b' ') { Some(initial_response(cursor)?) } else { None };
            Ok(Command::Authenticate { mechanism, initial })
        }
        "ID" => {
            if !cursor.take_word("NIL") {
                // RFC 2971 section 3.1: at most 30 pairs.
                cursor.list(
                    60,
                    |cursor| if cursor.take_word("NIL") { Ok(()) } else { cursor.string().map(drop) },
                )?;
            }
            Ok(Command::Id)
        }
        _ => {
            cursor.atom()?;
            while cursor.take(b' ') {
                cursor.atom()?;
            }
            Ok(Command::Enable)
        }
    }
}

/// RFC 4959 section 3: base64, or `=` for an empty response.
fn initial_response(cursor: &mut Cursor<'_>) -> Read<Vec<u8>> {
    let text = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    if text == b"=" {
        return Ok(Vec::new());
    }
    decode_base64(text).map_or_else(|| bad("the initial response is not base64"), Ok)
}

/// Base64 with padding, as SASL wants it; an empty text is an empty response.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::name::MailboxName;

    fn parsed(text: &str) -> Command {
        command(text.as_bytes()).unwrap_or_else(|failure| panic!("{text}: {failure:?}")).1
    }

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(parsed("a1 noop"), Command::Noop);
        let inbox = MailboxName::new("INBOX").unwrap();
        assert_eq!(parsed("a2 Select \"inbox\""), Command::Select { mailbox: inbox, read_only: false });
        assert_eq!(parsed("a ID (\"name\" \"x\" \"os\" NIL)"), Command::Id);
        assert_eq!(parsed("a ENABLE UTF8=ACCEPT").clone(), Command::Enable);
        let login = Command::Login { user: "ann".into(), password: Password("p w".into()) };
        assert_eq!(parsed("a LOGIN {3}\r\nann \"p w\""), login);
        let plain = Command::Authenticate { mechanism: "PLAIN".into(), initial: Some(vec![]) };
        assert_eq!(parsed("a AUTHENTICATE plain ="), plain);
        assert!(matches!(
            parsed("a STORE 1 +FLAGS.SILENT \\Seen $x"),
            Command::Store(_, StoreFlags { silent: true, .. })
        ));
        assert_eq!(parsed("a getquota \"\""), Command::GetQuota(Vec::new()));
        let inbox = MailboxName::new("INBOX").unwrap();
        assert_eq!(parsed("a GETQUOTAROOT inbox"), Command::GetQuotaRoot(inbox));
        assert!(matches!(parsed("a UID MOVE 1:* Trash"), Command::Copy { remove: true, .. }));
    }

    #[test]
    fn list_takes_its_extended_forms() {
        let Command::List(list) =
            parsed("a LIST (SUBSCRIBED) \"\" (INBOX \"S*\") RETURN (STATUS (MESSAGES UNSEEN))")
        else {
            panic!("a list");
        };
        assert!(list.extended && list.only_subscribed && list.status.len() == 2);
        assert_eq!(list.patterns, [b"INBOX".to_vec(), b"S*".to_vec()]);
        let Command::List(list) = parsed("a LIST a/ %") else { panic!("a list") };
        assert_eq!((list.patterns, list.extended), (vec![b"a/%".to_vec()], false));
        assert!(command(b"a LIST (RECURSIVEMATCH) \"\" *").is_err());
    }

    #[test]
    fn an_append_is_known_by_its_arguments() {
        let Some(Ok((tag, start))) = append(b"t APPEND Sent (\\Seen) \"17-Jul-1996 02:44:25 -0700\" ", 7)
        else {
            panic!("an append");
        };
        assert_eq!((tag.as_str(), start.len, start.internal_date), ("t", 7, Some(837_596_665)));
        assert!(start.flags.seen);
        assert!(append(b"t APPEND ", 5).is_none(), "that literal is the mailbox name");
        assert!(append(b"t APPEND {4}\r\nSent ", 5).is_some_and(|start| start.is_ok()));
        assert!(append(b"t LOGIN a ", 5).is_none());
        for bad in
            [&b"t APPEND Sent"[..], b"t APPEND Sent ~", b"t APPEND Sent (\\Nosuch) ", b"t APPEND a//b "]
        {
            assert!(matches!(append(bad, 5), Some(Err(Failure::Syntax(..)))));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["", " ", "a", "a ", "a  NOOP", "a NOOP x", "+ NOOP", "a UID NOOP", "a LOGIN x", "a CREATE a//b"]
        {
            assert!(command(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(command(b"GET"), Err(Failure::Untagged));
    }
}

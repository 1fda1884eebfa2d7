//! `send`, `sendmail` and `read`: letters in and out by the command line.

use crate::face::cli::args::{Read, Send, Sendmail};
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::{Place, Way, print, show};
use crate::face::control::Request;
use crate::face::handed::{bare_address, too_large};
use crate::face::ops::Given;
use crate::model::policy;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use tokio::io::AsyncReadExt as _;

/// Most bytes of files in one letter: base64 makes four of three.
const ATTACHED_LEN_MAX: u64 = policy::LETTER_SIZE_MAX / 4 * 3;
/// Most bytes of a letter that `read` shows decoded; larger ones want `--raw` or a mail program.
const SHOWN_LEN_MAX: u64 = 16 * 1024 * 1024;

/// `onionskin send`
pub(super) async fn send(at: &Place, args: Send) -> Result<(), Failure> {
    let text = match &args.message {
        Some(text) => text.clone(),
        None => {
            if std::io::stdin().is_terminal() {
                eprintln!("Write your letter; end it with Ctrl-D on a line of its own:");
            }
            String::from_utf8(read_stdin("the text")?).map_err(|_| {
                Failure::new(Exit::Data, "the text is not UTF-8").hint("use --attach for other files")
            })?
        }
    };
    if text.trim().is_empty() && args.subject.trim().is_empty() && args.attach.is_empty() {
        return Err(Failure::new(Exit::Data, "there is nothing to send: no text, no subject, no attachment"));
    }
    let to: Vec<&str> = args.to.iter().map(|to| bare_address(to)).collect();
    // Who it is from, the node knows best.
    let mut builder =
        mail_builder::MessageBuilder::new().to(to).subject(args.subject.as_str()).text_body(text);
    if let Some(behalf) = &args.behalf {
        builder = builder.from(bare_address(behalf));
    }
    let mut left = ATTACHED_LEN_MAX;
    for path in &args.attach {
        let file = read_file(path, &mut left)?;
        builder = builder.attachment("application/octet-stream", name_of(path), file);
    }
    let letter = builder.write_to_vec().map_err(|error| Failure::new(Exit::Software, error))?;
    let request = Request::Submit { from: None, to: args.to, from_headers: false, size: letter.len() as u64 };
    let value = at.ask_with(request, &mut letter.as_slice()).await?;
    show::submitted(&value, args.json)
}

/// `onionskin sendmail`
pub(super) async fn sendmail(at: &Place, args: Sendmail) -> Result<(), Failure> {
    if args.to.is_empty() && !args.from_headers {
        return Err(Failure::new(Exit::Usage, "no recipient was named")
            .hint("name them after the options, or use -t to take them from the header"));
    }
    let letter = crlf(&read_stdin("the message")?);
    let request = Request::Submit {
        from: args.from,
        to: args.to,
        from_headers: args.from_headers,
        size: letter.len() as u64,
    };
    at.ask_with(request, &mut letter.as_slice()).await.map(|_| ())
}

/// `onionskin read`
pub(super) async fn read(at: &Place, args: Read) -> Result<(), Failure> {
    let request = Request::Read { folder: args.folder.clone(), number: args.number };
    let office = match at.way().await? {
        Way::Node(mut door) => {
            let value = door.ask(&request).await?;
            let size = value["size"].as_u64().unwrap_or(0);
            if args.raw {
                return pass_on(size, door.reader()).await;
            }
            let letter = gather(size, door.reader()).await?;
            return show::letter(&letter);
        }
        Way::Ours(office) => office,
    };
    let Given::Letter(_, reader) = office.perform(request, &mut tokio::io::empty()).await? else {
        return Err(Failure::new(Exit::Software, "no letter was given"));
    };
    if !args.raw {
        check_shown(reader.len())?;
    }
    let mut letter = Vec::new();
    let mut offset = 0;
    while offset < reader.len() {
        let piece =
            reader.read_at(offset, 64 * 1024).await.map_err(crate::face::cli::household::store_failure)?;
        offset += piece.len() as u64;
        if args.raw { print(&piece)? } else { letter.extend_from_slice(&piece) }
    }
    if args.raw { Ok(()) } else { show::letter(&letter) }
}

/// Prints what the node sends, byte for byte.
async fn pass_on(size: u64, reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<(), Failure> {
    let mut left = size;
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        let len = reader.read(&mut piece).await?;
        if len == 0 {
            return Err(cut_off());
        }
        print(&piece[..len])?;
        left = left.saturating_sub(len as u64);
    }
    Ok(())
}

async fn gather(size: u64, reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
    check_shown(size)?;
    let mut letter = Vec::new();
    reader.take(size).read_to_end(&mut letter).await?;
    if letter.len() as u64 == size { Ok(letter) } else { Err(cut_off()) }
}

fn check_shown(size: u64) -> Result<(), Failure> {
    if size <= SHOWN_LEN_MAX {
        return Ok(());
    }
    Err(Failure::new(Exit::Data, "the letter is too large to be shown here")
        .hint("write it to a file with --raw, or read it in a mail program"))
}

fn cut_off() -> Failure {
    Failure::new(Exit::Io, "the node stopped in the middle of the letter").hint("try again")
}

/// All of standard input, up to the largest letter.
fn read_stdin(what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(policy::LETTER_SIZE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(Exit::NoInput, format_args!("{what} cannot be read: {error}")))?;
    match bytes.len() as u64 {
        0..=policy::LETTER_SIZE_MAX => Ok(bytes),
        _ => Err(too_large()),
    }
}

/// A file to attach, if it fits into what is `left` (in bytes).
fn read_file(path: &Path, left: &mut u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::NoInput, format_args!("{} cannot be read: {error}", path.display()))
    };
    // A device or a pipe tells no length beforehand.
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(*left + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    *left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
    Ok(bytes)
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| "attachment".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Local line ends (LF) become those of mail (CRLF); what has CRLF already stays.
fn crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut last = 0;
    for &byte in text {
        if byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        last = byte;
    }
    if !out.ends_with(b"\r\n") && !out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_line_ends_become_those_of_mail() {
        assert_eq!(crlf(b"a\nb\r\nc"), b"a\r\nb\r\nc\r\n");
        assert_eq!(crlf(b""), b"");
    }
}

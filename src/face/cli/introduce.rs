//! `introduce` and `vouch`: what is asked, and what is printed for people.

use crate::face::cli::args::{Introduce, Vouch};
use crate::face::cli::exit::Failure;
use crate::face::cli::show::{as_json, clean, text};
use crate::face::cli::{Place, line};
use crate::face::control::Request;
use crate::model::trust::Method;

/// `onionskin introduce`
pub(super) async fn introduce(at: &Place, args: Introduce) -> Result<(), Failure> {
    let Introduce { first, second, method, note, json } = args;
    let request = Request::Introduce { first, second, method: method.into(), note };
    let value = at.ask(request).await?;
    if json {
        return as_json(&value);
    }
    line(format_args!(
        "{} and {} each get a letter with the other's address and key. See how it goes with: onionskin queue",
        clean(text(&value["first"]["shown"])),
        clean(text(&value["second"]["shown"]))
    ))?;
    advise(method.into())
}

/// `onionskin vouch`
pub(super) async fn vouch(at: &Place, args: Vouch) -> Result<(), Failure> {
    let request = Request::Vouch { who: args.who, method: args.method.into(), show: args.show };
    let value = at.ask(request).await?;
    if args.json {
        return as_json(&value);
    }
    let may = if args.show { "They may show it to others." } else { "It is for them alone." };
    line(format_args!("{} gets your vouch in a letter. {may}", clean(text(&value["shown"]))))?;
    advise(args.method.into())
}

/// What would make it worth more.
fn advise(method: Method) -> Result<(), Failure> {
    let days = method.lasts().as_secs() / 86_400;
    match method {
        Method::Mail => line(format_args!(
            "It counts for {days} days. It counts for longer once you have compared safety words by voice\n\
             (onionskin trust words ADDRESS; --method voice), or met (--method in-person)."
        )),
        _ => line(format_args!("It counts for {days} days.")),
    }
}

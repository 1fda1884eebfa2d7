//! The reason for a tier in words: the path (who, when, how checked), never a bare score.

use super::tier::{Answer, Because, Failing, Tried};
use super::view::{Edge, EdgeKind};
use crate::model::time::UnixTime;
use onion::OnionAddress;

/// One line, as in the verdict of a letter. `name` says what the person calls somebody.
pub fn reason(answer: &Answer, name: &impl Fn(&OnionAddress) -> String) -> String {
    match &answer.because {
        Because::Own => "yourself".to_owned(),
        Because::Decided(decided) => format!("your own decision of {} ({})", day(decided.at), decided.why),
        Because::Revoked(learnt) => format!("the key was revoked, as we learnt on {}", day(*learnt)),
        Because::Introduction(edge) => said(edge, name),
        Because::Paths([first, second]) => {
            format!("two paths: {}; and {}", chain(first, name), chain(second, name))
        }
        Because::Nothing => "nobody you trust has introduced them".to_owned(),
    }
}

/// All of it, a line for each thought: the reason, then what was tried.
pub fn lines(answer: &Answer, name: &impl Fn(&OnionAddress) -> String) -> Vec<String> {
    let mut lines = match &answer.because {
        Because::Paths(paths) => {
            let mut lines = vec!["two paths that have nobody in common:".to_owned()];
            lines.extend(paths.iter().map(|path| format!("  {}", chain(path, name))));
            lines
        }
        _ => vec![reason(answer, name)],
    };
    lines.extend(answer.tried.iter().map(|tried| useless(tried, name)));
    match answer.strangers {
        0 => {}
        1 => lines.push("of no use: a statement of somebody whom nobody you trust has named".to_owned()),
        many => lines.push(format!("of no use: {many} statements of people whom nobody you trust has named")),
    }
    lines
}

/// What a statement says: who, when, how checked.
fn said(edge: &Edge, name: &impl Fn(&OnionAddress) -> String) -> String {
    let did = match edge.kind {
        EdgeKind::Introduction => "introduced by",
        EdgeKind::Vouch => "vouched for by",
    };
    format!("{did} {} on {}, {}", name(&edge.issuer), day(edge.made), edge.method.words())
}

/// A path, from the one who is asked about back to who is trusted.
fn chain(path: &[Edge], name: &impl Fn(&OnionAddress) -> String) -> String {
    let links: Vec<String> = path.iter().rev().map(|edge| said(edge, name)).collect();
    links.join(", who was ")
}

fn useless(tried: &Tried, name: &impl Fn(&OnionAddress) -> String) -> String {
    let why = match tried.failing {
        Failing::Alone => "one path alone is not enough",
        Failing::Capped => "too many people named by one person that year",
        Failing::Aged => "too old by now, ended, or dated ahead",
        Failing::Blocked => "you blocked who says so",
        Failing::Revoked => "the key of who says so was revoked",
    };
    format!("of no use: {} ({why})", chain(&tried.path, name))
}

/// The day, for people: `01-Jan-2026`.
pub fn day(at: UnixTime) -> String {
    at.internal_date().split(' ').next().unwrap_or_default().to_owned()
}

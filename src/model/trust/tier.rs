//! `tier_of`: who somebody is to us, and why.
//!
//! The person's own decision comes first. Without one, *Introduced* is the most that statements can give: an
//! introduction by a Trusted contact, or two paths that have nobody in common, each `me → T → them` or
//! `me → T → X → them` with T Trusted. So however many stand behind one edge, they gain what that edge may carry (its
//! cap, see `view`). Words of who is blocked, or whose key was revoked, count for nothing.
//!
//! Promises the same answer for the same view, and that a decision that raises somebody lowers nobody else.

use super::Tier;
use super::view::{Decided, Edge, EdgeKind, Line, Node, View, Voice};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use std::collections::BTreeSet;

/// Most statements that an answer lists as of no use.
pub const TRIED_MAX: usize = 20;

/// A chain of statements from a Trusted contact: one or two.
pub type Path = Vec<Edge>;

/// Who somebody is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The tier.
    pub tier: Tier,
    /// Why.
    pub because: Because,
    /// Statements about them that did not help, the most telling first; at most [`TRIED_MAX`].
    pub tried: Vec<Tried>,
    /// How many statements more there are of people whom nobody we trust has named.
    pub strangers: usize,
}

impl Answer {
    /// Everybody who is named in the reason.
    pub fn named(&self) -> BTreeSet<OnionAddress> {
        match &self.because {
            Because::Introduction(edge) => BTreeSet::from([edge.issuer]),
            Because::Paths(paths) => paths.iter().flatten().map(|edge| edge.issuer).collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// Why somebody is who they are to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It is ourselves.
    Own,
    /// The person decided it.
    Decided(Decided),
    /// Their key was revoked: whatever was decided, we do not know who writes with it now.
    Revoked(UnixTime),
    /// A Trusted contact introduced them.
    Introduction(Edge),
    /// Two paths that have nobody in common.
    Paths([Path; 2]),
    /// Nothing speaks for them.
    Nothing,
}

/// A statement that did not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The statement about them, after the one about its issuer if there is one.
    pub path: Path,
    /// Why it did not help.
    pub failing: Failing,
}

/// Why a statement does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failing {
    /// It would be one of two paths, and there is no second.
    Alone,
    /// Its issuer named too many people that year.
    Capped,
    /// It has grown too old, or ended, or is dated ahead.
    Aged,
    /// Its issuer is blocked.
    Blocked,
    /// Its issuer's key was revoked.
    Revoked,
}

/// Who `target` is to us. `agreed` is the time agreed with the network; with none, nothing grows old.
pub fn tier_of(view: &View, target: &OnionAddress, agreed: Option<UnixTime>) -> Answer {
    let answer = |tier, because| Answer { tier, because, tried: Vec::new(), strangers: 0 };
    if target == view.me() {
        return answer(Tier::Trusted, Because::Own);
    }
    let decided = view.decision(target);
    if let Some(learnt) = view.revoked(target) {
        let tier = decided.map_or(Tier::Stranger, |decided| decided.tier.min(Tier::Stranger));
        return answer(tier, Because::Revoked(learnt));
    }
    match (decided, view.node(target)) {
        (Some(decided), _) => answer(decided.tier, Because::Decided(decided.clone())),
        (None, None) => answer(Tier::Stranger, Because::Nothing),
        (None, Some(node)) => Search::run(view, node, agreed),
    }
}

/// Somebody who spoke for the target, and the Trusted contacts who stand for them.
struct Speaker {
    said: Edge,
    /// The speaker itself if it is Trusted, else who named it, and how. Never empty; the strongest first.
    backed_by: Vec<(Node, Option<Edge>)>,
}

/// What is found while the statements about one target are looked through.
struct Search {
    introduction: Option<Edge>,
    speakers: Vec<Speaker>,
    tried: Vec<Tried>,
    strangers: usize,
}

impl Search {
    fn run(view: &View, target: Node, agreed: Option<UnixTime>) -> Answer {
        let mut search = Self { introduction: None, speakers: Vec::new(), tried: Vec::new(), strangers: 0 };
        // Any number of strangers may have spoken: they are counted, and nothing more.
        let (heeded, strangers): (Vec<&Line>, Vec<&Line>) = view.about(target).iter().partition(|line| {
            view.voice(line.issuer) != Voice::Other || view.is_named_by_trusted(line.issuer)
        });
        search.strangers = strangers.len();
        let mut heeded: Vec<(Option<Failing>, &Line)> =
            heeded.into_iter().map(|line| (failing(view, line, agreed), line)).collect();
        // The strongest statement of each issuer speaks.
        heeded.sort_by_key(|(failing, line)| (failing.is_some(), strength(line)));
        let mut heard = BTreeSet::new();
        for (failing, line) in heeded {
            if heard.insert(line.issuer) {
                search.hear(view, line, failing, agreed);
            }
        }
        search.answer()
    }

    fn hear(&mut self, view: &View, line: &Line, fails: Option<Failing>, agreed: Option<UnixTime>) {
        let (issuer, said) = (line.issuer, line.edge);
        match (view.voice(issuer), fails) {
            (Voice::Other, _) => {}
            (_, Some(failing)) => return self.tried.push(Tried { path: vec![said], failing }),
            (_, None) if said.kind == EdgeKind::Introduction => {
                self.introduction.get_or_insert(said);
                return;
            }
            (_, None) => return self.speakers.push(Speaker { said, backed_by: vec![(issuer, None)] }),
        }
        let backers = view.about(issuer).iter().filter(|line| view.voice(line.issuer) == Voice::Trusted);
        let mut backers: Vec<(Option<Failing>, &Line)> =
            backers.map(|line| (failing(view, line, agreed), line)).collect();
        backers.sort_by_key(|(failing, line)| (failing.is_some(), strength(line)));
        let Some((best_fails, best)) = backers.first() else { return };
        match fails.or(*best_fails) {
            Some(failing) => self.tried.push(Tried { path: vec![best.edge, said], failing }),
            None => {
                let good = backers.iter().take_while(|(failing, _)| failing.is_none());
                let backed_by = good.map(|(_, line)| (line.issuer, Some(line.edge))).collect();
                self.speakers.push(Speaker { said, backed_by });
            }
        }
    }

    fn answer(mut self) -> Answer {
        let (tier, because) = match (self.introduction, two_paths(&self.speakers)) {
            (Some(edge), _) => (Tier::Introduced, Because::Introduction(edge)),
            (None, Some(paths)) => (Tier::Introduced, Because::Paths(paths)),
            (None, None) => (Tier::Stranger, Because::Nothing),
        };
        if tier == Tier::Stranger {
            let alone =
                self.speakers.iter().map(|speaker| Tried { path: path(speaker, 0), failing: Failing::Alone });
            self.tried.extend(alone);
        }
        self.tried.sort_by_key(|tried| tried.failing);
        self.tried.truncate(TRIED_MAX);
        Answer { tier, because, tried: self.tried, strangers: self.strangers }
    }
}

/// In which order statements are preferred: introductions, then by method, then the earliest.
fn strength(line: &Line) -> (EdgeKind, super::Method, Edge) {
    (line.edge.kind, line.edge.method, line.edge)
}

/// Why the statement does not count, if it does not.
fn failing(view: &View, line: &Line, agreed: Option<UnixTime>) -> Option<Failing> {
    match view.voice(line.issuer) {
        Voice::Revoked => Some(Failing::Revoked),
        Voice::Blocked => Some(Failing::Blocked),
        _ if !line.edge.is_in_time(agreed) => Some(Failing::Aged),
        _ if !line.counts => Some(Failing::Capped),
        _ => None,
    }
}

/// Two paths with nobody in common: a matching of two between speakers and the Trusted contacts behind them.
///
/// A matching of one is there as soon as anybody speaks; by Berge's theorem there is one of two exactly if that one
/// can be augmented: another speaker has a backer of its own, or takes the first one's, who has a second.
fn two_paths(speakers: &[Speaker]) -> Option<[Path; 2]> {
    let (first, others) = speakers.split_first()?;
    let taken = first.backed_by[0].0;
    let spare = first.backed_by.iter().position(|(backer, _)| *backer != taken);
    for other in others {
        if let Some(own) = other.backed_by.iter().position(|(backer, _)| *backer != taken) {
            return Some([path(first, 0), path(other, own)]);
        }
        if let Some(spare) = spare {
            return Some([path(first, spare), path(other, 0)]);
        }
    }
    None
}

fn path(speaker: &Speaker, backer: usize) -> Path {
    speaker.backed_by[backer].1.into_iter().chain([speaker.said]).collect()
}

//! `View`: the decisions of the person and the statements of others, indexed for `tier_of`.
//!
//! Promises that it is the same whatever the order in which the statements come, and that each issuer's statements
//! beyond its cap do not count: in any year (365 days, by the day of arrival) only those about the first 20 people
//! whom a Trusted contact named, and about the first 3 whom anybody else did. The day of arrival is ours, so nobody
//! can push out, with an older date, what has counted before.

use super::{Method, Tier};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Most people a year that a Trusted contact's statements count for.
pub const TRUSTED_CAP: usize = 20;
/// Most people a year that anybody else's statements count for.
pub const OTHERS_CAP: usize = 3;
/// Days in a year of the caps.
const YEAR_DAYS: u64 = 365;
/// How far the date of a statement may lie ahead of ours.
const AHEAD_SECS: u64 = 26 * 3600;

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// The issuer introduced the subject to us.
    Introduction,
    /// The issuer vouched for the subject, who showed it to us.
    Vouch,
}

/// A verified statement, as far as trust goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// When it arrived here.
    pub received: UnixTime,
    /// When it was made, as it says.
    pub made: UnixTime,
    /// Who signed it.
    pub issuer: OnionAddress,
    /// About whom.
    pub subject: OnionAddress,
    /// What it does.
    pub kind: EdgeKind,
    /// How the issuer checked the subject's key.
    pub method: Method,
    /// When it ends, as it says.
    pub until: UnixTime,
}

impl Edge {
    /// Whether it counts at this time, by its own dates and by the method. With no agreed time nothing expires.
    pub fn is_in_time(&self, agreed: Option<UnixTime>) -> bool {
        agreed.is_none_or(|agreed| {
            let end = self.until.min(self.made.plus(self.method.lasts()));
            agreed <= end && self.made.0 <= agreed.0.saturating_add(AHEAD_SECS)
        })
    }
}

/// A decision of the person about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Who they are to us.
    pub tier: Tier,
    /// Since when.
    pub at: UnixTime,
    /// How it came about, a few words.
    pub why: String,
}

/// Number of an address in a view: its place among all, sorted.
pub(super) type Node = u32;

/// An edge by numbers, with whether it is within its issuer's cap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) issuer: Node,
    pub(super) edge: Edge,
    pub(super) counts: bool,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct View {
    me: OnionAddress,
    decisions: BTreeMap<OnionAddress, Decided>,
    revoked: BTreeMap<OnionAddress, UnixTime>,
    /// All addresses in edges, sorted.
    nodes: Vec<OnionAddress>,
    /// What each of `nodes` may do.
    voices: Vec<Voice>,
    /// Whether a Trusted contact ever said anything of each of `nodes`.
    named: Vec<bool>,
    /// All edges, by subject, then in their own order.
    lines: Vec<Line>,
    /// Where the edges about each of `nodes` lie in `lines`.
    about: Vec<Range<usize>>,
}

/// What an issuer's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// The person trusts them.
    Trusted,
    /// Anybody else.
    Other,
    /// Blocked by the person.
    Blocked,
    /// Their key was revoked.
    Revoked,
}

impl View {
    /// Indexes decisions, revocations (with the day each was learnt) and statements. What `me` signed, what is about
    /// `me`, and what somebody says of themselves is left out.
    pub fn new(
        me: OnionAddress,
        decisions: BTreeMap<OnionAddress, Decided>,
        revoked: BTreeMap<OnionAddress, UnixTime>,
        mut edges: Vec<Edge>,
    ) -> Self {
        edges.retain(|edge| edge.issuer != me && edge.subject != me && edge.issuer != edge.subject);
        edges.sort_unstable();
        edges.dedup();
        let mut nodes: Vec<OnionAddress> =
            edges.iter().flat_map(|edge| [edge.issuer, edge.subject]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let voices: Vec<Voice> =
            nodes.iter().map(|node| voice(decisions.get(node), revoked.contains_key(node))).collect();
        let mut view =
            Self { me, decisions, revoked, nodes, voices, named: vec![], lines: vec![], about: vec![] };
        view.lines = view.counted(edges);
        view.about = ranges(&view);
        view.named = (view.about.iter())
            .map(|about| {
                view.lines[about.clone()].iter().any(|line| view.voice(line.issuer) == Voice::Trusted)
            })
            .collect();
        view
    }

    /// The edges with whether each counts, sorted by subject.
    fn counted(&self, edges: Vec<Edge>) -> Vec<Line> {
        let number =
            |address: &OnionAddress| self.node(address).expect("every address of an edge was numbered");
        // Whom each issuer has named in the year under way; edges come in the order of arrival.
        let mut named: Vec<(u64, Vec<Node>)> = vec![(0, Vec::new()); self.nodes.len()];
        let mut lines: Vec<(Node, Line)> = edges
            .into_iter()
            .map(|edge| {
                let (issuer, subject) = (number(&edge.issuer), number(&edge.subject));
                let cap =
                    if self.voices[issuer as usize] == Voice::Trusted { TRUSTED_CAP } else { OTHERS_CAP };
                let (year, people) = &mut named[issuer as usize];
                let this_year = edge.received.day() / YEAR_DAYS;
                if *year != this_year {
                    (*year, *people) = (this_year, Vec::new());
                }
                let counts = people.contains(&subject) || people.len() < cap;
                if counts && !people.contains(&subject) {
                    people.push(subject);
                }
                (subject, Line { issuer, edge, counts })
            })
            .collect();
        // Stable: edges about one subject stay in the order of arrival.
        lines.sort_by_key(|(subject, _)| *subject);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Whose view it is.
    pub fn me(&self) -> &OnionAddress {
        &self.me
    }

    /// What the person decided about somebody.
    pub fn decision(&self, of: &OnionAddress) -> Option<&Decided> {
        self.decisions.get(of)
    }

    /// All whom the person decided about.
    pub fn decisions(&self) -> &BTreeMap<OnionAddress, Decided> {
        &self.decisions
    }

    /// When we learnt that this key was revoked, if it was.
    pub fn revoked(&self, of: &OnionAddress) -> Option<UnixTime> {
        self.revoked.get(of).copied()
    }

    /// All statements that are in the view.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.lines.iter().map(|line| &line.edge)
    }

    /// How many statements are in the view.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whom a statement that counts reaches within two steps of those trusted.
    pub fn reached(&self, agreed: Option<UnixTime>) -> BTreeSet<OnionAddress> {
        let good = |line: &&Line| line.counts && line.edge.is_in_time(agreed);
        let first: BTreeSet<OnionAddress> = self
            .lines
            .iter()
            .filter(|line| self.voice(line.issuer) == Voice::Trusted)
            .filter(good)
            .map(|line| line.edge.subject)
            .collect();
        let second = self
            .lines
            .iter()
            .filter(good)
            .filter(|line| self.voice(line.issuer) == Voice::Other && first.contains(&line.edge.issuer));
        let second: BTreeSet<OnionAddress> = second.map(|line| line.edge.subject).collect();
        &first | &second
    }

    pub(super) fn node(&self, address: &OnionAddress) -> Option<Node> {
        self.nodes.binary_search(address).ok().and_then(|at| Node::try_from(at).ok())
    }

    pub(super) fn voice(&self, node: Node) -> Voice {
        self.voices[node as usize]
    }

    pub(super) fn is_named_by_trusted(&self, node: Node) -> bool {
        self.named[node as usize]
    }

    /// The edges about somebody, in the order of arrival.
    pub(super) fn about(&self, node: Node) -> &[Line] {
        &self.lines[self.about[node as usize].clone()]
    }
}

fn voice(decided: Option<&Decided>, revoked: bool) -> Voice {
    match decided.map(|decided| decided.tier) {
        _ if revoked => Voice::Revoked,
        Some(Tier::Trusted) => Voice::Trusted,
        Some(Tier::Blocked) => Voice::Blocked,
        _ => Voice::Other,
    }
}

fn ranges(view: &View) -> Vec<Range<usize>> {
    let mut ranges = Vec::with_capacity(view.nodes.len());
    let mut at = 0;
    for node in &view.nodes {
        let len = view.lines[at..].iter().take_while(|line| line.edge.subject == *node).count();
        ranges.push(at..at + len);
        at += len;
    }
    ranges
}

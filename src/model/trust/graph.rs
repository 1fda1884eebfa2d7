//! The web of trust as a picture: who is in it, drawn in rings by tier, as DOT and as SVG.
//!
//! Promises that the same web gives the same bytes, that no label leaves its place (escaped, no control characters),
//! and that the SVG fetches nothing: no script, no link, no font.

use super::tier::tier_of;
use super::view::{Edge, EdgeKind, View};
use super::{Method, Tier};
use crate::model::time::UnixTime;
use onion::OnionAddress;
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::fmt::Write as _;

/// Most people in a picture, the nearest first: beyond it nobody could read it.
pub const SHOWN_MAX: usize = 500;
/// Longest label, in characters.
const LABEL_LEN_MAX: usize = 40;
/// Distance between two rings, and the least between neighbours on one, in pixels.
const RING: f64 = 170.0;
const SPACING: f64 = 80.0;
/// Around the outermost ring, for labels.
const MARGIN: f64 = 120.0;
/// The rings from the middle, and the colour of each.
const RINGS: [(Tier, &str); 4] = [
    (Tier::Trusted, "#1b7f4b"),
    (Tier::Known, "#2c6fbb"),
    (Tier::Introduced, "#b9770e"),
    (Tier::Blocked, "#8a8a8a"),
];

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The label of the one whose web it is.
    pub me: String,
    /// Everybody else, by tier (the nearest first), then by label.
    pub people: Vec<Person>,
    /// Who said what of whom.
    pub words: Vec<Word>,
    /// How many did not fit.
    pub left_out: usize,
}

/// Somebody in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What the person calls them, or their short address.
    pub label: String,
    /// Who they are to us.
    pub tier: Tier,
}

/// A statement in a picture; `from` and `to` are places in `people`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Who said it.
    pub from: usize,
    /// Of whom.
    pub to: usize,
    /// What.
    pub kind: EdgeKind,
    /// How it was checked.
    pub method: Method,
}

/// Draws the part of the web that is anybody to us: all decided about, and all introduced.
pub fn picture(view: &View, agreed: Option<UnixTime>, name: &impl Fn(&OnionAddress) -> String) -> Picture {
    let candidates: BTreeSet<OnionAddress> =
        view.decisions().keys().copied().chain(view.reached(agreed)).filter(|who| who != view.me()).collect();
    let mut people: Vec<(usize, String, OnionAddress, Tier)> = Vec::new();
    for who in candidates {
        let tier = tier_of(view, &who, agreed).tier;
        if let Some(ring) = ring(tier) {
            people.push((ring, label(&name(&who)), who, tier));
        }
    }
    people.sort();
    let left_out = people.len().saturating_sub(SHOWN_MAX);
    people.truncate(SHOWN_MAX);
    let places: BTreeMap<OnionAddress, usize> =
        people.iter().enumerate().map(|(place, (_, _, who, _))| (*who, place)).collect();
    let word = |edge: &Edge| {
        let (from, to) = (*places.get(&edge.issuer)?, *places.get(&edge.subject)?);
        edge.is_in_time(agreed).then_some(Word { from, to, kind: edge.kind, method: edge.method })
    };
    let words: BTreeSet<Word> = view.edges().filter_map(word).collect();
    let people = people.into_iter().map(|(_, label, _, tier)| Person { label, tier }).collect();
    Picture { me: label(&name(view.me())), people, words: words.into_iter().collect(), left_out }
}

fn ring(tier: Tier) -> Option<usize> {
    RINGS.iter().position(|(ring, _)| *ring == tier)
}

/// A name fit to be shown: no control characters, none that turn the direction of writing, and not too long.
fn label(name: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let noncharacter = |c: char| matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff);
    name.chars().filter(|c| !c.is_control() && !turns(*c) && !noncharacter(*c)).take(LABEL_LEN_MAX).collect()
}

impl Picture {
    /// The picture in the language of Graphviz.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut dot = String::from("digraph trust {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
        let _ = writeln!(dot, "  me [label={}, style=\"rounded,bold\"];", quoted(&self.me));
        for (place, person) in self.people.iter().enumerate() {
            let colour = ring(person.tier).map_or("#000000", |ring| RINGS[ring].1);
            let tooltip = person.tier.word();
            let label = quoted(&person.label);
            let _ = writeln!(dot, "  p{place} [label={label}, color=\"{colour}\", tooltip=\"{tooltip}\"];");
            if matches!(person.tier, Tier::Trusted | Tier::Known) {
                let _ = writeln!(dot, "  me -> p{place} [color=\"{colour}\"];");
            }
        }
        for word in &self.words {
            let style = if word.kind == EdgeKind::Introduction { "solid" } else { "dashed" };
            let (from, to, how) = (word.from, word.to, word.method.words());
            let _ = writeln!(dot, "  p{from} -> p{to} [style={style}, tooltip=\"{how}\"];");
        }
        dot.push_str("}\n");
        dot
    }

    /// The picture as an SVG document of its own.
    pub fn svg(&self) -> String {
        let places = self.places();
        let half = self.radii().last().copied().unwrap_or(0.0) + MARGIN;
        let side = half * 2.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{side:.0}\" height=\"{side:.0}\" \
             viewBox=\"{:.0} {:.0} {side:.0} {side:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect x=\"{:.0}\" y=\"{:.0}\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            -half, -half, -half, -half
        );
        for word in &self.words {
            let dashes = if word.kind == EdgeKind::Introduction { "" } else { " stroke-dasharray=\"5 4\"" };
            line(&mut svg, places[word.from], places[word.to], "#777777", dashes, word.method.words());
        }
        for (person, place) in self.people.iter().zip(&places) {
            let colour = ring(person.tier).map_or("#000000", |ring| RINGS[ring].1);
            if matches!(person.tier, Tier::Trusted | Tier::Known) {
                line(&mut svg, (0.0, 0.0), *place, colour, "", "decided by you");
            }
        }
        for (person, place) in self.people.iter().zip(&places) {
            let colour = ring(person.tier).map_or("#000000", |ring| RINGS[ring].1);
            dot_with_label(&mut svg, *place, colour, &person.label, person.tier.word());
        }
        dot_with_label(&mut svg, (0.0, 0.0), "#000000", &self.me, "you");
        svg.push_str("</svg>\n");
        svg
    }

    /// The radius of each ring: far enough out that neighbours have room.
    fn radii(&self) -> Vec<f64> {
        let mut radius: f64 = 0.0;
        let count = |tier| self.people.iter().filter(|person| person.tier == tier).count();
        RINGS
            .iter()
            .map(|(tier, _)| {
                let count = count(*tier);
                if count > 0 {
                    radius = (radius + RING).max(count as f64 * SPACING / TAU);
                }
                radius
            })
            .collect()
    }

    fn places(&self) -> Vec<(f64, f64)> {
        let radii = self.radii();
        let mut places = Vec::with_capacity(self.people.len());
        for (ring, (tier, _)) in RINGS.iter().enumerate() {
            let count = self.people.iter().filter(|person| person.tier == *tier).count();
            // Each ring begins a little further on, so that labels of neighbouring rings meet less.
            places.extend((0..count).map(|at| {
                let angle = (at as f64 + ring as f64 * 0.37) / count as f64 * TAU;
                (radii[ring] * angle.cos(), radii[ring] * angle.sin())
            }));
        }
        places
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, dashes: &str, title: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.6\"{dashes}>\
         <title>{title}</title></line>",
        from.0, from.1, to.0, to.1
    );
}

fn dot_with_label(svg: &mut String, at: (f64, f64), colour: &str, label: &str, title: &str) {
    let (x, y, label) = (at.0, at.1, escaped(label));
    let _ = writeln!(
        svg,
        "<g><title>{title}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\" fill=\"{colour}\"/>\
         <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text></g>",
        y + 22.0
    );
}

/// Text within XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

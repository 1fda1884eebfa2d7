//! What the letters of a network took, in figures: delays, shares, and the table of both.

use crate::network::{Lived, Plan};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// The figures of one run. Of letters written near the end the delay is not counted: peace would shorten it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Letters whose delay is counted.
    pub(crate) counted: usize,
    /// Half of them took no longer; none if that half did not arrive.
    pub(crate) p50: Option<Duration>,
    /// The same of 95 in a hundred.
    pub(crate) p95: Option<Duration>,
    /// The share that arrived within a day, from 0 to 1.
    pub(crate) in_a_day: f64,
    /// And within a week, of those written a week before the end; none in a shorter run.
    pub(crate) in_a_week: Option<f64>,
}

impl Figures {
    /// Of one run.
    pub(crate) fn of(lived: &Lived, plan: &Plan) -> Self {
        let margin = WEEK.min(DAY * u32::try_from(plan.days).unwrap_or(u32::MAX) / 2);
        let mut took = before(lived, margin);
        took.sort_unstable();
        let percentile = |percent: usize| {
            let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
            took.get(at).copied().filter(|took| *took < Duration::MAX)
        };
        let week = before(lived, WEEK);
        Self {
            counted: took.len(),
            p50: percentile(50),
            p95: percentile(95),
            in_a_day: share(&before(lived, DAY), DAY),
            in_a_week: (plan.days > 7 && !week.is_empty()).then(|| share(&week, WEEK)),
        }
    }
}

/// The delays of what was written so long before the end; what did not arrive took for ever.
fn before(lived: &Lived, margin: Duration) -> Vec<Duration> {
    let last: Instant = lived.end - margin;
    let counted = lived.delays.iter().filter(|delay| delay.at <= last);
    counted.map(|delay| delay.took.unwrap_or(Duration::MAX)).collect()
}

fn share(took: &[Duration], within: Duration) -> f64 {
    let these = took.iter().filter(|took| **took <= within).count();
    these as f64 / took.len().max(1) as f64
}

/// A run in a table.
pub(crate) struct Row {
    pub(crate) plan: Plan,
    pub(crate) lived: Lived,
    pub(crate) wall: Duration,
}

/// A table in Markdown, one line for each run.
pub(crate) fn table(rows: &[Row]) -> String {
    let text = "| holders | online h/day | have them | promises, of liars | letters | delivered | returned | \
                    lost | duplicated | timed | p50 | p95 | in a day | in a week | wall s |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let mut text = text.to_owned();
    for Row { plan, lived, wall } in rows {
        let (figures, tally) = (Figures::of(lived, plan), &lived.run.tally);
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} % | {}, {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} % | {} | {:.0} |",
            plan.holders,
            plan.hours_online,
            100.0 * lived.covered,
            lived.promises,
            lived.lying,
            tally.letters,
            tally.delivered,
            tally.returned,
            tally.lost,
            tally.duplicated,
            figures.counted,
            in_words(figures.p50),
            in_words(figures.p95),
            100.0 * figures.in_a_day,
            figures.in_a_week.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share)),
            wall.as_secs_f64(),
        );
    }
    text
}

/// A delay for people.
pub(crate) fn in_words(delay: Option<Duration>) -> String {
    match delay.map(|delay| delay.as_secs()) {
        None => "never".to_owned(),
        Some(secs @ 0..120) => format!("{secs} s"),
        Some(secs @ 120..7_200) => format!("{} min", secs / 60),
        Some(secs) => format!("{:.1} h", secs as f64 / 3600.0),
    }
}

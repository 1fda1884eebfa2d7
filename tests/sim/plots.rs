//! Plots of many runs as SVG, written line by line: a share or a delay against the number of holders, one line for each
//! number of hours online.

use crate::figures::{Figures, Row};
use std::fmt::Write as _;
use std::time::Duration;

/// Width and height of a panel and the room around its axes, in pixels.
const PANEL: (f64, f64) = (330.0, 220.0);
const LEFT: f64 = 62.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 56.0;
/// A colour for each line; told apart also by who sees no red or green, and by their marks.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// One panel: what its height means, and a figure of a run.
struct Panel {
    title: &'static str,
    figure: fn(&Figures) -> Option<f64>,
    /// Values at the marks of the axis, with what is written there.
    marks: Vec<(f64, String)>,
    logarithmic: bool,
}

impl Panel {
    fn height(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(1e-3).ln() } else { value };
        let (low, high) = (self.marks[0].0, self.marks[self.marks.len() - 1].0);
        let part = (scale(value) - scale(low)) / (scale(high) - scale(low));
        TOP + PANEL.1 * (1.0 - part.clamp(0.0, 1.0))
    }
}

/// The share of letters that arrive within a day, and within a week.
pub(crate) fn delivery(rows: &[Row]) -> String {
    let marks =
        || [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, format!("{:.0} %", share * 100.0))).to_vec();
    let day = Panel {
        title: "arrived within a day",
        figure: |figures| Some(figures.in_a_day),
        marks: marks(),
        logarithmic: false,
    };
    let week = Panel {
        title: "arrived within a week",
        figure: |figures| figures.in_a_week,
        marks: marks(),
        logarithmic: false,
    };
    draw(rows, &[day, week])
}

/// What half of the letters take at most, and 95 of a hundred.
pub(crate) fn delay(rows: &[Row]) -> String {
    let marks = || {
        let marks = [(0.25, "15 min"), (1.0, "1 h"), (4.0, "4 h"), (24.0, "1 day"), (168.0, "1 week")];
        marks.map(|(hours, name)| (hours, name.to_owned())).to_vec()
    };
    let half = Panel {
        title: "delay of half of the letters",
        figure: |figures| figures.p50.map(in_hours),
        marks: marks(),
        logarithmic: true,
    };
    let most = Panel {
        title: "delay of 95 in a hundred",
        figure: |figures| figures.p95.map(in_hours),
        marks: marks(),
        logarithmic: true,
    };
    draw(rows, &[half, most])
}

fn in_hours(delay: Duration) -> f64 {
    delay.as_secs_f64() / 3600.0
}

fn draw(rows: &[Row], panels: &[Panel]) -> String {
    let (wide, high) = ((LEFT + PANEL.0 + 20.0) * panels.len() as f64, TOP + PANEL.1 + BELOW + 26.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let left = LEFT + (LEFT + PANEL.0 + 20.0) * n as f64;
        draw_panel(&mut svg, rows, panel, left);
    }
    for (n, hours) in hours_of(rows).iter().enumerate() {
        let (x, y) = (LEFT + 190.0 * n as f64, high - 14.0);
        let _ = writeln!(
            svg,
            "{}<text x=\"{}\" y=\"{y}\">{hours} h online a day</text>",
            mark(n, x, y - 4.0),
            x + 12.0
        );
    }
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, rows: &[Row], panel: &Panel, left: f64) {
    let holders = holders_of(rows);
    let across = |n: usize| left + PANEL.0 * (n as f64 + 0.5) / holders.len() as f64;
    let _ =
        writeln!(svg, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", TOP - 18.0, panel.title);
    for (value, name) in &panel.marks {
        let y = panel.height(*value);
        let right = left + PANEL.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
        );
        let (x, y) = (left - 6.0, y + 4.0);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>");
    }
    let base = TOP + PANEL.1;
    for (n, count) in holders.iter().enumerate() {
        let (x, y) = (across(n), base + 18.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{count}</text>");
    }
    let (x, y) = (left + PANEL.0 / 2.0, base + 36.0);
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">honest holders of each person</text>"
    );
    for (n, hours) in hours_of(rows).iter().enumerate() {
        let mut points = String::new();
        let mut marks = String::new();
        for (at, count) in holders.iter().enumerate() {
            let row = rows.iter().find(|row| row.plan.holders == *count && row.plan.hours_online == *hours);
            let value = row.and_then(|row| (panel.figure)(&Figures::of(&row.lived, &row.plan)));
            if let Some(value) = value {
                let (x, y) = (across(at), panel.height(value));
                let _ = write!(points, "{x:.1},{y:.1} ");
                let _ = writeln!(marks, "{}", mark(n, x, y));
            }
        }
        let colour = COLOURS[n % COLOURS.len()];
        let line = points.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        svg.push_str(&marks);
    }
}

/// A mark of line `n`: a disc, a square, a diamond.
fn mark(n: usize, x: f64, y: f64) -> String {
    let colour = COLOURS[n % COLOURS.len()];
    match n % 3 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>"),
        1 => {
            let (x, y) = (x - 4.0, y - 4.0);
            format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>")
        }
        _ => {
            let (west, east, north, south) = (x - 5.5, x + 5.5, y - 5.5, y + 5.5);
            format!(
                "<polygon points=\"{west:.1},{y:.1} {x:.1},{north:.1} {east:.1},{y:.1} {x:.1},{south:.1}\" \
                 fill=\"{colour}\"/>"
            )
        }
    }
}

fn holders_of(rows: &[Row]) -> Vec<usize> {
    let mut all: Vec<usize> = rows.iter().map(|row| row.plan.holders).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn hours_of(rows: &[Row]) -> Vec<u64> {
    let mut all: Vec<u64> = rows.iter().map(|row| row.plan.hours_online).collect();
    all.sort_unstable();
    all.dedup();
    all
}

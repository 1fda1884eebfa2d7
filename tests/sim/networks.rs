//! Which networks are run: one with holders beside one without, a grid for the plots, or small ones in every test run.

use crate::figures::{self, Row};
use crate::network::{self, Plan};
use crate::options::Options;
use crate::{Done, in_parallel, plots};
use std::fs;
use std::path::Path;

/// Numbers of holders and hours online of the grid.
const GRID: ([usize; 4], [u64; 3]) = ([0, 1, 2, 3], [2, 6, 12]);
/// The small networks of every test run.
const SMALL: Plan = Plan { seed: 1, nodes: 10, days: 1, holders: 2, liars: 25, hours_online: 6, told: false };

/// The runs that were asked for, with their table and plots.
pub(crate) fn asked(options: &Options, seed: u64, faults: &mut Vec<String>) -> Vec<Done> {
    let plans = match (options.holders, &options.plots) {
        (_, Some(_)) => {
            let (holders, hours) = GRID;
            let each = hours.iter().flat_map(|hours| holders.map(|holders| (*hours, holders)));
            each.map(|(hours_online, holders)| Plan { hours_online, ..options.plan(seed, holders) }).collect()
        }
        // Beside it: what becomes of the letters if both must be online together.
        (Some(holders @ 1..), None) => {
            let alone = Plan { told: false, ..options.plan(seed, 0) };
            vec![options.plan(seed, holders as usize), alone]
        }
        (_, None) => vec![options.plan(seed, 0)],
    };
    let mut rows = run(plans, faults);
    rows.sort_by_key(|row| (row.plan.hours_online, row.plan.holders));
    let flags = options.as_flags();
    println!("\nseed {seed}{flags}\n\n{}", figures::table(&rows));
    if let Some(folder) = &options.plots {
        let folder = Path::new(folder);
        for (name, svg) in [("delivery.svg", plots::delivery(&rows)), ("delay.svg", plots::delay(&rows))] {
            if let Err(error) = fs::write(folder.join(name), svg) {
                faults.push(format!("{name} cannot be written: {error}"));
            }
        }
    }
    rows.into_iter().map(done).collect()
}

/// Small networks of these seeds, and one of them twice.
pub(crate) fn small(seeds: &[u64], faults: &mut Vec<String>) -> Vec<Done> {
    let mut plans: Vec<Plan> = seeds.iter().map(|seed| Plan { seed: *seed, ..SMALL }).collect();
    plans.push(SMALL);
    let rows = run(plans, faults);
    let mut traces = rows.iter().filter(|row| row.plan.seed == SMALL.seed).map(|row| &row.lived.run.trace);
    let first = traces.next();
    if first.is_none() || traces.any(|trace| Some(trace) != first) {
        faults.push(format!("the network of seed {} did not repeat its run", SMALL.seed));
    }
    rows.into_iter().map(done).collect()
}

fn run(plans: Vec<Plan>, faults: &mut Vec<String>) -> Vec<Row> {
    let ran = in_parallel(plans, |plan| {
        let lived = network::live(plan);
        println!("{}: {}", name(plan), lived.run.columns());
        lived
    });
    let mut rows = Vec::new();
    for (plan, lived, wall) in ran {
        match lived {
            Some(lived) => rows.push(Row { plan, lived, wall }),
            None => faults.push(format!("{}: the run broke off; see above", name(&plan))),
        }
    }
    rows
}

fn done(Row { plan, lived, wall }: Row) -> Done {
    Done { name: name(&plan), run: lived.run, took: wall }
}

fn name(plan: &Plan) -> String {
    let Plan { seed, nodes, days, holders, liars, hours_online, .. } = plan;
    format!(
        "network of seed {seed}, {nodes} nodes, {days} days, {holders} holders, {liars} % liars, {hours_online} h"
    )
}

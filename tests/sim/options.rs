//! What the simulator is asked for: its own flags, and those that `cargo test` hands to every test program.

use crate::life::Wish;

/// How to use it.
const USAGE: &str = "scripts/sim [--seed N [--seeds K]] [--nodes N] [--days N] [--trace]

  --seed N    this seed only (with --seeds K: N, N+1, … K of them)
  --seeds K   K fresh seeds
  --nodes N   people in the world, 2 to 50 (5)
  --days N    days of trouble before peace, 1 to 400 (7)
  --trace     tell what happens, line by line
Without --seed and --seeds: the fixed seeds, two fresh ones, the runs with a script, and one seed twice.";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) seed: Option<u64>,
    pub(crate) seeds: Option<u64>,
    nodes: Option<u64>,
    days: Option<u64>,
    trace: bool,
}

/// What is to be done.
pub(crate) enum Asked {
    Run(Options),
    /// `cargo test` was given the name of another test.
    Nothing,
    Told(String),
}

impl Options {
    /// One run of this seed.
    pub(crate) fn wish(&self, seed: u64) -> Wish {
        Wish { seed, nodes: self.nodes.unwrap_or(5) as usize, days: self.days.unwrap_or(7), told: self.trace }
    }

    /// The flags that change what a seed means.
    pub(crate) fn as_flags(&self) -> String {
        let flag = |name: &str, value: Option<u64>| value.map_or(String::new(), |n| format!(" --{name} {n}"));
        flag("nodes", self.nodes) + &flag("days", self.days)
    }
}

/// Understands the command line.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let mut number = |least: u64, most: u64| -> Result<Option<u64>, String> {
            let value = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
            match value.parse() {
                Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
                _ => Err(format!("{arg} wants a number from {least} to {most}, not {value:?}")),
            }
        };
        match arg.as_str() {
            "--seed" => options.seed = number(0, u64::MAX)?,
            "--seeds" => options.seeds = number(1, 10_000)?,
            "--nodes" => options.nodes = number(2, 50)?,
            "--days" => options.days = number(1, 400)?,
            "--trace" => options.trace = true,
            "--help" | "-h" => return Ok(Asked::Told(USAGE.into())),
            "--list" => return Ok(Asked::Told("sim: test\n\n1 test, 0 benchmarks".into())),
            // A filter of cargo test: it may mean us.
            other if !other.starts_with('-') && !"sim".contains(other) => return Ok(Asked::Nothing),
            // Other flags of cargo test, such as --nocapture.
            _ => {}
        }
    }
    Ok(Asked::Run(options))
}

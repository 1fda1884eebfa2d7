//! What the simulator is asked for: its own flags, and those that `cargo test` hands to every test program.

use crate::life::Wish;
use crate::network::Plan;

/// How to use it.
const USAGE: &str = "scripts/sim [--seed N [--seeds K]] [--nodes N] [--days N] [--trace]
scripts/sim --holders H|--plots DIR [--liars P] [--hours-online H] [--seed N] [--nodes N] [--days N] [--trace]

  --seed N    this seed only (with --seeds K: N, N+1, … K of them)
  --seeds K   K fresh seeds
  --nodes N   people in the world, 2 to 50 (5); with holders 2 to 2000 (200)
  --days N    days of trouble before peace, 1 to 400 (7); with holders (30)
  --holders H honest holders of each person, 0 to 3: people are online by a schedule, and keep letters for each other
  --liars P   of a hundred people so many lie as holders, 0 to 50 (0)
  --hours-online H
              hours that a laptop or a phone is online on a day, 1 to 16 (6)
  --plots DIR 0 to 3 holders, each with 2, 6 and 12 hours online; two plots are written to DIR
  --script W  the runs with a script that have W in their name
  --trace     tell what happens, line by line
Without --seed and --seeds: the fixed seeds, two fresh ones, the runs with a script, and one seed twice.";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) seed: Option<u64>,
    pub(crate) seeds: Option<u64>,
    nodes: Option<u64>,
    days: Option<u64>,
    pub(crate) holders: Option<u64>,
    liars: Option<u64>,
    hours_online: Option<u64>,
    pub(crate) plots: Option<String>,
    pub(crate) script: Option<String>,
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

    /// Whether it is about people who keep letters for each other.
    pub(crate) fn is_network(&self) -> bool {
        self.holders.is_some() || self.plots.is_some()
    }

    /// One run of a network with holders.
    pub(crate) fn plan(&self, seed: u64, holders: usize) -> Plan {
        Plan {
            seed,
            nodes: self.nodes.unwrap_or(200) as usize,
            days: self.days.unwrap_or(30),
            holders,
            liars: self.liars.unwrap_or(0) as usize,
            hours_online: self.hours_online.unwrap_or(6),
            told: self.trace,
        }
    }

    /// The flags that change what a seed means.
    pub(crate) fn as_flags(&self) -> String {
        let flag = |name: &str, value: Option<u64>| value.map_or(String::new(), |n| format!(" --{name} {n}"));
        let network = [("holders", self.holders), ("liars", self.liars), ("hours-online", self.hours_online)];
        let network: String = network.map(|(name, value)| flag(name, value)).concat();
        flag("nodes", self.nodes) + &flag("days", self.days) + &network
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
            "--nodes" => options.nodes = number(2, 2000)?,
            "--days" => options.days = number(1, 400)?,
            "--holders" => options.holders = number(0, 3)?,
            "--liars" => options.liars = number(0, 50)?,
            "--hours-online" => options.hours_online = number(1, 16)?,
            "--plots" => options.plots = Some(args.next().ok_or("--plots wants a folder")?),
            "--script" => options.script = Some(args.next().ok_or("--script wants a word of a name")?),
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

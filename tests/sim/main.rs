//! The simulator: people write to each other for a week of paused time while everything goes wrong. Then all faults
//! stop, everything must settle, and every mailbox is read over IMAP. The world is that of the tests (`it/world.rs`);
//! `life` lives one run, `weather` draws what goes wrong, `ledger` judges, `scenarios` are the runs with a script,
//! `network` has people who come and go by a schedule and keep letters for each other.
//!
//! One seed, one run: `scripts/sim --seed N` repeats it to the byte; `--trace` tells it line by line.
//!
//! | column | what it counts (a letter to three people is three letters here) |
//! |---|---|
//! | `letters` | letters that got their `250`, or lie in the author's Sent |
//! | `delivered` | of these: in exactly one mailbox of the reader, once, with the author's bytes |
//! | `returned` | of these: reported as undeliverable in the author's INBOX, and rightly (`ledger`) |
//! | `unconfirmed` | letters of which the author was told that holders had them and no receipt came |
//! | `lost` | of these: neither, altered, or returned wrongly; and letters once shown that are gone |
//! | `duplicated` | copies beyond the first, of any letter, and reports beyond the first |
//! | `unanswered` | submissions that a crash cut off before their answer: there at most once |
//! | `refused` | submissions that were refused: there at most once |
//! | `crashes` | power cuts: unsynced writes lost, kept or torn |
//! | `dials`, `cuts` | dials on the network; streams cut in the midst |
//! | `settled` | how long after the last fault until nothing waited any more |
//! | `trace` | hash of everything that happened and of every byte in every mailbox: equal means the same run |

mod figures;
mod ledger;
mod liars;
mod life;
mod network;
mod networks;
mod options;
mod plots;
mod presence;
mod scenarios;
mod trace;
mod waiting;
mod weather;
#[path = "../it/world.rs"]
mod world;

use life::{Run, Wish};
use options::{Asked, Options};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Seeds of every test run: 1 to 3 by convention, then those that once found a fault.
const FIXED_SEEDS: [u64; 3] = [1, 2, 3];
/// Seeds that no run has had before, in every test run.
const FRESH_SEEDS: usize = 2;
/// The seed that is run twice, to show that a seed repeats its run.
const REPEATED_SEED: u64 = 1;
/// How long each of the two runs is.
const REPEATED_DAYS: u64 = 2;

/// One run and how long it took.
struct Done {
    name: String,
    run: Run,
    took: Duration,
}

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => simulate(&options),
        Ok(Asked::Nothing) => {
            println!("test result: ok. 0 passed; 0 failed");
            ExitCode::SUCCESS
        }
        Ok(Asked::Told(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(64)
        }
    }
}

fn simulate(options: &Options) -> ExitCode {
    let started = Instant::now();
    let mut faults = Vec::new();
    if options.is_network() {
        let seed = options.seed.unwrap_or_else(|| fresh_seeds(1)[0]);
        let done = networks::asked(options, seed, &mut faults);
        return report(&done, &faults, started.elapsed());
    }
    if let Some(word) = &options.script {
        let done = scripted(word, &mut faults);
        return report(&done, &faults, started.elapsed());
    }
    let mut done = Vec::new();
    let seeds = match options.seed {
        Some(seed) => (0..options.seeds.unwrap_or(1)).map(|n| seed.wrapping_add(n)).collect(),
        None => {
            let fresh = fresh_seeds(options.seeds.map_or(FRESH_SEEDS, |seeds| seeds as usize));
            println!("fresh seeds: {fresh:?}; to run one again: scripts/sim --seed N{}", options.as_flags());
            let fixed = if options.seeds.is_none() { FIXED_SEEDS.to_vec() } else { Vec::new() };
            [fixed, fresh].concat()
        }
    };
    let wishes = seeds.iter().map(|&seed| options.wish(seed)).collect();
    done.extend(weeks(wishes, &mut faults));
    if options.seed.is_none() && options.seeds.is_none() {
        done.extend(scripted("", &mut faults));
        repeats(options, &mut faults);
        let small = [FIXED_SEEDS[0], fresh_seeds(1)[0]];
        println!("networks: seeds {small:?}");
        done.extend(networks::small(&small, &mut faults));
    }
    report(&done, &faults, started.elapsed())
}

/// Runs the weeks.
fn weeks(wishes: Vec<Wish>, faults: &mut Vec<String>) -> Vec<Done> {
    let ran = in_parallel(wishes, |wish| {
        let begun = Instant::now();
        let run = life::live(wish);
        println!("seed {}: {}  {:.1} s", wish.seed, run.columns(), begun.elapsed().as_secs_f64());
        run
    });
    let mut runs = Vec::new();
    for (wish, run, took) in ran {
        let name = format!("seed {}", wish.seed);
        match run {
            Some(run) => runs.push(Done { name, run, took }),
            None => faults.push(format!("{name}: the run broke off; see above")),
        }
    }
    runs
}

/// Does the same with each, with as many at a time as the machine has processors; gives what came of each and how long
/// it took, in the order given; nothing of what panicked.
fn in_parallel<W: Send + std::panic::RefUnwindSafe, R: Send>(
    all: Vec<W>,
    each: impl Fn(&W) -> R + Sync + std::panic::RefUnwindSafe,
) -> Vec<(W, Option<R>, Duration)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(all.len());
    let done = Mutex::new(Vec::with_capacity(all.len()));
    let waiting = Mutex::new(all.into_iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no holder panics").next();
                    let Some((at, one)) = next else { return };
                    let begun = Instant::now();
                    let ran = std::panic::catch_unwind(|| each(&one)).ok();
                    done.lock().expect("no holder panics").push((at, one, ran, begun.elapsed()));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no holder panics");
    done.sort_by_key(|(at, ..)| *at);
    done.into_iter().map(|(_, one, ran, took)| (one, ran, took)).collect()
}

/// The runs with a script that have this in their name.
fn scripted(word: &str, faults: &mut Vec<String>) -> Vec<Done> {
    let these = scenarios::ALL.into_iter().filter(|(name, _)| name.contains(word)).collect();
    let ran = in_parallel(these, |(name, scenario)| {
        let run = scenario();
        println!("{name}: {}", run.columns());
        run
    });
    let mut runs = Vec::new();
    for ((name, _), run, took) in ran {
        match run {
            Some(run) => runs.push(Done { name: name.into(), run, took }),
            None => faults.push(format!("{name}: broke off; see above")),
        }
    }
    runs
}

/// Runs one seed twice and compares.
fn repeats(options: &Options, faults: &mut Vec<String>) {
    let wish = Wish { days: REPEATED_DAYS, ..options.wish(REPEATED_SEED) };
    let again = weeks(vec![wish.clone(), wish], faults);
    let traces: Vec<&str> = again.iter().map(|done| done.run.trace.as_str()).collect();
    if traces.len() != 2 || traces[0] != traces[1] {
        faults.push(format!("seed {REPEATED_SEED} did not repeat its run: {traces:?}"));
    }
}

/// Runs on one thread, in time that passes when nobody has anything to do.
pub(crate) fn in_paused_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("the system gives what a runtime needs").block_on(future)
}

fn report(done: &[Done], faults: &[String], took: Duration) -> ExitCode {
    let mut sum = [0; 6];
    let mut faults = faults.to_vec();
    for Done { name, run, .. } in done {
        let tally = &run.tally;
        let columns =
            [tally.letters, tally.delivered, tally.returned, tally.unconfirmed, tally.lost, tally.duplicated];
        sum.iter_mut().zip(columns).for_each(|(sum, column)| *sum += column);
        faults.extend(run.faults.iter().map(|fault| format!("{name}: {fault}")));
        if tally.delivered == 0 {
            faults.push(format!("{name}: nothing was delivered"));
        }
    }
    for fault in &faults {
        println!("FAULT {fault}");
    }
    let slowest = done.iter().map(|done| done.took).max().unwrap_or_default();
    println!(
        "{} runs in {:.1} s, the slowest {:.1} s",
        done.len(),
        took.as_secs_f64(),
        slowest.as_secs_f64()
    );
    let [letters, delivered, returned, unconfirmed, lost, duplicated] = sum;
    let failed = lost > 0 || duplicated > 0 || delivered == 0 || !faults.is_empty();
    let word = if failed { "FAILED" } else { "ok" };
    let bad = faults.len().max(usize::from(failed));
    println!("test result: {word}. {} passed; {bad} failed", done.len());
    println!(
        "letters={letters} delivered={delivered} returned={returned} unconfirmed={unconfirmed} lost={lost} \
         duplicated={duplicated}"
    );
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn fresh_seeds(count: usize) -> Vec<u64> {
    let fresh = || {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the system gives randomness");
        // Short enough to be typed.
        u64::from(u32::from_be_bytes(bytes))
    };
    (0..count).map(|_| fresh()).collect()
}

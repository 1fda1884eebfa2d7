//! The engine: chooses an input, changes it, runs it, keeps it if something new happened.
//!
//! Everything is drawn from the seed, and what a target draws from its input alone: a saved input fails again.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Inputs kept at most for one target; the oldest that were mutations make room.
const POOL_MAX: usize = 4096;
/// An execution that takes longer than this has failed, even if it ends.
const SLOW: Duration = Duration::from_secs(2);
/// One that has not ended by then never will.
const HANGS: Duration = Duration::from_secs(60);
/// Tries to make a failing input smaller.
const SHRINK_TRIES: u32 = 3000;

/// One kind of foreign bytes, and the code that reads them.
pub(crate) struct Target {
    /// For `--target`.
    pub(crate) name: &'static str,
    /// What to begin with.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the grammar.
    pub(crate) words: &'static [&'static str],
    /// Reads the input, panics if anything is not as promised, and sums up what happened.
    pub(crate) run: fn(&[u8], &mut StdRng) -> u64,
    /// Executions of a brief run.
    pub(crate) brief: u64,
    /// Longest input, in bytes.
    pub(crate) len_max: usize,
}

/// How it went.
pub(crate) struct Report {
    pub(crate) executions: u64,
    pub(crate) kept: usize,
    pub(crate) took: Duration,
    pub(crate) slowest: Duration,
    pub(crate) failure: Option<String>,
}

/// What is being run: for the watchdog, and for the words of a panic.
static RUNNING: Mutex<Option<(&'static str, Vec<u8>, Instant)>> = Mutex::new(None);
static SAID: Mutex<String> = Mutex::new(String::new());

/// The number of anything that can be hashed.
pub(crate) fn sum(value: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Runs one input; what it did.
pub(crate) fn execute(target: &Target, input: &[u8]) -> u64 {
    (target.run)(input, &mut StdRng::seed_from_u64(sum(input)))
}

/// Keeps panics off the screen, and ends the process if an input never comes to an end.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(|info| {
        *SAID.lock().unwrap_or_else(|held| held.into_inner()) = info.to_string().replace('\n', " ");
    }));
    std::thread::spawn(|| {
        loop {
            std::thread::park_timeout(Duration::from_secs(1));
            let running = RUNNING.lock().unwrap_or_else(|held| held.into_inner());
            if let Some((name, input, _)) = running.as_ref().filter(|(.., since)| since.elapsed() > HANGS) {
                println!("{name} does not come to an end: {}", save(name, input));
                std::process::exit(1);
            }
        }
    });
}

/// Runs a target for a time, or for its brief number of executions.
pub(crate) fn run(target: &Target, seed: u64, limit: Option<Duration>) -> Report {
    let mut rng = StdRng::seed_from_u64(sum((target.name, seed)));
    let mut pool = (target.seeds)();
    pool.extend(crate::corpus::saved(target.name));
    let seeds = pool.len();
    let mut report =
        Report { executions: 0, kept: 0, took: Duration::ZERO, slowest: Duration::ZERO, failure: None };
    let (begun, mut behaviours) = (Instant::now(), HashSet::new());
    loop {
        let over = limit.map_or(report.executions >= target.brief, |limit| begun.elapsed() >= limit);
        if over && report.executions >= seeds as u64 {
            break;
        }
        // First every seed as it is.
        let input = match usize::try_from(report.executions).ok().filter(|at| *at < seeds) {
            Some(at) => pool[at].clone(),
            None => mutate(&pool, target, &mut rng),
        };
        let started = Instant::now();
        let outcome = attempt(target, &input);
        let took = started.elapsed();
        report.executions += 1;
        report.slowest = report.slowest.max(took);
        match outcome {
            Ok(behaviour) if behaviours.insert(behaviour) && report.executions > seeds as u64 => {
                report.kept += 1;
                if pool.len() >= POOL_MAX {
                    let old = rng.random_range(seeds..pool.len());
                    pool.swap_remove(old);
                }
                pool.push(input);
            }
            Ok(_) if took > SLOW => {
                report.failure = Some(format!("took {took:?}: {}", save(target.name, &input)));
                break;
            }
            Ok(_) => {}
            Err(why) => {
                let small = shrink(target, input);
                report.failure = Some(format!("{why}: {}", save(target.name, &small)));
                break;
            }
        }
    }
    report.took = begun.elapsed();
    report
}

fn attempt(target: &Target, input: &[u8]) -> Result<u64, String> {
    *RUNNING.lock().unwrap_or_else(|held| held.into_inner()) =
        Some((target.name, input.to_vec(), Instant::now()));
    let outcome = catch_unwind(AssertUnwindSafe(|| execute(target, input)));
    *RUNNING.lock().unwrap_or_else(|held| held.into_inner()) = None;
    outcome.map_err(|_| SAID.lock().unwrap_or_else(|held| held.into_inner()).clone())
}

/// Takes pieces out of a failing input for as long as it goes on failing.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let (mut len, mut tries) = (input.len() / 2, 0);
    while len > 0 && tries < SHRINK_TRIES {
        let mut at = 0;
        while at < input.len() && tries < SHRINK_TRIES {
            let mut smaller = input.clone();
            smaller.drain(at..(at + len).min(input.len()));
            tries += 1;
            if attempt(target, &smaller).is_err() {
                input = smaller;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
    input
}

/// Saves an input; says where, and how to run it again.
fn save(name: &str, input: &[u8]) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let path = dir.join(format!("{name}-{:016x}", sum(input)));
    match std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, input)) {
        Ok(()) => format!("saved as {}; again: scripts/fuzz --target {name} --input FILE", path.display()),
        Err(error) => format!("cannot be saved ({error}): {}", input.escape_ascii()),
    }
}

/// An input of the pool, changed in one to eight places.
fn mutate(pool: &[Vec<u8>], target: &Target, rng: &mut StdRng) -> Vec<u8> {
    let mut input = pool[rng.random_range(0..pool.len())].clone();
    for _ in 0..1_u32 << rng.random_range(0..4_u32) {
        change(&mut input, pool, target.words, rng);
    }
    input.truncate(target.len_max);
    input
}

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    let place = |input: &[u8], rng: &mut StdRng| rng.random_range(0..=input.len());
    let at = place(input, rng);
    let stretch = |input: &[u8], rng: &mut StdRng| {
        let start = rng.random_range(0..=input.len());
        let most = (input.len() - start).min(1 << rng.random_range(0..12_u32));
        start..start + rng.random_range(0..=most)
    };
    match rng.random_range(0..14_u32) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8_u32),
        1 if at < input.len() => input[at] = rng.random(),
        2 => input.insert(at, rng.random()),
        3 => drop(input.drain(stretch(input, rng))),
        4 => {
            let piece = input[stretch(input, rng)].to_vec();
            insert(input, at, &piece);
        }
        5 => {
            // Many times the same: what grows faster than its input shows here.
            let piece = input[stretch(input, rng)].to_vec();
            insert(input, at, &piece.repeat(rng.random_range(1..64_usize)));
        }
        6 => insert(input, at, rng_choice(SHARP, rng)),
        7 => change_number(input, at, rng),
        8 => {
            let lines: Vec<Vec<u8>> =
                input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if lines.len() > 1 {
                let mut lines = lines;
                let (one, two) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
                lines.swap(one, two);
                *input = lines.concat();
            }
        }
        9 | 10 => {
            // The end of another one, or a piece of it.
            let other = &pool[rng.random_range(0..pool.len())];
            let piece = other[stretch(other, rng)].to_vec();
            insert(input, at, &piece);
        }
        11 => input.truncate(at),
        _ if !words.is_empty() => insert(input, at, words[rng.random_range(0..words.len())].as_bytes()),
        _ => input.push(rng.random()),
    }
}

/// Bytes at which readers are wrong.
const SHARP: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\"",
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b"=",
    b"?",
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xf0\x9f\x98\x80",
    b"{",
    b"}",
    b"--",
    b" ",
    b"\t",
    b"%",
    b"*",
    b":",
    b";",
    b",",
    b"@",
    b"=?",
    b"?=",
];

fn rng_choice<'a>(from: &[&'a [u8]], rng: &mut StdRng) -> &'a [u8] {
    from[rng.random_range(0..from.len())]
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Puts another number in the place of the one at `at` or behind it.
fn change_number(input: &mut Vec<u8>, at: usize, rng: &mut StdRng) {
    const NUMBERS: [&str; 10] = [
        "0",
        "1",
        "255",
        "65536",
        "2147483648",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
    ];
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let len = input[start..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(input.len() - start);
    let number = match rng.random_range(0..2_u32) {
        0 => NUMBERS[rng.random_range(0..NUMBERS.len())].to_owned(),
        _ => rng.random_range(0..300_u32).to_string(),
    };
    input.splice(start..start + len, number.into_bytes());
}

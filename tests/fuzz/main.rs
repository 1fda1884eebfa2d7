//! Fuzzing of every parser of foreign bytes, on the stable toolchain: a plain program that mutates what it knows.
//!
//! `cargo test --test fuzz` runs each target a fixed number of times from a fixed seed, so that a run repeats itself;
//! `scripts/fuzz` runs for as long as one likes, from ever new seeds. There is no coverage to steer by: an input is
//! kept to be mutated further if the code *behaved* as it never had before (other codes, other steps, another shape of
//! an answer), which each target sums up in a number. What fails is made small, saved, and named.

mod corpus;
mod engine;
mod targets;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: fuzz [--target NAME]... [--seconds N] [--seed N] [--list] [--input FILE]";

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    targets: Vec<String>,
    /// For each target; without it a fixed number of executions.
    seconds: Option<u64>,
    seed: u64,
    list: bool,
    /// Runs one target on one file, and nothing else.
    input: Option<String>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let all = targets::all();
    if options.list {
        all.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| options.targets.is_empty() || options.targets.iter().any(|word| word == name);
    let chosen: Vec<_> = all.iter().filter(|target| wanted(target.name)).collect();
    if let Some(file) = &options.input {
        return again(&chosen, file);
    }
    println!("{:16} {:>12} {:>8} {:>8} {:>12}", "target", "executions", "seconds", "kept", "slowest ms");
    engine::watch();
    let (mut passed, mut failed) = (0, 0);
    for target in chosen {
        let limit = options.seconds.map(Duration::from_secs);
        let report = engine::run(target, options.seed, limit);
        println!(
            "{:16} {:12} {:8.1} {:8} {:12.1}",
            target.name,
            report.executions,
            report.took.as_secs_f64(),
            report.kept,
            report.slowest.as_secs_f64() * 1000.0
        );
        match report.failure {
            None => passed += 1,
            Some(failure) => {
                failed += 1;
                println!("    {failure}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seed: 1, ..Options::default() };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("not a number: {text}"));
        match word.as_str() {
            "--target" => options.targets.push(value()?),
            "--seconds" => options.seconds = Some(number(value()?)?),
            "--seed" => options.seed = number(value()?)?,
            "--input" => options.input = Some(value()?),
            "--list" => options.list = true,
            // What cargo's own harness would understand.
            "--quiet" | "--nocapture" => {}
            _ => return Err(format!("not understood: {word}")),
        }
    }
    let names: Vec<&str> = targets::all().iter().map(|target| target.name).collect();
    match options.targets.iter().find(|word| !names.contains(&word.as_str())) {
        Some(word) => Err(format!("no target {word}; there are {}", names.join(", "))),
        None => Ok(options),
    }
}

/// Runs a saved input once, with the panic's own words.
fn again(chosen: &[&engine::Target], file: &str) -> ExitCode {
    let ([target], Ok(input)) = (chosen, std::fs::read(file)) else {
        eprintln!("--input wants a file that can be read, and one --target");
        return ExitCode::from(64);
    };
    engine::execute(target, &input);
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}

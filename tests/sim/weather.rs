//! What happens next, drawn from the seed: who writes, who goes away, what breaks and for how long.
//!
//! Pure: draws only, and no more is known here of the world than how many people there are. The weights make every
//! kind of trouble happen many times in a week, and leave enough quiet that most letters travel.

use crate::world::{AfterCrash, Conditions, NodeId};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use std::time::Duration;

/// Mean pause between two turns.
const PAUSE: Duration = Duration::from_secs(15 * 60);
/// A power cut strikes within so many operations of the disk: a submission is about 40.
const CUT_WITHIN: u64 = 120;
/// Farthest that a clock is wrong.
const WRONG_SECS_MAX: f64 = 30.0 * 86_400.0;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Somebody writes a few letters in one session.
    Write { author: NodeId, letters: usize },
    /// The power of somebody's disk will go in the midst of its `operations`th operation from now; meanwhile
    /// `author` writes.
    PowerCut { victim: NodeId, operations: u64, author: NodeId },
    /// The power goes at once.
    Crash { victim: NodeId },
    /// The node is stopped in good order and started later.
    Stop { who: NodeId, back: Duration },
    /// The node runs on without a network.
    Offline { who: NodeId, back: Duration },
    /// The reader looks into INBOX.
    Look { who: NodeId },
    /// Everybody is on one of two sides; the sides do not reach each other.
    Partition { sides: Vec<bool>, back: Duration },
    /// The network is better or worse for a time.
    Network { conditions: Box<Conditions>, name: &'static str, back: Duration },
    /// A clock is wrong for a time.
    Clock { who: NodeId, wrong_secs: i64, back: Duration },
    /// The network tells nobody what time it is.
    NoTime { back: Duration },
    /// Every stream of somebody is cut.
    CutStreams { who: NodeId },
}

/// How long until the next turn.
pub(crate) fn pause(rng: &mut StdRng) -> Duration {
    PAUSE.mul_f64(rng.random_range(0.0..2.0))
}

/// What happens next.
pub(crate) fn turn(rng: &mut StdRng, people: usize) -> Turn {
    let who = NodeId(rng.random_range(0..people));
    match rng.random_range(0..100) {
        0..46 => Turn::Write { author: who, letters: rng.random_range(1..=3) },
        46..60 => {
            let other = NodeId(rng.random_range(0..people));
            let victim = if rng.random() { who } else { other };
            Turn::PowerCut { victim, operations: rng.random_range(0..CUT_WITHIN), author: who }
        }
        60..65 => Turn::Crash { victim: who },
        65..70 => Turn::Stop { who, back: lasting(rng, 10, 12 * 3600) },
        70..76 => Turn::Offline { who, back: lasting(rng, 10, 12 * 3600) },
        76..80 => Turn::Look { who },
        80..83 => {
            let sides = (0..people).map(|_| rng.random()).collect();
            Turn::Partition { sides, back: lasting(rng, 60, 10 * 3600) }
        }
        83..90 => {
            let (name, conditions) = match rng.random_range(0..4) {
                0 => ("good", good()),
                _ => ("in a storm", Conditions::storm()),
            };
            Turn::Network { conditions: Box::new(conditions), name, back: lasting(rng, 1800, 12 * 3600) }
        }
        90..94 => Turn::Clock { who, wrong_secs: wrong_secs(rng), back: lasting(rng, 60, 36 * 3600) },
        94..96 => Turn::NoTime { back: lasting(rng, 600, 12 * 3600) },
        _ => Turn::CutStreams { who },
    }
}

/// A network without faults. Nothing on it takes no time at all: what happens at one instant to two nodes happens in an
/// order that no seed decides.
pub(crate) fn good() -> Conditions {
    let ms = Duration::from_millis;
    Conditions {
        delay: ms(50)..ms(400),
        dial: ms(500)..ms(4_000),
        publish: ms(1_000)..ms(10_000),
        ..Conditions::default()
    }
}

/// How a disk is found after the power went.
pub(crate) fn after_crash(rng: &mut StdRng) -> AfterCrash {
    match rng.random_range(0..3) {
        0 => AfterCrash::Lost,
        1 => AfterCrash::Kept,
        _ => AfterCrash::Torn(rng.next_u64()),
    }
}

/// How long a machine stays down after a crash.
pub(crate) fn repair(rng: &mut StdRng) -> Duration {
    lasting(rng, 1, 2 * 3600)
}

/// How long a laptop sleeps at night.
pub(crate) fn night(rng: &mut StdRng) -> Duration {
    Duration::from_secs(rng.random_range(5 * 3600..10 * 3600))
}

/// A time between `least` and `most` seconds: short ones are as common as long ones.
fn lasting(rng: &mut StdRng, least: u64, most: u64) -> Duration {
    let (least, most) = (least as f64, most as f64);
    Duration::from_millis((least * (most / least).powf(rng.random::<f64>()) * 1000.0) as u64)
}

/// A minute to thirty days, either way.
fn wrong_secs(rng: &mut StdRng) -> i64 {
    let secs = 60.0 * (WRONG_SECS_MAX / 60.0).powf(rng.random::<f64>());
    if rng.random() { secs as i64 } else { -(secs as i64) }
}

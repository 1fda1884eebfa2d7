//! `Conditions`: what the memory network does to dials and streams, and the draws that decide it.
//!
//! Promises that any values are answered: an empty range means its start, a probability outside 0..=1 (or not a
//! number) means the nearest end. Leaves the one seeded generator to the caller.

use rand::{Rng, RngExt as _};
use std::ops::Range;
use std::time::Duration;

/// How the network treats dials and streams. `Default` is a perfect network: no delay, no fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// One-way travel time, drawn for each chunk written; the order of bytes is kept.
    pub delay: Range<Duration>,
    /// Time from a dial to its answer, whichever it is.
    pub dial: Range<Duration>,
    /// Time from listening (or coming back) until others can reach the address; until then they get `Absent`.
    pub publish: Range<Duration>,
    /// Time from a cut until each end notices it; until then writes vanish and reads wait.
    pub notice: Range<Duration>,
    /// For so long after its node went away an address swallows dials (its descriptor is still up): they end
    /// only at their deadline, with `Absent`.
    pub ghost: Duration,
    /// Probability that a dial fails although the peer is there: `Absent`.
    pub dial_failure: f64,
    /// Probability that a dial is never answered; it ends at its deadline, with `Absent`.
    pub black_hole: f64,
    /// Probability, per stream, that it will be cut. Half of these cuts strike after a number of bytes drawn
    /// from `cut_after`, the others a few bytes into a drawn turn of the conversation (an answer, say), because
    /// replies are small and would hardly ever be hit by counting bytes.
    pub cut: f64,
    /// Bytes, both directions together, after which a cut strikes. Every power of two in it is as likely as
    /// another, so that short conversations meet their cuts too.
    pub cut_after: Range<u64>,
    /// Probability that a cut (or a stream dropped without shutdown) looks to the reader like a proper end.
    pub quiet_cut: f64,
    /// Probability that a proper end looks to the reader like a cut, as it does between two arti nodes.
    pub rough_end: f64,
    /// Probability that a write takes only a part of what it was given.
    pub split: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        let none = Duration::ZERO..Duration::ZERO;
        Self {
            delay: none.clone(),
            dial: none.clone(),
            publish: none.clone(),
            notice: none,
            ghost: Duration::ZERO,
            dial_failure: 0.0,
            black_hole: 0.0,
            cut: 0.0,
            cut_after: 1..1 << 20,
            quiet_cut: 0.0,
            rough_end: 0.0,
            split: 0.0,
        }
    }
}

impl Conditions {
    /// The public Tor network on an ordinary day: seconds to open a stream, some of them broken.
    pub fn tor() -> Self {
        Self {
            delay: ms(80)..ms(600),
            dial: ms(700)..ms(6_000),
            publish: ms(5_000)..ms(40_000),
            notice: ms(0)..ms(6_000),
            ghost: ms(500),
            dial_failure: 0.03,
            black_hole: 0.01,
            cut: 0.02,
            rough_end: 0.5,
            ..Self::default()
        }
    }

    /// Bad enough that every kind of fault happens many times in a short run, and good enough that mail
    /// still gets through.
    pub fn storm() -> Self {
        Self {
            delay: ms(0)..ms(3_000),
            dial: ms(0)..ms(20_000),
            publish: ms(0)..ms(60_000),
            notice: ms(0)..ms(30_000),
            ghost: ms(5_000),
            dial_failure: 0.2,
            black_hole: 0.05,
            cut: 0.3,
            quiet_cut: 0.3,
            rough_end: 0.5,
            split: 0.2,
            ..Self::default()
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Whether something of probability `p` happens.
pub(super) fn chance(rng: &mut impl Rng, p: f64) -> bool {
    // Drawn also when it is certain, so that changing a probability does not shift the draws after it.
    rng.random::<f64>() < p
}

/// A time from `range`, to the nanosecond.
pub(super) fn duration(rng: &mut impl Rng, range: &Range<Duration>) -> Duration {
    if range.is_empty() {
        return range.start;
    }
    range.start + (range.end - range.start).mul_f64(rng.random::<f64>())
}

/// A number from `range`, each power of two as likely as another.
pub(super) fn spread(rng: &mut impl Rng, range: &Range<u64>) -> u64 {
    if range.is_empty() {
        return range.start;
    }
    let bits = |n: u64| u64::BITS - n.leading_zeros();
    let octave = rng.random_range(bits(range.start)..=bits(range.end - 1));
    let low = if octave == 0 { 0 } else { 1 << (octave - 1) };
    let high = if octave == 0 { 0 } else { u64::MAX >> (u64::BITS - octave) };
    rng.random_range(low.max(range.start)..=high.min(range.end - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    #[test]
    fn odd_probabilities_mean_the_nearest_end() {
        let mut rng = StdRng::seed_from_u64(1);
        for never in [f64::NAN, -3.0, 0.0, f64::NEG_INFINITY] {
            assert!(!(0..100).any(|_| chance(&mut rng, never)));
        }
        for always in [1.0, 7.0, f64::INFINITY] {
            assert!((0..100).all(|_| chance(&mut rng, always)));
        }
    }

    #[test]
    fn small_and_large_numbers_are_drawn_alike() {
        let mut rng = StdRng::seed_from_u64(2);
        let drawn: Vec<u64> = (0..2_000).map(|_| spread(&mut rng, &(1..1 << 20))).collect();
        let small = drawn.iter().filter(|&&n| n < 1 << 10).count();
        assert!((800..1_200).contains(&small), "{small} of 2000 are below the middle power of two");
    }

    proptest! {
        #[test]
        fn every_draw_lies_in_its_range(seed: u64, from: u64, len in 0u64..1 << 40) {
            let mut rng = StdRng::seed_from_u64(seed);
            let range = from..from.saturating_add(len);
            let n = spread(&mut rng, &range);
            prop_assert!(range.contains(&n) || n == from && range.is_empty());
            let times = Duration::from_nanos(from >> 1)..Duration::from_nanos((from >> 1) + len);
            let time = duration(&mut rng, &times);
            prop_assert!(times.start <= time && time <= times.end);
        }
    }
}

//! Who is online when, drawn from the seed: laptops that are open some hours a day, phones that look in often and
//! briefly, and machines that are always on.
//!
//! Pure: draws only. A person's day begins at an hour of their own, the same every day, so that some sleep while
//! others are awake.

use crate::world::hours;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::time::Duration;

/// The part of a day in which a person is awake.
const AWAKE: Duration = hours(16);
/// Fewest and most times that a laptop is opened on a day.
const OPENED: std::ops::RangeInclusive<u32> = 1..=3;
/// The same for a phone.
const LOOKED: std::ops::RangeInclusive<u32> = 5..=10;

/// What a person's node runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Laptop,
    Phone,
    AlwaysOn,
}

/// How one person is online.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    pub(crate) machine: Machine,
    /// When the day begins, after midnight.
    morning: Duration,
    /// How much of it is spent online.
    online: Duration,
}

/// Draws a person: six of ten have a laptop, three a phone, one a machine that is always on.
pub(crate) fn habit(rng: &mut StdRng, online: Duration) -> Habit {
    let machine = match rng.random_range(0..10) {
        0..6 => Machine::Laptop,
        6..9 => Machine::Phone,
        _ => Machine::AlwaysOn,
    };
    Habit { machine, morning: hours(24).mul_f64(rng.random()), online: online.min(AWAKE) }
}

/// The times of one day at which the person comes online, and for how long: in order, none overlapping another. They
/// begin on that day and may end on the next. Who is always on has none.
pub(crate) fn spells(rng: &mut StdRng, habit: &Habit) -> Vec<(Duration, Duration)> {
    let count = match habit.machine {
        Machine::Laptop => rng.random_range(OPENED),
        Machine::Phone => rng.random_range(LOOKED),
        Machine::AlwaysOn => return Vec::new(),
    };
    let (room, long) = (AWAKE / count, habit.online / count);
    let spell = |n| (habit.morning + room * n + (room - long).mul_f64(rng.random()), long);
    (0..count).map(spell).collect()
}

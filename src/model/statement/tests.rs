//! One good statement of every kind, and what must become of it when anything about it is wrong.

mod cards;
mod good;
mod hostile;
mod spoiled;
mod vectors;

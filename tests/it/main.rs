//! The integration tests: one binary, over the memory network, in paused time.

mod absence;
mod happy_path;
mod once;
mod tidy;
mod world;

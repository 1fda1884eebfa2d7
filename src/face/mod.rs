//! What shows it: the doors for peers, for mail programs and for the command line.
//!
//! * `inbound`: the onion's port 25; `drops`: that of the onions on which letters are held for others; `submission`:
//!   SMTP on loopback; `smtp`: what drives all of them
//! * `imap`: what mail programs read by; `guests`: the onions of those who read here without a node
//! * `logins`: app passwords; `loopback`: lets only this user in; `places`: who makes room for whom
//! * `control`: the socket in the data directory; `ops`: what the commands do; `handed`: letters that they hand in
//! * `cli`: the commands

pub mod cli;
pub mod control;
pub mod drops;
pub mod guests;
mod handed;
pub mod imap;
pub mod inbound;
pub mod logins;
pub mod loopback;
pub mod ops;
mod places;
mod smtp;
pub mod submission;

use tokio::sync::watch;

/// Waits until the node is told to go down (or nobody is left who could tell).
async fn went_down(down: &mut watch::Receiver<bool>) {
    // The value is borrowed from the channel: it must not be held across another wait.
    drop(down.wait_for(|down| *down).await);
}

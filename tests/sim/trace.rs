//! The trace of a run: every line of what happened goes into one hash, and to the screen if asked.

use sha2::{Digest as _, Sha256};
use std::fmt;
use tokio::time::Instant;

/// The lines so far.
pub(crate) struct Trace {
    hash: Sha256,
    begun: Instant,
    told: bool,
}

impl Trace {
    /// An empty trace that begins now.
    pub(crate) fn new(told: bool) -> Self {
        Self { hash: Sha256::new(), begun: Instant::now(), told }
    }

    /// Something happened.
    pub(crate) fn line(&mut self, what: fmt::Arguments<'_>) {
        let at = self.begun.elapsed();
        let line = format!("{:>10}.{:03} {what}", at.as_secs(), at.subsec_millis());
        self.hash.update(line.as_bytes());
        if self.told {
            println!("{line}");
        }
    }

    /// Something was found that is too long to tell.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The hash so far, short.
    pub(crate) fn hash(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.hash.clone().finalize()[..8])
    }
}

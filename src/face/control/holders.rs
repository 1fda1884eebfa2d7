//! What a command asks about holding: contacts who keep sealed letters for us, and those for whom we do.

use crate::node::holders::Whose;
use serde::{Deserialize, Serialize};

/// What is asked. `who` is an address of any form, or a petname.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holders {
    /// Both sides, and who waits for an answer.
    List,
    /// Ask somebody to keep letters for us.
    Ask {
        /// Whom.
        who: String,
        /// At most so many bytes at a time.
        bytes: u64,
        /// For so many days each.
        days: u32,
        /// Although another unlocked identity of the same person has the same holder.
        #[serde(default)]
        shared: bool,
    },
    /// Promise it to somebody who asked.
    Grant {
        /// Whom.
        who: String,
        /// At most so many bytes at a time; as many as they asked for, if none are named.
        #[serde(default)]
        bytes: Option<u64>,
        /// For so many days each; likewise.
        #[serde(default)]
        days: Option<u32>,
    },
    /// How large a letter may be that is left with holders; sets it, if it is named.
    Limit {
        /// In bytes.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// End it, whichever keeps letters for the other; a wish that waits for an answer is put away.
    End {
        /// With whom.
        who: String,
        /// One direction alone; both, if none is named.
        #[serde(default)]
        only: Option<Whose>,
    },
}

//! What a command asks about keys that go wrong, and about writing in the name of others.
//!
//! Statements are made by the command from the recovery words and come here signed, in base64: the words never reach
//! the running node.

use serde::{Deserialize, Serialize};

/// What is asked. `who` and `to` are addresses of any form, or petnames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Publish the revocation of this identity.
    Revoke {
        /// The statement.
        statement: String,
    },
    /// Take in the revocation of somebody else.
    TakeIn {
        /// The statement.
        statement: String,
    },
    /// Pass the revocation of somebody on.
    PassOn {
        /// Whose.
        who: String,
        /// To whom, and nobody else.
        to: Vec<String>,
    },
    /// Publish which identity comes after this one.
    Succeed {
        /// The statement.
        statement: String,
    },
    /// Show where somebody has moved to.
    Successor {
        /// Who.
        who: String,
    },
    /// Follow them there.
    Follow {
        /// Who.
        who: String,
        /// The new address that the person has checked.
        new: String,
    },
    /// Let somebody write in our name.
    Delegate {
        /// Whom.
        to: String,
        /// Under these local parts; the main one if there are none.
        names: Vec<String>,
        /// For so many days.
        days: u32,
    },
    /// List delegations.
    Delegations,
}

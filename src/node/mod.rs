//! What acts: takes letters in, sends them out, keeps the queue moving.
//!
//! * `desk`: identity, store, clock, randomness: all that needs no network; `clock`: where time comes from
//! * `parcel`: a letter on its way into the store; `receive`, `submit`, `echo`: its kinds; `partial`: what broke off
//! * `delivery`: the loop over the queue; `session`: one conversation with a peer over one `line`; `dispatch`: one
//!   letter to it; `settle`: what a try led to
//! * `keyring`: our own keys and Card; `cards`: those of others; `sealing` and `unsealing`: letters
//! * `contacts`: what the person decides; `standing`: who an author is to us; `affairs`: what letters carry;
//!   `introduce`, `vouches` and `invites`: what brings people together
//! * `recovery`, `quarantine`: keys that go wrong; `delegation`: writing for others; `post`: letters of the node's own
//! * `holders`: who keeps letters for whom; `holding`: what is kept; `deposit`: what is left
//!   with holders, `collect`: what is fetched there; `routes`: where contacts may leave letters for us, and we for them
//! * `presence`: coming up and waking; `orders`: what others ask of delivery; `trouble`: what is wrong just now
//! * `tasks`: every task by name; `housekeeping`: room on the disk is given back

mod affairs;
pub mod cards;
pub mod clock;
mod collect;
mod confirm;
pub mod contacts;
pub mod delegation;
mod delivery;
mod deposit;
pub mod desk;
mod dispatch;
pub mod echo;
mod errands;
pub mod holders;
pub mod holding;
mod housekeeping;
pub mod introduce;
pub mod invites;
pub mod keyring;
mod line;
pub mod orders;
pub mod parcel;
pub mod partial;
pub(crate) mod post;
mod presence;
pub mod quarantine;
pub mod receive;
pub mod recovery;
mod routes;
mod sealing;
pub mod session;
mod settle;
mod standing;
pub mod submit;
mod tasks;
pub mod trouble;
mod unsealing;
mod vouches;

use crate::model::queue::Moment;
use desk::Desk;
use onion::{OnionAddress, Transport};
use std::sync::Arc;
pub use tasks::Tasks;

/// A desk with a network: what `onionskin up` runs.
pub struct Node {
    /// The identity's place of work.
    pub desk: Arc<Desk>,
    /// The network as this identity sees it.
    pub transport: Arc<dyn Transport>,
}

impl Node {
    /// Joins a desk and its network. Nothing runs before [`Tasks::start`].
    pub fn new(desk: Arc<Desk>, transport: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { desk, transport })
    }

    /// The time, and whether the network agrees with it.
    pub fn moment(&self) -> Moment {
        let now = self.desk.now();
        Moment { now, agreed: clock::agreed(now, &*self.transport) }
    }

    /// A proved peer asks for what waits for it (ETRN): deliver on a fresh connection.
    pub fn peer_asks(&self, peer: OnionAddress) {
        self.desk.orders.push(peer);
    }

    /// A proved peer called for whatever reason: it is up.
    pub fn peer_is_up(&self, peer: OnionAddress) {
        self.desk.orders.nudge(peer);
    }
}

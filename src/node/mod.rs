//! What acts: takes letters in, sends them out, keeps the queue moving.
//!
//! * `desk`: what needs no network; `clock`; `parcel`: a letter on its way in; `receive`, `submit`, `echo`: its kinds
//! * `delivery`: the queue's loop; `session`: a conversation with a peer over one `line`; `dispatch`: a letter to it;
//!   `settle`: what a try led to; `giving`: what its reader fetches; `hands`; `partial`: what broke off; `orders`: what
//!   others ask of it; `post`, `errands`
//! * `keyring`, `cards`: keys; `sealing`, `unsealing`; `recovery`, `quarantine`: keys that go wrong; `delegation`
//! * `contacts`: what the person decides; `standing`: who an author is; `affairs`: what letters carry; `introduce`,
//!   `vouches`, `invites`
//! * `holders`: who keeps letters for whom; `holding`; `routes`; `deposit`, `collect`, `recall`; `confirm`: receipts;
//!   `neighbours`: other identities of the same person; `guests`
//! * `tasks`, `presence`, `housekeeping`, `trouble`: what goes on by itself

mod affairs;
pub mod cards;
pub mod clock;
mod collect;
mod confirm;
pub mod contacts;
pub mod delegation;
mod delivery;
pub(crate) mod deposit;
pub mod desk;
mod dispatch;
pub mod echo;
mod errands;
pub(crate) mod giving;
pub mod guests;
mod hands;
pub mod holders;
pub mod holding;
mod housekeeping;
pub mod introduce;
pub mod invites;
pub mod keyring;
mod line;
pub(crate) mod neighbours;
pub mod orders;
pub mod parcel;
pub mod partial;
pub(crate) mod post;
mod presence;
pub mod quarantine;
mod recall;
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

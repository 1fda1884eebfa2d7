//! LOGIN and AUTHENTICATE, over one SASL machine.

use super::session::Session;
use crate::protocol::imap::command::{Password, Tag};
use crate::protocol::imap::conversation::State;
use crate::protocol::sasl::{Entropy, Exchange, Mechanism, Progress};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a session needs to let someone in.
pub(super) struct Login {
    decoy: [u8; 32],
    exchange: Option<Exchange>,
}

impl Login {
    pub(super) fn new(decoy: [u8; 32]) -> Self {
        Self { decoy, exchange: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// LOGIN is PLAIN in other clothes.
    pub(super) async fn plain_login(&mut self, tag: &Tag, user: &str, password: &Password) {
        self.login.exchange = Some(self.exchange(Mechanism::Plain));
        let response = zeroize::Zeroizing::new(format!("\0{user}\0{}", password.0));
        self.respond(tag, response.as_bytes()).await;
    }

    /// AUTHENTICATE, with or without an initial response.
    pub(super) async fn sasl_start(&mut self, tag: Tag, mechanism: &str, initial: Option<Vec<u8>>) {
        let Some(mechanism) = Mechanism::from_name(mechanism) else {
            return self
                .conversation
                .reply(&tag, "NO [CANNOT] no such mechanism; there are PLAIN and SCRAM-SHA-256");
        };
        self.login.exchange = Some(self.exchange(mechanism));
        match initial {
            Some(response) => self.respond(&tag, &response).await,
            None => self.conversation.challenge(tag, b""),
        }
    }

    /// The client's answer to a challenge.
    pub(super) async fn sasl_response(&mut self, tag: Tag, response: &[u8]) {
        self.respond(&tag, response).await;
    }

    fn exchange(&self, mechanism: Mechanism) -> Exchange {
        Exchange::new(mechanism, Entropy { nonce: self.desk.draw(), decoy: self.login.decoy })
    }

    async fn respond(&mut self, tag: &Tag, response: &[u8]) {
        let Some(mut exchange) = self.login.exchange.take() else { return };
        let mut progress = exchange.respond(response);
        if let Progress::Lookup(user) = &progress {
            progress = exchange.found(&self.account.verifiers(&self.desk, user).await);
        }
        match progress {
            Progress::Challenge(challenge) => {
                self.login.exchange = Some(exchange);
                self.conversation.challenge(tag.clone(), &challenge);
            }
            Progress::Accepted { .. } => {
                self.place.known();
                self.conversation.enter(State::Authenticated);
                let capabilities = self.account.capabilities();
                self.conversation.reply(tag, &format!("OK [CAPABILITY {capabilities}] logged in"));
            }
            Progress::Lookup(_) | Progress::Rejected => self.conversation.login_failed(tag),
        }
    }
}

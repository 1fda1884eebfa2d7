//! AUTH: the proof of an onion on the onion port, a mail program's log-in on submission (RFC 4954).

use super::session::State;
use super::{Event, Role, Server, replies};
use crate::protocol::sasl::{Entropy, Exchange, Mechanism, Progress, Verifier};
use crate::protocol::smtp::limits;
use crate::protocol::smtp::proof::{self, Session};
use crate::protocol::smtp::read::Phase;
use crate::protocol::smtp::reply::Reply;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onion::OnionAddress;
use sha2::Sha256;
use zeroize::Zeroizing;

impl Server {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<String>) {
        let initial = initial.map(Zeroizing::new);
        if !self.facts.extended {
            return self.mistake(&replies::HELLO_FIRST);
        }
        if self.transaction.is_some() || self.facts.proved.is_some() || self.facts.user.is_some() {
            return self.mistake(&replies::AUTH_ONCE);
        }
        match self.config.role {
            Role::Onion { ref names, cookie } => self.prove(*names.onion(), cookie, mechanism, initial),
            Role::Drop { onion, cookie } => self.prove(onion, cookie, mechanism, initial),
            Role::Submission { seed, decoy, .. } => match Mechanism::from_name(mechanism) {
                Some(mechanism) => self.login(Exchange::new(mechanism, self.entropy(&seed, decoy)), initial),
                None => self.mistake(&replies::MECHANISM),
            },
        }
    }

    fn prove(
        &mut self,
        server: OnionAddress,
        server_cookie: [u8; 16],
        mechanism: &str,
        response: Option<Zeroizing<String>>,
    ) {
        if mechanism != proof::MECHANISM {
            return self.mistake(&replies::MECHANISM);
        }
        let session = Session { server, server_cookie };
        match response.map(|response| session.check(&response)) {
            Some(Ok(onion)) => {
                self.facts.proved = Some(onion);
                self.events.push_back(Event::Proved(onion));
                self.say(&replies::PROVED);
            }
            Some(Err(_)) => self.end(replies::NOT_PROVED),
            None => self.mistake(&replies::NO_RESPONSE),
        }
    }

    /// Each attempt has its own nonce.
    fn entropy(&self, seed: &[u8; 32], decoy: [u8; 32]) -> Entropy {
        let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("HMAC takes a key of any length");
        mac.update(&self.facts.logins.to_be_bytes());
        let made: [u8; 32] = mac.finalize().into_bytes().into();
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&made[..24]);
        Entropy { nonce, decoy }
    }

    fn login(&mut self, exchange: Exchange, initial: Option<Zeroizing<String>>) {
        self.facts.logins += 1;
        match initial {
            // RFC 4954 section 4: a single equals sign is an empty response.
            Some(response) if *response == "=" => self.response(exchange, b""),
            Some(response) => self.response(exchange, response.as_bytes()),
            None => {
                self.say(&Reply::bare(334, ""));
                self.state = State::Sasl(exchange);
            }
        }
    }

    /// Reads one SASL response.
    pub(super) fn advance_sasl(&mut self) -> Option<Event> {
        match self.input.line(limits::AUTH_LEN_MAX) {
            Ok(None) if self.shutting => self.end(replies::SHUTTING),
            Ok(None) => return Some(Event::Read(Phase::Command)),
            Ok(Some(line)) => {
                self.turn += 1;
                if let State::Sasl(exchange) = self.leave(State::Command) {
                    let line = Zeroizing::new(line);
                    if line.as_slice() == b"*" {
                        self.failed(&replies::CANCELLED);
                    } else {
                        self.response(exchange, &line);
                    }
                }
            }
            Err(error) => self.bad_line(error),
        }
        None
    }

    fn response(&mut self, mut exchange: Exchange, base64: &[u8]) {
        match STANDARD.decode(base64).map(Zeroizing::new) {
            Ok(response) => {
                let progress = exchange.respond(&response);
                self.progress(exchange, progress);
            }
            Err(_) => self.failed(&replies::NOT_BASE64),
        }
    }

    /// The driver's answer to [`Event::Login`].
    pub(super) fn found(&mut self, verifiers: &[Verifier]) {
        if let State::Lookup { mut exchange, .. } = self.leave(State::Command) {
            let progress = exchange.found(verifiers);
            self.progress(exchange, progress);
        }
    }

    fn progress(&mut self, exchange: Exchange, progress: Progress) {
        match progress {
            Progress::Challenge(challenge) => {
                self.say(&Reply::bare(334, "").saying(STANDARD.encode(challenge)));
                self.state = State::Sasl(exchange);
            }
            Progress::Lookup(user) => self.state = State::Lookup { exchange, user },
            Progress::Accepted { user, verifier } => {
                self.facts.user = Some(user.clone());
                self.events.push_back(Event::LoggedIn { user, verifier });
                self.say(&replies::LOGGED_IN);
            }
            Progress::Rejected => self.failed(&replies::NOT_LOGGED_IN),
        }
    }

    fn failed(&mut self, reply: &Reply) {
        if self.facts.logins >= limits::LOGINS_MAX {
            self.end(reply.clone());
        } else {
            self.mistake(reply);
        }
    }
}

//! `Exchange`: one attempt to log in, from the first response to the verdict.

use crate::protocol::sasl::scram::{ClientFirst, Offer};
use crate::protocol::sasl::verifier::{Verifier, hmac, salted_password, sha256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::mem;
use zeroize::Zeroizing;

/// Longest user name or password, in bytes (RFC 4616 leaves it to us; 255 is its recommendation).
const NAME_LEN_MAX: usize = 255;
/// Most app passwords of one user that are tried: each costs SCRAM two hashes.
const VERIFIERS_MAX: usize = 100;

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 7677.
    ScramSha256,
}

impl Mechanism {
    /// The mechanism of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256].into_iter().find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

/// What an exchange needs from outside.
#[derive(Clone)]
pub struct Entropy {
    /// Random, for this exchange only.
    pub nonce: [u8; 24],
    /// The node's own, always the same: makes the salt shown for a name that does not exist.
    pub decoy: [u8; 32],
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this and give the response to `respond`.
    Challenge(Vec<u8>),
    /// Look up this user's verifiers and give them to `found`; none for a user that does not exist.
    Lookup(String),
    /// Logged in.
    Accepted {
        /// Who.
        user: String,
        /// Which of the verifiers that were found.
        verifier: usize,
    },
    /// Not logged in, whatever the reason.
    Rejected,
}

/// One attempt to log in. Debug shows nothing of it.
pub struct Exchange {
    entropy: Entropy,
    state: State,
}

enum State {
    Plain,
    PlainLookup { user: String, password: Zeroizing<Vec<u8>> },
    ScramFirst,
    ScramLookup(ClientFirst),
    ScramFinal { offer: Offer, verifiers: Vec<Verifier>, known: bool },
    ScramConfirm { user: String, verifier: usize },
    Over,
}

impl Exchange {
    /// Begins. If the client sent no initial response, send an empty challenge first.
    pub fn new(mechanism: Mechanism, entropy: Entropy) -> Self {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::ScramSha256 => State::ScramFirst,
        };
        Self { entropy, state }
    }

    /// Takes the client's response, without base64. Out of turn it is a rejection.
    pub fn respond(&mut self, response: &[u8]) -> Progress {
        match mem::replace(&mut self.state, State::Over) {
            State::Plain => self.plain(response),
            State::ScramFirst => match ClientFirst::parse(response) {
                Some(first) if first.user.len() <= NAME_LEN_MAX => {
                    let user = first.user.clone();
                    self.state = State::ScramLookup(first);
                    Progress::Lookup(user)
                }
                _ => Progress::Rejected,
            },
            State::ScramFinal { offer, verifiers, known } => match offer.check(response, &verifiers) {
                Some((verifier, server_final)) if known => {
                    self.state = State::ScramConfirm { user: offer.user().to_owned(), verifier };
                    Progress::Challenge(server_final.into_bytes())
                }
                _ => Progress::Rejected,
            },
            State::ScramConfirm { user, verifier } if response.is_empty() => {
                Progress::Accepted { user, verifier }
            }
            _ => Progress::Rejected,
        }
    }

    /// Takes the verifiers that were looked up. Out of turn it is a rejection.
    pub fn found(&mut self, verifiers: &[Verifier]) -> Progress {
        let known = !verifiers.is_empty();
        let verifiers = verifiers.iter().take(VERIFIERS_MAX).cloned();
        let or_decoy = |user: &str| {
            if known { verifiers.collect() } else { vec![Verifier::decoy(&self.entropy.decoy, user)] }
        };
        match mem::replace(&mut self.state, State::Over) {
            State::PlainLookup { user, password } => match matching(&password, &or_decoy(&user)) {
                Some(verifier) if known => Progress::Accepted { user, verifier },
                _ => Progress::Rejected,
            },
            State::ScramLookup(first) => {
                let verifiers: Vec<Verifier> = or_decoy(&first.user);
                let nonce = URL_SAFE_NO_PAD.encode(self.entropy.nonce);
                let offer = Offer::new(first, &nonce, &verifiers[0]);
                let challenge = offer.server_first.clone().into_bytes();
                self.state = State::ScramFinal { offer, verifiers, known };
                Progress::Challenge(challenge)
            }
            _ => Progress::Rejected,
        }
    }

    /// authzid NUL authcid NUL passwd.
    fn plain(&mut self, response: &[u8]) -> Progress {
        let mut parts = response.split(|&byte| byte == 0);
        let (Some(authzid), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Progress::Rejected;
        };
        let for_self = authzid.is_empty() || authzid == user;
        let fits = |part: &[u8]| (1..=NAME_LEN_MAX).contains(&part.len());
        match std::str::from_utf8(user) {
            Ok(name) if for_self && fits(user) && fits(password) => {
                let user = name.to_owned();
                let password = Zeroizing::new(password.to_vec());
                self.state = State::PlainLookup { user: user.clone(), password };
                Progress::Lookup(user)
            }
            _ => Progress::Rejected,
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

/// Which verifier the password fits. Verifiers of one salt cost the derivation once.
fn matching(password: &[u8], verifiers: &[Verifier]) -> Option<usize> {
    let mut found = None;
    let mut derived: Option<(&Verifier, [u8; 32])> = None;
    for (at, verifier) in verifiers.iter().enumerate() {
        let stored_key = match derived {
            Some((like, key)) if like.salt == verifier.salt && like.iterations == verifier.iterations => key,
            _ => {
                let salted = salted_password(password, &verifier.salt, verifier.iterations);
                sha256(&hmac(&*salted, &[b"Client Key"]))
            }
        };
        derived = Some((verifier, stored_key));
        if verifier.has(&stored_key) {
            found = Some(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn entropy() -> Entropy {
        Entropy { nonce: [3; 24], decoy: [4; 32] }
    }

    fn verifiers() -> Vec<Verifier> {
        ["pencil", "pen"]
            .map(|password| Verifier::from_password(password, b"salt salt salt!!", 4096))
            .to_vec()
    }

    /// Logs in by PLAIN.
    fn plain(message: &[u8], verifiers: &[Verifier]) -> Progress {
        let mut exchange = Exchange::new(Mechanism::Plain, entropy());
        match exchange.respond(message) {
            Progress::Lookup(user) => {
                assert_eq!(user, "ann");
                exchange.found(verifiers)
            }
            other => other,
        }
    }

    /// The client's side of SCRAM, as the RFC tells it and not as the server's code does.
    fn client_final(first_bare: &str, server_first: &str, password: &str) -> (String, String) {
        let field = |name: &str| {
            let part = server_first.split(',').find(|part| part.starts_with(name)).unwrap();
            part[2..].to_owned()
        };
        let salt = STANDARD.decode(field("s=")).unwrap();
        let salted = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(
            password.as_bytes(),
            &salt,
            field("i=").parse().unwrap(),
        );
        let client_key = hmac(&salted, &[b"Client Key"]);
        let without_proof = format!("c=biws,r={}", field("r="));
        let said = format!("{first_bare},{server_first},{without_proof}");
        let signature = hmac(&sha256(&client_key), &[said.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = hmac(&hmac(&salted, &[b"Server Key"]), &[said.as_bytes()]);
        (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
    }

    /// Logs in by SCRAM as far as it goes; the last progress.
    fn scram(user: &str, password: &str, verifiers: &[Verifier]) -> Progress {
        let mut exchange = Exchange::new(Mechanism::ScramSha256, entropy());
        let bare = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
        let Progress::Lookup(_) = exchange.respond(format!("n,,{bare}").as_bytes()) else {
            return Progress::Rejected;
        };
        let Progress::Challenge(server_first) = exchange.found(verifiers) else { panic!("no challenge") };
        let (message, want) = client_final(&bare, std::str::from_utf8(&server_first).unwrap(), password);
        match exchange.respond(message.as_bytes()) {
            Progress::Challenge(server_final) => {
                assert_eq!(String::from_utf8(server_final).unwrap(), want);
                exchange.respond(b"")
            }
            other => other,
        }
    }

    #[test]
    fn the_example_of_rfc_7677_is_accepted() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::from_password("pencil", &salt, 4096);
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let offer = Offer::new(first, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", &verifier);
        assert_eq!(
            offer.server_first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned();
        assert_eq!(offer.check(last, &[verifier]), Some((0, server_final)));
    }

    #[test]
    fn each_app_password_logs_in_both_ways() {
        for (at, password) in ["pencil", "pen"].into_iter().enumerate() {
            let want = Progress::Accepted { user: "ann".to_owned(), verifier: at };
            assert_eq!(plain(format!("\0ann\0{password}").as_bytes(), &verifiers()), want);
            assert_eq!(plain(format!("ann\0ann\0{password}").as_bytes(), &verifiers()), want);
            assert_eq!(scram("ann", password, &verifiers()), want);
        }
        let commas = Progress::Accepted { user: "a,b=c".to_owned(), verifier: 0 };
        assert_eq!(scram("a=2Cb=3Dc", "pencil", &verifiers()), commas);
    }

    #[test]
    fn anything_else_is_rejected() {
        for message in [
            &b"\0ann\0pencil2"[..],
            b"bob\0ann\0pencil",
            b"\0ann\0",
            b"\0\0pencil",
            b"ann\0pencil",
            b"\0ann\0pencil\0",
            b"",
            b"\0\xff\0pencil",
        ] {
            assert_eq!(plain(message, &verifiers()), Progress::Rejected, "{message:?}");
        }
        assert_eq!(scram("ann", "pencil2", &verifiers()), Progress::Rejected);
        assert_eq!(scram("a=2c", "pencil", &verifiers()), Progress::Rejected);
        for first in
            ["p=tls-unique,,n=ann,r=x", "n,a=bob,n=ann,r=x", "n,,n=ann,r=", "n,,m=1,n=ann,r=x", "n,,r=x"]
        {
            assert!(ClientFirst::parse(first.as_bytes()).is_none(), "{first}");
        }
    }

    #[test]
    fn someone_unknown_is_shown_a_salt_that_stays_and_is_always_rejected() {
        let first = |user: &str| {
            let mut exchange = Exchange::new(Mechanism::ScramSha256, entropy());
            exchange.respond(format!("n,,n={user},r=x").as_bytes());
            exchange.found(&[])
        };
        assert_eq!(first("nobody"), first("nobody"));
        assert_ne!(first("nobody"), first("somebody"));
        assert_eq!(scram("nobody", "pencil", &[]), Progress::Rejected);
        assert_eq!(plain(b"\0ann\0pencil", &[]), Progress::Rejected);
    }

    #[test]
    fn an_exchange_out_of_turn_is_rejected() {
        let mut exchange = Exchange::new(Mechanism::ScramSha256, entropy());
        assert_eq!(exchange.found(&verifiers()), Progress::Rejected);
        assert_eq!(exchange.respond(b"n,,n=ann,r=x"), Progress::Rejected);
    }

    proptest! {
        #[test]
        fn any_response_is_answered_without_panic(
            responses in proptest::collection::vec("[nryacp=,iws2CD+ -]{0,30}", 1..4)
        ) {
            for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
                let mut exchange = Exchange::new(mechanism, entropy());
                for response in &responses {
                    if let Progress::Lookup(_) = exchange.respond(response.as_bytes()) {
                        exchange.found(&[]);
                    }
                }
            }
        }
    }
}

//! SCRAM messages (RFC 5802 section 7): reading the client's two and making the server's two.
//!
//! No channel binding: `p=` is refused, and `y` is let pass because no -PLUS mechanism is offered.

use crate::protocol::sasl::verifier::{Verifier, hmac, sha256};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Longest nonce taken from a client, in bytes: the RFC names none, and common ones have 24 to 48.
const NONCE_LEN_MAX: usize = 256;

/// client-first-message.
pub(super) struct ClientFirst {
    pub(super) user: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

/// What was said so far, and by which verifier's salt.
pub(super) struct Offer {
    first: ClientFirst,
    nonce: String,
    pub(super) server_first: String,
}

impl ClientFirst {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        if flag != "n" && flag != "y" {
            return None;
        }
        let mut attributes = bare.split(',');
        let user = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?.to_owned();
        let nonce_fits =
            (1..=NONCE_LEN_MAX).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_graphic());
        // To act for someone else is nobody's right here.
        let for_self = authzid.is_empty() || saslname(authzid.strip_prefix("a=")?)? == user;
        (nonce_fits && for_self && !user.is_empty()).then(|| Self {
            user,
            gs2_header: text[..text.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
            nonce,
        })
    }
}

/// Undoes `=2C` and `=3D`; any other `=` is an error.
fn saslname(text: &str) -> Option<String> {
    let plain = text.replace("=2C", "\0").replace("=3D", "\u{1}");
    let clean = !text.contains(['\0', '\u{1}']) && !plain.contains('=');
    clean.then(|| plain.replace('\0', ",").replace('\u{1}', "="))
}

impl Offer {
    /// Makes the server-first-message with the salt of `verifier`; `nonce` is random and printable.
    pub(super) fn new(first: ClientFirst, nonce: &str, verifier: &Verifier) -> Self {
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        Self { first, nonce, server_first }
    }

    pub(super) fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client-final-message; which verifier it fits, and the server-final-message.
    pub(super) fn check(&self, message: &[u8], verifiers: &[Verifier]) -> Option<(usize, String)> {
        let text = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let proof: [u8; 32] = STANDARD.decode(proof).ok()?.try_into().ok()?;
        let mut attributes = without_proof.split(',');
        let binding = STANDARD.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if binding != self.first.gs2_header.as_bytes() || nonce != self.nonce {
            return None;
        }
        // A mandatory extension that we do not know (RFC 5802 section 5.1, "m=").
        if attributes.any(|attribute| attribute.starts_with("m=")) {
            return None;
        }
        let said = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let mut found = None;
        for (at, verifier) in verifiers.iter().enumerate() {
            let mut client_key = hmac(&verifier.stored_key, &[said.as_bytes()]);
            client_key.iter_mut().zip(proof).for_each(|(byte, other)| *byte ^= other);
            if verifier.has(&sha256(&client_key)) {
                found = Some((at, hmac(&verifier.server_key, &[said.as_bytes()])));
            }
        }
        found.map(|(at, signature)| (at, format!("v={}", STANDARD.encode(signature))))
    }
}

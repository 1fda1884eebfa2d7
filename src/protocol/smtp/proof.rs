//! AUTH ONION-ED25519: a caller proves the onion whose key it holds, in one initial response.
//!
//! The signature is over a context, both onions and both cookies, so a proof is good for one server and one session.
//! The layout is written down byte for byte in `docs/protocol.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use onion::OnionAddress;

/// The mechanism's name on the wire.
pub const MECHANISM: &str = "ONION-ED25519";
/// What a proof's signed bytes begin with; no other use of an identity key has it.
pub const CONTEXT: &[u8; 31] = b"onionskin/1 AUTH ONION-ED25519\0";

/// Length of a response before base64: public key, client cookie, signature.
const RESPONSE_LEN: usize = 32 + 16 + 64;

/// What one session's proof is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The onion that was dialled.
    pub server: OnionAddress,
    /// From the server's EHLO reply: random, used in this session only.
    pub server_cookie: [u8; 16],
}

/// Why a response proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not 112 bytes in canonical base64.
    #[error("the response is not 112 bytes in base64")]
    Form,
    /// The key is no onion address.
    #[error("the key is no onion address")]
    Key,
    /// The signature does not hold for this session.
    #[error("the signature does not hold for this server and session")]
    Signature,
}

impl Session {
    /// The bytes that `client` signs: context, client, server, server cookie, client cookie (127 bytes).
    pub fn signed_bytes(&self, client: &OnionAddress, client_cookie: &[u8; 16]) -> Vec<u8> {
        [&CONTEXT[..], client.public_key(), self.server.public_key(), &self.server_cookie, client_cookie]
            .concat()
    }

    /// The initial response, in base64. `sign` signs with `client`'s onion key.
    pub fn response(
        &self,
        client: &OnionAddress,
        client_cookie: &[u8; 16],
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> String {
        let signature = sign(&self.signed_bytes(client, client_cookie));
        STANDARD.encode([&client.public_key()[..], client_cookie, &signature].concat())
    }

    /// Checks a response; the onion that it proves.
    pub fn check(&self, response: &str) -> Result<OnionAddress, ProofError> {
        let raw = STANDARD.decode(response).map_err(|_| ProofError::Form)?;
        let raw: [u8; RESPONSE_LEN] = raw.try_into().map_err(|_| ProofError::Form)?;
        let (mut key, mut cookie, mut signature) = ([0; 32], [0; 16], [0; 64]);
        key.copy_from_slice(&raw[..32]);
        cookie.copy_from_slice(&raw[32..48]);
        signature.copy_from_slice(&raw[48..]);
        let client = OnionAddress::from_public_key(key).map_err(|_| ProofError::Key)?;
        VerifyingKey::from_bytes(&key)
            .map_err(|_| ProofError::Key)?
            .verify_strict(&self.signed_bytes(&client, &cookie), &Signature::from_bytes(&signature))
            .map_err(|_| ProofError::Signature)?;
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn key(seed: u8) -> (OnionAddress, SigningKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        (OnionAddress::from_public_key(key.verifying_key().to_bytes()).unwrap(), key)
    }

    fn proof(session: &Session, seed: u8) -> String {
        let (client, key) = key(seed);
        session.response(&client, &[7; 16], &|bytes| key.sign(bytes).to_bytes())
    }

    #[test]
    fn a_proof_holds_for_its_server_and_session_only() {
        let session = Session { server: key(1).0, server_cookie: [9; 16] };
        let response = proof(&session, 2);
        assert_eq!(session.check(&response), Ok(key(2).0));
        let third = Session { server: key(3).0, ..session };
        assert_eq!(third.check(&response), Err(ProofError::Signature));
        let later = Session { server_cookie: [8; 16], ..session };
        assert_eq!(later.check(&response), Err(ProofError::Signature));
    }

    #[test]
    fn every_changed_byte_spoils_a_proof() {
        let session = Session { server: key(1).0, server_cookie: [9; 16] };
        let good = STANDARD.decode(proof(&session, 2)).unwrap();
        for at in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                assert!(session.check(&STANDARD.encode(bad)).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_response_has_one_form() {
        let session = Session { server: key(1).0, server_cookie: [9; 16] };
        let good = proof(&session, 2);
        assert_eq!(session.check(good.trim_end_matches('=')), Err(ProofError::Form));
        assert_eq!(session.check(&format!(" {good}")), Err(ProofError::Form));
        assert_eq!(session.check(""), Err(ProofError::Form));
        assert_eq!(session.check(&STANDARD.encode([0; 112])), Err(ProofError::Key));
    }

    #[test]
    fn a_weak_key_with_a_universal_signature_is_refused() {
        // The identity point accepts this signature for every message under a lax check.
        let mut raw = [0; RESPONSE_LEN];
        raw[0] = 1;
        raw[48] = 1;
        let session = Session { server: key(1).0, server_cookie: [9; 16] };
        assert_eq!(session.check(&STANDARD.encode(raw)), Err(ProofError::Key));
    }
}

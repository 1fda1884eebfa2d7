//! The wrapping of a statement: COSE_Sign1 (RFC 9052, section 4.2), written and read by hand.
//!
//! ```text
//! [ h'protected', {}, h'payload', h'signature' ]          no tag; deterministic CBOR throughout
//! protected: { 1: -8, 4: identity key, 16: "application/vnd.onionskin.KIND", -70001: 1, -70002: certificate }
//! signed:    [ "Signature1", h'protected', h'"onionskin/1 KIND" and a zero byte', h'payload' ]
//! ```
//!
//! Promises that what is read here has exactly this form; who signed it is left to `signed`.

use super::cbor::{self, CborError, Item, Reader};
use super::error::StatementError;
use onion::OnionAddress;

/// The version of all kinds, today.
const VERSION: u64 = 1;
/// What `typ` (RFC 9596) begins with, before the word of the kind.
const TYPE_PREFIX: &str = "application/vnd.onionskin.";
/// Longest word of a kind.
const KIND_LEN_MAX: usize = 32;

/// Labels of the protected header, as encoded: `alg`, `crit` and `kid` of RFC 9052, `typ` of RFC 9596, and two of ours
/// from the range for private use (below -65536).
const ALG: &[u8] = &[0x01];
const CRIT: &[u8] = &[0x02];
const KID: &[u8] = &[0x04];
const TYP: &[u8] = &[0x10];
const VERSION_LABEL: &[u8] = &[0x3a, 0x00, 0x01, 0x11, 0x70];
const CERTIFICATE: &[u8] = &[0x3a, 0x00, 0x01, 0x11, 0x71];
/// EdDSA, -8, as encoded.
const EDDSA: &[u8] = &[0x27];

/// The parts of a statement whose form is right and whose signature nobody has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) kind: &'a str,
    /// Whose it says to be.
    pub(super) author: OnionAddress,
    pub(super) certificate: Option<&'a [u8]>,
    protected: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    /// Takes a statement apart. Everything is checked that does not depend on its kind, but for the signature.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, StatementError> {
        cbor::check(bytes)?;
        let mut reader = Reader::new(bytes);
        let malformed = |_: CborError| StatementError::Form("it is no COSE_Sign1");
        if reader.item()? != Item::Array(4) {
            return Err(StatementError::Form("it is no COSE_Sign1"));
        }
        let protected = reader.bytes().map_err(malformed)?;
        if reader.item()? != Item::Map(0) {
            return Err(StatementError::Form("its unprotected header is not empty"));
        }
        let payload = reader.bytes().map_err(malformed)?;
        let signature = reader.bytes().map_err(malformed)?;
        let signature =
            signature.try_into().map_err(|_| StatementError::Form("its signature is not 64 bytes long"))?;
        let header = Header::parse(protected)?;
        check_payload(payload)?;
        let Header { kind, author, certificate } = header;
        Ok(Self { kind, author, certificate, protected, payload, signature })
    }

    /// What was signed.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(self.kind, self.protected, self.payload)
    }
}

struct Header<'a> {
    kind: &'a str,
    author: OnionAddress,
    certificate: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    fn parse(protected: &'a [u8]) -> Result<Self, StatementError> {
        let pairs = cbor::pairs(protected).map_err(|error| match error {
            CborError::Kind => StatementError::Form("its protected header is no map"),
            error => error.into(),
        })?;
        if pairs.iter().any(|(label, _)| !matches!(label[0] >> 5, 0 | 1 | 3)) {
            return Err(StatementError::Form("a label of its header is neither a number nor a text"));
        }
        let value = |label: &[u8]| pairs.iter().find(|(key, _)| *key == label).map(|(_, value)| *value);
        if let Some(critical) = value(CRIT) {
            check_critical(critical, |label| value(label).is_some())?;
        }
        if value(ALG) != Some(EDDSA) {
            return Err(StatementError::Form("its algorithm is not EdDSA"));
        }
        let item = |label| value(label).map(|value| Reader::new(value).item()).transpose();
        let Some(Item::Text(typ)) = item(TYP)? else {
            return Err(StatementError::Form("it does not say its type"));
        };
        let kind = typ.strip_prefix(TYPE_PREFIX).filter(|kind| is_kind(kind));
        let kind = kind.ok_or(StatementError::Form("its type is none of ours"))?;
        match item(VERSION_LABEL)? {
            Some(Item::Unsigned(VERSION)) => {}
            Some(Item::Unsigned(other)) => return Err(StatementError::Version(other)),
            _ => return Err(StatementError::Form("it does not say its version")),
        }
        let Some(Item::Bytes(key)) = item(KID)? else {
            return Err(StatementError::Form("it does not say whose it is"));
        };
        let key = key.try_into().map_err(|_| StatementError::Key)?;
        let author = OnionAddress::from_public_key(key).map_err(|_| StatementError::Key)?;
        let certificate = match item(CERTIFICATE)? {
            None => None,
            Some(Item::Bytes(certificate)) => Some(certificate),
            Some(_) => return Err(StatementError::Form("its certificate is no byte string")),
        };
        Ok(Self { kind, author, certificate })
    }
}

/// RFC 9052, section 3.1: every label in `crit` must be there and understood.
fn check_critical(critical: &[u8], is_there: impl Fn(&[u8]) -> bool) -> Result<(), StatementError> {
    let mut reader = Reader::new(critical);
    let Item::Array(len @ 1..) = reader.item()? else {
        return Err(StatementError::Form("its list of critical labels is empty or no list"));
    };
    for _ in 0..len {
        let label = reader.whole()?;
        if ![ALG, KID, TYP, VERSION_LABEL, CERTIFICATE].contains(&label) {
            return Err(StatementError::Critical);
        }
        if !is_there(label) {
            return Err(StatementError::Form("a critical label is not there"));
        }
    }
    Ok(())
}

/// The payload is a map with whole numbers for keys.
fn check_payload(payload: &[u8]) -> Result<(), StatementError> {
    let pairs = cbor::pairs(payload).map_err(|error| match error {
        CborError::Kind => StatementError::Form("its payload is no map"),
        error => error.into(),
    })?;
    if pairs.iter().any(|(key, _)| !matches!(key[0] >> 5, 0 | 1)) {
        return Err(StatementError::Form("a key of its payload is no whole number"));
    }
    Ok(())
}

/// 1 to 32 of a-z, 0-9 and the hyphen, a letter first.
fn is_kind(kind: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    kind.len() <= KIND_LEN_MAX
        && kind.bytes().all(allowed)
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
}

/// `Sig_structure` (RFC 9052, section 4.4), with the kind's context as external data.
fn signed_bytes(kind: &str, protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + payload.len() + 96);
    cbor::put_head(&mut out, 4, 4);
    cbor::put_text(&mut out, "Signature1");
    cbor::put_bytes(&mut out, protected);
    cbor::put_bytes(&mut out, format!("onionskin/1 {kind}\0").as_bytes());
    cbor::put_bytes(&mut out, payload);
    out
}

/// Wraps and signs a payload.
pub(super) fn seal(
    kind: &str,
    author: &OnionAddress,
    certificate: Option<&[u8]>,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Vec<u8> {
    let mut protected = Vec::new();
    cbor::put_head(&mut protected, 5, 4 + u64::from(certificate.is_some()));
    protected.extend(ALG);
    protected.extend(EDDSA);
    protected.extend(KID);
    cbor::put_bytes(&mut protected, author.public_key());
    protected.extend(TYP);
    cbor::put_text(&mut protected, &format!("{TYPE_PREFIX}{kind}"));
    protected.extend(VERSION_LABEL);
    cbor::put_head(&mut protected, 0, VERSION);
    if let Some(certificate) = certificate {
        protected.extend(CERTIFICATE);
        cbor::put_bytes(&mut protected, certificate);
    }
    let signature = sign(&signed_bytes(kind, &protected, payload));
    let mut out = Vec::with_capacity(protected.len() + payload.len() + 80);
    cbor::put_head(&mut out, 4, 4);
    cbor::put_bytes(&mut out, &protected);
    cbor::put_head(&mut out, 5, 0);
    cbor::put_bytes(&mut out, payload);
    cbor::put_bytes(&mut out, &signature);
    out
}

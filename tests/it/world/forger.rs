//! Whoever makes statements and seals by hand: an author of whom nothing but keys is there, honest or not.
//!
//! Promises to give exactly the bytes that the test asks for, whether or not the node's own code would sign or seal
//! them. Bringing them is left to `programs.rs`, judging to the tests.

#![allow(clippy::unwrap_used, reason = "what a forger makes in a test is sound, or the test says so")]

use super::programs::{Answer, Smtp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use onion::OnionAddress;
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::letter::LetterId;
use onionskin::model::seal::{CHUNK_LEN, PrekeyId, PublicPrekey, Sealer, SecretPrekey, padded_len};
use onionskin::model::statement::card::{SUITE, commitment};
use onionskin::model::statement::{Card, Certificate, LetterStatement, Prekey, Signed, Statement, Verified};
use onionskin::model::statement::{cbor, frame, sign_as_identity};
use onionskin::model::time::UnixTime;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long what a forger makes is good.
const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// An author whose keys are all made of one seed; as a caller it is `World::call` with the same seed.
pub(crate) struct Forger {
    pub(crate) onion: OnionAddress,
    pub(crate) identity: SigningKey,
    pub(crate) device: SigningKey,
    seed: u8,
    now: UnixTime,
}

impl Forger {
    /// The author of this seed, at this time.
    pub(crate) fn new(seed: u8, now: UnixTime) -> Self {
        let identity = SigningKey::from_bytes(&[seed; 32]);
        let onion = OnionAddress::from_public_key(identity.verifying_key().to_bytes()).unwrap();
        let device = SigningKey::from_bytes(&[seed ^ 0x80; 32]);
        Self { onion, identity, device, seed, now }
    }

    /// Its address under a local part.
    pub(crate) fn address(&self, local: &str) -> String {
        format!("{local}@{}", self.onion.host())
    }

    /// A certificate for a device, as its identity key gives it.
    pub(crate) fn certificate(&self, device: &SigningKey, scope: u64, until: UnixTime) -> Vec<u8> {
        let made = UnixTime(self.now.0 - 86_400).to_the_hour();
        let device = device.verifying_key().to_bytes();
        sign_as_identity(&self.identity, &Certificate { device, scope, made, until }).unwrap().into_bytes()
    }

    /// The certificate that an honest author has.
    pub(crate) fn own_certificate(&self) -> Vec<u8> {
        let scope = Certificate::LETTERS | Certificate::STATEMENTS;
        self.certificate(&self.device, scope, self.now.plus(LIFE))
    }

    /// A statement, signed as an honest author does.
    pub(crate) fn sign<T: Statement>(&self, statement: &T) -> Vec<u8> {
        let certificate = self.own_certificate();
        cose(T::KIND, &self.onion, Some(&certificate), &cbor::encode(statement), &self.device)
    }

    /// What an honest author says of a letter, whose id is made of `id`.
    pub(crate) fn header(&self, to: &str, letter: &[u8], id: u8) -> LetterStatement {
        LetterStatement {
            to: MailAddress::parse(to).unwrap(),
            id: LetterId([id; 16]),
            length: letter.len() as u64,
            digest: Sha256::digest(letter).into(),
            suite: SUITE,
            made: self.now.to_the_hour(),
            receipt: true,
            behalf: None,
            errand: false,
        }
    }

    /// A letter, signed and sealed as an honest author does.
    pub(crate) fn sealed(&self, card: &Card, to: &str, letter: &[u8], id: u8) -> Sealed {
        let header = self.sign(&self.header(to, letter, id));
        Sealed::new(card, &inside(&header, &[], letter), id)
    }

    /// A Card of this number, with the names `anna` and `ann`; `change` spoils it before it is signed.
    pub(crate) fn card(
        &self,
        sequence: u64,
        previous: Option<[u8; 32]>,
        change: impl FnOnce(&mut Card),
    ) -> Verified<Card> {
        let prekey = |number: u8| {
            let secret = SecretPrekey::from_seed(&[self.seed ^ number; 32]);
            let (seal_until, open_until) = (self.now.plus(LIFE), self.now.plus(LIFE * 2));
            Prekey { key: secret.public().as_bytes().to_vec(), seal_until, open_until }
        };
        let recovery = SigningKey::from_bytes(&[self.seed ^ 0x40; 32]).verifying_key().to_bytes();
        let mut card = Card {
            generation: 1,
            sequence,
            previous,
            made: self.now.to_the_hour(),
            names: vec![LocalPart::parse("anna").unwrap(), LocalPart::parse("ann").unwrap()],
            recovery: commitment(&recovery),
            suite: SUITE,
            prekeys: vec![prekey(1)],
            last_resort: prekey(2),
            size_max: 1 << 26,
        };
        change(&mut card);
        sign_as_identity(&self.identity, &card).unwrap()
    }
}

/// A COSE_Sign1 in the form of `docs/protocol.md`, of anything by anybody.
pub(crate) fn cose(
    kind: &str,
    author: &OnionAddress,
    certificate: Option<&[u8]>,
    payload: &[u8],
    key: &SigningKey,
) -> Vec<u8> {
    cose_as(kind, kind, author, certificate, payload, key)
}

/// The same, signed in the context of perhaps another kind than its type says.
pub(crate) fn cose_as(
    kind: &str,
    context: &str,
    author: &OnionAddress,
    certificate: Option<&[u8]>,
    payload: &[u8],
    key: &SigningKey,
) -> Vec<u8> {
    let bytes = |bytes: &[u8]| cbor::encode(&ByteBuf::from(bytes));
    let mut protected = vec![0xa4 + u8::from(certificate.is_some()), 0x01, 0x27, 0x04];
    protected.extend(bytes(author.public_key()));
    protected.push(0x10);
    protected.extend(cbor::encode(&format!("application/vnd.onionskin.{kind}")));
    protected.extend([0x3a, 0x00, 0x01, 0x11, 0x70, 0x01]);
    if let Some(certificate) = certificate {
        protected.extend([0x3a, 0x00, 0x01, 0x11, 0x71]);
        protected.extend(bytes(certificate));
    }
    let context = format!("onionskin/1 {context}\0");
    let signed = [&[0x84][..], &cbor::encode(&"Signature1"), &bytes(&protected), &bytes(context.as_bytes())];
    let signed = [signed.concat(), bytes(payload)].concat();
    let signature = key.sign(&signed).to_bytes();
    [&[0x84][..], &bytes(&protected), &[0xa0], &bytes(payload), &bytes(&signature)].concat()
}

/// What a node says to EHLO, with these words on the line of our extension, or as a stock server without.
pub(crate) fn hello(onionskin: Option<&str>) -> String {
    let ours = onionskin.map(|words| format!("250 ONIONSKIN 1 {}{words}", "c0".repeat(16)));
    let ours = ours.unwrap_or_else(|| "250 SMTPUTF8".to_owned());
    format!("250-there\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SIZE 70000000\r\n{ours}")
}

/// What a node says to CARD.
pub(crate) fn card_reply(card: &[u8]) -> String {
    let text = STANDARD.encode(card);
    let lines: Vec<&str> =
        text.as_bytes().chunks(480).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("250-2.0.0 Card\r\n250-2.0.0 {}", lines.join("\r\n250-2.0.0 "))
        .rsplit_once("250-")
        .map(|(all, last)| format!("{all}250 {last}"))
        .unwrap()
}

/// What lies inside a seal, padding included.
pub(crate) fn inside(header: &[u8], enclosures: &[Vec<u8>], letter: &[u8]) -> Vec<u8> {
    let frame = frame::encode(header, enclosures);
    let mut plain = [&(frame.len() as u32).to_be_bytes()[..], &frame, letter].concat();
    plain.resize(padded_len(plain.len() as u64) as usize, 0);
    plain
}

/// Sealed bytes, and what MAIL says of them.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) key: PrekeyId,
    pub(crate) bytes: Vec<u8>,
    /// Whether LETTER names them, which wants a proof.
    pub(crate) named: bool,
}

impl Sealed {
    /// Seals any bytes for whoever has this Card. Another `salt` gives other bytes of the same.
    pub(crate) fn new(card: &Card, plain: &[u8], salt: u8) -> Self {
        let public = PublicPrekey::from_bytes(&card.prekeys[0].key).unwrap();
        let sealer = Sealer::new(&public, &[salt; 32], plain);
        let mut bytes = sealer.head().to_vec();
        let last = plain.len().div_ceil(CHUNK_LEN) - 1;
        for (counter, chunk) in plain.chunks(CHUNK_LEN).enumerate() {
            let mut chunk = chunk.to_vec();
            sealer.seal_chunk(counter as u64, counter == last, &mut chunk);
            bytes.extend(chunk);
        }
        Self { key: public.id(), bytes, named: false }
    }

    /// The same, changed on its way.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.bytes);
        changed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Smtp<S> {
    /// Asks for the Card of the node, which is `of`.
    pub(crate) async fn card(&mut self, of: OnionAddress) -> Verified<Card> {
        self.ask("CARD").await.taken();
        let bytes = STANDARD
            .decode(self.lines[1..].iter().map(|line| line.trim_start_matches("2.0.0 ")).collect::<String>());
        let card = Signed::<Card>::parse(bytes.unwrap()).unwrap().verify(None).unwrap();
        assert_eq!(card.author(), of);
        card
    }

    /// Sends a sealed letter. The first refusal ends it.
    pub(crate) async fn send_sealed(&mut self, from: &str, to: &str, sealed: &Sealed) -> Answer {
        let name = LetterId(*Sha256::digest(&sealed.bytes).first_chunk().unwrap()).to_hex();
        let name = if sealed.named { format!(" LETTER={name}") } else { String::new() };
        let (len, key) = (sealed.bytes.len(), sealed.key.to_hex());
        let mail = format!("MAIL FROM:<{from}> SIZE={len} BODY=SEALED KEY={key}{name}");
        for line in [mail, format!("RCPT TO:<{to}>")] {
            let answer = self.ask(&line).await;
            if !answer.is_taken() {
                return answer;
            }
        }
        let chunk = [format!("BDAT {len} LAST\r\n").as_bytes(), &sealed.bytes].concat();
        match self.write(&chunk).await {
            Ok(()) => self.hear().await,
            Err(_) => Answer::Cut,
        }
    }
}

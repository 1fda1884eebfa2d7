//! What lies on the disk and could have been changed there: the store's files, its records, the vault; and requests on
//! the control socket.
//!
//! For `store` the input is a list of changes (three bytes of place, one of value, and the file) made to a small store.

use super::class;
use crate::engine::{Target, sum};
use onionskin::face::control::Request;
use onionskin::model::identity::Identity;
use onionskin::model::queue::Entry;
use onionskin::model::time::UnixTime;
use onionskin::protocol::sasl::Verifier;
use onionskin::store::credentials::CredentialRecord;
use onionskin::store::disk::{AfterCrash, Disk, OpenMode, SimDisk};
use onionskin::store::messages::NewMessage;
use onionskin::store::peers::PeerRecord;
use onionskin::store::vault::{KdfCost, MasterKey, Vault, VaultError};
use onionskin::store::{Flags, Run, SpecialUse, Store, StoreError, StoreOptions};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "store", seeds: changes, words: &[], run: store, brief: 400, len_max: 60 },
        Target { name: "vault", seeds: vaults, words: &["onionskin"], run: vault, brief: 3000, len_max: 400 },
        Target {
            name: "record",
            seeds: records,
            words: &["user", "label", "state", "next"],
            run: record,
            brief: 20_000,
            len_max: 4096,
        },
        Target { name: "control", seeds: requests, words: JSON, run: control, brief: 20_000, len_max: 4096 },
    ]
}

const JSON: &[&str] = &[
    "{\"do\":\"status\"}",
    "\"do\":",
    "\"mint\"",
    "\"submit\"",
    "\"numbers\":[",
    "null",
    "1e999",
    "\\u0000",
    "[[[[",
    "}",
    "true",
    "-1",
];

/// Runs a future that never waits, as those of a store in `Run::Inline`.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an inline store waited"),
    }
}

fn key() -> MasterKey {
    MasterKey::generate(&mut StdRng::seed_from_u64(7))
}

fn options(seed: u8) -> StoreOptions {
    StoreOptions { run: Run::Inline, seed: [seed; 32] }
}

/// The letters of the small store.
fn letters() -> Vec<Vec<u8>> {
    (0..4_u8)
        .map(|number| {
            [b"Subject: x\r\n\r\n", vec![number; 700 * usize::from(number) + 10].as_slice()].concat()
        })
        .collect()
}

/// A small store, closed; made once.
fn small() -> &'static SimDisk {
    static SMALL: OnceLock<SimDisk> = OnceLock::new();
    SMALL.get_or_init(|| {
        let disk = SimDisk::new();
        let store = now(Store::create(Arc::new(disk.clone()), &key(), options(1), UnixTime(1_700_000_000)))
            .expect("a new store");
        let inbox =
            now(store.read(|rx| rx.mailboxes().special(SpecialUse::Inbox))).expect("reads").expect("INBOX");
        for bytes in letters() {
            let body = now(store.letter(&bytes)).expect("room");
            now(store.write(move |tx| {
                let letter = tx.letters().add(&body, b"")?;
                let internal_date = UnixTime(1_700_000_000);
                tx.messages().append(
                    inbox,
                    &NewMessage { letter, flags: Flags::default(), internal_date, sent_id: None },
                )
            }))
            .expect("room");
        }
        now(store.close()).expect("closes");
        disk
    })
}

fn changes() -> Vec<Vec<u8>> {
    vec![Vec::new(), vec![0, 0, 0, 1, 0], vec![0, 0, 40, 255, 1], vec![1, 0, 0, 16, 1]]
}

/// Whatever was changed: the store opens or says that it is damaged, and a letter is read as it was written or not at
/// all.
fn store(input: &[u8], _: &mut StdRng) -> u64 {
    let disk = small().after_crash(AfterCrash::Kept);
    let names = ["segment-00000001", "mail.db"];
    for change in input.chunks_exact(5) {
        let name = names[usize::from(change[4]) % names.len()];
        let file = disk.open(name, OpenMode::Existing).expect("it is there");
        let len = file.len().expect("it has a length").max(1);
        let at = (u64::from(change[0]) << 16 | u64::from(change[1]) << 8 | u64::from(change[2])) % len;
        let mut byte = [0];
        if change[4] >= 250 {
            file.set_len(at).expect("a file can be cut");
        } else if file.read_at(at, &mut byte).is_ok() {
            file.write_at(at, &[byte[0] ^ change[3]]).expect("a file can be written");
        }
    }
    let is_damage = |error: &StoreError| {
        let known = matches!(
            error,
            StoreError::Damaged(_)
                | StoreError::WrongKey
                | StoreError::Newer { .. }
                | StoreError::NoLetter(_)
        );
        assert!(known || matches!(error, StoreError::Missing), "damage is told as {error:?}");
    };
    let opened = now(Store::open(Arc::new(disk.clone()) as Arc<dyn Disk>, &key(), options(2)));
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            is_damage(&error);
            return 1;
        }
    };
    let inbox = match now(store.read(|rx| rx.mailboxes().special(SpecialUse::Inbox))) {
        Ok(inbox) => inbox.expect("INBOX does not vanish"),
        Err(error) => {
            is_damage(&error);
            return 2;
        }
    };
    let view = match now(store.mailbox_view(inbox)) {
        Ok(view) => view,
        Err(error) => {
            is_damage(&error);
            return 3;
        }
    };
    assert_eq!(view.messages.len(), letters().len(), "letters are missing, and nothing says so");
    let mut read = Vec::new();
    for ((_, message), written) in view.messages.iter().zip(letters()) {
        let bytes =
            now(store.open_letter(message.letter)).and_then(|reader| now(reader.read_at(0, usize::MAX)));
        match bytes {
            Ok(bytes) => assert!(bytes == written, "a letter reads as it was never written"),
            Err(ref error) => is_damage(error),
        }
        read.push(now(store.open_letter(message.letter)).is_ok());
    }
    sum(read)
}

fn vault_bytes(passphrase: Option<&[u8]>) -> Vec<u8> {
    let disk = SimDisk::new();
    Vault::create(&disk, passphrase, KdfCost::LEAST, &mut StdRng::seed_from_u64(3)).expect("a new vault");
    disk.bytes("vault").expect("it is there")
}

fn vaults() -> Vec<Vec<u8>> {
    vec![vault_bytes(None), vault_bytes(Some(b"secret")), Vec::new()]
}

/// A vault that was changed opens to its own key or not at all. What it says about its cost is not tried here if it is
/// dear: a passphrase is asked for by a person, who can wait.
fn vault(input: &[u8], _: &mut StdRng) -> u64 {
    let disk = SimDisk::new();
    let file = disk.open("vault", OpenMode::OrCreate).expect("a new file");
    file.write_at(0, input).expect("room");
    let number = |at: usize| {
        input.get(at..at + 4).map_or(0, |four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    };
    let is_cheap = number(18) <= 64 && number(22) <= 4;
    let mut told = Vec::new();
    for passphrase in [None, Some(&b"secret"[..]), Some(b"another")] {
        if passphrase.is_some() && !is_cheap {
            continue;
        }
        told.push(match Vault::open(&disk, passphrase) {
            Ok(vault) => {
                let own = vault_keys().iter().any(|key| *key == *vault.key.derive("test"));
                assert!(own, "a vault opened to another key");
                "open".to_owned()
            }
            Err(VaultError::Disk(error)) => panic!("the vault is told to be a failure of the disk: {error}"),
            Err(error) => error.to_string(),
        });
    }
    sum(told)
}

/// What the keys of the sound vaults derive.
fn vault_keys() -> &'static [[u8; 32]] {
    static KEYS: OnceLock<Vec<[u8; 32]>> = OnceLock::new();
    KEYS.get_or_init(|| vec![*MasterKey::generate(&mut StdRng::seed_from_u64(3)).derive("test")])
}

fn records() -> Vec<Vec<u8>> {
    let verifier = Verifier::from_password("secret", b"0123456789abcdef", 1);
    let peer = PeerRecord::default();
    let credential = CredentialRecord {
        label: "x".to_owned(),
        user: "bob".to_owned(),
        verifier: serde_cbor::to_vec(&verifier).expect("CBOR"),
        created: UnixTime(1),
    };
    vec![
        serde_cbor::to_vec(&verifier).expect("CBOR"),
        serde_cbor::to_vec(&peer).expect("CBOR"),
        serde_cbor::to_vec(&credential).expect("CBOR"),
        vec![0x9f; 2000],
        vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]
}

/// The CBOR of the store's records. What is read can be written and reads the same again.
fn record(input: &[u8], _: &mut StdRng) -> u64 {
    let verifier = serde_cbor::from_slice::<Verifier>(input);
    let peer = serde_cbor::from_slice::<PeerRecord>(input);
    let credential = serde_cbor::from_slice::<CredentialRecord>(input);
    let entry = serde_cbor::from_slice::<Entry>(input);
    if let Ok(entry) = &entry {
        let bytes = serde_cbor::to_vec(entry).expect("what was read can be written");
        assert_eq!(
            format!("{:?}", serde_cbor::from_slice::<Entry>(&bytes).ok()),
            format!("{:?}", Some(entry))
        );
    }
    if let Ok(credential) = &credential {
        let bytes = serde_cbor::to_vec(credential).expect("what was read can be written");
        assert!(serde_cbor::from_slice::<CredentialRecord>(&bytes).is_ok());
    }
    let identity = Identity::from_record(input).is_ok();
    sum((
        verifier.is_ok(),
        peer.is_ok(),
        credential.is_ok(),
        entry.is_ok(),
        identity,
        input.first(),
        class(input.len()),
    ))
}

fn requests() -> Vec<Vec<u8>> {
    let all = [
        "{\"do\":\"status\"}",
        "{\"do\":\"mint\",\"label\":\"mutt\"}",
        "{\"do\":\"revoke\",\"number\":3}",
        "{\"do\":\"submit\",\"from\":null,\"to\":[\"a@b\"],\"from_headers\":true,\"size\":10}",
        "{\"do\":\"inbox\",\"folder\":\"INBOX\",\"last\":5}",
        "{\"do\":\"read\",\"folder\":\"INBOX\",\"number\":1}",
        "{\"do\":\"retry\",\"numbers\":[1,2]}",
        "{\"do\":\"cancel\",\"numbers\":[]}",
    ];
    let mut all = all.map(|request| request.as_bytes().to_vec()).to_vec();
    all.push(b"[".repeat(4000));
    all
}

/// A request that is understood is written so that it reads the same.
fn control(input: &[u8], _: &mut StdRng) -> u64 {
    let request = serde_json::from_slice::<Request>(input);
    if let Ok(request) = &request {
        let text = serde_json::to_vec(request).expect("what was read can be written");
        assert_eq!(&serde_json::from_slice::<Request>(&text).expect("and read again"), request);
    }
    let words = request.map(|request| format!("{request:?}").chars().take(12).collect::<String>());
    sum(words.map_err(|error| {
        error.to_string().chars().filter(|letter| letter.is_alphabetic()).take(40).collect::<String>()
    }))
}

//! `tests/vectors/statements.json`: made here from fixed seeds, byte for byte, and judged as it says.
//!
//! With `ONIONSKIN_WRITE_VECTORS=1` in the environment the file is written anew.

use super::good::{self, *};
use super::spoiled;
use crate::model::statement::*;
use crate::model::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One statement, and what must become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Vector {
    pub(super) name: String,
    /// The kind that it is judged as.
    pub(super) kind: String,
    /// Agreed time in seconds since 1970; none: nothing is expired, nothing is in the future.
    pub(super) at: Option<u64>,
    /// "good", the word of an error, or with `pinned` what the Card is to that one.
    pub(super) expect: String,
    pub(super) note: String,
    /// The name of the vector with the Card that is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pinned: Option<String>,
    /// Lower-case hexadecimal.
    pub(super) bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    about: Vec<String>,
    /// SHA-256 of Ann's recovery key, for revocations and successors.
    commitment: String,
    vectors: Vec<Vector>,
}

impl Vector {
    pub(super) fn new(name: &str, kind: &str, expect: &str, bytes: &[u8], note: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            at: Some(NOW.0),
            expect: expect.to_owned(),
            note: note.to_owned(),
            pinned: None,
            bytes: data_encoding::HEXLOWER.encode(bytes),
        }
    }

    pub(super) fn at(mut self, at: Option<UnixTime>) -> Self {
        self.at = at.map(|at| at.0);
        self
    }

    fn pinned(mut self, pinned: &str) -> Self {
        self.pinned = Some(pinned.to_owned());
        self
    }

    fn decoded(&self) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(self.bytes.as_bytes()).unwrap()
    }

    fn card(&self) -> Verified<Card> {
        Signed::parse(self.decoded()).unwrap().verify(self.at.map(UnixTime)).unwrap()
    }
}

fn file() -> File {
    let about = [
        "Statements of Onionskin, as docs/protocol.md describes them.",
        "Ed25519 seeds are one byte 32 times: Ann's identity 1, her device 11, her recovery key 21; others 2 and 3.",
        "The bytes of prekeys are no real X-Wing keys; nothing is sealed for them here.",
    ];
    let good = good::all().into_iter().map(|(kind, bytes)| {
        Vector::new(&format!("{kind}-good"), kind, "good", &bytes, "a statement as it should be")
    });
    File {
        about: about.map(str::to_owned).to_vec(),
        commitment: data_encoding::HEXLOWER.encode(&commitment()),
        vectors: good.chain(cards()).chain(spoiled::all()).collect(),
    }
}

/// Cards after the one of `card-good`.
fn cards() -> Vec<Vector> {
    let sign = |card: &Card| sign_as_identity(&key(1), card).unwrap();
    let first = signed_card();
    let next = Card { sequence: 1, previous: Some(first.digest()), ..good::card() };
    let second = sign(&next);
    let vector = |name, card: &Card, expect, pinned, note| {
        Vector::new(name, "card", expect, sign(card).bytes(), note).pinned(pinned)
    };
    let fork = Card { size_max: 1 << 20, ..next.clone() };
    let gap = Card { sequence: 7, previous: Some([9; 32]), ..good::card() };
    let strange = Card { sequence: 1, previous: Some([9; 32]), ..good::card() };
    let again = Card { generation: 2, ..good::card() };
    let rekeyed = Card { recovery: [9; 32], ..next.clone() };
    vec![
        vector("card-same", &first, "same", "card-good", "seen before"),
        vector("card-newer", &next, "newer", "card-good", "the next one, and it names the one before"),
        vector("card-gap", &gap, "newer", "card-good", "later ones were missed"),
        vector("card-again", &again, "newer", "card-newer", "a later generation: made again from the words"),
        vector("card-rollback", &first, "older", "card-newer", "an earlier sequence"),
        vector("card-rollback-generation", &second, "older", "card-again", "an earlier generation"),
        vector("card-fork", &fork, "fork", "card-newer", "the same sequence, other bytes"),
        vector(
            "card-fork-before",
            &strange,
            "fork",
            "card-good",
            "the next one, but it names another before it",
        ),
        vector("card-recovery-change", &rekeyed, "recovery-change", "card-good", "another recovery key"),
    ]
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/statements.json")
}

fn read() -> File {
    serde_json::from_slice(&std::fs::read(path()).expect("the vectors are there")).expect("they are JSON")
}

#[test]
fn the_vectors_are_made_again_byte_for_byte() {
    let made = file();
    if std::env::var_os("ONIONSKIN_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), text).unwrap();
    }
    let kept = read();
    for (made, kept) in made.vectors.iter().zip(&kept.vectors) {
        assert_eq!(made, kept, "{}", kept.name);
    }
    assert_eq!(made, kept);
}

#[test]
fn the_vectors_are_judged_as_they_say() {
    let File { vectors, .. } = read();
    for vector in &vectors {
        let answer = match &vector.pinned {
            Some(name) => {
                let pinned =
                    vectors.iter().find(|other| other.name == *name).expect("the pinned one is there");
                succession_word(card::succession(&pinned.card(), &vector.card()))
            }
            None => match judge(&vector.kind, &vector.decoded(), vector.at.map(UnixTime)) {
                Ok(author) => {
                    assert_eq!(author, onion(1), "{}", vector.name);
                    "good"
                }
                Err(error) => error.word(),
            },
        };
        assert_eq!(answer, vector.expect, "{}: {}", vector.name, vector.note);
    }
    let mut names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), vectors.len(), "each has a name of its own");
    for kind in KINDS {
        assert!(vectors.iter().any(|vector| vector.kind == kind && vector.expect == "good"), "{kind}");
    }
}

fn succession_word(succession: Succession) -> &'static str {
    match succession {
        Succession::Same => "same",
        Succession::Newer => "newer",
        Succession::Older => "older",
        Succession::Fork => "fork",
        Succession::RecoveryChange => "recovery-change",
        Succession::Stranger => "stranger",
    }
}

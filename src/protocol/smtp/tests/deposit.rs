//! Deposits: a sealed letter is left at a drop by somebody who proves nothing.

use super::super::client::Outcome;
use super::holding::{MAILBOX, id_of, token};
use super::pair::{End, Pair};
use super::*;

/// What no text may be: line ends of every kind, NULs, dots.
const SEALED: &[u8] = b"age-encryption.org/v1\n\0\r\r\n.\r\n\r\n.\n\xff\r";

#[test]
fn a_deposit_arrives_whole_and_names_nobody() {
    let mut pair = Pair::at_drop(depositor());
    pair.server.receipt = Some(b"held, says the drop".to_vec());
    pair.client.letter(deposit(SEALED, token(1, 0))).unwrap();
    let End::Done { outcomes, receipt } = pair.run(SEALED, 10) else { panic!("not done") };
    assert_eq!((outcomes, receipt), (vec![Outcome::Accepted], Some(b"held, says the drop".to_vec())));
    let (envelope, content) = &pair.server.seen.letters[0];
    assert_eq!(content, SEALED);
    let deposit = envelope.deposit.unwrap();
    assert_eq!((deposit.mailbox, deposit.token, deposit.letter), (MAILBOX, token(1, 0), id_of(SEALED)));
    assert_eq!((deposit.size, deposit.key), (SEALED.len() as u64, PREKEY));
    assert_eq!((envelope.proved, &envelope.from), (None, &ReversePath::Null));
    assert_eq!(envelope.hello, limits::DEPOSIT_HELLO);
    assert_eq!(envelope.recipients.as_slice(), [MAILBOX.address(onion(3))]);
    assert!(pair.server.seen.proved.is_empty());
}

//! Cards after Cards, and successors after successors.

use super::good::{self, *};
use crate::model::statement::card::succession;
use crate::model::statement::recovery::{CHAIN_MAX, ChainError, successors};
use crate::model::statement::*;
use crate::model::time::UnixTime;

fn sign(card: &Card) -> Verified<Card> {
    sign_as_identity(&key(1), card).unwrap()
}

fn after(card: &Verified<Card>) -> Card {
    Card { sequence: card.sequence + 1, previous: Some(card.digest()), ..Card::clone(card) }
}

#[test]
fn a_card_that_follows_is_newer_and_one_that_does_not_is_named() {
    let first = signed_card();
    let second = sign(&after(&first));
    let third = sign(&after(&second));
    let again = sign(&Card { generation: 2, ..good::card() });
    for (pinned, new, answer) in [
        (&first, &first, Succession::Same),
        (&first, &second, Succession::Newer),
        (&first, &third, Succession::Newer),
        (&third, &again, Succession::Newer),
        (&second, &first, Succession::Older),
        (&again, &third, Succession::Older),
    ] {
        assert_eq!(succession(pinned, new), answer);
    }
    let fork = sign(&Card { size_max: 1, ..after(&first) });
    assert_eq!(succession(&second, &fork), Succession::Fork);
    assert_eq!(succession(&fork, &third), Succession::Fork, "the next one names another before it");
    let rekeyed = sign(&Card { recovery: [1; 32], ..after(&first) });
    assert_eq!(succession(&first, &rekeyed), Succession::RecoveryChange);
    let other = sign_as_identity(&key(2), &after(&first)).unwrap();
    assert_eq!(succession(&first, &other), Succession::Stranger);
    let last = sign(&Card { sequence: u64::MAX, previous: Some([0; 32]), ..good::card() });
    assert_eq!(succession(&first, &last), Succession::Newer);
    assert_eq!(succession(&last, &first), Succession::Older);
}

#[test]
fn a_card_that_nobody_could_use_is_not_signed() {
    let refused = |card: Card| assert!(sign_as_identity(&key(1), &card).is_err());
    let card = good::card;
    refused(Card { names: Vec::new(), ..card() });
    refused(Card { names: names(&["ann", "ann"]), ..card() });
    refused(Card { sequence: 1, ..card() });
    refused(Card { suite: 2, ..card() });
    refused(Card { prekeys: Vec::new(), ..card() });
    refused(Card { prekeys: (0..10).map(prekey).collect(), ..card() });
    refused(Card { prekeys: vec![prekey(1), prekey(0)], ..card() });
    refused(Card { prekeys: vec![prekey(51)], ..card() });
    refused(Card { last_resort: Prekey { open_until: UnixTime(0), ..prekey(51) }, ..card() });
    for len in [0, 1215, 1217] {
        refused(Card { last_resort: Prekey { key: vec![1; len], ..prekey(51) }, ..card() });
    }
    let full = Card { prekeys: (0..9).map(prekey).collect(), ..card() };
    assert!(sign(&full).bytes().len() < 16 * 1024);
}

#[test]
fn the_first_prekey_that_still_holds_is_used_then_the_last_resort() {
    let card = good::card();
    let at = |time| card.prekey_at(Some(UnixTime(time))).map(Prekey::id);
    let first = prekey(0);
    assert_eq!(at(NOW.0), Some(first.id()));
    assert_eq!(at(first.seal_until.0), Some(first.id()));
    assert_eq!(at(first.seal_until.0 + 1), Some(prekey(1).id()));
    assert_eq!(at(prekey(1).seal_until.0 + 1), Some(prekey(51).id()));
    assert_eq!(at(prekey(51).seal_until.0 + 1), None);
    assert_eq!(card.prekey_at(None).map(Prekey::id), Some(first.id()));
    assert!(card.prekey(prekey(51).id()).is_some() && card.prekey(prekey(2).id()).is_none());
}

#[test]
fn a_chain_of_successors_ends_or_is_refused() {
    let up_to = |last: u8| {
        move |at: &onion::OnionAddress| {
            (1..last).find(|number| onion(*number) == *at).map(|number| onion(number + 1))
        }
    };
    assert_eq!(successors(onion(1), up_to(1)), Ok(Vec::new()));
    assert_eq!(successors(onion(1), up_to(3)), Ok(vec![onion(2), onion(3)]));
    assert_eq!(successors(onion(1), up_to(11)).map(|chain| chain.len()), Ok(CHAIN_MAX));
    assert_eq!(successors(onion(1), up_to(12)), Err(ChainError::TooLong));
    assert_eq!(successors(onion(1), |_| Some(onion(1))), Err(ChainError::Cycle));
    let round = |at: &onion::OnionAddress| up_to(4)(at).or(Some(onion(2)));
    assert_eq!(successors(onion(1), round), Err(ChainError::Cycle));
}

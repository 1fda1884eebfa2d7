//! Holders: what a drop answers to whoever collects there.

use super::pieces;
use crate::corpus::onion;
use crate::engine::{Target, sum};
use ed25519_dalek::{Signer as _, SigningKey};
use onionskin::model::letter::LetterId;
use onionskin::protocol::smtp::client::{self, Client, Prove};
use onionskin::protocol::smtp::{HeldList, Take, limits};
use rand::rngs::StdRng;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "smtp-collector",
        seeds: held,
        words: WORDS,
        run: as_collector,
        brief: 2000,
        len_max: 16 * 1024,
    }]
}

const WORDS: &[&str] = &[
    "250-2.0.0 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 3 0123456789abcdef -\r\n",
    "250-2.0.0 4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e 18446744073709551615 0123456789abcdef -\r\n",
    "250 2.0.0 Complete\r\n",
    "250 2.0.0 More\r\n",
    "250 2.0.0 0 octets follow\r\n",
    "250 2.0.0 9 octets follow\r\n",
    "250 2.0.0 70 octets follow\r\n",
    "250 2.0.0 Dropped\r\n",
    "550 5.1.1 x\r\n",
    "421 x\r\n",
    "354 x\r\n",
    " octets follow",
    "\r\n",
    " -",
    "250-",
];

/// Whatever a holder says, in whatever pieces: the collector comes to an end, tells the same, and is given no more than
/// it asked for.
fn as_collector(said: &[u8], rng: &mut StdRng) -> u64 {
    let whole = collector_hears(&said.chunks(limits::READ_LEN_MAX).collect::<Vec<_>>());
    let split = collector_hears(&pieces(said, limits::READ_LEN_MAX, rng));
    assert!(whole == split, "what the collector does depends on how the replies were split");
    sum(whole.iter().map(|told| told.chars().take(40).collect::<String>()).collect::<Vec<_>>())
}

fn collector_hears(said: &[&[u8]]) -> Vec<String> {
    let sign = |bytes: &[u8]| SigningKey::from_bytes(&[4; 32]).sign(bytes).to_bytes();
    let prove = Prove { own: onion(4), cookie: [0xa0; 16], sign: Box::new(sign) };
    let mut client =
        Client::new(client::Config { server: onion(3), hello: onion(4).host(), prove: Some(prove) });
    client.ask_held(None).expect("nothing else is in hand");
    client.feed(HOLDER.as_bytes()).expect("it is short");
    let (mut told, mut rest, mut takes) = (Vec::new(), said.iter(), 0);
    for _ in 0..100_000 {
        match client.next() {
            client::Step::Send(_) => {}
            client::Step::Read(_) => match rest.next() {
                Some(piece) => client.feed(piece).expect("it asked for no more than that"),
                None => client.eof(),
            },
            client::Step::Close => return told,
            step => {
                told.push(format!("{step:?}"));
                let take = |max| Take { letter: LetterId([0x1d; 16]), offset: 3, max };
                // An answer may have been the session's last.
                let _ = match step {
                    client::Step::Held(answer) => {
                        let list = answer.unwrap_or(HeldList { letters: Vec::new(), more: false });
                        assert!(list.letters.len() <= limits::HELD_LETTERS_MAX);
                        assert!(!list.more || !list.letters.is_empty());
                        client.take(take(9)).and_then(|()| client.take(take(70)))
                    }
                    client::Step::Taken(answer) => {
                        assert!(answer.map_or(0, |octets| octets.len()) <= 70, "more than was asked for");
                        takes += 1;
                        if takes % 2 == 0 { client.drop_letters(&[LetterId([0x1d; 16]); 30]) } else { Ok(()) }
                    }
                    client::Step::Dropped(_) => client.ask_held(Some(LetterId([0x1d; 16]))),
                    _ => Ok(()),
                };
            }
        }
    }
    panic!("the collector does not come to an end");
}

/// What a holder says before anything of what is held.
const HOLDER: &str = "220 x\r\n250-x\r\n250-PIPELINING\r\n\
    250 ONIONSKIN 1 c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0 DROP\r\n235 2.7.0 x\r\n";

/// What a holder answers: a list, two stretches, three times that letters are dropped, and another list.
fn held() -> Vec<Vec<u8>> {
    let list = "250-2.0.0 2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e 3 0123456789abcdef -\r\n\
        250-2.0.0 3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e 70 0123456789abcdef 2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a\r\n\
        250 2.0.0 More\r\n";
    let taken = "250 2.0.0 3 octets follow\r\nage250 2.0.0 9 octets follow\r\n250 x\r\n\r\n";
    let dropped = "250 2.0.0 Dropped\r\n".repeat(3);
    let refused = "550 5.1.1 x\r\n".repeat(2);
    [
        format!("{list}{taken}{dropped}250 2.0.0 Complete\r\n{refused}"),
        format!("550 5.7.1 x\r\n{refused}451 4.3.0 x\r\n{dropped}"),
        format!("250 2.0.0 Complete\r\n250 2.0.0 0 octets follow\r\n{taken}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

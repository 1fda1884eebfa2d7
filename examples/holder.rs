//! Puts mailboxes and letters into the store of a node that does not run, as if they had been granted and left there:
//! `holder DIR MAILBOXES LETTERS SIZE` makes so many mailboxes, on at most 16 drops, with so many letters each of SIZE
//! bytes of noise, and prints a line of JSON for each mailbox with its keys. For `scripts/bench holder` and
//! `tests/hostile`: a thousand guests by letters, and a million letters by sessions, would take days.

use onion::HostKey;
use onionskin::model::hold::{self, MailboxId, TokenKey};
use onionskin::model::seal::PrekeyId;
use onionskin::model::time::UnixTime;
use onionskin::node::clock::{Clock as _, SystemClock};
use onionskin::node::holders::DROPS_MAX;
use onionskin::store::disk::{Disk, RealDisk};
use onionskin::store::held::{BoxRecord, Collector, SpentRecord, Taken};
use onionskin::store::vault::Vault;
use onionskin::store::{Body, Run, Store, StoreError, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Letters in one commit.
const STEP: usize = 2_000;
/// How long everything is promised to be kept.
const DAYS: u32 = 30;

/// A mailbox, and the keys of its guest.
struct Guest {
    mailbox: MailboxId,
    record: BoxRecord,
    collector: [u8; 32],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [dir, mailboxes, letters, size] = words[..] else {
        return Err("usage: holder DIR MAILBOXES LETTERS SIZE".into());
    };
    let mut rng = StdRng::from_seed(entropy()?);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(Path::new(dir))?);
    let vault = Vault::open(&*disk, None)?;
    let options = StoreOptions { run: Run::Inline, seed: entropy()? };
    let store = Store::open(disk, &vault.key, options).await?;
    let guests = guests(mailboxes.parse()?, &mut rng);
    grant(&store, &guests).await?;
    fill(&store, &guests, letters.parse()?, size.parse()?, &mut rng).await?;
    store.close().await?;
    for guest in guests {
        println!("{}", shown(&guest));
    }
    Ok(())
}

fn entropy() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map(|()| bytes)
}

fn draw<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn guests(count: usize, rng: &mut StdRng) -> Vec<Guest> {
    let drops: Vec<[u8; 32]> = (0..DROPS_MAX).map(|_| draw(rng)).collect();
    let guest = |n: usize| {
        let (drop_seed, collector) = (drops[n % DROPS_MAX], draw(rng));
        let record = BoxRecord {
            guest: HostKey::from_seed(draw(rng)).address(),
            drop: HostKey::from_seed(drop_seed).address(),
            drop_seed,
            key: draw(rng),
            collectors: vec![Collector(HostKey::from_seed(collector).address())],
            bytes: hold::BYTES_DEFAULT,
            days: DAYS,
            used: 0,
            letters: 0,
            made: SystemClock.now(),
            over: false,
            revoked: 0,
        };
        Guest { mailbox: MailboxId(draw(rng)), record, collector }
    };
    (0..count).map(guest).collect()
}

async fn grant(store: &Store, guests: &[Guest]) -> Result<(), StoreError> {
    let records: Vec<_> = guests.iter().map(|guest| (guest.mailbox, guest.record.clone())).collect();
    store
        .write(move |tx| {
            records.iter().try_for_each(|(mailbox, record)| tx.held().put_mailbox(*mailbox, record))
        })
        .await
}

/// A letter to each in turn, as they would come.
async fn fill(
    store: &Store,
    guests: &[Guest],
    letters: usize,
    size: usize,
    rng: &mut StdRng,
) -> Result<(), Box<dyn Error>> {
    let now = SystemClock.now();
    let (mut pending, mut done) = (Vec::with_capacity(STEP), 0);
    for _ in 0..letters {
        for guest in guests {
            let mut sealed = vec![0; size];
            rng.fill_bytes(&mut sealed);
            let spent = spent(&sealed, now);
            let token = TokenKey::new(guest.record.key).token(
                &guest.record.drop,
                guest.mailbox,
                draw(rng),
                hold::epoch_of(now),
                hold::CLASS,
            );
            pending.push((guest.mailbox, token, spent, store.letter(&sealed).await?));
            if pending.len() == STEP {
                keep(store, std::mem::take(&mut pending)).await?;
                done += STEP;
                if done % 100_000 == 0 {
                    eprintln!("  {done} letters");
                }
            }
        }
    }
    keep(store, pending).await
}

fn spent(sealed: &[u8], now: UnixTime) -> SpentRecord {
    let kept_until = now.plus(Duration::from_secs(u64::from(DAYS) * 86_400));
    SpentRecord { digest: Sha256::digest(sealed).into(), size: sealed.len() as u64, kept_until, made: now }
}

type Left = (MailboxId, hold::Token, SpentRecord, Body);

async fn keep(store: &Store, letters: Vec<Left>) -> Result<(), Box<dyn Error>> {
    let kept = store.write(move |tx| {
        let mut all = true;
        for (mailbox, token, spent, body) in &letters {
            all &= tx.held().take(*mailbox, token, spent, PrekeyId([9; 8]), body)? == Taken::Now;
        }
        Ok(all)
    });
    if kept.await? { Ok(()) } else { Err("a mailbox is full".into()) }
}

fn shown(guest: &Guest) -> String {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    serde_json::json!({
        "mailbox": guest.mailbox.to_hex(),
        "drop": guest.record.drop.host(),
        "key": hex(&guest.record.key),
        "collector": hex(&guest.collector),
    })
    .to_string()
}

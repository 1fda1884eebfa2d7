//! `echo@`: whoever has proved an onion writes there and is answered with what this node saw of the letter.
//!
//! Promises one answer to a letter however often it comes, since the answer is queued in the commit that remembers the
//! letter; that the letter is not kept; that answers are bounded, per caller and altogether; and that nothing automatic
//! is answered, so no two nodes write to each other for ever.

use crate::model::address::LocalPart;
use crate::model::echo::{self, Echoed};
use crate::model::letter::LetterId;
use crate::model::policy::ECHO;
use crate::model::queue::Entry;
use crate::model::time::UnixTime;
use crate::node::desk::Desk;
use crate::node::parcel::{Kind, Parcel};
use crate::node::receive::{self, Arriving};
use crate::protocol::smtp::Reply;
use onion::OnionAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Letters that one proved onion may send to `echo@` in [`WINDOW`], repetitions included: enough to try a way out, too
/// few to keep a node busy.
pub const ECHOES_MAX: u32 = 10;
/// The time in which they are counted, from the first one on.
pub const WINDOW: Duration = Duration::from_secs(3600);
/// Callers that are remembered at once. Who comes when all places are taken is asked to come later.
pub const CALLERS_MAX: usize = 1024;
/// Answers that may wait at once. Onions cost nothing, and those who made them need not be there for the answer.
pub const WAITING_MAX: usize = 100;

/// A letter to `echo@` that has been announced.
pub(super) struct Call {
    pub(super) arriving: Arriving,
    received: UnixTime,
    begun: Instant,
}

/// Lets a letter to `echo@` come, if its sender may have an answer.
pub(super) fn begin(desk: &Arc<Desk>, arriving: Arriving) -> Result<Parcel, Reply> {
    let Some((caller, _)) = arriving.author() else {
        return Err(Reply::new(550, 7, 1, "echo@ answers only a node that has proved its onion"));
    };
    let begun = Instant::now();
    desk.callers.admit(caller, begun).map_err(too_many)?;
    let call = Call { arriving, received: desk.now(), begun };
    Ok(Parcel::new(desk.clone(), Kind::Echo(call)))
}

fn too_many(wait: Duration) -> Reply {
    let minutes = wait.as_secs().div_ceil(60).max(1);
    let text = format!("echo@ answers a node {ECHOES_MAX} times an hour; try again in {minutes} minutes");
    Reply::new(450, 7, 1, "").saying(text)
}

/// Looks through the header as that of any letter; gives it, below our own lines, for the answer.
pub(super) async fn screen(desk: &Desk, call: &mut Call, block: &[u8]) -> Result<Vec<u8>, Reply> {
    let (screened, header) = receive::screen(desk, &mut call.arriving, block).await?;
    if echo::is_automatic(&header) {
        let text = "echo@ answers no letter that a program wrote (Auto-Submitted, List-Id, Precedence)";
        return Err(Reply::new(550, 7, 1, text));
    }
    let mut prefix = receive::prefix(desk, &call.arriving, screened.proof);
    prefix.extend_from_slice(&header);
    Ok(prefix)
}

/// One commit: the answer in the queue, and the letter remembered as answered. The letter itself is gone.
pub(super) async fn keep(desk: &Desk, call: Call, seen: Vec<u8>, len: u64) -> Result<Option<Vec<u8>>, Reply> {
    let Some((caller, to)) = call.arriving.author() else {
        return Err(Reply::new(451, 3, 0, "internal error"));
    };
    let now = desk.now();
    let text = echo::answer(&Echoed {
        own: &desk.identity.onion(),
        to: &to,
        header: &seen,
        len,
        received: call.received,
        took: call.begun.elapsed(),
        now,
        random: desk.draw(),
    });
    let body = desk.store.letter(&text).await.map_err(|error| desk.disk_reply(&error))?;
    let receipt = receive::receipt(desk, &call.arriving)?;
    let remembered = call.arriving.id().map(|id| echo::answered_id(&id));
    let (id, size) = (LetterId(desk.draw()), text.len() as u64);
    let from = LocalPart::parse(ECHO).expect("echo is an atom");
    let answered = desk.store.write(move |tx| {
        if let Some(name) = remembered
            && tx.seen().contains(&caller, &name)?
        {
            return Ok(true);
        }
        let waiting = tx.queue().list::<Entry>()?;
        if waiting.iter().filter(|(.., entry)| entry.answer).count() >= WAITING_MAX {
            return Ok(false);
        }
        if let Some(name) = remembered {
            tx.seen().insert(&caller, &name, now)?;
        }
        let letter = tx.letters().add(&body, b"")?;
        tx.queue().push(letter, &Entry::answer(letter, id, from.clone(), to.clone(), size, now))?;
        Ok(true)
    });
    match answered.await {
        Ok(true) => {
            desk.trouble.clear("disk");
            desk.orders.look();
            Ok(receipt.map(crate::model::statement::Verified::into_bytes))
        }
        Ok(false) => {
            Err(Reply::new(450, 3, 2, "too many answers of echo@ wait to be sent; try again in an hour"))
        }
        Err(error) => Err(desk.disk_reply(&error)),
    }
}

/// Who has written to `echo@` lately. In memory: a node that starts anew has forgotten it.
#[derive(Debug, Default)]
pub struct Callers(Mutex<BTreeMap<OnionAddress, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Instant,
    count: u32,
}

impl Callers {
    /// Counts a letter of this caller, or says how long it should wait.
    fn admit(&self, caller: OnionAddress, now: Instant) -> Result<(), Duration> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.contains_key(&caller) && callers.len() >= CALLERS_MAX {
            callers.retain(|_, window| now < window.begun + WINDOW);
            if callers.len() >= CALLERS_MAX {
                let soonest = callers.values().map(|window| window.begun).min().unwrap_or(now);
                return Err(soonest + WINDOW - now);
            }
        }
        let window = callers.entry(caller).or_insert(Window { begun: now, count: 0 });
        if now >= window.begun + WINDOW {
            *window = Window { begun: now, count: 0 };
        }
        if window.count >= ECHOES_MAX {
            return Err(window.begun + WINDOW - now);
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onion::HostKey;

    fn caller(n: u32) -> OnionAddress {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        HostKey::from_seed(seed).address()
    }

    #[test]
    fn each_caller_has_ten_an_hour_and_the_callers_are_bounded() {
        let (callers, start) = (Callers::default(), Instant::now());
        for _ in 0..ECHOES_MAX {
            callers.admit(caller(0), start).unwrap();
        }
        let later = start + Duration::from_secs(600);
        assert_eq!(callers.admit(caller(0), later), Err(WINDOW - Duration::from_secs(600)));
        for n in 1..CALLERS_MAX as u32 {
            callers.admit(caller(n), later).unwrap();
        }
        assert_eq!(callers.admit(caller(5000), later), Err(WINDOW - Duration::from_secs(600)), "no place");
        callers.admit(caller(1), later).unwrap();
        // The first one's hour is over: its place is free, for itself or for another.
        callers.admit(caller(5000), start + WINDOW).unwrap();
        assert_eq!(callers.0.lock().unwrap().len(), CALLERS_MAX);
        callers.admit(caller(1), later + WINDOW).unwrap();
    }
}

//! Runs with a script, for what a random week cannot reach: the deadline of thirty days, on both of its sides, and
//! every step of collecting.

use crate::in_paused_time;
use crate::life::{Life, Run};
use crate::world::{AfterCrash, NodeId, days, hours, minutes};
use onionskin::node::holders::Terms;
use std::time::Duration;
use tokio::time::Instant;

/// How many operations of a disk apart the power goes while letters are collected, and how often.
const CUT_STEP: u64 = 3;
const CUTS: u64 = 30;

/// A scenario and its name.
type Named = (&'static str, fn() -> Run);

/// All of them.
pub(crate) const ALL: [Named; 3] = [
    ("gone for good", gone_for_good),
    ("back on day 29", back_on_day_29),
    ("power goes while collecting", power_goes_while_collecting),
];

/// Ann and Bob, who have exchanged letters.
async fn acquainted(seed: u64) -> (Life, NodeId, NodeId) {
    let mut life = Life::new(seed, false);
    let ann = life.join(0).await;
    let bob = life.join(1).await;
    life.wait_until(Instant::now() + minutes(5)).await;
    life.write_to(ann, bob).await;
    life.write_to(bob, ann).await;
    life.wait_until(Instant::now() + hours(1)).await;
    (life, ann, bob)
}

/// Bob's machine breaks and never comes back: what Ann wrote is returned, in one report each, and only then. Her own
/// machine loses its power every few days meanwhile.
fn gone_for_good() -> Run {
    in_paused_time(async {
        let (mut life, ann, bob) = acquainted(40).await;
        life.stop(bob).await;
        life.wait_until(Instant::now() + minutes(10)).await;
        for _ in 0..3 {
            life.write_to(ann, bob).await;
            life.wait_until(Instant::now() + days(1)).await;
        }
        for _ in 0..12 {
            life.world.crash(ann, AfterCrash::Lost).await;
            life.wait_until(Instant::now() + hours(7)).await;
            life.restart(ann).await;
            life.wait_until(Instant::now() + hours(53)).await;
            life.look(ann).await;
        }
        life.wait_until(Instant::now() + days(7)).await;
        let waiting = life.waiting().await;
        life.expect(waiting == 0, "after forty days nothing waits for one who is gone");
        let run = life.count().await;
        run.expecting(5, 2, 3)
    })
}

/// Bob comes back on the 29th day: everything is delivered, nothing returned.
fn back_on_day_29() -> Run {
    in_paused_time(async {
        let (mut life, ann, bob) = acquainted(41).await;
        life.stop(bob).await;
        life.wait_until(Instant::now() + minutes(10)).await;
        for _ in 0..3 {
            life.write_to(ann, bob).await;
        }
        life.wait_until(Instant::now() + days(29)).await;
        let waiting = life.waiting().await;
        life.expect(waiting == 3, "after 29 days three letters wait");
        life.restart(bob).await;
        life.wait_until(Instant::now() + minutes(2)).await;
        let waiting = life.waiting().await;
        life.expect(waiting == 0, "two minutes after Bob's return nothing waits");
        life.wait_until(Instant::now() + days(11)).await;
        let run = life.count().await;
        run.expecting(5, 5, 0)
    })
}

/// Carol keeps letters for Bob, who is never there when Ann is. Each time he collects, his power goes a few operations
/// of his disk later than the time before; what Ann wrote must be there when he is back, though she is not.
fn power_goes_while_collecting() -> Run {
    in_paused_time(async {
        let (mut life, ann, bob) = acquainted(42).await;
        let carol = life.join(2).await;
        let (holder, guest) = (life.world.onion(carol), life.world.onion(bob));
        let asked = life.world.node(bob).desk.ask_holder(holder, Terms::default()).await;
        life.expect(asked.is_ok(), "Carol is asked");
        life.wait_until(Instant::now() + minutes(10)).await;
        let granted = life.world.node(carol).desk.grant(guest, Terms::default()).await;
        life.expect(granted.is_ok(), "Carol says yes");
        life.wait_until(Instant::now() + minutes(10)).await;
        life.write_to(bob, ann).await;
        life.wait_until(Instant::now() + minutes(10)).await;
        life.look(bob).await;
        life.stop(bob).await;
        for cut in 0..CUTS {
            for _ in 0..2 {
                life.write_to(ann, bob).await;
            }
            life.wait_until(Instant::now() + minutes(20)).await;
            life.stop(ann).await;
            let before = life.ledger.shown(bob);
            life.restart(bob).await;
            life.world.cut_power_at(bob, cut * CUT_STEP);
            life.wait_until(Instant::now() + minutes(3)).await;
            life.world.crash(bob, AfterCrash::Lost).await;
            life.restart(bob).await;
            life.wait_until(Instant::now() + minutes(3)).await;
            life.look(bob).await;
            let came = life.ledger.shown(bob) == before + 2;
            life.expect(
                came,
                "both letters come from Carol, though Bob's power went while he collected them",
            );
            life.restart(ann).await;
            life.wait_until(Instant::now() + hours(1)).await;
            life.look(bob).await;
            life.stop(bob).await;
            life.wait_until(Instant::now() + Duration::from_secs(60)).await;
        }
        life.restart(bob).await;
        life.wait_until(Instant::now() + hours(6)).await;
        let waiting = life.waiting().await;
        life.expect(waiting == 0, "with all three there nothing waits");
        let letters = 3 + 2 * CUTS as usize;
        life.count().await.expecting(letters, letters, 0)
    })
}

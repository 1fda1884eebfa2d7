//! Runs with a script, for what a random week cannot reach: the deadline of thirty days, on both of its sides.

use crate::life::{Life, Run, in_paused_time};
use crate::world::{AfterCrash, NodeId, days, hours, minutes};
use tokio::time::Instant;

/// A scenario and its name.
type Named = (&'static str, fn() -> Run);

/// All of them.
pub(crate) const ALL: [Named; 2] = [("gone for good", gone_for_good), ("back on day 29", back_on_day_29)];

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

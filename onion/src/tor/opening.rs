//! From folders to a client that has a directory: tries for ever, and says meanwhile what blocks it.

use super::runtime::{Lifetime, client_runtime};
use super::{Client, Shared, service};
use crate::Stage;
use arti_client::status::{BlockageKind, BootstrapStatus};
use arti_client::{HasKind as _, TorClient};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A bootstrap that makes no progress for this long is begun anew: arti's own pauses grow to minutes.
const BOOTSTRAP_STALL: Duration = Duration::from_secs(30);
/// Between attempts to open the folders, which another process may still hold.
const OPEN_RETRY: Duration = Duration::from_secs(2);
/// How long a client that is replaced may take to end, which is only to be waited out if something hangs.
pub(super) const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) const NO_WAY_IN: &str = "the Tor network cannot be reached";

/// A client that has a directory. What arti believes of its progress is told only if `tells_belief`.
pub(super) async fn bootstrapped_client(shared: &Shared, tells_belief: bool) -> (Client, Lifetime) {
    loop {
        let (client, lifetime) = open_client(shared).await;
        let mut events = client.bootstrap_events();
        let bootstrap = client.bootstrap();
        tokio::pin!(bootstrap);
        let (mut progress, mut give_up) = (0.0, Instant::now() + BOOTSTRAP_STALL);
        loop {
            tokio::select! {
                biased;
                done = &mut bootstrap => match done {
                    Ok(()) => return (client.clone(), lifetime),
                    Err(error) => {
                        tracing::warn!(kind = ?error.kind(), "Tor could not be bootstrapped; trying again");
                        sleep(OPEN_RETRY).await;
                        break;
                    }
                },
                Some(status) = events.next() => {
                    let (stage, blocked) = bootstrap_stage(&status);
                    if tells_belief {
                        shared.tell(stage, blocked);
                    }
                    if status.as_frac() > progress {
                        progress = status.as_frac();
                        give_up = Instant::now() + BOOTSTRAP_STALL;
                    }
                }
                () = sleep_until(give_up) => {
                    tracing::debug!("the bootstrap stalled; beginning anew");
                    shared.tell(Stage::Connecting, Some(NO_WAY_IN));
                    break;
                }
            }
        }
    }
}

/// A client over our folders, once they can be had.
async fn open_client(shared: &Shared) -> (Client, Lifetime) {
    loop {
        service::purge(&shared.state_dir, &[]);
        let (runtime, lifetime) = client_runtime(&shared.runtime);
        let builder = TorClient::with_runtime(runtime).config(shared.config.clone());
        match builder.create_unbootstrapped_async().await {
            Ok(client) => return (client, lifetime),
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "Tor's folders cannot be used; trying again");
                let reason = format!("Tor's folders cannot be used ({})", error.kind());
                shared.tell(Stage::Starting, Some(&reason));
                sleep(OPEN_RETRY).await;
            }
        }
    }
}

/// The stage that arti's status means, and what blocks it in plain words.
fn bootstrap_stage(status: &BootstrapStatus) -> (Stage, Option<&'static str>) {
    /// Of arti's progress the first part counts the connection, the rest the directory.
    const CONNECTED: f32 = 0.15;
    let stage = match status.as_frac() {
        _ if status.ready_for_traffic() => Stage::Dialling,
        progress if progress < CONNECTED => Stage::Connecting,
        _ => Stage::Directory,
    };
    let blocked = status.blocked().map(|blockage| match blockage.kind() {
        BlockageKind::Offline => "this computer seems to be offline",
        BlockageKind::Filtering => "connections to the Tor network seem to be filtered",
        BlockageKind::ClockSkewed => "the clock of this computer is wrong",
        BlockageKind::CantBootstrap => "the directory of Tor relays cannot be fetched",
        _ => NO_WAY_IN,
    });
    (stage, blocked)
}

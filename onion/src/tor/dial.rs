//! One dial: isolation, retries, and whose fault a failure is.
//!
//! Promises: it ends by its deadline; streams to different peers share no circuit; it answers `NetworkDown` only when
//! no circuit can be extended either. Leaves repair to the keeper, whom it rings when in doubt.

use super::paths::Paths;
use super::{Client, Shared};
use crate::{DialError, OnionAddress, Stream};
use arti_client::config::BoolOrAuto;
use arti_client::{DataStream, ErrorKind, HasKind as _, IsolationToken, StreamPrefs};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a fresh circuit may take before the network counts as down; on the public network it takes 1–3 s.
pub(super) const CIRCUIT_WAIT_MAX: Duration = Duration::from_secs(10);
/// For so long one check of the network serves all dials: a queue may fail many at once.
const CHECK_REMEMBERED: Duration = Duration::from_secs(5);
/// One relay drawn at random may be down; so many at once hardly are.
const CHECK_TARGETS: usize = 2;
/// A circuit at hand opens a stream in one round trip, a few seconds at worst; after this long it counts as dead.
const AT_HAND_WAIT_MAX: Duration = Duration::from_secs(10);
/// Of a dial's time, at most one part in this many is given to a circuit at hand.
const AT_HAND_SHARE: u32 = 3;
/// Of a dial's time, one part in this many is kept for finding out why it failed.
const CHECK_SHARE: u32 = 4;
/// Between attempts when arti says that it is not ready yet, which lasts milliseconds.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A dial may find so many circuits that end beneath it; a peer that was killed leaves one, seldom two.
const ENDED_CIRCUITS_MAX: u32 = 4;

/// What a failed attempt says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Not ready yet, or a lost race: try again while there is time.
    Again,
    /// arti blames us. Either rightly, or the circuit ended just while a stream was opened on it, for which it has
    /// the same word (tor-proto's `NotConnected`, `NoSuchHop`): a few more attempts tell.
    EndedCircuit,
    /// The network answered that the peer is not there.
    Absent,
    /// The peer answered, and not with a stream.
    Refused,
    /// The peer or our own way into the network: only a fresh circuit tells which.
    PeerOrNetwork,
    /// Our own way into the network.
    Network,
    /// Something on our side.
    Ours,
}

fn verdict(kind: ErrorKind) -> Verdict {
    use ErrorKind as K;
    match kind {
        K::BootstrapRequired | K::TransientFailure | K::ReactorShuttingDown => Verdict::Again,
        K::OnionServiceNotFound | K::OnionServiceNotRunning => Verdict::Absent,
        K::OnionServiceMissingClientAuth | K::OnionServiceWrongClientAuth => Verdict::Refused,
        K::RemoteConnectionRefused | K::RemoteStreamClosed | K::RemoteStreamReset | K::RemoteStreamError => {
            Verdict::Refused
        }
        K::RemoteHostNotFound | K::ExitPolicyRejected | K::RelayTooBusy => Verdict::Refused,
        K::DirectoryExpired | K::ClockSkew | K::TorDirectoryUnusable => Verdict::Network,
        K::BadApiUsage => Verdict::EndedCircuit,
        K::Internal
        | K::InvalidStreamTarget
        | K::ForbiddenStreamTarget
        | K::OnionServiceAddressInvalid
        | K::InvalidConfig
        | K::FeatureDisabled
        | K::NotImplemented
        | K::LocalResourceExhausted
        | K::PersistentStateAccessFailed
        | K::KeystoreAccessFailed
        | K::ArtiShuttingDown => Verdict::Ours,
        // Everything about circuits, relays and time-outs, on the peer's side or ours.
        _ => Verdict::PeerOrNetwork,
    }
}

/// Opens a stream to `port` of `to` within `deadline`.
pub(super) async fn dial(
    shared: &Shared,
    to: OnionAddress,
    port: u16,
    deadline: Duration,
) -> Result<Stream, DialError> {
    let end = Instant::now() + deadline;
    let mut ready = shared.ready.subscribe();
    loop {
        let client = match timeout_at(end, ready.wait_for(Option::is_some)).await {
            Ok(Ok(client)) => client.clone().expect("waited for it"),
            Ok(Err(_)) => return Err(DialError::Ours("the transport has ended".into())),
            Err(_) => return Err(DialError::NetworkDown),
        };
        tokio::select! {
            biased;
            // The keeper replaces the client, which cannot end while somebody uses it: go on with the next.
            _ = ready.changed() => {}
            outcome = dial_with(shared, &client, (&to, port), deadline, end) => return outcome,
        }
    }
}

/// Dials with this client, and finds out whose fault a failure is.
async fn dial_with(
    shared: &Shared,
    client: &Client,
    (to, port): (&OnionAddress, u16),
    deadline: Duration,
    end: Instant,
) -> Result<Stream, DialError> {
    match by_path(shared, client, (to, port), deadline, end).await {
        Ok(stream) => Ok(Stream::new(stream)),
        Err(Verdict::Absent) => Err(DialError::Absent),
        Err(Verdict::Refused) => Err(DialError::Refused),
        Err(Verdict::Ours | Verdict::EndedCircuit) => {
            Err(DialError::Ours("the Tor client could not serve the request".into()))
        }
        Err(Verdict::Network) => {
            shared.doubt.notify_one();
            Err(DialError::NetworkDown)
        }
        Err(Verdict::Again | Verdict::PeerOrNetwork) => {
            // A check that does not end in time is itself a sign of a network that does not move.
            let alive = timeout_at(end, shared.check.alive(client)).await.unwrap_or(false);
            if !alive {
                shared.doubt.notify_one();
            }
            Err(if alive { DialError::Absent } else { DialError::NetworkDown })
        }
    }
}

/// Dials by the peer's path; if that was in use and leads nowhere, by a new one.
async fn by_path(
    shared: &Shared,
    client: &Client,
    (to, port): (&OnionAddress, u16),
    deadline: Duration,
    end: Instant,
) -> Result<DataStream, Verdict> {
    let host = to.host();
    let last = end - deadline / CHECK_SHARE;
    loop {
        let (path, used) = shared.paths.to(to);
        let until = if used {
            last.min(Instant::now() + AT_HAND_WAIT_MAX.min(deadline / AT_HAND_SHARE))
        } else {
            last
        };
        let attempted = attempt(client, (&host, port), &prefs(path), until).await;
        match &attempted {
            Ok(_) => shared.paths.used(&path),
            Err(Verdict::Absent | Verdict::Refused) => {}
            Err(_) => shared.paths.leave(to),
        }
        if !(used && matches!(attempted, Err(Verdict::PeerOrNetwork | Verdict::EndedCircuit))) {
            return attempted;
        }
    }
}

fn prefs<I: arti_client::isolation::Isolation>(isolation: I) -> StreamPrefs {
    let mut prefs = StreamPrefs::new();
    prefs.connect_to_onion_services(BoolOrAuto::Explicit(true)).set_isolation(isolation);
    prefs
}

/// Dials, again and again while arti is only not ready, until `end`; a time-out counts as `PeerOrNetwork`.
///
/// A circuit that ended beneath the attempt is left alone too: the next attempt builds another.
async fn attempt(
    client: &Client,
    to: (&str, u16),
    prefs: &StreamPrefs,
    end: Instant,
) -> Result<DataStream, Verdict> {
    let mut ended_circuits = 0;
    loop {
        let error = match timeout_at(end, client.connect_with_prefs(to, prefs)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => return Err(Verdict::PeerOrNetwork),
        };
        let verdict = verdict(error.kind());
        tracing::debug!(kind = ?error.kind(), ?verdict, "a dial failed");
        ended_circuits += u32::from(verdict == Verdict::EndedCircuit);
        let again = match verdict {
            Verdict::Again => true,
            Verdict::EndedCircuit => ended_circuits <= ENDED_CIRCUITS_MAX,
            _ => false,
        };
        if !again || Instant::now() + RETRY_PAUSE >= end {
            return Err(verdict);
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Whether the service at `own`, which this client hosts, answers over the network.
///
/// Asks for a port that is never served: the refusal proves the way there and back, and troubles no listener. A
/// `fresh` probe fetches the descriptor's introduction anew; otherwise a circuit still open may serve.
pub(super) async fn own_service_answers(
    client: &Client,
    paths: &Paths,
    own: &OnionAddress,
    fresh: bool,
    wait: Duration,
) -> bool {
    let host = own.host();
    let prefs = if fresh { prefs(IsolationToken::new()) } else { prefs(paths.to(own).0) };
    let to = (host.as_str(), super::service::UNSERVED_PORT);
    let answers =
        matches!(attempt(client, to, &prefs, Instant::now() + wait).await, Ok(_) | Err(Verdict::Refused));
    if !answers {
        paths.leave(own);
    }
    answers
}

/// Whether the network moves; one check at a time, remembered for a short while.
#[derive(Default)]
pub(super) struct NetworkCheck {
    last: Mutex<Option<(Instant, bool)>>,
}

impl NetworkCheck {
    /// Extends a circuit anew, unless somebody did just now.
    pub(super) async fn alive(&self, client: &Client) -> bool {
        let mut last = self.last.lock().await;
        if let Some((when, alive)) = *last
            && when.elapsed() < CHECK_REMEMBERED
        {
            return alive;
        }
        let alive = fresh_circuit(client).await;
        *last = Some((Instant::now(), alive));
        alive
    }

    /// Makes the next check a real one: the client is another now.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

/// Whether a circuit can be extended to one of a few relays drawn at random, by the way that every dial takes.
///
/// Only an extension proves anything: a mere request for a circuit may be served by one that was built long ago.
async fn fresh_circuit(client: &Client) -> bool {
    let (Ok(pool), Ok(dirmgr)) = (client.hs_circ_pool(), client.dirmgr()) else { return false };
    let Ok(netdir) = dirmgr.netdir(tor_netdir::Timeliness::Timely) else { return false };
    let relays: Vec<_> = netdir.relays().collect();
    if relays.is_empty() {
        return false;
    }
    let targets = (0..CHECK_TARGETS).map(|_| &relays[super::random_u64() as usize % relays.len()]);
    let extended = targets.map(|target| Box::pin(pool.get_or_launch_client_dir(&netdir, target.clone())));
    matches!(timeout(CIRCUIT_WAIT_MAX, futures::future::select_ok(extended)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_verdict() {
        use ErrorKind as K;
        for (kind, expected) in [
            (K::BootstrapRequired, Verdict::Again),
            (K::TransientFailure, Verdict::Again),
            (K::OnionServiceNotFound, Verdict::Absent),
            (K::OnionServiceConnectionFailed, Verdict::PeerOrNetwork),
            (K::RemoteNetworkTimeout, Verdict::PeerOrNetwork),
            (K::TorNetworkTimeout, Verdict::PeerOrNetwork),
            (K::TorAccessFailed, Verdict::PeerOrNetwork),
            (K::CircuitCollapse, Verdict::PeerOrNetwork),
            (K::RemoteConnectionRefused, Verdict::Refused),
            (K::RemoteStreamClosed, Verdict::Refused),
            (K::OnionServiceMissingClientAuth, Verdict::Refused),
            (K::DirectoryExpired, Verdict::Network),
            (K::ClockSkew, Verdict::Network),
            (K::BadApiUsage, Verdict::EndedCircuit),
            (K::OnionServiceAddressInvalid, Verdict::Ours),
            (K::LocalResourceExhausted, Verdict::Ours),
        ] {
            assert_eq!(verdict(kind), expected, "{kind:?}");
        }
    }
}

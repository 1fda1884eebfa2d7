//! Holders that lie. Their nodes are the real program; the lie is told outside of it, on the wire between a drop and
//! who comes to it, or behind the node's back in its own store. The depositor always hears that its letter was taken
//! (but from who claims to be full), for the promise is signed before the lie begins.

use crate::world::Between;
use onion::{
    Bootstrap, BoxFuture, DialError, HostKey, ListenError, Listener, NetworkTime, OnionAddress, Stream,
    Transport,
};
use onionskin::node::Node;
use onionskin::store::held::BoxRecord;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf,
    WriteHalf, split,
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// What a lying holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Forgets letters soon after it took them.
    Loses,
    /// Says on three days of four that it holds nothing.
    Delays,
    /// Says that it has forgotten what was collected, and lists it again for ever.
    Replays,
    /// Gives other bytes than it took.
    Corrupts,
    /// Lists letters and never gives one.
    Withholds,
    /// Claims to be full.
    Full,
}

/// All of them, in the order in which people are dealt them.
pub(crate) const ALL: [Lie; 6] =
    [Lie::Loses, Lie::Delays, Lie::Replays, Lie::Corrupts, Lie::Withholds, Lie::Full];

/// On one day of so many a holder that delays tells the truth.
const TRUE_DAY: u64 = 4;
/// Streams that wait at a lying drop.
const BACKLOG: usize = 16;
/// Bytes under way between the lie and the node.
const UNDER_WAY: usize = 64 * 1024;

impl Lie {
    /// What stands between the node and the network, if the lie is told there.
    pub(crate) fn between(self) -> Option<Between> {
        match self {
            Self::Loses | Self::Full => None,
            Self::Delays => Some(|network| Arc::new(Lying { lie: Self::Delays, network })),
            Self::Replays => Some(|network| Arc::new(Lying { lie: Self::Replays, network })),
            Self::Corrupts => Some(|network| Arc::new(Lying { lie: Self::Corrupts, network })),
            Self::Withholds => Some(|network| Arc::new(Lying { lie: Self::Withholds, network })),
        }
    }

    /// What is done behind the node's back, now and then.
    pub(crate) async fn see_to(self, node: &Arc<Node>) {
        if !matches!(self, Self::Loses | Self::Full) {
            return;
        }
        let done = node.desk.store().write(move |tx| {
            for (mailbox, record) in tx.held().mailboxes()? {
                if self == Self::Full {
                    tx.held().put_mailbox(mailbox, &BoxRecord { bytes: 0, ..record })?;
                    continue;
                }
                let (letters, _) = tx.held().list(mailbox, 0, None, usize::MAX)?;
                let letters: Vec<_> = letters.iter().map(|held| held.id).collect();
                tx.held().confirm(mailbox, 0, &letters)?;
            }
            Ok(())
        });
        // A disk that has lost its power takes no lies.
        let _ = done.await;
    }
}

/// A network at whose drops a lie is told.
struct Lying {
    lie: Lie,
    network: Arc<dyn Transport>,
}

impl Transport for Lying {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        self.network.dial(to, port, deadline)
    }

    fn leave_path(&self, to: OnionAddress) {
        self.network.leave_path(to);
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        self.network.listen(key, port)
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let drop = self.network.host(key, port).await?;
            let (sender, incoming) = mpsc::channel(BACKLOG);
            let task = tokio::spawn(stand_between(drop, sender, self.lie, self.network.clone()));
            Ok(Listener::new(incoming, Box::new(Ends(task.abort_handle()))))
        })
    }

    fn network_time(&self) -> Option<NetworkTime> {
        self.network.network_time()
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.network.bootstrap()
    }
}

/// Ends a task when dropped.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn stand_between(
    mut drop: Listener,
    node: mpsc::Sender<Stream>,
    lie: Lie,
    network: Arc<dyn Transport>,
) {
    let mut conversations = JoinSet::new();
    loop {
        let caller = tokio::select! {
            biased;
            Some(_) = conversations.join_next() => continue,
            caller = drop.accept() => caller,
        };
        let Some(caller) = caller else { return };
        let (near, far) = tokio::io::duplex(UNDER_WAY);
        if node.send(Stream::new(near)).await.is_err() {
            return;
        }
        let network = network.clone();
        conversations.spawn(async move {
            let (from_caller, to_caller) = split(caller);
            let (from_node, mut to_node) = split(far);
            let to_caller = Mutex::new(to_caller);
            // Whichever way ends first ends both.
            let _ = tokio::select! {
                biased;
                up = hear(BufReader::new(from_caller), &mut to_node, &to_caller, lie, &network) => up,
                down = answer(BufReader::new(from_node), &to_caller, lie) => down,
            };
            let _ = to_node.shutdown().await;
            let _ = to_caller.lock().await.shutdown().await;
        });
    }
}

/// What the caller says goes on to the node, but for what the lie is about.
async fn hear<S: AsyncRead + AsyncWrite>(
    mut caller: BufReader<ReadHalf<Stream>>,
    node: &mut WriteHalf<S>,
    to_caller: &Mutex<WriteHalf<Stream>>,
    lie: Lie,
    network: &Arc<dyn Transport>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if caller.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split_ascii_whitespace();
        let lied = match (lie, words.next().unwrap_or_default()) {
            (Lie::Delays, "HELD") if !is_true_day(network) => Some("250 2.0.0 Complete\r\n"),
            (Lie::Replays, "DROP") => Some("250 2.0.0 Dropped\r\n"),
            (Lie::Withholds, "TAKE") => Some(""),
            _ => None,
        };
        if let Some(lied) = lied {
            let mut caller = to_caller.lock().await;
            caller.write_all(lied.as_bytes()).await?;
            caller.flush().await?;
            continue;
        }
        let body = match words.next() {
            Some(len) if text.starts_with("BDAT ") => len.parse().unwrap_or(0),
            _ => 0,
        };
        node.write_all(&line).await?;
        tokio::io::copy_buf(&mut (&mut caller).take(body), node).await?;
        node.flush().await?;
    }
}

/// What the node answers goes back to the caller; who corrupts changes the last byte of every stretch of a letter.
async fn answer<S: AsyncRead + AsyncWrite>(
    mut node: BufReader<ReadHalf<S>>,
    caller: &Mutex<WriteHalf<Stream>>,
    lie: Lie,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if node.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let len = text
            .trim_end()
            .strip_suffix(" octets follow")
            .and_then(|text| text.rsplit(' ').next()?.parse().ok());
        let mut stretch = vec![0; len.unwrap_or(0)];
        node.read_exact(&mut stretch).await?;
        if let (Lie::Corrupts, Some(last)) = (lie, stretch.last_mut()) {
            *last ^= 1;
        }
        let mut caller = caller.lock().await;
        caller.write_all(&line).await?;
        caller.write_all(&stretch).await?;
        caller.flush().await?;
    }
}

/// Whether a holder that delays tells the truth today.
fn is_true_day(network: &Arc<dyn Transport>) -> bool {
    let time = network.network_time().and_then(|time| time.valid_until.duration_since(UNIX_EPOCH).ok());
    time.is_some_and(|time| (time.as_secs() / 86_400).is_multiple_of(TRUE_DAY))
}

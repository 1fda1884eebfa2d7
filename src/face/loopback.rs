//! Listening on loopback for mail programs of this user, and nobody else.
//!
//! Where the system tells who owns the other end of a connection (Linux: `/proc/net/tcp`), another user's connection
//! is closed at once. Elsewhere the app password is the only guard.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Connections whose owners are looked up at once. The kernel writes its whole table for each look, so that a thousand
/// connections would cost a million rows if each had a look of its own,
const LOOK_UP_MAX: usize = 256;
/// and after each there is a pause so many times as long as it took, so that it costs a tenth of a core at most,
const LOOK_PAUSE: u32 = 10;
/// and this long at most, so that nobody notices.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(60);

/// A listener on 127.0.0.1 that lets only this user in.
pub struct Loopback {
    listener: TcpListener,
    own_uid: Option<u32>,
    waiting: Mutex<Waiting>,
}

/// What was accepted and not yet given out. It is kept here so that nobody is lost who asks for a connection and is
/// then stopped.
#[derive(Default)]
struct Waiting {
    /// Of whom it is not known whose they are.
    unknown: Vec<(TcpStream, SocketAddr)>,
    /// Of this user.
    let_in: VecDeque<TcpStream>,
    /// When the next look may be.
    again: Option<Instant>,
}

impl Loopback {
    /// Binds `port` on 127.0.0.1; 0 takes any free one.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let own_uid = fs::metadata("/proc/self").ok().map(|meta| meta.uid());
        Ok(Self { listener, own_uid, waiting: Mutex::default() })
    }

    /// The port that was bound.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// The next connection of this user. Others are closed without a word and not returned.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            if let Some(stream) = self.waiting().let_in.pop_front() {
                return Ok(stream);
            }
            if self.waiting().unknown.is_empty() {
                let first = self.listener.accept().await?;
                self.waiting().unknown.push(first);
            }
            let again = self.waiting().again;
            if let Some(again) = again {
                tokio::time::sleep_until(again).await;
            }
            self.accept_all().await;
            self.look();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connections that can be accepted without waiting.
    async fn accept_all(&self) {
        std::future::poll_fn(|cx| {
            let mut waiting = self.waiting();
            while waiting.unknown.len() < LOOK_UP_MAX {
                // An error comes again at the next turn, and is told then.
                let Poll::Ready(Ok(next)) = self.listener.poll_accept(cx) else { break };
                waiting.unknown.push(next);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Lets those in that are of this user, and closes the others.
    fn look(&self) {
        let begun = Instant::now();
        let mut table = self.own_uid.and_then(|_| Connections::open().ok());
        let mut waiting = self.waiting();
        for (stream, peer) in std::mem::take(&mut waiting.unknown) {
            if !self.is_ours(&stream, peer, table.as_mut()) {
                tracing::warn!("refused a connection of another user of this machine");
            } else if stream.set_nodelay(true).is_ok() {
                waiting.let_in.push_back(stream);
            }
        }
        waiting.again = Some(Instant::now() + (begun.elapsed() * LOOK_PAUSE).min(LOOK_PAUSE_MAX));
    }

    fn is_ours(&self, stream: &TcpStream, peer: SocketAddr, table: Option<&mut Connections>) -> bool {
        // Where the system tells no owners, the password alone holds.
        let Some(own) = self.own_uid else { return true };
        let (Some(table), SocketAddr::V4(peer), Ok(SocketAddr::V4(local))) =
            (table, peer, stream.local_addr())
        else {
            return false;
        };
        // A connection that is gone already has no row; it is of no use to anyone.
        table.owner(peer, local) == Some(own)
    }
}

/// The system's connections, read no farther than they are looked for: the kernel walks its table of all sockets for
/// them, which takes milliseconds where that table is large. Those of programs that speak IPv4 through a socket of IPv6
/// stand in a table of their own, which is read last, and is not there where there is no IPv6.
struct Connections {
    /// Local end, remote end and uid of the rows that were read.
    rows: HashMap<(String, String), u32>,
    /// The beginning of the line that is not whole yet.
    rest: Vec<u8>,
    /// What is still to be read, the next one last.
    files: Vec<fs::File>,
}

impl Connections {
    fn open() -> io::Result<Self> {
        let first = fs::File::open("/proc/self/net/tcp")?;
        let second = fs::File::open("/proc/self/net/tcp6").ok();
        let files = second.into_iter().chain([first]).collect();
        Ok(Self { rows: HashMap::new(), rest: Vec::new(), files })
    }

    /// The uid of the connection's other end, if the connection is there.
    fn owner(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
        let mapped =
            |address| format!("{:016X}{:08X}{}", 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), hex(address));
        let wanted = [(hex(from), hex(to)), (mapped(from), mapped(to))];
        loop {
            if let Some(uid) = wanted.iter().find_map(|ends| self.rows.get(ends)) {
                return Some(*uid);
            }
            if !self.read_on() {
                return None;
            }
        }
    }

    /// Reads a piece more; whether there was one.
    fn read_on(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        while let Some(file) = self.files.last_mut() {
            match file.read(&mut piece) {
                Ok(len) if len > 0 => {
                    self.take(&piece[..len]);
                    return true;
                }
                _ => drop(self.files.pop()),
            }
        }
        false
    }

    /// Takes the lines that are whole.
    fn take(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            // Number, the two ends, state, queues, timer, retransmits, uid.
            let mut columns = line.split_ascii_whitespace().skip(1);
            let ends = columns.next().zip(columns.next());
            let uid = columns.nth(4).and_then(|uid| uid.parse().ok());
            if let (Some((from, to)), Some(uid)) = (ends, uid) {
                self.rows.insert((from.to_owned(), to.to_owned()), uid);
            }
        }
    }
}

/// An address as `/proc/net/tcp` writes it: the four bytes in the machine's order, then the port.
fn hex(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0477 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:0477 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0100007F:0477 0100007F:C350 01 00000000:00000000 00:00000000 00000000     7        0 3 1 0 20 4 30 10 -1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owner_of_the_callers_end_is_found() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let owner = |table: &str, from, to| {
            let mut read = Connections { rows: HashMap::new(), rest: Vec::new(), files: Vec::new() };
            for piece in table.as_bytes().chunks(7) {
                read.take(piece);
            }
            read.owner(from, to)
        };
        assert_eq!(owner(TABLE, at(50000), at(1143)), Some(1001));
        assert_eq!(owner(TABLE, at(50001), at(1143)), None);
        assert_eq!(owner("", at(50000), at(1143)), None);
        let mapped = TABLE.replace("0100007F:", "0000000000000000FFFF00000100007F:");
        assert_eq!(owner(&mapped, at(50000), at(1143)), Some(1001));
    }

    #[tokio::test]
    async fn this_user_is_let_in_through_a_socket_of_both_families() {
        let loopback = Loopback::bind(0).await.unwrap();
        let port = loopback.port().unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port));
        let Ok(socket) = tokio::net::TcpSocket::new_v6() else { return };
        let (accepted, called) = tokio::join!(loopback.accept(), socket.connect(to));
        assert!(accepted.is_ok() && called.is_ok());
    }

    #[tokio::test]
    async fn this_user_is_let_in() {
        let loopback = Loopback::bind(0).await.unwrap();
        let port = loopback.port().unwrap();
        let caller = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let (accepted, called) = tokio::join!(loopback.accept(), caller);
        assert!(accepted.is_ok() && called.is_ok());
    }
}

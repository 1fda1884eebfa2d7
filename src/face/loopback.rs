//! Listening on loopback for mail programs of this user, and nobody else.
//!
//! Where the system tells who owns the other end of a connection (Linux: `/proc/net/tcp`), another user's connection
//! is closed at once. Elsewhere the app password is the only guard.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt as _;
use tokio::net::{TcpListener, TcpStream};

/// A listener on 127.0.0.1 that lets only this user in.
pub struct Loopback {
    listener: TcpListener,
    own_uid: Option<u32>,
}

impl Loopback {
    /// Binds `port` on 127.0.0.1; 0 takes any free one.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let own_uid = fs::metadata("/proc/self").ok().map(|meta| meta.uid());
        Ok(Self { listener, own_uid })
    }

    /// The port that was bound.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// The next connection of this user. Others are closed without a word and not returned.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            if self.is_ours(&stream, peer) {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            tracing::warn!("refused a connection of another user of this machine");
        }
    }

    fn is_ours(&self, stream: &TcpStream, peer: SocketAddr) -> bool {
        let (Some(own), SocketAddr::V4(peer), Ok(SocketAddr::V4(local))) =
            (self.own_uid, peer, stream.local_addr())
        else {
            return true;
        };
        let Ok(table) = fs::read_to_string("/proc/self/net/tcp") else { return true };
        // A connection that is gone already has no row; it is of no use to anyone.
        owner(&table, peer, local) == Some(own)
    }
}

/// The uid in the row of the connection whose local end is `from` and whose remote end is `to`.
fn owner(table: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    let (from, to) = (hex(from), hex(to));
    table.lines().skip(1).find_map(|row| {
        let mut fields = row.split_ascii_whitespace().skip(1);
        let matches = fields.next()? == from && fields.next()? == to;
        // After the two addresses: state, queues, timer, retransmits, uid.
        matches.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
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
        assert_eq!(owner(TABLE, at(50000), at(1143)), Some(1001));
        assert_eq!(owner(TABLE, at(50001), at(1143)), None);
        assert_eq!(owner("", at(50000), at(1143)), None);
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

//! Listening on loopback for mail programs of this user, and nobody else.
//!
//! Where the system tells who owns the other end of a connection ([`owners`]), another user's connection is closed at
//! once. Elsewhere the app password is the only guard.

mod owners;

use owners::Owners;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};

/// A listener on 127.0.0.1 that lets only this user in.
pub struct Loopback {
    listener: TcpListener,
    owners: Option<Owners>,
}

impl Loopback {
    /// Binds `port` on 127.0.0.1; 0 takes any free one.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let owners = Owners::of(&listener).inspect_err(|error| {
            tracing::warn!(
                "the system does not tell whose a connection is ({error}): only passwords keep others out"
            );
        });
        Ok(Self { listener, owners: owners.ok() })
    }

    /// The port that was bound.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// The next connection of this user. Others are closed without a word and not returned.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            if !self.is_ours(&stream, peer) {
                tracing::warn!("refused a connection of another user of this machine");
            } else if stream.set_nodelay(true).is_ok() {
                return Ok(stream);
            }
        }
    }

    fn is_ours(&self, stream: &TcpStream, peer: SocketAddr) -> bool {
        let Some(owners) = &self.owners else { return true };
        // A connection that is gone already has no owner; it is of no use to anyone.
        stream.local_addr().and_then(|local| owners.is_ours(peer, local)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Whose the connections of this machine are: sock_diag(7), one question for one connection. The table in
//! `/proc/net/tcp` says the same, but the kernel writes all of it for every look: milliseconds on a busy machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Asks the system whether connections are of this user.
pub(super) struct Owners {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    asks: std::sync::Mutex<linux::SockDiag>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Owners {
    /// Errs where the system does not tell, which is found out by asking for this listener of our own.
    pub(super) fn of(own: &TcpListener) -> io::Result<Self> {
        let owners = Self { asks: std::sync::Mutex::new(linux::SockDiag::open()?) };
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        if !owners.is_ours(own.local_addr()?, nobody)? {
            return Err(io::Error::other("our own socket is said to be somebody else's"));
        }
        Ok(owners)
    }

    /// Whether the end `from` of the connection to `to` is of this user. Errs with `NotFound` if there is none.
    pub(super) fn is_ours(&self, from: SocketAddr, to: SocketAddr) -> io::Result<bool> {
        let mut asks = self.asks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(asks.owner(from, to)? == rustix::process::geteuid().as_raw())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Owners {
    /// This system does not tell.
    pub(super) fn of(_own: &TcpListener) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never asked.
    pub(super) fn is_ours(&self, _from: SocketAddr, _to: SocketAddr) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
    use netlink_packet_sock_diag::{AF_INET, IPPROTO_TCP, SockDiagMessage};
    use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
    use std::io;
    use std::net::SocketAddr;

    /// The cookie that stands for any (`INET_DIAG_NOCOOKIE`).
    const ANY_COOKIE: [u8; 8] = [0xff; 8];
    /// More than one answer takes.
    const ANSWER_MAX: usize = 4096;

    /// A socket on which the kernel answers. Connected to it, so that nobody else's answer comes in.
    pub(super) struct SockDiag {
        socket: Socket,
        asked: u32,
    }

    impl SockDiag {
        pub(super) fn open() -> io::Result<Self> {
            let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
            socket.bind_auto()?;
            socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
            // The answer is there when the question was sent: there is never anything to wait for.
            socket.set_non_blocking(true)?;
            Ok(Self { socket, asked: 0 })
        }

        /// The uid of the end `from`, whose other end is `to`, both IPv4. This finds those of programs that speak IPv4
        /// through a socket of IPv6, too: the kernel keeps them under the same name.
        pub(super) fn owner(&mut self, from: SocketAddr, to: SocketAddr) -> io::Result<u32> {
            self.asked = self.asked.wrapping_add(1);
            let mut header = NetlinkHeader::default();
            (header.flags, header.sequence_number) = (NLM_F_REQUEST, self.asked);
            let request = SockDiagMessage::InetRequest(InetRequest {
                family: AF_INET,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: StateFlags::all(),
                socket_id: SocketId {
                    source_port: from.port(),
                    destination_port: to.port(),
                    source_address: from.ip(),
                    destination_address: to.ip(),
                    interface_id: 0,
                    cookie: ANY_COOKIE,
                },
            });
            let mut question = NetlinkMessage::new(header, request.into());
            question.finalize();
            let mut bytes = vec![0; question.buffer_len()];
            question.serialize(&mut bytes);
            self.socket.send(&bytes, 0)?;
            loop {
                let mut answer = Vec::with_capacity(ANSWER_MAX);
                self.socket.recv(&mut answer, 0)?;
                let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                // One that was not taken in time, after an error between question and answer.
                if answer.header.sequence_number != self.asked {
                    continue;
                }
                return match answer.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
                        Ok(found.header.uid)
                    }
                    NetlinkPayload::Error(error) => Err(error.to_io()),
                    other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}"))),
                };
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_owner_of_the_callers_end_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let owners = Owners::of(&listener).unwrap();
        let to = listener.local_addr().unwrap();
        let caller = TcpStream::connect(to).await.unwrap();
        let from = caller.local_addr().unwrap();
        assert!(owners.is_ours(from, to).unwrap());
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert_eq!(owners.is_ours(nobody, to).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! Bytes to and from one client, with a limit on every wait.

use crate::protocol::imap::limits::{READ_LEN, WRITE_TIMEOUT};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Why a session ends without LOGOUT.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    /// The client closed the connection, or it broke.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The client did not take bytes that it had asked for.
    #[error("the client does not read")]
    Stuck,
    /// The client had not logged in, and its place was needed.
    #[error("another connection needed the place")]
    MadeRoom,
    /// A letter could not be read to its end after its first bytes were sent; only closing can tell the client.
    #[error("a letter broke off")]
    BrokenLetter,
}

/// The client's end of the connection.
pub(super) struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads what has come; `None` after `wait` without a byte. May be dropped and begun again without loss.
    pub(super) async fn read(&mut self, wait: Duration) -> Result<Option<&[u8]>, Gone> {
        self.buffer.resize(READ_LEN, 0);
        let read = timeout(wait, self.stream.read(&mut self.buffer)).await;
        match read {
            Err(_) => Ok(None),
            Ok(Ok(0)) => Err(Gone::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(len)) => Ok(Some(&self.buffer[..len])),
            Ok(Err(error)) => Err(Gone::Lost(error)),
        }
    }

    /// Writes everything and empties `bytes`.
    pub(super) async fn write(&mut self, bytes: &mut Vec<u8>) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        timeout(WRITE_TIMEOUT, self.stream.write_all(bytes)).await.map_err(|_| Gone::Stuck)??;
        timeout(WRITE_TIMEOUT, self.stream.flush()).await.map_err(|_| Gone::Stuck)??;
        bytes.clear();
        bytes.shrink_to(READ_LEN);
        Ok(())
    }

    /// Closes after the last byte, waiting no longer than for any other.
    pub(super) async fn close(&mut self) {
        // Nothing is left to say; an error changes nothing.
        drop(timeout(WRITE_TIMEOUT, self.stream.shutdown()).await);
    }
}

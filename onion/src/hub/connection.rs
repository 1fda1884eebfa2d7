//! `Connection`: one Unix socket connection, first in lines, then carrying a stream in frames.
//!
//! Promises that a stream whose peer went away without a proper end reads as reset, and bounded buffers. A large
//! write goes to the socket without being copied. Leaves the meaning of lines to `serve` and `client`.

use super::LINE_MAX;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::UnixStream;

/// Bytes read from the socket at once. What of a large frame is not among them goes straight to the program; a process
/// may have thousands of connections that say nothing.
const INPUT: usize = 4 * 1024;
/// Longest frame in bytes; a peer that announces more is not speaking this protocol.
const FRAME_MAX: usize = 256 * 1024;
const HEAD: usize = 4;
/// Tries to get past a full backlog: two seconds in all, more than a busy hub needs to accept a thousand.
const OPEN_TRIES: u32 = 400;
/// Time between these tries.
const OPEN_AGAIN: Duration = Duration::from_millis(5);

/// One end of one connection.
pub(super) struct Connection {
    socket: UnixStream,
    input: Box<[u8]>,
    /// What of `input` has arrived and is not yet used.
    unread: std::ops::Range<usize>,
    /// Bytes of the current frame still to come.
    frame_left: usize,
    /// The peer has ended the stream properly.
    ended: bool,
    /// Of frames accepted from the program, what the socket did not take yet.
    output: Vec<u8>,
    output_sent: usize,
    shut: bool,
}

impl Connection {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            input: vec![0; INPUT].into_boxed_slice(),
            unread: 0..0,
            frame_left: 0,
            ended: false,
            output: Vec::new(),
            output_sent: 0,
            shut: false,
        }
    }

    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            match UnixStream::connect(path).await {
                // Unlike TCP, a Unix socket whose backlog is full refuses at once instead of waiting.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < OPEN_TRIES => {
                    tries += 1;
                    tokio::time::sleep(OPEN_AGAIN).await;
                }
                opened => return opened.map(Self::new),
            }
        }
    }

    /// The next line, without its end; none at the end of the connection. Cancel safe.
    pub(super) async fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let unread = &self.input[self.unread.clone()];
            if let Some(len) = unread.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8(unread[..len].to_vec());
                self.unread.start += len + 1;
                return line.map(Some).map_err(|_| io::ErrorKind::InvalidData.into());
            }
            if unread.len() > LINE_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if std::future::poll_fn(|cx| self.poll_fill(cx)).await? == 0 {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    pub(super) async fn write_line(&mut self, line: &str) -> io::Result<()> {
        debug_assert!(
            line.len() <= LINE_MAX && !line.contains('\n'),
            "a line that the other side would refuse"
        );
        self.socket.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Sends a line and gives the answer.
    pub(super) async fn ask(&mut self, line: &str) -> io::Result<String> {
        self.write_line(line).await?;
        self.read_line().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads more into `input`; 0 at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let mut room = ReadBuf::new(&mut self.input[self.unread.end..]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.unread.end += read;
        Poll::Ready(Ok(read))
    }

    /// Reads the head of the next frame; false at the proper end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.unread.len() < HEAD {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        let mut head = [0; HEAD];
        head.copy_from_slice(&self.input[self.unread.start..][..HEAD]);
        self.unread.start += HEAD;
        let len = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if len > FRAME_MAX {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        self.frame_left = len;
        self.ended = len == 0;
        Poll::Ready(Ok(!self.ended))
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output_sent < self.output.len() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.output[self.output_sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output_sent += sent;
        }
        self.output.clear();
        self.output_sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 || this.ended {
            return Poll::Ready(Ok(()));
        }
        if this.frame_left == 0 && !ready!(this.poll_head(cx))? {
            return Poll::Ready(Ok(()));
        }
        if this.unread.is_empty() {
            // A large frame goes straight to the program.
            let len = this.frame_left.min(buf.remaining());
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(len));
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf.advance(read);
            this.frame_left -= read;
            return Poll::Ready(Ok(()));
        }
        let len = this.unread.len().min(this.frame_left).min(buf.remaining());
        buf.put_slice(&this.input[this.unread.start..][..len]);
        this.unread.start += len;
        this.frame_left -= len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.shut {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_output(cx))?;
        let body = &buf[..buf.len().min(FRAME_MAX)];
        let head = u32::try_from(body.len()).expect("a frame is shorter than FRAME_MAX").to_be_bytes();
        let parts = [IoSlice::new(&head), IoSlice::new(body)];
        let sent = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, &parts))?;
        // The head is out, at least in part: the rest of the frame is ours to send.
        this.output.extend_from_slice(&head[sent.min(HEAD)..]);
        this.output.extend_from_slice(&body[sent.saturating_sub(HEAD)..]);
        Poll::Ready(Ok(body.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_output(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            this.shut = true;
            this.output.extend_from_slice(&[0; HEAD]);
        }
        this.poll_output(cx)
    }
}

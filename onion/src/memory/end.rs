//! `End`: what a program holds of a stream on the memory network; reads, writes, and waits for bytes in flight.
//!
//! Promises what a Tor stream does, so that a program which works here works there: small writes stay here until
//! flushed (or until a cell is full), and letting go without shutdown loses them. Leaves order, bounds and faults
//! to `wire`.

use super::wire::{Wait, Wire};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that one relay cell carries (tor-spec, "Relay cells"): what an unflushed write keeps back at most.
const CELL: usize = 498;

/// One end of a stream.
pub(super) struct End {
    wire: Arc<Wire>,
    side: usize,
    /// Written and not flushed; shorter than a cell, except while the wire is full.
    held: Vec<u8>,
    read_timer: Timer,
    write_timer: Timer,
    /// The address counts as present while its streams are held.
    _member: Arc<dyn Send + Sync>,
}

impl End {
    /// The end of `side` (0 dialled, 1 was dialled).
    pub(super) fn new(wire: Arc<Wire>, side: usize, member: Arc<dyn Send + Sync>) -> Self {
        let (read_timer, write_timer) = (Timer::default(), Timer::default());
        Self { wire, side, held: Vec::new(), read_timer, write_timer, _member: member }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.wire.send(self.side, bytes, cx.waker()) {
                Ok(sent) => return Poll::Ready(sent),
                Err(wait) => ready!(self.write_timer.poll(wait, cx)),
            }
        }
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let sent = self.poll_send(cx, &held);
            self.held = held;
            self.held.drain(..ready!(sent)?);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let end = self.get_mut();
        loop {
            match end.wire.receive(end.side, buf, cx.waker()) {
                Ok(done) => return Poll::Ready(done),
                Err(wait) => ready!(end.read_timer.poll(wait, cx)),
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let end = self.get_mut();
        if end.held.len() + buf.len() > CELL {
            ready!(end.poll_send_held(cx))?;
        }
        if buf.len() > CELL {
            // The last cell stays behind: only a flush sends it.
            let whole = (buf.len() - 1) / CELL * CELL;
            return end.poll_send(cx, &buf[..whole]);
        }
        end.held.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send_held(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = self.get_mut();
        ready!(end.poll_send_held(cx))?;
        end.wire.close(end.side, true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.wire.abandon(self.side);
    }
}

/// A timer that is made when first needed and kept for the next wait.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll(&mut self, wait: Wait, cx: &mut Context<'_>) -> Poll<()> {
        let Wait::Until(at) = wait else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        ready!(sleep.as_mut().poll(cx));
        // Time has not got there although the timer says so: never spin, ask again in the next turn.
        if Instant::now() < at {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

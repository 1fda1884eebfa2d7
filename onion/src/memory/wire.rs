//! `Wire`: one stream's two lanes of bytes in flight, and the fate that may cut it.
//!
//! Promises order, a bound on the bytes in flight, and Tor's way of ending: no half-closed streams (an end closes
//! both directions), and a cut after which bytes in flight may or may not arrive. Side 0 dialled, side 1 was
//! dialled; lane `s` carries what side `s` writes. Leaves timers and buffering to `end`.

use super::conditions::{Conditions, chance, duration, spread};
use super::tally::Tally;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::time::Instant;

/// Bytes in flight in one direction before the writer must wait: about the 500 cells of Tor's stream window.
pub(super) const IN_FLIGHT_MAX: usize = 256 * 1024;
/// Bytes that travel as one chunk at most, so that a large write does not arrive all at one instant.
const CHUNK_MAX: usize = 64 * 1024;
/// Turns of a conversation among which a cut by turn chooses, the early ones more often: one letter in a pipelined
/// SMTP session takes about seven, a kept session has many.
const TURNS: std::ops::Range<u64> = 1..32;
/// Bytes into its turn at which a cut by turn strikes, at most; replies are shorter than this.
const TURN_BYTES_MAX: u64 = 256;

/// What a side must do when it cannot go on at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until the other side does something (the waker is kept).
    Wake,
    /// Until then, or until the other side does something (the waker is kept).
    Until(Instant),
}

/// One stream; both ends and, weakly, the network hold it.
pub(super) struct Wire {
    state: Mutex<State>,
    weather: Arc<Mutex<Conditions>>,
    tally: Arc<Tally>,
    /// Runs when the last holder lets go: the network forgets the stream.
    _forget: Box<dyn Send + Sync>,
}

struct State {
    lanes: [Lane; 2],
    fate: Fate,
    last_speaker: Option<usize>,
    broken: Option<Broken>,
    rng: StdRng,
}

#[derive(Default)]
struct Lane {
    parcels: VecDeque<Parcel>,
    /// Bytes that the writer has sent and the reader has not read; lost ones too, for nobody acknowledges them.
    in_flight: usize,
    last_at: Option<Instant>,
    /// The writer has shut down or let go.
    closed: bool,
    /// When the reader learns that, and whether it looks like a cut; none if that message was lost.
    end: Option<Ending>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Parcel {
    at: Instant,
    bytes: Vec<u8>,
    read: usize,
}

struct Ending {
    at: Instant,
    rough: bool,
}

struct Broken {
    /// By side: when it notices.
    notice: [Instant; 2],
    quiet: bool,
}

/// When, if ever, the stream will be cut.
enum Fate {
    Spared,
    AfterBytes(u64),
    /// After so many changes of the speaking side, and then so many bytes.
    AfterTurns(u64, u64),
}

impl Fate {
    fn drawn(rng: &mut StdRng, conditions: &Conditions) -> Self {
        if !chance(rng, conditions.cut) {
            Self::Spared
        } else if rng.random() {
            Self::AfterBytes(spread(rng, &conditions.cut_after))
        } else {
            Self::AfterTurns(spread(rng, &TURNS), spread(rng, &(0..TURN_BYTES_MAX)))
        }
    }

    /// Counts `len` bytes; if the cut strikes among them, how many still leave.
    fn strike(&mut self, new_turn: bool, len: usize) -> Option<usize> {
        if let Self::AfterTurns(turns, bytes) = self
            && new_turn
        {
            *turns -= 1;
            if *turns == 0 {
                *self = Self::AfterBytes(*bytes);
            }
        }
        let Self::AfterBytes(left) = self else { return None };
        if *left > len as u64 {
            *left -= len as u64;
            return None;
        }
        let leave = usize::try_from(*left).unwrap_or(len);
        *self = Self::Spared;
        Some(leave)
    }
}

impl Lane {
    /// When a thing sent now arrives: never before what was sent earlier.
    fn arrival(&mut self, drawn: Instant) -> Instant {
        let at = self.last_at.map_or(drawn, |last| last.max(drawn));
        self.last_at = Some(at);
        at
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Loses what has not arrived by `now`, except a prefix of `keep` bytes; tells how many bytes were lost.
    fn lose(&mut self, now: Instant, mut keep: usize) -> usize {
        let mut lost = 0;
        self.parcels.retain_mut(|parcel| {
            if parcel.at < now {
                return true;
            }
            let unread = parcel.bytes.len() - parcel.read;
            let kept = keep.min(unread);
            keep -= kept;
            lost += unread - kept;
            parcel.bytes.truncate(parcel.read + kept);
            kept > 0
        });
        lost
    }

    fn unarrived(&self, now: Instant) -> usize {
        self.parcels
            .iter()
            .filter(|parcel| parcel.at >= now)
            .map(|parcel| parcel.bytes.len() - parcel.read)
            .sum()
    }

    /// Copies what has arrived.
    fn take(&mut self, now: Instant, buf: &mut tokio::io::ReadBuf<'_>) -> usize {
        let mut copied = 0;
        while buf.remaining() > 0
            && let Some(parcel) = self.parcels.front_mut().filter(|parcel| parcel.at <= now)
        {
            let part = &parcel.bytes[parcel.read..];
            let part = &part[..part.len().min(buf.remaining())];
            buf.put_slice(part);
            parcel.read += part.len();
            copied += part.len();
            if parcel.read == parcel.bytes.len() {
                self.parcels.pop_front();
            }
        }
        self.in_flight -= copied;
        copied
    }
}

impl Wire {
    /// A stream whose fate, delays and faults are drawn from `rng`.
    pub(super) fn new(
        mut rng: StdRng,
        weather: Arc<Mutex<Conditions>>,
        tally: Arc<Tally>,
        forget: Box<dyn Send + Sync>,
    ) -> Self {
        let fate = Fate::drawn(&mut rng, &lock(&weather));
        let lanes = [Lane::default(), Lane::default()];
        let state = State { lanes, fate, last_speaker: None, broken: None, rng };
        Self { state: Mutex::new(state), weather, tally, _forget: forget }
    }

    /// Sends a part of `bytes` from `side`, or says what to wait for.
    ///
    /// `Ok` tells how many bytes were taken; it does not mean that they will arrive.
    pub(super) fn send(&self, side: usize, bytes: &[u8], waker: &Waker) -> Result<io::Result<usize>, Wait> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let vanish = match state.silence(side, now) {
            Err(kind) => return Ok(Err(kind.into())),
            Ok(silence) => silence,
        };
        let lane = &mut state.lanes[side];
        let room = IN_FLIGHT_MAX - lane.in_flight;
        if room == 0 {
            lane.writer = Some(waker.clone());
            return Err(vanish.map_or(Wait::Wake, Wait::Until));
        }
        let mut len = bytes.len().min(room).min(CHUNK_MAX);
        let conditions = lock(&self.weather);
        if len > 1 && chance(&mut state.rng, conditions.split) {
            len = state.rng.random_range(1..len);
        }
        self.tally.bytes[side].add(len);
        state.lanes[side].in_flight += len;
        if vanish.is_some() {
            self.tally.bytes_lost.add(len);
            return Ok(Ok(len));
        }
        let new_turn = state.last_speaker.replace(side) != Some(side);
        let strike = state.fate.strike(new_turn, len);
        state.push(side, &bytes[..strike.unwrap_or(len)], now, &conditions);
        if let Some(left) = strike {
            self.tally.bytes_lost.add(len - left);
            state.cut(now, &conditions, &self.tally);
        }
        Ok(Ok(len))
    }

    /// Reads what has arrived at `side`; nothing read means the end.
    pub(super) fn receive(
        &self,
        side: usize,
        buf: &mut tokio::io::ReadBuf<'_>,
        waker: &Waker,
    ) -> Result<io::Result<()>, Wait> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let lane = &mut state.lanes[1 - side];
        if buf.remaining() == 0 {
            return Ok(Ok(()));
        }
        let was_full = lane.in_flight == IN_FLIGHT_MAX;
        if lane.take(now, buf) > 0 {
            if let Some(writer) = lane.writer.take_if(|_| was_full) {
                writer.wake();
            }
            return Ok(Ok(()));
        }
        state.after_the_last_byte(side, now).inspect_err(|_| {
            state.lanes[1 - side].reader = Some(waker.clone());
        })
    }

    /// Ends the stream from `side`: properly (shutdown), or roughly (let go without it).
    ///
    /// What the other side has sent and is still in flight is lost: Tor knows no half-closed stream.
    pub(super) fn close(&self, side: usize, proper: bool) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.lanes[side].closed {
            return;
        }
        state.lanes[side].closed = true;
        if state.broken.is_none() {
            let conditions = lock(&self.weather);
            let rough = if proper {
                chance(&mut state.rng, conditions.rough_end)
            } else {
                !chance(&mut state.rng, conditions.quiet_cut)
            };
            let drawn = now + duration(&mut state.rng, &conditions.delay);
            let at = state.lanes[side].arrival(drawn);
            state.lanes[side].end = Some(Ending { at, rough });
        }
        self.tally.bytes_lost.add(state.lanes[1 - side].lose(now, 0));
        state.lanes.iter_mut().for_each(Lane::wake);
    }

    /// What `side` has not read when it lets go is lost.
    pub(super) fn abandon(&self, side: usize) {
        self.close(side, false);
        let mut state = lock(&self.state);
        let lane = &mut state.lanes[1 - side];
        let unread: usize = lane.parcels.drain(..).map(|parcel| parcel.bytes.len() - parcel.read).sum();
        self.tally.bytes_lost.add(unread);
    }

    /// Cuts the stream; bytes in flight may or may not arrive.
    pub(super) fn cut(&self) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let conditions = lock(&self.weather);
        state.cut(now, &conditions, &self.tally);
    }
}

impl State {
    /// Whether what `side` sends vanishes (and until when it will not know), or cannot be sent at all.
    fn silence(&self, side: usize, now: Instant) -> Result<Option<Instant>, io::ErrorKind> {
        if self.lanes[side].closed {
            return Err(io::ErrorKind::NotConnected);
        }
        if let Some(end) = &self.lanes[1 - side].end {
            return if end.at <= now { Err(io::ErrorKind::BrokenPipe) } else { Ok(Some(end.at)) };
        }
        match &self.broken {
            Some(broken) if broken.notice[side] <= now => Err(io::ErrorKind::ConnectionReset),
            Some(broken) => Ok(Some(broken.notice[side])),
            None => Ok(None),
        }
    }

    fn push(&mut self, side: usize, bytes: &[u8], now: Instant, conditions: &Conditions) {
        if bytes.is_empty() {
            return;
        }
        let drawn = now + duration(&mut self.rng, &conditions.delay);
        let lane = &mut self.lanes[side];
        let at = lane.arrival(drawn);
        lane.parcels.push_back(Parcel { at, bytes: bytes.to_vec(), read: 0 });
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
    }

    /// What the reader at `side` gets once nothing that arrived is left.
    fn after_the_last_byte(&self, side: usize, now: Instant) -> Result<io::Result<()>, Wait> {
        if self.lanes[side].closed {
            return Ok(Err(io::ErrorKind::NotConnected.into()));
        }
        let lane = &self.lanes[1 - side];
        let reset = || Ok(Err(io::ErrorKind::ConnectionReset.into()));
        if let Some(next) = lane.parcels.front() {
            return Err(Wait::Until(next.at));
        }
        match (&lane.end, &self.broken) {
            (Some(end), _) if end.at > now => Err(Wait::Until(end.at)),
            (Some(end), _) => {
                if end.rough {
                    reset()
                } else {
                    Ok(Ok(()))
                }
            }
            (None, Some(broken)) if broken.notice[side] > now => Err(Wait::Until(broken.notice[side])),
            (None, Some(broken)) => {
                if broken.quiet {
                    Ok(Ok(()))
                } else {
                    reset()
                }
            }
            (None, None) => Err(Wait::Wake),
        }
    }

    fn cut(&mut self, now: Instant, conditions: &Conditions, tally: &Tally) {
        if self.broken.is_some() || self.lanes.iter().all(|lane| lane.closed) {
            return;
        }
        for side in 0..2 {
            let flying = self.lanes[side].unarrived(now);
            // All, nothing, or something of it arrives, each as likely.
            let keep = match self.rng.random_range(0..3) {
                0 => flying,
                1 => 0,
                _ => self.rng.random_range(0..=flying),
            };
            tally.bytes_lost.add(self.lanes[side].lose(now, keep));
            let end_lost = keep < flying || self.rng.random();
            self.lanes[side].end.take_if(|end| end.at >= now && end_lost);
        }
        let mut notice = || now + duration(&mut self.rng, &conditions.notice);
        let notice = [notice(), notice()];
        self.broken = Some(Broken { notice, quiet: chance(&mut self.rng, conditions.quiet_cut) });
        tally.cuts.one();
        self.lanes.iter_mut().for_each(Lane::wake);
    }
}

/// Locks through a panic of another holder: every update here leaves the state whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

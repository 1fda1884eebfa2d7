//! Times the bare stream that letters ride on, for `scripts/bench`: a dial, a round trip of a few bytes, and one of as
//! many bytes as a short letter has, to an echoing onion; or many bytes one way.
//!
//! `tor_stream DIR ADDRESS NETWORK COUNT same|new|bulk=BYTES` prints one line of JSON per dial. `same` dials again and
//! again with one client, so that a circuit is open already; `new` starts a new client for each dial, so that nothing
//! is. `bulk=BYTES` sends so many and waits for one byte that says they are there; the dial is not counted. ADDRESS is
//! that of a running `tor_echo host`. Only private networks: without the network's file it does not start.

use onion::tor::{TorConfig, TorTransport};
use onion::{OnionAddress, Stage, Transport};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const PORT: u16 = 25;
/// For the bootstrap, for a dial, for an exchange: whoever takes longer is broken.
const DEADLINE: Duration = Duration::from_secs(60);
/// Of a few bytes, which fit in one cell.
const SMALL: usize = 5;
/// Of a short letter with its commands: three cells, which relays do not hand on at once.
const LETTER: usize = 1300;
/// Handed to the stream at once in bulk.
const BULK_PIECE: usize = 64 * 1024;
/// For a large amount over a slow machine.
const BULK_DEADLINE: Duration = Duration::from_secs(900);
/// Dials that may fail before it is given up.
const FAILURES_MAX: u32 = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, address, network, count, mode] = &arguments[..] else {
        return Err("usage: tor_stream DIR ADDRESS NETWORK COUNT same|new|bulk=BYTES".into());
    };
    let (address, anew) = (OnionAddress::parse(address)?, mode == "new");
    let (mut left, mut failures) = (count.parse::<u32>()?, 0);
    let mut transport = start(dir, network).await?;
    if !anew {
        once(&transport, address).await?;
    }
    if let Some(bytes) = mode.strip_prefix("bulk=") {
        let bytes = bytes.parse()?;
        for _ in 0..left {
            println!("{{\"bulk_ms\":{:.1}}}", bulk(&transport, address, bytes).await?);
        }
        return Ok(());
    }
    while left > 0 {
        match once(&transport, address).await {
            Ok([connect, small, letter]) => {
                left -= 1;
                println!(
                    "{{\"connect_ms\":{connect:.1},\"round_trip_ms\":{small:.1},\"letter_trip_ms\":{letter:.1}}}"
                );
            }
            Err(error) if failures == FAILURES_MAX => return Err(error),
            Err(error) => {
                failures += 1;
                eprintln!("tor_stream: {error}; once more");
            }
        }
        if anew && left > 0 {
            drop(transport);
            transport = start(dir, network).await?;
        }
    }
    Ok(())
}

/// A client that can dial.
async fn start(dir: &str, network: &str) -> Result<Arc<TorTransport>, Box<dyn Error>> {
    let dir = PathBuf::from(dir);
    let transport = TorTransport::start(TorConfig {
        state_dir: dir.join("state"),
        cache_dir: dir.join("cache"),
        network: Some(PathBuf::from(network)),
        memory_max: TorConfig::MEMORY_DEFAULT,
    })?;
    timeout(DEADLINE, transport.bootstrap().wait_for(|now| now.stage >= Stage::Dialling)).await??;
    Ok(transport)
}

/// Dials, and sends bytes there and back; how long each took, in milliseconds.
async fn once(transport: &TorTransport, address: OnionAddress) -> Result<[f64; 3], Box<dyn Error>> {
    let begun = Instant::now();
    let mut stream = transport.dial(address, PORT, DEADLINE).await?;
    let mut took = [begun.elapsed().as_secs_f64() * 1e3, 0.0, 0.0];
    for (place, len) in [(1, SMALL), (2, LETTER)] {
        let begun = Instant::now();
        let exchange = async {
            stream.write_all(&vec![b'x'; len]).await?;
            stream.flush().await?;
            stream.read_exact(&mut vec![0; len]).await
        };
        timeout(DEADLINE, exchange).await??;
        took[place] = begun.elapsed().as_secs_f64() * 1e3;
    }
    Ok(took)
}

/// Dials, sends so many bytes and hears that they are there; how long it took from the open stream on, in milliseconds.
async fn bulk(transport: &TorTransport, address: OnionAddress, bytes: u64) -> Result<f64, Box<dyn Error>> {
    let mut stream = transport.dial(address, PORT, DEADLINE).await?;
    let begun = Instant::now();
    let exchange = async {
        stream.write_all(&[b"SINK", &bytes.to_be_bytes()[..]].concat()).await?;
        stream.flush().await?;
        let piece = vec![b'x'; BULK_PIECE];
        let mut left = bytes;
        while left > 0 {
            let len = left.min(BULK_PIECE as u64);
            stream.write_all(&piece[..len as usize]).await?;
            left -= len;
        }
        stream.flush().await?;
        stream.read_exact(&mut [0; 1]).await
    };
    timeout(BULK_DEADLINE, exchange).await??;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

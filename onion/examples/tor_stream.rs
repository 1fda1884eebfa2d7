//! Times the bare stream that letters ride on, for `scripts/bench`: a dial and a round trip to an echoing onion.
//!
//! `tor_stream DIR ADDRESS NETWORK COUNT same|new` prints one line of JSON per dial. `same` dials again and again with
//! one client, so that a circuit is open already; `new` starts a new client for each dial, so that nothing is. ADDRESS
//! is that of a running `tor_echo host`. Only private networks: without the network's file it does not start.

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
/// Dials that may fail before it is given up.
const FAILURES_MAX: u32 = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, address, network, count, mode] = &arguments[..] else {
        return Err("usage: tor_stream DIR ADDRESS NETWORK COUNT same|new".into());
    };
    let (address, anew) = (OnionAddress::parse(address)?, mode == "new");
    let (mut left, mut failures) = (count.parse::<u32>()?, 0);
    let mut transport = start(dir, network).await?;
    if !anew {
        once(&transport, address).await?;
    }
    while left > 0 {
        match once(&transport, address).await {
            Ok((connect, round_trip)) => {
                left -= 1;
                println!(
                    "{{\"connect_ms\":{:.1},\"round_trip_ms\":{:.1}}}",
                    connect.as_secs_f64() * 1e3,
                    round_trip.as_secs_f64() * 1e3
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

/// Dials, and sends a few bytes there and back; how long either took.
async fn once(
    transport: &TorTransport,
    address: OnionAddress,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let begun = Instant::now();
    let mut stream = transport.dial(address, PORT, DEADLINE).await?;
    let connected = begun.elapsed();
    let begun = Instant::now();
    let exchange = async {
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        stream.read_exact(&mut [0; 5]).await
    };
    timeout(DEADLINE, exchange).await??;
    Ok((connected, begun.elapsed()))
}

//! Echo over a real onion service, to see and measure the transport by hand.
//!
//! `tor_echo host DIR [NETWORK]` prints its address and every stage, and sends back what arrives; of a stream that
//! begins with `SINK` and a length (8 bytes, the highest first) it reads so many bytes more and sends back one.
//! `tor_echo dial DIR ADDRESS [NETWORK]` dials once a second, and prints how each attempt ended and how long it took.
//! `RUST_LOG=onion=debug` shows what the keeper finds and repairs.
//! Start both by `scripts/testnet exec` with the network's file; without the file they use the public Tor network.

use onion::tor::{TorConfig, TorTransport};
use onion::{HostKey, OnionAddress, Transport};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};

const PORT: u16 = 25;
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["host", dir] => host(start(dir, None)?).await,
        ["host", dir, network] => host(start(dir, Some(network))?).await,
        ["dial", dir, address] => dial(start(dir, None)?, OnionAddress::parse(address)?).await,
        ["dial", dir, address, network] => {
            dial(start(dir, Some(network))?, OnionAddress::parse(address)?).await
        }
        _ => Err("usage: tor_echo host DIR [NETWORK] | dial DIR ADDRESS [NETWORK]".into()),
    }
}

fn start(dir: &str, network: Option<&str>) -> Result<Arc<TorTransport>, onion::tor::StartError> {
    let dir = PathBuf::from(dir);
    TorTransport::start(TorConfig {
        state_dir: dir.join("state"),
        cache_dir: dir.join("cache"),
        network: network.map(PathBuf::from),
        memory_max: TorConfig::MEMORY_DEFAULT,
    })
}

async fn host(transport: Arc<TorTransport>) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let key = HostKey::from_seed([0x42; 32]);
    println!("{}", key.address().host());
    let mut listener = transport.listen(key, PORT).await?;
    let mut stages = transport.bootstrap();
    tokio::spawn(async move {
        while stages.changed().await.is_ok() {
            let stage = stages.borrow_and_update().clone();
            println!(
                "{:7.2} {:?} {}",
                begun.elapsed().as_secs_f32(),
                stage.stage,
                stage.blocked.unwrap_or_default()
            );
        }
    });
    while let Some(stream) = listener.accept().await {
        tokio::spawn(async move {
            let (mut from, mut to) = split(stream);
            let mut start = [0; 12];
            let len = from.read(&mut start).await?;
            if len == start.len() && start.starts_with(b"SINK") {
                let wanted = u64::from_be_bytes(start[4..].try_into().expect("eight bytes"));
                let mut rest = from.take(wanted);
                copy(&mut rest, &mut tokio::io::sink()).await?;
                to.write_all(b".").await?;
                to.flush().await?;
                // The other side ends the stream, so that the answer is not overtaken.
                return copy(&mut rest.into_inner(), &mut tokio::io::sink()).await;
            }
            to.write_all(&start[..len]).await?;
            to.flush().await?;
            let copied = copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
            copied
        });
    }
    Ok(())
}

async fn dial(transport: Arc<TorTransport>, to: OnionAddress) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    loop {
        let at = Instant::now();
        let outcome = match transport.dial(to, PORT, DEADLINE).await {
            Ok(mut stream) => {
                let mut answer = [0; 5];
                let exchange = async {
                    stream.write_all(b"hello").await?;
                    stream.flush().await?;
                    stream.read_exact(&mut answer).await
                };
                match tokio::time::timeout(DEADLINE, exchange).await {
                    Ok(Ok(_)) => format!("{:?}", std::str::from_utf8(&answer)),
                    other => format!("stream broke: {other:?}"),
                }
            }
            Err(error) => format!("{error:?}"),
        };
        let stage = transport.bootstrap().borrow().clone();
        println!(
            "{:7.2} {outcome} after {:.2} s ({:?}, {:?})",
            begun.elapsed().as_secs_f32(),
            at.elapsed().as_secs_f32(),
            stage.stage,
            transport.network_time().map(|time| time.agrees_with(std::time::SystemTime::now())),
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

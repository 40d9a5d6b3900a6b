//! `sipload`: calls through a proxy, and what they took. One thread plays the caller and the gateway that answers, so
//! one clock measures both ways, and costs less than the proxy that it loads.
//!
//! A call is seven messages into the proxy and seven out of it: INVITE, 100, 180, 200, ACK, BYE, 200. Retransmissions
//! follow RFC 3261 for three and a half seconds, so that a lost datagram shows in the figures. Over TCP and TLS the
//! caller has one connection, and each gateway those that the proxy opens to it.

mod call;
mod clock;
mod datagram;
mod figures;
mod frame;
mod message;
mod relay;
mod socket;
mod stream;
mod tls;
mod transport;

use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Parser;

use transport::Transport;

/// Places calls through a proxy and answers them
#[derive(Parser)]
enum Command {
    /// Calls at a steady rate; prints one line of JSON
    Call(Options),
    /// A relay that only copies datagrams, to compare a proxy with
    Relay {
        /// Where it takes datagrams
        listen: SocketAddrV4,
        /// Where it sends those that do not come from there
        gateway: SocketAddrV4,
    },
}

/// The load.
#[derive(clap::Args)]
struct Options {
    /// The proxy
    #[arg(long)]
    target: SocketAddrV4,
    /// How both legs of a call travel
    #[arg(long, default_value = "udp")]
    transport: Transport,
    /// Folder with authority.pem, certificate.pem and key.pem, for TLS
    #[arg(long, required_if_eq("transport", "tls"), value_name = "FOLDER")]
    tls: Option<PathBuf>,
    /// Where calls come from; over TCP and TLS its port is the system's choice
    #[arg(long)]
    caller: SocketAddrV4,
    /// Where calls are answered
    #[arg(long, required = true, value_delimiter = ',')]
    gateways: Vec<SocketAddrV4>,
    /// File with a called number on each line
    #[arg(long)]
    numbers: PathBuf,
    /// Calls per second
    #[arg(long)]
    rate: f64,
    /// How many calls
    #[arg(long)]
    calls: u64,
    /// From INVITE to 180, in milliseconds
    #[arg(long, default_value_t = 5)]
    ring: u32,
    /// From 180 to 200, in milliseconds
    #[arg(long, default_value_t = 20)]
    answer: u32,
    /// From ACK to BYE, in milliseconds
    #[arg(long, default_value_t = 50)]
    hold: u32,
    /// Place no more calls once the standard input has ended
    #[arg(long)]
    until_input_ends: bool,
    /// How long to wait for what is unfinished after the last call, in milliseconds
    #[arg(long, default_value_t = 4_000)]
    drain: u32,
}

/// Becomes true when the standard input ends, where that counts.
fn until_input_ends(counts: bool) -> &'static AtomicBool {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    if counts {
        std::thread::spawn(|| {
            // A fault is an end, too.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            IS_OVER.store(true, Ordering::Relaxed);
        });
    }
    &IS_OVER
}

#[expect(clippy::print_stdout, reason = "the result is for the one who started us")]
fn main() -> Result<()> {
    match Command::parse() {
        Command::Call(options) => {
            let text = fs::read_to_string(&options.numbers)
                .with_context(|| format!("cannot read {}", options.numbers.display()))?;
            let numbers: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            if numbers.is_empty() || options.rate <= 0.0 {
                bail!("there is nothing to call");
            }
            datagram::nap_precisely();
            println!("{}", call::run(&options, &numbers, until_input_ends(options.until_input_ends))?);
            Ok(())
        }
        Command::Relay { listen, gateway } => Ok(relay::run(listen, gateway)?),
    }
}

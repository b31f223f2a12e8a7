//! The hostile-client campaign: all attacks at once against the real binary, beside honest clients who must not notice.
//!
//! This process holds the honest clients and judges. The attackers are a second process of the same program, at the lowest priority, so
//! that it is the server's work for them that the honest could notice, and not the attackers' own. Started by `cargo xtask abuse`.

mod attack;
mod campaign;
mod honest;
mod latency;
mod line;
mod memory;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Every attack at once beside honest clients, who must see no error, no loss and no delay.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask abuse", version)]
struct Arguments {
    #[command(flatten)]
    campaign: Campaign,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Args)]
struct Campaign {
    /// How long the attacks last, in seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How long the honest are watched before the attacks, in seconds: what they are compared with.
    #[arg(long, default_value_t = 30)]
    quiet_seconds: u64,
    /// How many honest clients there are.
    #[arg(long, default_value_t = 200)]
    honest: usize,
    /// Only these attacks, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Without limits per address, as against attackers who have more addresses than there are.
    #[arg(long)]
    no_address_limits: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Attacks a server until killed: the campaign starts this by itself.
    #[command(hide = true)]
    Attack {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { campaign, role } = Arguments::parse();
    match role {
        Some(Role::Attack { address, only }) => attack::run(address, &only).await,
        None => {
            let settings = campaign::Settings {
                attacked: Duration::from_secs(campaign.seconds),
                quiet: Duration::from_secs(campaign.quiet_seconds),
                honest: campaign.honest,
                only: campaign.only,
                no_address_limits: campaign.no_address_limits,
            };
            let verdict = campaign::run(&settings).await?;
            Ok(if verdict { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

//! `towline token`: makes HS256 tokens for trying things out and small set-ups, and shows what a token says.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use serde_json::{Map, Value};
use towline::Config;
use towline::config::auth_config;
use towline_auth::{Authenticator, MintClaims, TOKEN_BYTES_MAX, inspect, mint};
use towline_clock::Clock;
use towline_protocol::TopicPattern;
use towline_protocol::timestamp::iso;

use super::settings::ConfigFlags;

/// Make or look into tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token, signed with the configured shared secret (TOWLINE_JWT_SECRET).
    #[command(after_help = "Examples:
  export TOWLINE_JWT_SECRET=$(openssl rand -base64 32)
  towline token mint 42
  towline token mint 42 --ttl 8h --org acme
  towline token mint crawler --publish 'user:*' --subscribe 'run:*'")]
    Mint(Mint),
    /// Show what a token says, and whether a server with this configuration would accept it.
    #[command(after_help = "Examples:
  towline token inspect \"$TOKEN\"
  towline token mint 42 | towline token inspect -")]
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
pub struct Mint {
    /// The user: the token's `sub`.
    subject: String,
    /// How long it is valid.
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    ttl: Duration,
    /// The organisation: `org_id`.
    #[arg(long)]
    org: Option<String>,
    /// Its id, by which it can be revoked: `jti`.
    #[arg(long)]
    id: Option<String>,
    /// The issuer: `iss`.
    #[arg(long)]
    issuer: Option<String>,
    /// The audience: `aud` [default: the first of auth.audiences].
    #[arg(long)]
    audience: Option<String>,
    /// Topics that it may follow beyond its own, for example 'thread:*'. May be given again.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    subscribe: Vec<TopicPattern>,
    /// Topics that it may publish to. May be given again.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    publish: Vec<TopicPattern>,
    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The token; `-` reads it from standard input, where other users of the machine do not see it.
    token: String,
    #[command(flatten)]
    flags: ConfigFlags,
}

fn duration(text: &str) -> Result<Duration, String> {
    towline::config::read_duration(text).ok_or_else(|| "give a number and a unit, such as 30m, 8h or 7d".to_owned())
}

fn pattern(text: &str) -> Result<TopicPattern, String> {
    TopicPattern::new(text).map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// The configuration is not good, or there is no secret to sign with.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Mint(args) => super::print(&format!("{}\n", minted(args)?)),
        Command::Inspect(args) => inspected(args),
    }
}

fn minted(args: Mint) -> anyhow::Result<String> {
    let config = args.flags.load(Config::default())?.config;
    let secret = config.auth.jwt_secret.as_ref().context(
        "there is no shared secret to sign with: set TOWLINE_JWT_SECRET to what the server has (make one with `openssl rand -base64 32`)",
    )?;
    let claims = MintClaims {
        subject: args.subject,
        org: args.org,
        ttl: args.ttl,
        token_id: args.id,
        issuer: args.issuer,
        audience: args.audience.or_else(|| config.auth.audiences.first().cloned()),
        subscribe: args.subscribe,
        publish: args.publish,
    };
    Ok(mint(secret, &claims, Clock::system().unix_ms())?)
}

fn inspected(args: Inspect) -> anyhow::Result<ExitCode> {
    let mut token = args.token;
    if token == "-" {
        token.clear();
        std::io::stdin().take(TOKEN_BYTES_MAX as u64 + 2).read_to_string(&mut token)?;
    }
    let token = token.trim();
    ensure!(!token.is_empty(), "there is no token");
    let said = match inspect(token) {
        Ok(said) => said,
        Err(reason) => bail!("{reason}"),
    };
    let clock = Clock::system();
    let mut text = format!("header  {}\nclaims  {}\n", pretty(&said.unverified_header), pretty(&said.unverified_claims));
    for (claim, meaning) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        if let Some(at) = said.unverified_claims.get(claim).and_then(Value::as_f64) {
            let left = at - clock.unix_ms() as f64 / 1000.0;
            let when = if left >= 0.0 { format!("in {left:.0} s") } else { format!("{:.0} s ago", -left) };
            text.push_str(&format!("{meaning:<10} {} ({when})\n", iso((at.max(0.0) * 1000.0) as u64)));
        }
    }
    super::print(&text)?;
    let config = args.flags.load(Config::default())?.config;
    let auth = Authenticator::new(auth_config(&config), clock)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(auth.authenticate(token)) {
        Ok(identity) => super::print(&format!("accepted   as {:?}\n", identity.subject)),
        Err(error) => {
            super::print(&format!("refused    {error}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn pretty(claims: &Map<String, Value>) -> String {
    // Maps of texts and numbers always serialise.
    serde_json::to_string_pretty(claims).unwrap_or_default()
}

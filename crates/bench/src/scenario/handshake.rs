//! Handshakes with JWT validation.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Stretch;
use crate::bench::Bench;
use crate::figures::Outcome;
use crate::loader::{Arrival, Loader};
use crate::systems::{System, towline};
use crate::token::Issuer;

const IN_FLIGHT: usize = 64;
const SPAN: Duration = Duration::from_secs(4);
/// Tokens per algorithm, made before; each of another user.
const TOKENS: usize = 8_000;

pub fn run(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::new(
        "handshake",
        "Handshakes with JWT validation",
        &[
            "64 handshakes in flight from one loader thread: connect, upgrade with a JWT in the query, read the 101, reset. Tokens of 8,000 users in turn, made before. HS256 with the shared secret; RS256 (2,048-bit key) with a JWKS that is served on loopback and cached by the gateway.",
            "Five repetitions of 4 s, interleaved, after a warm-up of 1 s each. Loader and server share the cores.",
        ],
        &["TLS.", "A handshake that must fetch a key first."],
    );
    let mut stands = Vec::new();
    for (name, started) in [("Towline, HS256", hs256(bench)), ("Towline, RS256", rs256(bench))] {
        match started {
            Ok(stand) => stands.push((name.to_owned(), stand)),
            Err(error) => outcome.failed(name, &error),
        }
    }
    super::interleave(bench, &mut outcome, 5, stands, |outcome, name, (system, tokens)| {
        shake(bench, system, tokens, bench.span(Duration::from_secs(1)))?;
        let stretch = Stretch::begin(&bench.clock, &system.server);
        let done = shake(bench, system, tokens, bench.span(SPAN))? as f64;
        let (cpu, wall) = stretch.end();
        outcome.record("per second", name, "handshakes per second", done / wall);
        outcome.record("per CPU-second", name, "handshakes per CPU-second", done / cpu);
        Ok(())
    });
    outcome
}

fn hs256(bench: &Bench) -> Result<(System, Vec<String>)> {
    let system = towline::start(&bench.clock, bench.towline()?, bench.directory()?, &[])?;
    Ok((system, (0..TOKENS).map(|who| towline::user_token(&bench.clock, who)).collect()))
}

fn rs256(bench: &Bench) -> Result<(System, Vec<String>)> {
    let issuer = Issuer::start()?;
    let environment = [("CLERK_JWKS_URL", issuer.jwks_url()), ("CLERK_ISSUER", issuer.name())];
    let system = towline::start(&bench.clock, bench.towline()?, bench.directory()?, &environment)?;
    let tokens: Result<Vec<String>> = (0..TOKENS).map(|who| issuer.rs256(&bench.clock, &towline::user(who))).collect();
    Ok((system, tokens?))
}

/// Opens and resets sockets for this long; answers how many were accepted. One refusal fails the run.
fn shake(bench: &Bench, system: &System, tokens: &[String], span: Duration) -> Result<usize> {
    let mut loader = Loader::new()?;
    let until = bench.clock.uptime() + span;
    let (mut started, mut done) = (0, 0);
    let mut trouble: Option<String> = None;
    while bench.clock.uptime() < until {
        while loader.len() < IN_FLIGHT {
            let token = &tokens[started % tokens.len()];
            loader.connect(system.address, towline::handshake(system.address, token))?;
            started += 1;
        }
        loader.pump(Duration::from_millis(100), |_, arrival, outbox| match arrival {
            Arrival::Open => {
                done += 1;
                outbox.close();
            }
            Arrival::Closed(why) => {
                trouble.get_or_insert_with(|| why.to_owned());
            }
            Arrival::Message(_) | Arrival::Line(_) | Arrival::Refused(_) => {}
        })?;
        if let Some(why) = trouble {
            bail!("handshake {done} failed: {why}");
        }
    }
    Ok(done)
}

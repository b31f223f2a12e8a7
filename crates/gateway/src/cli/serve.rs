//! `towline serve`: the server, from its configuration to its orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use towline::config::Loaded;
use towline::tls::Certificates;
use towline::{Config, Server, logging};
use towline_clock::Clock;
use towline_log_embedded::{EmbeddedLog, OsFiles};

use super::settings::ConfigFlags;

/// What the end of the log may take beyond `drain.timeout`: a last sync of a slow disk.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command.
///
/// # Errors
/// The configuration is not good, the log cannot be opened, or the address is taken.
pub fn run(flags: ConfigFlags) -> anyhow::Result<ExitCode> {
    let loaded = flags.load(Config::default())?;
    logging::init(&loaded.config.logging, false);
    serve(loaded, |_| {})
}

/// Serves until the process is told to end. `started` hears the configuration with the address that is really listened on.
///
/// # Errors
/// The log cannot be opened, or the address is taken.
pub fn serve(loaded: Loaded, started: impl FnOnce(&Config)) -> anyhow::Result<ExitCode> {
    let Loaded { config, warnings, .. } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let clock = Clock::system();
    let log = open_log(&config, &clock)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads for the server")?;
    let ended: anyhow::Result<bool> = runtime.block_on(async {
        let mut shown = config.clone();
        let grace = config.drain.timeout + CLOSE_TIMEOUT;
        // Before anything listens: who sees the address may end the server at once.
        let mut signals = Signals::new().context("no signals can be received")?;
        let server = Server::start(config, clock, Arc::new(log)).await?;
        shown.listen = server.address();
        if let Some(certificates) = server.certificates() {
            tokio::spawn(reload_on_hangup(Arc::clone(certificates)).context("SIGHUP cannot be received")?);
        }
        tracing::info!(address = %shown.listen, version = env!("CARGO_PKG_VERSION"), development = shown.development, "listening");
        started(&shown);
        let asked = server.shared().drain_asked();
        let cause = tokio::select! {
            signal = signals.next() => signal,
            () = asked => "an operator",
        };
        tracing::info!(cause, window = ?shown.drain.window, "draining; a second signal ends at once");
        tokio::select! {
            done = tokio::time::timeout(grace, server.drain()) => Ok(done.is_ok()),
            _ = signals.next() => Ok(false),
        }
    });
    // Whatever still runs is cut off: the log was closed, or is past waiting for, and its files are whole at any moment.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let in_order = ended?;
    if in_order {
        tracing::info!("ended in order");
    } else {
        tracing::warn!("ended before everything was drained; what was acknowledged is in the log");
    }
    Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open_log(config: &Config, clock: &Clock) -> anyhow::Result<EmbeddedLog> {
    let files = Arc::new(OsFiles::new(&config.data_dir));
    let (log, report) = EmbeddedLog::open(config.log_options(), files, clock.clone()).context("the log cannot be opened")?;
    if report.is_damaged() {
        tracing::error!("{report}");
    } else {
        tracing::info!("{report}");
    }
    Ok(log)
}

/// Looks at the certificates at once when told so. Only a server with TLS listens to SIGHUP: any other ends by it, as programs do whose
/// terminal is closed.
fn reload_on_hangup(certificates: Arc<Certificates>) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            let certificates = Arc::clone(&certificates);
            // What it finds is in the log.
            let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    })
}

/// What a server is told to end with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Each connection costs a descriptor, and the soft limit is low for the sake of old programs that use select(2).
fn raise_descriptor_limit() {
    let before = getrlimit(Resource::Nofile);
    if before.current == before.maximum {
        return;
    }
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, limit = ?before.current, "the limit of open files cannot be raised");
    }
}

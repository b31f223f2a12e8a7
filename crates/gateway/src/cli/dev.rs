//! `towline dev`: a server for one developer on one machine.

use std::path::PathBuf;
use std::process::ExitCode;

use towline::{Config, logging};

use super::serve::serve;
use super::settings::ConfigFlags;

/// Run a server for development: no authentication, this machine only, data in ./.towline.
///
/// Whoever connects is who they say they are (`?user_id=` or `--user`) and may read and publish everything. It refuses to listen on
/// anything but loopback, and requests from web pages of other hosts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  towline dev
  towline dev --temp                       forget everything at the end
  towline dev --listen 127.0.0.1:9000")]
pub struct Args {
    /// Keep the data in a temporary directory and remove it at the end.
    #[arg(long, conflicts_with = "data_dir")]
    temp: bool,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// Removes a directory when the command ends.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is in the system's place for temporary files; what cannot be removed now is removed there some day.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the command.
///
/// # Errors
/// The configuration is not good, the log cannot be opened, or the address is taken.
pub fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let mut base = Config { data_dir: PathBuf::from(".towline"), ..Config::default() };
    base.auth.disabled = Some(true);
    // A file or variable that demands authentication is for `serve`.
    args.flags.set.push(("auth.disabled".to_owned(), "true".to_owned()));
    let mut temporary = None;
    if args.temp {
        let path = std::env::temp_dir().join(format!("towline-dev-{}", uuid::Uuid::new_v4().simple()));
        args.flags.data_dir = Some(path.display().to_string());
        temporary = Some(Temporary(path));
    }
    let loaded = args.flags.load(base)?;
    logging::init(&loaded.config.logging, true);
    let code = serve(loaded, |config| eprintln!("{}", banner(config)));
    drop(temporary);
    code
}

fn banner(config: &Config) -> String {
    let at = config.listen;
    let rule = "=".repeat(96);
    format!(
        "{rule}
  TOWLINE DEV: NO AUTHENTICATION. Whoever connects is who they say they are and may read and publish
  everything. Never use it for anything but development. Listening on {at} only.

  Watch      in a browser     http://{at}/?user_id=42
             in a terminal    towline sub user:42 --user 42 --url http://{at}
  Publish    towline pub user:42 agent.step_completed '{{\"step\":1}}' --url http://{at}
             curl http://{at}/api/v1/events -H 'Content-Type: application/json' \\
               -d '{{\"topic\":\"user:42\",\"type\":\"agent.step_completed\",\"data\":{{\"step\":1}}}}'
  Read back  curl 'http://{at}/api/v1/agents/events?user_id=42'

  The log is in {}. Interfaces: http://{at}/openapi.json and /asyncapi.json. End with Ctrl-C.
{rule}",
        config.data_dir.display()
    )
}

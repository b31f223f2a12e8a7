//! `towline completions`: a script that teaches a shell the command line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, print};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  towline completions bash > ~/.local/share/bash-completion/completions/towline
  towline completions zsh > \"${fpath[1]}/_towline\"
  towline completions fish > ~/.config/fish/completions/towline.fish")]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "towline", &mut script);
    print(&String::from_utf8_lossy(&script))
}

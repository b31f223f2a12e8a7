//! The binary: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;

/// Idle connections are small and many; this allocator gives their pages back and keeps them dense.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}

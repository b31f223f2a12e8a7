//! The project's own tools: `cargo xtask demo | test | check | tidy | bench | abuse | fuzz | docs`.

use std::process::ExitCode;

mod abuse;
mod autobahn;
mod bench;
mod demo;
mod docs;
mod fuzz;
mod install;
mod process;
mod prometheus;
mod repository;
mod stage;
mod tally;
mod test;
mod tidy;

use repository::Repository;

const HELP: &str = "\
cargo xtask <command>

  demo    build, start a server and an agent that works on this folder's documents, say where to look
  test    everything: what CI runs, on a machine that has no more than cargo and Node
  check   formatting, clippy, tidy: what to run before a commit
  tidy    the rules that no compiler knows: who may depend on whom, sizes, documents that tell the truth
  bench   measure, beside the peers that are installed, and write docs/performance.md
  abuse   all attacks at once against a server, beside honest clients who must not notice
  fuzz    every decoder of outside bytes, for a night
  docs    write again what is generated: docs/api, docs/configuration.md, the tables of PROTOCOL.md and docs/requirements.md

cargo xtask <command> --help says more.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", &[][..]),
    };
    let run: fn(&Repository, &[String]) -> anyhow::Result<ExitCode> = match command {
        "demo" => demo::run,
        "test" => test::run,
        "check" => test::check,
        "tidy" => tidy::run,
        "bench" => bench::run,
        "abuse" => abuse::run,
        "fuzz" => fuzz::run,
        "docs" => docs::run,
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprint!("unknown command {other:?}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match Repository::find().and_then(|repository| run(&repository, rest)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

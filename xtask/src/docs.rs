//! `cargo xtask docs`: writes again what is generated, so that a review shows what changed in the interface.

use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use crate::repository::{Repository, output};
use crate::tidy;

const HELP: &str = "\
cargo xtask docs

Writes again:

  docs/api/openapi.json, docs/api/asyncapi.json   from the gateway's types
  docs/configuration.md                           from the gateway's table of settings
  PROTOCOL.md                                     its tables of codes, from the protocol's
  docs/requirements.md                            its column of tests, from the comments in the tests
";

/// Tells the tests in xtask/tests to write instead of to compare.
const WRITE: &str = "TOWLINE_WRITE_DOCS";

/// `cargo xtask docs`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    match arguments {
        [] => {}
        [flag] if flag == "--help" || flag == "-h" => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        _ => bail!("expected no arguments"),
    }
    for (command, file) in [
        (&["openapi"][..], "docs/api/openapi.json"),
        (&["asyncapi"], "docs/api/asyncapi.json"),
        (&["config", "reference"], "docs/configuration.md"),
    ] {
        let text = output(repository.cargo().args(["run", "--quiet", "--package", "towline", "--"]).args(command))?;
        let path = repository.root.join(file);
        std::fs::create_dir_all(path.parent().context("the document has a folder")?)?;
        std::fs::write(&path, text).with_context(|| file.to_owned())?;
        println!("wrote {file}");
    }
    let arguments = ["test", "--quiet", "--package", "xtask", "--test", "documents"];
    let status = repository.cargo().args(arguments).env(WRITE, "1").status()?;
    ensure!(status.success(), "the tables cannot be written");
    tidy::requirements::rewrite(repository)?;
    println!("wrote the tables of PROTOCOL.md and docs/requirements.md");
    Ok(ExitCode::SUCCESS)
}

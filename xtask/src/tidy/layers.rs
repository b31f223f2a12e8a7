//! Who may depend on whom. The layout is the architecture only as long as nobody imports upwards.

use std::path::PathBuf;

use super::{Finding, has_extension};
use crate::repository::{Crate, Repository};

/// What a crate may know.
struct Layer {
    name: &'static str,
    /// Crates of the workspace, besides the tests' own.
    may_use: &'static [&'static str],
    /// Foreign crates that would break what the crate promises.
    never: &'static [&'static str],
    why: &'static str,
}

/// What makes a crate do I/O or speak HTTP.
const IO: &[&str] =
    &["tokio", "mio", "socket2", "rustix", "hyper", "hyper-util", "axum", "reqwest", "tower", "tokio-tungstenite"];
const HTTP: &[&str] =
    &["hyper", "hyper-util", "axum", "http", "http-body", "reqwest", "tower", "tokio-tungstenite", "mio", "socket2"];

const LAYERS: &[Layer] = &[
    Layer { name: "towline-clock", may_use: &[], never: IO, why: "the clock is below everything" },
    Layer { name: "towline-protocol", may_use: &[], never: IO, why: "wire types are values and pure functions" },
    Layer { name: "towline-websocket", may_use: &[], never: IO, why: "the codec does no I/O, so that it can be tested without" },
    Layer {
        name: "towline-log",
        may_use: &["towline-clock", "towline-protocol"],
        never: HTTP,
        why: "the contract knows no engine",
    },
    Layer {
        name: "towline-log-embedded",
        may_use: &["towline-log", "towline-clock", "towline-protocol"],
        never: HTTP,
        why: "an engine knows its contract and nothing above it",
    },
    Layer {
        name: "towline-hub",
        may_use: &["towline-log", "towline-protocol"],
        never: HTTP,
        why: "the hub knows no sockets, no HTTP, no tokens and no engine",
    },
    Layer {
        name: "towline-runs",
        may_use: &["towline-clock", "towline-protocol"],
        never: IO,
        why: "which event is taken is decided by a state machine that can be tested without a server",
    },
    Layer {
        name: "towline-auth",
        may_use: &["towline-clock", "towline-protocol"],
        never: &["hyper", "hyper-util", "axum", "tower", "mio", "socket2"],
        why: "who may is decided without knowing where it was asked",
    },
    Layer {
        name: "towline-sockets",
        may_use: &["towline-clock", "towline-websocket"],
        never: &["hyper", "hyper-util", "axum", "reqwest", "tower", "serde", "serde_json"],
        why: "sockets move bytes and know neither messages nor the log",
    },
    Layer {
        name: "towline-client",
        may_use: &["towline-clock", "towline-protocol"],
        never: &["hyper", "axum", "mio"],
        why: "a client shares the wire types with the server and nothing else",
    },
    Layer {
        name: "towline",
        may_use: &[
            "towline-clock",
            "towline-protocol",
            "towline-log",
            "towline-log-embedded",
            "towline-hub",
            "towline-auth",
            "towline-runs",
            "towline-sockets",
            "towline-websocket",
            "towline-client",
        ],
        never: &["mio", "tokio-tungstenite"],
        why: "the gateway wires the others together; sockets are the reactor's",
    },
    Layer {
        name: "towline-demo",
        may_use: &["towline-client", "towline-clock", "towline-protocol"],
        never: &[],
        why: "the demo agent uses the public interface only",
    },
    Layer {
        name: "towline-abuse",
        may_use: &["towline-harness", "towline-clock"],
        never: &[],
        why: "attackers know the server from outside",
    },
    Layer { name: "towline-bench", may_use: &["towline-clock"], never: &[], why: "the loader measures a server from outside" },
    Layer {
        name: "towline-fuzz",
        may_use: &[
            "towline-websocket",
            "towline-protocol",
            "towline-auth",
            "towline-clock",
            "towline-log",
            "towline-log-embedded",
            "towline",
        ],
        never: &["tokio-tungstenite"],
        why: "fuzz targets take decoders, and of the gateway those of its headers; they start no server",
    },
    Layer { name: "xtask", may_use: &["towline-clock"], never: &["tokio"], why: "tools are built before anything else" },
];

/// May know everybody: it is a test.
const TESTS: &str = "towline-harness";
/// The one file of the gateway that chooses an engine, and the settings that are the engine's own.
const ENGINE: &str = "towline_log_embedded";
const CHOOSES_ENGINE: [&str; 2] = ["crates/gateway/src/cli/serve.rs", "crates/gateway/src/config/"];

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in &repository.crates {
        let manifest = member.folder.join("Cargo.toml");
        unused(repository, files, member, &mut findings)?;
        if member.name == TESTS {
            continue;
        }
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == member.name) else {
            findings.push(Finding::new(manifest, 0, "this crate has no layer; give it one in xtask/src/tidy/layers.rs"));
            continue;
        };
        for dependency in member.dependencies.iter().filter(|dependency| !dependency.dev) {
            let ours = repository.crates.iter().any(|other| other.name == dependency.name);
            let refused =
                if ours { !layer.may_use.contains(&&*dependency.name) } else { layer.never.contains(&&*dependency.name) };
            if refused {
                let text = format!("{} may not depend on {}: {}", member.name, dependency.name, layer.why);
                findings.push(Finding::new(&manifest, 0, text));
            }
        }
    }
    engine(repository, files, &mut findings)?;
    Ok(findings)
}

/// Nothing above the contract may assume the embedded engine, so its name stands where it is chosen and nowhere else.
fn engine(repository: &Repository, files: &[PathBuf], findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for file in files.iter().filter(|file| file.starts_with("crates/gateway/src") && has_extension(file, "rs")) {
        let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
        if is_test || CHOOSES_ENGINE.iter().any(|place| file.to_string_lossy().starts_with(place)) {
            continue;
        }
        for (at, line) in repository.text(file)?.lines().enumerate() {
            if line.contains(ENGINE) {
                let text = format!("only {} may name the embedded engine", CHOOSES_ENGINE.join(" and "));
                findings.push(Finding::new(file, at + 1, text));
            }
        }
    }
    Ok(())
}

/// A dependency that no source of the crate names is a leftover.
fn unused(repository: &Repository, files: &[PathBuf], member: &Crate, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let mut sources = String::new();
    for file in files.iter().filter(|file| file.starts_with(&member.folder) && has_extension(file, "rs")) {
        sources.push_str(&repository.text(file)?);
    }
    for dependency in member.dependencies.iter().filter(|dependency| dependency.name != member.name) {
        let name = dependency.name.replace('-', "_");
        // A word of its own: `time` must not be found in `timeout`.
        let used = sources.match_indices(&name).any(|(at, _)| {
            let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
            !sources[..at].ends_with(part_of_word) && !sources[at + name.len()..].starts_with(part_of_word)
        });
        if !used {
            let text = format!("{} does not use its dependency {}", member.name, dependency.name);
            findings.push(Finding::new(member.folder.join("Cargo.toml"), 0, text));
        }
    }
    Ok(())
}

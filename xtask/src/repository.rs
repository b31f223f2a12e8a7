//! The repository: its folders, its crates as cargo sees them, its files as git sees them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The checkout that this program was built in.
pub struct Repository {
    /// Where `Cargo.toml` of the workspace is.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// The workspace's crates.
    pub crates: Vec<Crate>,
}

/// One crate of the workspace.
pub struct Crate {
    /// As in its `Cargo.toml`.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: PathBuf,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One entry of a crate's dependencies.
pub struct Dependency {
    /// The crate's name.
    pub name: String,
    /// For tests and examples only.
    pub dev: bool,
}

impl Repository {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo does not answer, or not as expected.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has a parent folder")?.to_owned();
        let metadata = output(cargo(&root).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo metadata: expected a text");
        let list = |value: &Value| value.as_array().cloned().context("cargo metadata: expected a list");
        let mut crates = Vec::new();
        for package in list(&metadata["packages"])? {
            let manifest = PathBuf::from(text(&package["manifest_path"])?);
            let folder = manifest.parent().and_then(|folder| folder.strip_prefix(&root).ok()).unwrap_or(Path::new("")).to_owned();
            let mut dependencies = Vec::new();
            for dependency in list(&package["dependencies"])? {
                dependencies.push(Dependency { name: text(&dependency["name"])?, dev: dependency["kind"] == "dev" });
            }
            crates.push(Crate { name: text(&package["name"])?, folder, dependencies });
        }
        Ok(Self { target: text(&metadata["target_directory"])?.into(), root, crates })
    }

    /// A cargo command that runs in the root.
    pub fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The program that a build with the dev profile made.
    pub fn built(&self, profile: &str, program: &str) -> PathBuf {
        self.target.join(profile).join(program)
    }

    /// The files that git tracks, or would if they were added, relative to the root, sorted.
    ///
    /// # Errors
    /// If git does not answer.
    pub fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&self.root);
        let listed = output(&mut git)?;
        let mut files: Vec<PathBuf> = listed.split_terminator('\0').map(PathBuf::from).collect();
        // One that was deleted and not yet committed is still listed.
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// A file's text; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn text(&self, file: impl AsRef<Path>) -> anyhow::Result<String> {
        let path = self.root.join(file);
        let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    // `cargo run` told this program about its own package; the cargo it starts must not see that, or build scripts run again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// If it cannot be started or fails.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} cannot be started"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

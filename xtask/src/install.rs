//! What the last stages need and a fresh machine may lack: a browser, the library that drives it, proxies, and Prometheus.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::process::{Group, installed};
use crate::repository::{Repository, output};

/// The names that the browser has in different distributions.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// A package index can be slow; this bounds a hang.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Where Debian keeps programs of the system, which are not on everybody's PATH.
const SYSTEM_PROGRAMS: &str = "/usr/sbin";

/// The browser, installed as a Debian package if there is none.
///
/// # Errors
/// If there is none and it cannot be installed: no `apt-get`, no right to, or it failed.
pub fn browser() -> anyhow::Result<PathBuf> {
    debian(&BROWSERS, "chromium")
}

/// nginx and HAProxy, installed as Debian packages if they are not there.
///
/// # Errors
/// As [`browser`].
pub fn proxies() -> anyhow::Result<Vec<PathBuf>> {
    let programs = [("nginx", "nginx-light"), ("haproxy", "haproxy")];
    programs.into_iter().map(|(program, package)| debian(&[program], package)).collect()
}

fn debian(programs: &[&str], package: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = find(programs) {
        return Ok(path);
    }
    println!("no {} found: installing the Debian package {package}", programs[0]);
    ensure!(installed("apt-get"), "there is no {package} and no apt-get to install it with; install it by hand");
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let apt_get = |arguments: &[&str]| {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        shown(&mut command).with_context(|| format!("{package} cannot be installed; install it by hand"))
    };
    apt_get(&["update"])?;
    apt_get(&["install", "-y", "--no-install-recommends", package])?;
    find(programs).with_context(|| format!("the package {package} was installed, but there is no such program on the PATH"))
}

/// Prometheus and its tool.
pub struct Prometheus {
    /// The server.
    pub prometheus: PathBuf,
    /// Checks rules, asks the server.
    pub promtool: PathBuf,
}

/// Prometheus as it is installed, or unpacked from its Debian package into the target folder: nothing is started by it, and no right is needed.
///
/// # Errors
/// If there is none and no `apt-get`, or the package cannot be fetched.
pub fn prometheus(repository: &Repository) -> anyhow::Result<Prometheus> {
    if let (Some(prometheus), Some(promtool)) = (find(&["prometheus"]), find(&["promtool"])) {
        return Ok(Prometheus { prometheus, promtool });
    }
    let folder = repository.target.join("prometheus");
    let bin = folder.join("usr/bin");
    let found = Prometheus { prometheus: bin.join("prometheus"), promtool: bin.join("promtool") };
    if !found.promtool.is_file() {
        ensure!(installed("apt-get") && installed("dpkg-deb"), "there is no Prometheus, and no apt-get to fetch it with");
        println!("no Prometheus found: fetching the Debian package prometheus into {}", folder.display());
        std::fs::create_dir_all(&folder)?;
        shown(Command::new("apt-get").args(["download", "prometheus"]).current_dir(&folder))?;
        let entries = std::fs::read_dir(&folder)?.filter_map(Result::ok).map(|entry| entry.path());
        let package = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let package = package.context("apt-get has downloaded nothing")?;
        shown(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&folder))?;
        std::fs::remove_file(package)?;
    }
    Ok(found)
}

/// The packages of a folder with a `package-lock.json`, installed if they are not, or not these.
///
/// # Errors
/// If there is no npm, or it fails.
pub fn node_packages(repository: &Repository, folder: &Path) -> anyhow::Result<()> {
    ensure!(installed("node") && installed("npm"), "there is no Node; install it (version 20 or later) by hand");
    let wanted = repository.text(folder.join("package-lock.json"))?;
    // Written last, so that an installation that broke off is done again.
    let mark = repository.target.join("installed").join(folder).join("package-lock.json");
    let folder = repository.root.join(folder);
    if folder.join("node_modules").is_dir() && std::fs::read_to_string(&mark).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("installing the Node packages of {}", folder.display());
    shown(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    std::fs::create_dir_all(mark.parent().context("the mark has a folder")?)?;
    std::fs::write(mark, wanted)?;
    Ok(())
}

fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).chain([PathBuf::from(SYSTEM_PROGRAMS)]).collect();
    programs.iter().find_map(|program| folders.iter().map(|folder| folder.join(program)).find(|at| at.is_file()))
}

fn shown(command: &mut Command) -> anyhow::Result<()> {
    let status = Group::start(command)?.finish(PATIENCE, |line| println!("  {line}"))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().to_string_lossy());
    }
    Ok(())
}

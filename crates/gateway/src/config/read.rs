//! The edge: finds and reads the file, and prints a configuration. The only part that touches the process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use towline_auth::GrantCondition;

use super::problem::{Problem, Problems, Source};
use super::value::Value as _;
use super::{Config, ConfigFile, Flag, Input, Loaded, load, settings};

/// A file larger than this is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the file is looked for when nobody names one.
const USUAL_FILE: &str = "towline.toml";

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// All others.
    pub values: Vec<Flag>,
}

/// The file to read: the flag's, else `TOWLINE_CONFIG`'s, else `./towline.toml` if it is there.
#[must_use]
pub fn find_file(flags: &Flags, env: &BTreeMap<String, String>) -> Option<(PathBuf, Source)> {
    if let Some(path) = &flags.file {
        return Some((path.clone(), Source::Flag("--config".to_owned())));
    }
    if let Some(path) = env.get("TOWLINE_CONFIG").filter(|path| !path.is_empty()) {
        return Some((path.into(), Source::Env("TOWLINE_CONFIG".to_owned())));
    }
    let usual = Path::new(USUAL_FILE);
    usual.exists().then(|| (usual.to_owned(), Source::Default))
}

/// Reads the configuration that a command line and an environment ask for. `base` holds the defaults.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read(base: Config, flags: Flags, env: BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let mut unreadable = None;
    let file = find_file(&flags, &env).and_then(|(path, source)| match read_file(&path) {
        Ok(text) => Some(ConfigFile { path, text }),
        Err(why) => {
            unreadable = Some(Problem { key: "file".to_owned(), source, message: format!("{}: {why}", path.display()) });
            None
        }
    });
    let loaded = load(Input { base, file, env, flags: flags.values });
    match (unreadable, loaded) {
        (None, loaded) => loaded,
        (Some(problem), Ok(_)) => Err(Problems(vec![problem])),
        (Some(problem), Err(mut others)) => {
            others.0.insert(0, problem);
            Err(others)
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes; a configuration has at most {FILE_BYTES_MAX}"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Reads a duration as the settings have it: `30s`, `5m`.
#[must_use]
pub fn read_duration(text: &str) -> Option<std::time::Duration> {
    std::time::Duration::read(text)
}

/// Each value with its source, as TOML that could be a file; secrets are left out of it.
#[must_use]
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut section = "";
    for setting in settings() {
        let (this, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if this != section {
            section = this;
            let _ = write!(out, "\n[{section}]\n");
        }
        let source = loaded.sources.get(setting.key).unwrap_or(&Source::Default);
        let value = setting.show(&loaded.config);
        let comment = if value.contains("[redacted]") { "# " } else { "" };
        let bare = value.parse::<u64>().is_ok() || value == "true" || value == "false";
        let value = if bare { value } else { toml::Value::String(value).to_string() };
        let _ = writeln!(out, "{:<52} # {source}; {}", format!("{comment}{name} = {value}"), setting.help);
    }
    lists(&loaded.config, &mut out);
    out
}

fn lists(config: &Config, out: &mut String) {
    let list = |texts: &[String]| toml::Value::from(texts.to_vec()).to_string();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    for issuer in &config.auth.issuers {
        let algorithms: Vec<String> = issuer.algorithms.iter().map(ToString::to_string).collect();
        let _ = write!(
            out,
            "\n[[auth.issuers]]\nissuer = {}\njwks_url = {}\naudiences = {}\nalgorithms = {}\n",
            quoted(issuer.issuer.as_deref().unwrap_or_default()),
            quoted(&issuer.jwks_url),
            list(&issuer.audiences),
            list(&algorithms)
        );
    }
    for rule in &config.auth.rules {
        let _ = write!(out, "\n[[auth.rules]]\nsubscribe = {}\npublish = {}\n", list(&rule.subscribe), list(&rule.publish));
        let _ = match &rule.when {
            GrantCondition::Authenticated => Ok(()),
            GrantCondition::ClaimEquals { claim, value } => {
                writeln!(out, "claim = {}\nequals = {}", quoted(&claim.to_string()), quoted(value))
            }
            GrantCondition::ClaimContains { claim, value } => {
                writeln!(out, "claim = {}\ncontains = {}", quoted(&claim.to_string()), quoted(value))
            }
        };
    }
    for topic in &config.log.topics {
        let retention = topic.policy.retention;
        let _ = write!(
            out,
            "\n[[log.topics]]\npattern = {}\ndurability = {}\nage = {}\nevents = {}\nbytes = {}\n",
            quoted(&topic.pattern.to_string()),
            quoted(&topic.policy.durability.show()),
            quoted(&retention.age_max.show()),
            quoted(&retention.events_max.show()),
            quoted(&retention.bytes_max.show()),
        );
    }
}

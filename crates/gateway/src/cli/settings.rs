//! Where a command's configuration comes from: its flags, and the process's environment and files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use towline::Config;
use towline::config::{Flag, Flags, Loaded, Problems, read};

/// Flags of every command that needs the server's configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigFlags {
    /// Configuration file in TOML [env: TOWLINE_CONFIG] [default: ./towline.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port of the server [env: TOWLINE_LISTEN] [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Directory of the log's files [env: TOWLINE_DATA_DIR] [default: ./towline-data].
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// Any other setting, for example --set sockets.idle_timeout=90s; `towline config print` lists them. May be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(#[from] pub Problems);

impl ConfigFlags {
    /// Reads the configuration over these defaults.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(self, base: Config) -> Result<Loaded, ConfigError> {
        let flag = |name: &str, key: &str, text: Option<String>| {
            text.map(|text| Flag { name: format!("--{name}"), key: key.to_owned(), text })
        };
        let mut values: Vec<Flag> =
            [flag("listen", "listen", self.listen), flag("data-dir", "data_dir", self.data_dir)].into_iter().flatten().collect();
        values.extend(self.set.into_iter().map(|(key, text)| Flag { name: format!("--set {key}"), key, text }));
        Ok(read(base, Flags { file: self.config, values }, environment())?)
    }
}

/// The environment. Names and values that are not UTF-8 cannot be settings of ours.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

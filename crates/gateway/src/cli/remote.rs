//! Which server a command talks to, and as whom.

use anyhow::Context as _;
use towline_client::{Client, Settings};

/// Where `towline serve` and `towline dev` listen if nothing else is said.
pub const URL_DEFAULT: &str = "http://127.0.0.1:8080";

/// Options of every command that talks to a running server.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// The server's address [env: TOWLINE_URL] [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A JWT or a service key. Better given as TOWLINE_TOKEN or TOWLINE_KEY: arguments are visible to other users of the machine.
    #[arg(long, visible_alias = "key", value_name = "TOKEN", hide_default_value = true)]
    token: Option<String>,
    /// Whom to be on a server in development mode, which takes your word for it.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
}

impl Remote {
    /// A client for these options. The first variable of `token_names` that is set gives the token, unless an option did.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub fn client(self, token_names: &[&str], settings: Settings) -> anyhow::Result<Client> {
        let url = self.url.or_else(|| variable("TOWLINE_URL")).unwrap_or_else(|| URL_DEFAULT.to_owned());
        let token = self.token.or_else(|| token_names.iter().find_map(|name| variable(name)));
        let mut builder = Client::builder(url).token(token).settings(settings);
        if let Some(user) = self.user {
            builder = builder.user(user);
        }
        builder.build().context("cannot reach a server like this")
    }
}

/// A variable that is set to something; a shell's `X= towline …` unsets.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

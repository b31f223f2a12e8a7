//! Which server a command talks to, and as whom.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use towline_client::{Client, Settings};

/// Where `towline serve` and `towline dev` listen if nothing else is said.
pub const URL_DEFAULT: &str = "http://127.0.0.1:8080";

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of every command that talks to a running server.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// The server's address [env: TOWLINE_URL] [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A JWT or a service key. Better given as TOWLINE_TOKEN or TOWLINE_KEY: arguments are visible to other users of the machine.
    #[arg(long, visible_alias = "key", value_name = "TOKEN", hide_default_value = true)]
    token: Option<String>,
    /// PEM file with the authority of the server's certificate, if it is not one that everybody trusts [env: TOWLINE_CA].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
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
        let (url, authorities) = (self.base_url(), self.authorities()?);
        let token = self.token.or_else(|| token_names.iter().find_map(|name| variable(name)));
        let mut builder = Client::builder(url).token(token).settings(settings);
        if let Some(user) = self.user {
            builder = builder.user(user);
        }
        if let Some(pem) = authorities {
            builder = builder.authorities(pem);
        }
        builder.build().context("cannot reach a server like this")
    }

    fn base_url(&self) -> String {
        self.url.clone().or_else(|| variable("TOWLINE_URL")).unwrap_or_else(|| URL_DEFAULT.to_owned())
    }

    fn authorities(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = self.ca.clone().or_else(|| variable("TOWLINE_CA").map(PathBuf::from)) else { return Ok(None) };
        std::fs::read(&path).map(Some).with_context(|| format!("--ca {}", path.display()))
    }

    fn http(&self) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder();
        if let Some(pem) = self.authorities()? {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).context("--ca")?);
        }
        builder.build().context("no HTTP client")
    }

    /// What a route of the REST interface answers to a service.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses; then the text is the server's.
    pub async fn get(&self, target: &str) -> anyhow::Result<Value> {
        self.ask(self.http()?.get(self.at(target))).await
    }

    /// The same for a route that changes something.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub async fn post(&self, target: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(self.http()?.post(self.at(target)).json(&body)).await
    }

    fn at(&self, target: &str) -> String {
        format!("{}{target}", self.base_url().trim_end_matches('/'))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let token = self.token.clone().or_else(|| ["TOWLINE_KEY", "TOWLINE_TOKEN"].iter().find_map(|name| variable(name)));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let answer = request.timeout(ANSWER_TIMEOUT).send().await.map_err(reqwest::Error::without_url);
        let answer = answer.with_context(|| format!("no answer from {}", self.base_url()))?;
        let status = answer.status();
        let body: Value = answer.json().await.with_context(|| format!("{} answers {status} and no JSON", self.base_url()))?;
        ensure!(status.is_success(), "{status}: {}", body["error"]["message"].as_str().unwrap_or("no reason given"));
        Ok(body)
    }
}

/// A variable that is set to something; a shell's `X= towline …` unsets.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

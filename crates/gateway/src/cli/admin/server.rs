//! The server that an operator talks to.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Response, Url};
use serde_json::Value;

use crate::cli::remote::{URL_DEFAULT, variable};

/// An answer is at most some hundred rows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of every command for operators.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// The server's address [env: TOWLINE_URL] [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An admin key. Better given as TOWLINE_ADMIN_KEY: arguments are visible to other users of the machine.
    #[arg(long, value_name = "KEY", hide_default_value = true)]
    key: Option<String>,
}

impl Server {
    /// Asks for `/api/v1/admin/{path…}` with the parameters that are something.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses: its own words.
    pub async fn get(&self, path: &[&str], query: &[(&str, Option<String>)]) -> anyhow::Result<Value> {
        let response = self.client(Some(ANSWER_TIMEOUT))?.get(self.address(path, query)?).bearer_auth(self.key()?).send().await;
        read(response).await
    }

    /// The same, for an answer that does not end.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub async fn follow(&self, path: &[&str], query: &[(&str, Option<String>)]) -> anyhow::Result<Response> {
        let response = self.client(None)?.get(self.address(path, query)?).bearer_auth(self.key()?).send().await;
        let response = response.context("the server cannot be reached")?;
        if response.status().is_success() { Ok(response) } else { refused(response).await }
    }

    /// Has something done.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let request = self.client(Some(ANSWER_TIMEOUT))?.post(self.address(path, &[])?).bearer_auth(self.key()?);
        read(request.json(body).send().await).await
    }

    fn key(&self) -> anyhow::Result<String> {
        let key = self.key.clone().or_else(|| variable("TOWLINE_ADMIN_KEY"));
        key.context("set TOWLINE_ADMIN_KEY to one of the server's admin keys (admin.keys_full or admin.keys_read)")
    }

    fn address(&self, path: &[&str], query: &[(&str, Option<String>)]) -> anyhow::Result<Url> {
        let base = self.url.clone().or_else(|| variable("TOWLINE_URL")).unwrap_or_else(|| URL_DEFAULT.to_owned());
        let mut url: Url = base.parse().with_context(|| format!("{base} is no address"))?;
        ensure!(matches!(url.scheme(), "http" | "https"), "the address must begin with http:// or https://");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1", "admin"]).extend(path);
        }
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        Ok(url)
    }

    fn client(&self, timeout: Option<Duration>) -> anyhow::Result<reqwest::Client> {
        let mut client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        if let Some(timeout) = timeout {
            client = client.timeout(timeout);
        }
        client.build().context("no HTTP client")
    }
}

async fn read(response: reqwest::Result<Response>) -> anyhow::Result<Value> {
    let response = response.context("the server cannot be reached")?;
    if !response.status().is_success() {
        return refused(response).await;
    }
    response.json().await.context("the server's answer is not JSON; is it a Towline?")
}

async fn refused<T>(response: Response) -> anyhow::Result<T> {
    let status = response.status();
    let answer: Value = response.json().await.unwrap_or_default();
    match answer["error"]["message"].as_str() {
        Some(message) if status == 404 => bail!("{message} (the admin interface is there only if admin keys are configured)"),
        Some(message) => bail!("{message}"),
        None => bail!("the server answered {status}"),
    }
}

//! Runs: beginning one and keeping it alive. Their events are published like any other, with their run's id; what a run is told stands
//! on its control topic, `control:{run_id}`.

use http::header::AUTHORIZATION;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use towline_protocol::ErrorBody;

use crate::client::{Client, bearer};

/// A run to begin.
#[derive(Debug, Clone, Serialize)]
pub struct NewRun {
    /// Its id: letters, digits and `_ - . : @ | + = / ~`, at most 128 bytes.
    pub run_id: String,
    /// Whose run it is.
    pub user_id: String,
    /// Which kind of agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Why a request about a run was not done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server refused: the code says whether the brake is engaged, or the run was stopped or has ended.
    #[error("refused: {}", .0.message)]
    Refused(ErrorBody),
    /// The server could not be reached or understood. Trying again is safe.
    #[error("the server did not answer: {0}")]
    Unreachable(String),
}

impl Client {
    /// Begins a run. Beginning one that runs already is harmless.
    ///
    /// # Errors
    /// [`RunError::Refused`] with `BRAKE_ENGAGED` while no run may begin, `RUN_STOPPED` or `RUN_ENDED` if the id is spent.
    pub async fn begin_run(&self, run: &NewRun) -> Result<(), RunError> {
        self.ask("", Some(run)).await.map(|_| ())
    }

    /// Says that a run is alive, and gives where it stands: `running`, `resuming`, `stopped`, `ended` or `lost`.
    ///
    /// # Errors
    /// [`RunError::Refused`] with `NOT_FOUND` if the server does not know it.
    pub async fn heartbeat(&self, run_id: &str) -> Result<String, RunError> {
        let target = format!("/{}/heartbeat", utf8_percent_encode(run_id, NON_ALPHANUMERIC));
        Ok(self.ask(&target, None).await?.state)
    }

    async fn ask(&self, target: &str, body: Option<&NewRun>) -> Result<Standing, RunError> {
        let unreachable = |why: String| RunError::Unreachable(why);
        let (base, query) = self.shared.events_url.rsplit_once("/events").unwrap_or_default();
        let token = self.shared.token.get().await.map_err(|error| unreachable(error.to_string()))?;
        let request = self.shared.http.post(format!("{base}/runs{target}{query}"));
        let mut request = request.timeout(self.shared.settings.request_timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(bearer) = token.as_deref().and_then(bearer) {
            request = request.header(AUTHORIZATION, bearer);
        }
        let answer = request.send().await.map_err(|error| unreachable(error.without_url().to_string()))?;
        let ok = answer.status().is_success();
        let text = answer.bytes().await.map_err(|error| unreachable(error.without_url().to_string()))?;
        if ok {
            return serde_json::from_slice(&text).map_err(|error| unreachable(error.to_string()));
        }
        match serde_json::from_slice::<Refused>(&text) {
            Ok(Refused { error }) if error.retryable => Err(unreachable(error.message)),
            Ok(Refused { error }) => Err(RunError::Refused(error)),
            Err(error) => Err(unreachable(error.to_string())),
        }
    }
}

#[derive(Deserialize)]
struct Standing {
    state: String,
}

#[derive(Deserialize)]
struct Refused {
    error: ErrorBody,
}

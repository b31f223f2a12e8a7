//! Beginning a run by request.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use towline_protocol::event::{ATTRIBUTE_BYTES_MAX, new_event_id};
use towline_protocol::{ErrorCode, TopicName};
use towline_runs::{Begin, RunView, TOPICS_MAX};

use super::right::{Asker, named};
use super::{asked, durable};
use crate::config::LEASE_RANGE;
use crate::http::failure::Failure;
use crate::shared::Shared;

/// A run to begin.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub struct RunRequest {
    /// Its id; a UUIDv7 if left out. Letters, digits and `_ - . : @ | + = / ~`, at most 128 bytes.
    #[serde(default)]
    pub run_id: Option<String>,
    /// Whose run it is.
    pub user_id: String,
    /// Which kind of agent.
    #[serde(default)]
    pub agent_type: Option<String>,
    /// The conversation it belongs to.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// The organisation it belongs to.
    #[serde(default)]
    pub org_id: Option<String>,
    /// One line for people.
    #[serde(default)]
    pub title: Option<String>,
    /// Where its events will go, at most 16; `user:{user_id}` if left out. Others join with their first event.
    #[serde(default)]
    pub topics: Option<Vec<String>>,
    /// The run is lost when nothing is heard of it for this long: 5,000 to 86,400,000; 60,000 by default.
    #[serde(default)]
    pub lease_ms: Option<u64>,
}

pub(super) async fn begin(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<RunView>, Failure> {
    let (identity, _, wanted) = asked::<RunRequest>(&shared, request).await?;
    let asker = Asker::new(&shared, &identity);
    let begin = read(&asker, wanted)?;
    let run_id = begin.run_id.clone();
    let begun = shared.runs.begin(begin, &asker.speaker).inspect_err(|refusal| shared.metrics.error(refusal.code))?;
    durable(&shared, begun).await?;
    let view = shared.runs.read(|registry, now| registry.view(&run_id, now));
    view.map(Json).ok_or_else(|| Failure::new(ErrorCode::StorageFailed, "the run could not be begun; try again later"))
}

fn read(asker: &Asker<'_>, wanted: RunRequest) -> Result<Begin, Failure> {
    let wrong = |name: &str, why: String| Failure::parameter(name, ErrorCode::InvalidFormat, why);
    let attribute = |name: &str, value: Option<String>| match value {
        Some(text) if text.len() > ATTRIBUTE_BYTES_MAX => {
            Err(wrong(name, format!("has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are allowed", text.len())))
        }
        other => Ok(other.map(String::into_boxed_str)),
    };
    let id = |kind: &str, value: Option<String>| value.map(|id| named(kind, &id)).transpose();
    let user_id = named("user", &wanted.user_id)?;
    let lease_ms = match wanted.lease_ms {
        Some(ms) if Duration::from_millis(ms) < LEASE_RANGE.0 || Duration::from_millis(ms) > LEASE_RANGE.1 => {
            let why = format!("must be from {} to {}", LEASE_RANGE.0.as_millis(), LEASE_RANGE.1.as_millis());
            return Err(wrong("lease_ms", why));
        }
        other => other,
    };
    let names = wanted.topics.unwrap_or_else(|| vec![format!("user:{user_id}")]);
    if names.len() > TOPICS_MAX {
        return Err(Failure::parameter("topics", ErrorCode::TooManyTopics, format!("a run may use at most {TOPICS_MAX} topics")));
    }
    let mut topics = Vec::with_capacity(names.len());
    // The user's own topic is asked for whether or not the run names it: it is what says whose run it is.
    let own = TopicName::of_user(&user_id).map_err(|why| wrong("user_id", why.to_string()))?;
    for name in names {
        topics.push(TopicName::new(&name).map_err(|why| Failure::parameter("topics", ErrorCode::InvalidTopic, why))?);
    }
    for topic in topics.iter().chain([&own]) {
        if topic.is_gateways_own() || !asker.may_publish(topic) {
            return Err(Failure::new(
                ErrorCode::Forbidden,
                format!("a run is begun by who may publish on its topics, and {topic} is not granted"),
            ));
        }
    }
    Ok(Begin {
        run_id: wanted.run_id.map_or_else(new_event_id, String::into_boxed_str),
        user_id: Some(user_id),
        thread_id: id("thread", wanted.thread_id)?,
        org_id: id("org", wanted.org_id)?,
        agent_type: attribute("agent_type", wanted.agent_type)?,
        title: attribute("title", wanted.title)?,
        topics,
        lease_ms,
        by: asker.speaker.actor.clone(),
    })
}

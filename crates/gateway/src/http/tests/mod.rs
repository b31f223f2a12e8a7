//! The REST interface over a real log, without a socket.

mod admin;
mod feed;
mod operation;
mod publish;
mod replay;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;
use towline_auth::{MintClaims, Secret, mint};
use towline_clock::Clock;
use towline_log::Durability;
use towline_log_embedded::{EmbeddedLog, OsFiles};
use towline_protocol::TopicPattern;

use crate::config::Config;
use crate::http::router;
use crate::shared::Shared;

const KEY: &str = "service-key-for-tests";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A server without its sockets.
struct Rest {
    shared: Arc<Shared>,
    router: Router,
    _data: TempDir,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The ids of a list of events or results.
    fn ids(&self, list: &str) -> Vec<String> {
        self.json()[list].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    fn error(&self) -> (u16, String) {
        let json = self.json();
        (
            self.status.as_u16(),
            format!("{}: {}", json["error"]["code"].as_str().unwrap(), json["error"]["message"].as_str().unwrap()),
        )
    }
}

impl Rest {
    /// With a service key and a shared secret.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.auth.service_keys = vec![Secret::new(KEY)];
        config.auth.jwt_secret = Some(Secret::new(SECRET));
        config.log.durability = Durability::Memory;
        change(&mut config);
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_719_958_453_042);
        let files = Arc::new(OsFiles::new(data.path()));
        let (log, _) = EmbeddedLog::open(config.log_options(), files, clock.clone()).unwrap();
        let shared = Shared::new(config, clock, Arc::new(log)).unwrap();
        Self { router: router(Arc::clone(&shared)), shared, _data: data }
    }

    /// As in `towline dev`.
    fn development() -> Self {
        Self::with(|config| {
            config.development = true;
            config.auth.jwt_secret = None;
        })
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str, credential: &str) -> Answer {
        let mut request = Request::get(path);
        if !credential.is_empty() {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, query: &str, credential: &str, body: impl Into<Body>) -> Answer {
        self.post_as(query, credential, &[], body).await
    }

    async fn post_as(&self, query: &str, credential: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(format!("/api/v1/events{query}"));
        if !credential.is_empty() {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Publishes events `{id}` with type `x` to a topic.
    async fn publish(&self, topic: &str, ids: &[&str]) {
        let events: Vec<Value> = ids.iter().map(|id| serde_json::json!({"topic": topic, "type": "x", "id": id})).collect();
        let answer = self.post("", KEY, serde_json::to_vec(&events).unwrap()).await;
        assert_eq!(answer.json()["stored"], ids.len(), "{}", answer.text);
    }

    fn token(&self, subject: &str, publish: &[&str]) -> String {
        let claims = MintClaims {
            subject: subject.to_owned(),
            ttl: Duration::from_secs(600),
            publish: publish.iter().map(|pattern| TopicPattern::new(pattern).unwrap()).collect(),
            ..MintClaims::default()
        };
        mint(&Secret::new(SECRET), &claims, self.shared.clock.unix_ms()).unwrap()
    }
}

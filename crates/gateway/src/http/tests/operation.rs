//! Health, metrics, documents, headers, and what is in the logs.

use std::io::Write;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[tokio::test]
async fn ready_means_that_traffic_is_welcome() {
    let rest = Rest::new();
    assert_eq!(rest.get("/livez", "").await.status, 200);
    assert_eq!(rest.get("/readyz", "").await.status, 200);
    rest.shared.begin_drain();
    let draining = rest.get("/readyz", "").await;
    assert_eq!((draining.status.as_u16(), draining.json()["reason"].as_str().unwrap()), (503, "the server is draining"));
    assert_eq!(rest.get("/livez", "").await.status, 200, "draining is no reason to be killed");
}

#[tokio::test]
async fn a_log_that_refuses_is_said_and_its_publishers_are_told() {
    let rest = Rest::new();
    rest.shared.log.close().await;
    let answer = rest.post("", KEY, r#"{"topic":"user:1","type":"x"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str().unwrap()), (503, "UNAVAILABLE"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(rest.get("/readyz", "").await.status, 503);
}

// proves: B9
#[tokio::test]
async fn metrics_count_by_route_and_name_no_user_and_no_topic() {
    let rest = Rest::new();
    rest.publish("user:somebody-special", &["an-id"]).await;
    rest.get("/api/v1/agents/events?user_id=somebody-special", KEY).await;
    rest.get("/api/v1/agents/events", "").await;
    rest.get("/no/such/somebody-special", "").await;
    let answer = rest.get("/metrics", "").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "ws_connected_total 0\n",
        "ws_sent_bytes_total 0\n",
        "towline_log_appended_total 1\n",
        "towline_publish_results_total{status=\"stored\"} 1\n",
        "towline_auth_failures_total{code=\"UNAUTHORIZED\"} 1\n",
        "towline_errors_total{code=\"NOT_FOUND\"} 1\n",
        "towline_http_requests_total{method=\"GET\",route=\"/api/v1/agents/events\",status=\"401\"} 1\n",
        "towline_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1\n",
    ] {
        assert!(answer.text.contains(line), "{line} is missing in\n{}", answer.text);
    }
    assert!(!answer.text.contains("somebody-special") && !answer.text.contains("an-id"));
}

#[tokio::test]
async fn documents_and_page_are_served_and_everything_has_its_headers() {
    let rest = Rest::new();
    assert_eq!(rest.get("/openapi.json", "").await.json()["openapi"], "3.1.0");
    assert_eq!(rest.get("/asyncapi.json", "").await.json()["asyncapi"], "3.0.0");
    let page = rest.get("/", "").await;
    assert!(page.text.to_ascii_lowercase().starts_with("<!doctype html>"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/", "/livez", "/openapi.json", "/nowhere", "/assets/nothing.js"] {
        let answer = rest.get(path, "").await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        assert!(answer.headers.contains_key("content-security-policy") && answer.headers.contains_key("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn everything_that_the_page_asks_for_is_there() {
    let rest = Rest::new();
    let mut wanted = vec!["/".to_owned()];
    let mut at = 0;
    while let Some(path) = wanted.get(at).cloned() {
        let answer = rest.get(&path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        for text in answer.text.split(['"', '\'']) {
            let file = match text.strip_prefix("./") {
                Some(file) if file.ends_with(".js") => format!("/assets/{file}"),
                _ => text.to_owned(),
            };
            if file.starts_with("/assets/") && !wanted.contains(&file) {
                wanted.push(file);
            }
        }
        at += 1;
    }
    assert!(wanted.len() > 1, "{wanted:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let rest = Rest::new();
    let (status, error) = rest.get("/nowhere?token=secret-token", "").await.error();
    assert!(status == 404 && error.contains("/nowhere") && !error.contains("secret-token"), "{error}");
    assert_eq!(rest.get("/api/v1/events", KEY).await.error().0, 405);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// proves: B1, B9
#[tokio::test]
async fn the_log_has_an_events_id_and_a_requests_trace_and_never_a_credential_or_payload() {
    let captured = Captured::default();
    let lines =
        tracing_subscriber::fmt().json().flatten_event(true).with_max_level(tracing::Level::TRACE).with_writer(captured.clone());
    // With a single dispatcher, tracing asks the thread that reaches a line first whether anybody wants it, for all threads: another test's has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(lines.finish());
    let rest = Rest::new();
    let token = rest.token("1", &["user:1"]);
    let body = r#"{"topic":"user:1","type":"x","id":"event-id-1","data":{"card":"4111-1111"},"title":"private title"}"#;
    rest.post_as("", &token, &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], body).await;
    rest.get(&format!("/api/v1/agents/events?token={token}"), "").await;
    rest.get("/api/v1/agents/events?token=wrong-credential", "").await;
    rest.post("", "wrong-credential", body).await;
    let text = String::from_utf8(captured.0.lock().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "event stored" && line["trace_id"] == "event-id-1"), "{text}");
    let request = lines.iter().find(|line| line["trace_id"] == "0af7651916cd43dd8448eb211c80319c").unwrap();
    assert_eq!((&request["route"], &request["status"]), (&"/api/v1/events".into(), &200.into()));
    for secret in [token.as_str(), KEY, SECRET, "wrong-credential", "4111-1111", "private title"] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

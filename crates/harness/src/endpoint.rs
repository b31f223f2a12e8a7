//! Where a gateway answers, and what a test needs to talk to it: the same for one in process and for the real binary.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};
use towline_auth::Secret;
use towline_clock::Clock;
use towline_protocol::message::StoredAt;

use crate::handshake::Handshake;
use crate::patience::PATIENCE;
use crate::raw_socket::RawSocket;
use crate::socket::Socket;
use crate::sse_reader::SseReader;
use crate::token::Token;
use crate::wire::{connect, try_connect};

/// The key of the service that publishes in tests.
pub const SERVICE_KEY: &str = "harness-service-key-0123456789";
/// The secret that tokens are signed with.
pub const JWT_SECRET: &str = "harness-secret-harness-secret-harness-secret";

/// The origin of the web page that may connect in tests.
pub const PAGE: &str = "https://app.example.com";

/// Where a gateway answers.
pub struct Endpoint {
    address: SocketAddr,
    clock: Clock,
    http: reqwest::Client,
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// A gateway that runs already, with the harness's service key and secret.
    #[must_use]
    pub fn at(address: SocketAddr, clock: Clock) -> Self {
        Self::over(address, clock, None)
    }

    pub(crate) fn over(address: SocketAddr, clock: Clock, tls: Option<Arc<ClientConfig>>) -> Self {
        // Keeps no idle connection, so that a server's connections are those of the test.
        let mut http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE * 3);
        if let Some(config) = &tls {
            http = http.tls_backend_preconfigured(ClientConfig::clone(config));
        }
        Self { address, clock, http: http.build().unwrap_or_else(|error| panic!("{error}")), tls }
    }

    /// The same server as somebody with this TLS configuration sees it: one that shows a certificate, for example.
    #[must_use]
    pub fn with_tls(&self, config: Arc<ClientConfig>) -> Self {
        Self::over(self.address, self.clock.clone(), Some(config))
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address of its own as a URL.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        format!("http{}://{}{target}", if self.tls.is_some() { "s" } else { "" }, self.address)
    }

    /// The clock that tokens are made by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// An HTTP client that follows no proxy.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A token for a subject; say more about it and [`Token::mint`] it.
    #[must_use]
    pub fn token(&self, subject: &str) -> Token {
        Token::new(Secret::new(JWT_SECRET), self.clock.clone(), subject)
    }

    /// A handshake on the native door.
    #[must_use]
    pub fn native(&self) -> Handshake {
        Handshake::native(self.address).tls(self.tls.clone())
    }

    /// The same in MessagePack.
    #[must_use]
    pub fn native_binary(&self) -> Handshake {
        Handshake::native_binary(self.address).tls(self.tls.clone())
    }

    /// A handshake on the feed door of a user.
    #[must_use]
    pub fn feed(&self, user_id: &str) -> Handshake {
        Handshake::feed(self.address, user_id).tls(self.tls.clone())
    }

    /// A handshake on the topic hub.
    #[must_use]
    pub fn hub(&self) -> Handshake {
        Handshake::hub(self.address)
    }

    /// A handshake on the unified door.
    #[must_use]
    pub fn unified(&self) -> Handshake {
        Handshake::unified(self.address)
    }

    /// An open native socket of a user, behind its `welcome`.
    pub async fn connect(&self, subject: &str) -> Socket {
        self.connect_with(self.token(subject)).await
    }

    /// An open native socket with a token or service key, behind its `welcome`.
    pub async fn connect_with(&self, token: impl Into<String>) -> Socket {
        let mut socket = self.native().bearer(token).open().await;
        socket.expect("welcome", PATIENCE).await;
        socket
    }

    /// A connection for bytes by hand, over TLS if the server speaks that.
    pub async fn raw(&self) -> RawSocket {
        RawSocket::of(connect(self.address, None, self.tls.clone()).await)
    }

    /// The same, or why there is none.
    ///
    /// # Errors
    /// The server refuses, in the TLS handshake perhaps.
    pub async fn try_raw(&self) -> std::io::Result<RawSocket> {
        Ok(RawSocket::of(try_connect(self.address, None, self.tls.clone()).await?))
    }

    /// The same with a small kernel buffer for what is not read.
    pub async fn raw_with_receive_buffer(&self, bytes: u32) -> RawSocket {
        RawSocket::of(connect(self.address, Some(bytes), self.tls.clone()).await)
    }

    /// An event stream. `target` is the path with its query.
    ///
    /// # Errors
    /// Status and body, if it is refused.
    pub async fn stream(
        &self,
        target: &str,
        token: impl Into<String>,
        last_event_id: Option<&str>,
    ) -> Result<SseReader, (u16, String)> {
        SseReader::open(&self.http, &self.url(target), target, &token.into(), last_event_id).await
    }

    /// Publishes one event with the service key and returns where it stands.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn publish(&self, topic: &str, kind: &str, data: Value) -> StoredAt {
        let body = json!({"topic": topic, "type": kind, "data": data});
        let (status, answer) = self.post_events("", &body.to_string()).await;
        let stored = serde_json::from_value(answer["results"][0].clone());
        stored.unwrap_or_else(|_| panic!("publishing to {topic}: {status} {answer}"))
    }

    /// Publishes `count` events with `data` `{"n": first}`, `{"n": first + 1}` … in one request.
    ///
    /// # Panics
    /// If one is not stored.
    pub async fn publish_numbered(&self, topic: &str, first: usize, count: usize) -> Vec<StoredAt> {
        self.publish_padded(topic, first, count, 0).await
    }

    /// The same with data that has about `bytes` bytes more.
    ///
    /// # Panics
    /// If one is not stored.
    pub async fn publish_padded(&self, topic: &str, first: usize, count: usize, bytes: usize) -> Vec<StoredAt> {
        let pad = "x".repeat(bytes);
        let mut stored = Vec::with_capacity(count);
        let numbers: Vec<usize> = (first..first + count).collect();
        for chunk in numbers.chunks((2 << 20) / (bytes + 200)) {
            let events: Vec<Value> =
                chunk.iter().map(|n| json!({"topic": topic, "type": "test.numbered", "data": {"n": n, "pad": pad}})).collect();
            for events in events.chunks(1_000) {
                let (status, answer) = self.post_events("", &Value::from(events).to_string()).await;
                assert!(status == 200 && answer["refused"] == 0, "publishing to {topic}: {status} {answer}");
                let results = serde_json::from_value::<Vec<StoredAt>>(answer["results"].clone());
                stored.extend(results.unwrap_or_else(|error| panic!("{error}: {answer}")));
            }
        }
        stored
    }

    /// Sends a body of JSON to the publishing route with the service key.
    pub async fn post_events(&self, query: &str, body: &str) -> (u16, Value) {
        self.post_events_as(SERVICE_KEY, query, "application/json", body).await
    }

    /// Sends a body of any kind to the publishing route. An empty token sends none.
    pub async fn post_events_as(&self, token: impl Into<String>, query: &str, content_type: &str, body: &str) -> (u16, Value) {
        let url = self.url(&format!("/api/v1/events{query}"));
        let (token, request) = (token.into(), self.http.post(url).header("content-type", content_type).body(body.to_owned()));
        answer(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    /// Sends text that should be JSON to a route. An empty token sends none.
    pub async fn post_text(&self, target: &str, token: impl Into<String>, body: &str) -> (u16, Value) {
        let token = token.into();
        let request = self.http.post(self.url(target)).header("content-type", "application/json").body(body.to_owned());
        answer(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    /// An answer to a GET as JSON, with its status. An empty token sends none.
    pub async fn get(&self, target: &str, token: impl Into<String>) -> (u16, Value) {
        let token = token.into();
        let request = self.http.get(self.url(target));
        answer(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    /// An answer to a POST of JSON, with its status.
    pub async fn post(&self, target: &str, token: impl Into<String>, body: &Value) -> (u16, Value) {
        answer(self.http.post(self.url(target)).bearer_auth(token.into()).json(body)).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let text = async { self.http.get(self.url("/metrics")).send().await?.text().await };
        text.await.unwrap_or_else(|error| panic!("/metrics: {error}"))
    }

    /// One metric, by its name and labels as they stand in `/metrics`; 0 if it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap_or_else(|error| panic!("{error:?}"));
    let status = response.status().as_u16();
    let text = response.text().await.unwrap_or_else(|error| panic!("{error:?}"));
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

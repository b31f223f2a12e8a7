//! A server under the test's control: it accepts one socket at a time and says what the test says.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use towline_client::{Client, ClientBuilder, Settings, Subscription, Update};

/// Far beyond what anything here takes: reached only by a test that fails.
const FAILURE_AFTER: Duration = Duration::from_secs(20);

pub struct Server {
    listener: TcpListener,
}

impl Server {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// A client that reconnects at once.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(self.url()).settings(quick())
    }

    pub async fn tcp(&self) -> TcpStream {
        within(self.listener.accept()).await.unwrap().0
    }

    /// The next socket, before any word.
    pub async fn accept(&self) -> Peer {
        let mut headers = HeaderMap::new();
        let tcp = self.tcp().await;
        #[allow(clippy::result_large_err, reason = "the handshake's callback type is the library's")]
        let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            headers = request.headers().clone();
            response.headers_mut().insert("sec-websocket-protocol", "towline.v1".parse().unwrap());
            Ok(response)
        };
        let socket = within(accept_hdr_async(tcp, answer)).await.unwrap();
        Peer { socket, headers }
    }

    /// The next socket, welcomed, its subscribe answered from where it asked (from `0` of epoch 1, if it named no position).
    pub async fn serve(&self) -> (Peer, Value) {
        let mut peer = self.accept().await;
        peer.welcome().await;
        let asked = peer.take_subscribe().await;
        (peer, asked)
    }
}

pub fn quick() -> Settings {
    Settings { reconnect_delay: Duration::from_millis(1), reconnect_delay_max: Duration::from_millis(2), ..Settings::default() }
}

pub struct Peer {
    socket: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
}

impl Peer {
    pub async fn say(&mut self, json: Value) {
        within(self.socket.send(Message::text(json.to_string()))).await.unwrap();
    }

    pub async fn welcome(&mut self) {
        self.say(json!({"v": 1, "id": "w", "topic": "$connection", "type": "welcome", "ts": 1, "data": {
            "connection_id": "c1", "user_id": "u", "server_time": 1.0, "heartbeat_interval_ms": 30000, "idle_timeout_ms": 60000,
            "topics": [], "limits": {"message_bytes_max": 65536, "topics_max": 100}}}))
            .await;
    }

    /// Takes a subscribe, answers it, and gives back what was asked: `{topic: from}`.
    pub async fn take_subscribe(&mut self) -> Value {
        let request = self.hear("subscribe").await;
        let mut asked = json!({});
        let mut subscriptions = Vec::new();
        for entry in request["data"]["topics"].as_array().unwrap() {
            asked[entry["topic"].as_str().unwrap()] = entry["from"].clone();
            let from = if entry["from"].is_object() { entry["from"].clone() } else { json!({"epoch": "1", "offset": 0}) };
            subscriptions.push(json!({"topic": entry["topic"], "from": from, "to": from, "complete": true}));
        }
        let data = json!({"subscriptions": subscriptions, "errors": []});
        self.say(json!({"type": "subscribe_ack", "correlation_id": request["id"], "data": data})).await;
        asked
    }

    pub async fn event(&mut self, topic: &str, offset: u64) {
        self.say(event(topic, offset, json!({}))).await;
    }

    /// The next message, which must be of this type.
    pub async fn hear(&mut self, kind: &str) -> Value {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let json: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(json["type"], kind, "{json}");
                    return json;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected {kind}, got {other:?}"),
            }
        }
    }

    /// The code with which the client closes; what it says before is passed over.
    pub async fn hear_close(&mut self) -> u16 {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    pub async fn close(mut self, code: u16, reason: &'static str) {
        within(self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() }))).await.unwrap();
        // Until the client has answered, so that the frame is not lost to a reset.
        while let Some(Ok(_)) = within(self.socket.next()).await {}
    }
}

pub fn event(topic: &str, offset: u64, data: Value) -> Value {
    json!({"v": 1, "id": format!("{topic}-{offset}"), "topic": topic, "type": "x", "ts": 1, "epoch": "1", "offset": offset, "data": data})
}

pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(FAILURE_AFTER, future).await.expect("nothing happened for too long")
}

/// The next update.
pub async fn next(subscription: &mut Subscription) -> Update {
    within(subscription.next()).await.expect("the subscription has ended")
}

/// The next `count` events as `topic offset`; other updates are passed over.
pub async fn events(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Update::Event(event) = next(subscription).await {
            seen.push(format!("{} {}", event.topic, event.position.offset));
        }
    }
    seen
}

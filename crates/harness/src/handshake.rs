//! A WebSocket handshake, with all that a client may say in it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Request};
use rustls::ClientConfig;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::socket::Socket;
use crate::wire::connect;

/// A handshake to be made.
#[derive(Debug, Clone)]
pub struct Handshake {
    address: SocketAddr,
    path: String,
    parameters: Vec<String>,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
    receive_buffer_bytes: Option<u32>,
    tls: Option<Arc<ClientConfig>>,
    envelope: bool,
}

/// A handshake that the server refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: String,
}

impl Handshake {
    /// A plain handshake for `path`.
    #[must_use]
    pub fn new(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            path: path.to_owned(),
            parameters: Vec::new(),
            headers: Vec::new(),
            protocols: Vec::new(),
            receive_buffer_bytes: None,
            tls: None,
            envelope: false,
        }
    }

    /// The native door: `/ws` with `towline.v1`, where every packet must be envelope v1.
    #[must_use]
    pub fn native(address: SocketAddr) -> Self {
        let handshake = Self::new(address, "/ws").protocol("towline.v1");
        Self { envelope: true, ..handshake }
    }

    /// The native door in MessagePack.
    #[must_use]
    pub fn native_binary(address: SocketAddr) -> Self {
        let handshake = Self::new(address, "/ws").protocol("towline.v1+msgpack");
        Self { envelope: true, ..handshake }
    }

    /// The feed door of a user.
    #[must_use]
    pub fn feed(address: SocketAddr, user_id: &str) -> Self {
        Self::new(address, &format!("/api/v1/ws/agents/{user_id}"))
    }

    /// The topic hub, where every packet must be envelope v1 too.
    #[must_use]
    pub fn hub(address: SocketAddr) -> Self {
        Self { envelope: true, ..Self::new(address, "/api/ws") }
    }

    /// The unified door: `/ws` without a subprotocol.
    #[must_use]
    pub fn unified(address: SocketAddr) -> Self {
        Self::new(address, "/ws")
    }

    /// The token in the query, as browsers send it.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.parameter("token", &token)
    }

    /// The token in the `Authorization` header.
    #[must_use]
    pub fn bearer(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The token as a subprotocol.
    #[must_use]
    pub fn token_protocol(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.protocol(&format!("jwt.{token}"))
    }

    /// A one-time ticket in the query.
    #[must_use]
    pub fn ticket(self, ticket: &str) -> Self {
        self.parameter("ticket", ticket)
    }

    /// Comes from a web page.
    #[must_use]
    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    /// Offers a subprotocol.
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        self.protocols.push(name.to_owned());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a query parameter; the value must need no escaping.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(format!("{name}={value}"));
        self
    }

    /// Lets the kernel keep only this much for a reader that does not read.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Speaks over TLS.
    #[must_use]
    pub fn tls(mut self, config: Option<Arc<ClientConfig>>) -> Self {
        self.tls = config;
        self
    }

    /// Opens the socket.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn open(self) -> Socket {
        let path = self.path.clone();
        match self.try_open().await {
            Ok(socket) => socket,
            Err(Refused { status, body, .. }) => panic!("the handshake for {path} was refused: {status} {body}"),
        }
    }

    /// Opens the socket, or says how it was refused.
    ///
    /// # Errors
    /// The server's answer.
    ///
    /// # Panics
    /// If there is no server, or its answer is not HTTP.
    pub async fn try_open(self) -> Result<Socket, Refused> {
        let request = self.request();
        let stream = connect(self.address, self.receive_buffer_bytes, self.tls.clone()).await;
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024).max_message_size(Some(64 << 20));
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((stream, response)) => Ok(Socket::new(stream, &response, &self.path, self.envelope)),
            Err(Error::Http(response)) => {
                let (parts, body) = response.into_parts();
                let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                Err(Refused { status: parts.status.as_u16(), headers: parts.headers, body })
            }
            Err(error) => panic!("the handshake for {} failed: {error}", self.path),
        }
    }

    fn request(&self) -> Request<()> {
        let query = if self.parameters.is_empty() { String::new() } else { format!("?{}", self.parameters.join("&")) };
        let url = format!("ws://{}{}{query}", self.address, self.path);
        let mut request = url.into_client_request().unwrap_or_else(|error| panic!("{error}"));
        let mut add = |name: &str, value: &str| {
            let name = http::HeaderName::try_from(name).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            let value = http::HeaderValue::try_from(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
            request.headers_mut().append(name, value);
        };
        for (name, value) in &self.headers {
            add(name, value);
        }
        if !self.protocols.is_empty() {
            add("sec-websocket-protocol", &self.protocols.join(", "));
        }
        request
    }
}

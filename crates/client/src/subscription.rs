//! A subscription and the task that drives it: sockets, timers and the queue to the consumer. The decisions are the session's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, http};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use towline_protocol::{CloseCode, StartRequest, TopicName};

use crate::backoff::Backoff;
use crate::client::{Encoding, Settings, Shared, bearer};
use crate::session::{Action, Ending, Next, Session};
use crate::token::TokenError;
use crate::update::Update;
use crate::wire;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Fetching = Pin<Box<dyn Future<Output = Result<Option<String>, TokenError>> + Send>>;

/// What one read from the network may bring at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// The client writes little: requests and pongs. More than this waiting means that the server does not read.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// A closing handshake that takes longer is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A set of topics that is followed until this is dropped. The socket then closes with code 1000, and nothing reconnects any more.
#[derive(Debug)]
pub struct Subscription {
    updates: mpsc::Receiver<Update>,
}

impl Subscription {
    pub(crate) fn start(shared: Arc<Shared>, topics: Vec<(TopicName, StartRequest)>) -> Self {
        let settings = &shared.settings;
        let (sender, updates) = mpsc::channel(settings.updates_max.max(1));
        let backoff = Backoff::new(settings.reconnect_delay, settings.reconnect_delay_max, fastrand::u64(..));
        let session = Session::new(topics, backoff, shared.token.can_refresh(), settings.idle_timeout);
        tokio::spawn(Driver { shared, session, updates: sender }.run());
        Self { updates }
    }

    /// The next update; `None` once [`Update::Stopped`] was given. Events of one topic come in order, each once; between topics there is
    /// no order. Cancellation safe: an update that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }
}

/// The consumer dropped its subscription.
struct Gone;

struct Driver {
    shared: Arc<Shared>,
    session: Session,
    updates: mpsc::Sender<Update>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let opened = tokio::select! {
                () = self.updates.closed() => return,
                opened = connect(&self.shared) => opened,
            };
            let ending = match opened {
                Ok(socket) => match self.converse(socket).await {
                    Ok(ending) => ending,
                    Err(Gone) => return,
                },
                Err(ending) => ending,
            };
            match self.session.ended(ending) {
                Next::Stop(reason) => {
                    // A consumer that is gone need not know.
                    let _ = self.updates.send(Update::Stopped(reason)).await;
                    return;
                }
                Next::Retry(delay, update) => {
                    if self.emit(update).await.is_err() {
                        return;
                    }
                    tokio::select! {
                        () = self.updates.closed() => return,
                        () = sleep(delay) => {}
                    }
                }
            }
        }
    }

    /// Serves one connection to its end.
    async fn converse(&mut self, mut socket: Socket) -> Result<Ending, Gone> {
        self.session.opened(self.shared.clock.uptime());
        let mut fetching: Option<Fetching> = None;
        loop {
            let patience = self.session.deadline().saturating_sub(self.shared.clock.uptime());
            let actions = tokio::select! {
                () = self.updates.closed() => {
                    close(socket, CloseCode::Normal, "the consumer is done").await;
                    return Err(Gone);
                }
                token = fetched(&mut fetching) => match token {
                    Ok(Some(token)) => self.session.token(&token),
                    Ok(None) => Vec::new(),
                    // The next connection asks again.
                    Err(error) => {
                        tracing::warn!(%error, "no fresh token for the connection");
                        Vec::new()
                    }
                },
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.session.frame(&text, self.shared.clock.uptime()),
                    Some(Ok(Message::Binary(bytes))) => self.binary(&bytes),
                    Some(Ok(Message::Close(frame))) => {
                        finish(socket).await;
                        return Ok(frame.map_or_else(
                            || Ending::Lost { reason: "the server closed without a code".to_owned() },
                            |frame| Ending::Code { code: frame.code.into(), reason: frame.reason.to_string() },
                        ));
                    }
                    Some(Ok(_)) => {
                        self.session.heard(self.shared.clock.uptime());
                        Vec::new()
                    }
                    Some(Err(error)) => return Ok(Ending::Lost { reason: error.to_string() }),
                    None => return Ok(Ending::Lost { reason: "the connection ended".to_owned() }),
                },
                () = sleep(patience) => self.session.tick(self.shared.clock.uptime()),
            };
            for action in actions {
                match action {
                    Action::Emit(update) => {
                        if self.emit(update).await.is_err() {
                            close(socket, CloseCode::Normal, "the consumer is done").await;
                            return Err(Gone);
                        }
                    }
                    Action::Send(text) => {
                        match timeout(
                            self.shared.settings.idle_timeout,
                            socket.send(wire::message(text, self.shared.settings.encoding)),
                        )
                        .await
                        {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => return Ok(Ending::Lost { reason: error.to_string() }),
                            Err(_) => return Ok(Ending::Lost { reason: "the server accepts no bytes".to_owned() }),
                        }
                    }
                    Action::FetchToken => {
                        let shared = Arc::clone(&self.shared);
                        fetching = Some(Box::pin(async move { shared.token.get().await }));
                    }
                    Action::Close { code, reason } => {
                        close(socket, code, reason).await;
                        return Ok(Ending::Lost { reason: reason.to_owned() });
                    }
                }
            }
        }
    }

    fn binary(&mut self, bytes: &[u8]) -> Vec<Action> {
        let Settings { encoding, message_bytes_max, .. } = self.shared.settings;
        if encoding != Encoding::MessagePack {
            return vec![Action::Close { code: CloseCode::Unsupported, reason: "towline.v1 has no binary frames" }];
        }
        match wire::text_of(bytes, message_bytes_max) {
            Ok(text) => self.session.frame(&text, self.shared.clock.uptime()),
            Err(error) => {
                tracing::warn!(%error, "the server sent what cannot be read");
                vec![Action::Close { code: CloseCode::Protocol, reason: "the server sent a frame that is no MessagePack" }]
            }
        }
    }

    /// Hands an update to the consumer. While a slow one keeps it waiting, the socket is not read: that is the backpressure.
    async fn emit(&mut self, update: Update) -> Result<(), Gone> {
        match self.updates.try_send(update) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(update)) => {
                self.updates.send(update).await.map_err(|_| Gone)?;
                // What came meanwhile lies unread; the silence was ours.
                self.session.heard(self.shared.clock.uptime());
                Ok(())
            }
        }
    }
}

/// The token being fetched; never, if none is.
async fn fetched(fetching: &mut Option<Fetching>) -> Result<Option<String>, TokenError> {
    match fetching {
        Some(future) => {
            let token = future.await;
            *fetching = None;
            token
        }
        None => std::future::pending().await,
    }
}

async fn connect(shared: &Shared) -> Result<Socket, Ending> {
    let lost = |reason: String| Ending::Lost { reason };
    let attempt = async {
        let token = shared.token.get().await.map_err(|error| lost(error.to_string()))?;
        let mut request = shared.socket_uri.clone().into_client_request().map_err(|error| lost(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(
            http::header::SEC_WEBSOCKET_PROTOCOL,
            http::HeaderValue::from_static(wire::subprotocol(shared.settings.encoding)),
        );
        if let Some(token) = token {
            let bearer =
                bearer(&token).ok_or_else(|| lost("the token holds characters that a header cannot carry".to_owned()))?;
            headers.insert(http::header::AUTHORIZATION, bearer);
        }
        // Small requests and pongs should not wait for each other.
        let nodelay = true;
        let tls = shared.tls.clone().map(Connector::Rustls);
        connect_async_tls_with_config(request, Some(limits(&shared.settings)), nodelay, tls).await.map_err(ending)
    };
    match timeout(shared.settings.connect_timeout, attempt).await {
        Ok(Ok((socket, _response))) => Ok(socket),
        Ok(Err(ending)) => Err(ending),
        Err(_) => Err(lost(format!("no connection within {:?}", shared.settings.connect_timeout))),
    }
}

/// The defaults would buffer without end on write, and hold 128 KiB for reading.
fn limits(settings: &Settings) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(settings.message_bytes_max))
        .max_frame_size(Some(settings.message_bytes_max))
}

fn ending(error: SocketError) -> Ending {
    match error {
        SocketError::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            Ending::Refused {
                status: response.status().as_u16(),
                message: crate::publish::message_of(body)
                    .unwrap_or_else(|| response.status().canonical_reason().unwrap_or("no reason given").to_owned()),
                retry_after: crate::publish::retry_after(response.headers()),
            }
        }
        other => Ending::Lost { reason: other.to_string() },
    }
}

async fn close(mut socket: Socket, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame { code: code.number().into(), reason: reason.into() };
    if matches!(timeout(CLOSE_TIMEOUT, socket.close(Some(frame))).await, Ok(Ok(()))) {
        finish(socket).await;
    }
}

/// Completes the closing handshake, within bounds.
async fn finish(mut socket: Socket) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}

//! An application that takes webhook calls, well or badly: it notes each call and answers as the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::patience::PATIENCE;

/// A call that arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// The path that was called.
    pub path: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The body as JSON.
    pub json: Value,
    /// What it was answered.
    pub reply: Reply,
}

/// How to answer a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// With a status.
    Status(u16),
    /// With a status and `Retry-After`.
    RetryAfter(u16, u64),
    /// With a redirect to this path of the same receiver.
    Redirect(&'static str),
    /// With 200 and a body that never ends.
    Endless,
    /// After this long, with 200.
    After(Duration),
    /// Not at all.
    Hang,
    /// By closing the connection.
    Close,
}

type Answer = Box<dyn FnMut(&Call) -> Reply + Send>;

/// A running receiver. Dropping it ends it.
pub struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

struct Inner {
    answer: Mutex<Answer>,
    calls: watch::Sender<Vec<Call>>,
    ended: watch::Sender<usize>,
}

impl Call {
    /// The message's own content: `payload` of the data.
    #[must_use]
    pub fn payload(&self) -> &Value {
        &self.json["data"]["payload"]
    }

    /// Who sent the message.
    #[must_use]
    pub fn user(&self) -> &str {
        self.json["data"]["user_id"].as_str().unwrap_or_default()
    }
}

impl Receiver {
    /// A receiver that answers each call as `answer` says.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(answer: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no port is free: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let inner = Arc::new(Inner {
            answer: Mutex::new(Box::new(answer)),
            calls: watch::Sender::new(Vec::new()),
            ended: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&inner)));
        Self { address, inner, accepting }
    }

    /// Where it takes calls.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, answer: impl FnMut(&Call) -> Reply + Send + 'static) {
        *self.inner.answer.lock() = Box::new(answer);
    }

    /// The calls so far, in the order of their arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.borrow().clone()
    }

    /// How many calls were answered to their end.
    #[must_use]
    pub fn answered(&self) -> usize {
        *self.inner.ended.borrow()
    }

    /// Waits until the calls are as they should be, and returns them.
    ///
    /// # Panics
    /// If that does not happen; the text has all calls.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&[Call]) -> bool) -> Vec<Call> {
        let mut calls = self.inner.calls.subscribe();
        let found = tokio::time::timeout(PATIENCE, calls.wait_for(|calls| condition(calls))).await;
        match found {
            Ok(Ok(calls)) => calls.clone(),
            _ => {
                let lines: Vec<String> =
                    self.calls().iter().map(|call| format!("{} {} -> {:?}", call.id, call.json, call.reply)).collect();
                panic!("waited in vain: {what}; the calls were\n{}", lines.join("\n"))
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        let service = service_fn(move |request| take(Arc::clone(&inner), request));
        tokio::spawn(async move {
            // It ends with an error if the caller goes away or the test says so.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Answered>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut call = Call {
        path: parts.uri.path().to_owned(),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
        reply: Reply::Hang,
    };
    call.reply = (inner.answer.lock())(&call);
    let reply = call.reply.clone();
    inner.calls.send_modify(|calls| calls.push(call));
    let response = Response::builder();
    let response = match reply {
        Reply::Hang => std::future::pending().await,
        Reply::Close => return Err(std::io::Error::other("the test says so")),
        Reply::Status(status) => response.status(status).body(Answered::Whole(Full::from("thanks"))),
        Reply::RetryAfter(status, seconds) => {
            response.status(status).header("retry-after", seconds).body(Answered::Whole(Full::default()))
        }
        Reply::Redirect(path) => response.status(307).header("location", path).body(Answered::Whole(Full::default())),
        Reply::Endless => response.body(Answered::Endless),
        Reply::After(delay) => {
            tokio::time::sleep(delay).await;
            response.body(Answered::Whole(Full::default()))
        }
    };
    inner.ended.send_modify(|ended| *ended += 1);
    response.map_err(std::io::Error::other)
}

enum Answered {
    Whole(Full<Bytes>),
    Endless,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(full) => std::pin::Pin::new(full).poll_frame(context),
            Self::Endless => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b' '; 1024]))))),
        }
    }
}

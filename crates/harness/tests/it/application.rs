//! An application that is asked who may do what: a real HTTP server that answers, hangs, lies or is gone, as a test tells it.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use towline::Config;
use towline_auth::Secret;

pub const SECRET: &str = "application-secret-0123456789";

/// How it answers a question.
pub type Judge = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

/// What it answers.
#[derive(Clone)]
pub enum Reply {
    /// 200 with this.
    Json(Value),
    /// This status, headers and body.
    Raw(u16, String, String),
    /// Nothing, until the asker gives up.
    Hang,
    /// Yes, once [`Application::release`] is called.
    Held,
}

pub struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    judge: Mutex<Judge>,
    /// Heads (lower case) and bodies.
    asked: Mutex<Vec<(String, Value)>>,
    /// Questions being answered: now, and the most at once.
    busy: Mutex<(usize, usize)>,
    arrived: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Application {
    /// One that says yes to everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            judge: Mutex::new(Arc::new(|_| Reply::Json(json!({"allow": true})))),
            asked: Mutex::default(),
            busy: Mutex::default(),
            arrived: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            // Its connections go with it.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(answer(socket, Arc::clone(&serving)));
            }
        });
        Self { address, shared, server }
    }

    /// Makes a gateway ask it.
    pub fn asked_by(&self, config: &mut Config) {
        config.authorization.url = Some(format!("http://{}/may?key=hidden", self.address));
        config.authorization.secrets = vec![Secret::new(SECRET)];
    }

    pub fn answers(&self, judge: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        *self.shared.judge.lock() = Arc::new(judge);
    }

    /// The questions so far.
    pub fn questions(&self) -> Vec<Value> {
        self.shared.asked.lock().iter().map(|(_, question)| question.clone()).collect()
    }

    /// The head and body of the last one.
    pub fn last(&self) -> (String, Value) {
        self.shared.asked.lock().last().cloned().unwrap()
    }

    pub async fn asked_at_least(&self, count: usize) {
        self.shared.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    /// The most questions that were worked on at once.
    pub fn busiest(&self) -> usize {
        self.shared.busy.lock().1
    }

    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(mut socket: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut input = Vec::new();
    loop {
        let Some((head, body)) = request(&mut socket, &mut input).await? else { return Ok(()) };
        let question: Value = serde_json::from_slice(&body).unwrap();
        shared.asked.lock().push((head, question.clone()));
        {
            let mut busy = shared.busy.lock();
            busy.0 += 1;
            busy.1 = busy.1.max(busy.0);
        }
        shared.arrived.send_modify(|arrived| *arrived += 1);
        let judge = Arc::clone(&shared.judge.lock());
        let (status, headers, body) = match judge(&question) {
            Reply::Json(value) => (200, String::new(), value.to_string()),
            Reply::Raw(status, headers, body) => (status, headers, body),
            Reply::Hang => {
                // Until the asker goes away.
                let _ = socket.read(&mut [0; 1]).await;
                shared.busy.lock().0 -= 1;
                return Ok(());
            }
            Reply::Held => {
                let _ = shared.released.subscribe().wait_for(|released| *released).await;
                (200, String::new(), json!({"allow": true}).to_string())
            }
        };
        shared.busy.lock().0 -= 1;
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
    }
}

async fn request(socket: &mut TcpStream, input: &mut Vec<u8>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
            if input.len() >= end + 4 + length {
                let body = input[end + 4..end + 4 + length].to_vec();
                input.drain(..end + 4 + length);
                return Ok(Some((head, body)));
            }
        }
        if socket.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

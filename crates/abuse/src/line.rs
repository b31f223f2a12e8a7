//! An attacker's connection: bytes out, bytes in, nothing checked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// No attacker waits longer for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP connection from an address of its own.
pub struct Line(TcpStream);

/// The attackers' addresses: 127.0.`house`.`number`, so that limits per address are met and not those of the honest.
#[derive(Debug, Clone, Copy)]
pub struct From(pub u8, pub u8);

impl Line {
    /// Connects.
    pub async fn open(to: SocketAddr, from: From) -> io::Result<Self> {
        Self::open_with_buffer(to, from, None).await
    }

    /// Connects with a small kernel buffer for what is not read.
    pub async fn open_with_buffer(to: SocketAddr, From(house, number): From, receive_bytes: Option<u32>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, house, number)), 0))?;
        within(socket.connect(to)).await.map(Self)
    }

    /// Sends bytes; gives up where the server takes none.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.0.write_all(bytes)).await
    }

    /// Asks for an upgrade and returns the answer's status.
    pub async fn upgrade(&mut self, target: &str, headers: &str) -> io::Result<u16> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        self.send(request.as_bytes()).await?;
        self.status().await
    }

    /// The status of an HTTP answer, of which no more is read than is there.
    pub async fn status(&mut self) -> io::Result<u16> {
        let mut head = [0; 2048];
        let taken = within(self.0.read(&mut head)).await?;
        let status = std::str::from_utf8(head.get(9..12.min(taken)).unwrap_or_default()).ok();
        status.and_then(|text| text.parse().ok()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads for a while, so that the server gets rid of its answers. True if it has closed the connection.
    pub async fn read_for(&mut self, long: Duration) -> bool {
        let mut piece = [0; 4096];
        let reading = async { while matches!(self.0.read(&mut piece).await, Ok(taken) if taken > 0) {} };
        tokio::time::timeout(long, reading).await.is_ok()
    }

    /// Ends with a reset, without goodbye.
    pub fn cut(self) {
        // Where that cannot be set, the drop says goodbye instead.
        let _ = self.0.set_zero_linger();
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

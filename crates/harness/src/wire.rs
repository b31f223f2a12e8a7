//! What bytes go over: TCP, with TLS on it where the server speaks that.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::MaybeTlsStream;

/// A connection, whatever it goes over.
pub(crate) type Wire = MaybeTlsStream<TcpStream>;

/// A connection whose kernel buffer is small, if so wanted.
pub(crate) async fn connect(address: SocketAddr, receive_buffer_bytes: Option<u32>, tls: Option<Arc<ClientConfig>>) -> Wire {
    let connected = try_connect(address, receive_buffer_bytes, tls).await;
    connected.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
}

/// The same, or why not.
pub(crate) async fn try_connect(
    address: SocketAddr,
    receive_buffer_bytes: Option<u32>,
    tls: Option<Arc<ClientConfig>>,
) -> std::io::Result<Wire> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    match tls {
        None => Ok(MaybeTlsStream::Plain(stream)),
        Some(config) => {
            let name = ServerName::IpAddress(address.ip().into());
            Ok(MaybeTlsStream::Rustls(tokio_rustls::TlsConnector::from(config).connect(name, stream).await?))
        }
    }
}

//! An echo server on the reactor: what the Autobahn test suite talks to, so that it judges the same accept and frame code as the
//! gateway's. The handshake's HTTP part is read with a minimal parser; its rules are the real ones.
//!
//! `cargo run -p towline-sockets --example echo -- --listen 127.0.0.1:9001`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use towline_clock::Clock;
use towline_sockets::websocket::extensions::{self, Deflate};
use towline_sockets::websocket::{Limits, Message, Opcode, deflate, handshake, write_compressed_header, write_frame};
use towline_sockets::{
    Application, Arrival, ConnectionId, Connections, Ended, Io, Life, Mailbox, Reactor, Settings, prepare_socket,
};

struct Echo;

/// The gateway's default.
const LEVEL: u32 = 3;

impl Application for Echo {
    /// The compression that was agreed upon.
    type Session = Option<Deflate>;
    type Ticket = Option<Deflate>;
    type Note = ();

    fn opened(&mut self, io: &mut Io<'_>, agreed: Option<Deflate>) -> Option<Deflate> {
        if agreed.is_some() {
            io.allow_compressed();
        }
        agreed
    }
    fn message(&mut self, io: &mut Io<'_>, agreed: &mut Option<Deflate>, message: Message<'_>) {
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
            _ => return,
        };
        let (mut frame, mut shorter) = (Vec::new(), Vec::new());
        if agreed.is_some_and(|agreed| deflate(payload, LEVEL, agreed.window, &mut shorter)) {
            write_compressed_header(&mut frame, opcode, shorter.len());
            frame.extend_from_slice(&shorter);
        } else {
            write_frame(&mut frame, opcode, payload);
        }
        io.send_frame(&frame);
    }
    fn writable(&mut self, _: &mut Io<'_>, _: &mut Option<Deflate>) {}
    fn note(&mut self, _: &mut Connections<'_, Self>, (): ()) {}
    fn turn_ends(&mut self, _: &mut Connections<'_, Self>) {}
    fn tick(&mut self, _: &mut Io<'_>, _: &mut Option<Deflate>) {}
    fn closed(&mut self, _: ConnectionId, _: Option<Deflate>, _: Ended, _: Life) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--listen"), Some(address)) => address,
        _ => return Err("usage: echo --listen ADDRESS:PORT".into()),
    };
    let limits = Limits { message_bytes_max: 64 << 20, fragments_max: 1 << 20 };
    let settings = Settings { limits, ..Settings::default() };
    let reactor = Reactor::start(&settings, &Clock::system(), |_, _| Echo)?;
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    for (number, stream) in listener.incoming().enumerate() {
        let mailbox: Mailbox<Echo> = reactor.mailboxes()[number % reactor.mailboxes().len()].clone();
        if let Err(error) = shake_hands(stream?, &mailbox) {
            eprintln!("no handshake: {error}");
        }
    }
    Ok(())
}

fn shake_hands(mut stream: TcpStream, mailbox: &Mailbox<Echo>) -> Result<(), Box<dyn std::error::Error>> {
    let mut head = Vec::new();
    let end = loop {
        let mut block = [0; 1024];
        let n = stream.read(&mut block)?;
        head.extend_from_slice(&block[..n]);
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if n == 0 || head.len() > 16 * 1024 {
            return Err("no request".into());
        }
    };
    let mut headers = http::HeaderMap::new();
    for line in std::str::from_utf8(&head[..end])?.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').ok_or("bad header")?;
        headers.append(http::HeaderName::from_bytes(name.as_bytes())?, value.trim().parse()?);
    }
    let upgrade = handshake::accept(&http::Method::GET, http::Version::HTTP_11, &headers).map_err(|e| e.to_string())?;
    let accept = handshake::accept_key(upgrade.key);
    let agreed = extensions::negotiate(&headers)?;
    let extension = match agreed {
        Some(agreed) => format!("Sec-WebSocket-Extensions: {}\r\n", agreed.answer().to_str()?),
        None => String::new(),
    };
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
    )?;
    prepare_socket(&stream, 256 * 1024)?;
    mailbox.arrive(Arrival::WebSocket(stream, head[end + 4..].to_vec()), agreed)?;
    Ok(())
}

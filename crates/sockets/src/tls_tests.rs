use std::io::{Read as _, Write as _};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use super::*;

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    (Arc::new(server), Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

struct Pair {
    server: TlsSession,
    client: ClientConnection,
    heard: Vec<u8>,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let (server, client) = configs(version);
        let client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
        Self { server: TlsSession::new(server).unwrap(), client, heard: Vec::new() }
    }

    fn open(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        while pair.server.is_handshaking() || pair.client.is_handshaking() {
            pair.tell_server(usize::MAX).unwrap();
            pair.tell_client();
        }
        pair
    }

    fn client_says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// What the client has to say, cut into pieces of so many bytes.
    fn tell_server(&mut self, piece: usize) -> Result<(), TlsError> {
        let bytes = self.client_says();
        for piece in bytes.chunks(piece.min(bytes.len().max(1))) {
            self.server.receive(&mut piece.to_vec(), |plain| self.heard.extend_from_slice(plain))?;
        }
        Ok(())
    }

    fn tell_client(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        while !self.server.unsent().is_empty() {
            let mut unsent = self.server.unsent();
            let sent = self.client.read_tls(&mut unsent).unwrap();
            self.server.sent(sent);
            if self.client.process_new_packets().is_ok() {
                let _ = self.client.reader().read_to_end(&mut plain);
            }
        }
        plain
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn what_is_said_arrives_however_it_is_cut() {
    for version in VERSIONS {
        for piece in [1, 7, 1_000, usize::MAX] {
            let mut pair = Pair::new(version);
            while pair.server.is_handshaking() || pair.client.is_handshaking() {
                pair.tell_server(piece).unwrap();
                pair.tell_client();
            }
            pair.client.writer().write_all(&[7; 40_000]).unwrap();
            pair.tell_server(piece).unwrap();
            assert_eq!(pair.heard, [7; 40_000]);
            let said = vec![9; 50_000];
            let mut taken = 0;
            while taken < said.len() {
                taken += pair.server.seal(&said[taken..]).unwrap();
                assert!(pair.server.unsent().len() <= 2 * RECORD_BYTES_MAX);
                let heard = pair.tell_client();
                assert_eq!(heard.len(), taken.min(SEAL_BYTES_MAX + taken % SEAL_BYTES_MAX).min(heard.len()));
            }
        }
    }
}

#[test]
fn nothing_is_held_while_idle() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"hello").unwrap();
        pair.tell_server(3).unwrap();
        pair.server.seal(b"hello yourself").unwrap();
        assert_eq!(pair.tell_client(), b"hello yourself");
        assert_eq!((pair.server.partial.capacity(), pair.server.unsent.capacity()), (0, 0));
    }
}

/// rustls counts on finding half a message again in front of what comes next, also when it encrypts in between.
#[test]
fn half_a_key_update_harms_nobody() {
    let mut pair = Pair::open(&rustls::version::TLS13);
    // Long after the tickets.
    pair.client.refresh_traffic_keys().unwrap();
    pair.client.writer().write_all(b"under the new key").unwrap();
    let bytes = pair.client_says();
    for at in 1..bytes.len() {
        pair.server.receive(&mut bytes[at - 1..at].to_vec(), |plain| pair.heard.extend_from_slice(plain)).unwrap();
        pair.server.seal(b"x").unwrap();
    }
    pair.server.receive(&mut bytes[bytes.len() - 1..].to_vec(), |plain| pair.heard.extend_from_slice(plain)).unwrap();
    assert_eq!(pair.heard, b"under the new key");
    assert_eq!(pair.tell_client(), vec![b'x'; bytes.len() - 1]);
}

#[test]
fn the_end_is_said_once_and_heard() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        pair.tell_server(usize::MAX).unwrap();
        assert!(pair.server.is_over());
        assert_eq!(pair.heard, b"last words");
        pair.server.seal(b"mine").unwrap();
        pair.server.close().unwrap();
        let length = pair.server.unsent().len();
        pair.server.close().unwrap();
        assert_eq!(pair.server.unsent().len(), length);
        assert!(pair.server.seal(b"more").is_err() || version.version == ProtocolVersion::TLSv1_2);
        assert_eq!(&pair.tell_client()[..4], b"mine");
    }
}

#[test]
fn a_forged_record_ends_the_session_with_an_alert() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"genuine").unwrap();
        let mut bytes = pair.client_says();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(pair.server.receive(&mut bytes, |_| panic!("it is forged")).is_err());
        assert!(!pair.server.unsent().is_empty(), "the peer is told");
        pair.tell_client();
        assert!(pair.server.receive(&mut [23, 3, 3, 0, 1, 0], |_| ()).is_err());
    }
}

#[test]
fn garbage_is_refused_and_bounded() {
    let (config, _) = configs(&rustls::version::TLS13);
    let mut session = TlsSession::new(Arc::clone(&config)).unwrap();
    assert!(session.receive(&mut b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), |_| ()).is_err());
    assert!(session.seal(b"x").is_err());
    // A handshake message that announces 16 MB, in record after record.
    let mut session = TlsSession::new(config).unwrap();
    let mut taken = 0;
    let record = [&[22, 3, 1, 0x10, 0x00][..], &[1, 0xff, 0xff, 0xff], &[0; 0x1000 - 4]].concat();
    while session.receive(&mut record.clone(), |_| ()).is_ok() {
        taken += record.len();
        assert!(taken <= HANDSHAKE_BYTES_MAX + record.len());
    }
}

//! The server's side of the opening handshake (RFC 6455 section 4.2) as a function of a request's method, version and headers.
//!
//! Does not check `Origin` or credentials, or choose a subprotocol: the caller does. Extensions are [`crate::extensions`]' affair; leaving
//! `Sec-WebSocket-Extensions` out of the answer refuses them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use sha1::{Digest as _, Sha1};

/// The most subprotocols a client may offer. Towline knows a handful; a token may travel as one more.
pub const PROTOCOLS_MAX: usize = 16;

/// Section 1.3: proves that the server read the key as a WebSocket server does.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key is a nonce, so the unused bits of its last character carry nothing that could be wrong.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A request that may be answered with 101.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The client's key, for [`accept_key`].
    pub key: &'a str,
    /// The subprotocols offered, in the client's order of preference; distinct, at most [`PROTOCOLS_MAX`]. May contain a token.
    pub protocols: Vec<&'a str>,
}

impl fmt::Debug for Upgrade<'_> {
    // An offered subprotocol may be a bearer token, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("key", &self.key).field("protocols", &self.protocols.len()).finish()
    }
}

/// Why a request cannot be answered with 101. Answer with [`HandshakeError::status`], [`HandshakeError::headers`] and the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// An ordinary request, which did not ask for a WebSocket.
    #[error("this address speaks WebSocket: send `Connection: Upgrade` and `Upgrade: websocket`")]
    NotAnUpgrade,
    /// Only GET upgrades.
    #[error("a WebSocket handshake must be a GET request")]
    Method,
    /// The `Upgrade` mechanism belongs to HTTP/1.1.
    #[error("a WebSocket handshake must be an HTTP/1.1 request")]
    HttpVersion,
    /// One half of the request for an upgrade is missing, as behind a proxy that drops hop-by-hop headers.
    #[error("`Upgrade: websocket` came without `Connection: Upgrade`; a proxy in between may have removed it")]
    ConnectionHeader,
    /// The other half.
    #[error("`Connection: Upgrade` came without `Upgrade: websocket`; a proxy in between may have removed it")]
    UpgradeHeader,
    /// `Host` is missing or repeated.
    #[error("exactly one Host header is needed")]
    Host,
    /// Bytes of a body would be read as frames.
    #[error("a WebSocket handshake may not have a body")]
    Body,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("exactly one `Sec-WebSocket-Version: 13` header is needed; no other version is spoken here")]
    ProtocolVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in base64.
    #[error("exactly one Sec-WebSocket-Key header with 16 bytes in base64 is needed")]
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of distinct tokens.
    #[error("Sec-WebSocket-Protocol must be a list of distinct tokens separated by commas")]
    Protocols,
    /// `Sec-WebSocket-Extensions` is not a list of extensions with parameters.
    #[error("Sec-WebSocket-Extensions must be a list of extensions with parameters (RFC 6455 section 9.1)")]
    Extensions,
    /// More subprotocols than [`PROTOCOLS_MAX`].
    #[error("Sec-WebSocket-Protocol may offer at most {PROTOCOLS_MAX} subprotocols")]
    TooManyProtocols,
}

impl HandshakeError {
    /// The status to answer with: 400, 405 or 426.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAnUpgrade | Self::ProtocolVersion => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The headers that the status calls for (RFC 9110 sections 10.2.1 and 15.5.22, RFC 6455 section 4.4).
    #[must_use]
    pub fn headers(&self) -> &'static [(HeaderName, HeaderValue)] {
        static ALLOW: [(HeaderName, HeaderValue); 1] = [(http::header::ALLOW, HeaderValue::from_static("GET"))];
        static UPGRADE_REQUIRED: [(HeaderName, HeaderValue); 3] = [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        ];
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => &ALLOW,
            StatusCode::UPGRADE_REQUIRED => &UPGRADE_REQUIRED,
            _ => &[],
        }
    }
}

/// Checks a request for an upgrade to WebSocket.
///
/// # Errors
/// [`HandshakeError`] names the first rule that the request breaks; [`HandshakeError::NotAnUpgrade`] if it never asked for an upgrade.
pub fn accept<'a>(method: &Method, version: Version, headers: &'a HeaderMap) -> Result<Upgrade<'a>, HandshakeError> {
    if method != Method::GET {
        return Err(HandshakeError::Method);
    }
    match (lists(headers, &CONNECTION, "upgrade"), lists(headers, &UPGRADE, "websocket")) {
        (true, true) => {}
        (true, false) => return Err(HandshakeError::UpgradeHeader),
        (false, true) => return Err(HandshakeError::ConnectionHeader),
        (false, false) => return Err(HandshakeError::NotAnUpgrade),
    }
    if version != Version::HTTP_11 {
        return Err(HandshakeError::HttpVersion);
    }
    if single(headers, &HOST).is_none() {
        return Err(HandshakeError::Host);
    }
    if headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0") {
        return Err(HandshakeError::Body);
    }
    if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version.trim_ascii() != b"13") {
        return Err(HandshakeError::ProtocolVersion);
    }
    Ok(Upgrade { key: key(headers)?, protocols: protocols(headers)? })
}

/// The value of `Sec-WebSocket-Accept` that answers a client's key (section 4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

fn key(headers: &HeaderMap) -> Result<&str, HandshakeError> {
    let key = single(headers, &SEC_WEBSOCKET_KEY).and_then(|key| std::str::from_utf8(key.trim_ascii()).ok());
    let key = key.ok_or(HandshakeError::Key)?;
    // 16 bytes take 24 characters; the buffer has room for what any 24 decode to.
    let mut nonce = [0; 18];
    if key.len() == 24 && KEY_BASE64.decode_slice(key, &mut nonce) == Ok(16) { Ok(key) } else { Err(HandshakeError::Key) }
}

fn protocols(headers: &HeaderMap) -> Result<Vec<&str>, HandshakeError> {
    let mut protocols = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let before = protocols.len();
        for item in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            // Recipients of a list must overlook empty items (RFC 9110 section 5.6.1.2).
            if item.is_empty() {
                continue;
            }
            if protocols.len() == PROTOCOLS_MAX {
                return Err(HandshakeError::TooManyProtocols);
            }
            match std::str::from_utf8(item) {
                Ok(item) if item.bytes().all(is_token_byte) && !protocols.contains(&item) => protocols.push(item),
                _ => return Err(HandshakeError::Protocols),
            }
        }
        if protocols.len() == before {
            return Err(HandshakeError::Protocols);
        }
    }
    Ok(protocols)
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether one of the header's comma-separated items is `token`, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let items = headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.map(<[u8]>::trim_ascii).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

/// The header's value if it stands there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

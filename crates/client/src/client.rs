//! The client: an address, a credential and limits. Publishing and subscribing stand on it.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use towline_clock::Clock;
use towline_protocol::{StartRequest, TopicName};

use crate::backoff::Backoff;
use crate::error::SetupError;
use crate::subscription::Subscription;
use crate::token::TokenSource;

/// How the messages of a subscription travel. What they say is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// JSON text.
    #[default]
    Json,
    /// MessagePack: about a sixth smaller, less with longer texts in the events.
    MessagePack,
}

/// Limits, times and the encoding of a client. Each has a default that fits a service on a network.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A connection attempt is given up after this long.
    pub connect_timeout: Duration,
    /// One HTTP request is given up, and repeated, after this long.
    pub request_timeout: Duration,
    /// A connection on which nothing comes for this long is given up; after half of it the client asks with a ping.
    pub idle_timeout: Duration,
    /// The delay before the second connection attempt; it doubles with each further one.
    pub reconnect_delay: Duration,
    /// The longest delay between connection attempts, before jitter.
    pub reconnect_delay_max: Duration,
    /// Updates that wait for a slow consumer. When they are this many, the client stops reading its socket; the server then
    /// serves from its log at the consumer's pace.
    pub updates_max: usize,
    /// A message larger than this ends the connection: it bounds what a server can make the client hold.
    pub message_bytes_max: usize,
    /// How long publishing is tried again while the server is away or overloaded.
    pub publish_patience: Duration,
    /// How the messages of subscriptions travel. Publishing is HTTP and stays JSON.
    pub encoding: Encoding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            reconnect_delay: Backoff::BASE,
            reconnect_delay_max: Backoff::CEILING,
            updates_max: 256,
            message_bytes_max: 4 * 1024 * 1024,
            publish_patience: Duration::from_secs(30),
            encoding: Encoding::default(),
        }
    }
}

/// A client of one server. Cheap to clone; clones share the HTTP connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) socket_uri: Uri,
    pub(crate) events_url: String,
    pub(crate) token: TokenSource,
    pub(crate) http: reqwest::Client,
    /// For sockets, if the server's certificate is judged by other authorities than the usual.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
}

/// Makes a [`Client`].
#[derive(Debug)]
pub struct ClientBuilder {
    base_url: String,
    user: Option<String>,
    token: TokenSource,
    settings: Settings,
    authorities: Option<Vec<u8>>,
}

impl Client {
    /// A client of the server at `base_url`, for example `https://towline.example.com`; a path is kept as a prefix.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            base_url: base_url.into(),
            user: None,
            token: TokenSource::None,
            settings: Settings::default(),
            authorities: None,
        }
    }

    /// Follows topics, each from its own start, over one socket that reconnects by itself. The work happens on a task of the current
    /// Tokio runtime, which ends when the subscription is dropped.
    ///
    /// # Errors
    /// [`SetupError`] if there is no topic or a name breaks the rules. Everything later arrives as an [`crate::Update`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn subscribe<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = (T, StartRequest)>,
    ) -> Result<Subscription, SetupError> {
        let topics = topics
            .into_iter()
            .map(|(name, start)| {
                let name = name.as_ref();
                let topic = TopicName::new(name).map_err(|source| SetupError::BadTopic { name: name.to_owned(), source })?;
                Ok((topic, start))
            })
            .collect::<Result<Vec<_>, SetupError>>()?;
        if topics.is_empty() {
            return Err(SetupError::NoTopics);
        }
        Ok(Subscription::start(Arc::clone(&self.shared), topics))
    }
}

impl ClientBuilder {
    /// The credential: a text that never changes, or [`TokenSource::refreshed_by`] a function.
    #[must_use]
    pub fn token(mut self, token: impl Into<TokenSource>) -> Self {
        self.token = token.into();
        self
    }

    /// Whom to be on a server in development mode, which takes the user's word for it. A server with authentication ignores it.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user = Some(id.into());
        self
    }

    /// Limits and times.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The authorities, in PEM, that may have signed the server's certificate; no other counts then. Without it the usual ones do.
    #[must_use]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Makes the client. It connects to nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] if the address or the token cannot be used.
    pub fn build(self) -> Result<Client, SetupError> {
        let bad = || SetupError::BadAddress(self.base_url.clone());
        let base: Uri = self.base_url.trim_end_matches('/').parse().map_err(|_| bad())?;
        let (plain, socket_scheme) = match base.scheme_str() {
            Some("http" | "ws") => ("http", "ws"),
            Some("https" | "wss") => ("https", "wss"),
            _ => return Err(bad()),
        };
        let authority = base.authority().ok_or_else(bad)?;
        // Credentials in an address end in logs.
        if authority.as_str().contains('@') || base.query().is_some() {
            return Err(bad());
        }
        let prefix = base.path().trim_end_matches('/');
        let query = self
            .user
            .as_deref()
            .map(|user| format!("?user_id={}", utf8_percent_encode(user, NON_ALPHANUMERIC)))
            .unwrap_or_default();
        let socket_uri = format!("{socket_scheme}://{authority}{prefix}/ws{query}").parse().map_err(|_| bad())?;
        let events_url = format!("{plain}://{authority}{prefix}/api/v1/events{query}");
        if let TokenSource::Static(token) = &self.token {
            bearer(token).ok_or(SetupError::BadToken)?;
        }
        if plain == "http" && !is_loopback(authority.host()) && !matches!(self.token, TokenSource::None) {
            tracing::warn!("the token goes over the network unencrypted: use an https address");
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(self.settings.connect_timeout)
            // A redirect would carry events and the credential to somewhere nobody named.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(authority.host()) {
            http = http.no_proxy();
        }
        let tls = self.authorities.as_deref().map(trusting).transpose()?;
        if let Some(config) = &tls {
            http = http.tls_backend_preconfigured(ClientConfig::clone(config));
        }
        let shared = Shared {
            tls,
            socket_uri,
            events_url,
            token: self.token,
            http: http.build()?,
            settings: self.settings,
            clock: Clock::system(),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

/// Trusts the servers of these authorities and no others.
fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, SetupError> {
    let bad = |why: &dyn std::fmt::Display| SetupError::BadAuthorities(why.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(bad(&"there is no certificate in it"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The `Authorization` header of a token; `None` if it cannot stand in one.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_a_socket_and_a_rest_url() {
        for (base, user, socket, events) in [
            ("http://127.0.0.1:8080", None, "ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080/api/v1/events"),
            ("https://t.example/gate/", None, "wss://t.example/gate/ws", "https://t.example/gate/api/v1/events"),
            (
                "ws://[::1]:1",
                Some("a b&c"),
                "ws://[::1]:1/ws?user_id=a%20b%26c",
                "http://[::1]:1/api/v1/events?user_id=a%20b%26c",
            ),
        ] {
            let mut builder = Client::builder(base);
            builder.user = user.map(str::to_owned);
            let client = builder.build().unwrap();
            assert_eq!((client.shared.socket_uri.to_string().as_str(), client.shared.events_url.as_str()), (socket, events));
        }
        for bad in ["", "nonsense", "ftp://x", "http://", "http://user:pass@host", "http://host/?q=1", "http://ho st"] {
            assert!(matches!(Client::builder(bad).build(), Err(SetupError::BadAddress(_))), "{bad}");
        }
        assert!(matches!(Client::builder("http://localhost").token("a\nb").build(), Err(SetupError::BadToken)));
    }

    #[test]
    fn subscriptions_need_topics_with_good_names() {
        let client = Client::builder("http://localhost:1").build().unwrap();
        assert!(matches!(client.subscribe(Vec::<(&str, _)>::new()), Err(SetupError::NoTopics)));
        assert!(matches!(client.subscribe([("a b", StartRequest::Latest)]), Err(SetupError::BadTopic { .. })));
    }
}

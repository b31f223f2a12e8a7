//! An issuer on loopback: mints tokens, serves its keys, misbehaves on request. For tests only; the keys live as long as the process.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::algorithm::{KeyKind, SigningAlgorithm};
use crate::issuer::IssuerConfig;

/// What the issuer answers to whoever asks for its keys.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Its key set, as [`TestIssuer::publish`] left it.
    Keys,
    /// This document.
    Document(Vec<u8>),
    /// This status and nothing else.
    Status(u16),
    /// A redirect to this address.
    Redirect(String),
    /// The head of an answer, and never the rest.
    Hang,
    /// Its key set, once [`TestIssuer::release`] is called.
    Held,
}

/// An issuer. Stops serving when dropped.
pub struct TestIssuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    keys: Mutex<Value>,
    asked: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl TestIssuer {
    /// Starts an issuer that publishes a key for each algorithm; the key id is the algorithm's kind: `rsa`, `p256`, `p384`, `ed25519`.
    ///
    /// # Errors
    /// If no loopback port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Keys),
            keys: Mutex::new(Value::Null),
            asked: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        let issuer = Self { address, shared, server };
        issuer.publish(all_keys());
        Ok(issuer)
    }

    /// Its `iss`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of its keys.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.address)
    }

    /// A configuration that trusts it.
    #[must_use]
    pub fn config(&self) -> IssuerConfig {
        IssuerConfig::new(Some(&self.issuer()), &self.jwks_url())
    }

    /// How often its keys were asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Waits until its keys were asked for `times` times in all.
    pub async fn asked_at_least(&self, times: usize) {
        let mut asked = self.shared.asked.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = asked.wait_for(|count| *count >= times).await;
    }

    /// Publishes other keys from now on: a list of JWKs.
    pub fn publish(&self, keys: Vec<Value>) {
        *self.shared.keys.lock() = json!({ "keys": keys });
    }

    /// Answers differently from now on.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock() = answer;
    }

    /// Lets answers of [`Answer::Held`] go, those waiting and those to come.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// An RS256 token of this issuer for a subject, valid from `now_ms` for an hour.
    #[must_use]
    pub fn token(&self, subject: &str, now_ms: u64) -> String {
        self.token_with(subject, now_ms, json!({}))
    }

    /// The same with further claims, which replace those of the same name; a claim that is null is left out.
    #[must_use]
    pub fn token_with(&self, subject: &str, now_ms: u64, claims: Value) -> String {
        let algorithm = SigningAlgorithm::Rs256;
        self.sign(
            &json!({"alg": "RS256", "typ": "JWT", "kid": key_id(algorithm)}),
            &self.claims(subject, now_ms, claims),
            algorithm,
        )
    }

    /// A token by any algorithm, with the key id that belongs to it.
    #[must_use]
    pub fn token_by(&self, algorithm: SigningAlgorithm, subject: &str, now_ms: u64) -> String {
        let header = json!({"alg": algorithm.as_str(), "typ": "JWT", "kid": key_id(algorithm)});
        self.sign(&header, &self.claims(subject, now_ms, json!({})), algorithm)
    }

    /// The claims of an ordinary token, with changes as in [`Self::token_with`].
    #[must_use]
    pub fn claims(&self, subject: &str, now_ms: u64, changes: Value) -> Value {
        let now = now_ms / 1000;
        let mut claims = json!({"iss": self.issuer(), "sub": subject, "iat": now, "exp": now + 3600});
        if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
            claims.extend(changes);
            claims.retain(|_, value| !value.is_null());
        }
        claims
    }

    /// Signs any header and claims by an algorithm, whatever they say themselves.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value, algorithm: SigningAlgorithm) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(keys().sign(signed.as_bytes(), algorithm));
        format!("{signed}.{signature}")
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The id of the key that signs by an algorithm.
#[must_use]
pub fn key_id(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm.key_kind() {
        KeyKind::Rsa => "rsa",
        KeyKind::P256 => "p256",
        KeyKind::P384 => "p384",
        KeyKind::Ed25519 => "ed25519",
    }
}

/// The public key for an algorithm as a JWK under a name of your choice.
#[must_use]
pub fn jwk(algorithm: SigningAlgorithm, key_id: &str) -> Value {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let keys = keys();
    let ec = |pair: &EcdsaKeyPair, curve: &str| {
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
    };
    let mut jwk = match algorithm.key_kind() {
        KeyKind::Rsa => {
            let public = keys.rsa.public_key();
            json!({
                "kty": "RSA",
                "n": encode(public.modulus().big_endian_without_leading_zero()),
                "e": encode(public.exponent().big_endian_without_leading_zero()),
            })
        }
        KeyKind::P256 => ec(&keys.p256, "P-256"),
        KeyKind::P384 => ec(&keys.p384, "P-384"),
        KeyKind::Ed25519 => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(keys.ed25519.public_key().as_ref())}),
    };
    jwk["kid"] = key_id.into();
    jwk["use"] = "sig".into();
    jwk
}

fn all_keys() -> Vec<Value> {
    use SigningAlgorithm::{EdDsa, Es256, Es384, Rs256};
    [Rs256, Es256, Es384, EdDsa].map(|algorithm| jwk(algorithm, key_id(algorithm))).into()
}

/// One set of private keys per process: making an RSA key takes a good part of a second.
struct PrivateKeys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

#[allow(clippy::expect_used, reason = "test support: without keys no test can run")]
fn keys() -> &'static PrivateKeys {
    static KEYS: OnceLock<PrivateKeys> = OnceLock::new();
    KEYS.get_or_init(|| PrivateKeys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
        p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key"),
        p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a P-384 key"),
        ed25519: Ed25519KeyPair::generate().expect("an Ed25519 key"),
    })
}

impl PrivateKeys {
    #[allow(clippy::expect_used, reason = "test support: a key of our own signs what it is given")]
    fn sign(&self, message: &[u8], algorithm: SigningAlgorithm) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).expect("an RSA signature");
            signature
        };
        let ec = |pair: &EcdsaKeyPair| pair.sign(&random, message).expect("an EC signature").as_ref().to_vec();
        match algorithm {
            SigningAlgorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            SigningAlgorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            SigningAlgorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            SigningAlgorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            SigningAlgorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            SigningAlgorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            SigningAlgorithm::Es256 => ec(&self.p256),
            SigningAlgorithm::Es384 => ec(&self.p384),
            SigningAlgorithm::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, Arc::clone(&shared)));
    }
}

/// One request per connection. An asker that goes away is none of the issuer's business, so its errors end the task and nothing else.
async fn answer(mut socket: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 || head.len() > 16 * 1024 {
            return Ok(());
        }
    }
    shared.asked.send_modify(|count| *count += 1);
    let answer = shared.answer.lock().clone();
    if matches!(answer, Answer::Held) {
        let _ = shared.released.subscribe().wait_for(|released| *released).await;
    }
    let (status, header, body) = match answer {
        Answer::Keys | Answer::Held => (200, String::new(), shared.keys.lock().to_string().into_bytes()),
        Answer::Document(body) => (200, String::new(), body),
        Answer::Status(status) => (status, String::new(), Vec::new()),
        Answer::Redirect(to) => (302, format!("location: {to}\r\n"), Vec::new()),
        Answer::Hang => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await?;
            // Until the asker gives up.
            let mut rest = [0; 1];
            socket.read_exact(&mut rest).await?;
            return Ok(());
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Test\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&body).await?;
    socket.shutdown().await
}

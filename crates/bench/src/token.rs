//! The identities the loader shows: JWTs signed with a shared secret, or with an RSA key whose public half a small JWKS server on
//! loopback hands out.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use towline_clock::Clock;

/// How long a token lasts: longer than any run.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);
const KEY_ID: &str = "bench";

/// A token for `sub`, signed with a shared secret.
pub fn hs256(clock: &Clock, secret: &str, sub: &str) -> String {
    let signed = unsigned(clock, r#"{"alg":"HS256","typ":"JWT"}"#, sub, None);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// An RSA key and the server that publishes its public half.
pub struct Issuer {
    key: RsaKeyPair,
    address: SocketAddr,
}

impl Issuer {
    /// Makes a 2048-bit key and serves its JWKS until the program ends.
    pub fn start() -> Result<Self> {
        let key: RsaKeyPair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key could be made"))?;
        // RFC 8017, A.1.1: in the DER of a 2048-bit public key, 9 bytes of headers, the modulus, 2 of header, the exponent.
        let der = key.public_key().as_ref();
        let (Some(n), Some(e)) = (der.get(9..265), der.get(267..)) else { return Err(anyhow!("an unexpected public key")) };
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let keys = format!(r#"{{"keys":[{{"kty":"RSA","use":"sig","alg":"RS256","kid":"{KEY_ID}","n":"{n}","e":"{e}"}}]}}"#);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || serve(&listener, &keys));
        Ok(Self { key, address })
    }

    /// The issuer claim of its tokens.
    pub fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.address)
    }

    /// A token for `sub`. Takes about a millisecond of CPU: make them before measuring.
    pub fn rs256(&self, clock: &Clock, sub: &str) -> Result<String> {
        let signed = unsigned(clock, &format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{KEY_ID}"}}"#), sub, Some(&self.name()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn unsigned(clock: &Clock, header: &str, sub: &str, issuer: Option<&str>) -> String {
    let now = clock.unix_ms() / 1000;
    let issuer = issuer.map(|name| format!(r#","iss":"{name}""#)).unwrap_or_default();
    let exp = now + LIFETIME.as_secs();
    let claims = format!(r#"{{"sub":"{sub}","iat":{now},"exp":{exp},"topics":["thread:*"]{issuer}}}"#);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// Answers every request with the keys, one connection after the other.
fn serve(listener: &TcpListener, keys: &str) {
    let length = keys.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{keys}"
    );
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_verifies_against_the_published_numbers() {
        let issuer = Issuer::start().expect("issuer");
        let token = issuer.rs256(&Clock::system(), "u1").expect("token");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (signed, signature) = (signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).expect("base64"));

        let mut stream = std::net::TcpStream::connect(issuer.address).expect("connect");
        stream.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        let keys: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("body").1).expect("JSON");
        let part = |name: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().expect("text")).expect("base64");
        let public = aws_lc_rs::signature::RsaPublicKeyComponents { n: part("n"), e: part("e") };
        public.verify(&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256, signed, &signature).expect("verifies");
    }
}

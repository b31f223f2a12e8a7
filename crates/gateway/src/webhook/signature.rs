//! Signatures of the Standard Webhooks specification (version 1.0.0, symmetric scheme): `v1,` and the Base64 of an HMAC-SHA256 over
//! `{id}.{timestamp}.{body}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_auth::Secret;

/// Bytes that a key must have at least, and may have at most, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs calls with one or several keys. It never shows them.
pub struct Signer {
    keys: Vec<aws_lc_rs::hmac::Key>,
}

impl Signer {
    /// Takes secrets as they are configured: `whsec_` and Base64, or the Base64 alone.
    ///
    /// # Errors
    /// Why one of them is none, by its place and without its text.
    pub fn new(secrets: &[Secret]) -> Result<Self, String> {
        let key = |(place, secret): (usize, &Secret)| {
            let text = secret.expose();
            let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text));
            match bytes {
                Ok(bytes) if KEY_BYTES.contains(&bytes.len()) => {
                    Ok(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &bytes))
                }
                _ => Err(format!(
                    "secret {} must be whsec_ and the Base64 of {} to {} random bytes: make one with `echo whsec_$(openssl rand -base64 32)`",
                    place + 1,
                    KEY_BYTES.start(),
                    KEY_BYTES.end()
                )),
            }
        };
        let keys = secrets.iter().enumerate().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("a webhook needs a secret to sign with: make one with `echo whsec_$(openssl rand -base64 32)`".to_owned());
        }
        Ok(Self { keys })
    }

    /// The header `webhook-signature` of a call: one signature per key, in their order. `id` must not hold a dot that somebody outside
    /// chose; Towline's are UUIDs.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut header = String::with_capacity(self.keys.len() * 48);
        for key in &self.keys {
            let mut context = aws_lc_rs::hmac::Context::with_key(key);
            context.update(id.as_bytes());
            context.update(format!(".{timestamp_s}.").as_bytes());
            context.update(body);
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str("v1,");
            STANDARD.encode_string(context.sign(), &mut header);
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The vector that the specification's reference libraries share.
    // proves: C9
    #[test]
    fn the_published_vector_is_signed_as_published() {
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        for secret in [SECRET, SECRET.trim_start_matches("whsec_")] {
            let signer = Signer::new(&[Secret::new(secret)]).unwrap();
            assert_eq!(signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#), expected);
        }
    }

    #[test]
    fn the_example_of_the_protocol_is_signed_as_shown() {
        let document = include_str!("../../../../PROTOCOL.md");
        let example = document.split("```text\nPOST /towline").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
        let header = |name: &str| example.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let (_, body) = example.split_once("\n\n").unwrap();
        let signer = Signer::new(&[Secret::new(SECRET)]).unwrap();
        let timestamp_s = header("webhook-timestamp").parse().unwrap();
        assert_eq!(signer.sign(header("webhook-id"), timestamp_s, body.as_bytes()), header("webhook-signature"));
    }

    #[test]
    fn every_secret_signs_so_that_one_can_be_replaced() {
        let other = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
        let (old, new) = (Signer::new(&[SECRET.into()]).unwrap(), Signer::new(&[other.into()]).unwrap());
        let both = Signer::new(&[other.into(), SECRET.into()]).unwrap();
        assert_eq!(both.sign("a", 1, b"{}"), format!("{} {}", new.sign("a", 1, b"{}"), old.sign("a", 1, b"{}")));
        assert_ne!(old.sign("a", 1, b"{}"), old.sign("a", 2, b"{}"));
    }

    #[test]
    fn a_secret_that_is_none_is_refused_by_its_place_and_never_shown() {
        for bad in ["whsec_c2hvcnQ=", "not base64!", "whsec_", ""] {
            let why = Signer::new(&[SECRET.into(), Secret::new(bad)]).err().unwrap();
            assert!(why.starts_with("secret 2 ") && (bad.len() < 7 || !why.contains(bad)), "{why}");
        }
        assert!(Signer::new(&[]).is_err());
        let too_long = format!("whsec_{}", STANDARD.encode([7; 65]));
        assert!(Signer::new(&[Secret::new(&too_long)]).is_err());
    }
}

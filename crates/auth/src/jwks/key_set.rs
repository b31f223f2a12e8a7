//! A JWK set (RFC 7517), reduced to the keys that may check a token's signature.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use crate::algorithm::{KeyKind, SigningAlgorithm};

/// More keys than any issuer has; the rest of a longer set is left out, with a warning.
const KEYS_MAX: usize = 64;
/// RFC 7518 section 3.3 demands 2048 bits; 8192 bounds the work of one verification.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The usable keys of one issuer.
pub(crate) struct KeySet(Vec<Arc<PublicKey>>);

/// A key and the algorithms it may be used with.
pub(crate) struct PublicKey {
    key_id: Option<Box<str>>,
    algorithms: Vec<SigningAlgorithm>,
    key: DecodingKey,
    fingerprint: Fingerprint,
}

/// Names a key by its content: 64 bits of a SHA-256. An issuer has a few dozen keys, chosen by itself: enough to tell them apart.
pub(crate) type Fingerprint = [u8; 8];

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The fields of a JWK that matter; a private key's `d` is not among them.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a document. Keys that cannot be used under `allowed` are left out; the second value counts them.
    pub(crate) fn parse(document: &[u8], allowed: &[SigningAlgorithm]) -> Result<(Self, usize), serde_json::Error> {
        let document: Document = serde_json::from_slice(document)?;
        let total = document.keys.len();
        let readable = document.keys.into_iter().take(KEYS_MAX).filter_map(|value| serde_json::from_value(value).ok());
        let mut keys: Vec<Arc<PublicKey>> = Vec::new();
        for key in readable.filter_map(|jwk: Jwk| PublicKey::from_jwk(jwk, allowed)) {
            // The first of two keys with one name wins, so that a name always means one key.
            let taken = |other: &Arc<PublicKey>| other.key_id.is_some() && other.key_id == key.key_id && other.overlaps(&key);
            if !keys.iter().any(taken) {
                keys.push(Arc::new(key));
            }
        }
        let skipped = total - keys.len();
        Ok((Self(keys), skipped))
    }

    /// The key for a token. Without a key id, only a key that is alone with its algorithm.
    pub(crate) fn find(&self, key_id: Option<&str>, algorithm: SigningAlgorithm) -> Option<&Arc<PublicKey>> {
        let mut fitting = self.0.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && key_id.is_none_or(|wanted| key.key_id.as_deref() == Some(wanted))
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    pub(crate) fn has(&self, key_id: &str) -> bool {
        self.0.iter().any(|key| key.key_id.as_deref() == Some(key_id))
    }

    /// Whether the key with this content is still among them.
    pub(crate) fn holds(&self, fingerprint: Fingerprint) -> bool {
        self.0.iter().any(|key| key.fingerprint == fingerprint)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Jwk {
    /// As RFC 7638 does it: of the members that make the key, in a fixed order.
    fn fingerprint(&self) -> Fingerprint {
        let members = [Some(&self.kty), self.crv.as_ref(), self.n.as_ref(), self.e.as_ref(), self.x.as_ref(), self.y.as_ref()];
        let text = members.map(|member| member.map_or("", String::as_str)).join(",");
        let mut out = Fingerprint::default();
        out.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

impl PublicKey {
    fn from_jwk(jwk: Jwk, allowed: &[SigningAlgorithm]) -> Option<Self> {
        let for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures || !may_verify {
            return None;
        }
        let fingerprint = jwk.fingerprint();
        let (kind, key) = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => (KeyKind::Rsa, rsa_key(&jwk.n?, &jwk.e?)?),
            ("EC", Some("P-256")) => (KeyKind::P256, ec_key(&jwk.x?, &jwk.y?, 32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, ec_key(&jwk.x?, &jwk.y?, 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = jwk.x?;
                (decoded_len(&x)? == 32).then_some(())?;
                (KeyKind::Ed25519, DecodingKey::from_ed_components(&x).ok()?)
            }
            // `oct` among them: a published secret is no secret.
            _ => return None,
        };
        let fits = |algorithm: &SigningAlgorithm| {
            algorithm.key_kind() == kind && jwk.alg.as_deref().is_none_or(|named| named == algorithm.as_str())
        };
        let algorithms: Vec<_> = allowed.iter().copied().filter(fits).collect();
        if algorithms.is_empty() {
            return None;
        }
        Some(Self { key_id: jwk.kid.map(String::into_boxed_str), algorithms, key, fingerprint })
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.algorithms.iter().any(|algorithm| other.algorithms.contains(algorithm))
    }

    /// Whether `signature` (base64url) over `signed` is this key's by `algorithm`.
    pub(crate) fn verifies(&self, signed: &str, signature: &str, algorithm: SigningAlgorithm) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, algorithm.in_library()).unwrap_or(false)
    }
}

fn rsa_key(n: &str, e: &str) -> Option<DecodingKey> {
    let modulus = URL_SAFE_NO_PAD.decode(n).ok()?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let modulus = &modulus[first..];
    let bits = modulus.len() * 8 - usize::try_from(modulus[0].leading_zeros()).ok()?;
    if !RSA_BITS.contains(&bits) {
        return None;
    }
    let exponent = URL_SAFE_NO_PAD.decode(e).ok()?;
    Some(DecodingKey::from_rsa_raw_components(modulus, &exponent))
}

fn ec_key(x: &str, y: &str, coordinate_bytes: usize) -> Option<DecodingKey> {
    if decoded_len(x)? != coordinate_bytes || decoded_len(y)? != coordinate_bytes {
        return None;
    }
    DecodingKey::from_ec_components(x, y).ok()
}

fn decoded_len(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rsa(bits: usize, extra: &Value) -> Value {
        let mut modulus = vec![0xffu8; bits / 8];
        modulus[0] = 0x80;
        let mut jwk = json!({"kty": "RSA", "kid": "k", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
        jwk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        jwk
    }

    fn parse(keys: &[Value]) -> (KeySet, usize) {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), SigningAlgorithm::ALL).unwrap()
    }

    #[test]
    fn keys_that_are_weak_or_not_for_signatures_are_left_out() {
        let zeros = format!("AAAA{}", URL_SAFE_NO_PAD.encode([0x80u8; 128]));
        for bad in [
            rsa(1024, &json!({})),
            rsa(16384, &json!({})),
            rsa(2048, &json!({"use": "enc"})),
            rsa(2048, &json!({"key_ops": ["encrypt"]})),
            rsa(2048, &json!({"alg": "HS256"})),
            rsa(2048, &json!({"alg": "RSA-OAEP"})),
            rsa(2048, &json!({ "n": zeros })),
            rsa(2048, &json!({"n": "!!"})),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            json!(7),
        ] {
            let (set, skipped) = parse(std::slice::from_ref(&bad));
            assert_eq!((set.len(), skipped), (0, 1), "{bad}");
        }
    }

    #[test]
    fn a_keys_own_algorithm_narrows_what_it_checks() {
        let (set, _) = parse(&[rsa(2048, &json!({"alg": "RS256", "use": "sig"}))]);
        assert!(set.find(Some("k"), SigningAlgorithm::Rs256).is_some());
        assert!(set.find(Some("k"), SigningAlgorithm::Ps256).is_none());
        assert!(set.find(Some("k"), SigningAlgorithm::Es256).is_none());
        let document = json!({"keys": [rsa(2048, &json!({}))]}).to_string();
        let (set, _) = KeySet::parse(document.as_bytes(), &[SigningAlgorithm::Rs512]).unwrap();
        assert!(set.find(Some("k"), SigningAlgorithm::Rs512).is_some());
        assert!(set.find(Some("k"), SigningAlgorithm::Rs256).is_none());
    }

    #[test]
    fn without_a_key_id_only_a_single_key_is_found() {
        let (one, _) = parse(&[rsa(2048, &json!({}))]);
        assert!(one.find(None, SigningAlgorithm::Rs256).is_some());
        let (two, _) = parse(&[rsa(2048, &json!({})), rsa(3072, &json!({"kid": "other"}))]);
        assert!(two.find(None, SigningAlgorithm::Rs256).is_none());
        assert!(two.find(Some("other"), SigningAlgorithm::Rs256).is_some());
    }

    #[test]
    fn a_long_set_is_cut_and_a_repeated_name_means_the_first_key() {
        let many: Vec<_> = (0..100).map(|i| rsa(2048, &json!({ "kid": format!("k{i}") }))).collect();
        let (set, skipped) = parse(&many);
        assert_eq!((set.len(), skipped), (64, 36));
        let (set, skipped) = parse(&[rsa(2048, &json!({})), rsa(3072, &json!({}))]);
        assert_eq!((set.len(), skipped), (1, 1));
    }

    proptest! {
        #[test]
        fn any_document_is_read_without_panic(text in "\\PC*", n in "[A-Za-z0-9_-]{0,400}", kty in "(RSA|EC|OKP|oct)") {
            let _ = KeySet::parse(text.as_bytes(), SigningAlgorithm::ALL);
            let jwk = json!({"keys": [{"kty": kty, "crv": "P-256", "n": n, "e": n, "x": n, "y": n}]}).to_string();
            let _ = KeySet::parse(jwk.as_bytes(), SigningAlgorithm::ALL);
        }
    }
}

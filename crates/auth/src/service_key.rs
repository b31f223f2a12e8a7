//! Keys of services: long secrets that stand for a role instead of a person.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq;
use towline_protocol::TopicPattern;

use crate::grant::Grants;
use crate::identity::{Identity, IdentityKind};
use crate::secret::Secret;

/// The shortest service key in bytes. It is guessed only online, one request at a time; 32 random bytes are what to use.
pub const SERVICE_KEY_BYTES_MIN: usize = 8;

/// A service that publishes or watches, known by a secret.
#[derive(Debug, Clone)]
pub struct ServiceKey {
    /// Who it is, for logs and for events it publishes: 1 to 128 bytes, unique.
    pub name: String,
    /// The secret: 8 bytes at least unless short ones are allowed, visible ASCII.
    pub secret: Secret,
    /// The topics it may watch. Default: all.
    pub subscribe: Vec<TopicPattern>,
    /// The topics it may publish on. Default: all.
    pub publish: Vec<TopicPattern>,
}

impl ServiceKey {
    /// A key for every topic.
    #[must_use]
    pub fn for_everything(name: &str, secret: impl Into<Secret>) -> Self {
        let all = || TopicPattern::new("*").into_iter().collect();
        Self { name: name.to_owned(), secret: secret.into(), subscribe: all(), publish: all() }
    }
}

/// The keys ready for comparison: digests, so that neither content nor length of a secret shows in the time taken.
pub(crate) struct ServiceKeys(Vec<Entry>);

struct Entry {
    digest: [u8; SHA256_OUTPUT_LEN],
    identity: Arc<Identity>,
}

impl ServiceKeys {
    pub(crate) fn new(keys: &[ServiceKey]) -> Self {
        let entry = |key: &ServiceKey| Entry {
            digest: sha256(key.secret.expose()),
            identity: Arc::new(Identity {
                subject: key.name.as_str().into(),
                org: None,
                kind: IdentityKind::Service,
                expires_at_ms: None,
                token_id: None,
                issued_at_ms: None,
                signed_by: None,
                grants: Arc::new(Grants::from_patterns(&key.subscribe, &key.publish)),
                added: None,
            }),
        };
        Self(keys.iter().map(entry).collect())
    }

    /// The service that a credential belongs to. Always compares with all keys.
    pub(crate) fn find(&self, credential: &str) -> Option<Arc<Identity>> {
        if self.0.is_empty() {
            return None;
        }
        let digest = sha256(credential);
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.digest.ct_eq(&digest)) {
                found = Some(&entry.identity);
            }
        }
        found.cloned()
    }
}

pub(crate) fn sha256(text: &str) -> [u8; SHA256_OUTPUT_LEN] {
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

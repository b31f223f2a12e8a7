//! Keys of operators: for the admin interface alone. They open no door and publish nothing by themselves.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use subtle::ConstantTimeEq;
use towline_protocol::TopicPattern;

use crate::grant::Grants;
use crate::identity::{Identity, IdentityKind};
use crate::secret::Secret;
use crate::service_key::sha256;

/// The shortest admin key in bytes, everywhere: what it opens is everything.
pub const ADMIN_KEY_BYTES_MIN: usize = 16;

/// What an admin key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// Look.
    Read,
    /// Look, and change what runs.
    Full,
}

/// An operator's key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// `full-1`, `read-2`: its place in the configuration.
    pub name: String,
    /// The first 8 hexadecimal digits of its SHA-256: tells keys apart over a change of the configuration.
    pub fingerprint: String,
    /// What it may do.
    pub role: AdminRole,
}

impl AdminKey {
    /// The identity under which its holder publishes: like a service that may do everything.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        let all: Vec<_> = TopicPattern::new("*").into_iter().collect();
        Arc::new(Identity {
            subject: self.name.as_str().into(),
            org: None,
            kind: IdentityKind::Service,
            expires_at_ms: None,
            token_id: None,
            issued_at_ms: None,
            signed_by: None,
            grants: Arc::new(Grants::from_patterns(&all, &all)),
            added: None,
        })
    }
}

/// All admin keys, ready for comparison: digests, so that neither content nor length of a key shows in the time taken.
pub struct AdminKeys(Vec<([u8; SHA256_OUTPUT_LEN], AdminKey)>);

impl AdminKeys {
    /// Takes the keys of both roles.
    #[must_use]
    pub fn new(full: &[Secret], read: &[Secret]) -> Self {
        let entries = |role, word: &'static str, keys: &[Secret]| {
            let entry = |(i, key): (usize, &Secret)| {
                let digest = sha256(key.expose());
                let fingerprint = digest[..4].iter().fold(String::new(), |mut text, byte| {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{byte:02x}");
                    text
                });
                (digest, AdminKey { name: format!("{word}-{}", i + 1), fingerprint, role })
            };
            keys.iter().enumerate().map(entry).collect::<Vec<_>>()
        };
        let mut all = entries(AdminRole::Full, "full", full);
        all.extend(entries(AdminRole::Read, "read", read));
        Self(all)
    }

    /// Whether there is none, so that nobody can be an operator.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that a credential is. Always compares with all keys.
    #[must_use]
    pub fn find(&self, credential: &str) -> Option<&AdminKey> {
        if self.0.is_empty() {
            return None;
        }
        let digest = sha256(credential);
        let mut found = None;
        for (known, key) in &self.0 {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_role_and_shows_nothing_of_itself() {
        let keys = AdminKeys::new(&[Secret::new("full-full-full-full")], &[Secret::new("read-a"), Secret::new("read-b")]);
        let full = keys.find("full-full-full-full").unwrap();
        assert_eq!((full.name.as_str(), full.role), ("full-1", AdminRole::Full));
        let read = keys.find("read-b").unwrap();
        assert_eq!((read.name.as_str(), read.role), ("read-2", AdminRole::Read));
        assert!(read.fingerprint.len() == 8 && read.fingerprint != full.fingerprint);
        assert!(keys.find("read-").is_none() && keys.find("").is_none());
        assert!(AdminKeys::new(&[], &[]).find("").is_none() && AdminKeys::new(&[], &[]).is_empty());
    }
}

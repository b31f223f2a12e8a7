//! The signature algorithms of issuers. Only asymmetric ones: a public key can then never be mistaken for a shared secret.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm;

macro_rules! algorithms {
    ($($variant:ident = $name:literal, $library:ident;)+) => {
        /// How an issuer signs its tokens (RFC 7518 section 3.1, RFC 8037 section 3.1).
        #[allow(missing_docs, reason = "the names are the registry's")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SigningAlgorithm { $($variant,)+ }

        impl SigningAlgorithm {
            /// All that Towline checks.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in a token's header.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            pub(crate) fn in_library(self) -> Algorithm {
                match self { $(Self::$variant => Algorithm::$library),+ }
            }
        }
    };
}

algorithms! {
    Rs256 = "RS256", RS256;
    Rs384 = "RS384", RS384;
    Rs512 = "RS512", RS512;
    Ps256 = "PS256", PS256;
    Ps384 = "PS384", PS384;
    Ps512 = "PS512", PS512;
    Es256 = "ES256", ES256;
    Es384 = "ES384", ES384;
    EdDsa = "EdDSA", EdDSA;
}

/// The kinds of public keys that belong to the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl SigningAlgorithm {
    /// The one kind of key that the algorithm works with.
    pub(crate) fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no asymmetric algorithm that Towline checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("known are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA")]
pub struct UnknownAlgorithm;

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|a| a.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

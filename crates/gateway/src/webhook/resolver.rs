//! Names become addresses here, at the moment of connecting, and only public ones come out. The address that was judged is the one that is
//! connected to, so a name that answers differently a moment later (DNS rebinding) gains nothing.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_internal;

/// A name leads to inner addresses only.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to this machine or an inner network only; set webhook.allow_internal = true if that is meant")]
pub struct InternalAddress;

/// How a name becomes addresses, whatever they are.
type Lookup = fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves names and leaves out inner addresses.
#[derive(Debug, Clone, Copy)]
pub struct PublicOnly {
    lookup: Lookup,
}

impl PublicOnly {
    /// Over the system's resolver.
    #[must_use]
    pub fn of_system() -> Self {
        Self { lookup: |name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }) }
    }

    /// Over names that a test makes up.
    #[cfg(test)]
    pub fn of(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(public(found.await?.into_iter())?.into_iter()) as Addrs) })
    }
}

fn public(found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let public: Vec<SocketAddr> = found.filter(|address| !is_internal(address.ip())).collect();
    if public.is_empty() { Err(InternalAddress.into()) } else { Ok(public) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: C9
    #[test]
    fn only_public_addresses_come_out() {
        let found =
            ["10.0.0.1:0", "8.8.8.8:0", "[::ffff:127.0.0.1]:0", "[2606:4700:4700::1111]:0"].map(|text| text.parse().unwrap());
        let public_ones = public(found.into_iter()).unwrap();
        assert_eq!(public_ones, ["8.8.8.8:0".parse::<SocketAddr>().unwrap(), "[2606:4700:4700::1111]:0".parse().unwrap()]);
        let error = public(found.into_iter().take(1)).unwrap_err();
        assert!(error.is::<InternalAddress>());
    }

    // proves: C9
    #[tokio::test]
    async fn a_name_of_this_machine_is_not_resolved() {
        let refused = PublicOnly::of_system().resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.is::<InternalAddress>(), "{refused}");
    }
}

//! Which web pages may use the server: a browser names the page's origin in every WebSocket handshake and every request across origins.
//!
//! Whole origins are compared, scheme, host and port, never parts of texts: `https://evil-example.com` and
//! `https://example.com.evil.test` have nothing to do with `https://example.com`. Who sends no `Origin` is no browser, and passes.

mod origin;
mod pattern;
mod policy;

pub use origin::{NotAnOrigin, Origin};
pub use pattern::{BadPattern, OriginPattern};
pub use policy::{OriginPolicy, Page};

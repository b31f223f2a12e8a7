//! TLS in the process: certificates from files, handshakes, and what a client's certificate makes of it.
//!
//! The cryptography is rustls's, the session is `towline_sockets::TlsSession`: it serves the HTTP connection here and moves with the
//! socket to the reactor. Offered are TLS 1.3 and 1.2, HTTP/1.1 only, no early data, no renegotiation.

mod certificates;
mod files;
mod stream;

pub use certificates::{Certificates, Reloaded};
pub use files::{Checked, TlsProblem, check};
pub use stream::{AcceptError, TlsSocket};

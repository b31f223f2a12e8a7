//! The real binary as a child process: killed, terminated, started again on the same directory and port.

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use tempfile::TempDir;
use towline_clock::Clock;

use crate::authority::Authority;
use crate::endpoint::{Endpoint, JWT_SECRET, PAGE, SERVICE_KEY};
use crate::patience::eventually;

/// A running `towline serve`. Dropping it kills it.
pub struct Binary {
    endpoint: Endpoint,
    environment: Vec<(String, String)>,
    tls: Option<Arc<ClientConfig>>,
    directory: Arc<TempDir>,
    child: Child,
}

impl Binary {
    /// Starts it with further environment variables, and waits until it is ready.
    ///
    /// # Panics
    /// If the binary has not been built, or does not become ready.
    pub async fn start(environment: &[(&str, &str)]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap_or_else(|error| panic!("a temporary directory: {error}")));
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::run(free_address(), environment, None, directory).await
    }

    /// The same over TLS, with a certificate of this authority.
    ///
    /// # Panics
    /// As [`Binary::start`].
    pub async fn start_with_tls(authority: &Authority, environment: &[(&str, &str)]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap_or_else(|error| panic!("a temporary directory: {error}")));
        let (certificate, key) = authority.install(&authority.server().make());
        let files =
            [("TOWLINE_TLS_CERTIFICATE", certificate.display().to_string()), ("TOWLINE_TLS_KEY", key.display().to_string())];
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(files);
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
        Self::run(free_address(), environment, Some(authority.client_config(None)), directory).await
    }

    async fn run(
        address: SocketAddr,
        environment: Vec<(String, String)>,
        tls: Option<Arc<ClientConfig>>,
        directory: Arc<TempDir>,
    ) -> Self {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(directory.path().join("output"));
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        let stderr = output.try_clone().unwrap_or_else(|error| panic!("{error}"));
        let child = Command::new(path())
            .arg("serve")
            .current_dir(directory.path())
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env("TOWLINE_LISTEN", address.to_string())
            .env("TOWLINE_DATA_DIR", directory.path().join("data"))
            .env("TOWLINE_SERVICE_KEYS", SERVICE_KEY)
            .env("TOWLINE_JWT_SECRET", JWT_SECRET)
            .env("TOWLINE_ORIGINS_ALLOWED", PAGE)
            .env("TOWLINE_USERS_CONNECTIONS_MAX", "10000")
            .env("TOWLINE_USERS_MESSAGES_PER_MINUTE_MAX", "60000")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", path().display()));
        let endpoint = Endpoint::over(address, Clock::system(), tls.clone());
        let mut binary = Self { endpoint, environment, tls, directory, child };
        binary.until_ready().await;
        binary
    }

    async fn until_ready(&mut self) {
        let url = self.url("/readyz");
        let http = self.http().clone();
        let directory = Arc::clone(&self.directory);
        let child = &mut self.child;
        eventually("the binary is ready", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the binary ended with {status}:\n{}", output_in(directory.path()));
            }
            let asking = http.get(&url).send();
            async move { asking.await.is_ok_and(|answer| answer.status() == 200) }
        })
        .await;
    }

    /// Kills it at once, as by power failure of the process alone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same directory and port. Kill it, or wait for its end, before.
    pub async fn restart(&mut self) {
        self.kill();
        let again = Self::run(self.address(), self.environment.clone(), self.tls.clone(), Arc::clone(&self.directory)).await;
        // The former one's drop kills a process that is gone already.
        *self = again;
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn terminate(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM).unwrap_or_else(|error| panic!("SIGTERM: {error}"));
    }

    /// Sends SIGHUP.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn hang_up(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::HUP).unwrap_or_else(|error| panic!("SIGHUP: {error}"));
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        eventually("the binary ends", || {
            status = child.try_wait().unwrap_or_else(|error| panic!("{error}"));
            let ended = status.is_some();
            async move { ended }
        })
        .await;
        status.unwrap_or_else(|| panic!("it has ended"))
    }

    /// Everything it wrote to its standard output and error, over all starts.
    #[must_use]
    pub fn output(&self) -> String {
        output_in(self.directory.path())
    }

    /// Bytes of memory that it holds now.
    ///
    /// # Panics
    /// If the process is gone, or this is no Linux.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("the binary's memory cannot be read")) * 1024
    }
}

impl Deref for Binary {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        self.kill();
    }
}

fn output_in(directory: &Path) -> String {
    let bytes = std::fs::read(directory.join("output")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The binary beside this test's own: `target/<profile>/towline`.
fn path() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir());
    let binary = profile.map(|directory| directory.join("towline")).unwrap_or_default();
    assert!(
        binary.is_file(),
        "{} is not there: build it first (`cargo build -p towline`; `cargo xtask test` does)",
        binary.display()
    );
    binary
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|error| panic!("no port is free: {error}"))
}

//! The certificate in use, and its successor: taken from the files without a restart, or refused and said so.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use towline_auth::{Authenticator, CertificateFacts, Identity};
use towline_clock::Clock;

use super::files::{Checked, Files, TlsProblem};
use crate::config::TlsSettings;
use crate::metrics::Metrics;

/// What handshakes need, as of the last time that the files were good. Connections keep what they began with.
pub struct Certificates {
    settings: TlsSettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    checked: Checked,
    /// Of the files that were looked at last, good or not: each content is judged once.
    fingerprint: u64,
}

/// What a look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are the same as before.
    Unchanged,
    /// New connections get what is in them now.
    Taken,
    /// They are not good; everything stays as it was. The log says why.
    Refused,
}

impl Certificates {
    /// Reads the files; `None` if TLS is off.
    ///
    /// # Errors
    /// They are not good.
    pub fn load(settings: &TlsSettings, clock: &Clock, metrics: &Arc<Metrics>) -> Result<Option<Arc<Self>>, TlsProblem> {
        let Some(files) = Files::read(settings)? else { return Ok(None) };
        let checked = files.prepare(settings, clock)?;
        if checked.not_after_ms <= clock.unix_ms() {
            tracing::error!("the certificate in `tls.certificate` has expired: clients refuse it");
        }
        metrics.tls.certificate_expires(checked.not_after_ms);
        let state = Mutex::new(State { checked, fingerprint: files.fingerprint() });
        Ok(Some(Arc::new(Self { settings: settings.clone(), clock: clock.clone(), metrics: Arc::clone(metrics), state })))
    }

    /// What the next handshake is made with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state.lock().checked.config)
    }

    /// Looks at the files, and takes them if they have changed and are good. Reads them from the disk: not for a thread that must not block.
    pub fn reload(&self) -> Reloaded {
        let (looked, result) = match Files::read(&self.settings) {
            Ok(Some(files)) => {
                let fingerprint = files.fingerprint();
                if self.state.lock().fingerprint == fingerprint {
                    return Reloaded::Unchanged;
                }
                (fingerprint, files.prepare(&self.settings, &self.clock).map_err(|problem| problem.to_string()))
            }
            Ok(None) => return Reloaded::Unchanged,
            // A file that is not there for a moment is looked at again; no content has this number but by a rare chance.
            Err(problem) => (0, Err(problem.to_string())),
        };
        let mut state = self.state.lock();
        let again = std::mem::replace(&mut state.fingerprint, looked) == looked;
        let now = self.clock.unix_ms();
        let result = result.and_then(|checked| {
            if checked.not_after_ms <= now && state.checked.not_after_ms > now {
                return Err("tls.certificate: the new certificate has expired, and the one in use has not".to_owned());
            }
            Ok(checked)
        });
        match result {
            Ok(checked) => {
                self.metrics.tls.certificate_expires(checked.not_after_ms);
                self.metrics.tls.reloads.inc();
                state.checked = checked;
                tracing::info!("new certificates were taken");
                Reloaded::Taken
            }
            Err(problem) => {
                if !again {
                    self.metrics.tls.reload_failures.inc();
                    tracing::error!(%problem, "new certificates are not good; those in use stay");
                }
                Reloaded::Refused
            }
        }
    }

    /// Looks at the files again and again.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.settings.reload_interval).await;
            let certificates = Arc::clone(&self);
            // A panic there would show in the log; the next look is due all the same.
            let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    }

    /// The service that a client's verified certificates name, if they do and the settings let that count.
    #[must_use]
    pub fn service(&self, auth: &Authenticator, certificates: &[CertificateDer<'_>]) -> Option<Arc<Identity>> {
        let facts = match CertificateFacts::read(certificates.first()?) {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%error, "a client's certificate cannot be read");
                return None;
            }
        };
        let name = facts.name(self.settings.client_name, &self.settings.client_names)?;
        auth.certified_service(name, facts.not_after_ms).ok()
    }
}

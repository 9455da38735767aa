//! What the adapters of a process share: the clock, the time-outs, the trusted certificates.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fanfare_domain::clock::Clock;
use fanfare_domain::limits::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::ConfigError;
use crate::caller::Hidden;
use crate::files::{Files, NoFiles};
use crate::tokens::{InProcess, Tokens};

/// Shared by the adapters of a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) clock: Clock,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    tokens: Option<Arc<dyn Tokens>>,
    hook_url: Option<Hidden>,
    files: Arc<dyn Files>,
}

impl Client {
    /// With the usual time-outs, trusting what the machine trusts (or what `SSL_CERT_FILE` names). The
    /// certificates are read when the first https account is opened.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            tls: Arc::default(),
            tokens: None,
            hook_url: None,
            files: Arc::new(NoFiles),
        }
    }

    /// The same with other bounds on connecting, and on a request once connected.
    pub fn with_timeouts(self, connect: Duration, request: Duration) -> Self {
        Self { connect_timeout: connect, request_timeout: request, ..self }
    }

    /// The same, trusting these certificates only.
    ///
    /// # Errors
    /// [`ConfigError::Tls`] if TLS cannot be set up.
    pub fn trusting(self, roots: RootCertStore) -> Result<Self, ConfigError> {
        let tls = Arc::new(OnceLock::from(Arc::new(tls_config(roots)?)));
        Ok(Self { tls, ..self })
    }

    /// The same for the account whose fetched token is kept there. Without it each adapter keeps its own.
    pub fn with_tokens(self, tokens: Arc<dyn Tokens>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// The same for the account whose hook is there, for kinds whose messages have to name it.
    pub fn with_hook_url(self, url: Option<String>) -> Self {
        Self { hook_url: url.map(Hidden), ..self }
    }

    pub(crate) fn hook_url(&self) -> Option<&str> {
        self.hook_url.as_ref().map(|Hidden(url)| url.as_str())
    }

    /// The same for the account whose files are kept there. Without it there are none.
    pub fn with_files(self, files: Arc<dyn Files>) -> Self {
        Self { files, ..self }
    }

    pub(crate) fn files(&self) -> Arc<dyn Files> {
        self.files.clone()
    }

    pub(crate) fn tokens(&self) -> Arc<dyn Tokens> {
        self.tokens.clone().unwrap_or_else(|| Arc::new(InProcess::default()))
    }

    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let mut roots = RootCertStore::empty();
        // Machines carry certificates that cannot be read; the others serve.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ConfigError::NoRoots);
        }
        let tls = Arc::new(tls_config(roots)?);
        Ok(self.tls.get_or_init(|| tls).clone())
    }
}

/// With its cryptography named, so that no process-wide default has to be installed first.
fn tls_config(roots: RootCertStore) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

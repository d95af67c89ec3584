//! Whom to believe, and what to show when asked who we are.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kiln_oci::SmallFile;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::settings_error::SettingsError;

/// Which server certificates are accepted.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Those the system's roots vouch for.
    System,
    /// Those, and some for this host.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// Any (I13).
    Anyone,
}

/// A client certificate chain with its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Trust {
    /// A fresh configuration; reading the system's roots happens once per process.
    pub(super) fn client_config(
        &self,
        identity: Option<&Identity>,
    ) -> Result<ClientConfig, SettingsError> {
        let provider = provider();
        let http = |error: rustls::Error| SettingsError::Http {
            reason: error.to_string(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(http)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider));
        match identity {
            None => Ok(builder.with_no_client_auth()),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(http),
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
        let mut roots = match self {
            Self::Anyone => return Arc::new(Fixed::accept(provider)),
            Self::System | Self::SystemAnd(_) => system_roots().clone(),
        };
        if let Self::SystemAnd(extra) = self {
            roots.add_parsable_certificates(extra.iter().cloned());
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build();
        // Without any root the builder fails; a client for plain http must still come to life.
        let verifier: Arc<dyn ServerCertVerifier> = match verifier {
            Ok(verifier) => verifier,
            Err(_) => Arc::new(Fixed::refuse(provider)),
        };
        match self {
            Self::SystemAnd(extra) => Arc::new(Pinned {
                exact: extra.clone(),
                others: verifier,
            }),
            _ => verifier,
        }
    }
}

/// The provider everything here uses, also made the default of the process if it has none.
fn provider() -> Arc<CryptoProvider> {
    // Another library may have been faster; then its choice stands for everybody who does not choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::ring::default_provider()),
        Arc::clone,
    )
}

/// Roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` come first), read once.
///
/// An image made `FROM scratch` has none; unless a variable says where they should be, the roots of
/// Mozilla that are compiled in stand in for them.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!("a certificate of the system could not be read: {error}");
        }
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() && !are_roots_chosen() {
            tracing::debug!("the system has no certificates; using the built-in ones");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots
    })
}

/// Whether variables say where the roots of the system are.
fn are_roots_chosen() -> bool {
    let mut names = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter();
    names.any(|name| std::env::var_os(name).is_some())
}

/// Whether variables say where the roots are, and there are none.
pub(super) fn roots_are_missing() -> bool {
    are_roots_chosen() && system_roots().is_empty()
}

/// PEM roots for one host (I13).
pub(super) fn read_roots(
    host: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let certificates = read_chain("certificate", host, path)?;
    let mut probe = RootCertStore::empty();
    for certificate in &certificates {
        probe
            .add(certificate.clone())
            .map_err(|error| malformed("certificate", host, path, error.to_string()))?;
    }
    Ok(certificates)
}

/// PEM certificate and key for one host (I13); fails if they do not belong together.
pub(super) fn read_identity(
    host: &str,
    certificate: &Path,
    key: &Path,
) -> Result<Identity, SettingsError> {
    let chain = read_chain("client certificate", host, certificate)?;
    let text = read("client key", host, key)?;
    let key_der = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| malformed("client key", host, key, pem_reason(&error)))?;
    let identity = Identity {
        chain,
        key: key_der,
    };
    Trust::Anyone
        .client_config(Some(&identity))
        .map_err(|error| malformed("client key", host, key, error.to_string()))?;
    Ok(identity)
}

fn read_chain(
    what: &'static str,
    host: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let text = read(what, host, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| malformed(what, host, path, pem_reason(&error)))?;
    if chain.is_empty() {
        return Err(malformed(
            what,
            host,
            path,
            "it holds no PEM certificate".to_owned(),
        ));
    }
    Ok(chain)
}

fn read(what: &'static str, host: &str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    const PEM: SmallFile = SmallFile::new("certificates and keys", 4 << 20);
    PEM.read(path).map_err(|source| SettingsError::Unreadable {
        what,
        host: host.to_owned(),
        path: path.to_owned(),
        source,
    })
}

fn malformed(what: &'static str, host: &str, path: &Path, reason: String) -> SettingsError {
    SettingsError::Malformed {
        what,
        host: host.to_owned(),
        path: path.to_owned(),
        reason,
    }
}

fn pem_reason(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::NoItemsFound => "it holds no PEM item of this kind".to_owned(),
        other => other.to_string(),
    }
}

/// Accepts the very certificates it was given as the server's own, too: a self-signed one is often made as an
/// authority, which is no end entity to the rules for others.
#[derive(Debug)]
struct Pinned {
    exact: Vec<CertificateDer<'static>>,
    others: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.exact.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.others
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.others
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.others
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}

/// A verifier with one opinion about all certificates.
#[derive(Debug)]
struct Fixed {
    accept: bool,
    provider: Arc<CryptoProvider>,
}

impl Fixed {
    fn accept(provider: &Arc<CryptoProvider>) -> Self {
        Self {
            accept: true,
            provider: Arc::clone(provider),
        }
    }

    fn refuse(provider: &Arc<CryptoProvider>) -> Self {
        Self {
            accept: false,
            provider: Arc::clone(provider),
        }
    }
}

impl ServerCertVerifier for Fixed {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.accept {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(
                "no trusted certificates were found on this system".to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

//! TLS of the load: one certificate that it shows as a server, and the authority by which it knows the proxy.

use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

/// What both sides of the load need.
pub(crate) struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// Reads `authority.pem`, `certificate.pem` and `key.pem` in `folder`.
    ///
    /// # Errors
    /// When one of them cannot be read or does not fit the others.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let certificate = |name: &str| {
            let file = folder.join(name);
            CertificateDer::from_pem_file(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificate("authority.pem")?)?;
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).context("cannot read key.pem")?;
        let provider = Arc::new(default_provider());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate("certificate.pem")?], key)?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    /// For a connection to `target`, which must prove its address.
    pub(crate) fn client(&self, target: SocketAddrV4) -> Result<Connection> {
        let name = ServerName::IpAddress((*target.ip()).into());
        let mut connection = ClientConnection::new(self.client.clone(), name)?;
        connection.set_buffer_limit(None);
        Ok(connection.into())
    }

    /// For connections that are accepted.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

/// TLS of a connection that was accepted.
pub(crate) fn accepted(config: &Arc<ServerConfig>) -> Result<Connection> {
    let mut connection = ServerConnection::new(config.clone())?;
    connection.set_buffer_limit(None);
    Ok(connection.into())
}

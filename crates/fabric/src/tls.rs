//! TLS for SIP: the hub's certificate, whom it trusts, and the names by which a peer is known
//! (RFC 3261 §26.3, RFC 5922).
//!
//! The files are read at the start and again when they change. New connections see what is new; those that are open
//! go on, but a peer whose certificate is no longer accepted is not known by it any more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tandem_model::Host;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Where the hub's certificate is, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The hub's certificate and those that lead to its authority, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// The authorities whose certificates members may show, in PEM form.
    pub trust: PathBuf,
    /// Revocation lists of those authorities, in PEM form.
    pub revoked: Option<PathBuf>,
}

/// Why TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or may not be read.
    #[error("cannot read {file}: {error}")]
    Unreadable {
        /// Its path.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file} has no {wanted} in PEM form{}", why.as_ref().map_or_else(String::new, |why| format!(" ({why})")))]
    Empty {
        /// Its path.
        file: String,
        /// What it should hold.
        wanted: &'static str,
        /// Where reading ended, when that is known.
        why: Option<String>,
    },
    /// What the files hold cannot be used.
    #[error("{file} cannot be used: {error}")]
    Unusable {
        /// The path of the file that is most likely at fault.
        file: String,
        /// What is wrong with it.
        error: String,
    },
}

/// The certificate of a peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate {
    /// The SIP domains that it speaks for (RFC 5922 §7.1), in lower case; never a wildcard.
    pub(crate) names: Arc<[String]>,
    /// Until when it is valid.
    pub(crate) expires: DateTime<Utc>,
    chain: Arc<[CertificateDer<'static>]>,
}

impl PeerCertificate {
    /// Reads the chain that a peer showed. `None` when there is none, or the first certificate cannot be read.
    pub(crate) fn read(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let chain = chain?;
        let (names, expires) = read_certificate(chain.first()?).ok()?;
        Some(Self { names: names.into(), expires, chain: chain.iter().cloned().collect() })
    }
}

/// Domains and end of validity of a certificate.
fn read_certificate(der: &CertificateDer<'_>) -> Result<(Vec<String>, DateTime<Utc>), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let expires = certificate.validity().not_after.timestamp();
    let expires = DateTime::from_timestamp(expires, 0).ok_or("its end of validity is no time")?;
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
    let name = |text: &str| match text.parse() {
        Ok(Host::Name(name)) => Some(String::from(name)),
        _ => None,
    };
    // A URI names the domain alone, and where there is one, DNS names do not count (RFC 5922 §7.1).
    let uris: Vec<String> = alternatives
        .iter()
        .filter_map(|alternative| match alternative {
            GeneralName::URI(uri) => uri.strip_prefix("sip:").filter(|rest| !rest.contains('@')),
            _ => None,
        })
        .filter_map(name)
        .collect();
    if !uris.is_empty() {
        return Ok((uris, expires));
    }
    let names = alternatives.iter().filter_map(|alternative| match alternative {
        GeneralName::DNSName(text) => name(text),
        _ => None,
    });
    Ok((names.collect(), expires))
}

/// What the files of one moment hold.
struct Identity {
    acceptor: TlsAcceptor,
    own: Arc<CertifiedKey>,
    members: Arc<MemberVerifier>,
    authorities: Arc<WebPkiServerVerifier>,
    expires: DateTime<Utc>,
    stamps: Vec<Stamp>,
}

/// When a file was written last, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

/// TLS as the node speaks it now.
pub(crate) struct Tls {
    settings: TlsSettings,
    identity: ArcSwap<Identity>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or together they make no identity.
    pub(crate) fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let identity = ArcSwap::from_pointee(Identity::load(&settings)?);
        Ok(Self { settings, identity })
    }

    /// Reads the files again if one has changed; whether they have.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was read before stays in use.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let stamps = stamps(&self.settings);
        if stamps == self.identity.load().stamps {
            return Ok(false);
        }
        self.identity.store(Arc::new(Identity::load(&self.settings)?));
        Ok(true)
    }

    /// Until when the hub's own certificate is valid.
    pub(crate) fn expires(&self) -> DateTime<Utc> {
        self.identity.load().expires
    }

    /// Whether the hub's own certificate is for a DNS name, in lower case.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let identity = self.identity.load();
        let Some(own) = identity.own.cert.first() else { return false };
        let (Ok(own), Ok(name)) = (ParsedCertificate::try_from(own), ServerName::try_from(name)) else {
            return false;
        };
        verify_server_name(&own, &name).is_ok()
    }

    /// For a connection that a peer opens.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.identity.load().acceptor.clone()
    }

    /// For a connection to a peer that must prove one of `names`, or the address itself where there is none.
    pub(crate) fn connector(&self, names: &[Host], address: IpAddr) -> TlsConnector {
        let identity = self.identity.load();
        let mut names: Vec<ServerName<'static>> = names.iter().filter_map(server_name).collect();
        if names.is_empty() {
            names.push(ServerName::IpAddress(address.into()));
        }
        let verifier = AnyOf { names, authorities: identity.authorities.clone() };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.own.clone())));
        TlsConnector::from(Arc::new(config))
    }

    /// Whether a peer's certificate would be accepted now, as it was when the connection began.
    pub(crate) fn still_accepts(&self, certificate: &PeerCertificate, now: DateTime<Utc>) -> bool {
        let Ok(now) = u64::try_from(now.timestamp()) else { return false };
        let Some((leaf, rest)) = certificate.chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        self.identity.load().members.verify_client_cert(leaf, rest, now).is_ok()
    }
}

/// The name that goes into the handshake's SNI (RFC 6066 §3): the first that DNS can hold.
pub(crate) fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => ServerName::try_from(name.to_string()).ok(),
        Host::Address(ip) => Some(ServerName::IpAddress((*ip).into())),
        // Whoever registered chose the place; there is no name to prove.
        Host::Registration => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let files = [&settings.certificate, &settings.key, &settings.trust];
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.into_iter().chain(&settings.revoked).map(stamp).collect()
}

impl Identity {
    fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let stamps = stamps(settings);
        let chain: Vec<CertificateDer<'static>> = read_all(&settings.certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_file(&settings.key)
            .map_err(|error| unreadable(&settings.key, "private key", error))?;
        let unusable =
            |file: &Path, error: String| TlsError::Unusable { file: file.display().to_string(), error };
        let expires = match chain.first().map(read_certificate) {
            Some(Ok((_, expires))) => expires,
            Some(Err(error)) => return Err(unusable(&settings.certificate, error)),
            None => return Err(empty(&settings.certificate, "certificate", None)),
        };
        let own = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| unusable(&settings.key, error.to_string()))?;
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots
            .add_parsable_certificates(read_all::<CertificateDer<'static>>(&settings.trust, "certificate")?);
        if taken == 0 {
            return Err(empty(&settings.trust, "certificate", None));
        }
        let roots = Arc::new(roots);
        let crls: Vec<CertificateRevocationListDer<'static>> = match &settings.revoked {
            Some(file) => read_all(file, "revocation list")?,
            None => Vec::new(),
        };
        let lists = settings.revoked.as_deref().unwrap_or(&settings.trust);
        let authorities = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
            .with_crls(crls.clone())
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| unusable(lists, error.to_string()))?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .with_crls(crls)
            .allow_unknown_revocation_status()
            .allow_unauthenticated()
            .build()
            .map_err(|error| unusable(lists, error.to_string()))?;
        let members = Arc::new(MemberVerifier { clients, authorities: authorities.clone() });
        let own = Arc::new(own);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_client_cert_verifier(members.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())));
        // A session that is resumed shows no certificate, so one that was revoked meanwhile would pass.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, own, members, authorities, expires, stamps })
    }
}

fn read_all<T: PemObject>(file: &Path, wanted: &'static str) -> Result<Vec<T>, TlsError> {
    let all = T::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let all = all.map_err(|error| unreadable(file, wanted, error))?;
    if all.is_empty() { Err(empty(file, wanted, None)) } else { Ok(all) }
}

fn unreadable(file: &Path, wanted: &'static str, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => TlsError::Unreadable { file: file.display().to_string(), error },
        pem::Error::NoItemsFound => empty(file, wanted, None),
        other => empty(file, wanted, Some(other.to_string())),
    }
}

fn empty(file: &Path, wanted: &'static str, why: Option<String>) -> TlsError {
    TlsError::Empty { file: file.display().to_string(), wanted, why }
}

/// The functions of a verifier, of servers or of clients, that are about signatures: those of a field of it.
macro_rules! signatures_as_by {
    ($field:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.$field.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.$field.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$field.supported_verify_schemes()
        }
    };
}

/// Accepts a server that proves one of several names.
#[derive(Debug)]
struct AnyOf {
    names: Vec<ServerName<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut outcome = Err(Error::General("no name is expected of the peer".to_owned()));
        for name in &self.names {
            outcome =
                self.authorities.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    signatures_as_by!(authorities);
}

/// Accepts a client by the same authorities, whether its certificate is one for clients or for servers: a switch
/// often has only the latter, and public authorities make no others any more.
#[derive(Debug)]
struct MemberVerifier {
    clients: Arc<dyn ClientCertVerifier>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl ClientCertVerifier for MemberVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = match self.clients.verify_client_cert(end_entity, intermediates, now) {
            Err(
                error @ Error::InvalidCertificate(
                    CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
                ),
            ) => error,
            outcome => return outcome,
        };
        // Any name of its own: which endpoint it stands for is asked later.
        let names = read_certificate(end_entity).map(|(names, _)| names).unwrap_or_default();
        let Some(name) = names.into_iter().find_map(|name| ServerName::try_from(name).ok()) else {
            return Err(refused);
        };
        self.authorities
            .verify_server_cert(end_entity, intermediates, &name, &[], now)
            .map(|_| ClientCertVerified::assertion())
    }

    signatures_as_by!(clients);
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    };

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issue(
        authority: &CertifiedIssuer<'static, KeyPair>,
        names: &[SanType],
        usage: ExtendedKeyUsagePurpose,
    ) -> (CertificateDer<'static>, String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        (certificate.der().clone(), certificate.pem(), key.serialize_pem())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    /// Identity and trust in a folder, by one authority.
    fn tls(authority: &CertifiedIssuer<'static, KeyPair>) -> (tempfile::TempDir, Tls) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (_, certificate, key) =
            issue(authority, &[dns("hub.example")], ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(file("certificate"), certificate).unwrap();
        std::fs::write(file("key"), key).unwrap();
        std::fs::write(file("trust"), authority.pem()).unwrap();
        let settings = TlsSettings {
            certificate: file("certificate"),
            key: file("key"),
            trust: file("trust"),
            revoked: None,
        };
        (folder, Tls::load(settings).unwrap())
    }

    #[test]
    fn the_certificate_is_held_against_the_public_name_of_a_listener() {
        let (_folder, tls) = tls(&authority());
        for (name, is_named) in [("hub.example", true), ("sip.hub.example", false), ("example", false)] {
            assert_eq!(tls.is_named(name), is_named, "{name}");
        }
    }

    #[test]
    fn a_certificate_speaks_for_its_sip_domains_or_else_its_dns_names() {
        let authority = authority();
        let table: [(&[SanType], &[&str]); 4] = [
            (&[dns("SBC.Acme.example"), dns("acme.example")], &["sbc.acme.example", "acme.example"]),
            (&[dns("sbc.acme.example"), uri("sip:acme.example")], &["acme.example"]),
            // A wildcard speaks for no one name, and a URI with a user for no domain (RFC 5922 §7.1, §7.2).
            (&[dns("*.acme.example"), uri("sip:noc@acme.example")], &[]),
            (&[SanType::IpAddress("192.0.2.1".parse().unwrap())], &[]),
        ];
        for (names, expected) in table {
            let (der, ..) = issue(&authority, names, ExtendedKeyUsagePurpose::ServerAuth);
            assert_eq!(read_certificate(&der).unwrap().0, expected, "{names:?}");
        }
    }

    #[test]
    fn a_member_is_known_by_a_certificate_for_servers_or_clients_of_a_trusted_authority() {
        let (trusted, other) = (authority(), authority());
        let (_folder, tls) = tls(&trusted);
        let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let names = [dns("acme.example")];
        let table = [
            (&trusted, ExtendedKeyUsagePurpose::ServerAuth, true),
            (&trusted, ExtendedKeyUsagePurpose::ClientAuth, true),
            (&trusted, ExtendedKeyUsagePurpose::EmailProtection, false),
            (&other, ExtendedKeyUsagePurpose::ClientAuth, false),
        ];
        for (authority, usage, accepted) in table {
            let (der, ..) = issue(authority, &names, usage.clone());
            let certificate = PeerCertificate::read(Some(&[der])).unwrap();
            assert_eq!(tls.still_accepts(&certificate, now), accepted, "{usage:?}");
            let late = DateTime::from_timestamp(95_000_000_000, 0).unwrap();
            assert!(!tls.still_accepts(&certificate, late), "it has ended");
        }
    }

    #[test]
    fn files_that_are_wrong_are_named_and_those_of_before_stay_in_use() {
        let authority = authority();
        let (folder, tls) = tls(&authority);
        assert!(!tls.reload().unwrap(), "nothing has changed");
        let file = folder.path().join("certificate");
        let good = std::fs::read(&file).unwrap();
        std::fs::write(&file, "no certificate").unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert_eq!(error, format!("{} has no certificate in PEM form", file.display()));
        let (_, certificate, _) =
            issue(&authority, &[dns("hub.example")], ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(&file, certificate).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(
            error.starts_with(&folder.path().join("key").display().to_string()),
            "{error}: another's key"
        );
        std::fs::write(&file, good).unwrap();
        assert!(tls.reload().unwrap(), "it is read again, being written again");
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Unreadable { .. })));
        assert!(tls.expires() > DateTime::UNIX_EPOCH);
    }
}

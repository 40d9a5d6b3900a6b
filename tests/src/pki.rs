//! Certificates for a scenario: an authority of its own, and what it issues and revokes, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

/// An authority. Its files are gone with it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    serial: u64,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("tandem-pki-").expect("a temporary folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Tandem test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("it signs itself");
        fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("the folder is ours");
        let authority = Self { issuer: Issuer::new(params, key), folder };
        authority.revoke(&[]);
        authority
    }

    /// Its own certificate, for those who trust it.
    pub fn trust(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Its revocation list.
    pub fn revoked(&self) -> PathBuf {
        self.folder.path().join("revoked.pem")
    }

    /// A file that the authority's folder has or will have.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for servers, as public authorities make them, with these DNS names and addresses.
    pub fn issue(&self, serial: u64, names: &[&str]) -> Certificate {
        self.issue_with(serial, names, |_| {})
    }

    /// The same with something else about it.
    pub fn issue_with(
        &self,
        serial: u64,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*name).try_into().expect("a DNS name is ASCII")),
            })
            .collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // So that the end of one tells it from another.
        params.not_after = date_time_ymd(2080 + (serial % 20) as i32, 1, 1);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let file = |kind: &str| self.file(&format!("{serial}-{kind}.pem"));
        let certificate = Certificate { certificate: file("certificate"), key: file("key"), serial };
        fs::write(&certificate.certificate, issued.pem()).expect("the folder is ours");
        fs::write(&certificate.key, key.serialize_pem()).expect("the folder is ours");
        certificate
    }

    /// Revokes these certificates, and all others no more.
    pub fn revoke(&self, certificates: &[&Certificate]) {
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: SerialNumber::from(certificate.serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1 + certificates.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("the authority signs");
        replace(&self.revoked(), &list.pem().expect("it is PEM"));
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a text in a file's place, whole at once.
pub fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("the folder is ours");
    fs::rename(new, file).expect("the folder is ours");
}

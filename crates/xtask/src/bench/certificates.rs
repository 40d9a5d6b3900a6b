//! The certificates of one run: an authority, a certificate for the systems, and one for the gateways of the load.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Folders with `authority.pem`, `certificate.pem` and `key.pem` each.
pub(crate) struct Certificates {
    /// For every system, as a server and as a client.
    pub(crate) systems: PathBuf,
    /// For the gateways.
    pub(crate) load: PathBuf,
}

impl Certificates {
    /// Makes all of them below `folder`, for these addresses.
    pub(crate) fn make(folder: &Path, systems: &[&str], gateways: &[&str]) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: &str, addresses: &[&str]| -> Result<PathBuf> {
            let folder = folder.join("tls").join(name);
            fs::create_dir_all(&folder)?;
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            let addresses = addresses.iter().map(|address| Ok(SanType::IpAddress(address.parse()?)));
            params.subject_alt_names = addresses.collect::<Result<_>>()?;
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate()?;
            fs::write(folder.join("authority.pem"), &authority)?;
            fs::write(folder.join("certificate.pem"), params.signed_by(&key, &issuer)?.pem())?;
            fs::write(folder.join("key.pem"), key.serialize_pem())?;
            Ok(folder)
        };
        Ok(Self { systems: issue("systems", systems)?, load: issue("load", gateways)? })
    }
}

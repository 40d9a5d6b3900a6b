//! STI certificates: which numbers one is for (TNAuthorizationList, RFC 8226 §9), whether it leads to an authority that the
//! operator trusts, and whether somebody has its key.
//!
//! Pure: the certificate, the trust anchors and the time come in. Whether a certificate was revoked is not asked; the
//! operator refuses a range, and a member removes its certificate.

use chrono::{DateTime, Utc};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use tandem_model::E164;
use tandem_store::certificate::TnEntry;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::oid_registry::Oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Most certificates of a chain.
const MAX_CHAIN: usize = 8;

/// Most entries of a TN list.
const MAX_ENTRIES: usize = 10_000;

/// Octets of an uncompressed point of P-256.
const POINT: usize = 65;

/// Why a certificate is not taken; as a sentence without its full stop.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("this is no PEM text with one to {MAX_CHAIN} certificates, the member's own first")]
    Unreadable,
    #[error("the certificate does not lead to a trust anchor of the exchange ({0})")]
    Untrusted(String),
    #[error("the certificate, or one that it leads to, has expired or is not valid yet")]
    OutOfTime,
    #[error("the certificate is not for digital signatures: its key usage does not say so")]
    KeyUsage,
    #[error("the key of the certificate is none of P-256, with which ES256 signs")]
    Key,
    #[error("the certificate has no list of numbers or codes (TNAuthorizationList)")]
    NoList,
    #[error("the list of numbers of the certificate cannot be read (RFC 8226 section 9)")]
    List,
    #[error("the list of the certificate has {0}, which is not in full E.164 numbers")]
    Number(String),
}

/// Authorities that certificates may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors(Vec<TrustAnchor<'static>>);

impl TrustAnchors {
    /// Those of a PEM text; the error says what is wrong with it.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let anchors = certificates(pem).ok_or("it has something that is no certificate in PEM form")?;
        let read = anchors.iter().enumerate().map(|(index, der)| {
            let anchor = webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned());
            anchor.map_err(|error| format!("its certificate {} cannot be read: {error}", index + 1))
        });
        let read: Vec<_> = read.collect::<Result<_, _>>()?;
        if read.is_empty() { Err("it has no certificate".to_owned()) } else { Ok(Self(read)) }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A certificate that leads to a trust anchor.
#[derive(Debug)]
pub(crate) struct StiCertificate {
    /// Whom it was given to.
    pub(crate) subject: String,
    /// SHA-256 of it.
    pub(crate) fingerprint: [u8; 32],
    /// Its key, a point of P-256.
    pub(crate) public_key: Vec<u8>,
    /// The numbers and codes that it is for.
    pub(crate) entries: Vec<TnEntry>,
    pub(crate) from: DateTime<Utc>,
    /// The first instant at which it is over.
    pub(crate) until: DateTime<Utc>,
}

/// Reads a chain in PEM form, the certificate itself first, and sees that it is good at `now`.
pub(crate) fn read(pem: &[u8], anchors: &TrustAnchors, now: DateTime<Utc>) -> Result<StiCertificate, Unfit> {
    let chain = certificates(pem).filter(|chain| (1..=MAX_CHAIN).contains(&chain.len()));
    let chain = chain.ok_or(Unfit::Unreadable)?;
    let (own, above) = chain.split_first().ok_or(Unfit::Unreadable)?;
    let (_, certificate) = X509Certificate::from_der(own).map_err(|_| Unfit::Unreadable)?;
    verify_chain(own, above, anchors, now)?;
    let usage = certificate.key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(Unfit::KeyUsage);
    }
    let point = certificate.public_key().subject_public_key.data.to_vec();
    if point.len() != POINT || point[0] != 4 {
        return Err(Unfit::Key);
    }
    let oid = Oid::from(&[1, 3, 6, 1, 5, 5, 7, 1, 26]).map_err(|_| Unfit::NoList)?;
    let list = certificate.get_extension_unique(&oid).map_err(|_| Unfit::List)?.ok_or(Unfit::NoList)?;
    let time =
        |at: x509_parser::time::ASN1Time| DateTime::from_timestamp(at.timestamp(), 0).ok_or(Unfit::OutOfTime);
    let validity = certificate.validity();
    Ok(StiCertificate {
        subject: certificate.subject().to_string(),
        fingerprint: Sha256::digest(own).into(),
        public_key: point,
        entries: entries(list.value)?,
        from: time(validity.not_before)?,
        // Its last second counts (RFC 5280 §4.1.2.5).
        until: time(validity.not_after)? + Duration::from_secs(1),
    })
}

/// The certificates of a PEM text; `None` where it has something else.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    Pem::iter_from_buffer(pem)
        .map(|block| block.ok().filter(|block| block.label == "CERTIFICATE"))
        .map(|block| block.map(|block| CertificateDer::from(block.contents)))
        .collect()
}

/// Sees that a chain of certificates leads to an anchor and holds at `now` (RFC 5280 §6).
fn verify_chain(
    own: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    anchors: &TrustAnchors,
    now: DateTime<Utc>,
) -> Result<(), Unfit> {
    use webpki::ring::{ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384};
    let seconds = u64::try_from(now.timestamp()).map_err(|_| Unfit::OutOfTime)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = [ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384];
    let verified = webpki::EndEntityCert::try_from(own).and_then(|certificate| {
        // STI certificates have no extended key usage; one that has must be for clients.
        let usage = webpki::KeyUsage::client_auth();
        certificate.verify_for_usage(&algorithms, &anchors.0, above, time, usage, None, None).map(|_| ())
    });
    verified.map_err(|error| match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => Unfit::OutOfTime,
        error => Unfit::Untrusted(error.to_string()),
    })
}

/// The entries of a TNAuthorizationList: `[0]` a code, `[1]` a range of numbers, `[2]` one number, each explicitly tagged.
pub(crate) fn entries(octets: &[u8]) -> Result<Vec<TnEntry>, Unfit> {
    let list = whole(octets, Tag::Sequence)?;
    let (mut rest, mut entries) = (list.data, Vec::new());
    while !rest.is_empty() {
        let (after, entry) = Any::from_der(rest).map_err(|_| Unfit::List)?;
        rest = after;
        if entries.len() == MAX_ENTRIES || !entry.header.is_contextspecific() {
            return Err(Unfit::List);
        }
        entries.push(match entry.header.tag().0 {
            0 => TnEntry::Code { code: ia5(entry.data)?.to_owned() },
            1 => {
                let range = whole(entry.data, Tag::Sequence)?;
                let (count, start) = Any::from_der(range.data).map_err(|_| Unfit::List)?;
                let start = start.as_ia5string().map_err(|_| Unfit::List)?.string();
                let count = whole(count, Tag::Integer)?.as_u64().map_err(|_| Unfit::List)?;
                numbers(&start, count)?
            }
            2 => numbers(ia5(entry.data)?, 1)?,
            _ => return Err(Unfit::List),
        });
    }
    if entries.is_empty() { Err(Unfit::List) } else { Ok(entries) }
}

/// The one value that all of `octets` are.
fn whole(octets: &[u8], tag: Tag) -> Result<Any<'_>, Unfit> {
    match Any::from_der(octets) {
        Ok(([], value)) if value.tag() == tag => Ok(value),
        _ => Err(Unfit::List),
    }
}

fn ia5(octets: &[u8]) -> Result<&str, Unfit> {
    let text = std::str::from_utf8(whole(octets, Tag::Ia5String)?.data).map_err(|_| Unfit::List)?;
    if (1..=200).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(Unfit::List)
    }
}

/// `count` numbers from `start` on, all of them as long.
fn numbers(start: &str, count: u64) -> Result<TnEntry, Unfit> {
    let unfit = || Unfit::Number(format!("{count} from {}", crate::text::quoted(start)));
    let first: E164 = start.parse().map_err(|_| unfit())?;
    let last = count.checked_sub(1).and_then(|more| first.value().checked_add(more)).ok_or_else(unfit)?;
    let last = E164::from_value(last).map_err(|_| unfit())?;
    if last.len() != first.len() || !first.has_possible_length() {
        return Err(unfit());
    }
    Ok(TnEntry::Numbers { start: first, count })
}

/// Whether `jws`, compact (RFC 7515 §3.1), is `text` signed by ES256 with the private key to `public_key`.
pub(crate) fn is_signed(jws: &str, text: &str, public_key: &[u8]) -> bool {
    let Some((signed, signature)) = jws.trim().rsplit_once('.') else { return false };
    let Some((header, payload)) = signed.split_once('.') else { return false };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let (Some(header), Some(payload), Some(signature)) = (decode(header), decode(payload), decode(signature))
    else {
        return false;
    };
    let header: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&header).ok();
    // An extension that must be understood is not (RFC 7515 §4.1.11).
    let is_es256 = header.is_some_and(|header| {
        header.get("alg").is_some_and(|alg| alg == "ES256") && !header.contains_key("crit")
    });
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key);
    is_es256 && payload == text.as_bytes() && key.verify(signed.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A DER value.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut octets = vec![tag, u8::try_from(content.len()).expect("a short value")];
        octets.extend(content);
        octets
    }

    #[test]
    fn a_list_has_codes_ranges_and_single_numbers() {
        let range = der(0x30, &[der(0x16, b"442079460000"), der(0x02, &[0x03, 0xe8])].concat());
        let list = der(
            0x30,
            &[der(0xa0, &der(0x16, b"709J")), der(0xa1, &range), der(0xa2, &der(0x16, b"442071234567"))]
                .concat(),
        );
        let numbers = |start: &str, count| TnEntry::Numbers { start: start.parse().unwrap(), count };
        let expected = [
            TnEntry::Code { code: "709J".to_owned() },
            numbers("442079460000", 1_000),
            numbers("442071234567", 1),
        ];
        assert_eq!(entries(&list), Ok(expected.to_vec()));
        for end in 0..list.len() {
            assert!(entries(&list[..end]).is_err(), "{end}");
        }
        for at in 0..list.len() {
            let mut broken = list.clone();
            broken[at] ^= 0x40;
            // It is read or refused, and never leads anywhere else.
            let _ = entries(&broken);
        }
    }

    #[test]
    fn a_range_of_numbers_that_are_not_full_or_not_as_long_is_refused() {
        for (start, count) in [
            ("442079460000", 0),
            ("999999999999999", 2),
            ("99", 1),
            ("4420*946", 1),
            ("442079460000", u64::MAX),
        ] {
            assert!(matches!(numbers(start, count), Err(Unfit::Number(_))), "{start} {count}");
        }
    }
}

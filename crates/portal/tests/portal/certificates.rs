//! Claims that an STI certificate verifies, and all the certificates that verify nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tandem_portal::TrustAnchors;

use crate::exchange::{Answer, Exchange, Member};

/// An authority, with an intermediate one that issues.
struct Authority {
    anchor: String,
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let of = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            (params, KeyPair::generate().expect("a key"))
        };
        let ((root, root_key), (params, key)) = (of("STI root"), of("STI authority"));
        let anchor = root.self_signed(&root_key).expect("it signs itself").pem();
        let root = Issuer::new(root, root_key);
        let intermediate = params.signed_by(&key, &root).expect("it is signed").pem();
        Self { anchor, intermediate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `entries`, good until the first day of `until`, with its chain and its key.
    fn issue(
        &self,
        entries: &[Vec<u8>],
        until: i32,
        settle: impl FnOnce(&mut CertificateParams),
    ) -> (String, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "SHAKEN acme");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let list = der(0x30, &entries.concat());
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], list)];
        settle(&mut params);
        let key = KeyPair::generate().expect("a key");
        let own = params.signed_by(&key, &self.issuer).expect("it is signed").pem();
        (own + &self.intermediate, key)
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut octets = vec![tag];
    match u8::try_from(content.len()) {
        Ok(len) if len < 0x80 => octets.push(len),
        _ => octets.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
    }
    octets.extend(content);
    octets
}

fn code(code: &str) -> Vec<u8> {
    der(0xa0, &der(0x16, code.as_bytes()))
}

fn range(start: &str, count: u32) -> Vec<u8> {
    let octets = count.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).expect("a count");
    let sign = if octets[first] < 0x80 { &[][..] } else { &[0] };
    let count = der(0x02, &[sign, &octets[first..]].concat());
    der(0xa1, &der(0x30, &[der(0x16, start.as_bytes()), count].concat()))
}

/// The text as a compact JWS by ES256.
fn sign(key: &KeyPair, text: &str) -> String {
    let encode = |octets: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(octets);
    let signed = format!("{}.{}", encode(br#"{"alg":"ES256"}"#), encode(text.as_bytes()));
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random).unwrap();
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(signature.as_ref()))
}

async fn exchange(authority: &Authority) -> Exchange {
    let anchors = TrustAnchors::read(authority.anchor.as_bytes()).expect("an anchor");
    Exchange::with(|settings| settings.sti_trust_anchors = anchors).await
}

async fn bring(member: &Member, chain: &str) -> Answer {
    member.post("certificates", json!({ "chain": chain })).await
}

async fn prove(member: &Member, brought: &Answer, jws: &str) -> Answer {
    member
        .post(&format!("certificates/{}/prove", brought.text("certificate_id")), json!({ "jws": jws }))
        .await
}

fn text(brought: &Answer) -> &str {
    brought.json["challenge"]["text"].as_str().expect("a text to sign")
}

fn standing(range: &Value) -> (&str, &str) {
    (range["authority"].as_str().unwrap_or("-"), range["verified_by"].as_str().unwrap_or("-"))
}

#[tokio::test]
async fn a_claim_that_the_certificate_covers_is_verified_until_the_certificate_ends() {
    let authority = Authority::new();
    let exchange = exchange(&authority).await;
    let acme = exchange.member("acme").await;
    let list = [range("442079460000", 10_000), range("442071230000", 500), range("442071230500", 500)];
    let (chain, key) = authority.issue(&list, 2031, |_| {});
    // Claimed before the proof, and after it.
    let early = acme.claim("+44207946").await.expect(201);
    assert_eq!(standing(&early.json), ("pending", "-"));
    let brought = bring(&acme, &chain).await.expect(201);
    assert_eq!(
        brought.json["entries"][0],
        json!({ "code": null, "start": "+442079460000", "count": 10_000 })
    );
    assert_eq!(
        acme.claim("+442071230").await.expect(201).json["authority"],
        "pending",
        "nothing is proven yet"
    );
    let proven = prove(&acme, &brought, &sign(&key, text(&brought))).await.expect(200);
    assert!(proven.json["proven_at"].is_string() && proven.json["challenge"].is_null(), "{}", proven.text);
    let ranges = acme.get("ranges").await.expect(200);
    for range in ranges.items() {
        assert_eq!(standing(range), ("valid", "certificate"), "{range}");
        assert_eq!(range["valid_until"], "2031-01-01T00:00:01Z");
    }
    assert_eq!(ranges.items().len(), 2);
    for (prefix, expected) in
        [("+44207947", ("pending", "-")), ("+4420794", ("pending", "-")), ("+442071231", ("pending", "-"))]
    {
        assert_eq!(standing(&acme.claim(prefix).await.expect(201).json), expected, "{prefix}");
    }
    // Without the certificate the operator decides.
    let path = format!("certificates/{}", brought.text("certificate_id"));
    acme.delete(&path).await.expect(204);
    let ranges = acme.get("ranges").await.expect(200);
    let gone = ranges.items().iter().filter(|it| it["evidence_gone"] == true && it["authority"] == "valid");
    assert_eq!(gone.count(), 2);
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_with_what_is_wrong() {
    let authority = Authority::new();
    let exchange = exchange(&authority).await;
    let acme = exchange.member("acme").await;
    let list = [range("442079460000", 10_000)];
    let other = Authority::new().issue(&list, 2031, |_| {}).0;
    let expired = authority.issue(&list, 2021, |_| {}).0;
    let early = authority.issue(&list, 2041, |params| params.not_before = date_time_ymd(2040, 1, 1)).0;
    let no_usage =
        authority.issue(&list, 2031, |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]).0;
    let no_list = authority.issue(&list, 2031, |params| params.custom_extensions.clear()).0;
    let local = authority.issue(&[range("7946000", 10)], 2031, |_| {}).0;
    let overflow = authority.issue(&[range("442079469999", 2_000_000_000)], 2031, |_| {}).0;
    let empty = authority.issue(&[], 2031, |_| {}).0;
    let good = authority.issue(&list, 2031, |_| {}).0;
    let cut = good.replace(&authority.intermediate, "");
    for (chain, message) in [
        (other.as_str(), "does not lead to a trust anchor"),
        (&cut, "does not lead to a trust anchor"),
        (&expired, "has expired or is not valid yet"),
        (&early, "has expired or is not valid yet"),
        (&no_usage, "key usage"),
        (&no_list, "TNAuthorizationList"),
        (&local, "not in full E.164 numbers"),
        (&empty, "cannot be read"),
        ("", "no PEM text"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM text"),
    ] {
        let refused = bring(&acme, chain).await;
        assert_eq!(
            (refused.problem(), refused.fields()),
            ((422, "certificate_refused"), vec!["chain"]),
            "{message}"
        );
        assert!(refused.json["errors"][0]["message"].as_str().unwrap().contains(message), "{}", refused.text);
    }
    // Whatever the count, it stays within numbers as long as the first.
    assert_eq!(bring(&acme, &overflow).await.expect(201).json["entries"][0]["count"], 2_000_000_000_u64);
    let nobody = Exchange::new().await;
    let acme = nobody.member("acme").await;
    assert_eq!(bring(&acme, &good).await.problem(), (409, "evidence_not_taken"));
}

#[tokio::test]
async fn only_who_has_the_key_proves_a_certificate_once_and_in_time() {
    let authority = Authority::new();
    let exchange = exchange(&authority).await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    let (chain, key) = authority.issue(&[range("442079460000", 10_000)], 2031, |_| {});
    let brought = bring(&acme, &chain).await.expect(201);
    let stolen = bring(&globex, &chain).await.expect(201);
    let jws = sign(&key, text(&brought));
    let none = jws.replacen(&BASE64_URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256"}"#), "eyJhbGciOiJub25lIn0", 1);
    for (jws, case) in [
        (sign(&KeyPair::generate().unwrap(), text(&brought)), "another key"),
        (sign(&key, text(&stolen)), "another member's text"),
        (none, "alg none"),
        (format!("{jws}A"), "a longer signature"),
        (jws.replace('.', ""), "no JWS"),
        (String::new(), "nothing"),
    ] {
        assert_eq!(prove(&acme, &brought, &jws).await.problem(), (422, "proof_refused"), "{case}");
    }
    // What one member signed proves nothing for another, and is another's object.
    assert_eq!(prove(&globex, &stolen, &jws).await.problem(), (422, "proof_refused"));
    assert_eq!(prove(&globex, &brought, &jws).await.problem(), (404, "not_found"));
    exchange.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(prove(&acme, &brought, &jws).await.problem(), (422, "proof_refused"), "too late");
    let again = bring(&acme, &chain).await.expect(201);
    assert_eq!(again.text("certificate_id"), brought.text("certificate_id"));
    let jws = sign(&key, text(&again));
    prove(&acme, &again, &jws).await.expect(200);
    assert_eq!(prove(&acme, &again, &jws).await.problem(), (422, "proof_refused"), "a second time");
    assert_eq!(standing(&globex.claim("+44207946").await.expect(201).json), ("pending", "-"));
    assert_eq!(standing(&acme.claim("+44207946").await.expect(201).json), ("valid", "certificate"));
}

#[tokio::test]
async fn a_code_of_the_certificate_is_a_name_in_the_regulators_file_unless_it_is_another_members() {
    let authority = Authority::new();
    let exchange = exchange(&authority).await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    exchange.import("OCN", "1201555,709j,,\n1201556,709K,,").await.expect(200);
    exchange.name_holder(&globex, &["709K"]).await.expect(200);
    let (chain, key) = authority.issue(&[code("709J"), code("709K")], 2031, |_| {});
    let brought = bring(&acme, &chain).await.expect(201);
    assert_eq!(acme.claim("+1201555").await.expect(201).json["reason"], "range_allocated_to_other");
    prove(&acme, &brought, &sign(&key, text(&brought))).await.expect(200);
    let range = acme.get("ranges").await.items()[0].clone();
    assert_eq!(standing(&range), ("valid", "regulator"));
    assert_eq!(range["valid_until"], "2031-01-01T00:00:01Z");
    assert_eq!(acme.claim("+1201556").await.expect(201).json["reason"], "range_allocated_to_other");
}

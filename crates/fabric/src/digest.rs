//! Digest authentication, both ways: what a message says of it, and whether an answer is right (RFC 7616; for SIP
//! RFC 8760, which puts SHA-256 before MD5).
//!
//! Nothing here keeps anything: which challenges are out and how often they were answered is `nonce`'s.

use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tandem_model::Ha1;
use tandem_sip::{Message, Name};

/// Most Authorization or challenge header fields of one message that are read.
const MAX_FIELDS: usize = 4;

/// A hash function that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    /// In the order in which challenges name them: the strongest first (RFC 8760 §2.3).
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// As in header fields.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// Without a name it is MD5 (RFC 7616 §3.3).
    fn named(name: Option<&[u8]>) -> Option<Self> {
        let name = name.unwrap_or(b"MD5");
        Self::ALL.into_iter().find(|it| it.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The hash of what stands between colons, in hexadecimal digits.
    fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Md5 => hash::<Md5>(parts),
        }
    }

    fn ha1(self, ha1: &Ha1) -> String {
        match self {
            Self::Sha256 => hex(&ha1.sha256),
            Self::Md5 => hex(&ha1.md5),
        }
    }
}

fn hash<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    hex(&digest.finalize())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What an Authorization header field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'m> {
    pub(crate) username: &'m [u8],
    pub(crate) realm: &'m [u8],
    pub(crate) nonce: &'m [u8],
    uri: &'m [u8],
    response: &'m [u8],
    algorithm: Algorithm,
    /// How often the nonce was answered, this time included, and the client's own nonce; neither from a switch of
    /// before RFC 2617.
    count: Option<Count<'m>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count<'m> {
    number: u32,
    text: &'m [u8],
    cnonce: &'m [u8],
}

impl<'m> Answer<'m> {
    /// The answer of a request to a challenge in a realm that `is_own`; others are for others.
    pub(crate) fn of(request: &Message<'m>, is_own: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let mut answers = request.all(Name::Authorization).take(MAX_FIELDS).filter_map(Self::parse);
        answers.find(|answer| is_own(answer.realm))
    }

    fn parse(value: &'m [u8]) -> Option<Self> {
        let fields = Fields::parse(value)?;
        let count = match fields.qop {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
                let text = fields.nc?;
                if text.len() != 8 || !text.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let number = u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?;
                Some(Count { number, text, cnonce: fields.cnonce? })
            }
            Some(_) => return None,
        };
        Some(Self {
            username: fields.username?,
            realm: fields.realm?,
            nonce: fields.nonce?,
            uri: fields.uri?,
            response: fields.response?,
            algorithm: Algorithm::named(fields.algorithm)?,
            count,
        })
    }

    /// How often the nonce has been answered with this: 1 where the answer does not count.
    pub(crate) fn count(&self) -> u32 {
        self.count.map_or(1, |count| count.number)
    }

    /// Whether somebody made it who knows the secret. Takes the same time for each secret.
    pub(crate) fn is_right(&self, method: &[u8], secret: &Ha1) -> bool {
        let count = self.count.map(|count| (count.text, count.cnonce));
        let right = response(self.algorithm, secret, method, self.uri, self.nonce, count);
        let given: Vec<u8> = self.response.to_ascii_lowercase();
        right.as_bytes().ct_eq(&given).into()
    }
}

/// The `response` of RFC 7616 §3.4.1, with `qop=auth` where there is a count.
fn response(
    algorithm: Algorithm,
    secret: &Ha1,
    method: &[u8],
    uri: &[u8],
    nonce: &[u8],
    count: Option<(&[u8], &[u8])>,
) -> String {
    let a1 = algorithm.ha1(secret);
    let a2 = algorithm.hash(&[method, uri]);
    match count {
        Some((nc, cnonce)) => algorithm.hash(&[a1.as_bytes(), nonce, nc, cnonce, b"auth", a2.as_bytes()]),
        None => algorithm.hash(&[a1.as_bytes(), nonce, a2.as_bytes()]),
    }
}

/// The value of one challenge of the hub's.
pub(crate) fn challenge(algorithm: Algorithm, realm: &str, nonce: &str, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    let algorithm = algorithm.as_str();
    format!("Digest realm=\"{realm}\", nonce=\"{nonce}\"{stale}, algorithm={algorithm}, qop=\"auth\"")
}

/// A challenge to a request of the hub's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge<'m> {
    realm: &'m [u8],
    nonce: &'m [u8],
    opaque: Option<&'m [u8]>,
    algorithm: Algorithm,
    /// Whether the answer counts.
    has_qop: bool,
    /// Whether only the nonce was too old.
    pub(crate) stale: bool,
    /// 407 asks for Proxy-Authorization, 401 for Authorization.
    is_proxy: bool,
}

impl<'m> Challenge<'m> {
    /// The strongest challenge of a 401 or 407 in one realm; none where it asks in no such realm, or for what the
    /// hub does not do.
    pub(crate) fn of(response: &Message<'m>, realm: &str) -> Option<Self> {
        let (name, is_proxy) = match response.status()? {
            401 => (Name::WwwAuthenticate, false),
            407 => (Name::ProxyAuthenticate, true),
            _ => return None,
        };
        let all = response.all(name).take(MAX_FIELDS).filter_map(|value| Self::parse(value, is_proxy));
        let mut all: Vec<Self> = all.filter(|it| it.realm == realm.as_bytes()).collect();
        all.sort_by_key(|it| it.algorithm != Algorithm::Sha256);
        all.into_iter().next()
    }

    fn parse(value: &'m [u8], is_proxy: bool) -> Option<Self> {
        let fields = Fields::parse(value)?;
        let has_qop = match fields.qop {
            None => false,
            Some(offered) => {
                let is_offered = |qop: &[u8]| qop.trim_ascii().eq_ignore_ascii_case(b"auth");
                offered.split(|&octet| octet == b',').any(is_offered).then_some(true)?
            }
        };
        Some(Self {
            realm: fields.realm?,
            nonce: fields.nonce?,
            opaque: fields.opaque,
            algorithm: Algorithm::named(fields.algorithm)?,
            has_qop,
            stale: fields.stale.is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
            is_proxy,
        })
    }

    /// The header field that answers it, for one request; its nonce is answered once, so the count is 1.
    pub(crate) fn answer(
        &self,
        username: &str,
        secret: &Ha1,
        method: &[u8],
        uri: &[u8],
        cnonce: u64,
    ) -> (&'static str, Vec<u8>) {
        let name = if self.is_proxy { "Proxy-Authorization" } else { "Authorization" };
        let cnonce = format!("{cnonce:016x}");
        let count = self.has_qop.then_some((&b"00000001"[..], cnonce.as_bytes()));
        let response = response(self.algorithm, secret, method, uri, self.nonce, count);
        let mut value = Vec::with_capacity(256);
        let mut quoted = |name: &str, text: &[u8]| {
            value.extend_from_slice(if value.is_empty() { b"Digest " } else { b", " });
            value.extend_from_slice(name.as_bytes());
            value.extend_from_slice(b"=\"");
            value.extend_from_slice(text);
            value.push(b'"');
        };
        quoted("username", username.as_bytes());
        quoted("realm", self.realm);
        quoted("nonce", self.nonce);
        quoted("uri", uri);
        quoted("response", response.as_bytes());
        if self.has_qop {
            quoted("cnonce", cnonce.as_bytes());
        }
        if let Some(opaque) = self.opaque {
            quoted("opaque", opaque);
        }
        value.extend_from_slice(b", algorithm=");
        value.extend_from_slice(self.algorithm.as_str().as_bytes());
        if self.has_qop {
            value.extend_from_slice(b", qop=auth, nc=00000001");
        }
        (name, value)
    }
}

/// The parameters of a challenge or of an answer, without their quotes; of two with one name the first.
#[derive(Default)]
struct Fields<'m> {
    username: Option<&'m [u8]>,
    realm: Option<&'m [u8]>,
    nonce: Option<&'m [u8]>,
    uri: Option<&'m [u8]>,
    response: Option<&'m [u8]>,
    algorithm: Option<&'m [u8]>,
    cnonce: Option<&'m [u8]>,
    opaque: Option<&'m [u8]>,
    qop: Option<&'m [u8]>,
    nc: Option<&'m [u8]>,
    stale: Option<&'m [u8]>,
}

impl<'m> Fields<'m> {
    /// `None` where it is no digest, or has an escape: it would have to be taken out before hashing, and nobody
    /// writes one.
    fn parse(value: &'m [u8]) -> Option<Self> {
        const SCHEME: &[u8] = b"Digest";
        let value = value.trim_ascii();
        let (scheme, mut rest) = value.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) || !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut fields = Self::default();
        loop {
            rest = rest.trim_ascii_start();
            let (name, after) = rest.split_at_checked(memchr::memchr(b'=', rest)?)?;
            let after = after[1..].trim_ascii_start();
            let (text, after) = match after {
                [b'"', quoted @ ..] => {
                    let end = memchr::memchr2(b'"', b'\\', quoted).filter(|&end| quoted[end] == b'"')?;
                    (&quoted[..end], &quoted[end + 1..])
                }
                _ => {
                    let end = memchr::memchr(b',', after).unwrap_or(after.len());
                    (after[..end].trim_ascii_end(), &after[end..])
                }
            };
            if text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
                return None;
            }
            if let Some(place) = fields.place(name.trim_ascii()) {
                place.get_or_insert(text);
            }
            rest = match after.trim_ascii_start() {
                [] => return Some(fields),
                [b',', rest @ ..] => rest,
                _ => return None,
            };
        }
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<&'m [u8]>> {
        let places: [(&[u8], &mut Option<&'m [u8]>); 11] = [
            (b"username", &mut self.username),
            (b"realm", &mut self.realm),
            (b"nonce", &mut self.nonce),
            (b"uri", &mut self.uri),
            (b"response", &mut self.response),
            (b"algorithm", &mut self.algorithm),
            (b"cnonce", &mut self.cnonce),
            (b"opaque", &mut self.opaque),
            (b"qop", &mut self.qop),
            (b"nc", &mut self.nc),
            (b"stale", &mut self.stale),
        ];
        places.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1.
    const SHA_256: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
        algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const MD5: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
        algorithm=MD5, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"8ca523f5e9506fed4657c9700eebdbec\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    /// RFC 2617 §3.5, and the same without `qop` as RFC 2069 had it (errata 749).
    const RFC_2617: &str = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, \
        cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
        opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    const RFC_2069: &str = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
        response=\"670fd8c2df070c60b045671b8b24ff02\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";

    fn is_right(value: &str, password: &str) -> bool {
        let answer = Answer::parse(value.as_bytes()).expect("it is a digest");
        let realm = std::str::from_utf8(answer.realm).unwrap();
        answer.is_right(b"GET", &Ha1::new("Mufasa", realm, password))
    }

    #[test]
    fn the_examples_of_the_standards_are_right_and_with_another_password_wrong() {
        for (value, password) in [
            (SHA_256, "Circle of Life"),
            (MD5, "Circle of Life"),
            (RFC_2617, "Circle Of Life"),
            (RFC_2069, "Circle Of Life"),
        ] {
            assert!(is_right(value, password), "{value}");
            assert!(!is_right(value, "Circle of Death"), "{value}");
        }
    }

    #[test]
    fn every_part_of_an_answer_is_part_of_the_proof() {
        for part in ["nc=00000001", "index.html", "7ypf", "f2/wE4q7"] {
            let other = SHA_256.replace(part, &part.replace(['1', '7', 'x'], "2"));
            assert!(other == SHA_256 || !is_right(&other, "Circle of Life"), "{part}");
        }
        assert!(!is_right(&SHA_256.replace("algorithm=SHA-256", "algorithm=MD5"), "Circle of Life"));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bad in [
            "",
            "Digest",
            "Digest ",
            "Basic YTpi",
            "Digestusername=\"a\"",
            "Digest username",
            "Digest username=\"a",
            "Digest username=\"a\" realm=\"b\"",
            &SHA_256.replace("qop=auth", "qop=auth-int"),
            &SHA_256.replace("SHA-256", "SHA-512-256"),
            &SHA_256.replace("nc=00000001", "nc=1"),
            &SHA_256.replace("nc=00000001", "nc=+0000001"),
            &SHA_256.replace("nc=00000001, ", ""),
            &SHA_256.replace("Mufasa", "Mu\\\"fasa"),
            &SHA_256.replace("Mufasa", "Mu\r\n fasa"),
        ] {
            assert_eq!(Answer::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn of_two_answers_the_one_in_our_realm_counts() {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nAuthorization: {SHA_256}\r\n\
             Authorization: {RFC_2617}\r\n\r\n"
        );
        let message = Message::parse(text.as_bytes()).unwrap();
        let answer = Answer::of(&message, |realm| realm == b"testrealm@host.com").unwrap();
        assert_eq!((answer.nonce, answer.count()), (&b"dcd98b7102dd2f0e8b11d0f600bfb0c093"[..], 1));
        assert_eq!(Answer::of(&message, |realm| realm == b"never.challenged"), None);
    }

    fn challenged(status: u16, lines: &str) -> String {
        format!("SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h\r\n{lines}\r\n")
    }

    #[test]
    fn a_challenge_is_answered_so_that_its_maker_finds_it_right() {
        let secret = Ha1::new("hub", "acme", "correct horse");
        for (status, header, algorithm, qop) in [
            (401, "WWW-Authenticate", "SHA-256", ", qop=\"auth,auth-int\""),
            (407, "Proxy-Authenticate", "MD5", ", qop=\"auth\""),
            (407, "Proxy-Authenticate", "MD5", ""),
        ] {
            let line = format!(
                "{header}: Digest realm=\"acme\", nonce=\"n1\", opaque=\"o\", stale=TRUE, algorithm={algorithm}{qop}\r\n"
            );
            let text = challenged(status, &line);
            let message = Message::parse(text.as_bytes()).unwrap();
            let challenge = Challenge::of(&message, "acme").unwrap();
            assert!(challenge.stale);
            let (name, value) = challenge.answer("hub", &secret, b"INVITE", b"sip:1@h", 7);
            assert_eq!(name == "Authorization", status == 401);
            let answer = Answer::parse(&value).unwrap();
            assert_eq!((answer.username, answer.nonce), (&b"hub"[..], &b"n1"[..]));
            assert!(answer.is_right(b"INVITE", &secret));
            assert!(!answer.is_right(b"BYE", &secret));
            assert!(value.windows(10).any(|it| it == b"opaque=\"o\""));
        }
    }

    #[test]
    fn the_strongest_challenge_in_the_right_realm_is_taken_and_no_other() {
        let lines = "WWW-Authenticate: Digest realm=\"acme\", nonce=\"a\", algorithm=MD5, qop=\"auth\"\r\n\
            WWW-Authenticate: Digest realm=\"acme\", nonce=\"b\", algorithm=SHA-256, qop=\"auth\"\r\n\
            WWW-Authenticate: Digest realm=\"other\", nonce=\"c\"\r\n";
        let text = challenged(401, lines);
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(Challenge::of(&message, "acme").unwrap().nonce, b"b");
        assert_eq!(Challenge::of(&message, "nobody"), None);
        // In the wrong header field, or asking for what the hub does not do.
        for (status, lines) in [
            (407, lines),
            (401, "WWW-Authenticate: Digest realm=\"acme\", nonce=\"a\", algorithm=MD5-sess\r\n"),
            (401, "WWW-Authenticate: Digest realm=\"acme\", nonce=\"a\", qop=\"auth-int\"\r\n"),
        ] {
            let text = challenged(status, lines);
            assert_eq!(Challenge::of(&Message::parse(text.as_bytes()).unwrap(), "acme"), None, "{lines}");
        }
    }

    #[test]
    fn our_own_challenges_can_be_answered() {
        for algorithm in Algorithm::ALL {
            for stale in [false, true] {
                let value = challenge(algorithm, "sip.example", "n", stale);
                let read = Challenge::parse(value.as_bytes(), false).unwrap();
                assert_eq!((read.algorithm, read.stale, read.has_qop), (algorithm, stale, true));
            }
        }
    }
}

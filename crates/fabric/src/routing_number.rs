//! What is said of ported numbers in SIP: `rn`, `rn-context` and `npdi` of RFC 4694, parameters of the called number in
//! the Request-URI.
//!
//! What comes in counts where the policy of the endpoint believes it, and else is as if it were not there: a number is
//! looked up by the exchange, then. What goes out is the exchange's own word, in the Request-URI of an endpoint that is
//! told it; from one member to another the parameters never cross, whatever they are written in.

use tandem_model::{Endpoint, NumberPolicy, RoutingNumber};
use tandem_routing::{Dip, DipSource};
use tandem_sip::{Message, Uri};

use crate::worker::Worker;

/// Most octets of a routing number as it is written, with its context.
const MAX_WRITTEN: usize = 64;

/// Why what a call says of ported numbers does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbelieved {
    /// Who sends the call is not trusted with it.
    Distrusted,
    /// It is no number in the global form, or there are two.
    Unreadable,
}

/// What became of what calls say of ported numbers, for the metric.
pub(crate) const OUTCOMES: [&str; 3] = ["believed", "distrusted", "unreadable"];

impl Worker {
    /// What a request says of the look-up of its called number, as far as it is believed.
    pub(crate) fn read_dip(&self, request: &Message<'_>, sender: &Endpoint) -> Option<Dip> {
        let uri = Uri::parse(request.request()?.uri).ok()?;
        let read = read(&uri, &sender.policy.numbers)?;
        self.wire.metrics.count_routing_number(match read {
            Ok(_) => OUTCOMES[0],
            Err(Unbelieved::Distrusted) => OUTCOMES[1],
            Err(Unbelieved::Unreadable) => OUTCOMES[2],
        });
        read.ok()
    }
}

/// What a Request-URI says of the look-up of its number; `None` where it says nothing.
///
/// An `rn` without `npdi` has been looked up all the same: there is no other way to come by it.
pub(crate) fn read(uri: &Uri<'_>, numbers: &NumberPolicy) -> Option<Result<Dip, Unbelieved>> {
    let (mut rn, mut context, mut has_npdi, mut is_repeated) = (None, None, false, false);
    for (name, value) in uri.number_params() {
        if is_written(name, b"rn") {
            is_repeated |= rn.replace(value).is_some();
        } else if is_written(name, b"rn-context") {
            is_repeated |= context.replace(value).is_some();
        } else {
            has_npdi |= is_written(name, b"npdi");
        }
    }
    if rn.is_none() && !has_npdi {
        return None;
    }
    if !numbers.routing_number {
        return Some(Err(Unbelieved::Distrusted));
    }
    let dip = |rn| Dip { rn, source: DipSource::Call };
    let Some(rn) = rn else { return Some(Ok(dip(None))) };
    let rn = read_rn(rn.unwrap_or_default(), context, numbers).filter(|_| !is_repeated);
    Some(rn.map(|rn| dip(Some(rn))).ok_or(Unbelieved::Unreadable))
}

/// A routing number: in its global form, in the local one within a country (`rn-context=+1`), or, as many switches have
/// it, without a context and by the prefixes by which they write other numbers.
fn read_rn(written: &[u8], context: Option<Option<&[u8]>>, numbers: &NumberPolicy) -> Option<RoutingNumber> {
    let text = plain(written)?;
    if text.starts_with('+') {
        return text.parse().ok();
    }
    match context {
        Some(context) => {
            let context = plain(context?)?;
            context.starts_with('+').then(|| (context + &text).parse().ok())?
        }
        None => RoutingNumber::from_value(numbers.read(text.as_bytes()).ok()?.value()).ok(),
    }
}

/// A number without escapes and visual separators (RFC 3966 §5.1.1).
fn plain(written: &[u8]) -> Option<String> {
    let octets = unescaped(written).filter(|octet| !matches!(octet, b'-' | b'.' | b'(' | b')'));
    (written.len() <= MAX_WRITTEN).then(|| String::from_utf8(octets.collect()).ok())?
}

/// The octets that a text with escapes stands for (RFC 3261 §19.1.2); an escape that is none stands for itself.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |octet: Option<&u8>| octet.and_then(|&octet| char::from(octet).to_digit(16));
    let mut at = 0;
    std::iter::from_fn(move || {
        let octet = *text.get(at)?;
        let escaped = digit(text.get(at + 1)).zip(digit(text.get(at + 2))).filter(|_| octet == b'%');
        at += if escaped.is_some() { 3 } else { 1 };
        Some(escaped.map_or(octet, |(high, low)| (high * 16 + low) as u8))
    })
}

/// Whether a name of a parameter, however it is written, is that one.
fn is_written(written: &[u8], name: &[u8]) -> bool {
    unescaped(written).map(|octet| octet.to_ascii_lowercase()).eq(name.iter().copied())
}

/// Whether a parameter of a number, name and value, says where the number was ported to.
pub(crate) fn is_about_porting(param: &[u8]) -> bool {
    let name = param.split(|&octet| octet == b'=').next().unwrap_or_default().trim_ascii();
    [&b"rn"[..], b"rn-context", b"npdi"].iter().any(|it| is_written(name, it))
}

/// The parameters that tell an endpoint what the look-up of a number has found; nothing where it is not told, or nobody
/// looked.
pub(crate) fn write(dip: Option<Dip>, numbers: &NumberPolicy) -> String {
    match dip.filter(|_| numbers.write_routing_number) {
        None | Some(Dip { source: DipSource::Unanswered, .. }) => String::new(),
        Some(Dip { rn: None, .. }) => ";npdi".to_owned(),
        Some(Dip { rn: Some(rn), .. }) => format!(";npdi;rn={rn}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(settings: &str) -> NumberPolicy {
        serde_json::from_str(settings).unwrap()
    }

    const TRUSTED: &str = r#"{"routing_number": true}"#;
    const AMERICA: &str = r#"{"routing_number": true, "country": "1", "national_prefix": "1",
        "international_prefix": "011", "unprefixed": "national"}"#;

    /// What a Request-URI says: a routing number, `-` for that the number is not ported, or why it does not count.
    fn said(uri: &str, settings: &str) -> String {
        match read(&Uri::parse(uri.as_bytes()).unwrap(), &numbers(settings)) {
            None => String::new(),
            Some(Ok(Dip { rn, source })) => {
                assert_eq!(source, DipSource::Call);
                rn.map_or("-".to_owned(), |rn| rn.to_string())
            }
            Some(Err(why)) => format!("{why:?}"),
        }
    }

    #[test]
    fn what_a_trusted_endpoint_says_is_read_in_each_form_and_two_answers_are_none() {
        for (uri, settings, expected) in [
            ("sip:+12025550100@h", TRUSTED, ""),
            ("sip:+12025550100;npdi@h", TRUSTED, "-"),
            ("sip:+12025550100;npdi=yes@h;user=phone", TRUSTED, "-"),
            ("sip:+12025550100;npdi;rn=+12025440000@h", TRUSTED, "+12025440000"),
            ("sip:+12025550100;rn=+1-202-544-0000;cic=+11234@h;user=phone", TRUSTED, "+12025440000"),
            ("sip:+12025550100;RN=%2b1(202)5440000:secret@h", TRUSTED, "+12025440000"),
            ("sip:+12025550100;%72n=+12025440000@h", TRUSTED, "+12025440000"),
            ("tel:+1-202-555-0100;npdi;rn=+1-202-544-0000", TRUSTED, "+12025440000"),
            ("sip:+12025550100;npdi;rn=2025440000;rn-context=+1@h", TRUSTED, "+12025440000"),
            ("sip:+12025550100;npdi;rn=2025440000@h", AMERICA, "+12025440000"),
            ("sip:+12025550100;npdi;rn=12025440000@h", AMERICA, "+12025440000"),
            ("sip:+33199001234;rn=+3319@h", TRUSTED, "+3319"),
            // Not the number's parameters, but the URI's.
            ("sip:+12025550100@h;rn=+12025440000;npdi", TRUSTED, ""),
            ("sip:+12025550100;rnx=+12025440000@h", TRUSTED, ""),
            ("sip:+12025550100;rn=+12025440000;rn=+12025441111@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;rn=+12025440000;%52N=+12025441111@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;npdi;rn@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;npdi;rn=+1D202@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;npdi;rn=2025440000;rn-context=carrier.example@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;npdi;rn=+12025440000;rn-context=+1;rn-context=+2@h", TRUSTED, "Unreadable"),
            ("sip:+12025550100;npdi;rn=+1234567890123456@h", TRUSTED, "Unreadable"),
        ] {
            assert_eq!(said(uri, settings), expected, "{uri}");
        }
    }

    #[test]
    fn what_an_untrusted_endpoint_says_does_not_count_however_it_is_written() {
        for uri in [
            "sip:+12025550100;npdi@h",
            "sip:+12025550100;rn=+12025440000@h",
            "sip:+12025550100;Rn=+12025440000@h",
            "sip:+12025550100;%72%6E=+12025440000@h",
            "sip:+12025550100;x=1;npd%69@h",
            "tel:+12025550100;rn=+12025440000",
        ] {
            assert_eq!(said(uri, "{}"), "Distrusted", "{uri}");
        }
    }

    #[test]
    fn an_endpoint_is_told_what_was_found_where_its_policy_says_so() {
        let dip =
            |rn: Option<&str>| Some(Dip { rn: rn.map(|rn| rn.parse().unwrap()), source: DipSource::Node });
        let told = numbers(r#"{"write_routing_number": true}"#);
        assert_eq!(write(dip(Some("+3319")), &told), ";npdi;rn=+3319");
        assert_eq!(write(dip(None), &told), ";npdi");
        assert_eq!(write(None, &told), "");
        assert_eq!(write(Some(crate::dipper::UNANSWERED), &told), "");
        assert_eq!(write(dip(Some("+3319")), &numbers("{}")), "");
    }
}

//! Who diverted a call on its way, in the field that the receiver reads: Diversion of RFC 5806, History-Info of
//! RFC 7044, and the one made of the other by RFC 7544.

use smallvec::SmallVec;
use tandem_model::DiversionField;
use tandem_sip::{Message, Name, NameAddr, Params, Scheme, StartLine, Uri};

use super::address::{self, ANONYMOUS, ANONYMOUS_HOST};
use super::{Lines, Passage};

/// Header fields that are written anew in here.
pub(super) fn is_governed(name: Name) -> bool {
    matches!(name, Name::Diversion | Name::HistoryInfo)
}

/// Most diversions and entries of a history that cross; what comes before the first of them does not.
const MAX_ENTRIES: usize = 16;

/// Most diversions that one entry stands for.
const MAX_COUNTER: u32 = 16;

/// Writes who diverted the call of an INVITE that goes on as `start`.
pub(super) fn write(
    message: &Message<'_>,
    start: &StartLine<'_>,
    passage: &Passage<'_>,
    lines: &mut Lines<'_>,
) {
    let field = passage.receiver.diversion.write;
    if field == DiversionField::Received {
        let values = message.all(Name::Diversion).filter_map(|line| address::write_all(line, passage));
        lines.extend(values.map(|value| (Name::Diversion.as_str(), value)));
        return;
    }
    let StartLine::Request(line) = start else { return };
    let (has_diversion, has_history) =
        (message.header(Name::Diversion).is_some(), message.header(Name::HistoryInfo).is_some());
    if !has_diversion && !has_history && passage.redirections.is_empty() {
        return;
    }
    if matches!(field, DiversionField::Diversion | DiversionField::Both) {
        let mut diverted = if has_diversion { of_diversion(message) } else { of_history(message) };
        diverted.extend(of_redirections(passage));
        push(lines, Name::Diversion, write_diversion(&diverted, passage));
    }
    if matches!(field, DiversionField::HistoryInfo | DiversionField::Both) {
        let value = match has_history {
            true => {
                let entries = history(message);
                let mut value = write_history(&entries, passage);
                let last = entries.last().map_or(&b""[..], Entry::index);
                extend_history(&mut value, last, line.uri, passage);
                value
            }
            false => {
                let mut diverted = of_diversion(message);
                diverted.extend(of_redirections(passage));
                write_diverted_as_history(&diverted, line.uri, passage)
            }
        };
        push(lines, Name::HistoryInfo, value);
    }
}

fn push<'p>(lines: &mut Lines<'p>, name: Name, value: Vec<u8>) {
    if !value.is_empty() {
        lines.push((name.as_str(), value));
    }
}

/// Why a call was diverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Unconditional,
    Busy,
    NoAnswer,
    Deflection,
    Unavailable,
    Unknown,
}

impl Cause {
    /// Reason of Diversion (RFC 5806 §6); those without a cause of their own are unknown to History-Info.
    fn of_reason(reason: &[u8]) -> Self {
        let reasons: [(&[u8], Self); 5] = [
            (b"unconditional", Self::Unconditional),
            (b"user-busy", Self::Busy),
            (b"no-answer", Self::NoAnswer),
            (b"deflection", Self::Deflection),
            (b"unavailable", Self::Unavailable),
        ];
        let reason = reason.trim_ascii();
        let reason = reason.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(reason);
        reasons.iter().find(|(name, _)| name.eq_ignore_ascii_case(reason)).map_or(Self::Unknown, |it| it.1)
    }

    /// Cause of RFC 4458 in History-Info, by the table of RFC 7544 §5.
    fn of_status(status: &[u8]) -> Self {
        match status {
            b"302" => Self::Unconditional,
            b"486" => Self::Busy,
            b"408" => Self::NoAnswer,
            b"480" | b"487" => Self::Deflection,
            b"503" => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Unconditional => "unconditional",
            Self::Busy => "user-busy",
            Self::NoAnswer => "no-answer",
            Self::Deflection => "deflection",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Unconditional => 302,
            Self::Busy => 486,
            Self::NoAnswer => 408,
            Self::Deflection => 480,
            Self::Unavailable => 503,
            Self::Unknown => 404,
        }
    }
}

/// One who diverted a call, in the order in which it happened.
#[derive(Clone, Copy, Debug)]
struct Diverted<'m> {
    by: NameAddr<'m>,
    cause: Cause,
    is_private: bool,
    /// How many diversions it stands for.
    counter: u32,
}

type AllDiverted<'m> = SmallVec<[Diverted<'m>; 4]>;

/// Of Diversion, where the last one stands first (RFC 5806 §5).
fn of_diversion<'m>(message: &Message<'m>) -> AllDiverted<'m> {
    let mut diverted: AllDiverted<'m> = message
        .values(Name::Diversion)
        .filter_map(|value| {
            let by = NameAddr::parse(value).ok().filter(names_somebody)?;
            let is_private =
                by.param("privacy").flatten().is_some_and(|privacy| !privacy.eq_ignore_ascii_case(b"off"));
            let counter = by.param("counter").flatten().and_then(number).unwrap_or(1);
            let cause = Cause::of_reason(by.param("reason").flatten().unwrap_or_default());
            Some(Diverted { by, cause, is_private, counter: counter.clamp(1, MAX_COUNTER) })
        })
        .take(MAX_ENTRIES)
        .collect();
    diverted.reverse();
    diverted
}

/// Those that redirected the call within the hub. Why is not said in a 3xx: it is as if they always did (RFC 4458 §2.2,
/// cause 302).
fn of_redirections<'p>(passage: &Passage<'p>) -> impl Iterator<Item = Diverted<'p>> {
    passage.redirections.iter().map(|redirection| Diverted {
        by: NameAddr::parse(redirection.address.as_bytes()).expect("the hub wrote it"),
        cause: Cause::Unconditional,
        is_private: false,
        counter: 1,
    })
}

/// Adds where redirections within the hub led, below the last entry of a history with that index (RFC 7044 §10.3).
fn extend_history(value: &mut Vec<u8>, last: &[u8], request_uri: &[u8], passage: &Passage<'_>) {
    let Ok(last) = std::str::from_utf8(last) else { return };
    if value.is_empty() || last.is_empty() {
        return;
    }
    let mut index = last.to_owned();
    // Each number but the first was redirected to, and the last one is where the call goes now.
    let numbers = passage.redirections.iter().skip(1).map(|redirection| redirection.address.as_bytes());
    for address in numbers.map(Some).chain((!passage.redirections.is_empty()).then_some(None)) {
        let uri = match address.and_then(|address| NameAddr::parse(address).ok()) {
            Some(address) => uri_of(&address, false, passage),
            None => match target_uri(request_uri, passage) {
                Some(uri) => uri,
                None => return,
            },
        };
        let before = index.clone();
        index.push_str(".1");
        value.extend_from_slice(b", <");
        value.extend_from_slice(&uri);
        let status = Cause::Unconditional.status();
        value.extend_from_slice(format!(";cause={status}>;index={index};mp={before}").as_bytes());
    }
}

/// Where the call goes now, with the hub's host.
fn target_uri(request_uri: &[u8], passage: &Passage<'_>) -> Option<Vec<u8>> {
    let called = Uri::parse(request_uri).ok()?.user?;
    let mut uri = [b"sip:", called, b"@", passage.host.as_bytes()].concat();
    if passage.receiver.numbers.user_phone {
        uri.extend_from_slice(b";user=phone");
    }
    Some(uri)
}

/// One entry of a history.
#[derive(Clone, Copy, Debug)]
struct Entry<'m> {
    address: NameAddr<'m>,
    uri: Uri<'m>,
    is_private: bool,
    cause: Option<Cause>,
}

impl<'m> Entry<'m> {
    fn read(value: &'m [u8], all_private: bool) -> Option<Self> {
        let address = NameAddr::parse(value).ok().filter(names_somebody)?;
        let uri = address.parse_uri().ok()?;
        // Header fields in the URI: Privacy=history, with its other values escaped or not.
        let asks = uri.headers.split(|&octet| octet == b'&').any(|field| {
            let (name, value) = split_once(field, b'=');
            name.eq_ignore_ascii_case(b"Privacy")
                && value.windows(7).any(|part| part.eq_ignore_ascii_case(b"history"))
        });
        let cause = uri.param("cause").flatten().map(Cause::of_status);
        Some(Self { address, uri, is_private: asks || all_private, cause })
    }

    fn index(&self) -> &'m [u8] {
        self.address.param("index").flatten().unwrap_or_default()
    }
}

/// The entries of History-Info that can be read, in their order.
fn history<'m>(message: &Message<'m>) -> Vec<Entry<'m>> {
    // RFC 7044 §10.1.2: for all entries at once.
    let all_private = message.all(Name::Privacy).any(|line| {
        line.split(|octet| matches!(octet, b';' | b',')).any(|value| {
            let value = value.trim_ascii();
            value.eq_ignore_ascii_case(b"history") || value.eq_ignore_ascii_case(b"header")
        })
    });
    let entries = message.values(Name::HistoryInfo).filter_map(|value| Entry::read(value, all_private));
    entries.take(MAX_ENTRIES).collect()
}

/// Of History-Info: an entry with a cause was reached because the one before it, or the one that its `mp` names,
/// diverted the call (RFC 7544 §4.2).
fn of_history<'m>(message: &Message<'m>) -> AllDiverted<'m> {
    let entries = history(message);
    let diverted = entries.iter().enumerate().filter_map(|(at, entry)| {
        let cause = entry.cause?;
        let named = entry.address.param("mp").flatten();
        let by = match named.and_then(|mp| entries[..at].iter().find(|other| other.index() == mp)) {
            Some(by) => by,
            None => entries.get(at.checked_sub(1)?)?,
        };
        let depth = |index: &[u8]| index.iter().filter(|&&octet| octet == b'.').count() as u32;
        let counter = depth(entry.index()).saturating_sub(depth(by.index())).clamp(1, MAX_COUNTER);
        Some(Diverted { by: by.address, cause, is_private: by.is_private, counter })
    });
    diverted.collect()
}

/// Diversion, the last one first.
fn write_diversion(diverted: &AllDiverted<'_>, passage: &Passage<'_>) -> Vec<u8> {
    let mut value = Vec::new();
    for one in diverted.iter().rev() {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        if is_hidden(one.is_private, passage) {
            value.extend_from_slice(ANONYMOUS);
        } else {
            address::write(&one.by, passage, &mut value);
        }
        let privacy = if one.is_private { "full" } else { "off" };
        let parameters = format!(";reason={};counter={};privacy={privacy}", one.cause.reason(), one.counter);
        value.extend_from_slice(parameters.as_bytes());
    }
    value
}

/// History-Info of what Diversion says, and of where the call goes now (RFC 7544 §5).
fn write_diverted_as_history(
    diverted: &AllDiverted<'_>,
    request_uri: &[u8],
    passage: &Passage<'_>,
) -> Vec<u8> {
    let mut value = Vec::new();
    let Some(target) = target_uri(request_uri, passage).filter(|_| !diverted.is_empty()) else {
        return value;
    };
    let (mut index, mut before, mut cause) = (String::from("1"), String::new(), None);
    let mut write_entry = |uri: &[u8], is_private: bool, cause: Option<Cause>, index: &str, before: &str| {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.push(b'<');
        value.extend_from_slice(uri);
        if let Some(cause) = cause {
            value.extend_from_slice(format!(";cause={}", cause.status()).as_bytes());
        }
        if is_private {
            value.extend_from_slice(b"?Privacy=history");
        }
        value.extend_from_slice(format!(">;index={index}").as_bytes());
        if !before.is_empty() {
            value.extend_from_slice(format!(";mp={before}").as_bytes());
        }
    };
    for one in diverted {
        write_entry(&uri_of(&one.by, one.is_private, passage), one.is_private, cause, &index, &before);
        before.clone_from(&index);
        for _ in 0..one.counter {
            index.push_str(".1");
        }
        cause = Some(one.cause);
    }
    write_entry(&target, false, cause, &index, &before);
    value
}

/// History-Info with the hub's host in every entry: it lists addresses that members shall not see.
fn write_history(entries: &[Entry<'_>], passage: &Passage<'_>) -> Vec<u8> {
    let mut value = Vec::new();
    for entry in entries {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.push(b'<');
        value.extend_from_slice(&uri_of(&entry.address, entry.is_private, passage));
        if let Some(cause) = entry.uri.param("cause").flatten().filter(|cause| number(cause).is_some()) {
            value.extend_from_slice(b";cause=");
            value.extend_from_slice(cause);
        }
        let mut separator = b'?';
        let mut add = |field: &[u8]| {
            value.push(std::mem::replace(&mut separator, b'&'));
            value.extend_from_slice(field);
        };
        if entry.is_private {
            add(b"Privacy=history");
        }
        for field in entry.uri.headers.split(|&octet| octet == b'&') {
            if split_once(field, b'=').0.eq_ignore_ascii_case(b"Reason") {
                add(field);
            }
        }
        value.push(b'>');
        for (name, param) in Params::new(entry.address.params) {
            let is_known =
                [&b"index"[..], b"rc", b"mp", b"np"].iter().any(|it| it.eq_ignore_ascii_case(name));
            if let Some(param) = param.filter(|param| is_known && param.iter().all(is_index)) {
                value.push(b';');
                value.extend_from_slice(name);
                value.push(b'=');
                value.extend_from_slice(param);
            }
        }
    }
    value
}

/// The URI of one who diverted, or nobody's.
fn uri_of(address: &NameAddr<'_>, is_private: bool, passage: &Passage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let is_written = !is_hidden(is_private, passage)
        && address.parse_uri().is_ok_and(|uri| address::write_uri(&uri, address.uri, passage, &mut out));
    if !is_written {
        out = format!("sip:anonymous@{ANONYMOUS_HOST}").into_bytes();
    }
    out
}

/// Whether the receiver is not to know who diverted.
fn is_hidden(is_private: bool, passage: &Passage<'_>) -> bool {
    is_private && !passage.receiver.identity.trusted
}

fn names_somebody(address: &NameAddr<'_>) -> bool {
    address.parse_uri().is_ok_and(|uri| match uri.scheme {
        Scheme::Sip | Scheme::Sips => uri.user.is_some(),
        Scheme::Tel => true,
        Scheme::Other => false,
    })
}

fn is_index(octet: &u8) -> bool {
    octet.is_ascii_digit() || *octet == b'.'
}

fn number(text: &[u8]) -> Option<u32> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn split_once(octets: &[u8], at: u8) -> (&[u8], &[u8]) {
    match octets.iter().position(|&octet| octet == at) {
        Some(found) => (&octets[..found], &octets[found + 1..]),
        None => (octets, &[]),
    }
}

//! Which header field a name stands for: the names of RFC 3261 §20 and of the RFCs that came after it.
//!
//! Names compare without case; the compact form of RFC 3261 §7.3.3 and the IANA registry stands for the
//! same header field. A name that the hub has no use for is [`Name::Other`] and passes as it was written.

macro_rules! names {
    ($($variant:ident = $text:literal $(, $compact:literal)?;)*) => {
        /// A header field, however its name was spelled.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other header field; its name is in the message.
            Other,
        }

        const KNOWN: &[(Name, &str)] = &[$((Name::$variant, $text),)*];

        impl Name {
            /// The name as the standards write it; `"header field"` for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other => "header field",
                }
            }

            const fn from_compact(letter: u8) -> Name {
                match letter.to_ascii_lowercase() {
                    $($($compact => Name::$variant,)?)*
                    _ => Name::Other,
                }
            }
        }
    };
}

names! {
    Via = "Via", b'v';
    From = "From", b'f';
    To = "To", b't';
    CallId = "Call-ID", b'i';
    CSeq = "CSeq";
    MaxForwards = "Max-Forwards";
    Contact = "Contact", b'm';
    RecordRoute = "Record-Route";
    Route = "Route";
    ContentLength = "Content-Length", b'l';
    ContentType = "Content-Type", b'c';
    ContentEncoding = "Content-Encoding", b'e';
    ContentDisposition = "Content-Disposition";
    ContentLanguage = "Content-Language";
    ContentId = "Content-ID";
    MimeVersion = "MIME-Version";
    Require = "Require";
    ProxyRequire = "Proxy-Require";
    Supported = "Supported", b'k';
    Unsupported = "Unsupported";
    Allow = "Allow";
    AllowEvents = "Allow-Events", b'u';
    Accept = "Accept";
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AcceptContact = "Accept-Contact", b'a';
    RejectContact = "Reject-Contact", b'j';
    RequestDisposition = "Request-Disposition", b'd';
    Expires = "Expires";
    MinExpires = "Min-Expires";
    SessionExpires = "Session-Expires", b'x';
    MinSe = "Min-SE";
    RAck = "RAck";
    RSeq = "RSeq";
    Reason = "Reason";
    RetryAfter = "Retry-After";
    UserAgent = "User-Agent";
    Server = "Server";
    Organization = "Organization";
    Timestamp = "Timestamp";
    PAssertedIdentity = "P-Asserted-Identity";
    PPreferredIdentity = "P-Preferred-Identity";
    PChargingVector = "P-Charging-Vector";
    PAccessNetworkInfo = "P-Access-Network-Info";
    PEarlyMedia = "P-Early-Media";
    RemotePartyId = "Remote-Party-ID";
    Privacy = "Privacy";
    Diversion = "Diversion";
    HistoryInfo = "History-Info";
    Identity = "Identity", b'y';
    IdentityInfo = "Identity-Info", b'n';
    Authorization = "Authorization";
    ProxyAuthorization = "Proxy-Authorization";
    WwwAuthenticate = "WWW-Authenticate";
    ProxyAuthenticate = "Proxy-Authenticate";
    AuthenticationInfo = "Authentication-Info";
    ErrorInfo = "Error-Info";
    AlertInfo = "Alert-Info";
    CallInfo = "Call-Info";
    Event = "Event", b'o';
    SubscriptionState = "Subscription-State";
    ReferTo = "Refer-To", b'r';
    ReferredBy = "Referred-By", b'b';
    ReferSub = "Refer-Sub";
    TargetDialog = "Target-Dialog";
    ReplyTo = "Reply-To";
    InReplyTo = "In-Reply-To";
    Date = "Date";
    Subject = "Subject", b's';
    Priority = "Priority";
    ResourcePriority = "Resource-Priority";
    Warning = "Warning";
    Path = "Path";
    ServiceRoute = "Service-Route";
    Replaces = "Replaces";
    Join = "Join";
    Geolocation = "Geolocation";
    UserToUser = "User-to-User";
    SessionId = "Session-ID";
    RecvInfo = "Recv-Info";
    InfoPackage = "Info-Package";
    AnswerMode = "Answer-Mode";
    MaxBreadth = "Max-Breadth";
    SipEtag = "SIP-ETag";
    SipIfMatch = "SIP-If-Match";
    FeatureCaps = "Feature-Caps";
}

/// Slots of the table that finds a name by its length and two of its letters; a power of two.
const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Where each known name is, by [`slot`] and the free slots after it.
static TABLE: [u8; SLOTS] = table();

const fn slot(name: &[u8]) -> usize {
    let first = name[0].to_ascii_lowercase() as usize;
    let middle = name[name.len() / 2].to_ascii_lowercase() as usize;
    let last = name[name.len() - 1].to_ascii_lowercase() as usize;
    (first * 7 + middle * 31 + last * 3 + name.len() * 101) % SLOTS
}

const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut at = 0;
    while at < KNOWN.len() {
        let mut slot = slot(KNOWN[at].1.as_bytes());
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = at as u8;
        at += 1;
    }
    table
}

impl Name {
    /// The header field that a name stands for, full or compact, in any case.
    pub fn from_bytes(name: &[u8]) -> Name {
        match name {
            [] => Name::Other,
            [letter] => Name::from_compact(*letter),
            _ => {
                let mut slot = slot(name);
                loop {
                    let Some((known, text)) = KNOWN.get(usize::from(TABLE[slot])) else { return Name::Other };
                    // As the standards write it, mostly: that is told at a glance.
                    if text.as_bytes() == name || text.as_bytes().eq_ignore_ascii_case(name) {
                        return *known;
                    }
                    slot = (slot + 1) % SLOTS;
                }
            }
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_name_is_found_in_any_case() {
        for (name, text) in KNOWN {
            assert_eq!(Name::from_bytes(text.as_bytes()), *name);
            assert_eq!(Name::from_bytes(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(Name::from_bytes(text.to_ascii_lowercase().as_bytes()), *name);
        }
    }

    #[test]
    fn compact_forms_stand_for_their_header_fields() {
        let compact = "viftmlcekuajdxynorbs".bytes().map(|letter| Name::from_bytes(&[letter]).as_str());
        assert_eq!(
            compact.collect::<Vec<_>>().join(" "),
            "Via Call-ID From To Contact Content-Length Content-Type Content-Encoding Supported Allow-Events \
             Accept-Contact Reject-Contact Request-Disposition Session-Expires Identity Identity-Info Event \
             Refer-To Referred-By Subject"
        );
        assert_eq!(Name::from_bytes(b"F"), Name::From);
    }

    #[test]
    fn unknown_names_are_other() {
        for name in ["", "q", "Viaa", "X-Call-ID", "Call ID", "\u{e9}"] {
            assert_eq!(Name::from_bytes(name.as_bytes()), Name::Other, "{name}");
        }
    }

    #[test]
    fn a_name_is_found_in_a_few_steps() {
        let longest = KNOWN.iter().map(|(_, text)| {
            let mut at = slot(text.as_bytes());
            (1..).find(|_| {
                let hit = KNOWN.get(usize::from(TABLE[at])).is_some_and(|known| known.1 == *text);
                at = (at + 1) % SLOTS;
                hit
            })
        });
        assert!(longest.max().flatten().unwrap() <= 6);
    }
}

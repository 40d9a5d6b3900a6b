//! Session timers: what Session-Expires and Min-SE say, and what the two sides of a transaction agree on by them
//! (RFC 4028).
//!
//! Pure: the message and what our side wishes come in, the terms come out. Whoever drives a call keeps them, refreshes
//! or waits to be refreshed, and ends what is not.

use std::fmt;

use crate::octets::{self, Params};
use crate::{Message, Name};

/// The option tag of session timers (§3).
pub const TAG: &[u8] = b"timer";

/// The shortest session interval of all (§4).
pub const SHORTEST_S: u32 = 90;

/// The longest session interval that is agreed to: beyond it a timer would end nothing in time.
pub const LONGEST_S: u32 = 86_400;

/// Which side of a transaction sends the refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The one that sent the request.
    Uac,
    /// The one that answered it.
    Uas,
}

/// A value of Session-Expires (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The session interval.
    pub interval_s: u32,
    /// Who refreshes, where it is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a value; `None` when it is none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|&octet| octet == b';').unwrap_or(value.len());
        let interval_s = octets::decimal(octets::trim(&value[..end]), u64::from(u32::MAX))? as u32;
        let refresher = match Params::find(value.get(end + 1..).unwrap_or_default(), b"refresher") {
            Some(Some(side)) if side.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(Some(side)) if side.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(Self { interval_s, refresher })
    }

    fn of(message: &Message<'_>) -> Option<Self> {
        Self::parse(message.header(Name::SessionExpires)?)
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval_s)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// The shortest interval that a message takes: its Min-SE, or [`SHORTEST_S`] (§5).
pub fn min_se(message: &Message<'_>) -> u32 {
    let named = message.header(Name::MinSe).and_then(|value| {
        let end = value.iter().position(|&octet| octet == b';').unwrap_or(value.len());
        octets::decimal(octets::trim(&value[..end]), u64::from(u32::MAX))
    });
    named.map_or(SHORTEST_S, |named| (named as u32).max(SHORTEST_S))
}

/// What our side wishes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The interval, where the other side asks for none that is shorter.
    pub expires_s: u32,
    /// The shortest interval that our side agrees to, at least [`SHORTEST_S`].
    pub min_s: u32,
    /// Whether our side can send the refreshes, so that it may be asked to.
    pub can_refresh: bool,
    /// Whether our side wants a timer where the other side asks for none.
    pub asks: bool,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A session that is not refreshed for so long is over.
    pub interval_s: u32,
    /// Who refreshes it, by its role in the transaction that they were agreed in.
    pub refresher: Refresher,
    /// Whether the 2xx asks for the extension by Require (§9).
    pub is_required: bool,
}

impl Terms {
    /// As the 2xx says it.
    pub fn expires(&self) -> SessionExpires {
        SessionExpires { interval_s: self.interval_s, refresher: Some(self.refresher) }
    }
}

/// The other side asked for an interval that is shorter than ours may be: 422 with Min-SE (§9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBrief;

/// What the 2xx to `request` agrees to, for the side that answers it (§9, table 2). `None` when the two have no session
/// timer together: then the 2xx says nothing of it.
///
/// # Errors
/// When the interval that was asked for is too short, by someone who understands a 422.
pub fn answer(request: &Message<'_>, wish: Wish) -> Result<Option<Terms>, TooBrief> {
    let supports = [Name::Supported, Name::Require]
        .iter()
        .any(|&name| request.values(name).any(|tag| tag.eq_ignore_ascii_case(TAG)));
    let asked = SessionExpires::of(request);
    let min_s = min_se(request).max(wish.min_s);
    if asked.is_some_and(|asked| asked.interval_s < wish.min_s) {
        return if supports { Err(TooBrief) } else { Ok(None) };
    }
    // Without support and without a wish, of a proxy on the way for instance, there is nobody to agree with.
    let is_wanted = asked.is_some() || (supports && wish.asks);
    if !is_wanted || min_s > LONGEST_S {
        return Ok(None);
    }
    let refresher = match asked.and_then(|asked| asked.refresher) {
        Some(refresher) if supports => refresher,
        None if supports => Refresher::Uac,
        // Who does not know the extension does not refresh.
        Some(_) | None => Refresher::Uas,
    };
    if refresher == Refresher::Uas && !wish.can_refresh {
        return Ok(None);
    }
    // It may be made shorter, though not below Min-SE, and never longer.
    let shortened = wish.expires_s.max(min_s);
    let interval_s = asked.map_or(shortened, |asked| asked.interval_s.min(shortened));
    Ok(Some(Terms { interval_s, refresher, is_required: refresher == Refresher::Uac }))
}

/// What a 2xx says was agreed, for the side that sent the request (§7.2). `None` when the other side has no session
/// timer, or would have ours refresh it and it cannot.
pub fn conclude(success: &Message<'_>, wish: Wish) -> Option<Terms> {
    let said = SessionExpires::of(success)?;
    let refresher = said.refresher.unwrap_or(Refresher::Uac);
    if refresher == Refresher::Uac && !wish.can_refresh {
        return None;
    }
    let interval_s = said.interval_s.clamp(SHORTEST_S, LONGEST_S);
    Some(Terms { interval_s, refresher, is_required: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { expires_s: 1800, min_s: 90, can_refresh: true, asks: true };

    fn message(first: &str, lines: &str) -> Vec<u8> {
        let lines: String =
            lines.split(" | ").filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
        format!("{first}\r\n{lines}\r\n").into_bytes()
    }

    fn answered(lines: &str, wish: Wish) -> String {
        let octets = message("INVITE sip:b@h SIP/2.0", lines);
        match answer(&Message::parse(&octets).unwrap(), wish) {
            Ok(Some(terms)) => {
                format!("{}{}", terms.expires(), if terms.is_required { " required" } else { "" })
            }
            Ok(None) => "none".to_owned(),
            Err(TooBrief) => "422".to_owned(),
        }
    }

    fn concluded(lines: &str, wish: Wish) -> String {
        let octets = message("SIP/2.0 200 OK", lines);
        conclude(&Message::parse(&octets).unwrap(), wish)
            .map_or_else(|| "none".to_owned(), |terms| terms.expires().to_string())
    }

    #[test]
    fn values_are_read_with_their_refresher() {
        let table = [
            ("1800", Some("1800")),
            (" 90 ; refresher = UAS ;x=y", Some("90;refresher=uas")),
            ("90;x;refresher=uac", Some("90;refresher=uac")),
            ("90;refresher=me", Some("90")),
            ("4294967296", None),
            ("", None),
            ("x", None),
        ];
        for (value, read) in table {
            let value = SessionExpires::parse(value.as_bytes()).map(|value| value.to_string());
            assert_eq!(value.as_deref(), read);
        }
    }

    #[test]
    fn the_answer_agrees_by_table_2_of_rfc_4028() {
        let cannot = Wish { can_refresh: false, ..WISH };
        let picky = Wish { min_s: 600, ..WISH };
        let passive = Wish { asks: false, ..WISH };
        let table = [
            // Who knows nothing of it gets nothing, and who knows refreshes where nothing else is said.
            ("", WISH, "none"),
            ("Supported: timer", WISH, "1800;refresher=uac required"),
            ("k: 100rel, TIMER", WISH, "1800;refresher=uac required"),
            ("Require: timer | x: 600", WISH, "600;refresher=uac required"),
            ("Supported: timer", passive, "none"),
            ("Supported: timer | Session-Expires: 600", passive, "600;refresher=uac required"),
            // A refresher that was named stays.
            ("Supported: timer | Session-Expires: 600;refresher=uac", WISH, "600;refresher=uac required"),
            ("Supported: timer | Session-Expires: 600;refresher=uas", WISH, "600;refresher=uas"),
            ("Supported: timer | Session-Expires: 600;refresher=uas", cannot, "none"),
            // A proxy asked, for a caller that does not know it.
            ("Session-Expires: 600", WISH, "600;refresher=uas"),
            ("Session-Expires: 600", cannot, "none"),
            ("Session-Expires: 60", WISH, "none"),
            // It is made shorter, never longer, and not below Min-SE.
            ("Supported: timer | Session-Expires: 7200", WISH, "1800;refresher=uac required"),
            ("Supported: timer | Session-Expires: 7200 | Min-SE: 3600", WISH, "3600;refresher=uac required"),
            ("Supported: timer | Min-SE: 3600", WISH, "3600;refresher=uac required"),
            ("Supported: timer | Session-Expires: 90 | Min-SE: 120", WISH, "90;refresher=uac required"),
            ("Supported: timer | Min-SE: 4000000000", WISH, "none"),
            // Too brief.
            ("Supported: timer | Session-Expires: 89", WISH, "422"),
            ("Supported: timer | Session-Expires: 599", picky, "422"),
            ("Supported: timer | Session-Expires: 600", picky, "600;refresher=uac required"),
        ];
        for (lines, wish, expected) in table {
            assert_eq!(answered(lines, wish), expected, "{lines}");
        }
    }

    #[test]
    fn a_2xx_says_what_was_agreed() {
        let cannot = Wish { can_refresh: false, ..WISH };
        let table = [
            ("", WISH, "none"),
            ("Session-Expires: 1800;refresher=uas", WISH, "1800;refresher=uas"),
            ("Session-Expires: 1800;refresher=uas", cannot, "1800;refresher=uas"),
            ("Session-Expires: 1800;refresher=uac", WISH, "1800;refresher=uac"),
            ("Session-Expires: 1800;refresher=uac", cannot, "none"),
            ("Session-Expires: 1800", WISH, "1800;refresher=uac"),
            // Nobody is made to refresh twice a second.
            ("Session-Expires: 1;refresher=uac", WISH, "90;refresher=uac"),
            ("Session-Expires: 4294967295;refresher=uas", WISH, "86400;refresher=uas"),
        ];
        for (lines, wish, expected) in table {
            assert_eq!(concluded(lines, wish), expected, "{lines}");
        }
    }
}

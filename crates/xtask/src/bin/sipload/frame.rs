//! Where a message in a stream ends: its `Content-Length` says so (RFC 3261 §18.3).
//!
//! Not the hub's own framer, as [`message`](crate::message) is not its parser.

use anyhow::{Context, Result, bail};

use crate::message::number;

/// Longest message; none of the bench comes near.
const LONGEST: usize = 65_536;

/// Octets between messages that belong to none: empty lines, which keep a connection alive (RFC 5626 §3.5.1).
pub(crate) fn gap(octets: &[u8]) -> usize {
    octets.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()
}

/// Length of the message that `octets` begin with; `None` where its end has not come yet.
///
/// # Errors
/// Where it has no length, or too great a one: what follows cannot be told from it.
pub(crate) fn length(octets: &[u8]) -> Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = octets.windows(END.len()).position(|window| window == END) else {
        if octets.len() > LONGEST {
            bail!("a message in a stream does not end");
        }
        return Ok(None);
    };
    let mut lines = octets[..head].split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii);
    let body = lines.find_map(|line| {
        let colon = line.iter().position(|&octet| octet == b':')?;
        let name = line[..colon].trim_ascii_end();
        let is_it = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
        is_it.then(|| number(line[colon + 1..].trim_ascii_start()))?
    });
    let (body, _) = body.context("a message in a stream does not say how long it is")?;
    let length = head + END.len() + body as usize;
    if length > LONGEST {
        bail!("a message in a stream has {length} octets");
    }
    Ok((octets.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] =
        b"OPTIONS sip:h SIP/2.0\r\nSubject: Content-Length: 9\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn a_message_is_whole_with_the_last_octet_of_its_body() {
        for end in 0..OPTIONS.len() {
            assert_eq!(length(&OPTIONS[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(length(OPTIONS).unwrap(), Some(OPTIONS.len()));
        let two = [OPTIONS, OPTIONS].concat();
        assert_eq!(length(&two).unwrap(), Some(OPTIONS.len()));
    }

    #[test]
    fn the_short_name_counts_and_empty_lines_lie_between_messages() {
        assert_eq!(length(b"BYE sip:h SIP/2.0\r\nl : 0\r\n\r\n").unwrap(), Some(28));
        assert_eq!(gap(b"\r\n\r\nBYE"), 4);
        assert_eq!(gap(b"BYE"), 0);
    }

    #[test]
    fn a_message_without_an_end_is_an_error() {
        assert!(length(b"BYE sip:h SIP/2.0\r\n\r\n").is_err());
        assert!(length(b"BYE sip:h SIP/2.0\r\nContent-Length: 99999999\r\n\r\n").is_err());
        assert!(length(&vec![b'x'; LONGEST + 1]).is_err());
    }
}

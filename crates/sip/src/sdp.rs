//! Which codecs a session description offers: RFC 8866, RFC 3264, RFC 3551.
//!
//! Edits by lines: what is not at stake stays octet for octet. No media line is ever taken out, as answers match
//! offers by their position (RFC 3264 §6).

use smallvec::SmallVec;

/// Payload types that need no `a=rtpmap` (RFC 3551 table 4).
const STATIC: [(u8, &str); 12] = [
    (0, "PCMU"),
    (3, "GSM"),
    (4, "G723"),
    (5, "DVI4"),
    (6, "DVI4"),
    (7, "LPC"),
    (8, "PCMA"),
    (9, "G722"),
    (12, "QCELP"),
    (13, "CN"),
    (15, "G728"),
    (18, "G729"),
];

/// What travels beside a codec and is none: digits (RFC 4733) and comfort noise (RFC 3389).
const BESIDE: [&str; 2] = ["telephone-event", "CN"];

/// Attributes that belong to one payload type.
const OF_A_FORMAT: [&[u8]; 3] = [b"a=rtpmap:", b"a=fmtp:", b"a=rtcp-fb:"];

/// Leaves only the `allowed` codecs in the audio of a session description, in that order when `ordered`. `None`
/// when that changes nothing.
///
/// Digits and comfort noise stay. Audio of which no codec is left gets the port 0, which refuses it. Media other
/// than audio over RTP, and a line that cannot be read, stay as they are.
pub fn restrict_codecs<C: AsRef<str>>(sdp: &[u8], allowed: &[C], ordered: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(sdp.len());
    let mut is_changed = false;
    let mut rest = sdp;
    while !rest.is_empty() {
        let section = &rest[..section_len(rest)];
        rest = &rest[section.len()..];
        is_changed |= write_section(section, allowed, ordered, &mut out).is_some();
    }
    is_changed.then_some(out)
}

/// Octets up to the next media line that is not the first line.
fn section_len(octets: &[u8]) -> usize {
    let mut lines = lines(octets);
    let mut len = lines.next().map_or(0, <[u8]>::len);
    for line in lines {
        if line.starts_with(b"m=") {
            break;
        }
        len += line.len();
    }
    len
}

fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.split_inclusive(|&octet| octet == b'\n')
}

/// Writes a section, `Some` when it had to be changed.
fn write_section<C: AsRef<str>>(
    section: &[u8],
    allowed: &[C],
    ordered: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let changed = Media::read(section).and_then(|media| media.restrict(section, allowed, ordered));
    match changed {
        Some(changed) => {
            out.extend_from_slice(&changed);
            Some(())
        }
        None => {
            out.extend_from_slice(section);
            None
        }
    }
}

/// The media line of audio over RTP.
struct Media<'a> {
    /// Its line, with the line end.
    line: &'a [u8],
    port: &'a [u8],
    protocol: &'a [u8],
    formats: SmallVec<[&'a [u8]; 16]>,
}

impl<'a> Media<'a> {
    fn read(section: &'a [u8]) -> Option<Self> {
        let line = lines(section).next()?;
        let mut words = line.trim_ascii_end().split(|&octet| octet == b' ');
        if words.next()? != b"m=audio" {
            return None;
        }
        let (port, protocol) = (words.next()?, words.next()?);
        let formats: SmallVec<[&[u8]; 16]> = words.filter(|word| !word.is_empty()).collect();
        let is_rtp = protocol.windows(4).any(|part| part == b"RTP/");
        (is_rtp && port != b"0" && !formats.is_empty()).then_some(Self { line, port, protocol, formats })
    }

    fn restrict<C: AsRef<str>>(&self, section: &[u8], allowed: &[C], ordered: bool) -> Option<Vec<u8>> {
        // By rank among the allowed codecs; what travels beside them comes last.
        let mut kept: SmallVec<[(usize, &[u8]); 16]> = SmallVec::new();
        let mut has_codec = false;
        for format in &self.formats {
            let Some(name) = codec(section, format) else { continue };
            let is_named = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            match allowed.iter().position(|codec| is_named(codec.as_ref())) {
                Some(rank) => {
                    has_codec |= !BESIDE.iter().any(|beside| is_named(beside));
                    kept.push((rank, format));
                }
                None if BESIDE.iter().any(|beside| is_named(beside)) => kept.push((allowed.len(), format)),
                None => {}
            }
        }
        let end = &self.line[self.line.trim_ascii_end().len()..];
        if !has_codec {
            let mut refused = [b"m=audio 0 ", self.protocol].concat();
            for format in &self.formats {
                refused.push(b' ');
                refused.extend_from_slice(format);
            }
            refused.extend_from_slice(end);
            refused.extend_from_slice(&section[self.line.len()..]);
            return Some(refused);
        }
        if ordered {
            kept.sort_by_key(|&(rank, _)| rank);
        }
        if kept.iter().map(|&(_, format)| format).eq(self.formats.iter().copied()) {
            return None;
        }
        let mut out = [b"m=audio ", self.port, b" ", self.protocol].concat();
        for (_, format) in &kept {
            out.push(b' ');
            out.extend_from_slice(format);
        }
        out.extend_from_slice(end);
        for line in lines(section).skip(1) {
            let is_gone = format_of(line).is_some_and(|format| {
                self.formats.contains(&format) && !kept.iter().any(|&(_, kept)| kept == format)
            });
            if !is_gone {
                out.extend_from_slice(line);
            }
        }
        Some(out)
    }
}

/// The payload type that an attribute line belongs to.
fn format_of(line: &[u8]) -> Option<&[u8]> {
    let rest = OF_A_FORMAT.iter().find_map(|name| line.strip_prefix(*name))?;
    rest.split(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n')).next()
}

/// The name of a payload type's codec.
fn codec<'a>(section: &'a [u8], format: &[u8]) -> Option<&'a [u8]> {
    let mapped = lines(section).find_map(|line| {
        let rest = line.strip_prefix(b"a=rtpmap:")?.strip_prefix(format)?.strip_prefix(b" ")?;
        rest.trim_ascii().split(|&octet| octet == b'/').next()
    });
    mapped.or_else(|| {
        let number: u8 = std::str::from_utf8(format).ok()?.parse().ok()?;
        STATIC.iter().find(|(known, _)| *known == number).map(|(_, name)| name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restricted(sdp: &str, allowed: &[&str], ordered: bool) -> Option<String> {
        let sdp = sdp.replace('\n', "\r\n");
        let out = restrict_codecs(sdp.as_bytes(), allowed, ordered)?;
        Some(String::from_utf8(out).unwrap().replace("\r\n", "\n"))
    }

    /// As Asterisk 20 offers it.
    const ASTERISK: &str = "v=0\no=- 1034 1034 IN IP4 192.0.2.10\ns=Asterisk\nc=IN IP4 192.0.2.10\nt=0 0\n\
        m=audio 14250 RTP/AVP 107 9 8 0 18 101\na=rtpmap:107 opus/48000/2\na=fmtp:107 useinbandfec=1\n\
        a=rtpmap:9 G722/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:18 G729/8000\n\
        a=fmtp:18 annexb=no\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=maxptime:60\n\
        a=sendrecv\n";

    /// As Direct Routing offers it.
    const TEAMS: &str = "v=0\no=- 16 0 IN IP4 52.112.0.1\ns=session\nc=IN IP4 52.112.0.1\nb=CT:10000000\nt=0 0\n\
        m=audio 49216 RTP/SAVP 104 9 103 111 18 0 8 97 101 13 118\na=rtcp:49217\na=rtpmap:104 SILK/16000\n\
        a=rtpmap:9 G722/8000\na=rtpmap:103 SILK/8000\na=rtpmap:111 SIREN/16000\na=fmtp:111 bitrate=16000\n\
        a=rtpmap:18 G729/8000\na=fmtp:18 annexb=no\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
        a=rtpmap:97 RED/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=rtpmap:13 CN/8000\n\
        a=rtpmap:118 CN/16000\na=ptime:20\n";

    #[test]
    fn only_allowed_codecs_stay_with_their_attributes() {
        assert_eq!(
            restricted(ASTERISK, &["PCMA", "pcmu"], false).unwrap(),
            "v=0\no=- 1034 1034 IN IP4 192.0.2.10\ns=Asterisk\nc=IN IP4 192.0.2.10\nt=0 0\n\
             m=audio 14250 RTP/AVP 8 0 101\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\n\
             a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=maxptime:60\na=sendrecv\n"
        );
        assert_eq!(
            restricted(TEAMS, &["PCMA", "PCMU"], true).unwrap(),
            "v=0\no=- 16 0 IN IP4 52.112.0.1\ns=session\nc=IN IP4 52.112.0.1\nb=CT:10000000\nt=0 0\n\
             m=audio 49216 RTP/SAVP 8 0 101 13 118\na=rtcp:49217\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
             a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=rtpmap:13 CN/8000\na=rtpmap:118 CN/16000\n\
             a=ptime:20\n"
        );
    }

    #[test]
    fn codecs_are_put_in_order_and_the_rest_after_them() {
        let ordered = restricted(ASTERISK, &["PCMU", "opus", "G722", "PCMA", "G729"], true).unwrap();
        assert_eq!(ordered, ASTERISK.replace("107 9 8 0 18 101", "0 107 9 8 18 101"));
    }

    #[test]
    fn what_is_allowed_already_is_not_changed() {
        assert_eq!(restricted(ASTERISK, &["PCMU", "opus", "G722", "PCMA", "G729"], false), None);
        assert_eq!(restricted("v=0\nm=audio 4000 RTP/AVP 0\n", &["PCMU"], true), None);
        assert_eq!(restricted("", &["PCMU"], true), None);
    }

    #[test]
    fn audio_of_which_nothing_is_left_gets_the_port_0_and_keeps_its_place() {
        let video = "m=video 5000 RTP/AVP 97\na=rtpmap:97 H264/90000\n";
        let sdp = format!("v=0\nm=audio 4000 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000\n{video}");
        assert_eq!(
            restricted(&sdp, &["PCMA"], false).unwrap(),
            format!("v=0\nm=audio 0 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000\n{video}")
        );
    }

    #[test]
    fn each_audio_has_payload_types_of_its_own() {
        let sdp = "v=0\nm=audio 4000 RTP/AVP 96 8\na=rtpmap:96 AMR/8000\nm=audio 4002 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n";
        assert_eq!(
            restricted(sdp, &["opus", "PCMA"], false).unwrap(),
            "v=0\nm=audio 4000 RTP/AVP 8\nm=audio 4002 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"
        );
    }

    #[test]
    fn other_media_and_what_cannot_be_read_stays() {
        for sdp in [
            "m=image 4000 udptl t38\n",
            "m=audio 0 RTP/AVP 18\n",
            "m=audio 4000\n",
            "m=audio 4000 RTP/AVP\n",
            "m=message 9 TCP/MSRP *\n",
            "m=audio 4000 udp 18\n",
            "a=rtpmap:18 G729/8000\n",
        ] {
            assert_eq!(restricted(sdp, &["PCMA"], true), None, "{sdp}");
        }
    }
}

//! Where one message ends and the next begins in a stream: RFC 3261 §18.3, keep-alives of RFC 5626 §3.5.1.
//!
//! Content-Length is the only mark, so it must be there and right. Once it is not, nothing after it can be
//! trusted: the error is final, and the connection is to be closed.

use crate::{Fault, MAX_HEAD, MAX_MESSAGE, Message, Name, ParseError, StartLine};

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No empty line within [`MAX_HEAD`] octets.
    #[error("a head of more than {MAX_HEAD} octets")]
    HeadTooLong,
    /// The head is none of a SIP message.
    #[error("no SIP message: {0}")]
    NotSip(#[from] ParseError),
    /// Content-Length is absent, no number, or there twice with different numbers.
    #[error("no single Content-Length")]
    ContentLength,
    /// Head and body together are more than [`MAX_MESSAGE`] octets.
    #[error("a message of more than {MAX_MESSAGE} octets")]
    TooLong,
}

/// What a stream carried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// The octets of one whole message, for [`Message::parse`].
    Message(&'f [u8]),
    /// A keep-alive, `CRLF CRLF`; it is answered with [`PONG`].
    Ping,
}

/// The answer to a [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";

/// Cuts the octets of one connection into frames.
///
/// Memory is bounded by [`MAX_MESSAGE`] and one push, provided that [`Framer::next`] is called until it
/// has no more after each push. A lone CRLF before a message, a pong for instance, is skipped.
#[derive(Debug, Default)]
pub struct Framer {
    octets: Vec<u8>,
    /// Octets of frames that were handed out.
    taken: usize,
    /// How far after `taken` no end of the head was found.
    searched: usize,
    /// Length of the message that begins at `taken`, once its head is whole.
    len: Option<usize>,
    failed: Option<FrameError>,
    /// The head of the message whose length was not to be trusted.
    broken: Option<(Fault, Vec<u8>)>,
    /// The message that begins at `taken` begins with a line of SIP.
    is_sip: bool,
}

impl Framer {
    /// A framer for a new connection.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes octets as they were received, in any pieces. After an error they are dropped.
    pub fn push(&mut self, octets: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.taken > 0 {
            self.octets.drain(..self.taken);
            self.taken = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// The next whole frame, `None` when more octets are needed; after an error, that error for ever.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows the framer, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.next_range() {
            Ok(Found::Message(start, end)) => Ok(Some(Frame::Message(&self.octets[start..end]))),
            Ok(Found::Ping) => Ok(Some(Frame::Ping)),
            Ok(Found::Nothing) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.octets = Vec::new();
                Err(error)
            }
        }
    }

    /// The head of the message that ended the stream, and what is wrong with it, where it has one: it can be
    /// answered (see [`refuse`](crate::refuse())) before the connection is closed, as RFC 4475 §3.1.2.3 and §3.3.9 ask.
    pub fn broken(&self) -> Option<(Fault, Message<'_>)> {
        let (fault, head) = self.broken.as_ref()?;
        Some((*fault, Message::parse(head).ok()?))
    }

    /// Octets that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.octets.len().saturating_sub(self.taken)
    }

    fn next_range(&mut self) -> Result<Found, FrameError> {
        let len = match self.len {
            Some(len) => len,
            None => {
                match &self.octets[self.taken..] {
                    [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(Found::Nothing),
                    [b'\r', b'\n', b'\r', b'\n', ..] => {
                        self.taken += 4;
                        return Ok(Found::Ping);
                    }
                    [b'\r', b'\n', ..] => self.taken += 2,
                    _ => {}
                }
                let Some(len) = self.message_len()? else { return Ok(Found::Nothing) };
                self.len = Some(len);
                len
            }
        };
        if self.pending() < len {
            return Ok(Found::Nothing);
        }
        let start = self.taken;
        self.taken += len;
        self.searched = 0;
        self.len = None;
        self.is_sip = false;
        Ok(Found::Message(start, self.taken))
    }

    /// Length of the message that begins at `taken`, by its Content-Length; `None` while its head is not whole.
    fn message_len(&mut self) -> Result<Option<usize>, FrameError> {
        let octets = &self.octets[self.taken..];
        let window = &octets[..octets.len().min(MAX_HEAD)];
        // The end of the head may have been cut by up to three octets when it was looked for last.
        let from = self.searched.saturating_sub(3);
        if !self.is_sip
            && let Some(end) = memchr::memmem::find(window, b"\r\n")
        {
            // Garbage ends the stream at its first line, and waits for no other.
            StartLine::parse(&window[..end]).ok_or(ParseError::NotSip)?;
            self.is_sip = true;
        }
        let Some(end) = memchr::memmem::find(&window[from..], b"\r\n\r\n") else {
            self.searched = window.len();
            return if octets.len() >= MAX_HEAD { Err(FrameError::HeadTooLong) } else { Ok(None) };
        };
        let head_len = from + end + 4;
        let head = Message::parse(&octets[..head_len])?;
        let length = head.content_length().filter(|_| {
            let declared =
                |length| crate::octets::decimal(length, u64::from(u32::MAX)).map(|length| length as u32);
            head.all(Name::ContentLength).all(|length| declared(length) == head.content_length())
        });
        let len = length.and_then(|length| head_len.checked_add(length as usize));
        let (error, fault) = match len {
            Some(len) if len <= MAX_MESSAGE => return Ok(Some(len)),
            Some(_) => (FrameError::TooLong, Fault::TooLarge),
            None => (FrameError::ContentLength, Fault::Unframed),
        };
        self.broken = Some((fault, octets[..head_len].to_vec()));
        Err(error)
    }
}

enum Found {
    Message(usize, usize),
    Ping,
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\r\n\r\nOPTIONS sip:h SIP/2.0\r\nl: 4\r\n\r\n\r\n\r\n\r\nBYE sip:h SIP/2.0\r\n\
                            Content-Length: 0\r\nContent-Length : 00\r\n\r\n\r\n\r\n";

    fn frames(framer: &mut Framer, piece: &[u8]) -> Result<Vec<String>, FrameError> {
        framer.push(piece);
        let mut frames = Vec::new();
        while let Some(frame) = framer.next()? {
            frames.push(match frame {
                Frame::Message(octets) => octets.escape_ascii().to_string(),
                Frame::Ping => "ping".into(),
            });
        }
        Ok(frames)
    }

    fn error(stream: &[u8]) -> FrameError {
        frames(&mut Framer::new(), stream).unwrap_err()
    }

    #[test]
    fn the_frames_are_the_same_wherever_the_stream_is_split() {
        let whole = frames(&mut Framer::new(), STREAM).unwrap();
        assert_eq!(
            whole,
            [
                "ping",
                r"OPTIONS sip:h SIP/2.0\r\nl: 4\r\n\r\n\r\n\r\n",
                r"BYE sip:h SIP/2.0\r\nContent-Length: 0\r\nContent-Length : 00\r\n\r\n",
                "ping",
            ]
        );
        for at in 0..=STREAM.len() {
            let mut framer = Framer::new();
            let mut split = frames(&mut framer, &STREAM[..at]).unwrap();
            split.extend(frames(&mut framer, &STREAM[at..]).unwrap());
            assert_eq!(split, whole, "split at {at}");
        }
        let mut framer = Framer::new();
        let single = STREAM.iter().flat_map(|octet| frames(&mut framer, &[*octet]).unwrap());
        assert_eq!(single.collect::<Vec<_>>(), whole);
    }

    #[test]
    fn an_error_is_final() {
        let mut framer = Framer::new();
        assert_eq!(frames(&mut framer, b"garbage\r\n\r\n"), Err(FrameError::NotSip(ParseError::NotSip)));
        assert_eq!(frames(&mut framer, STREAM), Err(FrameError::NotSip(ParseError::NotSip)));
        assert_eq!(framer.pending(), 0);
    }

    #[test]
    fn garbage_ends_the_stream_at_its_first_line() {
        assert_eq!(error(b"\r\n\r\nGET / HTTP/1.1\r\n"), FrameError::NotSip(ParseError::NotSip));
        assert_eq!(error(b"\x16\x03\x01\0\r\nBYE sip:h SIP/2.0\r\n"), FrameError::NotSip(ParseError::NotSip));
        // What came before it was whole.
        let mut framer = Framer::new();
        framer.push(b"BYE sip:h SIP/2.0\r\nl: 0\r\n\r\nbody\r\nBYE sip:h SIP/2.0\r\nl: 0\r\n\r\n");
        assert!(matches!(framer.next(), Ok(Some(Frame::Message(_)))));
        assert_eq!(framer.next(), Err(FrameError::NotSip(ParseError::NotSip)));
    }

    #[test]
    fn a_request_whose_length_cannot_be_trusted_can_still_be_answered() {
        for (lines, fault) in
            [("", Fault::Unframed), ("l: 1\r\nl: 2\r\n", Fault::Unframed), ("l: 99999\r\n", Fault::TooLarge)]
        {
            let mut framer = Framer::new();
            framer.push(format!("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{lines}\r\nBYE").as_bytes());
            assert!(framer.next().is_err());
            let (found, head) = framer.broken().unwrap();
            assert_eq!((found, head.octets().ends_with(b"\r\n\r\n")), (fault, true), "{lines}");
        }
        let mut framer = Framer::new();
        framer.push(b"BYE\r\n\r\n");
        assert!(framer.next().is_err() && framer.broken().is_none());
    }

    #[test]
    fn a_length_that_is_absent_double_or_no_number_ends_the_stream() {
        for lines in
            ["", "l: 1\r\nl: 2\r\n", "l: -1\r\n", "l: 0x5\r\n", "l: 1\r\nl: x\r\n", "l: 99999999999\r\n"]
        {
            assert_eq!(
                error(format!("BYE sip:h SIP/2.0\r\n{lines}\r\n").as_bytes()),
                FrameError::ContentLength,
                "{lines}"
            );
        }
    }

    #[test]
    fn what_is_too_long_ends_the_stream_before_it_is_stored() {
        assert_eq!(error(b"BYE sip:h SIP/2.0\r\nl: 2147483648\r\n\r\n"), FrameError::TooLong);
        let mut framer = Framer::new();
        framer.push(b"BYE sip:h SIP/2.0\r\nX: ");
        let ended = (0..MAX_HEAD).find(|_| frames(&mut framer, b"a").is_err());
        assert_eq!(ended, Some(MAX_HEAD - 23));
        assert_eq!(framer.next(), Err(FrameError::HeadTooLong));
    }
}

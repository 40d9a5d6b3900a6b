//! What is wrong with a message, in words that fit the reason phrase of the response: RFC 3261 §8.2, §21.4.

use crate::Name;

/// Why a message or one of its values is refused. [`Fault::status`] decides the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The request or status line is not what RFC 3261 §7.1 and §7.2 allow.
    #[error("Malformed Start-Line")]
    StartLine,
    /// The message is of another version than SIP/2.0.
    #[error("Version Not Supported")]
    Version,
    /// The Request-URI is no URI.
    #[error("Malformed Request-URI")]
    RequestUri,
    /// A URI is malformed; where it stood is not known here.
    #[error("Malformed URI")]
    Uri,
    /// The status code is not in 100..=699.
    #[error("Status Code Out Of Range")]
    StatusCode,
    /// A header line has no colon, or its name is no token.
    #[error("Malformed Header Line")]
    HeaderLine,
    /// A control octet, or a CR or LF on its own, stands in the head of the message.
    #[error("Control Octet In Header")]
    ControlOctet,
    /// A mandatory header field is absent (RFC 3261 §8.1.1).
    #[error("Missing {0}")]
    Missing(Name),
    /// A header field that may occur once occurs again (RFC 3261 §7.3.1).
    #[error("Repeated {0}")]
    Repeated(Name),
    /// The value is not what the header field's grammar allows.
    #[error("Malformed {0}")]
    Malformed(Name),
    /// A number is larger than the header field's range.
    #[error("{0} Out Of Range")]
    OutOfRange(Name),
    /// The method in CSeq is not the request's (RFC 3261 §8.1.1.5).
    #[error("CSeq Method Does Not Match")]
    CSeqMethod,
    /// The tag is there without a value.
    #[error("Empty Tag In {0}")]
    EmptyTag(Name),
    /// The tag is there twice.
    #[error("Repeated Tag In {0}")]
    RepeatedTag(Name),
    /// Content-Length says more than the datagram holds (RFC 3261 §18.3).
    #[error("Content-Length Beyond Message")]
    BodyTooShort,
    /// Over a stream there is no Content-Length, or no single number in it (RFC 3261 §18.3).
    #[error("No Single Content-Length")]
    Unframed,
    /// The head or the body has more octets than are taken ([`MAX_HEAD`](crate::MAX_HEAD),
    /// [`MAX_BODY`](crate::MAX_BODY)).
    #[error("Message Too Large")]
    TooLarge,
    /// There are more header lines than [`MAX_HEADERS`](crate::MAX_HEADERS).
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    /// The header field has more values than [`MAX_HOPS`](crate::judge::MAX_HOPS).
    #[error("Too Many {0} Values")]
    TooMany(Name),
    /// The name of a header field, or an identifier in it, is longer than is taken.
    #[error("{0} Too Long")]
    TooLong(Name),
}

impl Fault {
    /// Status code of the response to a request with this fault (RFC 3261 §21.4.1, §21.5.6, §21.5.7).
    pub fn status(self) -> u16 {
        match self {
            Fault::Version => 505,
            Fault::TooLarge | Fault::TooManyHeaders | Fault::TooMany(_) | Fault::TooLong(_) => 513,
            Fault::StartLine
            | Fault::RequestUri
            | Fault::Uri
            | Fault::StatusCode
            | Fault::HeaderLine
            | Fault::ControlOctet
            | Fault::Missing(_)
            | Fault::Repeated(_)
            | Fault::Malformed(_)
            | Fault::OutOfRange(_)
            | Fault::CSeqMethod
            | Fault::EmptyTag(_)
            | Fault::RepeatedTag(_)
            | Fault::BodyTooShort
            | Fault::Unframed => 400,
        }
    }

    /// The fault as a reason phrase: ASCII, one line, shorter than 64 octets.
    pub fn phrase(self) -> String {
        self.to_string()
    }

    /// The same fault of a header field, where reading a part of it named none.
    pub(crate) fn of(name: Name) -> impl Fn(Fault) -> Fault {
        move |fault| match fault {
            Fault::Uri => Fault::Malformed(name),
            named => named,
        }
    }
}

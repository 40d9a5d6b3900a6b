//! SIP without sockets: messages, their parts, the four transactions and dialogs (RFC 3261).
//!
//! Nothing here does I/O, reads a clock or draws a random number; octets and events come in, octets and
//! actions come out. No input panics. Reading ([`Message`]) is apart from judging ([`judge()`]): a message
//! that can be answered is read even when it is wrong, so that its sender gets a 400 rather than silence.
//!
//! - [`message`], [`name`], [`uri`], [`name_addr`], [`via`]: reading, on demand, without allocation;
//! - [`mod@judge`]: what RFC 3261 allows, with the [`Fault`] that goes into the response;
//! - [`writer`], [`mod@rewrite`]: the two ways in which octets are made;
//! - [`refusal`]: the answer to what was judged wrong;
//! - [`mod@redact`]: what of a message may be kept for people to look at;
//! - [`frame`]: messages out of a stream;
//! - [`transaction`], [`dialog`]: the state that outlives a message;
//! - [`session_timer`], [`cause`]: how long a session lives without a word, and why it ends.
#![forbid(unsafe_code)]

pub mod cause;
pub mod dialog;
pub mod fault;
pub mod frame;
pub mod judge;
pub mod message;
pub mod name;
pub mod name_addr;
mod octets;
mod ordinary;
mod parts;
pub mod redact;
pub mod refusal;
pub mod rewrite;
mod sdp;
pub mod session_timer;
pub mod transaction;
pub mod uri;
pub mod via;
#[cfg(feature = "witness")]
pub mod witness;
pub mod writer;

pub use dialog::Dialog;
pub use fault::Fault;
pub use frame::{Frame, FrameError, Framer};
pub use judge::judge;
pub use message::{
    CSeq, Header, MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_MESSAGE, Message, Method, ParseError, RequestLine,
    StartLine, StatusLine,
};
pub use name::Name;
pub use name_addr::NameAddr;
pub use octets::Params;
pub use parts::edit_sessions;
pub use redact::{Outline, outline, redact};
pub use refusal::refuse;
pub use rewrite::{Edit, rewrite, rewrite_with_body};
pub use sdp::restrict_codecs;
pub use uri::{Scheme, Uri};
pub use via::{Via, write_stamped_via};
pub use writer::{Writer, respond};

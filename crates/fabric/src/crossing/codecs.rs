//! Which codecs are offered and answered across the hub: those that both endpoints allow, in every session description
//! that crosses, whichever message has it and whatever is around it in a multipart body.

use tandem_model::{CodecOrder, Settings};
use tandem_sip::{Message, Method, Name, edit_sessions, restrict_codecs};

/// The body of a message with the codecs that both endpoints allow; `None` when it stays as it is. Only the offers
/// in requests are put in order: an answer's order is the answerer's choice among what it was offered.
pub(crate) fn restrict(message: &Message<'_>, sender: &Settings, receiver: &Settings) -> Option<Vec<u8>> {
    let (sender, receiver) = (&sender.codecs, &receiver.codecs);
    if (sender.allow.is_empty() && receiver.allow.is_empty()) || message.body().is_empty() {
        return None;
    }
    if message.header(Name::ContentEncoding).is_some() {
        return None; // Nobody here can read it.
    }
    let is_offer =
        message.request().is_some_and(|line| matches!(line.method, Method::Invite | Method::Update));
    let content_type = message.header(Name::ContentType)?;
    edit_sessions(content_type, message.body(), |session| {
        let mut edited = None;
        if !sender.allow.is_empty() {
            edited = restrict_codecs(session, &sender.allow, false);
        }
        if !receiver.allow.is_empty() {
            let ordered = is_offer && receiver.order == CodecOrder::Listed;
            let session = edited.as_deref().unwrap_or(session);
            edited = restrict_codecs(session, &receiver.allow, ordered).or(edited);
        }
        edited
    })
}

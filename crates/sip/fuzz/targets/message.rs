//! Any datagram: it is read, judged, answered and looked at from every side; no panic, no malformed answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::transaction::key;
use tandem_sip::{Dialog, Message, NameAddr, judge, refuse, respond};

fuzz_target!(|octets: &[u8]| {
    let Ok(message) = Message::parse(octets) else { return };
    let verdict = judge(&message);
    for header in message.headers() {
        let _ = (message.values(header.name).count(), NameAddr::parse(header.value));
    }
    let _ = (message.cseq(), message.max_forwards(), message.contact(), message.call_id());
    let _ = (key::server_key(&message), key::client_branch(&message), Dialog::from_request(&message, b"t"));
    if message.request().is_none() {
        return;
    }
    let source = "192.0.2.1:5060".parse().expect("it is an address");
    let mut out = Vec::new();
    let answered = match verdict {
        Ok(()) => {
            respond(&mut out, &message, source, 404, "Not Found", Some(b"t"), |_| {});
            true
        }
        Err(fault) => refuse(&mut out, &message, source, fault, b"t", |_| {}),
    };
    if answered {
        let answer = Message::parse(&out).expect("an answer is a message");
        assert_eq!(judge(&answer), Ok(()), "{}", out.escape_ascii());
    }
});

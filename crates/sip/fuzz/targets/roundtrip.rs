//! Any message that is judged good: written again it is the same, octet for octet, and good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::{Edit, Message, StartLine, Writer, judge, rewrite};

fuzz_target!(|octets: &[u8]| {
    let Ok(message) = Message::parse(octets) else { return };
    if judge(&message).is_err() {
        return;
    }
    // By the rewriter, which leaves alone what it is not told to change.
    let mut crossed = Vec::new();
    rewrite(&mut crossed, &message, message.start(), &[], |_| Edit::Keep);
    let again = Message::parse(&crossed).expect("it is a message still");
    assert_eq!(judge(&again), Ok(()), "{}", crossed.escape_ascii());
    assert_eq!((again.start(), again.body()), (message.start(), message.body()));
    let mut twice = Vec::new();
    rewrite(&mut twice, &again, again.start(), &[], |_| Edit::Keep);
    assert_eq!(twice, crossed);
    // By the writer, line by line: the second time there is nothing left to change.
    let written = write(&message);
    let again = Message::parse(&written).expect("it is a message still");
    assert_eq!(judge(&again), Ok(()), "{}", written.escape_ascii());
    assert_eq!(write(&again), written);
    assert_eq!((again.request(), again.status()), (message.request(), message.status()));
    assert_eq!(again.body(), message.body());
    assert_eq!((again.call_id(), again.cseq()), (message.call_id(), message.cseq()));
    assert_eq!((again.from_tag(), again.to_tag()), (message.from_tag(), message.to_tag()));
});

fn write(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let reason;
    let mut writer = match message.start() {
        StartLine::Request(line) => Writer::request(&mut out, line.method, line.uri),
        StartLine::Status(line) => {
            reason = String::from_utf8_lossy(line.reason).into_owned();
            Writer::response(&mut out, line.status, &reason)
        }
    };
    for header in message.headers().filter(|header| header.name != tandem_sip::Name::ContentLength) {
        writer.line(header.line);
    }
    writer.finish(None, message.body());
    out
}

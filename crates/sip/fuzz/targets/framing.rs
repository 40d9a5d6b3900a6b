//! Any stream: its frames are the same however it is cut, an error is final, and what waits is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_sip::{Frame, FrameError, Framer, MAX_HEAD, MAX_MESSAGE, Message};

/// The frames of a stream that comes in pieces of the given lengths, in turn, and what ended it.
fn frames(stream: &[u8], lengths: &[usize]) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    let mut rest = stream;
    for &length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at(length.clamp(1, 4_096).min(rest.len()));
        rest = after;
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(octets))) => {
                    let message = Message::parse(octets).expect("a frame is a message");
                    assert_eq!(message.octets(), octets, "all of it");
                    frames.push(octets.to_vec());
                }
                Ok(Some(Frame::Ping)) => frames.push(Vec::new()),
                Ok(None) => break,
                Err(error) => {
                    framer.push(stream);
                    assert_eq!(framer.next(), Err(error), "an error is final");
                    return (frames, Some(error));
                }
            }
        }
        assert!(framer.pending() <= MAX_MESSAGE.max(MAX_HEAD));
        if rest.is_empty() {
            break;
        }
    }
    (frames, None)
}

fuzz_target!(|octets: &[u8]| {
    let Some((&[first, second], stream)) = octets.split_first_chunk() else { return };
    let whole = frames(stream, &[usize::MAX]);
    assert_eq!(frames(stream, &[usize::from(first), usize::from(second)]), whole);
});

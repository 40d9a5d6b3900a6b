//! Reading an ordinary message takes nothing from the allocator: counted by an allocator of our own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use tandem_sip::{Message, Name, Uri, judge, transaction::key};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

// SAFETY: every call goes to the system's allocator as it came.
#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INVITE: &[u8] = b"INVITE sip:+442079460000@192.0.2.10:5060;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bK-524287-1---a3c5;rport\r\n\
    Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bK77ef4c2312983.1\r\n\
    Max-Forwards: 69\r\n\
    Contact: <sip:+14155550100@192.0.2.21:5060;transport=udp>\r\n\
    To: <sip:+442079460000@192.0.2.10;user=phone>\r\n\
    From: \"Alice, of Acme\" <sip:+14155550100@192.0.2.21;user=phone>;tag=a73kszlfl\r\n\
    Call-ID: 3848276298220188511@acme.example\r\n\
    CSeq: 101 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE\r\n\
    Supported: replaces, timer, 100rel\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    P-Asserted-Identity: <sip:+14155550100@acme.example>\r\n\
    User-Agent: Acme Softswitch 4.2\r\n\
    X-Carrier: acme\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 133\r\n\r\n\
    v=0\r\no=acme 53655765 2353687637 IN IP4 192.0.2.21\r\ns=-\r\nc=IN IP4 192.0.2.21\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\n\r\n";

/// Allocations that a piece of work takes on this thread.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn reading_and_judging_an_ordinary_invite_with_sdp_allocates_nothing() {
    let work = || {
        let message = Message::parse(black_box(INVITE)).unwrap();
        judge(&message).unwrap();
        let line = message.request().unwrap();
        black_box(Uri::parse(line.uri).unwrap());
        black_box((message.from_tag(), message.to_tag(), message.call_id().unwrap()));
        black_box((message.cseq().unwrap(), message.top_via().unwrap()));
        black_box((message.values(Name::Via).count(), message.contact(), message.body()));
        black_box(key::server_key(&message).unwrap());
    };
    assert_eq!(allocations(work), 0);
}

//! sipp as caller and as gateway: scenarios put together from steps, and what its statistics say at the end.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::address::free_port;
use crate::child::{Child, Signal};

/// A sipp that is running.
#[derive(Debug)]
pub struct Sipp {
    /// Where it takes SIP.
    pub address: SocketAddr,
    child: Child,
    places_calls: bool,
    folder: TempDir,
}

/// How sipp sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One UDP socket.
    Udp,
    /// One TCP connection for all calls.
    Tcp,
}

/// The calls that a caller places.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Calls a second.
    pub rate: u32,
    /// Calls altogether.
    pub calls: u32,
    /// How long each is held, where the scenario has a [`caller::HOLD`].
    pub hold: Duration,
}

impl Load {
    /// One call, held for `hold`.
    pub fn one(hold: Duration) -> Self {
        Self { rate: 1, calls: 1, hold }
    }
}

/// Whom a caller is and calls.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    /// The number of each call follows it, so that each call has a calling number of its own.
    pub calling: &'a str,
    /// The called number, as in the Request-URI.
    pub called: &'a str,
}

/// What it counted.
#[derive(Clone, Debug)]
pub struct Report {
    /// Calls that were begun.
    pub calls: u64,
    /// Calls that went through the scenario to its end.
    pub successful: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Messages that fitted no step or no call.
    pub unexpected: u64,
    /// Messages that were sent again.
    pub retransmissions: u64,
    /// How long each call was up by the caller's clock, by calling number; where the scenario logs it.
    pub up: HashMap<String, Duration>,
    /// What sipp complained about, cut to be read.
    pub errors: String,
}

impl Report {
    /// Panics unless every one of `calls` calls went as the scenario has it, with no message beside it.
    #[track_caller]
    pub fn assert_all_went_well(&self, calls: u32) {
        let as_hoped = (self.calls, self.successful, self.failed, self.unexpected);
        assert_eq!(
            as_hoped,
            (calls.into(), calls.into(), 0, 0),
            "calls, successful, failed, unexpected\n{}",
            self.errors
        );
    }
}

/// Panics unless durations are right: how far each CDR's is from what the caller's clock says. The hub, sipp and
/// all else share this machine's cores, and which of two programs is let wait is chance: so 99 of 100 are within a
/// tenth of a second, and all within a second.
#[track_caller]
pub fn assert_durations_are_right(mut off: Vec<Duration>) {
    off.sort_unstable();
    let (p99, furthest) = (off[(off.len() - 1) * 99 / 100], off[off.len() - 1]);
    #[expect(clippy::print_stderr, reason = "the figure is part of the result")]
    {
        eprintln!("durations: {} CDRs, 99 in 100 within {p99:?}, all within {furthest:?}", off.len());
    }
    assert!(p99 <= Duration::from_millis(100) && furthest <= Duration::from_secs(1), "{p99:?}, {furthest:?}");
}

/// Over how long sipp may run at most, whatever happens.
const AT_MOST: Duration = Duration::from_secs(240);

impl Sipp {
    /// Places calls from `ip` to the hub.
    pub fn calls(
        ip: IpAddr,
        hub: SocketAddr,
        transport: Transport,
        steps: &[&str],
        load: Load,
        numbers: Numbers<'_>,
    ) -> Self {
        let hold = load.hold.as_millis().to_string();
        let (rate, calls) = (load.rate.to_string(), load.calls.to_string());
        let mut more = vec!["-r", &rate, "-m", &calls, "-d", &hold];
        more.extend(["-s", numbers.called, "-key", "calling", numbers.calling]);
        let hub = hub.to_string();
        more.push(&hub);
        Self::start(free_port(ip), transport, steps, &more)
    }

    /// Takes calls at `ip`.
    pub fn takes_calls(ip: IpAddr, transport: Transport, steps: &[&str]) -> Self {
        Self::takes_calls_at(free_port(ip), transport, steps)
    }

    /// Takes calls at a port that somebody else has named.
    pub fn takes_calls_at(address: SocketAddr, transport: Transport, steps: &[&str]) -> Self {
        Self::start(address, transport, steps, &[])
    }

    fn start(address: SocketAddr, transport: Transport, steps: &[&str], more: &[&str]) -> Self {
        let folder = TempDir::with_prefix("tandem-sipp-").expect("a temporary folder");
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"tandem\">\n{}\n</scenario>\n",
            steps.join("\n")
        );
        let file = |name: &str| folder.path().join(name);
        fs::write(file("scenario.xml"), xml).expect("the folder is ours");
        let ip = address.ip();
        let mut command = Command::new("sipp");
        command.current_dir(folder.path()).arg("-sf").arg(file("scenario.xml"));
        command.args(["-i", &ip.to_string(), "-mi", &ip.to_string(), "-p", &address.port().to_string()]);
        command.args(["-t", if transport == Transport::Udp { "u1" } else { "t1" }]);
        command.args(["-timeout", &format!("{}s", AT_MOST.as_secs()), "-timeout_error", "-nostdin"]);
        command.args(["-max_socket", "1000", "-l", "10000", "-buff_size", "4000000", "-max_retrans", "10"]);
        command.arg("-trace_stat").arg("-stf").arg(file("statistics.csv")).args(["-fd", "1"]);
        command.arg("-trace_err").arg("-error_file").arg(file("errors"));
        command.arg("-trace_logs").arg("-log_file").arg(file("log"));
        command.args(more);
        let child = Child::start("sipp", &mut command, &file("output"));
        let mut sipp = Self { address, child, places_calls: !more.is_empty(), folder };
        if !sipp.places_calls {
            sipp.wait_until_listening(transport);
        }
        sipp
    }

    /// A gateway must be there before it is called.
    fn wait_until_listening(&mut self, transport: Transport) {
        let table = if transport == Transport::Udp { "/proc/net/udp" } else { "/proc/net/tcp" };
        // Words of four octets, each as a number of this machine.
        let word = |octets: &[u8]| {
            format!("{:08X}", u32::from_ne_bytes(octets.try_into().expect("an address has whole words")))
        };
        let (table, ip) = match self.address.ip() {
            IpAddr::V4(ip) => (table.to_owned(), word(&ip.octets())),
            IpAddr::V6(ip) => (format!("{table}6"), ip.octets().chunks(4).map(word).collect()),
        };
        let entry = format!(" {ip}:{:04X} ", self.address.port());
        crate::until("sipp to listen", Duration::from_secs(10), || {
            if let Some(status) = self.child.ended() {
                panic!("sipp ended ({status}):\n{}{}", self.child.last_lines(20), self.errors());
            }
            fs::read_to_string(&table).ok()?.contains(&entry).then_some(())
        });
    }

    /// The address as the target of an endpoint.
    pub fn target(&self, transport: Transport) -> String {
        let transport = if transport == Transport::Udp { "udp" } else { "tcp" };
        format!("sip:{};transport={transport}", self.address)
    }

    /// How many calls it has begun so far.
    pub fn calls_so_far(&self) -> u64 {
        self.statistics().get("TotalCallCreated").copied().unwrap_or(0)
    }

    /// Waits for its end: a caller's comes with its last call, a gateway is told to end with the calls it has.
    pub fn finish(mut self, deadline: Duration) -> Report {
        if !self.places_calls && self.child.ended().is_none() {
            self.child.signal(Signal::User1);
        }
        let in_time = self.child.ends_within(deadline);
        assert!(
            in_time,
            "sipp did not end in {deadline:?}:\n{}\n{}",
            self.child.last_lines(40),
            self.errors()
        );
        let counted = self.statistics();
        let count = |name: &str| counted.get(name).copied().unwrap_or(0);
        Report {
            calls: count("TotalCallCreated"),
            successful: count("SuccessfulCall(C)"),
            failed: count("FailedCall(C)"),
            unexpected: count("FailedUnexpectedMessage(C)") + count("OutOfCallMsgs(C)"),
            retransmissions: count("Retransmissions(C)"),
            up: self.up(),
            errors: self.errors(),
        }
    }

    /// The newest line of its statistics, by column.
    fn statistics(&self) -> HashMap<String, u64> {
        let text = fs::read_to_string(self.folder.path().join("statistics.csv")).unwrap_or_default();
        let mut lines = text.lines();
        let (Some(names), Some(values)) = (lines.next(), lines.last()) else { return HashMap::new() };
        let pairs = names.split(';').zip(values.split(';'));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// What [`caller::ANSWERED`] and the steps that end a call wrote: word, calling number, milliseconds.
    fn up(&self) -> HashMap<String, Duration> {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let (mut began, mut up) = (HashMap::new(), HashMap::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(word), Some(calling), Some(at)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(at) = at.parse::<u64>() else { continue };
            if word == "up" {
                began.insert(calling, at);
            } else if let Some(from) = began.remove(calling) {
                up.insert(calling.to_owned(), Duration::from_millis(at - from));
            }
        }
        up
    }

    fn errors(&self) -> String {
        let text = fs::read(self.folder.path().join("errors")).unwrap_or_default();
        String::from_utf8_lossy(&text).chars().take(4_000).collect()
    }
}

/// Steps of the side that calls.
pub mod caller {
    /// INVITE with an offer.
    pub const INVITE: &str = r#"
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3861 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 30000 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=ptime:20
]]></send>"#;

    /// 100 and 18x as they come, then 200.
    pub const ANSWERED: &str = r#"
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="183" optional="true"/>
<recv response="200" rrs="true"><action><log message="up [calling][call_number] [clock_tick]"/></action></recv>"#;

    /// ACK of the 200.
    pub const ACK: &str = r#"
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] ACK
Content-Length: 0

]]></send>"#;

    /// The call is up for as long as the load says.
    pub const HOLD: &str = "<pause/>";

    /// BYE, and its 200.
    pub const BYE: &str = r#"
<nop><action><log message="over [calling][call_number] [clock_tick]"/></action></nop>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] BYE
Content-Length: 0

]]></send>
<recv response="200"/>"#;

    /// The other side's BYE, and its 200.
    pub const BYE_COMES: &str = r#"
<recv request="BYE"><action><log message="over [calling][call_number] [clock_tick]"/></action></recv>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

    /// 180, then CANCEL with its 200, then 487 with its ACK.
    pub const CANCEL: &str = r#"
<recv response="100" optional="true"/>
<recv response="180"/>
<pause milliseconds="200"/>
<send retrans="500"><![CDATA[
CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch-4]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 CANCEL
Content-Length: 0

]]></send>
<recv response="200"/>
<recv response="487"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch-7]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>"#;

    /// Any provisional responses, then a failure with this status, and its ACK.
    pub fn refused(status: u16) -> String {
        format!(
            r#"
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="{status}"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch-4]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>"#
        )
    }

    /// Re-INVITE with a new offer (hold), its 200 and ACK.
    pub const REINVITE: &str = r#"
<send retrans="500"><![CDATA[
INVITE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] INVITE
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3862 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 30000 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=sendonly
]]></send>
<recv response="100" optional="true"/>
<recv response="200"><action><ereg regexp="a=recvonly" search_in="body" check_it="true" assign_to="answer"/></action></recv>
<Reference variables="answer"/>"#;

    /// The other side's re-INVITE, its 200 and ACK.
    pub const REINVITE_COMES: &str = r#"
<recv request="INVITE"><action><ereg regexp="a=sendonly" search_in="body" check_it="true" assign_to="offer"/></action></recv>
<Reference variables="offer"/>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3863 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 30000 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=recvonly
]]></send>
<recv request="ACK"/>"#;
}

/// Steps of the side that is called.
pub mod gateway {
    /// The call comes; who calls whom is kept for requests of our own.
    pub const INVITE_COMES: &str = r#"
<recv request="INVITE" rrs="true"><action>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="them"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="us"/>
</action></recv>
<Reference variables="them,us"/>"#;

    /// 180.
    pub const RING: &str = r#"
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>"#;

    /// 200 with an answer, and its ACK.
    pub const ANSWER: &str = r#"
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3861 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 31000 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=ptime:20
]]></send>
<recv request="ACK"/>"#;

    /// The other side's BYE, and its 200.
    pub const BYE_COMES: &str = r#"
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

    /// BYE, and its 200.
    pub const BYE: &str = r#"
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: [$us];tag=g[call_number]
To: [$them]
Call-ID: [call_id]
CSeq: [cseq] BYE
Content-Length: 0

]]></send>
<recv response="200"/>"#;

    /// CANCEL with its 200, then 487 with its ACK.
    pub const CANCEL_COMES: &str = r#"
<recv request="CANCEL"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 CANCEL
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
SIP/2.0 487 Request Terminated
[last_Via:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
CSeq: 1 INVITE
Content-Length: 0

]]></send>
<recv request="ACK"/>"#;

    /// A failure with this status, and its ACK.
    pub fn refuse(status: u16) -> String {
        format!(
            r#"
<send retrans="500"><![CDATA[
SIP/2.0 {status} No
[last_Via:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
<recv request="ACK"/>"#
        )
    }

    /// A pause.
    pub fn pause(milliseconds: u32) -> String {
        format!(r#"<pause milliseconds="{milliseconds}"/>"#)
    }

    /// The other side's re-INVITE, its 200 and ACK.
    pub const REINVITE_COMES: &str = r#"
<recv request="INVITE"><action><ereg regexp="a=sendonly" search_in="body" check_it="true" assign_to="offer"/></action></recv>
<Reference variables="offer"/>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3862 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 31000 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=recvonly
]]></send>
<recv request="ACK"/>"#;

    /// Re-INVITE with a new offer (hold), its 200 and ACK.
    pub const REINVITE: &str = r#"
<send retrans="500"><![CDATA[
INVITE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: [$us];tag=g[call_number]
To: [$them]
Call-ID: [call_id]
CSeq: [cseq] INVITE
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 3861 3863 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 31000 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=sendonly
]]></send>
<recv response="100" optional="true"/>
<recv response="200"><action><ereg regexp="a=recvonly" search_in="body" check_it="true" assign_to="answer"/></action></recv>
<Reference variables="answer"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: [$us];tag=g[call_number]
To: [$them]
Call-ID: [call_id]
CSeq: [cseq] ACK
Content-Length: 0

]]></send>"#;
}

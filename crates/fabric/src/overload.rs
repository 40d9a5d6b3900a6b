//! Whether the node has more to do than it can, which share of new calls it takes then, and how it says so to
//! neighbours that ask (RFC 7339).
//!
//! Sans-I/O: the loop tells after each batch whether everything that waited has been handled. While something
//! always waits, the node is behind, and messages grow old in its queues; then a growing share of new INVITEs is
//! shed. Once it keeps up again the share shrinks, more slowly than it grew; in between it stays as it is. What a stall of
//! the machine has left waiting is worked off before anybody sends again (RFC 3261 §17.1.1.2: after 500 ms), and is no
//! overload. Strangers cost next to nothing and cannot be told to send less: where most of the work was theirs, shedding
//! members' calls would not help.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tandem_sip::{Message, Params, Scheme, Uri, Via};

/// How often the share is looked at. Something that waited all that time is overload.
const INTERVAL: Duration = Duration::from_millis(100);

/// Intervals in a row that the node may be behind before it sheds anything.
const PATIENCE: u32 = 2;

/// By how much the share grows in the first interval of overload; by as much more in each that follows on it.
const STEP_UP: u32 = 2;

/// By how much it shrinks in the first interval in which the node kept up; by as much more in each that follows.
const STEP_DOWN: u32 = 1;

/// Largest share: some calls always get through, and tell whether it is over.
const MAX_PERCENT: u32 = 95;

/// How long neighbours go by a share that they were told (RFC 7339 §4.3).
const VALIDITY_MS: u32 = 1_000;

/// What the loop has told, and what follows from it.
#[derive(Debug)]
pub(crate) struct Overload {
    percent: u32,
    /// Intervals of overload in a row, up to this one.
    overloaded: u32,
    /// Intervals in a row in which the node kept up, up to this one.
    kept_up: u32,
    /// Where the interval began; `None` before the first batch.
    interval: Option<Instant>,
    /// Since when something has always waited.
    behind_since: Option<Instant>,
    /// How long something waited in this interval.
    behind: Duration,
    /// How much waited when the last interval of overload ended.
    backlog: u64,
    last: Option<Instant>,
    /// Messages of known sources in this interval.
    known: u32,
    /// Messages of strangers in this interval.
    strangers: u32,
    /// The time that neighbours are told.
    told_at: DateTime<Utc>,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            percent: 0,
            overloaded: 0,
            kept_up: 0,
            interval: None,
            behind_since: None,
            behind: Duration::ZERO,
            backlog: 0,
            last: None,
            known: 0,
            strangers: 0,
            told_at: DateTime::UNIX_EPOCH,
        }
    }
}

impl Overload {
    /// A message came from someone who takes part.
    pub(crate) fn note_known(&mut self) {
        self.known = self.known.saturating_add(1);
    }

    /// A message came from someone else.
    pub(crate) fn note_stranger(&mut self) {
        self.strangers = self.strangers.saturating_add(1);
    }

    /// A batch has been handled; `is_drained` where nothing waits any more. How much waits, in whatever unit, is
    /// asked of `backlog` where it matters. Gives the share before and after.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        utc: DateTime<Utc>,
        is_drained: bool,
        backlog: impl FnOnce() -> u64,
    ) -> (u32, u32) {
        self.told_at = utc;
        if self.behind_since.is_some() {
            self.behind += self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        }
        self.last = Some(now);
        self.behind_since = match is_drained {
            true => None,
            false => self.behind_since.or(Some(now)),
        };
        let before = self.percent;
        let began = *self.interval.get_or_insert(now);
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= INTERVAL {
            let is_behind =
                self.behind_since.is_some_and(|since| now.saturating_duration_since(since) >= INTERVAL);
            if is_behind && self.known >= self.strangers {
                let before = std::mem::replace(&mut self.backlog, backlog());
                // A backlog that shrinks needs time, not a larger share.
                let is_shrinking = self.overloaded > 0 && self.backlog + self.backlog / 50 < before;
                self.overloaded += 1;
                self.kept_up = 0;
                let is_stall = self.percent == 0 && self.overloaded <= PATIENCE;
                if !is_shrinking && !is_stall {
                    self.percent = (self.percent + STEP_UP * self.overloaded).min(MAX_PERCENT);
                }
            } else if self.behind * 2 < elapsed {
                // After a rest several intervals are over at once; twenty are more than enough.
                for _ in 0..(elapsed.as_millis() / INTERVAL.as_millis()).min(20) {
                    (self.overloaded, self.kept_up) = (0, self.kept_up + 1);
                    self.percent = self.percent.saturating_sub(STEP_DOWN * self.kept_up);
                }
            } else {
                (self.overloaded, self.kept_up) = (0, 0);
            }
            self.interval = Some(now);
            self.behind = Duration::ZERO;
            (self.known, self.strangers) = (0, 0);
        }
        (before, self.percent)
    }

    /// Whether a new call is to be shed, by lot.
    pub(crate) fn sheds(&self, lot: u32) -> bool {
        lot % 100 < self.percent
    }

    /// Tells the neighbour how many per cent of its new calls it is to hold back, where the top Via of a response
    /// shows that its request asked (RFC 7339 §4, §5.1). Other responses stay as they are.
    pub(crate) fn stamp(&self, response: &mut Vec<u8>) {
        // It is the first header field of a response that the hub writes.
        const VIA: &[u8] = b"Via: ";
        let Some(line) = memchr::memchr(b'\n', response) else { return };
        let start = line + 1 + VIA.len();
        if !response[line + 1..].starts_with(VIA) {
            return;
        }
        let Some(len) = memchr::memchr(b'\r', &response[start..]) else { return };
        let value = &response[start..start + len];
        // Most neighbours do not ask: that is seen at a glance.
        if !memchr::memchr_iter(b'o', value).any(|at| value.get(at + 1) == Some(&b'c')) {
            return;
        }
        let Ok(via) = Via::parse(value) else { return };
        let asks = matches!(Params::find(via.params, b"oc"), Some(None));
        let algorithms = Params::find(via.params, b"oc-algo").flatten();
        let takes_loss = algorithms.is_none_or(|names| {
            let names = names.split(|octet| matches!(octet, b'"' | b',' | b' '));
            names.into_iter().any(|name| name.eq_ignore_ascii_case(b"loss"))
        });
        if !asks || !takes_loss {
            return;
        }
        let head = value.len() - via.params.len();
        let mut stamped =
            value[..head].trim_ascii_end().strip_suffix(b";").unwrap_or(&value[..head]).to_vec();
        for (name, param) in Params::new(via.params) {
            let is_ours = [&b"oc"[..], b"oc-algo", b"oc-validity", b"oc-seq"]
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours));
            if name.is_empty() || is_ours {
                continue;
            }
            stamped.push(b';');
            stamped.extend_from_slice(name);
            if let Some(param) = param {
                stamped.push(b'=');
                stamped.extend_from_slice(param);
            }
        }
        // Without overload the neighbour is told that it need hold nothing back (§4.3).
        let validity_ms = if self.percent == 0 { 0 } else { VALIDITY_MS };
        let told = format!(
            ";oc={};oc-algo=\"loss\";oc-validity={validity_ms};oc-seq={}.{:03}",
            self.percent,
            self.told_at.timestamp().max(0),
            self.told_at.timestamp_subsec_millis().min(999),
        );
        stamped.extend_from_slice(told.as_bytes());
        response.splice(start..start + len, stamped);
    }
}

/// Called numbers that are never shed.
#[derive(Clone, Debug, Default)]
pub(crate) struct EmergencyNumbers {
    /// Short numbers, as they are dialled.
    whole: Vec<String>,
    /// Leading digits of E.164 numbers.
    prefixes: Vec<String>,
}

impl EmergencyNumbers {
    /// Numbers such as `112`, which is the whole called number, and `+44999`, with which it begins.
    pub(crate) fn new(numbers: &[String]) -> Self {
        let mut this = Self::default();
        for number in numbers {
            match number.strip_prefix('+') {
                Some(prefix) => this.prefixes.push(prefix.to_owned()),
                None => this.whole.push(number.clone()),
            }
        }
        this
    }

    /// Whether an INVITE calls one of them, or an emergency service by its name (RFC 5031).
    pub(crate) fn are_called_by(&self, request: &Message<'_>) -> bool {
        const SERVICE: &[u8] = b"urn:service:sos";
        let Some(line) = request.request() else { return false };
        if line.uri.get(..SERVICE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SERVICE)) {
            return matches!(line.uri.get(SERVICE.len()), None | Some(b'.' | b';'));
        }
        let Ok(uri) = Uri::parse(line.uri) else { return false };
        let (Scheme::Sip | Scheme::Sips | Scheme::Tel, Some(number)) = (uri.scheme, uri.user_number()) else {
            return false;
        };
        let is_meant = |octet: &&u8| !matches!(octet, b'-' | b'.' | b'(' | b')');
        let same = |number: &[u8], digits: &str| number.iter().filter(is_meant).eq(digits.as_bytes());
        let begins = |number: &[u8], digits: &str| {
            number.iter().filter(is_meant).take(digits.len()).eq(digits.as_bytes())
        };
        match number.strip_prefix(b"+") {
            Some(digits) => self.prefixes.iter().any(|prefix| begins(digits, prefix)),
            None => {
                self.whole.iter().any(|whole| same(number, whole))
                    || self.prefixes.iter().any(|prefix| begins(number, prefix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    /// A node with a queue, in steps of a millisecond: what comes in, what it can do, what an INVITE costs it.
    struct Node {
        overload: Overload,
        now: Instant,
        /// Messages that wait; further ones are lost.
        queue: u32,
        lot: u32,
    }

    impl Node {
        const ROOM: u32 = 200;
        /// So many are handled at a time; if there are fewer, nothing waits.
        const BATCH: u64 = 8;
        /// Units of work in a millisecond: 1,000 calls a second, or 20,000 refusals.
        const WORK: u32 = 1_000;
        const CALL: u32 = 1_000;
        const REFUSAL: u32 = 50;

        fn new() -> Self {
            Self { overload: Overload::default(), now: origin(), queue: 0, lot: 0 }
        }

        /// Offers calls for a while; gives how many it took.
        fn offer(&mut self, calls_a_second: u32, length: Duration) -> u32 {
            let (mut taken, mut credit, mut work) = (0, 0, 0_i64);
            for _ in 0..length.as_millis() {
                self.now += Duration::from_millis(1);
                credit += calls_a_second;
                self.queue = (self.queue + credit / 1_000).min(Self::ROOM);
                credit %= 1_000;
                work = (work + i64::from(Self::WORK)).min(i64::from(Self::WORK));
                while self.queue > 0 && work > 0 {
                    self.queue -= 1;
                    self.overload.note_known();
                    self.lot = self.lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if self.overload.sheds(self.lot >> 8) {
                        work -= i64::from(Self::REFUSAL);
                    } else {
                        work -= i64::from(Self::CALL);
                        taken += 1;
                    }
                }
                let queue = u64::from(self.queue);
                self.overload.observe(self.now, DateTime::UNIX_EPOCH, queue < Self::BATCH, || queue);
            }
            taken
        }
    }

    #[test]
    fn at_its_capacity_and_below_a_node_sheds_nothing() {
        let mut node = Node::new();
        let taken = node.offer(900, Duration::from_secs(10));
        assert_eq!((taken, node.overload.percent), (9_000, 0));
    }

    #[test]
    fn goodput_holds_at_two_five_and_ten_times_the_capacity_and_it_recovers_in_five_seconds() {
        // Of 10,000 calls a second 9,000 refusals alone take 45 % of the node's time.
        for (times, least) in [(2, 850), (5, 700), (10, 450)] {
            let mut node = Node::new();
            node.offer(1_000 * times, Duration::from_secs(5));
            let taken = node.offer(1_000 * times, Duration::from_secs(20)) / 20;
            assert!((least..=1_000).contains(&taken), "{taken} calls a second at {times} times the capacity");
            assert!(node.overload.percent > 0);
            node.offer(500, Duration::from_secs(5));
            assert_eq!((node.overload.percent, node.queue), (0, 0), "after {times} times the capacity");
        }
    }

    #[test]
    fn a_burst_that_is_handled_at_once_is_no_overload() {
        let (mut overload, mut now) = (Overload::default(), origin());
        for _ in 0..100 {
            overload.note_known();
            now += Duration::from_millis(90);
            overload.observe(now, DateTime::UNIX_EPOCH, false, || 1);
            now += Duration::from_millis(5);
            overload.observe(now, DateTime::UNIX_EPOCH, true, || 0);
        }
        assert_eq!(overload.percent, 0);
        // Nor is the first batch after a long rest.
        overload.observe(now + Duration::from_secs(100), DateTime::UNIX_EPOCH, false, || 1);
        assert_eq!(overload.percent, 0);
    }

    #[test]
    fn what_a_stall_left_is_worked_off_without_shedding() {
        let (mut overload, mut now) = (Overload::default(), origin());
        for _ in 0..100 {
            for is_drained in [vec![false; 28], vec![true; 28]].concat() {
                overload.note_known();
                now += Duration::from_millis(10);
                overload.observe(now, DateTime::UNIX_EPOCH, is_drained, || 100);
                assert_eq!(overload.percent, 0);
            }
        }
        // What lasts is overload, though it grows no further.
        for _ in 0..50 {
            overload.note_known();
            now += Duration::from_millis(10);
            overload.observe(now, DateTime::UNIX_EPOCH, false, || 100);
        }
        assert!(overload.percent > 0);
    }

    #[test]
    fn a_flood_of_strangers_sheds_no_members_call() {
        let (mut overload, mut now) = (Overload::default(), origin());
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            overload.note_known();
            overload.note_stranger();
            overload.note_stranger();
            overload.observe(now, DateTime::UNIX_EPOCH, false, || 1);
        }
        assert_eq!(overload.percent, 0);
    }

    #[test]
    fn a_rest_ends_overload_at_once() {
        let mut node = Node::new();
        node.offer(10_000, Duration::from_secs(5));
        assert!(node.overload.percent > 50);
        for at in [node.now, node.now + Duration::from_secs(10)] {
            node.overload.observe(at, DateTime::UNIX_EPOCH, true, || 0);
        }
        assert_eq!(node.overload.percent, 0);
    }

    fn stamped(percent: u32, via: &str) -> String {
        let told_at = DateTime::from_timestamp_millis(1_282_321_615_782).unwrap();
        let overload = Overload { percent, told_at, ..Overload::default() };
        let mut response =
            format!("SIP/2.0 100 Trying\r\nVia: {via}\r\nVia: SIP/2.0/UDP b;oc\r\n\r\n").into_bytes();
        overload.stamp(&mut response);
        let text = String::from_utf8(response).unwrap();
        assert!(text.ends_with("\r\nVia: SIP/2.0/UDP b;oc\r\n\r\n"), "only the top one: {text}");
        text.lines().nth(1).unwrap().strip_prefix("Via: ").unwrap().to_owned()
    }

    #[test]
    fn a_neighbour_that_asks_is_told_how_much_to_hold_back() {
        assert_eq!(
            stamped(20, r#"SIP/2.0/TLS p1;branch=z9hG4bK1;oc;oc-algo="loss,rate";received=192.0.2.1"#),
            r#"SIP/2.0/TLS p1;branch=z9hG4bK1;received=192.0.2.1;oc=20;oc-algo="loss";oc-validity=1000;oc-seq=1282321615.782"#
        );
        assert_eq!(
            stamped(0, "SIP/2.0/UDP p1;oc"),
            r#"SIP/2.0/UDP p1;oc=0;oc-algo="loss";oc-validity=0;oc-seq=1282321615.782"#
        );
    }

    #[test]
    fn a_neighbour_that_does_not_ask_or_cannot_is_told_nothing() {
        for via in [
            "SIP/2.0/UDP p1;branch=z9hG4bKoc",
            "SIP/2.0/UDP oc.example;branch=z9hG4bK1",
            "SIP/2.0/UDP p1;oc=50;branch=z9hG4bK1",
            "SIP/2.0/UDP p1;oc;oc-algo=\"rate\"",
        ] {
            assert_eq!(stamped(20, via), via);
        }
    }

    #[test]
    fn emergency_numbers_are_known_by_the_whole_short_number_or_the_first_digits() {
        let numbers = EmergencyNumbers::new(&["112".into(), "911".into(), "+44999".into()]);
        for (uri, is_emergency) in [
            ("sip:112@h", true),
            ("sip:911;phone-context=+1@h;user=phone", true),
            ("tel:1-1-2", true),
            ("sip:+44999@h", true),
            ("sip:+44-999-1@h", true),
            ("sip:44999@h", true),
            ("urn:service:sos", true),
            ("URN:service:sos.fire", true),
            ("urn:service:sosial", false),
            ("urn:service:counseling", false),
            // Delhi, and a number that only begins like a short one.
            ("sip:+911126000000@h", false),
            ("sip:1124567890@h", false),
            ("sip:+112@h", false),
            ("sip:+442079460000@h", false),
            ("sip:h", false),
        ] {
            let invite = format!("INVITE {uri} SIP/2.0\r\n\r\n");
            let invite = Message::parse(invite.as_bytes()).unwrap();
            assert_eq!(numbers.are_called_by(&invite), is_emergency, "{uri}");
        }
    }
}

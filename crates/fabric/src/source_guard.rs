//! How much one source may send, asked before anything of it is read: token buckets, and bans for a while.
//!
//! A stranger, from whose address no endpoint sends, is never read and never answered. Here it is only decided
//! whether it is worth a glance, for the metrics and the log to name scanners; a stranger that sends on and on
//! is banned and gets none. Who is known gets a generous rate: above it new calls are refused without effort
//! and what is malformed is dropped, and dialogs go on.
//!
//! The tables have a fixed size: a flood from a million addresses makes them forget, never grow.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ahash::RandomState;

use crate::limit::Bucket;

/// Sources that a table remembers.
const SOURCES: usize = 16_384;

/// Places that a source may take in a table; of a full set the one that has been silent for longest is forgotten.
const WAYS: usize = 4;

/// Messages a second of one stranger; beyond them it is banned.
const STRANGER_MESSAGES_PER_SECOND: u32 = 20;

/// Glances a second at messages of all strangers together.
const GLANCES_PER_SECOND: u32 = 500;

/// How far into a message a glance goes.
const GLANCE: usize = 1_024;

/// How long a stranger is banned that sent too much.
const FLOOD_BAN: Duration = Duration::from_secs(60);

/// How long a stranger is banned that says it is a scanner.
const SCANNER_BAN: Duration = Duration::from_secs(3_600);

/// Messages a second of all strangers together that may be read because they name a realm of the exchange.
const INTRODUCTIONS_PER_SECOND: u32 = 2_000;

/// Challenges a second to strangers that have not shown that they receive at their address.
const CHALLENGES_PER_SECOND: u32 = 300;

/// Wrong passwords of one source after which it gets no answer for a while.
const GUESSES: u8 = 10;

/// How long wrong passwords are held against a source, from the first one on.
const GUESSES_LAST: Duration = Duration::from_secs(300);

/// Malformed messages of one source that are answered in a second: broken senders learn what is wrong, and a
/// forged source is no amplifier.
const MALFORMED_ANSWERS_PER_SECOND: u32 = 20;

/// What programs that search for victims call themselves, in lower case.
const SCANNERS: [&[u8]; 8] = [
    b"friendly-scanner",
    b"sipvicious",
    b"sipcli",
    b"sundayddr",
    b"vaxsipuseragent",
    b"pplsip",
    b"sip-scan",
    b"sipsak",
];

/// What became of a stranger's message. It is dropped in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It is one of few.
    Ignored,
    /// Its source is banned.
    Banned,
    /// Its source is banned from now on, for what it sent.
    BannedNow(Cause),
}

/// For what a source is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It sent too much.
    Flood,
    /// It says that it is a scanner.
    Scanner,
}

impl Cause {
    /// Both, for the metrics.
    pub(crate) const ALL: [Self; 2] = [Self::Flood, Self::Scanner];

    /// As a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Scanner => "scanner",
        }
    }
}

struct StrangerState {
    messages: Bucket,
    banned_until: Option<Instant>,
}

struct GuessState {
    wrong: u8,
    since: Instant,
}

struct KnownState {
    messages: Bucket,
    malformed: Bucket,
}

/// The sources that have sent lately.
pub(crate) struct SourceGuard {
    /// Most messages a second of one known source.
    messages_per_second: u32,
    known: Table<KnownState>,
    strangers: Table<StrangerState>,
    guesses: Table<GuessState>,
    glances: Option<Bucket>,
    introductions: Option<Bucket>,
    challenges: Option<Bucket>,
}

impl SourceGuard {
    /// Nobody yet; `seeds` keep outsiders from choosing addresses that push others out.
    pub(crate) fn new(messages_per_second: u32, seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        let random = RandomState::with_seeds(a, b, c, d);
        Self {
            messages_per_second,
            known: Table::new(random.clone()),
            strangers: Table::new(random.clone()),
            guesses: Table::new(random),
            glances: None,
            introductions: None,
            challenges: None,
        }
    }

    /// Takes note of a message of a stranger.
    pub(crate) fn stranger(&mut self, ip: IpAddr, octets: &[u8], now: Instant) -> Stranger {
        let state = self.strangers.get(ip, now, || StrangerState {
            messages: Bucket::new(STRANGER_MESSAGES_PER_SECOND, now),
            banned_until: None,
        });
        if state.banned_until.is_some_and(|until| now < until) {
            return Stranger::Banned;
        }
        if !state.messages.take(STRANGER_MESSAGES_PER_SECOND, now) {
            state.banned_until = Some(now + FLOOD_BAN);
            return Stranger::BannedNow(Cause::Flood);
        }
        let glances = self.glances.get_or_insert_with(|| Bucket::new(GLANCES_PER_SECOND, now));
        if glances.take(GLANCES_PER_SECOND, now) && is_scanner(octets) {
            state.banned_until = Some(now + SCANNER_BAN);
            return Stranger::BannedNow(Cause::Scanner);
        }
        Stranger::Ignored
    }

    /// Whether one more message of a stranger that names a realm of the exchange is read.
    pub(crate) fn reads_introduction(&mut self, now: Instant) -> bool {
        let bucket = self.introductions.get_or_insert_with(|| Bucket::new(INTRODUCTIONS_PER_SECOND, now));
        bucket.take(INTRODUCTIONS_PER_SECOND, now)
    }

    /// Whether one more stranger is asked who it is.
    pub(crate) fn challenges_stranger(&mut self, now: Instant) -> bool {
        let bucket = self.challenges.get_or_insert_with(|| Bucket::new(CHALLENGES_PER_SECOND, now));
        bucket.take(CHALLENGES_PER_SECOND, now)
    }

    /// A source gave a wrong user name or password.
    pub(crate) fn note_guess(&mut self, ip: IpAddr, now: Instant) {
        let state = self.guesses(ip, now);
        state.wrong = state.wrong.saturating_add(1);
    }

    /// Whether a source has given so many of them that it is not listened to.
    pub(crate) fn guesses_too_often(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.guesses(ip, now).wrong >= GUESSES
    }

    fn guesses(&mut self, ip: IpAddr, now: Instant) -> &mut GuessState {
        let state = self.guesses.get(ip, now, || GuessState { wrong: 0, since: now });
        if state.wrong == 0 || now.saturating_duration_since(state.since) >= GUESSES_LAST {
            *state = GuessState { wrong: 0, since: now };
        }
        state
    }

    /// Whether a known source keeps within its rate with one message more.
    pub(crate) fn is_within_rate(&mut self, ip: IpAddr, now: Instant) -> bool {
        let rate = self.messages_per_second;
        self.known(ip, now).messages.take(rate, now)
    }

    /// Whether one more malformed message of a known source is answered.
    pub(crate) fn answers_malformed(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.known(ip, now).malformed.take(MALFORMED_ANSWERS_PER_SECOND, now)
    }

    fn known(&mut self, ip: IpAddr, now: Instant) -> &mut KnownState {
        let rate = self.messages_per_second;
        self.known.get(ip, now, || KnownState {
            messages: Bucket::new(rate, now),
            malformed: Bucket::new(MALFORMED_ANSWERS_PER_SECOND, now),
        })
    }
}

/// Whether the first octets of a message have the name of a scanner in them.
fn is_scanner(octets: &[u8]) -> bool {
    let start = &octets[..octets.len().min(GLANCE)];
    SCANNERS.iter().any(|name| start.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name)))
}

struct Slot<T> {
    key: u64,
    used_at: Instant,
    state: T,
}

/// What is known of the last [`SOURCES`] sources.
struct Table<T> {
    random: RandomState,
    slots: Box<[Option<Slot<T>>]>,
}

impl<T> Table<T> {
    fn new(random: RandomState) -> Self {
        Self { random, slots: (0..SOURCES).map(|_| None).collect() }
    }

    /// The state of a source; a new one where it is unknown.
    fn get(&mut self, ip: IpAddr, now: Instant, new: impl FnOnce() -> T) -> &mut T {
        let key = key(ip);
        let set = self.random.hash_one(key) as usize % (SOURCES / WAYS) * WAYS;
        let set = &mut self.slots[set..set + WAYS];
        let at = set.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.key == key));
        let at = at.unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|&at| set[at].as_ref().map(|slot| slot.used_at));
            let at = oldest.expect("a set has places");
            set[at] = Some(Slot { key, used_at: now, state: new() });
            at
        });
        let slot = set[at].as_mut().expect("it was found or filled");
        slot.used_at = now;
        &mut slot.state
    }
}

/// A source: an IPv4 address, or the /64 of IPv6 that one customer line has.
fn key(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        // No IPv6 source begins with ffff.
        IpAddr::V4(ip) => 0xffff << 48 | u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    fn guard() -> SourceGuard {
        SourceGuard::new(100, [1, 2, 3, 4])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_stranger_that_sends_too_much_is_banned_for_a_minute() {
        let (mut guard, now) = (guard(), origin());
        let seen: Vec<_> = (0..30).map(|_| guard.stranger(ip("203.0.113.9"), b"x", now)).collect();
        assert_eq!(seen[19], Stranger::Ignored);
        assert_eq!(seen[20], Stranger::BannedNow(Cause::Flood));
        assert!(seen[21..].iter().all(|seen| *seen == Stranger::Banned));
        let mut later = |s| guard.stranger(ip("203.0.113.9"), b"x", now + Duration::from_secs(s));
        assert_eq!((later(59), later(60)), (Stranger::Banned, Stranger::Ignored));
        assert_eq!(guard.stranger(ip("203.0.113.10"), b"x", now), Stranger::Ignored, "another one");
    }

    #[test]
    fn a_scanner_is_banned_by_its_first_message() {
        for (octets, verdict) in [
            (
                &b"OPTIONS sip:h SIP/2.0\r\nUser-Agent: Friendly-Scanner\r\n"[..],
                Stranger::BannedNow(Cause::Scanner),
            ),
            (
                b"REGISTER sip:h SIP/2.0\r\nUser-Agent: VaxSIPUserAgent/3.1\r\n",
                Stranger::BannedNow(Cause::Scanner),
            ),
            (b"OPTIONS sip:h SIP/2.0\r\nUser-Agent: PBX\r\n", Stranger::Ignored),
            (b"", Stranger::Ignored),
        ] {
            assert_eq!(guard().stranger(ip("203.0.113.9"), octets, origin()), verdict);
        }
        let far = [&[b' '; GLANCE][..], b"sipvicious"].concat();
        assert_eq!(guard().stranger(ip("203.0.113.9"), &far, origin()), Stranger::Ignored);
    }

    #[test]
    fn glances_at_strangers_are_bounded_for_all_of_them_together() {
        let (mut guard, now) = (guard(), origin());
        let banned = (0..10_000_u32).filter(|n| {
            let ip = IpAddr::V4((0x0a00_0000 + n).into());
            guard.stranger(ip, b"sipcli", now) == Stranger::BannedNow(Cause::Scanner)
        });
        assert_eq!(banned.count() as u32, GLANCES_PER_SECOND);
    }

    #[test]
    fn a_known_source_has_its_rate_whatever_strangers_do() {
        let (mut guard, now) = (guard(), origin());
        let within = |guard: &mut SourceGuard, at| {
            (0..1_000).filter(|_| guard.is_within_rate(ip("192.0.2.1"), at)).count()
        };
        assert_eq!(within(&mut guard, now), 100);
        for n in 0..100_000_u32 {
            guard.stranger(IpAddr::V4((0x0a00_0000 + n).into()), b"x", now);
        }
        assert_eq!(within(&mut guard, now), 0);
        assert_eq!(within(&mut guard, now + Duration::from_millis(500)), 50);
    }

    #[test]
    fn malformed_messages_of_one_source_are_answered_only_in_part() {
        let (mut guard, now) = (guard(), origin());
        let answered = (0..1_000).filter(|_| guard.answers_malformed(ip("192.0.2.1"), now)).count() as u32;
        assert_eq!(answered, MALFORMED_ANSWERS_PER_SECOND);
        assert!(guard.answers_malformed(ip("192.0.2.2"), now));
    }

    #[test]
    fn a_source_that_guesses_passwords_is_not_listened_to_for_five_minutes() {
        let (mut guard, now) = (guard(), origin());
        for n in 0..GUESSES {
            assert!(!guard.guesses_too_often(ip("203.0.113.9"), now), "{n}");
            guard.note_guess(ip("203.0.113.9"), now + Duration::from_secs(n.into()));
        }
        let mut at = |address, s| guard.guesses_too_often(ip(address), now + Duration::from_secs(s));
        assert!(at("203.0.113.9", 9) && at("203.0.113.9", 299) && !at("203.0.113.10", 299));
        assert!(!at("203.0.113.9", 300));
    }

    #[test]
    fn a_flood_from_many_addresses_makes_the_table_forget_and_not_grow() {
        let (mut guard, now) = (guard(), origin());
        for n in 0..100_000_u32 {
            guard.stranger(IpAddr::V4((0x0a00_0000 + n).into()), b"x", now + Duration::from_micros(n.into()));
        }
        assert_eq!(guard.strangers.slots.len(), SOURCES);
        // One that goes on sending in the midst of it stays banned.
        for n in 0..100_000_u32 {
            let now = now + Duration::from_secs(1) + Duration::from_micros(n.into());
            guard.stranger(IpAddr::V4((0x0b00_0000 + n).into()), b"x", now);
            if n % 1_000 < 30 {
                guard.stranger(ip("203.0.113.9"), b"x", now);
            }
        }
        let at = now + Duration::from_millis(1_100);
        assert_eq!(guard.stranger(ip("203.0.113.9"), b"x", at), Stranger::Banned);
    }

    #[test]
    fn the_addresses_of_one_ipv6_line_are_one_source() {
        assert_eq!(key(ip("2001:db8::1")), key(ip("2001:db8::ffff")));
        assert_ne!(key(ip("2001:db8::1")), key(ip("2001:db8:0:1::1")));
        assert_eq!(key(ip("::ffff:192.0.2.1")), key(ip("192.0.2.1")));
        assert_ne!(key(ip("192.0.2.1")), key(ip("192.0.2.2")));
    }
}

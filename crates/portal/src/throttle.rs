//! Slows down who tries again and again: log-ins per account and per address, applications per address.
//!
//! A few attempts are free; each further one must wait twice as long as the one before, up to a minute. An
//! attempt counts when it begins, so that many at once do not slip through, and is forgiven when it succeeds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a key is remembered after its last attempt.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// Most keys that are remembered.
const MAX_KEYS: usize = 20_000;

/// Whose attempts are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Log-ins to one account, whether or not it exists.
    Account([u8; 32]),
    /// Log-ins from one address, or one IPv6 network of 64 bits.
    Address(IpAddr),
    /// Applications to join from one address.
    Join(IpAddr),
}

impl Key {
    /// Log-ins from the address.
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// Applications from the address.
    pub(crate) fn join(address: IpAddr) -> Self {
        Self::Join(network(address))
    }

    /// Attempts that need not wait.
    fn free(&self) -> u32 {
        match self {
            Self::Account(_) => 5,
            Self::Address(_) => 20,
            Self::Join(_) => 5,
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        },
    }
}

#[derive(Clone, Copy)]
struct Attempts {
    count: u32,
    last: Instant,
    next: Instant,
}

/// The attempts of the last minutes.
#[derive(Default)]
pub(crate) struct Throttle {
    attempts: Mutex<HashMap<Key, Attempts>>,
}

impl Throttle {
    /// Counts an attempt for each key, or says how long to wait; then it counts for none.
    pub(crate) fn attempt(&self, keys: &[Key], now: Instant) -> Result<(), Duration> {
        let mut attempts = self.attempts.lock().expect("nothing panics while it holds the attempts");
        let wait =
            keys.iter().filter_map(|key| attempts.get(key)).map(|it| it.next.saturating_duration_since(now));
        if let Some(wait) = wait.max().filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        for key in keys {
            if attempts.len() >= MAX_KEYS && !attempts.contains_key(key) {
                make_room(&mut attempts, now);
            }
            let it = attempts.entry(key.clone()).or_insert(Attempts { count: 0, last: now, next: now });
            if now.saturating_duration_since(it.last) > REMEMBERED {
                it.count = 0;
            }
            it.count = it.count.saturating_add(1);
            it.last = now;
            it.next = now + pause(it.count, key.free());
        }
        Ok(())
    }

    /// Takes back an attempt that succeeded, and forgets the failures of an account.
    pub(crate) fn forgive(&self, keys: &[Key], now: Instant) {
        let mut attempts = self.attempts.lock().expect("nothing panics while it holds the attempts");
        for key in keys {
            match key {
                Key::Account(_) => {
                    attempts.remove(key);
                }
                Key::Address(_) | Key::Join(_) => {
                    if let Some(it) = attempts.get_mut(key) {
                        it.count = it.count.saturating_sub(1);
                        it.next = now;
                    }
                }
            }
        }
    }
}

/// The pause after the attempt that is number `count`, when `free` need none.
fn pause(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << over.min(6)).min(LONGEST_WAIT),
    }
}

fn make_room(attempts: &mut HashMap<Key, Attempts>, now: Instant) {
    attempts.retain(|_, it| now.saturating_duration_since(it.last) <= REMEMBERED);
    if attempts.len() >= MAX_KEYS {
        // Whoever fills the memory loses its own oldest traces first: half of what is there goes.
        let mut ages: Vec<Instant> = attempts.values().map(|it| it.last).collect();
        ages.sort_unstable();
        let median = ages[ages.len() / 2];
        attempts.retain(|_, it| it.last > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_model::Clock;
    use tandem_testkit::ManualClock;

    fn fails(throttle: &Throttle, key: &Key, now: Instant) -> Option<u64> {
        throttle.attempt(std::slice::from_ref(key), now).err().map(|wait| wait.as_secs())
    }

    #[test]
    fn five_attempts_are_free_and_each_further_one_waits_twice_as_long() {
        let (throttle, clock, key) = (Throttle::default(), ManualClock::new(), Key::Account([0; 32]));
        for _ in 0..5 {
            assert_eq!(fails(&throttle, &key, clock.instant()), None);
        }
        for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(fails(&throttle, &key, clock.instant()), Some(wait_s));
            clock.advance(Duration::from_secs(wait_s));
            assert_eq!(fails(&throttle, &key, clock.instant()), None);
        }
    }

    #[test]
    fn success_forgives_an_account_and_a_quiet_quarter_of_an_hour_forgets_it() {
        let (throttle, clock, key) = (Throttle::default(), ManualClock::new(), Key::Account([0; 32]));
        for _ in 0..5 {
            assert_eq!(fails(&throttle, &key, clock.instant()), None);
        }
        throttle.forgive(std::slice::from_ref(&key), clock.instant());
        assert_eq!(fails(&throttle, &key, clock.instant()), None);
        clock.advance(REMEMBERED + Duration::from_secs(1));
        for _ in 0..5 {
            assert_eq!(fails(&throttle, &key, clock.instant()), None);
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), ManualClock::new().instant());
        assert_eq!(
            Key::address("2001:db8::1".parse().unwrap()),
            Key::address("2001:db8::2".parse().unwrap())
        );
        for octets in 0..2 * MAX_KEYS as u32 {
            assert_eq!(fails(&throttle, &Key::address(IpAddr::V4(octets.into())), now), None);
        }
        assert!(throttle.attempts.lock().unwrap().len() <= MAX_KEYS);
    }
}

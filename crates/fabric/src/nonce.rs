//! The nonces of the hub's challenges: made without keeping anything, and good for one address, for five minutes,
//! and once for each count (RFC 7616 §3.3, §5.4, §5.12).
//!
//! A nonce says when it was made and has a keyed hash over that and over the address that it was made for, so a
//! flood of requests leaves nothing behind, and an answer proves that its sender receives at that address. Only
//! counts of right answers are kept.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How long a nonce is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// Nonces whose counts are kept, in each of two generations.
const MAX_COUNTED: usize = 16_384;

/// Octets of a nonce before they are written as text: seconds, a number of its own, the keyed hash.
const OCTETS: usize = 4 + 8 + 12;

/// What is wrong with the nonce of a right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is too old, another node's, or was made for another address.
    Stale,
    /// It was answered with this count before.
    Replayed,
}

/// The nonces of one node, for all its workers.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 32],
    /// Times in nonces count from here, so that a step of the wall clock ages none.
    origin: Instant,
    counts: Mutex<Counts>,
}

impl Nonces {
    /// Nonces that only who knows `key` can make.
    pub(crate) fn new(key: [u8; 32], origin: Instant) -> Self {
        let (current, previous) = (AHashMap::new(), AHashMap::new());
        let counts = Counts { current, previous, forgotten_until: None, rotated_at: origin };
        Self { key, origin, counts: Mutex::new(counts) }
    }

    /// A nonce for whoever sends from `source`; `number` is another one each time.
    pub(crate) fn make(&self, source: IpAddr, number: u64, now: Instant) -> String {
        let made_s = now.saturating_duration_since(self.origin).as_secs() as u32;
        let mut octets = [0; OCTETS];
        octets[..4].copy_from_slice(&made_s.to_be_bytes());
        octets[4..12].copy_from_slice(&number.to_be_bytes());
        let seal = self.seal(&octets[..12], source);
        octets[12..].copy_from_slice(&seal);
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Whether the hub made the nonce for whoever sends from `source`, however long ago.
    pub(crate) fn is_own(&self, nonce: &[u8], source: IpAddr) -> bool {
        self.read(nonce, source).is_some()
    }

    /// Takes note that a right answer came to the nonce.
    pub(crate) fn take(&self, nonce: &[u8], count: u32, source: IpAddr, now: Instant) -> Result<(), Unfit> {
        let (made_at, number) = self.read(nonce, source).ok_or(Unfit::Stale)?;
        if now.saturating_duration_since(made_at) >= LIFETIME {
            return Err(Unfit::Stale);
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).take(number, made_at, count, now)
    }

    fn read(&self, nonce: &[u8], source: IpAddr) -> Option<(Instant, u64)> {
        if nonce.len() != 2 * OCTETS || !nonce.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let text = std::str::from_utf8(nonce).ok()?;
        let octets: [u8; OCTETS] = std::array::from_fn(|at| {
            u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("they are digits")
        });
        let is_own: bool = self.seal(&octets[..12], source).ct_eq(&octets[12..]).into();
        let made_s = u32::from_be_bytes(octets[..4].try_into().expect("four octets"));
        let number = u64::from_be_bytes(octets[4..12].try_into().expect("eight octets"));
        is_own.then_some((self.origin + Duration::from_secs(made_s.into()), number))
    }

    fn seal(&self, made: &[u8], source: IpAddr) -> [u8; 12] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key has any length");
        mac.update(made);
        match source.to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        let seal = mac.finalize().into_bytes();
        std::array::from_fn(|at| seal[at])
    }
}

/// Which counts of which nonces were used: the highest, and which of the 64 up to it, for those that overtake.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    highest: u32,
    below: u64,
}

impl Used {
    fn take(&mut self, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if count > self.highest {
            let shift = count - self.highest;
            self.below = if shift < 64 { self.below << shift } else { 0 };
            self.below |= 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let is_new = behind < 64 && self.below & 1 << behind == 0;
        if is_new {
            self.below |= 1 << behind;
        }
        is_new
    }
}

/// The counts of nonces in two generations: those used since the last rotation and those used before it. A nonce
/// that was made before both of them is good no more, so none is ever forgotten that could be replayed.
#[derive(Debug)]
struct Counts {
    current: AHashMap<u64, Used>,
    previous: AHashMap<u64, Used>,
    forgotten_until: Option<Instant>,
    rotated_at: Instant,
}

impl Counts {
    fn take(&mut self, number: u64, made_at: Instant, count: u32, now: Instant) -> Result<(), Unfit> {
        if now.saturating_duration_since(self.rotated_at) >= LIFETIME || self.current.len() >= MAX_COUNTED {
            self.previous = std::mem::take(&mut self.current);
            (self.forgotten_until, self.rotated_at) = (Some(self.rotated_at), now);
        }
        // What was made in the second of a rotation may have been forgotten, too: nonces have whole seconds.
        if self.forgotten_until.is_some_and(|until| made_at <= until) {
            return Err(Unfit::Stale);
        }
        let known = self.previous.remove(&number);
        let used = self.current.entry(number).or_insert_with(|| known.unwrap_or_default());
        if used.take(count) { Ok(()) } else { Err(Unfit::Replayed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_nonce_is_good_once_for_each_count_in_whatever_order_they_come() {
        let now = origin();
        let nonces = Nonces::new([7; 32], now);
        let nonce = nonces.make(HERE, 1, now);
        let take = |count| nonces.take(nonce.as_bytes(), count, HERE, now);
        for count in [1, 2, 5, 3, 70, 69, 7] {
            assert_eq!(take(count), Ok(()), "{count}");
            assert_eq!(take(count), Err(Unfit::Replayed), "{count} again");
        }
        assert_eq!(take(0), Err(Unfit::Replayed));
        assert_eq!(take(6), Err(Unfit::Replayed), "more than 64 behind the highest");
        assert_eq!(take(u32::MAX), Ok(()));
        assert_eq!(take(71), Err(Unfit::Replayed));
    }

    #[test]
    fn a_nonce_is_good_for_five_minutes() {
        let now = origin();
        let nonces = Nonces::new([7; 32], now);
        let nonce = nonces.make(HERE, 1, now);
        let at = |s| nonces.take(nonce.as_bytes(), s, HERE, now + Duration::from_secs(s.into()));
        assert_eq!((at(1), at(299), at(300)), (Ok(()), Ok(()), Err(Unfit::Stale)));
        assert!(nonces.is_own(nonce.as_bytes(), HERE));
    }

    #[test]
    fn a_nonce_is_of_no_use_from_elsewhere_at_another_node_or_changed() {
        let now = origin();
        let nonces = Nonces::new([7; 32], now);
        let nonce = nonces.make(HERE, 1, now);
        let elsewhere = "192.0.2.2".parse().unwrap();
        assert_eq!(nonces.take(nonce.as_bytes(), 1, elsewhere, now), Err(Unfit::Stale));
        assert_eq!(Nonces::new([8; 32], now).take(nonce.as_bytes(), 1, HERE, now), Err(Unfit::Stale));
        for at in 0..nonce.len() {
            let mut other = nonce.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(nonces.take(&other, 1, HERE, now), Err(Unfit::Stale), "octet {at}");
        }
        for bad in ["", "00", &"é".repeat(24), &"g".repeat(48), &"0".repeat(48)] {
            assert!(!nonces.is_own(bad.as_bytes(), HERE), "{bad}");
        }
        // The same address as IPv6 writes it is the same address.
        assert_eq!(nonces.take(nonce.as_bytes(), 1, "::ffff:192.0.2.1".parse().unwrap(), now), Ok(()));
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_forgotten_can_be_replayed() {
        let start = origin();
        let nonces = Nonces::new([7; 32], start);
        let mut now = start;
        let mut made = Vec::new();
        for number in 0..3 * MAX_COUNTED as u64 {
            now += Duration::from_millis(1);
            let nonce = nonces.make(HERE, number, now);
            assert_eq!(nonces.take(nonce.as_bytes(), 1, HERE, now), Ok(()));
            made.push(nonce);
        }
        for nonce in made.iter().step_by(100) {
            assert_ne!(nonces.take(nonce.as_bytes(), 1, HERE, now), Ok(()));
        }
        let counts = nonces.counts.lock().unwrap();
        assert!(counts.current.len() + counts.previous.len() <= 2 * MAX_COUNTED);
    }
}

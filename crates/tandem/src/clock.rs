//! Time and randomness of the machine: the one place that reads them. Everything else takes them as arguments.

use std::time::Instant;

use chrono::{DateTime, Utc};
use rand::rngs::SysRng;
use rand::{Rng, TryRng};
use tandem_model::Clock;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A seed from the operating system's source of randomness.
pub fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).expect("the operating system gives random octets");
    seed
}

/// A secret for people: `octets` random octets in letters and digits that are not mistaken for each other.
pub fn secret(rng: &mut impl Rng, letters: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut octets = vec![0; letters];
    rng.fill_bytes(&mut octets);
    octets.into_iter().map(|octet| char::from(LETTERS[usize::from(octet % 32)])).collect()
}

//! Time and randomness of the machine: the one place that reads them. Everything else takes them as arguments.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use rand::TryRng;
use rand::rngs::SysRng;
use tandem_model::Clock;
use tandem_portal::Entropy;

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

/// The same source, for whoever asks often.
pub fn entropy() -> Entropy {
    Arc::new(|octets| SysRng.try_fill_bytes(octets).expect("the operating system gives random octets"))
}

//! How long the timers of a transaction run: RFC 3261 §17 and its table 4, L and M by RFC 6026.

use std::time::Duration;

/// Round-trip estimate that every retransmission timer starts from (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);

/// Longest interval between retransmissions of a non-INVITE request and of a response to INVITE.
pub const T2: Duration = Duration::from_secs(4);

/// Longest time that a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);

/// A timer of RFC 3261 §17, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Retransmission of an INVITE.
    A,
    /// Time-out of an INVITE without any response.
    B,
    /// Wait for retransmitted final responses to INVITE, other than 2xx.
    D,
    /// Retransmission of a non-INVITE request.
    E,
    /// Time-out of a non-INVITE request.
    F,
    /// Retransmission of a final response to INVITE, other than 2xx.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted responses to a non-INVITE request.
    K,
    /// Wait for retransmitted INVITEs after a 2xx (RFC 6026 §8.7).
    L,
    /// Wait for retransmitted and forked 2xx (RFC 6026 §8.4).
    M,
}

impl Timer {
    /// Every timer.
    pub const ALL: [Timer; 12] = [
        Timer::A,
        Timer::B,
        Timer::D,
        Timer::E,
        Timer::F,
        Timer::G,
        Timer::H,
        Timer::I,
        Timer::J,
        Timer::K,
        Timer::L,
        Timer::M,
    ];

    /// How long the timer runs when it is started after it fired `already_fired` times.
    ///
    /// `None`: not used on this transport (A, E and G where it is reliable). Zero: what it waits for cannot
    /// come, so it fires at once (D, I, J and K where the transport is reliable).
    pub fn delay(self, reliable: bool, already_fired: u32) -> Option<Duration> {
        match self {
            Timer::A if reliable => None,
            Timer::A => Some(doubled(already_fired)),
            Timer::E | Timer::G if reliable => None,
            Timer::E | Timer::G => Some(doubled(already_fired).min(T2)),
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M => Some(64 * T1),
            Timer::D | Timer::I | Timer::J | Timer::K if reliable => Some(Duration::ZERO),
            // At least 32 s (§17.1.1.2): as long as the server retransmits.
            Timer::D | Timer::J => Some(64 * T1),
            Timer::I | Timer::K => Some(T4),
        }
    }

    /// [`Timer::delay`] in the Proceeding state, where E runs for T2 (RFC 3261 §17.1.2.2).
    pub fn delay_in_proceeding(self, reliable: bool, already_fired: u32) -> Option<Duration> {
        match self {
            Timer::E if !reliable => Some(T2),
            _ => self.delay(reliable, already_fired),
        }
    }
}

/// T1 doubled so many times; it stops growing far beyond any time-out.
fn doubled(times: u32) -> Duration {
    T1 * (1 << times.min(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays_ms(timer: Timer, count: u32) -> Vec<u128> {
        (0..count).map(|fired| timer.delay(false, fired).unwrap().as_millis()).collect()
    }

    #[test]
    fn timer_a_doubles_without_end() {
        assert_eq!(delays_ms(Timer::A, 7), [500, 1000, 2000, 4000, 8000, 16000, 32000]);
        assert!(Timer::A.delay(false, u32::MAX).is_some());
    }

    #[test]
    fn timers_e_and_g_double_up_to_t2() {
        assert_eq!(delays_ms(Timer::E, 6), [500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(delays_ms(Timer::G, 6), [500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    fn timer_e_runs_for_t2_once_a_provisional_response_came() {
        assert_eq!(Timer::E.delay_in_proceeding(false, 0), Some(T2));
        assert_eq!(Timer::E.delay_in_proceeding(true, 0), None);
        assert_eq!(Timer::F.delay_in_proceeding(false, 0), Some(64 * T1));
    }

    #[test]
    fn a_reliable_transport_needs_no_retransmission_and_no_wait_for_one() {
        for timer in [Timer::A, Timer::E, Timer::G] {
            assert_eq!(timer.delay(true, 0), None, "{timer:?}");
        }
        for timer in [Timer::D, Timer::I, Timer::J, Timer::K] {
            assert_eq!(timer.delay(true, 0), Some(Duration::ZERO), "{timer:?}");
        }
    }

    #[test]
    fn time_outs_and_waits_are_those_of_table_4() {
        let seconds = |timer: Timer, reliable| timer.delay(reliable, 0).unwrap().as_secs();
        for timer in [Timer::B, Timer::F, Timer::H, Timer::L, Timer::M] {
            assert_eq!((seconds(timer, false), seconds(timer, true)), (32, 32), "{timer:?}");
        }
        assert_eq!(
            [Timer::D, Timer::I, Timer::J, Timer::K].map(|timer| seconds(timer, false)),
            [32, 5, 32, 5]
        );
    }
}

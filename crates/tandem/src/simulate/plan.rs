//! What a simulated call is to do: drawn before it is placed, followed by both ends, and held against what
//! came of it.

use std::time::Duration;

use rand::{Rng, RngExt};
use tandem_model::E164;

use super::provider::{Endpoints, Provider, have_agreement};

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Index of the member that calls, and of the one that is called.
    pub(crate) caller: usize,
    pub(crate) callee: usize,
    /// The calling number.
    pub(crate) calling: E164,
    /// The called number.
    pub(crate) called: E164,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// What becomes of a call. Times count from the INVITE, at the end that acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is picked up.
    Answered {
        /// When it rings.
        ring: Duration,
        /// When it is picked up.
        answer: Duration,
        /// From then until one side hangs up.
        talk: Duration,
        /// Who hangs up.
        hangs_up: Side,
        /// Whether the endpoint that is asked first has no room.
        overloaded: bool,
    },
    /// 486.
    Busy {
        /// When it is said.
        refuse: Duration,
    },
    /// 603.
    Rejected {
        /// When it rings.
        ring: Duration,
        /// When the called party says no.
        refuse: Duration,
    },
    /// It rings until the caller gives up.
    Unanswered {
        /// When it rings.
        ring: Duration,
        /// When the caller gives up.
        give_up: Duration,
    },
    /// It rings until the called switch gives up: 480.
    Unattended {
        /// When it rings.
        ring: Duration,
        /// When the called switch gives up.
        refuse: Duration,
    },
    /// The caller gives up before it rings.
    Withdrawn {
        /// When the caller gives up.
        give_up: Duration,
    },
    /// The two members have no agreement: the hub refuses.
    Barred,
    /// Nobody announces the number: the hub refuses.
    Unassigned,
}

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The calling party.
    Caller,
    /// The called party.
    Callee,
}

impl Fate {
    /// The final status that the caller must see.
    pub(crate) fn expected_status(&self) -> u16 {
        match self {
            Self::Answered { .. } => 200,
            Self::Busy { .. } => 486,
            Self::Rejected { .. } => 603,
            Self::Unattended { .. } => 480,
            Self::Unanswered { .. } | Self::Withdrawn { .. } => 487,
            Self::Barred => 403,
            Self::Unassigned => 404,
        }
    }

    /// When the callee sends its first response above 100, where it sends one.
    pub(crate) fn first_response(&self) -> Option<Duration> {
        match self {
            Self::Answered { ring, .. }
            | Self::Rejected { ring, .. }
            | Self::Unanswered { ring, .. }
            | Self::Unattended { ring, .. } => Some(*ring),
            Self::Busy { refuse } => Some(*refuse),
            Self::Barred | Self::Unassigned => Some(Duration::ZERO),
            Self::Withdrawn { .. } => None,
        }
    }

    /// The word for it in the statistics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Busy { .. } => "busy",
            Self::Rejected { .. } => "rejected",
            Self::Unanswered { .. } | Self::Unattended { .. } => "no answer",
            Self::Withdrawn { .. } => "cancelled",
            Self::Barred | Self::Unassigned => "refused",
        }
    }
}

/// Draws the next call between two of `providers`.
pub(crate) fn draw(providers: &[Provider], rng: &mut impl Rng) -> Plan {
    let caller = rng.random_range(0..providers.len());
    let other = rng.random_range(0..providers.len() - 1);
    let callee = if other >= caller { other + 1 } else { other };
    let calling = providers[caller].number(rng.random());
    let called = providers[callee].number(rng.random());
    if rng.random_bool(0.01) {
        let called = providers[callee].unassigned();
        return Plan { caller, callee, calling, called, fate: Fate::Unassigned };
    }
    if !have_agreement(caller, callee, providers.len()) {
        return Plan { caller, callee, calling, called, fate: Fate::Barred };
    }
    let has_two = matches!(providers[callee].endpoints, Endpoints::Shared | Endpoints::Spare);
    let ring = seconds(rng.random_range(0.05..0.6));
    let fate = match rng.random_range(0..100) {
        0..75 => Fate::Answered {
            ring,
            answer: ring + seconds(log_normal(3.0, 0.6, rng).clamp(0.2, 12.0)),
            talk: seconds(log_normal(14.0, 0.9, rng).clamp(1.0, 120.0)),
            hangs_up: if rng.random_bool(0.6) { Side::Caller } else { Side::Callee },
            overloaded: has_two && rng.random_bool(0.05),
        },
        75..83 => Fate::Busy { refuse: ring },
        83..88 => Fate::Unattended { ring, refuse: ring + seconds(rng.random_range(6.0..15.0)) },
        88..92 => Fate::Unanswered { ring, give_up: ring + seconds(rng.random_range(6.0..15.0)) },
        92..96 => Fate::Rejected { ring, refuse: ring + seconds(rng.random_range(0.5..5.0)) },
        _ => Fate::Withdrawn { give_up: seconds(rng.random_range(0.0..0.5)) },
    };
    Plan { caller, callee, calling, called, fate }
}

/// Time until the next call of a Poisson process of `calls_per_second`.
pub(crate) fn gap(calls_per_second: f64, rng: &mut impl Rng) -> Duration {
    let uniform: f64 = rng.random();
    seconds(-(1.0 - uniform).ln() / calls_per_second)
}

/// A draw from the log-normal distribution with this median, by Box and Muller.
fn log_normal(median: f64, sigma: f64, rng: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    median * (sigma * normal).exp()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::simulate::provider::providers;

    #[test]
    fn three_in_four_calls_under_an_agreement_are_answered() {
        let mut rng = StdRng::seed_from_u64(1);
        let providers = providers(5);
        let plans: Vec<Plan> = (0..10_000).map(|_| draw(&providers, &mut rng)).collect();
        let count = |word: &str| plans.iter().filter(|plan| plan.fate.word() == word).count();
        let admitted = plans.len() - count("refused");
        let share = count("answered") as f64 / admitted as f64;
        assert!((0.73..0.77).contains(&share), "{share}");
        assert!(
            ["busy", "rejected", "no answer", "cancelled", "refused"].iter().all(|word| count(word) > 100)
        );
    }

    #[test]
    fn calls_arrive_at_the_rate_that_was_asked_for() {
        let mut rng = StdRng::seed_from_u64(2);
        let total: Duration = (0..10_000).map(|_| gap(20.0, &mut rng)).sum();
        assert!((475.0..525.0).contains(&total.as_secs_f64()), "{total:?}");
    }
}

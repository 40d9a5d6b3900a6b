//! Whether one endpoint is fit to be given calls: a circuit breaker fed by probes and by what becomes of calls.
//!
//! Pure: signs and the time come in, the state and when to look again come out. [`step`] is the breaker itself, as one
//! table; [`Health`] decides which signs count. What must be sent, and who reads the state, is up to
//! [`watch`](crate::watch).

use std::time::{Duration, Instant};

use tandem_model::{EndpointState, HealthSign, ProbePolicy};

/// Steps of the share that an endpoint takes while it ramps up; after the last it takes all.
const STEPS: u8 = 4;

/// Between a bad sign and the probe that is to confirm it, and between the good ones that bring an endpoint back.
const SOON: Duration = Duration::from_secs(1);

/// Between two probes of an endpoint that is down or ramping up, at most.
const WATCHFUL: Duration = Duration::from_secs(10);

/// A failed call says nothing of an endpoint that has taken another one so shortly before: it is busy, not dead.
const WELL_FOR: Duration = Duration::from_secs(1);

/// An endpoint that goes down again within this time after it came back is unsteady: each time it needs twice as many
/// good signs, up to eight times as many.
const UNSTEADY_FOR: Duration = Duration::from_secs(300);
const MOST_RELAPSES: u8 = 3;

/// Where an endpoint stands, with how many signs in a row speak for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing good has been heard of it yet.
    Unknown {
        bad: u8,
    },
    Up {
        bad: u8,
    },
    /// It takes a part of its calls, the larger the step.
    Ramping {
        step: u8,
        bad: u8,
    },
    Down {
        good: u8,
    },
}

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Good,
    Bad,
    /// The present step of the ramp has lasted as long as it does.
    Passed,
}

/// How many signs it takes, and how many steps a ramp has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) fall: u8,
    pub(crate) rise: u8,
    pub(crate) steps: u8,
}

/// The circuit breaker.
pub(crate) fn step(state: State, event: Event, counts: Counts) -> State {
    use {Event::*, State::*};
    let Counts { fall, rise, steps } = counts;
    match (state, event) {
        (Unknown { .. } | Up { .. }, Good) => Up { bad: 0 },
        (Unknown { bad }, Bad) if bad + 1 < fall => Unknown { bad: bad + 1 },
        (Up { bad }, Bad) if bad + 1 < fall => Up { bad: bad + 1 },
        (Ramping { step, bad }, Bad) if bad + 1 < fall => Ramping { step, bad: bad + 1 },
        (Unknown { .. } | Up { .. } | Ramping { .. }, Bad) => Down { good: 0 },
        (Down { .. }, Bad) => Down { good: 0 },
        (Down { good }, Good) if good + 1 < rise => Down { good: good + 1 },
        (Down { .. }, Good) if steps == 0 => Up { bad: 0 },
        (Down { .. }, Good) => Ramping { step: 1, bad: 0 },
        (Ramping { step, .. }, Good) => Ramping { step, bad: 0 },
        (Ramping { step, bad }, Passed) if step < steps => Ramping { step: step + 1, bad },
        (Ramping { bad, .. }, Passed) => Up { bad },
        // A ramp that was cut short has left its deadline.
        (Unknown { .. } | Up { .. } | Down { .. }, Passed) => state,
    }
}

impl State {
    /// As members see it.
    pub(crate) fn shown(self) -> EndpointState {
        match self {
            Self::Unknown { .. } => EndpointState::Unknown,
            Self::Up { .. } => EndpointState::Up,
            Self::Ramping { .. } => EndpointState::Ramping,
            Self::Down { .. } => EndpointState::Down,
        }
    }

    /// Per cent of its calls that it takes.
    pub(crate) fn share(self) -> u8 {
        match self {
            Self::Unknown { .. } | Self::Up { .. } => 100,
            Self::Ramping { step, .. } => 100 / (STEPS + 1) * step,
            Self::Down { .. } => 0,
        }
    }

    /// Whether nothing speaks against it, so that another good sign would change nothing.
    pub(crate) fn is_steady(self) -> bool {
        self == Self::Up { bad: 0 }
    }
}

/// One endpoint's health.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    state: State,
    /// When anything good was heard last.
    good_at: Option<Instant>,
    /// When it came back from being down last.
    back_at: Option<Instant>,
    relapses: u8,
    /// Whether it has ever answered a probe.
    answers_probes: bool,
    /// Whether the last call that says anything got through.
    takes_calls: bool,
    /// Bad signs since the last good one.
    bad_in_a_row: u32,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Unknown { bad: 0 },
            good_at: None,
            back_at: None,
            relapses: 0,
            answers_probes: false,
            takes_calls: false,
            bad_in_a_row: 0,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Bad signs since the last good one: of two endpoints that are down, the one with fewer is the better bet.
    pub(crate) fn bad_in_a_row(&self) -> u32 {
        self.bad_in_a_row
    }

    /// Whether probes tell anything of it: it has answered one. Otherwise only a call can tell that it is back.
    pub(crate) fn answers_probes(&self) -> bool {
        self.answers_probes
    }

    /// When anything good was heard last.
    pub(crate) fn good_at(&self) -> Option<Instant> {
        self.good_at
    }

    /// A call got through while no good sign was waited for.
    pub(crate) fn call_got_through(&mut self, at: Instant) {
        if self.good_at.is_none_or(|good_at| good_at < at) {
            (self.good_at, self.takes_calls) = (Some(at), true);
        }
    }

    /// Takes a sign; `since` is when that which failed began.
    ///
    /// A failed call counts only where no other has got through since it began, or a second before now. Silence of
    /// probes does not count against an endpoint that has never answered one and whose last call got through.
    pub(crate) fn note(&mut self, now: Instant, sign: HealthSign, since: Instant, policy: &ProbePolicy) {
        let event = match sign {
            HealthSign::ProbeAnswered => {
                (self.good_at, self.answers_probes) = (Some(now), true);
                Event::Good
            }
            HealthSign::CallTaken => {
                (self.good_at, self.takes_calls) = (Some(now), true);
                Event::Good
            }
            HealthSign::ProbeUnanswered if !self.answers_probes && self.takes_calls => return,
            HealthSign::ProbeUnanswered | HealthSign::ProbeRefused => Event::Bad,
            HealthSign::CallUnanswered | HealthSign::CallRefused => {
                if self.good_at.is_some_and(|good_at| good_at >= since || now < good_at + WELL_FOR) {
                    return;
                }
                self.takes_calls = false;
                Event::Bad
            }
            HealthSign::TimePassed => Event::Passed,
            // It says how long, not how well: the hold is kept beside the state.
            HealthSign::RetryAfter => return,
        };
        match event {
            Event::Good => self.bad_in_a_row = 0,
            Event::Bad => self.bad_in_a_row = self.bad_in_a_row.saturating_add(1),
            Event::Passed => {}
        }
        let steps = if policy.ramp_s == 0 { 0 } else { STEPS };
        let rise = policy.rise.saturating_mul(1 << self.relapses);
        let was_down = self.state.share() == 0;
        self.state = step(self.state, event, Counts { fall: policy.fall, rise, steps });
        match (was_down, self.state.share() == 0) {
            (true, false) => self.back_at = Some(now),
            (false, true) => {
                let is_relapse = self.back_at.is_some_and(|back_at| now < back_at + UNSTEADY_FOR);
                self.relapses = if is_relapse { (self.relapses + 1).min(MOST_RELAPSES) } else { 0 };
            }
            (true, true) | (false, false) => {}
        }
    }

    /// How long to wait with the next probe; `draw` spreads them by a tenth either way.
    pub(crate) fn until_next_probe(&self, policy: &ProbePolicy, draw: u32) -> Duration {
        let interval = Duration::from_secs(policy.interval_s.max(1).into());
        let wait = match self.state {
            State::Unknown { bad: 0 } | State::Up { bad: 0 } => interval,
            State::Unknown { .. } | State::Up { .. } => SOON,
            State::Ramping { bad: 0, .. } | State::Down { good: 0 } => WATCHFUL,
            State::Ramping { .. } | State::Down { .. } => SOON,
        };
        let wait = wait.min(interval);
        wait * 9 / 10 + wait * (draw % 1_024) / 1_024 / 5
    }

    /// How long the present step of the ramp lasts; `None` where there is no ramp.
    pub(crate) fn step_lasts(&self, policy: &ProbePolicy) -> Option<Duration> {
        match self.state {
            State::Ramping { .. } => Some(Duration::from_secs(policy.ramp_s.into()) / u32::from(STEPS)),
            State::Unknown { .. } | State::Up { .. } | State::Down { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COUNTS: Counts = Counts { fall: 3, rise: 2, steps: 4 };

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_breaker_moves_as_its_table_says() {
        use {Event::*, State::*};
        let table = [
            (Unknown { bad: 0 }, Good, Up { bad: 0 }),
            (Unknown { bad: 0 }, Bad, Unknown { bad: 1 }),
            (Unknown { bad: 2 }, Bad, Down { good: 0 }),
            (Unknown { bad: 2 }, Good, Up { bad: 0 }),
            (Unknown { bad: 1 }, Passed, Unknown { bad: 1 }),
            (Up { bad: 0 }, Bad, Up { bad: 1 }),
            (Up { bad: 1 }, Bad, Up { bad: 2 }),
            (Up { bad: 2 }, Bad, Down { good: 0 }),
            (Up { bad: 2 }, Good, Up { bad: 0 }),
            (Up { bad: 1 }, Passed, Up { bad: 1 }),
            (Down { good: 0 }, Good, Down { good: 1 }),
            (Down { good: 1 }, Bad, Down { good: 0 }),
            (Down { good: 1 }, Good, Ramping { step: 1, bad: 0 }),
            (Down { good: 1 }, Passed, Down { good: 1 }),
            (Ramping { step: 1, bad: 2 }, Good, Ramping { step: 1, bad: 0 }),
            (Ramping { step: 1, bad: 1 }, Bad, Ramping { step: 1, bad: 2 }),
            (Ramping { step: 1, bad: 2 }, Bad, Down { good: 0 }),
            (Ramping { step: 1, bad: 1 }, Passed, Ramping { step: 2, bad: 1 }),
            (Ramping { step: 4, bad: 1 }, Passed, Up { bad: 1 }),
        ];
        for (state, event, next) in table {
            assert_eq!(step(state, event, COUNTS), next, "{state:?} {event:?}");
        }
        let at_once = Counts { steps: 0, ..COUNTS };
        assert_eq!(step(Down { good: 1 }, Good, at_once), Up { bad: 0 });
    }

    #[test]
    fn the_share_grows_with_each_step() {
        let shares: Vec<u8> = (1..=STEPS).map(|step| State::Ramping { step, bad: 0 }.share()).collect();
        assert_eq!(shares, [20, 40, 60, 80]);
    }

    proptest! {
        #[test]
        fn who_was_down_is_never_up_without_as_many_good_signs_in_a_row_as_it_takes(
            events in prop::collection::vec(prop_oneof![Just(Event::Good), Just(Event::Bad), Just(Event::Passed)], 0..200),
            fall in 1..6_u8, rise in 1..6_u8, steps in 0..4_u8,
        ) {
            let counts = Counts { fall, rise, steps };
            let (mut state, mut good, mut bad) = (State::Unknown { bad: 0 }, 0, 0);
            for event in events {
                let next = step(state, event, counts);
                match event {
                    Event::Good => (good, bad) = (good + 1, 0),
                    Event::Bad => (good, bad) = (0, bad + 1),
                    Event::Passed => {}
                }
                match (state.share() == 0, next.share() == 0) {
                    (true, false) => prop_assert!(good >= rise, "{state:?} {next:?}"),
                    (false, true) => prop_assert!(bad >= fall, "{state:?} {next:?}"),
                    _ => {}
                }
                if state.share() < 100 {
                    prop_assert!(next.share() < 100 || event == Event::Passed || steps == 0);
                    prop_assert!(next.shown() != EndpointState::Unknown);
                }
                state = next;
            }
        }
    }

    /// An endpoint under the usual policy, told what happens second by second.
    struct Watched {
        health: Health,
        now: Instant,
    }

    impl Watched {
        fn new() -> Self {
            Self { health: Health::new(), now: origin() }
        }

        /// Signs of things that began when they are heard, two seconds apart.
        fn hear(&mut self, signs: &[HealthSign]) -> EndpointState {
            for &sign in signs {
                self.now += Duration::from_secs(2);
                self.health.note(self.now, sign, self.now, &ProbePolicy::default());
            }
            self.health.state().shown()
        }
    }

    use HealthSign::{CallTaken, CallUnanswered, ProbeAnswered, ProbeUnanswered};

    #[test]
    fn an_endpoint_that_takes_calls_and_drops_options_is_not_down_for_its_silence() {
        let mut it = Watched::new();
        assert_eq!(it.hear(&[CallTaken]), EndpointState::Up);
        assert_eq!(it.hear(&[ProbeUnanswered; 100]), EndpointState::Up);
        // Once a call has failed too, silence confirms it.
        assert_eq!(it.hear(&[CallUnanswered, ProbeUnanswered, ProbeUnanswered]), EndpointState::Down);
        // And two calls bring it back.
        assert_eq!(it.hear(&[CallTaken, CallTaken]), EndpointState::Ramping);
    }

    #[test]
    fn an_endpoint_that_has_answered_a_probe_is_down_when_it_answers_no_more_though_calls_got_through() {
        let mut it = Watched::new();
        assert_eq!(it.hear(&[ProbeAnswered, CallTaken]), EndpointState::Up);
        assert_eq!(it.hear(&[ProbeUnanswered; 2]), EndpointState::Up);
        assert_eq!(it.hear(&[ProbeUnanswered]), EndpointState::Down);
    }

    #[test]
    fn an_endpoint_of_which_nothing_was_ever_heard_is_down_after_its_third_unanswered_probe() {
        let mut it = Watched::new();
        assert_eq!(it.hear(&[ProbeUnanswered; 2]), EndpointState::Unknown);
        assert_eq!(it.hear(&[ProbeUnanswered]), EndpointState::Down);
    }

    #[test]
    fn calls_that_failed_before_one_got_through_do_not_count() {
        let mut it = Watched::new();
        let began = it.now;
        it.hear(&[CallTaken]);
        for _ in 0..10 {
            it.now += Duration::from_secs(2);
            it.health.note(it.now, CallUnanswered, began, &ProbePolicy::default());
        }
        assert_eq!(it.health.state(), State::Up { bad: 0 });
    }

    #[test]
    fn an_endpoint_that_refuses_some_calls_and_takes_others_meanwhile_is_busy_and_not_down() {
        let mut it = Watched::new();
        for n in 0..1_000 {
            it.now += Duration::from_millis(10);
            let sign = if n % 10 == 0 { CallTaken } else { HealthSign::CallRefused };
            it.health.note(it.now, sign, it.now, &ProbePolicy::default());
        }
        assert_eq!(it.health.state().shown(), EndpointState::Up);
        for _ in 0..200 {
            it.now += Duration::from_millis(10);
            it.health.note(it.now, HealthSign::CallRefused, it.now, &ProbePolicy::default());
        }
        assert_eq!(it.health.state().shown(), EndpointState::Down);
    }

    #[test]
    fn who_relapses_needs_twice_as_many_good_signs_each_time_up_to_eight_times() {
        let mut it = Watched::new();
        for needed in [2, 4, 8, 16, 16] {
            assert_eq!(it.hear(&[ProbeUnanswered; 3]), EndpointState::Down);
            assert_eq!(it.hear(&vec![ProbeAnswered; needed - 1]), EndpointState::Down, "{needed}");
            assert_eq!(it.hear(&[ProbeAnswered]), EndpointState::Ramping, "{needed}");
        }
        it.now += UNSTEADY_FOR;
        assert_eq!(it.hear(&[ProbeUnanswered; 3]), EndpointState::Down);
        assert_eq!(it.hear(&[ProbeAnswered; 2]), EndpointState::Ramping, "it was steady for long enough");
    }

    #[test]
    fn probes_are_an_interval_apart_and_close_together_where_something_is_to_be_confirmed() {
        let policy = ProbePolicy::default();
        let mut it = Watched::new();
        let wait = |it: &Watched, draw| it.health.until_next_probe(&policy, draw);
        assert_eq!(wait(&it, 0), Duration::from_secs(27));
        assert!(wait(&it, 1_023) < Duration::from_secs(33) && wait(&it, 1_023) > Duration::from_secs(32));
        it.hear(&[ProbeUnanswered]);
        assert_eq!(wait(&it, 512), SOON);
        it.hear(&[ProbeUnanswered; 2]);
        assert_eq!(wait(&it, 512), WATCHFUL);
        it.hear(&[ProbeAnswered]);
        assert_eq!(wait(&it, 512), SOON);
    }
}

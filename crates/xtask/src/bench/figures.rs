//! The figures that were measured, by system, and what is said of them.

use std::collections::HashMap;

use super::fabric::{FLOOR, FURTHER_RATE, GOAL_RATE, MANY};
use super::hub;
use super::kamailio::Variant;
use super::report::{Goal, Line, Values, table};
use super::transport::Transport;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Figure {
    /// CPU per call at a rate.
    Program(Transport, u32),
    WithDatabase(Transport, u32),
    /// In percent, as [`Figure::BadInCrowd`].
    Bad(Transport, u32),
    SetupP50(Transport),
    SetupP99(Transport),
    HighestRate,
    FinishedOctets,
    NewOctets,
    HeldOctets,
    Alone,
    Crowded,
    BadInCrowd,
}

/// Most that a figure of the hub may be, by that of an older one.
const BEFORE: Goal = Goal::RatioAtMost(1.05);

const WITH_CDR: &[Variant] = &[Variant::Cdr, Variant::CdrAsync];
const WITHOUT_CDR: &[Variant] = &[Variant::Lean];

/// All of them.
#[derive(Default)]
pub(crate) struct Figures(HashMap<(Figure, &'static str), Values>);

impl Figures {
    pub(crate) fn note(&mut self, figure: Figure, system: &'static str, value: f64) {
        self.0.entry((figure, system)).or_default().0.push(value);
    }

    fn of(&self, figure: Figure, system: &'static str) -> Values {
        self.0.get(&(figure, system)).cloned().unwrap_or_default()
    }

    fn is_any_of(&self, system: &str) -> bool {
        self.0.keys().any(|(_, name)| *name == system)
    }

    /// The hub's figure and that of the better of some systems, where both are there.
    fn compare(
        &self,
        figure: Figure,
        systems: &[Variant],
        goal: Option<Goal>,
    ) -> Option<(f64, f64, Option<Goal>)> {
        let found = systems.iter().filter_map(|variant| self.of(figure, variant.name()).median());
        let better = if matches!(goal, Some(Goal::RatioAtLeast(_))) { f64::max } else { f64::min };
        // A goal of the hub's own needs no other.
        let other = found.reduce(better).or(matches!(goal, Some(Goal::AtMost(_))).then_some(f64::NAN))?;
        Some((self.of(figure, hub::NOW.name).median()?, other, goal))
    }

    /// The table of every system, and where there is an older hub, the hub beside it.
    pub(crate) fn report(&self) -> String {
        let is_before = self.is_any_of(hub::BEFORE.name);
        let mut columns = vec![hub::NOW.name];
        columns.extend(is_before.then_some(hub::BEFORE.name));
        columns.extend(Variant::ALL.map(Variant::name));
        columns.push(FLOOR);
        let mut lines = Vec::new();
        let mut line = |text: String, figure, systems: &[Variant], goal| {
            let values: Vec<Values> = columns.iter().map(|&name| self.of(figure, name)).collect();
            if values.iter().any(|values| !values.0.is_empty()) {
                lines.push(Line { figure: text, values, verdict: self.compare(figure, systems, goal) });
            }
        };
        let udp = Transport::Udp;
        for rate in [GOAL_RATE, 2 * GOAL_RATE] {
            let goal = |most| (rate == GOAL_RATE).then_some(Goal::RatioAtMost(most));
            let at = format!("at {rate} calls/s");
            line(program(&at), Figure::Program(udp, rate), WITHOUT_CDR, goal(0.5));
            line(with_postgres(&at), Figure::WithDatabase(udp, rate), WITH_CDR, goal(0.33));
            line(format!("bad calls %, {at}"), Figure::Bad(udp, rate), WITHOUT_CDR, None);
        }
        let goal = Some(Goal::RatioAtLeast(3.0));
        line("calls/s at most, one core".into(), Figure::HighestRate, WITH_CDR, goal);
        let at = format!("added, at {GOAL_RATE} calls/s");
        line(setup("p50", &at), Figure::SetupP50(udp), WITHOUT_CDR, None);
        line(setup("p99", &at), Figure::SetupP99(udp), WITHOUT_CDR, Some(Goal::RatioAtMost(1.0)));
        for transport in Transport::STREAMS {
            let at = over(transport);
            line(program(&at), Figure::Program(transport, GOAL_RATE), WITHOUT_CDR, None);
            line(with_postgres(&at), Figure::WithDatabase(transport, GOAL_RATE), WITH_CDR, None);
            line(format!("bad calls %, {at}"), Figure::Bad(transport, GOAL_RATE), WITHOUT_CDR, None);
            line(setup("p50", &at), Figure::SetupP50(transport), WITHOUT_CDR, None);
            line(setup("p99", &at), Figure::SetupP99(transport), WITHOUT_CDR, None);
        }
        let most = |octets| Some(Goal::AtMost(octets));
        line("octets per held call, its INVITE done".into(), Figure::HeldOctets, WITH_CDR, most(2_800.0));
        line("octets per held call, INVITE timers running".into(), Figure::NewOctets, WITH_CDR, None);
        line(
            "octets per finished call, timers running".into(),
            Figure::FinishedOctets,
            WITH_CDR,
            most(4_096.0),
        );
        let rate = FURTHER_RATE;
        line(format!("CPU us/call at {rate} calls/s, few up"), Figure::Alone, WITHOUT_CDR, None);
        line(format!("CPU us/call at {rate} calls/s, {MANY} up"), Figure::Crowded, WITHOUT_CDR, None);
        line(format!("bad calls %, {MANY} up"), Figure::BadInCrowd, WITHOUT_CDR, None);
        let slower = |name| {
            let values = self.of(Figure::Crowded, name).median().zip(self.of(Figure::Alone, name).median());
            Values(values.map(|(crowded, alone)| crowded / alone).into_iter().collect())
        };
        if let Some(own) = slower(hub::NOW.name).median() {
            let other = slower(Variant::Lean.name()).median().unwrap_or(f64::NAN);
            lines.push(Line {
                figure: format!("slower with {MANY} up, times"),
                values: columns.iter().map(|&name| slower(name)).collect(),
                verdict: Some((own, other, Some(Goal::AtMost(1.1)))),
            });
        }
        let mut text = table(&columns, "Kamailio", &lines);
        if is_before {
            text.push('\n');
            text.push_str(&self.beside_before());
        }
        text
    }

    /// The hub beside the older one: what a call takes of the CPU, and how long.
    fn beside_before(&self) -> String {
        let columns = [hub::NOW.name, hub::BEFORE.name];
        let mut lines = Vec::new();
        let mut line = |text: String, figure| {
            let values = columns.map(|name| self.of(figure, name));
            if let [Some(now), Some(before)] = [values[0].median(), values[1].median()] {
                let verdict = Some((now, before, Some(BEFORE)));
                lines.push(Line { figure: text, values: values.into(), verdict });
            }
        };
        for transport in Transport::ALL {
            for rate in [GOAL_RATE, 2 * GOAL_RATE] {
                let at = format!("over {transport} at {rate} calls/s");
                line(program(&at), Figure::Program(transport, rate));
                line(with_postgres(&at), Figure::WithDatabase(transport, rate));
            }
            line(setup("p99", &over(transport)), Figure::SetupP99(transport));
        }
        table(&columns, "before", &lines)
    }
}

fn over(transport: Transport) -> String {
    format!("over {transport} at {GOAL_RATE} calls/s")
}

fn program(at: &str) -> String {
    format!("CPU us/call {at}, program")
}

fn with_postgres(at: &str) -> String {
    format!("CPU us/call {at}, with Postgres")
}

fn setup(share: &str, at: &str) -> String {
    format!("INVITE to 180 {share} us {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_is_set_beside_the_better_kamailio_and_an_older_hub_where_there_is_one() {
        let mut figures = Figures::default();
        let with_database = Figure::WithDatabase(Transport::Udp, GOAL_RATE);
        for (system, us) in [("hub", 106.0), ("kamailio, CDR", 500.0), ("kamailio, CDR async", 400.0)] {
            figures.note(with_database, system, us);
        }
        let report = figures.report();
        assert!(report.contains("0.27x") && report.contains("<= 0.33x, reached"), "{report}");
        assert!(!report.contains("before"), "{report}");
        figures.note(with_database, "hub, before", 100.0);
        let report = figures.report();
        assert!(report.contains("hub / before") && report.contains("1.06x"), "{report}");
        assert!(report.contains("<= 1.05x, NOT reached"), "{report}");
    }
}

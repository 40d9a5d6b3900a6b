//! Random calls over a network that loses, repeats and reorders: after each run nothing is left of them.
//!
//! `TANDEM_SEEDS=17` runs one seed again, `TANDEM_SEEDS=0..100000` many; `cargo xtask sim` does that with
//! optimised code.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::agent::{Agent, Millis};
use super::*;

/// Seeds of an ordinary test run.
const USUAL: std::ops::Range<u64> = 0..300;

const MEMBERS: [&str; 3] = [ACME, GLOBEX, GLOBEX_2];

/// When it arrives, which in order it was sent, from, to, and the message.
type UnderWay = (Millis, u64, &'static str, String, String);

struct World {
    sim: Simulation,
    start: std::time::Instant,
    rng: StdRng,
    agents: HashMap<(&'static str, String), Agent>,
    /// In the order in which they began: a map has none that replays alike.
    order: Vec<(&'static str, String)>,
    network: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
    /// Whether to print what arrives.
    is_shown: bool,
    loss: u32,
    repeats: u32,
    jitter: u64,
    /// Callers whose INVITE reached the hub.
    reached: HashSet<String>,
    /// Callers to whom the hub sent a 2xx to their INVITE.
    answered: HashSet<String>,
    /// Whether the handling of one message or deadline panics.
    has_fault: bool,
}

impl World {
    fn new(seed: u64, is_shown: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let sim = Simulation::with_workers([1, 1, 2, 5][rng.random_range(0..4)]);
        Self {
            start: sim.now.instant,
            sim,
            agents: HashMap::new(),
            order: Vec::new(),
            network: BinaryHeap::new(),
            sent: 0,
            is_shown,
            loss: [0, 0, 5, 10, 20, 30][rng.random_range(0..6)],
            repeats: [0, 5, 20][rng.random_range(0..3)],
            jitter: [1, 30, 400][rng.random_range(0..3)],
            reached: HashSet::new(),
            answered: HashSet::new(),
            has_fault: false,
            rng,
        }
    }

    /// Lets the handling of a call fail at some moment.
    fn with_fault(mut self) -> Self {
        let worker = self.rng.random_range(0..=self.sim.others.len());
        let worker = self.sim.workers().nth(worker).unwrap();
        worker.fault_in = Some(self.rng.random_range(1..60));
        self.has_fault = true;
        self
    }

    fn now(&self) -> Millis {
        (self.sim.now.instant - self.start).as_millis() as Millis
    }

    fn post(&mut self, from: &'static str, to: &str, message: String) {
        if self.rng.random_range(0..100) < self.loss {
            return;
        }
        let copies = 1 + u64::from(self.rng.random_range(0..100) < self.repeats);
        for _ in 0..copies {
            let at = self.now() + 1 + self.rng.random_range(0..=self.jitter);
            self.sent += 1;
            self.network.push(Reverse((at, self.sent, from, to.to_owned(), message.clone())));
        }
    }

    /// What the hub has to send goes into the network.
    fn collect(&mut self) {
        self.sim.flush();
        for (to, message) in std::mem::take(&mut self.sim.sent) {
            assert!(MEMBERS.contains(&&*to), "to a stranger, {to}: {message}");
            if kind(&message).starts_with('2') && field(&message, "CSeq") == "1 INVITE" {
                self.answered.insert(field(&message, "Call-ID").to_owned());
            }
            self.post(HUB, &to, message);
        }
    }

    #[allow(clippy::print_stderr)] // A single seed is run to be looked at.
    fn deliver(&mut self, from: &'static str, to: &str, message: &str) {
        let now = self.now();
        if self.is_shown {
            let line = message.lines().next().unwrap();
            let (cseq, id) = (field(message, "CSeq"), field(message, "Call-ID"));
            eprintln!("{now:7} ms {from} -> {to} {id} {line} ({cseq}) {}", field(message, "To"));
        }
        if to == HUB {
            if message.starts_with("INVITE") && !field(message, "To").contains(";tag=") {
                self.reached.insert(field(message, "Call-ID").to_owned());
            }
            self.sim.receiver = self.rng.random_range(0..=self.sim.others.len());
            self.sim.receive(from, message);
            return self.collect();
        }
        let address = MEMBERS.into_iter().find(|member| *member == to).unwrap();
        let id = (address, field(message, "Call-ID").to_owned());
        let mut out = Vec::new();
        if !self.agents.contains_key(&id) {
            assert!(message.starts_with("INVITE"), "about a call that never was: {message}");
            let agent = Agent::callee(address, message, now, &mut self.rng);
            self.order.push(id);
            self.agents.insert(self.order.last().unwrap().clone(), agent);
        } else {
            self.agents.get_mut(&id).unwrap().receive(now, message, &mut self.rng, &mut out);
        }
        for message in out {
            self.post(address, HUB, message);
        }
    }

    fn run(&mut self) {
        let calls = self.rng.random_range(1..4);
        for n in 0..calls {
            let mut out = Vec::new();
            let number = format!("+44207946000{}", self.rng.random_range(0..2));
            let now = self.now();
            let agent = Agent::caller(n, ACME, &number, now, &mut self.rng, &mut out);
            self.order.push((ACME, agent.call_id.clone()));
            self.agents.insert(self.order.last().unwrap().clone(), agent);
            for message in out {
                self.post(ACME, HUB, message);
            }
            if self.rng.random_range(0..3) == 0 {
                let pause = self.rng.random_range(0..20_000);
                self.run_until(now + pause);
            }
        }
        self.run_until(Millis::MAX);
    }

    /// Lets happen what happens until then.
    fn run_until(&mut self, end: Millis) {
        for steps in 0.. {
            assert!(steps < 50_000, "it never ends");
            let hub = self.sim.next_deadline();
            let hub =
                hub.map(|at| at.saturating_duration_since(self.start).as_micros().div_ceil(1000) as Millis);
            let network = self.network.peek().map(|Reverse(first)| first.0);
            let agent = self.order.iter().filter_map(|id| self.agents[id].next()).min();
            if network.is_none() && agent.is_none() && self.sim.is_quiet() {
                break;
            }
            let Some(at) = [hub, network, agent].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            let at = at.max(self.now());
            self.sim.set_instant(self.start + Duration::from_millis(at));
            if hub.is_some_and(|due| due <= at) {
                self.sim.fire_due();
                self.collect();
            }
            while let Some(Reverse(first)) = self.network.peek()
                && first.0 <= at
            {
                let Reverse((_, _, from, to, message)) = self.network.pop().unwrap();
                self.deliver(from, &to, &message);
            }
            for id in self.order.clone() {
                let agent = self.agents.get_mut(&id).unwrap();
                if agent.next().is_some_and(|due| due <= at) {
                    let mut out = Vec::new();
                    agent.wake(at, &mut self.rng, &mut out);
                    for message in out {
                        self.post(id.0, HUB, message);
                    }
                }
            }
        }
        if end != Millis::MAX {
            self.sim.set_instant(self.start + Duration::from_millis(end.max(self.now())));
        }
    }

    fn expect_order(&mut self) {
        for worker in self.sim.workers() {
            let common = &worker.share.common;
            let neighbours =
                MEMBERS.iter().filter(|member| common.neighbours.contains(member[..9].parse().unwrap()));
            let left = (
                worker.calls.len(),
                worker.tags.len(),
                worker.transactions.len(),
                common.limits.leased(),
                neighbours.count(),
                worker.passes.len() + worker.identities.len(),
            );
            assert_eq!(left, (0, 0, 0, 0, 0, 0), "calls, tags, transactions, leases, neighbours, passes");
        }
        let cdrs = self.sim.cdrs();
        let ids: HashSet<&str> = cdrs.iter().map(|cdr| &*cdr.ingress_call_id).collect();
        assert_eq!(ids.len(), cdrs.len(), "two records of one call");
        let reached: HashSet<&str> = self.reached.iter().map(String::as_str).collect();
        if self.has_fault {
            // An INVITE that fails before it is a call is like one that was lost.
            assert!(ids.is_subset(&reached) && reached.len() - ids.len() <= 1, "{ids:?} of {reached:?}");
        } else {
            assert_eq!(ids, reached, "one record for each call");
        }
        for cdr in &cdrs {
            let is_answered = cdr.outcome == Some(Outcome::Answered);
            // A fault may come between the record of an answer and the answer.
            if !self.has_fault || !is_answered {
                assert_eq!(is_answered, self.answered.contains(&cdr.ingress_call_id), "{cdr:#?}");
            }
            assert_eq!(is_answered, cdr.answered_at.is_some());
            assert!(cdr.ended_at.is_some() && cdr.attempts.iter().all(|attempt| attempt.ended_at.is_some()));
        }
        for agent in self.agents.values() {
            if self.loss <= 10 && !self.has_fault {
                assert_eq!(agent.left_open(), Vec::<String>::new());
            }
            if agent.call_id.starts_with("call") && agent.is_answered() {
                assert!(self.answered.contains(&agent.call_id));
            }
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("TANDEM_SEEDS") else { return USUAL };
    let number = |text: &str| text.parse().expect("TANDEM_SEEDS is 17 or 0..100000");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

#[test]
fn random_calls_over_a_bad_network_leave_one_record_each_and_nothing_else() {
    run_seeds(|world| world);
}

#[test]
fn a_panic_ends_the_call_that_was_handled_and_leaves_nothing_of_it() {
    run_seeds(World::with_fault);
}

#[allow(clippy::print_stderr)] // The seed is what a failure leaves behind.
fn run_seeds(prepare: impl Fn(World) -> World) {
    let failed: Vec<u64> = seeds()
        .filter(|&seed| {
            catch_unwind(AssertUnwindSafe(|| {
                let mut world = prepare(World::new(seed, seeds().count() == 1));
                world.run();
                world.expect_order();
            }))
            .inspect_err(|_| eprintln!("TANDEM_SEEDS={seed} runs this again"))
            .is_err()
        })
        .collect();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

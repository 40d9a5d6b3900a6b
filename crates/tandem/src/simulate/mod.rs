//! `tandem simulate`: member switches in one process, which join the exchange through its API and call each
//! other through the hub, over real sockets on loopback addresses.
//!
//! Each call follows a [`plan`] drawn beforehand, and what comes of it is held against the plan. The SIP is
//! read and written by `rsip` ([`message`]), not by the hub's own code.

mod api;
mod callee;
mod caller;
mod join;
mod leg;
mod message;
mod plan;
mod provider;
mod statistics;
mod switch;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_model::{Clock, Transport};

use self::api::Api;
use self::join::Place;
use self::leg::Ended;
use self::plan::{Fate, Side};
use self::provider::{Endpoints, Provider};
use self::statistics::Statistics;
use self::switch::{Line, News, PlanId, Plans, Switch};
use self::wire::Wire;
use crate::clock::entropy;
use crate::say;

/// Time between two lines of statistics.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How long a finished call is remembered for what may still come of it.
const REMEMBER: Duration = Duration::from_secs(35);

/// How long the calls may take to end when the simulation does.
const END_WITHIN: Duration = Duration::from_secs(45);

/// Most unexpected things that are told in full.
const MOST_TOLD: u64 = 20;

/// What `tandem simulate` may be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the portal is
    #[arg(long, env = "TANDEM_PORTAL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub portal: String,
    /// A token of the operator's, as `tandem token create --operator` prints it
    #[arg(long, env = "TANDEM_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub operator_token: String,
    /// Password of the members' log-ins; a new one is made and printed where there is none
    #[arg(long, env = "TANDEM_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// How many members there are, 2 to 16
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=provider::MOST as i64))]
    pub members: u32,
    /// New calls a second, on average
    #[arg(long, default_value_t = 2.0, value_name = "RATE", value_parser = read_rate)]
    pub calls_per_second: f64,
    /// Ends after so many seconds; without it, at Ctrl-C
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
}

fn read_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("write a number from 0.01 to 1000".to_owned()),
    }
}

/// Runs the simulation; an error where anything unexpected happened.
pub async fn run(
    options: &Options,
    clock: Arc<dyn Clock>,
    seed: [u8; 32],
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if !options.portal.starts_with("http://") {
        bail!(
            "--portal is {:?}; write a URL that begins with http://, such as http://127.0.0.1:8080",
            options.portal
        );
    }
    let mut rng = StdRng::from_seed(seed);
    let operator = Api::new(&options.portal, Some(options.operator_token.trim()))?;
    let providers = provider::providers(options.members as usize);
    let udp =
        join::listener(&operator, Transport::Udp).await.context("cannot ask where the hub takes SIP")?;
    let tcp = join::listener(&operator, Transport::Tcp).await?;
    let Some(udp) = udp else { bail!("the hub has no UDP listener on a loopback address") };

    let mut wire = Wire::new();
    let (switches, places) = bind(&mut wire, &providers, udp, tcp, &mut rng).await?;

    let password = options.password.clone().unwrap_or_else(|| tandem_portal::new_password(&entropy()));
    let log_ins = join::join_all(&operator, &providers, &places, &password, clock.now()).await?;
    say(format_args!("{} members have joined the exchange at {}", providers.len(), options.portal));
    for log_in in log_ins {
        let password = log_in.password.as_deref().unwrap_or("(its password is the one it had)");
        say(format_args!("log-in  {:10}  {:28}  {password}", log_in.member, log_in.email));
    }

    let mut simulation = Simulation::new(providers, switches, rng, clock);
    let duration = options.duration.map(Duration::from_secs);
    simulation.run(&mut wire, options.calls_per_second, duration, stop).await;
    say(format_args!("ended: {}", simulation.statistics));
    match simulation.statistics.unexpected {
        0 => Ok(()),
        count => bail!("{count} unexpected things happened"),
    }
}

/// The switches of the providers, each endpoint on a loopback address of its own: by it the hub knows it.
async fn bind(
    wire: &mut Wire,
    providers: &[Provider],
    udp: SocketAddr,
    tcp: Option<SocketAddr>,
    rng: &mut StdRng,
) -> anyhow::Result<(Vec<Switch>, Vec<Vec<Place>>)> {
    let mut switches = Vec::new();
    let mut places = Vec::new();
    for (index, provider) in providers.iter().enumerate() {
        let (hub, transport) = match (provider.endpoints, tcp) {
            (Endpoints::Stream, Some(tcp)) => (tcp, Transport::Tcp),
            _ => (udp, Transport::Udp),
        };
        let count = match provider.endpoints {
            Endpoints::One | Endpoints::Stream => 1,
            Endpoints::Shared | Endpoints::Spare => 2,
        };
        let mut lines = Vec::new();
        let mut own = Vec::new();
        for line in 0..count {
            let ip = Ipv4Addr::new(127, 42, index as u8 + 1, line as u8 + 1);
            let address = wire.bind((index, line), ip, transport).await?;
            let priority = if provider.endpoints == Endpoints::Spare { line as u16 + 1 } else { 1 };
            own.push(Place { name: format!("{}-{}", provider.name, line + 1), address, transport, priority });
            lines.push(Line { address, transport, hub });
        }
        switches.push(Switch::new(&provider.name, lines, rng.random()));
        places.push(own);
    }
    Ok((switches, places))
}

/// A call that goes on, or went on lately.
#[derive(Debug, Default)]
struct Going {
    /// The simulation ended it before its time.
    is_cut: bool,
    caller_over: Option<Instant>,
    callee_up: bool,
}

struct Simulation {
    providers: Vec<Provider>,
    switches: Vec<Switch>,
    plans: Plans,
    going: HashMap<PlanId, Going>,
    statistics: Statistics,
    rng: StdRng,
    clock: Arc<dyn Clock>,
}

impl Simulation {
    fn new(providers: Vec<Provider>, switches: Vec<Switch>, rng: StdRng, clock: Arc<dyn Clock>) -> Self {
        let (plans, going, statistics) = (Plans::default(), HashMap::new(), Statistics::default());
        Self { providers, switches, plans, going, statistics, rng, clock }
    }

    /// Places calls until `duration` is over or `stop` says so, and then ends them.
    async fn run(
        &mut self,
        wire: &mut Wire,
        rate: f64,
        duration: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) {
        let start = self.clock.instant();
        let mut end = duration.map(|duration| start + duration);
        let mut next_call = Some(start);
        let mut next_line = start + LINE_EVERY;
        let mut stop = std::pin::pin!(stop);
        loop {
            let now = self.clock.instant();
            let due = self
                .switches
                .iter()
                .filter_map(Switch::next_timer)
                .chain(next_call)
                .chain(end)
                .chain([next_line]);
            let wait = due.min().unwrap_or(next_line).saturating_duration_since(now);
            tokio::select! {
                inbound = wire.receive() => {
                    let (switch, line) = inbound.line;
                    let now = self.clock.instant();
                    self.switches[switch].receive(line, inbound.from, &inbound.octets, &mut self.plans, now);
                }
                () = tokio::time::sleep(wait) => {}
                () = &mut stop, if next_call.is_some() => end = Some(now),
            }
            let now = self.clock.instant();
            self.switches.iter_mut().for_each(|switch| switch.fire(now));
            while let Some(at) = next_call.filter(|at| *at <= now) {
                self.place(now);
                next_call = Some(at + plan::gap(rate, &mut self.rng));
            }
            if end.is_some_and(|end| end <= now) {
                if next_call.take().is_none() {
                    return self.finish();
                }
                end = Some(now + END_WITHIN);
                self.going.values_mut().for_each(|going| going.is_cut = true);
                self.switches.iter_mut().for_each(|switch| switch.end_all(now));
                self.switches.iter_mut().for_each(|switch| switch.fire(now));
            }
            self.hear(now);
            self.send(wire).await;
            if next_call.is_none() && self.open_legs() == 0 {
                return self.finish();
            }
            if next_line <= now {
                next_line += LINE_EVERY;
                self.forget(now);
                let up = self.going.values().filter(|going| going.caller_over.is_none()).count();
                say(self.statistics.line(up));
            }
        }
    }

    fn place(&mut self, now: Instant) {
        let plan = plan::draw(&self.providers, &mut self.rng);
        // Two numbers that talk already are not drawn again; the next call comes soon.
        if let Some(id) = self.plans.add(plan.clone()) {
            self.statistics.placed += 1;
            self.going.insert(id, Going::default());
            self.switches[plan.caller].place(id, &plan, now);
        }
    }

    fn open_legs(&self) -> usize {
        self.switches.iter().map(Switch::open_legs).sum()
    }

    /// Takes the news of all switches.
    fn hear(&mut self, now: Instant) {
        let news: Vec<News> = self.switches.iter_mut().flat_map(Switch::take_news).collect();
        for news in news {
            match news {
                News::Progress(id, after) => {
                    let planned = self.plans.get(id).and_then(|plan| plan.fate.first_response());
                    if let Some(planned) = planned {
                        self.statistics.add_setup(after.saturating_sub(planned));
                    }
                }
                News::Answered(id, Side::Callee) => {
                    if let Some(going) = self.going.get_mut(&id) {
                        going.callee_up = true;
                    }
                }
                News::Answered(_, Side::Caller) => {}
                News::Retransmitted => self.statistics.retransmitted += 1,
                News::Over(id, side, ended, status) => self.over(id, side, ended, status, now),
                News::Unexpected(what) => self.unexpected(&what),
            }
        }
    }

    /// Holds the end of a leg against the plan.
    fn over(&mut self, id: PlanId, side: Side, ended: Ended, status: Option<u16>, now: Instant) {
        let (Some(plan), Some(going)) = (self.plans.get(id).cloned(), self.going.get_mut(&id)) else {
            return;
        };
        let is_cut = going.is_cut;
        match side {
            Side::Caller => going.caller_over = Some(now),
            Side::Callee => going.callee_up = false,
        }
        let fits = match (plan.fate, ended) {
            (_, Ended::TimedOut) => false,
            (_, _) if is_cut => true,
            (Fate::Answered { hangs_up, .. }, Ended::ByUs) => hangs_up == side,
            (Fate::Answered { hangs_up, .. }, Ended::ByPeer) => hangs_up != side,
            // The endpoint without room; the call goes on at the other.
            (Fate::Answered { overloaded, .. }, Ended::Refused) => overloaded && side == Side::Callee,
            // An answer cannot cross here: the callee of these is never picked up.
            (_, Ended::ByUs | Ended::ByPeer) => false,
            (_, Ended::Refused) => true,
        };
        let expected = plan.fate.expected_status();
        if !fits || (side == Side::Caller && !is_cut && status != Some(expected)) {
            let Provider { name: caller, .. } = &self.providers[plan.caller];
            let Provider { name: callee, .. } = &self.providers[plan.callee];
            let what = format!(
                "{caller} {} to {callee} {}, planned as {}: at the {side:?} it ended {ended:?} with {status:?}, not {expected}",
                plan.calling,
                plan.called,
                plan.fate.word()
            );
            self.unexpected(&what);
        }
        if side == Side::Caller {
            *self.statistics.over.entry(outcome(&plan.fate, status)).or_default() += 1;
        }
    }

    /// Drops calls that are long over; one whose callee is still up was never ended there.
    fn forget(&mut self, now: Instant) {
        let old = |going: &Going| going.caller_over.is_some_and(|at| now.duration_since(at) > REMEMBER);
        let gone: Vec<PlanId> =
            self.going.iter().filter(|(_, going)| old(going)).map(|(id, _)| *id).collect();
        for id in gone {
            let left_up = self.going.remove(&id).is_some_and(|going| going.callee_up);
            if let (true, Some(plan)) = (left_up, self.plans.get(id)) {
                let what = format!(
                    "{} to {}: the caller is gone, and the callee is still up",
                    plan.calling, plan.called
                );
                self.unexpected(&what);
            }
            self.plans.remove(id);
        }
    }

    fn finish(&mut self) {
        let open = self.open_legs();
        if open > 0 {
            self.unexpected(&format!("{open} legs did not end within {} s", END_WITHIN.as_secs()));
        }
    }

    async fn send(&mut self, wire: &mut Wire) {
        for index in 0..self.switches.len() {
            for outgoing in self.switches[index].take_outgoing() {
                if let Err(error) = wire.send((index, outgoing.line), outgoing.to, outgoing.octets).await {
                    tracing::debug!(%error, to = %outgoing.to, "a message was not sent");
                }
            }
        }
    }

    fn unexpected(&mut self, what: &str) {
        self.statistics.unexpected += 1;
        if self.statistics.unexpected <= MOST_TOLD {
            say(format_args!("unexpected: {what}"));
        }
    }
}

/// The word for a call that ended with this status.
fn outcome(fate: &Fate, status: Option<u16>) -> &'static str {
    match status {
        Some(200..300) => "answered",
        Some(486 | 600) => "busy",
        // It rang until the one or the other side gave up.
        Some(480) => "no answer",
        Some(487) if matches!(fate, Fate::Unanswered { .. }) => "no answer",
        Some(487) => "cancelled",
        Some(403 | 404) => "refused",
        Some(_) => "rejected",
        None => "no answer",
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{AgreementDirection, Authority, Source};
    use tandem_store::declaration::{
        self, AgreementDeclaration, AnnouncementDeclaration, Declaration, EndpointDeclaration,
        MemberDeclaration, RangeDeclaration, SourceText,
    };
    use tandem_store::listener;

    use super::*;
    use crate::clock::SystemClock;
    use crate::serve::tests::{until, while_serving};

    /// What the members would bring about through the API.
    fn exchange(providers: &[Provider], places: &[Vec<Place>]) -> Declaration {
        let member = |(provider, places): (&Provider, &Vec<Place>)| MemberDeclaration {
            name: provider.name.clone(),
            endpoints: places
                .iter()
                .map(|place| {
                    let target = tandem_model::Target::of(place.address, place.transport);
                    EndpointDeclaration {
                        sources: vec![SourceText(Source { net: place.address.ip().into(), port: None })],
                        priority: place.priority,
                        ..EndpointDeclaration::new(&place.name, target)
                    }
                })
                .collect(),
            ranges: vec![RangeDeclaration { prefix: provider.range, authority: Authority::Valid }],
            announcements: vec![AnnouncementDeclaration {
                prefix: provider.range,
                endpoints: places.iter().map(|place| place.name.clone()).collect(),
                max_calls: None,
                max_calls_per_second: None,
                tags: Default::default(),
            }],
            ..MemberDeclaration::default()
        };
        let pairs = (0..providers.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let agreed = pairs.filter(|&(one, other)| provider::have_agreement(one, other, providers.len()));
        Declaration {
            members: providers.iter().zip(places).map(member).collect(),
            agreements: agreed
                .map(|(one, other)| AgreementDeclaration {
                    members: [providers[other].name.clone(), providers[one].name.clone()],
                    direction: AgreementDirection::Both,
                    max_calls: None,
                    max_calls_per_second: None,
                    advance_on: None,
                    notice_days: 0,
                    terms: Default::default(),
                })
                .collect(),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn simulated_members_call_each_other_through_a_node_as_planned() {
        const PLACED: u64 = 60;
        let database = tandem_testkit::Database::new().await;
        let db = database.pool();
        let simulated = async {
            let listeners =
                until(async || Some(listener::list(db).await.ok()?).filter(|all| all.len() == 2)).await;
            let at = |transport| listeners.iter().find(|listener| listener.transport == transport);
            let (udp, tcp) =
                (at(Transport::Udp).expect("one").address, at(Transport::Tcp).expect("one").address);
            let mut rng = StdRng::seed_from_u64(5);
            let mut wire = Wire::new();
            let providers = provider::providers(5);
            let (switches, places) =
                bind(&mut wire, &providers, udp, Some(tcp), &mut rng).await.expect("loopback addresses");
            let declaration = exchange(&providers, &places);
            declaration::apply(db, &declaration, SystemClock.now()).await.expect("it is applied");
            let version = tandem_store::facts::load(db).await.expect("it loads").facts.position;
            let nodes =
                async || tandem_store::node::list(db).await.ok()?.first().map(|node| node.table_version);
            until(async || nodes().await.filter(|live| *live >= version)).await;
            let mut simulation = Simulation::new(providers, switches, rng, Arc::new(SystemClock));
            simulation.run(&mut wire, 30.0, Some(Duration::from_secs(5)), std::future::pending()).await;
            simulation.statistics
        };
        let mut statistics = while_serving(database.url(), "fabric", simulated).await;
        assert!(statistics.placed > PLACED, "{statistics}");
        assert_eq!(statistics.unexpected, 0, "{statistics}");
        assert_eq!(statistics.over.values().sum::<u64>(), statistics.placed);
        say(statistics.line(0));
    }
}

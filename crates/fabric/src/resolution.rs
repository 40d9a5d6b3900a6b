//! Where the servers of a DNS name are: RFC 3263 §4.1 and §4.2, and RFC 7984 for names of both address families.
//!
//! Sans-I/O: [`resolve`] is asked again and again with what the DNS has answered so far, and either says what else
//! to ask or is done. It follows no chain of its own: an SRV record leads to addresses and nowhere else, so that
//! records that name each other lead to nothing.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tandem_model::{Host, Reason, Scope, Target, Transport};

use crate::server_set::{Server, ServerSet};

/// Most servers of one name that are looked at, the most preferred first.
const MAX_SERVERS: usize = 16;

/// Most addresses of one server.
const MAX_ADDRESSES_OF_SERVER: usize = 8;

/// Most services of one name that are looked at.
const MAX_SERVICES: usize = 4;

/// In which order transports are tried for a name that does not say which it prefers. UDP is what it speaks if it
/// says nothing at all (RFC 3263 §4.1), and a member that wants TLS says so in its target or by NAPTR.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// The records that the DNS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum RecordKind {
    Naptr,
    Srv,
    A,
    Aaaa,
}

/// What the DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Question {
    /// In lower case, without the dot at its end.
    pub(crate) name: Box<str>,
    pub(crate) kind: RecordKind,
}

impl Question {
    pub(crate) fn new(name: &str, kind: RecordKind) -> Self {
        Self { name: name.trim_end_matches('.').to_ascii_lowercase().into(), kind }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    Naptr(Naptr),
    Srv(Srv),
    Address(IpAddr),
}

/// Which service of a name is preferred, and where it is described (RFC 3403 §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Naptr {
    pub(crate) order: u16,
    pub(crate) preference: u16,
    pub(crate) flags: Box<str>,
    pub(crate) services: Box<str>,
    pub(crate) replacement: Box<str>,
}

/// A server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Srv {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) host: Box<str>,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// The records; none where the DNS says that there are none.
    Records(&'a [Record]),
    /// Nobody answered, or not as one should.
    Failed,
}

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error("the DNS does not answer")]
    Unanswered,
    #[error("the DNS has no address for it")]
    NoAddress,
    #[error("it leads only to addresses that the hub does not send to")]
    Forbidden,
    #[error("this node has no listener for its transports and address families")]
    NoListener,
}

impl Unresolved {
    /// The reason by which calls leave the endpoint out.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Unanswered | Self::NoAddress => Reason::TargetUnresolved,
            Self::Forbidden => Reason::TargetForbidden,
            Self::NoListener => Reason::NoListener,
        }
    }
}

/// Where this node can and may send to.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Transport and address of each listener, as bound and as members see it.
    pub(crate) listeners: Vec<(Transport, SocketAddr)>,
    /// Whether a name may lead to private and loopback addresses.
    pub(crate) private_addresses: bool,
}

impl Reach {
    fn has(&self, transport: Transport) -> bool {
        self.listeners.iter().any(|(own, _)| *own == transport)
    }

    fn has_family(&self, transport: Transport, kind: RecordKind) -> bool {
        let is_ipv4 = kind == RecordKind::A;
        self.listeners.iter().any(|(own, address)| *own == transport && address.is_ipv4() == is_ipv4)
    }

    /// Whether a name may lead there: never to the hub itself, to many hosts or to none.
    fn permits(&self, address: SocketAddr) -> bool {
        let scope = Scope::of(address.ip());
        let is_own = self.listeners.iter().any(|(_, own)| {
            own.port() == address.port()
                && (own.ip() == address.ip() || own.ip().is_unspecified() && scope == Scope::Loopback)
        });
        // An IPv4 address in IPv6 clothing is reached by no socket of the hub.
        let is_plain = address.ip().to_canonical() == address.ip();
        let is_in_scope = match scope {
            Scope::Public => true,
            Scope::Private | Scope::Loopback => self.private_addresses,
            Scope::LinkLocal | Scope::Many | Scope::Nobody => false,
        };
        is_in_scope && is_plain && !is_own && address.port() != 0
    }
}

/// Why there are no servers yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// These questions are still to be asked.
    Ask(Vec<Question>),
    /// There will be none.
    Never(Unresolved),
}

impl From<Unresolved> for Pending {
    fn from(why: Unresolved) -> Self {
        Self::Never(why)
    }
}

/// The servers of `target`, as far as `answers` tells: `None` for a question that has not been asked.
pub(crate) fn resolve<'a>(
    target: &Target,
    reach: &Reach,
    answers: impl Fn(&Question) -> Option<Answer<'a>>,
) -> Result<ServerSet, Pending> {
    let Host::Name(name) = &target.host else { return Err(Unresolved::NoAddress.into()) };
    Lookup { reach, answers }.servers(name, target.port, target.transport)
}

struct Lookup<'r, F> {
    reach: &'r Reach,
    answers: F,
}

impl<'a, F: Fn(&Question) -> Option<Answer<'a>>> Lookup<'_, F> {
    fn servers(
        &self,
        name: &str,
        port: Option<u16>,
        transport: Option<Transport>,
    ) -> Result<ServerSet, Pending> {
        if let Some(port) = port {
            return self.addresses(transport.unwrap_or(Transport::Udp), &[itself(name, port)]);
        }
        if let Some(transport) = transport {
            return match self.service(&service_name(name, transport))? {
                hosts if hosts.is_empty() => self.addresses_of_itself(name, transport),
                hosts => self.addresses(transport, &hosts),
            };
        }
        let services = self.preferred_services(name)?;
        if services.is_empty() {
            return self.servers_without_preference(name);
        }
        let services = services.into_iter().map(|(transport, name)| {
            let hosts = self.service(name)?;
            self.addresses(transport, &hosts)
        });
        first_found(services)
    }

    /// The services that the NAPTR records of `name` prefer, best first, with the names of their SRV records: those
    /// of the lowest order that the hub can use (RFC 3263 §4.1, RFC 3403 §4.1). None where no record is about SIP.
    fn preferred_services(&self, name: &str) -> Result<Vec<(Transport, &'a str)>, Pending> {
        let question = Question::new(name, RecordKind::Naptr);
        let records = self.records(std::slice::from_ref(&question))?[0];
        let records = records.iter().filter_map(|record| match record {
            Record::Naptr(naptr) => Some((naptr, transport_of(naptr)?)),
            Record::Srv(_) | Record::Address(_) => None,
        });
        let all: Vec<_> = records.collect();
        let mut usable: Vec<_> =
            all.iter().filter(|(_, transport)| self.reach.has(*transport)).copied().collect();
        if usable.is_empty() && !all.is_empty() {
            return Err(Unresolved::NoListener.into());
        }
        usable.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
        let lowest = usable.first().map(|(naptr, _)| naptr.order);
        let usable = usable.into_iter().filter(|(naptr, _)| Some(naptr.order) == lowest);
        let services = usable.map(|(naptr, transport)| (transport, &*naptr.replacement));
        Ok(services.take(MAX_SERVICES).collect())
    }

    /// The servers of a name without NAPTR records: of the first transport that has SRV records, or else the name
    /// itself is the server.
    fn servers_without_preference(&self, name: &str) -> Result<ServerSet, Pending> {
        let transports = TRANSPORTS.into_iter().filter(|transport| self.reach.has(*transport));
        let transports: Vec<Transport> = transports.collect();
        let questions: Vec<Question> = transports
            .iter()
            .map(|transport| Question::new(&service_name(name, *transport), RecordKind::Srv))
            .collect();
        let services = self.records(&questions)?;
        let services: Vec<_> = transports
            .iter()
            .zip(services)
            .filter(|(_, records)| !records.is_empty())
            .map(|(transport, records)| (*transport, hosts(records)))
            .collect();
        if services.is_empty() {
            let transport = transports.first().copied().ok_or(Unresolved::NoListener)?;
            return self.addresses_of_itself(name, transport);
        }
        first_found(services.iter().map(|(transport, hosts)| self.addresses(*transport, hosts)))
    }

    /// The hosts of a service.
    fn service(&self, name: &str) -> Result<Vec<Srv>, Pending> {
        let question = Question::new(name, RecordKind::Srv);
        Ok(hosts(self.records(std::slice::from_ref(&question))?[0]))
    }

    fn addresses_of_itself(&self, name: &str, transport: Transport) -> Result<ServerSet, Pending> {
        self.addresses(transport, &[itself(name, transport.default_port())])
    }

    /// The hosts with their addresses.
    fn addresses(&self, transport: Transport, hosts: &[Srv]) -> Result<ServerSet, Pending> {
        let kinds: Vec<RecordKind> = [RecordKind::Aaaa, RecordKind::A]
            .into_iter()
            .filter(|kind| self.reach.has_family(transport, *kind))
            .collect();
        if kinds.is_empty() {
            return Err(Unresolved::NoListener.into());
        }
        // A host of "." says that there is no such service (RFC 2782).
        let mut hosts: Vec<&Srv> = hosts.iter().filter(|host| !host.host.is_empty()).collect();
        hosts.sort_by_key(|host| (host.priority, std::cmp::Reverse(host.weight), &host.host, host.port));
        hosts.truncate(MAX_SERVERS);

        let mut unasked = Vec::new();
        let (mut is_forbidden, mut is_failed) = (false, false);
        let mut servers = Vec::new();
        for host in hosts {
            let mut addresses = Vec::new();
            for kind in &kinds {
                let question = Question::new(&host.host, *kind);
                let records = match (self.answers)(&question) {
                    None if unasked.contains(&question) => continue,
                    None => {
                        unasked.push(question);
                        continue;
                    }
                    Some(Answer::Failed) => {
                        is_failed = true;
                        continue;
                    }
                    Some(Answer::Records(records)) => records,
                };
                let ips = records.iter().filter_map(|record| match record {
                    Record::Address(ip) => Some(*ip),
                    Record::Naptr(_) | Record::Srv(_) => None,
                });
                // A DNS server gives them in another order each time.
                let mut ips: Vec<IpAddr> = ips.collect();
                ips.sort_unstable();
                for ip in ips.into_iter().take(MAX_ADDRESSES_OF_SERVER) {
                    let address = SocketAddr::new(ip, host.port);
                    match self.reach.permits(address) {
                        true => addresses.push(address),
                        false => is_forbidden = true,
                    }
                }
            }
            if !addresses.is_empty() {
                servers.push(Server { priority: host.priority, weight: host.weight, addresses });
            }
        }
        if !unasked.is_empty() {
            return Err(Pending::Ask(unasked));
        }
        match (servers.is_empty(), is_forbidden, is_failed) {
            (false, ..) => Ok(ServerSet { transport, servers }),
            (true, true, _) => Err(Unresolved::Forbidden.into()),
            (true, false, true) => Err(Unresolved::Unanswered.into()),
            (true, false, false) => Err(Unresolved::NoAddress.into()),
        }
    }

    /// The records of several questions. They decide which way to go, so that all must be answered.
    fn records(&self, questions: &[Question]) -> Result<Vec<&'a [Record]>, Pending> {
        let answers: Vec<_> = questions.iter().map(|question| (self.answers)(question)).collect();
        let unasked = questions.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        let unasked: Vec<Question> = unasked.map(|(question, _)| question.clone()).collect();
        if !unasked.is_empty() {
            return Err(Pending::Ask(unasked));
        }
        let records = answers.into_iter().flatten().map(|answer| match answer {
            Answer::Records(records) => Ok(records),
            Answer::Failed => Err(Unresolved::Unanswered.into()),
        });
        records.collect()
    }
}

/// The first of several services that leads anywhere; what must be asked for it is asked before the next is looked
/// at.
fn first_found(services: impl Iterator<Item = Result<ServerSet, Pending>>) -> Result<ServerSet, Pending> {
    let mut why = None;
    for service in services {
        match service {
            Err(Pending::Never(reason)) => {
                why.get_or_insert(reason);
            }
            found_or_unasked => return found_or_unasked,
        }
    }
    Err(why.unwrap_or(Unresolved::NoAddress).into())
}

/// The name as its own only server.
fn itself(name: &str, port: u16) -> Srv {
    Srv { priority: 0, weight: 0, port, host: name.into() }
}

fn hosts(records: &[Record]) -> Vec<Srv> {
    let hosts = records.iter().filter_map(|record| match record {
        Record::Srv(srv) => Some(srv.clone()),
        Record::Naptr(_) | Record::Address(_) => None,
    });
    hosts.collect()
}

/// Where the SRV records of a domain for a transport are (RFC 3263 §4.1).
fn service_name(domain: &str, transport: Transport) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{domain}")
}

/// The transport of a NAPTR record that is about SIP and leads to SRV records (RFC 3263 §4.1).
fn transport_of(naptr: &Naptr) -> Option<Transport> {
    let services = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    let is_of = |service: &str| naptr.services.eq_ignore_ascii_case(service);
    let (_, transport) = services.into_iter().find(|(service, _)| is_of(service))?;
    (naptr.flags.eq_ignore_ascii_case("s") && !naptr.replacement.is_empty()).then_some(transport)
}

#[cfg(test)]
mod tests {
    use ahash::AHashMap;
    use proptest::prelude::*;

    use super::*;

    /// What a DNS would say, as lines `name KIND data`; a name and kind without a line has no records, one with
    /// the data `!` fails.
    struct Zone {
        answers: AHashMap<Question, Vec<Record>>,
        failing: Vec<Question>,
    }

    impl Zone {
        fn new(text: &str) -> Self {
            let mut zone = Self { answers: AHashMap::new(), failing: Vec::new() };
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let kind = match words[1] {
                    "NAPTR" => RecordKind::Naptr,
                    "SRV" => RecordKind::Srv,
                    "A" => RecordKind::A,
                    "AAAA" => RecordKind::Aaaa,
                    other => panic!("{other} is no kind"),
                };
                let question = Question::new(words[0], kind);
                if words[2] == "!" {
                    zone.failing.push(question);
                    continue;
                }
                let number = |at: usize| words[at].parse().unwrap();
                let record = match kind {
                    RecordKind::Naptr => Record::Naptr(Naptr {
                        order: number(2),
                        preference: number(3),
                        flags: words[4].into(),
                        services: words[5].into(),
                        replacement: words[6].into(),
                    }),
                    RecordKind::Srv => Record::Srv(Srv {
                        priority: number(2),
                        weight: number(3),
                        port: number(4),
                        host: words[5].trim_end_matches('.').into(),
                    }),
                    RecordKind::A | RecordKind::Aaaa => Record::Address(words[2].parse().unwrap()),
                };
                zone.answers.entry(question).or_default().push(record);
            }
            zone
        }

        fn answer(&self, question: &Question) -> Answer<'_> {
            match self.failing.contains(question) {
                true => Answer::Failed,
                false => Answer::Records(self.answers.get(question).map_or(&[], Vec::as_slice)),
            }
        }

        /// Resolves until all is asked; gives what was asked too.
        fn resolve(&self, target: &str, reach: &Reach) -> (Result<ServerSet, Unresolved>, Vec<Question>) {
            let target: Target = target.parse().unwrap();
            let mut asked: Vec<Question> = Vec::new();
            loop {
                let answers = |question: &Question| asked.contains(question).then(|| self.answer(question));
                match resolve(&target, reach, answers) {
                    Ok(servers) => return (Ok(servers), asked),
                    Err(Pending::Never(why)) => return (Err(why), asked),
                    Err(Pending::Ask(questions)) => {
                        assert!(!questions.is_empty() && !questions.iter().any(|q| asked.contains(q)));
                        asked.extend(questions);
                    }
                }
            }
        }

        /// The outcome as text: transport and addresses by server, or why there are none.
        fn show(&self, target: &str, reach: &Reach) -> String {
            match self.resolve(target, reach).0 {
                Ok(set) => {
                    let server = |server: &Server| {
                        let addresses: Vec<String> =
                            server.addresses.iter().map(|address| address.to_string()).collect();
                        format!("{}/{} {}", server.priority, server.weight, addresses.join(" "))
                    };
                    let servers: Vec<String> = set.servers.iter().map(server).collect();
                    format!("{} {}", set.transport.as_str(), servers.join(", "))
                }
                Err(why) => format!("{why:?}"),
            }
        }
    }

    fn reach(listeners: &str) -> Reach {
        let listener = |text: &str| {
            let (transport, address) = text.split_once('/').unwrap();
            (transport.parse().unwrap(), address.parse().unwrap())
        };
        Reach { listeners: listeners.split(' ').map(listener).collect(), private_addresses: false }
    }

    fn udp_and_tcp() -> Reach {
        reach("udp/203.0.113.1:5060 tcp/203.0.113.1:5060")
    }

    fn everything() -> Reach {
        reach(
            "udp/203.0.113.1:5060 tcp/203.0.113.1:5060 tls/203.0.113.1:5061 \
             udp/[2001:db8::1]:5060 tcp/[2001:db8::1]:5060 tls/[2001:db8::1]:5061",
        )
    }

    const ACME: &str = "
        acme.example NAPTR 50 50 s SIPS+D2T _sips._tcp.acme.example
        acme.example NAPTR 90 50 S sip+d2t _sip._tcp.acme.example
        acme.example NAPTR 100 50 s SIP+D2U _sip._udp.acme.example
        acme.example NAPTR 10 10 u E2U+sip !
        _sips._tcp.acme.example SRV 0 1 5061 a.acme.example
        _sip._tcp.acme.example SRV 0 1 5060 a.acme.example
        _sip._udp.acme.example SRV 1 7 5062 a.acme.example
        _sip._udp.acme.example SRV 2 0 5063 b.acme.example
        a.acme.example A 198.51.100.1
        a.acme.example AAAA 2001:db8::a
        b.acme.example A 198.51.100.2
        acme.example A 198.51.100.9";

    #[test]
    fn a_target_leads_where_rfc_3263_says() {
        let srv_only = "
            globex.example NAPTR 10 10 u E2U+sip x
            _sip._tcp.globex.example SRV 0 0 5070 c.globex.example
            c.globex.example A 198.51.100.3
            globex.example A 198.51.100.4";
        let rows = [
            // NAPTR chooses the transport, SRV the host: the lowest order that there is a listener for.
            (ACME, "sip:acme.example", everything(), "tls 0/1 [2001:db8::a]:5061 198.51.100.1:5061"),
            (ACME, "sip:acme.example", udp_and_tcp(), "tcp 0/1 198.51.100.1:5060"),
            (
                ACME,
                "sip:acme.example",
                reach("udp/203.0.113.1:5060"),
                "udp 1/7 198.51.100.1:5062, 2/0 198.51.100.2:5063",
            ),
            (ACME, "sip:acme.example", reach("udp/[2001:db8::1]:5060"), "udp 1/7 [2001:db8::a]:5062"),
            // An explicit transport skips NAPTR, an explicit port SRV too.
            (
                ACME,
                "sip:ACME.example;transport=udp",
                udp_and_tcp(),
                "udp 1/7 198.51.100.1:5062, 2/0 198.51.100.2:5063",
            ),
            (ACME, "sip:acme.example:5099", udp_and_tcp(), "udp 0/0 198.51.100.9:5099"),
            (ACME, "sip:acme.example:5099;transport=tcp", udp_and_tcp(), "tcp 0/0 198.51.100.9:5099"),
            // No NAPTR about SIP: the first transport with SRV records.
            (srv_only, "sip:globex.example", udp_and_tcp(), "tcp 0/0 198.51.100.3:5070"),
            // No SRV: the address itself, by UDP or what is asked for, at the default port.
            (srv_only, "sip:globex.example;transport=udp", udp_and_tcp(), "udp 0/0 198.51.100.4:5060"),
            (srv_only, "sip:globex.example;transport=tls", everything(), "tls 0/0 198.51.100.4:5061"),
            (ACME, "sip:b.acme.example", udp_and_tcp(), "udp 0/0 198.51.100.2:5060"),
            (ACME, "sip:b.acme.example", reach("tcp/203.0.113.1:5060"), "tcp 0/0 198.51.100.2:5060"),
            // Nothing there, or nothing for this node.
            (ACME, "sip:nowhere.example", udp_and_tcp(), "NoAddress"),
            (ACME, "sip:acme.example;transport=tls", udp_and_tcp(), "NoListener"),
            (
                "acme.example NAPTR 1 1 s SIPS+D2T _sips._tcp.acme.example",
                "sip:acme.example",
                udp_and_tcp(),
                "NoListener",
            ),
        ];
        for (zone, target, reach, outcome) in rows {
            assert_eq!(Zone::new(zone).show(target, &reach), outcome, "{target} by {reach:?}");
        }
    }

    #[test]
    fn a_service_that_leads_nowhere_is_left_for_the_next_of_the_same_order_only() {
        let same_order = "
            acme.example NAPTR 10 1 s SIP+D2T _sip._tcp.acme.example
            acme.example NAPTR 10 2 s SIP+D2U _sip._udp.acme.example
            _sip._tcp.acme.example SRV 0 0 0 .
            _sip._udp.acme.example SRV 0 0 5060 a.acme.example
            a.acme.example A 198.51.100.1";
        assert_eq!(
            Zone::new(same_order).show("sip:acme.example", &udp_and_tcp()),
            "udp 0/0 198.51.100.1:5060"
        );
        let higher_order = same_order.replace("10 2 s", "11 2 s");
        assert_eq!(Zone::new(&higher_order).show("sip:acme.example", &udp_and_tcp()), "NoAddress");
    }

    #[test]
    fn a_failure_is_never_taken_for_an_answer() {
        let rows = [
            ("acme.example NAPTR !", "Unanswered"),
            ("_sip._udp.acme.example SRV !", "Unanswered"),
            // The other transport's records may be the preferred ones.
            ("_sip._udp.acme.example SRV !\n_sip._tcp.acme.example SRV 0 0 5060 a.example", "Unanswered"),
            ("acme.example A !", "Unanswered"),
            // One host that fails is done without, as long as there is another.
            (
                "_sip._udp.acme.example SRV 1 0 5060 a.example\n_sip._udp.acme.example SRV 2 0 5060 b.example\n\
                 a.example A !\nb.example A 198.51.100.2",
                "udp 2/0 198.51.100.2:5060",
            ),
        ];
        for (zone, outcome) in rows {
            assert_eq!(Zone::new(zone).show("sip:acme.example", &udp_and_tcp()), outcome, "{zone}");
        }
    }

    #[test]
    fn a_name_leads_to_no_address_that_the_hub_does_not_send_to() {
        let mut reach = reach("udp/203.0.113.1:5060 udp/[2001:db8::1]:5060 udp/0.0.0.0:5080");
        let refused = [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "203.0.113.1",
        ];
        let refused_v6 = [
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:198.51.100.7",
            "64:ff9b::7f00:1",
            "2001:db8::1",
        ];
        let all = refused.iter().map(|ip| format!("acme.example A {ip}"));
        let all: Vec<String> =
            all.chain(refused_v6.iter().map(|ip| format!("acme.example AAAA {ip}"))).collect();
        for line in &all {
            assert_eq!(Zone::new(line).show("sip:acme.example:5060", &reach), "Forbidden", "{line}");
        }
        // The good ones among the bad ones are used.
        let mixed = all.join("\n") + "\nacme.example A 198.51.100.7";
        assert_eq!(Zone::new(&mixed).show("sip:acme.example:5060", &reach), "udp 0/0 198.51.100.7:5060");

        reach.private_addresses = true;
        let allowed = |line: &str| Zone::new(line).show("sip:acme.example:5060", &reach);
        for private in ["A 127.0.0.1", "A 10.0.0.1", "AAAA ::1", "AAAA fd00::1"] {
            assert!(allowed(&format!("acme.example {private}")).starts_with("udp 0/0 "), "{private}");
        }
        for never in ["A 203.0.113.1", "A 0.0.0.0", "A 224.0.0.1", "A 169.254.169.254", "AAAA 2001:db8::1"] {
            assert_eq!(allowed(&format!("acme.example {never}")), "Forbidden", "{never}");
        }
        // A listener for every address is at the loopback addresses too.
        let own = Zone::new("acme.example A 127.0.0.9").show("sip:acme.example:5080", &reach);
        assert_eq!(own, "Forbidden");
    }

    #[test]
    fn records_that_name_each_other_lead_to_nothing_after_a_few_questions() {
        let looping = Zone::new(
            "acme.example NAPTR 1 1 s SIP+D2U acme.example
             acme.example SRV 0 0 5060 acme.example",
        );
        let (outcome, asked) = looping.resolve("sip:acme.example", &udp_and_tcp());
        assert_eq!(outcome, Err(Unresolved::NoAddress));
        assert_eq!(asked.len(), 3, "{asked:?}");
    }

    #[test]
    fn of_many_records_only_so_many_are_asked_about() {
        let mut zone = String::new();
        for n in 0..200 {
            zone += &format!("acme.example NAPTR 1 {n} s SIP+D2U s{n}.example\n");
            for host in 0..200 {
                zone += &format!("s{n}.example SRV {host} 0 5060 h{host}.s{n}.example\n");
            }
        }
        let (outcome, asked) = Zone::new(&zone).resolve("sip:acme.example", &everything());
        assert_eq!(outcome, Err(Unresolved::NoAddress));
        assert_eq!(asked.len(), 1 + MAX_SERVICES * (1 + 2 * MAX_SERVERS));
    }

    fn name() -> impl Strategy<Value = Box<str>> {
        prop::sample::select(vec!["a.example", "b.example", "_sip._udp.a.example", ""]).prop_map(Box::from)
    }

    fn record() -> impl Strategy<Value = (RecordKind, Record)> {
        let services = prop::sample::select(vec!["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"]);
        prop_oneof![
            (0..3u16, 0..3u16, services, name()).prop_map(|(order, preference, services, replacement)| {
                let (flags, services) = ("s".into(), services.into());
                let naptr = Naptr { order, preference, flags, services, replacement };
                (RecordKind::Naptr, Record::Naptr(naptr))
            }),
            (0..3u16, 0..3u16, any::<u16>(), name()).prop_map(|(priority, weight, port, host)| {
                (RecordKind::Srv, Record::Srv(Srv { priority, weight, port, host }))
            }),
            any::<u32>().prop_map(|ip| (RecordKind::A, Record::Address(IpAddr::from(ip.to_be_bytes())))),
            any::<u128>().prop_map(|ip| (RecordKind::Aaaa, Record::Address(IpAddr::from(ip.to_be_bytes())))),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_dns_says_it_ends_with_servers_that_may_be_reached(
            records in prop::collection::vec((name(), record()), 0..40),
        ) {
            let mut zone = Zone { answers: AHashMap::new(), failing: Vec::new() };
            for (name, (kind, record)) in records {
                zone.answers.entry(Question::new(&name, kind)).or_default().push(record);
            }
            let (outcome, asked) = zone.resolve("sip:a.example", &everything());
            prop_assert!(asked.len() <= 1 + MAX_SERVICES * (1 + 2 * MAX_SERVERS));
            if let Ok(set) = outcome {
                prop_assert!(!set.servers.is_empty());
                for server in &set.servers {
                    prop_assert!(!server.addresses.is_empty());
                    prop_assert!(server.addresses.iter().all(|address| everything().permits(*address)));
                }
            }
        }
    }
}

//! DNS servers of the scenario's own: dnsmasq, and one that answers what and when a scenario wants.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NAPTR, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tempfile::TempDir;

use crate::address::{free_port, peer_address};
use crate::child::{Child, Signal};
use crate::wait::until;

/// A dnsmasq that is running, unless the scenario stopped it.
#[derive(Debug)]
pub struct Dnsmasq {
    /// Where it answers.
    pub address: SocketAddr,
    child: Option<Child>,
    folder: TempDir,
}

impl Dnsmasq {
    /// One that knows these records, lines of its settings such as `host-record=pbx.globex.test,127.0.0.9`, for
    /// `ttl_s` seconds, and that there is nothing else below `test`.
    pub fn start(ttl_s: u32, records: &[String]) -> Self {
        let folder = TempDir::with_prefix("tandem-dns-").expect("a temporary folder");
        let mut dnsmasq = Self { address: free_port(peer_address()), child: None, folder };
        dnsmasq.start_again(ttl_s, records);
        dnsmasq
    }

    /// Starts it at the same address with other records.
    pub fn start_again(&mut self, ttl_s: u32, records: &[String]) {
        self.stop();
        let settings = format!(
            "no-resolv\nno-hosts\nport={port}\nlisten-address={ip}\nbind-interfaces\nlocal=/test/\nlocal-ttl={ttl_s}\n{records}\n",
            port = self.address.port(),
            ip = self.address.ip(),
            records = records.join("\n"),
        );
        let file = self.folder.path().join("dnsmasq.conf");
        fs::write(&file, settings).expect("the folder is ours");
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--pid-file=", "--user=", "--log-facility=-"]);
        command.arg(format!("--conf-file={}", file.display()));
        self.child = Some(Child::start("dnsmasq", &mut command, &self.folder.path().join("log")));
        let address = self.address;
        until("dnsmasq to answer", Duration::from_secs(10), || {
            let child = self.child.as_mut().expect("it was just started");
            if let Some(status) = child.ended() {
                panic!("dnsmasq ended ({status}):\n{}", child.last_lines(20));
            }
            asks(address).then_some(())
        });
    }

    /// Ends it: nothing answers at its address any more.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.signal(Signal::Kill);
            child.wait(Duration::from_secs(10));
        }
    }
}

/// Whether a DNS server answers there.
fn asks(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("the system gives a port");
    let mut question = Message::query();
    let name = Name::from_ascii("ready.test.").expect("a name");
    question.add_query(hickory_proto::op::Query::query(name, RecordType::A));
    let octets = question.to_vec().expect("it can be written");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket has timeouts");
    socket.send_to(&octets, server).is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

/// A DNS server that says what it is told to, true or not, as late as it is told to.
#[derive(Debug)]
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    told: Arc<Mutex<Told>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Told {
    records: Vec<Record>,
    delay: Duration,
    /// How often each name was asked for.
    asked: HashMap<String, u32>,
    is_over: bool,
}

impl NameServer {
    /// One that answers with these records after `delay`: lines of name, time to live, type and data.
    pub fn start(delay: Duration, records: &str) -> Self {
        let socket = UdpSocket::bind((peer_address(), 0)).expect("the loopback network is ours");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket has timeouts");
        let address = socket.local_addr().expect("it is bound");
        let records = records.lines().map(str::trim).filter(|line| !line.is_empty()).map(record).collect();
        let told = Arc::new(Mutex::new(Told { records, delay, ..Told::default() }));
        let thread = std::thread::spawn({
            let told = told.clone();
            move || serve(&socket, &told)
        });
        Self { address, told, thread: Some(thread) }
    }

    /// How often it was asked about a name.
    pub fn asked(&self, name: &str) -> u32 {
        let told = self.told.lock().expect("nobody panics with it");
        told.asked.get(name).copied().unwrap_or(0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.told.lock().expect("nobody panics with it").is_over = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, told: &Mutex<Told>) {
    let mut buffer = [0; 4_096];
    // Answers that wait for their time.
    let mut waiting: Vec<(std::time::Instant, SocketAddr, Vec<u8>)> = Vec::new();
    loop {
        let received = socket.recv_from(&mut buffer);
        let mut told = told.lock().expect("nobody panics with it");
        if told.is_over {
            return;
        }
        if let Ok((length, from)) = received
            && let Ok(question) = Message::from_vec(&buffer[..length])
            && let Some(query) = question.queries.first()
        {
            let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
            *told.asked.entry(name).or_default() += 1;
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            answer.add_query(query.clone());
            let of_name = told.records.iter().filter(|record| record.name == *query.name());
            let fitting = of_name.filter(|record| {
                record.record_type() == query.query_type() || record.record_type() == RecordType::CNAME
            });
            answer.add_answers(fitting.cloned());
            answer.metadata.response_code = ResponseCode::NoError;
            let octets = answer.to_vec().expect("it can be written");
            waiting.push((crate::now() + told.delay, from, octets));
        }
        drop(told);
        waiting.retain(|(at, to, octets)| {
            let is_due = crate::now() >= *at;
            if is_due {
                // Whoever asked may be gone.
                let _ = socket.send_to(octets, to);
            }
            !is_due
        });
    }
}

/// A record of a line such as `globex.test 60 SRV 10 5 5060 pbx.globex.test`.
fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = |text: &str| Name::from_ascii(format!("{text}.")).expect("a name");
    let number = |at: usize| words[at].parse().expect("a number");
    let data = match words[2] {
        "A" => RData::A(A(words[3].parse().expect("an address"))),
        "CNAME" => RData::CNAME(CNAME(name(words[3]))),
        "SRV" => RData::SRV(SRV::new(number(3), number(4), number(5), name(words[6]))),
        "NAPTR" => {
            let octets = |text: &str| text.as_bytes().into();
            let (order, preference) = (number(3), number(4));
            let service = octets(words[5]);
            RData::NAPTR(NAPTR::new(order, preference, octets("s"), service, octets(""), name(words[6])))
        }
        other => panic!("{other} is no type of record that scenarios use"),
    };
    Record::from_rdata(name(words[0]), words[1].parse().expect("seconds"), data)
}

//! The disk of the journal: slow, full, or without power.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::flusher::Awaiting;

/// What the driver of a worker keeps about the disk.
#[derive(Default)]
pub(super) struct Disk {
    awaiting: Awaiting,
    /// Whether a flush takes until [`Simulation::flush_disk`].
    is_slow: bool,
    /// Whether it takes what is written, and fails to bring it to the medium.
    refuses_flush: bool,
    /// Up to where the last flush came.
    flushed: u64,
    /// The journal's own file while the disk takes nothing.
    set_aside: Option<Arc<File>>,
}

impl Disk {
    /// Lets leave what no longer waits, as the driver does.
    pub(super) fn turn(&mut self, worker: &mut Worker, now: Now) {
        let Worker { wire, journal, .. } = worker;
        self.awaiting.keep(wire.outbox.drain_durable(), journal.end_mark());
        journal.set_flush_failing(self.refuses_flush);
        if self.refuses_flush {
            if self.awaiting.needs_flush(journal.written_mark()) {
                journal.distrust();
                self.awaiting.ask_again(self.flushed);
            }
        } else if !self.is_slow && !journal.is_distrusted() {
            self.flushed = journal.written_mark();
        }
        for (flow, octets) in self.awaiting.release(self.flushed) {
            worker.answer_leaves(now, &octets);
            worker.wire.outbox.push(flow, octets);
        }
    }

    pub(super) fn start_again(&mut self) {
        (self.awaiting, self.flushed) = (Awaiting::default(), 0);
    }
}

impl Simulation {
    /// A flush comes to its end.
    fn flush_disk(&mut self) {
        self.disk.flushed = self.worker.journal.written_mark();
        self.flush();
    }

    /// The disk takes no more.
    fn fill_disk(&mut self) {
        let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
        self.disk.set_aside = Some(self.worker.journal.replace_file(full));
    }

    /// The disk has room again.
    fn make_room(&mut self) {
        let file = self.disk.set_aside.take().expect("it was full");
        self.worker.journal.replace_file(file);
    }

    /// The newest segment.
    fn segment(&self) -> std::path::PathBuf {
        let segments = std::fs::read_dir(self.dir.path().join("journal-0")).unwrap();
        segments.map(|entry| entry.unwrap().path()).max().unwrap()
    }

    /// The power is cut: of what was not flushed some octets are left, or none. A segment of an earlier run is on the
    /// disk, as the start of this one has brought it there.
    fn cut_power(&mut self, rng: &mut StdRng) {
        self.worker.commit();
        let file = File::options().write(true).open(self.segment()).unwrap();
        let flushed = self.disk.flushed;
        let left = rng.random_range(flushed..=file.metadata().unwrap().len());
        file.set_len(if rng.random_range(0..2) == 0 { flushed } else { left }).unwrap();
        self.start_again();
    }
}

#[test]
fn an_answer_and_its_retransmissions_wait_for_a_slow_disk() {
    let mut sim = Simulation::new();
    sim.disk.is_slow = true;
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.pass(Duration::from_secs(2));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.flush_disk();
    let answers = sim.sent_to(ACME);
    assert!(answers.len() == 3 && answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    sim.receive(ACME, &ack(&ingress, &answers[0], ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    // The call lasts from when the caller was told.
    sim.pass(Duration::from_secs(1));
    sim.disk.is_slow = false;
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &(ingress, answers[0].clone(), egress)));
    assert_eq!(sim.one_cdr().duration_ms, Some(1_000));
}

#[test]
fn while_the_disk_is_full_answers_of_calls_under_way_wait_and_calls_that_are_up_go_on() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let ingress = sim.invite("+442079460001");
    let egress = sim.one_to(GLOBEX);
    sim.sent_to(ACME);
    sim.fill_disk();
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.pass(Duration::from_secs(3));
    assert_eq!(sim.kinds_to(ACME), ["180"]);
    assert!(sim.worker.journal.is_failing());
    sim.receive(ACME, &from_caller("INFO", "2 INFO", &up));
    let info = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&info, "200 OK", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    let reinvite = from_caller("INVITE", "3 INVITE", &up);
    sim.receive(ACME, &reinvite);
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(ACME), ["100", "200"]);
    sim.receive(ACME, &reinvite.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack"));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.receive(ACME, &from_caller("BYE", "4 BYE", &up));
    assert_eq!((sim.kinds_to(ACME), sim.kinds_to(GLOBEX)), (vec!["200".to_owned()], vec!["BYE".to_owned()]));
    sim.make_room();
    sim.pass(Duration::from_secs(4));
    let answer = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(kind(&answer), "200");
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    assert_eq!(sim.sent_to(GLOBEX).iter().map(|sent| kind(sent)).next_back().as_deref(), Some("ACK"));
    assert_eq!(sim.cdrs().len(), 1, "of the call that ended while the disk was full");
    sim.restart();
    assert_eq!(sim.worker.calls.values().filter(|call| !call.is_over()).count(), 1);
}

#[test]
fn after_a_failed_flush_answers_wait_for_a_new_segment_that_alone_knows_of_the_calls() {
    let mut sim = Simulation::new();
    sim.call_up();
    let first = sim.segment();
    sim.disk.refuses_flush = true;
    let ingress = sim.invite("+442079460001");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.pass(Duration::from_secs(1));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.invite("+442079460002");
    assert_eq!(sim.kinds_to(ACME), ["100", "503"]);
    sim.disk.refuses_flush = false;
    sim.pass(Duration::from_secs(4));
    // The refusal, which nobody acknowledges, is among what is sent.
    let answer = sim.sent_to(ACME).into_iter().rfind(|sent| kind(sent) == "200").unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    std::fs::remove_file(first).unwrap();
    sim.restart();
    assert_eq!(sim.worker.calls.values().filter(|call| !call.is_over()).count(), 2);
}

#[test]
fn a_disk_that_is_full_for_too_long_ends_the_call_and_no_bye_overtakes_the_answer() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.fill_disk();
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.pass(Duration::from_millis(32_100));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.make_room();
    sim.flush();
    let kinds = sim.kinds_to(ACME);
    assert_eq!(
        (kinds.first().map(|first| &**first), kinds.last().map(|last| &**last)),
        (Some("200"), Some("BYE"))
    );
    assert_eq!(sim.one_cdr().reason.as_deref(), Some("no_ack"));
}

#[test]
fn no_power_cut_forgets_an_answer_that_a_caller_has_got() {
    let (mut left, mut cuts) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sim = Simulation::new();
        let mut facts = facts();
        facts.endpoints[0].max_calls = None;
        sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
        sim.disk.is_slow = true;
        // What each side has yet to do, and the Call-IDs of answers that have left.
        let mut to_answer: Vec<String> = Vec::new();
        let mut to_ack: Vec<(String, String)> = Vec::new();
        let mut up: Vec<(String, String, String)> = Vec::new();
        let mut invites: HashMap<String, String> = HashMap::new();
        let mut answered: Vec<String> = Vec::new();
        for _ in 0..120 {
            // No two starts are at the same moment.
            sim.set_instant(sim.now.instant + Duration::from_millis(1));
            match rng.random_range(0..100) {
                0..20 => {
                    let invite = sim.invite("+442079460000");
                    invites.insert(field(&invite, "Call-ID").to_owned(), invite);
                }
                20..45 if !to_answer.is_empty() => {
                    let egress = to_answer.swap_remove(rng.random_range(0..to_answer.len()));
                    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
                }
                45..60 if !to_ack.is_empty() => {
                    let (ingress, answer) = to_ack.swap_remove(rng.random_range(0..to_ack.len()));
                    sim.receive(ACME, &ack(&ingress, &answer, ""));
                    up.push((ingress, answer, String::new()));
                }
                60..70 if !up.is_empty() => {
                    let call = up.swap_remove(rng.random_range(0..up.len()));
                    sim.receive(ACME, &from_caller("BYE", "2 BYE", &call));
                }
                70..85 => sim.flush_disk(),
                85..90 => sim.restart(),
                90..94 => {
                    cuts += 1;
                    sim.cut_power(&mut rng);
                    let over = sim.cdrs();
                    for call_id in &answered {
                        let is_up =
                            sim.worker.calls.values().any(|call| *call.cdr.ingress_call_id == **call_id);
                        let is_over = over.iter().any(|cdr| cdr.ingress_call_id == *call_id);
                        assert!(is_up || is_over, "seed {seed}: {call_id} was answered and is forgotten");
                    }
                }
                _ => sim.pass(Duration::from_millis(rng.random_range(0..700))),
            }
            for (to, message) in std::mem::take(&mut sim.sent) {
                if to == GLOBEX && kind(&message) == "INVITE" {
                    to_answer.push(message);
                } else if to == ACME && kind(&message) == "200" && field(&message, "CSeq") == "1 INVITE" {
                    let call_id = field(&message, "Call-ID").to_owned();
                    to_ack.push((invites[&call_id].clone(), message));
                    answered.push(call_id);
                }
            }
        }
        left += answered.len();
    }
    assert!(left > 500 && cuts > 200, "{left} answers, {cuts} cuts");
}

#[test]
fn after_a_crash_a_call_lasts_from_when_its_answer_left() {
    let mut sim = Simulation::new();
    sim.disk.is_slow = true;
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.pass(Duration::from_millis(300));
    sim.flush_disk();
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    sim.pass(Duration::from_millis(100));
    sim.disk.is_slow = false;
    sim.restart();
    sim.pass(Duration::from_millis(900));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &(ingress, answer, egress)));
    assert_eq!(sim.one_cdr().duration_ms, Some(1_000));
}

//! A called switch whose manners a scenario changes while it runs: it answers, is silent, answers late, or refuses.
//!
//! It takes every call to be busy (486), the called party's own no, so that a call is over with its answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::address::peer_address;
use crate::socket::Socket;
use crate::wait::now;

/// How often it looks for what it was to answer later, and whether it is to end.
const LOOK: Duration = Duration::from_millis(5);

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 486 to INVITE, 200 to OPTIONS.
    Answers,
    /// The same after a while.
    Late(Duration),
    /// 503 to both, with Retry-After in seconds where there is one.
    Refuses(Option<u32>),
    /// 486 to INVITE and nothing to OPTIONS, as a switch behind a filter.
    DropsOptions,
    /// Nothing at all.
    Silent,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// When.
    pub at: Instant,
    /// Its method.
    pub method: String,
    /// Its Call-ID: the same where it came again.
    pub call_id: String,
}

/// The switch. It ends when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    came: Arc<Mutex<Vec<Came>>>,
    running: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gateway {
    /// A switch with these manners, at an address of its own.
    pub fn start(manner: Manner) -> Self {
        let socket = Socket::at(peer_address());
        let address = socket.address();
        let (manner, came) = (Arc::new(Mutex::new(manner)), Arc::default());
        let running = Arc::new(AtomicBool::new(true));
        let thread = thread::spawn({
            let (manner, came, running) = (Arc::clone(&manner), Arc::clone(&came), running.clone());
            move || serve(&socket, &manner, &came, &running)
        });
        Self { address, manner, came, running, thread: Some(thread) }
    }

    /// Its host.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The address as the target of an endpoint.
    pub fn target(&self) -> String {
        format!("sip:{};transport=udp", self.address)
    }

    /// Behaves otherwise from now on; gives since when.
    pub fn become_one_that(&self, manner: Manner) -> Instant {
        *lock(&self.manner) = manner;
        now()
    }

    /// Requests of a method that came since then, those that came again left out.
    pub fn came(&self, method: &str, since: Instant) -> Vec<Came> {
        let mut known = std::collections::HashSet::new();
        let came = lock(&self.came);
        let meant = came.iter().filter(|came| came.method == method && came.at >= since);
        meant.filter(|came| known.insert(came.call_id.clone())).cloned().collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong in it shows in what the scenario saw.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &Socket, manner: &Mutex<Manner>, came: &Mutex<Vec<Came>>, running: &AtomicBool) {
    let mut later: Vec<(Instant, SocketAddr, String)> = Vec::new();
    while running.load(Ordering::Relaxed) {
        if let Some((request, from)) = socket.receive_from(LOOK) {
            let method = request.split(' ').next().unwrap_or("").to_owned();
            let call_id = request.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap_or("");
            lock(came).push(Came { at: now(), method: method.clone(), call_id: call_id.to_owned() });
            let manner = *lock(manner);
            let status = match (manner, &*method) {
                (Manner::Silent, _) | (_, "ACK") | (Manner::DropsOptions, "OPTIONS") => None,
                (Manner::Refuses(_), "INVITE" | "OPTIONS") => Some(503),
                (_, "INVITE") => Some(486),
                _ => Some(200),
            };
            if let Some(status) = status {
                let mut response = socket.response(&request, status);
                if let Manner::Refuses(Some(seconds)) = manner {
                    response = response
                        .replace("Content-Length:", &format!("Retry-After: {seconds}\r\nContent-Length:"));
                }
                let wait = if let Manner::Late(wait) = manner { wait } else { Duration::ZERO };
                later.push((now() + wait, from, response));
            }
        }
        later.retain(|(at, to, response)| {
            let is_due = *at <= now();
            if is_due {
                socket.send(*to, response.as_bytes());
            }
            !is_due
        });
    }
}

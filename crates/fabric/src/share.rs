//! How the workers of a node divide its work, and what they have in common.
//!
//! A call is one worker's from its INVITE on. Whatever follows says whose it is: every tag and branch that a
//! worker makes begins with its number. What begins something goes by the called number, so that all calls
//! between two numbers meet at one worker, which sees when they go round.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use ahash::RandomState;
use tandem_sip::transaction::key;
use tandem_sip::{Message, Uri};

use crate::admission::{Certificates, Neighbours};
use crate::identity::Acquaintances;
use crate::limit::Limits;
use crate::nonce::Nonces;
use crate::registrar::Registrar;
use crate::server_set::SharedServerSets;
use crate::standing::Standings;
use crate::transaction::{parse_branch, parse_hex};

/// Most workers of a node.
pub(crate) const MAX_WORKERS: usize = 64;

/// Last digits of a called number by which it finds its worker: however many digits its country and its
/// carrier put before them, they are the same.
const DIGITS: usize = 8;

/// What all workers of a node have together.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) limits: Limits,
    pub(crate) neighbours: Neighbours,
    /// What the DNS names of endpoints lead to.
    pub(crate) server_sets: SharedServerSets,
    pub(crate) certificates: Certificates,
    pub(crate) standings: Standings,
    pub(crate) acquaintances: Acquaintances,
    /// Made at the first use.
    pub(crate) nonces: OnceLock<Nonces>,
    pub(crate) registrar: Registrar,
    /// Calls being set up or up.
    pub(crate) active_calls: AtomicUsize,
}

/// One worker's part of the node.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// Which worker it is, from 0.
    pub(crate) index: u8,
    /// How many there are.
    workers: u8,
    numbers: RandomState,
    pub(crate) common: Arc<Common>,
}

impl Share {
    /// The shares of `workers` workers, from 1 to [`MAX_WORKERS`].
    pub(crate) fn all(workers: usize) -> Vec<Self> {
        let workers = workers.clamp(1, MAX_WORKERS) as u8;
        let common = Arc::<Common>::default();
        // Nobody gains by knowing which worker a number goes to.
        let numbers = RandomState::with_seeds(1, 2, 3, 4);
        (0..workers)
            .map(|index| Self { index, workers, numbers: numbers.clone(), common: common.clone() })
            .collect()
    }

    /// How many workers the node has.
    pub(crate) fn workers(&self) -> u32 {
        self.workers.into()
    }

    /// A tag or branch of this worker, of random bits.
    pub(crate) fn mint(&self, random: u64) -> u64 {
        u64::from(self.index) << 56 | random >> 8
    }

    /// Whose a tag or branch is. One of a worker that is no more, since the node was restarted with fewer, has
    /// another owner.
    pub(crate) fn owner_of(&self, minted: u64) -> u8 {
        (minted >> 56) as u8 % self.workers
    }

    /// Whose a message is; any worker may have one that is nobody's.
    pub(crate) fn owner(&self, message: &Message<'_>) -> u8 {
        if self.workers == 1 {
            return 0;
        }
        let Some(line) = message.request() else {
            let branch = key::client_branch(message).ok().and_then(|(branch, _)| parse_branch(branch));
            return branch.map_or(self.index, |branch| self.owner_of(branch));
        };
        if let Some(tag) = message.to_tag().and_then(parse_hex) {
            return self.owner_of(tag);
        }
        // CANCEL and the ACK to a failure have the Request-URI of their INVITE (RFC 3261 §9.1, §17.1.1.3).
        let called = Uri::parse(line.uri).ok().and_then(|uri| uri.user_number()).unwrap_or(line.uri);
        let mut digits = [0; DIGITS];
        let last = called.iter().rev().filter(|octet| octet.is_ascii_digit());
        let count = last.zip(&mut digits).map(|(digit, place)| *place = *digit).count();
        let hash = match count {
            0 => self.numbers.hash_one(called),
            _ => self.numbers.hash_one(digits),
        };
        (hash % u64::from(self.workers)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, to_tag: &str) -> String {
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:h>{to_tag}\r\n\
             From: <sip:h>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
        )
    }

    fn owner(share: &Share, message: &str) -> u8 {
        share.owner(&Message::parse(message.as_bytes()).unwrap())
    }

    #[test]
    fn what_a_worker_made_comes_back_to_it_whoever_receives_it() {
        let shares = Share::all(5);
        for (maker, random) in shares.iter().zip([0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 42 << 50]) {
            let made = maker.mint(random);
            for receiver in &shares {
                assert_eq!(receiver.owner_of(made), maker.index);
                let in_dialog = request("sip:h", &format!(";tag={made:016x}"));
                assert_eq!(owner(receiver, &in_dialog), maker.index);
                let response = format!(
                    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{made:016x}\r\nTo: <sip:h>;tag=2\r\n\
                     From: <sip:h>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
                );
                assert_eq!(owner(receiver, &response), maker.index);
            }
        }
    }

    #[test]
    fn a_called_number_has_one_worker_however_it_is_written() {
        let shares = Share::all(8);
        for written in [
            "sip:+442079460000@a",
            "sip:00442079460000@b;user=phone",
            "tel:+44-20-7946-0000",
            "sip:02079460000@c",
        ] {
            for receiver in &shares {
                assert_eq!(
                    owner(receiver, &request(written, "")),
                    owner(&shares[0], &request("sip:+442079460000@hub", "")),
                    "{written}"
                );
            }
        }
    }

    #[test]
    fn numbers_are_divided_evenly() {
        let shares = Share::all(4);
        let mut counts = [0; 4];
        for n in 0..4_000 {
            counts[usize::from(owner(&shares[0], &request(&format!("sip:+4420794{n:05}@h"), "")))] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}

//! Challenge calls: the hub calls a number of a range by an endpoint that the operator chose, and ends the call. The
//! calling number bears a code, which only whoever takes calls to the number sees.
//!
//! Nodes take challenges from Postgres, each challenge one node. The first worker places the call as a client of its own,
//! with no CDR: it rings for a while and is cancelled (RFC 3261 §9.1), or is ended as soon as it is answered (§15). What
//! became of it is written back; the code is the portal's matter.

use std::time::Duration;

use slotmap::SlotMap;
use tandem_model::{Clock, EndpointId, NodeId, SessionTimer};
use tandem_sip::{Message, Method, Writer};
use tandem_store::range_challenge::{self, ChallengeOrder, ChallengeOutcome};
use tandem_store::{PgPool, database};
use tokio::sync::mpsc;
use uuid::Uuid;

use std::net::IpAddr;
use std::sync::Arc;

use crate::crossing::ALLOW;
use crate::invite::addresses_of;
use crate::leg::format_tag;
use crate::outbox::{Octets, Parcel};
use crate::session::write_timer;
use crate::timer::{TimerHandle, Wake};
use crate::transaction::{Outgoing, TransactionKey, User, format_branch};
use crate::worker::{Now, Worker};

/// How long a challenge call may take before it is cancelled: a phone rings a few times in it.
const RINGS: Duration = Duration::from_secs(25);

/// Time between two looks at what is to be called.
const LOOK: Duration = Duration::from_secs(1);

/// Longest time that Postgres may take for a statement before it counts as away.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Most calls that a node takes at one look.
const AT_ONCE: i64 = 10;

slotmap::new_key_type! {
    /// Names a challenge call under way.
    pub(crate) struct ChallengeKey;
}

/// A challenge call under way.
#[derive(Debug)]
pub(crate) struct Challenge {
    challenge_id: Uuid,
    endpoint: EndpointId,
    client: TransactionKey,
    ip: IpAddr,
    timer: TimerHandle,
    rang: bool,
}

/// What became of a challenge call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChallengeReport {
    pub(crate) challenge_id: Uuid,
    pub(crate) outcome: ChallengeOutcome,
    /// The status of the response that ended it.
    pub(crate) status: Option<u16>,
}

/// The challenge calls of a worker.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    of: SlotMap<ChallengeKey, Challenge>,
    /// Who is told what became of them.
    pub(crate) reports: Option<mpsc::UnboundedSender<ChallengeReport>>,
}

impl Challenges {
    /// By which endpoint a call was placed.
    pub(crate) fn endpoint(&self, key: ChallengeKey) -> Option<EndpointId> {
        self.of.get(key).map(|challenge| challenge.endpoint)
    }

    fn report(&self, challenge_id: Uuid, outcome: ChallengeOutcome, status: Option<u16>) {
        tracing::info!(challenge = %challenge_id, ?outcome, status, "a challenge call is over");
        if let Some(reports) = &self.reports {
            // Without a listener the node is stopping.
            let _ = reports.send(ChallengeReport { challenge_id, outcome, status });
        }
    }
}

impl Worker {
    /// Calls a number, or says that it cannot.
    pub(crate) fn place_challenge(&mut self, now: Now, order: &ChallengeOrder) {
        if !self.send_challenge(now, order) {
            self.challenges.report(order.challenge_id, ChallengeOutcome::Unplaced, None);
        }
    }

    /// Sends the INVITE; false where there is no way to the endpoint, or the node is stopping.
    fn send_challenge(&mut self, now: Now, order: &ChallengeOrder) -> bool {
        let table = self.table.clone();
        let Some(endpoint) = table.endpoint(order.endpoint_id).filter(|it| it.enabled && !self.draining)
        else {
            return false;
        };
        let Ok((flow, _)) = self.destinations(endpoint, now) else { return false };
        let (tag, branch) = (format_tag(self.mint()), self.mint());
        let local = &self.locals[usize::from(flow.listener)];
        let (uri, to) = addresses_of(endpoint, flow, &order.called.digits(), None);
        let numbers = &endpoint.policy.numbers;
        let phone = if numbers.user_phone { ";user=phone" } else { "" };
        let (calling, host) = (numbers.write(order.calling), local.host_to(&endpoint.policy));
        // An offer, since some take no call without one; no media ever comes (RFC 3264 §5.1, port 9 is discard).
        let address = local.address.ip();
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let sdp = format!(
            "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
             m=audio 9 RTP/AVP 8 0\r\na=inactive\r\n"
        );
        let mut writer = Writer::request(&mut self.scratch, Method::Invite, uri.as_bytes());
        let via = flow.transport.as_via();
        writer.header(
            "Via",
            format_args!("SIP/2.0/{via} {};rport;branch={}", local.host, format_branch(branch)),
        );
        writer.header("Max-Forwards", 70);
        writer.header("From", format_args!("<sip:{calling}@{host}{phone}>;tag={tag}"));
        writer.header("To", to);
        writer.header("Call-ID", format_args!("{tag}@{}", local.host));
        writer.header("CSeq", "1 INVITE");
        writer.header("Contact", local.contact_to(&endpoint.policy));
        // RFC 3261 §13.2.1.
        writer.header("Allow", ALLOW);
        write_timer(&mut writer, endpoint.policy.session.timer != SessionTimer::Off);
        writer.header("Content-Type", "application/sdp");
        writer.finish(None, sdp.as_bytes());
        let outgoing = Outgoing { branch, flow, octets: Octets::from(self.scratch.as_slice()) };
        let ip = flow.remote.ip();
        // An endpoint that only receives sends from nowhere else: its answer is to be heard.
        self.share.common.neighbours.add(ip);
        let (challenge_id, endpoint) = (order.challenge_id, order.endpoint_id);
        let (client, timer) = (TransactionKey::default(), TimerHandle::NONE);
        let key =
            self.challenges.of.insert(Challenge { challenge_id, endpoint, client, ip, timer, rang: false });
        let user = User::Challenge(key);
        let client =
            self.transactions.open_client(&mut self.wire, now.instant, Method::Invite, outgoing, user);
        let timer = self.wire.timers.set(now.instant + RINGS, Wake::Challenge(key));
        let challenge = &mut self.challenges.of[key];
        (challenge.client, challenge.timer) = (client, timer);
        true
    }

    /// The endpoint answered the INVITE of a challenge call.
    pub(crate) fn challenge_response(
        &mut self,
        now: Now,
        key: ChallengeKey,
        client: TransactionKey,
        response: &Message<'_>,
        status: u16,
    ) {
        if (200..300).contains(&status) {
            // One that was given up meanwhile, too, and each fork.
            self.hang_up_fork(now, client, response);
        }
        let Some(challenge) = self.challenges.of.get_mut(key) else {
            if status < 200 {
                self.cancel_abandoned(now, client, None);
            }
            return;
        };
        // Another one than the first where the endpoint wanted a proof.
        challenge.client = client;
        match status {
            100 => {}
            101..=199 => challenge.rang = true,
            200..=299 => self.end_challenge(key, ChallengeOutcome::Answered, Some(status)),
            _ => self.end_challenge(key, ChallengeOutcome::Refused, Some(status)),
        }
    }

    /// A challenge call has rung, or been silent, for long enough.
    pub(crate) fn challenge_overdue(&mut self, now: Now, key: ChallengeKey) {
        let Some(challenge) = self.challenges.of.get(key) else { return };
        let (client, rang) = (challenge.client, challenge.rang);
        self.abandon(now, client, None);
        self.end_challenge(
            key,
            if rang { ChallengeOutcome::Rang } else { ChallengeOutcome::Unanswered },
            None,
        );
    }

    /// The INVITE of a challenge call got no answer at all.
    pub(crate) fn challenge_failed(&mut self, key: ChallengeKey) {
        self.end_challenge(key, ChallengeOutcome::Unanswered, None);
    }

    fn end_challenge(&mut self, key: ChallengeKey, outcome: ChallengeOutcome, status: Option<u16>) {
        let Some(challenge) = self.challenges.of.remove(key) else { return };
        self.wire.timers.cancel(challenge.timer);
        self.share.common.neighbours.remove(challenge.ip);
        self.challenges.report(challenge.challenge_id, outcome, status);
    }
}

/// Brings a node the challenge calls that it is to place, and Postgres what became of them.
pub struct Challenger {
    node_id: NodeId,
    first: mpsc::Sender<Parcel>,
    reports: mpsc::UnboundedReceiver<ChallengeReport>,
    clock: Arc<dyn Clock>,
}

impl Challenger {
    pub(crate) fn new(
        node_id: NodeId,
        first: mpsc::Sender<Parcel>,
        reports: mpsc::UnboundedReceiver<ChallengeReport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { node_id, first, reports, clock }
    }

    /// Works for ever; drop the future to stop.
    pub async fn run(mut self, db: PgPool) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unwritten = Vec::new();
        loop {
            let is_due = tokio::select! {
                Some(report) = self.reports.recv() => {
                    unwritten.push(report);
                    false
                }
                _ = look.tick() => true,
            };
            if let Err(error) = self.bring(&db, &mut unwritten, is_due).await {
                tracing::warn!(%error, "cannot bring challenge calls to and from Postgres; will try again");
            }
        }
    }

    /// Writes what became of calls, and keeps what Postgres does not take; then, where that is due, takes others.
    async fn bring(
        &self,
        db: &PgPool,
        unwritten: &mut Vec<ChallengeReport>,
        is_due: bool,
    ) -> Result<(), tandem_store::Error> {
        while let Some(ChallengeReport { challenge_id, outcome, status }) = unwritten.last().copied() {
            let write = range_challenge::conclude(db, challenge_id, outcome, status, self.clock.now());
            database::within(TIMEOUT, write).await?;
            unwritten.pop();
        }
        if is_due { self.take(db, unwritten).await } else { Ok(()) }
    }

    async fn take(
        &self,
        db: &PgPool,
        unwritten: &mut Vec<ChallengeReport>,
    ) -> Result<(), tandem_store::Error> {
        let take = range_challenge::take(db, self.node_id, AT_ONCE, self.clock.now());
        for order in database::within(TIMEOUT, take).await? {
            let challenge_id = order.challenge_id;
            if self.first.try_send(Parcel::Challenge(order)).is_err() {
                let outcome = ChallengeOutcome::Unplaced;
                unwritten.push(ChallengeReport { challenge_id, outcome, status: None });
            }
        }
        Ok(())
    }
}

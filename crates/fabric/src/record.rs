//! What the journal says of a call, so that a restarted node can carry it on and its CDR is never lost.
//!
//! A [`CallRecord`] is a CDR as the worker keeps it: typed and small. What follows from the selection is not said
//! twice, and only the shipper, off the way of calls, makes a [`Cdr`] of it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tandem_model::{
    Attempt, CallId, Cause, Cdr, EndedBy, EndpointId, MemberId, NodeId, Outcome, Prefix, Reason,
    TraceSelectionId, Transport,
};
use tandem_routing::{Candidate, Selection};

use crate::session::Session;

/// One record of the journal.
#[expect(
    clippy::large_enum_variant,
    reason = "a record lives for a moment, and the common one is not boxed for it"
)]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    /// The call is up, in this state. The last one of a call counts.
    Up(Box<UpRecord<'a>>),
    /// The answer that this call waited for is acknowledged: whoever got it knows that the call is up. With when
    /// the call's first answer left.
    Acked(CallId, #[serde(with = "optional_micros")] Option<DateTime<Utc>>),
    /// The call is over.
    Over(Cow<'a, CallRecord>),
    /// Every call that was up when the segment began stands before this record, so that older segments are
    /// no longer needed for recovery.
    Checkpoint,
}

/// An answered call.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UpRecord<'a> {
    /// Its CDR so far.
    pub(crate) cdr: Cow<'a, CallRecord>,
    /// Whether the caller has acknowledged the answer.
    pub(crate) acked: bool,
    /// The 2xx that was sent last, to the first INVITE or to another one, until its ACK comes.
    pub(crate) answer: Option<AnswerRecord<'a>>,
    /// The leg facing the originating member.
    pub(crate) ingress: LegRecord<'a>,
    /// The leg facing the terminating member.
    pub(crate) egress: LegRecord<'a>,
    /// How it is traced, if it is.
    pub(crate) trace: Option<TraceRecord>,
}

/// How a call is traced, so that a restarted node goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceRecord {
    /// For which selection; `None` for chance, or because everything is exported.
    pub(crate) selection: Option<TraceSelectionId>,
    /// Whether its messages are kept, and not only exported.
    pub(crate) is_kept: bool,
    /// The position of its next message, as far as is known.
    pub(crate) next: u32,
    /// Messages that were told.
    pub(crate) told: u32,
    /// Messages that found no room.
    pub(crate) dropped: u32,
}

/// A 2xx to INVITE whose ACK is awaited.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnswerRecord<'a> {
    /// Whether it goes to the originating member.
    pub(crate) to_caller: bool,
    /// As it is sent.
    #[serde(with = "octets")]
    pub(crate) octets: Cow<'a, [u8]>,
    /// To where.
    pub(crate) remote: SocketAddr,
    /// Number in the CSeq of the INVITE that came.
    pub(crate) server_cseq: u32,
    /// Number in the CSeq of the INVITE that was sent on.
    pub(crate) client_cseq: u32,
    /// The number in the branch of that one.
    pub(crate) branch: Option<u64>,
    /// When it was sent first.
    #[serde(with = "micros")]
    pub(crate) since: DateTime<Utc>,
    /// When the other side hung up without waiting for the ACK.
    #[serde(with = "optional_micros")]
    pub(crate) hung_up: Option<DateTime<Utc>>,
}

/// The record of one call, as it grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    pub(crate) call_id: CallId,
    #[serde(with = "micros")]
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) originating_member: MemberId,
    pub(crate) originating_endpoint: EndpointId,
    /// The calling party's user part, as sent: not always a number.
    pub(crate) calling: Box<str>,
    /// The called number as digits, or the called user part where it is no number.
    pub(crate) called: Box<str>,
    pub(crate) ingress_call_id: Box<str>,
    /// Version of the route table that was asked.
    pub(crate) table_version: u64,
    /// The selection that was made; `None` for a call that was refused before.
    pub(crate) selection: Option<Box<Selection>>,
    pub(crate) attempts: SmallVec<[AttemptRecord; 1]>,
    /// How it ended; `None` while it is up.
    pub(crate) outcome: Option<Outcome>,
    /// The final status sent to the originating member.
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<Reason>,
    /// When the hub sent its answer to the originating member.
    #[serde(with = "optional_micros")]
    pub(crate) answered_at: Option<DateTime<Utc>>,
    #[serde(with = "optional_micros")]
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) ended_by: Option<EndedBy>,
    pub(crate) setup_ms: Option<u32>,
    pub(crate) duration_ms: Option<u64>,
    /// Why the ingress leg ended, as far as it was said there.
    pub(crate) cause: Cause,
    /// When the two members were last heard from in a call that the hub ended.
    pub(crate) heard: Option<Heard>,
}

/// When the two sides of a call were last heard from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    #[serde(with = "micros")]
    pub(crate) originating_at: DateTime<Utc>,
    #[serde(with = "micros")]
    pub(crate) terminating_at: DateTime<Utc>,
}

/// One INVITE sent toward one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    /// Index of the candidate in the selection.
    pub(crate) candidate: u8,
    #[serde(with = "micros")]
    pub(crate) attempted_at: DateTime<Utc>,
    #[serde(with = "optional_micros")]
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<Reason>,
    /// Why the egress leg ended, as far as it was said there.
    pub(crate) cause: Cause,
    /// The number that it was made for, where a redirection led to another than the called one.
    pub(crate) called: Option<Box<str>>,
    pub(crate) egress_call_id: Box<str>,
}

impl CallRecord {
    /// The candidate at `index` of the selection.
    pub(crate) fn candidate(&self, index: u8) -> Option<&Candidate> {
        self.selection.as_ref()?.candidates.get(usize::from(index))
    }

    /// The candidate that took the call, or was tried last.
    pub(crate) fn tried(&self) -> Option<&Candidate> {
        self.candidate(self.attempts.last()?.candidate)
    }

    /// The number that the last attempt was made for, as digits.
    pub(crate) fn attempted(&self) -> &str {
        let attempt = self.attempts.last().and_then(|attempt| attempt.called.as_deref());
        attempt.unwrap_or(&self.called)
    }

    /// Why the leg of an attempt ended; nothing while it is up or pending.
    fn cause_of(&self, attempt: &AttemptRecord) -> Cause {
        let was_answered = attempt.status.is_some_and(|status| status < 300);
        match (was_answered, self.outcome, attempt.ended_at) {
            (true, Some(_), _) => attempt.cause.completed(None),
            (false, _, Some(_)) => {
                let status = attempt.status.or_else(|| attempt.reason.map(Reason::status));
                attempt.cause.completed(status)
            }
            (true, None, _) | (false, _, None) => Cause::default(),
        }
    }

    /// The CDR of the call.
    pub(crate) fn to_cdr(&self, node_id: NodeId) -> Cdr {
        let tried = self.tried();
        let attempts = self.attempts.iter().zip(1..).filter_map(|(attempt, position)| {
            let candidate = self.candidate(attempt.candidate)?;
            Some(Attempt {
                position,
                terminating_member: candidate.member,
                endpoint: candidate.endpoint,
                attempted_at: attempt.attempted_at,
                ended_at: attempt.ended_at,
                status: attempt.status,
                reason: attempt.reason.map(|reason| reason.code().to_owned()),
                called: attempt.called.as_deref().map(str::to_owned),
                cause: self.cause_of(attempt),
                egress_call_id: attempt.egress_call_id.to_string(),
            })
        });
        Cdr {
            call_id: self.call_id,
            node_id,
            started_at: self.started_at,
            originating_member: self.originating_member,
            originating_endpoint: self.originating_endpoint,
            calling: self.calling.to_string(),
            called: self.called.to_string(),
            terminating_member: tried.map(|candidate| candidate.member),
            terminating_endpoint: tried.map(|candidate| candidate.endpoint),
            agreement: tried.map(|candidate| candidate.agreement),
            prefix: tried.map(|candidate| -> Prefix { candidate.prefix }),
            outcome: self.outcome,
            status: self.status,
            reason: self.reason.map(|reason| reason.code().to_owned()),
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            ended_by: self.ended_by,
            setup_ms: self.setup_ms,
            duration_ms: self.duration_ms,
            originating_heard_at: self.heard.map(|heard| heard.originating_at),
            terminating_heard_at: self.heard.map(|heard| heard.terminating_at),
            cause: match (self.outcome, self.answered_at) {
                (None, _) => Cause::default(),
                (Some(_), Some(_)) => self.cause.completed(None),
                (Some(_), None) => self.cause.completed(self.status),
            },
            ingress_call_id: self.ingress_call_id.to_string(),
            table_version: self.table_version,
            selection: serde_json::to_string(&self.selection).expect("a selection is JSON"),
            attempts: attempts.collect(),
        }
    }
}

/// One leg of an answered call.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LegRecord<'a> {
    pub(crate) endpoint: EndpointId,
    pub(crate) member: MemberId,
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    pub(crate) targets: Cow<'a, [IpAddr]>,
    pub(crate) tag: u64,
    #[serde(with = "octets")]
    pub(crate) call_id: Cow<'a, [u8]>,
    #[serde(with = "octets")]
    pub(crate) remote_tag: Cow<'a, [u8]>,
    #[serde(with = "octets")]
    pub(crate) local_uri: Cow<'a, [u8]>,
    #[serde(with = "octets")]
    pub(crate) remote_uri: Cow<'a, [u8]>,
    #[serde(with = "octets")]
    pub(crate) remote_target: Cow<'a, [u8]>,
    /// Route values, each ended by a line feed.
    #[serde(with = "octets")]
    pub(crate) route_set: Cow<'a, [u8]>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    pub(crate) session: Session,
    /// When the member was last heard from on it.
    #[serde(with = "micros")]
    pub(crate) heard_at: DateTime<Utc>,
}

/// A moment as microseconds since 1970, the resolution of PostgreSQL.
mod micros {
    use chrono::{DateTime, Utc};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        at.timestamp_micros().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let micros = i64::deserialize(deserializer)?;
        DateTime::from_timestamp_micros(micros).ok_or_else(|| D::Error::custom("not a moment"))
    }
}

/// Perhaps a moment.
mod optional_micros {
    use chrono::{DateTime, Utc};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        at: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(|at| at.timestamp_micros()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        let at =
            |micros| DateTime::from_timestamp_micros(micros).ok_or_else(|| D::Error::custom("not a moment"));
        Option::<i64>::deserialize(deserializer)?.map(at).transpose()
    }
}

/// SIP octets, which need not be UTF-8, in one piece.
mod octets {
    use std::borrow::Cow;
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(octets)
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'a, [u8]>, D::Error> {
        struct Octets;

        impl Visitor<'_> for Octets {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }

            fn visit_bytes<E: Error>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
                Ok(octets.to_vec())
            }
        }

        deserializer.deserialize_bytes(Octets).map(Cow::Owned)
    }
}

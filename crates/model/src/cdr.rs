//! The record of one call.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{AgreementId, CallId, Cause, EndpointId, MemberId, NodeId, Prefix};

/// How a call ended, in one word; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 200 was sent to the originating member.
    Answered,
    /// 486 or 600.
    Busy,
    /// 480 or 408 from the called side, or it rang until it was given up.
    NoAnswer,
    /// The caller gave up before the answer.
    Cancelled,
    /// The called side said no in another way.
    Rejected,
    /// The hub refused before trying a route; the reason says why.
    Refused,
    /// No candidate could take it: time-outs, 5xx, connection failures.
    Failed,
    /// The originating member was told where to call directly (302).
    Redirected,
}

impl Outcome {
    /// Every outcome, for metrics that begin at 0.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Busy,
        Self::NoAnswer,
        Self::Cancelled,
        Self::Rejected,
        Self::Refused,
        Self::Failed,
        Self::Redirected,
    ];

    /// As in JSON, SQL and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Redirected => "redirected",
        }
    }
}

/// Who ended an answered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The originating member sent BYE.
    Originating,
    /// The terminating member sent BYE.
    Terminating,
    /// The hub ended it.
    Hub,
}

impl EndedBy {
    /// As in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Originating => "originating",
            Self::Terminating => "terminating",
            Self::Hub => "hub",
        }
    }
}

/// One INVITE sent toward one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first of a call.
    pub position: u16,
    /// To which member.
    pub terminating_member: MemberId,
    /// To which of its endpoints.
    pub endpoint: EndpointId,
    /// When the INVITE was sent.
    pub attempted_at: DateTime<Utc>,
    /// When its final response came, or the hub gave it up; `None` while it is pending.
    pub ended_at: Option<DateTime<Utc>>,
    /// The final status, where one came.
    pub status: Option<u16>,
    /// Code of the [`crate::Reason`] where the hub itself ended the attempt.
    pub reason: Option<String>,
    /// The Call-ID of the egress dialog.
    pub egress_call_id: String,
    /// The number that it was made for, where a redirection led to another than the called one.
    pub called: Option<String>,
    /// Why the egress leg ended.
    pub cause: Cause,
}

/// The record of one call. While the call is up, `outcome` and `ended_at` are `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdr {
    /// Its id (UUIDv7, made when the INVITE came).
    pub call_id: CallId,
    /// The node that carried it.
    pub node_id: NodeId,
    /// When the INVITE came.
    pub started_at: DateTime<Utc>,
    /// Who sent it.
    pub originating_member: MemberId,
    /// From which endpoint.
    pub originating_endpoint: EndpointId,
    /// The calling party's user part, as sent: not always a number.
    pub calling: String,
    /// The called number as digits, or the called user part where it is no number.
    pub called: String,
    /// Who took it, or was tried last.
    pub terminating_member: Option<MemberId>,
    /// At which endpoint.
    pub terminating_endpoint: Option<EndpointId>,
    /// The agreement under which it crossed.
    pub agreement: Option<AgreementId>,
    /// The announced prefix that matched.
    pub prefix: Option<Prefix>,
    /// How it ended; `None` while it is up.
    pub outcome: Option<Outcome>,
    /// The final status sent to the originating member.
    pub status: Option<u16>,
    /// Code of the [`crate::Reason`] where the hub refused or ended it.
    pub reason: Option<String>,
    /// When the hub sent its answer to the originating member.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// Who ended it, where it was answered.
    pub ended_by: Option<EndedBy>,
    /// From INVITE to the first response above 100 sent to the originating member, in milliseconds.
    pub setup_ms: Option<u32>,
    /// From answer to end, in milliseconds, by a clock that does not step.
    pub duration_ms: Option<u64>,
    /// When the originating member was last heard from, in a call that the hub ended.
    pub originating_heard_at: Option<DateTime<Utc>>,
    /// When the terminating member was last heard from, in a call that the hub ended.
    pub terminating_heard_at: Option<DateTime<Utc>>,
    /// Why the ingress leg ended.
    pub cause: Cause,
    /// The Call-ID of the ingress dialog.
    pub ingress_call_id: String,
    /// Version of the route table that was asked.
    pub table_version: u64,
    /// The selection that was made, as `routing` explains it; JSON text, `null` where none was.
    pub selection: String,
    /// Each INVITE that was sent, in order.
    pub attempts: Vec<Attempt>,
}

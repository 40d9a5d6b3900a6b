//! Rows as they come from the database, each column as if it could be null, and what the model makes of them.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use tandem_model::{
    Access, AdvanceOn, Agreement, AgreementId, AgreementTerms, Announcement, AnnouncementId, CallLimits,
    Club, Credential, CredentialId, Endpoint, EndpointId, Member, MemberId, NodeId, NumberError,
    OutboundCredential, Policy, Prefix, Range, RangeId, Registration, Source, Validity,
};

use crate::target::TargetColumns;
use crate::word;

pub(super) struct MemberRow {
    pub(super) member_id: Uuid,
    pub(super) name: Option<String>,
    pub(super) state: Option<String>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
}

impl TryFrom<MemberRow> for Member {
    type Error = String;

    fn try_from(row: MemberRow) -> Result<Self, String> {
        Ok(Self {
            member_id: MemberId(row.member_id),
            name: required("name", row.name)?,
            state: word("state", row.state)?,
            limits: limits(row.max_calls, row.max_calls_per_second)?,
        })
    }
}

pub(super) struct EndpointRow {
    pub(super) endpoint_id: Uuid,
    pub(super) member_id: Option<Uuid>,
    pub(super) name: Option<String>,
    pub(super) target_address: Option<IpNet>,
    pub(super) target_name: Option<String>,
    pub(super) target_port: Option<i32>,
    pub(super) target_transport: Option<String>,
    pub(super) priority: Option<i32>,
    pub(super) weight: Option<i32>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    pub(super) enabled: Option<bool>,
    pub(super) policy: Option<serde_json::Value>,
    pub(super) inbound_id: Option<Uuid>,
    pub(super) inbound_username: Option<String>,
    pub(super) inbound_realm: Option<String>,
    pub(super) inbound_ha1: Option<String>,
    pub(super) outbound_id: Option<Uuid>,
    pub(super) outbound_username: Option<String>,
    pub(super) outbound_realm: Option<String>,
    pub(super) outbound_ha1: Option<String>,
    pub(super) outbound_registers: Option<bool>,
    pub(super) registered_with: Option<Uuid>,
    pub(super) contact: Option<String>,
    pub(super) source_address: Option<IpNet>,
    pub(super) source_port: Option<i32>,
    pub(super) transport: Option<String>,
    pub(super) listener_address: Option<IpNet>,
    pub(super) listener_port: Option<i32>,
    pub(super) call_id: Option<String>,
    pub(super) cseq: Option<i64>,
    pub(super) registered_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) node_id: Option<Uuid>,
    pub(super) call_mark: Option<String>,
    pub(super) certificate_names: Vec<String>,
    pub(super) sites: Vec<String>,
    pub(super) source_nets: Vec<Option<IpNet>>,
    pub(super) source_ports: Vec<Option<i32>>,
}

/// A credential, where there is one.
fn credential(
    id: Option<Uuid>,
    username: Option<String>,
    realm: Option<String>,
    ha1: Option<String>,
) -> Result<Option<Credential>, String> {
    let Some(id) = id else { return Ok(None) };
    let ha1 = required("ha1", ha1)?.parse().map_err(|error| format!("ha1: {error}"))?;
    let (username, realm) = (required("username", username)?, required("realm", realm)?);
    Ok(Some(Credential { credential_id: CredentialId(id), username, realm, ha1 }))
}

impl EndpointRow {
    /// Takes out how the endpoint is known beside its addresses.
    fn take_access(&mut self) -> Result<Access, String> {
        let inbound = credential(
            self.inbound_id,
            self.inbound_username.take(),
            self.inbound_realm.take(),
            self.inbound_ha1.take(),
        )?;
        let outbound = credential(
            self.outbound_id,
            self.outbound_username.take(),
            self.outbound_realm.take(),
            self.outbound_ha1.take(),
        )?;
        let registers = self.outbound_registers.unwrap_or_default();
        let outbound = outbound.map(|credential| OutboundCredential { credential, registers });
        let Some(registered_with) = self.registered_with else {
            return Ok(Access { inbound, outbound, registration: None });
        };
        let address = |column, address: Option<IpNet>, port| {
            let port = fits(column, required(column, port)?)?;
            Ok::<_, String>(SocketAddr::new(required(column, address)?.addr(), port))
        };
        let cseq = required("cseq", self.cseq)?;
        let registration = Registration {
            credential_id: CredentialId(registered_with),
            contact: required("contact", self.contact.take())?,
            source: address("source", self.source_address, self.source_port)?,
            transport: word("transport", self.transport.take())?,
            listener: address("listener", self.listener_address, self.listener_port)?,
            call_id: required("call_id", self.call_id.take())?,
            cseq: cseq.try_into().map_err(|_| format!("cseq is {cseq}, which is out of its range"))?,
            registered_at: required("registered_at", self.registered_at)?,
            expires_at: required("expires_at", self.expires_at)?,
            node_id: NodeId(required("node_id", self.node_id)?),
        };
        Ok(Access { inbound, outbound, registration: Some(registration) })
    }
}

impl TryFrom<EndpointRow> for Endpoint {
    type Error = String;

    fn try_from(mut row: EndpointRow) -> Result<Self, String> {
        let _: Option<u16> = row.target_port.map(|port| fits("target_port", port)).transpose()?;
        let access = row.take_access()?;
        let target = TargetColumns {
            address: row.target_address,
            name: row.target_name,
            port: row.target_port,
            transport: row.target_transport,
        };
        let sources = row.source_nets.into_iter().zip(row.source_ports).map(|(net, port)| {
            let net = required("net", net)?.trunc();
            Ok(Source { net, port: port.map(|port| fits("port", port)).transpose()? })
        });
        let CallLimits { max_calls, max_calls_per_second } = limits(row.max_calls, row.max_calls_per_second)?;
        Ok(Self {
            endpoint_id: EndpointId(row.endpoint_id),
            member_id: MemberId(required("member_id", row.member_id)?),
            name: required("name", row.name)?,
            sources: sources.collect::<Result<_, String>>()?,
            call_mark: match required("call_mark", row.call_mark)? {
                mark if mark.is_empty() => None,
                mark => Some(mark.parse().map_err(|error| format!("call_mark: {error}"))?),
            },
            certificate_names: row.certificate_names,
            sites: row.sites,
            target: target.read().map_err(|error| error.to_string())?,
            access,
            priority: fits("priority", required("priority", row.priority)?)?,
            weight: fits("weight", required("weight", row.weight)?)?,
            max_calls,
            max_calls_per_second,
            enabled: required("enabled", row.enabled)?,
            policy: Policy::from_stored(&required("policy", row.policy)?),
        })
    }
}

pub(super) struct RangeRow {
    pub(super) range_id: Uuid,
    pub(super) member_id: Option<Uuid>,
    pub(super) prefix: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) valid_from: Option<DateTime<Utc>>,
    pub(super) valid_until: Option<DateTime<Utc>>,
}

impl TryFrom<RangeRow> for Range {
    type Error = String;

    fn try_from(row: RangeRow) -> Result<Self, String> {
        Ok(Self {
            range_id: RangeId(row.range_id),
            member_id: MemberId(required("member_id", row.member_id)?),
            prefix: prefix(row.prefix)?,
            authority: word("authority", row.authority)?,
            validity: validity(row.valid_from, row.valid_until)?,
        })
    }
}

pub(super) struct AnnouncementRow {
    pub(super) announcement_id: Uuid,
    pub(super) member_id: Option<Uuid>,
    pub(super) prefix: Option<String>,
    pub(super) valid_from: Option<DateTime<Utc>>,
    pub(super) valid_until: Option<DateTime<Utc>>,
    pub(super) endpoint_ids: Option<Vec<Uuid>>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    pub(super) tags: Option<Vec<String>>,
}

impl TryFrom<AnnouncementRow> for Announcement {
    type Error = String;

    fn try_from(row: AnnouncementRow) -> Result<Self, String> {
        Ok(Self {
            announcement_id: AnnouncementId(row.announcement_id),
            member_id: MemberId(required("member_id", row.member_id)?),
            prefix: prefix(row.prefix)?,
            endpoints: row.endpoint_ids.into_iter().flatten().map(EndpointId).collect(),
            validity: validity(row.valid_from, row.valid_until)?,
            limits: limits(row.max_calls, row.max_calls_per_second)?,
            tags: row.tags.iter().flatten().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
        })
    }
}

pub(super) struct AgreementRow {
    pub(super) agreement_id: Uuid,
    pub(super) proposing_member_id: Option<Uuid>,
    pub(super) accepting_member_id: Option<Uuid>,
    pub(super) direction: Option<String>,
    pub(super) state: Option<String>,
    pub(super) valid_from: Option<DateTime<Utc>>,
    pub(super) valid_until: Option<DateTime<Utc>>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    pub(super) advance_on: Option<serde_json::Value>,
    pub(super) terms: Option<serde_json::Value>,
}

impl TryFrom<AgreementRow> for Agreement {
    type Error = String;

    fn try_from(row: AgreementRow) -> Result<Self, String> {
        // An agreement that ended before it began has an empty interval, which has no start.
        let validity = row.valid_from.map(|from| Validity { from, until: row.valid_until });
        Ok(Self {
            agreement_id: AgreementId(row.agreement_id),
            proposing_member: MemberId(required("proposing_member_id", row.proposing_member_id)?),
            accepting_member: MemberId(required("accepting_member_id", row.accepting_member_id)?),
            direction: word("direction", row.direction)?,
            state: word("state", row.state)?,
            validity,
            limits: limits(row.max_calls, row.max_calls_per_second)?,
            advance_on: row.advance_on.map(advance_on).transpose()?,
            terms: row.terms.map(terms).transpose()?,
        })
    }
}

pub(super) struct ClubRow {
    pub(super) agreement_id: Uuid,
    pub(super) member_ids: Vec<Uuid>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    pub(super) advance_on: Option<serde_json::Value>,
    pub(super) terms: Option<serde_json::Value>,
}

impl TryFrom<ClubRow> for Club {
    type Error = String;

    fn try_from(row: ClubRow) -> Result<Self, String> {
        Ok(Self {
            agreement_id: AgreementId(row.agreement_id),
            members: row.member_ids.into_iter().map(MemberId).collect(),
            limits: limits(row.max_calls, row.max_calls_per_second)?,
            advance_on: row.advance_on.map(advance_on).transpose()?,
            terms: row.terms.map(terms).transpose()?,
        })
    }
}

fn terms(value: serde_json::Value) -> Result<Box<AgreementTerms>, String> {
    serde_json::from_value(value).map_err(|error| format!("terms: {error}"))
}

fn advance_on(value: serde_json::Value) -> Result<AdvanceOn, String> {
    serde_json::from_value(value).map_err(|error| format!("advance_on: {error}"))
}

pub(super) fn required<T>(column: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("{column} is null"))
}

fn word<T: DeserializeOwned>(column: &str, text: Option<String>) -> Result<T, String> {
    let text = required(column, text)?;
    word::read(&text).map_err(|_| format!("{column} is {text:?}, which this program does not know"))
}

pub(super) fn fits<T: TryFrom<i32>>(column: &str, value: i32) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{column} is {value}, which is out of its range"))
}

pub(super) fn limits(
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
) -> Result<CallLimits, String> {
    let limit = |column, max: Option<i32>| max.map(|max| fits(column, max)).transpose();
    Ok(CallLimits {
        max_calls: limit("max_calls", max_calls)?,
        max_calls_per_second: limit("max_calls_per_second", max_calls_per_second)?,
    })
}

pub(super) fn prefix(text: Option<String>) -> Result<Prefix, String> {
    let text = required("prefix", text)?;
    text.parse().map_err(|error: NumberError| format!("prefix is {text:?}: {error}"))
}

pub(super) fn validity(
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<Validity, String> {
    Ok(Validity { from: required("the start of valid_during", from)?, until })
}

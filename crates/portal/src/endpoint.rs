//! The SIP addresses of a member.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tandem_model::{
    Access, CallMark, CallMarkError, Endpoint, EndpointId, Host, MemberId, Reason, Scope, Source, Target,
    Trust,
};
use tandem_store::{announcement, endpoint, listener, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::call_limits;
use crate::endpoint_health::{HealthSummary, summaries};
use crate::page::{Page, PageQuery};
use crate::policy::{PolicyInput, PolicyView, keep_trust};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;

/// Most endpoints of a member.
const MAX_ENDPOINTS: i64 = 1000;

/// Most sources of an endpoint.
const MAX_SOURCES: usize = 64;

/// Most names by which an endpoint's certificate is known.
const MAX_CERTIFICATE_NAMES: usize = 16;

/// Largest blocks that an endpoint may send from: nobody has more in one place.
const MIN_PREFIX_LEN_V4: u8 = 16;
const MIN_PREFIX_LEN_V6: u8 = 32;

/// From where an endpoint may send.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SourceView {
    /// The addresses, in CIDR form.
    #[schema(example = "192.0.2.0/24")]
    net: String,
    /// The only port it sends from; any port where it is null.
    #[schema(required)]
    port: Option<u16>,
}

/// One SIP address of a member: where it sends from, where it receives, and how much.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EndpointView {
    #[schema(value_type = Uuid)]
    endpoint_id: EndpointId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    name: String,
    sources: Vec<SourceView>,
    /// Digits before the called number by which its calls are told from those of others at the same source.
    #[schema(required)]
    tech_prefix: Option<String>,
    /// Host of the Request-URI by which its calls are told from those of others at the same source.
    #[schema(required)]
    request_domain: Option<String>,
    /// The names in its TLS client certificate, by any of which it is known.
    certificate_names: Vec<String>,
    /// Where the hub sends calls for it.
    #[schema(example = "sip:192.0.2.21:5060;transport=udp")]
    target: String,
    /// Names of the sites where it meets the hub; anywhere where there is none.
    sites: Vec<String>,
    /// Lower is tried first.
    priority: u16,
    /// Share of the calls among endpoints of the same priority.
    weight: u16,
    /// Most calls up at once; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// Whether it takes part.
    enabled: bool,
    /// How the hub speaks with it.
    policy: PolicyView,
    created_at: DateTime<Utc>,
    /// How it fares, where the operation shows it: lists and single endpoints do.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthSummary>,
}

/// Names an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct EndpointRef {
    #[schema(value_type = Uuid)]
    pub(crate) endpoint_id: EndpointId,
    pub(crate) name: String,
}

/// From where an endpoint may send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceInput {
    /// An address, or a block of them in CIDR form.
    #[schema(example = "192.0.2.0/24")]
    net: String,
    /// The only port it sends from; any port where it is left out or null.
    #[serde(default)]
    port: Option<u16>,
}

/// An endpoint as a member describes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointInput {
    /// Lower-case letters, digits, `.`, `_` and `-`; unique among the member's endpoints.
    #[schema(example = "acme-ams-1")]
    name: String,
    /// From where it may send; none for an endpoint that only receives.
    #[serde(default)]
    #[schema(max_items = 64)]
    sources: Vec<SourceInput>,
    /// One to eight digits before the called number, by which its calls are told from those of others at the same source:
    /// two endpoints may send from one address where each has a tech-prefix and none begins with another. The digits are
    /// no part of the called number.
    #[serde(default)]
    #[schema(example = "9911")]
    tech_prefix: Option<String>,
    /// Host of the Request-URI, a DNS name, by which its calls are told from those of others at the same source: instead
    /// of a tech-prefix, where each has one of its own.
    #[serde(default)]
    #[schema(example = "acme.sip.exchange.example")]
    request_domain: Option<String>,
    /// The names in its TLS client certificate (DNS names of its subjectAltName), by any of which it is known.
    #[serde(default)]
    #[schema(max_items = 16)]
    certificate_names: Vec<String>,
    /// Where the hub sends calls for it: an IP address, or a name whose DNS records say the rest (RFC 3263).
    #[schema(example = "sip:192.0.2.21:5060;transport=udp")]
    target: String,
    /// Names of the sites where it meets the hub, as `GET /connect` lists them: calls that come in there go to it before
    /// endpoints elsewhere. None is anywhere.
    #[serde(default)]
    #[schema(max_items = 64)]
    sites: Vec<String>,
    /// Lower is tried first.
    #[serde(default = "default_priority")]
    #[schema(default = 1)]
    priority: u16,
    /// Share of the calls among endpoints of the same priority.
    #[serde(default = "default_weight")]
    #[schema(default = 100)]
    weight: u16,
    /// Most calls up at once; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// Whether it takes part.
    #[serde(default = "default_enabled")]
    #[schema(default = true)]
    enabled: bool,
    /// How the hub speaks with it; what is left out is as usual.
    #[serde(default)]
    policy: PolicyInput,
}

fn default_priority() -> u16 {
    1
}

fn default_weight() -> u16 {
    100
}

fn default_enabled() -> bool {
    true
}

impl From<endpoint::StoredEndpoint> for EndpointView {
    fn from(endpoint::StoredEndpoint { endpoint, created_at }: endpoint::StoredEndpoint) -> Self {
        let sources = endpoint.sources.into_iter();
        let mark = endpoint.call_mark.as_ref();
        Self {
            endpoint_id: endpoint.endpoint_id,
            member_id: endpoint.member_id,
            name: endpoint.name,
            sources: sources.map(|it| SourceView { net: it.net.to_string(), port: it.port }).collect(),
            tech_prefix: mark.and_then(CallMark::tech_prefix).map(str::to_owned),
            request_domain: mark.and_then(CallMark::request_domain).map(str::to_owned),
            certificate_names: endpoint.certificate_names,
            target: endpoint.target.to_string(),
            sites: endpoint.sites,
            priority: endpoint.priority,
            weight: endpoint.weight,
            max_calls: endpoint.max_calls,
            max_calls_per_second: endpoint.max_calls_per_second,
            enabled: endpoint.enabled,
            policy: PolicyView::from(&endpoint.policy),
            created_at,
            health: None,
        }
    }
}

impl EndpointView {
    fn with_health(mut self, health: &HashMap<EndpointId, HealthSummary>) -> Self {
        self.health = Some(health.get(&self.endpoint_id).copied().unwrap_or_default());
        self
    }
}

impl From<endpoint::EndpointName> for EndpointRef {
    fn from(name: endpoint::EndpointName) -> Self {
        Self { endpoint_id: name.endpoint_id, name: name.name }
    }
}

impl EndpointInput {
    /// The endpoint that the member describes, or every field that is at fault.
    fn read(
        self,
        member_id: MemberId,
        endpoint_id: EndpointId,
        known_sites: &[String],
    ) -> Result<Endpoint, ApiError> {
        let mut faults = Faults::default();
        let name = text::name(&mut faults, "name", &self.name, "._-", 64);
        let target = read_target(&mut faults, &self.target);
        let sources = read_sources(&mut faults, &self.sources);
        let call_mark =
            read_call_mark(&mut faults, self.tech_prefix.as_deref(), self.request_domain.as_deref());
        if call_mark.is_some() && self.sources.is_empty() {
            faults.note(
                "sources",
                "it has a mark and no source that it might share; write where it sends from",
            );
        }
        let certificate_names = read_certificate_names(&mut faults, &self.certificate_names);
        let sites = read_sites(&mut faults, self.sites, known_sites);
        call_limits::read(&mut faults, self.max_calls, self.max_calls_per_second);
        let policy = self.policy.read(&mut faults);
        let ((name, target), policy) = faults.hold(name.zip(target).zip(policy))?;
        Ok(Endpoint {
            endpoint_id,
            member_id,
            name,
            sources,
            call_mark,
            certificate_names,
            target,
            sites,
            priority: self.priority,
            weight: self.weight,
            max_calls: self.max_calls,
            max_calls_per_second: self.max_calls_per_second,
            enabled: self.enabled,
            policy,
            access: Access::default(),
        })
    }
}

fn read_target(faults: &mut Faults, text: &str) -> Option<Target> {
    let target: Target = faults.take("target", text.parse())?;
    if let Host::Address(ip) = target.host
        && let Some(why) = unusable(ip)
    {
        faults.note("target", format!("{ip} {why}; write an address of one host"));
        return None;
    }
    Some(target)
}

/// Why no host can be reached at an address.
fn unusable(address: IpAddr) -> Option<&'static str> {
    match Scope::of(address) {
        Scope::Public | Scope::Private | Scope::Loopback => None,
        // Where it leads depends on the machine that looks.
        Scope::LinkLocal => Some("is link-local"),
        Scope::Many => Some("is a multicast or broadcast address"),
        Scope::Nobody => Some("is no address of a host"),
    }
}

fn read_sources(faults: &mut Faults, inputs: &[SourceInput]) -> Vec<Source> {
    if inputs.len() > MAX_SOURCES {
        faults.note("sources", format!("there are {}; write at most {MAX_SOURCES}", inputs.len()));
        return Vec::new();
    }
    let mut sources: Vec<Source> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let field = format!("sources[{index}].net");
        let Some(net) = read_net(faults, &field, &input.net) else { continue };
        if input.port == Some(0) {
            faults.note(format!("sources[{index}].port"), "write a port from 1 to 65535, or null for any");
        }
        if sources.iter().any(|other| other.net.contains(&net) || net.contains(&other.net)) {
            faults.note(field, "it overlaps another source of this endpoint");
        }
        sources.push(Source { net, port: input.port });
    }
    sources
}

fn read_call_mark(
    faults: &mut Faults,
    tech_prefix: Option<&str>,
    request_domain: Option<&str>,
) -> Option<CallMark> {
    let mark = CallMark::of(tech_prefix, request_domain);
    let field = match mark {
        Err(CallMarkError::TechPrefix(_)) => "tech_prefix",
        _ => "request_domain",
    };
    faults.take(field, mark).flatten()
}

fn read_sites(faults: &mut Faults, inputs: Vec<String>, known: &[String]) -> Vec<String> {
    for (index, input) in inputs.iter().enumerate() {
        if !known.contains(input) {
            let message = format!("there is no such site; the sites are {}", known.join(", "));
            faults.note(format!("sites[{index}]"), message);
        }
    }
    let sites: std::collections::BTreeSet<String> = inputs.into_iter().collect();
    sites.into_iter().collect()
}

/// The names in lower case and sorted, as they are compared and kept.
fn read_certificate_names(faults: &mut Faults, inputs: &[String]) -> Vec<String> {
    if inputs.len() > MAX_CERTIFICATE_NAMES {
        let message = format!("there are {}; write at most {MAX_CERTIFICATE_NAMES}", inputs.len());
        faults.note("certificate_names", message);
        return Vec::new();
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, input) in inputs.iter().enumerate() {
        match input.parse() {
            Ok(Host::Name(name)) => _ = names.insert(String::from(name)),
            // A wildcard stands for hosts that nobody has named (RFC 5922 §7.2).
            _ => faults.note(
                format!("certificate_names[{index}]"),
                "write a DNS name of the certificate's subjectAltName, such as sbc.acme.example",
            ),
        }
    }
    names.into_iter().collect()
}

fn read_net(faults: &mut Faults, field: &str, text: &str) -> Option<IpNet> {
    let read = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(net) = read else {
        faults.note(field, "write an address such as 192.0.2.21 or a block such as 192.0.2.0/24");
        return None;
    };
    let least = if net.addr().is_ipv4() { MIN_PREFIX_LEN_V4 } else { MIN_PREFIX_LEN_V6 };
    if net.trunc() != net {
        faults.note(field, format!("its host bits are set; write {}", net.trunc()));
    } else if net.prefix_len() < least {
        faults.note(field, format!("the block is too large; write /{least} or a smaller one"));
    } else if let Some(why) = unusable(net.addr()).filter(|_| net.prefix_len() == net.max_prefix_len()) {
        faults.note(field, format!("{} {why}", net.addr()));
    } else if net.addr().is_multicast() {
        faults.note(field, "nobody sends from a multicast address");
    } else {
        return Some(net);
    }
    None
}

/// `GET /api/v1/members/{member_id}/endpoints`: the member's endpoints.
#[utoipa::path(get, path = "/members/{member_id}/endpoints", tag = "endpoints",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<EndpointView>)))]
pub(crate) async fn list_endpoints(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<EndpointView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    let endpoints = endpoint::list(&app.db, member, place.after.map(EndpointId), place.reads()).await?;
    let ids: Vec<EndpointId> = endpoints.iter().map(|it| it.endpoint.endpoint_id).collect();
    let health = summaries(&app.db, &ids, app.clock.now()).await?;
    let view = |it| EndpointView::from(it).with_health(&health);
    Ok(Json(place.page(endpoints, |it| it.endpoint.endpoint_id.0, view)))
}

/// `POST /api/v1/members/{member_id}/endpoints`: adds an endpoint.
#[utoipa::path(post, path = "/members/{member_id}/endpoints", tag = "endpoints",
    params(("member_id" = Uuid, Path)), request_body = EndpointInput,
    responses((status = 201, body = EndpointView)))]
pub(crate) async fn create_endpoint(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<EndpointInput>,
) -> Result<(StatusCode, Json<EndpointView>), ApiError> {
    session.may_change(member)?;
    let new = input.read(member, EndpointId(Uuid::nil()), &listener::sites(&app.db).await?)?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if endpoint::count(&mut *transaction, member).await? >= MAX_ENDPOINTS {
        let detail = format!("A member has at most {MAX_ENDPOINTS} endpoints.");
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    // Who is distrusted does not come by trust with another endpoint.
    let is_distrusted = endpoint::has_distrusted(&mut *transaction, member).await?;
    let trusted = |with| match with {
        Trust::Identities => !is_distrusted,
        Trust::RoutingNumbers => false,
    };
    let new = Endpoint { policy: keep_trust(&session, &new.policy, trusted)?, ..new };
    let id = endpoint::insert(&mut transaction, &new, now).await?;
    let endpoint = Endpoint { endpoint_id: id, ..new };
    let view = EndpointView::from(endpoint::StoredEndpoint { endpoint, created_at: now });
    let change = Change::of("endpoint.create", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}/endpoints/{endpoint_id}`: one endpoint.
#[utoipa::path(get, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)),
    responses((status = 200, body = EndpointView)))]
pub(crate) async fn get_endpoint(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
) -> Result<Json<EndpointView>, ApiError> {
    session.may_read(member)?;
    let found = endpoint::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let health = summaries(&app.db, &[id], app.clock.now()).await?;
    Ok(Json(EndpointView::from(found).with_health(&health)))
}

/// `PUT /api/v1/members/{member_id}/endpoints/{endpoint_id}`: describes an endpoint anew.
#[utoipa::path(put, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)), request_body = EndpointInput,
    responses((status = 200, body = EndpointView)))]
pub(crate) async fn update_endpoint(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
    Body(input): Body<EndpointInput>,
) -> Result<Json<EndpointView>, ApiError> {
    session.may_change(member)?;
    let described = input.read(member, id, &listener::sites(&app.db).await?)?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    endpoint::lock(&mut *transaction, member, id).await?;
    let stored = endpoint::get(&mut *transaction, member, id).await?;
    let stored = stored.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let policy = keep_trust(&session, &described.policy, |with| stored.endpoint.policy.trusts(with))?;
    let (described, before) = (Endpoint { policy, ..described }, EndpointView::from(stored));
    endpoint::update(&mut transaction, &described).await?;
    let created_at = before.created_at;
    let after = EndpointView::from(endpoint::StoredEndpoint { endpoint: described, created_at });
    let change = Change::of("endpoint.update", Some(member), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

/// `DELETE /api/v1/members/{member_id}/endpoints/{endpoint_id}`: removes an endpoint that no announcement names.
#[utoipa::path(delete, path = "/members/{member_id}/endpoints/{endpoint_id}", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_endpoint(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    endpoint::lock(&mut *transaction, member, id).await?;
    let stored = endpoint::get(&mut *transaction, member, id).await?;
    let stored = stored.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if !session.is_operator() && !stored.endpoint.policy.identity.trusted {
        let detail =
            "The operator does not trust the endpoint with identities, and that is kept: disable it instead.";
        return Err(ApiError::new(Reason::OperatorSetting).detail(detail));
    }
    let before = EndpointView::from(stored);
    announcement::forget_endpoint(&mut *transaction, member, id, now).await?;
    endpoint::delete(&mut *transaction, member, id).await?;
    let change = Change::of("endpoint.delete", Some(member), id.0, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_address_of_one_host() {
        for (text, usable) in [
            ("sip:192.0.2.21:5060;transport=udp", true),
            ("sip:127.0.0.1", true),
            ("sip:[2001:db8::1]:5060", true),
            ("sip:0.0.0.0", false),
            ("sip:0.1.2.3", false),
            ("sip:255.255.255.255", false),
            ("sip:224.0.0.1", false),
            ("sip:250.0.0.1", false),
            ("sip:[::]", false),
            ("sip:[ff02::1]", false),
            ("sip:[fe80::1]", false),
            ("sip:169.254.169.254", false),
            ("sip:[::ffff:224.0.0.1]", false),
            ("sip:host.example", true),
            ("sip:host_1.example", false),
            ("sip:192.0.2.21\r\nX: y", false),
        ] {
            assert_eq!(read_target(&mut Faults::default(), text).is_some(), usable, "{text}");
        }
    }

    #[test]
    fn a_source_is_a_small_block_without_host_bits() {
        for (text, fits) in [
            ("192.0.2.21", true),
            ("192.0.2.0/24", true),
            ("2001:db8::/48", true),
            ("192.0.2.21/24", false),
            ("0.0.0.0/0", false),
            ("0.0.0.0", false),
            ("::/0", false),
            ("224.0.0.0/16", false),
            ("acme.example", false),
        ] {
            assert_eq!(read_net(&mut Faults::default(), "net", text).is_some(), fits, "{text}");
        }
    }
}

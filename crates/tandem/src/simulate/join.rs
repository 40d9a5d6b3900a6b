//! How the simulated members come to the exchange: through the public API, each step as in life. What is there
//! from an earlier run is used again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tandem_model::{
    AgreementId, AgreementState, ApiTokenId, EndpointId, MemberId, MemberState, RangeId, Transport,
};

use super::api::Api;
use super::provider::{Provider, have_agreement};

/// Name of the API tokens that the simulation makes for its members.
const TOKEN_NAME: &str = "simulate";

/// How long such a token holds: for the joining, and never longer than the token that it is made with.
const TOKEN_HOURS: i64 = 1;

/// Most looks at whether the announcements are live, and the pause between two.
const LIVE_LOOKS: u32 = 200;
const LIVE_PAUSE: Duration = Duration::from_millis(100);

/// An endpoint of a simulated member, as it is bound here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the endpoint.
    pub(crate) name: String,
    /// Where it sends from and receives.
    pub(crate) address: SocketAddr,
    /// By what.
    pub(crate) transport: Transport,
    /// Its priority (RFC 2782).
    pub(crate) priority: u16,
}

/// How a person signs in for a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogIn {
    /// Name of the member.
    pub(crate) member: String,
    /// The person's address.
    pub(crate) email: String,
    /// `None` where the member was there before, with another password.
    pub(crate) password: Option<String>,
}

/// Where the hub takes SIP.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Listener {
    address: IpAddr,
    port: u16,
    transport: Transport,
}

impl Listener {
    /// Its address and port.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

#[derive(Deserialize)]
struct ConnectView {
    listeners: Vec<Listener>,
}

#[derive(Deserialize)]
struct MemberView {
    member_id: MemberId,
    name: String,
    state: MemberState,
}

#[derive(Deserialize)]
struct JoinView {
    member: MemberView,
}

#[derive(Deserialize)]
struct TokenView {
    api_token_id: ApiTokenId,
    name: String,
    revoked_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct NewTokenView {
    token: String,
    api_token_id: ApiTokenId,
}

#[derive(Deserialize)]
struct EndpointView {
    endpoint_id: EndpointId,
    name: String,
}

#[derive(Deserialize)]
struct RangeView {
    range_id: RangeId,
    prefix: String,
    authority: String,
}

#[derive(Deserialize)]
struct AgreementView {
    agreement_id: AgreementId,
    proposing_member: MemberRef,
    accepting_member: MemberRef,
    state: AgreementState,
    may_answer: bool,
}

#[derive(Deserialize)]
struct MemberRef {
    member_id: MemberId,
}

#[derive(Deserialize)]
struct AnnouncementView {
    prefix: String,
    routable: bool,
    reason: Option<String>,
    live_on: LiveOnView,
}

#[derive(Deserialize)]
struct LiveOnView {
    nodes: u32,
    of: u32,
}

/// A member that has joined, and the API in its own name.
struct Joined {
    member_id: MemberId,
    api: Api,
}

/// Where the hub's listener for `transport` on IPv4 is, if it has one.
pub(crate) async fn listener(operator: &Api, transport: Transport) -> anyhow::Result<Option<SocketAddr>> {
    let connect: ConnectView = operator.get("/connect").await?;
    let fits = |listener: &&Listener| listener.transport == transport && listener.address.is_loopback();
    Ok(connect.listeners.iter().find(fits).map(Listener::address))
}

/// Brings every provider to the exchange; returns once calls between them are routed.
pub(crate) async fn join_all(
    operator: &Api,
    providers: &[Provider],
    places: &[Vec<Place>],
    password: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<LogIn>> {
    let mut joined = Vec::new();
    let mut log_ins = Vec::new();
    for (provider, places) in providers.iter().zip(places) {
        let in_name_of = || format!("{} cannot join", provider.name);
        let (member_id, log_in) = join(operator, provider, password).await.with_context(in_name_of)?;
        let api = token(operator, member_id, now).await.with_context(in_name_of)?;
        let member = Joined { member_id, api };
        connect(&member, places).await.with_context(in_name_of)?;
        hold(operator, &member, provider).await.with_context(in_name_of)?;
        announce(&member, provider, places).await.with_context(in_name_of)?;
        joined.push(member);
        log_ins.push(log_in);
    }
    for one in 0..providers.len() {
        for other in 0..one {
            if have_agreement(one, other, providers.len()) {
                agree(&joined[other], &joined[one]).await.with_context(|| {
                    format!("{} and {} cannot agree", providers[other].name, providers[one].name)
                })?;
            }
        }
    }
    for (provider, member) in providers.iter().zip(&joined) {
        live(member, provider).await?;
    }
    Ok(log_ins)
}

async fn join(operator: &Api, provider: &Provider, password: &str) -> anyhow::Result<(MemberId, LogIn)> {
    let email = format!("noc@{}.example", provider.name);
    let members: Vec<MemberView> = operator.list("/members").await?;
    let (member, is_new) = match members.into_iter().find(|member| member.name == provider.name) {
        Some(member) => (member, false),
        None => {
            let application = json!({
                "name": provider.name,
                "display_name": provider.display_name,
                "contact_email": email,
                "password": password,
            });
            let joined: JoinView = operator.post("/join", application).await?;
            (joined.member, true)
        }
    };
    if member.state != MemberState::Approved {
        let path = format!("/members/{}", member.member_id);
        operator.patch::<Value>(&path, json!({ "state": "approved" })).await?;
    }
    let known = is_new
        || operator.post::<Value>("/session", json!({ "email": email, "password": password })).await.is_ok();
    let log_in = LogIn { member: member.name, email, password: known.then(|| password.to_owned()) };
    Ok((member.member_id, log_in))
}

/// A new token of the member's; those of earlier runs are revoked.
async fn token(operator: &Api, member_id: MemberId, now: DateTime<Utc>) -> anyhow::Result<Api> {
    let expires_at = now + TimeDelta::hours(TOKEN_HOURS);
    let wanted = json!({ "name": TOKEN_NAME, "expires_at": expires_at, "member_id": member_id });
    let made: NewTokenView = operator.post("/tokens", wanted).await?;
    let api = operator.with_token(&made.token);
    let tokens: Vec<TokenView> = api.list("/tokens").await?;
    for old in tokens {
        if old.name == TOKEN_NAME && old.revoked_at.is_none() && old.api_token_id != made.api_token_id {
            api.delete(&format!("/tokens/{}", old.api_token_id)).await?;
        }
    }
    Ok(api)
}

async fn connect(member: &Joined, places: &[Place]) -> anyhow::Result<()> {
    let path = format!("/members/{}/endpoints", member.member_id);
    let known: Vec<EndpointView> = member.api.list(&path).await?;
    for place in places {
        let Place { name, address, transport, priority } = place;
        let body = json!({
            "name": name,
            "sources": [{ "net": format!("{}/32", address.ip()), "port": null }],
            "target": format!("sip:{address};transport={}", transport.as_str()),
            "priority": priority,
        });
        match known.iter().find(|endpoint| endpoint.name == *name) {
            Some(endpoint) => {
                member.api.put::<Value>(&format!("{path}/{}", endpoint.endpoint_id), body).await?;
            }
            None => {
                member.api.post::<Value>(&path, body).await?;
            }
        }
    }
    Ok(())
}

/// Claims the range, and has the operator verify it.
async fn hold(operator: &Api, member: &Joined, provider: &Provider) -> anyhow::Result<()> {
    let path = format!("/members/{}/ranges", member.member_id);
    let prefix = provider.range.to_string();
    let ranges: Vec<RangeView> = member.api.list(&path).await?;
    let live = |range: &RangeView| {
        range.prefix == prefix && ["valid", "pending"].contains(&range.authority.as_str())
    };
    let range = match ranges.into_iter().find(live) {
        Some(range) => range,
        None => {
            let evidence = "set aside by the regulator for fiction; simulated";
            member.api.post(&path, json!({ "prefix": prefix, "evidence": evidence })).await?
        }
    };
    if range.authority == "pending" {
        operator.post::<Value>(&format!("/ranges/{}/verify", range.range_id), json!({})).await?;
    }
    Ok(())
}

async fn announce(member: &Joined, provider: &Provider, places: &[Place]) -> anyhow::Result<()> {
    let path = format!("/members/{}/announcements", member.member_id);
    let endpoints: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
    let row = json!({ "prefix": provider.range.to_string(), "endpoints": endpoints });
    member.api.post::<Value>(&format!("{path}/bulk"), json!({ "announcements": [row] })).await?;
    Ok(())
}

/// One proposes, the other accepts, unless they have agreed before.
async fn agree(proposing: &Joined, accepting: &Joined) -> anyhow::Result<()> {
    let path = format!("/members/{}/agreements", accepting.member_id);
    let between = |agreement: &AgreementView| {
        let pair = [agreement.proposing_member.member_id, agreement.accepting_member.member_id];
        pair.contains(&proposing.member_id)
            && matches!(agreement.state, AgreementState::Proposed | AgreementState::Accepted)
    };
    let agreements: Vec<AgreementView> = accepting.api.list(&path).await?;
    let agreement = match agreements.into_iter().find(between) {
        Some(agreement) => agreement,
        None => {
            let proposal = json!({ "with": accepting.member_id, "direction": "both", "note": "simulated, settlement-free" });
            proposing.api.post(&format!("/members/{}/agreements", proposing.member_id), proposal).await?
        }
    };
    if agreement.state == AgreementState::Accepted {
        return Ok(());
    }
    let answering =
        if agreement.accepting_member.member_id == accepting.member_id { accepting } else { proposing };
    let path = format!("/members/{}/agreements/{}/accept", answering.member_id, agreement.agreement_id);
    let accepted: AgreementView = answering.api.post(&path, json!({})).await?;
    if accepted.state != AgreementState::Accepted || accepted.may_answer {
        bail!("the agreement was accepted, but it is {:?}", accepted.state);
    }
    Ok(())
}

/// Waits until every node routes what the member announces.
async fn live(member: &Joined, provider: &Provider) -> anyhow::Result<()> {
    let path = format!("/members/{}/announcements", member.member_id);
    let prefix = provider.range.to_string();
    let mut seen = None;
    for _ in 0..LIVE_LOOKS {
        let announcements: Vec<AnnouncementView> = member.api.list(&path).await?;
        seen = announcements.into_iter().find(|announcement| announcement.prefix == prefix);
        match &seen {
            Some(announcement) if !announcement.routable => {
                bail!(
                    "{prefix} of {} is not routable: {}",
                    provider.name,
                    announcement.reason.as_deref().unwrap_or("?")
                );
            }
            Some(AnnouncementView { live_on, .. }) if live_on.of > 0 && live_on.nodes == live_on.of => {
                return Ok(());
            }
            _ => tokio::time::sleep(LIVE_PAUSE).await,
        }
    }
    match seen {
        Some(AnnouncementView { live_on, .. }) => {
            bail!("{prefix} of {} is live on {} of {} nodes only", provider.name, live_on.nodes, live_on.of)
        }
        None => bail!("{} announces {prefix}, but the API does not list it", provider.name),
    }
}

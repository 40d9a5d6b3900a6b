//! Schemas of the words that the API takes from `model`: an enum each, so that a client knows every value.
//!
//! `model` knows nothing of OpenAPI, so a field names its schema here with `#[schema(value_type = …)]`.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! vocabularies {
    ($($(#[doc = $doc:literal])+ $name:ident [$($word:expr),+ $(,)?])*) => {$(
        $(#[doc = $doc])+
        pub(crate) struct $name;

        impl $name {
            fn words() -> Vec<&'static str> {
                vec![$($word),+]
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(Self::words()))
                    .description(Some([$($doc.trim()),+].join(" ")))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

vocabularies! {
    /// How far a member has come.
    MemberState ["applied", "approved", "suspended"]
    /// The kind of evidence by which a range was verified: a document on the operator's word, a regulator's file, the TN
    /// list of a certificate (RFC 8226), or a call that the member was seen to take.
    Evidence ["document", "regulator", "certificate", "challenge"]
    /// What became of a call to a number of a claimed range: it rang and the hub cancelled it, it was answered and the hub
    /// ended it, it was refused, nothing was heard of it, or the hub had no way to the endpoint.
    ChallengeOutcome ["rang", "answered", "refused", "unanswered", "unplaced"]
    /// The evidence that a member holds a range; a valid one past its end is expired, and a pending one whose numbers
    /// another member holds or has claimed earlier, or a regulator's file gives to another holder, is disputed.
    Authority ["pending", "disputed", "valid", "refused", "expired"]
    /// Whether the announced numbers are those of the member that announces them: it holds them (valid), another
    /// member does (invalid), nobody is known to (unknown), it holds only a part of them (too_broad), or did
    /// (expired).
    AnnouncementAuthority ["valid", "invalid", "unknown", "too_broad", "expired"]
    /// What a number is for.
    NumberType [
        "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number", "pager",
        "uan", "voicemail",
    ]
    /// Who may call whom under an agreement.
    AgreementDirection ["both", "to_accepting", "to_proposing"]
    /// How far an agreement has come.
    AgreementState ["proposed", "countered", "accepted", "suspended", "ending", "refused", "ended"]
    /// What was done about an agreement.
    AgreementEventKind ["propose", "declare", "counter", "accept", "refuse", "suspend", "resume", "end"]
    /// A day of the week.
    Day ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    /// How a call ended.
    Outcome ["answered", "busy", "no_answer", "cancelled", "rejected", "refused", "failed", "redirected"]
    /// Who ended an answered call.
    EndedBy ["originating", "terminating", "hub"]
    /// What a node does.
    NodeState ["starting", "serving", "draining", "stopped"]
    /// A kind of switch whose settings are known (`GET /api/v1/profiles`).
    Profile [
        "neutral", "asterisk", "freeswitch", "kamailio", "opensips", "cisco-cube", "teams", "sipconnect",
    ]
    /// Whether an endpoint is fit to be given calls.
    EndpointState ["unknown", "up", "ramping", "down"]
    /// What was heard of an endpoint, or not heard.
    HealthSign ["probe_answered", "probe_unanswered", "probe_refused", "call_taken", "call_unanswered",
        "call_refused", "retry_after", "time_passed"]
    /// Who looked a called number up among the ported ones: the sender of the call, the node, a service, or nobody in time.
    DipSource ["call", "node", "service", "unanswered"]
    /// How far a change set has come.
    ChangeSetState ["draft", "scheduled", "applied", "rolled_back", "cancelled", "failed"]
    /// What a change set does with a prefix.
    ItemAction ["announce", "withdraw"]
    /// How the file of an import is written: cells separated by commas, or a JSON object on each line.
    ImportFormat ["csv", "ndjson"]
    /// What becomes of an import with rows that cannot be taken.
    BadRows ["refuse", "skip"]
    /// How far an import has come.
    ImportState ["receiving", "checking", "applying", "applied", "failed"]
    /// What happens to the calls of a member to a prefix: they go somewhere, elsewhere, or nowhere any more.
    RouteChangeKind ["added", "changed", "removed"]
    /// Whether a route leads to who holds the number (home), or onward by who offers that (transit).
    RouteKind ["home", "transit"]
    /// How SIP is carried.
    Transport ["udp", "tcp", "tls"]
}

/// Code of a reason in the registry (`GET /api/v1/reasons`).
pub(crate) struct ReasonCode;

impl PartialSchema for ReasonCode {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(tandem_model::Reason::ALL.iter().map(|reason| reason.code())))
            .description(Some("Code of a reason in the registry (`GET /api/v1/reasons`)."))
            .into()
    }
}

impl ToSchema for ReasonCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ReasonCode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;

    fn reads<T: DeserializeOwned>(words: Vec<&str>) {
        for word in words {
            serde_json::from_value::<T>(word.into()).unwrap_or_else(|error| panic!("{word}: {error}"));
        }
    }

    #[test]
    fn every_word_is_one_of_the_model() {
        reads::<tandem_model::MemberState>(MemberState::words());
        reads::<tandem_store::range_challenge::ChallengeOutcome>(ChallengeOutcome::words());
        reads::<tandem_model::AgreementDirection>(AgreementDirection::words());
        reads::<tandem_model::AgreementState>(AgreementState::words());
        assert_eq!(AgreementState::words().len(), tandem_model::AgreementState::ALL.len());
        reads::<tandem_store::agreement::AgreementEventKind>(AgreementEventKind::words());
        reads::<tandem_model::Outcome>(Outcome::words());
        assert_eq!(Day::words(), tandem_model::DAYS);
        reads::<tandem_model::EndedBy>(EndedBy::words());
        reads::<tandem_store::node::NodeState>(NodeState::words());
        reads::<tandem_model::Evidence>(Evidence::words());
        reads::<crate::range::AuthorityNow>(Authority::words());
        reads::<tandem_model::AnnouncementAuthority>(AnnouncementAuthority::words());
        assert_eq!(NumberType::words(), tandem_model::NumberType::ALL.map(|kind| kind.as_str()));
        reads::<tandem_model::NumberType>(NumberType::words());
        reads::<tandem_routing::DipSource>(DipSource::words());
        reads::<tandem_store::change_set::ChangeSetState>(ChangeSetState::words());
        reads::<tandem_store::change_set::ItemAction>(ItemAction::words());
        reads::<tandem_store::import::ImportFormat>(ImportFormat::words());
        reads::<tandem_store::import::BadRows>(BadRows::words());
        reads::<tandem_store::import::ImportState>(ImportState::words());
        reads::<tandem_routing::RouteChangeKind>(RouteChangeKind::words());
        reads::<crate::lookup::RouteKind>(RouteKind::words());
        reads::<tandem_model::Transport>(Transport::words());
        reads::<tandem_model::Profile>(Profile::words());
        assert_eq!(Profile::words().len(), tandem_model::Profile::ALL.len());
        reads::<tandem_model::HealthSign>(HealthSign::words());
        assert_eq!(EndpointState::words(), tandem_model::EndpointState::ALL.map(|state| state.as_str()));
        assert_eq!(Outcome::words(), tandem_model::Outcome::ALL.map(|outcome| outcome.as_str()));
    }
}

//! The exchange's nouns: what a member, an endpoint, a number, a range, an announcement, an agreement and
//! a CDR are, and which reasons the hub gives when it refuses something.
//!
//! Values only: no I/O, no SQL, no clock of its own. Every other crate speaks in these words.

mod advance;
mod agreement;
mod agreement_life;
mod agreement_terms;
mod announcement;
mod block_list;
mod call_limits;
mod call_mark;
mod cause;
mod cdr;
mod clock;
mod club;
pub mod credential;
mod endpoint;
mod endpoint_health;
mod facts;
mod hours;
mod id;
mod member;
mod number;
pub mod numbering;
mod policy;
mod ported_number;
mod range;
mod rate;
mod rate_deck;
mod reason;
mod registration;
mod scope;
mod tag;
mod trace;
mod transit;
mod validity;

pub use advance::AdvanceOn;
pub use agreement::{Agreement, AgreementDirection};
pub use agreement_life::{
    AgreementAction, AgreementLife, AgreementState, MAX_AGREEMENT_VERSIONS, MAX_NOTICE_DAYS, Party,
};
pub use agreement_terms::{AgreementTerms, MAX_TERM_PREFIXES, MAX_TERM_SITES};
pub use announcement::Announcement;
pub use block_list::BlockList;
pub use call_limits::CallLimits;
pub use call_mark::{CallMark, CallMarkError};
pub use cause::Cause;
pub use cdr::{Attempt, Cdr, EndedBy, Outcome};
pub use clock::Clock;
pub use club::Club;
pub use credential::{Credential, Ha1, OutboundCredential};
pub use endpoint::{Endpoint, Host, Source, Target, TargetError, Transport};
pub use endpoint_health::{EndpointState, HealthSign};
pub use facts::{Facts, ObjectId};
pub use hours::{DAYS, Hours, HoursText, MAX_WINDOWS, WindowText};
pub use id::{
    AgreementId, AnnouncementId, ApiTokenId, AuditEntryId, CallId, ChangeSetId, CredentialId, EndpointId,
    ImportId, ListenerId, MemberId, NodeId, RangeId, RateDeckId, SiteId, TraceSelectionId, UserId,
};
pub use member::{Member, MemberState};
pub use number::{E164, MAX_DIGITS, NumberError, POW10, Prefix, RoutingNumber, without_last};
pub use numbering::{Misfit, NumberType, Numbering};
pub use policy::{
    CallingForm, CodecName, CodecOrder, CodecPolicy, Digits, DirectPolicy, DiversionField, DiversionPolicy,
    EarlyMedia, FailurePolicy, HeaderName, HeaderPolicy, HeaderRule, HeaderRules, HeaderValue, IdentityField,
    IdentityPolicy, NumberForm, NumberPolicy, OtherHeaders, OwnHost, PassOrRefuse, Policy, PolicyError,
    PolicyFault, ProbePolicy, Profile, Redirect, RequestPolicy, SessionPolicy, SessionTimer, Settings,
    SizePolicy, Trust, Unprefixed,
};
pub use ported_number::{PortedChange, PortedDelta, PortedError, PortedNumber};
pub use range::{AnnouncementAuthority, Authority, Evidence, Range};
pub use rate::{Rate, RateError};
pub use rate_deck::{Currency, DeckRate, RateDeck};
pub use reason::Reason;
pub use registration::{Access, Registration};
pub use scope::Scope;
pub use tag::{MAX_DEMAND, MAX_TAGS, Tag, TagDemand};
pub use trace::TraceSelection;
pub use transit::{LEAST_SAMPLE, Quality, Sample, TransitOffer, TransitTerms};
pub use validity::Validity;

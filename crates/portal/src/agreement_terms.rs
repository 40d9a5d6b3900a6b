//! The terms of an agreement, as members offer and read them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tandem_model::{
    AdvanceOn, AgreementDirection, AgreementTerms, Hours, HoursText, MAX_NOTICE_DAYS, MAX_TERM_PREFIXES,
    MAX_TERM_SITES, Party, Prefix, TagDemand, WindowText,
};
use tandem_store::agreement::Offer;
use utoipa::ToSchema;

use crate::call_limits;
use crate::problem::Faults;
use crate::text;
use crate::transit_terms::TransitAsked;
use crate::vocabulary;

/// The final responses to an attempt after which a call goes on to the next candidate; one of the two lists is enough.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceLists {
    /// Status codes of SIP, 300 to 699 without 487.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([486, 503]))]
    statuses: BTreeSet<u16>,
    /// Cause values of Q.850, 1 to 127, as the Reason header field of the response gives them.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([34]))]
    causes: BTreeSet<u16>,
}

impl From<AdvanceOn> for AdvanceLists {
    fn from(AdvanceOn { statuses, causes }: AdvanceOn) -> Self {
        Self { statuses, causes: causes.into_iter().map(u16::from).collect() }
    }
}

impl AdvanceLists {
    /// The lists, once looked at; what is at fault is noted.
    pub(crate) fn read(self, faults: &mut Faults) -> Option<AdvanceOn> {
        AdvanceOn::new(self.statuses, self.causes).map_err(|fault| faults.note("advance_on", fault)).ok()
    }
}

/// What one member offered the other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TermsView {
    #[schema(value_type = vocabulary::AgreementDirection)]
    direction: AgreementDirection,
    note: String,
    /// How many days it goes on after one of the two has ended it.
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is null: after
    /// those that mean that the endpoint cannot, never after the called party's own no.
    #[schema(required)]
    advance_on: Option<AdvanceLists>,
    /// Numbers of the proposing member that the other may call begin with one of these; all where there are none.
    prefixes_of_proposing: Vec<String>,
    /// Numbers of the accepting member that the other may call begin with one of these; all where there are none.
    prefixes_of_accepting: Vec<String>,
    /// When calls cross; always where it is null.
    #[schema(required)]
    hours: Option<HoursLists>,
    /// Names of sites: endpoints there take calls before all others.
    sites: Vec<String>,
    /// Which tags an announcement must bear to be called under it; any where it is null.
    #[schema(required, example = "cli-guaranteed and (no-transit or premium)")]
    demand: Option<String>,
    transit: TransitAsked,
}

/// When calls cross: in any of the windows, by the clocks of the zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursLists {
    /// Name of a time zone in the IANA database.
    #[schema(example = "Europe/London")]
    zone: String,
    #[schema(min_items = 1, max_items = 28)]
    windows: Vec<WindowLists>,
}

/// A part of a day on some days of the week.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowLists {
    /// On which days it begins.
    #[schema(value_type = Vec<vocabulary::Day>)]
    days: Vec<String>,
    /// The minute with which it begins, 00:00 to 23:59.
    #[schema(example = "08:00")]
    from: String,
    /// The minute before which it ends, 00:01 to 24:00; of the next day where it is not after `from`.
    #[schema(example = "18:00")]
    until: String,
}

impl From<Hours> for HoursLists {
    fn from(hours: Hours) -> Self {
        let HoursText { zone, windows } = hours.into();
        let window = |WindowText { days, from, until }| WindowLists { days, from, until };
        Self { zone, windows: windows.into_iter().map(window).collect() }
    }
}

impl HoursLists {
    /// The hours, once looked at; what is at fault is noted.
    pub(crate) fn read(self, faults: &mut Faults) -> Option<Hours> {
        let window = |WindowLists { days, from, until }| WindowText { days, from, until };
        let windows = self.windows.into_iter().map(window).collect();
        faults.take("hours", Hours::try_from(HoursText { zone: self.zone, windows }))
    }
}

impl From<Offer> for TermsView {
    fn from(Offer { direction, note, notice_days, limits, advance_on, terms }: Offer) -> Self {
        let AgreementTerms { prefixes_of_proposing, prefixes_of_accepting, hours, sites, demand, transit } =
            terms;
        let texts = |prefixes: Vec<Prefix>| prefixes.iter().map(Prefix::to_string).collect();
        Self {
            prefixes_of_proposing: texts(prefixes_of_proposing),
            prefixes_of_accepting: texts(prefixes_of_accepting),
            hours: hours.map(HoursLists::from),
            sites,
            demand: demand.map(|demand| demand.to_string()),
            transit: transit.into(),
            direction,
            note,
            notice_days,
            max_calls: limits.max_calls,
            max_calls_per_second: limits.max_calls_per_second,
            advance_on: advance_on.map(AdvanceLists::from),
        }
    }
}

/// Who may call whom, as the member that offers it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposedDirection {
    /// Each may call the other.
    Both,
    /// The offering member may call the other.
    Outgoing,
    /// The other may call the offering member.
    Incoming,
}

/// An agreement that a member proposes to another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementInput {
    /// Name or id of the other member.
    #[schema(example = "globex")]
    with: String,
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// How many days the agreement goes on after one of the two has ended it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 365)]
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is left out
    /// or null.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
    /// Numbers of the offering member that the other may call begin with one of these; all where there are none.
    #[serde(default)]
    #[schema(max_items = 200)]
    own_prefixes: Vec<String>,
    /// Numbers of the other that the offering member may call begin with one of these; all where there are none.
    #[serde(default)]
    #[schema(max_items = 200)]
    other_prefixes: Vec<String>,
    /// When calls cross; always where it is left out or null.
    #[serde(default)]
    hours: Option<HoursLists>,
    /// Names of sites, as `GET /connect` lists them: endpoints there take calls before all others.
    #[serde(default)]
    #[schema(max_items = 16)]
    sites: Vec<String>,
    /// Which tags an announcement must bear to be called under it, with `and`, `or` and brackets; at most 200 characters.
    #[serde(default)]
    #[schema(example = "cli-guaranteed and (no-transit or premium)")]
    demand: Option<String>,
    /// What is asked of transit routes of either.
    #[serde(default)]
    transit: TransitAsked,
}

/// Other terms, with which a member answers an offer. They replace the offered ones as a whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterInput {
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// How many days the agreement goes on after one of the two has ended it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 365)]
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is left out
    /// or null.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
    /// Numbers of the offering member that the other may call begin with one of these; all where there are none.
    #[serde(default)]
    #[schema(max_items = 200)]
    own_prefixes: Vec<String>,
    /// Numbers of the other that the offering member may call begin with one of these; all where there are none.
    #[serde(default)]
    #[schema(max_items = 200)]
    other_prefixes: Vec<String>,
    /// When calls cross; always where it is left out or null.
    #[serde(default)]
    hours: Option<HoursLists>,
    /// Names of sites, as `GET /connect` lists them: endpoints there take calls before all others.
    #[serde(default)]
    #[schema(max_items = 16)]
    sites: Vec<String>,
    /// Which tags an announcement must bear to be called under it, with `and`, `or` and brackets; at most 200 characters.
    #[serde(default)]
    #[schema(example = "cli-guaranteed and (no-transit or premium)")]
    demand: Option<String>,
    /// What is asked of transit routes of either.
    #[serde(default)]
    transit: TransitAsked,
}

impl CounterInput {
    /// The terms, once looked at, as `party` offers them; what is at fault is noted.
    pub(crate) fn read(self, faults: &mut Faults, party: Party, known_sites: &[String]) -> Option<Offer> {
        let note = text::lines(faults, "note", &self.note, 2000);
        if self.notice_days > MAX_NOTICE_DAYS {
            faults.note("notice_days", format!("write a number from 0 to {MAX_NOTICE_DAYS}"));
        }
        let limits = call_limits::read(faults, self.max_calls, self.max_calls_per_second);
        let advance_on = self.advance_on.and_then(|lists| lists.read(faults));
        let direction = self.direction.of(party);
        let own = read_prefixes(faults, "own_prefixes", &self.own_prefixes);
        let other = read_prefixes(faults, "other_prefixes", &self.other_prefixes);
        let (prefixes_of_proposing, prefixes_of_accepting) = match party {
            Party::Proposing => (own, other),
            Party::Accepting => (other, own),
        };
        let hours = self.hours.and_then(|hours| hours.read(faults));
        let sites = read_sites(faults, self.sites, known_sites);
        let demand = self.demand.filter(|demand| !demand.trim().is_empty());
        let demand = demand.and_then(|demand| faults.take("demand", demand.parse::<TagDemand>()));
        let transit = self.transit.read(faults);
        let terms =
            AgreementTerms { prefixes_of_proposing, prefixes_of_accepting, hours, sites, demand, transit };
        note.map(|note| Offer { direction, note, notice_days: self.notice_days, limits, advance_on, terms })
    }
}

/// The sites, as they were named; what is at fault is noted.
pub(crate) fn read_sites(faults: &mut Faults, sites: Vec<String>, known: &[String]) -> Vec<String> {
    if sites.len() > MAX_TERM_SITES {
        faults.note("sites", format!("name at most {MAX_TERM_SITES}"));
        return Vec::new();
    }
    for site in sites.iter().filter(|site| !known.contains(site)) {
        let shown: String = site.chars().take(80).collect();
        faults.note("sites", format!("{shown:?} is no site; the sites are {}", known.join(", ")));
    }
    sites
}

/// The prefixes in order, each once; what is at fault is noted.
fn read_prefixes(faults: &mut Faults, field: &str, inputs: &[String]) -> Vec<Prefix> {
    if inputs.len() > MAX_TERM_PREFIXES {
        faults.note(field, format!("there are {}; write at most {MAX_TERM_PREFIXES}", inputs.len()));
        return Vec::new();
    }
    let mut prefixes: Vec<Prefix> =
        inputs.iter().filter_map(|input| text::prefix(faults, field, input)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

impl AgreementInput {
    /// With whom, and the terms.
    pub(crate) fn split(self) -> (String, CounterInput) {
        let Self {
            with,
            direction,
            note,
            notice_days,
            max_calls,
            max_calls_per_second,
            advance_on,
            own_prefixes,
            other_prefixes,
            hours,
            sites,
            demand,
            transit,
        } = self;
        let terms = CounterInput {
            direction,
            note,
            notice_days,
            max_calls,
            max_calls_per_second,
            advance_on,
            own_prefixes,
            other_prefixes,
            hours,
            sites,
            demand,
            transit,
        };
        (with, terms)
    }
}

impl ProposedDirection {
    /// The same, seen from outside, where `party` offers it.
    fn of(self, party: Party) -> AgreementDirection {
        match (self, party) {
            (Self::Both, _) => AgreementDirection::Both,
            (Self::Outgoing, Party::Proposing) | (Self::Incoming, Party::Accepting) => {
                AgreementDirection::ToAccepting
            }
            (Self::Incoming, Party::Proposing) | (Self::Outgoing, Party::Accepting) => {
                AgreementDirection::ToProposing
            }
        }
    }
}

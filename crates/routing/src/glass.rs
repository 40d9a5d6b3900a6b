//! The looking glass: what is announced around a number or prefix, whether it counts, and whose calls it gets.
//!
//! It adds no rule of its own: each prefix is put to [`select()`] as the number of just its digits, once for the member
//! that announces it and once for every other one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use tandem_model::{AnnouncementId, MemberId, MemberState, Prefix, Reason};

use crate::digits::Digits;
use crate::terms::{as_prefix, nanos};
use crate::{CallRequest, Dip, RouteTable, Selection, select};

/// Most ranges beneath a prefix that are looked at for why it lies in none.
const MAX_RANGES: usize = 16;

/// What is announced around a prefix, by one version of the table at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glass {
    /// The version.
    pub table_version: u64,
    /// The shorter prefixes first, then those by which the number has a rate in offers of transit, then the prefix itself
    /// and those beneath it, each with its announcements.
    pub seen: Vec<Seen>,
    /// Whether more is announced beneath the prefix.
    pub has_more: bool,
}

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub announcement: AnnouncementId,
    /// Who makes it.
    pub member: MemberId,
    /// For which prefix.
    pub prefix: Prefix,
    /// Whether it is routable in itself, or an offer of transit that counts.
    pub is_accepted: bool,
    /// Members whose calls it gets, by id.
    pub reaches: Vec<MemberId>,
    /// Why it is not accepted; or, where it is and gets nobody's calls, why not.
    pub reason: Option<Reason>,
}

impl Glass {
    /// Looks at what is announced above, at and beneath a prefix, at most so many announcements.
    ///
    /// Each prefix costs a selection for every member: it is for people, not for calls.
    pub fn look(table: &RouteTable, around: Prefix, most: usize, now: DateTime<Utc>) -> Self {
        let mut found: BTreeMap<Prefix, Vec<(AnnouncementId, MemberId)>> = BTreeMap::new();
        let mut order = Vec::new();
        let mut count = 0;
        let mut put = |prefix: Prefix, id, member| {
            let is_room = count < most;
            if is_room {
                count += 1;
                let under = found.entry(prefix).or_insert_with(|| {
                    order.push(prefix);
                    Vec::new()
                });
                under.push((id, member));
            }
            is_room
        };
        let mut above = Vec::new();
        table.announcements.matches(Digits::of(around.value()), |len, announced| {
            if len < around.len() {
                above.push((around.leading(len), announced));
            }
            ControlFlow::Continue(())
        });
        above.sort_by_key(|(prefix, _)| prefix.len());
        for (prefix, announced) in above {
            put(prefix, announced.id.into(), announced.terms.member);
        }
        for offer in table.transit.offers() {
            let found = table.transit.deck(offer.rate_deck).and_then(|rates| {
                rates.find(around, nanos(now)).map(|(prefix, _)| prefix).or_else(|| rates.named(around))
            });
            if let Some(prefix) = found {
                put(prefix, offer.announcement_id, offer.member_id);
            }
        }
        let mut has_more = false;
        table.announcements.beneath(around.value(), |prefix, announced| {
            if put(as_prefix(prefix), announced.id.into(), announced.terms.member) {
                return ControlFlow::Continue(());
            }
            has_more = true;
            ControlFlow::Break(())
        });

        let approved = table.members().filter(|member| member.state == MemberState::Approved);
        let mut approved: Vec<MemberId> = approved.map(|member| member.member_id).collect();
        approved.sort_unstable();
        let mut seen = Vec::with_capacity(count);
        for prefix in order {
            let by_others: Vec<ByMember> =
                approved.iter().map(|&member| ByMember::ask(table, member, prefix, now)).collect();
            for &(announcement, member) in &found[&prefix] {
                let fault = fault(table, announcement, member, prefix, now);
                seen.push(see(announcement, member, prefix, fault, &by_others));
            }
        }
        Self { table_version: table.version(), seen, has_more }
    }
}

/// What `select` says of a member's calls to numbers of a prefix.
struct ByMember {
    member: MemberId,
    /// Of the number of just the digits of the prefix.
    selection: Selection,
    /// Of longer ones beneath it for which the same announcements decide, and which terms of agreements name.
    beneath: Vec<Selection>,
}

impl ByMember {
    fn ask(table: &RouteTable, member: MemberId, prefix: Prefix, now: DateTime<Utc>) -> Self {
        let longer =
            table.term_prefixes(member, now).filter(|other| prefix.covers(*other) && *other != prefix);
        let beneath = longer.map(|other| selection(table, member, other, now));
        let beneath = beneath.filter(|selection| selection.matched == Some(prefix)).collect();
        Self { member, selection: selection(table, member, prefix, now), beneath }
    }

    /// Whether the announcement gets a call of the member.
    fn is_got_by(&self, announcement: AnnouncementId) -> bool {
        let gets = |it: &Selection| it.candidates.iter().any(|it| it.announcement == announcement);
        gets(&self.selection) || self.beneath.iter().any(gets)
    }
}

/// What `select` says of a member's calls to a prefix.
fn selection(
    table: &RouteTable,
    originating_member: MemberId,
    prefix: Prefix,
    now: DateTime<Utc>,
) -> Selection {
    select(
        table,
        &CallRequest {
            originating_member,
            called: prefix.into(),
            dip: Some(Dip::OF_PREFIX),
            site: None,
            draw: 0,
        },
        now,
    )
}

/// Why a selection leaves an announcement or endpoints of it out.
fn reasons(selection: &Selection, announcement: AnnouncementId) -> impl Iterator<Item = Reason> {
    let of_it = selection.left_out.iter().filter(move |left_out| left_out.announcement == announcement);
    of_it.map(|left_out| left_out.reason)
}

/// Why an announcement is not routable in itself.
pub(crate) fn fault(
    table: &RouteTable,
    announcement: AnnouncementId,
    member: MemberId,
    prefix: Prefix,
    now: DateTime<Utc>,
) -> Option<Reason> {
    // A member does not call itself: that is found out last of what is asked about an announcement in itself.
    let fault_at = |prefix| {
        let selection = selection(table, member, prefix, now);
        reasons(&selection, announcement)
            .find(|reason| !matches!(reason, Reason::OwnNumber | Reason::WouldReturn))
    };
    let fault = fault_at(prefix)?;
    let mut beneath = Vec::new();
    if fault == Reason::RangeMissing {
        // Ranges beneath the prefix say more of why it lies in none.
        table.ranges.beneath(prefix.value(), |range, _| {
            beneath.push(as_prefix(range));
            if beneath.len() < MAX_RANGES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
    let further = beneath.into_iter().filter_map(fault_at).find(|reason| *reason != Reason::RangeMissing);
    Some(further.unwrap_or(fault))
}

fn see(
    announcement: AnnouncementId,
    member: MemberId,
    prefix: Prefix,
    fault: Option<Reason>,
    by_others: &[ByMember],
) -> Seen {
    let seen =
        |is_accepted, reaches, reason| Seen { announcement, member, prefix, is_accepted, reaches, reason };
    if fault.is_some() {
        return seen(false, Vec::new(), fault);
    }
    let reaches: Vec<MemberId> =
        by_others.iter().filter(|it| it.is_got_by(announcement)).map(|it| it.member).collect();
    // What lies with its endpoints tells more than that somebody has no agreement.
    let others = by_others.iter().filter(|it| it.member != member);
    let mut idle: Vec<Reason> = others.flat_map(|it| reasons(&it.selection, announcement)).collect();
    idle.sort_by_key(|reason| *reason == Reason::NoAgreement);
    let idle = idle.first().copied().unwrap_or(Reason::NoAgreement);
    let reason = reaches.is_empty().then_some(idle);
    seen(true, reaches, reason)
}

#[cfg(test)]
mod tests {
    use tandem_model::{AgreementState, Authority, MemberState};

    use super::*;
    use crate::exchange::{Exchange, at, exchange, id, name, prefix};

    /// Lines such as `+4420 acme accepted caller` of all that is announced around a prefix.
    fn look(exchange: &Exchange, around: &str) -> Vec<String> {
        let table = exchange.table();
        let line = |seen: &Seen| {
            let reaches: Vec<String> = seen.reaches.iter().map(|member| name(&table, *member)).collect();
            let what = if seen.is_accepted { "accepted" } else { "refused" };
            let reason = seen.reason.map_or(String::new(), |reason| reason.to_string());
            let line = format!(
                "{} {} {what} {reason} {}",
                seen.prefix,
                name(&table, seen.member),
                reaches.join(",")
            );
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Glass::look(&table, prefix(around), 100, at(0)).seen.iter().map(line).collect()
    }

    #[test]
    fn a_prefix_of_which_terms_let_only_a_part_be_called_gets_calls() {
        let mut exchange = exchange("+44 acme");
        let terms = r#"{ "prefixes_of_accepting": ["+4420"] }"#;
        exchange.agreement("acme").terms = Some(Box::new(serde_json::from_str(terms).unwrap()));
        assert_eq!(look(&exchange, "+44"), ["+44 acme accepted caller"]);
        let terms = r#"{ "prefixes_of_accepting": ["+33"] }"#;
        exchange.agreement("acme").terms = Some(Box::new(serde_json::from_str(terms).unwrap()));
        assert_eq!(look(&exchange, "+44"), ["+44 acme accepted agreement_prefix"]);
    }

    #[test]
    fn it_shows_what_is_announced_above_at_and_beneath_a_prefix_and_nothing_beside_it() {
        let exchange =
            exchange("+44 globex | +4420 acme | +44207 initech | +442 umbrella | +4421 acme | +33 acme");
        assert_eq!(
            look(&exchange, "+4420"),
            [
                "+44 globex accepted caller",
                "+442 umbrella accepted caller",
                "+4420 acme accepted caller",
                "+44207 initech accepted caller"
            ]
        );
        assert_eq!(look(&exchange, "+3"), ["+33 acme accepted caller"]);
        assert_eq!(look(&exchange, "+49"), [""; 0]);
    }

    #[test]
    fn each_reason_for_which_an_announcement_does_not_count_or_gets_no_calls_is_seen() {
        type Break = fn(&mut Exchange);
        let table: [(Break, &str); 11] = [
            (|x| x.announcement("+4420", "acme").validity.from = at(1), "refused not_yet_in_force"),
            (|x| x.announcement("+4420", "acme").validity.until = Some(at(0)), "refused not_yet_in_force"),
            (|x| x.member("acme").state = MemberState::Suspended, "refused member_not_approved"),
            (|x| x.range("+4420", "acme").authority = Authority::Pending, "refused range_unverified"),
            (|x| x.range("+4420", "acme").validity.until = Some(at(0)), "refused range_expired"),
            (|x| x.range("+4420", "acme").prefix = prefix("+33"), "refused range_missing"),
            (|x| x.range("+4420", "acme").prefix = prefix("+44207"), "refused announcement_too_broad"),
            (|x| x.range("+4420", "acme").member_id = id("caller"), "refused range_of_other"),
            (|x| x.agreement("acme").state = AgreementState::Ended, "accepted no_agreement"),
            (|x| x.endpoint("acme").enabled = false, "accepted endpoint_disabled"),
            (|x| x.endpoint("acme").target = "registration".parse().unwrap(), "accepted not_registered"),
        ];
        for (fault, expected) in table {
            let broken = exchange("+4420 acme").with(fault);
            assert_eq!(look(&broken, "+4420"), [format!("+4420 acme {expected}")]);
        }
    }

    #[test]
    fn more_than_asked_for_is_cut_off_and_said() {
        let table = exchange("+44 acme | +4420 acme | +4421 acme | +4422 acme").table();
        let glass = |most| Glass::look(&table, prefix("+442"), most, at(0));
        assert_eq!((glass(3).seen.len(), glass(3).has_more), (3, true));
        assert_eq!((glass(4).seen.len(), glass(4).has_more), (4, false));
        assert!(glass(4).seen.iter().all(|seen| seen.reaches == [id("caller")]));
    }
}

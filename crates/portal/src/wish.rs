//! What a member wishes to announce and to withdraw, many prefixes at once, and what must happen for that.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use tandem_model::{AnnouncementId, EndpointId, MemberId, Prefix};
use tandem_store::PgConnection;
use tandem_store::announcement::{self, Standing};

use crate::announcement::EndpointNames;
use crate::bulk::{BulkMode, BulkRow, BulkView, Input};
use crate::problem::{ApiError, Faults};
use crate::text;

/// What is to be announced and withdrawn, every row looked at.
#[derive(Debug, PartialEq)]
pub(crate) struct Wish {
    pub(crate) mode: BulkMode,
    pub(crate) announce: Vec<(Prefix, Vec<EndpointId>)>,
    pub(crate) withdraw: Vec<Prefix>,
}

impl Wish {
    pub(crate) fn read(input: Input, names: &EndpointNames) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut seen: HashMap<Prefix, usize> = HashMap::with_capacity(input.rows.len());
        let mut announce = Vec::with_capacity(input.rows.len());
        for (row, BulkRow { prefix, endpoints }) in &input.rows {
            faults.at_row(*row);
            let prefix = text::announced(&mut faults, "prefix", prefix);
            let endpoints = names.read(&mut faults, "endpoints", endpoints);
            let Some((prefix, endpoints)) = prefix.zip(endpoints) else { continue };
            match seen.insert(prefix, *row) {
                Some(other) => faults.note("prefix", format!("{prefix} is in row {other} too")),
                None => announce.push((prefix, endpoints)),
            }
        }
        let mut withdraw = Vec::with_capacity(input.withdraw.len());
        for (index, text) in input.withdraw.iter().enumerate() {
            faults.at_row(index + 1);
            let Some(prefix) = text::prefix(&mut faults, "withdraw", text) else { continue };
            match seen.get(&prefix) {
                Some(row) => faults.note("withdraw", format!("{prefix} is announced in row {row}")),
                None => withdraw.push(prefix),
            }
        }
        if input.mode == BulkMode::Replace && !input.withdraw.is_empty() {
            faults.at_row(1);
            faults.note("withdraw", "with replace, what is not named is withdrawn; leave this out");
        }
        faults.check()?;
        Ok(Self { mode: input.mode, announce, withdraw })
    }

    /// Every prefix that is named.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.announce.iter().map(|(prefix, _)| *prefix).chain(self.withdraw.iter().copied())
    }
}

/// What must happen for a wish to come true.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Edits {
    add: Vec<(Prefix, Vec<EndpointId>)>,
    change: Vec<(AnnouncementId, Prefix, Vec<EndpointId>)>,
    withdraw: Vec<(AnnouncementId, Prefix)>,
    /// Announcements that were planned for a prefix that is now announced otherwise.
    supersede: Vec<AnnouncementId>,
    unchanged: u64,
}

impl Edits {
    pub(crate) fn make(wish: &Wish, standing: &[Standing], now: DateTime<Utc>) -> Self {
        let mut edits = Self::default();
        let mut by_prefix: HashMap<Prefix, Vec<&Standing>> = HashMap::with_capacity(standing.len());
        for stands in standing {
            by_prefix.entry(stands.prefix).or_default().push(stands);
        }
        for (prefix, endpoints) in &wish.announce {
            let stands = by_prefix.remove(prefix).unwrap_or_default();
            let (now_in_force, planned): (Vec<&Standing>, Vec<_>) =
                stands.into_iter().partition(|it| it.validity.contains(now));
            edits.supersede.extend(planned.iter().map(|it| it.announcement_id));
            match now_in_force.first() {
                Some(it)
                    if it.endpoints == *endpoints && it.validity.until.is_none() && planned.is_empty() =>
                {
                    edits.unchanged += 1;
                }
                Some(it) => edits.change.push((it.announcement_id, *prefix, endpoints.clone())),
                None => edits.add.push((*prefix, endpoints.clone())),
            }
        }
        let ended: Vec<&Standing> = match wish.mode {
            BulkMode::Replace => by_prefix.into_values().flatten().collect(),
            BulkMode::Merge => {
                wish.withdraw.iter().flat_map(|prefix| by_prefix.remove(prefix).unwrap_or_default()).collect()
            }
        };
        edits.withdraw = ended.into_iter().map(|it| (it.announcement_id, it.prefix)).collect();
        edits
    }

    pub(crate) fn changes_something(&self) -> bool {
        !(self.add.is_empty() && self.change.is_empty() && self.withdraw.is_empty())
    }

    pub(crate) fn summary(&self) -> BulkView {
        let withdrawn: std::collections::HashSet<Prefix> =
            self.withdraw.iter().map(|(_, prefix)| *prefix).collect();
        BulkView {
            added: self.add.len() as u64,
            changed: self.change.len() as u64,
            withdrawn: withdrawn.len() as u64,
            unchanged: self.unchanged,
            table_version: 0,
        }
    }

    pub(crate) async fn carry_out(
        &self,
        db: &mut PgConnection,
        member: MemberId,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        let ended = self.withdraw.iter().map(|(id, _)| *id).chain(self.supersede.iter().copied());
        let ended: Vec<AnnouncementId> = ended.collect();
        if !ended.is_empty() {
            announcement::withdraw(db, member, &ended, now).await?;
        }
        if !self.change.is_empty() {
            let change: Vec<_> =
                self.change.iter().map(|(id, _, endpoints)| (*id, endpoints.clone())).collect();
            announcement::update_many(&mut *db, member, &change).await?;
        }
        if !self.add.is_empty() {
            announcement::insert_many(db, member, &self.add, now).await?;
        }
        Ok(())
    }

    /// Before and after for the audit log: the counts, and each prefix that changed with its endpoints.
    pub(crate) fn audited(
        &self,
        view: &BulkView,
        standing: &[Standing],
    ) -> (serde_json::Value, serde_json::Value) {
        let touched: std::collections::HashSet<AnnouncementId> =
            self.change.iter().map(|(id, ..)| *id).chain(self.withdraw.iter().map(|(id, _)| *id)).collect();
        let was = standing.iter().filter(|it| touched.contains(&it.announcement_id));
        let was: HashMap<String, &Vec<EndpointId>> =
            was.map(|it| (it.prefix.to_string(), &it.endpoints)).collect();
        let is = self.add.iter().map(|(prefix, endpoints)| (prefix, endpoints));
        let is = is.chain(self.change.iter().map(|(_, prefix, endpoints)| (prefix, endpoints)));
        let is: HashMap<String, &Vec<EndpointId>> =
            is.map(|(prefix, endpoints)| (prefix.to_string(), endpoints)).collect();
        (json!({ "rows": was }), json!({ "summary": view, "rows": is }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use tandem_model::Validity;
    use uuid::Uuid;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("the test writes a prefix")
    }

    fn endpoint(number: u128) -> EndpointId {
        EndpointId(Uuid::from_u128(number))
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(2_000_000_000, 0).unwrap()
    }

    fn stands(id: u128, text: &str, endpoints: &[u128], from_s: i64, until_s: Option<i64>) -> Standing {
        let at = |s| now() + TimeDelta::seconds(s);
        Standing {
            announcement_id: AnnouncementId(Uuid::from_u128(id)),
            prefix: prefix(text),
            validity: Validity { from: at(from_s), until: until_s.map(at) },
            endpoints: endpoints.iter().map(|&number| endpoint(number)).collect(),
            limits: tandem_model::CallLimits::NONE,
            tags: Vec::new(),
        }
    }

    fn plan(
        mode: BulkMode,
        announce: &[(&str, u128)],
        withdraw: &[&str],
        standing: &[Standing],
    ) -> [usize; 5] {
        let wish = Wish {
            mode,
            announce: announce.iter().map(|(text, number)| (prefix(text), vec![endpoint(*number)])).collect(),
            withdraw: withdraw.iter().map(|text| prefix(text)).collect(),
        };
        let edits = Edits::make(&wish, standing, now());
        let Edits { add, change, withdraw, supersede, unchanged } = &edits;
        [add.len(), change.len(), withdraw.len(), supersede.len(), *unchanged as usize]
    }

    #[test]
    fn a_merge_leaves_alone_what_it_does_not_name() {
        let standing = [stands(1, "+44", &[1], -10, None), stands(2, "+45", &[1], -10, None)];
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1), ("+46", 1)], &[], &standing), [1, 0, 0, 0, 1]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 2)], &["+45", "+47"], &standing), [0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_replacement_withdraws_what_it_does_not_name() {
        let standing = [stands(1, "+44", &[1], -10, None), stands(2, "+45", &[1], 10, None)];
        assert_eq!(plan(BulkMode::Replace, &[("+44", 1)], &[], &standing), [0, 0, 1, 0, 1]);
        assert_eq!(plan(BulkMode::Replace, &[], &[], &standing), [0, 0, 2, 0, 0]);
    }

    #[test]
    fn what_was_planned_for_a_named_prefix_is_superseded() {
        let standing = [stands(1, "+44", &[1], -10, Some(10)), stands(2, "+44", &[2], 10, None)];
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing), [0, 1, 0, 1, 0]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing[1..]), [1, 0, 0, 1, 0]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing[..1]), [0, 1, 0, 0, 0]);
    }
}

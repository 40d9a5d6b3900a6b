//! Makes a selection again: what it was made of beside the table, and whether it comes out the same.
//!
//! Whoever has the table of that version, by its hash, gets the same candidates in the same order and the same reasons, bit
//! for bit. Two things are taken as the selection has them, since no table of the exchange ever had them for sure: what was
//! found among ported numbers, and whether an endpoint without a target was registered at that node in that moment. What a
//! node left out afterwards, for its limits or for how endpoints fared there, stands behind what `select` said.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{E164, EndpointId, Facts, MemberId, Reason, Registration, Transport};

use crate::dip::Dip;
use crate::hash::TableHash;
use crate::select::{CallRequest, Selection, select};
use crate::table::RouteTable;

/// What was asked of a table, and where in the selection its answer begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which number.
    pub called: E164,
    /// When.
    #[serde(with = "moment")]
    pub at: DateTime<Utc>,
    /// Name of the site where the call came in.
    pub site: Option<Box<str>>,
    /// The random bits that decided among endpoints by weight.
    pub draw: u64,
    /// What was found among ported numbers.
    pub dip: Option<Dip>,
    /// Version of the table.
    pub table_version: u64,
    /// Its hash.
    pub table_hash: TableHash,
    /// How many candidates stand before those of this answer.
    pub candidates_from: u16,
    /// How much was left out before.
    pub left_out_from: u16,
}

/// A moment as text where people read it; elsewhere the nanoseconds since 1970.
mod moment {
    use chrono::{DateTime, Utc};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return at.serialize(serializer);
        }
        // It lasts until the year 2262.
        let nanos = at.timestamp_nanos_opt().ok_or_else(|| S::Error::custom("too far from 1970"))?;
        serializer.serialize_i64(nanos)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        if deserializer.is_human_readable() {
            return DateTime::deserialize(deserializer);
        }
        i64::deserialize(deserializer).map(DateTime::from_timestamp_nanos)
    }
}

/// Why a selection is not what comes of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The selection does not say what was asked: it is of an earlier release.
    NotSaid,
    /// The table is not the one that was asked.
    OtherTable {
        /// The version of both.
        version: u64,
        /// The hash that the selection names.
        said: TableHash,
        /// The hash of the table.
        found: TableHash,
    },
    /// Something else comes of the same table.
    OtherAnswer(Box<Selection>),
}

impl Selection {
    /// Notes what it was made of, and takes no more room than it needs: a call keeps it as long as it is up.
    pub fn note(&mut self, call: &CallRequest<'_>, table: &RouteTable, at: DateTime<Utc>) {
        self.candidates.shrink_to_fit();
        self.asked = vec![Asked {
            called: call.called,
            at,
            site: call.site.map(Into::into),
            draw: call.draw,
            dip: self.dip,
            table_version: table.version(),
            table_hash: table.hash(),
            candidates_from: 0,
            left_out_from: 0,
        }];
    }

    /// Goes on with the answer for another number: its candidates come after those that are left.
    pub fn go_on(&mut self, next: Self) {
        let from = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let (candidates, left_out) = (from(self.candidates.len()), from(self.left_out.len()));
        self.asked.extend(next.asked.into_iter().map(|asked| Asked {
            candidates_from: candidates,
            left_out_from: left_out,
            ..asked
        }));
        self.candidates.extend(next.candidates);
        self.left_out.extend(next.left_out);
    }

    /// Asks `table` again what the selection's question number `index` asked, 0 for the first.
    ///
    /// # Errors
    /// Says in what the answer is another one.
    pub fn verify(
        &self,
        index: usize,
        originating_member: MemberId,
        table: &RouteTable,
    ) -> Result<(), Mismatch> {
        let asked = self.asked.get(index).ok_or(Mismatch::NotSaid)?;
        if (table.version(), table.hash()) != (asked.table_version, asked.table_hash) {
            return Err(Mismatch::OtherTable {
                version: asked.table_version,
                said: asked.table_hash,
                found: table.hash(),
            });
        }
        let registered = self.candidates.iter().map(|candidate| candidate.endpoint).collect();
        let left_out = self.left_out.iter().filter(|it| it.reason == Reason::NotRegistered);
        let unregistered = left_out.filter_map(|it| it.endpoint).collect();
        let table = table.registered_as(&registered, &unregistered, asked.at);
        let call = CallRequest {
            originating_member,
            called: asked.called,
            dip: asked.dip,
            site: asked.site.as_deref(),
            draw: asked.draw,
        };
        let answer = select(&table, &call, asked.at);
        if self.holds(index, asked, &answer) { Ok(()) } else { Err(Mismatch::OtherAnswer(Box::new(answer))) }
    }

    /// Whether what it says from `asked` on is `answer`, as far as it was not cut short for the next question.
    fn holds(&self, index: usize, asked: &Asked, answer: &Self) -> bool {
        let is_same_question = index > 0
            || (self.called, self.table_version, self.matched, self.dip)
                == (answer.called, answer.table_version, answer.matched, answer.dip);
        let next = self.asked.get(index + 1);
        let until = next.map_or(self.candidates.len(), |next| next.candidates_from.into());
        let candidates = self.candidates.get(asked.candidates_from.into()..until).unwrap_or_default();
        let is_whole = next.is_some() || candidates.len() == answer.candidates.len();
        let left_out = self.left_out.get(asked.left_out_from.into()..).unwrap_or_default();
        is_same_question
            && is_whole
            && answer.candidates.starts_with(candidates)
            && left_out.starts_with(&answer.left_out)
    }
}

impl RouteTable {
    /// The table as it was before: objects of `past` stand in the place of those of the same id, registrations with them,
    /// and what is `gone` was not there yet.
    #[must_use]
    pub fn turned_back(&self, past: Facts) -> Self {
        let mut table = self.clone();
        // Else what has registered since would be taken for being on its way to the database.
        past.endpoints.iter().for_each(|endpoint| table.remove_endpoint(endpoint.endpoint_id));
        table.apply(past)
    }

    /// The table with just these of the endpoints without a target registered.
    fn registered_as(
        &self,
        registered: &HashSet<EndpointId>,
        unregistered: &HashSet<EndpointId>,
        at: DateTime<Utc>,
    ) -> Self {
        let mut table = self.clone();
        for id in registered.union(unregistered) {
            let Some(endpoint) = self.endpoint(*id).filter(|endpoint| endpoint.target.is_registration())
            else {
                continue;
            };
            let is_registered = registered.contains(id);
            if endpoint.access.binding(at).is_some() == is_registered {
                continue;
            }
            let mut endpoint = endpoint.clone();
            let credential = endpoint.access.inbound.as_ref().map(|inbound| inbound.credential_id);
            let nowhere = || ([0, 0, 0, 0], 0).into();
            endpoint.access.registration =
                credential.filter(|_| is_registered).map(|credential_id| Registration {
                    credential_id,
                    contact: String::new(),
                    source: nowhere(),
                    transport: Transport::Udp,
                    listener: nowhere(),
                    call_id: String::new(),
                    cseq: 0,
                    registered_at: at,
                    expires_at: at + TimeDelta::seconds(1),
                    node_id: uuid::Uuid::nil().into(),
                });
            table.remove_endpoint(*id);
            table.put_endpoint(endpoint);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{at, exchange, id, number};

    fn asked(table: &RouteTable, called: &str, draw: u64) -> Selection {
        let call = CallRequest {
            originating_member: id("caller"),
            called: number(called),
            dip: None,
            site: Some("ams"),
            draw,
        };
        let mut selection = select(table, &call, at(0));
        selection.note(&call, table, at(0));
        selection
    }

    const LONDON: &str = "+442079460000";

    #[test]
    fn a_selection_that_was_written_down_is_made_again_on_its_table_and_on_no_other() {
        let exchange = exchange("+4420 acme one/1/10 two/1/10 three/1/10 | +44 globex | +33 acme");
        let table = exchange.table();
        for draw in 0..64 {
            let text = serde_json::to_string(&asked(&table, LONDON, draw)).unwrap();
            let stored: Selection = serde_json::from_str(&text).unwrap();
            assert_eq!(stored.verify(0, id("caller"), &table), Ok(()));
        }
        let stored = asked(&table, LONDON, 7);
        let other = exchange.with(|x| x.endpoint("one").priority = 0).table();
        assert!(matches!(stored.verify(0, id("caller"), &other), Err(Mismatch::OtherTable { .. })));
        assert_eq!(stored.verify(1, id("caller"), &table), Err(Mismatch::NotSaid));
    }

    #[test]
    fn whatever_is_changed_in_a_selection_shows() {
        let table = exchange("+4420 acme one/1/10 two/1/10 | +44 globex | +33 acme").table();
        let stored = asked(&table, LONDON, 7);
        let changes: [fn(&mut Selection); 8] = [
            |it| it.candidates.reverse(),
            |it| it.candidates.truncate(1),
            |it| it.candidates[0].agreement = id("another"),
            |it| it.left_out.clear(),
            |it| it.left_out[0].reason = Reason::NoAgreement,
            |it| it.matched = None,
            |it| it.called = number("+442079460001"),
            |it| it.asked[0].draw = 8,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = stored.clone();
            change(&mut changed);
            let found = changed.verify(0, id("caller"), &table);
            // Another draw may give the same order.
            let is_same_order = index == 7 && asked(&table, LONDON, 8).candidates == stored.candidates;
            assert!(matches!(found, Err(Mismatch::OtherAnswer(_))) || is_same_order, "{index}: {found:?}");
        }
        assert!(stored.verify(0, id("globex"), &table).is_err(), "it was asked for another member");
    }

    #[test]
    fn what_a_node_left_out_afterwards_and_a_redirection_do_not_stand_in_the_way() {
        let table = exchange("+4420 acme one/1/10 two/2/10 | +44 globex | +33 acme").table();
        let mut stored = asked(&table, LONDON, 7);
        let left_out = crate::LeftOut { reason: Reason::EndpointDown, ..stored.left_out[0] };
        stored.left_out.push(left_out);
        assert_eq!(stored.verify(0, id("caller"), &table), Ok(()));
        stored.candidates.truncate(1);
        stored.go_on(asked(&table, "+33123456789", 9));
        assert_eq!([0, 1].map(|index| stored.verify(index, id("caller"), &table)), [Ok(()), Ok(())]);
        stored.candidates.remove(1);
        assert!(stored.verify(1, id("caller"), &table).is_err());
    }

    #[test]
    fn a_table_that_is_turned_back_is_the_one_of_before() {
        let before = exchange("+4420 acme one two | +44 globex");
        let table = before.table();
        let mut later = exchange("+4420 acme one two | +44 globex | +33 initech");
        later.endpoint("one").priority = 9;
        let now = table.apply(later.0.clone());
        let gone = crate::exchange::exchange("+33 initech").0;
        let mut past = before.0.clone();
        past.gone.extend(
            gone.announcements.iter().map(|it| tandem_model::ObjectId::Announcement(it.announcement_id)),
        );
        past.gone.extend(gone.ranges.iter().map(|it| tandem_model::ObjectId::Range(it.range_id)));
        past.gone.extend(
            gone.members
                .iter()
                .filter(|it| it.name == "initech")
                .map(|it| tandem_model::ObjectId::Member(it.member_id)),
        );
        past.gone.extend(gone.endpoints.iter().map(|it| tandem_model::ObjectId::Endpoint(it.endpoint_id)));
        past.gone.extend(gone.agreements.iter().map(|it| tandem_model::ObjectId::Agreement(it.agreement_id)));
        assert_ne!(now.hash(), table.hash());
        assert_eq!(now.turned_back(past).hash(), table.hash());
    }
}

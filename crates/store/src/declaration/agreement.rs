//! The declared agreements.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Uuid;
use tandem_model::AgreementDirection;

use super::row::{Row, bound, insert};
use super::{Action, Applied, ApplyError, Declaration, Members};
use crate::word;

struct AgreementRow<'a> {
    first: &'a str,
    second: &'a str,
    proposing_member_id: Uuid,
    accepting_member_id: Uuid,
    direction: &'static str,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    advance_on: Option<serde_json::Value>,
    notice_days: i32,
    terms: Option<serde_json::Value>,
    from: DateTime<Utc>,
}

impl Row for AgreementRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let proposing: Vec<Uuid> = rows.iter().map(|row| row.proposing_member_id).collect();
        let accepting: Vec<Uuid> = rows.iter().map(|row| row.accepting_member_id).collect();
        let directions: Vec<&str> = rows.iter().map(|row| row.direction).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        let advance_on: Vec<Option<serde_json::Value>> =
            rows.iter().map(|row| row.advance_on.clone()).collect();
        let terms: Vec<Option<serde_json::Value>> = rows.iter().map(|row| row.terms.clone()).collect();
        let notice_days: Vec<i32> = rows.iter().map(|row| row.notice_days).collect();
        sqlx::query!(
            r#"
            with declared as (
                insert into agreement (proposing_member_id, accepting_member_id, direction, state, valid_during
                                     , proposed_at, decided_at, max_calls, max_calls_per_second, advance_on, notice_days
                                     , terms)
                select proposing, accepting, direction, 'accepted', tstzrange($4, null), $4, $4
                     , max_calls, max_calls_per_second, advance_on, notice_days, terms
                  from unnest($1::uuid[], $2::uuid[], $3::text[], $5::int[], $6::int[], $7::jsonb[], $8::int[], $9::jsonb[])
                    as t (proposing, accepting, direction, max_calls, max_calls_per_second, advance_on, notice_days, terms)
                returning *
            )
            insert into agreement_event (agreement_id, position, at, action, version, terms)
            select agreement_id, 1, $4, 'declare', 1
                 , jsonb_build_object('direction', direction, 'note', note, 'notice_days', notice_days, 'max_calls', max_calls
                                    , 'max_calls_per_second', max_calls_per_second, 'advance_on', advance_on
                                    , 'terms', coalesce(terms, '{}'))
              from declared
            "#,
            &proposing,
            &accepting,
            &directions as &[&str],
            from,
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
            &advance_on as &[Option<serde_json::Value>],
            &notice_days,
            &terms as &[Option<serde_json::Value>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("agreement {}–{}", self.first, self.second)
    }
}

pub(super) async fn put_agreements(
    db: &mut PgConnection,
    declaration: &Declaration,
    members: &Members,
    at: DateTime<Utc>,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let ids: Vec<Uuid> = members.values().copied().collect();
    let names: HashMap<Uuid, &str> = members.iter().map(|(name, id)| (*id, name.as_str())).collect();
    let present = sqlx::query!(
        r#"
        select agreement_id, proposing_member_id, accepting_member_id, direction, max_calls, max_calls_per_second, advance_on
             , notice_days, terms
             , (state in ('accepted', 'suspended') and coalesce(lower(valid_during) <= $2 and upper_inf(valid_during), false)) as "standing!"
          from agreement
         where proposing_member_id = any ($1) and accepting_member_id = any ($1)
           and state in ('proposed', 'countered', 'accepted', 'suspended', 'ending')
        "#,
        &ids,
        at,
    )
    .fetch_all(&mut *db)
    .await?;
    let pair = |one: Uuid, other: Uuid| (one.min(other), one.max(other));
    let mut present: HashMap<_, _> = present
        .into_iter()
        .map(|row| (pair(row.proposing_member_id, row.accepting_member_id), row))
        .collect();
    let (mut gone, mut rows) = (Vec::new(), Vec::new());
    for agreement in &declaration.agreements {
        let [first, second] = &agreement.members;
        let (proposing, accepting) = (members[first], members[second]);
        let direction = direction(agreement.direction, false);
        let known = present.remove(&pair(proposing, accepting));
        if let Some(known) = &known {
            // The other one may have proposed it; then its direction is written the other way round.
            let turned = known.proposing_member_id != proposing;
            if known.standing
                && known.direction == self::direction(agreement.direction, turned)
                && known.max_calls == bound(agreement.max_calls)
                && known.max_calls_per_second == bound(agreement.max_calls_per_second)
                && known.advance_on == word::to_json(agreement.advance_on.as_ref())
                && known.notice_days == i32::from(agreement.notice_days)
                && known.terms == word::to_json(Some(&agreement.terms).filter(|terms| !terms.is_default()))
            {
                continue;
            }
            gone.push(known.agreement_id);
        }
        let action = if known.is_some() { Action::Changed } else { Action::Added };
        applied.note("agreement", action, format!("{first}–{second}"));
        rows.push(AgreementRow {
            first,
            second,
            proposing_member_id: proposing,
            accepting_member_id: accepting,
            direction,
            max_calls: bound(agreement.max_calls),
            max_calls_per_second: bound(agreement.max_calls_per_second),
            advance_on: word::to_json(agreement.advance_on.as_ref()),
            notice_days: i32::from(agreement.notice_days),
            terms: word::to_json(Some(&agreement.terms).filter(|terms| !terms.is_default())),
            from: at,
        });
    }
    for known in present.into_values() {
        let (first, second) = (names[&known.proposing_member_id], names[&known.accepting_member_id]);
        applied.note("agreement", Action::Removed, format!("{first}–{second}"));
        gone.push(known.agreement_id);
    }
    // A proposal is answered; what was agreed ends without notice, and has never held if it had not begun.
    sqlx::query!(
        r#"
        with over as (
            update agreement
               set state = case when valid_during is null then 'refused' else 'ended' end
                 , decided_at = coalesce(decided_at, $2)
                 , ended_at = case when valid_during is not null then $2 end
                 , valid_during = valid_during * tstzrange(null, $2)
                 , suspended_by_proposing = false, suspended_by_accepting = false
             where agreement_id = any ($1)
            returning agreement_id, version, state
        )
        insert into agreement_event (agreement_id, position, at, action, version)
        select o.agreement_id
             , (select coalesce(max(e.position), 0) + 1 from agreement_event e where e.agreement_id = o.agreement_id)
             , $2, case o.state when 'refused' then 'refuse' else 'end' end, o.version
          from over o
        "#,
        &gone,
        at,
    )
    .execute(&mut *db)
    .await?;
    insert(db, &rows).await
}

fn direction(direction: AgreementDirection, turned: bool) -> &'static str {
    match (direction, turned) {
        (AgreementDirection::Both, _) => "both",
        (AgreementDirection::ToAccepting, false) | (AgreementDirection::ToProposing, true) => "to_accepting",
        (AgreementDirection::ToProposing, false) | (AgreementDirection::ToAccepting, true) => "to_proposing",
    }
}

//! What to do to endpoints, ranges and announcements.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Uuid;
use tandem_model::{Authority, Tag};

use super::announcement::AnnouncementRow;
use super::endpoint::{CertificateNameRow, EndpointRow, SiteRow, SourceRow};
use super::present::{EndpointSettings, Present, PresentAnnouncement, PresentEndpoint, PresentRange};
use super::range::RangeRow;
use super::row::{bound, insert};
use super::{Action, Applied, ApplyError, Declaration, EndpointDeclaration, Members, SourceText};

/// What to do to endpoints, ranges and announcements.
#[derive(Default)]
pub(super) struct Plan<'a> {
    endpoints_gone: Vec<Uuid>,
    /// Endpoints whose sources are written anew.
    sources_gone: Vec<Uuid>,
    /// Endpoints whose certificate names are written anew.
    certificate_names_gone: Vec<Uuid>,
    /// Endpoints that are attached to sites anew.
    sites_gone: Vec<Uuid>,
    ranges_gone: Vec<Uuid>,
    announcements_gone: Vec<Uuid>,
    endpoints: Vec<EndpointRow<'a>>,
    sources: Vec<SourceRow<'a>>,
    certificate_names: Vec<CertificateNameRow<'a>>,
    sites: Vec<SiteRow<'a>>,
    ranges: Vec<RangeRow<'a>>,
    announcements: Vec<AnnouncementRow<'a>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        declaration: &'a Declaration,
        members: &Members,
        present: Present,
        at: DateTime<Utc>,
        applied: &mut Applied,
    ) -> Self {
        let Present { mut endpoints, ranges, announcements } = present;
        let mut plan = Self::default();
        let names: HashMap<Uuid, &str> = members.iter().map(|(name, id)| (*id, name.as_str())).collect();
        let mut endpoint_ids: HashMap<(Uuid, &str), Uuid> = HashMap::new();
        // Whatever is left of these at the end is not declared.
        let mut ranges = by_prefix(ranges, |range| (range.member_id, range.prefix.clone()));
        let mut announcements = by_prefix(announcements, |it| (it.member_id, it.prefix.clone()));

        for member in &declaration.members {
            let (name, member_id) = (member.name.as_str(), members[&member.name]);
            for endpoint in &member.endpoints {
                let present = endpoints.remove(&(member_id, endpoint.name.clone()));
                if let Some(present) = &present {
                    endpoint_ids.insert((member_id, &endpoint.name), present.endpoint_id);
                }
                plan.put_endpoint(name, member_id, endpoint, present, applied);
            }
            for range in &member.ranges {
                let digits = range.prefix.digits();
                let authority = match range.authority {
                    Authority::Valid => "valid",
                    Authority::Pending | Authority::Refused => "pending",
                };
                let present = ranges.remove(&(member_id, digits.clone())).unwrap_or_default();
                let same = |it: &PresentRange| it.standing && it.authority == authority;
                let kept = present.iter().any(same);
                plan.ranges_gone.extend(present.iter().filter(|it| !same(it)).map(|it| it.range_id));
                if !kept {
                    let action = if present.is_empty() { Action::Added } else { Action::Changed };
                    applied.note("range", action, format!("{name}/{}", range.prefix));
                    plan.ranges.push(RangeRow {
                        member: name,
                        member_id,
                        prefix: digits,
                        authority,
                        from: at,
                    });
                }
            }
            for announcement in &member.announcements {
                let digits = announcement.prefix.digits();
                // An endpoint that is new has no id yet, so no announcement can have it.
                let wanted: Option<BTreeSet<Uuid>> = announcement
                    .endpoints
                    .iter()
                    .map(|it| endpoint_ids.get(&(member_id, it)).copied())
                    .collect();
                let present = announcements.remove(&(member_id, digits.clone())).unwrap_or_default();
                let tags: Vec<String> = announcement.tags.iter().map(Tag::to_string).collect();
                let same = |it: &PresentAnnouncement| {
                    it.standing
                        && wanted.as_ref() == Some(&it.endpoint_ids.iter().copied().collect())
                        && it.max_calls == bound(announcement.max_calls)
                        && it.max_calls_per_second == bound(announcement.max_calls_per_second)
                        && it.tags == tags
                };
                let kept = present.iter().any(same);
                let gone = present.iter().filter(|it| !same(it)).map(|it| it.announcement_id);
                plan.announcements_gone.extend(gone);
                if !kept {
                    let action = if present.is_empty() { Action::Added } else { Action::Changed };
                    applied.note("announcement", action, format!("{name}/{}", announcement.prefix));
                    let endpoints = &announcement.endpoints;
                    plan.announcements.push(AnnouncementRow {
                        member: name,
                        member_id,
                        prefix: digits,
                        endpoints,
                        max_calls: bound(announcement.max_calls),
                        max_calls_per_second: bound(announcement.max_calls_per_second),
                        tags: tags.join(" "),
                        from: at,
                    });
                }
            }
        }
        for ((member_id, endpoint), present) in endpoints {
            applied.note("endpoint", Action::Removed, format!("{}/{endpoint}", names[&member_id]));
            plan.endpoints_gone.push(present.endpoint_id);
        }
        for ((member_id, prefix), present) in ranges {
            applied.note("range", Action::Removed, format!("{}/+{prefix}", names[&member_id]));
            plan.ranges_gone.extend(present.iter().map(|it| it.range_id));
        }
        for ((member_id, prefix), present) in announcements {
            applied.note("announcement", Action::Removed, format!("{}/+{prefix}", names[&member_id]));
            plan.announcements_gone.extend(present.iter().map(|it| it.announcement_id));
        }
        plan
    }

    fn put_endpoint(
        &mut self,
        member: &'a str,
        member_id: Uuid,
        endpoint: &'a EndpointDeclaration,
        present: Option<PresentEndpoint>,
        applied: &mut Applied,
    ) {
        let settings = EndpointSettings::of(endpoint);
        let sources: BTreeSet<_> =
            endpoint.sources.iter().map(|SourceText(it)| (it.net, it.port.map(i32::from))).collect();
        let same_settings = present.as_ref().is_some_and(|present| present.settings == settings);
        // Sources have the mark of their endpoint.
        let is_marked_alike =
            present.as_ref().is_some_and(|present| present.settings.call_mark == settings.call_mark);
        let same_sources =
            is_marked_alike && present.as_ref().is_some_and(|present| present.sources == sources);
        let certificate_names: BTreeSet<String> =
            endpoint.certificate_names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let same_names =
            present.as_ref().is_some_and(|present| present.certificate_names == certificate_names);
        let sites: BTreeSet<String> = endpoint.sites.iter().cloned().collect();
        let same_sites = present.as_ref().map_or(sites.is_empty(), |present| present.sites == sites);
        if same_settings && same_sources && same_names && same_sites {
            return;
        }
        let action = if present.is_some() { Action::Changed } else { Action::Added };
        applied.note("endpoint", action, format!("{member}/{}", endpoint.name));
        if !same_settings {
            self.endpoints.push(EndpointRow { member, member_id, name: &endpoint.name, settings });
        }
        let name = endpoint.name.as_str();
        let present = present.map(|present| present.endpoint_id);
        if !same_names {
            self.certificate_names_gone.extend(present);
            let rows = certificate_names.into_iter();
            self.certificate_names.extend(rows.map(|certificate| CertificateNameRow {
                member,
                member_id,
                name,
                certificate,
            }));
        }
        if !same_sites {
            self.sites_gone.extend(present);
            let rows = sites.into_iter();
            self.sites.extend(rows.map(|site| SiteRow { member, member_id, name, site }));
        }
        if !same_sources {
            self.sources_gone.extend(present);
            self.sources.extend(sources.into_iter().map(|(net, port)| SourceRow {
                member,
                member_id,
                name,
                net,
                port,
            }));
        }
    }

    pub(super) async fn remove(&self, db: &mut PgConnection, at: DateTime<Utc>) -> sqlx::Result<()> {
        // What has not begun leaves no trace; what has, ends.
        sqlx::query!(
            "delete from announcement where announcement_id = any ($1) and lower(valid_during) >= $2",
            &self.announcements_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            r#"
            update announcement set valid_during = tstzrange(lower(valid_during), $2)
             where announcement_id = any ($1)
            "#,
            &self.announcements_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "delete from number_range where range_id = any ($1) and lower(valid_during) >= $2",
            &self.ranges_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "update number_range set valid_during = tstzrange(lower(valid_during), $2) where range_id = any ($1)",
            &self.ranges_gone,
            at,
        )
        .execute(&mut *db)
        .await?;
        // Announcements that ended still name their endpoints.
        sqlx::query!(
            r#"
            update announcement a
               set endpoint_ids = array(select named from unnest(a.endpoint_ids) named where named <> all ($1) order by named)
             where a.endpoint_ids && $1
               and a.member_id in (select member_id from endpoint where endpoint_id = any ($1))
            "#,
            &self.endpoints_gone
        )
        .execute(&mut *db)
        .await?;
        let sources_gone: Vec<Uuid> = self.sources_gone.iter().chain(&self.endpoints_gone).copied().collect();
        sqlx::query!("delete from endpoint_source where endpoint_id = any ($1)", &sources_gone)
            .execute(&mut *db)
            .await?;
        sqlx::query!(
            "delete from endpoint_certificate_name where endpoint_id = any ($1)",
            &self.certificate_names_gone
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!("delete from endpoint_site where endpoint_id = any ($1)", &self.sites_gone)
            .execute(&mut *db)
            .await?;
        sqlx::query!("delete from endpoint where endpoint_id = any ($1)", &self.endpoints_gone)
            .execute(&mut *db)
            .await?;
        Ok(())
    }

    pub(super) async fn put(&self, db: &mut PgConnection) -> Result<(), ApplyError> {
        let sites: BTreeSet<&str> = self.sites.iter().map(|row| row.site.as_str()).collect();
        for site in sites {
            crate::listener::ensure_site(&mut *db, site).await?;
        }
        insert(db, &self.endpoints).await?;
        insert(db, &self.sources).await?;
        insert(db, &self.certificate_names).await?;
        insert(db, &self.sites).await?;
        insert(db, &self.ranges).await?;
        insert(db, &self.announcements).await
    }
}

fn by_prefix<T>(rows: Vec<T>, key: impl Fn(&T) -> (Uuid, String)) -> HashMap<(Uuid, String), Vec<T>> {
    let mut groups: HashMap<_, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}

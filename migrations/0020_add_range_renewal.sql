-- Ranges end, and are renewed before they do: the member brings new evidence while the old one still holds. And
-- ranges of two members that hold the same numbers are found where the second one is claimed.
alter table number_range
    add column renewal_requested_at timestamptz
  , add column renewal_until timestamptz
  , add constraint number_range_renewal_of_valid check (renewal_requested_at is null or authority = 'valid')
  , add constraint number_range_renewal_has_end check (renewal_until is null or renewal_requested_at is not null);
create index number_range_standing on number_range using gist (span) where authority <> 'refused';

-- Ranges of other members that have numbers of this one at a time or later, at most twenty, those first that stand in
-- its way: verified ones, and of claims the earlier ones (ids follow the order of claims).
create function conflicts_of(claim number_range, at timestamptz) returns jsonb language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'member_id', o.member_id, 'member_name', m.name, 'prefix', o.prefix, 'authority', o.authority
             , 'precedes', o.precedes) order by o.precedes desc, o.range_id), '[]')
      from (select r.range_id, r.member_id, r.prefix, r.authority
                 , claim.authority = 'pending' and (r.authority = 'valid' or r.range_id < claim.range_id) as precedes
              from number_range r
             where claim.authority <> 'refused' and claim.valid_during && tstzrange(at, null)
               and r.authority <> 'refused' and r.valid_during && tstzrange(at, null)
               and r.span && claim.span and r.member_id <> claim.member_id
             order by precedes desc, r.range_id
             limit 20) o
      join member m using (member_id)
$$;

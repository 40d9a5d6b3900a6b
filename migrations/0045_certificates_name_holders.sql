-- A certificate that names a service provider code proves that its member is who a regulator's list knows by that code,
-- until the certificate ends. Where the operator has said whose name it is, that counts.
create or replace function allocation_standing(uuid, text, timestamptz)
    returns table (covers boolean, ends_at timestamptz, others jsonb) language sql stable set jit = off as $$
    with found as (
        (select * from allocation where prefix = any (array(select left($2, n) from generate_series(1, length($2)) n)))
        union all
        (select * from allocation where prefix > $2 and prefix < $2 || ':' limit 300)
    ), about as materialized (
        select f.prefix, f.holder, l.name as list, prefix_span(f.prefix) as span
             , coalesce(h.member_id = $1, c.ends_at is not null) as own
             , case when h.member_id is null then least(upper(f.valid_during), c.ends_at) else upper(f.valid_during) end as ends_at
          from found f join allocation_list l using (list_id)
          left join member_holder h on lower(h.holder) = lower(f.holder)
          left join lateral (select max(upper(valid_during)) as ends_at from member_certificate
                              where member_id = $1 and proven_at is not null and valid_during @> $3
                                and lower(f.holder) = any (codes)) c on true
         where f.valid_during @> $3
    ), other as (
        select * from about o
         where not own
           and not exists (select from about w
                            where w.own and w.span @> prefix_span($2) and w.span <@ o.span and w.span <> o.span)
    )
    select coalesce((select range_agg(span) @> prefix_span($2) from about where own), false)
               and not exists (select from other) and (select count(*) from found) < 300
         , (select min(ends_at) from about where own)
         , coalesce((select jsonb_agg(jsonb_build_object('list', list, 'prefix', prefix, 'holder', holder)
                                      order by prefix, holder)
                       from (select * from other order by prefix, holder limit 20) first), '[]')
$$;

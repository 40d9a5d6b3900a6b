-- At which sites an endpoint meets the hub: a node prefers the endpoints of the site at which a call came in. None is
-- anywhere. endpoint.site_id, which held one, is not written any more.
create table endpoint_site (
    endpoint_id uuid not null references endpoint on delete cascade
  , site_id uuid not null references site
  , primary key (endpoint_id, site_id)
);

do $$
declare
    happening text;
begin
    foreach happening in array array['insert', 'update', 'delete'] loop
        execute format(
            'create trigger feed_%s after %s on endpoint_site referencing %s table as touched_rows for each statement execute function append_to_feed(%L, %L)',
            happening, happening, case happening when 'delete' then 'old' else 'new' end, 'endpoint', 'endpoint_id');
    end loop;
end
$$;

insert into endpoint_site (endpoint_id, site_id) select endpoint_id, site_id from endpoint where site_id is not null;

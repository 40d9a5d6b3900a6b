-- A selection is read as a whole, or its dip alone, and by hand; nothing is sought in it. As `jsonb` it was taken apart and
-- sorted for each CDR, which was a third of what an insert costs, and did not come back as it was written. A CDR waits in
-- the journals of the nodes while the rows there are written anew.
alter table call alter column selection type json using selection::text::json;

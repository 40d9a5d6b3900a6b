-- What Kamailio reads at its start and writes at a call's end, in the columns that its modules expect.

-- Each module asks for the version of its table.
create table version (table_name text primary key, table_version int not null);
insert into version values ('address', 6), ('dispatcher', 4), ('call_limit', 2), ('prefix', 1);

-- permissions: from which address which member calls (grp is the member).
create table address (
    id serial primary key
  , grp int not null
  , ip_addr varchar(50) not null
  , mask int not null default 32
  , port smallint not null default 0
  , tag varchar(64)
);

-- htable: how many calls a member may have up.
create table call_limit (
    id serial primary key
  , key_name varchar(64) not null
  , key_type int not null default 0
  , value_type int not null default 1
  , key_value varchar(128) not null
  , expires int not null default 0
);

-- mtree: which set of gateways terminates a prefix.
create table prefix (
    tprefix varchar(32) primary key
  , tvalue varchar(128) not null
);

-- dispatcher: the gateways of a set.
create table dispatcher (
    id serial primary key
  , setid int not null
  , destination varchar(192) not null
  , flags int not null default 0
  , priority int not null default 0
  , attrs varchar(128) not null default ''
  , description varchar(64) not null default ''
);

-- acc: the CDRs, found again by member and time as the hub's are.
create table cdr (
    id bigserial primary key
  , start_time timestamp not null
  , end_time timestamp not null
  , duration real not null
  , call_id varchar(255)
  , calling varchar(64)
  , called varchar(64)
  , member varchar(16)
  , gateway varchar(192)
);
create index cdr_by_member on cdr (member, start_time);

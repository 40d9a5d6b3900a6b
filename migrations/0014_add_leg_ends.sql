-- How each leg of a call ended: the causes that were given on it, in the numbers of SIP and of ITU-T Q.850 (a call's own
-- are those of the originating leg, an attempt's those of the terminating one), and when the two members were last heard
-- from in a call that the hub ended. And the number that an attempt was made for, where a redirection led to another.
-- All of it is unknown in older rows, and in those that a node of before still writes.
alter table call
    add column originating_heard_at timestamptz
  , add column terminating_heard_at timestamptz
  , add column sip_cause int
  , add column q850_cause smallint;
alter table attempt
    add column called text
  , add column sip_cause int
  , add column q850_cause smallint;

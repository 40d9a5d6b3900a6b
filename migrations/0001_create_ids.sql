-- Ids are UUIDv7 (RFC 9562 §5.7): they sort by time, so indexes grow at one end. PostgreSQL 15 has no
-- function for them.
create extension if not exists btree_gist;

create function uuid_v7() returns uuid language sql volatile parallel safe as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- Agents send their whole history with every turn. Long parts of what is asked are kept by content, once for a tenant: a turn
-- stores what it adds. Requests that an earlier version reads are whole, as before.

-- A piece of JSON text. U+0001, the hash of another content in hex, and U+0001 stand for that content: no JSON text has that
-- character in it.
create table contents (
    hash   bytea primary key check (octet_length(hash) = 32), -- SHA-256 of the tenant, a zero byte, and the body
    tenant text not null,
    body   text not null
);

-- Which contents a content is made of.
create table content_parts (
    whole bytea not null references contents on delete cascade,
    part  bytea not null references contents,
    primary key (whole, part)
);
create index content_parts_by_part on content_parts (part);

-- Which contents a generation is made of; the contents in those are not listed again.
create table content_uses (
    generation_id uuid not null references generations on delete cascade,
    hash          bytea not null references contents,
    primary key (generation_id, hash)
);
create index content_uses_by_hash on content_uses (hash);

-- Contents that lost a use. The upkeep erases those that have no other. No key: each loss is told by the transaction that
-- makes it, so that whoever sees the row sees the loss.
create table loose_contents (
    hash bytea not null
);

create function tell_loose_uses() returns trigger language plpgsql as $$
begin
    insert into loose_contents select distinct hash from gone;
    return null;
end $$;
create trigger content_uses_loose after delete on content_uses
    referencing old table as gone for each statement execute function tell_loose_uses();

create function tell_loose_parts() returns trigger language plpgsql as $$
begin
    insert into loose_contents select distinct part from gone;
    return null;
end $$;
create trigger content_parts_loose after delete on content_parts
    referencing old table as gone for each statement execute function tell_loose_parts();

-- The whole request, with U+0001 as in `contents`; null where `request` has all of it.
alter table generations add column packed text;

-- The text with every content in its place; null if one is missing.
create function whole(of_tenant text, packed text) returns text language plpgsql stable strict as $$
declare
    so_far text := packed;
begin
    while strpos(so_far, chr(1)) > 0 loop
        select case when count(*) = count(pieces.piece) then string_agg(pieces.piece, '' order by pieces.i) end
            into so_far
            from (select u.i, case when u.i % 2 = 1 then u.part else
                    (select c.body from contents c where c.hash = decode(u.part, 'hex') and c.tenant = of_tenant) end as piece
                from unnest(string_to_array(so_far, chr(1))) with ordinality as u (part, i)) pieces;
    end loop;
    return so_far;
end $$;

-- The process that reads packed requests; an earlier version leaves the one that was there before it.
alter table instances add column reads_packed uuid;

-- Makes at most `most` packed requests whole again, and says how many: for an earlier version that is to read them.
create function unpack_requests(most integer) returns bigint language sql as $$
    with chosen as (select id from generations where packed is not null limit most for update skip locked),
    done as (update generations g set request = coalesce(whole(g.tenant, g.packed)::json, g.request), packed = null
        from chosen where g.id = chosen.id returning g.id),
    freed as (delete from content_uses u using done where u.generation_id = done.id)
    select count(*) from done
$$;

-- An instance of an earlier version can take over what runs when it comes.
create function unpack_running() returns trigger language plpgsql as $$
begin
    with done as (update generations g set request = coalesce(whole(g.tenant, g.packed)::json, g.request), packed = null
        where g.packed is not null and g.status in ('queued', 'running', 'cancelling') returning g.id)
    delete from content_uses u using done where u.generation_id = done.id;
    return null;
end $$;
create trigger instances_of_before after insert or update of lease_until, process on instances
    for each row when ((new.reads_packed = new.process) is not true and new.lease_until >= now())
    execute function unpack_running();

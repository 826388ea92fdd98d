-- The journal and the segments hold their events as lines of one text: PostgreSQL then takes, keeps and
-- gives a text, where each array had each of its elements checked, copied and put together again. And
-- whoever wrote the journal folds it, for it knows what is in it: what is there is deleted, and
-- written again in order, without being read.
--
-- Every instance must be stopped for this migration: an older program writes arrays.
do $$ begin
    if exists (select from instances where lease_until >= clock_timestamp()) then
        raise exception 'instances of an earlier version still run: stop them all; one that was killed counts until its lease ends';
    end if;
end $$;

select fold(id, (select max(n) from journal where lane = id)) from lanes;
drop view events;
drop view unfolded;
drop view waiting;
drop function fold(uuid, bigint);

-- A line for each of `ids`, in their order: its seq, its epoch, its type, and the JSON object behind its
-- opening brace, which is a part of what readers get. No JSON text has a line break in it.
alter table journal drop column seqs, drop column epochs, drop column types, drop column data,
    add column lines text not null;
alter table journal alter lines set storage external;

create schema earlier;
do $$
declare piece regclass;
begin
    for piece in select relid from pg_partition_tree('segments') loop
        execute format('alter table %s set schema earlier', piece);
    end loop;
end $$;

create table segments (
    generation_id uuid not null,
    seq           bigint not null check (seq > 0), -- of its first event
    last          bigint not null, -- of its last one
    epoch         integer not null,
    at            timestamptz not null, -- when its first event was appended
    lines         text not null, -- of each: microseconds after the first, type, and data as in the journal
    primary key (generation_id, seq),
    check (octet_length(lines) - octet_length(replace(lines, E'\n', '')) = last - seq)
) partition by range (generation_id);
-- Catches what no day's partition takes, so that nothing fails for want of one.
create table segments_other partition of segments default;
do $$
declare day text;
begin
    for day in select right(relname, 8) from pg_class
        where relnamespace = 'earlier'::regnamespace and relname ~ '^segments_[0-9]{8}$'
    loop
        execute format('create table segments_%s partition of segments for values from (%L) to (%L)', day,
            first_uuid_of_day(day::date), first_uuid_of_day(day::date + 1));
    end loop;
end $$;
insert into segments (generation_id, seq, last, epoch, at, lines)
    select s.generation_id, s.seq, s.last, s.epoch, s.at[1], (
        select string_agg(concat_ws(' ', (extract(epoch from u.at - s.at[1]) * 1000000)::bigint, u.type, u.data),
            E'\n' order by u.i)
        from unnest(s.types, s.data, s.at) with ordinality as u (type, data, at, i))
    from earlier.segments s;
drop schema earlier cascade;

-- The events of a row of the journal.
create function unpacked(ids uuid[], lines text)
    returns table (generation_id uuid, seq bigint, epoch integer, type text, data text)
    language sql immutable as $$
    select u.id, split_part(u.line, ' ', 1)::bigint, split_part(u.line, ' ', 2)::integer,
        split_part(u.line, ' ', 3), substring(u.line from '^\S+ \S+ \S+ (.*)$')
    from unnest(ids, string_to_array(lines, E'\n')) as u (id, line)
$$;
-- The events of a segment.
create function unpacked(first bigint, began timestamptz, lines text)
    returns table (seq bigint, type text, data text, at timestamptz)
    language sql stable as $$
    select first + u.i - 1, split_part(u.line, ' ', 2), substring(u.line from '^\S+ \S+ (.*)$'),
        began + split_part(u.line, ' ', 1)::bigint * interval '1 microsecond'
    from unnest(string_to_array(lines, E'\n')) with ordinality as u (line, i)
$$;

-- What is in the journal only. `offset 0`: each lane is looked up behind what is folded, whatever the
-- planner believes, or rows that were just deleted are walked through.
create view waiting as
    select j.* from lanes l cross join lateral
        (select lane, n, at, ids, lines from journal where lane = l.id and n > l.folded offset 0) j;
create view unfolded as
    select j.lane, j.n, u.*, j.at from waiting j, unpacked(j.ids, j.lines) u;

-- One event a row: select seq, type, data from events where generation_id = '…' order by seq.
create view events as
    select e.generation_id, e.seq, e.epoch, g.tenant, e.type, ('{' || e.data)::json as data, e.at
    from (select s.generation_id, u.seq, s.epoch, u.type, u.data, u.at
            from segments s, unpacked(s.seq, s.at, s.lines) u
          union all
          select generation_id, seq, epoch, type, data, at from unfolded) e
    left join generations g on g.id = e.generation_id;

-- The last seq of a generation; zero if it has no event.
create or replace function last_seq(generation uuid) returns bigint language sql stable as $$
    select greatest(
        coalesce((select s.last from segments s where s.generation_id = generation order by s.seq desc limit 1), 0),
        coalesce((select max(u.seq) from waiting j, unpacked(j.ids, j.lines) u
            where generation = any(j.ids) and u.generation_id = generation), 0))
$$;

-- When the first content of a generation became durable; it is mostly folded, and then cheap to find.
create or replace function first_content(generation uuid) returns timestamptz language sql stable as $$
    select coalesce(
        (select u.at from segments s, unpacked(s.seq, s.at, s.lines) u
            where s.generation_id = generation and u.type in ('delta', 'reasoning', 'refusal', 'tool_call')
            order by s.seq, u.seq limit 1),
        (select j.at from waiting j, unpacked(j.ids, j.lines) u
            where generation = any(j.ids) and u.generation_id = generation
            and u.type in ('delta', 'reasoning', 'refusal', 'tool_call') order by u.seq limit 1))
$$;

-- The log in two steps. A flush of many generations is one row of the journal: that is what makes
-- its events durable, at a fraction of the writes that a row for each event takes. Soon afterwards
-- the rows of a lane are folded, in the database, into segments: a generation's events side by
-- side, which is what readers want. `events` stays as a view on both, an event a row.
--
-- Every instance must be stopped for this migration: an older program writes rows to `events`.

-- A connection that appends is a lane. Whoever takes a generation over closes all lanes of its old
-- owner first, which waits for an append under way and has every later one refused: the fence.
create table lanes (
    id     uuid primary key,
    owner  uuid not null,
    open   boolean not null default true,
    -- The last row of the journal that is folded: where whoever reads the journal begins.
    folded bigint not null default 0
);
create index lanes_by_owner on lanes (owner);

-- One flush a row; its events side by side, in the order in which they were handed in.
create table journal (
    lane   uuid not null,
    n      bigint not null,
    at     timestamptz not null default clock_timestamp(),
    ids    uuid[] not null, -- the generations
    seqs   bigint[] not null,
    epochs integer[] not null,
    types  text[] not null,
    data   text[] not null, -- the JSON object behind its opening brace: a part of what readers get
    primary key (lane, n)
) with (
    -- A usual flush stays in its page.
    toast_tuple_target = 8160,
    -- Its rows live for less than a second.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000
);
-- What lives for less than a second is not compressed.
alter table journal alter ids set storage external, alter seqs set storage external,
    alter epochs set storage external, alter types set storage external, alter data set storage external;

-- Events of one generation by one owner, right behind each other.
-- Partitioned by the day in the UUIDv7, so that old events go by dropping a table.
create table segments (
    generation_id uuid not null,
    seq           bigint not null check (seq > 0), -- of its first event
    last          bigint not null, -- of its last one
    epoch         integer not null,
    types         text[] not null,
    data          text[] not null, -- as in the journal
    at            timestamptz[] not null,
    primary key (generation_id, seq),
    check (cardinality(types) = last - seq + 1 and cardinality(data) = last - seq + 1)
) partition by range (generation_id);
-- Catches what no day's partition takes, so that nothing fails for want of one.
create table segments_other partition of segments default;

do $$
declare day text;
begin
    for day in select right(relname, 8) from pg_class where relname ~ '^events_[0-9]{8}$' loop
        execute format('create table segments_%s partition of segments for values from (%L) to (%L)', day,
            first_uuid_of_day(day::date), first_uuid_of_day(day::date + 1));
    end loop;
end $$;
insert into segments (generation_id, seq, last, epoch, types, data, at)
    select generation_id, min(seq), max(seq), epoch, array_agg(type order by seq),
        array_agg(substr(data::text, 2) order by seq), array_agg(at order by seq)
    from events group by generation_id, epoch, seq / 512;
drop table events;

-- What is in the journal only. `offset 0`: each lane is looked up behind what is folded, whatever the
-- planner believes, or rows that were just deleted are walked through.
create view waiting as
    select j.* from lanes l cross join lateral
        (select lane, n, at, ids, seqs, epochs, types, data from journal
            where lane = l.id and n > l.folded offset 0) j;
create view unfolded as
    select j.lane, j.n, u.generation_id, u.seq, u.epoch, u.type, u.data, j.at
    from waiting j,
        unnest(j.ids, j.seqs, j.epochs, j.types, j.data) as u (generation_id, seq, epoch, type, data);

-- One event a row: select seq, type, data from events where generation_id = '…' order by seq.
create view events as
    select e.generation_id, e.seq, e.epoch, g.tenant, e.type, ('{' || e.data)::json as data, e.at
    from (select s.generation_id, s.seq + u.i - 1 as seq, s.epoch, u.type, u.data, u.at
            from segments s, unnest(s.types, s.data, s.at) with ordinality as u (type, data, at, i)
          union all
          select generation_id, seq, epoch, type, data, at from unfolded) e
    left join generations g on g.id = e.generation_id;

-- The last seq of a generation; zero if it has no event.
create function last_seq(generation uuid) returns bigint language sql stable as $$
    select greatest(
        coalesce((select s.last from segments s where s.generation_id = generation order by s.seq desc limit 1), 0),
        coalesce((select max(u.seq) from waiting j, unnest(j.ids, j.seqs) as u (id, seq)
            where generation = any(j.ids) and u.id = generation), 0))
$$;

-- Up to which row a lane is to be folded, `most` rows at a time; null if all of it is.
create function next_to_fold(of_lane uuid, most bigint) returns bigint language sql stable as $$
    select max(n) from (select n from journal where lane = of_lane
        and n > (select folded from lanes where id = of_lane) order by n limit most) next
$$;

-- Folds the rows of a lane up to `upto`; how many events that were.
create function fold(of_lane uuid, upto bigint) returns bigint language sql as $$
    with gone as (
        delete from journal where lane = of_lane and n <= upto
            and n > (select folded from lanes where id = of_lane)
        returning at, ids, seqs, epochs, types, data),
    -- Sorted once, and not for each of the arrays: an aggregate takes its rows as they come.
    entries as (
        select u.id, u.seq, u.epoch, u.type, u.data, gone.at
        from gone, unnest(ids, seqs, epochs, types, data) as u (id, seq, epoch, type, data)
        order by u.id, u.epoch, u.seq),
    made as (
        insert into segments (generation_id, seq, last, epoch, types, data, at)
        select id, min(seq), max(seq), epoch, array_agg(type), array_agg(data), array_agg(at)
        -- As long as a page at the most: whoever reads a page unpacks no more than two of them.
        from entries group by id, epoch, seq / 512
        returning last - seq + 1 as events),
    noted as (update lanes set folded = greatest(folded, upto) where id = of_lane)
    select coalesce(sum(events), 0)::bigint from made
$$;

-- When the first content of a generation became durable; it is mostly folded, and then cheap to find.
create function first_content(generation uuid) returns timestamptz language sql stable as $$
    select coalesce(
        (select u.at from segments s, unnest(s.types, s.at) with ordinality as u (type, at, i)
            where s.generation_id = generation and u.type in ('delta', 'reasoning', 'refusal', 'tool_call')
            order by s.seq, u.i limit 1),
        (select j.at from waiting j, unnest(j.ids, j.seqs, j.types) as u (id, seq, type)
            where generation = any(j.ids) and u.id = generation
            and u.type in ('delta', 'reasoning', 'refusal', 'tool_call') order by u.seq limit 1))
$$;

-- The second line of defence of the log. Events under a seq that another event of their generation has are
-- not put among the segments: they are kept here, in the form of segments, and nobody reads their
-- generation from then on without being told. It is empty unless the fence of take-overs was wrong.
--
-- Only adds: an earlier version goes on beside it, and knows nothing of it.
create table doubled (
    generation_id uuid not null,
    seq           bigint not null,
    last          bigint not null,
    epoch         integer not null,
    at            timestamptz not null,
    lines         text not null,
    found_at      timestamptz not null default clock_timestamp()
);
create index doubled_by_generation on doubled (generation_id);

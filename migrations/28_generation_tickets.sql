-- Tickets that read one generation for as long as the key or session is good that they were asked for
-- with: an `EventSource` of another page can send no header, and comes back to the same address by itself.
-- Logged, other than `tickets`: it may come back after a crash of the database.
create table generation_tickets (
    digest     bytea primary key,
    credential bytea, -- the hash of the key or session; of nobody on a server that is open
    generation uuid not null,
    created_at timestamptz not null default clock_timestamp()
);

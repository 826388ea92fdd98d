-- A request that a client sends again takes the running answer over, instead of paying for a second one.
-- A row says which process serves the answer to a protocol's POST, until its reader has the end.
create table request_reads (
    generation_id uuid primary key references generations on delete cascade,
    hash          bytea not null, -- of tenant, key, protocol and body
    reader        uuid not null, -- the process that serves it
    cut_at        timestamptz, -- when its reader was cut; null while it reads
    client_left   boolean not null default false -- the client closed, not the server
);
create index request_reads_by_hash on request_reads (hash);
create index request_reads_by_reader on request_reads (reader);

-- Which process an instance is now: a restart is another process of the same instance.
alter table instances add column process uuid;

-- The session of a lane. It ends with its process, long before the lease does.
alter table lanes add column backend integer, add column backend_start timestamptz;

-- A value of megabytes, such as a picture that a model made, reaches the database in pieces: a server then holds one piece
-- and not the whole a second and third time. The transaction that writes pieces puts them together, and deletes them.
-- Only adds: an earlier version goes on beside it, and knows nothing of it.

-- Nobody else ever sees a row of it, so it is not logged.
create unlogged table pieces (
    id    uuid not null,
    n     integer not null,
    piece text not null,
    primary key (id, n)
);
alter table pieces alter piece set storage external;

-- The value whose pieces are under that id; they are gone then.
create function take_pieces(of uuid) returns text language sql as $$
    with gone as (delete from pieces where id = of returning n, piece)
    select string_agg(piece, '' order by n) from gone
$$;

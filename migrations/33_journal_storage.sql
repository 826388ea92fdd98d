-- A flush of more than two kilobytes is compressed, and stays in its page if it fits: fewer bytes of WAL,
-- and fewer rows beside the table. It holds for what is written from now on; an older program is not touched by it.
alter table journal alter ids set storage main, alter lines set storage main;
alter table journal reset (toast_tuple_target);

-- A server that is built without lz4 keeps its own method.
do $$ begin
    alter table journal alter ids set compression lz4, alter lines set compression lz4;
exception when feature_not_supported then null;
end $$;

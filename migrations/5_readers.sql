-- Many instances on one database: readers elsewhere than on the owner, and owners that leave.

-- Until when a generation is read on other instances than its owner, by this database's clock.
-- Written only for those that are cancelled when nobody reads them, so that a reader elsewhere
-- counts also where instances give each other no hints.
alter table generations add column read_until timestamptz;

-- An instance that drains takes no generations: nobody hands one over to it.
alter table instances add column leaving boolean not null default false;

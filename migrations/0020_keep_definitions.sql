-- Definitions and settings outlast a TRUNCATE of all tables, as test suites do it: running processes have registered what they know
-- and would not do it again. Their rows keep their ids, which workers remember.

-- Before a TRUNCATE: sets the rows of the table aside until the end of the transaction.
create function stepwell.set_rows_aside() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create temporary table %I on commit drop as table stepwell.%I', 'stepwell_' || tg_table_name, tg_table_name);
  return null;
end
$$;

-- After a TRUNCATE, which has emptied all of its tables by now: puts back what was set aside, workflows before their steps.
create function stepwell.put_rows_back() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_table text;
  v_last  integer;
begin
  foreach v_table in array array['dispatch_settings', 'workflows', 'workflow_steps'] loop
    continue when to_regclass(format('pg_temp.%I', 'stepwell_' || v_table)) is null;
    execute format('insert into stepwell.%I overriding system value table pg_temp.%I', v_table, 'stepwell_' || v_table);
    execute format('drop table pg_temp.%I', 'stepwell_' || v_table);
  end loop;
  v_last := (select max(w.workflow_id) from stepwell.workflows w);
  if v_last is not null then
    perform setval(pg_get_serial_sequence('stepwell.workflows', 'workflow_id'), v_last);
  end if;
  return null;
end
$$;

-- The one row of settings stays also when somebody deletes all rows of all tables.
create function stepwell.keep_settings() returns trigger
language plpgsql as $$
begin
  return null;
end
$$;

create trigger keep_settings before delete on stepwell.dispatch_settings
  for each row execute function stepwell.keep_settings();

do $$
declare
  v_table text;
begin
  foreach v_table in array array['dispatch_settings', 'workflows', 'workflow_steps'] loop
    execute pg_catalog.format('create trigger set_rows_aside before truncate on stepwell.%I
                                 for each statement execute function stepwell.set_rows_aside()', v_table);
    execute pg_catalog.format('create trigger put_rows_back after truncate on stepwell.%I
                                 for each statement execute function stepwell.put_rows_back()', v_table);
  end loop;
end
$$;

select stepwell.close_functions();

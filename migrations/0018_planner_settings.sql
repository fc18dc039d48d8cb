-- The functions on the hot path always look rows up by key, a batch at a time, in tables that grow from nothing to
-- millions of rows while their plans stay cached, and that are mostly in memory. A plan made while a table was small
-- would scan it whole for ever after (measured: 1,800 steps/s instead of 14,400), and statistics come a minute late.
-- So inside these functions the planner is told what is true for them. See docs/decisions/0002-planner-settings.md.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure
      from pg_catalog.pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace
       and p.proname in ('initialize_tasks', 'begin_task', 'admit_tasks', 'claim_steps', 'report_results', 'release_steps',
                         'release_unhandled', 'apply_results', 'settle_results', 'dispatch_steps', 'wake_due_steps', 'recover_claims',
                         'fail_overdue_tasks', 'bury_message', 'cancel_task', 'retry_task', 'resolve_step',
                         'remove_finished_tasks', 'finished_tasks', 'known_tasks', 'unknown_tasks')
  loop
    execute pg_catalog.format('alter function %s set enable_seqscan = off', v_function);
    execute pg_catalog.format('alter function %s set random_page_cost = 0.01', v_function);
    execute pg_catalog.format('alter function %s set jit = off', v_function);
    execute pg_catalog.format('alter function %s set plan_cache_mode = force_generic_plan', v_function);
  end loop;
end
$$;

-- Its caller has another way, and waits meanwhile with all that it has to report.
alter function stepwell.settle_results set lock_timeout = '200ms';

-- It locks tasks in the order in which its join finds them, which is that of their ids, as everybody locks them, in a nested loop
-- alone.
alter function stepwell.advance_tasks set enable_hashjoin = off;
alter function stepwell.advance_tasks set enable_mergejoin = off;

-- A look-up by the key for each id: however many there are, and whatever the planner believes of a table that was empty just now,
-- they never read one whole.
alter function stepwell.known_tasks set enable_hashjoin = off;
alter function stepwell.known_tasks set enable_mergejoin = off;
alter function stepwell.unknown_tasks set enable_hashjoin = off;
alter function stepwell.unknown_tasks set enable_mergejoin = off;

-- These compare a batch with what claims hold, which no index helps with: as a nested loop it would be each with each.
alter function stepwell.take_results set enable_nestloop = off;
alter function stepwell.release_steps set enable_nestloop = off;

-- A backslash in a text is just that, also where a database, a role or a session has turned standard_conforming_strings off:
-- pgmq would find no queue's name valid. As an extension pgmq may be somebody else's.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure
      from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
     where p.pronamespace in ('stepwell'::regnamespace, 'pgmq'::regnamespace)
       and l.lanname in ('sql', 'plpgsql') and pg_catalog.strpos(p.prosrc, pg_catalog.chr(92)) > 0
  loop
    begin
      execute pg_catalog.format('alter function %s set standard_conforming_strings = on', v_function);
    exception when insufficient_privilege then
      null;
    end;
  end loop;
end
$$;

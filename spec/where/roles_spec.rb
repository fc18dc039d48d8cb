# frozen_string_literal: true

require "spec_helper"
require_relative "support/programs"

# Each process with a role that may do its part and nothing else.
RSpec.describe "least-privilege roles" do
  include Specs::WherePrograms

  kinds = %w[client operator worker orchestrator]
  before do
    kinds.each do |kind|
      psql("create role #{role(kind)} login; select stepwell.grant_role('#{role(kind)}', '#{kind}')")
    end
    psql("create schema app; create table app.secrets (secret text)")
    psql("revoke create on schema public from public") # PostgreSQL 14 gives it to everybody
  end

  after { kinds.each { |kind| psql("drop owned by #{role(kind)}; drop role #{role(kind)}") } }

  def role(kind)
    "#{kind}_#{database_url[%r{/(\w+)\?}, 1]}"
  end

  def url_of(kind)
    database_url.sub("//stepwell@", "//#{role(kind)}@")
  end

  # @return [String] what PostgreSQL says to a statement of a role
  def refusal(kind, sql)
    psql(sql, url: url_of(kind))
    "nothing"
  rescue RuntimeError => e
    e.message
  end

  it "are enough for an orchestrator, a worker and a client" do
    crew = start_crew(of: %i[orchestrator worker client].to_h { |kind| [kind, { DATABASE_URL: url_of(kind) }] })
    run_tasks(crew.last, 20)
    roles = psql("select distinct usename from pg_stat_activity where application_name = 'stepwell' and datname = " \
                 "current_database() order by 1").lines(chomp: true)
    expect(roles).to eq(%w[client orchestrator worker].map { |kind| role(kind) })
    finish_crew(*crew)
  end

  it "let a worker start before the first workflow of its namespace" do
    run = run_ruby('Stepwell::Worker.new(namespaces: "early").start.stop', env: { "DATABASE_URL" => url_of("worker") })
    expect(run.wait).to be_success
    expect(psql("select stepwell.queue_has_messages('early_queue')", url: url_of("worker"))).to eq("f")
  end

  {
    "worker" => ["drop table stepwell.tasks", "drop schema stepwell cascade", "select from stepwell.tasks",
                 "select from stepwell.task_status", "delete from stepwell.claims", "select from app.secrets",
                 "select from pgmq.q_task_requests", "create table public.mine (id int)", "create schema mine",
                 "select stepwell.submit_tasks('{}')", "select stepwell.apply_results(1)",
                 "select stepwell.grant_role(current_user::regrole, 'client')"],
    "client" => ["drop table stepwell.tasks", "update stepwell.tasks set state = 'complete'", "select from app.secrets",
                 "select stepwell.claim_steps('where', 1, 'me', interval '1 s')", "select stepwell.apply_results(1)",
                 "select stepwell.pause_namespace('where')", "select pgmq.send('task_requests', '{}')",
                 "select stepwell.apply_messages('{}', '{}', '{}')"],
    "operator" => ["delete from stepwell.tasks", "select stepwell.claim_steps('where', 1, 'me', interval '1 s')"],
    "orchestrator" => ["delete from stepwell.tasks", "drop table stepwell.tasks", "select from app.secrets",
                       "select stepwell.submit_tasks('{}')", "create table stepwell.mine (id int)"]
  }.each do |kind, statements|
    it "keep a role of the kind #{kind} from everything else" do
      refusals = statements.to_h { |sql| [sql, refusal(kind, sql)] }
      expect(refusals.values).to all(match(/permission denied|must be owner/)), refusals.inspect
    end
  end

  it "let an operator pause, look at everything and check the invariants" do
    psql("select stepwell.create_queue('where_queue')")
    expect(psql("select stepwell.pause_namespace('where', 'a look')", url: url_of("operator"))).to eq("t")
    event = psql("select kind, actor from stepwell.task_events", url: url_of("operator"))
    expect(event).to eq("pause|#{role("operator")}")
    expect(psql("select count(*) from stepwell.check_invariants()", url: url_of("operator"))).to eq("0")
    relations = psql("select relname from pg_class where relnamespace = 'stepwell'::regnamespace and relkind in " \
                     "('r', 'v')")
    relations.each_line(chomp: true) { |name| psql("select from stepwell.#{name}", url: url_of("operator")) }
  end

  it "stand with what was done, whoever the caller says that he is" do
    define_single { |_| 1 }
    start_orchestrator
    task = Stepwell.submit("spec/single")
    run = run_ruby('puts Stepwell.task($stdin.gets.chomp).cancel(actor: "anna").state',
                   env: { "DATABASE_URL" => url_of("operator") })
    run.puts(task.id)
    expect(run.gets).to eq("cancelled")
    expect(run.wait).to be_success

    expect(task.events.map(&:to_h))
      .to match([include(kind: :cancel, actor: "anna", database_user: role("operator"))])
  end

  it "are named, with what to do, by a role that lacks its privileges" do
    psql("drop owned by #{role("worker")}")
    expect { Stepwell::Worker.new(namespaces: "where", database_url: url_of("worker")).start }
      .to raise_error(Stepwell::DatabaseError, /permission denied.*stepwell.grant_role\('#{role("worker")}', KIND\)/)
  end

  it "do not let others than the owner migrate, and say who must" do
    psql("delete from stepwell._sqlx_migrations where version = (select max(version) from stepwell._sqlx_migrations)")
    run = run_ruby("Stepwell::Orchestrator.embedded", env: { "DATABASE_URL" => url_of("orchestrator") })
    expect(run.wait).not_to be_success
    expect(run.errors).to match(/the role #{role("orchestrator")} may not migrate it: start an orchestrator/)
  end

  it "can be given again, and are refused by a wrong name" do
    psql("select stepwell.grant_role('#{role("worker")}', 'worker')")
    expect { psql("select stepwell.grant_role('#{role("worker")}', 'boss')") }.to raise_error(/no kind of role boss/)
  end

  it "know every function that the programs call" do
    all = "{#{kinds.join(",")},anybody}"
    listed = psql("select distinct stepwell.functions_of(k) from unnest('#{all}'::text[]) k")
    called = Dir[File.join(Specs::ROOT, "crates/stepwell/src/**/*.rs")].flat_map do |file|
      File.read(file).scan(/stepwell\.(\w+)\(/).flatten
    end
    expect(called.uniq - listed.lines(chomp: true) - ["grant_role"]).to be_empty
    there = psql("select distinct proname from pg_proc where pronamespace = 'stepwell'::regnamespace")
    expect(listed.lines(chomp: true) - there.lines(chomp: true)).to be_empty
  end

  it "leave no function to everybody, and no search path open in one that runs as the owner" do
    found = psql(<<~SQL)
      select p.oid::regprocedure from pg_proc p
       where p.pronamespace = 'stepwell'::regnamespace
         and (has_function_privilege('public', p.oid, 'execute')
              or p.prosecdef and not 'search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}')))
    SQL
    expect(found).to be_empty
  end
end

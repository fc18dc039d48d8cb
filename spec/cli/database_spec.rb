# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell and its database" do
  newest = Dir[File.join(Specs::ROOT, "migrations/*.sql")].map { |file| File.basename(file).to_i }.max

  # @return [String] URL of a database that nobody has migrated
  def empty_database
    psql("create database empty")
    database_url.sub(%r{/\w+\?}, "/empty?")
  end

  after { psql("drop database if exists empty with (force)") if @database_url }

  it "migrates: shows what it would do, does it once, and then finds nothing to do" do
    env = { "DATABASE_URL" => empty_database }
    before = stepwell("migrate", "--dry-run", env: env)
    json = stepwell("migrate", "--status", "--json", env: env).json
    done = stepwell("migrate", env: env)
    again = stepwell("migrate", env: env)

    expect(before).to have_attributes(code: 0, err: /would apply #{newest} migrations/)
    expect(before.rows.map { |row| row.values_at(0, 2) }).to eq((1..newest).map { |n| [format("%04d", n), "pending"] })
    expect(json).to include("applied" => [], "pending" => (1..newest).to_a)
    expect(done).to have_attributes(code: 0, out: /\AMigrated .*: #{newest} migrations in .*, now at #{newest}\.\n\z/)
    expect(again).to have_attributes(code: 0, out: /is up to date, at migration #{newest}\.\n/)
    after = stepwell("migrate", "--dry-run", "--json", env: env).json
    expect(after["migrations"].map { |it| it["state"] }).to eq(["applied"] * newest)
    expect(Time.iso8601(after["migrations"].last["applied_at"])).to be_within(60).of(Time.now)
  end

  it "says of a database without the schema, or with a newer one, what to do" do
    bare = stepwell("task", "list", env: { "DATABASE_URL" => empty_database })
    psql("insert into stepwell._sqlx_migrations select 9999, 'later', now(), true, checksum, 0 " \
         "from stepwell._sqlx_migrations limit 1")
    newer = stepwell("task", "list")

    expect(bare).to have_attributes(code: 1, err: /no Stepwell schema yet\nhint: run `stepwell migrate`/)
    expect(newer).to have_attributes(code: 1, err: /at migration 9999.*upgrade this program/)
    expect(stepwell("migrate")).to have_attributes(code: 1, err: /upgrade this program/)
    expect(stepwell("migrate", "--dry-run").rows.last).to start_with("9999", "later", "unknown to this program")
  end

  it "tells a database that cannot be reached, without its password, with an exit code of its own" do
    url = "postgres://app:s3cret@127.0.0.1:1/shop"
    [%w[task list], %w[migrate], %w[serve], %w[check], %w[doctor]].each do |command|
      ran = stepwell(*command, env: { "DATABASE_URL" => url })
      expect(ran).to have_attributes(code: 4), command.join(" ")
      expect(ran.out + ran.err).to include("postgres://app:***@127.0.0.1:1/shop").and include("Connection refused")
      expect(ran.out + ran.err).not_to include("s3cret")
    end
  end

  it "says of a URL that is none of PostgreSQL what one looks like" do
    url = "mysql2://app:s3cret@h/shop"
    [%w[task list], %w[migrate], %w[serve], %w[check], %w[doctor]].each do |command|
      ran = stepwell(*command, env: { "DATABASE_URL" => url })
      expect(ran.code).to eq(command == ["doctor"] ? 4 : 2), command.join(" ")
      expect(ran.out + ran.err).to include("mysql2://app:***@h/shop is no PostgreSQL URL such as postgres://user@host:")
      expect(ran.out + ran.err).not_to include("s3cret")
    end
    blank = stepwell("task", "list", env: { "DATABASE_URL" => " " }, chdir: folder)
    expect(blank).to have_attributes(code: 2, err: /no database: set DATABASE_URL/)
  end

  it "takes the database from the option, else the variable, else the file" do
    wrong = "postgres://nobody@127.0.0.1:1/variable"
    file = File.join(folder, "settings.yml")
    File.write(file, "database: {url: #{database_url.inspect}}")
    check = ->(url, *options) { stepwell("check", *options, env: { "DATABASE_URL" => url }) }

    expect(check[wrong, "--database-url", database_url]).to have_attributes(code: 0)
    expect(check[nil, "--config", file]).to have_attributes(code: 0)
    expect(check[wrong, "--config", file]).to have_attributes(code: 4, err: /variable/)
    expect(check[wrong, "--config", "nowhere.yml"]).to have_attributes(code: 2, err: /there is no file nowhere.yml/)
    File.write(file, "database: {pool: 3}")
    expect(check[nil, "--config", file]).to have_attributes(code: 2, err: /configuration: .*pool/)
  end

  it "says what to do when there is no database, and makes none by itself" do
    ran = stepwell("task", "list", env: { "DATABASE_URL" => nil }, chdir: folder)
    expect(ran).to have_attributes(code: 2, err: /no database: set DATABASE_URL, .*`stepwell serve`.*\.stepwell/)
    expect(Dir.children(folder)).to be_empty
  end

  describe "check" do
    it "finds nothing in a database that is as it should be" do
      expect(stepwell("check")).to have_attributes(code: 0, out: "Every invariant holds.\n", err: "")
      expect(stepwell("check", "--json")).to have_attributes(code: 0, json: [])
    end

    it "shows each violation, and fails" do
      start_stepwell
      task = Stepwell.submit(define_single { |_| 1 }).wait(timeout: 20)
      psql("update stepwell.tasks set steps_remaining = 3")
      ran = stepwell("check")

      expect(ran).to have_attributes(code: 1, err: /\A1 violation\./)
      expect(ran.rows).to match([["counters", task.id, /steps_remaining is 3/]])
      expect(stepwell("check", "--json").json)
        .to match([{ "invariant" => "counters", "task_id" => task.id, "step" => nil, "details" => /is 3/ }])
      psql("update stepwell.tasks set steps_remaining = 0")
    end
  end

  describe "doctor" do
    # @return [Hash{String => Hash}] what it found, by name
    def diagnosis(**options)
      stepwell("doctor", "--json", **options).json.fetch("checks").to_h { |check| [check["name"], check] }
    end

    it "finds a database healthy, each check by name" do
      ran = stepwell("doctor")
      # The suite's own databases commit without waiting for the disk.
      expect(ran).to have_attributes(code: 0, err: "It works; 1 thing could be better.\n")
      expect(ran.out.lines.grep(/^✓ ok/).map { |line| line[8..].split(/ {2,}/).first }).to eq(
        %w[connection version writable encoding pgmq schema privileges listen clock connections transactions vacuum
           orchestrator leases] << "dead letters"
      )
      expect(ran.out).to match(/^! warn  synchronous_commit  off: .* loses.*\n +→ set it to on/)
    end

    it "finds what is missing before it is migrated" do
      env = { "DATABASE_URL" => empty_database }
      expect(stepwell("doctor", env: env)).to have_attributes(code: 1, err: /1 failure/)
      expect(diagnosis(env: env)["schema"])
        .to include("verdict" => "fail", "found" => "not there yet", "fix" => /stepwell migrate/)
    end

    it "finds what a role was given, and says what to give one that was given nothing" do
      psql("do $$ begin create role guest login; exception when duplicate_object then null; end $$")
      env = { "DATABASE_URL" => database_url.sub("//stepwell@", "//guest@") }
      nothing = stepwell("doctor", "--json", env: env)
      found = nothing.json["checks"].find { |check| check["name"] == "privileges" }
      kinds = %w[worker client].map do |kind|
        psql(found["fix"][/select .*\)/].sub("KIND", "'#{kind}'"))
        diagnosis(env: env)
      end
      psql("drop owned by guest; drop role guest")

      expect(nothing.code).to eq(1)
      expect(found).to include("verdict" => "fail", "found" => "guest is not the schema's owner, and was given nothing")
      expect(kinds.map { |checks| checks["privileges"].values_at("verdict", "found") })
        .to eq([["ok", "guest has what it needs as worker"], ["ok", "guest has what it needs as client, worker"]])
      expect(kinds.map { |checks| checks.key?("leases") }).to eq([false, true]) # a worker cannot see them
    end

    it "finds settings that hurt, whoever set them" do
      psql("alter database #{database_url[%r{/(\w+)\?}, 1]} set lock_timeout = '100ms'")
      psql("alter database #{database_url[%r{/(\w+)\?}, 1]} set statement_timeout = '1s'")
      expect(diagnosis).to include(
        "lock_timeout" => include("verdict" => "warn", "found" => /100: .*smaller batches/),
        "statement_timeout" => include("verdict" => "warn", "fix" => /alter role/)
      )
      psql("alter database #{database_url[%r{/(\w+)\?}, 1]} set default_transaction_read_only = on")
      expect(diagnosis["writable"]).to include("verdict" => "fail", "fix" => /reset default_transaction_read_only/)
      psql("begin read write; alter database #{database_url[%r{/(\w+)\?}, 1]} reset all; commit")
    end

    it "finds requests that nobody takes, leases that nobody recovers, and dead letters" do
      define_single { |_| 1 }
      start_orchestrator.stop
      stepwell("task", "submit", "spec/single")
      psql("update pgmq.q_task_requests set enqueued_at = now() - interval '1 minute'")
      psql(<<~SQL)
        insert into stepwell.claims (expires_at, claimed_at, namespace, worker_id, task_ids, positions, attempts)
        values (now() - interval '1 minute', now(), 'spec', 'dead', '{}', '{}', '{}');
        insert into stepwell.dead_letters (queue, message, reason, buried_at) values ('step_results', '1', 'no', now());
      SQL
      found = diagnosis
      psql("delete from stepwell.claims; delete from stepwell.dead_letters; delete from pgmq.q_task_requests")

      expect(found).to include(
        "orchestrator" => include("verdict" => "warn", "found" => /1 requests wait, the oldest for 6\d s/),
        "leases" => include("verdict" => "warn", "found" => /1 claims/),
        "dead letters" => include("verdict" => "warn", "found" => /1 messages/)
      )
    end
  end
end

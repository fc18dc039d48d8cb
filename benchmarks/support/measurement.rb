# frozen_string_literal: true

module Bench
  # One measurement of something on a database of its own: what it says of itself, and what it cost.
  class Measurement
    # What PostgreSQL has counted. Sessions tell when they end: read before the first starts and after the last.
    COUNTS = { "commits" => "(select xact_commit from pg_stat_database where datname = current_database())",
               "inserted" => "sum(n_tup_ins)", "updated" => "sum(n_tup_upd)", "hot" => "sum(n_tup_hot_upd)",
               "deleted" => "sum(n_tup_del)",
               "steps" => "(select count(*) from stepwell.steps where state = 'complete')" }.freeze
    STATEMENTS = "select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid " \
                 "where d.datname = current_database()"
    HOPS = %w[submit_tasks initialize_tasks claim_steps report_results apply_results].freeze

    def initialize(cluster, database)
      @cluster = cluster
      @database = database
    end

    # @yield starts it
    # @yieldreturn [Array<Contestant>] the one that measures first
    # @return [Hash{String => Object}] what it said; cpu: seconds by role; wal: bytes; all_steps: warming up included;
    #   per_step: counts of each of all steps; calls: of each function
    def run
      @cluster.query("select pg_stat_statements_reset(); checkpoint;")
      before = ours? && counts
      contestants = yield
      measured = with_costs(contestants)
      contestants.each(&:stop)
      return measured unless before

      used = counts.to_h { |name, count| [name, count - before.fetch(name)] }
      steps = used.delete("steps")
      measured.merge("all_steps" => steps, "per_step" => per_step(used, steps), "calls" => calls)
    ensure
      contestants&.each(&:stop)
    end

    private

    # @return [Boolean] whether it is a database of Stepwell's
    def ours?
      @cluster.query("select to_regclass('stepwell.steps') is not null", database: @database) == "t"
    end

    def with_costs(contestants)
      contestants.reverse_each { |contestant| contestant.ready unless contestant.role == :orchestrator }
      cpu = cpu_seconds(contestants)
      wal = lsn
      begun = Process.clock_gettime(Process::CLOCK_REALTIME)
      measured = contestants.first.measure
      measured.merge("begun" => begun, "wal" => lsn - wal, "memory" => contestants.to_h do |each|
                                                                         [each.role.to_s, each.memory]
                                                                       end,
                     "cpu" => cpu_seconds(contestants).to_h { |role, seconds| [role, seconds - cpu.fetch(role)] })
    end

    def cpu_seconds(contestants)
      roles = contestants.group_by { |contestant| contestant.role.to_s }
      roles.transform_values { |those| those.sum(&:cpu_seconds) }.merge("postgresql" => @cluster.cpu_seconds)
    end

    def lsn
      Integer(@cluster.query("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"))
    end

    def counts
      row = @cluster.query("select #{COUNTS.values.join(", ")} from pg_stat_user_tables", database: @database)
      COUNTS.keys.zip(row.split("|").map(&:to_f)).to_h
    end

    # A row that is updated or deleted leaves a dead tuple, in the same page where the update is HOT.
    def per_step(used, steps)
      each = used.transform_values { |count| count / steps }
      round_trips = Float(@cluster.query(STATEMENTS, database: @database)) / steps
      each.merge("round_trips" => round_trips, "dead" => each.fetch("updated") + each.fetch("deleted"))
    end

    # How often each function was called.
    def calls
      HOPS.to_h do |hop|
        sql = "select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid " \
              "where d.datname = current_database() and query like '%stepwell.#{hop}(%'"
        [hop, Integer(@cluster.query(sql, database: @database))]
      end
    end
  end
end

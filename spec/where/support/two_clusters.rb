# frozen_string_literal: true

require "support/faults/server"

module Specs
  # Two PostgreSQL servers of the suite's own: `shop` lives on the one, `billing` and `ledger` on the other.
  module TwoClusters
    @sequence = 0

    class << self
      attr_reader :servers

      def start
        @servers = Array.new(2) { Faults::Server.new }
      end

      def destroy
        @servers.each(&:destroy)
      end

      # @return [Array<String>] a new database on each server
      def create_databases
        name = "sharding_#{@sequence += 1}"
        @servers.map do |server|
          Cluster.psql(server.url, "create database #{name}")
          server.url.sub("/postgres?", "/#{name}?")
        end
      end
    end

    # @return [Array<String>] URLs of this example's databases
    def urls
      @urls ||= TwoClusters.create_databases
    end

    # @return [Hash{String => String}] what another process must know
    def variables
      { "DATABASE_URL" => urls[0], "STEPWELL__NAMESPACES__BILLING__DATABASE_URL" => urls[1],
        "STEPWELL__NAMESPACES__LEDGER__DATABASE_URL" => urls[1] }
    end

    def configure
      Stepwell.configure do |config|
        config.database_url = urls[0]
        config.namespaces = { billing: urls[1], "ledger" => { database_url: urls[1] } }
      end
    end

    # @return [Stepwell::Orchestrator] of both databases
    def orchestrate
      stopped_at_the_end Stepwell::Orchestrator.embedded
    end

    # Defines NAMESPACE/single for each, whose only step does what the block says.
    def define_everywhere(*namespaces, **options, &block)
      code = handler(&block)
      namespaces.each { |name| Stepwell.workflow("#{name}/single") { step(:only, code, **options) } }
    end

    def submit(namespace, count, **context)
      Stepwell.submit_all(Array.new(count) { |n| { workflow: "#{namespace}/single", context: { n: n, **context } } })
    end

    # @return [Array<Hash{String => Integer}>] tasks by workflow, of each database
    def tasks_by_database
      urls.map do |url|
        rows = psql("select namespace, count(*) from stepwell.tasks join stepwell.workflows using (workflow_id) " \
                    "group by 1", url: url)
        rows.lines(chomp: true).to_h { |row| row.split("|") }.transform_values(&:to_i)
      end
    end

    # Everything that was submitted is complete, in order, and nothing is left.
    def expect_all_complete
      clean_up
      urls.each do |url|
        expect(check_invariants(url: url)).to eq([])
        expect(psql("select count(*) from stepwell.tasks where state <> 'complete'", url: url)).to eq("0")
        expect(psql("select count(*) from stepwell.claims", url: url)).to eq("0")
      end
    end
  end
end

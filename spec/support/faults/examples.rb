# frozen_string_literal: true

module Specs
  module Faults
    # What a fault example has: processes, servers and who stands between them, and a report. All of it ends with it.
    module Examples
      # @return [Report] of this example
      def report
        @report ||= Report.new(RSpec.current_example.full_description)
      end

      # @return [Random] of this example, from the printed seed
      def random
        @random ||= Random.new(SEED)
      end

      # @return [Crew] the processes of this example; ended at its end, also when it fails
      def crew(url: database_url, known: [], **env)
        @crew ||= Crew.new(url, folder, known: known, env: env) { |program| (@processes ||= []) << program }
      end

      # @param upstream [String] HOST:PORT, or the path of a Unix socket; by default the suite's PostgreSQL
      # @return [Proxy] to be ended by the example, also when it fails
      def start_proxy(upstream = nil)
        folder, port = database_url.match(%r{@([^/:]+):(\d+)/}).captures unless upstream
        upstream ||= "#{CGI.unescape(folder)}/.s.PGSQL.#{port}"
        Proxy.new(upstream).tap { |proxy| (@processes ||= []) << proxy.process }
      end

      # @return [Server] of this example
      def server
        @server ||= Server.new.tap { |server| (@servers ||= []) << server }
      end

      # @return [Standby] of this example's server
      def standby
        @standby ||= Standby.new(server).tap { |standby| @servers << standby }
      end

      # @return [String] URL of this example's database for who reaches it through the proxy
      def url_through(proxy)
        "postgres://stepwell@#{proxy.address}/#{database_url[%r{/(\w+)\?}, 1]}?sslmode=disable"
      end

      # @return [Session] of psql, ended at the end of the example
      def session(url: database_url)
        Session.new(url).tap { |session| (@sessions ||= []) << session }
      end

      # @api private
      # @param failed [Boolean] then it tells what it knows
      def end_faults(failed)
        if failed
          (@processes || []).each(&:abandon)
          RSpec.configuration.reporter.message([Faults.describe, @crew&.describe].compact.join("\n"))
        end
        (@sessions || []).each(&:close)
        (@servers || []).each(&:destroy)
      end
    end
  end
end

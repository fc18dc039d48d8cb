# frozen_string_literal: true

require_relative "server"

module Specs
  module Faults
    # A second server that follows the first one's log, synchronously: what the first acknowledges, this one has.
    class Standby < Server
      NAME = "standby"

      # @param primary [Server]
      def initialize(primary)
        @primary = primary
        super()
        Cluster.psql(primary.url, "alter system set synchronous_standby_names = '#{NAME}'; select pg_reload_conf()")
        Patience.eventually(20, "synchronous replication") do
          Cluster.psql(primary.url, "select sync_state from pg_stat_replication") == "sync"
        end
      end

      # From now on it takes writes.
      def promote
        pg_ctl("promote", "-w") or raise "the standby was not promoted: #{log}"
      end

      private

      def create_data
        from = "host=127.0.0.1 port=#{@primary.port} user=stepwell application_name=#{NAME}"
        run("pg_basebackup", "-D", data, "-d", from, "-R", "-X", "stream", "-c", "fast", "--no-sync") or
          raise "pg_basebackup failed: #{log}"
      end
    end
  end
end

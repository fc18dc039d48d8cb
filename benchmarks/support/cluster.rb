# frozen_string_literal: true

require "English"
require "etc"
require "fileutils"
require "open3"
require "socket"
require "tmpdir"

module Bench
  # A private PostgreSQL in a temporary folder, for everything that is measured: durable, on a Unix socket and, for
  # clients that know no other way, on the loopback.
  class Cluster
    # Those of the embedded cluster (crates/stepwell/src/embedded/server.rs), but more WAL between checkpoints, so that
    # a checkpoint falls into few measurements, and statistics of statements.
    SETTINGS = {
      "shared_buffers" => "512MB", "fsync" => "on", "synchronous_commit" => "on", "full_page_writes" => "on",
      "max_wal_size" => "8GB", "min_wal_size" => "2GB", "checkpoint_timeout" => "15min", "max_connections" => "200",
      "autovacuum_naptime" => "10s", "jit" => "off", "shared_preload_libraries" => "pg_stat_statements",
      "pg_stat_statements.track" => "top", "pg_stat_statements.track_utility" => "on", "track_wal_io_timing" => "on"
    }.freeze

    # @yieldparam cluster [Cluster]
    def self.open
      Dir.mktmpdir("stepwell-bench", "/tmp") do |folder|
        cluster = new(folder)
        yield cluster
      ensure
        cluster&.stop
      end
    end

    attr_reader :port

    # @param folder [String] with a short path, because a socket comes into it
    def initialize(folder)
      @folder = folder
      @user = Process.uid.zero? ? %w[postgres nobody].filter_map { |name| unprivileged(name) }.first : nil
      FileUtils.chmod(0o755, folder)
      FileUtils.chown(@user.uid, @user.gid, folder) if @user
      @port = Addrinfo.tcp("127.0.0.1", 0).bind { |socket| socket.local_address.ip_port }
      start
      %w[template1 postgres].each { |database| query("create extension pg_stat_statements", database: database) }
      @created = 0
    end

    # Settings as they are in the JSON of the report.
    def settings
      SETTINGS.merge("server_version" => query("show server_version"))
    end

    # A new database, empty or like another.
    # @return [String] its name
    def create(template: nil)
      name = "bench#{@created += 1}"
      query("create database #{name}#{" template #{template}" if template}")
      name
    end

    def drop(database)
      query("drop database #{database} with (force)")
    end

    # @return [String] URL by the Unix socket
    def url(database)
      "postgres://postgres@localhost:#{@port}/#{database}?host=#{@folder}"
    end

    # @return [String] URL by the loopback
    def loopback_url(database)
      "postgres://postgres@127.0.0.1:#{@port}/#{database}"
    end

    # For clients that take the parts of a URL.
    def environment(database)
      { "PGHOST" => @folder, "PGPORT" => @port.to_s, "PGUSER" => "postgres", "PGDATABASE" => database }
    end

    # @return [String] what psql prints: rows on lines, columns by "|"
    def query(sql, database: "postgres")
      command = [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", url(database)]
      printed, status = Open3.capture2(*command, stdin_data: sql)
      raise "psql failed on: #{sql[0, 200]}" unless status.success?

      printed.strip
    end

    # @return [Float] CPU seconds of the server and all that it has started, those that have ended included
    def cpu_seconds
      ticks = Dir["/proc/[0-9]*/stat"].sum do |path|
        fields = File.read(path)[/.*\) (.*)/m, 1].split
        next fields[11..14].sum(&:to_i) if path.start_with?("/proc/#{@pid}/")

        fields[1].to_i == @pid ? fields[11..12].sum(&:to_i) : 0
      rescue SystemCallError
        0
      end
      ticks / Float(Etc.sysconf(Etc::SC_CLK_TCK))
    end

    def stop
      return unless @pid

      Process.kill("INT", @pid)
      Process.wait(@pid)
      @pid = nil
    end

    private

    def unprivileged(name)
      Etc.getpwnam(name)
    rescue ArgumentError
      nil
    end

    def start
      data = File.join(@folder, "data")
      log = File.join(@folder, "log")
      Process.wait(as_user(log, program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                           "--locale", "C.UTF-8"))
      raise "initdb failed: #{File.read(log)}" unless $CHILD_STATUS.success?

      settings = SETTINGS.merge("listen_addresses" => "127.0.0.1", "port" => @port.to_s,
                                "unix_socket_directories" => @folder)
      arguments = settings.flat_map { |name, value| ["-c", "#{name}=#{value}"] }
      @pid = as_user(log, program("postgres"), "-D", data, *arguments)
      wait_until_it_answers(log)
    end

    def wait_until_it_answers(log)
      200.times do
        break if system(program("pg_isready"), "-q", "-h", @folder, "-p", @port.to_s)
        raise "PostgreSQL did not start: #{File.read(log)}" if Process.wait(@pid, Process::WNOHANG)

        sleep 0.05
      end
    end

    # PostgreSQL refuses root.
    def as_user(log, *command)
      fork do
        if @user
          Process.initgroups(@user.name, @user.gid)
          Process::GID.change_privilege(@user.gid)
          Process::UID.change_privilege(@user.uid)
        end
        exec(*command, chdir: "/", in: File::NULL, out: [log, "a"], err: %i[child out], pgroup: true)
      end
    end

    def program(name)
      (@programs ||= {})[name] ||= begin
        folders = [ENV.fetch("STEPWELL__EMBEDDED__BIN_DIR", nil), *ENV.fetch("PATH").split(":"),
                   *Dir["/usr/lib/postgresql/*/bin"].sort_by { |path| -path[/\d+/].to_i }, *Dir["/usr/pgsql-*/bin"]]
        folders.compact.map { |folder| File.join(folder, name) }.find { |path| File.executable?(path) } or
          raise "#{name} of PostgreSQL was not found; bin/setup installs it"
      end
    end
  end
end

# frozen_string_literal: true

require "fileutils"
require "uri"

module Specs
  # Debian's PgBouncer in transaction mode before the suite's PostgreSQL: clients take turns on two connections, so what
  # a session was told by one is met by another. Ends with {#stop}.
  class Pooler
    USER = Process.uid.zero? ? "postgres" : nil # it refuses to run as root, and the server's socket is its user's
    CONNECTIONS = 2

    def initialize
      @folder = Dir.mktmpdir("swp")
      server = URI.decode_www_form_component(Cluster.url("x")[%r{@([^:/]+)}, 1])
      File.write(File.join(@folder, "users.txt"), %("stepwell" ""\n))
      File.write(File.join(@folder, "pgbouncer.ini"), <<~INI)
        [databases]
        * = host=#{server} port=5432
        [pgbouncer]
        listen_port = 6432
        unix_socket_dir = #{@folder}
        auth_type = trust
        auth_file = #{@folder}/users.txt
        pool_mode = transaction
        default_pool_size = #{CONNECTIONS}
        max_client_conn = 200
        logfile = #{log}
      INI
      FileUtils.chown_R(USER, nil, @folder) if USER
      start
    end

    # @return [String] URL of a database through it
    def url(database)
      "postgres://stepwell@#{@folder.gsub("/", "%2F")}:6432/#{database}?sslmode=disable"
    end

    def stop
      Process.kill("TERM", @pid) # at once
      Process.wait(@pid)
      FileUtils.rm_rf(@folder)
    end

    private

    def start
      user = USER ? ["setpriv", "--reuid=#{USER}", "--regid=#{USER}", "--init-groups", "--"] : []
      @pid = spawn({ "PATH" => "#{ENV.fetch("PATH")}:/usr/sbin" }, *user, "pgbouncer",
                   File.join(@folder, "pgbouncer.ini"), in: File::NULL, %i[out err] => File::NULL, chdir: "/")
      Patience.eventually(10, "the start of PgBouncer") { File.exist?(File.join(@folder, ".s.PGSQL.6432")) }
    rescue RuntimeError => e
      raise "#{e.message}: #{File.exist?(log) ? File.read(log) : "no log"}"
    end

    def log
      File.join(@folder, "pgbouncer.log")
    end
  end
end

# frozen_string_literal: true

require "etc"
require "socket"

module Specs
  module Faults
    # A PostgreSQL of the example's own, to be killed. It listens on a port of 127.0.0.1 and on a Unix socket; all that
    # makes it durable is as PostgreSQL has it by default. A shell beside us holds it and cleans up when its standard
    # input ends: whatever becomes of us, also by kill -9, the server is stopped and the folder removed.
    class Server
      KEEPER = 'trap "" INT; cat; "$@" -m immediate -s stop; rm -rf "$FOLDER"'
      SETTINGS = { listen_addresses: "127.0.0.1", max_connections: 100, shared_buffers: "64MB" }.freeze

      attr_reader :port

      def initialize
        @folder = Dir.mktmpdir("swf")
        FileUtils.chown(USER, nil, @folder) if USER
        @port = free_port
        keep
        create_data
        start
      end

      # @param host [Array<(String, Integer)>] through which it is reached
      # @return [String] for sqlx and psql
      def url(address = "127.0.0.1:#{port}")
        "postgres://stepwell@#{address}/postgres?sslmode=disable"
      end

      def start
        settings = { port: port, unix_socket_directories: @folder, **SETTINGS }
        options = settings.map { |name, value| "-c #{name}=#{value}" }.join(" ")
        # A killed server's children, and with them its shared memory, can be there for a moment longer.
        Patience.eventually(30, "the start of PostgreSQL") { pg_ctl("start", "-w", "-o", options) }
      rescue RuntimeError => e
        raise "#{e.message}: #{log}"
      end

      # @param mode [String] smart, fast or immediate
      def stop(mode)
        pg_ctl("stop", "-w", "-m", mode) or raise "PostgreSQL did not stop: #{log}"
      end

      # kill -9 of the server's first process; the others see it and end.
      def kill
        Process.kill("KILL", File.foreach(File.join(data, "postmaster.pid")).first.to_i)
      end

      # Stops it for good.
      def destroy
        @hold.close
        Process.wait(@keeper)
      end

      # @return [String] the end of what the server and its programs have said
      def log
        Dir[File.join(@folder, "*.log")].map { |file| File.readlines(file).last(20).join }.join
      end

      private

      BIN = ENV.fetch("STEPWELL_POSTGRES_BIN") { IO.popen(%w[pg_config --bindir], &:read).chomp }
      # PostgreSQL refuses to run as root.
      USER = Process.uid.zero? ? "postgres" : nil
      private_constant :BIN, :USER

      def data
        File.join(@folder, "data")
      end

      def create_data
        run("initdb", "-D", data, "-U", "stepwell", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync") or
          raise "initdb failed: #{log}"
      end

      def keep
        input, @hold = IO.pipe
        command = program("pg_ctl", "-D", data)
        @keeper = spawn({ "FOLDER" => @folder }, "sh", "-c", KEEPER, "sh", *command,
                        in: input, %i[out err] => File::NULL, chdir: "/")
        input.close
      end

      def pg_ctl(*arguments)
        run("pg_ctl", "-D", data, "-l", File.join(@folder, "postgres.log"), "-t", "60", *arguments)
      end

      def run(name, *arguments)
        system(*program(name, *arguments), %i[out err] => [File.join(@folder, "programs.log"), "a"], in: File::NULL,
                                           chdir: "/")
      end

      def program(name, *arguments)
        user = USER ? ["setpriv", "--reuid=#{USER}", "--regid=#{USER}", "--init-groups", "--"] : []
        [*user, File.join(BIN, name), *arguments]
      end

      def free_port
        TCPServer.open("127.0.0.1", 0) { |socket| socket.addr[1] }
      end
    end
  end
end

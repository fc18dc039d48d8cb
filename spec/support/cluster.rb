# frozen_string_literal: true

require "cgi"
require "fileutils"
require "open3"
require "tmpdir"

module Specs
  # The PostgreSQL of the suite: an embedded cluster in a folder of its own. A process beside ours holds it, and lets go
  # when its standard input ends: whatever becomes of us, also by kill -9, the server is stopped and the folder removed.
  module Cluster
    TEMPLATE = "specs_template"
    KEEPER = <<~RUBY
      trap("INT", "IGNORE") # a Ctrl-C is meant for the specs; they let go when they have ended
      require "fileutils"
      require "stepwell"
      at_exit { FileUtils.rm_rf(ARGV[0]) }
      Stepwell.configure { |c| c.embedded_directory = File.join(ARGV[0], "pg") }
      Stepwell::Orchestrator.embedded do |orchestrator|
        $stdout.puts orchestrator.database_url
        $stdout.close
        $stdin.read
      end
    RUBY

    @sequence = 0

    class << self
      # Starts it, once.
      def start
        return if @url

        directory = Dir.mktmpdir("sw")
        File.chmod(0o755, directory) # as root the server runs as somebody else
        input, @hold = IO.pipe
        output, told = IO.pipe
        @keeper = spawn(RbConfig.ruby, "-I", File.join(ROOT, "ruby/lib"), "-e", KEEPER, directory,
                        in: input, out: told, chdir: "/")
        [input, told].each(&:close)
        @url = output.gets&.chomp or raise "the suite's PostgreSQL did not start"
        check_version
        make_template
      end

      def stop
        return unless @url

        @hold.close
        Process.wait(@keeper)
      end

      # @return [String] URL of a new, migrated database
      def create_database
        name = "specs_#{@sequence += 1}"
        psql(@url, "create database #{name} template #{TEMPLATE}")
        url(name)
      end

      # Drops it while the next example runs: PostgreSQL writes a checkpoint for each.
      def drop_database(url)
        drop = "drop database #{url[%r{/(\w+)\?}, 1]} with (force)"
        Process.detach(spawn("psql", "-Xq", "-c", drop, @url, in: File::NULL, out: File::NULL, err: File::NULL))
      end

      # @return [String] URL of a database of the cluster
      def url(name, user: "stepwell")
        @url.sub(%r{/stepwell\?}, "/#{name}?").sub("//stepwell@", "//#{user}@")
      end

      # @return [String] what psql prints: rows as lines, columns between bars
      def psql(url, sql)
        output, status = Open3.capture2e("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, stdin_data: sql)
        raise "psql: #{output}" unless status.success?

        output.chomp
      end

      private

      # Programs of the wrong version would make a green run say nothing.
      def check_version
        wanted = ENV.fetch("STEPWELL_POSTGRES_VERSION", nil)
        found = psql(@url, "show server_version")
        raise "this is PostgreSQL #{found}, not #{wanted}" if wanted && found[/\A\d+/] != wanted
      end

      def make_template
        # Databases that live for a second need not survive a crash of the machine.
        psql(@url, "alter role stepwell set synchronous_commit = off; create database #{TEMPLATE}")
        Stepwell::Orchestrator.embedded(database_url: url(TEMPLATE)).stop
      end
    end
  end
end

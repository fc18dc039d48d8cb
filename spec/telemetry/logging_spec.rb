# frozen_string_literal: true

require "spec_helper"

RSpec.describe "log lines" do
  plain = /\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:ERROR|WARN|INFO|DEBUG) (?<component>[A-Z]+) (?<message>.+)\n\z/

  # Code of a program that has Rust and Ruby say something, and ends.
  program = <<~RUBY
    talks = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.logger.info("weighing\\n2 kg") } }
    Stepwell.workflow("spec/talks") { step :only, talks }
    Stepwell::Orchestrator.embedded do
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1).start
      task = Stepwell.submit("spec/talks", {}, correlation_id: "c 1").wait(timeout: 20)
      Stepwell.logger.warn("the application's own")
      puts task.id
      worker.stop
    end
  RUBY

  # Runs the program in a process of its own.
  def run_program(code, **settings)
    variables = settings.transform_keys { |key| "STEPWELL__LOGGING__#{key.to_s.upcase}" }
    run_ruby(code, env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "info", **variables })
  end

  before { Stepwell.logging(components: { task: nil }) }
  after { Stepwell.logging(components: { task: :error }) }

  describe "of both languages" do
    it "have one pattern, and a task that finishes has one of them" do
      process = run_program(program)
      id = process.gets
      expect(process.wait).to be_success
      lines = process.errors.lines.map { |line| plain.match(line) or raise "another pattern: #{line}" }
      lines = lines.map { |line| "#{line[:component]} #{line[:message]}" }

      expect(lines).to include(/\AORCHESTRATOR orchestrator started database=/, /\AWORKER worker started worker=/,
                               "STEP weighing\\n2 kg task=#{id} step=only attempt=1 correlation_id=\"c 1\"",
                               "TASK the application's own", /\AWORKER worker stopped /)
      expect(lines.grep(/ finished /))
        .to match([%r{\ATASK finished workflow=spec/talks task=#{id} state=complete ms=\d+\z}])
      expect(lines.size).to eq(6)
    end

    it "are JSON objects with the same keys, when asked for" do
      process = run_program(program, format: "json")
      id = process.gets
      expect(process.wait).to be_success
      lines = process.errors.lines.map { |line| JSON.parse(line) }

      expect(lines.map(&:keys)).to all(eq(%w[time level component message fields]))
      expect(lines).to include(
        include("level" => "INFO", "component" => "STEP", "message" => "weighing\n2 kg",
                "fields" => { "task" => id, "step" => "only", "attempt" => 1, "correlation_id" => "c 1" }),
        include("component" => "TASK", "message" => "finished",
                "fields" => include("task" => id, "state" => "complete", "ms" => Integer))
      )
    end

    it "have a line a step at debug" do
      process = run_program(program, components__step: "debug")
      id = process.gets
      expect(process.wait).to be_success
      expect(process.errors.lines.grep(/DEBUG/)).to match(
        [/DEBUG STEP the handler has ended task=#{id} step=only attempt=1 outcome=complete ms=\d+$/]
      )
    end
  end

  describe "of the shared test vector" do
    cases = JSON.parse(File.read(File.join(Specs::ROOT, "tests/golden/log_lines.json")))
    after { Stepwell.logging(format: :auto) }

    # @return [String] without its newline
    def line_of(given, format)
      Stepwell.logging(format: format)
      time = Time.at(*given["time"], :nsec)
      message = { message: given["message"], **given["fields"] }
      Stepwell::Logging::Formatter.new.call(given["level"].upcase, time, given["component"], message).chomp
    end

    cases.each do |given|
      next if given["level"] == "trace" # which Ruby's Logger does not know

      it "are what Rust makes of them: #{given["about"]}" do
        %w[plain pretty json].each { |format| expect(line_of(given, format)).to eq(given[format]) }
        Stepwell.logging(format: :plain)
        entry = Stepwell::Logging::Entry.new(given["component"], given["message"], given["fields"])
        expect(Stepwell::Logging::Line.new(entry)).to eq(given["text"])
      end
    end
  end

  describe "of Stepwell.logger" do
    after { Stepwell.logging(level: :warn, format: :auto, components: { worker: nil, task: nil }) }

    def written(&block)
      pattern = nil
      expect(&block).to output(satisfy { |text| pattern = text }).to_stderr_from_any_process
      pattern.lines.map { |line| line.split(" ", 2).last.chomp }
    end

    it "pass by level and component, which can be changed at any time" do
      lines = written do
        Stepwell.logger.info("not important")
        Stepwell.logging(level: :info, components: { worker: :debug })
        Stepwell.logger.debug("not important either")
        Stepwell.logger.debug("worker") { "of a component" }
        Stepwell.logging(components: { worker: nil })
        Stepwell.logger.debug("worker") { raise "nobody asks for it" }
        Stepwell.logger.level = :error
        Stepwell.logger.warn("no longer important")
        Stepwell.logger.unknown("always")
      end
      expect(lines).to eq(["DEBUG WORKER of a component", "ERROR TASK always"])
      expect(Stepwell.logger).to be_error.and(have_attributes(warn?: false, level: Logger::ERROR))
    end

    it "hold texts, exceptions and fields, whatever stands in them" do
      lines = written do
        Stepwell.logger.warn("caf\xE9".b)
        Stepwell.logger.warn(RuntimeError.new("broken"))
        Stepwell.logger.warn(message: "weighed", weight: 2.5, what: :box, nothing: nil, large: 2**70, at: nil)
        Stepwell.logger.warn([1, nil])
        Stepwell.logger << "as it is\n" # "it is" without its first word
      end
      expect(lines).to eq(["WARN TASK caf\uFFFD", "WARN TASK broken error=RuntimeError",
                           "WARN TASK weighed weight=2.5 what=box large=#{2**70}", "WARN TASK [1, nil]", "it is"])
    end

    it "hold fields, an exception among them too, and what a block returns" do
      error = begin
        raise IOError, "no answer"
      rescue IOError => e
        e
      end
      lines = written do
        Stepwell.logger.warn("priced", count: 1, "unit" => :box, nothing: nil)
        Stepwell.logger.warn("priced", { count: 2 })
        Stepwell.logger.error("not now", error)
        Stepwell.logger.error("not now", cause: RuntimeError.new("full"), n: 1)
        Stepwell.logger.error(error, n: 1)
        Stepwell.logger.warn("worker", n: 1) { "by a block" }
        Stepwell.logger.warn(n: 1) { { message: "by a block", m: 2 } }
        Stepwell.logger.add(Logger::WARN, "added", "worker", n: 1)
        Stepwell.logger.log(Logger::WARN, nil, "the progname", n: 1)
        Stepwell.logger.warn("value", 5)
        Stepwell.logger.warn("values", 5, [6], password: "hunter2")
        Stepwell.logger.warn(nil)
        Stepwell.logger.info("no", n: raise("never")) { raise "nobody asks for it" } if Stepwell.logger.info?
        Stepwell.logger.info { raise "nobody asks for it" }
      end
      at = /backtrace="?#{__FILE__}:\d+:in /
      expect(lines).to match(
        ["WARN TASK priced count=1 unit=box", "WARN TASK priced count=2",
         /\AERROR TASK not now error="IOError: no answer" #{at}/, 'ERROR TASK not now cause="RuntimeError: full" n=1',
         /\AERROR TASK no answer n=1 error=IOError #{at}/, "WARN WORKER by a block n=1", "WARN TASK by a block n=1 m=2",
         "WARN WORKER added n=1", "WARN TASK the progname n=1", "WARN TASK value value=5",
         'WARN TASK values value="[5, [6]]" password=***', "WARN TASK nil"]
      )
    end

    it "are written whatever cannot be shown in them" do
      broken = Class.new { def to_s = raise("no"); alias_method :inspect, :to_s }.new # rubocop:disable Style/Semicolon
      lines = written do
        Stepwell.logger.warn(broken)
        Stepwell.logger.warn("a field", it: broken, n: 1)
      end
      expect(lines).to eq(["WARN TASK (cannot be shown: RuntimeError)",
                           'WARN TASK a field it="(cannot be shown: RuntimeError)" n=1'])
    end

    it "have the tags of their thread, nested, until their blocks end" do
      lines = written do
        logger = Stepwell.logger
        result = logger.tagged("a", :b) do |it|
          it.warn("one", n: 1)
          it.tagged(["c", nil, " "]) { logger.warn { "two" } }
          Thread.new { logger.warn("another thread") }.join
          logger.warn("three")
          7
        end
        logger.warn("result", n: result)
        expect { logger.tagged("d") { raise "no" } }.to raise_error("no")
        expect(logger.push_tags("e", "f")).to eq(%w[e f])
        logger.warn("four")
        expect(logger.pop_tags).to eq(%w[f])
        logger.warn("five")
        logger.clear_tags!
        logger.warn("six")
        always = logger.tagged("g")
        always.tagged("h") { always.warn("seven") }
        logger.warn("eight")
      end
      expect(lines).to eq(["WARN TASK one tags=a,b n=1", "WARN TASK two tags=a,b,c", "WARN TASK another thread",
                           "WARN TASK three tags=a,b", "WARN TASK result n=7", "WARN TASK four tags=e,f",
                           "WARN TASK five tags=e", "WARN TASK six", "WARN TASK seven tags=g,h", "WARN TASK eight"])
    end

    it "are changed by what is right only, and wholly or not at all" do
      { { level: :loud } => /level: "loud" is none of error, warn, info, debug, trace/,
        { level: :debug, format: :xml } => /format: "xml" is none of auto, pretty, plain, json/,
        { level: :debug, components: { workers: :info } } => /"workers" is no component of log lines: task, worker, /,
        { components: { worker: :loud } } => /worker: "loud" is none of error/ }.each do |settings, message|
        expect { Stepwell.logging(**settings) }.to raise_error(Stepwell::ConfigurationError, message)
      end
      expect(Stepwell.logger.level).to eq(Logger::WARN)
    end
  end

  describe "of a logger of the application" do
    after { Stepwell.logging(level: :warn) }

    # Orchestrator and worker start, work and stop.
    def work
      define_single { |step| step.logger.info("weighing") }
      orchestrator = Stepwell::Orchestrator.embedded(database_url: database_url)
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1, orchestrator: orchestrator).start
      orchestrator.submit("spec/single", {}, correlation_id: "c1").wait(timeout: 20)
    ensure
      worker&.stop
      orchestrator&.stop
    end

    it "are Rust's too" do
      log = logged
      Stepwell.logging(level: :info)
      task = work
      eventually { log.string.include?("TASK finished") }
      Stepwell.logger = nil

      expect(log.string.lines).to include(
        /INFO -- : ORCHESTRATOR orchestrator started database=/, /INFO -- : WORKER worker started worker=/,
        /INFO -- : STEP weighing task=#{task.id} step=only attempt=1 correlation_id=c1$/,
        %r{INFO -- : TASK finished workflow=spec/single task=#{task.id} state=complete ms=\d+$}
      )
    end

    it "have Stepwell's pattern by its formatter" do
      log = StringIO.new
      Stepwell.logger = Logger.new(log, formatter: Stepwell::Logging::Formatter.new)
      Stepwell.logging(level: :info)
      work
      eventually { log.string.include?("TASK finished") }
      Stepwell.logger = nil

      expect(log.string.lines).to all(match(plain))
    end

    it "warn of a task that ends in error, with its step, attempts and error, and of no other" do
      log = logged
      Stepwell.workflow("spec/refuses") do
        step :first, Class.new(Stepwell::StepHandler) { define_method(:call) { |_| 1 } }
        step :second, Class.new(Stepwell::StepHandler) {
          define_method(:call) { |_| raise Stepwell::PermanentError, "no such card\npassword=hunter2" }
        }, depends_on: :first
      end
      orchestrator = start_orchestrator
      start_worker(orchestrator: orchestrator)
      task = orchestrator.submit("spec/refuses").wait(timeout: 20)
      work
      eventually { log.string.include?("TASK finished") }
      Stepwell.logger = nil

      lines = log.string.lines.grep(/finished/)
      expect(lines.size).to eq(1)
      expect(lines.first).to match(%r{WARN -- : TASK finished workflow=spec/refuses task=#{task.id} state=error ms=\d})
        .and end_with(%( step=second attempts=1 error="Stepwell::PermanentError: no such card"\n))
    end

    it "have the fields and tags of Stepwell.logger and of a step, and what it can besides" do
      target = Logger.new(log = StringIO.new)
      Stepwell.logger = target
      Stepwell.logger.warn("priced", count: 1)
      Stepwell.logger.tagged("import") do |logger|
        logger.error("not now", IOError.new("full"))
        logger.warn("worker") { "by a block" }
      end
      Stepwell.logger.level = Logger::ERROR
      Stepwell.logger.progname = "shop"
      Stepwell.logger.warn { raise "nobody asks for it" }
      Stepwell.logger = Stepwell.logger # changes nothing

      expect(target).to have_attributes(level: Logger::ERROR, progname: "shop")
      expect(Stepwell.logger).to be_a(Logger).and be_error.and(have_attributes(warn?: false, formatter: nil))
      expect(log.string.lines.map { |line| line[/ : (.*)/, 1] })
        .to eq(["TASK priced count=1", 'TASK not now tags=import error="IOError: full"',
                "WORKER by a block tags=import"])
    end

    it "have those of a handler, and a step begins without the tags of the one before" do
      log = logged
      define_single do |step|
        step.logger.info("priced", count: 1)
        step.logger.tagged("a") { |logger| Stepwell.logger.info("in all of them") && logger.info { "nested" } }
        step.logger.push_tags("left")
        step.logger.warn("failed", IOError.new("full"))
        step.logger.info("worker") { "as a step" }
      end
      orchestrator = start_orchestrator
      start_worker(orchestrator: orchestrator, concurrency: 1)
      2.times { expect(orchestrator.submit("spec/single").wait(timeout: 20).state).to be(:complete) }
      Stepwell.logger = nil

      said = log.string.lines.grep(/STEP|in all/).map { |line| line[/ : (.*)/, 1].sub(/task=\S+ /, "") }
      expect(said).to eq(["STEP priced step=only attempt=1 count=1", "TASK in all of them tags=a",
                          "STEP nested step=only attempt=1 tags=a",
                          'STEP failed step=only attempt=1 tags=left error="IOError: full"',
                          "STEP as a step step=only attempt=1 tags=left"] * 2)
    end

    it "are tagged as Rails does where it is Rails' own, and by a field with Stepwell's formatter" do
      process = run_program(<<~RUBY)
        require "active_support"
        require "active_support/tagged_logging"
        require "active_support/logger"
        def log(target)
          Stepwell.logger = target
          Stepwell.logger.tagged("a", "b") do
            Stepwell.logger.info("priced", count: 1)
            target.info("the application's")
            Stepwell.logger.tagged("c") { Stepwell.logger.info { "nested" } }
          end
          Stepwell.logger.silence(Logger::ERROR) { Stepwell.logger.info("not heard") }
          Stepwell.logger.info("plain")
          Stepwell.logger.tagged("g").info("always")
        end
        log(ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout)))
        ours = ActiveSupport::Logger.new($stdout)
        ours.formatter = Stepwell::Logging::Formatter.new
        log(ActiveSupport::TaggedLogging.new(ours))
        Stepwell.logger = nil
        puts "end"
      RUBY
      said = Array.new(11) { process.gets.to_s }
      expect(process.wait).to be_success
      expect(said.map { |line| line.sub(/\A\S+Z /, "") })
        .to eq(["[a] [b] TASK priced count=1", "[a] [b] the application's", "[a] [b] [c] TASK nested", "TASK plain",
                "TASK always tags=g", "INFO TASK priced count=1 tags=a,b", "INFO TASK [a] [b] the application's",
                "INFO TASK nested tags=a,b,c", "INFO TASK plain", "INFO TASK always tags=g", "end"])
    end

    it "are refused where it is none, and the one before goes on" do
      log = logged
      [Object.new, "log/shop.log", $stdout, 5, Class.new { def info; end }.new].each do |wrong|
        expect { Stepwell.logger = wrong }
          .to raise_error(Stepwell::ConfigurationError, /\Alogger: .* is no logger: it does not answer .*error \(/)
      end
      Stepwell.logger.warn("still here")
      expect(log.string).to include("TASK still here")
    end

    it "are taken by one that is no Logger of the standard library" do
      duck = Class.new do
        def lines = @lines ||= []
        %i[debug info warn error fatal].each { |level| define_method(level) { |&it| lines << "#{level} #{it.call}" } }
        def level = :trace
      end.new
      Stepwell.logger = duck
      Stepwell.logging(level: :info)
      task = work
      eventually { duck.lines.any?(/TASK finished/) }

      expect(duck.lines).to include(/\Ainfo WORKER worker started/, /\Ainfo STEP weighing task=#{task.id} step=only /)
    end

    it "go to standard error when it raises" do
      broken = Logger.new(StringIO.new)
      def broken.warn = raise("the disk is full")
      def broken.info = raise("the disk is full")
      Stepwell.logger = broken
      Stepwell.logging(level: :info)
      expect do
        Stepwell::Orchestrator.embedded(database_url: database_url).stop
        Stepwell.logger = nil
      end.to output(/\A.* INFO ORCHESTRATOR orchestrator started .*\n\z/).to_stderr_from_any_process
    end

    it "go to standard error when it raises while a handler logs, and the step goes on" do
      run = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__FORMAT" => "plain" })
        broken = Logger.new($stdout)
        def broken.add(*, **) = raise(Errno::ENOSPC)
        formatting = Logger.new(File::NULL, formatter: ->(*) { raise "no such format" })
        unfinished = Logger.new(File::NULL, formatter: ->(*) { raise NotImplementedError })
        endless = Logger.new(File::NULL)
        endless.formatter = ->(*) { endless.warn("again") }
        unlevelled = Logger.new(File::NULL)
        def unlevelled.level = raise("no level")
        logging = Class.new(Stepwell::StepHandler) do
          define_method(:call) do |step|
            [broken, formatting, unfinished, endless, unlevelled].each do |logger|
              Stepwell.logger = logger
              step.logger.warn("as \#{logger.formatter.class}")
            end
            "done"
          end
        end
        Stepwell.workflow("spec/logging") { step :only, logging, max_attempts: 1 }
        Stepwell::Orchestrator.embedded do
          worker = Stepwell::Worker.new(namespaces: "spec").start
          task = Stepwell.submit("spec/logging").wait(timeout: 20)
          puts task.state, task.results
          worker.stop
        end
      RUBY
      expect([run.gets, run.gets]).to eq(["complete", '{"only"=>"done"}'])
      expect(run.wait).to be_success
      expect(run.errors.lines.grep(/ WARN STEP as (NilClass|Proc) task=.* step=only attempt=1/).size).to eq(5)
    end

    it "come from a forked child by a thread of its own" do
      process = run_program(<<~RUBY)
        Stepwell.logger = Logger.new($stdout, formatter: ->(_, _, _, message) { "\#{Process.pid} \#{message}\\n" })
        def log = Stepwell::Worker.new(namespaces: "other", concurrency: 1).start.stop
        log
        child = fork { log }
        Process.wait(child)
        puts "child was \#{child}"
      RUBY
      said = []
      said << process.gets until said.last&.start_with?("child was")
      expect(process.wait).to be_success
      child = said.pop[/\d+/]

      expect(said).to include(/\A#{process.pid} WORKER worker started/, /\A#{child} WORKER worker started/,
                              /\A#{child} WORKER worker stopped/)
      expect(process.errors).to eq("")
    end
  end

  describe "of a process" do
    it "are all there when it ends in order, also where they are read slowly" do
      process = run_program(<<~RUBY)
        reader, full = IO.pipe
        go, tell = IO.pipe
        fork do
          [full, tell].each(&:close)
          go.read # until the parent is at its end
          puts reader.read.scan("TASK line").size
          exit!
        end
        [reader, go].each(&:close)
        $stderr.reopen(full)
        full.close
        at_exit { tell.close }
        3000.times { |n| Stepwell.logger.info("line \#{n}") } # more than fits into a pipe
      RUBY
      expect(process.gets).to eq("3000")
      expect(process.wait).to be_success
    end

    it "are dropped and counted when nobody reads them, and nobody waits" do
      process = run_program(<<~RUBY)
        before = $stderr.dup
        reader, full = IO.pipe
        $stderr.reopen(full)
        full.close
        30_000.times { |n| Stepwell.logger.info("line \#{n}") }
        puts Stepwell::Native::Logging.dropped.positive?
        text = +""
        until text.include?("were dropped")
          text << reader.readpartial(65_536)
        end
        $stderr.reopen(before)
        puts text.scan("TASK line").size + text[/WARN HEALTH (\\d+) lines were dropped/, 1].to_i
      RUBY

      expect(process.gets).to eq("true")
      expect(process.gets).to eq("30000")
      expect(process.wait).to be_success
    end
  end
end

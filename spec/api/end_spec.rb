# frozen_string_literal: true

require "spec_helper"

RSpec.describe "the end of a process" do
  it "stops everything, whatever one of them raises" do
    run = run_ruby(<<~RUBY)
      code = Class.new(Stepwell::StepHandler)
      Stepwell.workflow("spec/single") { step :only, code }
      orchestrator = Stepwell::Orchestrator.embedded
      broken, whole = Array.new(2) { Stepwell::Worker.new(namespaces: "spec").start }
      broken.define_singleton_method(:stop) { |**| raise "it is broken" }
      at_exit { puts whole.running?, orchestrator.running? } # runs before what Stepwell has told Ruby to run
      Stepwell.singleton_class.prepend(Module.new do
        define_method(:stop_all) { super().tap { puts whole.running?, orchestrator.running? } }
      end)
      puts "ready"
      $stdin.read
    RUBY
    expect(run.gets).to eq("ready")
    run.close

    expect(Array.new(4) { run.gets }).to eq(%w[true true false false])
    expect(run.wait).to be_success
    expect(run.errors).to match(/ERROR.* HEALTH +it did not end as it should what="?#<Stepwell::Worker .*it is broken/)
  end

  it "is not held up by log lines that nobody reads when it is interrupted" do
    run = run_ruby(<<~RUBY, env: {})
      reader, writer = IO.pipe
      $stderr.reopen(writer)
      200.times { Stepwell.logger.warn("x" * 1_000) }
      flushing = Thread.new { Stepwell::Native::Logging.flush(600) }
      Thread.pass until flushing.stop?
      flushing.kill
      puts flushing.join(20) ? "ended" : "waits"
      $stdout.flush
      exit!(0)
    RUBY
    expect(run.gets).to eq("ended")
    expect(run.ended).to be_success
  end
end

# frozen_string_literal: true

require "spec_helper"

# Two releases of one application, each of which knows one version of a workflow.
RSpec.describe "a submit that names no version" do
  # A process that defines these versions, one after the other, and submits for each line it reads.
  def release(*versions)
    run_ruby(<<~RUBY).tap { |process| expect(process.gets).to eq("ready") }
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| 1 } }
      #{versions.inspect}.each { |version| Stepwell.workflow("spec/order", version: version) { step :only, code } }
      worker = Stepwell::Worker.new(namespaces: "spec").start
      puts "ready"
      while $stdin.gets
        task = Stepwell.submit("spec/order").wait(timeout: 20)
        puts [task.version, task.state].join(" ")
      end
      worker.stop
    RUBY
  end

  # @return [String] version and state of the task that the process submits
  def submitted_by(process)
    process.puts("submit")
    process.gets
  end

  # @return [String] the version that a process takes that has defined none, which is this one
  def submitted_here
    Stepwell.submit("spec/order").wait(timeout: 20).version
  end

  before do
    start_orchestrator
    Stepwell.configure { |c| c.database_url = database_url }
  end

  it "takes what its own process has defined, while a deploy has old and new ones beside each other" do
    old = release("1")
    expect(submitted_by(old)).to eq("1 complete")
    fresh = release("2")

    expect([old, fresh, old].map { |process| submitted_by(process) }).to eq(["1 complete", "2 complete", "1 complete"])
    expect(submitted_here).to eq("2")
    expect(old.wait).to be_success
    expect(submitted_by(fresh)).to eq("2 complete")
    expect(fresh.wait).to be_success
  end

  it "takes that after a rollback too, though another is registered from before" do
    fresh = release("2")
    expect(submitted_by(fresh)).to eq("2 complete")
    old = release("1")

    expect([fresh, old, fresh].map { |process| submitted_by(process) })
      .to eq(["2 complete", "1 complete", "2 complete"])
    expect(fresh.wait).to be_success
    expect(submitted_by(old)).to eq("1 complete")
    again = release("2") # and the next deploy
    expect([again, old].map { |process| submitted_by(process) }).to eq(["2 complete", "1 complete"])
    expect(submitted_here).to eq("1") # it was registered after the other
    [again, old].each { |process| expect(process.wait).to be_success }
  end

  it "takes the one that was registered last where its process has defined several, in whichever order" do
    [release("1.10"), release("1.9", "1.10")].each { |process| expect(process.wait).to be_success }
    both = release("1.9", "1.10")
    turned = release("1.10", "1.9")
    more = release("2", "1.10")

    expect([both, turned, more].map { |process| submitted_by(process) })
      .to eq(["1.9 complete", "1.9 complete", "2 complete"])
    [both, turned, more].each { |process| expect(process.wait).to be_success }
  end
end

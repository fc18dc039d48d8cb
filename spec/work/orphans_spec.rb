# frozen_string_literal: true

require "spec_helper"
require "stepwell/work"

RSpec.describe "a fleet that is the first process of its container" do
  alone = %w[unshare --pid --fork --mount-proc]
  leaves = <<~'RUBY'
    leaves = Class.new(Stepwell::StepHandler) do
      define_method(:call) { |_| system("sleep 0.1 & echo $! > /dev/null") }
    end
    Stepwell.workflow("spec/leaves") { step :only, leaves, max_attempts: 1 }
  RUBY

  # @return [Array<Integer>] ended children that nobody has waited for
  def zombies_of(pid)
    Dir["/proc/[0-9]*/stat"].select { |file| ended_child?(file, pid) }
  end

  def ended_child?(stat, parent)
    File.read(stat).match?(/\) Z #{parent} /)
  rescue Errno::ENOENT, Errno::ESRCH
    false
  end

  def the_only_child_of(pid)
    eventually { children_of(pid).first }
  end

  before { define_single("leaves", max_attempts: 1) { raise "not here" } }

  if system(*alone, "true", out: File::NULL, err: File::NULL)
    it "waits for what its handlers' programs leave behind" do
      start_orchestrator
      process = start_fleet("-p", 2, "-c", 1, code: leaves, through: alone)
      first = the_only_child_of(process.pid)
      eventually { children_of(first).size == 2 }
      tasks = Stepwell.submit_all([{ workflow: "spec/leaves" }] * 10)
      expect(Stepwell.wait_all(tasks, timeout: 30).map(&:state)).to all(eq(:complete))

      eventually { zombies_of(first).empty? && children_of(first).size == 2 }
      Process.kill("TERM", first)
      expect(process.ended.exitstatus).to eq(0)
    end
  end

  describe Stepwell::Work::Orphans do
    it "waits for what has ended and is nobody's, and leaves the rest alone" do
      orphans = described_class.new(0)
      strange, ours = Array.new(2) { Process.spawn("true") }
      living = Process.spawn("sleep", "60")
      eventually { [strange, ours].all? { |pid| File.read("/proc/#{pid}/stat").match?(/\) Z /) } }
      orphans.reap([ours])

      expect { Process.wait(strange) }.to raise_error(Errno::ECHILD)
      expect(Process.wait2(ours).last).to be_success
      Process.kill("KILL", living)
      expect(Process.wait2(living).last.termsig).to eq(9)
    end

    it "gives others their time" do
      orphans = described_class.new(60)
      pid = Process.spawn("true")
      eventually { File.read("/proc/#{pid}/stat").match?(/\) Z /) }
      2.times { orphans.reap }

      expect(Process.wait2(pid).last).to be_success
    end
  end
end

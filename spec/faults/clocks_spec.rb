# frozen_string_literal: true

require_relative "faults_helper"

# Only the database's clock decides. That of a client may be anything.
RSpec.describe "clocks that are an hour off", :faults do
  lease = 1.5 # less than the slowest handlers take

  # What the command faketime does, without the process that it leaves between us and ours. Only the wall clock is
  # shifted. libfaketime's "monotonic fix" would make each timed wait of Ruby's lock return at once.
  clock = { FAKETIME_DONT_FAKE_MONOTONIC: "1", FAKETIME_FORCE_MONOTONIC_FIX: "0" }

  # @param hours [Integer] that its clock is ahead
  define_method(:start_ahead) do |hours, role|
    library = IO.popen(%w[faketime -f +0 printenv LD_PRELOAD], &:read).chomp
    crew.start(role, **clock, LD_PRELOAD: library, FAKETIME: format("%+dh", hours), WORKFLOWS: "load later")
  end

  # @param programs [Hash{Program => Integer}] hours by which they really are ahead
  def expect_ahead(programs)
    report.lasting_fault(programs.size)
    programs.each do |program, hours|
      expect(program.ready.to_i).to be_within(600).of(Time.now.to_i + (hours * 3600))
    end
  end

  # @return [Array<Float>] seconds by the database's clock from each first attempt's end to the next one's start
  def delays
    psql(<<~SQL).lines.map(&:to_f)
      select extract(epoch from s.started_at - a.finished_at)
        from stepwell.steps s join stepwell.step_attempts a using (task_id, position)
       where s.name = 'asks' and a.attempt = 1
    SQL
  end

  # Every time in the database lies between these two of ours.
  def expect_times_within(started, ended)
    psql(<<~SQL).split("|").map { |at| Time.at(at.to_r) }.each { |time| expect(time).to be_between(started, ended) }
      select extract(epoch from min(t.created_at)), extract(epoch from max(t.created_at)),
             extract(epoch from min(t.finished_at)), extract(epoch from max(t.finished_at)),
             extract(epoch from min(s.started_at)), extract(epoch from max(s.started_at)),
             extract(epoch from min(s.finished_at)), extract(epoch from max(s.finished_at))
        from stepwell.tasks t join stepwell.steps s using (task_id)
    SQL
  end

  it "change no lease, no retry and no time" do
    skip "faketime is not installed" unless system("which faketime", out: File::NULL)

    started = Time.now
    crew(STEPWELL__WORKER__LEASE: "#{(lease * 1000).to_i}ms", HANDLER_MS: "10-50", WINDOW: "40")
    expect_ahead([1, -1].to_h { |hours| [start_ahead(hours, :orchestrator), hours] })
    expect_ahead([1, -1].to_h { |hours| [start_ahead(hours, :worker), hours] })
    client = start_ahead(1, :client)
    expect_ahead(client => 1)
    [1, 4_000_000].each do |first|
      client.puts("feed #{first} #{Specs::Faults.sized(short: 60, full: 1_000)}")
      expect(client.gets(60)).to match(/\Afed \d+ 0\z/)
    end

    expect(delays).to all be_between(1, 1 + lease) # not sooner; later by the cycles of who looks for what is due
    expect(delays.size).to be >= 60
    expect_times_within(started, Time.now)
    expect(File.readlines(crew.notes, chomp: true).map { |line| line.split.last }.uniq.size).to eq(2) # both worked
    report.note(retry_seconds: delays.minmax.map { |seconds| seconds.round(2) })
    conclude(again: 0)
  end
end

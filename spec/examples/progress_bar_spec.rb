# frozen_string_literal: true

require "stringio"
require_relative "../../examples/order_fulfilment/progress_bar"

RSpec.describe "the demo's progress bar" do
  let(:time) { [0.0] }
  let(:out) { StringIO.new }
  let(:bar) do
    OrderFulfilment::ProgressBar.new(total: 200, label: "orders", out: out, clock: -> { time.first })
  end

  def update(done, at:)
    time[0] = at
    bar.update(done)
  end

  context "when it goes to a file" do
    it "writes a plain line a quarter" do
      bar
      [0, 49, 50, 51, 120, 200].each { |done| update(done, at: done / 100.0) }
      bar.finish

      expect(out.string.lines.map { |line| line[/\d+%/] }).to eq(%w[25% 60% 100%])
      expect(out.string).not_to match(/[\e\r]/)
    end

    it "says the rate and the time left, and the whole time at the end" do
      bar
      update(50, at: 0.5)
      time[0] = 2.0
      bar.finish

      expect(out.string.lines.map(&:chomp)).to eq(
        ["orders  50/200  25%  100/s, 2 s left", "orders 200/200 100%  100/s in 2.0 s"]
      )
    end
  end

  context "when it goes to a terminal" do
    before do
      out.define_singleton_method(:tty?) { true }
      out.define_singleton_method(:winsize) { [24, 72] }
    end

    it "moves on one line that fits the terminal" do
      bar
      update(50, at: 1.0)
      update(100, at: 2.0)
      bar.finish

      expect(out.string.count("\n")).to eq(1)
      drawings = out.string.split("\r").drop(1).map { |line| line.delete_suffix("\n").delete_suffix("\e[K") }
      expect(drawings.size).to eq(3)
      expect(drawings.map(&:length)).to all(be <= 72)
    end

    it "fills by eighths of a column" do
      bar
      update(101, at: 1.0)

      expect(out.string[/▕(.*)▏ /, 1]).to match(/\A█{10}▏ {10}\z/).or match(/\A█+[▏▎▍▌▋▊▉]? +\z/)
    end

    it "does not draw more often than the eye sees" do
      bar
      (1..100).each { |done| update(done, at: 1 + (done / 10_000.0)) }

      expect(out.string.count("\r")).to eq(1)
    end
  end

  it "bears nothing to do" do
    empty = OrderFulfilment::ProgressBar.new(total: 0, label: "orders", out: out, clock: -> { 1.0 })
    empty.update(0)
    empty.finish

    expect(out.string).to include("0/0 100%")
  end
end

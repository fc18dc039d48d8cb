# frozen_string_literal: true

require "spec_helper"
require "stepwell/work"

RSpec.describe Stepwell::Work::Pidfile do
  it "is not held by a file that its last holder deleted between the opening and the lock" do
    path = File.join(folder, "work.pid")
    opened = 0
    allow(File).to receive(:open).and_wrap_original do |original, *arguments|
      original.call(*arguments).tap { File.delete(path) if (opened += 1) == 1 }
    end

    described_class.hold(path) { expect(File.read(path)).to eq("#{Process.pid}\n") }
    expect(opened).to eq(2)
    expect(File).not_to exist(path)
  end
end

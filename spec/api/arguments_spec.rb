# frozen_string_literal: true

require "spec_helper"

RSpec.describe "what is no such argument" do
  endless = Float::INFINITY
  letters = [Float::NAN, endless, 1.5, -1, false, Complex(1, 1), Object.new, [1], 2**63, "seven"]

  # @return [Stepwell::Task]
  def task
    define_single { |_| 1 }
    start_orchestrator
    Stepwell.submit("spec/single")
  end

  it "is refused by name, at once, where tasks are" do
    one = task
    { [one, nil] => 1, [one.id] => 0, [one, [one]] => 1 }.each do |tasks, place|
      expect { Stepwell.wait_all(tasks) }
        .to raise_error(Stepwell::ValidationError, /\Atasks: number #{place} must be a Stepwell::Task, not /)
    end
    [nil, one, { one => 1 }].each do |tasks|
      expect { Stepwell.wait_all(tasks) }
        .to raise_error(Stepwell::ValidationError, /\Atasks: must be an Array of tasks, not /)
    end
    [[nil], ["a", nil], [["a"]], { a: 1 }].each do |tags|
      expect { Stepwell.submit("spec/single", {}, tags: tags) }
        .to raise_error(Stepwell::ValidationError, /\Athe request: tags: must be a/)
    end
    expect { one.wait(timeout: :x) }.to raise_error(Stepwell::ValidationError, "timeout: :x is no number of seconds")
  end

  it "is refused by name where dead letters are" do
    task
    letters.each do |letter|
      expect { Stepwell.dead_letters(before: letter) }.to raise_error(Stepwell::ValidationError, /\Abefore: /)
      expect { Stepwell.replay([letter]) }.to raise_error(Stepwell::ValidationError, /\Aletters: /)
    end
    [nil, {}].each { |none| expect { Stepwell.replay(none) }.to raise_error(Stepwell::ValidationError, /\Aletters: /) }
    [endless, nil, 0, 2.5, "5"].each do |limit|
      expect { Stepwell.dead_letters(limit: limit) }.to raise_error(Stepwell::ValidationError, /\Alimit: /)
    end
    expect(Stepwell.dead_letters(before: nil)).to eq(Stepwell.dead_letters(before: "7"))
  end

  it "is refused by name where settings are, and nothing is changed" do
    before = Stepwell.config
    { ->(c) { c.namespaces = [] } => /namespaces: must be a Hash of names and URLs, not a Array/,
      ->(c) { c.namespaces = "postgres://app:hunter2@h/d" } => /namespaces: must be a Hash .*, not a String\z/,
      ->(c) { c.set(namespaces: []) } => /namespaces: must be a Hash/,
      ->(c) { c.namespaces = { a: 5 } } => /namespaces.a.database_url = 5/,
      ->(c) { c.set(5) } => /set: give a Hash of sections, not a Integer/,
      ->(c) { c.set(1 => { a: 1 }) } => /1/, ->(c) { c.set(nil => {}) } => /./ }.each do |code, message|
      expect { Stepwell.configure(&code) }.to raise_error(Stepwell::ConfigurationError, message)
    end
    expect(Stepwell.config).to eq(before)
    [:loud, 99, -3, "no", nil].each do |level|
      expect { Stepwell.logger.level = level }
        .to raise_error(Stepwell::ConfigurationError, /\Alevel: .* is none of debug, info, warn, error\z/)
    end
    expect(Stepwell.logger.level).to eq(Logger::WARN)
    [nil, 5, "/nowhere"].each do |directory|
      expect { Stepwell.load_workflows(directory) }.to raise_error(Stepwell::ConfigurationError, /no directory/)
    end
  end

  it "is refused by name where a worker is, and a wait without an end is one" do
    one = task
    { namespaces: [nil, {}, [], { a: 1 }, [5]], concurrency: [0, 1.5, endless, "5", 1001], database_url: [5, []],
      orchestrator: [5, one] }.each do |name, values|
      values.each do |value|
        expect { Stepwell::Worker.new(namespaces: "spec", **{ name => value }) }
          .to raise_error(Stepwell::ValidationError, /\A#{name}: /)
      end
    end
    worker = start_worker
    expect(one.wait(timeout: 1e19).state).to be(:complete)
    expect(worker.stop(timeout: 1e19)).to be(true)
  end
end

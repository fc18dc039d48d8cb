# frozen_string_literal: true

require "spec_helper"

module Specs
  # What the YAML files of these examples name.
  class Echo < Stepwell::StepHandler
    def call(step)
      [step.config, step.max_attempts]
    end
  end
end

RSpec.describe "Stepwell.load_workflows" do
  def write(name, text)
    File.join(folder, name).tap { |path| File.write(path, text) }
  end

  def workflow(steps, **top)
    JSON.generate({ namespace: "spec", name: "from_file", version: "1", **top, steps: steps }) # JSON is YAML too
  end

  def load_workflows
    Stepwell.load_workflows(folder)
  end

  def expect_refused(file, *messages)
    expect { load_workflows }.to raise_error(Stepwell::ValidationError) { |error|
      expect(error.message).to start_with("#{file}: ")
      messages.each { |message| expect(error.message).to match(message) }
    }
    expect(Stepwell.registry.definitions).to be_empty
  end

  it "reads the concurrency of tasks that have something in common" do
    write("a.yaml", workflow([{ name: "x", handler: "Specs::Echo" }], concurrency: { key: "customer.id", limit: 2 }))
    load_workflows
    start_orchestrator
    expect(psql("select concurrency_key, concurrency_limit from stepwell.workflows")).to eq("{customer,id}|2")
  end

  it "defines one workflow a file, with what the environment overrides" do
    files = [write("a.yaml", <<~YAML), write("b.yml", workflow([{ name: "x", handler: "Specs::Echo" }], name: "other"))]
      namespace: spec
      name: from_file
      version: "2.1"
      timeout: 5m
      steps:
        - name: only
          handler: Specs::Echo
          timeout: 1500ms
          backoff: { base: 1s, cap: 1m }
          config: { name: Łódź, number: 1 }
      environments:
        test: { steps: { only: { max_attempts: 9, config: { number: 2 } } } }
        production: { steps: { only: { max_attempts: 1 } } }
    YAML
    write("notes.txt", "not a workflow")

    expect(load_workflows).to eq(files)
    start_stepwell
    task = Stepwell.submit("spec/from_file").wait(timeout: 20)
    expect(task.result(:only)).to eq([{ "name" => "Łódź", "number" => 2 }, 9])
    expect(task.version).to eq("2.1")
    expect(psql("select timeout from stepwell.workflow_steps where name = 'only'")).to eq("00:00:01.5")
  end

  it "says that there is no such directory" do
    expect { Stepwell.load_workflows("/nowhere/at/all") }
      .to raise_error(Stepwell::ConfigurationError, "there is no directory /nowhere/at/all")
  end

  it "names the file that is not YAML, or no workflow" do
    expect_refused(write("a.yml", "name: [unclosed"), /line 1: unclosed bracket/)
    expect_refused(write("a.yml", "- 1\n- 2\n"), /must be a mapping with namespace, name, version and steps/)
    expect_refused(write("a.yml", ""), /must be a mapping/)
    expect_refused(write("a.yml", "\xFF\xFE"), /is not UTF-8/)
  end

  it "names the class that is missing, or is no handler" do
    expect_refused(write("a.yml", workflow([{ name: "x", handler: "Specs::Missing" }])),
                   /step x: there is no class Specs::Missing; load it before the workflows/)
    expect_refused(write("a.yml", workflow([{ name: "x", handler: "Kernel" }])), /step x: Kernel is no handler/)
    expect_refused(write("a.yml", workflow([{ name: "x", handler: "not a constant" }])), /step x: there is no class/)
    expect_refused(write("a.yml", workflow([{ name: "x" }])), /steps\.x\.handler: must be the name of a handler/)
  end

  it "refuses bare numbers as durations, and says what is missing" do
    expect_refused(write("a.yml", workflow([{ name: "x", handler: "Specs::Echo", timeout: 30 }])),
                   /steps\.x\.timeout: 30 needs a unit, such as 30s or 30ms/)
    step = { name: "x", handler: "Specs::Echo", backoff: { base: 0.5 } }
    expect_refused(write("a.yml", workflow([step], timeout: "10")),
                   /timeout: 10 needs a unit/, /steps\.x\.backoff\.base: 0\.5 needs a unit/)
  end

  it "refuses keys that it does not know, versions that are numbers, and overrides of no step" do
    step = { name: "x", handler: "Specs::Echo" }
    expect_refused(write("a.yml", workflow([step.merge(retries: 3)])), /retries/)
    expect_refused(write("a.yml", workflow([step], owner: "me")), /owner/)
    expect_refused(write("a.yml", workflow([step], version: 1.0)), /version: 1\.0 must be quoted: it is a text/)
    expect_refused(write("a.yml", workflow([step], environments: { test: { steps: { y: {} } } })),
                   /environments\.test\.steps\.y: there is no such step/)
  end

  it "leaves alone what editors and systems put beside workflow files" do
    file = write("b.yaml", workflow([{ name: "x", handler: "Specs::Echo" }]))
    ["._b.yml", ".#b.yaml", ".hidden.yml", "b.yaml~", "#b.yml#", "b.yml.orig", "README.md"].each do |name|
      write(name, "\x00\x05\x16\x07: [")
    end
    File.symlink("/nowhere/at/all", File.join(folder, ".#a.yml"))
    Dir.mkdir(File.join(folder, "old.yml"))

    expect(load_workflows).to eq([file])
  end

  it "says which file cannot be read" do
    file = File.join(folder, "a.yml")
    File.symlink("/nowhere/at/all", file)
    expect { load_workflows }.to raise_error(Stepwell::ConfigurationError, /\A#{file} cannot be read: No such file/)
  end

  it "does not wait for a pipe that has the name of a file" do
    file = File.join(folder, "a.yml")
    File.mkfifo(file)
    expect { load_workflows }.to raise_error(Stepwell::ConfigurationError, "#{file} is no file, but a fifo")
  end

  it "reads a byte order mark, CRLF, anchors, merges and numbers of any size" do
    write("a.yml", "\uFEFF#{<<~YAML}".gsub("\n", "\r\n"))
      x-defaults: &defaults { max_attempts: 4, config: &config { number: 12345678901234567890123, name: a } }
      namespace: spec
      name: from_file
      version: "1"
      steps:
        - <<: *defaults
          name: x
          handler: Specs::Echo
        - name: "y"
          handler: Specs::Echo
          depends_on: x
          config: { <<: [*config, { more: 0.25 }], name: b }
    YAML
    load_workflows
    start_stepwell

    expect(Stepwell.submit("spec/from_file").wait(timeout: 20).results).to eq(
      "x" => [{ "number" => 12_345_678_901_234_567_890_123, "name" => "a" }, 4],
      "y" => [{ "number" => 12_345_678_901_234_567_890_123, "more" => 0.25, "name" => "b" }, 3]
    )
  end

  it "refuses what would be lost, with its line" do
    file = workflow([{ name: "x", handler: "Specs::Echo" }])
    expect_refused(write("a.yml", "name: a\nnamespace: b\nname: c\n"),
                   /line 3: the key name is there twice, first in line 1/)
    expect_refused(write("a.yml", file.sub('"name":"x"', %("name":"x","timeout":"1s",\n"timeout":"2s"))),
                   /line 2: the key timeout is there twice/)
    expect_refused(write("a.yml", file.sub('"name":"x"', '"name":"x","config":{"v": .inf}')),
                   /line 1: \.inf is no number/)
    expect_refused(write("a.yml", file.sub('"name":"x"', '"name":"x","config":{"v":"\\u0000"}')),
                   /steps\.x\.config\.v: holds the character \\u0000/)
  end

  it "checks the overrides of every environment, whichever it is loaded in" do
    step = { name: "x", handler: "Specs::Echo" }
    overrides = { zzz: /there is no such step/, x: /steps\.x\.max_attempts: 0 must be from 1/ }
    overrides.each do |name, message|
      environments = { staging: { steps: { name => { max_attempts: 0 } } } }
      expect_refused(write("a.yml", workflow([step], environments: environments)),
                     /environments\.staging\.steps\.#{name}/, message)
    end
  end
end

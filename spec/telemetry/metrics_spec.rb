# frozen_string_literal: true

require "net/http"
require "socket"
require "spec_helper"
require_relative "../cli/support"

RSpec.describe "metrics" do
  # @return [Float, nil] the sum of the samples of a name with these labels
  def value(text, name, labels = {})
    wanted = labels.map { |label, value| "#{label}=\"#{value}\"" }
    samples = text.lines.grep(/\A#{name}[{ ]/).select { |line| wanted.all? { |label| line.include?(label) } }
    samples.sum { |line| Float(line.split.last) } unless samples.empty?
  end

  def free_port
    TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
  end

  # @return [Net::HTTPResponse, nil] nil while nobody listens
  def get(port, path)
    Net::HTTP.get_response("127.0.0.1", path, port)
  rescue Errno::ECONNREFUSED
    nil
  end

  def run_tasks(count)
    tasks = Stepwell.submit_all(Array.new(count) { |n| { workflow: "spec/single", context: { n: n } } })
    Stepwell.wait_all(tasks, timeout: 30)
  end

  describe "Stepwell.metrics" do
    it "is empty where nothing of Stepwell is in use" do
      run = run_ruby('require "stepwell"; p Stepwell.metrics')
      expect(run.gets).to eq('""')
      expect(run.ended).to be_success
    end

    it "tells of the orchestrators, workers and submits of this process, each link once" do
      define_single { |step| step.context["n"] }
      start_orchestrator
      start_worker
      Stepwell.configure { |c| c.database_url = database_url }
      run_tasks(7)
      text = Stepwell.metrics

      expect(text).to be_valid_encoding
      expect(value(text, "stepwell_tasks_submitted_total", namespace: "spec")).to eq(7)
      expect(value(text, "stepwell_tasks_finished_total", outcome: "complete")).to eq(7)
      expect(value(text, "stepwell_attempts_finished_total", namespace: "spec", outcome: "complete")).to eq(7)
      expect(value(text, "stepwell_worker_slots")).to be >= 1
      expect(eventually { value(Stepwell.metrics, "stepwell_queue_messages_total", queue: "steps") == 7 }).to be(true)
    end

    it "tells of two databases apart" do
      psql("create database other")
      other = database_url.sub(%r{/\w+\?}, "/other?")
      [database_url, other].each { |url| start_orchestrator(url: url) }
      define_single { nil }
      Stepwell.running.grep(Stepwell::Orchestrator).last.submit("spec/single")
      text = eventually { Stepwell.metrics.then { |it| it if value(it, "stepwell_tasks_started_total") == 1 } }

      by_database = text.scan(%r{^stepwell_tasks_started_total\{database="[^"]*/(\w+)"\} (\d)}).to_h
      expect(by_database).to eq("other" => "1", database_url[%r{/(\w+)\?}, 1] => "0")
      clean_up
      psql("drop database other")
    end
  end

  describe "Orchestrator#status" do
    it "tells rates, the busiest namespaces and the last warnings" do
      define_single { |step| step.context["n"] || raise("no n") }
      orchestrator = start_orchestrator
      start_worker
      Stepwell.configure { |c| c.database_url = database_url }
      run_tasks(5)
      summary = eventually { orchestrator.status[:summary].then { |it| it if it[:namespaces].any? } }

      expect(summary[:namespaces]).to eq([{ namespace: "spec", steps: 5 }])
      expect(summary[:rates].keys).to eq(%i[tasks_started tasks_finished steps_completed failures])
      expect(summary[:rates][:steps_completed]).to be > 0
      expect(summary[:warnings]).to eq([])
    end
  end

  describe "by HTTP" do
    include Specs::CommandLine

    it "come from stepwell serve, and say when the database is away" do
      port = free_port
      process = start("serve", "--http", port.to_s, env: { "DATABASE_URL" => database_url })
      expect(eventually { get(port, "/health/ready") }.code).to eq("200")
      expect(get(port, "/health/live").code).to eq("200")
      metrics = get(port, "/metrics")
      expect(metrics["content-type"]).to eq("text/plain; version=0.0.4; charset=utf-8")
      expect(value(metrics.body, "stepwell_database_up")).to eq(1)
      expect(value(metrics.body, "stepwell_loop_late", loop: "results")).to eq(0)
      process.signal("TERM")
      expect(process.ended.exitstatus).to eq(0)
      expect(get(port, "/metrics")).to be_nil
    end

    it "are refused where they would be in somebody's way" do
      TCPServer.open("127.0.0.1", 0) do |taken|
        ran = stepwell("serve", "--http", taken.addr[1].to_s)
        expect(ran).to have_attributes(code: 2, err: /metrics\.listen 127\.0\.0\.1:#{taken.addr[1]}: .*in use/)
      end
      expect(stepwell("serve", "--http", "here").err).to match(/give a port, which is on this machine alone/)
    end

    it "come from each process of a fleet at a port of its own" do
      define_fleet_workflows
      start_orchestrator
      port = free_port
      env = { "DATABASE_URL" => database_url }
      fleet = start_fleet("-n", "spec", "-c", 3, "-p", 2, "--http", port, env: env)
      texts = [port, port + 1].map { |it| eventually { get(it, "/metrics") }.body }
      expect(texts.map { |text| value(text, "stepwell_worker_slots") }).to eq([3, 3])
      expect(texts.map { |text| value(text, "stepwell_loop_late", loop: "claim") }).to eq([0, 0])
      fleet.signal("TERM")
      expect(fleet.ended.exitstatus).to eq(0)
    end
  end
end

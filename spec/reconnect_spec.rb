# frozen_string_literal: true

require "spec_helper"

RSpec.describe "connections that break" do
  # Ends every session on the database but psql's own, as a restart or a failover does.
  def cut
    psql("select pg_terminate_backend(pid) from pg_stat_activity " \
         "where datname = current_database() and pid <> pg_backend_pid()")
  end

  it "in the middle of the work cost nothing but time" do
    one = handler { |step| step.context["n"] }
    two = handler { |step| step.results["one"] * 2 }
    Stepwell.workflow("spec/two") do
      step :one, one
      step :two, two, depends_on: :one
    end
    start_stepwell
    tasks = []
    warned = /\A(.*WARN DATABASE trouble, trying again until it is over loop=.*\n)*\z/
    expect do
      5.times do |round|
        tasks += Stepwell.submit_all(Array.new(100) { |n| { workflow: "spec/two", context: { n: n + (round * 100) } } })
        cut
      end
      Stepwell.wait_all(tasks, timeout: 60)
    end.to output(warned).to_stderr_from_any_process

    expect(tasks.map { |task| task.result(:two) }).to eq((0..499).map { |n| n * 2 })
    expect(psql("select count(*) from stepwell.tasks")).to eq("500")
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
  end

  it "while everything is idle are made again by themselves" do
    define_single { |step| step.context["n"] }
    start_stepwell
    expect do
      3.times do |n|
        cut
        expect(Stepwell.submit("spec/single", { n: n }).wait(timeout: 60).result(:only)).to eq(n)
      end
    end.to output(/\A(.*WARN DATABASE trouble, .*\n)*\z/).to_stderr_from_any_process
  end
end

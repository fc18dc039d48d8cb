# frozen_string_literal: true

# Runs the block beside an orchestrator and a worker of this process, after saying that it has started.
def crewed
  orchestrator = Stepwell::Orchestrator.embedded
  worker = Stepwell::Worker.new(namespaces: ["faults"], concurrency: Integer(ENV.fetch("CONCURRENCY", "5"))).start
  puts "started #{Time.now.to_i}"
  yield
  stopped = worker.stop(timeout: 10)
  orchestrator.stop
  exit stopped
end

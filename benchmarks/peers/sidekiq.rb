# frozen_string_literal: true

# Sidekiq in one process with ten threads, over a Redis of its own that writes nothing to disk.

require "tmpdir"
require "sidekiq"
require "sidekiq/launcher"
require_relative "common"

class NoOp
  include Sidekiq::Worker

  DONE = Queue.new

  def perform
    DONE << nil
  end
end

def drain(tasks)
  launcher = Sidekiq::Launcher.new(Sidekiq.options.merge(concurrency: 10, queues: ["default"]))
  launcher.run
  tasks.times { NoOp::DONE.pop }
  launcher
end

def push(tasks)
  tasks.times.each_slice(1_000) { |slice| Sidekiq::Client.push_bulk("class" => NoOp, "args" => [[]] * slice.size) }
end

Dir.mktmpdir("stepwell-bench-redis", "/tmp") do |folder|
  socket = File.join(folder, "redis")
  redis = spawn("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
                "--dir", folder, out: File::NULL)
  sleep 0.01 until File.socket?(socket)
  Sidekiq.logger.level = Logger::WARN
  Sidekiq.redis = { path: socket, size: 15 }
  push(500)
  drain(500).stop
  push(Peer.tasks)
  launcher = nil
  Peer.measure { launcher = drain(Peer.tasks) }
  launcher.stop
ensure
  Process.kill("TERM", redis)
  Process.wait(redis)
end

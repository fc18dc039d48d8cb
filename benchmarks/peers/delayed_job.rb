# frozen_string_literal: true

# delayed_job over ActiveRecord, one process, which works on one job at a time.

require "logger"
require "active_record"
require "delayed_job_active_record"
require_relative "common"

ActiveRecord::Base.establish_connection(adapter: "postgresql", host: ENV.fetch("PGHOST"), port: ENV.fetch("PGPORT"),
                                        username: ENV.fetch("PGUSER"), database: ENV.fetch("PGDATABASE"))
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :delayed_jobs do |table|
    table.integer :priority, default: 0, null: false
    table.integer :attempts, default: 0, null: false
    table.text :handler, null: false
    table.text :last_error
    table.datetime :run_at
    table.datetime :locked_at
    table.datetime :failed_at
    table.string :locked_by
    table.string :queue
    table.timestamps null: true
    table.index %i[priority run_at]
  end
end

NoOp = Struct.new(:nothing) do
  def perform; end
end

Delayed::Worker.logger = nil
worker = Delayed::Worker.new(quiet: true)
100.times { Delayed::Job.enqueue(NoOp.new) }
worker.work_off(100)
ActiveRecord::Base.transaction { Peer.tasks.times { Delayed::Job.enqueue(NoOp.new) } }
Peer.measure { worker.work_off(Peer.tasks) }

# frozen_string_literal: true

require "stepwell"
require_relative "work/application"
require_relative "work/backoff"
require_relative "work/child"
require_relative "work/command_line"
require_relative "work/endpoint"
require_relative "work/memory"
require_relative "work/orphans"
require_relative "work/pidfile"
require_relative "work/place"
require_relative "work/runner"
require_relative "work/supervisor"

module Stepwell
  # The command `stepwell work`: a worker, or a supervised fleet of worker processes, that executes the steps of an
  # application.
  module Work
    # The command cannot do what it was asked to.
    # @api private
    class Failed < Stepwell::Error; end

    # The command was called wrongly.
    # @api private
    class Usage < Failed; end

    module_function

    # Works until this process is told to stop.
    # @param argv [Array<String>] what stands behind `stepwell work`
    # @return [Integer] exit status: 0 when it was told to stop and did; 1 when it could not work (the application
    #   cannot be loaded, the database refuses, processes die before they work), or processes had to be killed at the
    #   end; 2 for wrong usage
    def main(argv)
      options = CommandLine.parse(argv)
      return 0 unless options

      ENV.update(options.variables)
      Pidfile.hold(options.pidfile) { |pidfile| work(options, pidfile) }
    rescue Failed => e
      warn "stepwell work: #{e.message}"
      e.is_a?(Usage) ? 2 : 1
    rescue Stepwell::Error => e
      warn "stepwell work: #{describe(e)}"
      1
    end

    # @api private
    # @return [Float] seconds, on the monotonic clock
    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # @api private
    # @return [String] an error for people: where it comes from stands with those that are not ours
    def describe(error)
      place = error.is_a?(Stepwell::Error) ? nil : error.backtrace&.first
      ["#{error.class}: #{Failure.message(error)}", place].compact.join(" at ")
    end

    # @api private
    def work(options, pidfile)
      Application.load(options.paths)
      options.namespaces = Application.namespaces(options.namespaces)
      unless options.supervised?
        Runner.new(options).run
        return 0
      end

      Application.prepare_to_fork
      Supervisor.new(options, pidfile).run
    end
  end
end

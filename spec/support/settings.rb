# frozen_string_literal: true

require "stringio"

module Specs
  # Settings of this process for a while.
  module Settings
    # What starts while the block runs keeps these settings: a worker gets its own from the link to its database, so an
    # orchestrator that shares the link must start there too.
    # @param variables [Hash{String => String}]
    # @return what the block returned
    def with_variables(variables)
      before = ENV.to_h.slice(*variables.keys)
      ENV.update(variables)
      yield
    ensure
      variables.each_key { |name| ENV[name] = before[name] }
    end

    # @return [StringIO] what Stepwell logs from here on, in this example
    def logged
      StringIO.new.tap { |lines| Stepwell.logger = Logger.new(lines) }
    end
  end
end

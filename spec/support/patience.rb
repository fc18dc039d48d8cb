# frozen_string_literal: true

module Specs
  # Waiting for what will be true soon, instead of for time to pass.
  module Patience
    module_function

    # @return what the block returned, as soon as that is true
    def eventually(timeout = 20, message = "what the example waits for")
      deadline = Patience.now + timeout
      until (value = yield)
        raise "#{message} did not happen within #{timeout} s" if Patience.now > deadline

        IO.select(nil, nil, nil, 0.01)
      end
      value
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

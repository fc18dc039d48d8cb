# frozen_string_literal: true

module Stepwell
  # Everything that Stepwell raises is one of these.
  class Error < StandardError
    # @return [Array<Task, nil>, nil] of a {Stepwell.submit_all} that failed when some of its transactions had been
    #   committed: their tasks, in the order of the requests. Nil stands for a request that was not submitted; when the
    #   connection broke, this is not known of those in the transaction that failed. Nil of any other error.
    attr_accessor :submitted
  end

  # A handler raises it when no further attempt can succeed: the step ends in error at once.
  class PermanentError < Error
    # @return [String, nil] the error's own code, such as "CARD_DECLINED"
    attr_reader :code
    # @return [Hash, nil] what the handler wants stored with the attempt; any JSON
    attr_reader :context

    # @param message [String]
    # @param code [String, nil]
    # @param context [Hash, nil] any JSON
    def initialize(message = nil, code: nil, context: nil)
      super(message)
      @code = code
      @context = context
    end
  end

  # A handler raises it to ask for another attempt, and to say when. Any other StandardError is retried too.
  class RetryableError < Error
    # @return [String, nil] the error's own code
    attr_reader :code
    # @return [Hash, nil] what the handler wants stored with the attempt; any JSON
    attr_reader :context
    # @return [Numeric, Time, #to_time, String, nil] when the next attempt is to be made; the step's cap is the
    #   longest wait
    attr_reader :retry_after

    # @param message [String]
    # @param retry_after [Numeric, Time, #to_time, String, nil] seconds, also a duration of ActiveSupport; a moment, as
    #   a Time, a DateTime or a TimeWithZone; or what the HTTP header Retry-After says (seconds or a date). The
    #   database's clock decides when a moment has come. Of what is none of these a log line tells.
    # @param code [String, nil]
    # @param context [Hash, nil] any JSON
    def initialize(message = nil, retry_after: nil, code: nil, context: nil)
      super(message)
      @retry_after = retry_after
      @code = code
      @context = context
    end
  end

  # A setting is missing, unknown or wrong, or no database can be found or started.
  class ConfigurationError < Error; end

  # An input is not valid; the message names each field.
  class ValidationError < Error; end

  # A task did not finish within the time that {Task#wait} was given.
  class WaitTimeout < Error; end

  # The worker no longer holds the step: its lease expired, or the step has ended otherwise. Stop working.
  class LostLease < Error; end

  # The task was cancelled while the step was being executed. Stop working.
  class Cancelled < LostLease; end

  # PostgreSQL refuses, or cannot be reached.
  class DatabaseError < Error; end
end

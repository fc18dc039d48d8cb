# frozen_string_literal: true

module Stepwell
  # When a handler wants the next attempt to be made, as the orchestrator reads it: seconds, or the text of a header.
  # @api private
  module Delay
    # What says seconds, or an HTTP date, as the database reads it.
    HEADER = /\A\s*(?:\d+(?:\.\d+)?|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? .*\d\d:\d\d:\d\d.*)\s*\z/i
    # More seconds than these are cut to the step's cap all the same.
    LONGEST = 1e9
    # The last second that an HTTP date has a word for.
    LAST = Time.utc(9999, 12, 31, 23, 59, 59).to_i
    private_constant :HEADER, :LONGEST, :LAST

    module_function

    # @param asked [Numeric, Time, #to_time, String, nil] seconds, also a duration of ActiveSupport; a moment; a header.
    #   Negative seconds are none
    # @return [Float, String, nil] nil for nil
    # @raise [ValidationError] for what is none of these
    def of(asked)
      case asked
      when nil then nil
      when String then header(asked)
      else asked.is_a?(Numeric) ? Argument.seconds(:retry_after, asked).clamp(0.0, LONGEST) : date(moment(asked))
      end
    end

    # @param metadata [Hash] what a handler has noted
    # @return [Hash] the same; a delay in its backoff_hint is one that JSON has a word for
    # @raise (see .of)
    def plain(metadata)
      key = [:backoff_hint, "backoff_hint"].find { |it| metadata[it].is_a?(Hash) } or return metadata
      hint = metadata[key].to_h { |name, value| [name, name.to_s == "delay" ? of(value) : value] }
      { **metadata, key => hint }
    end

    # Runs the block; of what is no delay a log line tells.
    # @return what the block returns; nil where it found no delay
    def told
      yield
    rescue ValidationError => e
      step = Thread.current.thread_variable_get(:stepwell_step)
      fields = step ? { task: step.task_id, step: step.name, attempt: step.attempt } : {}
      Logging.log(Logger::WARN, :step, "#{e.message}; it is not heeded", **fields)
      nil
    end

    def header(text)
      text = Failure.text(text)
      text.match?(HEADER) ? text : refuse(text)
    end

    # A time of ActiveSupport says that it is a Time, and is one as far as this needs.
    def moment(asked)
      time = asked.is_a?(Time) ? asked : asked.to_time
      time.is_a?(Time) ? time : refuse(asked)
    rescue NoMethodError, ArgumentError, RangeError
      refuse(asked)
    end

    # To the second, and not before the moment.
    def date(time)
      Time.at(time.to_r.ceil.clamp(0, LAST)).httpdate
    end

    def refuse(asked)
      raise ValidationError, "retry_after: #{Argument.shown(asked)} is no number of seconds, no time and no such header"
    end
  end
end

# frozen_string_literal: true

require_relative "failure/facts"

module Stepwell
  # An exception of a handler as the core takes it: JSON text that PostgreSQL can store, whatever the exception holds.
  # @api private
  module Failure
    # Raised in a handler whose time is over. No StandardError, so that a handler's own rescue does not swallow it.
    class AttemptTimeout < Exception; end # rubocop:disable Lint/InheritException

    # Most lines of the backtrace of a cause.
    CAUSE_LINES = 5

    extend Facts

    module_function

    # @param error [Exception]
    # @param metadata [Hash] of the attempt
    # @return [String] JSON text
    def generate(error, metadata)
      metadata = ask { Delay.told { Delay.plain(metadata) } } || metadata
      write(error, { **asked_for(error), metadata: (storable(metadata, "metadata") unless metadata.empty?) })
    end

    # @param error [Exception]
    # @return [String] JSON text of what can be told without the help of anything that an application can change
    def bare(error)
      write(error, {})
    end

    # @param refused [JsonValue::Refused]
    # @return [String] JSON text: the step's result cannot be stored, and another attempt would return the same
    def invalid_result(refused)
      plain({ kind: "permanent", class: "Stepwell::PermanentError", code: "INVALID_RESULT",
              message: "the result #{refused.message}" })
    end

    # @param step [Native::Step]
    # @return [String] JSON text: the thread was killed; where the time was over, that comes first
    def killed(step)
      limit = step.timeout_ms
      return bare(ThreadError.new("the handler's thread was killed")) unless limit && step.runs_for_ms >= limit

      bare(AttemptTimeout.new(too_long(limit / 1000.0)))
    end

    # @return [String] what a timeout says
    def too_long(seconds)
      "the attempt took longer than #{seconds} s"
    end

    def kind(error)
      case error
      when PermanentError then "permanent"
      when AttemptTimeout then "timeout"
      else "retryable"
      end
    end

    # @return [Hash{Symbol => String}] an exception as fields of a log line
    def fields(error)
      { error: class_name(error), message: message(error), at: backtrace(error, CAUSE_LINES).join(" < ") }
    end

    def write(error, attachments)
      plain({ kind: kind(error), class: class_name(error), ancestors: ancestors(error), code: code(error),
              message: message(error), backtrace: backtrace(error, 50), causes: told_causes(error), **attachments })
    end

    def told_causes(error)
      causes(error).map do |it|
        { class: class_name(it), message: message(it), backtrace: backtrace(it, CAUSE_LINES) }
      end
    end

    # Context and delay, where the exception carries them.
    def asked_for(error)
      case error
      when PermanentError then { context: context(error) }
      when RetryableError
        { context: context(error), retry_after: ask { Delay.told { Delay.of(error.retry_after) } } }
      else {}
      end
    end

    def context(error)
      context = ask { error.context }
      storable(context, "context") unless context.nil?
    end

    # Any object's text as valid UTF-8.
    def text(object)
      string = object.to_s
      utf8 = string.dup.force_encoding(Encoding::UTF_8)
      return utf8 if string.encoding == Encoding::BINARY && utf8.valid_encoding?

      string.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    rescue Encoding::ConverterNotFoundError
      utf8.scrub
    end

    # What cannot be stored is described instead: it must not hide the error it came with.
    # @return [JsonText]
    def storable(value, root)
      JsonText.new(JsonValue.generate(value, root))
    rescue JsonValue::Refused => e
      { "unstorable" => text(e.message) }
    rescue Exception => e # rubocop:disable Lint/RescueException -- of a patched JSON, of a Hash with ways of its own
      { "unstorable" => "#{class_name(e)}: #{message(e)}" }
    end

    # JSON text that stands as it is.
    JsonText = Struct.new(:text)

    # JSON text of what has been made here: an application can patch JSON, and a failure must be told all the same.
    def plain(value)
      case value
      when JsonText then value.text
      when Hash then "{#{value.compact.map { |key, item| "#{plain(key.to_s)}:#{plain(item)}" }.join(",")}}"
      when Array then "[#{value.map { |item| plain(item) }.join(",")}]"
      when String then %("#{value.gsub(/["\\\u0000-\u001f]/) { |it| format("\\u%04x", it.ord) }}")
      else value.to_s # a finite number
      end
    end
  end
end

# frozen_string_literal: true

module Stepwell
  # An exception of a handler as the core takes it: JSON text that PostgreSQL can store, whatever the exception holds.
  # @api private
  module Failure
    # Raised in a handler whose time is over. No StandardError, so that a handler's own rescue does not swallow it.
    class AttemptTimeout < Exception; end # rubocop:disable Lint/InheritException

    module_function

    # @param error [Exception]
    # @param metadata [Hash] of the attempt
    # @return [String] JSON text
    def generate(error, metadata)
      details = attached(error)
      JsonValue.write({ kind: kind(error), class: class_name(error), ancestors: ancestors(error), code: details[:code],
                        message: message(error), backtrace: Array(error.backtrace).first(50).map { |line| text(line) },
                        context: storable(details[:context]), retry_after: details[:retry_after],
                        metadata: metadata.empty? ? nil : storable(metadata) }.compact)
    rescue Exception => e # rubocop:disable Lint/RescueException -- exceptions can redefine whatever they are asked for
      JSON.generate({ kind: kind(error), class: "Stepwell::Error",
                      message: "what the handler raised cannot be read (#{e.class})" })
    end

    # @param refused [JsonValue::Refused]
    # @return [String] JSON text: the step's result cannot be stored, and another attempt would return the same
    def invalid_result(refused)
      JSON.generate({ kind: "permanent", class: "Stepwell::PermanentError", code: "INVALID_RESULT",
                      message: "the result #{refused.message}" })
    end

    # @return [String] JSON text: the thread was killed
    def killed
      generate(ThreadError.new("the handler's thread was killed"), {})
    end

    def kind(error)
      case error
      when PermanentError then "permanent"
      when AttemptTimeout then "timeout"
      else "retryable"
      end
    end

    def class_name(error)
      error.is_a?(AttemptTimeout) ? "Timeout::Error" : text(error.class.name || error.class.to_s)
    end

    # What it is beside its class, the nearest first: the classes that it descends from and the modules that are in
    # them, or in itself, as a step's permanent_errors and retryable_errors may name them.
    def ancestors(error)
      lineage = error.is_a?(AttemptTimeout) ? Timeout::Error.ancestors : error.singleton_class.ancestors - [error.class]
      lineage.take(lineage.index(Exception) + 1).filter_map(&:name).first(20)
    end

    # Code, context and delay, where the exception carries them.
    def attached(error)
      details = {}
      details[:code] = text(error.code) if error.respond_to?(:code) && error.code
      return details unless error.is_a?(PermanentError) || error.is_a?(RetryableError)

      details[:context] = error.context
      details[:retry_after] = delay(error.retry_after) if error.is_a?(RetryableError)
      details
    rescue StandardError
      details
    end

    # What the orchestrator reads as a delay: seconds, or the text of a header.
    def delay(asked)
      case asked
      when nil then nil
      when Time then Time.at(asked.to_r.ceil).httpdate # to the second, and not before the moment
      when String then text(asked)
      else Float(asked, exception: false)&.then { |seconds| seconds if seconds.finite? }
      end
    end

    # An exception's message can be anything, also an exception.
    def message(error)
      text(error.message)
    rescue Exception => e # rubocop:disable Lint/RescueException -- a SystemStackError, a NotImplementedError
      "the message of the #{error.class} is not available (#{e.class})"
    end

    # Any object's text as valid UTF-8.
    def text(object)
      string = object.to_s
      utf8 = string.dup.force_encoding(Encoding::UTF_8)
      return utf8 if string.encoding == Encoding::BINARY && utf8.valid_encoding?

      string.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end

    # What cannot be stored is described instead: it must not hide the error it came with.
    def storable(value)
      JsonValue.generate(value) && value
    rescue JsonValue::Refused => e
      { "unstorable" => text(e.message) }
    end
  end
end

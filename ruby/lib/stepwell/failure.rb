# frozen_string_literal: true

module Stepwell
  # An exception of a handler as the core takes it: JSON text that PostgreSQL can store, whatever the exception holds.
  # @api private
  module Failure
    # Raised in a handler whose time is over. No StandardError, so that a handler's own rescue does not swallow it.
    class AttemptTimeout < Exception; end # rubocop:disable Lint/InheritException

    # Most causes that are told, and most lines of the backtrace of each.
    CAUSES = 5
    CAUSE_LINES = 5
    # What a module is called, whatever it says of itself.
    NAME = Module.instance_method(:name)
    private_constant :NAME

    module_function

    # @param error [Exception]
    # @param metadata [Hash] of the attempt
    # @return [String] JSON text
    def generate(error, metadata)
      details = attached(error)
      causes = causes(error)
      metadata = Delay.told { Delay.plain(metadata) } || metadata
      JsonValue.write({ kind: kind(error), class: class_name(error), ancestors: ancestors(error), code: details[:code],
                        message: message(error), backtrace: backtrace(error, 50), causes: (causes unless causes.empty?),
                        context: storable(details[:context], "context"), retry_after: details[:retry_after],
                        metadata: metadata.empty? ? nil : storable(metadata, "metadata") }.compact)
    end

    # @param error [Exception]
    # @return [String] JSON text without the help of anything that an application can change
    def last_resort(error)
      name = class_name(error)
      name = "Exception" unless name.match?(/\A[\w:]+\z/)
      %({"kind":"#{kind(error)}","class":"#{name}","message":"what became of the attempt cannot be made JSON"})
    end

    # @param refused [JsonValue::Refused]
    # @return [String] JSON text: the step's result cannot be stored, and another attempt would return the same
    def invalid_result(refused)
      JsonValue.write({ kind: "permanent", class: "Stepwell::PermanentError", code: "INVALID_RESULT",
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

    # @return [String] the name of its class; of one without a name, of the nearest above it
    def class_name(error)
      return "Timeout::Error" if error.is_a?(AttemptTimeout)

      above = error.class
      above = above.superclass until (name = name(above))
      name
    end

    # @param of [Module]
    # @return [String, nil] what it calls itself, or else is called
    def name(of)
      own = of.name
      text(own.is_a?(String) && !own.empty? ? own : NAME.bind_call(of) || return)
    rescue StandardError, ScriptError
      NAME.bind_call(of)
    end

    # What it is beside its class, the nearest first: the classes that it descends from and the modules that are in
    # them, or in itself, as a step's permanent_errors and retryable_errors may name them.
    def ancestors(error)
      lineage = error.is_a?(AttemptTimeout) ? Timeout::Error.ancestors : error.singleton_class.ancestors - [error.class]
      lineage.take(lineage.index(Exception) + 1).filter_map { |ancestor| name(ancestor) }.first(20)
    end

    # What it was raised for, the nearest first.
    # @return [Array<Hash>]
    def causes(error)
      chain = [error]
      while chain.size <= CAUSES && (cause = chain.last.cause) && chain.none? { |known| known.equal?(cause) }
        chain << cause
      end
      chain.drop(1).map do |it|
        { class: class_name(it), message: message(it), backtrace: backtrace(it, CAUSE_LINES) }
      end
    rescue StandardError, ScriptError # an exception can redefine what it is asked for
      []
    end

    # @return [Hash{Symbol => String}] an exception as fields of a log line
    def fields(error)
      { error: class_name(error), message: message(error), at: backtrace(error, CAUSE_LINES).join(" < ") }
    end

    # @return [Array<String>] its first lines
    def backtrace(error, most)
      Array(error.backtrace).first(most).map { |line| text(line) }
    rescue StandardError, ScriptError
      []
    end

    # Code, context and delay, where the exception carries them.
    def attached(error)
      details = {}
      details[:code] = text(error.code) if error.respond_to?(:code) && error.code
      return details unless error.is_a?(PermanentError) || error.is_a?(RetryableError)

      details[:context] = error.context
      details[:retry_after] = Delay.told { Delay.of(error.retry_after) } if error.is_a?(RetryableError)
      details
    rescue StandardError
      details
    end

    # An exception's message can be anything, also an exception.
    def message(error)
      text(error.message)
    rescue Exception => e # rubocop:disable Lint/RescueException -- a SystemStackError, a NotImplementedError
      "the message of the #{class_name(error)} is not available (#{class_name(e)})"
    end

    # Any object's text as valid UTF-8.
    def text(object)
      string = object.to_s
      utf8 = string.dup.force_encoding(Encoding::UTF_8)
      return utf8 if string.encoding == Encoding::BINARY && utf8.valid_encoding?

      string.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end

    # What cannot be stored is described instead: it must not hide the error it came with.
    def storable(value, root)
      JsonValue.check(value, root)
      value
    rescue JsonValue::Refused => e
      { "unstorable" => text(e.message) }
    end
  end
end

# frozen_string_literal: true

module Stepwell
  module Logging
    # A logger of the application, with fields and tags as text. Whatever else it can, it is asked for itself.
    # @api private
    class Application < FieldLogger
      METHODS = %i[debug info warn error fatal unknown].freeze
      # What it must answer.
      REQUIRED = METHODS.first(4).freeze
      OWN = %i[level= progname progname= formatter formatter= datetime_format datetime_format= close reopen <<].freeze
      private_constant :METHODS, :REQUIRED, :OWN

      # @param logger [#debug, #info, #warn, #error]
      # @return [FieldLogger]
      # @raise [ConfigurationError] when it is none
      def self.of(logger)
        return logger if logger.is_a?(FieldLogger)

        missing = REQUIRED.reject { |name| logger.respond_to?(name) }
        return new(logger) if missing.empty?

        raise ConfigurationError, "logger: #{Argument.shown(logger)} is no logger: it does not answer " \
                                  "#{missing.join(", ")} (give a Logger, such as Logger.new($stdout), or nil)"
      end

      def initialize(logger)
        @target = nil # the constructor asks for its own things
        super(nil)
        @target = logger
      end

      # @return [Integer] what lies below is not even made; it may tell less itself
      def level
        (@target.respond_to?(:level) && Integer(@target.level, exception: false)) || DEBUG
      rescue StandardError, ScriptError # it has its say again when it gets the line
        DEBUG
      end

      OWN.each do |name|
        define_method(name) { |*given| @target.nil? ? super(*given) : @target.public_send(name, *given) }
      end

      # @see FieldLogger#tagged
      def tagged(*tags)
        return super unless block_given? && tagging?

        pushed = Tags.of(tags)
        @target.push_tags(*pushed)
        begin
          yield self
        ensure
          @target.pop_tags(pushed.size)
        end
      end

      # @see FieldLogger#push_tags
      def push_tags(*tags)
        tagging? ? @target.push_tags(*tags) : super
      end

      # @see FieldLogger#pop_tags
      def pop_tags(*count)
        tagging? ? @target.pop_tags(*count) : super
      end

      # @see FieldLogger#clear_tags!
      def clear_tags!
        tagging? ? @target.clear_tags! : super
      end

      # @param entry [Entry]
      def take(severity, entry)
        name = METHODS.fetch(severity, :unknown)
        name = :error unless @target.respond_to?(name)
        Line.new(entry).carry { |line| @target.public_send(name) { line } }
      rescue StandardError, ScriptError, SystemStackError # of a full disk, of a formatter: the line goes to standard
        # error, and the work goes on
        Standard.new.take(severity, entry)
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{@target.class}>"
      end

      private

      # Whether it has tags itself.
      def tagging?
        @target.respond_to?(:push_tags) && @target.respond_to?(:pop_tags)
      end

      def component(progname)
        Formatter.component(progname)
      end

      def method_missing(name, *given, **keywords, &block)
        @target.respond_to?(name) ? @target.public_send(name, *given, **keywords, &block) : super
      end

      def respond_to_missing?(name, include_private = false)
        @target.respond_to?(name) || super
      end
    end
  end
end

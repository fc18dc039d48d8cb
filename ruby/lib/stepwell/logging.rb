# frozen_string_literal: true

require_relative "logging/entry"
require_relative "logging/formatter"
require_relative "logging/tags"
require_relative "logging/field_logger"
require_relative "logging/standard"
require_relative "logging/application"
require_relative "logging/step_logger"
require_relative "logging/forwarder"

# Log lines: one pattern for what Rust and Ruby have to say.
module Stepwell
  # How lines of Ruby come to the logger. The pattern, the masking of secrets and the way to standard error are Rust's.
  # @api private
  module Logging
    # Seconds that the end of a process waits for lines that nobody reads.
    PATIENCE = 3.0

    module_function

    # Logs a line of Stepwell's own.
    # @param severity [Integer] as Logger numbers them
    # @param component [Symbol] of config/components.yml
    # @param message [String]
    # @param fields [Hash{Symbol => Object}]
    def log(severity, component, message, **fields)
      bring(severity, Entry.new(component.to_s, message, fields))
    end

    # @param severity [Integer]
    # @param entry [Entry]
    def bring(severity, entry)
      Stepwell.logger.bring(severity, entry)
    end

    # At the end of the process, when nothing runs any more: waits a moment until what was logged is written.
    def finish
      Forwarder.stop
      Native::Logging.flush(PATIENCE)
    end
  end

  class << self
    # Where Stepwell logs: standard error, unless it has been replaced. Its level is that of all lines, also Rust's.
    # @return [Logging::FieldLogger] a standard Logger; one of the application is asked through it
    # @raise [ConfigurationError] when the settings are wrong
    def logger
      @logger ||= begin
        configuration.load
        Logging::Standard.new
      end
    end

    # Replaces the logger, as by `Stepwell.logger = Rails.logger`. What Rust has to say goes there too, on a thread of
    # this process, as far as logging.level and logging.components of the settings let it through.
    # @param logger [Logger, nil] nil means standard error again
    # @raise [ConfigurationError] for what is no logger
    def logger=(logger)
      logger = Logging::Application.of(logger) unless logger.nil?
      @logger = logger
      logger.nil? || logger.is_a?(Logging::Standard) ? Logging::Forwarder.stop : Logging::Forwarder.start
    end

    # Changes at once what is logged and how, in both languages. What is not given stays as it is.
    # @param level [Symbol, String, nil] :error, :warn, :info, :debug or :trace
    # @param format [Symbol, String, nil] :auto, :pretty, :plain or :json
    # @param components [Hash{Symbol, String => Symbol, String, nil}] levels of components that have one of their own,
    #   as { worker: :debug }; nil gives one the level of all again
    # @return [void]
    # @raise [ConfigurationError] naming what is wrong and what is allowed; then nothing has been changed
    # @raise [ValidationError] for what is no text
    def logging(level: nil, format: nil, components: {})
      configuration.load
      components = components.to_h do |name, own|
        [Argument.text(:components, name), Argument.optional_text("the level of #{name}", own)]
      end
      Native::Logging.set(Argument.optional_text(:level, level), Argument.optional_text(:format, format), components)
    end
  end
end

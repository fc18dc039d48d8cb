# frozen_string_literal: true

module Stepwell
  module Logging
    # A standard Logger whose lines can have fields and tags: `logger.info("priced", count: 1)`,
    # `logger.warn("not now", error)`, `logger.tagged("import") { … }`. {Stepwell.logger} and {StepExecution#logger} are
    # such.
    # @api public
    class FieldLogger < ::Logger
      LEVELS = %w[debug info warn error fatal unknown].freeze
      private_constant :LEVELS

      # @!method info(*given, **fields)
      #   Logs a line; debug, warn, error, fatal and unknown do so too.
      #   @param given [Array] a text, an exception, or a Hash of fields with message: among them; behind a text an
      #     exception, or a Hash of fields. Before a block: a component of config/components.yml
      #   @param fields [Hash] of the line; an exception among them is told with its class, message and backtrace
      #   @yieldreturn [Object] the same as the text; it is asked for only where the level is wanted
      #   @return [true]
      LEVELS.each_with_index do |name, severity|
        define_method(name) do |*given, **fields, &block|
          add(severity, nil, given.first, **rest(given), **fields, &block)
        end
      end

      # Logs a line.
      # @param severity [Integer, nil]
      # @param message [Object] nil means the block's, else progname
      # @param progname [Object] a component, or the message
      # @param fields [Hash]
      # @return [true]
      def add(severity, message = nil, progname = nil, **fields)
        severity ||= UNKNOWN
        return true if severity < level

        message, progname = [progname] if message.nil? && !block_given?
        component = component(progname)
        return true unless wanted?(severity, component)

        message = yield if message.nil? && block_given?
        take(severity, Entry.of(message, component, { **line_fields, **fields }))
        true
      end
      alias log add

      # @return [String]
      def inspect
        shown = { level: LEVELS.fetch(level, level), **line_fields }.map { |name, value| "#{name}=#{value}" }
        "#<#{self.class} #{shown.join(" ")}>"
      end

      # @api private
      # @param entry [Entry] a line of Stepwell's own
      def bring(severity, entry)
        take(severity, entry) if severity >= level && wanted?(severity, entry.component)
      end

      # Marks the lines that this thread logs while the block runs.
      # @param tags [Array<String, Symbol>]
      # @yieldparam logger [FieldLogger] self
      # @return [Object, FieldLogger] what the block returns; without one, a logger whose lines have these tags
      def tagged(*tags)
        tags = Tags.of(tags)
        return dup.own(tags) unless block_given?

        before = Tags.current
        begin
          Tags.set(before + tags)
          yield self
        ensure
          Tags.set(before)
        end
      end

      # Marks the lines that this thread logs from here on; in a handler, until its step ends.
      # @param tags [Array<String, Symbol>]
      # @return [Array<String>] those that are new
      def push_tags(*tags)
        Tags.of(tags).tap { |it| Tags.set(Tags.current + it) }
      end

      # @param count [Integer]
      # @return [Array<String>] the last ones, which are taken away
      def pop_tags(count = 1)
        Tags.current.last(count).tap { |it| Tags.set(Tags.current[0, Tags.current.size - it.size]) }
      end

      # @return [void]
      def clear_tags!
        Tags.clear
      end

      protected

      # @return [FieldLogger] self
      def own(tags)
        @own_tags = [*@own_tags, *tags]
        self
      end

      private

      # What stands behind the text, as fields.
      def rest(given)
        others = []
        fields = given.drop(1).each_with_object({}) do |it, all|
          case it
          when Hash then all.merge!(it.transform_keys { |key| Failure.text(key).to_sym })
          when Exception then all[:error] = it
          else others << it
          end
        end
        fields[:value] = others.size > 1 ? others : others.first unless others.empty?
        fields
      end

      # @return [Hash] fields of each line
      def line_fields
        tags = [*@own_tags, *Tags.current]
        tags.empty? ? {} : { tags: tags.join(",") }
      end

      def component(progname)
        Formatter.component(progname || self.progname)
      end

      def wanted?(_severity, _component)
        true
      end
    end
  end
end

# frozen_string_literal: true

module Stepwell
  module Failure
    # What is known of an exception. Its class can redefine whatever is asked, so nothing here raises, and where a
    # method of its own fails, Ruby's tells.
    # @api private
    module Facts
      # Most causes that are told.
      CAUSES = 5
      # Most ancestors.
      ANCESTORS = 20

      CLASS_OF = Kernel.instance_method(:class)
      SINGLETON_CLASS_OF = Kernel.instance_method(:singleton_class)
      SUPERCLASS_OF = Class.instance_method(:superclass)
      ANCESTORS_OF = Module.instance_method(:ancestors)
      NAME_OF = Module.instance_method(:name)
      MESSAGE_OF = Exception.instance_method(:to_s)
      CAUSE_OF = Exception.instance_method(:cause)
      BACKTRACE_OF = Exception.instance_method(:backtrace)
      private_constant :CLASS_OF, :SINGLETON_CLASS_OF, :SUPERCLASS_OF, :ANCESTORS_OF, :NAME_OF, :MESSAGE_OF, :CAUSE_OF,
                       :BACKTRACE_OF

      # @return [String] the name of its class; of one without a name, of the nearest above it
      def class_name(error)
        return "Timeout::Error" if AttemptTimeout === error # rubocop:disable Style/CaseEquality -- it cannot lie to that

        above = CLASS_OF.bind_call(error)
        above = SUPERCLASS_OF.bind_call(above) until (name = name(above))
        name
      end

      # @param of [Module]
      # @return [String, nil] what it calls itself, or else is called
      def name(of)
        own = ask { of.name }
        own = NAME_OF.bind_call(of) unless own.is_a?(String) && !own.empty?
        own && text(own)
      end

      # What it is beside its class, the nearest first: the classes that it descends from and the modules that are in
      # them, or in itself, as a step's permanent_errors and retryable_errors may name them.
      # @return [Array<String>]
      def ancestors(error)
        lineage = case error
                  when AttemptTimeout then Timeout::Error.ancestors
                  else ANCESTORS_OF.bind_call(SINGLETON_CLASS_OF.bind_call(error)) - [CLASS_OF.bind_call(error)]
                  end
        lineage.take(lineage.index(Exception) + 1).filter_map { |ancestor| name(ancestor) }.first(ANCESTORS)
      end

      # What it was raised for, the nearest first, without itself, and each once.
      # @return [Array<Exception>]
      def causes(error)
        chain = [error]
        while chain.size <= CAUSES && (cause = cause(chain.last)) && chain.none? { |known| known.equal?(cause) }
          chain << cause
        end
        chain.drop(1)
      end

      # @return [Array<String>] its first lines
      def backtrace(error, most)
        lines = ask { error.backtrace } || BACKTRACE_OF.bind_call(error)
        ask { Array(lines).first(most).map { |line| text(line) } } || []
      end

      # @return [String, nil]
      def code(error)
        ask { text(error.code) if error.respond_to?(:code) && error.code }
      end

      # An exception's message can be anything, also an exception; then it is what the exception was made with.
      # @return [String]
      def message(error)
        text(error.message)
      rescue Exception => e # rubocop:disable Lint/RescueException -- a SystemStackError, a NotImplementedError
        given(error) || "the message of the #{class_name(error)} is not available (#{class_name(e)})"
      end

      private

      def given(error)
        given = ask { text(MESSAGE_OF.bind_call(error)) }
        given unless given == ask { NAME_OF.bind_call(CLASS_OF.bind_call(error)) }
      end

      # Some libraries have a cause of their own that is no exception.
      def cause(error)
        [ask { error.cause }, CAUSE_OF.bind_call(error)].grep(Exception).first
      end

      # @return what the block returns; nil where what it asks raises
      def ask
        yield
      rescue Exception # rubocop:disable Lint/RescueException -- a SystemStackError, a NotImplementedError
        nil
      end
    end
  end
end

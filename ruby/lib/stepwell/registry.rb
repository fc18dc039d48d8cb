# frozen_string_literal: true

module Stepwell
  # The workflows and handlers that this process knows. The only way from a step's handler name to code: no class name
  # that came out of the database is ever constantized.
  # @api private
  class Registry
    def initialize
      @mutex = Mutex.new
      clear
    end

    # Adds a checked definition and the handlers of its steps. The same again, as code reloading does, replaces the
    # handlers.
    # @param definition [Native::Workflow]
    # @param handlers [Hash{String => Class}]
    # @raise [ValidationError] when the version is there with other content
    def add(definition, handlers)
      content = JSON.parse(definition.to_json)
      key = content.values_at("namespace", "name", "version")
      @mutex.synchronize do
        known = @workflows[key]
        if known && known[:digest] != content["digest"]
          raise ValidationError, "workflow #{key[0]}/#{key[1]} version #{key[2]} is already defined with different " \
                                 "content; give the changed workflow a new version"
        end
        @handlers = @handlers.merge(handlers)
        next if known

        @workflows = @workflows.merge(key => { definition: definition, digest: content["digest"] })
        @definitions = @workflows.transform_values { |workflow| workflow[:definition] }.freeze
      end
    end

    # @return [Class, nil] the handler of this name
    def handler(name)
      @handlers[name]
    end

    # @return [Hash{Array<String> => Native::Workflow}] definitions by namespace, name, version; the same object for as
    #   long as nothing is added
    attr_reader :definitions

    # Forgets everything. For tests.
    def clear
      @mutex.synchronize do
        @workflows = @handlers = {}
        @definitions = {}.freeze
      end
    end
  end
end

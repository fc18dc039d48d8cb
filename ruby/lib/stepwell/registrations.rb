# frozen_string_literal: true

module Stepwell
  # Which definitions of this process the databases of a link have, and which they refuse. One that is refused does not
  # hold up the others.
  # @api private
  class Registrations
    # Why a database refuses a definition; a conflict is other content under the same version.
    Refusal = Struct.new(:message, :conflict)

    # @param client [Native::Client]
    # @param database [Native::Database]
    def initialize(client, database)
      @client = client
      @database = database
      @registered = {}
      @refused = {}
      @current = {}
      @mutex = Mutex.new
    end

    # Registers what has been defined since the last time, and tries again what was refused.
    # @param definitions [Hash{Array<String> => Native::Workflow}] of the registry; another object when it has changed
    # @param namespaces [Array<String>, nil] on whose databases; nil means all
    # @raise [ValidationError] when a version is registered with other content; all others are registered then
    def register(definitions, namespaces: nil)
      refused = add(definitions, places(definitions, namespaces))
      conflict = refused.each_value.find(&:conflict)
      refused.each_value do |refusal|
        next if refusal.equal?(conflict)

        Logging.log(Logger::ERROR, :registry, "a workflow is not registered", error: refusal.message)
      end
      raise ValidationError, conflict.message if conflict
    end

    # The same for what somebody submits. Only what is submitted itself can be in the way.
    # @param definitions [Hash{Array<String> => Native::Workflow}]
    # @param requests [Array<Array(String, String)>] "namespace/name" and version, which may be nil
    # @raise [ValidationError] when the database refuses one of these
    def register_for(definitions, requests)
      places = places(definitions, requests.map { |workflow, _| workflow[%r{\A[^/]*}] })
      return if @refused.empty? && places.all? { |place| @current[place].equal?(definitions) }

      wanted = @refused.keys.select { |key| wanted?(key, requests) }
      refused = add(definitions, places, again: wanted)
      refused = refused.find { |key, _| wanted?(key, requests) }
      raise ValidationError, refused.last.message if refused
    end

    private

    def places(definitions, namespaces)
      (namespaces || definitions.keys.map(&:first)).map { |namespace| @database.place(namespace) }.uniq
    end

    def wanted?(key, requests)
      namespace, name, version = key
      requests.any? { |workflow, asked| workflow == "#{namespace}/#{name}" && (asked.nil? || asked == version) }
    end

    # @return [Hash{Array<String> => Refusal}] what has been refused now
    def add(definitions, places, again: @refused.keys)
      @mutex.synchronize do
        missing = definitions.reject do |key, _|
          @registered.key?(key) || !places.include?(@database.place(key.first)) ||
            (@refused.key?(key) && !again.include?(key))
        end
        refused = missing.empty? ? {} : send_all(missing)
        @registered = @registered.merge(missing.except(*refused.keys).transform_values { true })
        @refused = @refused.except(*missing.keys).merge(refused)
        @current = @current.merge(places.to_h { |place| [place, definitions] })
        refused
      end
    end

    def send_all(missing)
      keys = missing.keys
      @client.register(missing.values).to_h do |index, message, conflict|
        [keys.fetch(index), Refusal.new(message, conflict)]
      end
    end
  end
end

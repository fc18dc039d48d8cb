# frozen_string_literal: true

require_relative "configuration/section"

module Stepwell
  # What a program sets itself, on top of config/stepwell.yml and the environment; see {Stepwell.configure}. Each
  # section of config/stepwell.yml is a method, each of its keys an attribute of that:
  #
  #   Stepwell.configure do |c|
  #     c.worker.lease = 90                          # durations: seconds, or a text with its unit such as "90s"
  #     c.retention.failed = "never"
  #     c.set(orchestrator: { cycle: "100ms" }, logging: { level: "debug" })
  #   end
  #
  # What is in force is told by {Stepwell.config}, and by `stepwell config show`.
  class Configuration
    include OneLine

    # @return [Hash{String, Symbol => String, Hash}, nil] URLs of the databases of namespaces that have their own, or
    #   database_url: and direct_url: of each; on top of what the file and the environment say
    attr_reader :namespaces
    # @return [String, nil] "test", "development", "production" or any other name, which has the settings of production
    #   below its own; nil means STEPWELL_ENV, RAILS_ENV, RACK_ENV, else "development"
    attr_accessor :environment

    # @raise [ConfigurationError] for what is no Hash
    def namespaces=(databases)
      unless databases.nil? || databases.is_a?(Hash)
        raise ConfigurationError, "Stepwell.configure: namespaces: must be a Hash of names and URLs, not " \
                                  "#{Argument.a(databases)}"
      end

      @namespaces = databases
    end

    # Other names of settings, as programs use them.
    { database_url: %w[database url], direct_url: %w[database direct_url], lease: %w[worker lease],
      embedded_directory: %w[embedded directory] }.each do |name, (section, key)|
      define_method(name) { public_send(section)[key] }
      define_method(:"#{name}=") { |value| public_send(section)[key] = value }
    end

    # @!attribute [rw] database_url
    #   @return [String, nil] URL of the database; nil means DATABASE_URL, else the embedded PostgreSQL
    # @!attribute [rw] direct_url
    #   @return [String, nil] URL of the same database past a pooler such as PgBouncer, for wake-ups and migrations; nil
    #     means that the database's URL is direct itself
    # @!attribute [rw] embedded_directory
    #   @return [String, nil] folder of the embedded PostgreSQL; nil means ".stepwell" in the working directory
    # @!attribute [rw] lease
    #   @return [Numeric, String, nil] seconds that a worker holds what it claimed without a heartbeat; nil means 60

    Section.all.each_key { |name| define_method(name) { sections[name] } }

    # Nothing is set.
    def initialize
      @sections = Section.all.transform_values(&:new) # at once: threads may meet in here
    end

    # Sets several settings.
    # @param settings [Hash{Symbol, String => Hash}] section => key => value, as in config/stepwell.yml
    # @return [void]
    # @raise [ConfigurationError] naming a section or key that there is not
    def set(settings)
      unless settings.is_a?(Hash)
        raise ConfigurationError, "Stepwell.configure: set: give a Hash of sections, not #{Argument.a(settings)}"
      end

      settings.each do |section, values|
        next add_namespaces(values) if section.to_s == "namespaces"

        place = sections.fetch(section.to_s.to_sym) { Section.refuse(section, values) }
        values.is_a?(Hash) ? values.each { |key, value| place[key] = value } : Section.refuse(section, values)
      end
    end

    # @api private
    # @yieldparam configuration [Configuration] self; what is set when the block ends is checked as a whole
    # @raise [ConfigurationError] when something is wrong; then, as with whatever the block raises, nothing is set
    def change
      before = [sections.transform_values(&:to_h), namespaces.dup, environment]
      yield self
      load
      before = nil
    ensure
      restore(*before) if before
    end

    # @api private
    # @param database_url [String, nil] overrides the one of this configuration
    # @return [Native::Config] the effective settings, read again only when something they come from has changed
    # @raise [ConfigurationError]
    def load(database_url: nil)
      settings = overrides(database_url)
      environment = self.environment && Argument.text(:environment, self.environment)
      key = [settings, environment, ENV.select { |name, _| name.match?(VARIABLES) }]
      # Key and settings in one, as threads may load others at the same time.
      known, config = @loaded
      return config if known == key

      config = Native::Config.load(environment, JsonValue.generate(settings))
      @loaded = [key, config].freeze
      config
    rescue JsonValue::Refused => e
      raise ConfigurationError, "Stepwell.configure: what is set #{e.message}"
    end

    # @api private
    # @return [Hash{Symbol => Hash}] what is in force, masked, as {Stepwell.config} returns it
    def effective
      JSON.parse(load.settings).each_with_object({ namespaces: {} }) do |setting, all|
        *tables, key = setting["key"].split(".").map(&:to_sym)
        tables.inject(all) { |table, name| table[name] ||= {} }[key] = setting["value"]
      end
    end

    VARIABLES = /\A(STEPWELL_|DATABASE_URL\z|RAILS_ENV\z|RACK_ENV\z)/
    private_constant :VARIABLES

    private

    attr_reader :sections

    def add_namespaces(databases)
      before = namespaces
      self.namespaces = databases
      self.namespaces = { **before, **databases } if before && databases
    end

    def summary
      set = sections.transform_values(&:to_h).reject { |_, values| values.empty? }
      set = { **set, namespaces: namespaces, environment: environment }.compact
      set.map { |name, values| "#{name}=#{masked(values)}" }
    end

    # Of what is wrong there may be no telling where its secrets are.
    def masked(values)
      JsonValue.check(values)
      Native.mask_json(JsonValue.write(values))
    rescue StandardError
      "(not JSON)"
    end

    def restore(values, namespaces, environment)
      sections.each { |name, section| section.restore(values.fetch(name)) }
      @namespaces = namespaces
      @environment = environment
    end

    def overrides(url)
      settings = sections.transform_values(&:to_h).reject { |_, values| values.empty? }
      blank = url.nil? || (url.is_a?(String) && url.strip.empty?)
      settings[:database] = { **settings.fetch(:database, {}), "url" => url } unless blank
      spaces = namespaces&.transform_values { |it| it.is_a?(Hash) ? it : { database_url: it } }
      { **settings, namespaces: spaces }.compact
    end
  end
end

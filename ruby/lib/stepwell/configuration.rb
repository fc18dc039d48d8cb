# frozen_string_literal: true

module Stepwell
  # What a program sets itself, on top of config/stepwell.yml and the environment; see {Stepwell.configure}.
  class Configuration
    # @return [String, nil] URL of the database; nil means DATABASE_URL, else the embedded PostgreSQL
    attr_accessor :database_url
    # @return [String, nil] URL of the same database past a pooler such as PgBouncer, for wake-ups and migrations; nil
    #   means that the database's URL is direct itself
    attr_accessor :direct_url
    # @return [Hash{String, Symbol => String, Hash}, nil] URLs of the databases of namespaces that have their own, or
    #   database_url: and direct_url: of each; on top of what the file and the environment say
    attr_accessor :namespaces
    # @return [String, nil] "test", "development" or "production"; nil means STEPWELL_ENV, RAILS_ENV, RACK_ENV, else
    #   "development"
    attr_accessor :environment
    # @return [String, nil] folder of the embedded PostgreSQL; nil means ".stepwell" in the working directory
    attr_accessor :embedded_directory
    # @return [Numeric, nil] seconds that a worker holds what it claimed without a heartbeat; nil means 60
    attr_accessor :lease

    # @api private
    # @param database_url [String, nil] overrides the one of this configuration
    # @return [Native::Config] the effective settings, read again only when something they come from has changed
    # @raise [ConfigurationError]
    def load(database_url: nil)
      settings = overrides(database_url || self.database_url)
      key = [settings, environment, ENV.select { |name, _| name.match?(VARIABLES) }]
      return @loaded if @key == key

      @loaded = Native::Config.load(environment&.to_s, JSON.generate(settings))
      @key = key
      @loaded
    end

    VARIABLES = /\A(STEPWELL_|DATABASE_URL\z|RAILS_ENV\z|RACK_ENV\z)/
    private_constant :VARIABLES

    private

    def overrides(url)
      database = { url: url, direct_url: direct_url }.compact
      { database: (database unless database.empty?),
        namespaces: namespaces&.transform_values { |it| it.is_a?(Hash) ? it : { database_url: it } },
        embedded: embedded_directory && { directory: embedded_directory.to_s },
        worker: lease && { lease: "#{(lease * 1000).round}ms" } }.compact
    end
  end
end

# frozen_string_literal: true

module Stepwell
  # What a program sets itself, on top of config/stepwell.yml and the environment; see {Stepwell.configure}.
  class Configuration
    # @return [String, nil] URL of the database; nil means DATABASE_URL, else the embedded PostgreSQL
    attr_accessor :database_url
    # @return [String, nil] "test", "development" or "production"; nil means STEPWELL_ENV, RAILS_ENV, RACK_ENV, else
    #   "development"
    attr_accessor :environment
    # @return [String, nil] folder of the embedded PostgreSQL; nil means ".stepwell" in the working directory
    attr_accessor :embedded_directory
    # @return [Numeric, nil] seconds that a worker holds what it claimed without a heartbeat; nil means 60
    attr_accessor :lease

    # @api private
    # @param database_url [String, nil] overrides the one of this configuration
    # @return [Native::Config] the effective settings
    # @raise [ConfigurationError]
    def load(database_url: nil)
      url = database_url || self.database_url
      overrides = {}
      overrides[:database] = { url: url } if url
      overrides[:embedded] = { directory: embedded_directory.to_s } if embedded_directory
      overrides[:worker] = { lease: "#{(lease * 1000).round}ms" } if lease
      Native::Config.load(environment&.to_s, JSON.generate(overrides))
    end
  end
end

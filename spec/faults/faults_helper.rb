# frozen_string_literal: true

require "spec_helper"
%w[settings program log crew expected history report server standby proxy session examples load conclusion]
  .each { |name| require "support/faults/#{name}" }

RSpec.configure do |config|
  config.include Specs::Faults::Examples, :faults
  config.include Specs::Faults::Load, :faults
  config.include Specs::Faults::Conclusion, :faults
  config.before(:suite) { config.reporter.message(Specs::Faults.describe) }
  config.after(:each, :faults) { |example| end_faults(!example.exception.nil?) }
end

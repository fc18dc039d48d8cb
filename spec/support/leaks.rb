# frozen_string_literal: true

# Lines are written by a thread that has a moment of its own.
module Specs
  module LastLines
    def capture(block)
      super(lambda do
        block.call
      ensure
        Stepwell::Native::Logging.flush(5)
      end)
    end
  end
end
RSpec::Matchers::BuiltIn.const_get(:Output) # loads the next one too
RSpec::Matchers::BuiltIn::CaptureStreamToTempfile.prepend(Specs::LastLines)

# After each example: what it started is stopped, and what it left behind, swallowed or printed makes it fail.
RSpec.configure do |config|
  config.before do
    Stepwell.registry.clear
    Specs::Cluster.start
    Specs::Steps.executions.clear
    Stepwell.logger = nil
  end

  config.around do |example|
    printed = Tempfile.new("stderr")
    original = $stderr.clone
    $stderr.reopen(printed.path, "a") # also what Rust's half of this process prints
    begin
      example.run
    ensure
      Stepwell::Native::Logging.flush(5)
      $stderr.reopen(original)
      original.close
    end
    text = File.read(printed.path)
    printed.close!
    raise "the example printed to standard error:\n#{text}" unless text.empty?
  end

  config.after(:suite) { Specs::Cluster.stop }

  config.after do
    clean_up
    Stepwell.logger = nil
    left = process_leaks + folder_leaks + leaks
    drop_databases
    Stepwell.instance_variable_set(:@configuration, Stepwell::Configuration.new)
    raise "the example leaves behind\n  #{left.join("\n  ")}" unless left.empty?
  end
end
